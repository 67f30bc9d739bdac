package faulty

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/weirmail/weir/intel/disk"
)

// ErrPower is what every operation gives once the power is cut or the process
// has died.
var ErrPower = errors.New("the power is cut")

// Sector is the unit in which a disk keeps or loses what was not synced, in bytes.
const Sector = 512

// Kind says what an operation does.
type Kind string

// The operations that count as steps and that can be made to fail.
const (
	Create   Kind = "create"
	Mkdir    Kind = "mkdir"
	Rename   Kind = "rename"
	Remove   Kind = "remove"
	Chtimes  Kind = "chtimes"
	Write    Kind = "write"
	Truncate Kind = "truncate"
	Sync     Kind = "sync"     // also Datasync
	SyncDir  Kind = "sync-dir" // of a folder
	Read     Kind = "read"     // is no step: a cut between two reads is nothing new
)

// Op is one operation that a fault may strike.
type Op struct {
	Kind Kind
	Name string    // of the file or folder; of a rename the new one
	Site disk.Site // of a sync
	Step int       // counted from 1; of a read the step before it
}

// Short makes a write stop after N bytes, with Err.
type Short struct {
	N   int
	Err error
}

// Error implements error.
func (s *Short) Error() string { return "short write: " + s.Err.Error() }

// Unwrap gives Err.
func (s *Short) Unwrap() error { return s.Err }

// Disk is a disk in memory, as one run of a process sees it. All methods may be
// called at the same time.
type Disk struct {
	mu       *sync.Mutex // shared by all runs: they share files and counts
	root     *node
	rng      *rand.Rand
	dead     bool
	steps    int
	cutAt    int
	capacity int64
	leaky    bool
	boots    int
	fault    func(Op) error
	omit     map[disk.Site]bool
	seen     map[disk.Site]int
	now      func() time.Time
}

var _ disk.FS = (*Disk)(nil)

// New makes a disk that holds the folder root and those above it, durably, and
// nothing else. The seed decides what survives when several things can.
func New(root string, seed uint64) *Disk {
	d := &Disk{
		mu:   new(sync.Mutex),
		root: newFolder(),
		rng:  rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15)),
		omit: map[disk.Site]bool{}, seen: map[disk.Site]int{},
		now: time.Now,
	}
	at := d.root
	for _, name := range elements(root) {
		next := newFolder()
		at.names[name], at.kept[name] = next, next
		at = next
	}
	return d
}

// CutAt cuts the power at the given step, counted from 1 over this run: that
// operation fails with ErrPower, having done its work in part or not at all, and
// so does every one after it. 0 cuts nothing.
func (d *Disk) CutAt(step int) { d.locked(func() { d.cutAt = step }) }

// Steps gives the number of operations so far that wrote or synced.
func (d *Disk) Steps() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.steps
}

// Dead reports whether the power is cut or the process dead.
func (d *Disk) Dead() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead
}

// BootID tells the runs of the machine apart: it changes with Reboot, not with
// Restart.
func (d *Disk) BootID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprintf("boot-%d", d.boots)
}

// Omit leaves out every sync of the site from now on: it reports success and
// makes nothing durable.
func (d *Disk) Omit(site disk.Site) { d.locked(func() { d.omit[site] = true }) }

// Sites counts the syncs so far by site, those before a reboot included.
func (d *Disk) Sites() map[disk.Site]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.seen)
}

// Inject asks f before every operation; an error from f is the operation's
// result. A sync that fails so makes nothing durable, then or later. A *Short
// applies to writes. nil ends it. f must not call the disk.
func (d *Disk) Inject(f func(Op) error) { d.locked(func() { d.fault = f }) }

// SetCapacity bounds what all files can hold together, in bytes; 0 is no bound.
// Writes beyond it stop short with ENOSPC.
func (d *Disk) SetCapacity(bytes int64) { d.locked(func() { d.capacity = bytes }) }

// WriteBack makes the disk write something unasked from time to time, as kernels
// do: then a power cut can also leave what was overwritten or cut off since.
func (d *Disk) WriteBack(on bool) { d.locked(func() { d.leaky = on }) }

func (d *Disk) locked(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// begin counts a step and asks for faults; d.mu is held.
func (d *Disk) begin(op Op) error {
	if d.dead {
		return ErrPower
	}
	if op.Kind != Read {
		d.steps++
		if d.steps == d.cutAt {
			d.dead = true
			return ErrPower
		}
	}
	op.Step = d.steps
	if d.fault != nil {
		return d.fault(op)
	}
	return nil
}

// leak writes back some of a file before it changes; d.mu is held.
func (d *Disk) leak(n *node) {
	if d.leaky && d.rng.IntN(2) == 0 {
		n.durable = n.rebootData(Some, d.rng)
	}
}

// OpenFile implements disk.FS.
func (d *Disk) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fail := func(err error) (disk.File, error) {
		return nil, failed("open", name, err)
	}
	if flag&os.O_APPEND != 0 {
		return fail(syscall.EINVAL)
	}
	if err := d.begin(Op{Kind: Read, Name: name}); err != nil {
		return fail(err)
	}
	parent, base, err := d.parent(name)
	if err != nil {
		return fail(err)
	}
	n, ok := parent.names[base]
	writing := flag&(os.O_WRONLY|os.O_RDWR) != 0
	switch {
	case !ok && flag&os.O_CREATE == 0:
		return fail(syscall.ENOENT)
	case ok && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return fail(syscall.EEXIST)
	case ok && n.isDir() && writing:
		return fail(syscall.EISDIR)
	case !ok:
		if err := d.begin(Op{Kind: Create, Name: name}); err != nil {
			return fail(err)
		}
		n = &node{mode: perm.Perm(), modified: d.now()}
		parent.change(change{base: n})
	}
	f := &file{d: d, n: n, name: name, writing: writing}
	if ok && writing && flag&os.O_TRUNC != 0 && len(n.data) > 0 {
		if err := d.begin(Op{Kind: Truncate, Name: name}); err != nil {
			return fail(err)
		}
		d.leak(n)
		n.truncate(0)
	}
	return f, nil
}

// Mkdir implements disk.FS.
func (d *Disk) Mkdir(name string, perm fs.FileMode) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	parent, base, err := d.parent(name)
	if err == nil {
		if _, ok := parent.names[base]; ok || base == "" {
			err = syscall.EEXIST
		}
	}
	if err == nil {
		err = d.begin(Op{Kind: Mkdir, Name: name})
	}
	if err != nil {
		return failed("mkdir", name, err)
	}
	folder := newFolder()
	folder.mode = fs.ModeDir | perm.Perm()
	folder.modified = d.now()
	parent.change(change{base: folder})
	return nil
}

// Rename implements disk.FS.
func (d *Disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	fail := func(err error) error {
		return failed("rename", to, err)
	}
	oldParent, oldBase, err := d.parent(from)
	if err != nil {
		return fail(err)
	}
	newParent, newBase, err := d.parent(to)
	if err != nil {
		return fail(err)
	}
	n, ok := oldParent.names[oldBase]
	if !ok {
		return fail(syscall.ENOENT)
	}
	if replaced, ok := newParent.names[newBase]; ok && replaced.isDir() {
		return fail(syscall.EEXIST)
	}
	if err := d.begin(Op{Kind: Rename, Name: to}); err != nil {
		return fail(err)
	}
	if oldParent == newParent {
		oldParent.change(change{oldBase: nil, newBase: n})
		return nil
	}
	newParent.change(change{newBase: n})
	oldParent.change(change{oldBase: nil})
	return nil
}

// Remove implements disk.FS.
func (d *Disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	parent, base, err := d.parent(name)
	if err == nil {
		switch n, ok := parent.names[base]; {
		case !ok:
			err = syscall.ENOENT
		case n.isDir() && len(n.names) > 0:
			err = syscall.ENOTEMPTY
		default:
			err = d.begin(Op{Kind: Remove, Name: name})
		}
	}
	if err != nil {
		return failed("remove", name, err)
	}
	parent.change(change{base: nil})
	return nil
}

// Chtimes implements disk.FS.
func (d *Disk) Chtimes(name string, modified time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup(name)
	if err == nil {
		err = d.begin(Op{Kind: Chtimes, Name: name})
	}
	if err != nil {
		return failed("chtimes", name, err)
	}
	n.modified = modified
	return nil
}

// SyncDir implements disk.FS.
func (d *Disk) SyncDir(name string, site disk.Site) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := d.lookup(name)
	if err == nil && !n.isDir() {
		err = syscall.ENOTDIR
	}
	if err == nil {
		d.seen[site]++
		if err = d.begin(Op{Kind: SyncDir, Name: name, Site: site}); err != nil && !d.dead {
			n.pending = nil
		}
	}
	if err != nil {
		return failed("sync", name, err)
	}
	if !d.omit[site] {
		n.keepNames()
	}
	return nil
}

// Free implements disk.FS.
func (d *Disk) Free(name string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.lookup(name); err != nil {
		return 0, failed("statfs", name, err)
	}
	if d.capacity == 0 {
		return 1 << 50, nil
	}
	return max(0, d.capacity-d.root.size()), nil
}

// parent finds the folder that holds name; d.mu is held.
func (d *Disk) parent(name string) (*node, string, error) {
	if d.dead {
		return nil, "", ErrPower
	}
	path := elements(name)
	if len(path) == 0 {
		return d.root, "", nil
	}
	at := d.root
	for _, e := range path[:len(path)-1] {
		next, ok := at.names[e]
		if !ok {
			return nil, "", syscall.ENOENT
		}
		if !next.isDir() {
			return nil, "", syscall.ENOTDIR
		}
		at = next
	}
	return at, path[len(path)-1], nil
}

func (d *Disk) lookup(name string) (*node, error) {
	parent, base, err := d.parent(name)
	if err != nil {
		return nil, err
	}
	if base == "" {
		return parent, nil
	}
	n, ok := parent.names[base]
	if !ok {
		return nil, syscall.ENOENT
	}
	return n, nil
}

// failed makes of an error what disk.System would give.
func failed(op, name string, err error) error {
	err = &fs.PathError{Op: op, Path: name, Err: err}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", disk.ErrNoSpace, err)
	}
	return err
}

func elements(name string) []string {
	clean := strings.Trim(filepath.Clean(name), "/")
	if clean == "" || clean == "." {
		return nil
	}
	return strings.Split(clean, "/")
}
