package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
)

// keepBuffer bounds a buffer that is kept for a later batch.
const keepBuffer = 4 << 20

// write writes the batch of somebody who found nobody writing: to wake another
// goroutine for that, and be woken by it, would cost as much as the device. Others'
// batches are not his to wait for, so another goroutine takes what gathered meanwhile.
func (l *Log) write(b *batch) {
	l.settle(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending == nil {
		l.rest()
		return
	}
	go l.writeAll()
}

// writeAll writes what gathers while the batch before is on its way to the device,
// until nothing does: nobody waits for company.
func (l *Log) writeAll() {
	for {
		// Those whom the last batch woke, and who are ready to append again, go
		// first: no time is spent waiting, and the batch is twice as large.
		runtime.Gosched()
		b := l.take()
		if b == nil {
			return
		}
		l.settle(b)
	}
}

// take gives the writer the pending batch; nil if there is none, and then he is the
// writer no more.
func (l *Log) take() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.pending
	l.pending = nil
	if l.taken != nil {
		close(l.taken)
		l.taken = nil
	}
	if b == nil {
		l.rest()
	}
	return b
}

// rest says that nobody writes any more; l.mu is held.
func (l *Log) rest() {
	l.writing = false
	l.idle.Broadcast()
}

// settle commits a batch and tells those who wait for it.
func (l *Log) settle(b *batch) {
	var err error
	defer func() {
		// The caller of Append may survive a panic. Then nobody knows what the device
		// holds.
		if v := recover(); v != nil {
			l.o.Logger.Error("panic while a log was written", zap.String("log", l.o.Name), zap.Any("panic", v), zap.Stack("stack"))
			err = l.fail(fmt.Errorf("panic: %v", v))
		}
		l.finish(b, err)
	}()
	err = l.commit(b)
}

// commit makes a batch durable behind the last record. After an error the log on
// disk is as before, or l.failed is set.
func (l *Log) commit(b *batch) error {
	l.mu.Lock()
	failed, active := l.failed, l.segments[len(l.segments)-1]
	l.mu.Unlock()
	if failed != nil {
		return failed
	}
	if err := l.checkSpace(int64(len(b.buf))); err != nil {
		return err
	}
	if (active.Bytes >= l.o.SegmentBytes || b.roll) && active.Bytes > headerSize {
		next, err := l.roll(active)
		if err != nil {
			return err
		}
		active = next
	}
	if len(b.buf) == 0 {
		return nil
	}

	b.start = active.end()
	b.stamp(l.folder.id)
	began := time.Now()
	_, err := l.file.WriteAt(b.buf, active.Bytes)
	if err == nil {
		err = l.file.Datasync(siteAppend)
	}
	l.metrics.sync.Observe(time.Since(began).Seconds())
	if err == nil {
		return nil
	}
	return l.rollBack(active, err)
}

// While there is that much more than has to be, a look at the free space is good
// for so many bytes, and so long.
const (
	spaceLook = 1 << 20
	spaceAge  = 100 * time.Millisecond
)

// checkSpace refuses a batch that would leave less than MinFree.
func (l *Log) checkSpace(need int64) error {
	if l.spaceLeft -= need; l.spaceLeft >= 0 && time.Since(l.spaceSeen) < spaceAge {
		return nil
	}
	l.spaceLeft = 0
	guard := disk.Guard{FS: l.o.FS, Path: l.o.Dir, MinFree: l.o.MinFree}
	if guard.Check(need+spaceLook) != nil {
		return guard.Check(need)
	}
	l.spaceLeft, l.spaceSeen = spaceLook, time.Now()
	return nil
}

// stamp completes the frames, now that their positions are known.
func (b *batch) stamp(id logID) {
	for off := 0; off < len(b.buf); {
		stamp(b.buf[off:], id, b.start+Position(off))
		off += frameSize + int(binary.LittleEndian.Uint32(b.buf[off:]))
	}
}

// roll makes the next segment and writes to it from now on. All of the one
// before is durable.
func (l *Log) roll(active Segment) (Segment, error) {
	file, err := l.folder.create(active.end())
	if errors.Is(err, disk.ErrNoSpace) {
		// Unless its name is there already: then the one before must not grow.
		if _, statErr := l.o.FS.Stat(l.folder.path(active.end())); errors.Is(statErr, fs.ErrNotExist) {
			return active, err
		}
	}
	if err != nil {
		return active, l.fail(err)
	}
	if err := l.file.Close(); err != nil {
		l.o.Logger.Warn("closing a finished segment", zap.String("log", l.o.Name), zap.Error(err))
	}
	l.file = file
	next := Segment{active.end(), headerSize}
	l.mu.Lock()
	l.segments = append(l.segments, next)
	l.mu.Unlock()
	return next, nil
}

// rollBack undoes a batch that found no room. The cut has to be durable before
// anything else is written there, so that a power cut cannot mix the two. Any
// other cause leaves open what the device holds, and the log fails.
func (l *Log) rollBack(active Segment, cause error) error {
	if !errors.Is(cause, disk.ErrNoSpace) {
		return l.fail(cause)
	}
	if err := l.file.Truncate(active.Bytes); err != nil {
		return l.fail(fmt.Errorf("%w, after %w", err, cause))
	}
	if err := l.file.Sync(siteRollback); err != nil {
		return l.fail(fmt.Errorf("%w, after %w", err, cause))
	}
	return cause
}

// fail makes the log refuse to append and gives the error that says so.
func (l *Log) fail(cause error) error {
	err := fmt.Errorf("%w: %v", ErrFailed, cause) // not %w: trying again is wrong, also if space was short
	l.o.Logger.Error("the log failed and refuses writes until it is opened anew", zap.String("log", l.o.Name), zap.Error(cause))
	l.mu.Lock()
	l.failed = err
	l.mu.Unlock()
	return err
}

// finish publishes a batch's outcome to readers and to those who appended it.
func (l *Log) finish(b *batch, err error) {
	switch {
	case err == nil && b.records == 0:
	case err == nil:
		l.metrics.batches.Inc()
		l.metrics.records.Add(float64(b.records))
		l.metrics.bytes.Add(float64(len(b.buf)))
	case errors.Is(err, ErrFailed):
		l.metrics.errors.WithLabelValues("device").Inc()
	default:
		l.metrics.errors.WithLabelValues("space").Inc()
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && b.records > 0 {
		l.segments[len(l.segments)-1].Bytes += int64(len(b.buf))
		l.last = b.start + Position(b.last)
		l.notifyMoved()
	}
	if c := cap(b.buf); c > 0 && c <= keepBuffer && len(l.spare) < 2 {
		l.spare = append(l.spare, b.buf)
	}
	b.buf, b.err = nil, err
	close(b.done)
}
