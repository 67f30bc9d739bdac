package api

import "time"

// SharedQuery says what of it is listed.
type SharedQuery struct {
	All    bool   `query:"all" doc:"what is revoked or has ended, too"`
	Before string `query:"before" doc:"next of the page before"`
	Limit  int    `query:"limit" min:"1" max:"1000" doc:"at most so many; 100 without it"`
}

// SharedPage is a part of what is published to peers, the newest first.
type SharedPage struct {
	Indicators []SharedIndicator `json:"indicators"`
	Next       string            `json:"next,omitempty" doc:"before= of the next page; absent on the last"`
}

// WithheldQuery says what of it is listed.
type WithheldQuery struct {
	After string `query:"after" doc:"next of the page before"`
	Limit int    `query:"limit" min:"1" max:"1000" doc:"at most so many; 100 without it"`
}

// WithheldPage is a part of what is not published to peers, though something speaks
// for it.
type WithheldPage struct {
	Indicators []WithheldIndicator `json:"indicators"`
	Next       string              `json:"next,omitempty" doc:"after= of the next page; absent on the last"`
}

// WithheldIndicator is something that peers are not told.
type WithheldIndicator struct {
	Kind    string   `json:"kind" enum:"sha256 sha1 md5 address domain url ip"`
	Value   string   `json:"value" doc:"as a list file has it"`
	Why     string   `json:"why" doc:"why it is held back, as in the status: ours, TLP, allowed …"`
	Grounds []string `json:"grounds" doc:"incidents and lists that speak for it"`
}

// SharedIndicator is something that peers are told.
type SharedIndicator struct {
	Kind       string    `json:"kind" enum:"sha256 sha1 md5 address domain url ip"`
	Value      string    `json:"value" doc:"as a list file has it"`
	TLP        string    `json:"tlp" doc:"its marking"`
	Confidence int       `json:"confidence,omitempty" doc:"of 100; absent: nobody says"`
	Since      time.Time `json:"since" doc:"when it was published first"`
	Changed    time.Time `json:"changed" doc:"when peers were last told something new of it"`
	Until      time.Time `json:"until,omitzero" doc:"peers count it no more from then on; absent: for ever"`
	Revoked    bool      `json:"revoked,omitempty" doc:"peers were told that it counts no more"`
	Grounds    []string  `json:"grounds" doc:"incidents and lists that spoke for it when it was published; peers are not told"`
	Object     string    `json:"object" doc:"ID in STIX"`
}
