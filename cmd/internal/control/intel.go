package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/list/edit"
	"github.com/weirmail/weir/quarantine"
)

// maxListed bounds the entries of one change.
const maxListed = 10_000

func (s *Server) intelAdd(ctx context.Context, c *call, st *Stores, in *api.IntelAdd) (any, error) {
	l, err := listingOf(in, c.caller.Actor)
	if err != nil {
		return nil, err
	}
	if l.disposition == intel.Allow && s.limits().SecondPerson {
		return nil, errSecondPerson()
	}
	if err := s.mayBeWide(in, l.change.Put); err != nil {
		return nil, err
	}
	if in.DryRun {
		dir, err := s.listsDir()
		if err != nil {
			return nil, err
		}
		result, err := s.editor.Plan(dir, l.disposition, l.change)
		if err != nil {
			return nil, listError(err, dir, edit.Change{})
		}
		return api.IntelChanged{Changes: changesOf(result), DryRun: true}, nil
	}
	result, reloaded, err := s.list(ctx, c, st, l)
	if err != nil {
		return nil, err
	}
	answer := api.IntelChanged{Changes: changesOf(result), Reloaded: reloaded, Warnings: s.warningsOf(result, l.disposition)}
	return answer, s.answerNow(st, result, &answer)
}

// mayBeWide refuses what would stop all mail, unless it was asked for as such.
func (s *Server) mayBeWide(in *api.IntelAdd, put []intel.Indicator) error {
	if in.Wide {
		return nil
	}
	own := s.limits().Own
	for i := range put {
		if reason, cure := list.TooWide(&put[i], own); reason != "" {
			return &api.Error{Code: api.Refused, Text: fmt.Sprintf("%s is too wide: it %s", put[i].Pattern, reason), Cure: cure + ", or add --wide if all of that is meant"}
		}
	}
	return nil
}

// answerNow says of one value what decides about it now.
func (s *Server) answerNow(st *Stores, r *edit.Result, answer *api.IntelChanged) error {
	if len(r.Entries) != 1 {
		return nil
	}
	u, err := unblockableFor(r.Entries[0].Pattern)
	if err != nil {
		return err
	}
	answer.Answer, answer.Listed, err = s.listedNow(st, u)
	return err
}

// listingOf reads what is to be listed. The error is an *api.Error.
func listingOf(in *api.IntelAdd, actor string) (listing, error) {
	d, ok := intel.ParseDisposition(in.Disposition)
	switch {
	case !ok:
		return listing{}, api.Errorf(api.BadRequest, "disposition %.40q is none of block, allow and watch", in.Disposition)
	case strings.TrimSpace(in.Reason) == "":
		return listing{}, quarantine.ErrReason
	case len(in.Entries) == 0:
		return listing{}, api.Errorf(api.BadRequest, "there is no entry")
	case len(in.Entries) > maxListed:
		return listing{}, &api.Error{Code: api.BadRequest, Text: fmt.Sprintf("%d entries, and %d are the most", len(in.Entries), maxListed), Cure: "what is so long belongs into a list file of its own, or into a feed"}
	}
	l := listing{kind: typeListed, disposition: d, reason: in.Reason}
	seen := map[string]bool{}
	for i := range in.Entries {
		ind, err := indicatorOf(&in.Entries[i], d)
		if err != nil {
			var told *api.Error
			if errors.As(err, &told) && len(in.Entries) > 1 {
				told.Text = fmt.Sprintf("entry %d: %s", i+1, told.Text)
			}
			return l, err
		}
		if ind.Note == "" {
			ind.Note = noteOf("listed", actor, in.Reason)
		}
		if key := string(ind.Pattern.AppendKey(nil)); !seen[key] { // of two the first counts
			seen[key] = true
			l.change.Put = append(l.change.Put, ind)
		}
	}
	return l, nil
}

// indicatorOf reads one entry. The error is an *api.Error.
func indicatorOf(e *api.IntelEntry, d intel.Disposition) (intel.Indicator, error) {
	ind := intel.Indicator{Disposition: d, Until: e.Until.UTC().Truncate(time.Second), Confidence: e.Confidence, Note: e.Note, Campaign: e.Campaign, ID: e.ID}
	var err error
	if ind.Pattern, err = patternOf(e.Value); err != nil {
		return ind, err
	}
	if e.Until.IsZero() {
		ind.Until = time.Time{}
	}
	var ok bool
	switch ind.TLP, ok = intel.ParseTLP(e.TLP); {
	case e.TLP != "" && !ok:
		return ind, api.Errorf(api.BadRequest, "tlp %.40q is none of clear, green, amber, amber+strict and red", e.TLP)
	case e.Confidence < 0 || e.Confidence > 100:
		return ind, api.Errorf(api.BadRequest, "a confidence of %d: it is 1 to 100, or left out", e.Confidence)
	case d == intel.Allow:
		if err := mayAllow(e.Until); err != nil {
			return ind, err
		}
	case !e.Until.IsZero() && !e.Until.After(time.Now()):
		return ind, api.Errorf(api.BadRequest, "the entry would have ended at %s", e.Until.UTC().Format(time.RFC3339))
	}
	if _, err := list.Line(&ind); err != nil {
		return ind, api.Errorf(api.BadRequest, "%v", err)
	}
	return ind, nil
}

// patternOf reads a value. The error is an *api.Error.
func patternOf(text string) (intel.Pattern, error) {
	p, err := list.ParsePattern(strings.TrimSpace(text))
	if err == nil {
		return p, nil
	}
	e := &api.Error{Code: api.BadRequest, Text: err.Error()}
	var problem *list.Problem
	if errors.As(err, &problem) {
		e.Text, e.Cure = fmt.Sprintf("%q %s", problem.Value, problem.Reason), problem.Cure
	}
	return p, e
}

func (s *Server) intelRemove(ctx context.Context, c *call, st *Stores, in *api.IntelRemove) (any, error) {
	p, err := patternOf(in.Value)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(in.Reason) == "" {
		return nil, quarantine.ErrReason
	}
	from := []intel.Disposition{intel.Block, intel.Allow, intel.Watch}
	if in.Disposition != "" {
		d, ok := intel.ParseDisposition(in.Disposition)
		if !ok {
			return nil, api.Errorf(api.BadRequest, "disposition %.40q is none of block, allow and watch", in.Disposition)
		}
		from = []intel.Disposition{d}
	}
	answer := api.IntelChanged{Changes: []api.IntelChange{}}
	for _, d := range from {
		result, reloaded, err := s.list(ctx, c, st, listing{disposition: d, reason: in.Reason, change: edit.Change{Remove: []intel.Pattern{p}}})
		if err != nil {
			return nil, err
		}
		if result.Changes() {
			answer.Changes, answer.Reloaded = append(answer.Changes, changesOf(result)...), reloaded
		}
	}
	u, err := unblockableFor(p)
	if err != nil {
		return nil, err
	}
	if answer.Answer, answer.Listed, err = s.listedNow(st, u); err != nil {
		return nil, err
	}
	if len(answer.Changes) > 0 {
		return answer, nil
	}
	e := &api.Error{Code: api.NotFound, Text: fmt.Sprintf("%s stands in no list of the operators", p)}
	if len(answer.Listed) > 0 {
		e.Cure = "listed by " + answer.Listed[0].Source + ": weir intel show says more, and weir intel unblock allows it all the same"
	}
	return nil, e
}
