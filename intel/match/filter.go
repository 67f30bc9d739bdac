package match

import (
	"fmt"
	"slices"

	"github.com/FastFilter/xorfilter"
)

// Shards is the number of parts of a Filter. A hash belongs to the part that
// its top byte names.
const Shards = 256

// ShardOf gives the part that a hash belongs to.
func ShardOf(hash uint64) int { return int(hash >> 56) }

// Filter answers whether a hash can be among those that it was built from: a
// no is certain, a yes is wrong in 0.4 % of cases. It is immutable; a nil
// Filter holds nothing.
type Filter struct {
	shards [Shards]*xorfilter.BinaryFuse[uint8]
}

// Contains reports whether the hash may have been put in.
func (f *Filter) Contains(hash uint64) bool {
	if f == nil {
		return false
	}
	shard := f.shards[hash>>56]
	return shard != nil && shard.Contains(hash)
}

// Bytes is the room that f's fingerprints take.
func (f *Filter) Bytes() int {
	n := 0
	if f != nil {
		for _, s := range f.shards {
			if s != nil {
				n += len(s.Fingerprints)
			}
		}
	}
	return n
}

// FilterBuilder makes a Filter out of an earlier one by replacing shards. It
// reuses its working memory and is not safe for concurrent use.
type FilterBuilder struct {
	next  Filter
	works xorfilter.BinaryFuseBuilder
}

// NewFilterBuilder begins with the shards of from, which may be nil.
func NewFilterBuilder(from *Filter) *FilterBuilder {
	b := &FilterBuilder{}
	if from != nil {
		b.next = *from
	}
	return b
}

// Set makes the given hashes, all of this shard, the content of the shard. It
// sorts them in place. The error, from a filter that cannot be built, is not to
// be expected of any input.
func (b *FilterBuilder) Set(shard int, hashes []uint64) error {
	slices.Sort(hashes)
	hashes = slices.Compact(hashes)
	if len(hashes) == 0 {
		b.next.shards[shard] = nil
		return nil
	}
	built, err := xorfilter.BuildBinaryFuse[uint8](&b.works, hashes)
	if err != nil {
		return fmt.Errorf("match: building shard %d of the filter from %d hashes: %w", shard, len(hashes), err)
	}
	built.Fingerprints = slices.Clone(built.Fingerprints) // the builder's own are overwritten
	b.next.shards[shard] = &built
	return nil
}

// Filter gives what was built so far. The builder can go on afterwards.
func (b *FilterBuilder) Filter() *Filter {
	f := b.next
	return &f
}
