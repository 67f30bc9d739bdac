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
	Notify    string    `json:"notify,omitempty"`    // the address that is written to when it is decided
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
	Notify    string    `json:"notify,omitempty"`
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
	tellingData
}

// refusedData is what unblock-refused says.
type refusedData struct {
	tellingData
}

// tellingData is what either decision says besides: who follows events need not
// know those before.
type tellingData struct {
	Notify string `json:"notify,omitempty"`
}

// Decided reports whether an event decides a request, and gives the address that is
// to be told, if there is one. The error is that of an event that cannot be read.
func Decided(e *ledger.Event) (notify string, ok bool, err error) {
	if _, ours := idOf(e.Entity); !ours || e.Type != typeApproved && e.Type != typeRefused {
		return "", false, nil
	}
	var data tellingData
	err = decode(e, &data)
	return data.Notify, err == nil, err
}

// Entity names the request in the ledger.
func (r *Request) Entity() string { return entityPrefix + r.ID }

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
		r.Value, r.Reference, r.Notify, r.Until = data.Value, data.Reference, data.Notify, data.Until
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

// RequestOf gives the request that an entity's events made. Errors satisfy
// ErrNotFound, or are those of an event that cannot be read.
func RequestOf(s ledger.State) (Request, error) {
	var r Request
	for i := range s.Events {
		if err := r.apply(&s.Events[i]); err != nil {
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
