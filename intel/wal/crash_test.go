package wal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/crashtest"
	"github.com/weirmail/weir/intel/disk/faulty"
)

// workload appends to a small log, from one caller and from several, runs into a
// full disk and a failing sync on the way, and drops old segments.
type workload struct {
	rng     *rand.Rand
	next    uint64
	mu      sync.Mutex
	known   map[Position]uint64 // positions acknowledged or seen by a reader, and the number in the record there
	first   Position            // nothing before this is expected: it was dropped
	dropped Position            // a drop up to here may have happened
	wiped   map[Position]bool   // positions of records that were rewritten
}

func newWorkload() crashtest.Workload {
	return &workload{rng: rand.New(rand.NewPCG(7, 7)), known: map[Position]uint64{}, wiped: map[Position]bool{}}
}

func (w *workload) open(d *faulty.Disk) (*Log, error) {
	return Open(Options{FS: d, Dir: "/state/log", Name: "test", SegmentBytes: 3000})
}

// record gives a record that tells its number, the upper half of which is its
// length. No byte of it is zero.
func record(n uint64) []byte {
	p := binary.LittleEndian.AppendUint64(nil, n)
	for i := range int(n >> 32) {
		p = append(p, byte(n)^byte(i)|1)
	}
	return binary.LittleEndian.AppendUint64(p, xxhash.Sum64(p))
}

// number gives a new record's number; it will span some sectors.
func (w *workload) number() uint64 {
	w.mu.Lock()
	length := 20 + w.next*7919%1200
	w.mu.Unlock()
	return w.sized(length)
}

func (w *workload) sized(length uint64) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	return length<<32 | w.next
}

func (w *workload) acknowledged(at Position, n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known[at] = n
}

func (w *workload) append(l *Log) error { return w.appendNumber(l, w.number()) }

func (w *workload) appendNumber(l *Log, n uint64) error {
	at, err := l.Append(context.Background(), record(n))
	if err == nil {
		w.acknowledged(at, n)
	}
	return err
}

func (w *workload) Run(d *faulty.Disk) error {
	l, err := w.open(d)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	// What a reader was shown counts as known too: views are built from it.
	if err := w.see(l); err != nil {
		return err
	}
	for range 6 {
		if err := w.append(l); err != nil {
			return err
		}
	}
	if err := w.fillDisk(d, l); err != nil {
		return err
	}
	if err := w.together(l); err != nil {
		return err
	}
	if l, err = w.failSync(d, l); err != nil {
		return err
	}
	for range 4 {
		if err := w.append(l); err != nil {
			return err
		}
	}
	if err := w.wipe(l); err != nil {
		return err
	}
	w.mu.Lock()
	if segs := l.Segments(); len(segs) > 4 {
		w.dropped = segs[2].Base
	}
	before := w.dropped
	w.mu.Unlock()
	if err := l.Drop(before); err != nil {
		return err
	}
	w.mu.Lock()
	w.first = before
	w.mu.Unlock()
	return l.Close()
}

func (w *workload) see(l *Log) error {
	for r, err := range l.Read(0) {
		if err != nil {
			return err
		}
		w.acknowledged(r.Position, binary.LittleEndian.Uint64(r.Payload))
	}
	return nil
}

// fillDisk lets a batch run into a full disk in its middle, then makes room.
func (w *workload) fillDisk(d *faulty.Disk, l *Log) error {
	free, err := d.Free("/state")
	if err != nil {
		return err
	}
	used := int64(1<<50) - free
	for _, s := range l.Segments() {
		used += s.Bytes
	}
	d.SetCapacity(used + 900)
	full := w.appendNumber(l, w.sized(1500))
	d.SetCapacity(0)
	if !d.Dead() && !errors.Is(full, disk.ErrNoSpace) {
		return fmt.Errorf("on a full disk: %w", full)
	}
	return w.appendNumber(l, w.sized(700))
}

// together appends from several callers at once, some of them several records.
func (w *workload) together(l *Log) error {
	var wg sync.WaitGroup
	errs := make([]error, 5)
	for i := range errs {
		wg.Go(func() {
			if i%2 == 0 {
				errs[i] = w.append(l)
				return
			}
			a, b := w.number(), w.number()
			at, err := l.AppendAll(context.Background(), [][]byte{record(a), record(b)})
			if errs[i] = err; err == nil {
				w.acknowledged(at[0], a)
				w.acknowledged(at[1], b)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// wipe rewrites the segment that holds the last record so far.
func (w *workload) wipe(l *Log) error {
	if err := l.Roll(context.Background()); err != nil {
		return err
	}
	segs := l.Segments()
	var at []Position
	if err := l.Rewrite(segs[len(segs)-2].Base, func(p Position, payload []byte) bool {
		at = append(at, p)
		copy(payload, wipedRecord(binary.LittleEndian.Uint64(payload)))
		return true
	}); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range at {
		w.wiped[p] = true
	}
	return nil
}

// wipedRecord is a record as long as record gives, of which only the number is left.
func wipedRecord(n uint64) []byte {
	p := record(n)
	for i := 8; i < len(p); i++ {
		p[i] = 'w'
	}
	return p
}

// failSync has the device fail one sync. The log has to refuse from then on, and
// to work again once it is opened anew.
func (w *workload) failSync(d *faulty.Disk, l *Log) (*Log, error) {
	d.Inject(func(op faulty.Op) error {
		if op.Site == siteAppend {
			return errors.New("input/output error")
		}
		return nil
	})
	first := w.append(l)
	d.Inject(nil)
	second := w.append(l)
	if !d.Dead() && (!errors.Is(first, ErrFailed) || !errors.Is(second, ErrFailed)) {
		return l, fmt.Errorf("a failed sync gave %v, then %v", first, second)
	}
	if err := l.Close(); err != nil {
		return l, err
	}
	l2, err := w.open(d)
	if err != nil {
		return l, err
	}
	return l2, w.see(l2)
}

func (w *workload) Check(d *faulty.Disk) error {
	l, err := w.open(d)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	found := map[Position]bool{}
	for r, err := range l.Read(0) {
		if err != nil {
			return err
		}
		n := binary.LittleEndian.Uint64(r.Payload)
		switch string(r.Payload) {
		case string(wipedRecord(n)):
		case string(record(n)):
			if w.wiped[r.Position] {
				return fmt.Errorf("record %d at %x was wiped and is back", n, r.Position)
			}
		default:
			return fmt.Errorf("record at %x is not one that was appended", r.Position)
		}
		if want, ok := w.known[r.Position]; ok && want != n {
			return fmt.Errorf("record at %x is number %d, not %d", r.Position, n, want)
		}
		found[r.Position] = true
		w.known[r.Position] = n
	}
	for at, n := range w.known {
		switch {
		case found[at]:
		case at >= w.dropped:
			return fmt.Errorf("record %d at %x was acknowledged and is gone", n, at)
		}
	}
	for at := range found {
		if at < w.first {
			return fmt.Errorf("the record at %x was dropped and is back", at)
		}
	}
	return nil
}

func TestNoAcknowledgedRecordIsLostWhenThePowerGoes(t *testing.T) {
	crashtest.Suite{New: newWorkload, Tears: 60}.Test(t)
}
