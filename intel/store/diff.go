package store

// goneAtOnce is how many items of a source that are no more are removed together.
const goneAtOnce = 1 << 16

// takeOver writes what makes a source's index and its statements in the database what
// was collected. It compares that with the index before, item by item.
func (r *refresh) takeOver(before, after *source, c *collected) (added, removed int, err error) {
	after.shards = make([]uint64, c.shards)
	most := c.entries
	if before != nil {
		most += before.entries
	}
	r.written.grow(most)
	d := &diff{
		r: r, before: before, after: after,
		same: before != nil && len(before.shards) == c.shards,
		was:  indexReader{snap: r.old, src: before},
	}
	if err := d.was.next(); err != nil {
		return 0, 0, err
	}
	for st, err := range c.all() {
		if err == nil {
			err = d.see(st)
		}
		if err != nil {
			return 0, 0, err
		}
	}
	return d.added, d.removed, d.end()
}

// diff is the state of taking a source over.
type diff struct {
	r             *refresh
	before, after *source
	same          bool        // the indexes have as many shards
	was           indexReader // of the index before
	shard         int         // of the index after that is being filled
	items         []byte      // that are in it
	room          []byte      // for the shard before
	gone          []item      // that are to be removed
	added         int
	removed       int
}

// see takes the next statement.
func (d *diff) see(st *statement) error {
	for shard := shardOf(st.hash, len(d.after.shards)); d.shard < shard; {
		if err := d.endShard(); err != nil {
			return err
		}
	}
	d.items = appendItem(d.items, st.item)
	for d.was.more && d.was.item.compare(st.item) < 0 {
		if err := d.drop(); err != nil {
			return err
		}
	}
	if d.was.more && d.was.item.compare(st.item) == 0 {
		return d.was.next()
	}
	d.added++
	return d.r.add(d.after.number, st)
}

// drop takes the present item of the index before as one that is no more.
func (d *diff) drop() error {
	d.removed++
	if d.gone = append(d.gone, d.was.item); len(d.gone) == goneAtOnce {
		if err := d.remove(); err != nil {
			return err
		}
	}
	return d.was.next()
}

func (d *diff) remove() error {
	err := d.r.remove(d.before, d.gone)
	d.gone = d.gone[:0]
	return err
}

// endShard writes the shard that was filled, if it is not as before.
func (d *diff) endShard() error {
	items, shard := d.items, d.shard
	d.items, d.shard = nil, d.shard+1
	if d.same {
		was, err := readShard(d.r.old, d.before, shard, d.room[:0])
		if err != nil {
			return err
		}
		d.room = was
		if string(was) == string(items) {
			d.after.shards[shard] = d.before.shards[shard]
			d.items = items[:0]
			return nil
		}
	}
	if len(items) == 0 {
		return nil
	}
	d.after.shards[shard] = d.r.generation
	key := indexKey(nil, d.after.number, d.r.generation, shard)
	d.r.index = append(d.r.index, key)
	return d.r.w.set(key, items)
}

// end takes what is left.
func (d *diff) end() error {
	for d.was.more {
		if err := d.drop(); err != nil {
			return err
		}
	}
	for d.shard < len(d.after.shards) {
		if err := d.endShard(); err != nil {
			return err
		}
	}
	if d.before == nil {
		return nil
	}
	for shard, generation := range d.before.shards {
		if generation != 0 && (!d.same || d.after.shards[shard] != generation) {
			d.r.stale = append(d.r.stale, indexKey(nil, d.before.number, generation, shard))
		}
	}
	return d.remove()
}
