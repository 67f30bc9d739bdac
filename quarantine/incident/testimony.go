package incident

import (
	"strings"
	"time"

	"github.com/weirmail/weir/intel/ledger"
)

// Word is what an event says of the indicators of an incident.
type Word string

// The words.
const (
	Rests    Word = "rests"    // mail was surely found by Testimony.Patterns
	Pulls    Word = "pulls"    // policy has begun to pull such mail, by a source that it trusts
	Approves Word = "approves" // a person has such mail pulled
	Doubts   Word = "doubts"   // a person has put such mail back, or called it a false alarm
)

// Testimony is what one event says of the indicators that an incident rests on, for
// those who pass on what is confirmed. What feeds find is left out: it is their
// publishers' to tell.
type Testimony struct {
	Incident string
	Word     Word
	Patterns []string // names (intel.Pattern.Name)
	ByPerson bool     // a person named them, so that they may stand in no list
	Time     time.Time
}

// TestimonyOf gives what an event says; ok is false if it says nothing. The error is
// that of an event that cannot be read.
func TestimonyOf(e *ledger.Event) (t Testimony, ok bool, err error) {
	prefix := incidentPrefix
	switch e.Type {
	case typeMatched:
		prefix = matchesPrefix
	case typeConfirmed, typeRestoring:
		prefix = deliveryPrefix
	case typeAdmitted, typeApproved, typeClosed:
	default:
		return t, false, nil
	}
	rest, is := strings.CutPrefix(e.Entity, prefix)
	id, _, _ := strings.Cut(rest, "/")
	if !is || id == "" {
		return t, false, nil
	}
	t = Testimony{Incident: id, Time: e.Time, ByPerson: isPerson(e.Actor)}
	foreign := strings.HasPrefix(e.Actor, "feed:")
	switch e.Type {
	case typeMatched:
		var d matchedData
		if foreign || e.Erased {
			return t, false, nil
		}
		if err := unmarshal(e, &d); err != nil {
			return t, false, err
		}
		for n := range d.Messages {
			t.rest(d.Messages[n].Chain)
		}
	case typeConfirmed:
		var d confirmedData
		if foreign || e.Erased {
			return t, false, nil
		}
		if err := unmarshal(e, &d); err != nil {
			return t, false, err
		}
		t.rest(d.Chain)
	case typeAdmitted:
		t.Word = Pulls
		return t, !foreign, nil
	case typeApproved:
		t.Word = Approves
		return t, true, nil
	case typeRestoring:
		t.Word = Doubts
		return t, true, nil
	case typeClosed:
		var d closedData
		if !e.Erased {
			err = unmarshal(e, &d)
		}
		t.Word = Doubts
		return t, d.FalseAlarm, err
	}
	t.Word = Rests
	return t, len(t.Patterns) > 0, nil
}

// rest adds the pattern that led to a message, if it did so surely and directly.
func (t *Testimony) rest(chain []Step) {
	if len(chain) != 1 || !chain[0].Sure || chain[0].Indicator == "" {
		return
	}
	for _, p := range t.Patterns {
		if p == chain[0].Indicator {
			return
		}
	}
	t.Patterns = append(t.Patterns, chain[0].Indicator)
}
