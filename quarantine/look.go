package quarantine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/blob"
)

// Get gives an item by its ID. The error satisfies ErrNotFound.
func (q *Quarantine) Get(id string) (*Item, error) { return q.state(id) }

// Find gives the ID of the item whose ID begins so. Errors satisfy ErrNotFound
// or ErrAmbiguous.
func (q *Quarantine) Find(prefix string) (string, error) { return q.o.View.Find(prefix) }

// Message gives an item's exact bytes to somebody who wants to look at them,
// once it is recorded that he does; how is one word, such as "export". The
// caller closes the content. Errors satisfy ErrNotFound or ErrGone.
func (q *Quarantine) Message(ctx context.Context, id, actor, how string) (*Item, blob.Content, error) {
	item, err := q.state(id)
	if err != nil {
		return nil, nil, err
	}
	if item.Gone != "" {
		return item, nil, fmt.Errorf("%w: it was %s", ErrGone, item.Gone)
	}
	content, err := q.o.Blobs.Open(ctx, item.Facts.Blob)
	if err != nil {
		return item, nil, fmt.Errorf("item %s: %w", id, err)
	}
	command := ledger.Command{ID: "viewed/" + q.o.Identity.NewID(), Entity: entityOf(id), Actor: actor}
	if _, err := q.commit(ctx, command, typeViewed, viewedData{how}, func(*Item) error { return nil }); err != nil {
		return item, nil, errors.Join(err, content.Close())
	}
	return item, content, nil
}

// StoppedBy gives the values that an item was held for, and those for which the
// lists of today would hold it as well, each once as KIND:VALUE: its own reasons
// are those of the one rule that decided, and allowing these alone may not let it
// go. The error satisfies ErrNotFound.
func (q *Quarantine) StoppedBy(ctx context.Context, id string) ([]string, error) {
	item, err := q.state(id)
	if err != nil {
		return nil, err
	}
	var values []string
	add := func(kind, value string) {
		if text := kind + ":" + value; kind != "" && len(values) < maxReasons && !slices.Contains(values, text) {
			values = append(values, text)
		}
	}
	for _, r := range item.Facts.Reasons {
		add(r.Kind, r.Value)
	}
	if item.Gone != "" {
		return values, nil
	}
	scratch := q.o.Scratch()
	defer func() { _ = scratch.Close() }()
	content, err := q.load(ctx, item, scratch)
	if err != nil {
		return nil, err
	}
	all := make([]int, len(item.Recipients))
	for n := range all {
		all[n] = n
	}
	e, _, err := q.o.Judge.Judge(item.envelope(all), q.current().Parser.Parse(content, scratch))
	if err != nil {
		return nil, err
	}
	for i := range e.Hits {
		if h := &e.Hits[i]; h.Indicator.Disposition == intel.Block && !h.Observable.Value.IsZero() {
			add(h.Observable.Value.Kind().String(), h.Observable.Value.String())
		}
	}
	return values, nil
}

// load reads an item's bytes into scratch, which keeps large ones off the heap.
func (q *Quarantine) load(ctx context.Context, item *Item, scratch message.Scratch) ([]byte, error) {
	content, err := q.o.Blobs.Open(ctx, item.Facts.Blob)
	if err != nil {
		return nil, fmt.Errorf("item %s: %w", item.ID, err)
	}
	defer func() { _ = content.Close() }()
	buffer := scratch.Buffer()
	if _, err := io.Copy(buffer, content); err != nil {
		return nil, fmt.Errorf("item %s: %w", item.ID, err)
	}
	return buffer.Bytes()
}
