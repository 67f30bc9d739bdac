package contain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
)

// View keeps the containments that have not ended. It is a ledger.View over a
// database that it shares: its keys begin with its prefix.
//
//	contain/c | entity → containment
type View struct {
	db      *kv.DB
	changed atomic.Pointer[func(entity string)] // is told after each change; nil: nobody is
}

const (
	viewName   = "contain"
	viewPrefix = "contain/c"
)

var _ ledger.View = (*View)(nil)

// NewView makes a view over a database.
func NewView(db *kv.DB) *View { return &View{db: db} }

// Name implements ledger.View.
func (v *View) Name() string { return viewName }

// Applied implements ledger.View.
func (v *View) Applied() (ledger.Cursor, error) { return ledger.AppliedIn(v.db, viewName) }

// Rebuild implements ledger.View.
func (v *View) Rebuild(ctx context.Context) error {
	return ledger.ForgetIn(ctx, v.db, viewName, viewPrefix)
}

// Apply implements ledger.View.
func (v *View) Apply(ctx context.Context, events []ledger.Event, upTo ledger.Cursor) error {
	s, err := v.db.Snapshot()
	if err != nil {
		return err
	}
	defer s.Release()
	changed := map[string]*Containment{}
	for i := range events {
		e := &events[i]
		if !isOurs(e.Entity) {
			continue
		}
		c, known := changed[e.Entity]
		if !known {
			if c, err = get(s, e.Entity); err != nil {
				return err
			}
		}
		if changed[e.Entity], err = fold(c, e); err != nil {
			return err
		}
	}
	w := v.db.NewWriter(ctx, 0) // reasons can be more than a batch takes; what comes again is passed over
	for entity, c := range changed {
		if c == nil {
			if err := w.Delete(keyOf(entity)); err != nil {
				return err
			}
			continue
		}
		data, err := json.Marshal(c)
		if err != nil {
			return fmt.Errorf("%s: %w", entity, err)
		}
		if err := w.Set(keyOf(entity), data); err != nil {
			return err
		}
	}
	if err := errors.Join(w.SetApplied(viewName, upTo.Bytes()), w.Flush()); err != nil {
		return err
	}
	if tell := v.changed.Load(); tell != nil {
		for entity := range changed {
			(*tell)(entity)
		}
	}
	return nil
}

func keyOf(entity string) []byte { return []byte(viewPrefix + entity) }

func get(s *kv.Snapshot, entity string) (*Containment, error) {
	data, ok, err := s.Get(keyOf(entity), nil)
	if err != nil || !ok {
		return nil, err
	}
	c := &Containment{}
	return c, decode(c, data)
}

func decode(c *Containment, data []byte) error {
	if err := json.Unmarshal(data, c); err != nil {
		return fmt.Errorf("a containment in the database %s cannot be read: %w", viewName, err)
	}
	return nil
}

// load gives all that have not ended, by entity.
func (v *View) load() (map[string]*Containment, error) {
	s, err := v.db.Snapshot()
	if err != nil {
		return nil, err
	}
	defer s.Release()
	all := map[string]*Containment{}
	for entry, err := range s.Range([]byte(viewPrefix), nil) {
		if err != nil {
			return nil, err
		}
		c := &Containment{}
		if err := decode(c, entry.Value); err != nil {
			return nil, err
		}
		all[string(entry.Key[len(viewPrefix):])] = c
	}
	return all, nil
}
