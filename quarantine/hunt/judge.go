package hunt

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/intel/store"
)

// book is what is hunted for: added indicators by the key of their pattern.
type book struct {
	by        map[string][]store.Addition
	newest    uint64 // the highest generation in it
	campaigns bool   // some have one
	texts     bool   // some are regular expressions
	room      []byte
}

func newBook() *book { return &book{by: map[string][]store.Addition{}} }

func (b *book) add(a store.Addition) {
	key := string(a.Indicator.Pattern.AppendKey(nil))
	b.by[key] = append(b.by[key], a)
	b.newest = max(b.newest, a.Generation)
	b.campaigns = b.campaigns || a.Indicator.Campaign != ""
	b.texts = b.texts || a.Indicator.Pattern.Form() == intel.FormRegexp
}

// has reports whether this very indicator was added by a generation after the
// given one.
func (b *book) has(ind *intel.Indicator, after uint64) bool {
	b.room = ind.Pattern.AppendKey(b.room[:0])
	return slices.ContainsFunc(b.by[string(b.room)], func(a store.Addition) bool {
		return a.Generation > after && same(a.Indicator, ind)
	})
}

// same reports whether two indicators for one pattern say the same. The line is
// left out: every edit moves lines.
func same(a, b *intel.Indicator) bool {
	return a.Source == b.Source && a.Disposition == b.Disposition && a.Action == b.Action && a.Direction == b.Direction &&
		a.Until.Equal(b.Until) && a.Campaign == b.Campaign && a.ID == b.ID && a.Note == b.Note && a.Confidence == b.Confidence && slices.Equal(a.Roles, b.Roles)
}

// worth reports whether mail that an indicator matches is to come back: it
// blocks, still, and not only to have mail tagged.
func worth(ind *intel.Indicator, now time.Time) bool {
	return ind.Disposition == intel.Block && ind.Action != intel.ActionTag && ind.Action != intel.ActionAccept &&
		(ind.Until.IsZero() || now.Before(ind.Until))
}

// judge judges entries again by the lists of this moment.
type judge struct {
	lists *match.Snapshot
	now   time.Time
	book  *book
	// relisted says that the book may hold what was known for long: the place was
	// lost, or the lists were read into an empty database.
	relisted bool
}

// finding is an added indicator that an entry is found by.
type finding struct {
	ind  *intel.Indicator
	what string // what it matched
}

// findings gives why an entry is what is hunted for; nothing if it is not. The
// error is that of reading the lists.
func (j *judge) findings(e *journal.Entry) ([]finding, error) {
	if e.Generation >= j.book.newest {
		return nil, nil
	}
	hits, err := hitsOf(j.lists, e, j.book.texts, j.now)
	if err != nil {
		return nil, err
	}
	var found []finding
	for i := range hits {
		h := &hits[i]
		if worth(h.Indicator, j.now) && j.book.has(h.Indicator, e.Generation) && (!j.relisted || !wasKnown(e, h)) {
			found = append(found, finding{h.Indicator, h.Text})
		}
	}
	if len(found) > 0 || !j.book.campaigns {
		return found, nil
	}
	return j.overruled(e)
}

// overruled gives added indicators that match and do not decide, where what
// decides is a block of the same campaign.
func (j *judge) overruled(e *journal.Entry) (found []finding, err error) {
	for _, o := range observables(e) {
		candidates, err := j.lists.Explain(o, e.Direction, j.now)
		if err != nil {
			return nil, err
		}
		for _, c := range candidates {
			if c.Outcome == match.LessSpecific && c.Indicator.Campaign != "" && c.By.Campaign == c.Indicator.Campaign &&
				worth(c.Indicator, j.now) && worth(c.By, j.now) && j.book.has(c.Indicator, e.Generation) {
				found = append(found, finding{c.Indicator, o.Value.String()})
			}
		}
	}
	return found, nil
}

// wasKnown reports whether a hit was there when the message was let through: that
// was policy, not ignorance.
func wasKnown(e *journal.Entry, h *intel.Hit) bool {
	return slices.ContainsFunc(e.Hits, func(then journal.Hit) bool {
		return then.Source == h.Indicator.Source && then.Value == h.Text && then.Place == h.Observable.Place
	})
}

// hitsOf gives what lists say of an entry now; of its texts only if they are wanted.
func hitsOf(lists *match.Snapshot, e *journal.Entry, wantTexts bool, now time.Time) ([]intel.Hit, error) {
	hits, err := lists.Match(nil, observables(e), e.Direction, now)
	if err != nil {
		return nil, fmt.Errorf("judging entry %s again: %w", e.ID, err)
	}
	if wantTexts {
		hits, _ = lists.MatchTexts(hits, texts(e), e.Direction, now)
	}
	return hits, nil
}

// observables gives those of an entry, and of one that could not keep them all
// what its envelope tells besides.
func observables(e *journal.Entry) []intel.Observable {
	if e.Overflow == 0 {
		return e.Observables
	}
	all := slices.Clip(e.Observables)
	add := func(v intel.Value, role intel.Role) {
		o := intel.Observable{Value: v, Role: role, Place: "envelope"}
		if !slices.Contains(e.Observables, o) {
			all = append(all, o)
		}
	}
	if v, ok := journal.AddressOf(e.From); ok {
		add(v, intel.RoleEnvelopeFrom)
	}
	if v, err := intel.IP(e.Client); err == nil {
		add(v, intel.RoleClient)
	}
	for _, to := range e.To {
		if v, ok := journal.AddressOf(to); ok {
			add(v, intel.RoleRcpt)
		}
	}
	return all
}

// texts gives what an entry keeps of the texts that regular expressions look at.
func texts(e *journal.Entry) []match.Text {
	all := make([]match.Text, 0, 5+len(e.Files))
	all = append(all, match.Text{Field: intel.FieldSubject, Value: e.Subject, Place: "header/Subject"})
	for _, name := range e.Files {
		all = append(all, match.Text{Field: intel.FieldFileName, Value: name})
	}
	header := func(name, value string) {
		if value != "" {
			all = append(all, match.Text{Field: intel.FieldHeader, Name: name, Value: value, Place: "header/" + name})
		}
	}
	header("Subject", e.Subject)
	header("From", e.HeaderFrom)
	header("Date", e.Date)
	if e.MessageID != "" {
		header("Message-ID", "<"+e.MessageID+">")
	}
	return all
}

// searchable reports whether an entry keeps any text that a regular expression
// looks at.
func searchable(p intel.Pattern) bool {
	return slices.ContainsFunc(p.Fields(), func(f intel.Field) bool {
		switch f {
		case intel.FieldSubject, intel.FieldFileName, intel.FieldHeader,
			"header:subject", "header:from", "header:date", "header:message-id":
			return true
		}
		return false
	})
}
