// Package hits counts what indicators hit on the mail path, so that people see
// which of their entries do any work: for each source and pattern how many messages
// it hit, when for the first and the last time, and the last few of them by ID.
//
// A message counts once for each indicator that it hit. What an allow overruled, or
// what was less specific than another entry, is no hit; neither is what a hunt
// finds later in the journal, or a message that was told to come again. Two lines
// of one list about the same pattern count together.
//
// Counting takes a lock and a look into a map. What was counted is written every
// few seconds, in one record of a log (package wal): a process that dies loses what
// it counted since, ten seconds at most unless the disk is full. Counts are neither
// in the ledger nor in a backup; Since says from when on they are complete.
//
// Of messages that were refused it remembers what blocked them, of the last 20 000 or
// 32 MiB, because nothing else does: who gets the bounce has their reference.
//
// Only so many indicators are remembered (Options.Keep): of more, those that were
// hit longest ago are forgotten. Who hears of one that it is unknown may take it
// that it was not hit lately.
package hits
