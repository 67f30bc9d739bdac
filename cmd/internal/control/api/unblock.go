package api

import "time"

// UnblockPlan asks what an unblocking would let through.
type UnblockPlan struct {
	Value string `query:"value" required:"" doc:"as in a list file, without options; no regular expression"`
	Days  int    `query:"days" min:"1" max:"365" doc:"how far back the journal is looked at; 7 without it"`
}

// Unblocking says what depends on a value that is blocked.
type Unblocking struct {
	Value     string         `json:"value" doc:"canonical"`
	Listed    []Candidate    `json:"listed" doc:"every entry that matches it today, the most specific first"`
	Answer    string         `json:"answer" enum:"block allow none" doc:"what decides about it today"`
	Days      int            `json:"days"`
	Passed    int            `json:"passed" doc:"messages of these days that carry it and were let through, for whatever reason"`
	More      bool           `json:"more,omitempty" doc:"there are more of them than were counted"`
	Examples  []JournalEntry `json:"examples" doc:"the newest of them"`
	Items     []Item         `json:"items" doc:"in quarantine because of it"`
	Incidents []Incident     `json:"incidents" doc:"that rest on it"`
}

// Unblock asks for a value to be allowed.
type Unblock struct {
	Value  string    `json:"value" doc:"as in a list file, without options; no regular expression"`
	Reason string    `json:"reason" doc:"why, for the ledger and the note of the entry"`
	Until  time.Time `json:"until" doc:"when the entry ends"`
}

// Unblocked says what came of an unblocking.
type Unblocked struct {
	File     string      `json:"file" doc:"the list file that was written"`
	Line     int         `json:"line" doc:"in it"`
	Entry    string      `json:"entry" doc:"the line"`
	Replaced bool        `json:"replaced,omitempty" doc:"it stood there already, and ends at another time now"`
	Reloaded Reloaded    `json:"reloaded" doc:"what reading the lists again found"`
	Answer   string      `json:"answer" enum:"block allow none" doc:"what decides about the value now"`
	Listed   []Candidate `json:"listed" doc:"every entry that matches it now, the most specific first"`
}
