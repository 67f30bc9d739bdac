package api

import "time"

// JournalQuery asks which messages were let through that carry something.
type JournalQuery struct {
	Value  string    `query:"value" required:"" doc:"an X-Weir-ID, a queue ID, a Message-ID, or anything that a message carries: an address, a domain (with all below it), a URL, a digest, an IP address or a range; defanged forms are read as meant"`
	As     string    `query:"as" enum:"id queue-id message-id address domain url ip sha256 sha1 md5" doc:"how to read the value; without it, every way that it can be read"`
	Since  time.Time `query:"since" doc:"let through then or later"`
	Until  time.Time `query:"until" doc:"let through before"`
	Before string    `query:"before" doc:"next of the page before"`
	Limit  int       `query:"limit" min:"1" max:"1000" doc:"at most so many; 100 without it"`
}

// JournalPage is a part of what was found, the newest entry first.
type JournalPage struct {
	Entries  []JournalEntry `json:"entries"`
	Readings []Reading      `json:"readings" doc:"how the value was read"`
	Next     string         `json:"next,omitempty" doc:"before= of the next page; absent on the last. A page may be short, or empty, and there be more"`
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
