package faulty

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/weirmail/weir/intel/disk"
)

// Survival says what a power cut leaves of what was not synced.
type Survival uint8

// What a power cut can leave.
const (
	Nothing Survival = iota // none of it
	All                     // all of it, as if the cut came a little later
	Some                    // a random part
)

// String names s for test output.
func (s Survival) String() string {
	return [...]string{"nothing", "all", "some"}[s]
}

// Reboot cuts the power, if it is not cut yet, and gives the disk as the next
// run finds it. Faults, the cut, the capacity and WriteBack are gone; omitted sites
// and counts stay. The old disk fails every operation from now on.
func (d *Disk) Reboot(s Survival) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.successor(d.root.reboot(s, d.rng), d.boots+1)
}

// Restart is the death of the process alone: the next run sees all that was
// written, and what was not synced still is not.
func (d *Disk) Restart() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.successor(d.root, d.boots)
}

func (d *Disk) successor(root *node, boots int) *Disk {
	d.dead = true
	return &Disk{mu: d.mu, root: root, boots: boots, rng: d.rng, omit: d.omit, seen: d.seen, now: d.now}
}

type file struct {
	d       *Disk
	n       *node
	name    string
	writing bool
	closed  bool
}

// op begins an operation on an open file; f.d.mu is held.
func (f *file) op(kind Kind, site disk.Site) error {
	if f.closed {
		return fs.ErrClosed
	}
	if !f.writing && kind != Read && kind != Sync {
		return syscall.EBADF
	}
	return f.d.begin(Op{Kind: kind, Name: f.name, Site: site})
}

func (f *file) fail(op string, err error) error {
	return failed(op, f.name, err)
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.op(Read, ""); err != nil {
		return 0, f.fail("read", err)
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements io.WriterAt.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	wasDead := f.d.dead
	err := f.op(Write, "")
	n := len(p)
	var short *Short
	switch {
	case errors.As(err, &short):
		n = min(n, short.N)
	case errors.Is(err, ErrPower) && !wasDead:
		n = f.d.rng.IntN(n + 1) // the cut came in the middle of this write
	case err != nil:
		return 0, f.fail("write", err)
	}
	if f.d.capacity > 0 {
		grow := off + int64(n) - int64(len(f.n.data))
		if room := f.d.capacity - f.d.root.size(); grow > 0 && grow > room {
			n = int(max(0, int64(n)-(grow-max(0, room))))
			if err == nil {
				err = syscall.ENOSPC
			}
		}
	}
	f.d.leak(f.n)
	f.n.write(p[:n], off)
	f.n.modified = f.d.now()
	if err != nil {
		return n, f.fail("write", err)
	}
	return n, nil
}

// Close implements io.Closer.
func (f *file) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return f.fail("close", fs.ErrClosed)
	}
	f.closed = true
	return nil
}

// Size implements disk.File.
func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.op(Read, ""); err != nil {
		return 0, f.fail("stat", err)
	}
	return int64(len(f.n.data)), nil
}

// Truncate implements disk.File.
func (f *file) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.op(Truncate, ""); err != nil {
		return f.fail("truncate", err)
	}
	f.d.leak(f.n)
	f.n.truncate(size)
	f.n.modified = f.d.now()
	return nil
}

// Sync implements disk.File.
func (f *file) Sync(site disk.Site) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.d.seen[site]++
	if err := f.op(Sync, site); err != nil {
		if !f.d.dead {
			f.n.forgetDirty()
		}
		return f.fail("sync", err)
	}
	if !f.d.omit[site] {
		f.n.keepData()
	}
	return nil
}

// Datasync implements disk.File.
func (f *file) Datasync(site disk.Site) error { return f.Sync(site) }

// Stat implements disk.FS.
func (d *Disk) Stat(name string) (fs.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup(name)
	if err != nil {
		return nil, failed("stat", name, err)
	}
	return n.info(filepath.Base(name)), nil
}

// ReadDir implements disk.FS.
func (d *Disk) ReadDir(name string) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup(name)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	if err == nil {
		err = d.begin(Op{Kind: Read, Name: name})
	}
	if err != nil {
		return nil, failed("readdir", name, err)
	}
	list := make([]fs.DirEntry, 0, len(n.names))
	for name, child := range n.names {
		list = append(list, fs.FileInfoToDirEntry(child.info(name)))
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int {
		if a.Name() < b.Name() {
			return -1
		}
		return 1
	})
	return list, nil
}

type info struct {
	name     string
	size     int64
	mode     fs.FileMode
	modified time.Time
}

func (n *node) info(name string) info {
	return info{name, int64(len(n.data)), n.mode, n.modified}
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.modified }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }
