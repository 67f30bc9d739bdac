package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/kv"
)

// ErrForgotten says that what a generation added is not known any more. Who has
// to know takes everything that is listed: All.
var ErrForgotten = errors.New("what was added so long ago is not known any more")

// Addition is an indicator and the generation that added it.
type Addition struct {
	Generation uint64
	Indicator  *intel.Indicator
}

// Added gives the indicators that generations after the given one added and
// that are still listed, in the order of the generations. One that a source
// lists with other attributes than before counts as added. It gives what there
// is when it begins, and reads as it goes. The error, which ends it, is
// ErrForgotten or the database's.
func (s *Store) Added(after uint64) iter.Seq2[Addition, error] {
	return func(yield func(Addition, error) bool) {
		if err := s.added(after, func(a Addition) bool { return yield(a, nil) }); err != nil {
			yield(Addition{}, err)
		}
	}
}

func (s *Store) added(after uint64, yield func(Addition) bool) error {
	v, err := s.view()
	if err != nil {
		return err
	}
	defer v.snap.Release()
	if after < v.state.forgotten {
		return ErrForgotten
	}
	var room rooms
	var part []mention
	for kvEntry, err := range v.snap.Range([]byte{areaAdded}, addedKey(after+1, 0)) {
		if err != nil {
			return err
		}
		generation := generationIn(kvEntry.Key)
		if !v.state.counts(generation) {
			continue
		}
		if part, err = decodePart(part[:0], kvEntry.Value); err != nil {
			return err
		}
		more, err := v.findPart(part, generation, &room, yield)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// mention is what a part of the log of additions says of one of them.
type mention struct {
	source  uint32
	content uint64
	key     []byte // of the entry
}

// decodePart appends the mentions of a part; they point into it.
func decodePart(dst []mention, part []byte) ([]mention, error) {
	d := decoder{rest: part}
	for d.varint(); d.more(); {
		dst = append(dst, mention{uint32(d.uvarint()), d.uvarint(), d.bytes()})
	}
	return dst, d.end()
}

// findPart gives those of a part that are still listed, and whether more are wanted.
// Where most of the entries between the first and the last are meant, which is so after
// the first reading of a large list, it goes through them instead of looking each up.
func (v *view) findPart(part []mention, generation uint64, room *rooms, yield func(Addition) bool) (more bool, err error) {
	give := func(m *mention, value []byte) bool {
		ind, failed := v.addition(m, generation, value, room)
		if failed != nil {
			err = failed
			return false
		}
		return ind == nil || yield(Addition{generation, ind})
	}
	slices.SortFunc(part, func(a, b mention) int { return bytes.Compare(a.key, b.key) })
	left := scanRatio / 2 * len(part)
	next := 0
	if len(part) == 0 {
		return true, nil
	}
	for kvEntry, failed := range v.snap.Range([]byte{areaEntry}, part[0].key) {
		if failed != nil {
			return false, failed
		}
		for next < len(part) && bytes.Compare(part[next].key, kvEntry.Key) < 0 {
			next++ // there is nothing of it any more
		}
		for ; next < len(part) && bytes.Equal(part[next].key, kvEntry.Key); next++ {
			if !give(&part[next], kvEntry.Value) {
				return false, err
			}
		}
		if left--; next == len(part) || left < 0 {
			break
		}
	}
	for ; next < len(part); next++ {
		value, found, failed := v.snap.Get(part[next].key, room.value[:0])
		if failed != nil {
			return false, failed
		}
		room.value = value
		if found && !give(&part[next], value) {
			return false, err
		}
	}
	return true, nil
}

// All gives every indicator that is listed, with the generation that added it,
// in no order that means anything. It gives what there is when it begins, and
// reads as it goes. The error, which ends it, is the database's.
func (s *Store) All() iter.Seq2[Addition, error] {
	return func(yield func(Addition, error) bool) {
		if err := s.all(func(a Addition) bool { return yield(a, nil) }); err != nil {
			yield(Addition{}, err)
		}
	}
}

func (s *Store) all(yield func(Addition) bool) error {
	v, err := s.view()
	if err != nil {
		return err
	}
	defer v.snap.Release()
	var room rooms
	var records []record
	for _, area := range []byte{areaEntry, areaRegexp} {
		for kvEntry, err := range v.snap.Range([]byte{area}, nil) {
			if err != nil {
				return err
			}
			e, err := decodeEntry(kvEntry.Value, records)
			if err != nil {
				return err
			}
			records = e.records
			for i := range e.records {
				r := &e.records[i]
				if !v.state.listed(r) {
					continue
				}
				ind, err := v.indicator(hashIn(kvEntry.Key), patternKeyIn(kvEntry.Key, e), r, &room)
				if err != nil {
					return err
				}
				if !yield(Addition{r.first, ind}) {
					return nil
				}
			}
		}
	}
	return nil
}

// view gives the database and what counts in it now. The caller releases it.
func (s *Store) view() (*view, error) {
	// Under the lock, since the state has to be that of the database: activate
	// changes both under it.
	s.reading.Lock()
	defer s.reading.Unlock()
	snap, err := s.opts.DB.Snapshot()
	return &view{snap: snap, state: s.state, sources: s.sources, rooms: &s.rooms}, err
}

// addition gives the indicator of a record that a generation added, or nil if it is not
// listed any more.
func (v *view) addition(m *mention, generation uint64, value []byte, room *rooms) (*intel.Indicator, error) {
	e, err := decodeEntry(value, nil)
	if err != nil {
		return nil, err
	}
	for i := range e.records {
		r := &e.records[i]
		if r.source == m.source && r.first == generation && r.content() == m.content && v.state.listed(r) {
			return v.indicator(hashIn(m.key), patternKeyIn(m.key, e), r, room)
		}
	}
	return nil, nil
}

// addedLog collects what a generation adds, in parts.
type addedLog struct {
	generation uint64
	now        time.Time
	w          *writer
	part       []byte
	parts      uint32
}

// partBytes is about the size of a part.
const partBytes = 32 << 10

func (l *addedLog) add(source uint32, content uint64, key []byte) error {
	if len(l.part) == 0 {
		l.part = binary.AppendVarint(nil, l.now.Unix())
	}
	l.part = binary.AppendUvarint(l.part, uint64(source))
	l.part = binary.AppendUvarint(l.part, content)
	l.part = appendBytes(l.part, key)
	if len(l.part) < partBytes {
		return nil
	}
	return l.flush()
}

func (l *addedLog) flush() error {
	if len(l.part) == 0 {
		return nil
	}
	part := l.part
	l.part = nil
	l.parts++
	return l.w.set(addedKey(l.generation, l.parts-1), part)
}

// keys gives the keys of the parts that were written.
func (l *addedLog) keys() [][]byte {
	var keys [][]byte
	for number := range l.parts {
		keys = append(keys, addedKey(l.generation, number))
	}
	return keys
}

// forget removes what was added longer ago than Options.KeepAdded. First of all
// it says so in the state, so that nobody takes what is left for all there was.
func (s *Store) forget(w *writer) error {
	snap, err := s.opts.DB.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Release()
	now := s.opts.Now()
	oldest := now.Add(-s.opts.KeepAdded).Unix()
	upTo := s.state.forgotten
	var keys, ahead [][]byte
	for kvEntry, err := range snap.Range([]byte{areaAdded}, nil) {
		if err != nil {
			return err
		}
		d := decoder{rest: kvEntry.Value}
		at, key := d.varint(), append([]byte(nil), kvEntry.Key...)
		if at > now.Unix() { // of a clock that was ahead: it is as old as what comes behind it
			ahead = append(ahead, key)
			continue
		}
		if at >= oldest {
			break
		}
		keys = append(append(keys, ahead...), key)
		ahead = ahead[:0]
		upTo = max(upTo, generationIn(kvEntry.Key))
	}
	if len(keys) == 0 {
		return nil
	}
	next := s.state
	next.forgotten = upTo
	var b kv.Batch
	b.Set([]byte{areaState}, next.encode())
	if err := s.opts.DB.Commit(&b); err != nil {
		return err
	}
	s.reading.Lock()
	s.state = next
	s.reading.Unlock()
	for _, key := range keys {
		if err := w.delete(key); err != nil {
			return err
		}
	}
	return w.flush()
}
