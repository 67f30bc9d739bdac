package store

import (
	"bytes"
	"context"

	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/match"
)

// maxUntidy bounds how many values that hold what does not count any more a refresh
// remembers.
const maxUntidy = 1 << 17

// change is what is to be written for a key; no value: the key is to go.
type change struct{ key, value []byte }

// rebuild reads the dirty shards and makes the filter hold what is listed in
// them. It tells what removes what does not count any more.
func (s *Store) rebuild(untidy func(change)) error {
	snap, err := s.opts.DB.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Release()
	b := match.NewFilterBuilder(s.filter)
	keys := s.keys
	var hashes []uint64
	see := func(key []byte, listed bool, tidied *entry) {
		if listed {
			hashes = append(hashes, hashIn(key))
		}
		if tidied == nil {
			return
		}
		c := change{key: bytes.Clone(key)}
		if len(tidied.records) > 0 {
			c.value = tidied.encode()
		}
		untidy(c)
	}
	for shard, dirty := range s.dirty {
		if !dirty {
			continue
		}
		hashes = hashes[:0]
		if err := s.survey(snap, []byte{areaEntry, byte(shard)}, see); err != nil {
			return err
		}
		keys[shard] = len(hashes)
		if err := b.Set(shard, hashes); err != nil {
			return err
		}
	}
	if err := s.survey(snap, []byte{areaRegexp}, see); err != nil {
		return err
	}
	s.filter, s.keys, s.dirty = b.Filter(), keys, [match.Shards]bool{}
	return nil
}

// survey shows patterns and marks: whether any source lists them, and, where they
// hold more than what counts, what counts of them.
func (s *Store) survey(snap *kv.Snapshot, prefix []byte, see func(key []byte, listed bool, tidied *entry)) error {
	var room []record
	for kvEntry, err := range snap.Range(prefix, nil) {
		if err != nil {
			return err
		}
		if isMark(kvEntry.Key) {
			see(kvEntry.Key, true, nil)
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
		var tidied *entry
		if s.state.tidy(&e) {
			tidied = &e
		}
		see(kvEntry.Key, listed, tidied)
	}
	return nil
}

// tidy writes what rebuild told, since when nothing else was written to these keys.
func (s *Store) tidy(w *writer, untidy []change) error {
	for _, c := range untidy {
		if err := w.change(c.key, c.value); err != nil {
			return err
		}
	}
	return w.flush()
}

// tidyUp removes what the generation before needed and this one does not.
func (r *refresh) tidyUp(untidy []change) error {
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
	for shard := range s.dirty {
		s.dirty[shard] = true
	}
	// The filter is needed even where nothing can be written.
	var written error
	tidy := func(c change) {
		if written == nil {
			written = w.change(c.key, c.value)
		}
	}
	if err := s.rebuild(tidy); err != nil {
		return err
	}
	if written == nil {
		written = w.flush()
	}
	if written != nil {
		return written
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

// removeStrays removes indexes that no source has, and what generations that came to
// nothing would have added.
func (s *Store) removeStrays(w *writer) error {
	files, err := s.indexes()
	if err == nil {
		err = s.removeIndexes(files)
	}
	if err != nil {
		return err
	}
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
