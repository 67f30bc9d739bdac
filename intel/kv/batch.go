package kv

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// metaPrefix begins the keys that the package keeps for itself.
const metaPrefix = 0x00

// Batch collects changes that are written together. The zero Batch is empty and
// ready. Keys and values are copied. Of several changes to one key the last one
// counts. A change that is not possible makes Commit fail.
type Batch struct {
	arena []byte
	ops   []batchOp
	bytes int
	err   error
}

type batchOp struct {
	start, key, end int // of the key and, behind it, the value in the arena
	remove          bool
}

// Set gives a key a value. Bounds are MaxKey and MaxValue.
func (b *Batch) Set(key, value []byte) {
	if b.admit(key) {
		b.add(key, value, false)
	}
}

// Delete removes a key. It need not be there.
func (b *Batch) Delete(key []byte) {
	if b.admit(key) {
		b.add(key, nil, true)
	}
}

// SetApplied stores how far a reader has come with its source. It is written in
// one with the rest of the batch. Each reader has a name of its own.
func (b *Batch) SetApplied(reader string, cursor []byte) {
	b.add(appliedKey(reader), cursor, false)
}

func appliedKey(reader string) []byte {
	return append([]byte{metaPrefix, 'a'}, reader...)
}

func (b *Batch) admit(key []byte) bool {
	if len(key) == 0 || key[0] == metaPrefix || bytes.HasPrefix(key, []byte("!badger!")) {
		b.fail(fmt.Errorf("%w: %.40q", ErrReserved, key))
		return false
	}
	return true
}

func (b *Batch) add(key, value []byte, remove bool) {
	if len(key) > MaxKey || len(value) > MaxValue {
		b.fail(fmt.Errorf("%w: key %.40q of %d bytes with a value of %d", ErrTooLarge, key, len(key), len(value)))
		return
	}
	start := len(b.arena)
	b.arena = append(append(b.arena, key...), value...)
	b.ops = append(b.ops, batchOp{start, start + len(key), len(b.arena), remove})
	b.bytes += len(key) + len(value) + perEntry
	if b.bytes > maxBatchBytes || len(b.ops) > maxBatchCount {
		b.fail(fmt.Errorf("%w: a batch of %d entries and %d bytes", ErrTooLarge, len(b.ops), b.bytes))
	}
}

func (b *Batch) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// Len gives the number of changes.
func (b *Batch) Len() int { return len(b.ops) }

// Room reports whether so many changes more, of so many bytes of keys and values
// together, fit into the batch. 10 000 changes or 1.2 MB fill it.
func (b *Batch) Room(changes, size int) bool {
	return len(b.ops)+changes <= maxBatchCount && b.bytes+size+changes*perEntry <= maxBatchBytes
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { b.arena, b.ops, b.bytes, b.err = b.arena[:0], b.ops[:0], 0, nil }

// Writer writes more than a batch holds: it commits whenever a batch is full. It
// is for one goroutine. What was committed stays when a later change fails.
type Writer struct {
	db    *DB
	ctx   context.Context
	rest  float64
	batch Batch
}

// NewWriter makes a Writer that ends with its context. After each batch it rests
// for so many times as long as writing it took, to leave the device and the locks
// to others: 0 is full speed, 1 half of it.
func (db *DB) NewWriter(ctx context.Context, rest float64) *Writer {
	return &Writer{db: db, ctx: ctx, rest: rest}
}

// Set is as Batch.Set. Errors are those of DB.Commit and the context's.
func (w *Writer) Set(key, value []byte) error {
	if err := w.makeRoom(len(key) + len(value)); err != nil {
		return err
	}
	w.batch.Set(key, value)
	return w.batch.err
}

// Delete is as Batch.Delete. Errors are those of Set.
func (w *Writer) Delete(key []byte) error {
	if err := w.makeRoom(len(key)); err != nil {
		return err
	}
	w.batch.Delete(key)
	return w.batch.err
}

// SetApplied is as Batch.SetApplied: it is written with the changes since the
// last full batch, so after all that came before it.
func (w *Writer) SetApplied(reader string, cursor []byte) error {
	if err := w.makeRoom(len(reader) + len(cursor) + 2); err != nil {
		return err
	}
	w.batch.SetApplied(reader, cursor)
	return w.batch.err
}

func (w *Writer) makeRoom(size int) error {
	if w.batch.Room(1, size) {
		return nil
	}
	return w.Flush()
}

// Flush commits what is left.
func (w *Writer) Flush() error {
	if err := context.Cause(w.ctx); err != nil {
		return err
	}
	if w.batch.Len() == 0 {
		return nil
	}
	began := time.Now()
	err := w.db.Commit(&w.batch)
	w.batch.Reset()
	if err != nil || w.rest <= 0 {
		return err
	}
	timer := time.NewTimer(time.Duration(w.rest * float64(time.Since(began))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}
