package imap

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// minRate is how many bytes a second content has to move at least.
const minRate = 64 << 10

// slack is how many bytes a server may send to a command besides what was asked
// for: status, untagged news of the mailbox, a capability list.
const slack = 256 << 10

// maxDepth bounds how deep lists may be nested in an answer. The library goes down
// by recursion, and takes quadratic time to come back with an error.
const maxDepth = 64

// guard is a connection on which a server can make nobody wait for ever, fill the
// memory or wind up the stack: each command has a deadline and a number of bytes
// that the answers to it may have, and lists have a depth. The library sets
// deadlines of its own, response by response, which a server could draw out without
// end; they are ignored.
type guard struct {
	net.Conn
	first string // what is read before anything that the server says

	mu   sync.Mutex
	left int64
	form frame

	writing sync.Mutex
	held    []byte
	holding bool
	closed  atomic.Bool
}

// arm begins so many commands, whose content has so many bytes.
func (g *guard) arm(timeout time.Duration, commands int, content int64) {
	g.mu.Lock()
	g.left = content + int64(commands)*slack
	g.mu.Unlock()
	_ = g.Conn.SetDeadline(time.Now().Add(time.Duration(commands)*timeout + time.Duration(content/minRate)*time.Second))
}

// again has the answer to the next of several commands be there in time by itself.
func (g *guard) again(timeout time.Duration) { _ = g.Conn.SetDeadline(time.Now().Add(timeout)) }

// hold keeps what is written until release. Commands that leave in one piece are
// read and answered in one piece: apart, a server's second answer would wait for our
// delayed acknowledgement of the first.
func (g *guard) hold() {
	g.writing.Lock()
	defer g.writing.Unlock()
	g.holding = true
}

// release sends what was held. Where that fails, the connection is closed, so that
// nobody waits for an answer.
func (g *guard) release() {
	g.writing.Lock()
	defer g.writing.Unlock()
	g.holding = false
	if _, err := g.Conn.Write(g.held); err != nil {
		_ = g.Close()
	}
	g.held = g.held[:0]
}

// Write fails on a closed connection at once, also where it would only hold: the
// library ends the commands that wait when it closes, and later ones when they cannot
// be written. Held, one of those would be waited for without end.
func (g *guard) Write(p []byte) (int, error) {
	g.writing.Lock()
	defer g.writing.Unlock()
	if g.closed.Load() {
		return 0, net.ErrClosed
	}
	if g.holding {
		g.held = append(g.held, p...)
		return len(p), nil
	}
	return g.Conn.Write(p)
}

// Close implements net.Conn.
func (g *guard) Close() error {
	g.closed.Store(true)
	return g.Conn.Close()
}

// disarm ends a command: nobody waits.
func (g *guard) disarm() { _ = g.Conn.SetDeadline(time.Time{}) }

func (g *guard) Read(p []byte) (int, error) {
	if g.first != "" {
		n := copy(p, g.first)
		g.first = g.first[n:]
		return n, nil
	}
	g.mu.Lock()
	left := g.left
	g.mu.Unlock()
	if left <= 0 {
		return 0, errors.New("the server sends more than a command can ask for")
	}
	n, err := g.Conn.Read(p[:min(int64(len(p)), left)])
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left -= int64(n)
	if !g.form.follow(p[:n]) {
		g.left = 0
		return 0, errors.New("the server sends what is no answer of IMAP")
	}
	return n, err
}

// SetDeadline, SetReadDeadline and SetWriteDeadline do nothing; see guard.
func (*guard) SetDeadline(time.Time) error      { return nil }
func (*guard) SetReadDeadline(time.Time) error  { return nil }
func (*guard) SetWriteDeadline(time.Time) error { return nil }

// frame follows the form of a server's answers (RFC 9051 section 9): lines, in
// which there are lists, quoted strings, and literals that go over line ends. It
// knows no more than it takes to count the depth of lists as the library will.
type frame struct {
	head    [16]byte // of the line: enough for "* PREAUTH " and for tags as the library gives them
	length  int      // bytes of the line so far; only those up to len(head) count
	text    bool     // the line is a status or a continuation: free text
	quoted  bool
	escaped bool
	depth   int
	number  int64 // of a literal, while its braces are read; -1: none
	closed  bool  // the brace behind number was there
	literal int64 // bytes of a literal that are still to come
}

// follow takes what a server sends, piece by piece. It reports false once that
// cannot be an answer.
func (f *frame) follow(p []byte) bool {
	for len(p) > 0 {
		if f.literal > 0 {
			n := min(f.literal, int64(len(p)))
			f.literal -= n
			p = p[n:]
			continue
		}
		if !f.step(p[0]) {
			return false
		}
		p = p[1:]
	}
	return true
}

func (f *frame) step(c byte) bool {
	if f.length == 0 {
		f.number = -1
	}
	if f.length < len(f.head) {
		f.head[f.length] = c
		f.length++
		f.text = f.text || isText(f.head[:f.length])
	}
	switch {
	case c == '\n' && f.quoted:
		return false
	case c == '\n' && f.number >= 0 && f.closed:
		f.literal, f.number, f.closed = f.number, -1, false
	case c == '\n':
		*f = frame{number: -1}
	case f.text:
	case f.escaped:
		f.escaped = false
	case f.quoted:
		f.escaped, f.quoted = c == '\\', c != '"'
	case c == '"':
		f.quoted = true
	case c == '(':
		f.depth++
	case c == ')':
		f.depth--
	case c == '{':
		f.number, f.closed = 0, false
	case c == '}':
		f.closed = f.number >= 0
	case f.number >= 0 && !f.closed && '0' <= c && c <= '9':
		f.number = min(10*f.number+int64(c-'0'), 1<<40)
	case f.number >= 0 && c != ' ' && c != '\r':
		f.number, f.closed = -1, false
	}
	return f.depth <= maxDepth
}

// isText reports whether a line that begins so is free text behind that.
func isText(head []byte) bool {
	if len(head) == 1 {
		return head[0] == '+'
	}
	_, status, ok := bytes.Cut(head, []byte(" "))
	if !ok || len(status) == 0 || status[len(status)-1] != ' ' && status[len(status)-1] != '\r' && status[len(status)-1] != '\n' {
		return false
	}
	switch strings.ToUpper(string(bytes.TrimRight(status, " \r\n"))) {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		return true
	}
	return false
}
