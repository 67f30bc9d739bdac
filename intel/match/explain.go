package match

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/intel"
)

// Outcome says what became of an entry that matches an observable.
type Outcome string

// The outcomes.
const (
	Decides        Outcome = "decides"
	Noted          Outcome = "noted"           // a watch entry: a hit, but it decides nothing
	LessSpecific   Outcome = "less specific"   // a more specific entry decides
	Allowed        Outcome = "allowed"         // an allow that is as specific beats it
	Expired        Outcome = "expired"         // its until= has passed
	OtherRole      Outcome = "other role"      // its in= does not name the observable's role
	OtherDirection Outcome = "other direction" // its dir= is not the message's
)

// Candidate is one entry that matches, and what became of it.
type Candidate struct {
	Indicator *intel.Indicator
	Level     int // 1 for the most specific one that has entries
	Outcome   Outcome
	By        *intel.Indicator // the deciding entry behind LessSpecific and Allowed; else nil
}

// Hit reports whether Match or MatchTexts would give a hit for the entry.
func (c Candidate) Hit() bool { return c.Outcome == Decides || c.Outcome == Noted }

// String gives the candidate on one line, the way a person would say it.
func (c Candidate) String() string {
	ind := c.Indicator
	var b strings.Builder
	fmt.Fprintf(&b, "%s by %s (%s): ", ind.Disposition, ind.Pattern, origin(ind))
	switch c.Outcome {
	case Decides:
		b.WriteString("decides")
		if ind.Action != intel.ActionNone {
			fmt.Fprintf(&b, ", action %s", ind.Action)
		}
	case Noted:
		b.WriteString("noted, decides nothing")
	case LessSpecific:
		fmt.Fprintf(&b, "less specific than %s (%s)", c.By.Pattern, origin(c.By))
	case Allowed:
		fmt.Fprintf(&b, "as specific as the allow %s (%s), which beats it", c.By.Pattern, origin(c.By))
	case Expired:
		fmt.Fprintf(&b, "expired at %s", ind.Until.UTC().Format(time.RFC3339))
	case OtherRole:
		roles := make([]string, len(ind.Roles))
		for i, r := range ind.Roles {
			roles[i] = string(r)
		}
		fmt.Fprintf(&b, "speaks only of %s", strings.Join(roles, ", "))
	case OtherDirection:
		fmt.Fprintf(&b, "speaks only of %s mail", ind.Direction)
	}
	return b.String()
}

// origin says where an entry stands.
func origin(ind *intel.Indicator) string {
	if ind.Line > 0 {
		return fmt.Sprintf("%s line %d", ind.Source, ind.Line)
	}
	return ind.Source
}

// Explain gives every entry that matches the observable, the most specific
// first, and what Match makes of each. An empty role stands for a role that
// every entry speaks of, so that a bare value can be tried; DirectionAny does
// the same for directions. The error is that of reading the Source.
func (s *Snapshot) Explain(o intel.Observable, d intel.Direction, now time.Time) ([]Candidate, error) {
	e := explainer{role: o.Role, direction: d, now: now}
	levels, err := s.known(o.Value)
	if err != nil {
		return nil, fmt.Errorf("looking up %s %q: %w", o.Value.Kind(), o.Value, err)
	}
	for _, level := range levels {
		e.level(level)
	}
	return e.candidates, nil
}

// ExplainText gives every entry whose expression matches the text, and what
// MatchTexts makes of each.
func (s *Snapshot) ExplainText(t Text, d intel.Direction, now time.Time) []Candidate {
	e := explainer{direction: d, now: now}
	seen := t.bounded(MaxTextsBytes)
	if found := s.texts.match(&seen); len(found) > 0 {
		e.level(found)
	}
	return e.candidates
}

// explainer collects candidates level by level.
type explainer struct {
	role       intel.Role
	direction  intel.Direction
	now        time.Time
	candidates []Candidate
	levels     int
	decider    *intel.Indicator
}

func (e *explainer) level(found []*intel.Indicator) {
	e.levels++
	overruled, first := LessSpecific, len(e.candidates)
	if e.decider == nil {
		// Only blocks are left to be overruled here: an allow that is in force wins.
		overruled, e.decider = Allowed, e.choose(found)
	}
	for _, ind := range found {
		c := Candidate{Indicator: ind, Level: e.levels, Outcome: e.inForce(ind)}
		switch {
		case c.Outcome != Decides:
		case ind.Disposition == intel.Watch:
			c.Outcome = Noted
		case overruled == LessSpecific, ind.Disposition != e.decider.Disposition:
			c.Outcome, c.By = overruled, e.decider
		}
		e.candidates = append(e.candidates, c)
	}
	slices.SortStableFunc(e.candidates[first:], func(a, b Candidate) int { return rank(a.Outcome) - rank(b.Outcome) })
}

// rank puts what counts first.
func rank(o Outcome) int {
	return slices.Index([]Outcome{Decides, Noted, Allowed, LessSpecific, OtherRole, OtherDirection, Expired}, o)
}

// choose gives an entry of the disposition that decides, or nil.
func (e *explainer) choose(found []*intel.Indicator) *intel.Indicator {
	for _, disposition := range []intel.Disposition{intel.Allow, intel.Block} {
		for _, ind := range found {
			if ind.Disposition == disposition && e.inForce(ind) == Decides {
				return ind
			}
		}
	}
	return nil
}

// inForce says why an entry is not in force, else Decides. It is
// Indicator.InForce, taken apart.
func (e *explainer) inForce(ind *intel.Indicator) Outcome {
	role := e.role
	if role == "" && len(ind.Roles) > 0 {
		role = ind.Roles[0]
	}
	if ind.InForce(role, e.direction, e.now) {
		return Decides
	}
	switch {
	case !ind.Until.IsZero() && !e.now.Before(ind.Until):
		return Expired
	case ind.InForce(role, intel.DirectionAny, e.now):
		return OtherDirection
	}
	return OtherRole
}
