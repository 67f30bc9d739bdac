// Package smtptest speaks SMTP and LMTP by hand: a client that can do what a
// polite library would not (send any bytes, keep a connection open after a
// refused recipient, drop it before or after the final dot), and a sink that
// records envelope and exact bytes and answers as it is told.
//
// It is for tests and for the bench; it trusts neither side with more memory
// than a test's messages need, and has no TLS.
package smtptest
