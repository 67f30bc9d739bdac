package evidence

import (
	"slices"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
)

// Bounds on what an entry repeats of a message's header.
const (
	maxEntryText  = 998
	maxEntryIDs   = 50
	maxEntryFiles = 100
	maxEntryHits  = 100
	maxEntryType  = 127     // of a part's type; RFC 6838 section 4.2 allows as much on each side
	maxEntryParts = 1 << 20 // bytes of parts, about: the entry has to fit whatever the limits of messages are
)

// Entry gives what the journal keeps of the message as it was seen. Who writes
// it adds its ID, the time, the recipients whose copies go on and the verdict.
func (e *Evidence) Entry() *journal.Entry {
	m, env := e.Message, e.Envelope
	j := &journal.Entry{
		QueueID: env.QueueID, MessageID: cut(m.MessageID()),
		From: env.From.Address(), Client: e.Client.Addr, Helo: cut(env.Helo), AuthUser: cut(env.AuthUser), Direction: e.Direction,
		Subject: cut(m.Subject()), HeaderFrom: cut(m.Header.Get("From")), Date: cut(m.Header.Get("Date")),
		Size: int64(len(m.Raw)), Body: m.Body, Observables: e.telling(), Generation: e.Generation,
	}
	for _, id := range append(m.References(), m.InReplyTo()...) {
		if len(j.References) < maxEntryIDs {
			j.References = append(j.References, cut(id))
		}
	}
	named, size := 0, 0
	for i := range m.Parts {
		p := &m.Parts[i]
		if p.Attachment() && p.Name != "" && len(j.Files) < maxEntryFiles {
			j.Files = append(j.Files, cut(p.Name))
		}
		if p.Fingerprint == ([32]byte{}) {
			continue
		}
		part := journal.Part{Path: p.Path, Type: p.Type[:min(len(p.Type), maxEntryType)], Size: p.Size, Fingerprint: p.Fingerprint}
		if p.Name != "" && named < maxEntryFiles {
			part.Name = cut(p.Name)
			named++
		}
		if size += len(part.Path) + len(part.Type) + len(part.Name) + 50; size > maxEntryParts {
			break
		}
		j.Parts = append(j.Parts, part)
	}
	for i := range e.Hits {
		h := &e.Hits[i]
		if h.Indicator.Disposition != intel.Allow && len(j.Hits) < maxEntryHits {
			j.Hits = append(j.Hits, journal.Hit{Source: h.Indicator.Source, Line: h.Indicator.Line, Value: cut(h.Text), Place: h.Observable.Place})
		}
	}
	return j
}

// telling gives the observables with those in front that a later search needs
// most, where an entry cannot keep them all: what lists knew, then one link of
// each host and what is neither link nor file.
func (e *Evidence) telling() []intel.Observable {
	if len(e.Observables) <= journal.MaxObservables {
		return e.Observables
	}
	known := make(map[intel.Value]bool, len(e.Hits))
	for i := range e.Hits {
		known[e.Hits[i].Observable.Value] = true
	}
	hosts := make(map[string]bool)
	var first, second, rest []intel.Observable
	for _, o := range e.Observables {
		host := o.Value.Host()
		switch {
		case known[o.Value]:
			first = append(first, o)
		case o.Role == intel.RoleAttachment || o.Role == intel.RoleURL && hosts[host]:
			rest = append(rest, o)
		default:
			second = append(second, o)
		}
		if o.Role == intel.RoleURL {
			hosts[host] = true
		}
	}
	return slices.Concat(first, second, rest)
}

func cut(s string) string { return s[:min(len(s), maxEntryText)] }
