package journal

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/wal"
)

// retryAfter is how long the index rests when there is no room to write it.
const retryAfter = 5 * time.Second

// posting says that an entry has a key.
type posting struct {
	key Key
	at  wal.Position
}

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
	f := follower{x: x}
	for {
		err := f.catchUp(ctx)
		if err == nil {
			err = x.j.prune()
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
			if err := x.j.log.Wait(ctx, x.appliedTo()); err != nil {
				if ctx.Err() != nil {
					return nil
				}
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

// follower collects one group of postings at a time.
type follower struct {
	x     *index
	group []posting
	zones []zone
	batch kv.Batch
	value []byte
}

// catchUp indexes all that the log holds at this moment.
func (f *follower) catchUp(ctx context.Context) error {
	x := f.x
	x.mu.Lock()
	last, current := x.applied, x.currentWeek()
	x.mu.Unlock()
	after := last.at
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
		if current == nil || n.week > current.number {
			if err := f.flush(current, last, true); err != nil {
				return err
			}
			if current, err = x.begin(n.week, last); err != nil {
				return err
			}
		}
		for _, key := range n.keys {
			f.group = append(f.group, posting{key, raw.Position})
		}
		if len(n.keys) > 0 {
			f.zones = x.grid.add(f.zones, zone{raw.Position, n.time, n.time})
		}
		last = mark{raw.Position, raw.Check}
		if len(f.group) >= maxGroup {
			if err := f.flush(current, last, false); err != nil {
				return err
			}
		}
	}
	return f.flush(current, last, false)
}

// take gives the keys of an entry: as Append noted them, else from the entry.
func (x *index) take(raw wal.Record) note {
	x.mu.Lock()
	n, ok := x.noted[raw.Position]
	delete(x.noted, raw.Position)
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
func (x *index) currentWeek() *weekDB {
	for _, w := range x.weeks {
		if w.applied == x.applied && w.applied.at > 0 {
			return w
		}
	}
	return nil
}

// begin opens the database of a week that begins behind a position.
func (x *index) begin(number int64, after mark) (*weekDB, error) {
	x.mu.Lock()
	w := x.weeks[number]
	x.mu.Unlock()
	if w == nil {
		var err error
		if w, err = x.open(number); err != nil {
			return nil, err
		}
	}
	var b kv.Batch
	b.SetApplied(readerAfter, after.encode())
	b.SetApplied(readerSealed, nil)
	if err := w.db.Commit(&b); err != nil {
		return nil, err
	}
	x.mu.Lock()
	w.after, w.sealed = after, false
	x.mu.Unlock()
	return w, nil
}

// flush writes the group; then all entries through last are indexed. With seal
// the week is over.
func (f *follower) flush(w *weekDB, last mark, seal bool) error {
	if w == nil || len(f.group) == 0 && last == w.applied && seal == w.sealed {
		return nil
	}
	slices.SortFunc(f.group, func(a, b posting) int {
		if a.key != b.key { // nearly always; cmp.Or would make both comparisons
			return cmp.Compare(a.key, b.key)
		}
		return cmp.Compare(a.at, b.at)
	})
	grid := f.x.grid
	var key [keyBytes]byte
	f.batch.Reset()
	for i := 0; i < len(f.group); {
		first := f.group[i]
		f.value = f.value[:0]
		at := first.at
		for i++; i < len(f.group) && f.group[i].key == first.key && grid.block(f.group[i].at) == grid.block(first.at) && len(f.value) < maxList; i++ {
			f.value = binary.AppendUvarint(f.value, uint64(f.group[i].at-at))
			at = f.group[i].at
		}
		k := binary.BigEndian.AppendUint64(appendPostingKey(key[:0], first.key), uint64(first.at))
		if err := f.put(w, k, f.value); err != nil {
			return err
		}
	}
	for i := range f.zones {
		z := grid.merge(w.zones, f.zones[i])
		f.zones[i], f.value = z, z.append(f.value[:0])
		if err := f.put(w, appendZoneKey(key[:0], grid.block(z.first)), f.value); err != nil {
			return err
		}
	}
	if !f.batch.Room(2, 64) {
		if err := w.db.Commit(&f.batch); err != nil {
			return err
		}
		f.batch.Reset()
	}
	f.batch.SetApplied(readerApplied, last.encode())
	if seal {
		f.batch.SetApplied(readerSealed, last.encode())
	}
	if err := w.db.Commit(&f.batch); err != nil {
		return err
	}
	f.x.advance(w, last, seal, f.zones)
	f.group, f.zones = f.group[:0], f.zones[:0]
	return nil
}

// put adds to the batch, and writes it first where it is full.
func (f *follower) put(w *weekDB, key, value []byte) error {
	if !f.batch.Room(1, len(key)+len(value)) {
		if err := w.db.Commit(&f.batch); err != nil {
			return err
		}
		f.batch.Reset()
	}
	f.batch.Set(key, value)
	return nil
}

// advance lets searches see what was indexed.
func (x *index) advance(w *weekDB, last mark, seal bool, zones []zone) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, z := range zones {
		w.zones = x.grid.set(w.zones, z)
	}
	w.applied, w.sealed = last, seal
	x.applied = last
	close(x.moved)
	x.moved = make(chan struct{})
}
