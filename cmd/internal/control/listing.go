package control

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/problems"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/list/edit"
)

// What operators do about a value is recorded in an entity of its own, by the
// pattern that stands in a list.
const (
	entityIndicator = "indicator/"
	typeListed      = "listed"     // an entry is about to be written; listingData
	typeUnlisted    = "unlisted"   // an entry is about to be taken out; listingData
	typeNotListed   = "not-listed" // the list could not be written after all
	indicatorSchema = 1
)

// listingData is what the ledger keeps of a change of an operators' list.
type listingData struct {
	Value       string    `json:"value"`
	Disposition string    `json:"disposition"`
	Entry       string    `json:"entry"`
	Was         string    `json:"was,omitempty"` // the line that it replaces
	File        string    `json:"file"`
	Until       time.Time `json:"until,omitzero"`
}

// entityOf names what is recorded about a pattern. It may be longer than an
// entity's name can be, and hold what none can.
func entityOf(p intel.Pattern) string {
	sum := sha256.Sum256(p.AppendKey(nil))
	return entityIndicator + hex.EncodeToString(sum[:16])
}

// listing is a change of an operators' list.
type listing struct {
	kind        string // of the events about entries that are put
	disposition intel.Disposition
	reason      string
	change      edit.Change
}

// list changes an operators' list and has the lists read again. What is done is
// recorded first.
func (s *Server) list(ctx context.Context, c *call, st *Stores, l listing) (*edit.Result, *api.Reloaded, error) {
	dir, err := s.listsDir()
	if err != nil {
		return nil, nil, err
	}
	ctx = context.WithoutCancel(ctx) // half of it helps nobody: what is recorded is written
	until := map[string]time.Time{}
	for i := range l.change.Put {
		until[entityOf(l.change.Put[i].Pattern)] = l.change.Put[i].Until.UTC()
	}
	var recorded []edit.Entry
	record := func(r *edit.Result) error {
		for _, e := range r.Entries {
			if e.Outcome != edit.Unchanged {
				recorded = append(recorded, e)
			}
		}
		return s.recordEntries(ctx, st, c.caller.Actor, l.reason, recorded, func(e *edit.Entry) (string, any) {
			data := listingData{Value: e.Pattern.String(), Disposition: l.disposition.String(), Entry: e.Text, Was: e.Was, File: r.File, Until: until[entityOf(e.Pattern)]}
			if e.Outcome == edit.Removed {
				return typeUnlisted, data
			}
			return l.kind, data
		})
	}
	result, err := s.editor.Apply(dir, l.disposition, l.change, record)
	if err != nil {
		err = listError(err, filepath.Join(dir, l.disposition.String()), l.change)
		if recorded != nil {
			err = errors.Join(err, s.recordEntries(ctx, st, c.caller.Actor, "", recorded, func(*edit.Entry) (string, any) { return typeNotListed, struct{}{} }))
		}
		return nil, nil, err
	}
	if !result.Changes() {
		return result, &api.Reloaded{OK: true, Applied: []string{}, Restart: []string{}, Problems: []api.Problem{}, Lists: []api.List{}}, nil
	}
	reloaded, err := s.reload(ctx, c, &api.None{})
	if err != nil {
		return nil, nil, fmt.Errorf("%s is changed, and the lists could not be read again: %w", result.File, err)
	}
	told := reloaded.(api.Reloaded)
	return result, &told, nil
}

func (s *Server) listsDir() (string, error) {
	dir := s.limits().ListsDir
	if dir == "" {
		return "", api.Errorf(api.Unavailable, "this daemon does not know where its lists are")
	}
	return dir, nil
}

// recordEntries records an event about each entry, several at a time: the ledger
// makes them durable together.
func (s *Server) recordEntries(ctx context.Context, st *Stores, actor, reason string, entries []edit.Entry, event func(*edit.Entry) (kind string, data any)) error {
	const atOnce = 16
	errs := make([]error, len(entries))
	var all sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for i := range entries {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			kind, data := event(&entries[i])
			errs[i] = recordIndicator(ctx, st, entries[i].Pattern, actor, reason, kind, data)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// recordIndicator records what somebody does about a pattern.
func recordIndicator(ctx context.Context, st *Stores, p intel.Pattern, actor, reason, kind string, data any) error {
	raw, err := json.Marshal(data)
	if err != nil {
		return err
	}
	entity := entityOf(p)
	_, err = st.Ledger.Commit(ctx, ledger.Command{ID: entity + "/" + st.Identity.NewID(), Entity: entity, Actor: actor, Reason: reason}, func(ledger.State) ([]ledger.Event, error) {
		return []ledger.Event{{Type: kind, Schema: indicatorSchema, Data: raw}}, nil
	})
	return err
}

// listError says what to do about a list that could not be changed.
func listError(err error, folder string, change edit.Change) error {
	var mistake *edit.MistakeError
	var told *api.Error
	switch {
	case errors.As(err, &told):
		return err
	case errors.As(err, &mistake):
		return &api.Error{Code: api.Failed, Text: err.Error(), Cure: "mend it first"}
	case errors.Is(err, edit.ErrContended):
		return &api.Error{Code: api.Busy, Text: err.Error(), Cure: "try again in a moment"}
	}
	cure := fmt.Sprintf("let the daemon's user write into %s (a systemd unit needs ReadWritePaths=%s for it)", folder, folder)
	if len(change.Put) == 1 {
		if line, err := list.Line(&change.Put[0]); err == nil {
			cure += ", or add the line yourself: " + line
		}
	}
	return &api.Error{Code: api.Failed, Text: fmt.Sprintf("the list could not be written: %v", err), Cure: cure}
}

// noteOf says in an entry's note who wrote it and why.
func noteOf(did, actor, reason string) string {
	const most = 1024 // package list takes no more
	note := strings.Join(strings.Fields(strings.Map(printable, did+" by "+actor+": "+reason)), " ")
	if len(note) > most {
		note = strings.ToValidUTF8(note[:most], "")
	}
	return note
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' || r >= 0x80 && r < 0xa0 {
		return ' '
	}
	return r
}

// changesOf gives what became of entries, as the socket tells it.
func changesOf(r *edit.Result) []api.IntelChange {
	changes := []api.IntelChange{}
	for i := range r.Entries {
		e := &r.Entries[i]
		changes = append(changes, api.IntelChange{Value: e.Pattern.String(), Outcome: string(e.Outcome), File: r.File, Line: e.Line, Entry: e.Text, Was: e.Was})
	}
	return changes
}

// warningsOf gives what lint says of entries that were written.
func (s *Server) warningsOf(r *edit.Result, d intel.Disposition) []api.Problem {
	lines := map[int]bool{}
	for i := range r.Entries {
		if e := &r.Entries[i]; e.Outcome == edit.Added || e.Outcome == edit.Replaced {
			lines[e.Line] = true
		}
	}
	if len(lines) == 0 {
		return nil
	}
	report := list.Lint([]list.File{{Name: r.File, Source: edit.Source(d), Disposition: d}}, list.LintOptions{Now: time.Now(), Own: s.limits().Own.Domains})
	var warnings []api.Problem
	for _, p := range report.Problems {
		if lines[p.Line] {
			warnings = append(warnings, problems.FromList(p))
		}
	}
	return warnings
}
