package milter_test

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/message/spool"
	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/milter/miltertest"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
)

// heap is a message.Scratch in memory. It counts what was not closed.
type heap struct {
	mu     sync.Mutex
	open   int
	fail   error // of each Write
	failAt int   // when a buffer holds so much
}

func (h *heap) Buffer() message.Buffer {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open++
	return &heapBuffer{heap: h}
}

func (h *heap) leaked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

type heapBuffer struct {
	bytes.Buffer
	heap   *heap
	closed bool
}

func (b *heapBuffer) Write(p []byte) (int, error) {
	if b.heap.fail != nil && b.Len() >= b.heap.failAt {
		return 0, b.heap.fail
	}
	return b.Buffer.Write(p)
}

func (b *heapBuffer) Bytes() ([]byte, error) { return b.Buffer.Bytes(), nil }

func (b *heapBuffer) Close() error {
	b.heap.mu.Lock()
	defer b.heap.mu.Unlock()
	if b.closed {
		panic("a buffer was closed twice")
	}
	b.closed = true
	b.heap.open--
	return nil
}

// seen is one call of a handler.
type seen struct {
	envelope message.Envelope
	raw      string
	size     int64
	tooLarge bool
	err      error
}

// recorder is a Handler that keeps what it is given.
type recorder struct {
	mu     sync.Mutex
	calls  []seen
	answer func(ctx context.Context, m *milter.Mail) verdict.Answer // nil: accept
}

func (r *recorder) Handle(ctx context.Context, m *milter.Mail) verdict.Answer {
	r.mu.Lock()
	r.calls = append(r.calls, seen{*m.Envelope, string(m.Raw), m.Size, m.TooLarge, m.Err})
	answer := r.answer
	r.mu.Unlock()
	if answer != nil {
		return answer(ctx, m)
	}
	return verdict.Answer{Action: intel.ActionAccept}
}

func (r *recorder) set(answer func(context.Context, *milter.Mail) verdict.Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// take gives the calls so far and forgets them.
func (r *recorder) take() []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls
}

// service is a running Server.
type service struct {
	*recorder
	server  *milter.Server
	scratch *heap
	network string
	address string
	served  chan error
	stopped bool
}

// stop ends the server, in the given time, and checks that nothing is left of
// it.
func (s *service) stop(t testing.TB, patience time.Duration) error {
	t.Helper()
	s.stopped = true
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	shutdown := s.server.Shutdown(ctx)
	if err := <-s.served; err != milter.ErrClosed {
		t.Errorf("Serve = %v, want ErrClosed", err)
	}
	if n := s.scratch.leaked(); n != 0 {
		t.Errorf("%d buffers were not closed", n)
	}
	return shutdown
}

// serve runs a Server on a unix socket until the test ends, and checks then that
// nothing is left of it.
func serve(t testing.TB, change func(*milter.Options)) *service {
	t.Helper()
	ln, err := milter.Listen(milter.Socket{Network: "unix", Address: t.TempDir() + "/s", Mode: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, ln, change)
}

func serveOn(t testing.TB, ln net.Listener, change func(*milter.Options)) *service {
	t.Helper()
	s := &service{recorder: &recorder{}, scratch: &heap{}, network: ln.Addr().Network(), address: ln.Addr().String()}
	opts := milter.Options{Handler: s.recorder, Scratch: s.scratch, Logger: logger(t)}
	if change != nil {
		change(&opts)
	}
	var err error
	if s.server, err = milter.New(opts); err != nil {
		t.Fatal(err)
	}
	s.served = make(chan error, 1)
	go func() { s.served <- s.server.Serve(ln) }()
	t.Cleanup(func() {
		if s.stopped {
			return
		}
		if err := s.stop(t, 10*time.Second); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return s
}

func logger(t testing.TB) *zap.Logger {
	if testing.Verbose() {
		return zaptest.NewLogger(t)
	}
	return zap.NewNop()
}

var testClient = miltertest.Client{
	Name: "mail.example", Addr: netip.MustParseAddrPort("192.0.2.7:4711"), Helo: "helo.example",
	Macros: []string{"{daemon_name}", "mx", "{daemon_port}", "25"}, TLS: "TLSv1.3",
}

func dial(t testing.TB, s *service, opts miltertest.Options) *miltertest.Session {
	t.Helper()
	session, err := miltertest.Dial(s.network, s.address, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

func connect(t testing.TB, s *service, opts miltertest.Options) *miltertest.Session {
	t.Helper()
	session := dial(t, s, opts)
	if err := session.Connect(testClient); err != nil {
		t.Fatal(err)
	}
	return session
}

func send(t testing.TB, s *miltertest.Session, m *miltertest.Message) miltertest.Result {
	t.Helper()
	r, err := s.Send(m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sample() *miltertest.Message {
	return &miltertest.Message{
		QueueID: "4b1234", From: "<s@sender.example>", FromArgs: []string{"SIZE=100", "BODY=8BITMIME"},
		AuthUser: "sam", AuthMech: "PLAIN",
		To: []miltertest.Recipient{
			{Address: "<a@example.org>"},
			{Address: "<b@example.org>", Args: []string{"NOTIFY=NEVER"}},
		},
		Raw: []byte("Subject:no space\r\nFolded: one\r\n  two\r\n\tthree\r\nEmpty:\r\n8bit: caf\xe9\r\n\r\n.body\r\n\x00\xff\r\n"),
	}
}

// rooms is the real spool: room of its own for each message.
type rooms struct{ *spool.Pool }

func (r rooms) Buffer() message.Buffer { return r.Spool().New() }

// pipes is a net.Listener within the process, for tests on a fake clock.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes {
	return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Net: "pipe"} }

// dial connects.
func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours
}

// connect begins a session.
func (p *pipes) connect(t testing.TB, opts miltertest.Options) *miltertest.Session {
	t.Helper()
	if opts.Timeout == 0 {
		opts.Timeout = 24 * time.Hour
	}
	s, err := miltertest.New(p.dial(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Conn().Close() })
	if err := s.Connect(testClient); err != nil {
		t.Fatal(err)
	}
	return s
}

func dialRaw(t testing.TB, s *service) net.Conn {
	t.Helper()
	conn, err := net.Dial(s.network, s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
