// Package miltertest plays the MTA's side of the milter protocol, for tests,
// demonstrations and load: it hands a milter messages as Postfix or Sendmail
// would and gives back what the milter answered. It is fast enough to measure a
// milter with, and it knows nothing of this module's milter.
//
// A Session is one connection, which stands for one SMTP session:
//
//	s, err := miltertest.Dial("unix", "/run/weir.sock", miltertest.Options{})
//	…
//	defer s.Close()
//	err = s.Connect(miltertest.Client{Name: "mail.example", Addr: addr, Helo: "mail.example"})
//	…
//	result, err := s.Send(&miltertest.Message{From: "<a@example>", To: []miltertest.Recipient{{Address: "<b@example>"}}, Raw: raw})
package miltertest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Terms is one side's part of the negotiation: the protocol version, the actions
// (SMFIF_ bits) and the protocol flags (SMFIP_ bits).
type Terms struct {
	Version, Actions, Protocol uint32
}

// Postfix is what Postfix 3.7 and Sendmail 8.17 offer.
func Postfix() Terms { return Terms{6, 0x1ff, 0x1fffff} }

// Version2 is what MTAs of old offer, and Postfix with milter_protocol = 2.
func Version2() Terms { return Terms{2, 0x3f, 0x7f} }

// Options says how a Session behaves. Zero values are good.
type Options struct {
	Offer   Terms         // zero: Postfix()
	Timeout time.Duration // for each read and write; zero: one minute

	// WriteBytes is the most that is written at once, so that a message comes in
	// pieces as from an MTA, which has a small buffer. Zero: all at once.
	WriteBytes int
}

// Client is the SMTP client that a session stands for.
type Client struct {
	Name   string         // "[192.0.2.1]" when the name is unknown
	Addr   netip.AddrPort // invalid: the address family "unknown", as for Sendmail's -bs
	Helo   string
	Macros []string // of the connection: names and values in turn
	TLS    string   // {tls_version}; empty without TLS
}

// Recipient is one RCPT.
type Recipient struct {
	Address string // as written, with angle brackets
	Args    []string
}

// Message is one message with its envelope.
type Message struct {
	QueueID  string
	From     string // as written, with angle brackets
	FromArgs []string
	AuthUser string // {auth_authen}; empty without authentication
	AuthMech string
	To       []Recipient
	Raw      []byte // header, blank line and body, with CRLF
}

// Session is a connection to a milter. It is for one goroutine at a time.
type Session struct {
	conn   net.Conn
	opts   Options
	in     *bufio.Reader
	out    []byte
	body   []byte // of the last packet read
	agreed Terms
	macros string // the macros that the milter asked for, as it sent them
}

// Protocol flags that change what is sent.
const (
	noHeaderReply = 1 << 7
	noData        = 1 << 9
	noConnReply   = 1 << 12
	noHeloReply   = 1 << 13
	noMailReply   = 1 << 14
	noRcptReply   = 1 << 15
	noDataReply   = 1 << 16
	noEOHReply    = 1 << 18
	noBodyReply   = 1 << 19
	leadingSpace  = 1 << 20
)

const (
	maxChunk   = 65535
	maxPacket  = 1 << 20
	maxPending = 256 << 10 // of a long message, before some of it is sent
)

// Dial connects to a milter and negotiates.
func Dial(network, address string, opts Options) (*Session, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	s, err := New(conn, opts)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return s, nil
}

// New negotiates over a connection.
func New(conn net.Conn, opts Options) (*Session, error) {
	if opts.Offer == (Terms{}) {
		opts.Offer = Postfix()
	}
	if opts.Timeout == 0 {
		opts.Timeout = time.Minute
	}
	s := &Session{conn: conn, opts: opts, in: bufio.NewReaderSize(conn, 16<<10)}
	offer := make([]byte, 0, 12)
	for _, n := range []uint32{opts.Offer.Version, opts.Offer.Actions, opts.Offer.Protocol} {
		offer = binary.BigEndian.AppendUint32(offer, n)
	}
	s.Put('O', offer)
	code, data, err := s.Read()
	if err != nil {
		return nil, fmt.Errorf("negotiating: %w", err)
	}
	if code != 'O' || len(data) < 12 {
		return nil, fmt.Errorf("negotiating: the milter answered with %q and %d bytes", code, len(data))
	}
	s.agreed = Terms{binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:]), binary.BigEndian.Uint32(data[8:])}
	s.macros = string(data[12:])
	a, o := s.agreed, opts.Offer
	if a.Version < 2 || a.Version > o.Version || a.Actions&^o.Actions != 0 || a.Protocol&^o.Protocol != 0 {
		return nil, fmt.Errorf("negotiating: the milter asks for %+v, which is more than the offered %+v", a, o)
	}
	return s, nil
}

// Agreed gives what was negotiated, and the macros that the milter asked for, as
// it sent them (SMFIR_SETSYMLIST: a stage's number in four bytes, names, NUL).
func (s *Session) Agreed() (Terms, string) { return s.agreed, s.macros }

// Connect tells the milter of the SMTP client and its HELO.
func (s *Session) Connect(c Client) error {
	s.Macros('C', c.Macros...)
	data := append([]byte(c.Name), 0)
	switch addr := c.Addr.Addr(); {
	case addr.Is4():
		data = append(data, '4')
	case addr.Is6():
		data = append(data, '6')
	default:
		data = append(data, 'U')
	}
	if c.Addr.IsValid() {
		data = binary.BigEndian.AppendUint16(data, c.Addr.Port())
		data = append(data, c.Addr.Addr().String()...)
		data = append(data, 0)
	}
	s.Put('C', data)
	if err := s.goOn(noConnReply); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if c.TLS != "" {
		s.Macros('H', "{tls_version}", c.TLS)
	}
	s.Put('H', append([]byte(c.Helo), 0))
	if err := s.goOn(noHeloReply); err != nil {
		return fmt.Errorf("helo: %w", err)
	}
	return nil
}

// Send hands the milter a message and gives its answer, which may come before
// the message's end.
func (s *Session) Send(m *Message) (Result, error) {
	r, err := s.send(m)
	if early, ok := errors.AsType[*earlyAnswer](err); ok {
		return early.Result, nil
	}
	return r, err
}

func (s *Session) send(m *Message) (Result, error) {
	if err := s.Envelope(m); err != nil {
		return Result{}, err
	}
	if err := s.Content(m); err != nil {
		return Result{}, err
	}
	return s.End()
}

// Envelope hands over the MAIL and RCPT of a message.
func (s *Session) Envelope(m *Message) error {
	// Postfix says the queue ID from the second recipient on.
	s.Macros('M', "{auth_authen}", m.AuthUser, "{auth_type}", m.AuthMech)
	s.put('M', m.From, m.FromArgs)
	if err := s.goOn(noMailReply); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	for i, rcpt := range m.To {
		if i > 0 {
			s.queueID('R', m)
		}
		s.put('R', rcpt.Address, rcpt.Args)
		if err := s.goOn(noRcptReply); err != nil {
			return fmt.Errorf("rcpt: %w", err)
		}
	}
	if s.opts.Offer.Version > 3 && s.agreed.Protocol&noData == 0 {
		s.Put('T', nil)
		if err := s.goOn(noDataReply); err != nil {
			return fmt.Errorf("data: %w", err)
		}
	}
	return nil
}

// Content hands over the header and the body of a message.
func (s *Session) Content(m *Message) error {
	header, body := m.Raw, []byte(nil)
	if bytes.HasPrefix(m.Raw, []byte("\r\n")) {
		header, body = nil, m.Raw[2:]
	} else if i := bytes.Index(m.Raw, []byte("\r\n\r\n")); i >= 0 {
		header, body = m.Raw[:i+2], m.Raw[i+4:]
	}
	for len(header) > 0 {
		var field []byte
		field, header = cutField(header)
		s.queueID('L', m)
		s.field(field)
		if err := s.goOn(noHeaderReply); err != nil {
			return fmt.Errorf("header: %w", err)
		}
	}
	s.queueID('N', m)
	s.Put('N', nil)
	if err := s.goOn(noEOHReply); err != nil {
		return fmt.Errorf("end of header: %w", err)
	}
	for len(body) > 0 {
		n := min(len(body), maxChunk)
		s.queueID('B', m)
		s.Put('B', body[:n])
		body = body[n:]
		if err := s.goOn(noBodyReply); err != nil {
			return fmt.Errorf("body: %w", err)
		}
		if len(s.out) > maxPending {
			if err := s.Flush(); err != nil {
				return fmt.Errorf("body: %w", err)
			}
		}
	}
	s.queueID('E', m)
	return nil
}

// End ends the message and reads the answer.
func (s *Session) End() (Result, error) {
	s.Put('E', nil)
	var r Result
	for {
		code, data, err := s.Read()
		if err != nil {
			return r, fmt.Errorf("end of message: %w", err)
		}
		if done, err := r.add(code, data); done || err != nil {
			return r, err
		}
	}
}

// Abort tells the milter to forget the message (RSET).
func (s *Session) Abort() error {
	s.Put('A', nil)
	return s.Flush()
}

// Close ends the session.
func (s *Session) Close() error {
	s.Put('Q', nil)
	return errors.Join(s.Flush(), s.conn.Close())
}

// Conn gives the connection, to break it.
func (s *Session) Conn() net.Conn { return s.conn }

// goOn waits for the answer to a command, unless it was agreed that there is
// none.
func (s *Session) goOn(silent uint32) error {
	if s.agreed.Protocol&silent != 0 {
		return nil
	}
	code, data, err := s.Read()
	if err != nil || code == 'c' {
		return err
	}
	var r Result
	if done, err := r.add(code, data); !done {
		return errors.Join(fmt.Errorf("the milter answered with %q", code), err)
	}
	return &earlyAnswer{r}
}
