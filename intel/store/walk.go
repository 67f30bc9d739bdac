package store

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"time"

	"github.com/weirmail/weir/intel"
)

// ErrPlace says that a text is no place of a Walk.
var ErrPlace = errors.New("not a place among the indicators")

// Walk gives all that is listed, pattern by pattern: what every source says of
// one, and a place from which a later Walk goes on behind it; an empty place is
// the beginning. The order means nothing and does not change. It ends when visit
// gives false, and at the end with a place that is nil. What changes meanwhile may
// be given as it was or as it is.
//
// The error is the context's, the database's, or ErrPlace.
func (s *Store) Walk(ctx context.Context, place []byte, visit func(all []Addition, place []byte) bool) error {
	if len(place) > 0 && place[0] != areaEntry && place[0] != areaRegexp {
		return ErrPlace
	}
	v, err := s.view()
	if err != nil {
		return err
	}
	defer v.snap.Release()
	lines := lineFinder{}
	var records []record
	var all []Addition
	for _, area := range []byte{areaEntry, areaRegexp} {
		var from []byte
		if len(place) > 0 {
			if place[0] > area {
				continue
			}
			if place[0] == area {
				from = place
			}
		}
		for kvEntry, err := range v.snap.Range([]byte{area}, from) {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				return err
			}
			if bytes.Equal(kvEntry.Key, place) {
				continue
			}
			e, err := decodeEntry(kvEntry.Value, records)
			if err != nil {
				return err
			}
			records = e.records
			all = all[:0]
			hash, key := hashIn(kvEntry.Key), patternKeyIn(kvEntry.Key, e)
			for i := range e.records {
				r := &e.records[i]
				if !v.state.listed(r) {
					continue
				}
				ind, err := v.indicator(hash, key, r, lines.room(r.source))
				if err != nil {
					return err
				}
				all = append(all, Addition{r.first, ind})
			}
			if len(all) > 0 && !visit(all, bytes.Clone(kvEntry.Key)) {
				return nil
			}
		}
	}
	return nil
}

// lineFinder has a room for each source of those that are walked through: in the
// order of hashes the next entry is most often in the shard that was read last.
type lineFinder map[uint32]*rooms

func (l lineFinder) room(source uint32) *rooms {
	if l[source] == nil {
		l[source] = &rooms{keeps: true}
	}
	return l[source]
}

// Times gives when generations added something, as far back as that is known:
// what was added by the generation `before` and by those before it was added longer
// ago than Options.KeepAdded, or nobody knows when.
func (s *Store) Times() (added map[uint64]time.Time, before uint64, err error) {
	v, err := s.view()
	if err != nil {
		return nil, 0, err
	}
	defer v.snap.Release()
	added = map[uint64]time.Time{}
	for next, more := v.state.forgotten+1, true; more; {
		more = false
		for kvEntry, err := range v.snap.Range([]byte{areaAdded}, addedKey(next, 0)) {
			if err != nil {
				return nil, 0, err
			}
			d := decoder{rest: kvEntry.Value}
			generation := generationIn(kvEntry.Key)
			added[generation] = time.Unix(d.varint(), 0).UTC()
			next, more = generation+1, true // over its other parts
			break
		}
	}
	return added, v.state.forgotten, nil
}

// OfPattern gives what sources say of a pattern, in force or not, with the
// generation that added it.
func (s *Store) OfPattern(p intel.Pattern) ([]Addition, error) {
	v, err := s.view()
	if err != nil {
		return nil, err
	}
	defer v.snap.Release()
	key := p.AppendKey(nil)
	hash := hashOf(p)
	value, found, err := v.snap.Get(appendEntryKey(nil, hash, key), nil)
	if err != nil || !found {
		return nil, err
	}
	e, err := decodeEntry(value, nil)
	if err != nil {
		return nil, err
	}
	var all []Addition
	var room rooms
	for i := range e.records {
		r := &e.records[i]
		if !v.state.listed(r) {
			continue
		}
		ind, err := v.indicator(hash, key, r, &room)
		if err != nil {
			return nil, err
		}
		all = append(all, Addition{r.first, ind})
	}
	return all, nil
}

// OfSource gives what one source lists, with the generations that added it, in no
// order that means anything; nothing if it is not listed. It gives what there is when
// it begins, and costs what that source lists, however much others do. The error,
// which ends it, is the database's.
func (s *Store) OfSource(name string) iter.Seq2[Addition, error] {
	return func(yield func(Addition, error) bool) {
		if err := s.ofSource(name, func(a Addition) bool { return yield(a, nil) }); err != nil {
			yield(Addition{}, err)
		}
	}
}

func (s *Store) ofSource(name string, yield func(Addition) bool) error {
	v, err := s.view()
	if err != nil {
		return err
	}
	defer v.snap.Release()
	for number, src := range v.sources {
		if src.name != name {
			continue
		}
		room := rooms{keeps: true}
		var items []byte
		for shard := range len(src.index.starts) - 1 {
			if items, err = src.index.read(items[:0], src.index.starts[shard], src.index.starts[shard+1]); err != nil {
				return err
			}
			for i := range len(items) / itemBytes {
				a, err := v.additionOf(number, itemAt(items, i), &room)
				if err != nil {
					return err
				}
				if a.Indicator != nil && !yield(a) {
					return nil
				}
			}
		}
	}
	return nil
}

// additionOf gives what a source lists as an item of its index; no indicator if it is
// not listed.
func (v *view) additionOf(source uint32, it item, room *rooms) (a Addition, err error) {
	for _, area := range []byte{areaEntry, areaRegexp} {
		for kvEntry, err := range v.snap.Range(entryPrefix(nil, area, it.hash), nil) {
			if err != nil {
				return a, err
			}
			e, err := decodeEntry(kvEntry.Value, nil)
			if err != nil {
				return a, err
			}
			for i := range e.records {
				r := &e.records[i]
				if r.source != source || r.content() != it.content || !v.state.listed(r) {
					continue
				}
				ind, err := v.indicator(it.hash, patternKeyIn(kvEntry.Key, e), r, room)
				return Addition{r.first, ind}, err
			}
		}
	}
	return a, nil
}
