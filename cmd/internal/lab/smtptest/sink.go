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
	"slices"
	"strings"
	"sync"
	"time"
)

// messageMax is the largest message that a sink takes, in bytes.
const messageMax = 512 << 20

// SinkOptions says where a Sink listens and what it answers. The zero value is
// an SMTP server on a free port of 127.0.0.1 that takes everything.
type SinkOptions struct {
	Network string // "unix" for the path of a socket; default "tcp"
	Addr    string // default "127.0.0.1:0"
	LMTP    bool

	// User and Password must be given by AUTH PLAIN before MAIL, when User is
	// not empty.
	User, Password string

	// OnRcpt and OnData give the reply to a recipient, and to a message: by LMTP
	// it is asked for each recipient, by SMTP for the last one only. The zero
	// Reply is the usual one. A Reply with the code Drop closes the connection
	// without a word. They may be called by several goroutines.
	OnRcpt func(to string) Reply
	OnData func(m Message, to string) Reply

	// Forget drops the content of messages once they are counted, for load.
	Forget bool
}

// Drop is the code of a Reply that closes the connection instead: before the
// message is recorded when OnRcpt says it, after it when OnData says it.
const Drop = -1

// Message is what a sink was given. It is recorded when its content is
// complete, whatever the answer.
type Message struct {
	Session  int // number of the connection, from 1
	Helo     string
	User     string // who authenticated
	From     string // without angle brackets
	FromArgs string
	To       []string // the accepted ones, without angle brackets
	ToArgs   []string
	Data     []byte // dots unstuffed; line ends as they came
	Replies  []Reply
	Time     time.Time
}

// Sink is an SMTP or LMTP server that records what it is given.
type Sink struct {
	o  SinkOptions
	ln net.Listener

	mu       sync.Mutex
	messages []Message
	count    int
	changed  chan struct{} // closed and made anew with each message
	sessions int
	conns    map[net.Conn]bool
	closed   bool
	done     sync.WaitGroup
}

// NewSink starts a Sink. Close ends it.
func NewSink(o SinkOptions) (*Sink, error) {
	if o.Network == "" {
		o.Network = "tcp"
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	ln, err := net.Listen(o.Network, o.Addr)
	if err != nil {
		return nil, err
	}
	s := &Sink{o: o, ln: ln, changed: make(chan struct{}), conns: map[net.Conn]bool{}}
	s.done.Go(s.accept)
	return s, nil
}

// Addr gives "ADDRESS:PORT", or the path of the socket.
func (s *Sink) Addr() string { return s.ln.Addr().String() }

// Hop gives the sink as a Postfix transport and next hop.
func (s *Sink) Hop() string {
	switch {
	case s.o.Network == "unix":
		return "lmtp:unix:" + s.Addr()
	case s.o.LMTP:
		return "lmtp:inet:" + s.Addr()
	}
	host, port, _ := strings.Cut(s.Addr(), ":")
	return "smtp:[" + host + "]:" + port
}

// Close ends the sink and its connections, and waits for them.
func (s *Sink) Close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	err := s.ln.Close()
	s.done.Wait()
	return err
}

// Messages gives what was recorded so far, in order of arrival.
func (s *Sink) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// Count gives how many messages came, forgotten ones included.
func (s *Sink) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// Reset forgets what was recorded.
func (s *Sink) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages, s.count = nil, 0
}

// Wait waits until at least n messages have come and gives them all.
func (s *Sink) Wait(ctx context.Context, n int) ([]Message, error) {
	for {
		s.mu.Lock()
		count, messages, changed := s.count, slices.Clone(s.messages), s.changed
		s.mu.Unlock()
		if count >= n {
			return messages, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return messages, fmt.Errorf("%d of %d messages came: %w", count, n, context.Cause(ctx))
		}
	}
}

func (s *Sink) accept() {
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.sessions++
		session := s.sessions
		s.conns[conn] = true
		if s.closed {
			_ = conn.Close()
		}
		s.mu.Unlock()
		s.done.Go(func() {
			x := &exchange{sink: s, conn: conn, r: bufio.NewReaderSize(conn, 64<<10), m: Message{Session: session}}
			x.serve()
			_ = conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

func (s *Sink) record(m Message) {
	if s.o.Forget {
		m.Data = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	if !s.o.Forget {
		s.messages = append(s.messages, m)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// An exchange is one connection to a sink.
type exchange struct {
	sink *Sink
	conn net.Conn
	r    *bufio.Reader
	m    Message
	mail bool // MAIL was taken
}

var errDropped = errors.New("dropped")

func (x *exchange) serve() {
	err := x.say(Reply{220, "sink.test ESMTP"})
	for err == nil {
		var line string
		if line, err = x.line(); err == nil {
			err = x.command(line)
		}
	}
}

func (x *exchange) line() (string, error) {
	line, err := x.r.ReadSlice('\n')
	return string(bytes.TrimRight(line, "\r\n")), err
}

// say writes a reply. Replies wait for each other while commands are pipelined.
func (x *exchange) say(r Reply) error {
	if r.Code == Drop {
		return errDropped
	}
	var b bytes.Buffer
	lines := strings.Split(r.Text, "\n")
	for i, l := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		fmt.Fprintf(&b, "%d%s%s\r\n", r.Code, sep, l)
	}
	_, err := x.conn.Write(b.Bytes())
	return err
}

func (x *exchange) command(line string) error {
	verb, args, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO", "LHLO":
		x.m.Helo = args
		x.reset()
		text := "sink.test\nPIPELINING\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES\nDSN\nSIZE"
		if x.sink.o.User != "" {
			text += "\nAUTH PLAIN"
		}
		return x.say(Reply{250, text})
	case "HELO":
		x.m.Helo = args
		x.reset()
		return x.say(Reply{250, "sink.test"})
	case "AUTH":
		return x.auth(args)
	case "MAIL":
		return x.from(args)
	case "RCPT":
		return x.rcpt(args)
	case "DATA":
		return x.data()
	case "RSET":
		x.reset()
		return x.say(Reply{250, "2.0.0 reset"})
	case "NOOP":
		return x.say(Reply{250, "2.0.0 ok"})
	case "QUIT":
		return errors.Join(x.say(Reply{221, "2.0.0 bye"}), io.EOF)
	}
	return x.say(Reply{500, "5.5.2 unknown command"})
}

func (x *exchange) reset() {
	x.mail = false
	x.m.From, x.m.FromArgs, x.m.To, x.m.ToArgs, x.m.Data, x.m.Replies = "", "", nil, nil, nil, nil
}

func (x *exchange) auth(args string) error {
	mech, response, _ := strings.Cut(args, " ")
	if x.sink.o.User == "" || !strings.EqualFold(mech, "PLAIN") {
		return x.say(Reply{504, "5.5.4 mechanism not offered"})
	}
	if response == "" {
		if err := x.say(Reply{334, ""}); err != nil {
			return err
		}
		var err error
		if response, err = x.line(); err != nil {
			return err
		}
	}
	plain, err := base64.StdEncoding.DecodeString(response)
	parts := strings.Split(string(plain), "\x00")
	if err != nil || len(parts) != 3 || parts[1] != x.sink.o.User || parts[2] != x.sink.o.Password {
		return x.say(Reply{535, "5.7.8 wrong user or password"})
	}
	x.m.User = parts[1]
	return x.say(Reply{235, "2.7.0 welcome"})
}

func (x *exchange) from(args string) error {
	addr, rest, ok := path(args, "FROM:")
	switch {
	case !ok:
		return x.say(Reply{501, "5.5.4 not a path"})
	case x.mail:
		return x.say(Reply{503, "5.5.1 nested MAIL"})
	case x.sink.o.User != "" && x.m.User == "":
		return x.say(Reply{530, "5.7.0 authenticate first"})
	}
	x.mail, x.m.From, x.m.FromArgs = true, addr, rest
	return x.say(Reply{250, "2.1.0 ok"})
}

func (x *exchange) rcpt(args string) error {
	addr, rest, ok := path(args, "TO:")
	switch {
	case !ok:
		return x.say(Reply{501, "5.5.4 not a path"})
	case !x.mail:
		return x.say(Reply{503, "5.5.1 MAIL first"})
	}
	reply := Reply{250, "2.1.5 ok"}
	if x.sink.o.OnRcpt != nil {
		if r := x.sink.o.OnRcpt(addr); r != (Reply{}) {
			reply = r
		}
	}
	if reply.OK() {
		x.m.To, x.m.ToArgs = append(x.m.To, addr), append(x.m.ToArgs, rest)
	}
	return x.say(reply)
}

// path reads "FROM:<address> arguments".
func path(args, prefix string) (addr, rest string, ok bool) {
	if len(args) < len(prefix) || !strings.EqualFold(args[:len(prefix)], prefix) {
		return "", "", false
	}
	args = strings.TrimLeft(args[len(prefix):], " ")
	if !strings.HasPrefix(args, "<") {
		return "", "", false
	}
	end := strings.LastIndexByte(args, '>')
	if end < 0 {
		return "", "", false
	}
	return args[1:end], strings.TrimSpace(args[end+1:]), true
}

func (x *exchange) data() error {
	if len(x.m.To) == 0 {
		return x.say(Reply{503, "5.5.1 RCPT first"})
	}
	if err := x.say(Reply{354, "end with a dot"}); err != nil {
		return err
	}
	data, err := x.content()
	if err != nil {
		return err
	}
	m := x.m
	m.Data, m.Time = data, time.Now()
	asked := m.To
	if !x.sink.o.LMTP {
		asked = m.To[len(m.To)-1:]
	}
	for _, to := range asked {
		reply := Reply{250, "2.0.0 <" + to + "> taken"}
		if x.sink.o.OnData != nil {
			if r := x.sink.o.OnData(m, to); r != (Reply{}) {
				reply = r
			}
		}
		m.Replies = append(m.Replies, reply)
	}
	x.reset()
	x.sink.record(m)
	for _, r := range m.Replies {
		if err := x.say(r); err != nil {
			return err
		}
	}
	return nil
}

// content reads up to the final dot and unstuffs the others.
func (x *exchange) content() ([]byte, error) {
	var data []byte
	start := true // of a line
	for {
		chunk, err := x.r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if start && chunk[0] == '.' {
			if string(chunk) == ".\r\n" || string(chunk) == ".\n" {
				return data, nil
			}
			chunk = chunk[1:]
		}
		start = err == nil
		if len(data)+len(chunk) > messageMax {
			return nil, errors.New("message too large")
		}
		data = append(data, chunk...)
	}
}
