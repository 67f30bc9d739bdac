package milter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/verdict"
)

// change is a packet that changes the message, to be sent before the response.
// The library's Modifier could send those for header fields, but it names a
// recipient only with angle brackets of its own, where the MTA is best told what
// it said itself; and what is put together first is told whole or not at all.
type change struct {
	code byte
	data []byte
}

var errNotOffered = errors.New("the MTA does not let a milter do that")

// changes gives what an answer changes, recipients first, or why that cannot be
// done, all or nothing.
func (t terms) changes(to []message.Path, a *verdict.Answer) ([]change, error) {
	removed, err := removals(to, a.Remove)
	if err != nil {
		return nil, err
	}
	if len(removed) > 0 && t.actions&gomilter.OptRemoveRcpt == 0 {
		return nil, fmt.Errorf("%w: remove recipients (SMFIF_DELRCPT)", errNotOffered)
	}
	if len(removed)+len(a.Edits) == 0 {
		return nil, nil
	}
	changes := make([]change, 0, len(removed)+len(a.Edits))
	for _, raw := range removed {
		changes = append(changes, change{byte(gomilter.ActDelRcpt), append([]byte(raw), 0)})
	}
	for _, e := range a.Edits {
		c, err := t.edit(e)
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// removals gives the recipients at the given indexes as the MTA named them, each
// spelling once. Of two recipients with the same address both have to go:
// Postfix keeps one record for the two, also where only the case differs and
// they lead to one alias.
func removals(to []message.Path, indexes []int) ([]string, error) {
	if len(indexes) == 0 {
		return nil, nil
	}
	gone := make(map[int]bool, len(indexes))
	addresses := make(map[string]bool, len(indexes))
	spellings := make(map[string]bool, len(indexes))
	var raws []string
	for _, i := range indexes {
		if i < 0 || i >= len(to) {
			return nil, fmt.Errorf("the answer removes recipient %d of %d", i, len(to))
		}
		gone[i] = true
		addresses[strings.ToLower(to[i].Address())] = true
		if raw := to[i].Raw; !spellings[raw] {
			spellings[raw] = true
			raws = append(raws, raw)
		}
	}
	for i := range to {
		if !gone[i] && addresses[strings.ToLower(to[i].Address())] {
			return nil, fmt.Errorf("the answer removes only one of two recipients with the same address, %q", to[i].Raw)
		}
	}
	return raws, nil
}

// edit encodes a header edit.
func (t terms) edit(e verdict.Edit) (change, error) {
	if !isFieldName(e.Name) {
		return change{}, fmt.Errorf("the answer edits a header field with the impossible name %q", e.Name)
	}
	value := t.fieldValue(e.Value)
	switch e.Op {
	case verdict.EditInsert:
		if t.actions&gomilter.OptAddHeader == 0 {
			return change{}, fmt.Errorf("%w: add header fields (SMFIF_ADDHDRS)", errNotOffered)
		}
		return change{byte(gomilter.ActInsertHeader), fieldData(0, e.Name, value)}, nil
	case verdict.EditChange, verdict.EditRemove:
		if t.actions&gomilter.OptChangeHeader == 0 {
			return change{}, fmt.Errorf("%w: change header fields (SMFIF_CHGHDRS)", errNotOffered)
		}
		if e.Index < 1 {
			return change{}, fmt.Errorf("the answer edits the %q field number %d; they count from 1", e.Name, e.Index)
		}
		if e.Op == verdict.EditRemove {
			value = "" // that is how SMFIR_CHGHEADER says it
		}
		return change{byte(gomilter.ActChangeHeader), fieldData(e.Index, e.Name, value)}, nil
	}
	return change{}, fmt.Errorf("the answer has an unknown header edit %d", e.Op)
}

func fieldData(index int, name, value string) []byte {
	data := make([]byte, 0, 4+len(name)+1+len(value)+1)
	data = binary.BigEndian.AppendUint32(data, uint32(index))
	data = append(append(data, name...), 0)
	return append(append(data, value...), 0)
}

// isFieldName says whether s is a field name (RFC 5322 section 3.6.8).
func isFieldName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == ':' {
			return false
		}
	}
	return s != ""
}

// fieldValue makes s safe to put into a header: folds with LF, as milters write
// them, and nothing in it that ends the field, begins another or ends the string.
// A space stands in front where the MTA would put none.
func (t terms) fieldValue(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 1)
	if t.protocol&gomilter.OptHeaderLeadingSpace != 0 {
		b.WriteByte(' ')
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == 0 || c == '\r':
		case c == '\n' && (i+1 == len(s) || s[i+1] != ' ' && s[i+1] != '\t'):
			b.WriteByte(' ')
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
