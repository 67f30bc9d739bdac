package store

import (
	"bytes"
	"context"

	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/match"
)

// maxUntidy bounds how many keys are remembered to hold what does not count any
// more.
const maxUntidy = 1 << 17

// rebuild reads the dirty shards and makes the filter hold what is listed in
// them. It gives keys that hold what does not count any more, not all of them if
// there are maxUntidy or more.
func (s *Store) rebuild() (untidy [][]byte, err error) {
	snap, err := s.opts.DB.Snapshot()
	if err != nil {
		return nil, err
	}
	defer snap.Release()
	b := match.NewFilterBuilder(s.filter)
	keys := s.keys
	var hashes []uint64
	see := func(key []byte, listed, tidy bool) {
		if listed {
			hashes = append(hashes, hashIn(key))
		}
		if !tidy && len(untidy) < maxUntidy {
			untidy = append(untidy, bytes.Clone(key))
		}
	}
	for shard, dirty := range s.dirty {
		if !dirty {
			continue
		}
		hashes = hashes[:0]
		if err := s.survey(snap, []byte{areaEntry, byte(shard)}, see); err != nil {
			return nil, err
		}
		keys[shard] = len(hashes)
		if err := b.Set(shard, hashes); err != nil {
			return nil, err
		}
	}
	if err := s.survey(snap, []byte{areaRegexp}, see); err != nil {
		return nil, err
	}
	s.filter, s.keys, s.dirty = b.Filter(), keys, [match.Shards]bool{}
	return untidy, nil
}

// survey shows patterns and marks: whether any source lists them, and whether
// they hold only what counts.
func (s *Store) survey(snap *kv.Snapshot, prefix []byte, see func(key []byte, listed, tidy bool)) error {
	var room []record
	for kvEntry, err := range snap.Range(prefix, nil) {
		if err != nil {
			return err
		}
		if isMark(kvEntry.Key) {
			see(kvEntry.Key, true, true)
			continue
		}
		e, err := decodeEntry(kvEntry.Value, room)
		if err != nil {
			return err
		}
		room = e.records
		listed := false
		for i := range e.records {
			listed = listed || s.state.listed(&e.records[i])
		}
		see(kvEntry.Key, listed, !s.state.tidy(&e))
	}
	return nil
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
		e, err := decodeEntry(value, nil)
		if err != nil {
			return err
		}
		switch {
		case !s.state.tidy(&e):
		case len(e.records) == 0:
			err = w.delete(key)
		default:
			err = w.set(key, e.encode())
		}
		if err != nil {
			return err
		}
	}
	return w.flush()
}

// tidyUp removes what the generation before needed and this one does not.
func (r *refresh) tidyUp(untidy [][]byte) error {
	for _, key := range r.stale {
		if err := r.w.delete(key); err != nil {
			return err
		}
	}
	if err := r.s.tidy(r.w, untidy); err != nil {
		return err
	}
	return r.s.forget(r.w)
}

// clean removes everything that does not count, wherever it is, and with it the
// need to remember which generations came to nothing. The filter is rebuilt as
// a whole.
func (s *Store) clean(ctx context.Context) error {
	w := s.newWriter(ctx, s.opts.Rest)
	defer w.release()
	for again := true; again; {
		for shard := range s.dirty {
			s.dirty[shard] = true
		}
		untidy, err := s.rebuild()
		if err != nil {
			return err
		}
		if err := s.tidy(w, untidy); err != nil {
			return err
		}
		again = len(untidy) == maxUntidy
	}
	if err := s.removeStrays(w); err != nil {
		return err
	}
	if err := s.forget(w); err != nil {
		return err
	}
	if len(s.state.aborted) == 0 {
		return nil
	}
	cleaned := s.state
	cleaned.aborted = nil
	if err := w.set([]byte{areaState}, cleaned.encode()); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	s.reading.Lock()
	defer s.reading.Unlock()
	s.state = cleaned
	return nil
}

// removeStrays removes parts of indexes that no source has, and what
// generations that came to nothing would have added.
func (s *Store) removeStrays(w *writer) error {
	used := map[string]bool{}
	for number, src := range s.sources {
		for shard, generation := range src.shards {
			used[string(indexKey(nil, number, generation, shard))] = true
		}
	}
	snap, err := s.opts.DB.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Release()
	for kvEntry, err := range snap.Range([]byte{areaIndex}, nil) {
		if err != nil {
			return err
		}
		if !used[string(kvEntry.Key)] {
			if err := w.delete(bytes.Clone(kvEntry.Key)); err != nil {
				return err
			}
		}
	}
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
