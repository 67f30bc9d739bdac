// Package verdict holds the answer to one message: what becomes of it, for
// whom, and why. It decides nothing; package policy does.
package verdict

import "github.com/weirmail/weir/intel"

// Reason is one link from the answer back to what caused it, so that every
// verdict explains itself: the rule, and where a list entry was behind it, the
// entry, the matched value and where in the message that stood. Ledgers keep it
// as JSON under these names.
type Reason struct {
	Rule   string `json:"rule"`             // the rule that spoke
	Source string `json:"source,omitempty"` // the list, feed or containment behind it; empty when the rule looked at facts alone
	Line   int    `json:"line,omitempty"`   // line in the source; 0 where there is none
	Entry  string `json:"entry,omitempty"`  // the entry as written
	Kind   string `json:"kind,omitempty"`   // kind of the matched value, empty for a regular expression
	Value  string `json:"value,omitempty"`  // the matched value or text
	Role   string `json:"role,omitempty"`   // which part it plays in the message
	Place  string `json:"place,omitempty"`  // where it stood
	Note   string `json:"note,omitempty"`   // the entry's note; for people here, never for a header
}

// SourceContain begins the Source of a reason that is a containment; its ID follows.
const SourceContain = "contain:"

// Recipient is the answer for one recipient. Only deliver or hold can differ
// between the recipients of one message (a milter gives one reply after DATA).
type Recipient struct {
	Address string       // as the MTA gave it, without angle brackets
	Action  intel.Action // what the rules asked for this recipient, before the answers were merged
	Hold    bool         // what becomes of this copy: held, or delivered
	Rule    string
	Reasons []Reason
}

// Tag is what is added to a message that is delivered with a warning.
type Tag struct {
	SubjectPrefix string // put before the subject, with a space; empty: none
}

// Reply is an SMTP reply.
type Reply struct {
	Code     int    // 250, 451, 550 …
	Enhanced string // RFC 3463, "5.7.1"
	Text     string // one line for the stranger; no cause, no path
}

// Verdict is the answer for a message.
type Verdict struct {
	// Action is the strongest thing that becomes of the message: accept, tag,
	// hold (for at least one recipient), discard, reject or tempfail.
	Action     intel.Action
	Rule       string // the rule behind Action
	Reply      Reply  // for reject and tempfail
	Recipients []Recipient
	Tag        Tag      // for the copies that are delivered
	Reasons    []Reason // those of Rule
	Observed   bool     // mode is observe: nothing of this is done
}

// Held gives the recipients whose copy is held.
func (v *Verdict) Held() []Recipient {
	var held []Recipient
	for _, r := range v.Recipients {
		if r.Hold {
			held = append(held, r)
		}
	}
	return held
}

// EditOp says what a header edit does.
type EditOp uint8

// The header edits that a milter can make.
const (
	EditInsert EditOp = 1 // put Name: Value before all other fields
	EditChange EditOp = 2 // give the Index-th field called Name a new value
	EditRemove EditOp = 3 // remove the Index-th field called Name
)

// Edit is one change to the header, in the order in which it has to be made.
type Edit struct {
	Op    EditOp
	Name  string
	Value string
	Index int // from 1, among the fields of this name, from the top
}

// Answer is what the MTA is told at the end of a message.
type Answer struct {
	Action  intel.Action // accept (tag included), discard, reject or tempfail
	Reply   Reply        // for reject and tempfail
	Remove  []int        // indexes of envelope recipients whose copy does not go on
	Edits   []Edit
	ID      string // X-Weir-ID's first part: what the log line, the journal and the item share
	Verdict *Verdict
}
