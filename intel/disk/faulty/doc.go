// Package faulty is a disk in memory that does what disks do at the worst
// moment. Code under test works on it through disk.FS; the test then cuts the
// power and goes on with what a disk could have kept:
//
//   - what a file holds survives only as far as it was synced, of the rest any
//     subset of 512-byte sectors, and a file's length may be the old one, the
//     new one or one in between;
//   - names that were made, changed or removed survive only when their folder was
//     synced, of the rest any subset; a rename within one folder is one change;
//   - a sync that failed makes nothing durable, and what was written before it is
//     not written again by a later sync that succeeds;
//   - with WriteBack, some of what was written is durable before anyone asked, so
//     that it can come back after it was overwritten or cut off;
//   - a process can die while the machine lives on: then all that it wrote is
//     still there to be read, and none of it is safer than before.
//
// It also fails operations on demand, runs out of space, and can leave out all
// syncs of one disk.Site, so that a test can prove that it would notice.
//
// This is the strictest reading of POSIX, not a model of any one file system:
// real ones keep more. Modification times are always kept.
package faulty
