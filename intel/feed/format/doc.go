// Package format reads what feeds publish: it turns the bytes of a downloaded
// feed into indicators, one by one, and says what it passed over.
//
// It fetches nothing, unpacks nothing and keeps nothing: Options.Open gives the
// plain bytes as often as they are asked for, and of a feed of any size no more
// than a line or an object is held. UTF-16 is read if it has a byte order mark,
// everything else as UTF-8.
//
// # Formats
//
// plain: one value a line. What it is follows from its form, as in a list file
// (package list): a domain, .evil.example or *.evil.example with all below it, an
// address, a URL, one without its scheme (evil.example/pay) and one that ends in
// *, an IP address, a range, a digest. Defanged forms are read as meant, the port
// of an IP address is left out, and ||evil.example^, as lists for ad blockers
// write it, is a domain and all below it. A line that begins with #, ;, ! or //
// is a comment; behind the value may stand numbers and a comment that begins
// with # or ;.
//
// hosts: an address and the names that it blocks, as in /etc/hosts. The names of
// the machine itself (localhost and its like) are no entries.
//
// csv: RFC 4180, or another comma, with columns as Options.CSV names them. Spaces
// around a field and around its quotes count for nothing; # begins a comment.
//
// urlhaus: csv with the columns of URLhaus. The last comment before the data names
// them. Value url; ID id; note threat and tags; dates last_online, else dateadded;
// a URL that url_status calls offline is passed over unless Options.Offline.
//
// threatfox: csv with the columns of ThreatFox. Value ioc_value, of the kind that
// ioc_type says; ID ioc_id; note threat_type, malware_printable and tags;
// confidence confidence_level; dates last_seen_utc, else first_seen_utc.
//
// stix: a bundle of STIX 2.0 or 2.1, or an envelope of TAXII 2.1, whose "more" and
// "next" are in the Report. Indicators that are valid, not revoked and not
// called benign give what their pattern names. A pattern is comparisons by = or
// IN (and ISSUBSET of addresses, LIKE 'https://evil.example/pay/%' of URLs, and
// LIKE '%.evil.example' where evil.example itself is named beside it) of
//
//	file:hashes.MD5, .'SHA-1', .'SHA-256'
//	url:value  domain-name:value  email-addr:value
//	ipv4-addr:value  ipv6-addr:value
//	email-message:from_ref.value, sender_ref.value
//
// and what OR joins gives each. What AND joins gives nothing, because one part
// says nothing alone; only digests that AND joins are those of one file, and
// each of them tells it. Other operators (NOT, !=, <, other LIKE, MATCHES, ISSUPERSET,
// EXISTS, FOLLOWEDBY, WITHIN, START, REPEATS), other paths and other languages
// are counted as Unsupported, by name. The ID is the indicator's, the note its
// name or description, the campaign what follows the campaign: of a label.
//
// misp: an event, alone, in "response" or in a list. Attributes with to_ids, those
// of objects included, that are not deleted: md5, sha1, sha256, also behind
// filename|, and malware-sample; url, link; domain, hostname, hostname|port and
// the domain of domain|ip; ip-src, ip-dst, also before |port; email, email-src,
// email-reply-to; email-dst for mail that goes out to it. The ID is the event's
// uuid, the campaign its info, the note the attribute's comment. Manifest reads
// the manifest of such a feed.
//
// misp-warninglist: the entries of a list of type hostname (a name with all below
// it, as MISP matches it), string and cidr. Of type substring and regex nothing
// can be looked up: they are counted.
//
// # What is passed over
//
// Each entry that is not given is counted in the Report, by Reason and by what
// exactly it was, with examples. Whatever the format, these are passed over:
// families that stand for strangers (a public suffix with all below it, ranges
// larger than any one network has), and internal addresses unless
// Options.Internal: those who list them mean their own network, or have slipped.
//
// If too many of the entries cannot be read (Options.MaxMalformed), or if none in a
// text can, it is not this feed, but a login page or a format that changed, and
// reading ends with an *Error. It also ends so where a document is cut off, is of
// another shape, or holds more than it may. One event of MISP is never held
// against the feed: the shape of the document shows that it is one.
//
// # TLP
//
// A marking under the Traffic Light Protocol stands in STIX as a reference to one of
// the well-known definitions, or as a label, elsewhere as a tag tlp:…. Of several
// the strictest counts, and one that nobody knows is as strict as they get.
// Whoever passes indicators on has to obey it.
package format
