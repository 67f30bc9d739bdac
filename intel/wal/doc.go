// Package wal keeps append-only logs: the truth that every view and index is
// built from.
//
// # Promises
//
// When Append returns a position, the record is durable: it survives the death
// of the process and of the machine. Callers that append at the same time share
// one write and one fdatasync. Readers see a record only once it is durable.
//
// After a full disk the log is as before, and works again when there is room.
// After any other failed write or sync nothing is known of what the device
// holds, so the log refuses to append (ErrFailed) until it is opened anew.
//
// # Files
//
// A log is a folder of segments. A segment's name is the position at which it
// begins, in hex. It holds a header and then frames, one after the other:
//
//	header  magic "WEIRLOG1", log ID (16 bytes), first position (8), xxhash64 of these
//	frame   length of the payload (4 bytes), distance back to the start of its
//	        batch (4), xxhash64 of the payload (8), xxhash64 of log ID, position
//	        and the fields before (8); then the payload
//
// Numbers are little-endian. A position is an offset in the sequence of all
// segments, so a record is found without an index. The log ID is random: a
// frame of another log, or one that a stranger wrote into a payload, does not
// pass for one of this log.
//
// A batch is what was written and synced at once, and the next one is written
// only after that. So whatever stands before a frame of a later batch was
// acknowledged, and so was all of a segment that has a successor.
//
// A finished segment is never changed in place. Rewrite replaces it by one of the
// same length, to take out what must not be kept.
//
// # Opening
//
// Open repairs one thing and reports all others. A power cut can leave the last
// batch torn: whole 512-byte sectors of it were never written, they are zero or
// beyond the end of the file. Such a batch is cut off. Anything else that does
// not check is a DamageError that names segment and offset: a wrong sum where no
// sector is missing, or damage with a later batch behind it. What Open cannot
// tell from a torn batch is an acknowledged last batch that lost whole sectors;
// who has to know that too keeps the last position elsewhere.
//
// The last batch is then written once more and synced, because what a crashed
// process wrote may be readable without being durable.
package wal
