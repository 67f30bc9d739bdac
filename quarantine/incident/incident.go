// Package incident keeps cases: why mail must come back out of mailboxes, which
// deliveries that means, and what became of each.
//
// It owns incidents, their deliveries and the jobs that come of them. What is
// found is told to it (package hunt, or a person); where the copies of a message
// went is asked of the delivery log; the work in mailboxes is done by a sidecar
// that leases jobs here and never sees the store. Every change is an event of the
// ledger, the decisions of an incident in one entity, the fate of each delivery in
// its own. Leases live in memory alone: after a restart every job that is open is
// leased again.
//
// Nothing is called done until the mailbox was looked at again.
package incident

import (
	"time"

	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/quarantine/delivery"
	"github.com/weirmail/weir/quarantine/job"
)

// Severity says how bad it is.
type Severity string

// The severities.
const (
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

// State is how far an incident is.
type State string

// The states of an incident.
const (
	Open    State = "open"    // deliveries are still being worked on
	Waiting State = "waiting" // a person has to approve something
	Done    State = "done"    // every delivery has its final outcome
	Closed  State = "closed"  // a person has ended it
)

// Outcome is what has become of one delivery.
type Outcome string

// The outcomes of deliveries. Those from pulled to failed are as package job has
// them.
const (
	Pending        Outcome = "pending"    // wanted, and nobody has reported yet
	InTransit      Outcome = "in-transit" // still in the queue, as far as the log tells
	Pulled         Outcome = "pulled"
	AlreadyGone    Outcome = "already-gone"
	NotFound       Outcome = "not-found"
	MailboxMissing Outcome = "mailbox-missing"
	Unreachable    Outcome = "unreachable"
	Differs        Outcome = "differs"
	Failed         Outcome = "failed"
	OutOfReach     Outcome = "out-of-reach" // it left: somebody there has to be told
	Protected      Outcome = "protected"    // the mailbox is never touched
	Left           Outcome = "left"         // the incident was closed before anything was done with it
	Restoring      Outcome = "restoring"
	Restored       Outcome = "restored"
)

// Step says how one message led to another, from the one that an indicator is
// in to the one that is pulled.
type Step struct {
	How  string `json:"how"`  // indicator, embedded, attachment, url, thread, hand
	What string `json:"what"` // the value that they share
	Ref  string `json:"ref"`  // ID of the journal entry that it leads from; empty for the first step
	Sure bool   `json:"sure"` // as DESIGN rules: an unsure one waits for a person
	// Indicator names the pattern that matched (intel.Pattern.Name), where it is one
	// that can be told to others.
	Indicator string `json:"indicator,omitempty"`
	// Confidence is how sure the source of the indicator is, 1 to 100; 0: it does not
	// say, or the step is none of an indicator.
	Confidence int `json:"confidence,omitempty"`
}

// Match is a message that belongs to an incident, and why that is believed.
type Match struct {
	Entry *journal.Entry
	Chain []Step // not empty; the last step leads to Entry
	// Only, where not empty, names the addresses that are meant, of the envelope
	// or final, whatever their case: other copies of the entry are left alone.
	Only []string
}

// Sure reports whether every step is.
func (m *Match) Sure() bool {
	for _, s := range m.Chain {
		if !s.Sure {
			return false
		}
	}
	return len(m.Chain) > 0
}

// confidence is how sure the source is of the indicator that a match began with;
// 0: it does not say.
func (m *Match) confidence() int {
	if len(m.Chain) == 0 {
		return 0
	}
	return m.Chain[0].Confidence
}

// Opening asks for an incident.
type Opening struct {
	// Key makes it the same incident when it is opened again: the indicator or the
	// campaign that it is about. Empty: a new one.
	Key      string
	Title    string // what it is about, for people; required
	Severity Severity
	Owner    string // who works on it; may be empty
	Actor    string // scheme:id; required
	Reason   string // required of a person
	// Source is the indicator's, "list:block/local.txt": Settings say by it whether
	// policy may start pulls without a person. Empty where a person opens.
	Source string
	// Automatic says that policy may start pulls without a person, as it may with a
	// Source. An incident that a person opened waits for approval unless he gave it
	// (Approve).
	Automatic bool
}

// Incident is a case. Text in it may be a stranger's.
type Incident struct {
	ID        string          `json:"id"` // ULID
	Version   uint64          `json:"version"`
	Key       string          `json:"key,omitempty"`
	Title     string          `json:"title"`
	Severity  Severity        `json:"severity"`
	Owner     string          `json:"owner,omitempty"`
	Actor     string          `json:"actor"` // who opened it
	Reason    string          `json:"reason,omitempty"`
	Source    string          `json:"source,omitempty"`    // of the indicator that opened it
	Automatic bool            `json:"automatic,omitempty"` // policy may start pulls
	Opened    time.Time       `json:"opened"`
	Changed   time.Time       `json:"changed"`
	State     State           `json:"state"`
	Messages  int             `json:"messages"` // distinct journal entries
	Counts    map[Outcome]int `json:"counts"`   // deliveries by outcome
	Waits     int             `json:"waits"`    // deliveries that wait for approval
}

// Delivery is one copy that an incident is about: a message and a final address.
type Delivery struct {
	ID       string `json:"id"` // ULID
	Incident string `json:"incident"`
	Version  uint64 `json:"version"`

	Ref       string          `json:"ref"` // ID of the journal entry
	MessageID string          `json:"message_id"`
	Subject   string          `json:"subject"`
	Sender    string          `json:"sender"`
	Recipient string          `json:"recipient"` // of the envelope
	Address   string          `json:"address"`   // final
	Through   string          `json:"through,omitempty"`
	Mailbox   string          `json:"mailbox,omitempty"` // login; empty: not known, or none
	Known     delivery.Known  `json:"known"`
	Status    delivery.Status `json:"status"`
	Chain     []Step          `json:"chain"`
	Time      time.Time       `json:"time"` // of the message

	Outcome   Outcome    `json:"outcome"`
	Detail    string     `json:"detail,omitempty"`
	Waits     string     `json:"waits,omitempty"` // why it waits for approval; empty: it does not
	Seen      bool       `json:"seen"`
	Answered  bool       `json:"answered"`
	Forwarded bool       `json:"forwarded"`
	Copies    []job.Copy `json:"copies,omitempty"`
	Items     []string   `json:"items,omitempty"` // in quarantine
	Found     time.Time  `json:"found"`           // when it came into the incident
	Changed   time.Time  `json:"changed"`
}
