package store

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/weirmail/weir/intel"
)

const (
	// maxErrors is the number of errors of one source that are kept.
	maxErrors = 200

	// Bounds on what one source may say about one pattern, which is read as a whole
	// whenever it is met and has to fit into one value of the database: entries, and
	// bytes of attributes in each.
	maxPerPattern = 16
	maxAttributes = 2 << 10

	// maxPatternKey is the room that a sorted statement has for a pattern.
	maxPatternKey = 32 << 10
)

// EntryError says why a source that can be read cannot be kept.
type EntryError struct {
	Line   int // of the entry; 0 where there are no lines
	Reason string
}

// Error gives line and reason.
func (e *EntryError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// collected is what a source listed when it was read.
type collected struct {
	sorter  *sorter
	thin    bool
	shards  int // that an index of it has
	entries int // distinct ones
	lines   bool
}

// collect reads a source. Errors of what it says are errs; err is one of keeping it.
// Whoever calls it closes the sorter.
func collect(ctx context.Context, src Source, to *sorter) (c *collected, errs []error, err error) {
	c = &collected{sorter: to, thin: src.Thin, shards: 1}
	if src.Entries == nil {
		return c, nil, nil
	}
	var st statement
	for ind, err := range src.Entries {
		if context.Cause(ctx) != nil {
			return nil, nil, context.Cause(ctx)
		}
		if err == nil && len(errs) == 0 {
			st = statementOf(&ind, st)
			if err = st.check(); err == nil {
				if err := to.add(st); err != nil {
					return nil, nil, err
				}
				continue
			}
		}
		if err != nil && len(errs) < maxErrors {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errs, nil
	}
	c.shards = shardsFor(to.total)
	err = c.survey()
	if crowd, ok := errors.AsType[*EntryError](err); ok {
		return nil, []error{crowd}, nil
	}
	return c, nil, err
}

// statementOf gives what an indicator says, in the room that an earlier one had.
func statementOf(ind *intel.Indicator, room statement) statement {
	attributes := appendAttributes(room.attributes[:0], ind)
	rec := record{attributes: attributes}
	return statement{
		item: item{hash: hashOf(ind.Pattern), content: rec.content(), line: uint32(ind.Line)},
		key:  ind.Pattern.AppendKey(room.key[:0]), attributes: attributes,
	}
}

// check refuses what has no room.
func (st *statement) check() error {
	switch {
	case len(st.attributes) > maxAttributes:
		return &EntryError{int(st.line), fmt.Sprintf("has more than %d bytes of notes and other options", maxAttributes)}
	case len(st.key) > maxPatternKey:
		return &EntryError{int(st.line), fmt.Sprintf("is longer than %d bytes", maxPatternKey)}
	}
	return nil
}

// survey goes through what is listed, counts it and refuses crowds.
func (c *collected) survey() error {
	crowd := crowds{shards: c.shards}
	for st, err := range c.all() {
		if err != nil {
			return err
		}
		if err := crowd.see(st.item); err != nil {
			return err
		}
		c.entries++
		c.lines = c.lines || st.line != 0
	}
	return nil
}

// all gives what is listed, in order: of statements that say the same about the same
// pattern that of the first line.
func (c *collected) all() iter.Seq2[*statement, error] {
	if c.thin {
		return thin(distinct(c.sorter.all()))
	}
	return distinct(c.sorter.all())
}

// distinct leaves of statements that follow each other and say the same the first.
func distinct(all iter.Seq2[*statement, error]) iter.Seq2[*statement, error] {
	return func(yield func(*statement, error) bool) {
		var last item
		first := true
		for st, err := range all {
			if err == nil {
				if !first && st.compare(last) == 0 {
					continue
				}
				last, first = st.item, false
			}
			if !yield(st, err) {
				return
			}
		}
	}
}

// thin leaves of each pattern as many statements as one source may have, those that
// come first in it.
func thin(all iter.Seq2[*statement, error]) iter.Seq2[*statement, error] {
	return func(yield func(*statement, error) bool) {
		group := make([]statement, 0, maxPerPattern) // copies, about one pattern
		flush := func() bool {
			for i := range group {
				if !yield(&group[i], nil) {
					return false
				}
			}
			group = group[:0]
			return true
		}
		for st, err := range all {
			if err != nil {
				yield(nil, err)
				return
			}
			if len(group) > 0 && group[0].hash != st.hash && !flush() {
				return
			}
			if len(group) == maxPerPattern {
				last := lastLine(group)
				if group[last].line <= st.line {
					continue
				}
				// It goes behind the others, and leaves its room.
				room := group[last]
				copy(group[last:], group[last+1:])
				group[maxPerPattern-1] = room
			} else {
				group = group[:len(group)+1]
			}
			to := &group[len(group)-1]
			*to = statement{st.item, append(to.key[:0], st.key...), append(to.attributes[:0], st.attributes...)}
		}
		flush()
	}
}

// lastLine gives the statement whose line comes last.
func lastLine(group []statement) int {
	last := 0
	for i := range group {
		if group[i].line >= group[last].line {
			last = i
		}
	}
	return last
}

// crowds refuses what would not fit into one value of the database: too many items of
// one pattern, or of one shard, as only somebody who looks for hashes can make them.
type crowds struct {
	shards         int
	last           item
	alike, inShard int // that came last
}

// see takes the next item. Items come in their order.
func (c *crowds) see(it item) error {
	if c.inShard == 0 || shardOf(it.hash, c.shards) != shardOf(c.last.hash, c.shards) {
		c.inShard = 0
	}
	if c.inShard == 0 || it.hash != c.last.hash {
		c.alike = 0
	}
	c.inShard++
	c.alike++
	c.last = it
	switch {
	case c.alike > maxPerPattern:
		return &EntryError{int(it.line), fmt.Sprintf("is one of more than %d entries for the same", maxPerPattern)}
	case c.inShard > maxShardItems:
		return &EntryError{int(it.line), fmt.Sprintf("is one of more than %d entries whose hashes begin alike", maxShardItems)}
	}
	return nil
}
