// Package e2e holds the tests of Weir as its users meet it: the built program,
// a real Postfix or Sendmail in front of it, a real Dovecot behind, and the
// command line. What a test says is checked in the mailboxes.
package e2e
