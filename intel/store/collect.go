package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

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
)

// EntryError says why a source that can be read cannot be kept.
type EntryError struct {
	Line   int // of the entry; 0 where there are no lines
	Reason string
}

// Error gives line and reason.
func (e *EntryError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// collect reads a source for the first time.
func collect(ctx context.Context, src Source) (items []item, errs []error) {
	if src.Entries == nil {
		return nil, nil
	}
	var attributes []byte
	for ind, err := range src.Entries {
		if context.Cause(ctx) != nil {
			return nil, nil
		}
		if err == nil && len(errs) == 0 {
			var it item
			if it, attributes = itemOf(&ind, attributes); len(attributes) <= maxAttributes {
				items = append(items, it)
				continue
			}
			err = &EntryError{ind.Line, fmt.Sprintf("has more than %d bytes of notes and other options", maxAttributes)}
		}
		if err != nil && len(errs) < maxErrors {
			items, errs = nil, append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	items = sortItems(items)
	if src.Thin {
		items = thin(items)
	}
	if err := checkCrowds(items); err != nil {
		return nil, []error{err}
	}
	return items, nil
}

// thin leaves of each pattern as many items as one source may have, those that come
// first in it.
func thin(items []item) []item {
	kept := items[:0]
	for len(items) > 0 {
		n := 1
		for n < len(items) && items[n].hash == items[0].hash {
			n++
		}
		of := items[:n]
		if n > maxPerPattern {
			slices.SortStableFunc(of, func(a, b item) int { return cmp.Compare(a.line, b.line) })
			of = of[:maxPerPattern]
			slices.SortFunc(of, item.compare)
		}
		kept = append(kept, of...)
		items = items[n:]
	}
	return kept
}

// checkCrowds refuses what would not fit into one value of the database: too
// many items of one pattern, or of one shard, as only somebody who looks for
// hashes can make them.
func checkCrowds(items []item) error {
	shards := 1 << shardBitsFor(len(items))
	for i := range items {
		if j := i + maxPerPattern; j < len(items) && items[j].hash == items[i].hash {
			return &EntryError{int(items[j].line), fmt.Sprintf("is one of more than %d entries for the same", maxPerPattern)}
		}
		if j := i + maxShardItems; j < len(items) && shardOf(items[j].hash, shards) == shardOf(items[i].hash, shards) {
			return &EntryError{int(items[j].line), fmt.Sprintf("is one of more than %d entries whose hashes begin alike", maxShardItems)}
		}
	}
	return nil
}

// itemOf gives the item of an indicator, and its attributes in the room given.
func itemOf(ind *intel.Indicator, room []byte) (item, []byte) {
	attributes := appendAttributes(room[:0], ind)
	rec := record{attributes: attributes}
	return item{hash: hashOf(ind.Pattern), content: rec.content(), line: uint32(ind.Line)}, attributes
}
