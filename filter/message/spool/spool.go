// Package spool gives a message room: on the heap while it is small, in a file
// that has no name once it is large, so that a message of 100 MB takes no 100 MB
// of heap. What was written is read as one slice of bytes either way.
//
// A Pool is shared by all messages and bounds the heap that they take together.
// A Spool is the room of one message: the bytes as they come in, and what is
// decoded of them while they are parsed. Heap is recycled within the Pool.
//
// A file that is read is mapped. Its blocks were written before, so that a full
// disk is an error of Write and never a fault; only a disk that fails to give
// back what it took ends the process.
package spool

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/weirmail/weir/filter/message"
)

// Options says how much room there is and where.
type Options struct {
	Dir              string // folder for files; it has to exist and be writable
	MemoryPerMessage int64  // bytes of heap for all buffers of one message; 0: 4 MiB
	MemoryTotal      int64  // bytes of heap for all messages; 0: 256 MiB
}

// Defaults of Options.
const (
	DefaultMemoryPerMessage = 4 << 20
	DefaultMemoryTotal      = 256 << 20
)

// ErrClosed is what a buffer gives after its Close.
var ErrClosed = errors.New("spool: the buffer is closed")

// classCount is in how many sizes there are buffers on the heap.
const classCount = 5

// classes are these sizes, in bytes.
func classes() [classCount]int { return [...]int{16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20} }

// Pool lends room to messages. It may be used by any number of goroutines.
type Pool struct {
	opts  Options
	heap  atomic.Int64
	files atomic.Int64
	free  [classCount]sync.Pool
}

// New makes a pool, and tries whether files can be made where they should be.
func New(opts Options) (*Pool, error) {
	if opts.MemoryPerMessage < 0 || opts.MemoryTotal < 0 {
		return nil, fmt.Errorf("spool: a memory limit is negative: %d bytes a message, %d in all", opts.MemoryPerMessage, opts.MemoryTotal)
	}
	if opts.MemoryPerMessage == 0 {
		opts.MemoryPerMessage = DefaultMemoryPerMessage
	}
	if opts.MemoryTotal == 0 {
		opts.MemoryTotal = DefaultMemoryTotal
	}
	p := &Pool{opts: opts}
	f, err := p.file()
	if err != nil {
		return nil, err
	}
	return p, f.Close()
}

// HeapBytes says how much heap messages take now.
func (p *Pool) HeapBytes() int64 { return p.heap.Load() }

// Files says how many files are open now.
func (p *Pool) Files() int64 { return p.files.Load() }

// Spool gives room for one message, whose owner closes it.
func (p *Pool) Spool() *Spool { return &Spool{pool: p} }

// file makes a file that nobody else can open and that is gone once it is closed.
func (p *Pool) file() (*os.File, error) {
	f, err := os.CreateTemp(p.opts.Dir, "weir-spool-")
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("spool: %w", err), f.Close())
	}
	return f, nil
}

// Spool is the room of one message. It is not for several goroutines at once.
type Spool struct {
	pool *Pool
	heap int64
	open []*Buffer
}

// Spool is what the parser decodes into.
var _ message.Scratch = (*Spool)(nil)

// Buffer gives an empty buffer.
func (s *Spool) Buffer() message.Buffer { return s.New() }

// New gives an empty buffer.
func (s *Spool) New() *Buffer {
	b := &Buffer{spool: s, class: -1}
	s.open = append(s.open, b)
	return b
}

// Close closes all buffers that are still open.
func (s *Spool) Close() error {
	var errs []error
	for len(s.open) > 0 {
		errs = append(errs, s.open[len(s.open)-1].Close())
	}
	return errors.Join(errs...)
}

// take gives a heap buffer of a class, if the message may have that once the
// buffer of class old, or none for -1, is given back.
func (s *Spool) take(class, old int) []byte {
	size, freed := int64(classes()[class]), int64(0)
	if old >= 0 {
		freed = int64(classes()[old])
	}
	if s.heap-freed+size > s.pool.opts.MemoryPerMessage {
		return nil
	}
	if s.pool.heap.Add(size) > s.pool.opts.MemoryTotal {
		s.pool.heap.Add(-size)
		return nil
	}
	s.heap += size
	if b, ok := s.pool.free[class].Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, size)
}

// give takes a heap buffer back.
func (s *Spool) give(class int, b []byte) {
	size := int64(classes()[class])
	s.heap -= size
	s.pool.heap.Add(-size)
	b = b[:0]
	s.pool.free[class].Put(&b)
}

// Buffer collects bytes. Its slices must not be used after Close.
type Buffer struct {
	spool  *Spool
	small  []byte
	class  int // of small; -1 while there is none
	file   *os.File
	size   int64
	mapped []byte
	err    error
	closed bool
}

// Len gives the number of bytes written.
func (b *Buffer) Len() int64 { return b.size }

// Write appends p. An error is final: the buffer gives it from then on.
func (b *Buffer) Write(p []byte) (int, error) {
	switch {
	case b.closed:
		return 0, ErrClosed
	case b.err != nil:
		return 0, b.err
	case b.file == nil && b.grow(len(p)):
		b.small = append(b.small, p...)
		b.size += int64(len(p))
		return len(p), nil
	}
	if b.file == nil {
		if b.err = b.spill(); b.err != nil {
			return 0, b.err
		}
	}
	n, err := b.file.Write(p)
	b.size += int64(n)
	if err != nil {
		b.err = fmt.Errorf("spool: %w", err)
	}
	return n, b.err
}

// grow makes room for n more bytes on the heap; false if there is none.
func (b *Buffer) grow(n int) bool {
	if len(b.small)+n <= cap(b.small) {
		return true
	}
	for class, size := range classes() {
		if len(b.small)+n > size {
			continue
		}
		larger := b.spool.take(class, b.class)
		if larger == nil {
			return false
		}
		larger = append(larger, b.small...)
		b.dropHeap()
		b.small, b.class = larger, class
		return true
	}
	return false
}

func (b *Buffer) dropHeap() {
	if b.class >= 0 {
		b.spool.give(b.class, b.small)
	}
	b.small, b.class = nil, -1
}

// spill moves what is on the heap to a file.
func (b *Buffer) spill() error {
	f, err := b.spool.pool.file()
	if err != nil {
		return err
	}
	b.spool.pool.files.Add(1)
	b.file = f
	_, err = f.Write(b.small)
	b.dropHeap()
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// Bytes gives all that was written, until the next Write or Close. They are not
// to be written to.
func (b *Buffer) Bytes() ([]byte, error) {
	switch {
	case b.closed:
		return nil, ErrClosed
	case b.err != nil:
		return nil, b.err
	case b.file == nil:
		return b.small[:len(b.small):len(b.small)], nil
	case int64(len(b.mapped)) == b.size:
		return b.mapped, nil
	}
	if err := b.unmap(); err != nil {
		return nil, err
	}
	m, err := unix.Mmap(int(b.file.Fd()), 0, int(b.size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("spool: map %d bytes: %w", b.size, err)
	}
	b.mapped = m
	return m, nil
}

func (b *Buffer) unmap() error {
	if b.mapped == nil {
		return nil
	}
	m := b.mapped
	b.mapped = nil
	if err := unix.Munmap(m); err != nil {
		return fmt.Errorf("spool: unmap: %w", err)
	}
	return nil
}

// Close gives the room back. Closing twice does nothing.
func (b *Buffer) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	for i, one := range b.spool.open {
		if one == b {
			last := len(b.spool.open) - 1
			b.spool.open[i] = b.spool.open[last]
			b.spool.open = b.spool.open[:last]
			break
		}
	}
	b.dropHeap()
	err := b.unmap()
	if b.file != nil {
		b.spool.pool.files.Add(-1)
		if closing := b.file.Close(); closing != nil {
			err = errors.Join(err, fmt.Errorf("spool: %w", closing))
		}
	}
	return err
}
