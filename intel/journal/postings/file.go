package postings

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/weirmail/weir/intel/disk"
)

// trailer ends a run's file and says where everything is.
type trailer struct {
	stretch
	level   uint8 // how often its postings were merged
	sealed  bool  // nothing comes behind it
	shift   uint8 // of a key to the number of its bucket
	dir     int64 // offset of the directory
	notesAt int64 // of the notes
	at      int64 // of the trailer itself
}

const trailerBytes = 4*8 + 8 + 3 + 8 + 8 + 4 + 8 + sumBytes

func (t *trailer) append(dst []byte) []byte {
	start := len(dst)
	for _, n := range [...]uint64{t.after.At, t.after.Check, t.through.At, t.through.Check, t.count} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	sealed := byte(0)
	if t.sealed {
		sealed = 1
	}
	dst = append(dst, t.level, sealed, t.shift)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(t.dir))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(t.notesAt))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(t.notes)))
	dst = append(dst, magic...)
	return binary.LittleEndian.AppendUint64(dst, sum(dst[start:], t.at))
}

// maxNotes bounds what is believed of a trailer.
const maxNotes = 64 << 20

func parseTrailer(b []byte, at int64) (t trailer, notes int, ok bool) {
	body := b[:len(b)-sumBytes]
	if sum(body, at) != binary.LittleEndian.Uint64(b[len(body):]) || string(body[len(body)-len(magic):]) != magic {
		return t, 0, false
	}
	n := func() uint64 {
		v := binary.LittleEndian.Uint64(b)
		b = b[8:]
		return v
	}
	t.after, t.through, t.count = Mark{n(), n()}, Mark{n(), n()}, n()
	t.level, t.sealed, t.shift = b[0], b[1] == 1, b[2]
	b = b[3:]
	t.dir, t.notesAt, t.at = int64(n()), int64(n()), at
	notes = int(binary.LittleEndian.Uint32(b))
	ok = t.shift <= 64 && t.shift > 32 && t.dir >= 0 && t.notesAt >= t.dir+dirEntry<<(64-t.shift) && t.notesAt <= at && notes <= maxNotes
	return t, notes, ok
}

// file is a run in a file.
type file struct {
	trailer
	name  string
	f     disk.File
	users atomic.Int64 // those who read, and one until it is given up
}

// openFile opens a run's file. An error that satisfies ErrDamaged says that it
// is not whole.
func openFile(fsys disk.FS, name string) (*file, error) {
	f, err := fsys.OpenFile(name, flagRead, 0)
	if err != nil {
		return nil, err
	}
	r := &file{name: name, f: f}
	r.users.Store(1)
	if err := r.load(); err != nil {
		_ = f.Close()
		return nil, err
	}
	return r, nil
}

func (r *file) load() error {
	size, err := r.f.Size()
	if err != nil {
		return err
	}
	at := size - trailerBytes
	if at < int64(len(magic)) {
		return r.damaged(size, "it is too short")
	}
	b := make([]byte, trailerBytes)
	if err := r.read(b, at); err != nil {
		return err
	}
	t, notes, ok := parseTrailer(b, at)
	if !ok {
		return r.damaged(at, "its end does not check")
	}
	r.trailer = t
	if notes > 0 {
		r.notes = make([]byte, notes+sumBytes)
		r.notes, err = r.piece(r.notes, t.notesAt, notes)
	}
	return err
}

func (r *file) damaged(at int64, why string) error {
	return fmt.Errorf("%w: %s at offset %d: %s: stop the daemon and remove the file, and its part of the log is indexed anew", ErrDamaged, r.name, at, why)
}

// read reads all of b.
func (r *file) read(b []byte, at int64) error {
	n, err := r.f.ReadAt(b, at)
	switch {
	case n == len(b):
		return nil
	case err == nil || err == io.EOF:
		return r.damaged(at, "it ends too early")
	}
	return fmt.Errorf("read %s: %w", r.name, err)
}

// piece reads what stands at an offset, n bytes and their sum, into room.
func (r *file) piece(room []byte, at int64, n int) ([]byte, error) {
	if at < 0 || n < 0 || at+int64(n)+sumBytes > r.at {
		return nil, r.damaged(at, "a piece lies outside")
	}
	if cap(room) < n+sumBytes {
		room = make([]byte, n+sumBytes)
	}
	room = room[:n+sumBytes]
	if err := r.read(room, at); err != nil {
		return nil, err
	}
	if sum(room[:n], at) != binary.LittleEndian.Uint64(room[n:]) {
		return nil, r.damaged(at, "a piece does not check")
	}
	return room[:n], nil
}

func (r *file) span() stretch { return r.stretch }

// reader reads one file in one goroutine.
type reader struct {
	*file
	room []byte // of the bucket
	more []byte // of a chunk
}

// bucket gives the content of a bucket, valid until the next call.
func (r *reader) bucket(number uint64) ([]byte, error) {
	var entry [dirEntry]byte
	if err := r.read(entry[:], r.dir+int64(number)*dirEntry); err != nil {
		return nil, err
	}
	at, n := int64(binary.LittleEndian.Uint64(entry[:])), int(binary.LittleEndian.Uint32(entry[8:]))
	b, err := r.piece(r.room, at, n)
	if err == nil {
		r.room = b
	}
	return b, err
}

// item is a key of a bucket and its list.
type item struct {
	key    uint64
	list   []byte // where it stands in the bucket
	chunks int    // else how many it has
	table  int64  // and where their table stands
}

// items goes through a bucket.
type items struct {
	left []byte
	key  uint64
}

// next gives the next item; ok is false at the end, and bad where there is none.
func (it *items) next() (i item, ok, bad bool) {
	if len(it.left) == 0 {
		return i, false, false
	}
	step, a := binary.Uvarint(it.left)
	if a <= 0 {
		return i, false, true
	}
	n, b := binary.Uvarint(it.left[a:])
	if b <= 0 {
		return i, false, true
	}
	it.left = it.left[a+b:]
	it.key += step
	i.key = it.key
	if n&1 == 0 {
		if n>>1 > uint64(len(it.left)) {
			return i, false, true
		}
		i.list, it.left = it.left[:n>>1], it.left[n>>1:]
		return i, true, false
	}
	table, c := binary.Uvarint(it.left)
	if c <= 0 || n>>1 > 1<<32 {
		return i, false, true
	}
	it.left = it.left[c:]
	i.chunks, i.table = int(n>>1), int64(table)
	return i, true, false
}

// lookup implements run.
func (r *file) lookup(key, from, to uint64, yield func(uint64) bool) (bool, error) {
	if to <= r.after.At || from > r.through.At {
		return true, nil
	}
	read := reader{file: r}
	number := bucketOf(key, uint(r.shift))
	content, err := read.bucket(number)
	if err != nil {
		return true, err
	}
	for it := (items{content, number << r.shift}); ; {
		i, ok, bad := it.next()
		switch {
		case bad:
			return true, r.damaged(0, "a bucket makes no sense")
		case !ok || i.key > key:
			return true, nil
		case i.key < key:
			continue
		case i.list != nil:
			return give(r.after.At, i.list, from, to, yield), nil
		}
		return read.chunks(i, from, to, yield)
	}
}

// chunks goes through a list that stands in chunks.
func (r *reader) chunks(i item, from, to uint64, yield func(uint64) bool) (bool, error) {
	table, err := r.piece(nil, i.table, i.chunks*chunkEntry)
	if err != nil {
		return true, err
	}
	for n := range i.chunks {
		c := chunkOf(table, n)
		if c.first >= to {
			break
		}
		if n+1 < i.chunks && chunkOf(table, n+1).first <= from {
			continue
		}
		list, err := r.piece(r.more, c.at, c.length)
		if err != nil {
			return true, err
		}
		r.more = list
		if !give(r.after.At, list, from, to, yield) {
			return false, nil
		}
	}
	return true, nil
}

type chunk struct {
	first  uint64
	at     int64
	length int
}

func chunkOf(table []byte, n int) chunk {
	b := table[n*chunkEntry:]
	return chunk{binary.LittleEndian.Uint64(b), int64(binary.LittleEndian.Uint64(b[8:])), int(binary.LittleEndian.Uint32(b[16:]))}
}

// give goes through a list; its first position counts from base.
func give(base uint64, list []byte, from, to uint64, yield func(uint64) bool) bool {
	at := base
	for len(list) > 0 {
		step, n := binary.Uvarint(list)
		if n <= 0 {
			return true
		}
		list = list[n:]
		at += step
		if at >= to {
			return true
		}
		if at >= from && !yield(at) {
			return false
		}
	}
	return true
}

// scan implements run. The cursor reads a stretch of buckets at once.
func (r *file) scan() cursor {
	return &fileCursor{reader: reader{file: r}, ahead: ahead{file: r}}
}

type fileCursor struct {
	reader
	ahead  ahead
	bucket uint64 // the next one
	items  items
	key    uint64
	base   uint64 // what the next step counts from
	list   []byte
	table  []byte // of the list's chunks that are still to be read
}

func (c *fileCursor) next() (Posting, bool, error) {
	for len(c.list) == 0 {
		if len(c.table) > 0 {
			part := chunkOf(c.table, 0)
			c.table = c.table[chunkEntry:]
			list, err := c.piece(c.more, part.at, part.length)
			if err != nil {
				return Posting{}, false, err
			}
			c.more, c.list, c.base = list, list, c.after.At
			continue
		}
		i, ok, bad := c.items.next()
		switch {
		case bad:
			return Posting{}, false, c.damaged(0, "a bucket makes no sense")
		case ok:
			c.key, c.list, c.base = i.key, i.list, c.after.At
			if i.chunks > 0 {
				table, err := c.piece(nil, i.table, i.chunks*chunkEntry)
				if err != nil {
					return Posting{}, false, err
				}
				c.table = table
			}
			continue
		case c.bucket >= 1<<(64-c.shift):
			return Posting{}, false, nil
		}
		content, err := c.ahead.bucket(c.bucket)
		if err != nil {
			return Posting{}, false, err
		}
		c.items = items{content, c.bucket << c.shift}
		c.bucket++
	}
	step, n := binary.Uvarint(c.list)
	if n <= 0 {
		return Posting{}, false, c.damaged(0, "a list makes no sense")
	}
	c.list = c.list[n:]
	c.base += step
	return Posting{c.key, c.base}, true, nil
}

// ahead reads buckets one after the other, many at once.
type ahead struct {
	*file
	dir   []byte // of the directory, from bucket number start on
	start uint64
	body  []byte // of the file, from offset at on
	at    int64
}

const (
	dirAhead  = 4096 // entries
	bodyAhead = 256 << 10
)

func (a *ahead) bucket(number uint64) ([]byte, error) {
	if i := number - a.start; a.dir == nil || i*dirEntry >= uint64(len(a.dir)) {
		n := min(dirAhead, 1<<(64-a.shift)-number)
		a.dir = append(a.dir[:0], make([]byte, n*dirEntry)...)
		a.start = number
		if err := a.read(a.dir, a.file.dir+int64(number)*dirEntry); err != nil {
			return nil, err
		}
	}
	entry := a.dir[(number-a.start)*dirEntry:]
	at, n := int64(binary.LittleEndian.Uint64(entry)), int(binary.LittleEndian.Uint32(entry[8:]))
	end := at + int64(n) + sumBytes
	if at < 0 || end > a.file.at {
		return nil, a.damaged(at, "a piece lies outside")
	}
	if at < a.at || end > a.at+int64(len(a.body)) {
		size := min(max(bodyAhead, int64(n)+sumBytes), a.file.at-at)
		if int64(cap(a.body)) < size {
			a.body = make([]byte, size)
		}
		a.body, a.at = a.body[:size], at
		if err := a.read(a.body, at); err != nil {
			return nil, err
		}
	}
	b := a.body[at-a.at:]
	if sum(b[:n], at) != binary.LittleEndian.Uint64(b[n:]) {
		return nil, a.damaged(at, "a piece does not check")
	}
	return b[:n], nil
}

// enter keeps the file open until leave.
func (r *file) enter() { r.users.Add(1) }

func (r *file) leave() error {
	if r.users.Add(-1) > 0 {
		return nil
	}
	return r.f.Close()
}
