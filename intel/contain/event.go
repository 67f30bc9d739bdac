package contain

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/ledger"
)

// entityPrefix begins the entities of the ledger; kind, colon and value follow it.
const entityPrefix = "contain/"

// Event types. Their data are the structs below; schema 1 each.
const (
	typeContained = "contained" // it begins, or goes on otherwise
	typeLifted    = "lifted"    // somebody ended it
	typeExpired   = "expired"   // its time had come
	schema        = 1
)

type containedData struct {
	ID     string    `json:"id"`
	Kind   Kind      `json:"kind"`
	Value  string    `json:"value"`
	Scope  Scope     `json:"scope"`
	Action string    `json:"action"`
	Until  time.Time `json:"until"`
}

type endedData struct {
	ID string `json:"id"`
}

// errEvent says that an event's data are not what its type needs.
var errEvent = errors.New("an event of a containment cannot be read")

func isOurs(entity string) bool { return strings.HasPrefix(entity, entityPrefix) }

// fold gives what an event makes of a containment; nil is none.
func fold(c *Containment, e *ledger.Event) (*Containment, error) {
	switch e.Type {
	case typeLifted, typeExpired:
		return nil, nil
	case typeContained:
	default:
		return c, nil
	}
	if e.Erased {
		return nil, nil
	}
	var d containedData
	if e.Schema != schema {
		return nil, fmt.Errorf("%w: %s of %s has schema %d, this Weir reads %d", errEvent, e.Type, e.Entity, e.Schema, schema)
	}
	if err := json.Unmarshal(e.Data, &d); err != nil {
		return nil, fmt.Errorf("%w: %s of %s: %w", errEvent, e.Type, e.Entity, err)
	}
	action, _ := intel.ParseAction(d.Action)
	next := &Containment{ID: d.ID, Kind: d.Kind, Value: d.Value, Scope: d.Scope, Action: action, Until: d.Until, Since: e.Time, Actor: e.Actor, Reason: e.Reason}
	if c != nil && c.ID == next.ID {
		next.Since = c.Since
	}
	return next, nil
}

// stateOf gives the containment that an entity's events add up to; nil is none.
func stateOf(s ledger.State) (c *Containment, err error) {
	for i := range s.Events {
		if c, err = fold(c, &s.Events[i]); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func event(kind string, data any) (ledger.Event, error) {
	raw, err := json.Marshal(data)
	return ledger.Event{Type: kind, Schema: schema, Data: raw}, err
}
