package filter

import (
	"strings"

	"github.com/weirmail/weir/intel/journal"
)

// maxParents bounds the X-Weir-ID fields that are looked at.
const maxParents = 4

// entry is what the journal keeps of a message that goes on for all recipients
// but the held ones.
func (f *Filter) entry(w *work, held []int) *journal.Entry {
	j := w.evidence.Entry()
	j.ID, j.Parent, j.Time = w.ref, f.parent(w), f.o.Identity.Now()
	j.Action, j.Rule = w.verdict.Action, w.verdict.Rule
	j.Size, j.Unjudged = w.mail.Size, w.mail.TooLarge
	to := w.mail.Envelope.To
	j.To = make([]string, 0, len(to)-len(held))
	for i := range to {
		if len(held) > 0 && held[0] == i {
			held = held[1:]
			continue
		}
		j.To = append(j.To, to[i].Address())
	}
	return j
}

// parent finds an X-Weir-ID of ours that the message came in with: a Sieve
// redirect, a list server or an inner hop brought it back.
func (f *Filter) parent(w *work) string {
	n := 0
	for field := range w.message.Header.All(HeaderID) {
		if n++; n > maxParents {
			break
		}
		if id, _, ok := f.o.Identity.Verify(strings.TrimSpace(field.Unfolded())); ok {
			return id
		}
	}
	return ""
}
