package control

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/wal"
)

// Bounds on one search.
const (
	maxExamined = 20_000          // entries that are read for one page
	maxMatched  = 8               // observables that are given for each
	indexWait   = 3 * time.Second // for the newest entries to be indexed
)

func (s *Server) journal(ctx context.Context, c *call, st *Stores, in *api.JournalQuery) (any, error) {
	readings, err := readingsOf(in.Value, in.As)
	if err != nil {
		return nil, err
	}
	before, err := parsePosition(in.Before)
	if err != nil {
		return nil, err
	}
	if err := record(ctx, st, c, typeSearched, searchedData{Value: in.Value, As: in.As}); err != nil {
		return nil, err
	}
	page := api.JournalPage{Entries: []api.JournalEntry{}, Lagging: !caughtUp(ctx, st)}
	for _, r := range readings {
		page.Readings = append(page.Readings, api.Reading{As: r.as, Value: r.value})
	}
	f := finder{st: st, readings: readings, in: in}
	if err := f.find(ctx, before, &page); err != nil {
		return nil, err
	}
	return page, nil
}

// caughtUp waits a moment for the index to see the newest entries.
func caughtUp(ctx context.Context, st *Stores) bool {
	ctx, cancel := context.WithTimeout(ctx, indexWait)
	defer cancel()
	return st.Journal.Wait(ctx, st.Journal.Last()) == nil
}

// parsePosition reads the next of a page, "" for the newest.
func parsePosition(text string) (wal.Position, error) {
	if text == "" {
		return ^wal.Position(0), nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n == 0 {
		return 0, api.Errorf(api.BadRequest, "before=%.40s is not the next of a page", text)
	}
	return wal.Position(n), nil
}

// finder collects the entries of one page.
type finder struct {
	st       *Stores
	readings []reading
	in       *api.JournalQuery
}

func (f *finder) find(ctx context.Context, before wal.Position, page *api.JournalPage) error {
	limit := f.in.Limit
	if limit == 0 {
		limit = pageDefault
	}
	positions, more, err := f.newest(ctx, before)
	if err != nil {
		return err
	}
	for i, at := range positions {
		if len(page.Entries) == limit {
			// Where the last one stood that was looked at.
			page.Next = strconv.FormatUint(uint64(positions[i-1]), 10)
			return nil
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		r, err := f.st.Journal.Get(at)
		if errors.Is(err, wal.ErrDropped) {
			break // and so were those before it
		}
		if errors.Is(err, journal.ErrEntry) {
			continue // of a later version: the log tells of it
		}
		if err != nil {
			return err
		}
		if entry, ok := f.take(r.Entry); ok {
			page.Entries = append(page.Entries, entry)
		}
	}
	if more && len(positions) > 0 {
		page.Next = strconv.FormatUint(uint64(positions[len(positions)-1]), 10)
	}
	return nil
}

// newest gives where entries stand that may answer any of the readings, the
// newest first, at most maxExamined before a position; more says that there are
// others.
func (f *finder) newest(ctx context.Context, before wal.Position) (positions []wal.Position, more bool, err error) {
	for _, r := range f.readings {
		// The lists of a key are read from the oldest on, and a key can have
		// millions: a ring keeps the last ones.
		var ring []wal.Position
		n := 0
		for at, err := range f.st.Journal.Positions(r.key) {
			if err != nil {
				return nil, false, err
			}
			if at >= before {
				break
			}
			if len(ring) < maxExamined {
				ring = append(ring, at)
			} else {
				ring[n%maxExamined] = at
			}
			if n++; n%maxExamined == 0 && ctx.Err() != nil {
				return nil, false, context.Cause(ctx)
			}
		}
		more = more || n > len(ring)
		positions = append(positions, ring...)
	}
	slices.Sort(positions)
	positions = slices.Compact(positions)
	slices.Reverse(positions)
	if len(positions) > maxExamined {
		positions, more = positions[:maxExamined], true
	}
	return positions, more, nil
}

// take gives an entry as an answer, if it is one: keys are hashes, and ranges
// wider than what was asked for.
func (f *finder) take(e *journal.Entry) (api.JournalEntry, bool) {
	if !f.in.Since.IsZero() && e.Time.Before(f.in.Since) || !f.in.Until.IsZero() && !e.Time.Before(f.in.Until) {
		return api.JournalEntry{}, false
	}
	found := false
	var matched []api.Observable
	for _, r := range f.readings {
		if r.entry != nil {
			found = found || r.entry(e)
			continue
		}
		for i := range e.Observables {
			if o := &e.Observables[i]; r.observable(o.Value) {
				found = true
				if len(matched) < maxMatched {
					matched = append(matched, observableOf(o))
				}
			}
		}
	}
	entry := entryOf(e)
	entry.Matched = matched
	return entry, found
}

func (s *Server) journalGet(ctx context.Context, c *call, st *Stores, in *api.JournalID) (any, error) {
	id, ok := entryID(in.ID)
	if !ok {
		return nil, &api.Error{Code: api.BadRequest, Text: strconv.Quote(in.ID) + " is not the ID of a journal entry", Cure: "it is the first 26 characters of an X-Weir-ID"}
	}
	if err := record(ctx, st, c, typeSearched, searchedData{Value: id, Entry: true}); err != nil {
		return nil, err
	}
	caughtUp(ctx, st)
	for r, err := range entriesOf(st.Journal, journal.KeyOfID(id)) {
		if err != nil {
			return nil, err
		}
		if r.Entry.ID != id {
			continue // it came from the one that was asked for
		}
		entry := entryOf(r.Entry)
		for i := range r.Entry.Observables {
			entry.Observables = append(entry.Observables, observableOf(&r.Entry.Observables[i]))
		}
		return entry, nil
	}
	return nil, api.Errorf(api.NotFound, "the journal has no entry %s", id)
}

// entriesOf reads the entries under a key, the oldest first.
func entriesOf(j Journal, key journal.Key) iter.Seq2[journal.Record, error] {
	return func(yield func(journal.Record, error) bool) {
		for at, err := range j.Positions(key) {
			var r journal.Record
			if err == nil {
				r, err = j.Get(at)
			}
			if errors.Is(err, wal.ErrDropped) || errors.Is(err, journal.ErrEntry) {
				continue
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func entryOf(e *journal.Entry) api.JournalEntry {
	entry := api.JournalEntry{
		ID: e.ID, Parent: e.Parent, Item: e.Item, Time: e.Time, QueueID: e.QueueID, MessageID: e.MessageID,
		Sender: e.From, Recipients: all(e.To), Helo: e.Helo, AuthUser: e.AuthUser, Direction: e.Direction.String(),
		Subject: e.Subject, HeaderFrom: e.HeaderFrom, Date: e.Date, References: e.References, Files: e.Files, Size: e.Size,
		Verdict: e.Action.String(), Rule: e.Rule, Generation: e.Generation, Unjudged: e.Unjudged, Overflow: e.Overflow,
	}
	if e.From == "" {
		entry.Sender = intel.NullSender().String()
	}
	if e.Client.IsValid() {
		entry.Client = e.Client.String()
	}
	for _, h := range e.Hits {
		entry.Hits = append(entry.Hits, api.JournalHit(h))
	}
	return entry
}

func observableOf(o *intel.Observable) api.Observable {
	return api.Observable{Kind: o.Value.Kind().String(), Value: o.Value.String(), Role: string(o.Role), Place: o.Place}
}

// entryID reads an entry's ID, also from the X-Weir-ID that begins with it.
func entryID(text string) (string, bool) {
	id, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(text)), ".")
	return id, isID(id)
}
