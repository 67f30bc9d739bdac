package store

import (
	"cmp"
	"encoding/binary"
	"math/bits"

	"github.com/weirmail/weir/intel/kv"
)

// item is an entry of a source in its index: enough to see whether it is new,
// and where it stands.
type item struct {
	hash    uint64 // of the pattern
	content uint64 // of what is said about it
	line    uint32
}

func (a item) compare(b item) int {
	return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.content, b.content))
}

const (
	itemBytes = 20

	// shardItems is what shards of an index hold on average at most: a lookup of
	// a line reads one whole, and an edit writes one anew.
	shardItems = 128

	// maxShardBits bounds the number of shards. Each source keeps a generation for
	// each, which in one value of the database can be some 40 000. Above 4 million
	// entries the shards grow.
	maxShardBits = 15

	// maxShardItems is what a shard may hold to fit into a value of the database.
	maxShardItems = 12_000
)

// shardBitsFor gives the number of bits of a hash that name the shard in an
// index of n items.
func shardBitsFor(n int) int {
	if n <= shardItems {
		return 0
	}
	return min(maxShardBits, bits.Len(uint((n-1)/shardItems)))
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

// indexReader gives the items of a source's index in their order.
type indexReader struct {
	item      // the present one
	more bool // there is a present one

	snap  *kv.Snapshot
	src   *source // nil: there are none
	shard int     // the next one
	room  []byte
	left  []byte // of the present shard
}

// next goes to the next item.
func (r *indexReader) next() (err error) {
	for len(r.left) == 0 {
		if r.more = r.src != nil && r.shard < len(r.src.shards); !r.more {
			return nil
		}
		if r.left, err = readShard(r.snap, r.src, r.shard, r.room[:0]); err != nil {
			return err
		}
		r.room = r.left
		r.shard++
	}
	r.item, r.more = itemAt(r.left, 0), true
	r.left = r.left[itemBytes:]
	return nil
}

// readShard appends a shard of a source's index to dst.
func readShard(snap *kv.Snapshot, src *source, shard int, dst []byte) ([]byte, error) {
	generation := src.shards[shard]
	if generation == 0 {
		return dst, nil
	}
	var room [32]byte
	start := len(dst)
	dst, found, err := snap.Get(indexKey(room[:0], src.number, generation, shard), dst)
	if err != nil {
		return nil, err
	}
	if !found || (len(dst)-start)%itemBytes != 0 {
		return nil, errDamaged
	}
	return dst, nil
}
