// Package mta wires Weir into Postfix and Sendmail: it makes the lines and
// commands that a loaded configuration needs there (PostfixSnippet,
// SendmailSnippet), and it says what is wrong or risky in a Postfix that is there
// already (CheckPostfix). It changes nothing itself.
//
// # What has to be right
//
// Weir stands twice in the way of mail. On the way in, the MTA shows it each
// message before it answers the SMTP client; on the way back, a held message that
// was released returns by SMTP to a listener of its own. The listener must not
// show it to Weir again, must expand aliases (a milter sees recipients before
// that), must change nothing else, and must let nobody in but Weir: what comes
// that way is judged by nobody.
//
// # Postfix
//
// Weir's entry has its settings in braces (Postfix 3.0), so that other milters
// keep theirs, and stands in a parameter of its own, $weir_milter, to which
// smtpd_milters and overrides in master.cf refer. A path relative to the queue
// directory is right for an smtpd with chroot and for one without.
//
// The listeners are smtpd services on unix sockets in the queue directory's
// public folder, which only root and the group postdrop can enter. Each setting
// that they could inherit from main.cf and must not is overridden. They have a
// cleanup of their own, since message_size_limit is enforced there: a message
// that came in just below the limit is longer when it returns.
//
// # Sendmail
//
// Sendmail makes its unix sockets with mode 0755, so that only root can connect:
// its listeners are on loopback and take a client certificate or a login. A rule
// compares the certificate's fingerprint, or the login, with Weir's own; without
// it every user of the host could send unjudged mail.
package mta
