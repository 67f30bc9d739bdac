package follow

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
// not there yet or still empty. gap says that the first of them is not to be
// found.
func (f *File) parts(at place, drained bool) (parts []*part, gap string, err error) {
	if live, err := openPart(f.path); err == nil {
		if at.Inode == 0 || live.goOn(at) {
			return []*part{live}, "", nil // the first time, or nothing has changed
		}
		_ = live.file.Close() // only read from
	} else if at.Inode == 0 || !errors.Is(err, fs.ErrNotExist) {
		return nil, "", err
	}
	all, err := f.look()
	if err != nil {
		return nil, "", err
	}
	// The one that was read itself, before a copy of it.
	i := slices.IndexFunc(all, func(p *part) bool { return p.same(at) && p.goOn(at) })
	if i < 0 && at.Length > 0 {
		i = slices.IndexFunc(all, func(p *part) bool { return p.goOn(at) })
	}
	if i < 0 {
		if !drained {
			gap = fmt.Sprintf("what was read of %s last, to byte %d, is in none of its rotated files: lines may be missing", f.path, at.Offset)
		}
		i = slices.IndexFunc(all, func(p *part) bool { return p.place.Written.After(at.Written) })
	}
	if i < 0 {
		i = len(all) - 1
		if all[i].file.Name() != f.path {
			closeAll(all)
			return nil, "", &fs.PathError{Op: "open", Path: f.path, Err: fs.ErrNotExist}
		}
	}
	closeAll(all[:i])
	all = all[i:]
	if last := all[len(all)-1]; len(all) > 1 && last.empty() {
		// Whoever writes may not have gone over to it yet.
		_ = last.file.Close() // only read from
		all = all[:len(all)-1]
	}
	return all, gap, nil
}

func closeAll(parts []*part) {
	for _, p := range parts {
		_ = p.file.Close() // only read from
	}
}

func (p *part) empty() bool {
	info, err := p.file.Stat()
	return err == nil && info.Size() == 0
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

// look opens the files that the file was rotated to, the oldest first, and the
// file itself as the last if it is there. One that is gone by now, or cannot be
// read, is passed over. There is one, or an error.
func (f *File) look() ([]*part, error) {
	before, err := f.names()
	for tries := 1; err == nil; tries++ {
		var parts []*part
		var failed error
		for _, n := range before {
			p, err := openPart(f.path + n.suffix)
			if err != nil {
				failed = err
				continue
			}
			parts = append(parts, p)
		}
		// A rotation in between gives one file another's name: one was opened
		// twice then, another not at all.
		var after []name
		after, err = f.names()
		still := err == nil && slices.EqualFunc(before, after, name.same)
		switch {
		case still && len(parts) > 0:
			return parts, nil
		case still && failed != nil:
			return nil, failed
		case tries == maxLooks && err == nil:
			err = fmt.Errorf("%s and what it was rotated to change faster than they can be opened", f.path)
		}
		closeAll(parts)
		before = after
	}
	return nil, err
}

// maxLooks is how often a folder that changes while it is looked at is looked
// at again.
const maxLooks = 100

// name is one that a file has: what follows that of the file itself.
type name struct {
	suffix        string
	device, inode uint64
	written       time.Time
}

// same leaves the time out: somebody writes while we look.
func (n name) same(m name) bool {
	return n.suffix == m.suffix && n.device == m.device && n.inode == m.inode
}

// names lists those of the file and of what it was rotated to, in the order
// that the lines were written in. Modification times are no finer than the
// kernel's tick, and a rotation may be: of those that are equal, names decide.
func (f *File) names() (all []name, err error) {
	dir, base := filepath.Split(f.path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		suffix, ok := strings.CutPrefix(e.Name(), base)
		if !ok || suffix != "" && !isRotation(suffix) {
			continue
		}
		info, err := os.Stat(f.path + suffix)
		if err != nil {
			continue
		}
		n := name{suffix: suffix, written: info.ModTime()}
		n.device, n.inode = identity(info)
		all = append(all, n)
	}
	if len(all) == 0 {
		return nil, &fs.PathError{Op: "open", Path: f.path, Err: fs.ErrNotExist}
	}
	slices.SortFunc(all, func(a, b name) int {
		switch {
		case a.suffix == "":
			return 1
		case b.suffix == "":
			return -1
		}
		return cmp.Or(a.written.Compare(b.written), olderFirst(a.suffix, b.suffix))
	})
	return all, nil
}

// olderFirst orders suffixes: ".2" was rotated before ".1", but "-20260530"
// before "-20260531".
func olderFirst(a, b string) int {
	m, errA := strconv.ParseUint(a[1:], 10, 16)
	n, errB := strconv.ParseUint(b[1:], 10, 16)
	if errA == nil && errB == nil {
		return cmp.Compare(n, m)
	}
	return strings.Compare(a, b)
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
