package faulty

import (
	"io/fs"
	"math/rand/v2"
	"slices"
	"time"
)

// change is what happens to the names of one folder at once; nil removes.
type change map[string]*node

// node is a file or a folder: what a process sees of it, and what a power cut
// would leave.
type node struct {
	mode     fs.FileMode
	modified time.Time

	// Of a file.
	data    []byte
	durable []byte
	dirty   map[int64]struct{} // sectors written since the last sync, failed or not
	resized bool               // likewise the length

	// Of a folder.
	names   map[string]*node
	kept    map[string]*node
	pending []change // since the last sync, failed or not
}

func newFolder() *node {
	return &node{mode: fs.ModeDir | 0o700, names: map[string]*node{}, kept: map[string]*node{}}
}

func (n *node) isDir() bool { return n.mode.IsDir() }

// size gives the bytes of all files below n.
func (n *node) size() int64 {
	total := int64(len(n.data))
	for _, child := range n.names {
		total += child.size()
	}
	return total
}

func (n *node) change(c change) {
	n.pending = append(n.pending, c)
	c.apply(n.names)
}

func (c change) apply(names map[string]*node) {
	for name, child := range c {
		if child == nil {
			delete(names, name)
		} else {
			names[name] = child
		}
	}
}

func (n *node) keepNames() {
	for _, c := range n.pending {
		c.apply(n.kept)
	}
	n.pending = nil
}

func (n *node) write(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	if end := off + int64(len(p)); end > int64(len(n.data)) {
		n.touch(int64(len(n.data)), end)
		n.data = append(n.data, make([]byte, end-int64(len(n.data)))...)
		n.resized = true
	}
	copy(n.data[off:], p)
	n.touch(off, off+int64(len(p)))
}

func (n *node) truncate(size int64) {
	old := int64(len(n.data))
	if size == old {
		return
	}
	n.touch(min(old, size), max(old, size))
	n.resized = true
	if size < old {
		clear(n.data[size:])
		n.data = n.data[:size]
		return
	}
	n.data = append(n.data, make([]byte, size-old)...)
}

func (n *node) touch(from, to int64) {
	if n.dirty == nil {
		n.dirty = map[int64]struct{}{}
	}
	for s := from / Sector; s*Sector < to; s++ {
		n.dirty[s] = struct{}{}
	}
}

func (n *node) forgetDirty() {
	n.dirty, n.resized = nil, false
}

// keepData makes durable what was written since the last sync.
func (n *node) keepData() {
	n.durable = n.survivor(n.nextSize(), func() bool { return true })
	n.forgetDirty()
}

// nextSize is the length that a sync would make durable. Sectors that are
// written back belong to the file even if an earlier sync of its length failed.
func (n *node) nextSize() int64 {
	if n.resized {
		return int64(len(n.data))
	}
	size := int64(len(n.durable))
	if dirty := n.dirtySectors(); len(dirty) > 0 {
		size = max(size, min(int64(len(n.data)), (dirty[len(dirty)-1]+1)*Sector))
	}
	return size
}

// survivor gives a file of the given length that has the new content in those
// dirty sectors that keep chooses, else the durable one, else zeros.
func (n *node) survivor(size int64, keep func() bool) []byte {
	out := make([]byte, size)
	copy(out, n.durable)
	for _, s := range n.dirtySectors() {
		from := s * Sector
		to := min(from+Sector, size)
		if from >= to || !keep() {
			continue
		}
		clear(out[from:to])
		if from < int64(len(n.data)) {
			copy(out[from:to], n.data[from:])
		}
	}
	return out
}

// dirtySectors lists them in order, so that one seed gives one outcome.
func (n *node) dirtySectors() []int64 {
	list := make([]int64, 0, len(n.dirty))
	for s := range n.dirty {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}

// reboot gives what a power cut leaves of n, as a tree of its own.
func (n *node) reboot(s Survival, rng *rand.Rand) *node {
	left := &node{mode: n.mode, modified: n.modified}
	if !n.isDir() {
		left.data = n.rebootData(s, rng)
		left.durable = slices.Clone(left.data)
		return left
	}
	left.names, left.kept = map[string]*node{}, map[string]*node{}
	names := map[string]*node{}
	for name, child := range n.kept {
		names[name] = child
	}
	for _, c := range n.pending {
		if s == All || s == Some && rng.IntN(2) == 0 {
			c.apply(names)
		}
	}
	order := make([]string, 0, len(names))
	for name := range names {
		order = append(order, name)
	}
	slices.Sort(order)
	for _, name := range order {
		child := names[name].reboot(s, rng)
		left.names[name], left.kept[name] = child, child
	}
	return left
}

func (n *node) rebootData(s Survival, rng *rand.Rand) []byte {
	before, after := int64(len(n.durable)), n.nextSize()
	switch s {
	case Nothing:
		return slices.Clone(n.durable)
	case All:
		return n.survivor(after, func() bool { return true })
	}
	size := before
	switch low, high := min(before, after), max(before, after); rng.IntN(3) {
	case 0:
		size = after
	case 1:
		size = low + rng.Int64N(high-low+1)
	}
	kept := []int{1, 5, 9}[rng.IntN(3)] // of ten sectors: many broken batches lack only one
	return n.survivor(size, func() bool { return rng.IntN(10) < kept })
}
