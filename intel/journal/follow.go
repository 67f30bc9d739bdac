package journal

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/journal/postings"
	"github.com/weirmail/weir/intel/wal"
)

const (
	// retryAfter is how long the index rests when there is no room to write it.
	retryAfter = 5 * time.Second
	// pruneEvery is how often it is looked what has to go while no entry comes. A full
	// journal takes none.
	pruneEvery = time.Minute
)

// run follows the log until the context ends. A lack of space is waited out:
// the log is the truth, and the index catches up when there is room.
func (x *index) run(ctx context.Context) (err error) {
	defer func() {
		x.mu.Lock()
		x.ended = cmp.Or(err, errors.New("it was told to"))
		close(x.moved)
		x.moved = make(chan struct{})
		x.mu.Unlock()
	}()
	upkeep, stop := context.WithCancel(ctx)
	var merger sync.WaitGroup
	merger.Go(func() { x.merge(upkeep) })
	defer merger.Wait()
	defer stop()
	f := follower{x: x}
	for {
		err := f.catchUp(ctx)
		if err == nil || errors.Is(err, disk.ErrNoSpace) { // what goes makes room
			err = cmp.Or(x.j.prune(), err)
		}
		pause := x.j.o.GroupDelay
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, disk.ErrNoSpace):
			x.j.o.Logger.Warn("the journal's index waits for disk space; entries are safe in the log", zap.Error(err))
			pause = retryAfter
		case err != nil:
			return err
		default:
			err := x.quiet(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-x.hurry:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// quiet returns when there is an entry to be indexed, or after a while without.
func (x *index) quiet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pruneEvery)
	defer cancel()
	err := x.j.log.Wait(ctx, x.appliedTo())
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// follower collects one group of postings at a time.
type follower struct {
	x     *index
	group []postings.Posting
	zones []zone
	notes []byte
	ahead *int64 // by how much the numbers of weeks are; nil before the first entry
}

// catchUp indexes all that the log holds at this moment.
func (f *follower) catchUp(ctx context.Context) error {
	x := f.x
	x.mu.Lock()
	last, current := x.applied, x.currentWeek()
	x.mu.Unlock()
	if err := f.write(current, false); err != nil { // before more is taken
		return err
	}
	after := wal.Position(last.At)
	if segments := x.j.log.Segments(); len(segments) > 0 && after < segments[0].Base {
		after = 0 // what lay between was dropped
	}
	f.group, f.zones = f.group[:0], f.zones[:0]
	for raw, err := range x.j.log.Read(after) {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		n := x.take(raw)
		// Clocks go back; weeks do not, or a sealed one would have to be opened again.
		if number := f.week(current, n.week); current == nil || number > current.number {
			if err := f.flush(current, last, true); err != nil {
				return err
			}
			if current, err = x.begin(number, last); err != nil {
				return err
			}
		}
		for _, key := range n.keys {
			f.group = append(f.group, postings.Posting{Key: uint64(key), At: uint64(raw.Position)})
		}
		if len(n.keys) > 0 {
			f.zones = x.grid.add(f.zones, zone{raw.Position, n.time, n.time})
		}
		last = postings.Mark{At: uint64(raw.Position), Check: raw.Check}
		if len(f.group) >= maxGroup {
			if err := f.flush(current, last, false); err != nil {
				return err
			}
		}
	}
	return f.flush(current, last, false)
}

// week gives the number that the week of an entry has in the index. Where a clock
// that was ahead began a week that is long in coming, those that pass meanwhile
// follow it, or it would take all of them and never be over.
func (f *follower) week(current *weekIndex, passed int64) int64 {
	if current == nil {
		return passed
	}
	if f.ahead == nil {
		f.ahead = new(current.ahead())
	}
	if passed+*f.ahead < current.number-1 {
		*f.ahead = current.number + 1 - passed
	}
	return passed + *f.ahead
}

// take gives the keys of an entry: as Append noted them, else from the entry.
func (x *index) take(raw wal.Record) note {
	x.mu.Lock()
	x.taken = raw.Position
	n, ok := x.noted[raw.Position]
	if ok {
		delete(x.noted, raw.Position)
		x.notes -= 1 + len(n.keys)
	}
	x.mu.Unlock()
	if ok {
		return n
	}
	e, err := x.j.codec.decode(raw.Payload)
	if err != nil {
		// An entry of a later version, or one that was erased, is not found by
		// what it carries; all others have to be.
		x.j.o.Logger.Error("a journal entry cannot be indexed", zap.Uint64("position", uint64(raw.Position)), zap.Error(err))
		return note{}
	}
	return noteOf(nil, e)
}

// currentWeek gives the week that the applied record lies in, nil at the start.
// Weeks behind it, if any, are indexed once more: something before them was
// lost. The caller holds mu.
func (x *index) currentWeek() *weekIndex {
	for _, w := range x.weeks {
		if w.applied == x.applied && w.applied.At > 0 {
			return w
		}
	}
	return nil
}

// begin opens the index of a week that begins behind a record. What it had is
// indexed anew.
func (x *index) begin(number int64, after postings.Mark) (*weekIndex, error) {
	x.mu.Lock()
	w := x.weeks[number]
	delete(x.weeks, number)
	x.mu.Unlock()
	if w != nil {
		if err := w.set.Remove(); err != nil {
			return nil, err
		}
	}
	w, err := x.open(number)
	if err == nil {
		w.after, w.applied = after, after
	}
	return w, err
}

// flush adds the group; then lookups see all entries through last. With seal the
// week is over.
func (f *follower) flush(w *weekIndex, last postings.Mark, seal bool) error {
	if w == nil {
		return nil
	}
	if last != w.applied {
		f.notes = f.notes[:0]
		for _, z := range f.zones {
			f.notes = z.append(f.notes)
		}
		w.set.Add(f.group, w.applied, last, f.notes)
		f.x.advance(w, last, f.zones)
	}
	f.group, f.zones = f.group[:0], f.zones[:0]
	return f.write(w, seal)
}

// write writes what is in memory if that is much, or old, or if the week is over.
func (f *follower) write(w *weekIndex, seal bool) error {
	switch {
	case w == nil || seal && w.sealed:
		return nil
	case seal:
	case w.set.Waiting() < f.x.j.o.maxWaiting && (w.since.IsZero() || f.x.j.o.Clock().Sub(w.since) < writeAfter):
		return nil
	}
	if err := w.set.Write(seal); err != nil {
		return err
	}
	w.since = time.Time{}
	f.x.mu.Lock()
	w.sealed = seal
	f.x.mu.Unlock()
	select {
	case f.x.written <- struct{}{}:
	default:
	}
	return nil
}

// advance lets searches see what was indexed.
func (x *index) advance(w *weekIndex, last postings.Mark, zones []zone) {
	if w.since.IsZero() {
		w.since = x.j.o.Clock()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, z := range zones {
		w.zones = x.grid.set(w.zones, x.grid.merge(w.zones, z))
	}
	w.applied, w.sealed = last, false
	x.applied = last
	close(x.moved)
	x.moved = make(chan struct{})
}

// merge merges files of the index when some were written. What does not go now is
// tried again then: lookups only ask more files meanwhile.
func (x *index) merge(ctx context.Context) {
	for {
		x.mu.Lock()
		weeks := slices.Collect(maps.Values(x.weeks))
		x.mu.Unlock()
		for _, w := range weeks {
			for merged := true; merged; {
				var err error
				if merged, err = w.set.Merge(ctx); err != nil && ctx.Err() == nil {
					x.j.o.Logger.Error("files of the journal's index are not merged; lookups are slower until they are", zap.Int64("week", w.number), zap.Error(err))
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-x.written:
		}
	}
}
