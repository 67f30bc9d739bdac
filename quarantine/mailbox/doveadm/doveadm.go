// Package doveadm reaches the mailboxes of a Dovecot, as a mailbox.Backend: mail
// is found through the HTTP API of doveadm, and all else goes by IMAP (package
// imap).
//
// One request searches every folder of a mailbox, where IMAP opens and searches
// one after the other; and where nothing is found, nobody logs in to the mailbox.
//
// It owns the requests, and what is believed of their answers:
//
//   - doveadm says where mail may stand: folder and UID, no more. Whatever is told
//     of a copy is read by IMAP, in the session that fetches and removes it: names,
//     flags, size and date, the folder's role and whether it is the user's own.
//     doveadm doesn't know the last two, turns octets that are no UTF-8 into others,
//     and for what a virtual folder shows it tells the UID there with the name of
//     the folder where it really lies.
//   - Two commands are all it takes, "search" and "mailbox status": neither shows or
//     changes mail. So doveadm_allowed_commands can be limited to them.
//   - A user's name with a wildcard means many users to doveadm, and is refused.
//   - Search terms are strings of a JSON array, each one argument of the command; an
//     identifier stands in one alone, behind the key that takes it.
//   - Where doveadm says that a command failed, for one folder that is damaged as for
//     all, or tells of a folder that it doesn't list, IMAP searches folder by folder,
//     says which it is and gives the rest.
//
// Content is searched for by IMAP.
package doveadm

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/mailbox/imap"
)

// Options says how a server is reached. Address, Key and IMAP are needed.
type Options struct {
	Address string // "HOST:PORT" of the inet_listener http of service doveadm
	// Security is TLS (ssl = yes in the listener) or Plaintext, which is allowed to a
	// loopback address alone.
	Security imap.Security
	TLS      *tls.Config // nil: the system's certificates, and the name in Address
	// Key gives doveadm_api_key. It is asked at every request.
	Key func(ctx context.Context) (string, error)
	// Timeout bounds one request, which searches the whole of a mailbox; default
	// five minutes.
	Timeout time.Duration

	// IMAP is how the same mailboxes are reached by IMAP. Folders that it skips are
	// not searched here either.
	IMAP imap.Options
}

// DefaultTimeout is that of Options. Searching for a header field that Dovecot has
// not seen before reads every message of the mailbox.
const DefaultTimeout = 5 * time.Minute

// complete checks o and gives it with its defaults.
func (o Options) complete() (Options, error) {
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return o, fmt.Errorf("doveadm: address %q: %w: write it as HOST:PORT", o.Address, err)
	}
	if o.Security != imap.TLS && o.Security != imap.Plaintext {
		return o, fmt.Errorf("doveadm: security %d is none of TLS and Plaintext", o.Security)
	}
	if o.Key == nil {
		return o, errors.New("doveadm: no Key: doveadm_api_key is needed")
	}
	if o.Timeout < 0 {
		return o, fmt.Errorf("doveadm: a timeout is negative: %s", o.Timeout)
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
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

// Backend reaches one server.
type Backend struct {
	o    Options
	http *http.Client
	imap *imap.Backend
	skip []string // terms of a search that leave out what IMAP skips
}

// New gives a Backend. It does not connect.
func New(o Options) (*Backend, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	byIMAP, err := imap.New(o.IMAP)
	if err != nil {
		return nil, fmt.Errorf("doveadm: %w", err)
	}
	return &Backend{o: o, http: client(o), imap: byIMAP, skip: without(o.IMAP.Skip)}, nil
}

// Open asks whether a user has a mailbox; see mailbox.Backend. It does not log in
// to it.
func (b *Backend) Open(ctx context.Context, user string) (mailbox.Account, error) {
	if err := b.checkUser(user); err != nil {
		return nil, err
	}
	a := &account{b: b, user: user}
	_, err := b.status(ctx, user, "INBOX")
	if failure := err; errors.Is(err, errFailed) {
		if _, err = a.session(ctx); err != nil {
			err = fmt.Errorf("%w; and before, %w", err, failure)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the mailbox of %.80q at %s: %w", user, b.o.Address, err)
	}
	return a, nil
}

// checkUser refuses names that would mean something else than one user, to doveadm
// or in a login.
func (b *Backend) checkUser(user string) error {
	if err := b.imap.CheckUser(user); err != nil {
		return err
	}
	if !utf8.ValidString(user) || strings.ContainsAny(user, "*?") {
		return fmt.Errorf("%w: %.80q is no name of one user: it has a wildcard, or is no UTF-8", mailbox.ErrNoMailbox, user)
	}
	return nil
}

// account is the mailbox of one user.
type account struct {
	b    *Backend
	user string
	imap *imap.Account // nil: not logged in yet
}

// session gives the IMAP session of the account.
func (a *account) session(ctx context.Context) (*imap.Account, error) {
	if a.imap == nil {
		s, err := a.b.imap.Account(ctx, a.user)
		if err != nil {
			return nil, err
		}
		a.imap = s
	}
	return a.imap, nil
}

// Fetch writes a copy's bytes; see mailbox.Account.
func (a *account) Fetch(ctx context.Context, c mailbox.Copy, w io.Writer) error {
	s, err := a.session(ctx)
	if err != nil {
		return err
	}
	return s.Fetch(ctx, c, w)
}

// Remove removes copies; see mailbox.Account.
func (a *account) Remove(ctx context.Context, copies []mailbox.Copy) []mailbox.Removal {
	s, err := a.session(ctx)
	if err != nil {
		return slices.Repeat([]mailbox.Removal{{Err: err}}, len(copies))
	}
	return s.Remove(ctx, copies)
}

// Gone looks for a copy; see mailbox.Account.
func (a *account) Gone(ctx context.Context, c mailbox.Copy) (bool, error) {
	s, err := a.session(ctx)
	if err != nil {
		return false, err
	}
	return s.Gone(ctx, c)
}

// Restore puts a message back; see mailbox.Account.
func (a *account) Restore(ctx context.Context, r mailbox.Return) (mailbox.Restored, error) {
	s, err := a.session(ctx)
	if err != nil {
		return mailbox.Restored{}, err
	}
	return s.Restore(ctx, r)
}

// Close ends the IMAP session, if there is one; see mailbox.Account.
func (a *account) Close() error {
	if a.imap == nil {
		return nil
	}
	return a.imap.Close()
}
