package unblock

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
)

// View lists requests. It is a ledger.View over a database that it shares: its keys
// begin with its prefix.
//
//	unblock/r | ID with all bits turned → request (newest first)
type View struct{ db *kv.DB }

const (
	viewName   = "unblock"
	viewPrefix = "unblock/r"
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
	changed := map[string]*Request{}
	for n := range events {
		e := &events[n]
		id, ok := idOf(e.Entity)
		if !ok || !strings.HasPrefix(e.Type, "unblock-") {
			continue
		}
		if changed[id] == nil {
			if changed[id], err = load(s, id); err != nil {
				return err
			}
		}
		if err := changed[id].apply(e); err != nil {
			return err
		}
	}
	w := v.db.NewWriter(ctx, 0) // reasons can be more than a batch takes; what comes again is set again
	for id, r := range changed {
		if r.ID == "" {
			continue
		}
		value, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if err := w.Set(keyOf(id), value); err != nil {
			return err
		}
	}
	return errors.Join(w.SetApplied(viewName, upTo.Bytes()), w.Flush())
}

func load(s *kv.Snapshot, id string) (*Request, error) {
	value, ok, err := s.Get(keyOf(id), nil)
	if err != nil || !ok {
		return &Request{}, err
	}
	return decodeRequest(value)
}

func decodeRequest(value []byte) (*Request, error) {
	r := &Request{}
	if err := json.Unmarshal(value, r); err != nil {
		return nil, fmt.Errorf("a request in the view: %w", err)
	}
	return r, nil
}

// keyOf turns the bits of an ID, so that the newest stands first.
func keyOf(id string) []byte {
	key := append([]byte(viewPrefix), id...)
	for i := len(viewPrefix); i < len(key); i++ {
		key[i] = ^key[i]
	}
	return key
}

// each gives requests, the newest first, behind the one with this ID; until visit
// gives false.
func (v *View) each(before string, visit func(*Request) bool) error {
	s, err := v.db.Snapshot()
	if err != nil {
		return err
	}
	defer s.Release()
	var from []byte
	if before != "" {
		from = keyOf(before)
	}
	for e, err := range s.Range([]byte(viewPrefix), from) {
		if err != nil {
			return err
		}
		if bytes.Equal(e.Key, from) {
			continue
		}
		r, err := decodeRequest(e.Value)
		if err != nil {
			return err
		}
		if !visit(r) {
			return nil
		}
	}
	return nil
}
