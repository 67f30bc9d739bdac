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
	if err := recordAs(ctx, st, entityLook+name, c.caller.Actor, "", kind, data); err != nil {
		return fmt.Errorf("it could not be recorded that you look: %w", err)
	}
	return nil
}

// recordAs records an event of an entity, of its kind only the first.
func recordAs(ctx context.Context, st *Stores, entity, actor, reason, kind string, data any) error {
	raw, err := json.Marshal(data)
	if err != nil {
		return err
	}
	command := ledger.Command{ID: entity, Entity: entity, Actor: actor, Reason: reason}
	_, err = st.Ledger.Commit(ctx, command, func(ledger.State) ([]ledger.Event, error) {
		return []ledger.Event{{Type: kind, Schema: lookSchema, Data: raw}}, nil
	})
	return err
}
