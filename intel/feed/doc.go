// Package feed keeps feeds: indicators that others publish, fetched on a schedule.
//
// # A refresh
//
// What a feed publishes is fetched to files first, and read from there as a stream:
// memory does not grow with a feed. A server that says that nothing changed (ETag,
// Last-Modified) is believed, and a server of TAXII is asked for what was added since
// the last time: new versions of objects take the place of older ones, revoked ones
// end. All of a collection is read once an hour, since nothing tells what a server
// has removed. Then all of it is read once to see that it can be, and
// counted; and only if that went well the store takes it over, as one generation.
// Whatever fails before (a server, a download that breaks off, a page that says
// "sign in" where there should be a list) leaves what was fetched last in force.
//
// A feed that has suddenly many more or many fewer entries than before is held until
// a person approves it: an empty file would else let go all that it had blocked, and
// a mistake of a stranger would block the world.
//
// A feed that could not be refreshed for a long time (Feed.Expiry) counts no more,
// until it can be.
//
// # Where from
//
// A feed comes from a server over HTTP, as one document, as the pages of a TAXII 2.1
// collection or as the manifest and events of a MISP feed; or from a file. Documents
// may be packed with gzip, or be the one file in a zip archive. Addresses that are
// not public (loopback, private, link-local …) are refused, whatever name or
// redirection leads there, unless the feed is said to have one.
//
// # Files
//
// Below Options.Dir each feed has a folder of its name with its documents as they
// came, and feed.json, which says which of them hold. All of it can be removed: what
// is missing is fetched again.
package feed
