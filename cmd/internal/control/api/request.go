package api

import "time"

// UnblockAsk asks for a value to be allowed, of those who may not allow it
// themselves.
type UnblockAsk struct {
	Value     string    `json:"value,omitempty" doc:"as in a list file, without options; no regular expression. Without it, the one that the message of the reference was blocked for"`
	Reference string    `json:"reference,omitempty" doc:"of a message: the one in a bounce, or an item's ID"`
	Reason    string    `json:"reason" doc:"why"`
	Until     time.Time `json:"until" doc:"when the entry would end"`
	Notify    string    `json:"notify,omitempty" doc:"an address that is written to once it is decided; needs notify.from in the configuration"`
}

// UnblockAsked says what came of it.
type UnblockAsked struct {
	Request UnblockRequest `json:"request"`
	New     bool           `json:"new" doc:"false: somebody had asked for this value already, and it is his request"`
	Known   IntelShown     `json:"known" doc:"what is known of the value"`
}

// UnblockRequest is a request to allow a value.
type UnblockRequest struct {
	ID          string    `json:"id"`
	State       string    `json:"state" enum:"open approving approved refused" doc:"approving: somebody approves it, and the entry is not known to stand in the list; approving it again finishes that"`
	Value       string    `json:"value"`
	Reference   string    `json:"reference,omitempty"`
	By          string    `json:"by"`
	ByName      string    `json:"by_name,omitempty"`
	Reason      string    `json:"reason"`
	Asked       time.Time `json:"asked"`
	Until       time.Time `json:"until" doc:"when the entry ends, or would"`
	Decider     string    `json:"decider,omitempty"`
	DeciderName string    `json:"decider_name,omitempty"`
	Why         string    `json:"why,omitempty" doc:"what the decider said"`
	Decided     time.Time `json:"decided,omitzero"`
	Entry       string    `json:"entry,omitempty" doc:"the line that was written"`
	Notify      string    `json:"notify,omitempty" doc:"the address that is written to once it is decided"`
	Notice      *Notice   `json:"notice,omitempty" doc:"what became of that mail; missing until it is decided"`
}

// Notice is a mail that tells somebody what became of something.
type Notice struct {
	State string    `json:"state" enum:"waiting sent failed" doc:"sent: the MTA took it; failed: it was refused for good, or not taken for five days"`
	Time  time.Time `json:"time,omitzero" doc:"when it was sent or given up"`
	Text  string    `json:"text,omitempty" doc:"what the MTA answered last, or why it did not"`
}

// UnblockQuery says which requests are wanted.
type UnblockQuery struct {
	State  string `query:"state" enum:"open approving approved refused" doc:"without it, all"`
	Before string `query:"before" doc:"requests older than the one with this ID"`
	Limit  int    `query:"limit" min:"1" max:"1000" doc:"100 without it"`
}

// UnblockPage is a part of the requests, the newest first.
type UnblockPage struct {
	Requests []UnblockRequest `json:"requests"`
	More     bool             `json:"more,omitempty"`
}

// UnblockID names a request.
type UnblockID struct {
	ID string `path:"id" doc:"or its beginning"`
}

// UnblockCase is a request and what speaks for and against it.
type UnblockCase struct {
	Request  UnblockRequest `json:"request"`
	Evidence Unblocking     `json:"evidence"`
	Against  []string       `json:"against" doc:"why it is not approved without override: a feed lists the value today, or an incident has come up since somebody asked"`
}

// UnblockApprove approves a request.
type UnblockApprove struct {
	ID       string    `path:"id" doc:"or its beginning"`
	Reason   string    `json:"reason" doc:"why, for the ledger"`
	Until    time.Time `json:"until,omitzero" doc:"when the entry ends; without it, when the request says"`
	Override bool      `json:"override,omitempty" doc:"also where something speaks against it"`
}

// UnblockApproved says what came of an approval.
type UnblockApproved struct {
	Request   UnblockRequest `json:"request"`
	Unblocked Unblocked      `json:"unblocked"`
}

// UnblockRefuse refuses a request.
type UnblockRefuse struct {
	ID     string `path:"id" doc:"or its beginning"`
	Reason string `json:"reason" doc:"why, for who asked"`
}
