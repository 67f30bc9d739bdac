package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmail/weir/intel/disk"
)

// Roll makes the log go on in a new segment, so that all records that are durable
// by now lie in segments that are not written to any more. Errors are those of
// Append.
func (l *Log) Roll(ctx context.Context) error {
	l.mu.Lock()
	if err := l.admit(ctx, 0); err != nil {
		l.mu.Unlock()
		return l.wrap(err)
	}
	b, mine := l.join(ctx)
	b.roll = true
	l.mu.Unlock()
	if err := l.complete(ctx, b, mine); err != nil {
		return l.wrap(err)
	}
	return nil
}

// Rewrite changes what records hold, for what must not be kept. It gives edit
// every record of the segment that begins at base; edit may overwrite the
// payload, whose length stays, and reports whether it did. The segment is
// replaced as a whole, durably, or not at all; positions stay, and the Check of
// a record that was changed does not. The last segment cannot be rewritten: Roll
// first. Readers that have the segment open still see the old one.
func (l *Log) Rewrite(base Position, edit func(at Position, payload []byte) bool) error {
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	segs := l.Segments()
	i := slices.IndexFunc(segs, func(s Segment) bool { return s.Base == base })
	if i < 0 || i == len(segs)-1 {
		return fmt.Errorf("rewrite log %s: %w: no finished segment begins at %x", l.o.Name, ErrPosition, uint64(base))
	}
	if err := l.folder.rewrite(segs[i], edit); err != nil {
		return fmt.Errorf("rewrite log %s: %w", l.o.Name, err)
	}
	return nil
}

func (f folder) rewrite(seg Segment, edit func(Position, []byte) bool) error {
	old, err := f.openToRead(seg)
	if err != nil {
		return err
	}
	defer func() { _ = old.Close() }()
	temp := f.path(seg.Base) + disk.TempSuffix
	changed, err := f.copyEdited(temp, old, seg, edit)
	if err != nil || !changed {
		_ = f.fs.Remove(temp)
		return err
	}
	if err := f.fs.Rename(temp, f.path(seg.Base)); err != nil {
		_ = f.fs.Remove(temp)
		return err
	}
	return f.fs.SyncDir(f.dir, siteRewriteFolder)
}

// copyEdited writes the edited segment to a file of its own and syncs it.
func (f folder) copyEdited(name string, old io.ReaderAt, seg Segment, edit func(Position, []byte) bool) (changed bool, err error) {
	file, err := f.fs.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return false, err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	out := offsetWriter{file: file, buf: encodeHeader(f.id, seg.Base)}
	s := scanner{r: old, id: f.id, base: seg.Base, off: headerSize, end: seg.Bytes, chunk: readChunk}
	for {
		at := s.position()
		fr, payload, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, f.readError(seg, err)
		}
		edited := bytes.Clone(payload)
		if edit(at, edited) {
			changed, payload, fr.sum = true, edited, xxhash.Sum64(edited)
		}
		start := len(out.buf)
		out.buf = append(out.buf, make([]byte, frameSize)...)
		putFrame(out.buf[start:], payload, fr.sum, int(fr.back))
		stamp(out.buf[start:], f.id, at)
		if err := out.write(payload); err != nil {
			return false, err
		}
	}
	if err := out.flush(); err != nil {
		return false, err
	}
	return changed, file.Sync(siteRewrite)
}

// offsetWriter appends to a file in large pieces.
type offsetWriter struct {
	file io.WriterAt
	buf  []byte
	off  int64
}

func (w *offsetWriter) write(p []byte) error {
	w.buf = append(w.buf, p...)
	if len(w.buf) < 1<<20 {
		return nil
	}
	return w.flush()
}

func (w *offsetWriter) flush() error {
	n, err := w.file.WriteAt(w.buf, w.off)
	w.off += int64(n)
	w.buf = w.buf[:0]
	return err
}
