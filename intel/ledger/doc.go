// Package ledger is the record of every change: who, when, why, what. Whatever
// else stores state derives it from here.
//
// # Contract
//
// A Command asks for a change of one entity. Commit gives its decide function the
// entity's exact State, and appends the events that decide returns, all or none,
// behind the entity's version. When Commit returns, they are durable. The same
// Command.ID again gives the first receipt and changes nothing, however often
// and after whatever failure; so who got no answer tries again. Across entities
// there is no such exactness: follow the events of one and commit to the other,
// with a command ID derived from the event's.
//
// Follow gives every event at least once, those of one entity in order, and skips
// none. A Cursor says how far a follower has come; it is opaque, and no use to
// another ledger. Views are what followers build: see View.
//
// The contract says nothing of where the record is kept, so that a shared engine
// can take over later. This package keeps it in a log of this node (package wal),
// with an index of entities and commands in a database (package kv) that is built
// again from the log when in doubt.
//
// # Records and chain
//
// A commit is one record of the log. Its header says who, when, which entity and
// what kinds of events; its body holds reason and data. Both are CBOR:
//
//	version    1 byte, 1
//	header     length (uvarint), array of: sequence number, ID, node, time in
//	           microseconds, command, entity, version of the first event, position
//	           of the entity's record before, actor, [[type, schema], …], SHA-256
//	           of the body, chain value of the record before
//	body       length (uvarint), array of: reason, [data, …]
//	seal       HMAC-SHA256, with the node's key, of the chain value
//
// The chain value of a record is the SHA-256 of its header. Since that covers the
// body's hash and not the body, a body can be wiped and the chain still holds.
// Verify finds a record that was edited, left out, moved or made up. That the
// last ones were cut off shows only to who knows a later Head: log it hourly, and
// elsewhere.
//
// # Erasing
//
// Erase commits an event that says so; Scrub then wipes the bodies of all earlier
// records of that entity, by rewriting the segments that hold them. Their events
// are still given, with Erased set and without reason and data. Verify tells a
// wiped body with such an event from one without.
package ledger
