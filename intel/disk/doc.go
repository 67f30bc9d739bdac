// Package disk is the file operations that durability rests on: an interface
// small enough to be faked, the real thing behind it, and the few idioms that
// are easy to get wrong (replace a file, make a folder, lock a folder, mind the
// free space, open only what is a file).
//
// It exists so that a power cut can be rehearsed. Whatever must survive one
// (logs, blobs, keys, markers) does its file work through an FS, and every call
// that asks the device to make something durable carries a Site, a name of its
// own. Package disk/faulty implements FS in memory, forgets at a simulated power
// cut what was not synced, and can leave out one Site at a time; package
// disk/crashtest runs a workload over it and tells what was lost.
//
// It owns no state and knows nothing of what the files hold.
package disk
