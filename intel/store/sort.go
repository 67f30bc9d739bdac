package store

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"github.com/weirmail/weir/intel/disk"
)

// statement is what one line of a source says about one pattern.
type statement struct {
	item
	key        []byte // of the pattern
	attributes []byte
}

func (a item) compareLines(b item) int {
	if c := a.compare(b); c != 0 {
		return c
	}
	return cmp.Compare(a.line, b.line)
}

const (
	// sortRoom is how many bytes of statements a sorter holds in memory: some eighty
	// thousand of them.
	sortRoom = 8 << 20

	// runBuffer is the buffer for reading a run. A statement has to fit in, whose
	// longest part is a line of a list.
	runBuffer = 64 << 10

	// sortName is the file of the runs, for the moment in which it has a name. Only
	// one refresh sorts at a time.
	sortName = "sorting.tmp"
)

// sorter puts the statements of a source in the order of their items. What is more
// than it may hold goes to a file, in runs that are sorted each for itself and
// merged when they are read, so that memory does not grow with the source.
type sorter struct {
	large func()     // told when the first run is written
	guard disk.Guard // of the folder that the file is in
	room  int        // bytes; 0: no bound, everything stays in memory

	total  int // statements that were added
	slots  []slot
	text   []byte // keys and attributes of those in slots
	sorted bool   // slots are
	file   disk.File
	runs   []run
}

// slot is a statement in memory.
type slot struct {
	item
	start, key, end uint32 // of the key and, behind it, the attributes in the text
}

const slotBytes = 40

// run is a part of the file.
type run struct{ start, end int64 }

func (s *Store) newSorter() *sorter {
	if s.opts.Dir == "" {
		return &sorter{}
	}
	return &sorter{large: s.large, guard: s.guard(), room: cmp.Or(s.room, sortRoom)}
}

// add takes a statement, whose bytes it copies. The error is the file system's, or
// satisfies disk.ErrNoSpace.
func (s *sorter) add(st statement) error {
	start := len(s.text)
	s.text = append(append(s.text, st.key...), st.attributes...)
	s.slots = append(s.slots, slot{st.item, uint32(start), uint32(start + len(st.key)), uint32(len(s.text))})
	s.sorted = false
	s.total++
	if s.room == 0 || len(s.text)+len(s.slots)*slotBytes < s.room {
		return nil
	}
	return s.spill()
}

// sort sorts what is in memory.
func (s *sorter) sort() {
	if !s.sorted {
		slices.SortFunc(s.slots, func(a, b slot) int { return a.compareLines(b.item) })
		s.sorted = true
	}
}

func (s *sorter) at(i int) statement {
	slot := &s.slots[i]
	return statement{slot.item, s.text[slot.start:slot.key], s.text[slot.key:slot.end]}
}

// spill writes what is in memory to the file.
func (s *sorter) spill() error {
	if s.file == nil {
		s.large()
		if err := s.open(); err != nil {
			return err
		}
	}
	if err := s.guard.Check(int64(len(s.text) + len(s.slots)*slotBytes)); err != nil {
		return err
	}
	s.sort()
	r := run{}
	if n := len(s.runs); n > 0 {
		r.start = s.runs[n-1].end
	}
	r.end = r.start
	w := bufio.NewWriterSize(io.NewOffsetWriter(s.file, r.start), runBuffer)
	var room []byte
	for i := range s.slots {
		room = s.at(i).append(room[:0])
		if _, err := w.Write(room); err != nil {
			return err
		}
		r.end += int64(len(room))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	s.runs = append(s.runs, r)
	s.slots, s.text = s.slots[:0], s.text[:0]
	return nil
}

// open makes the file, which goes with the process.
func (s *sorter) open() (err error) {
	name := filepath.Join(s.guard.Path, sortName)
	if s.file, err = s.guard.FS.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return err
	}
	return s.guard.FS.Remove(name)
}

// close gives up what the sorter holds.
func (s *sorter) close() {
	if s.file != nil {
		_ = s.file.Close() // it has no name any more
	}
	*s = sorter{}
}

// all gives the statements in their order, each valid until the next one. It can be
// ranged over again. Nothing may be added afterwards.
func (s *sorter) all() iter.Seq2[*statement, error] {
	return func(yield func(*statement, error) bool) {
		if err := s.each(func(st *statement) bool { return yield(st, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

func (s *sorter) each(yield func(*statement) bool) error {
	if len(s.runs) == 0 {
		s.sort()
		for i := range s.slots {
			if st := s.at(i); !yield(&st) {
				return nil
			}
		}
		return nil
	}
	if len(s.slots) > 0 {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.slots, s.text = nil, nil // merging needs other room
	m, err := s.merge()
	for err == nil && len(m) > 0 {
		if !yield(&m[0].statement) {
			return nil
		}
		m, err = m.next()
	}
	return err
}

// merge begins to read all runs.
func (s *sorter) merge() (m merged, err error) {
	for _, r := range s.runs {
		c := &runReader{r: bufio.NewReaderSize(io.NewSectionReader(s.file, r.start, r.end-r.start), runBuffer)}
		if err := c.next(); err != nil {
			return nil, err
		}
		m = append(m, c)
	}
	for i := len(m)/2 - 1; i >= 0; i-- {
		m.sink(i)
	}
	return m, nil
}

// merged are runs that are being read: a heap with the least statement first.
type merged []*runReader

// next goes on behind the first statement.
func (m merged) next() (merged, error) {
	err := m[0].next()
	if errors.Is(err, io.EOF) {
		m[0] = m[len(m)-1]
		m, err = m[:len(m)-1], nil
	}
	if err == nil {
		m.sink(0)
	}
	return m, err
}

// sink puts the i-th run where it belongs among those below it.
func (m merged) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m); child++ {
			if m[child].compareLines(m[least].item) < 0 {
				least = child
			}
		}
		if least == i {
			return
		}
		m[i], m[least] = m[least], m[i]
		i = least
	}
}

// runReader reads a run; its statement is the present one.
type runReader struct {
	statement
	r    *bufio.Reader
	size int // of the present statement in the buffer
}

// next goes to the next statement; io.EOF if there is none.
func (c *runReader) next() error {
	if _, err := c.r.Discard(c.size); err != nil {
		return err
	}
	head, err := c.r.Peek(statementHead)
	if err != nil {
		return err
	}
	key, attributes := int(binary.BigEndian.Uint16(head[20:])), int(binary.BigEndian.Uint16(head[22:]))
	c.size = statementHead + key + attributes
	all, err := c.r.Peek(c.size)
	if err != nil {
		return err
	}
	c.statement = statement{itemAt(all, 0), all[statementHead : statementHead+key], all[statementHead+key:]}
	return nil
}

// statementHead is the length of what stands before key and attributes: the item and
// their lengths.
const statementHead = itemBytes + 4

func (st statement) append(dst []byte) []byte {
	dst = appendItem(dst, st.item)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(st.key)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(st.attributes)))
	return append(append(dst, st.key...), st.attributes...)
}
