// Package milter speaks the milter protocol with the MTA: a session comes in,
// a message and its envelope go to the Handler, and the Handler's answer goes
// back. It judges nothing.
//
// It owns the connections: who may connect and how many, what is read and how
// long that may take, what is kept of a message and what the MTA is told when
// something fails. go-milter is the protocol library; it negotiates, has the
// protocol's words and encodes responses. The commands in between never reach it
// (see conn): it would drop some of what they tell, and copy the rest.
//
// # What a message is
//
// Mail.Raw is what the SMTP client sent, as far as the MTA passes it on: every
// header field in order as "Name:value" with folds as CRLF, a blank line, the
// body as it came. What an MTA changes before a milter sees it stays changed.
// Postfix 3.7 takes the space out of "Name : value", cuts a header value at NUL,
// cuts a header at header_size_limit, turns a bare CR into a space and a bare LF
// into CRLF, adds missing Date, From and Message-Id fields for local clients, and
// drops Bcc and Return-Path. Sendmail 8.17 removes NUL from header values and
// refuses bare CR and LF. Neither shows its own Received field. Whether a blank
// line followed the header of a message without body cannot be seen; one is
// written always.
//
// # What the MTA is told
//
// One answer for each message: all of it or, where the MTA did not offer what
// the answer needs, 451 and nothing of it. Every failure on the way is 451 too:
// a panic, a deadline, an answer that makes no sense. A session beyond
// Options.MaxSessions is served by answering 451 to each MAIL, one beyond twice
// that number is closed.
//
// Inserted fields end up above all others, above the MTA's own Received too;
// Postfix and Sendmail agree on index 0. (Index 1 is below their Received.)
//
// # Local submission
//
// Envelope.Local is true where no SMTP client stands behind a message. Postfix
// shows mail for non_smtpd_milters as localhost, 127.0.0.1, port 0, and gives 0
// for {daemon_port}; an XCLIENT proxy that does not know the port shows port 0
// as well, but with the listener's {daemon_port}. Sendmail's -bs has the address
// family "unknown". Sendmail's queue of submitted mail (submit.cf) comes by SMTP
// from loopback, and mail that "sendmail -Am" takes is never shown to a milter.
package milter
