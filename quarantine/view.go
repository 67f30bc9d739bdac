package quarantine

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/blob"
)

// View lists items. It is a ledger.View over a database that it shares: its
// keys begin with its prefix.
//
//	quarantine/i | ID with all bits turned → item     (newest first)
//	quarantine/b | blob | ID               → nothing; what became of an item that no longer needs the blob
type View struct {
	db  *kv.DB
	enc cbor.EncMode
	dec cbor.DecMode

	batch kv.Batch // of Apply, whose calls do not overlap; empty between them
}

const (
	viewName   = "quarantine"
	itemPrefix = "quarantine/i"
	blobPrefix = "quarantine/b"
)

var _ ledger.View = (*View)(nil)

// NewView makes a view over a database.
func NewView(db *kv.DB) (*View, error) {
	// Envelope addresses need not be UTF-8, and come back byte for byte.
	enc, err := cbor.EncOptions{Time: cbor.TimeRFC3339Nano}.EncMode()
	if err != nil {
		return nil, err
	}
	dec, err := cbor.DecOptions{UTF8: cbor.UTF8DecodeInvalid}.DecMode()
	if err != nil {
		return nil, err
	}
	return &View{db: db, enc: enc, dec: dec}, nil
}

// Name implements ledger.View.
func (v *View) Name() string { return viewName }

// Applied implements ledger.View.
func (v *View) Applied() (ledger.Cursor, error) { return ledger.AppliedIn(v.db, viewName) }

// Rebuild implements ledger.View.
func (v *View) Rebuild(ctx context.Context) error {
	return ledger.ForgetIn(ctx, v.db, viewName, itemPrefix, blobPrefix)
}

// Apply implements ledger.View.
func (v *View) Apply(_ context.Context, events []ledger.Event, upTo ledger.Cursor) error {
	s, err := v.db.Snapshot()
	if err != nil {
		return err
	}
	defer s.Release()
	changed := map[string]*Item{}
	for n := range events {
		id, ok := idOf(events[n].Entity)
		if !ok {
			continue
		}
		item := changed[id]
		if item == nil {
			if item, err = v.get(s, id); err != nil {
				return err
			}
			if item == nil {
				item = &Item{}
			}
			changed[id] = item
		}
		if events[n].Version <= item.Version {
			continue // applied before
		}
		if err := item.fold(&events[n]); err != nil {
			return err
		}
	}
	b := &v.batch
	defer b.Reset()
	for id, item := range changed {
		if item.ID == "" {
			continue
		}
		data, err := v.enc.Marshal(item)
		if err != nil {
			return fmt.Errorf("item %s: %w", id, err)
		}
		// Events that are small can be of items that are not. What is written
		// without the cursor is passed over when it comes again.
		if !b.Room(3, len(data)+2*kv.MaxKey) {
			if err := v.db.Commit(b); err != nil {
				return err
			}
			b.Reset()
		}
		b.Set(itemKey(id), data)
		if item.Gone == "" {
			b.Set(blobKey(item.Facts.Blob, id), nil)
		} else if item.Facts.Blob != (blob.Ref{}) { // of an erased item it may not be known
			b.Set(blobKey(item.Facts.Blob, id), []byte(item.Gone))
		}
	}
	b.SetApplied(viewName, upTo.Bytes())
	return v.db.Commit(b)
}

// itemKey makes keys come in the order of time, the newest first, and those of
// IDs that begin alike together.
func itemKey(id string) []byte {
	key := append([]byte(itemPrefix), id...)
	for i := len(itemPrefix); i < len(key); i++ {
		key[i] = ^key[i]
	}
	return key
}

func blobKey(ref blob.Ref, id string) []byte {
	return append(append([]byte(blobPrefix), ref[:]...), id...)
}

// get reads one item; nil where there is none.
func (v *View) get(s *kv.Snapshot, id string) (*Item, error) {
	data, ok, err := s.Get(itemKey(id), nil)
	if err != nil || !ok {
		return nil, err
	}
	return v.decode(data)
}

func (v *View) decode(data []byte) (*Item, error) {
	var i Item
	if err := v.dec.Unmarshal(data, &i); err != nil {
		return nil, fmt.Errorf("the quarantine's listing: %w", err)
	}
	return &i, nil
}

// items gives the items whose ID begins so, the newest first, those older than
// the one called before alone if that is not empty.
func (v *View) items(prefix, before string) iter.Seq2[*Item, error] {
	return func(yield func(*Item, error) bool) {
		s, err := v.db.Snapshot()
		if err != nil {
			yield(nil, err)
			return
		}
		defer s.Release()
		var from []byte
		if before != "" {
			from = append(itemKey(before), 0)
		}
		for entry, err := range s.Range(itemKey(prefix), from) {
			var item *Item
			if err == nil {
				item, err = v.decode(entry.Value)
			}
			if !yield(item, err) || err != nil {
				return
			}
		}
	}
}

// uses reports whether an item needs the blob, and whether any ever did.
func (v *View) uses(ref blob.Ref) (needed, known bool, err error) {
	s, err := v.db.Snapshot()
	if err != nil {
		return false, false, err
	}
	defer s.Release()
	for entry, err := range s.Range(blobKey(ref, ""), nil) {
		if err != nil || len(entry.Value) == 0 {
			return err == nil, true, err
		}
		known = true
	}
	return false, known, nil
}

// Find gives the ID that begins so, in either case. Errors satisfy ErrNotFound
// or ErrAmbiguous.
func (v *View) Find(prefix string) (string, error) {
	prefix = strings.ToUpper(prefix)
	var found []string
	if prefix != "" {
		for item, err := range v.items(prefix, "") {
			if err != nil {
				return "", err
			}
			if item.ID == prefix {
				return prefix, nil
			}
			if found = append(found, item.ID); len(found) > 3 {
				break
			}
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w: %q", ErrNotFound, prefix)
	case 1:
		return found[0], nil
	}
	slices.Sort(found)
	return "", fmt.Errorf("%w: %q fits %s", ErrAmbiguous, prefix, strings.Join(found, ", "))
}

// dump gives the view's keys and values, for tests that compare two of them.
func (v *View) dump() (string, error) {
	s, err := v.db.Snapshot()
	if err != nil {
		return "", err
	}
	defer s.Release()
	var b bytes.Buffer
	for entry, err := range s.Range([]byte(viewName), nil) {
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%x=%x\n", entry.Key, entry.Value)
	}
	return b.String(), nil
}
