// Package api is what is spoken on the control socket: the operations, their
// forms, roles and errors. Server and client are made from it, and so is the
// OpenAPI document. Of ours it imports package job alone, whose data it carries as
// they are.
//
// # Protocol
//
// HTTP/1.1 over a unix socket. What an operation takes stands in the path, in the
// query (GET) or in a JSON body (POST); what it gives is one JSON document, or
// for a message or a backup the bytes themselves. A parameter or a key that an
// operation does not know is an error, and so is one that comes twice in a
// query. Times are RFC 3339. Texts from mail are given as they are, but for
// bytes that are not UTF-8: who prints them for people escapes them.
//
// What a caller may do follows from the credentials of the connecting process
// (SO_PEERCRED of unix(7)) and the roles in the configuration.
//
// Whatever goes wrong comes as an Error, whose code says which sort it is. A
// later version may add operations, optional parameters and keys of answers.
package api

import "errors"

// Role says what a caller may do.
type Role uint8

// The roles. Each of the first four may do what the one before may.
const (
	Nobody   Role = 0 // nothing at all
	Viewer   Role = 1 // look at lists, verdicts and listings
	Operator Role = 2 // look at held messages, release and delete them, search the journal
	Admin    Role = 3 // everything

	// Puller does the work in mailboxes and nothing else. It stands beside the
	// others: who has one of them may have it too.
	Puller Role = 4
)

// May reports whether a caller may do what needs a role.
func (c *Caller) May(need Role) bool {
	if need == Puller {
		return c.Puller || c.Role == Admin
	}
	return c.Role >= need
}

// String gives the word that the configuration and the document use.
func (r Role) String() string {
	switch r {
	case Viewer:
		return "viewer"
	case Operator:
		return "operator"
	case Admin:
		return "admin"
	case Puller:
		return "puller"
	}
	return "nobody"
}

// MarshalText implements encoding.TextMarshaler.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *Role) UnmarshalText(text []byte) error {
	for *r = Nobody; *r <= Puller; *r++ {
		if r.String() == string(text) {
			return nil
		}
	}
	return errors.New("not a role")
}
