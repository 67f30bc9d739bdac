// Package export writes indicators for others: threat platforms, resolvers, mail
// servers, proxies and firewalls.
//
// It takes a stream and gives a stream, and holds no more than one indicator.
// Which indicators, is for the caller to choose; it leaves out by itself what no
// longer counts, what is marked more strictly than it may be passed on, and what
// an allow excuses (Options.Allowed), since a firewall has no other list to look at.
//
// A document says one thing, as a list file does: that its entries are to be
// blocked, allowed, or watched. What a format cannot say is never dropped in
// silence: the Report counts what was left out, and what was written with less
// than is known, each by name. An entry that holds only for a part of a message
// (in=) or one direction (dir=) is left out where the format would say it of all.
// What several sources say of one pattern, one after another, is written once: with
// the greatest confidence, the strictest marking and the latest end.
//
// # Formats
//
// stix: a bundle of STIX 2.1 with an indicator for each entry. Identifiers follow
// from the pattern, so that the same entry is the same object in every export.
// Markings are those of TLP 2.0, and their definitions are in the bundle; the
// campaign is the label campaign:NAME, the ID an external reference, the note the
// name. An object's created, modified and valid_from are when the entry was added, as
// far as Options.Added remembers it, and else 2026-01-01: two exports of the same
// entries are the same bytes. Object gives the object of one indicator, for who pages over them.
// Regular expressions, and prefixes in which % or _ would be taken for wildcards,
// cannot be said.
//
// misp: an event, with an attribute for each entry. A domain with all below it is
// written as the domain; ends, confidence, IDs and campaigns are lost.
//
// csv: a record for each entry, with the columns of the first one. CSVColumns are
// those by which package intel/feed/format reads them back.
//
// plain, domains, urls, ips: one value a line, as list files write it:
// evil.example, .evil.example with all below it, https://evil.example/pay/* for
// what begins so, 198.51.100.0/24.
//
// rpz: a response policy zone, for BIND and others that know such. Entries are
// domains, domains with all below them, and addresses as rpz-ip. Blocks are answered
// NXDOMAIN; a zone of allows passes through, and has to stand before others.
//
// postfix-senders: a table of access(5) for check_sender_access, indexed by
// postmap or as texthash:. A domain with all below it is written both ways, with
// and without the dot; that a domain stands for itself alone can only be said where
// smtpd_access_maps is not among parent_domain_matches_subdomains, and is counted.
//
// postfix-clients: a table of cidr_table(5) for check_client_access.
//
// The last two say REJECT for a block, OK for an allow and WARN for a watch.
package export
