package follow

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"
)

// place is where reading a file has come to. The bytes before the offset tell
// the file from another one that has got its number, and a copy of it for one.
type place struct {
	Device  uint64    `json:"device"`
	Inode   uint64    `json:"inode"`
	Offset  int64     `json:"offset"`
	Tail    uint64    `json:"tail,string"` // xxhash64 of the bytes before the offset
	Length  int64     `json:"length"`      // how many of them
	Written time.Time `json:"written"`     // when the file was written to last

	drained bool // the file has ended there
}

// maxTail is how many bytes before the offset are compared.
const maxTail = 256

func readPlace(text []byte) (place, error) {
	var p place
	if len(text) == 0 {
		return p, nil
	}
	if err := json.Unmarshal(text, &p); err != nil || p.Offset < 0 || p.Length < 0 || p.Length > maxTail || p.Length > p.Offset {
		return place{}, fmt.Errorf("follow: %.200q is no position in a file", text)
	}
	return p, nil
}

func (p *place) encode() []byte {
	text, _ := json.Marshal(p) // plain fields: it cannot fail
	return text
}

func (p *place) setTail(tail []byte) {
	p.Tail, p.Length = xxhash.Sum64(tail), int64(len(tail))
}

// parts opens what is to be read from a place on, in order: the file that the
// place lies in, what was rotated after it, and the file itself unless it is
// still empty. gap says that the first of them is not to be found.
func (f *File) parts(at place, drained bool) (parts []*part, gap string, err error) {
	live, err := openPart(f.path)
	if err != nil {
		return nil, "", err
	}
	if at.Inode == 0 || live.goOn(at) {
		return []*part{live}, "", nil // the first time, or nothing has changed
	}
	rotated, err := f.rotated(live)
	if err != nil {
		_ = live.file.Close() // only read from
		return nil, "", err
	}
	slices.SortStableFunc(rotated, func(a, b *part) int { return a.place.Written.Compare(b.place.Written) })
	// The one that was read itself, before a copy of it.
	i := slices.IndexFunc(rotated, func(p *part) bool { return p.same(at) && p.goOn(at) })
	if i < 0 && at.Length > 0 {
		i = slices.IndexFunc(rotated, func(p *part) bool { return p.goOn(at) })
	}
	if i < 0 {
		if !drained {
			gap = fmt.Sprintf("what was read of %s last, to byte %d, is in none of its rotated files: lines may be missing", f.path, at.Offset)
		}
		i = slices.IndexFunc(rotated, func(p *part) bool { return p.place.Written.After(at.Written) })
	}
	if i < 0 {
		i = len(rotated)
	}
	for _, older := range rotated[:i] {
		_ = older.file.Close() // only read from
	}
	parts = rotated[i:]
	if info, err := live.file.Stat(); err == nil && info.Size() == 0 && len(parts) > 0 {
		// Whoever writes may not have gone over to it yet.
		_ = live.file.Close() // only read from
		return parts, gap, nil
	}
	return append(parts, live), gap, nil
}

func (p *part) same(at place) bool {
	return p.place.Device == at.Device && p.place.Inode == at.Inode
}

// goOn reports whether the place lies in this file, and goes there if it does.
func (p *part) goOn(at place) bool {
	if at.Length == 0 {
		return at.Offset == 0 && p.same(at)
	}
	tail := make([]byte, at.Length)
	if _, err := p.file.ReadAt(tail, at.Offset-at.Length); err != nil || xxhash.Sum64(tail) != at.Tail {
		return false
	}
	written, device, inode := p.place.Written, p.place.Device, p.place.Inode
	p.place = at
	p.place.Written, p.place.Device, p.place.Inode, p.place.drained = written, device, inode, false
	p.offset, p.tail = at.Offset, tail
	return true
}

// rotated opens the files that the file was rotated to. One that is gone by now,
// or cannot be read, is passed over.
func (f *File) rotated(live *part) (parts []*part, err error) {
	dir, base := filepath.Split(f.path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		suffix, ok := strings.CutPrefix(e.Name(), base)
		if !ok || !isRotation(suffix) {
			continue
		}
		p, err := openPart(filepath.Join(dir, e.Name()))
		if err != nil {
			continue
		}
		if p.same(live.place) {
			_ = p.file.Close() // rotated while we looked: it is read as the live one
			continue
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// isRotation tells the names that rotation gives, ".1", "-20260531",
// ".2026-05-31_12:00", from those of compressed files and of other logs.
func isRotation(suffix string) bool {
	if len(suffix) < 2 || strings.IndexByte(".-_", suffix[0]) < 0 {
		return false
	}
	digits := 0
	for _, c := range []byte(suffix) {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case strings.IndexByte(".-_:T", c) < 0:
			return false
		}
	}
	return digits > 0
}

func identity(info fs.FileInfo) (device, inode uint64) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Dev, s.Ino
	}
	return 0, 0
}
