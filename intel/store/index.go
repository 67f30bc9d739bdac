package store

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmail/weir/intel/match"
)

// item is an entry of a source in its index: enough to see whether it is new,
// and where it stands.
type item struct {
	hash    uint64 // of the pattern
	content uint64 // of what is said about it
	line    uint32
}

func (a item) compare(b item) int {
	if a.hash != b.hash { // nearly always
		return cmp.Compare(a.hash, b.hash)
	}
	return cmp.Compare(a.content, b.content)
}

const (
	itemBytes = 20

	// shardItems is what shards of an index hold on average at most: a lookup of
	// a line reads one whole.
	shardItems = 32

	// maxShardItems bounds what a lookup may have to read.
	maxShardItems = 12_000

	// indexSuffix ends the names of the files of indexes.
	indexSuffix = ".index"

	indexBuffer = 64 << 10
)

// shardsFor gives the number of shards, a power of two, of an index of n items.
func shardsFor(n int) int {
	if n <= shardItems {
		return 1
	}
	return 1 << bits.Len(uint((n-1)/shardItems))
}

// shardOf gives the shard of a hash among a power of two of them.
func shardOf(hash uint64, shards int) int {
	return int(hash >> 1 >> (63 - bits.TrailingZeros(uint(shards))))
}

func appendItem(dst []byte, it item) []byte {
	dst = binary.BigEndian.AppendUint64(dst, it.hash)
	dst = binary.BigEndian.AppendUint64(dst, it.content)
	return binary.BigEndian.AppendUint32(dst, it.line)
}

func itemAt(shard []byte, i int) item {
	b := shard[i*itemBytes:]
	return item{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint32(b[16:])}
}

// findItem gives the line of an item in a shard; 0 if it is not there.
func findItem(shard []byte, it item) (line uint32) {
	low, high := 0, len(shard)/itemBytes
	for low < high {
		middle := (low + high) / 2
		at := itemAt(shard, middle)
		switch c := at.compare(it); {
		case c == 0:
			return at.line
		case c < 0:
			low = middle + 1
		default:
			high = middle
		}
	}
	return 0
}

// index is what a source lists, as sorted items, in a file that is written once. It is
// safe for concurrent use. The file is closed when nobody has the index any more, as
// the os package does with files; its name may be gone before.
type index struct {
	items  io.ReaderAt
	starts []uint32 // the number of the first item of each shard, and that of all items
	sum    uint64   // xxhash of the items
}

// number is that of the shard that a hash belongs to.
func (x *index) number(hash uint64) int { return shardOf(hash, len(x.starts)-1) }

// shard appends the items of the shard that a hash belongs to.
func (x *index) shard(dst []byte, hash uint64) ([]byte, error) {
	shard := x.number(hash)
	return x.read(dst, x.starts[shard], x.starts[shard+1])
}

// read appends the items from one number up to, and without, another.
func (x *index) read(dst []byte, from, to uint32) ([]byte, error) {
	if from == to {
		return dst, nil
	}
	start, n := len(dst), int(to-from)*itemBytes
	dst = slices.Grow(dst, n)[:start+n]
	got, err := x.items.ReadAt(dst[start:], int64(from)*itemBytes)
	if got == n {
		err = nil // io.EOF may come with the last bytes
	}
	return dst, err
}

// hashes appends those hashes of the index that belong to a shard of the filter. It
// gives back the room that it was given.
func (x *index) hashes(dst []uint64, shard int, room []byte) ([]uint64, []byte, error) {
	first := uint64(shard) << 56
	last := first | (1<<56 - 1)
	from, to := x.starts[shardOf(first, len(x.starts)-1)], x.starts[shardOf(last, len(x.starts)-1)+1]
	room, err := x.read(room[:0], from, to)
	if err != nil {
		return nil, nil, err
	}
	for i := range len(room) / itemBytes {
		if hash := itemAt(room, i).hash; match.ShardOf(hash) == shard {
			dst = append(dst, hash)
		}
	}
	return dst, room, nil
}

// bytes is the length of the items.
func (x *index) bytes() int64 { return int64(x.starts[len(x.starts)-1]) * itemBytes }

// indexWriter makes an index of items that come in their order.
type indexWriter struct {
	out    *bufio.Writer
	to     io.ReaderAt // what out writes to
	memory bytes.Buffer
	sum    *xxhash.Digest
	starts []uint32
	shards int
	count  uint32
	room   [itemBytes]byte
}

// newIndex begins an index in a file of this name, or in memory if there is no folder.
// It will have n items or fewer.
func (s *Store) newIndex(name string, n int) (*indexWriter, error) {
	w := &indexWriter{sum: xxhash.New(), shards: shardsFor(n)}
	if s.opts.Dir == "" {
		w.out = bufio.NewWriter(&w.memory)
		return w, nil
	}
	if err := s.guard().Check(int64(n) * itemBytes); err != nil {
		return nil, err
	}
	file, err := s.opts.FS.OpenFile(filepath.Join(s.opts.Dir, name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	w.to, w.out = file, bufio.NewWriterSize(io.NewOffsetWriter(file, 0), indexBuffer)
	return w, nil
}

func (w *indexWriter) add(it item) error {
	w.begin(it)
	encoded := appendItem(w.room[:0], it)
	_, _ = w.sum.Write(encoded)
	_, err := w.out.Write(encoded)
	return err
}

// begin notes where shards begin up to that of the next item.
func (w *indexWriter) begin(it item) {
	for len(w.starts) <= shardOf(it.hash, w.shards) {
		w.starts = append(w.starts, w.count)
	}
	w.count++
}

// finish gives the index.
func (w *indexWriter) finish() (*index, error) {
	if err := w.out.Flush(); err != nil {
		return nil, err
	}
	if w.to == nil {
		w.to = bytes.NewReader(w.memory.Bytes())
	}
	return w.index(), nil
}

func (w *indexWriter) index() *index {
	for len(w.starts) <= w.shards {
		w.starts = append(w.starts, w.count)
	}
	return &index{items: w.to, starts: w.starts, sum: w.sum.Sum64()}
}

// openIndex opens the index that a source has. The error says that it is not there or
// not what it was.
func (s *Store) openIndex(src *source) (*index, error) {
	if s.opts.Dir == "" {
		return nil, os.ErrNotExist
	}
	file, err := s.opts.FS.OpenFile(filepath.Join(s.opts.Dir, src.indexName()), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	w := &indexWriter{to: file, sum: xxhash.New(), shards: shardsFor(src.entries)}
	r := io.TeeReader(bufio.NewReaderSize(io.NewSectionReader(file, 0, int64(src.entries)*itemBytes), indexBuffer), w.sum)
	for range src.entries {
		if _, err := io.ReadFull(r, w.room[:]); err != nil {
			return nil, fmt.Errorf("reading %s: %w", src.indexName(), err)
		}
		w.begin(itemAt(w.room[:], 0))
	}
	x := w.index()
	if x.sum != src.sum {
		return nil, fmt.Errorf("%s is damaged", src.indexName())
	}
	return x, nil
}

// indexName is the name of the file of a source's index.
func (s *source) indexName() string {
	return fmt.Sprintf("%d-%d%s", s.number, s.generation, indexSuffix)
}

// removeIndexes removes those of the files that no source has.
func (s *Store) removeIndexes(files []string) error {
	if s.opts.Dir == "" {
		return nil
	}
	used := map[string]bool{}
	for _, src := range s.sources {
		used[src.indexName()] = true
	}
	var errs []error
	for _, name := range files {
		if used[name] {
			continue
		}
		if err := s.opts.FS.Remove(filepath.Join(s.opts.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// indexes gives the files of all indexes.
func (s *Store) indexes() (names []string, err error) {
	if s.opts.Dir == "" {
		return nil, nil
	}
	files, err := s.opts.FS.ReadDir(s.opts.Dir)
	for _, f := range files {
		if strings.HasSuffix(f.Name(), indexSuffix) {
			names = append(names, f.Name())
		}
	}
	return names, err
}

// indexReader gives the items of an index in their order.
type indexReader struct {
	item      // the present one
	more bool // there is a present one

	r    *bufio.Reader // nil: there are none
	room [itemBytes]byte
}

func readIndex(x *index) *indexReader {
	if x == nil {
		return &indexReader{}
	}
	return &indexReader{r: bufio.NewReaderSize(io.NewSectionReader(x.items, 0, x.bytes()), indexBuffer)}
}

// next goes to the next item.
func (r *indexReader) next() error {
	if r.r == nil {
		return nil
	}
	_, err := io.ReadFull(r.r, r.room[:])
	r.more = err == nil
	if r.more {
		r.item = itemAt(r.room[:], 0)
	}
	if err == io.EOF {
		err = nil
	}
	return err
}
