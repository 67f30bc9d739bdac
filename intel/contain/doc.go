// Package contain knows who is contained: whose mail an operator has stopped for a
// time, because an account or a machine of ours is in the wrong hands.
//
// A user is contained by login or address, whichever is known; the directory says
// what else is theirs, so that a login, an address and its aliases are one person.
// A client is contained by address or range, which has to be one of ours. A scope
// says whose copies it is about: those of recipients outside, inside, or all. What
// becomes of them (hold or reject) is an action that the policy gives effect to.
//
// # What counts
//
// A user's mail is what comes with their authenticated login, and what comes from
// inside with an address of theirs as envelope sender or in the From field. A
// stranger who forges the address from outside is not contained by it: that mail
// is judged as any other.
//
// # Truth
//
// What is contained is an entity of the ledger, contain/user:VALUE or
// contain/ip:PREFIX, so that nothing can be contained twice. A View keeps what has
// not ended in a database, for the next start; a Book has it in memory and gives
// the mail path a Snapshot: one atomic load, which is nil while nobody is
// contained. A containment ends by the clock, at the very moment; the event that
// says so comes after it, for the record.
package contain
