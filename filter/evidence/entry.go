package evidence

import (
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
)

// Bounds on what an entry repeats of a message's header.
const (
	maxEntryText  = 998
	maxEntryIDs   = 50
	maxEntryFiles = 100
	maxEntryHits  = 100
)

// Entry gives what the journal keeps of the message as it was seen. Who writes
// it adds its ID, the time, the recipients whose copies go on and the verdict.
func (e *Evidence) Entry() *journal.Entry {
	m, env := e.Message, e.Envelope
	j := &journal.Entry{
		QueueID: env.QueueID, MessageID: cut(m.MessageID()),
		From: env.From.Address(), Client: e.Client.Addr, Helo: cut(env.Helo), AuthUser: cut(env.AuthUser), Direction: e.Direction,
		Subject: cut(m.Subject()), HeaderFrom: cut(m.Header.Get("From")), Date: cut(m.Header.Get("Date")),
		Size: int64(len(m.Raw)), Body: m.Body, Observables: e.Observables, Generation: e.Generation,
	}
	for _, id := range append(m.References(), m.InReplyTo()...) {
		if len(j.References) < maxEntryIDs {
			j.References = append(j.References, cut(id))
		}
	}
	for i := range m.Parts {
		p := &m.Parts[i]
		if p.Attachment() && p.Name != "" && len(j.Files) < maxEntryFiles {
			j.Files = append(j.Files, cut(p.Name))
		}
		if p.Fingerprint != ([32]byte{}) {
			j.Parts = append(j.Parts, journal.Part{Path: p.Path, Type: cut(p.Type), Name: cut(p.Name), Size: p.Size, Fingerprint: p.Fingerprint})
		}
	}
	for i := range e.Hits {
		h := &e.Hits[i]
		if h.Indicator.Disposition != intel.Allow && len(j.Hits) < maxEntryHits {
			j.Hits = append(j.Hits, journal.Hit{Source: h.Indicator.Source, Line: h.Indicator.Line, Value: h.Text, Place: h.Observable.Place})
		}
	}
	return j
}

func cut(s string) string { return s[:min(len(s), maxEntryText)] }
