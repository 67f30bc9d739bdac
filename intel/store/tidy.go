package store

import (
	"bytes"
	"context"

	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/match"
)

// maxUntidy bounds how many keys a refresh remembers whose values hold what does not
// count any more.
const maxUntidy = 1 << 17

// rebuild makes the filter hold what is listed in the dirty shards: the hashes in the
// indexes, and the marks.
func (s *Store) rebuild() error {
	snap, err := s.opts.DB.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Release()
	b := match.NewFilterBuilder(s.filter)
	keys := s.keys
	var hashes []uint64
	var room []byte
	for shard, dirty := range s.dirty {
		if !dirty {
			continue
		}
		hashes = hashes[:0]
		for _, src := range s.sources {
			if hashes, room, err = src.index.hashes(hashes, shard, room); err != nil {
				return err
			}
		}
		keys[shard] = len(hashes)
		for mark, err := range snap.Range([]byte{areaMark, byte(shard)}, nil) {
			if err != nil {
				return err
			}
			hashes = append(hashes, hashIn(mark.Key))
		}
		if err := b.Set(shard, hashes); err != nil {
			return err
		}
	}
	s.filter, s.keys, s.dirty = b.Filter(), keys, [match.Shards]bool{}
	return nil
}

// tidyUp removes what the generation before needed and this one does not.
func (r *refresh) tidyUp() error {
	s := r.s
	if s.state.untidy {
		tidy := func() error { return s.tidy(r.w, r.untidy) }
		if r.wasUntidy || r.ended > len(r.untidy) {
			tidy = func() error { return s.sweep(r.w) }
		}
		if err := tidy(); err != nil {
			return err
		}
		tidied := s.state
		tidied.untidy = false
		if err := s.setState(r.w, tidied); err != nil {
			return err
		}
	}
	return s.forget(r.w)
}

// tidy removes what does not count any more from the values of these keys.
func (s *Store) tidy(w *writer, keys [][]byte) error {
	for _, key := range keys {
		value, err := w.get(key)
		if err != nil {
			return err
		}
		if value == nil {
			continue
		}
		if err := s.tidyValue(w, kv.Entry{Key: key, Value: value}, nil); err != nil {
			return err
		}
	}
	return w.flush()
}

// sweep removes what does not count any more from all values.
func (s *Store) sweep(w *writer) error {
	snap, err := s.opts.DB.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Release()
	var room []record
	for _, area := range []byte{areaEntry, areaRegexp} {
		for kvEntry, err := range snap.Range([]byte{area}, nil) {
			if err == nil {
				err = s.tidyValue(w, kvEntry, room)
			}
			if err != nil {
				return err
			}
		}
	}
	return w.flush()
}

// tidyValue removes what does not count any more from a value.
func (s *Store) tidyValue(w *writer, kvEntry kv.Entry, room []record) error {
	e, err := decodeEntry(kvEntry.Value, room)
	if err != nil || !s.state.tidy(&e) {
		return err
	}
	key := bytes.Clone(kvEntry.Key)
	if len(e.records) == 0 {
		return w.delete(key)
	}
	return w.set(key, e.encode())
}

// setState changes the state in the database, then here.
func (s *Store) setState(w *writer, next state) error {
	if err := w.set([]byte{areaState}, next.encode()); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	s.state = next
	return nil
}

// clean removes everything that does not count, wherever it is, and with it the
// need to remember which generations came to nothing. The filter is rebuilt as
// a whole.
func (s *Store) clean(ctx context.Context) error {
	for shard := range s.dirty {
		s.dirty[shard] = true
	}
	if err := s.rebuild(); err != nil {
		return err
	}
	files, err := s.indexes()
	if err == nil {
		err = s.removeIndexes(files)
	}
	if err != nil {
		return err
	}
	w := s.newWriter(ctx, s.opts.Rest)
	defer w.release()
	if len(s.state.aborted) > 0 || s.state.untidy {
		if err := s.sweep(w); err != nil {
			return err
		}
		if err := s.removeStrays(w); err != nil {
			return err
		}
		cleaned := s.state
		cleaned.aborted, cleaned.untidy = nil, false
		if err := s.setState(w, cleaned); err != nil {
			return err
		}
	}
	return s.forget(w)
}

// removeStrays removes what generations that came to nothing would have added.
func (s *Store) removeStrays(w *writer) error {
	snap, err := s.opts.DB.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Release()
	for kvEntry, err := range snap.Range([]byte{areaAdded}, nil) {
		if err != nil {
			return err
		}
		if !s.state.counts(generationIn(kvEntry.Key)) {
			if err := w.delete(bytes.Clone(kvEntry.Key)); err != nil {
				return err
			}
		}
	}
	return w.flush()
}
