// Package store keeps indicators by source and generation in a database of
// package kv, and gives package match what it looks things up in.
//
// # Sources and generations
//
// A source is one origin of indicators: a list file ("list:block/local.txt"), a
// feed, an operator. Refresh replaces what sources list, and everything that one
// call changes comes into force in one step, as a new generation. Generations
// have numbers that only grow, also over restarts and when the database had to
// be built again.
//
// What a source lists is read once, sorted by the hashes of its patterns (in runs in
// a file without a name, where that is more than a little), and compared with what
// the source listed before. So memory does not grow with what is listed, and the
// database is written in the order of its keys. Additions and removals go there in
// batches, each with the generation in which it begins or ends to count. Nobody sees
// them until the number of the active generation is raised, in the same batch as the
// sources' new state. An interruption at any moment before leaves the old generation
// active and whole. Its number is never used again, and what it wrote is passed over
// and, when the store is opened or the key is written next, removed.
//
// A source that fails to read keeps its last good version.
//
// # In the database
//
//	t                      the active generation and those that came to nothing
//	s source               a source: its name, version, and where its index is
//	i hash pattern         what all sources say about one pattern
//	m hash                 a mark (package match)
//	r hash pattern         the same for regular expressions
//	a gen number           what a generation added, for Added
//
// Keys of patterns begin with their hash, so that a shard of the filter is a
// range of keys.
//
// # Beside the database
//
// For each source there is an index in a file of its own: sorted hashes of what it
// lists, and on which lines. The order of lines in a file changes with every edit, so
// lines stand there, where they are cheap to write anew and found with one read, and
// not beside the pattern. The filter is built of the indexes, and of the marks. An index that is missing or damaged is made again from the
// database.
//
// What all of it can be built from lies elsewhere: list files, and what was fetched of
// feeds. The package holds no copy of them.
package store
