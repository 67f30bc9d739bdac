package store

import (
	"sync"

	"go.uber.org/zap"
)

// goneAtOnce is how many items of a source that are no more are removed together.
const goneAtOnce = 1 << 16

// takeOver writes the index of what was collected, and what makes the statements in
// the database the same. It compares that with the index before, item by item.
func (r *refresh) takeOver(before, after *source, c *collected) (added, removed int, err error) {
	d := &diff{r: r, number: after.number, name: after.name, was: readIndex(nil)}
	defer d.finding.Wait()
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
	if err := d.endFound(); err != nil {
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
	number  uint32
	name    string
	was     *indexReader // of the index before
	now     *indexWriter
	gone    []item // that are to be removed
	added   int
	removed int

	// What is gone is looked for in the background, while others are read and written.
	finding sync.WaitGroup
	found   []found
	left    []item // that were not found
	failed  error
}

// see takes the next statement.
func (d *diff) see(st *statement) error {
	if err := d.now.add(st.item); err != nil {
		return err
	}
	for d.was.more && d.was.compare(st.item) < 0 {
		if err := d.drop(); err != nil {
			return err
		}
	}
	if d.was.more && d.was.compare(st.item) == 0 {
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

// remove begins to look for what is gone, and ends what was found of what was before.
func (d *diff) remove() error {
	err := d.endFound()
	if err != nil || len(d.gone) == 0 {
		return err
	}
	gone := d.gone
	d.gone = nil
	d.finding.Go(func() { d.found, d.left, d.failed = d.r.find(d.number, gone) })
	return nil
}

// endFound waits for what is being looked for, and ends it.
func (d *diff) endFound() error {
	d.finding.Wait()
	if d.failed != nil {
		return d.failed
	}
	if len(d.left) > 0 {
		d.r.s.opts.Logger.Error("entries that a list had are not in the database, where they should be", zap.Int("entries", len(d.left)), zap.String("source", d.name))
	}
	for _, f := range d.found {
		if err := d.r.end(f, d.number); err != nil {
			return err
		}
	}
	d.found, d.left = nil, nil
	return nil
}
