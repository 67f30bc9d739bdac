// Package reinject returns released mail to the MTA by SMTP. It owns the
// transaction: exact bytes, the original sender and ESMTP arguments, only the
// given recipients, one result for each of them. What a result means for the
// item is the quarantine's matter.
package reinject

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Options says where to and as whom.
type Options struct {
	Network  string // "tcp" or "unix"
	Address  string // host:port of the listener, or its socket's path
	Helo     string // the name to give; "localhost" where empty
	Timeout  time.Duration
	StartTLS bool
	TLS      *tls.Config // for StartTLS: roots, or a client certificate as credential
	Username string      // AUTH PLAIN; empty: none
	Password string
}

// Sender hands messages to one listener. It is safe for use by many
// goroutines: each message has a connection of its own.
type Sender struct{ o Options }

// New checks the options.
func New(o Options) (*Sender, error) {
	switch o.Network {
	case "unix":
		if o.StartTLS {
			return nil, fmt.Errorf("re-injection socket %q: a unix socket needs no TLS", o.Address)
		}
	case "tcp":
		if _, _, err := net.SplitHostPort(o.Address); err != nil {
			return nil, fmt.Errorf("re-injection address %q: %w", o.Address, err)
		}
	default:
		return nil, fmt.Errorf("re-injection network %q is neither tcp nor unix", o.Network)
	}
	if o.Helo == "" {
		o.Helo = "localhost"
	}
	if o.Timeout <= 0 {
		return nil, fmt.Errorf("re-injection timeout %s has to be more than nothing", o.Timeout)
	}
	return &Sender{o}, nil
}

// Address is where messages go, for error messages and logs.
func (s *Sender) Address() string { return s.o.Address }

// Path is an envelope address without angle brackets and its ESMTP arguments.
type Path struct {
	Address string
	Args    []string
}

// Message is what goes back.
type Message struct {
	From    Path
	To      []Path
	Content [][]byte // in order; lines end with CRLF
}

// Status is what became of one recipient.
type Status string

// The statuses. Uncertain means that the last byte went out and no answer came
// back: the listener may or may not have taken the message.
const (
	Sent      Status = "sent"
	Refused   Status = "refused"  // for good
	Deferred  Status = "deferred" // for now; nothing was handed over
	Uncertain Status = "uncertain"
)

// Result is what the listener said about one recipient.
type Result struct {
	Status Status `json:"status"`
	Text   string `json:"text,omitempty"` // its answer, or why there was none
}

// Send hands m over and gives one result for each recipient, in their order.
// Just before the byte that ends the message, when nothing but the answer is
// left open, it calls point with the results so far; if that fails nothing is
// handed over. Whoever keeps a record notes there that from now on the outcome
// is uncertain until it is known.
func (s *Sender) Send(ctx context.Context, m Message, point func() error) []Result {
	results := make([]Result, len(m.To))
	c, stop, err := s.dial(ctx)
	if err != nil {
		return fill(results, Deferred, fmt.Sprintf("no session with %s: %v", s.o.Address, err))
	}
	defer stop()
	if err := c.Mail(m.From.Address, mailOptions(c, m)); err != nil {
		return fill(results, statusOf(err), "MAIL: "+text(err))
	}
	accepted := 0
	for i, to := range m.To {
		if err := c.Rcpt(to.Address, rcptOptions(to.Args)); err != nil {
			results[i] = Result{statusOf(err), text(err)}
			continue
		}
		accepted++
	}
	if accepted == 0 {
		return results
	}
	w, err := c.Data()
	if err != nil {
		return fill(results, statusOf(err), "DATA: "+text(err))
	}
	for _, piece := range m.Content {
		if _, err := w.Write(piece); err != nil {
			return fill(results, Deferred, "the connection broke in mid-message: "+err.Error())
		}
	}
	if err := point(); err != nil {
		return fill(results, Deferred, "stopped before the end: "+err.Error())
	}
	answer, err := w.CloseWithResponse()
	var refusal *smtp.SMTPError
	switch {
	case err == nil:
		fill(results, Sent, answer.StatusText)
		_ = c.Quit()
	case errors.As(err, &refusal):
		fill(results, statusOf(err), text(err))
	default:
		fill(results, Uncertain, "no answer to the end of the message: "+err.Error())
	}
	return results
}

// fill gives the result to all recipients that have none yet.
func fill(results []Result, s Status, text string) []Result {
	for i := range results {
		if results[i].Status == "" {
			results[i] = Result{s, text}
		}
	}
	return results
}

// dial opens an authenticated session. The context ends it, whatever it waits
// for; stop closes it.
func (s *Sender) dial(ctx context.Context) (c *smtp.Client, stop func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, s.o.Network, s.o.Address)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	unwatch := context.AfterFunc(ctx, func() { _ = conn.Close() })
	stop = func() {
		unwatch()
		cancel()
		_ = conn.Close()
	}
	if c, err = s.open(conn); err != nil {
		stop()
		return nil, nil, err
	}
	return c, stop, nil
}

func (s *Sender) open(conn net.Conn) (*smtp.Client, error) {
	c := smtp.NewClient(conn)
	if s.o.StartTLS {
		config := s.o.TLS.Clone()
		if config == nil {
			config = &tls.Config{}
		}
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(s.o.Address)
		}
		var err error
		if c, err = smtp.NewClientStartTLS(conn, config); err != nil {
			return nil, fmt.Errorf("STARTTLS: %w", err)
		}
	}
	c.CommandTimeout, c.SubmissionTimeout = s.o.Timeout, s.o.Timeout
	if err := c.Hello(s.o.Helo); err != nil {
		return nil, fmt.Errorf("EHLO: %w", err)
	}
	if s.o.Username != "" {
		if err := c.Auth(sasl.NewPlainClient("", s.o.Username, s.o.Password)); err != nil {
			return nil, fmt.Errorf("AUTH as %s: %w", s.o.Username, err)
		}
	}
	return c, nil
}

func mailOptions(c *smtp.Client, m Message) *smtp.MailOptions {
	supported, _ := c.Extension("SMTPUTF8")
	o := &smtp.MailOptions{UTF8: needsUTF8(m) || supported && hasArg(m.From.Args, "SMTPUTF8")}
	for _, piece := range m.Content {
		o.Size += int64(len(piece))
	}
	if v := argValue(m.From.Args, "RET"); v != "" {
		o.Return = smtp.DSNReturn(strings.ToUpper(v))
		if o.Return != smtp.DSNReturnFull && o.Return != smtp.DSNReturnHeaders {
			o.Return = ""
		}
	}
	o.EnvelopeID = unxtext(argValue(m.From.Args, "ENVID"))
	return o
}

// needsUTF8 reports whether an address of the envelope cannot be said in ASCII.
func needsUTF8(m Message) bool {
	for _, p := range append([]Path{m.From}, m.To...) {
		if strings.ContainsFunc(p.Address, func(r rune) bool { return r > 0x7e }) {
			return true
		}
	}
	return false
}

// rcptOptions keeps the DSN arguments (RFC 3461 section 4) that the recipient came with.
func rcptOptions(args []string) *smtp.RcptOptions {
	o := &smtp.RcptOptions{}
	for _, word := range strings.Split(argValue(args, "NOTIFY"), ",") {
		switch n := smtp.DSNNotify(strings.ToUpper(word)); n {
		case smtp.DSNNotifyNever, smtp.DSNNotifySuccess, smtp.DSNNotifyFailure, smtp.DSNNotifyDelayed:
			o.Notify = append(o.Notify, n)
		}
	}
	if kind, address, ok := strings.Cut(argValue(args, "ORCPT"), ";"); ok && strings.EqualFold(kind, string(smtp.DSNAddressTypeRFC822)) {
		o.OriginalRecipientType, o.OriginalRecipient = smtp.DSNAddressTypeRFC822, unxtext(address)
	}
	return o
}

func hasArg(args []string, name string) bool {
	for _, a := range args {
		if strings.EqualFold(a, name) {
			return true
		}
	}
	return false
}

func argValue(args []string, name string) string {
	for _, a := range args {
		if key, value, ok := strings.Cut(a, "="); ok && strings.EqualFold(key, name) {
			return value
		}
	}
	return ""
}

// unxtext undoes xtext (RFC 3461 section 4); what is none gives nothing, so
// that a broken argument is left out rather than repeated.
func unxtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '+' {
			if i+2 >= len(s) {
				return ""
			}
			var v byte
			if _, err := fmt.Sscanf(s[i+1:i+3], "%02X", &v); err != nil {
				return ""
			}
			c = v
			i += 2
		}
		if c < ' ' || c > '~' {
			return ""
		}
		b.WriteByte(c)
	}
	return b.String()
}

func statusOf(err error) Status {
	var refusal *smtp.SMTPError
	if errors.As(err, &refusal) && refusal.Code >= 500 {
		return Refused
	}
	return Deferred
}

func text(err error) string {
	var refusal *smtp.SMTPError
	if errors.As(err, &refusal) {
		return fmt.Sprintf("%d %d.%d.%d %s", refusal.Code, refusal.EnhancedCode[0], refusal.EnhancedCode[1], refusal.EnhancedCode[2], refusal.Message)
	}
	return err.Error()
}
