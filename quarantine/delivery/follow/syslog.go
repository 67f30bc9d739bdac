package follow

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// SyslogOptions says where lines of other hosts are taken.
type SyslogOptions struct {
	Network string         // "tcp" (RFC 6587), "tls" (RFC 5425) or "udp" (RFC 5426); required
	Address string         // "ADDRESS:PORT"; required
	From    []netip.Prefix // who may send; empty: this host alone
	TLS     *tls.Config    // for "tls": it has to ask for certificates if those decide who may send
	MaxPeer int            // connections at once; 64 if 0
}

// Syslog takes lines that syslog daemons of other hosts send. What they send
// while nobody listens is theirs to keep: over UDP it is lost.
type Syslog struct{ o SyslogOptions }

// NewSyslog checks the options. The address is taken when Run begins.
func NewSyslog(o SyslogOptions) (*Syslog, error) {
	if _, err := netip.ParseAddrPort(o.Address); err != nil {
		return nil, fmt.Errorf("follow: syslog address: %w", err)
	}
	if o.MaxPeer == 0 {
		o.MaxPeer = 64
	}
	if len(o.From) == 0 {
		o.From = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	switch o.Network {
	case "tcp", "udp":
	case "tls":
		if o.TLS == nil || len(o.TLS.Certificates) == 0 {
			return nil, errors.New("follow: syslog over TLS needs a certificate")
		}
	default:
		return nil, fmt.Errorf("follow: syslog over %q: it is tcp, tls or udp", o.Network)
	}
	return &Syslog{o: o}, nil
}

// Name implements Source.
func (s *Syslog) Name() string { return syslogPrefix + s.o.Network + ":" + s.o.Address }

// Bounds on what waits to be taken.
const (
	maxWaiting  = 4096         // lines
	maxDatagram = 64 << 10     // bytes
	udpBuffer   = 4 << 20      // that the kernel keeps for us, as far as it lets
	maxCount    = len("99999") // digits of a frame's length
)

// intake is what was taken and not yet emitted.
type intake struct {
	lines   chan []byte  // cloned
	tooLong atomic.Int64 // or, of datagrams, more than there was room for
}

// Run implements Source. It ends with an error when the address cannot be
// listened on. There is no position to go on from.
func (s *Syslog) Run(ctx context.Context, _ []byte, emit Emit) error {
	ctx, cancel := context.WithCancel(ctx)
	in := &intake{lines: make(chan []byte, maxWaiting)}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	defer cancel()
	failed := make(chan error, 1)
	take, err := s.open(ctx, in)
	if err != nil {
		return err
	}
	tasks.Go(func() { failed <- take() })
	// Whoever waited for the source sees that it is there.
	if err := emit(Batch{AsOf: time.Now()}); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case line := <-in.lines:
			if err := emit(in.batch(line)); err != nil {
				return err
			}
		}
	}
}

// batch gives a line and what waits behind it.
func (in *intake) batch(first []byte) Batch {
	b := Batch{AsOf: time.Now(), TooLong: int(in.tooLong.Swap(0))}
	b.add(first)
	for len(b.Lines) < maxLines {
		select {
		case line := <-in.lines:
			b.add(line)
		default:
			return b
		}
	}
	return b
}

// open listens, and gives what then takes lines until the context ends.
func (s *Syslog) open(ctx context.Context, in *intake) (take func() error, err error) {
	var c net.ListenConfig
	if s.o.Network == "udp" {
		conn, err := c.ListenPacket(ctx, "udp", s.o.Address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		return func() error { return s.datagrams(conn.(*net.UDPConn), in) }, nil
	}
	l, err := c.Listen(ctx, "tcp", s.o.Address)
	if err != nil {
		return nil, err
	}
	if s.o.Network == "tls" {
		l = tls.NewListener(l, s.o.TLS)
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	return func() error { return s.connections(ctx, l, in) }, nil
}

func (s *Syslog) admits(a net.Addr) bool {
	var addr netip.Addr
	switch a := a.(type) {
	case *net.TCPAddr:
		addr = a.AddrPort().Addr()
	case *net.UDPAddr:
		addr = a.AddrPort().Addr()
	}
	addr = addr.Unmap().WithZone("")
	for _, p := range s.o.From {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

func (s *Syslog) datagrams(conn *net.UDPConn, in *intake) error {
	_ = conn.SetReadBuffer(udpBuffer) // less is no reason not to listen
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := conn.ReadFromUDP(buf)
		if err != nil {
			return err
		}
		if !s.admits(from) {
			continue
		}
		line := trimEnd(bytes.TrimRight(buf[:n], "\n\x00"))
		if len(line) > MaxLine {
			in.tooLong.Add(1)
			continue
		}
		select {
		case in.lines <- bytes.Clone(line):
		default:
			in.tooLong.Add(1)
		}
	}
}

func (s *Syslog) connections(ctx context.Context, l net.Listener, in *intake) error {
	var peers sync.WaitGroup
	defer peers.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	free := make(chan struct{}, s.o.MaxPeer)
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		select {
		case free <- struct{}{}:
		default:
			_ = conn.Close() // there are as many as may be
			continue
		}
		if !s.admits(conn.RemoteAddr()) {
			_ = conn.Close()
			<-free
			continue
		}
		peers.Go(func() {
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			// What a peer sends that is no syslog ends its connection; it comes again.
			_ = frames(bufio.NewReaderSize(conn, 64<<10), func(line []byte) bool {
				select {
				case in.lines <- bytes.Clone(line):
					return true
				case <-ctx.Done():
					return false
				}
			}, func() { in.tooLong.Add(1) })
			stop()
			_ = conn.Close()
			<-free
		})
	}
}

var errFrame = errors.New("not a syslog frame")

// frames reads messages framed in either way of RFC 6587 section 3.4, each as it
// begins: with a count of its octets, or ended by LF. It gives the first error
// of r, or errFrame.
func frames(r *bufio.Reader, line func([]byte) bool, tooLong func()) error {
	for {
		first, err := r.ReadByte()
		if err != nil {
			return err
		}
		switch {
		case first == '\n' || first == '\r' || first == 0:
			continue
		case first >= '1' && first <= '9':
			err = counted(r, first, line, tooLong)
		case first == '<':
			_ = r.UnreadByte() // it was just read
			err = ended(r, line, tooLong)
		default:
			err = errFrame
		}
		if err != nil {
			return err
		}
	}
}

func counted(r *bufio.Reader, first byte, line func([]byte) bool, tooLong func()) error {
	n := int(first - '0')
	for digits := 1; ; digits++ {
		c, err := r.ReadByte()
		if err != nil {
			return err
		}
		if c == ' ' {
			break
		}
		if c < '0' || c > '9' || digits == maxCount {
			return errFrame
		}
		n = 10*n + int(c-'0')
	}
	if n > MaxLine {
		tooLong()
		_, err := io.CopyN(io.Discard, r, int64(n))
		return err
	}
	buf := make([]byte, n)
	if _, err := io.ReadFull(r, buf); err != nil {
		return err
	}
	if !line(trimEnd(bytes.TrimRight(buf, "\n\x00"))) {
		return io.EOF
	}
	return nil
}

func ended(r *bufio.Reader, line func([]byte) bool, tooLong func()) error {
	var s splitter
	for {
		part, err := r.ReadSlice('\n')
		more := true
		_, n := s.feed(part, func(l []byte) { more = line(l) })
		if n > 0 {
			tooLong()
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return err
		case !more:
			return io.EOF
		}
		return nil
	}
}

// parseSyslog reads what follows "syslog:".
func parseSyslog(text string, o SyslogOptions) (Source, error) {
	network, address, _ := strings.Cut(text, ":")
	o.Network, o.Address = network, address
	return NewSyslog(o)
}
