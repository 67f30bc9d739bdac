package store

// writeIndex writes the shards of a source's index that are not as before.
func (r *refresh) writeIndex(before, after *source, items []item) error {
	shards := 1 << shardBitsFor(len(items))
	after.shards = make([]uint64, shards)
	same := before != nil && len(before.shards) == shards
	var wasRoom []byte
	for shard := range shards {
		end := shardEnd(items, shard, shards)
		is := appendItems(nil, items[:end])
		items = items[end:]
		if same {
			was, err := readShard(r.old, before, shard, wasRoom[:0])
			if err != nil {
				return err
			}
			wasRoom = was
			if string(was) == string(is) {
				after.shards[shard] = before.shards[shard]
				continue
			}
		}
		if len(is) == 0 {
			continue
		}
		after.shards[shard] = r.generation
		key := indexKey(nil, after.number, r.generation, shard)
		r.index = append(r.index, key)
		if err := r.w.set(key, is); err != nil {
			return err
		}
	}
	if before != nil {
		for shard, generation := range before.shards {
			if generation != 0 && (!same || after.shards[shard] != generation) {
				r.stale = append(r.stale, indexKey(nil, before.number, generation, shard))
			}
		}
	}
	return nil
}

// diff compares the items of a source with its index before, removes from the
// database what is no more, and gives what is new. It takes items over.
func (r *refresh) diff(before *source, items []item) (added []item, removed int, err error) {
	const chunk = 1 << 16
	var gone []item
	was := indexReader{snap: r.old, src: before}
	it, more, err := was.next()
	added = items[:0]
	for len(items) > 0 || more {
		if err != nil {
			return nil, 0, err
		}
		order := 0
		switch {
		case !more:
			order = -1
		case len(items) == 0:
			order = 1
		default:
			order = items[0].compare(it)
		}
		if order < 0 {
			added = append(added, items[0])
		}
		if order > 0 {
			gone = append(gone, it)
			removed++
		}
		if order <= 0 {
			items = items[1:]
		}
		if order >= 0 {
			it, more, err = was.next()
		}
		if len(gone) == chunk {
			if err := r.remove(before, gone); err != nil {
				return nil, 0, err
			}
			gone = gone[:0]
		}
	}
	if err != nil {
		return nil, 0, err
	}
	return added, removed, r.remove(before, gone)
}
