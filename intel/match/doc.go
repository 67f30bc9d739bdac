// Package match answers, for what a message shows, what is known about it.
//
// A Snapshot is everything known at one moment: immutable, safe for any number
// of readers, and gone only when the last of them released it. A Matcher holds
// the current one; replacing it never makes a reader wait. The indicators
// themselves lie behind a Source, on the heap (Memory) or in a store; package
// store writes them, this package only reads.
//
// # What decides
//
// An observable has generalisations, from the most specific to the least:
//
//   - a URL: itself, URL prefixes from the longest to the shortest, then what
//     holds for its host
//   - an address: itself, then what holds for its domain
//   - a domain, or a host that is a name: exactly this name, then the entries
//     for a name and all below it, from the name itself up to its top level
//   - an IP address, or a host or a domain that is one: itself, then ranges
//     from the longest prefix to the shortest
//   - a digest: itself
//
// An entry counts when it is in force: for this role, this direction, and not
// expired. The first level at which a block or an allow entry is in force
// decides, and there an allow beats a block. Only entries of the deciding level
// become hits, and of those only the winners. A watch entry decides nothing and
// is a hit at whatever level it stands. An allow covers the observable that it
// names and never another one. All regular expressions for one text stand at
// one level.
//
// # Cost
//
// Nearly every probe misses. A binary fuse filter (8 bits a key, 0.4 % false)
// in 256 shards answers misses from memory; only what it cannot rule out is
// looked up in the Source. What would need many probes is guarded by marks in
// the same filter, which say that a probe can succeed at all:
//
//   - a URL prefix may end anywhere. Each one leaves a mark for its host and one
//     for its bucket, its text up to the last slash of the path. A URL whose host
//     has no mark is probed no further; else each slash of its path is one probe
//     for a bucket, and only behind one that is there every cut up to the next
//     slash is tried, or as far as any prefix reaches behind its bucket. All these
//     texts are hashed in one pass over the URL, so the work is linear in its
//     length whatever it is made of.
//   - a range leaves a mark for its length, so that only lengths in use are tried.
//
// Marks are never wrong about what is there. One that outlives its entry costs
// a probe and changes no answer.
package match
