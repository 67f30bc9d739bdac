package notify

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/unblock"
)

// State is what has become of a notice.
type State string

// The states.
const (
	Waiting State = "waiting" // the MTA has not taken it yet
	Sent    State = "sent"    // it has
	Failed  State = "failed"  // given up
)

// Notice is one mail that is owed to somebody, or was.
type Notice struct {
	About string    `json:"about"` // the entity of the ledger; there is one notice for each
	To    string    `json:"to"`    // an address
	Since time.Time `json:"since"` // when it came to be owed
	State State     `json:"state"`
	Time  time.Time `json:"time,omitzero"`  // when it was sent or given up
	Text  string    `json:"text,omitempty"` // the MTA's answer, or why there was none
}

// entity names the notice in the ledger.
func (n *Notice) entity() string { return entityPrefix + n.About }

// The events.
const (
	typeSent   = "notice-sent"
	typeFailed = "notice-failed"

	schema       = 1
	entityPrefix = "notice/"
	actor        = "weir:notify"
)

// outcomeData is what either event says.
type outcomeData struct {
	To   string `json:"to"`
	Text string `json:"text,omitempty"`
}

// noticeOf gives the notice that an event makes due. The error is that of an event
// that cannot be read.
func noticeOf(e *ledger.Event) (n Notice, ok bool, err error) {
	to, decided, err := unblock.Decided(e)
	if err != nil || !decided || to == "" {
		return n, false, err
	}
	return Notice{About: e.Entity, To: to, Since: e.Time.UTC(), State: Waiting}, true, nil
}

// apply makes of n what it is after one of its own events. Erased ones have no data.
func (n *Notice) apply(e *ledger.Event) error {
	switch e.Type {
	case typeSent:
		n.State = Sent
	case typeFailed:
		n.State = Failed
	default:
		return nil
	}
	n.Time, n.Text = e.Time.UTC(), ""
	if e.Erased || len(e.Data) == 0 {
		return nil
	}
	var data outcomeData
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return fmt.Errorf("event %s of %s: %w", e.Type, e.Entity, err)
	}
	n.Text = data.Text
	return nil
}
