package wal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
)

// Record is one record of a log.
type Record struct {
	Position Position
	// Check tells this record from any other that ever stands at its position:
	// it covers the log's ID, the position and the payload. Who keeps a position
	// elsewhere can keep it too, and see whether the log is still the same one.
	Check   uint64
	Payload []byte
}

// Read gives the records behind a position, 0 for all that are kept, up to the
// last one that was durable when the loop began. A payload is valid until the
// loop goes on. The loop ends after the first error: a *DamageError, ErrPosition
// or ErrDropped, or one of the file system.
func (l *Log) Read(after Position) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		l.folder.read(l.Segments(), after, yield)
	}
}

// Get gives the record at a position. The payload is the caller's. Errors are
// those of Read.
func (l *Log) Get(at Position) (Record, error) { return l.folder.get(l.Segments(), at) }

// Last gives the position of the last durable record, 0 if there never was one.
func (l *Log) Last() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Segments lists the files of the log as far as they are durable, oldest first.
func (l *Log) Segments() []Segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.segments)
}

// Wait returns when there is a durable record behind a position. Errors are
// ErrClosed and the context's.
func (l *Log) Wait(ctx context.Context, after Position) error {
	for {
		l.mu.Lock()
		if l.last > after {
			l.mu.Unlock()
			return nil
		}
		if l.closed {
			l.mu.Unlock()
			return ErrClosed
		}
		if l.moved == nil {
			l.moved = make(chan struct{})
		}
		moved := l.moved
		l.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Drop removes the segments all of whose records lie before a position, but
// never the one that is written to. It is durable when Drop returns. A reader in
// the middle of a dropped segment may still finish it.
func (l *Log) Drop(before Position) error {
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	for {
		l.mu.Lock()
		if len(l.segments) < 2 || l.segments[1].Base > before {
			l.mu.Unlock()
			return nil
		}
		first := l.segments[0]
		l.segments = slices.Clone(l.segments[1:])
		l.mu.Unlock()
		// One at a time, oldest first, each synced: a power cut must not leave a
		// gap between segments.
		err := l.o.FS.Remove(l.folder.path(first.Base))
		switch {
		case err == nil || errors.Is(err, fs.ErrNotExist):
			err = l.o.FS.SyncDir(l.o.Dir, siteDrop)
		default: // it is still there, and must not be passed over the next time
			l.mu.Lock()
			l.segments = slices.Insert(l.segments, 0, first)
			l.mu.Unlock()
		}
		if err != nil {
			return fmt.Errorf("drop from log %s: %w", l.o.Name, err)
		}
	}
}

// locate finds the segment in which a position lies.
func locate(segs []Segment, at Position) (int, error) {
	if len(segs) > 0 && at < segs[0].Base {
		return 0, fmt.Errorf("%w: %x lies before %x", ErrDropped, uint64(at), uint64(segs[0].Base))
	}
	for i, s := range segs {
		if at >= s.Base+headerSize && at < s.end() {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%w: %x", ErrPosition, uint64(at))
}

func (f folder) get(segs []Segment, at Position) (Record, error) {
	i, err := locate(segs, at)
	if err != nil {
		return Record{}, err
	}
	file, err := f.openToRead(segs[i])
	if err != nil {
		return Record{}, err
	}
	defer func() { _ = file.Close() }()
	s := scanner{r: file, id: f.id, base: segs[i].Base, off: int64(at - segs[i].Base), end: segs[i].Bytes, chunk: getChunk}
	if err := s.atRecord(at); err != nil {
		return Record{}, err
	}
	fr, payload, err := s.next()
	if err != nil {
		return Record{}, f.readError(segs[i], err)
	}
	return Record{at, fr.check, payload}, nil
}

func (f folder) read(segs []Segment, after Position, yield func(Record, error) bool) {
	if after > 0 {
		i, err := locate(segs, after)
		if err != nil {
			yield(Record{}, err)
			return
		}
		segs = segs[i:]
	}
	for i, seg := range segs {
		if i > 0 {
			after = 0
		}
		if !f.readSegment(seg, after, yield) {
			return
		}
	}
}

// readSegment gives the records of a segment behind the one at after, all if
// that is 0, and reports whether to go on.
func (f folder) readSegment(seg Segment, after Position, yield func(Record, error) bool) bool {
	file, err := f.openToRead(seg)
	if err != nil {
		yield(Record{}, err)
		return false
	}
	defer func() { _ = file.Close() }()
	s := scanner{r: file, id: f.id, base: seg.Base, off: headerSize, end: seg.Bytes, chunk: readChunk}
	if after > 0 {
		s.off = int64(after - seg.Base)
		if err := s.atRecord(after); err != nil {
			yield(Record{}, err)
			return false
		}
		if _, _, err := s.next(); err != nil {
			yield(Record{}, f.readError(seg, err))
			return false
		}
	}
	for {
		at := s.position()
		fr, payload, err := s.next()
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			yield(Record{}, f.readError(seg, err))
			return false
		}
		if !yield(Record{at, fr.check, payload}, nil) {
			return false
		}
	}
}

// atRecord makes sure that a record begins where the scanner stands, so that a
// position of another log is told from damage.
func (s *scanner) atRecord(at Position) error {
	head, err := s.bytes(min(frameSize, s.end-s.off))
	if err != nil {
		return err
	}
	if _, ok := decodeFrame(head, s.id, at); !ok {
		return fmt.Errorf("%w: no record begins at %x", ErrPosition, uint64(at))
	}
	return nil
}

type readCloser interface {
	io.ReaderAt
	io.Closer
}

func (f folder) openToRead(seg Segment) (readCloser, error) {
	file, err := f.fs.OpenFile(f.path(seg.Base), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrDropped, err)
	}
	return file, err
}

// readError says where a frame does not check.
func (f folder) readError(seg Segment, err error) error {
	var bad *errFrame
	if errors.As(err, &bad) {
		return &DamageError{f.path(seg.Base), bad.offset, bad.reason}
	}
	return fmt.Errorf("read %s: %w", f.path(seg.Base), err)
}
