package quarantine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/weirmail/weir/filter/message"
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
