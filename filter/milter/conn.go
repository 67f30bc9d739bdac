package milter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	gomilter "github.com/emersion/go-milter"
)

// conn stands between the MTA's connection and the library. It cuts what the
// MTA sends into packets, has the session take and answer them, and leaves the
// library the negotiation and the end. It reads through one buffer, and it keeps
// what is written until the MTA would wait for it.
//
// All of it happens in one goroutine at a time, the library's until the session
// is taken away from that (work.take). Only the deadline of the net.Conn and its
// end are touched by others (Server.Shutdown).
type conn struct {
	net.Conn
	stream  io.ReadWriter // reads and writes the net.Conn
	server  *Server
	session *session
	quick   func() // acknowledges at once what was read; nil where that is of no use

	buf  []byte
	r, w int    // buf[r:w] was read and not yet looked at
	left []byte // what the library has still to read of the packet in hand

	out        []byte
	negotiated bool
	err        error // why nothing more is read or written

	readUntil, writeUntil time.Time // the deadlines that net.Conn has
}

var (
	errProtocol = errors.New("the MTA broke the milter protocol")
	errIdle     = errors.New("the MTA said nothing for too long")
	errDrained  = errors.New("the server is shutting down")
)

// The read buffer is small between messages, and borrowed when packets are long.
const (
	smallBuffer = 16 << 10
	largeBuffer = 128 << 10
)

// lateWrite is the part of Options.WriteTimeout by which a write may end early, so
// that not each of them sets a timer.
const lateWrite = 32

func newConn(nc net.Conn, s *Server) *conn {
	return &conn{Conn: nc, stream: streamOf(nc), server: s, quick: quickAck(nc), buf: make([]byte, smallBuffer)}
}

// offer reads the first packet, which has to be the MTA's offer, and leaves it
// for the library to read again.
func (c *conn) offer() (terms, error) {
	frame, err := c.packet()
	if err != nil {
		return terms{}, err
	}
	if code := frame[headBytes]; gomilter.Code(code) != gomilter.CodeOptNeg {
		return terms{}, fmt.Errorf("%w: it began with %q instead of its offer", errProtocol, code)
	}
	t, err := parseOffer(frame[headBytes+1:])
	if err != nil {
		return terms{}, fmt.Errorf("%w: %w", errProtocol, err)
	}
	c.left = frame
	return t, nil
}

// Read gives the library the packets that are for it. When there is nothing
// more to read it says io.EOF whatever the reason was, since the library would
// write any other to standard error; the session has logged it.
func (c *conn) Read(p []byte) (int, error) {
	for len(c.left) == 0 {
		if c.err == nil {
			c.fail(c.next())
		}
		if c.err != nil {
			return 0, io.EOF
		}
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}

// next takes one packet and answers it. The library gets the last one of a session.
func (c *conn) next() error {
	frame, err := c.packet()
	if err != nil {
		return err
	}
	code := gomilter.Code(frame[headBytes])
	if err := c.session.take(code, frame[headBytes+1:]); err != nil {
		return err
	}
	if code == gomilter.CodeQuit {
		c.left = frame
		return nil
	}
	if r := c.session.reply(code); r != nil {
		m := r.Response()
		c.write(m.Code, m.Data)
	}
	return nil
}

// packet reads one packet and gives it whole, with its length and its code. It
// is valid until the next call.
func (c *conn) packet() ([]byte, error) {
	if err := c.need(headBytes + 1); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(c.buf[c.r:])
	code := c.buf[c.r+headBytes]
	if limit := packetLimit(gomilter.Code(code)); length == 0 || length > limit {
		return nil, fmt.Errorf("%w: a packet %q of %d bytes, where 1 to %d are possible", errProtocol, code, length, limit)
	}
	size := headBytes + int(length)
	if err := c.need(size); err != nil {
		return nil, err
	}
	frame := c.buf[c.r : c.r+size]
	c.r += size
	return frame, nil
}

func packetLimit(code gomilter.Code) uint32 {
	switch code {
	case gomilter.CodeHeader, gomilter.CodeBody, gomilter.CodeEOB:
		return maxContentPacket
	}
	return maxCommandPacket
}

// need reads until n bytes are there. The buffer grows with what has arrived,
// not with what a packet's length claims.
func (c *conn) need(n int) error {
	if c.r == c.w {
		c.r, c.w = 0, 0
		if len(c.buf) > smallBuffer && !c.session.open() {
			c.lend(make([]byte, smallBuffer))
		}
	}
	for c.w-c.r < n {
		if len(c.buf)-c.r < n && c.r > 0 {
			c.w = copy(c.buf, c.buf[c.r:c.w])
			c.r = 0
		}
		switch {
		case c.w < len(c.buf):
		case len(c.buf) < largeBuffer:
			c.lend(*c.server.buffers.Get().(*[]byte))
		default:
			c.lend(make([]byte, 2*len(c.buf)))
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
	return nil
}

// lend goes over to another buffer; what was read moves along.
func (c *conn) lend(buf []byte) {
	old := c.buf
	c.w = copy(buf, old[c.r:c.w])
	c.r = 0
	c.buf = buf
	if len(old) == largeBuffer {
		c.server.buffers.Put(&old)
	}
}

// fill reads what is there, after it has sent what the MTA may be waiting for.
func (c *conn) fill() error {
	if err := c.flush(); err != nil {
		return err
	}
	partial := c.r != c.w
	now := time.Now()
	deadline := now.Add(c.session.patience(partial))
	for {
		// One that passes too early is waited beyond: that costs less than to set one
		// for each read.
		if !c.readUntil.After(now) || c.readUntil.After(deadline) {
			if err := c.SetReadDeadline(deadline); err != nil {
				return err
			}
			c.readUntil = deadline
		}
		// Looked at after the deadline was set: Shutdown first says that it
		// drains and then makes the deadline pass, so one of the two is seen.
		if c.server.draining() && !partial && !c.session.open() {
			return errDrained
		}
		n, err := c.stream.Read(c.buf[c.w:])
		c.w += n
		if n > 0 {
			if c.quick != nil {
				c.quick()
			}
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		if !time.Now().Before(deadline) {
			return errIdle
		}
		c.readUntil = time.Time{}
	}
}

// Write keeps what the library writes for flush. It puts the right protocol
// version into the answer to the MTA's offer: the library says 2 whatever was
// offered, and a client may refuse the flags of version 6 in that.
func (c *conn) Write(p []byte) (int, error) {
	c.out = append(c.out, p...)
	if !c.negotiated && len(p) >= headBytes+1+4 {
		binary.BigEndian.PutUint32(c.out[len(c.out)-len(p)+headBytes+1:], c.session.agreed.version)
		c.negotiated = true
	}
	return len(p), nil
}

// write adds a packet of our own to what is to be sent.
func (c *conn) write(code byte, data []byte) {
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(1+len(data)))
	c.out = append(c.out, code)
	c.out = append(c.out, data...)
}

// progress tells the MTA that work goes on.
func (c *conn) progress() error {
	c.write(actProgress, nil)
	c.fail(c.flush())
	return c.err
}

// flush sends what was kept. Its deadline is set when the one before would come
// too early by more than a part of the whole.
func (c *conn) flush() error {
	if c.err != nil {
		return c.err
	}
	if len(c.out) == 0 {
		return nil
	}
	var err error
	timeout := c.server.opts.WriteTimeout
	if deadline := time.Now().Add(timeout); deadline.Sub(c.writeUntil) > timeout/lateWrite {
		err = c.SetWriteDeadline(deadline)
		c.writeUntil = deadline
	}
	if err == nil {
		_, err = c.stream.Write(c.out)
	}
	c.out = c.out[:0]
	if cap(c.out) > smallBuffer {
		c.out = nil
	}
	if err != nil {
		return fmt.Errorf("writing to the MTA: %w", err)
	}
	return nil
}

// fail notes why the connection is of no use any more.
func (c *conn) fail(err error) {
	if err != nil && c.err == nil {
		c.err = err
		c.session.ended(err)
	}
}

// libraryConn is what the library holds of a connection, in its goroutine.
type libraryConn struct {
	*conn
	worker *worker
}

// Close ends the session, if it is still the library's. The library calls it
// once, as the last thing it does.
func (c *libraryConn) Close() error {
	if c.worker.lost {
		return nil
	}
	return c.conn.Close()
}

// serve goes on with a session where a message was answered, without the library.
func (c *conn) serve(answer gomilter.Response) {
	m := answer.Response()
	c.write(m.Code, m.Data)
	for len(c.left) == 0 && c.err == nil { // what is left is for the library: its goodbye
		c.fail(c.next())
	}
}

// Close sends what is left to send and ends the session.
func (c *conn) Close() error {
	if c.err == nil {
		c.fail(c.flush())
	}
	err := c.Conn.Close()
	if len(c.buf) == largeBuffer {
		c.server.buffers.Put(&c.buf)
	}
	c.session.close()
	c.server.remove(c)
	return err
}
