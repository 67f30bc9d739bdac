// Package notify tells people by mail what became of what they asked for: who is told
// what, and how. Whoever named an address when he asked for a value to be unblocked
// is written to once an operator has decided.
//
// # Nothing is lost
//
// What is owed follows from the ledger alone: a View sees the decisions, and the
// events of the notices themselves. A notice is an entity, notice/ and the name of
// what it is about, with one event:
//
//	notice-sent    the MTA took it
//	notice-failed  it was given up: refused for good, or not taken for days
//
// The Outbox sends what has neither. What the MTA does not take for now is tried
// again, after a minute at first and an hour at last. A crash between the MTA's
// answer and its event, an answer that never comes, or a restore of a backup sends a
// notice again: then the same bytes go out, with the same Message-ID.
//
// # The mail
//
// It is plain text from an envelope sender that is empty, so that nothing answers it,
// and of what people wrote it shows a bounded part in which nothing is a link.
package notify
