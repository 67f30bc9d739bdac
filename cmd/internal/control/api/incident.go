package api

import (
	"time"

	"github.com/weirmail/weir/quarantine/job"
)

// IncidentOpen asks for an incident: about what carries one of the observables,
// or what a search finds, or the messages that are named. Exactly one of the
// three is given.
type IncidentOpen struct {
	Title    string `json:"title,omitempty" doc:"what it is about; without it, what was looked for"`
	Severity string `json:"severity,omitempty" enum:"low medium high critical" doc:"medium without it"`
	Owner    string `json:"owner,omitempty" doc:"who works on it"`
	Reason   string `json:"reason" doc:"why, for the ledger"`

	Observables []string        `json:"observables,omitempty" doc:"as in a list file, options included; 1000 at most"`
	Search      *IncidentSearch `json:"search,omitempty" doc:"conditions as those of journal-search"`
	Messages    []MessageName   `json:"messages,omitempty" doc:"50000 at most"`
	Since       time.Time       `json:"since,omitzero" doc:"of observables and messages: let through then or later; without it, as far back as journal.lookback"`
	Until       time.Time       `json:"until,omitzero" doc:"of observables and messages: let through before"`

	DryRun bool `json:"dry_run,omitempty" doc:"only say what would be pulled; nothing is opened, and the ledger records the look"`
	Pull   bool `json:"pull,omitempty" doc:"approve all of it as well, as far as one person may"`
}

// IncidentSearch is what the messages of an incident have in common; see
// journal-search.
type IncidentSearch struct {
	Value     string    `json:"value,omitempty" doc:"an ID, an address, a domain, a URL, a digest, an IP address or a range"`
	As        string    `json:"as,omitempty" enum:"id queue-id message-id address domain url ip sha256 sha1 md5" doc:"how to read the value"`
	Since     time.Time `json:"since,omitzero" doc:"let through then or later"`
	Until     time.Time `json:"until,omitzero" doc:"let through before"`
	Sender    string    `json:"sender,omitempty"`
	Recipient string    `json:"recipient,omitempty" doc:"whose copy went on; other copies of the same messages are meant too"`
	Subject   string    `json:"subject,omitempty"`
	URL       string    `json:"url,omitempty"`
	Host      string    `json:"host,omitempty"`
	Domain    string    `json:"domain,omitempty"`
	Hash      string    `json:"hash,omitempty"`
	File      string    `json:"file,omitempty"`
	Client    string    `json:"client,omitempty"`
	MessageID string    `json:"message_id,omitempty"`
	QueueID   string    `json:"queue_id,omitempty"`
	Direction string    `json:"direction,omitempty" enum:"inbound outbound internal"`
	Verdict   string    `json:"verdict,omitempty" enum:"none accept tag hold discard reject tempfail"`
	Rule      string    `json:"rule,omitempty"`
	Login     string    `json:"login,omitempty"`
}

// Query gives the search as one of the journal.
func (s *IncidentSearch) Query() JournalQuery {
	return JournalQuery{
		Value: s.Value, As: s.As, Since: s.Since, Until: s.Until, Sender: s.Sender, Recipient: s.Recipient, Subject: s.Subject, URL: s.URL, Host: s.Host,
		Domain: s.Domain, Hash: s.Hash, File: s.File, Client: s.Client, MessageID: s.MessageID, QueueID: s.QueueID, Direction: s.Direction,
		Verdict: s.Verdict, Rule: s.Rule, Login: s.Login,
	}
}

// SearchOf gives a query of the journal as a search; its page is left out.
func SearchOf(q *JournalQuery) *IncidentSearch {
	return &IncidentSearch{
		Value: q.Value, As: q.As, Since: q.Since, Until: q.Until, Sender: q.Sender, Recipient: q.Recipient, Subject: q.Subject, URL: q.URL, Host: q.Host,
		Domain: q.Domain, Hash: q.Hash, File: q.File, Client: q.Client, MessageID: q.MessageID, QueueID: q.QueueID, Direction: q.Direction,
		Verdict: q.Verdict, Rule: q.Rule, Login: q.Login,
	}
}

// MessageName names a message, or one copy of it.
type MessageName struct {
	MessageID string `json:"message_id" doc:"angle brackets optional; the ID of a journal entry or an X-Weir-ID serves too"`
	Recipient string `json:"recipient,omitempty" doc:"of the envelope, or the final address; without it, every copy"`
}

// IncidentOpened says what an opening came to, or in a dry run would come to.
type IncidentOpened struct {
	Incident   *Incident          `json:"incident,omitempty" doc:"absent in a dry run"`
	Messages   int                `json:"messages" doc:"journal entries that were found"`
	Deliveries []IncidentDelivery `json:"deliveries" doc:"what was added, or would be; as it was planned before anything was pulled"`
	Added      int                `json:"added" doc:"deliveries that the incident has now"`
	Approved   int                `json:"approved" doc:"of them, those that are pulled now"`
	Second     string             `json:"second_person,omitempty" doc:"why somebody else has to approve, where it is so"`
	Missing    []MissingMessage   `json:"missing" doc:"messages and copies that were named and are not there"`
	Lagging    bool               `json:"lagging,omitempty" doc:"the index had not seen the newest entries yet"`
}

// MissingMessage is a message or a copy that was named and not found.
type MissingMessage struct {
	MessageID string `json:"message_id"`
	Recipient string `json:"recipient,omitempty"`
	Why       string `json:"why"`
}

// IncidentQuery says which incidents to list. All conditions that are given have
// to be met.
type IncidentQuery struct {
	State    string    `query:"state" enum:"open waiting done closed all" doc:"without it: what is not closed"`
	Severity string    `query:"severity" enum:"low medium high critical"`
	Owner    string    `query:"owner" doc:"exactly"`
	Text     string    `query:"text" doc:"words in what it is about"`
	Since    time.Time `query:"since" doc:"opened then or later"`
	Until    time.Time `query:"until" doc:"opened before"`
	Before   string    `query:"before" doc:"next of the page before"`
	Limit    int       `query:"limit" min:"1" max:"1000" doc:"at most so many; 100 without it"`
}

// IncidentPage is a part of a listing, the newest incident first.
type IncidentPage struct {
	Incidents []Incident `json:"incidents"`
	Next      string     `json:"next,omitempty" doc:"before= of the next page; absent on the last"`
}

// IncidentID names an incident.
type IncidentID struct {
	ID string `path:"id" doc:"the incident's ID, or a beginning of it that no other has"`
}

// Incident is a case: why mail must come back, and how far that is.
type Incident struct {
	ID        string         `json:"id"`
	Title     string         `json:"title"`
	Key       string         `json:"key,omitempty" doc:"the indicator or campaign that it is about"`
	Severity  string         `json:"severity" enum:"low medium high critical"`
	State     string         `json:"state" enum:"open waiting done closed" doc:"open: being worked on; waiting: a person has to approve something; done: every delivery has its final outcome; closed: a person has ended it"`
	Owner     string         `json:"owner,omitempty"`
	Actor     string         `json:"actor" doc:"who opened it"`
	ActorName string         `json:"actor_name,omitempty" doc:"of unix:UID, the user that has this number today"`
	Reason    string         `json:"reason,omitempty"`
	Automatic bool           `json:"automatic,omitempty" doc:"policy may start pulls without a person"`
	Opened    time.Time      `json:"opened"`
	Changed   time.Time      `json:"changed"`
	Messages  int            `json:"messages" doc:"journal entries"`
	Counts    map[string]int `json:"counts" doc:"deliveries by outcome"`
	Waits     int            `json:"waits" doc:"deliveries that wait for approval"`
	Pending   int            `json:"pending" doc:"deliveries whose mailbox was not looked at again yet, for whatever reason"`
}

// IncidentDeliveryQuery asks for deliveries of an incident.
type IncidentDeliveryQuery struct {
	ID      string `path:"id" doc:"the incident's ID, or a beginning of it that no other has"`
	Outcome string `query:"outcome" enum:"pending in-transit pulled already-gone not-found mailbox-missing unreachable differs failed out-of-reach protected left restoring restored"`
	Address string `query:"address" doc:"of the recipient, in the envelope or final; or a part of it"`
	Waiting bool   `query:"waiting" doc:"only those that wait for approval"`
	After   string `query:"after" doc:"next of the page before"`
	Limit   int    `query:"limit" min:"1" max:"1000" doc:"at most so many; 100 without it"`
}

// IncidentDeliveries is a part of an incident's deliveries.
type IncidentDeliveries struct {
	Incident   Incident           `json:"incident"`
	Deliveries []IncidentDelivery `json:"deliveries"`
	Next       string             `json:"next,omitempty" doc:"after= of the next page; absent on the last"`
}

// IncidentDelivery is one copy that an incident is about.
type IncidentDelivery struct {
	ID        string         `json:"id,omitempty" doc:"absent in a dry run"`
	Ref       string         `json:"ref" doc:"ID of the journal entry"`
	MessageID string         `json:"message_id,omitempty"`
	Subject   string         `json:"subject"`
	Sender    string         `json:"sender" doc:"of the envelope; <> is the null sender"`
	Recipient string         `json:"recipient" doc:"of the envelope"`
	Address   string         `json:"address" doc:"final address"`
	Through   string         `json:"through,omitempty" doc:"the alias or list that it came through"`
	Mailbox   string         `json:"mailbox,omitempty" doc:"login; absent: not known, or none"`
	Status    string         `json:"status" doc:"as of a journal entry's deliveries"`
	Known     string         `json:"known" doc:"likewise"`
	Chain     []IncidentStep `json:"chain" doc:"why it belongs to the incident"`
	Time      time.Time      `json:"time" doc:"of the message"`
	Outcome   string         `json:"outcome" enum:"pending in-transit pulled already-gone not-found mailbox-missing unreachable differs failed out-of-reach protected left restoring restored"`
	Detail    string         `json:"detail,omitempty"`
	Waits     string         `json:"waits,omitempty" doc:"why it waits for approval; absent: it does not"`
	Seen      bool           `json:"seen" doc:"the user had read it"`
	Answered  bool           `json:"answered"`
	Forwarded bool           `json:"forwarded"`
	Copies    []job.Copy     `json:"copies,omitempty" doc:"that were looked at"`
	Items     []string       `json:"items,omitempty" doc:"in quarantine"`
	Found     time.Time      `json:"found,omitzero" doc:"when it came into the incident"`
	Changed   time.Time      `json:"changed,omitzero"`
}

// IncidentStep says how one message led to another.
type IncidentStep struct {
	How        string `json:"how" doc:"indicator, embedded, attachment, url, thread, hand"`
	What       string `json:"what" doc:"the value that they share"`
	Ref        string `json:"ref,omitempty" doc:"ID of the journal entry that it leads from; absent: it is the first step"`
	Sure       bool   `json:"sure" doc:"false: it waits for a person"`
	Indicator  string `json:"indicator,omitempty" doc:"the pattern that matched, with its form and kind"`
	Confidence int    `json:"confidence,omitempty" doc:"1 to 100, how sure the source of the indicator is; absent: it does not say"`
}

// IncidentTimeline is all that was done in an incident, the oldest first.
type IncidentTimeline struct {
	Actions []IncidentAction `json:"actions"`
}

// IncidentAction is one thing that was done.
type IncidentAction struct {
	Time      time.Time `json:"time"`
	Actor     string    `json:"actor"`
	ActorName string    `json:"actor_name,omitempty"`
	What      string    `json:"what"`
	Delivery  string    `json:"delivery,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Detail    string    `json:"detail,omitempty"`
}

// IncidentApprove lets deliveries be pulled that wait for a person.
type IncidentApprove struct {
	ID         string   `path:"id" json:"-" doc:"the incident's ID, or a beginning of it that no other has"`
	Deliveries []string `json:"deliveries,omitempty" doc:"none: all that wait; of those that are named, what has failed or found no mail is tried again too"`
	Reason     string   `json:"reason" doc:"why, for the ledger"`
}

// IncidentNote adds a note.
type IncidentNote struct {
	ID   string `path:"id" json:"-" doc:"the incident's ID, or a beginning of it that no other has"`
	Text string `json:"text" doc:"4 KiB at most"`
}

// IncidentAssign gives an incident to somebody.
type IncidentAssign struct {
	ID     string `path:"id" json:"-" doc:"the incident's ID, or a beginning of it that no other has"`
	Owner  string `json:"owner,omitempty" doc:"empty: to nobody"`
	Reason string `json:"reason,omitempty" doc:"why, for the ledger"`
}

// IncidentClose ends an incident.
type IncidentClose struct {
	ID         string `path:"id" json:"-" doc:"the incident's ID, or a beginning of it that no other has"`
	Reason     string `json:"reason" doc:"why, for the ledger"`
	FalseAlarm bool   `json:"false_alarm,omitempty" doc:"what it was about is nothing bad: peers are not told of it any more"`
}

// IncidentRestore puts what was pulled back into its mailboxes.
type IncidentRestore struct {
	ID         string   `path:"id" json:"-" doc:"the incident's ID, or a beginning of it that no other has"`
	Deliveries []string `json:"deliveries,omitempty" doc:"without deliveries and items: all that was pulled"`
	Items      []string `json:"items,omitempty" doc:"IDs of items in quarantine"`
	Reason     string   `json:"reason" doc:"why, for the ledger"`
	Override   bool     `json:"override,omitempty" doc:"although today's rules would hold it"`
}

// IncidentChanged says how an incident is after a change.
type IncidentChanged struct {
	Incident Incident `json:"incident"`
	Changed  int      `json:"changed" doc:"deliveries that the change was about"`
}
