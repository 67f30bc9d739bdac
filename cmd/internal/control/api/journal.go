package api

import "time"

// JournalQuery asks which messages were let through. All conditions that are
// given have to be met; without one, it is all messages. Text is compared without
// regard to case, its spelling in Unicode and invisible characters.
type JournalQuery struct {
	Value     string    `query:"value" doc:"an X-Weir-ID, a queue ID, a Message-ID, or anything that a message carries: an address, a domain (with all below it), a URL (a * at its end stands for all that begin so), a digest, an IP address or a range; defanged forms are read as meant"`
	As        string    `query:"as" enum:"id queue-id message-id address domain url ip sha256 sha1 md5" doc:"how to read the value; without it, every way that it can be read"`
	Since     time.Time `query:"since" doc:"let through then or later"`
	Until     time.Time `query:"until" doc:"let through before"`
	Sender    string    `query:"sender" doc:"of the envelope or in From or Sender: an address, a domain with all below it, @ and a domain for that one alone, <> for the null sender; anything else is a part of the envelope's sender or of From"`
	Recipient string    `query:"recipient" doc:"whose copy went on: likewise"`
	Subject   string    `query:"subject" doc:"words that all stand in the subject, in any order; what stands in double quotes is one"`
	URL       string    `query:"url" doc:"a link; a * at its end stands for all that begin so; http and https are one"`
	Host      string    `query:"host" doc:"the host of a link: an IP address, or a domain with all below it"`
	Domain    string    `query:"domain" doc:"a domain with all below it, in whatever the message carries: an address, a link, HELO or the client's name"`
	Hash      string    `query:"hash" doc:"SHA-256, SHA-1 or MD5 of a part, in full"`
	File      string    `query:"file" doc:"a part of an attachment's name"`
	Client    string    `query:"client" doc:"the SMTP client's IP address, or a range as 198.51.100.0/24"`
	MessageID string    `query:"message_id" doc:"exactly, angle brackets optional"`
	QueueID   string    `query:"queue_id" doc:"in the MTA's log, exactly"`
	Direction string    `query:"direction" enum:"inbound outbound internal"`
	Verdict   string    `query:"verdict" enum:"none accept tag hold discard reject tempfail" doc:"what rules said; of a message that was released, or in observe mode, it may not have been carried out"`
	Rule      string    `query:"rule" doc:"the rule behind the verdict, exactly"`
	Login     string    `query:"login" doc:"SASL login, all of it"`
	Before    string    `query:"before" doc:"next of the page before, with the same conditions"`
	Limit     int       `query:"limit" min:"1" max:"1000" doc:"at most so many; 100 without it"`
}

// JournalPage is a part of what was found, the newest entry first.
type JournalPage struct {
	Entries  []JournalEntry `json:"entries"`
	Readings []Reading      `json:"readings" doc:"how the value was read"`
	Next     string         `json:"next,omitempty" doc:"before= of the next page; absent on the last. A page ends where it has cost enough: it may be short, or empty, and there be more"`
	Reached  time.Time      `json:"reached,omitzero" doc:"about how far back this page went, unless it is the last"`
	Lagging  bool           `json:"lagging,omitempty" doc:"the index had not seen the newest entries yet"`
}

// Reading is one way to read what was asked for.
type Reading struct {
	As    string `json:"as" enum:"id queue-id message-id address domain url ip sha256 sha1 md5"`
	Value string `json:"value" doc:"canonical"`
}

// JournalID names an entry.
type JournalID struct {
	ID string `path:"id" doc:"the entry's ID, or the X-Weir-ID that begins with it"`
}

// JournalEntry is a message that was let through.
type JournalEntry struct {
	ID          string       `json:"id"`
	Parent      string       `json:"parent,omitempty" doc:"ID of the entry that it came from: a redirect, a list server, an inner hop"`
	Item        string       `json:"item,omitempty" doc:"the quarantine item that it was released from"`
	Time        time.Time    `json:"time"`
	QueueID     string       `json:"queue_id,omitempty" doc:"in the MTA's log"`
	MessageID   string       `json:"message_id,omitempty"`
	Sender      string       `json:"sender" doc:"of the envelope; <> is the null sender"`
	Recipients  []string     `json:"recipients" doc:"whose copies went on"`
	Client      string       `json:"client,omitempty" doc:"IP address"`
	Helo        string       `json:"helo,omitempty"`
	AuthUser    string       `json:"auth_user,omitempty" doc:"SASL login"`
	Direction   string       `json:"direction" enum:"any inbound outbound internal"`
	Subject     string       `json:"subject"`
	HeaderFrom  string       `json:"header_from" doc:"the From field, decoded"`
	Date        string       `json:"date,omitempty" doc:"the Date field as written"`
	References  []string     `json:"references,omitempty"`
	Files       []string     `json:"files,omitempty" doc:"names of attachments"`
	Size        int64        `json:"size" doc:"bytes of the whole message"`
	Verdict     string       `json:"verdict" enum:"none accept tag hold discard reject tempfail" doc:"in observe mode, or of a release, it may be one that was not carried out"`
	Rule        string       `json:"rule"`
	Hits        []JournalHit `json:"hits,omitempty" doc:"what lists knew of it then"`
	Generation  uint64       `json:"generation" doc:"of the lists that it was judged under"`
	Unjudged    bool         `json:"unjudged,omitempty" doc:"let through without a look: over the size limit"`
	Matched     []Observable `json:"matched,omitempty" doc:"what of it answers the query, eight at most"`
	Observables []Observable `json:"observables,omitempty" doc:"all that is remembered of what it showed; only of a single entry"`
	Overflow    int          `json:"overflow,omitempty" doc:"observables that were too many to be remembered"`
	Deliveries  []Delivery   `json:"deliveries,omitempty" doc:"where each copy went; only of a single entry"`
}

// JournalHit is a list entry that matched.
type JournalHit struct {
	Source string `json:"source"`
	Line   int    `json:"line,omitempty"`
	Value  string `json:"value"`
	Place  string `json:"place,omitempty"`
}

// Observable is something seen in a message.
type Observable struct {
	Kind  string `json:"kind" doc:"sha256, sha1, md5, address, domain, url or ip"`
	Value string `json:"value" doc:"canonical"`
	Role  string `json:"role" doc:"which part it plays"`
	Place string `json:"place,omitempty" doc:"where it stood"`
}
