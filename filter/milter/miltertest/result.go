package miltertest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

// Result is a milter's answer to a message.
type Result struct {
	Action   intel.Action // accept, discard, reject or tempfail
	Reply    string       // the SMTP reply, when the milter gave one
	Edits    []verdict.Edit
	Inserted []int // for each insertion in Edits, in order, the index that was asked for
	Removed  []string
	Progress int // how often the milter said that it still works
	Others   int // changes of other kinds: fields added at the end, recipients added, the body, …
}

// earlyAnswer is an answer before the message's end.
type earlyAnswer struct{ Result }

func (e *earlyAnswer) Error() string { return fmt.Sprintf("the milter said %s %s", e.Action, e.Reply) }

// add takes a packet of the answer; done says that it was the last.
func (r *Result) add(code byte, data []byte) (done bool, err error) {
	switch code {
	case 'p':
		r.Progress++
		return false, nil
	case '-':
		r.Removed = append(r.Removed, cString(&data))
		return false, nil
	case 'i', 'm':
		if len(data) < 4 {
			return false, fmt.Errorf("the milter sent a header edit of %d bytes", len(data))
		}
		index := int(binary.BigEndian.Uint32(data))
		data = data[4:]
		e := verdict.Edit{Op: verdict.EditInsert, Name: cString(&data), Value: cString(&data)}
		switch {
		case code == 'i':
			r.Inserted = append(r.Inserted, index)
		case e.Value == "":
			e.Op, e.Index = verdict.EditRemove, index
		default:
			e.Op, e.Index = verdict.EditChange, index
		}
		r.Edits = append(r.Edits, e)
		return false, nil
	case 'h', '+', '2', 'b', 'e', 'q':
		r.Others++
		return false, nil
	case 'a', 'c':
		r.Action = intel.ActionAccept
	case 'd':
		r.Action = intel.ActionDiscard
	case 'r':
		r.Action = intel.ActionReject
	case 't':
		r.Action = intel.ActionTempfail
	case 'y':
		// MTAs take the text for a printf format, so "%%" is a percent sign.
		r.Reply = strings.ReplaceAll(cString(&data), "%%", "%")
		r.Action = intel.ActionTempfail
		if strings.HasPrefix(r.Reply, "5") {
			r.Action = intel.ActionReject
		}
	default:
		return false, fmt.Errorf("the milter answered with %q", code)
	}
	return true, nil
}

func cString(data *[]byte) string {
	s, rest, _ := bytes.Cut(*data, []byte{0})
	*data = rest
	return string(s)
}
