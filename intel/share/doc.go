// Package share passes on what is confirmed here: it publishes indicators as a
// collection of TAXII 2.1, which peers read.
//
// # What is published
//
// Indicators that an incident rests on once it is confirmed: a person had its mail
// pulled, or policy did, by a list that it trusts. And entries of lists that are named
// for it, if they have a TLP marking. All of them only as long as Settings let them:
//
//   - the strictest TLP marking that anybody gives the value must not be beyond
//     Settings.MaxTLP, nor the confidence below Settings.MinConfidence;
//   - the entry that found it still stands in a list of ours, unless a person named it;
//   - no list allows it;
//   - it is nothing of ours (Guard);
//   - it can be said in STIX, which knows no roles and no directions;
//   - a source of ours says it: what feeds say is theirs to publish.
//
// A case is withdrawn when a person puts its mail back or calls it a false alarm. What
// is published no longer is revoked: peers read that as a new version of the object.
// Nothing is revoked for want of a list that cannot be read (UnreadError).
//
// An object has the pattern, how sure it is, until when it is valid, and its marking.
// Nothing else: no note, no case, no name of a list, no mail.
//
// # Where the truth is
//
// Who confirmed what is read from the ledger's events (Testimony); so is what was
// published, which this package records there, with the reason. View folds both, so
// that a restart goes on where it was, and gives objects the order in which peers
// see them. A pass of Share compares what should be published with what is.
//
// What a Guard calls ours is asked twice: before something is published, and again
// whenever a page is written, by the settings of that moment.
//
// # Server
//
// Server answers TAXII 2.1: discovery, one API root, one collection, its manifest,
// objects and versions. It is read-only. Of each object it has the last version. Peers
// show a token or a certificate.
package share
