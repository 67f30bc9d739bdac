// Package list reads, checks and formats list files: what policy authors edit.
//
// # Where
//
// Lists lie in three folders, lists/block, lists/allow and lists/watch, and the
// folder says what an entry does. Every regular file directly in one of them is
// a list, symbolic links to one included, but for names that editors and
// package managers make (see Files) and README and *.md.
//
// # What
//
// A file is UTF-8 with one entry a line. Empty lines count for nothing, and
// neither does what follows a # at the beginning of a line or after white space.
//
//	evil.example                      exactly this domain
//	.evil.example                     this domain and all below it
//	ceo@evil.example                  an address; <> is the null sender
//	https://evil.example/pay          this URL, over http as well
//	https://evil.example/pay/*        every URL that begins so
//	198.51.100.7                      an IP address, IPv4 or IPv6
//	198.51.100.0/24                   a range; host bits have to be zero
//	44d88612fea8a8f36de82e1278abb02f  an MD5, SHA-1 or SHA-256 digest, by its length
//	/re/i in=subject                  a regular expression, RE2; i folds case
//
// What an entry is follows from its form. A kind before it forces one: sha256:,
// sha1:, md5:, address:, domain:, url:, ip: and regexp:, as in domain:localhost
// or url:evil.example/pay. Defanged forms are read as meant: hxxp://evil[.]example.
// In a regular expression a slash is written \/.
//
// Options follow the entry, in any order, each name=value; a value with spaces
// stands in double quotes, in which \" and \\ are a quote and a backslash:
//
//	in=ROLE,…      only for these roles: envelope-from, header-from, sender, reply-to,
//	               rcpt, helo, client, auth-user, url, attachment, body; for a
//	               regular expression, the fields that it looks at: subject,
//	               file-name, header (each field as "Name: value"), header:NAME
//	               (its value)
//	action=ACTION  what a block entry wants done: tag, hold, discard, reject,
//	               tempfail; an allow entry may say accept
//	until=TIME     a date, valid through that day in UTC, or a time as in RFC 3339
//	dir=DIRECTION  only for inbound, outbound or internal mail
//	id=TEXT        a case or ticket
//	campaign=TEXT  what it belongs to
//	confidence=N   how sure its author is, 1 to 100
//	tlp=MARKING    how far it may be passed on: clear, green, amber, amber+strict, red
//	note=TEXT      for people here; never goes into a message
//
// # How much
//
// A file loads as a whole or not at all. A line has at most MaxLine bytes, a
// file as many bytes and entries as Options says. What is wrong is a Problem,
// with file, line, column, value and cure; reading goes on behind it, so that
// all problems of a file are found at once.
//
// The package keeps no state and judges nothing. Package store keeps what was
// read and the last good version of it, package match says what decides.
package list
