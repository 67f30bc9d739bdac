package unblock

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/weirmail/weir/intel/ledger"
)

// State is what has become of a request.
type State string

// The states.
const (
	Open      State = "open"
	Approving State = "approving" // approved, and the entry is not known to stand in the list; who approves again finishes it
	Approved  State = "approved"
	Refused   State = "refused"
)

// Request is a request to allow a value.
type Request struct {
	ID        string    `json:"id"`
	Value     string    `json:"value"`               // as a list file has it
	Reference string    `json:"reference,omitempty"` // of the message that made somebody ask
	Until     time.Time `json:"until"`               // when the entry would end
	State     State     `json:"state"`

	By     string    `json:"by"` // an actor
	Reason string    `json:"reason"`
	Asked  time.Time `json:"asked"`

	Decider string    `json:"decider,omitempty"` // an actor
	Why     string    `json:"why,omitempty"`     // what the decider said
	Decided time.Time `json:"decided,omitzero"`
	Entry   string    `json:"entry,omitempty"` // the line that was written
	File    string    `json:"file,omitempty"`
}

// The events.
const (
	typeRequested = "unblock-requested"
	typeApproving = "unblock-approving"
	typeApproved  = "unblock-approved"
	typeFailed    = "unblock-failed"
	typeRefused   = "unblock-refused"

	schema       = 1
	entityPrefix = "unblock/"
)

// requestedData is what unblock-requested says.
type requestedData struct {
	Value     string    `json:"value"`
	Reference string    `json:"reference,omitempty"`
	Until     time.Time `json:"until"`
}

// approvingData is what unblock-approving says.
type approvingData struct {
	Against []string `json:"against,omitempty"` // what spoke against it, and was overridden
}

// writtenData is what unblock-approved says.
type writtenData struct {
	Entry string    `json:"entry"`
	File  string    `json:"file"`
	Until time.Time `json:"until"`
}

func idOf(entity string) (string, bool) { return strings.CutPrefix(entity, entityPrefix) }

// apply makes of r what it is after an event. Erased events have no data.
func (r *Request) apply(e *ledger.Event) error {
	switch e.Type {
	case typeRequested:
		id, _ := idOf(e.Entity)
		*r = Request{ID: id, State: Open, By: e.Actor, Reason: e.Reason, Asked: e.Time.UTC()}
		var data requestedData
		if err := decode(e, &data); err != nil {
			return err
		}
		r.Value, r.Reference, r.Until = data.Value, data.Reference, data.Until
	case typeApproving:
		r.State = Approving
		r.Decider, r.Why, r.Decided = e.Actor, e.Reason, e.Time.UTC()
	case typeApproved:
		r.State = Approved
		var data writtenData
		if err := decode(e, &data); err != nil {
			return err
		}
		r.Entry, r.File = data.Entry, data.File
		if !data.Until.IsZero() {
			r.Until = data.Until
		}
	case typeFailed:
		r.State, r.Decider, r.Why, r.Decided = Open, "", "", time.Time{}
	case typeRefused:
		r.State = Refused
		r.Decider, r.Why, r.Decided = e.Actor, e.Reason, e.Time.UTC()
	}
	return nil
}

func decode(e *ledger.Event, into any) error {
	if e.Erased || len(e.Data) == 0 {
		return nil
	}
	if err := json.Unmarshal(e.Data, into); err != nil {
		return fmt.Errorf("event %s of %s: %w", e.Type, e.Entity, err)
	}
	return nil
}

// requestOf gives the request that events made; one without any is none.
func requestOf(events []ledger.Event) (Request, error) {
	var r Request
	for i := range events {
		if err := r.apply(&events[i]); err != nil {
			return r, err
		}
	}
	if r.ID == "" {
		return r, ErrNotFound
	}
	return r, nil
}

func event(kind string, data any) (ledger.Event, error) {
	raw, err := json.Marshal(data)
	return ledger.Event{Type: kind, Schema: schema, Data: raw}, err
}
