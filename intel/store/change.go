package store

import (
	"bytes"
	"math/bits"
	"slices"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/match"
)

// scanRatio says when it is cheaper to go through a shard than to look each key
// up: a look-up takes about as long as passing so many keys.
const scanRatio = 32

// maxMarks bounds how many marks are remembered to be in the database.
const maxMarks = 1 << 16

// done stands in place of the line of an item that was written.
const done = ^uint32(0)

// add reads a source for the second time and writes those of its entries that
// are among added, which is sorted. It takes added over.
func (r *refresh) add(number uint32, src Source, added []item) error {
	if len(added) == 0 {
		return nil
	}
	r.written.grow(len(added))
	left := len(added)
	var attributes, key []byte
	for ind, err := range src.Entries {
		if err != nil {
			return ErrChanged
		}
		var it item
		it, attributes = itemOf(&ind, attributes)
		i, found := slices.BinarySearchFunc(added, it, item.compare)
		if !found || added[i].line != it.line {
			continue // listed before, or said again on another line
		}
		added[i].line = done
		left--
		key = ind.Pattern.AppendKey(key[:0])
		rec := record{source: number, first: r.generation, attributes: attributes}
		if err := r.addRecord(it, key, rec); err != nil {
			return err
		}
		if err := r.addMarks(ind.Pattern); err != nil {
			return err
		}
	}
	if left > 0 {
		return ErrChanged
	}
	return nil
}

// addRecord adds a record to what is known of a pattern.
func (r *refresh) addRecord(it item, patternKey []byte, rec record) error {
	key := appendEntryKey(nil, it.hash, patternKey)
	var e entry
	if r.mayBeThere(it.hash, patternKey) {
		var err error
		if e, err = r.entry(key); err != nil {
			return err
		}
	}
	r.written.add(it.hash)
	if len(patternKey) > longKey {
		e.longKey = patternKey
	}
	e.records = append(e.records, rec)
	if err := r.w.set(key, e.encode()); err != nil {
		return err
	}
	r.touched[match.ShardOf(it.hash)] = true
	return r.added.add(rec.source, it.content, key)
}

// mayBeThere reports whether anything that counts may be known of a pattern. What
// does not count, and is no more than that, can be overwritten unread.
func (r *refresh) mayBeThere(hash uint64, patternKey []byte) bool {
	return areaOf(patternKey) == areaRegexp || r.written.has(hash) || r.s.filter.Contains(hash)
}

// entry gives what is known of a pattern, without what does not count.
func (r *refresh) entry(key []byte) (entry, error) {
	value, err := r.w.get(key)
	if err != nil || value == nil {
		return entry{}, err
	}
	e, err := decodeEntry(value, nil)
	r.s.state.tidy(&e)
	return e, err
}

// addMarks makes sure that the marks of a pattern are in the database and will
// be in the filter.
func (r *refresh) addMarks(p intel.Pattern) error {
	if p.Form() == intel.FormRegexp {
		return nil
	}
	var room [4]uint64
	for _, mark := range match.AppendMarks(room[:0], p) {
		if r.marks[mark] {
			continue
		}
		if len(r.marks) == maxMarks {
			clear(r.marks)
		}
		r.marks[mark] = true
		if err := r.addMark(mark); err != nil {
			return err
		}
	}
	return nil
}

func (r *refresh) addMark(mark uint64) error {
	// The filter's word alone would not do: it can be wrong about what is there,
	// and then its next version would know better. That of the database would not
	// either: the filter knows nothing of what came to nothing.
	key := markKey(nil, mark)
	value, err := r.w.get(key)
	if err != nil {
		return err
	}
	if value != nil && r.s.filter.Contains(mark) {
		return nil
	}
	r.touched[match.ShardOf(mark)] = true
	if value != nil {
		return nil
	}
	return r.w.set(key, []byte{})
}

// remove ends what a source says: the records of these items, which are sorted.
func (r *refresh) remove(src *source, gone []item) error {
	for len(gone) > 0 {
		shard := match.ShardOf(gone[0].hash)
		n := 1
		for n < len(gone) && match.ShardOf(gone[n].hash) == shard {
			n++
		}
		r.touched[shard] = true
		look := r.lookUp
		if n*scanRatio > r.s.keys[shard] {
			look = r.scan
		}
		left, err := look(areaEntry, src.number, gone[:n])
		if err != nil {
			return err
		}
		if left, err = r.lookUp(areaRegexp, src.number, left); err != nil {
			return err
		}
		if len(left) > 0 {
			r.s.opts.Logger.Error("entries that a list had are not in the database, where they should be", zap.Int("entries", len(left)), zap.String("source", src.name))
		}
		gone = gone[n:]
	}
	return nil
}

// lookUp ends the records of items whose patterns are in this area, one by one,
// and gives those that are not.
func (r *refresh) lookUp(area byte, number uint32, gone []item) (left []item, err error) {
	for _, it := range gone {
		found := false
		for kvEntry, err := range r.old.Range(entryPrefix(nil, area, it.hash), nil) {
			if err != nil {
				return nil, err
			}
			if found, err = r.end(bytes.Clone(kvEntry.Key), number, it); err != nil {
				return nil, err
			}
			if found {
				break
			}
		}
		if !found {
			left = append(left, it)
		}
	}
	return left, nil
}

// scan is lookUp for many items of one shard: it goes through the whole shard.
func (r *refresh) scan(area byte, number uint32, gone []item) (left []item, err error) {
	ended := make([]bool, len(gone))
	next := 0
	for kvEntry, err := range r.old.Range([]byte{area, byte(match.ShardOf(gone[0].hash))}, nil) {
		if err != nil {
			return nil, err
		}
		hash := hashIn(kvEntry.Key)
		for next < len(gone) && gone[next].hash < hash {
			next++
		}
		for i := next; i < len(gone) && gone[i].hash == hash; i++ {
			if ended[i] {
				continue
			}
			if ended[i], err = r.end(bytes.Clone(kvEntry.Key), number, gone[i]); err != nil {
				return nil, err
			}
		}
	}
	for i, it := range gone {
		if !ended[i] {
			left = append(left, it)
		}
	}
	return left, nil
}

// end ends the record of an item if it is that of this key.
func (r *refresh) end(key []byte, number uint32, it item) (found bool, err error) {
	if isMark(key) {
		return false, nil
	}
	e, err := r.entry(key)
	if err != nil {
		return false, err
	}
	for i := range e.records {
		if rec := &e.records[i]; rec.source == number && rec.last == 0 && rec.content() == it.content {
			rec.last = r.generation
			return true, r.w.set(key, e.encode())
		}
	}
	return false, nil
}

// hashSet answers whether a hash can be among those that were added: a no is
// certain.
type hashSet struct {
	bits  []uint64
	shift int
}

// grow makes room for about n hashes, if nothing was added yet.
func (s *hashSet) grow(n int) {
	if s.bits == nil {
		width := max(16, bits.Len(uint(16*n)))
		s.bits, s.shift = make([]uint64, 1<<(width-6)), 64-width
	}
}

func (s *hashSet) add(hash uint64) {
	i := hash >> s.shift
	s.bits[i>>6] |= 1 << (i & 63)
}

func (s *hashSet) has(hash uint64) bool {
	i := hash >> s.shift
	return s.bits[i>>6]&(1<<(i&63)) != 0
}
