package store

import (
	"maps"

	"go.uber.org/zap"
)

// openIndexes opens the indexes of all sources. Those that are missing are made again
// from the database.
func (s *Store) openIndexes() error {
	missing := map[uint32]*sorter{}
	for number, src := range s.sources {
		var err error
		if src.index, err = s.openIndex(src); err != nil {
			s.opts.Logger.Warn("the index of a list or feed is missing and made anew; where its entries stand is known when it was read again", zap.String("source", src.name), zap.Error(err))
			missing[number] = s.newSorter()
			defer missing[number].close()
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := s.sortListed(missing); err != nil {
		return err
	}
	sources := maps.Clone(s.sources)
	for number, sorted := range missing {
		src := *sources[number]
		src.version = "" // so that it is read again
		if err := s.reindex(&src, sorted); err != nil {
			return err
		}
		sources[number] = &src
	}
	s.sources = sources
	return nil
}

// sortListed gives sources' sorters the items that are listed.
func (s *Store) sortListed(to map[uint32]*sorter) error {
	snap, err := s.opts.DB.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Release()
	for _, area := range []byte{areaEntry, areaRegexp} {
		for kvEntry, err := range snap.Range([]byte{area}, nil) {
			if err != nil {
				return err
			}
			e, err := decodeEntry(kvEntry.Value, nil)
			if err != nil {
				return err
			}
			for i := range e.records {
				r := &e.records[i]
				sorted := to[r.source]
				if sorted == nil || !s.state.listed(r) {
					continue
				}
				if err := sorted.add(statement{item: item{hash: hashIn(kvEntry.Key), content: r.content()}}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// reindex makes the index of a source of sorted items.
func (s *Store) reindex(src *source, sorted *sorter) error {
	w, err := s.newIndex(src.indexName(), sorted.total)
	if err != nil {
		return err
	}
	for st, err := range sorted.all() {
		if err == nil {
			err = w.add(st.item)
		}
		if err != nil {
			return err
		}
	}
	src.entries = sorted.total
	src.index, err = w.finish()
	return err
}
