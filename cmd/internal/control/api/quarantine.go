package api

import (
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// ItemQuery says which items to list. All conditions that are given have to be
// met; text is compared without regard to case.
type ItemQuery struct {
	ID        string    `query:"id" doc:"the beginning of their IDs"`
	Since     time.Time `query:"since" doc:"held then or later"`
	Until     time.Time `query:"until" doc:"held before"`
	Sender    string    `query:"sender" doc:"an address, or a domain with all below it"`
	Recipient string    `query:"recipient" doc:"likewise"`
	Rule      string    `query:"rule" doc:"the rule that held them, exactly"`
	Hash      string    `query:"hash" doc:"SHA-256 of a part or of the whole message, or its first eight digits or more"`
	Subject   string    `query:"subject" doc:"words that all stand in the subject"`
	State     string    `query:"state" enum:"held releasing uncertain released refused deleted expired all" doc:"without it: what is not released, deleted or expired"`
	Direction string    `query:"direction" enum:"inbound outbound internal" doc:"of those that were held"`
	Kind      string    `query:"kind" enum:"held pulled" doc:"held: diverted on the way; pulled: taken out of a mailbox"`
	Incident  string    `query:"incident" doc:"pulled for the incident whose ID begins so"`
	Mailbox   string    `query:"mailbox" doc:"pulled out of the mailbox with this login"`
	Before    string    `query:"before" doc:"only items older than the one with this ID: next of the page before"`
	Limit     int       `query:"limit" min:"1" max:"1000" doc:"at most so many; 100 without it"`
}

// ItemPage is a part of a listing, the newest item first.
type ItemPage struct {
	Items   []Item `json:"items"`
	Next    string `json:"next,omitempty" doc:"before= of the next page; absent on the last"`
	Lagging bool   `json:"lagging,omitempty" doc:"the listing does not show the newest changes yet"`
}

// ItemID names an item.
type ItemID struct {
	ID string `path:"id" doc:"the item's ID, or a beginning of it that no other has"`
}

// Item is a message in quarantine.
type Item struct {
	ID         string          `json:"id"`
	Kind       string          `json:"kind" enum:"held pulled" doc:"held: diverted on its way; pulled: taken out of a mailbox"`
	Pulled     *ItemOrigin     `json:"pulled,omitempty" doc:"of what was taken out of a mailbox"`
	State      string          `json:"state" enum:"held releasing uncertain released refused deleted expired" doc:"what most needs a person among its recipients"`
	Held       time.Time       `json:"held"`
	Received   time.Time       `json:"received" doc:"by the MTA"`
	Rule       string          `json:"rule" doc:"that held it"`
	Direction  string          `json:"direction,omitempty" enum:"inbound outbound internal" doc:"absent of what was pulled"`
	Sender     string          `json:"sender" doc:"of the envelope; <> is the null sender"`
	HeaderFrom string          `json:"header_from" doc:"the From field, decoded"`
	Subject    string          `json:"subject"`
	MessageID  string          `json:"message_id"`
	QueueID    string          `json:"queue_id,omitempty" doc:"in the MTA's log"`
	Client     string          `json:"client,omitempty" doc:"IP address"`
	ClientName string          `json:"client_name,omitempty"`
	Helo       string          `json:"helo,omitempty"`
	AuthUser   string          `json:"auth_user,omitempty" doc:"SASL login"`
	Size       int64           `json:"size" doc:"bytes of the whole message"`
	SHA256     string          `json:"sha256" doc:"of the whole message"`
	Recipients []ItemRecipient `json:"recipients" doc:"whose copy is or was held"`
	Reasons    []Reason        `json:"reasons" doc:"why it was held"`
	Hashes     []string        `json:"hashes" doc:"SHA-256 of its parts"`
	Files      []string        `json:"files" doc:"names of its attachments"`
	Ref        string          `json:"ref" doc:"the message's reference in the log"`
	Generation uint64          `json:"generation" doc:"of the lists that it was judged under"`
	Releases   int             `json:"releases" doc:"how often a release was tried"`
	Erased     bool            `json:"erased,omitempty" doc:"what was known of it was wiped"`
}

// ItemOrigin says which mailbox an item was pulled out of.
type ItemOrigin struct {
	Incident string       `json:"incident" doc:"ID"`
	Delivery string       `json:"delivery" doc:"ID"`
	Mailbox  string       `json:"mailbox" doc:"login of its owner"`
	Copy     mailbox.Copy `json:"copy" doc:"as it stood there"`
	Reason   string       `json:"reason,omitempty"`
}

// ItemRecipient is one held copy.
type ItemRecipient struct {
	Address string    `json:"address"`
	State   string    `json:"state" enum:"held releasing uncertain released refused deleted expired"`
	Rule    string    `json:"rule" doc:"that held this copy"`
	Silent  bool      `json:"silent,omitempty" doc:"nobody is told of it"`
	At      time.Time `json:"at,omitzero" doc:"of the last change"`
	Detail  string    `json:"detail,omitempty" doc:"what the re-injection listener said; of what goes back into a mailbox, where it stands or why it does not"`
}

// Reason is one link from a verdict back to what caused it.
type Reason struct {
	Rule   string `json:"rule"`
	Source string `json:"source,omitempty" doc:"the list, feed or operator behind it"`
	Line   int    `json:"line,omitempty" doc:"in the source"`
	Entry  string `json:"entry,omitempty" doc:"the entry as written"`
	Kind   string `json:"kind,omitempty" doc:"of the value; empty for a regular expression"`
	Value  string `json:"value,omitempty" doc:"the matched value or text"`
	Role   string `json:"role,omitempty" doc:"which part it plays in the message"`
	Place  string `json:"place,omitempty" doc:"where it stood"`
	Note   string `json:"note,omitempty" doc:"the entry's note"`
}

// Preview is what a person needs to decide about a message without opening it.
type Preview struct {
	Item    Item     `json:"item"`
	Header  []Field  `json:"header" doc:"as a mail client would show it"`
	Text    string   `json:"text" doc:"of the first text part, HTML as text"`
	Cut     bool     `json:"cut,omitempty" doc:"there is more text"`
	Parts   []Part   `json:"parts"`
	Links   []Link   `json:"links" doc:"written so that they are none"`
	Defects []string `json:"defects" doc:"in which ways the message is not as it should be"`
}

// Field is a header field.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Part is a part of a message.
type Part struct {
	Path     string `json:"path"`
	Type     string `json:"type" doc:"declared"`
	Detected string `json:"detected,omitempty" doc:"by its content"`
	Name     string `json:"name,omitempty"`
	Size     int64  `json:"size" doc:"bytes of the decoded content"`
}

// Link is a link in a message.
type Link struct {
	Defanged string `json:"defanged" doc:"as in hxxps://evil[.]example/"`
	Text     string `json:"text,omitempty" doc:"what the reader sees in its place"`
	Place    string `json:"place"`
}

// Release asks for copies of an item to be delivered after all. What was pulled
// goes back into its mailbox, which takes a moment: the answer says that it is on
// its way.
type Release struct {
	ID         string   `path:"id" json:"-" doc:"the item's ID, or a beginning of it that no other has"`
	Recipients []string `json:"recipients,omitempty" doc:"addresses among the item's; none: all that are held"`
	Reason     string   `json:"reason,omitempty" doc:"why, for the ledger"`
	Override   bool     `json:"override,omitempty" doc:"although today's rules would hold it; needs a reason"`
	Again      bool     `json:"again,omitempty" doc:"also copies that may have been delivered already; needs a reason"`
}

// Released says what became of a release. What failed is still held.
type Released struct {
	Item   Item     `json:"item"`
	Failed []string `json:"failed" doc:"copies that the listener did not take, and what it said"`
}

// Delete asks for an item's message to be taken away for good.
type Delete struct {
	ID     string `path:"id" json:"-" doc:"the item's ID, or a beginning of it that no other has"`
	Reason string `json:"reason" doc:"why, for the ledger"`
}
