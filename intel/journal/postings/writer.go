package postings

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmail/weir/intel/disk"
)

const (
	magic = "WEIRRUN1"

	perBucket  = 32       // postings in a bucket, about
	maxInline  = 256      // bytes of a list that stands in its bucket
	chunkBytes = 16 << 10 // of a piece of a longer one
	sumBytes   = 8
	chunkEntry = 8 + 8 + 4
	dirEntry   = 8 + 4

	writeAtOnce = 256 << 10
)

// writer writes a run's file.
type writer struct {
	f    disk.File
	off  int64 // of what is in buf
	buf  []byte
	base uint64 // the position that the stretch begins behind

	shift  uint // of a key to the number of its bucket
	dir    []byte
	bucket []byte // the bucket in hand
	number uint64 // its number
	prior  uint64 // the key before in it

	key    uint64 // in hand
	begun  bool   // there is one
	list   []byte // its positions, as far as they are not in a chunk
	first  uint64 // the first position in list
	last   uint64
	chunks []byte // the table of those that are written

	count uint64
}

// bucketBits gives how many bits of a key tell its bucket.
func bucketBits(postings uint64) uint {
	return uint(bits.Len64(postings / perBucket))
}

func newWriter(f disk.File, base, postings uint64) *writer {
	w := &writer{f: f, base: base, shift: 64 - bucketBits(postings)}
	w.buf = append(make([]byte, 0, writeAtOnce+writeAtOnce/4), magic...)
	w.dir = make([]byte, 0, dirEntry<<(64-w.shift))
	return w
}

// bucketOf gives the number of a key's bucket. A shift by 64 gives 0.
func bucketOf(key uint64, shift uint) uint64 { return key >> shift }

// add adds a posting. They come in order; one that comes twice counts once.
func (w *writer) add(p Posting) error {
	switch {
	case !w.begun || p.Key != w.key:
		if err := w.endKey(); err != nil {
			return err
		}
		w.key, w.begun = p.Key, true
		if err := w.reach(bucketOf(p.Key, w.shift)); err != nil {
			return err
		}
		w.startList(p.At, w.base)
	case p.At == w.last:
		return nil
	case len(w.list) >= chunkBytes:
		if err := w.endChunk(); err != nil {
			return err
		}
		w.startList(p.At, w.base)
	default:
		w.list = binary.AppendUvarint(w.list, p.At-w.last)
	}
	w.last = p.At
	w.count++
	return nil
}

func (w *writer) startList(at, base uint64) {
	w.first = at
	w.list = binary.AppendUvarint(w.list[:0], at-base)
}

// endKey puts the list in hand into the bucket, or says there where it stands.
func (w *writer) endKey() error {
	if !w.begun {
		return nil
	}
	w.begun = false
	long := len(w.chunks) > 0 || len(w.list) > maxInline
	if long {
		if err := w.endChunk(); err != nil {
			return err
		}
	}
	w.bucket = binary.AppendUvarint(w.bucket, w.key-w.prior)
	w.prior = w.key
	if !long {
		w.bucket = binary.AppendUvarint(w.bucket, uint64(len(w.list))<<1)
		w.bucket = append(w.bucket, w.list...)
		return nil
	}
	at, err := w.piece(w.chunks)
	w.bucket = binary.AppendUvarint(w.bucket, uint64(len(w.chunks)/chunkEntry)<<1|1)
	w.bucket = binary.AppendUvarint(w.bucket, uint64(at))
	w.chunks = w.chunks[:0]
	return err
}

func (w *writer) endChunk() error {
	at, err := w.piece(w.list)
	w.chunks = binary.LittleEndian.AppendUint64(w.chunks, w.first)
	w.chunks = binary.LittleEndian.AppendUint64(w.chunks, uint64(at))
	w.chunks = binary.LittleEndian.AppendUint32(w.chunks, uint32(len(w.list)))
	return err
}

// reach ends buckets until the one of a number is in hand.
func (w *writer) reach(number uint64) error {
	for w.number < number {
		if err := w.endBucket(); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) endBucket() error {
	at, err := w.piece(w.bucket)
	w.dir = binary.LittleEndian.AppendUint64(w.dir, uint64(at))
	w.dir = binary.LittleEndian.AppendUint32(w.dir, uint32(len(w.bucket)))
	w.bucket = w.bucket[:0]
	w.number++
	w.prior = w.number << w.shift
	return err
}

// piece writes something with its sum and gives its offset. What is empty has a
// sum too, or a length that was damaged would hide what is there.
func (w *writer) piece(data []byte) (at int64, err error) {
	at = w.off + int64(len(w.buf))
	w.buf = append(w.buf, data...)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, sum(data, at))
	if len(w.buf) >= writeAtOnce {
		err = w.flush()
	}
	return at, err
}

func sum(data []byte, at int64) uint64 { return xxhash.Sum64(data) + uint64(at) }

func (w *writer) flush() error {
	_, err := w.f.WriteAt(w.buf, w.off)
	w.off += int64(len(w.buf))
	w.buf = w.buf[:0]
	return err
}

// finish writes what is left. The postings that came are counted.
func (w *writer) finish(t trailer) (trailer, error) {
	err := w.endKey()
	if err == nil {
		err = w.reach(1 << (64 - w.shift))
	}
	if err != nil {
		return t, err
	}
	t.shift, t.count = uint8(w.shift), w.count
	if t.dir, err = w.piece(w.dir); err != nil {
		return t, err
	}
	if t.notesAt, err = w.piece(t.notes); err != nil {
		return t, err
	}
	t.at = w.off + int64(len(w.buf))
	w.buf = t.append(w.buf)
	return t, w.flush()
}
