package store

import (
	"context"
	"time"

	"github.com/weirmail/weir/intel/kv"
)

// writer collects changes and writes them in batches. Within a refresh a key may
// be changed more than once, so it also reads: what was changed already, else
// what is in the database.
type writer struct {
	db      DB
	ctx     context.Context
	rest    float64           // times as long as a batch took to write nothing is done behind it
	most    int               // changes in a batch; 0: as many as fit
	batch   kv.Batch          // empty but for the moment of writing
	pending map[string][]byte // the changes; nil for a deleted key
	order   []string          // their keys, in the order of their first change
	bytes   int               // of keys and values
	snap    *kv.Snapshot      // of the database since the last batch; nil if nobody asked
	first   func(*kv.Batch)   // adds to the first batch; may be nil
	tried   bool              // to write anything
}

func (s *Store) newWriter(ctx context.Context, rest float64) *writer {
	return &writer{db: s.opts.DB, ctx: ctx, rest: rest, most: s.batch, pending: map[string][]byte{}}
}

// set gives a key a value, which is kept and not nil.
func (w *writer) set(key, value []byte) error { return w.change(key, value) }

func (w *writer) delete(key []byte) error { return w.change(key, nil) }

func (w *writer) change(key, value []byte) error {
	const spare = 4 << 10 // for what first adds
	size := len(key) + len(value)
	if !w.batch.Room(len(w.order)+2, w.bytes+size+spare) || w.most > 0 && len(w.order) >= w.most {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if before, again := w.pending[string(key)]; again {
		w.bytes += len(value) - len(before)
	} else {
		w.order = append(w.order, string(key))
		w.bytes += size
	}
	w.pending[string(key)] = value
	return nil
}

// get gives the present value of a key, nil if there is none.
func (w *writer) get(key []byte) ([]byte, error) {
	if value, changed := w.pending[string(key)]; changed {
		return value, nil
	}
	snap, err := w.snapshot()
	if err != nil {
		return nil, err
	}
	value, found, err := snap.Get(key, nil)
	if err != nil || !found {
		return nil, err
	}
	if value == nil {
		value = []byte{} // there, and empty, as marks are
	}
	return value, nil
}

// snapshot gives the database with all batches that were written.
func (w *writer) snapshot() (*kv.Snapshot, error) {
	if w.snap == nil {
		var err error
		if w.snap, err = w.db.Snapshot(); err != nil {
			return nil, err
		}
	}
	return w.snap, nil
}

// flush writes what is left.
func (w *writer) flush() error {
	if err := context.Cause(w.ctx); err != nil {
		return err
	}
	if len(w.order) == 0 {
		return nil
	}
	defer w.batch.Reset()
	w.tried = true
	if w.first != nil {
		w.first(&w.batch)
	}
	for _, key := range w.order {
		if value := w.pending[key]; value != nil {
			w.batch.Set([]byte(key), value)
		} else {
			w.batch.Delete([]byte(key))
		}
	}
	began := time.Now()
	if err := w.db.Commit(&w.batch); err != nil {
		return err
	}
	w.first = nil
	w.release()
	clear(w.pending)
	w.order, w.bytes = w.order[:0], 0
	return w.pause(time.Duration(w.rest * float64(time.Since(began))))
}

func (w *writer) pause(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}

// release gives up what get held. The writer can go on.
func (w *writer) release() {
	if w.snap != nil {
		w.snap.Release()
		w.snap = nil
	}
}
