package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
)

// What appending and reading can give, besides disk.ErrNoSpace and ErrDamaged.
var (
	// ErrFailed says that a write or sync failed in a way that leaves open what
	// is on the device. The log can be read, and appends again once it is opened
	// anew.
	ErrFailed = errors.New("log failed and has to be opened anew")
	// ErrClosed says that the log is closed.
	ErrClosed = errors.New("log closed")
	// ErrTooLarge says that a record is larger than MaxRecord.
	ErrTooLarge = errors.New("record too large")
	// ErrPosition says that there is no record at a position.
	ErrPosition = errors.New("not a position of this log")
	// ErrDropped says that a position lies before what the log still holds.
	ErrDropped = errors.New("dropped from the log")
)

// Log is an open log. All methods may be called at the same time.
type Log struct {
	o       Options
	folder  folder
	metrics *metrics
	upkeep  sync.Mutex // held by what replaces or removes finished segments

	mu       sync.Mutex
	segments []Segment // the last one is written to; its Bytes is the durable end
	last     Position  // of the last durable record
	failed   error     // why nothing is appended any more
	closed   bool
	writing  bool          // somebody is the writer, who alone touches the last segment
	idle     *sync.Cond    // by mu; signalled when nobody is any more
	pending  *batch        // nil while nobody writes
	spare    [][]byte      // buffers of earlier batches: one fills while the other is written
	taken    chan struct{} // closed when the pending batch is taken; nil if nobody waits
	moved    chan struct{} // closed when last changes or the log closes; nil if nobody waits

	file      disk.File // of the last segment; these are the writer's
	spaceLeft int64     // bytes that the last look at the free space is good for
	spaceSeen time.Time
}

// batch is what is written and synced at once.
type batch struct {
	buf     []byte
	records int
	last    int           // offset of the last frame in buf
	roll    bool          // a new segment first
	done    chan struct{} // closed once start and err are set
	start   Position
	err     error
}

// Open opens the log in a folder, or makes it. It repairs what the package
// comment says and logs what it cut off; an error is a *DamageError, satisfies
// disk.ErrNoSpace, or comes from the file system. A log must be open once at a
// time: the caller holds a disk.Lock on the state folder.
func Open(o Options) (*Log, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	l := &Log{o: o, folder: folder{fs: o.FS, dir: o.Dir}}
	l.idle = sync.NewCond(&l.mu)
	if err := l.load(); err != nil {
		return nil, fmt.Errorf("open log %s: %w", o.Name, err)
	}
	var err error
	if l.metrics, err = newMetrics(o.Metrics, o.Name); err != nil {
		_ = l.file.Close()
		return nil, err
	}
	return l, nil
}

func (l *Log) load() error {
	if err := disk.MakeFolder(l.o.FS, l.o.Dir, folderMode, siteFolder); err != nil {
		return err
	}
	if err := l.folder.removeTemps(); err != nil {
		return err
	}
	var err error
	if l.segments, err = l.folder.list(); err != nil {
		return err
	}
	if len(l.segments) == 0 {
		return l.begin()
	}
	active := &l.segments[len(l.segments)-1]
	if active.Bytes == headerSize {
		// Its maker may have died, or failed, before its name was durable; every
		// segment that holds something got further.
		l.file, err = l.folder.create(active.Base)
	} else {
		l.file, err = l.o.FS.OpenFile(l.folder.path(active.Base), os.O_RDWR, 0)
	}
	if err != nil {
		return err
	}
	if err := l.repair(active); err != nil {
		_ = l.file.Close()
		return err
	}
	return nil
}

// begin makes a log that was not there before.
func (l *Log) begin() error {
	if _, err := io.ReadFull(l.o.Rand, l.folder.id[:]); err != nil {
		return err
	}
	var err error
	if l.file, err = l.folder.create(0); err != nil {
		return err
	}
	l.segments = []Segment{{0, headerSize}}
	return nil
}

// repair cuts a torn batch from the last segment and makes sure that all before
// it is durable. What a crashed process wrote can be readable and yet be lost at
// the next power cut, also after an fsync that succeeds, if one before it failed:
// so the last batch is written once more.
func (l *Log) repair(active *Segment) error {
	t, err := l.folder.findTail(l.file, *active)
	if err != nil {
		return err
	}
	if t.cut > 0 {
		l.o.Logger.Warn("cut off a batch that was not finished when the log was last in use",
			zap.String("log", l.o.Name), zap.String("segment", l.folder.path(active.Base)),
			zap.Int64("offset", t.end), zap.Int64("bytes", t.cut))
		if err := l.file.Truncate(t.end); err != nil {
			return err
		}
	}
	active.Bytes = t.end
	if t.last > 0 {
		l.last = active.Base + Position(t.last)
		again := make([]byte, t.end-t.back)
		if n, err := l.file.ReadAt(again, t.back); n < len(again) {
			return err
		}
		if _, err := l.file.WriteAt(again, t.back); err != nil {
			return err
		}
	} else if n := len(l.segments); n > 1 {
		if l.last, err = l.folder.lastOf(l.segments[n-2]); err != nil {
			return err
		}
	}
	return l.file.Sync(siteOpen)
}

// lastOf finds the last record of a segment that has a successor.
func (f folder) lastOf(seg Segment) (Position, error) {
	file, err := f.fs.OpenFile(f.path(seg.Base), os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	t, err := f.findTail(file, seg)
	if err != nil {
		return 0, err
	}
	if t.cut > 0 || t.last == 0 {
		return 0, &DamageError{f.path(seg.Base), t.end, "a segment that has a successor does not end with a record"}
	}
	return seg.Base + Position(t.last), nil
}

// Append appends one record and returns its position once it is durable. The
// payload is copied before Append waits. It may be empty.
//
// Errors satisfy disk.ErrNoSpace (nothing was appended; try again when there is
// room), ErrFailed, ErrClosed or ErrTooLarge. When the context ends first the
// error is its cause, and the record may be appended all the same. One that cannot
// end (context.WithoutCancel) spares the goroutine that would wait for the device.
func (l *Log) Append(ctx context.Context, payload []byte) (Position, error) {
	b, off, err := l.append(ctx, payload)
	if err != nil {
		return 0, l.wrap(err)
	}
	return b.start + Position(off), nil
}

// AppendAll appends records in one batch and returns their positions once all
// are durable. Errors are those of Append. A crash before it returns can leave
// the first few of them.
func (l *Log) AppendAll(ctx context.Context, payloads [][]byte) ([]Position, error) {
	if len(payloads) == 0 {
		return nil, nil
	}
	b, off, err := l.append(ctx, payloads...)
	if err != nil {
		return nil, l.wrap(err)
	}
	positions := make([]Position, len(payloads))
	at := b.start + Position(off)
	for i, p := range payloads {
		positions[i] = at
		at += Position(frameSize + len(p))
	}
	return positions, nil
}

// append gives the batch in which the records are durable, and their offset in it.
func (l *Log) append(ctx context.Context, payloads ...[]byte) (*batch, int, error) {
	b, off, mine, err := l.enqueue(ctx, payloads)
	if err == nil {
		err = l.complete(ctx, b, mine)
	}
	return b, off, err
}

// complete gives what became of a batch: one's own is written first.
func (l *Log) complete(ctx context.Context, b *batch, mine bool) error {
	if mine {
		l.write(b)
	}
	return b.wait(ctx)
}

func (l *Log) wrap(err error) error { return fmt.Errorf("append to log %s: %w", l.o.Name, err) }

func (b *batch) wait(ctx context.Context) error {
	select {
	case <-b.done:
		return b.err
	default:
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// enqueue copies records into a batch and gives their offset in it. The batch is the
// caller's to write, or else the pending one.
func (l *Log) enqueue(ctx context.Context, payloads [][]byte) (b *batch, start int, mine bool, err error) {
	need := 0
	for _, p := range payloads {
		if len(p) > MaxRecord {
			return nil, 0, false, fmt.Errorf("%w: %d bytes, of at most %d", ErrTooLarge, len(p), MaxRecord)
		}
		need += frameSize + len(p)
	}
	var few [4]uint64
	sums := few[:0]
	for _, p := range payloads {
		sums = append(sums, xxhash.Sum64(p)) // outside the lock, on the caller's time
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.admit(ctx, need); err != nil {
		return nil, 0, false, err
	}
	b, mine = l.join(ctx)
	start = len(b.buf)
	b.buf = slices.Grow(b.buf, need)
	for i, p := range payloads {
		at := len(b.buf)
		b.last = at
		b.buf = b.buf[:at+frameSize]
		putFrame(b.buf[at:], p, sums[i], at)
		b.buf = append(b.buf, p...)
	}
	b.records += len(payloads)
	return b, start, mine, nil
}

// join gives the pending batch. Where nobody writes, and the caller waits for the
// device in any case, it is one of his own: he is the writer, and goes on to write
// it. l.mu is held.
func (l *Log) join(ctx context.Context) (b *batch, mine bool) {
	if l.pending != nil {
		return l.pending, false
	}
	b = &batch{done: make(chan struct{})}
	if n := len(l.spare); n > 0 {
		b.buf, l.spare = l.spare[n-1][:0], l.spare[:n-1]
	}
	switch {
	case l.writing:
		l.pending = b
	case ctx.Done() == nil:
		l.writing, mine = true, true
	default:
		l.writing, l.pending = true, b
		go l.writeAll()
	}
	return b, mine
}

// admit waits until need bytes may be pending; l.mu is held, and given up while
// it waits.
func (l *Log) admit(ctx context.Context, need int) error {
	for {
		switch {
		case l.closed:
			return ErrClosed
		case l.failed != nil:
			return l.failed
		case l.pending == nil || int64(len(l.pending.buf)+need) <= l.o.MaxPending:
			return nil
		}
		if l.taken == nil {
			l.taken = make(chan struct{})
		}
		taken := l.taken
		l.mu.Unlock()
		var err error
		select {
		case <-taken:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		l.mu.Lock()
		if err != nil {
			return err
		}
	}
}

// Close writes what is pending and closes the log. It waits for the device.
func (l *Log) Close() error {
	l.mu.Lock()
	again := l.closed
	l.closed = true
	l.notifyMoved()
	for l.writing {
		l.idle.Wait()
	}
	l.mu.Unlock()
	if again {
		return nil
	}
	l.metrics.unregister()
	return l.file.Close()
}

// notifyMoved wakes those who wait for records; l.mu is held.
func (l *Log) notifyMoved() {
	if l.moved != nil {
		close(l.moved)
		l.moved = nil
	}
}
