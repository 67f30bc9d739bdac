package incident

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/delivery"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// Entities of the ledger. What is decided about an incident is one entity, small
// for good: what it has found lies in batches of their own, and the fate of each
// delivery in its own. So no step reads what the size of the incident makes long.
const (
	incidentPrefix = "incident/" // ULID: decisions
	matchesPrefix  = "matches/"  // incident/batch: what was found
	deliveryPrefix = "delivery/" // incident/delivery: what became of one
	capsPrefix     = "caps/"     // hour: pulls that policy has started in it
)

// Event types, by entity. Their data are the structs below; schema 1 each.
const (
	typeOpened   = "opened"
	typeAdmitted = "admitted" // policy starts so many pulls
	typeApproved = "approved" // a person does
	typeLapsed   = "lapsed"   // an approval no longer holds
	typeNoted    = "noted"
	typeAssigned = "assigned"
	typeClosed   = "closed"

	typeMatched = "matched"

	typeKept      = "kept"      // a copy's bytes are durable in quarantine
	typeOutcome   = "outcome"   // what a sidecar reported, or the delivery log's end
	typeLocated   = "located"   // the delivery log has told where it went
	typeConfirmed = "confirmed" // a later match is sure of what an earlier one left open
	typeRestoring = "restoring" // copies are to go back
	typeRestored  = "restored"  // what became of that for one copy

	typeReserved = "reserved"

	schema = 1
)

type openedData struct {
	Key       string   `json:"key,omitempty"`
	Title     string   `json:"title"`
	Severity  Severity `json:"severity"`
	Owner     string   `json:"owner,omitempty"`
	Source    string   `json:"source,omitempty"`
	Automatic bool     `json:"automatic,omitempty"`
}

// admittedData is also that of typeReserved.
type admittedData struct {
	Incident string `json:"incident,omitempty"`
	Batch    string `json:"batch"`
	N        int    `json:"n"`
}

// chosenData names deliveries that something was decided about.
type chosenData struct {
	Deliveries []string `json:"deliveries"`
	Own        bool     `json:"own,omitempty"` // whoever approves asked for them himself
	Doubt      bool     `json:"doubt,omitempty"`
}

type closedData struct {
	FalseAlarm bool `json:"false_alarm,omitempty"`
}

type notedData struct {
	Text string `json:"text"`
}

type assignedData struct {
	Owner string `json:"owner"`
}

// matchedData is a batch: messages, and the deliveries of each.
type matchedData struct {
	Messages   []messageData `json:"messages"`
	Deliveries []foundData   `json:"deliveries"`
}

type messageData struct {
	Ref       string     `json:"ref"`
	MessageID string     `json:"message_id"`
	Exact     bool       `json:"exact,omitempty"` // MessageID is whole
	Subject   string     `json:"subject"`
	Sender    string     `json:"sender"`
	Time      time.Time  `json:"time"`
	Size      int64      `json:"size"`
	Body      job.Digest `json:"body"`
	Chain     []Step     `json:"chain"`
	Partial   bool       `json:"partial,omitempty"` // only some recipients' copies are meant
}

type foundData struct {
	ID        string `json:"id"`
	Message   int    `json:"message"` // index
	Recipient string `json:"recipient"`
	placeData
	Waits string `json:"waits,omitempty"`
}

// placeData says where a copy is, and what that means for it.
type placeData struct {
	Address string          `json:"address"`
	Through string          `json:"through,omitempty"`
	Mailbox string          `json:"mailbox,omitempty"`
	Known   delivery.Known  `json:"known"`
	Status  delivery.Status `json:"status"`
	Outcome Outcome         `json:"outcome"`
	Detail  string          `json:"detail,omitempty"`
	Open    bool            `json:"open,omitempty"`    // a pull is wanted, now or once it has arrived
	Settled bool            `json:"settled,omitempty"` // no more news of the delivery log are waited for
}

type locatedData struct {
	placeData
	Waits string `json:"waits,omitempty"`
}

// confirmedData is the better reason that a later match gives; the event's actor
// found it.
type confirmedData struct {
	Chain []Step `json:"chain"`
	Waits string `json:"waits,omitempty"` // what else it waits for
}

type outcomeData struct {
	Outcome Outcome    `json:"outcome"`
	Detail  string     `json:"detail,omitempty"`
	Open    bool       `json:"open,omitempty"` // it is tried again by itself
	Waits   string     `json:"waits,omitempty"`
	Removed int        `json:"removed,omitempty"` // copies that were taken out
	Copies  []job.Copy `json:"copies,omitempty"`
}

type restoringData struct {
	Items []string `json:"items"`
}

type restoredData struct {
	Item    string       `json:"item"`
	Fate    restoreFate  `json:"fate"`
	Detail  string       `json:"detail,omitempty"`
	Folder  string       `json:"folder,omitempty"`
	Existed bool         `json:"existed,omitempty"`
	Placed  mailbox.Copy `json:"placed,omitzero"`
}

// restoreFate says how the way back of one copy went.
type restoreFate string

const (
	isBack restoreFate = "restored"
	isKept restoreFate = "kept"  // it did not go back, and stays in quarantine
	isLate restoreFate = "later" // it is tried again by itself
)

// errEvent says that an event's data are not what its type needs.
var errEvent = errors.New("an event of an incident cannot be read")

func unmarshal(e *ledger.Event, data any) error {
	if e.Schema != schema {
		return fmt.Errorf("%w: %s of %s has schema %d, this Weir reads %d", errEvent, e.Type, e.Entity, e.Schema, schema)
	}
	if err := json.Unmarshal(e.Data, data); err != nil {
		return fmt.Errorf("%w: %s of %s: %w", errEvent, e.Type, e.Entity, err)
	}
	return nil
}

func event(kind string, data any) (ledger.Event, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return ledger.Event{}, err
	}
	return ledger.Event{Type: kind, Schema: schema, Data: raw}, nil
}

// always is a decision that depends on nothing.
func always(events ...ledger.Event) func(ledger.State) ([]ledger.Event, error) {
	return func(ledger.State) ([]ledger.Event, error) { return events, nil }
}

func entityOf(incident string) string { return incidentPrefix + incident }

func entityOfDelivery(incident, delivery string) string {
	return deliveryPrefix + incident + "/" + delivery
}

func entityOfBatch(incident, batch string) string { return matchesPrefix + incident + "/" + batch }

// idsOf gives the two names that an entity with this prefix has.
func idsOf(entity, prefix string) (incident, of string, ok bool) {
	rest, ok := strings.CutPrefix(entity, prefix)
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "/")
}
