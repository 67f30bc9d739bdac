// Package imap reaches the mailboxes of an IMAP server (RFC 3501, RFC 9051), as
// a mailbox.Backend. Dovecot is what it is tried against.
//
// It owns the protocol, and what keeps it harmless:
//
//   - Looking is EXAMINE and BODY.PEEK.
//   - A copy's ID is its UIDVALIDITY and UID. Removing needs UIDPLUS (RFC 4315) or
//     IMAP4rev2: a bare EXPUNGE would take all that the user has marked as deleted,
//     so without it Remove refuses and says so. The library's Move is not used: it
//     expunges although the copying has failed.
//   - SEARCH HEADER finds substrings, without regard to case; what it finds is
//     compared exactly.
//   - What was searched once on a connection is not searched again. A later Find
//     looks at what has come in since, and at what it found before: UIDs grow, and
//     the message that has one stays as it is (RFC 9051 section 2.3.1.1). Where LIST
//     tells the states of all folders at once (RFC 5819, RFC 9051), a folder in which
//     there is no mail, or whose UIDVALIDITY and UIDNEXT are those of the last look
//     while nothing found there is left, is not even opened. So the server has to
//     know by itself what came in. Dovecot does: for each folder it compares the times
//     of the Maildir's directories with what its list index says (2.3.19: 120 files
//     put there by another program within a second of the last look, none missed). It
//     doesn't with mailbox_list_index_very_dirty_syncs = yes, which suits mailboxes
//     that Dovecot alone delivers to. And it tells the state of a folder that is open as
//     it was when last looked into, so that is closed before.
//   - Commands that don't depend on each other's answers are sent in one piece.
//   - Every command has a deadline and a bound to the bytes of its answer; large
//     messages come in pieces, small ones that Find gives one after the other together.
//   - NUL: a server gives it as 0x80 (Dovecot) and takes none. Restore refuses
//     bytes with NUL or with a LF that has no CR before it, which Fetch never gives.
//
// It connects once for an Account and never again: trying again is the caller's.
package imap

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// Backend reaches one server.
type Backend struct {
	o        Options
	parser   *message.Parser
	oneByOne users
}

// New gives a Backend. It does not connect.
func New(o Options) (*Backend, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	return &Backend{o: o, parser: mailbox.NewParser()}, nil
}

// Open logs in to the mailbox of a user; see mailbox.Backend.
func (b *Backend) Open(ctx context.Context, user string) (mailbox.Account, error) {
	a, err := b.Account(ctx, user)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Account is Open, for those who need more of IMAP than a mailbox.Account.
func (b *Backend) Account(ctx context.Context, user string) (*Account, error) {
	a, err := b.open(ctx, user)
	if err == nil {
		return a, nil
	}
	if errors.Is(err, errLogin) && b.o.Probe != "" && b.o.Probe != user {
		probe, probeErr := b.open(ctx, b.o.Probe)
		if probeErr == nil {
			_ = probe.Close()
			err = fmt.Errorf("%w: %w", mailbox.ErrNoMailbox, err)
		}
	}
	return nil, fmt.Errorf("open the mailbox of %.80q at %s: %w", user, b.o.Address, err)
}

// open connects and logs in. The error satisfies errLogin where the server does
// not take the login.
func (b *Backend) open(ctx context.Context, user string) (*Account, error) {
	if err := b.CheckUser(user); err != nil {
		return nil, err
	}
	secret, err := b.o.Secret(ctx, user)
	if err != nil {
		return nil, fmt.Errorf("no password: %w", err)
	}
	conn, err := b.dial(ctx)
	if err != nil {
		return nil, err
	}
	a := b.account(user, conn)
	if err := a.begin(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if err := a.login(ctx, user, secret); err != nil {
		_ = a.Close()
		return nil, err
	}
	return a, nil
}

func (b *Backend) account(user string, conn *guard) *Account {
	return &Account{o: &b.o, user: user, oneByOne: &b.oneByOne, parser: b.parser, conn: conn, costly: len(b.o.Skip) > 0, looks: looks{at: map[string]look{}}}
}

// dial connects, and secures the connection.
func (b *Backend) dial(ctx context.Context) (*guard, error) {
	ctx, cancel := context.WithTimeout(ctx, b.o.Timeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", b.o.Address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", mailbox.ErrUnreachable, err)
	}
	g := &guard{Conn: conn}
	switch b.o.Security {
	case TLS:
		g.Conn, err = secure(ctx, conn, b.o.TLS)
	case STARTTLS:
		if err = askForTLS(ctx, conn); err == nil {
			g.Conn, err = secure(ctx, conn, b.o.TLS)
		}
		// The library waits for the greeting, which was said in plain text: what it
		// told counts no more (RFC 9051 section 6.2.1).
		g.first = "* OK\r\n"
	case Plaintext:
		err = plaintextTo(conn.RemoteAddr())
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return g, nil
}

func secure(ctx context.Context, conn net.Conn, config *tls.Config) (net.Conn, error) {
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("%w: TLS: %w", mailbox.ErrUnreachable, err)
	}
	return secured, nil
}

// plainLines bounds how many lines a server may say before TLS begins.
const plainLines = 20

// askForTLS sends STARTTLS. The library is not there yet: nothing that is said in
// plain text, by whomever, reaches it.
func askForTLS(ctx context.Context, conn net.Conn) error {
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
		defer func() { _ = conn.SetDeadline(time.Time{}) }()
	}
	r := bufio.NewReader(conn)
	greeting, err := r.ReadSlice('\n')
	if err == nil && !bytes.HasPrefix(greeting, []byte("* OK")) {
		err = fmt.Errorf("the server greets with %.80q", greeting)
	}
	if err == nil {
		_, err = io.WriteString(conn, "S STARTTLS\r\n")
	}
	for range plainLines {
		if err != nil {
			break
		}
		var line []byte
		line, err = r.ReadSlice('\n')
		switch {
		case err != nil || bytes.HasPrefix(line, []byte("* ")):
			continue
		case !bytes.HasPrefix(line, []byte("S OK")):
			return fmt.Errorf("%w STARTTLS: %.80q", mailbox.ErrRefused, line)
		case r.Buffered() > 0:
			err = errors.New("the server, or somebody in between, says more before TLS begins")
		default:
			return nil
		}
	}
	if err == nil {
		err = errors.New("the server doesn't answer")
	}
	return fmt.Errorf("%w: STARTTLS: %w", mailbox.ErrUnreachable, err)
}

// plaintextTo refuses addresses that passwords would reach over a network.
func plaintextTo(to net.Addr) error {
	if addr, ok := to.(*net.TCPAddr); ok && addr.IP.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%w: %s is no loopback address, and the password would go there in plain text: use TLS or STARTTLS", mailbox.ErrRefused, to)
}

// begin reads the greeting.
func (a *Account) begin(ctx context.Context) error {
	return a.do(ctx, 0, func() error {
		a.client = imapclient.New(a.conn, nil)
		if err := a.client.WaitGreeting(); err != nil {
			return err
		}
		if a.client.State() != imap.ConnStateNotAuthenticated {
			return errors.New("the server has logged us in by itself (PREAUTH), as whom it does not say")
		}
		return nil
	})
}

// errLogin says that the server did not take a login.
var errLogin = errors.New("login refused")

func (a *Account) login(ctx context.Context, user, secret string) error {
	err := a.do(ctx, 0, func() error {
		if err := a.authenticate(user, secret); err != nil {
			return err
		}
		a.caps = a.client.Caps()
		return nil
	})
	var no *imap.Error
	if errors.As(err, &no) && errors.Is(err, mailbox.ErrRefused) {
		return fmt.Errorf("%w: %w", errLogin, err)
	}
	return err
}

func (a *Account) authenticate(user, secret string) error {
	caps := a.client.Caps()
	switch a.o.Method {
	case Plain:
		return a.client.Authenticate(sasl.NewPlainClient(user, a.o.Master, secret))
	case XOAuth2:
		return a.client.Authenticate(&xoauth2{user: user, token: secret})
	}
	if caps.Has(imap.CapLoginDisabled) {
		return &imap.Error{Type: imap.StatusResponseTypeNo, Code: imap.ResponseCodePrivacyRequired, Text: "the server has LOGIN disabled"}
	}
	if a.o.Master != "" {
		user += a.o.Separator + a.o.Master
	}
	return a.client.Login(user, secret).Wait()
}

// xoauth2 is the client of Google's and Microsoft's mechanism: all in the first
// message; a challenge tells of an error, and an empty answer lets the server say NO.
type xoauth2 struct{ user, token string }

func (x *xoauth2) Start() (string, []byte, error) {
	return "XOAUTH2", []byte("user=" + x.user + "\x01auth=Bearer " + x.token + "\x01\x01"), nil
}

func (x *xoauth2) Next([]byte) ([]byte, error) { return []byte{}, nil }

// Account is one connection that is logged in: a mailbox.Account.
type Account struct {
	o        *Options
	user     string
	oneByOne *users // of the Backend
	parser   *message.Parser
	conn     *guard
	client   *imapclient.Client
	caps     imap.CapSet
	broken   error // why nothing more can be done

	selected string // the folder that is open; empty: none
	writable bool
	validity uint32   // UIDVALIDITY of selected
	next     imap.UID // UIDNEXT of selected, when it was opened; 0: not told
	messages uint32   // in selected, then

	spaces []namespace // nil: not asked for yet
	costly bool        // folders are listed whose state is not to be asked for
	looks  looks
	ahead  ahead
}

// logoutTimeout bounds the politeness of saying goodbye.
const logoutTimeout = 2 * time.Second

// Close logs out; see mailbox.Account.
func (a *Account) Close() error {
	if a.broken == nil {
		a.conn.arm(logoutTimeout, 1, 0)
		_ = a.client.Logout().Wait()
		a.broken = errClosed
	}
	_ = a.conn.Close()
	if a.client != nil {
		_ = a.client.Close()
	}
	return nil
}

var errClosed = errors.New("the mailbox is closed")

// do runs commands: f sends them and waits for all that they answer. Content is
// the number of bytes that they carry besides the usual. Errors say what they mean
// to a caller; whatever is not an answer of the server ends the connection.
func (a *Account) do(ctx context.Context, content int64, f func() error) error {
	return a.doSome(ctx, 1, content, f)
}

// doSome is do for so many commands.
func (a *Account) doSome(ctx context.Context, commands int, content int64, f func() error) error {
	if a.broken != nil {
		return a.broken
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	a.conn.arm(a.o.Timeout, commands, content)
	stop := context.AfterFunc(ctx, func() { _ = a.conn.Close() })
	err := f()
	if !stop() {
		a.broken = fmt.Errorf("%w: given up", mailbox.ErrUnreachable)
		return context.Cause(ctx)
	}
	a.conn.disarm()
	if err == nil || answered(err) {
		return meant(err)
	}
	a.broken = fmt.Errorf("%w: %w", mailbox.ErrUnreachable, err)
	_ = a.conn.Close()
	return a.broken
}

// answered reports whether an error is an answer of the server: the connection
// holds.
func answered(err error) bool {
	var answer *imap.Error
	return errors.As(err, &answer)
}

// meant gives an answer of the server with what it means.
func meant(err error) error {
	var answer *imap.Error
	if errors.As(err, &answer) {
		return fmt.Errorf("%w: %w", meaning(answer), err)
	}
	return err
}

// meaning gives what a refusal by the server means (RFC 9051 section 7.1).
func meaning(e *imap.Error) error {
	if e.Type == imap.StatusResponseTypeBye {
		return mailbox.ErrUnreachable
	}
	switch e.Code {
	case imap.ResponseCodeUnavailable, imap.ResponseCodeInUse, imap.ResponseCodeServerBug, imap.ResponseCodeCorruption, imap.ResponseCodeLimit, "EXPUNGEISSUED":
		return mailbox.ErrUnreachable
	case imap.ResponseCodeOverQuota:
		return mailbox.ErrOverQuota
	case imap.ResponseCodeNonExistent, imap.ResponseCodeTryCreate:
		return mailbox.ErrFolderGone
	case imap.ResponseCodeTooBig:
		return mailbox.ErrTooLarge
	}
	return mailbox.ErrRefused
}
