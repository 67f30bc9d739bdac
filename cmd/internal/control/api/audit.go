package api

import (
	"encoding/json"
	"time"
)

// EventQuery says which events of the ledger to give. All conditions that are
// given have to be met.
type EventQuery struct {
	Entity string    `query:"entity" doc:"of what: item/ID, or with a * behind it all that begin so"`
	Actor  string    `query:"actor" doc:"by whom: unix:UID, rule:NAME …"`
	Type   string    `query:"type" doc:"what happened: held, release, viewed …"`
	Since  time.Time `query:"since" doc:"then or later"`
	Until  time.Time `query:"until" doc:"before"`
	After  string    `query:"after" doc:"only events behind this cursor, which an earlier answer gave"`
	Last   bool      `query:"last" doc:"the last ones rather than the first"`
	Limit  int       `query:"limit" min:"1" max:"1000" doc:"about so many: what was recorded together is given together; 100 without it"`
}

// EventPage is a part of the ledger, the oldest event first.
type EventPage struct {
	Events []Event `json:"events"`
	Cursor string  `json:"cursor" doc:"after= of the next page, and of what is recorded later"`
	More   bool    `json:"more" doc:"there are more behind the cursor; a page may be short, or empty, all the same"`
}

// Event is one change.
type Event struct {
	ID        string          `json:"id"`
	Time      time.Time       `json:"time"`
	Type      string          `json:"type" doc:"what happened"`
	Entity    string          `json:"entity" doc:"of what"`
	Version   uint64          `json:"version" doc:"of the entity, counted from 1"`
	Actor     string          `json:"actor" doc:"by whom"`
	ActorName string          `json:"actor_name,omitempty" doc:"of unix:UID, the user that has this number today"`
	Reason    string          `json:"reason,omitempty"`
	Data      json.RawMessage `json:"data,omitempty" doc:"what more there is to say; its form depends on the type"`
	Node      string          `json:"node" doc:"that recorded it"`
	Erased    bool            `json:"erased,omitempty" doc:"reason and data were wiped"`
}

// Head names the ledger's last record.
type Head struct {
	Head string `json:"head" doc:"SEQUENCE:SEAL; only a holder of this node's key can make it"`
}

// Verify asks for a check of the whole ledger.
type Verify struct {
	Head string `json:"head,omitempty" doc:"an earlier head that has to be there"`
}

// Verified says what a check of the ledger found.
type Verified struct {
	OK       bool      `json:"ok"`
	Offence  string    `json:"offence,omitempty" doc:"what is wrong, and where"`
	Records  uint64    `json:"records" doc:"that were checked and are in order"`
	Events   uint64    `json:"events" doc:"in them"`
	Wiped    uint64    `json:"wiped" doc:"records whose content was wiped, as an event says"`
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
	Head     string    `json:"head" doc:"of the last record that was checked"`
	Expected string    `json:"expected,omitempty" doc:"the head that had to be there"`
}
