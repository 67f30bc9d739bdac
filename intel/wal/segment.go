package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weirmail/weir/intel/disk"
)

const segmentSuffix = ".wal"

// Segment is one file of a log.
type Segment struct {
	Base  Position // where it begins; its records stand behind that
	Bytes int64    // length of the file
}

// end is the position behind the segment's last record.
// Name gives the name of the segment's file in the log's folder.
func (s Segment) Name() string { return segmentName(s.Base) }

// First gives the position that the segment's first record has, if there is one.
func (s Segment) First() Position { return s.Base + headerSize }

func (s Segment) end() Position { return s.Base + Position(s.Bytes) }

func segmentName(base Position) string { return fmt.Sprintf("%016x%s", uint64(base), segmentSuffix) }

func parseSegmentName(name string) (Position, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	base, err := strconv.ParseUint(digits, 16, 64)
	if err != nil || segmentName(Position(base)) != name {
		return 0, false
	}
	return Position(base), true
}

// folder is a log's segments on disk.
type folder struct {
	fs  disk.FS
	dir string
	id  logID
}

func (f folder) path(base Position) string { return filepath.Join(f.dir, segmentName(base)) }

// list finds the log's segments in order. They all have to be of one log, and
// each has to begin where the one before ends. It sets the log's ID, and gives
// no segments for a log that is yet to be made.
func (f *folder) list() ([]Segment, error) {
	entries, err := f.fs.ReadDir(f.dir)
	if err != nil {
		return nil, err
	}
	var list []Segment
	for _, entry := range entries {
		base, ok := parseSegmentName(entry.Name())
		if !ok {
			continue
		}
		s, err := f.inspect(base, len(list) == 0)
		if err != nil {
			return nil, err
		}
		if n := len(list); n > 0 && list[n-1].end() != base {
			before := list[n-1]
			return nil, &DamageError{f.path(before.Base), before.Bytes, fmt.Sprintf(
				"the segment should reach to position %x, where the next one begins, and ends at %x", uint64(base), uint64(before.end()))}
		}
		list = append(list, s)
	}
	return list, nil
}

// inspect reads a segment's header. The first one says what log this is.
func (f *folder) inspect(base Position, first bool) (Segment, error) {
	file, err := f.fs.OpenFile(f.path(base), os.O_RDONLY, 0)
	if err != nil {
		return Segment{}, err
	}
	defer func() { _ = file.Close() }()
	size, err := file.Size()
	if err != nil {
		return Segment{}, err
	}
	header := make([]byte, min(size, headerSize))
	if n, err := file.ReadAt(header, 0); n < len(header) {
		return Segment{}, fmt.Errorf("read %s: %w", f.path(base), err)
	}
	id, says, ok := decodeHeader(header)
	switch {
	case !ok:
		return Segment{}, &DamageError{f.path(base), 0, "the header does not check"}
	case says != base:
		return Segment{}, &DamageError{f.path(base), 0, fmt.Sprintf("the segment begins at position %x, not where its name says", uint64(says))}
	case !first && id != f.id:
		return Segment{}, &DamageError{f.path(base), 0, "the segment belongs to another log"}
	}
	f.id = id
	return Segment{base, size}, nil
}

// create makes the segment that begins at base, durable with its header, and
// opens it.
func (f folder) create(base Position) (disk.File, error) {
	path := f.path(base)
	if err := disk.Replace(f.fs, path, encodeHeader(f.id, base), fileMode, siteSegment, siteSegmentFolder); err != nil {
		return nil, err
	}
	return f.fs.OpenFile(path, os.O_RDWR, 0)
}

// removeTemps clears away what a crash left unfinished.
func (f folder) removeTemps() error {
	entries, err := f.fs.ReadDir(f.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), disk.TempSuffix) {
			if err := f.fs.Remove(filepath.Join(f.dir, entry.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// tail is what the last segment holds.
type tail struct {
	end  int64 // behind the last record that checks
	last int64 // offset of that record; 0 if there is none
	back int64 // offset of the batch that it belongs to
	cut  int64 // bytes behind end that were never acknowledged
}

// findTail reads a log's last segment to its end. Damage that is not that of a
// torn batch is a DamageError.
func (f folder) findTail(file io.ReaderAt, seg Segment) (tail, error) {
	t := tail{end: headerSize}
	s := scanner{r: file, id: f.id, base: seg.Base, off: headerSize, end: seg.Bytes, chunk: readChunk}
	for {
		at := s.off
		fr, _, err := s.next()
		var bad *errFrame
		switch {
		case err == nil:
			t.end, t.last, t.back = s.off, at, at-int64(fr.back)
			if t.back < headerSize {
				return t, &DamageError{f.path(seg.Base), at, "a record claims to belong to a batch before this segment"}
			}
		case errors.Is(err, io.EOF):
			return t, nil
		case errors.As(err, &bad):
			t.cut = seg.Bytes - t.end
			return t, f.judge(file, seg, bad)
		default:
			return t, fmt.Errorf("read %s: %w", f.path(seg.Base), err)
		}
	}
}

// judge tells a torn batch, which gives nil, from damage.
func (f folder) judge(file io.ReaderAt, seg Segment, bad *errFrame) error {
	damage := &DamageError{f.path(seg.Base), bad.offset, bad.reason}
	torn, err := missingSector(file, bad.offset, bad.offset+bad.length, seg.Bytes)
	if err != nil {
		return err
	}
	if !torn {
		return damage
	}
	later, err := f.laterBatch(file, seg, bad.offset)
	if err != nil {
		return err
	}
	if later {
		damage.Reason += ", and records that were written after it are there"
		return damage
	}
	return nil
}

// missingSector reports whether a device that writes whole sectors can have left
// out one that holds part of the bytes [from, to).
func missingSector(file io.ReaderAt, from, to, size int64) (bool, error) {
	if to > size {
		return true, nil
	}
	var buf [sector]byte
	for from < to {
		part := buf[:min(to, (from/sector+1)*sector)-from]
		if n, err := file.ReadAt(part, from); n < len(part) {
			return false, err
		}
		zero := true
		for _, b := range part {
			zero = zero && b == 0
		}
		if zero {
			return true, nil
		}
		from += int64(len(part))
	}
	return false, nil
}

// laterBatch looks behind a bad frame for the header of one whose batch begins
// behind it too. That one's sum is proof enough, whatever became of its payload.
func (f folder) laterBatch(file io.ReaderAt, seg Segment, bad int64) (bool, error) {
	const step = 256 << 10
	buf := make([]byte, step+frameSize)
	for from := bad + 1; from+frameSize <= seg.Bytes; from += step {
		part := buf[:min(int64(len(buf)), seg.Bytes-from)]
		if n, err := file.ReadAt(part, from); n < len(part) {
			return false, err
		}
		for i := 0; i+frameSize <= len(part); i++ {
			at := from + int64(i)
			fr, ok := decodeFrame(part[i:i+frameSize], f.id, seg.Base+Position(at))
			if ok && at-int64(fr.back) > bad {
				return true, nil
			}
		}
	}
	return false, nil
}
