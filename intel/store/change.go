package store

import (
	"bytes"
	"math/bits"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/match"
)

// scanRatio says when it is cheaper to go through a shard than to look each key
// up: a look-up takes about as long as passing so many keys.
const scanRatio = 32

// maxMarks bounds how many marks are remembered to be in the database.
const maxMarks = 1 << 16

// add adds a statement, which is new, to what is known of its pattern.
func (r *refresh) add(number uint32, st *statement) error {
	key := appendEntryKey(nil, st.hash, st.key)
	var e entry
	if r.mayBeThere(st) {
		var err error
		if e, err = r.entry(key); err != nil {
			return err
		}
	}
	if len(st.key) > longKey {
		e.longKey = st.key
	}
	e.records = append(e.records, record{source: number, first: r.generation, attributes: st.attributes})
	if err := r.write(key, e); err != nil {
		return err
	}
	if err := r.added.add(number, st.content, key); err != nil {
		return err
	}
	if areaOf(st.key) == areaRegexp {
		return nil
	}
	p, err := intel.PatternFromKey(st.key, "")
	if err != nil {
		return err
	}
	return r.addMarks(p)
}

// write sets what is known of a pattern.
func (r *refresh) write(key []byte, e entry) error {
	hash := hashIn(key)
	r.written.add(hash)
	r.touched[match.ShardOf(hash)] = true
	return r.w.set(key, e.encode())
}

// mayBeThere reports whether anything that counts may be known of a pattern. What
// does not count, and is no more than that, can be overwritten unread.
func (r *refresh) mayBeThere(st *statement) bool {
	return areaOf(st.key) == areaRegexp || r.written.has(st.hash) || r.s.filter.Contains(st.hash)
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
	key := markKey(nil, mark)
	// The filter's word that it is there would not do: it can be wrong, and then its
	// next version would know better.
	if r.written.has(mark) || r.s.filter.Contains(mark) {
		if value, err := r.w.get(key); err != nil || value != nil {
			return err
		}
	}
	r.written.add(mark)
	r.touched[match.ShardOf(mark)] = true
	return r.w.set(key, []byte{})
}

// found is an entry of the database before, and the item whose record in it is to end.
type found struct {
	kv.Entry
	item
}

// find gives the entries with the records of these items, which are sorted, of a
// source, and the items that are not there. It only reads, what was before the
// refresh.
func (r *refresh) find(number uint32, gone []item) (all []found, left []item, err error) {
	for len(gone) > 0 {
		shard := match.ShardOf(gone[0].hash)
		n := 1
		for n < len(gone) && match.ShardOf(gone[n].hash) == shard {
			n++
		}
		look := r.lookUp
		if n*scanRatio > r.s.keys[shard] {
			look = r.scan
		}
		of, missed, err := look(areaEntry, number, gone[:n])
		if err != nil {
			return nil, nil, err
		}
		regexps, missed, err := r.lookUp(areaRegexp, number, missed)
		if err != nil {
			return nil, nil, err
		}
		all, left, gone = append(append(all, of...), regexps...), append(left, missed...), gone[n:]
	}
	return all, left, nil
}

// lookUp finds items in an area one by one.
func (r *refresh) lookUp(area byte, number uint32, gone []item) (all []found, left []item, err error) {
	for _, it := range gone {
		was := len(all)
		for kvEntry, err := range r.old.Range(entryPrefix(nil, area, it.hash), nil) {
			if err != nil {
				return nil, nil, err
			}
			if all, err = r.appendFound(all, kvEntry, number, it); err != nil {
				return nil, nil, err
			}
			if len(all) > was {
				break
			}
		}
		if len(all) == was {
			left = append(left, it)
		}
	}
	return all, left, nil
}

// scan is lookUp for many items of one shard: it goes through the whole shard.
func (r *refresh) scan(area byte, number uint32, gone []item) (all []found, left []item, err error) {
	ended := make([]bool, len(gone))
	next := 0
	for kvEntry, err := range r.old.Range([]byte{area, byte(match.ShardOf(gone[0].hash))}, nil) {
		if err != nil {
			return nil, nil, err
		}
		hash := hashIn(kvEntry.Key)
		for next < len(gone) && gone[next].hash < hash {
			next++
		}
		for i := next; i < len(gone) && gone[i].hash == hash; i++ {
			if ended[i] {
				continue
			}
			was := len(all)
			if all, err = r.appendFound(all, kvEntry, number, gone[i]); err != nil {
				return nil, nil, err
			}
			ended[i] = len(all) > was
		}
	}
	for i, it := range gone {
		if !ended[i] {
			left = append(left, it)
		}
	}
	return all, left, nil
}

// appendFound appends an entry if it has the record of an item.
func (r *refresh) appendFound(all []found, in kv.Entry, number uint32, it item) ([]found, error) {
	e, err := decodeEntry(in.Value, nil)
	if err != nil {
		return nil, err
	}
	if r.s.state.tidy(&e); e.open(number, it) == nil {
		return all, nil
	}
	return append(all, found{kv.Entry{Key: bytes.Clone(in.Key), Value: bytes.Clone(in.Value)}, it}), nil
}

// open gives the record of an item that has no end yet, nil if there is none.
func (e *entry) open(number uint32, it item) *record {
	for i := range e.records {
		if rec := &e.records[i]; rec.source == number && rec.last == 0 && rec.content() == it.content {
			return rec
		}
	}
	return nil
}

// end ends the record of an item in an entry that was found.
func (r *refresh) end(was found, number uint32) (err error) {
	var e entry
	if r.written.has(was.hash) {
		e, err = r.entry(was.Key)
	} else if e, err = decodeEntry(was.Value, nil); err == nil {
		r.s.state.tidy(&e)
	}
	if err != nil {
		return err
	}
	rec := e.open(number, was.item)
	if rec == nil {
		return errDamaged
	}
	rec.last = r.generation
	if r.ended++; len(r.untidy) < maxUntidy {
		r.untidy = append(r.untidy, was.Key)
	}
	return r.write(was.Key, e)
}

// hashSet answers whether a hash can be among those that were added: a no is
// certain, a yes is wrong in about one case of a hundred.
type hashSet struct {
	layers []hashLayer // each larger than that before
}

// hashLayer is a Bloom filter that sets a few bits of one word for a hash.
type hashLayer struct {
	words []uint64
	left  int // hashes that there is room for
}

const (
	hashesPerWord = 4
	leastHashes   = 1 << 12 // in a layer
)

// grow makes room for n hashes more. With others than those more answers are wrong.
func (s *hashSet) grow(n int) {
	least := leastHashes
	if i := len(s.layers) - 1; i >= 0 {
		if s.layers[i].left >= n {
			return
		}
		least = 2 * hashesPerWord * len(s.layers[i].words)
	}
	n = max(n, least)
	s.layers = append(s.layers, hashLayer{make([]uint64, n/hashesPerWord+1), n})
}

func (s *hashSet) add(hash uint64) {
	l := &s.layers[len(s.layers)-1]
	l.words[l.at(hash)] |= hashBits(hash)
	l.left--
}

func (s *hashSet) has(hash uint64) bool {
	for i := range s.layers {
		l := &s.layers[i]
		if bits := hashBits(hash); l.words[l.at(hash)]&bits == bits {
			return true
		}
	}
	return false
}

// at gives the word of a hash. Hashes that follow each other have words that do so too,
// which is quick, since most hashes come in their order.
func (l *hashLayer) at(hash uint64) uint64 {
	high, _ := bits.Mul64(hash, uint64(len(l.words)))
	return high
}

func hashBits(hash uint64) uint64 {
	return 1<<(hash&63) | 1<<(hash>>6&63) | 1<<(hash>>12&63) | 1<<(hash>>18&63)
}
