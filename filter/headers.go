package filter

import (
	"bytes"
	"mime"
	"strings"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

// The fields that Weir writes.
const (
	HeaderID      = "X-Weir-ID"
	HeaderVerdict = "X-Weir-Verdict"
)

// maxSubjects bounds how many Subject fields are tagged; a message with more
// than one is broken, and clients differ in which one they show.
const maxSubjects = 4

// edits lists the changes to the header of a message that goes on. The message
// is nil where nothing of it is known.
func (f *Filter) edits(w *work, v *verdict.Verdict) []verdict.Edit {
	var list []verdict.Edit
	if !v.Observed && w.message != nil {
		list = append(removeOurs(w.message), tagSubject(w.message, v.Tag.SubjectPrefix)...)
	}
	if w.evidence == nil || w.evidence.Direction != intel.Outbound {
		list = append(list, verdict.Edit{Op: verdict.EditInsert, Name: HeaderVerdict, Value: verdictField(v, w.ref)})
	}
	return append(list, verdict.Edit{Op: verdict.EditInsert, Name: HeaderID, Value: f.o.Identity.Sign(w.ref)})
}

// maxForged bounds the fields of ours that are removed from one message: the MTA
// looks for each from the top. A header with more is one that the shipped policy
// does not let pass (header-limit).
const maxForged = 2000

// removeOurs takes out the fields of ours that a message came in with, the
// highest index first since removing one moves those below it.
func removeOurs(m *message.Message) []verdict.Edit {
	var list []verdict.Edit
	for _, name := range []string{HeaderID, HeaderVerdict} {
		for i := min(max(m.Header.Count(name), countFields(m.Raw, name)), maxForged); i > 0; i-- {
			list = append(list, verdict.Edit{Op: verdict.EditRemove, Name: name, Index: i})
		}
	}
	return list
}

// countFields counts the fields of a name as the MTA has them: the parser's
// limits leave some out. The message is as the milter put it together, so that an
// empty line ends the header and nothing else does.
func countFields(raw []byte, name string) int {
	n := 0
	for len(raw) > 0 && raw[0] != '\r' && raw[0] != '\n' {
		if len(raw) > len(name) && (raw[0]^name[0])&^0x20 == 0 && bytes.EqualFold(raw[:len(name)], []byte(name)) && bytes.HasPrefix(bytes.TrimLeft(raw[len(name):], " \t"), []byte(":")) {
			n++
		}
		end := bytes.IndexByte(raw, '\n')
		if end < 0 {
			break
		}
		raw = raw[end+1:]
	}
	return n
}

// verdictField says what Weir made of the message: verdict, rule, reference.
// Whoever reads it has a copy that went on, so it speaks of those copies alone,
// and never of notes or lists. In observe mode it says what would have been.
func verdictField(v *verdict.Verdict, ref string) string {
	if v.Observed {
		return v.Action.String() + "; rule=" + v.Rule + "; ref=" + ref + "; mode=observe"
	}
	action, rule := intel.ActionAccept, policy.DefaultRule
	for i := range v.Recipients {
		if r := &v.Recipients[i]; !r.Hold && (action == intel.ActionAccept || r.Action == intel.ActionTag) {
			action, rule = r.Action, r.Rule
		}
	}
	return action.String() + "; rule=" + rule + "; ref=" + ref
}

// tagSubject puts the prefix before the subject as it stands, encoded words
// and all, unless it is there already.
func tagSubject(m *message.Message, prefix string) []verdict.Edit {
	if prefix == "" {
		return nil
	}
	encoded := mime.QEncoding.Encode("utf-8", prefix)
	var list []verdict.Edit
	index := 0
	for field := range m.Header.All("Subject") {
		if index++; index > maxSubjects {
			break
		}
		if !strings.HasPrefix(field.Value(), prefix) {
			list = append(list, verdict.Edit{Op: verdict.EditChange, Name: "Subject", Index: index, Value: strings.TrimRight(encoded+" "+field.Unfolded(), " ")})
		}
	}
	if index == 0 {
		list = append(list, verdict.Edit{Op: verdict.EditInsert, Name: "Subject", Value: encoded})
	}
	return list
}
