package smtptest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Options says how a Client connects. The zero value is an SMTP client on loopback.
type Options struct {
	Network string        // "unix" for the path of a socket; default "tcp"
	LocalIP string        // source address, such as "127.0.0.99"
	Helo    string        // default "client.test"
	LMTP    bool          // LHLO, and one final reply for each accepted recipient
	Timeout time.Duration // for one reply; default a minute

	// XClient is what Postfix shall take the client for, as
	// smtpd_authorized_xclient_hosts allows: "ADDR=203.0.113.9 NAME=mail.example
	// HELO=mail.example LOGIN=alice PROTO=ESMTP". Empty: nothing.
	XClient string

	// User and Password are for AUTH PLAIN, when User is not empty.
	User, Password string
}

// Client is one connection. It is for one goroutine.
type Client struct {
	conn       net.Conn
	r          *bufio.Reader
	o          Options
	extensions map[string]string
}

// Reply is an SMTP reply.
type Reply struct {
	Code int
	Text string // without codes, lines joined by "\n"
}

// String gives the reply on one line.
func (r Reply) String() string {
	return fmt.Sprintf("%d %s", r.Code, strings.ReplaceAll(r.Text, "\n", " / "))
}

// OK reports whether the reply is a success (2xx).
func (r Reply) OK() bool { return r.Code/100 == 2 }

// Dial connects, reads the greeting, says EHLO (or LHLO), and does what the
// Options ask for.
func Dial(ctx context.Context, addr string, o Options) (*Client, error) {
	if o.Network == "" {
		o.Network = "tcp"
	}
	if o.Helo == "" {
		o.Helo = "client.test"
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	var d net.Dialer
	if o.LocalIP != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(o.LocalIP)}
	}
	conn, err := d.DialContext(ctx, o.Network, addr)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, r: bufio.NewReader(conn), o: o}
	if err := c.hello(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

func (c *Client) hello() error {
	if r, err := c.read(); err != nil || !r.OK() {
		return failed("greeting", r, err)
	}
	if err := c.ehlo(); err != nil {
		return err
	}
	if c.o.XClient != "" {
		if r, err := c.Command("XCLIENT " + c.o.XClient); err != nil || !r.OK() {
			return failed("XCLIENT", r, err)
		}
		if err := c.ehlo(); err != nil { // the session begins anew
			return err
		}
	}
	if c.o.User != "" {
		plain := base64.StdEncoding.EncodeToString([]byte("\x00" + c.o.User + "\x00" + c.o.Password))
		if r, err := c.Command("AUTH PLAIN " + plain); err != nil || !r.OK() {
			return failed("AUTH", r, err)
		}
	}
	return nil
}

func (c *Client) ehlo() error {
	verb := "EHLO"
	if c.o.LMTP {
		verb = "LHLO"
	}
	r, err := c.Command(verb + " " + c.o.Helo)
	if err != nil || !r.OK() {
		return failed(verb, r, err)
	}
	c.extensions = map[string]string{}
	for i, line := range strings.Split(r.Text, "\n") {
		if i > 0 {
			name, args, _ := strings.Cut(line, " ")
			c.extensions[strings.ToUpper(name)] = args
		}
	}
	return nil
}

func failed(what string, r Reply, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s refused: %s", what, r)
}

// Extension gives the arguments of an extension that the server offers.
func (c *Client) Extension(name string) (args string, offered bool) {
	args, offered = c.extensions[strings.ToUpper(name)]
	return args, offered
}

// Command sends one line, to which CRLF is added, and gives the reply.
func (c *Client) Command(line string) (Reply, error) {
	if err := c.Write([]byte(line + "\r\n")); err != nil {
		return Reply{}, err
	}
	return c.read()
}

// Write sends bytes as they are.
func (c *Client) Write(p []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.o.Timeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(p)
	return err
}

// Read gives the next reply, for what was sent by Write.
func (c *Client) Read() (Reply, error) { return c.read() }

func (c *Client) read() (Reply, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.o.Timeout)); err != nil {
		return Reply{}, err
	}
	var reply Reply
	for n := 0; ; n++ {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return reply, err
		}
		text := string(bytes.TrimRight(line, "\r\n"))
		code, err := strconv.Atoi(text[:min(3, len(text))])
		if err != nil || n > 100 {
			return reply, fmt.Errorf("not a reply: %q", text)
		}
		reply.Code = code
		if n > 0 {
			reply.Text += "\n"
		}
		if len(text) <= 3 {
			return reply, nil
		}
		reply.Text += text[4:]
		if text[3] != '-' {
			return reply, nil
		}
	}
}

// Mail is a message and its envelope.
type Mail struct {
	From     string   // without angle brackets; empty is the null sender
	FromArgs string   // "BODY=8BITMIME SMTPUTF8"
	To       []string // without angle brackets
	ToArgs   []string // "NOTIFY=NEVER", in the order of To; may be shorter
	Data     []byte   // as it shall arrive; CRLF is added when it does not end with it
	Raw      bool     // Data is sent as it is, without dots stuffed and without the final dot
	Pipeline bool     // commands up to DATA are sent at once (RFC 2920)
}

// Result is how a transaction went. Replies that were never asked for are zero.
type Result struct {
	Mail  Reply
	Rcpt  []Reply // in the order of Mail.To
	Data  Reply   // to DATA
	Final []Reply // to the final dot: one; by LMTP one for each accepted recipient
}

// Accepted reports whether the message was taken, by LMTP for all recipients.
func (r Result) Accepted() bool {
	for _, f := range r.Final {
		if !f.OK() {
			return false
		}
	}
	return len(r.Final) > 0
}

// Code gives the code of the last reply that there was.
func (r Result) Code() int {
	switch {
	case len(r.Final) > 0:
		return r.Final[len(r.Final)-1].Code
	case r.Data.Code != 0:
		return r.Data.Code
	case len(r.Rcpt) > 0:
		return r.Rcpt[len(r.Rcpt)-1].Code
	}
	return r.Mail.Code
}

// QueueID gives the ID that Postfix ("queued as ID") or Sendmail ("ID Message
// accepted") names in its final reply; empty when there is none.
func (r Result) QueueID() string {
	if !r.Accepted() {
		return ""
	}
	text := r.Final[0].Text
	if _, id, ok := strings.Cut(text, "queued as "); ok {
		return id
	}
	before, _, ok := strings.Cut(text, " Message accepted")
	if !ok {
		return ""
	}
	return before[strings.LastIndexByte(before, ' ')+1:]
}

// Send does one transaction. A refused recipient does not end it as long as
// another one is taken; when nothing is, the session is reset and the connection
// stays open for the next one. The error is one of the connection.
func (c *Client) Send(m Mail) (Result, error) {
	r, err := c.Begin(m)
	if err != nil || r.Data.Code != 354 {
		return r, err
	}
	if err := c.Write(m.wire()); err != nil {
		return r, err
	}
	r.Final, err = c.Finals(r)
	return r, err
}

// Begin does a transaction up to the reply to DATA. When that is 354, the
// content is awaited.
func (c *Client) Begin(m Mail) (Result, error) {
	commands := []string{withArgs("MAIL FROM", m.From, m.FromArgs)}
	for i, to := range m.To {
		args := ""
		if i < len(m.ToArgs) {
			args = m.ToArgs[i]
		}
		commands = append(commands, withArgs("RCPT TO", to, args))
	}
	begin := c.inTurn
	if m.Pipeline {
		begin = c.atOnce
	}
	r, err := begin(commands)
	if err == nil && r.Data.Code != 354 {
		_, err = c.Command("RSET")
	}
	return r, err
}

// inTurn sends a command when the one before has been answered.
func (c *Client) inTurn(commands []string) (r Result, err error) {
	if r.Mail, err = c.Command(commands[0]); err != nil || !r.Mail.OK() {
		return r, err
	}
	for _, command := range commands[1:] {
		reply, err := c.Command(command)
		if err != nil {
			return r, err
		}
		r.Rcpt = append(r.Rcpt, reply)
	}
	if r.recipients() > 0 {
		r.Data, err = c.Command("DATA")
	}
	return r, err
}

// atOnce sends all commands before it reads a reply.
func (c *Client) atOnce(commands []string) (r Result, err error) {
	if err := c.Write([]byte(strings.Join(commands, "\r\n") + "\r\nDATA\r\n")); err != nil {
		return r, err
	}
	if r.Mail, err = c.read(); err != nil {
		return r, err
	}
	for range commands[1:] {
		reply, err := c.read()
		if err != nil {
			return r, err
		}
		r.Rcpt = append(r.Rcpt, reply)
	}
	r.Data, err = c.read()
	return r, err
}

// recipients counts the accepted ones.
func (r Result) recipients() int {
	n := 0
	for _, reply := range r.Rcpt {
		if reply.OK() {
			n++
		}
	}
	return n
}

// Finals reads what follows the content of the message that r began.
func (c *Client) Finals(r Result) ([]Reply, error) {
	n := 1
	if c.o.LMTP {
		n = r.recipients()
	}
	var finals []Reply
	for range n {
		reply, err := c.read()
		if err != nil {
			return finals, err
		}
		finals = append(finals, reply)
	}
	return finals, nil
}

// SendAndDrop does one transaction and closes the connection instead of reading
// the final reply: an answer that is lost. Without the final dot (complete
// false) the server has no whole message.
func (c *Client) SendAndDrop(m Mail, complete bool) error {
	r, err := c.Begin(m)
	if err != nil {
		return err
	}
	if r.Data.Code != 354 {
		return fmt.Errorf("not taken: %v", r)
	}
	wire := m.wire()
	if !complete {
		wire = bytes.TrimSuffix(wire, []byte(".\r\n"))
	}
	return errors.Join(c.Write(wire), c.Close())
}

// Wire gives the content as it is sent: dots stuffed, and the final dot (RFC
// 5321 section 4.5.2). A dot after a bare LF is stuffed too, since Postfix and
// Sendmail take that for the end of a line.
func (m Mail) wire() []byte {
	if m.Raw {
		return m.Data
	}
	out := make([]byte, 0, len(m.Data)+len(m.Data)/64+5)
	start := true
	for _, b := range m.Data {
		if start && b == '.' {
			out = append(out, '.')
		}
		out = append(out, b)
		start = b == '\n'
	}
	if !bytes.HasSuffix(out, []byte("\r\n")) {
		out = append(out, "\r\n"...)
	}
	return append(out, ".\r\n"...)
}

func withArgs(verb, addr, args string) string {
	line := verb + ":<" + addr + ">"
	if args != "" {
		line += " " + args
	}
	return line
}

// Quit says QUIT and closes the connection.
func (c *Client) Quit() error {
	_, err := c.Command("QUIT")
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, c.Close())
}

// Close drops the connection without a word.
func (c *Client) Close() error { return c.conn.Close() }
