// Package kv keeps views and indexes in Badger: data that can be built again
// from a log, a list or a saved download, and is never the only copy of
// anything. It is the only importer of Badger, and no type of Badger's leaves it.
//
// # Doubt
//
// Badger writes through a memory map and is not asked to sync, so after a power
// cut a database may hold anything. A marker file beside it says how it was last
// used: closed in good order and synced, or opened under a certain boot of the
// machine. Open empties the database, and DB.Rebuilt says why, when it was not
// closed and the machine has booted since, when the marker or the schema version
// is not what it should be, or when Badger finds fault with its files. A process
// that died without the machine leaves all its writes in the page cache, and the
// database is kept.
//
// Whoever fills a database stores with each batch how far it has read its source
// (Batch.SetApplied), and after Open goes on from what Applied gives. An emptied
// database gives nothing, so going on is rebuilding.
//
// # A full disk
//
// A full disk would kill the process by SIGBUS in the middle of Badger's memory
// map, and again when it starts. So Open and every write look at the free space
// first and give disk.ErrNoSpace while it is below Options.MinFree, which has to
// cover what compactions write in the background.
//
// # Reading
//
// The fast way to read is a Snapshot that is held and renewed from time to time:
// taking one waits for writes that are on their way, reading through it does not.
package kv
