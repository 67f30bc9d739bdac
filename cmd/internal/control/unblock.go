package control

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/explain"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/list/edit"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/incident"
)

// Bounds on what is shown of what an unblocking would let through.
const (
	unblockDays     = 7
	maxPassed       = 1000
	maxExamples     = 10
	maxUnblockItems = 10_000
	maxAllowed      = 366 * 24 * time.Hour // for which operators may allow something
)

// unblockable is a value that can be allowed.
type unblockable struct {
	pattern intel.Pattern
	line    string      // as a list has it
	value   intel.Value // one that the pattern matches
}

// unblockableOf reads a value. The error is an *api.Error.
func unblockableOf(text string) (*unblockable, error) {
	p, err := patternOf(text)
	if err != nil {
		return nil, err
	}
	return unblockableFor(p)
}

func unblockableFor(p intel.Pattern) (*unblockable, error) {
	u := &unblockable{pattern: p, line: p.String()}
	if line, err := list.Line(&intel.Indicator{Pattern: p, Disposition: intel.Allow}); err == nil {
		u.line = line // which may have to say its kind
	}
	var err error
	switch p.Form() {
	case intel.FormBelow:
		u.value, err = intel.Domain(p.Text())
	case intel.FormPrefix:
		u.value, err = intel.URL(p.Text())
	case intel.FormRange:
		address, _, _ := strings.Cut(p.Text(), "/")
		u.value, err = list.ParseValue(address)
	default:
		u.value = p.Value()
	}
	return u, err
}

// snapshot gives lists in which the value alone stands.
func (u *unblockable) snapshot() (*match.Snapshot, error) {
	memory := match.NewMemory()
	memory.Add(&intel.Indicator{Pattern: u.pattern, Disposition: intel.Block})
	return memory.Snapshot(0)
}

func (s *Server) unblockPlan(ctx context.Context, c *call, st *Stores, in *api.UnblockPlan) (any, error) {
	return s.evidence(ctx, c, st, in)
}

// evidence gives what depends on a value, and records that somebody looked.
func (s *Server) evidence(ctx context.Context, c *call, st *Stores, in *api.UnblockPlan) (*api.Unblocking, error) {
	u, err := unblockableOf(in.Value)
	if err != nil {
		return nil, err
	}
	answer := &api.Unblocking{Value: u.line, Days: cmp.Or(in.Days, unblockDays), Examples: []api.JournalEntry{}, Items: []api.Item{}, Incidents: []api.Incident{}}
	since := time.Now().AddDate(0, 0, -answer.Days)
	if err := record(ctx, st, c, typeSearched, searchedData{Value: u.line, Since: since.UTC()}); err != nil {
		return nil, err
	}
	if answer.Answer, answer.Listed, err = s.listedNow(st, u); err != nil {
		return nil, err
	}
	alone, err := u.snapshot()
	if err != nil {
		return nil, err
	}
	defer alone.Release()
	if err := passedWith(ctx, st, u, alone, since, answer); err != nil {
		return nil, err
	}
	if answer.Items, err = heldFor(ctx, st, alone); err != nil {
		return nil, err
	}
	if st.Incidents != nil {
		answer.Incidents, err = restingOn(ctx, st, u, answer.Listed)
	}
	return answer, err
}

// listedNow says what the lists in force know of a value.
func (s *Server) listedNow(st *Stores, u *unblockable) (string, []api.Candidate, error) {
	snapshot := st.Matcher.Acquire()
	defer snapshot.Release()
	tested, err := explain.Observable(snapshot, intel.Observable{Value: u.value}, intel.DirectionAny, time.Now())
	if err != nil {
		return "", nil, err
	}
	return tested.Answer, tested.Candidates, nil
}

// errEnough ends a search that has found enough.
var errEnough = errors.New("enough")

// passedWith counts what was let through and carries the value.
func passedWith(ctx context.Context, st *Stores, u *unblockable, alone *match.Snapshot, since time.Time, answer *api.Unblocking) error {
	c, err := candidates(u.pattern)
	if err != nil {
		return err
	}
	query := (&conditions{all: []condition{c}}).query(journal.Query{Since: since})
	caughtUp(ctx, st, st.Journal.Last())
	err = searchAll(ctx, st, query, func(e *journal.Entry) error {
		what, err := hitIn(alone, e)
		if err != nil || what == "" {
			return err
		}
		if answer.Passed == maxPassed {
			answer.More = true
			return errEnough
		}
		if answer.Passed++; len(answer.Examples) < maxExamples {
			answer.Examples = append(answer.Examples, entryOf(e))
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// heldFor gives the items that are held for something that a list would match.
func heldFor(ctx context.Context, st *Stores, alone *match.Snapshot) ([]api.Item, error) {
	items := []api.Item{}
	listed(ctx, st)
	query := quarantine.Query{Kind: quarantine.KindHeld, Limit: quarantine.MaxLimit}
	for {
		page, err := st.Quarantine.List(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, i := range page.Items {
			query.Before = i.ID
			if is, err := heldBy(i, alone); err != nil {
				return nil, err
			} else if is {
				items = append(items, itemOf(i))
			}
			if len(items) == maxUnblockItems {
				return items, nil
			}
		}
		if !page.More {
			return items, nil
		}
	}
}

func heldBy(i *quarantine.Item, alone *match.Snapshot) (bool, error) {
	for _, r := range i.Facts.Reasons {
		v, err := list.ParseValue(r.Kind + ":" + r.Value)
		if r.Kind == "" || err != nil {
			continue // a regular expression, or a text that was cut
		}
		hits, err := alone.Match(nil, []intel.Observable{{Value: v}}, intel.DirectionAny, time.Now())
		if err != nil || len(hits) > 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// restingOn gives the incidents whose key or title names the value, or an entry
// that blocks it: who unblocks a link that a message carried wants the incident of
// the entry for all links of that site.
func restingOn(ctx context.Context, st *Stores, u *unblockable, listed []api.Candidate) ([]api.Incident, error) {
	incidents, who, texts := []api.Incident{}, names{}, []string{strings.ToLower(u.pattern.Text())}
	for i := range listed {
		if c := &listed[i]; c.Disposition == "block" {
			texts = append(texts, strings.ToLower(c.Entry))
		}
	}
	query := incident.Query{Limit: incident.MaxLimit}
	for {
		page, err := st.Incidents.List(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, i := range page.Incidents {
			query.Before = i.ID
			names := strings.ToLower(i.Key + "\n" + i.Title)
			if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(names, text) }) {
				incidents = append(incidents, incidentOf(i, who))
			}
		}
		if !page.More {
			return incidents, nil
		}
	}
}

// typeUnblocked is the event of an entry that allows a value; its data is a
// listingData.
const typeUnblocked = "unblocked"

func (s *Server) unblock(ctx context.Context, c *call, st *Stores, in *api.Unblock) (any, error) {
	u, err := unblockableOf(in.Value)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(in.Reason) == "" {
		return nil, quarantine.ErrReason
	}
	if err := mayAllow(in.Until); err != nil {
		return nil, err
	}
	if s.limits().SecondPerson {
		return nil, errSecondPerson()
	}
	ind := intel.Indicator{Pattern: u.pattern, Disposition: intel.Allow, Until: in.Until, Note: noteOf("unblocked", c.caller.Actor, in.Reason)}
	result, reloaded, err := s.list(ctx, c, st, listing{kind: typeUnblocked, disposition: intel.Allow, reason: in.Reason, change: edit.Change{Put: []intel.Indicator{ind}}})
	if err != nil {
		return nil, err
	}
	e := &result.Entries[0]
	answer := &api.Unblocked{File: result.File, Line: e.Line, Entry: e.Text, Replaced: e.Outcome != edit.Added, Reloaded: *reloaded}
	answer.Answer, answer.Listed, err = s.listedNow(st, u)
	return answer, err
}

// mayAllow bounds how long operators may allow something.
func mayAllow(until time.Time) error {
	if left := time.Until(until); left <= 0 || left > maxAllowed {
		return &api.Error{Code: api.BadRequest, Text: "the entry would end at " + until.UTC().Format(time.RFC3339), Cure: "say a time within the next year; what is allowed for good belongs into a list of its own"}
	}
	return nil
}
