package store

import (
	"sync"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/kv"
)

// view is what a snapshot reads: the database at one moment, and what counts in
// it. It implements match.Source.
type view struct {
	snap    *kv.Snapshot
	state   state
	sources map[uint32]*source
	rooms   *sync.Pool // of *rooms
}

// rooms are what a look-up needs for a moment.
type rooms struct {
	key, value, shard []byte

	// With keeps, the shard stays for who looks for another line of the same source.
	keeps bool
	kept  int // which one it is, from 1; 0: none
}

// Lookup appends the indicators that sources list under this pattern's key.
func (v *view) Lookup(dst []*intel.Indicator, hash uint64, key []byte) ([]*intel.Indicator, error) {
	room := v.rooms.Get().(*rooms)
	defer v.rooms.Put(room)
	room.key = appendEntryKey(room.key[:0], hash, key)
	value, found, err := v.snap.Get(room.key, room.value[:0])
	if err != nil || !found {
		return dst, err
	}
	room.value = value
	e, err := decodeEntry(value, nil)
	if err != nil {
		return dst, err
	}
	for i := range e.records {
		r := &e.records[i]
		if !v.state.listed(r) {
			continue
		}
		ind, err := v.indicator(hash, key, r, room)
		if err != nil {
			return dst, err
		}
		dst = append(dst, ind)
	}
	return dst, nil
}

// indicator makes the indicator of a record that is listed. It uses the room for
// a shard.
func (v *view) indicator(hash uint64, patternKey []byte, r *record, room *rooms) (*intel.Indicator, error) {
	src := v.sources[r.source]
	if src == nil {
		return nil, errDamaged
	}
	ind, err := indicator(patternKey, r.attributes)
	if err != nil {
		return nil, err
	}
	ind.Source = src.name
	if !src.lines {
		return ind, nil
	}
	if number := src.index.number(hash); !room.keeps || room.kept != number+1 {
		room.kept = 0
		if room.shard, err = src.index.shard(room.shard[:0], hash); err != nil {
			return nil, err
		}
		room.kept = number + 1
	}
	ind.Line = int(findItem(room.shard, item{hash: hash, content: r.content()}))
	return ind, nil
}

// regexps gives all regular expressions that are listed.
func (v *view) regexps() ([]*intel.Indicator, error) {
	var found []*intel.Indicator
	var room rooms
	for kvEntry, err := range v.snap.Range([]byte{areaRegexp}, nil) {
		if err != nil {
			return nil, err
		}
		e, err := decodeEntry(kvEntry.Value, nil)
		if err != nil {
			return nil, err
		}
		for i := range e.records {
			if !v.state.listed(&e.records[i]) {
				continue
			}
			ind, err := v.indicator(hashIn(kvEntry.Key), patternKeyIn(kvEntry.Key, e), &e.records[i], &room)
			if err != nil {
				return nil, err
			}
			found = append(found, ind)
		}
	}
	return found, nil
}
