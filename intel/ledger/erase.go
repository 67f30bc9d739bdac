package ledger

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/weirmail/weir/intel/wal"
)

// TypeErased is the type of the event that Erase commits.
const TypeErased = ownTypes + "erased"

// Erase records that reason and data of all events that an entity has so far
// shall be wiped; Scrub does it. The event itself, with its reason, stays until
// the entity is erased again. Errors are those of Commit, and ErrNotFound.
func (l *Ledger) Erase(ctx context.Context, c Command) (Receipt, error) {
	decide := func(s State) ([]Event, error) {
		if s.Version == 0 {
			return nil, fmt.Errorf("erase %s: %w", c.Entity, ErrNotFound)
		}
		return []Event{{Type: TypeErased, Schema: 1}}, nil
	}
	return l.submit(ctx, &request{command: c, decide: decide, own: true, done: make(chan result, 1)})
}

// Scrub wipes what Erase has recorded, durably, and gives the number of records
// that it wiped. It rewrites every segment that holds some, so it is for quiet
// hours, not for each Erase. It needs free space for one segment. What it did not
// come to, it does the next time.
func (l *Ledger) Scrub(ctx context.Context) (int, error) {
	if err := l.index.flush(); err != nil {
		return 0, fmt.Errorf("scrub ledger: %w", err)
	}
	erased, err := l.index.erased()
	if err != nil || len(erased) == 0 {
		return 0, err
	}
	positions, err := l.toWipe(erased)
	if err != nil {
		return 0, fmt.Errorf("scrub ledger: %w", err)
	}
	n, err := l.wipe(ctx, positions)
	if err != nil {
		return n, err
	}
	return n, l.index.setWiped(erased)
}

// toWipe finds the records before those that say that their entity was erased.
func (l *Ledger) toWipe(erased []entry) (map[wal.Position]bool, error) {
	positions := map[wal.Position]bool{}
	for _, e := range erased {
		r, err := l.record(e.cursor.at)
		for err == nil && r.Before != 0 {
			if r, err = l.record(r.Before); err == nil && !r.wiped {
				positions[r.at] = true
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return positions, nil
}

// wipe rewrites the segments that hold the given records, and gives the number of
// records that it changed.
func (l *Ledger) wipe(ctx context.Context, positions map[wal.Position]bool) (int, error) {
	segs := l.log.Segments()
	touched := make([]bool, len(segs))
	for at := range positions {
		i := sort.Search(len(segs), func(i int) bool { return segs[i].Base > at })
		touched[i-1] = true
	}
	if touched[len(touched)-1] { // still written to
		if err := l.log.Roll(ctx); err != nil {
			return 0, fmt.Errorf("scrub ledger: %w", err)
		}
	}
	n := 0
	for i, s := range segs {
		if !touched[i] {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return n, err
		}
		var bad error
		err := l.log.Rewrite(s.Base, func(at wal.Position, payload []byte) bool {
			if !positions[at] {
				return false
			}
			_, b, _, err := split(payload)
			if err != nil {
				bad = err
				return false
			}
			clear(b)
			n++
			return true
		})
		if err := errors.Join(err, bad); err != nil {
			return n, fmt.Errorf("scrub ledger: %w", err)
		}
	}
	return n, nil
}
