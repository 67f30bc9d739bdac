package store

// goneAtOnce is how many items of a source that are no more are removed together.
const goneAtOnce = 1 << 16

// takeOver writes the index of what was collected, and what makes the statements in
// the database the same. It compares that with the index before, item by item.
func (r *refresh) takeOver(before, after *source, c *collected) (added, removed int, err error) {
	d := &diff{r: r, before: before, number: after.number, was: readIndex(nil)}
	most := c.entries
	if before != nil {
		most += before.entries
		d.was = readIndex(before.index)
	}
	r.written.grow(most)
	r.files = append(r.files, after.indexName())
	if d.now, err = r.s.newIndex(after.indexName(), c.entries); err != nil {
		return 0, 0, err
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
	for d.was.more {
		if err := d.drop(); err != nil {
			return 0, 0, err
		}
	}
	if err := d.remove(); err != nil {
		return 0, 0, err
	}
	if after.index, err = d.now.finish(); err != nil {
		return 0, 0, err
	}
	after.sum = after.index.sum
	return d.added, d.removed, nil
}

// diff is the state of taking a source over.
type diff struct {
	r       *refresh
	before  *source
	number  uint32
	was     *indexReader // of the index before
	now     *indexWriter
	gone    []item // that are to be removed
	added   int
	removed int
}

// see takes the next statement.
func (d *diff) see(st *statement) error {
	if err := d.now.add(st.item); err != nil {
		return err
	}
	for d.was.more && d.was.item.compare(st.item) < 0 {
		if err := d.drop(); err != nil {
			return err
		}
	}
	if d.was.more && d.was.item.compare(st.item) == 0 {
		return d.was.next()
	}
	d.added++
	return d.r.add(d.number, st)
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
