package control

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/weirmail/weir/intel/ledger"
)

// What this package records: looking at mail that no item's own event tells of.
// Each is an entity of its own, called look/ID.
const (
	entityLook   = "look/"
	typeSearched = "searched"  // the journal was searched; searchedData of journal.go
	typeBackedUp = "backed-up" // somebody took everything
	lookSchema   = 1
)

// record makes durable that somebody looks. Without it nothing may be shown.
func record(ctx context.Context, st *Stores, c *call, kind string, data any) error {
	return recordOnce(ctx, st, c, st.Identity.NewID(), kind, data)
}

// recordOnce is record for a look that takes several requests: of one name only
// the first is recorded.
func recordOnce(ctx context.Context, st *Stores, c *call, name, kind string, data any) error {
	raw, err := json.Marshal(data)
	if err != nil {
		return err
	}
	id := entityLook + name
	_, err = st.Ledger.Commit(ctx, ledger.Command{ID: id, Entity: id, Actor: c.caller.Actor}, func(ledger.State) ([]ledger.Event, error) {
		return []ledger.Event{{Type: kind, Schema: lookSchema, Data: raw}}, nil
	})
	if err != nil {
		return fmt.Errorf("it could not be recorded that you look: %w", err)
	}
	return nil
}
