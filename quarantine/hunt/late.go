package hunt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/intel/store"
	"github.com/weirmail/weir/intel/wal"
)

// maxLateRead is how many entries are read at once behind a swap.
const maxLateRead = 5000

// followLate reads on in the journal behind a swap of the lists, while entries
// that were judged by those of before can come. It reports that there is more to
// read now.
func (h *Hunt) followLate(ctx context.Context) (more bool, err error) {
	if !h.place.following() {
		return false, nil
	}
	over := !h.o.Clock().Before(h.place.Until) // before looking how far the journal reaches
	if h.o.Journal.Last() > h.place.Position {
		if more, err = h.readLate(ctx); err != nil || more {
			return more, err
		}
	}
	if over && !h.lateWork() {
		h.place.Until, h.unsaid = time.Time{}, true
	}
	return false, nil
}

// lateWork reports whether something found late is not dealt with yet.
func (h *Hunt) lateWork() bool {
	for _, p := range h.passes {
		if p.found.late {
			return true
		}
	}
	return len(h.late) > 0
}

// readLate reads on and hands over what it finds. Entries that were judged by
// lists of before and that those of today block are suspects; few are, and only
// for them it is worth asking what was added since.
func (h *Hunt) readLate(ctx context.Context) (more bool, err error) {
	lists := h.o.Matcher.Acquire()
	defer lists.Release()
	now := h.o.Clock()
	since := now.Add(-time.Duration(h.lookBack.Load()))
	before := h.place.Position
	var suspects []journal.Record
	entries := h.o.Journal.ReadJudgedBefore(before, lists.Generation())
	at, more, err := h.read(ctx, before, entries, func(r journal.Record) (enough bool, err error) {
		if r.Entry == nil || r.Entry.Time.Before(since) {
			return false, nil
		}
		hits, err := hitsOf(lists, r.Entry, true, now)
		if slices.ContainsFunc(hits, func(hit intel.Hit) bool { return worth(hit.Indicator, now) }) {
			suspects = append(suspects, r)
		}
		return len(suspects) == pageLimit, err
	})
	if errors.Is(err, wal.ErrPosition) {
		h.startOver(err)
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the journal behind a change of the lists: %w", err)
	}
	if len(suspects) > 0 {
		if err := h.convict(ctx, lists, now, suspects, before); err != nil {
			return false, err
		}
	}
	h.place.Position = at
	return more, nil
}

// read has the entries behind a position visited, until that was enough or they were
// many. It gives the position that it has come to, and reports that there may be
// more behind it. Entries that cannot be read are passed over. The error satisfies
// wal.ErrPosition where the position is none of this journal.
func (h *Hunt) read(ctx context.Context, after wal.Position, entries iter.Seq2[journal.Record, error], visit func(journal.Record) (enough bool, err error)) (at wal.Position, more bool, err error) {
	at, n := after, 0
	for r, err := range entries {
		switch {
		case errors.Is(err, wal.ErrDropped):
			return 0, true, nil // all that is kept lies behind it
		case errors.Is(err, journal.ErrEntry) && r.Position > at:
			return r.Position, true, nil // of a later version, or erased
		case err != nil:
			return at, false, err
		}
		if err := context.Cause(ctx); err != nil {
			return at, false, err
		}
		enough, err := visit(r)
		if err != nil {
			return at, false, err
		}
		at = r.Position
		if n++; enough || n == maxLateRead {
			return at, true, nil
		}
	}
	return at, false, nil
}

// convict hands over those suspects that something is in which was added after
// they were judged.
func (h *Hunt) convict(ctx context.Context, lists *match.Snapshot, now time.Time, suspects []journal.Record, before wal.Position) error {
	oldest := suspects[0].Entry.Generation
	wanted := map[string]bool{} // patterns that may be why
	for _, r := range suspects {
		oldest = min(oldest, r.Entry.Generation)
		if err := patternsOf(wanted, lists, r.Entry, now); err != nil {
			return err
		}
	}
	b, relisted, err := h.addedOf(ctx, oldest, wanted, now)
	if err != nil {
		return err
	}
	j := judge{lists: lists, now: now, book: b, relisted: relisted}
	f := newFound(h, &Result{From: oldest, Generation: lists.Generation(), Late: true, Examined: len(suspects), Everything: relisted})
	f.late, f.after = true, before
	for _, r := range suspects {
		findings, err := j.findings(r.Entry)
		if err != nil {
			return err
		}
		f.add(r, findings)
	}
	if len(f.order) == 0 {
		return nil
	}
	if err := f.handOver(ctx); err != nil {
		return err
	}
	h.late = append(h.late, f)
	return nil
}

// patternsOf collects the keys of all patterns that speak of an entry.
func patternsOf(dst map[string]bool, lists *match.Snapshot, e *journal.Entry, now time.Time) error {
	note := func(candidates []match.Candidate) {
		for _, c := range candidates {
			dst[string(c.Indicator.Pattern.AppendKey(nil))] = true
		}
	}
	for _, o := range observables(e) {
		candidates, err := lists.Explain(o, e.Direction, now)
		if err != nil {
			return err
		}
		note(candidates)
	}
	for _, t := range texts(e) {
		note(lists.ExplainText(t, e.Direction, now))
	}
	return nil
}

// addedOf gives, of the indicators that were added after a generation, those for
// patterns that are wanted. relisted is as judge has it.
func (h *Hunt) addedOf(ctx context.Context, after uint64, wanted map[string]bool, now time.Time) (b *book, relisted bool, err error) {
	b = newBook()
	var room []byte
	for a, err := range h.additions(after, &relisted) {
		if err = cmp.Or(err, context.Cause(ctx)); err != nil {
			return nil, false, fmt.Errorf("reading what the lists added: %w", err)
		}
		room = a.Indicator.Pattern.AppendKey(room[:0])
		if wanted[string(room)] && worth(a.Indicator, now) {
			b.add(a)
		}
	}
	return b, relisted, nil
}

// additions gives what was added after a generation, or all that is listed where
// that is forgotten.
func (h *Hunt) additions(after uint64, forgotten *bool) iter.Seq2[store.Addition, error] {
	return func(yield func(store.Addition, error) bool) {
		for a, err := range h.o.Lists.Added(after) {
			if errors.Is(err, store.ErrForgotten) {
				*forgotten = true
				break
			}
			if !yield(a, err) || err != nil {
				return
			}
		}
		if !*forgotten {
			return
		}
		for a, err := range h.o.Lists.All() {
			if !yield(a, err) || err != nil {
				return
			}
		}
	}
}
