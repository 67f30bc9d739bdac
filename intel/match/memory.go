package match

import (
	"github.com/weirmail/weir/intel"
)

// Memory is a Source on the heap, for judging without a store. It is filled
// first, then read.
type Memory struct {
	byKey   map[string][]*intel.Indicator
	hashes  [Shards][]uint64
	regexps []*intel.Indicator
	marks   []uint64
}

// NewMemory gives an empty one.
func NewMemory() *Memory { return &Memory{byKey: map[string][]*intel.Indicator{}} }

// Add puts an indicator in. It is shared from now on.
func (m *Memory) Add(ind *intel.Indicator) {
	if ind.Pattern.Form() == intel.FormRegexp {
		m.regexps = append(m.regexps, ind)
		return
	}
	key := string(ind.Pattern.AppendKey(nil))
	known := m.byKey[key]
	m.byKey[key] = append(known, ind)
	if known != nil {
		return
	}
	m.marks = AppendMarks(append(m.marks[:0], Hash(ind.Pattern)), ind.Pattern)
	for _, h := range m.marks {
		m.hashes[ShardOf(h)] = append(m.hashes[ShardOf(h)], h)
	}
}

// Lookup implements Source.
func (m *Memory) Lookup(dst []*intel.Indicator, _ uint64, key []byte) ([]*intel.Indicator, error) {
	return append(dst, m.byKey[string(key)]...), nil
}

// Snapshot makes a Snapshot of what was added. Nothing may be added afterwards.
func (m *Memory) Snapshot(generation uint64) (*Snapshot, error) {
	b := NewFilterBuilder(nil)
	for shard, hashes := range m.hashes {
		if err := b.Set(shard, hashes); err != nil {
			return nil, err
		}
		m.hashes[shard] = nil
	}
	return New(Options{Source: m, Filter: b.Filter(), Regexps: m.regexps, Generation: generation})
}
