package api

import "time"

// Contain asks for a containment.
type Contain struct {
	Kind    string    `json:"kind" enum:"user ip"`
	Value   string    `json:"value" doc:"a login or an address of a user of ours; an IP address or a range of ours"`
	Scope   string    `json:"scope" enum:"external internal all" doc:"whose copies: of recipients outside the local domains, in them, or all"`
	Action  string    `json:"action" enum:"hold reject" doc:"what becomes of them"`
	Until   time.Time `json:"until" doc:"when it ends, within a year"`
	Reason  string    `json:"reason" doc:"why, for the ledger and for who looks at what was held"`
	Replace bool      `json:"replace,omitempty" doc:"change what is in force for the same user or client; without it that is an error"`
}

// Containment is one in force.
type Containment struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind" enum:"user ip"`
	Value   string    `json:"value" doc:"canonical"`
	Names   []string  `json:"names" doc:"all that it is about: the user's logins and addresses as the directory has them now, or the range"`
	Unknown bool      `json:"unknown,omitempty" doc:"there is a directory, and the user is not in it"`
	Scope   string    `json:"scope" enum:"external internal all"`
	Action  string    `json:"action" enum:"hold reject"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
	Actor   string    `json:"actor" doc:"who made it, or changed it last"`
	User    string    `json:"user,omitempty" doc:"the name of who did, where it has one"`
	Reason  string    `json:"reason"`
}

// Contained says what came of a containment.
type Contained struct {
	Containment Containment `json:"containment"`
	Idle        string      `json:"idle,omitempty" doc:"why nothing comes of it, although it is recorded"`
}

// Containments are those in force, the oldest first.
type Containments struct {
	Containments []Containment `json:"containments"`
	Idle         string        `json:"idle,omitempty" doc:"why nothing comes of them"`
}

// ContainLift ends a containment.
type ContainLift struct {
	Name   string `path:"name" json:"-" doc:"its ID, the beginning of one that no other has, or what it contains"`
	Reason string `json:"reason" doc:"for the ledger"`
}

// ContainExport asks for a form that other programs read.
type ContainExport struct {
	Format string `query:"format" required:"" enum:"plain postfix-client postfix-login postfix-sender nft" doc:"plain: one a line; postfix-client: a cidr table; postfix-login and postfix-sender: access tables of logins and addresses, and of addresses; nft: the sets contained4 and contained6 of the table inet weir"`
	Kind   string `query:"kind" enum:"user ip" doc:"of this kind alone"`
}
