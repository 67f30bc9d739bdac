package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// Security says how a connection is protected.
type Security int

// Protections of a connection.
const (
	// TLS from the first byte on (RFC 8314); port 993.
	TLS Security = iota
	// STARTTLS before anything else; a server that doesn't offer it is refused.
	STARTTLS
	// Plaintext, which is allowed to a loopback address alone.
	Plaintext
)

// Method says how the sidecar logs in to another's mailbox.
type Method int

// Ways to log in.
const (
	// Login sends the LOGIN command with "user*master", where Separator and
	// Master are set, else with the user's name alone. Dovecot calls it a master user.
	Login Method = iota
	// Plain sends AUTHENTICATE PLAIN (RFC 4616) with the user as the identity to
	// act as and Master as who logs in.
	Plain
	// XOAuth2 sends AUTHENTICATE XOAUTH2 with the user's name and a token.
	XOAuth2
)

// Options says how a server is reached. Address and Secret are needed.
type Options struct {
	Address  string // "HOST:PORT"
	Security Security
	TLS      *tls.Config // nil: the system's certificates, and the name in Address

	Method    Method
	Master    string // who logs in: for Login with a master user, and for Plain
	Separator string // between user and Master in Login; default "*"
	// Secret gives the password or, for XOAuth2, a token that holds now for this
	// user. It is asked at every login.
	Secret func(ctx context.Context, user string) (string, error)

	// Probe is a user whose mailbox is surely there. Servers answer alike to a
	// user who does not exist and to a wrong password. With it, a refused login is
	// ErrNoMailbox if Probe can log in; without it, it is always ErrRefused.
	Probe string

	// Skip names folders that are left out, each with all below it: those that the
	// server makes of what lies in others (Dovecot's virtual plugin) and doesn't say so.
	Skip []string

	// MaxBytes is the size of the largest message taken; default 128 MiB.
	MaxBytes int64
	// Timeout bounds the wait for the answer to one command; default one minute. A
	// command that carries content gets a second more for every 64 KiB.
	Timeout time.Duration
}

// Defaults of Options.
const (
	DefaultMaxBytes  = 128 << 20
	DefaultTimeout   = time.Minute
	DefaultSeparator = "*"
)

// Bounds of names, in bytes. A folder's name is up to two and a half times as long
// in modified UTF-7, and the library makes a literal of more than 4 KB, for which a
// server would have to be waited for in the middle of what is sent in one piece.
const (
	maxUser   = 1 << 10
	maxFolder = 1600
)

// complete checks o and gives it with its defaults.
func (o Options) complete() (Options, error) {
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return o, fmt.Errorf("imap: address %q: %w: write it as HOST:PORT", o.Address, err)
	}
	if o.Security < TLS || o.Security > Plaintext {
		return o, fmt.Errorf("imap: security %d is none of TLS, STARTTLS and Plaintext", o.Security)
	}
	if o.Secret == nil {
		return o, errors.New("imap: no Secret: there is no password to log in with")
	}
	switch {
	case o.Method < Login || o.Method > XOAuth2:
		return o, fmt.Errorf("imap: method %d is none of Login, Plain and XOAuth2", o.Method)
	case o.Method == Plain && o.Master == "":
		return o, errors.New("imap: Plain needs a Master who logs in for the user")
	case o.Method == XOAuth2 && o.Master != "":
		return o, errors.New("imap: XOAuth2 logs in as the user: it takes no Master")
	case strings.ContainsAny(o.Master, "\x00\r\n"):
		return o, fmt.Errorf("imap: master %q has a control character", o.Master)
	}
	if o.MaxBytes < 0 || o.Timeout < 0 {
		return o, fmt.Errorf("imap: a limit is negative: %d bytes, %s", o.MaxBytes, o.Timeout)
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Separator == "" {
		o.Separator = DefaultSeparator
	}
	if o.TLS == nil {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	} else {
		o.TLS = o.TLS.Clone()
	}
	if o.TLS.ServerName == "" {
		o.TLS.ServerName = host
	}
	return o, nil
}

// CheckUser refuses names that would mean something else to the server than a
// user. The error satisfies mailbox.ErrNoMailbox.
func (b *Backend) CheckUser(user string) error {
	if user == "" || len(user) > maxUser || strings.ContainsFunc(user, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%w: %.80q is no name of a user", mailbox.ErrNoMailbox, user)
	}
	if b.o.Method == Login && b.o.Master != "" && strings.Contains(user, b.o.Separator) {
		return fmt.Errorf("%w: the user's name %.80q holds %q, which ends it in a login", mailbox.ErrNoMailbox, user, b.o.Separator)
	}
	return nil
}
