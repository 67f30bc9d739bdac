package milter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	gomilter "github.com/emersion/go-milter"
	"go.uber.org/zap"
)

// ErrClosed is what Serve returns after Shutdown.
var ErrClosed = errors.New("milter: the server is shut down")

// Server serves the milter protocol on any number of listeners.
type Server struct {
	opts    Options
	metrics *metrics
	symbols map[gomilter.Stage][]string
	buffers sync.Pool // of largeBuffer bytes

	life     context.Context // of handlers; ends when Shutdown's patience does
	kill     context.CancelFunc
	sessions sync.WaitGroup
	handlers sync.WaitGroup
	running  atomic.Int64 // handlers

	stop      chan struct{} // closed when Shutdown begins
	ended     chan struct{} // closed when the last session has ended after that
	mu        sync.Mutex
	watched   bool // by watch
	listeners map[net.Listener]struct{}
	conns     map[*conn]bool // true: served, false: waiting for a place
	served    int
	warned    time.Time // when last of too many sessions
	stopped   atomic.Bool
}

// New gives a Server. It fails when opts are wrong, with an error that names
// each, or when the metrics are registered already.
func New(opts Options) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(opts.Registerer)
	if err != nil {
		return nil, fmt.Errorf("milter: registering metrics: %w", err)
	}
	s := &Server{
		opts: opts, metrics: m, symbols: wantedMacros(),
		stop:      make(chan struct{}),
		ended:     make(chan struct{}),
		listeners: make(map[net.Listener]struct{}),
		conns:     make(map[*conn]bool),
	}
	s.buffers.New = func() any { b := make([]byte, largeBuffer); return &b }
	s.life, s.kill = context.WithCancel(context.Background())
	return s, nil
}

// Serve accepts connections from ln until Shutdown, and then returns ErrClosed,
// or until ln fails for good. It closes ln. It can be called for several
// listeners at once. Errors that pass (no file descriptors left) are waited out.
func (s *Server) Serve(ln net.Listener) error {
	defer func() { _ = ln.Close() }()
	if !s.enlist(ln) {
		return ErrClosed
	}
	defer s.dismiss(ln)
	var pause time.Duration
	for {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			s.start(nc)
			continue
		case s.draining():
			return ErrClosed
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("milter: accepting on %s: %w", ln.Addr(), err)
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		s.metrics.failed(kindAccept)
		s.opts.Logger.Error("milter connection not accepted; trying again", zap.Stringer("listener", ln.Addr()), zap.Error(err), zap.Duration("after", pause))
		select {
		case <-time.After(pause):
		case <-s.stop:
			return ErrClosed
		}
	}
}

func (s *Server) enlist(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining() {
		return false
	}
	s.listeners[ln] = struct{}{}
	return true
}

func (s *Server) dismiss(ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, ln)
}

// start serves a connection in goroutines of its own.
func (s *Server) start(nc net.Conn) {
	c := newConn(nc, s)
	c.session = &session{server: s, conn: c, log: s.opts.Logger, worker: &worker{}}
	if !s.add(c) {
		_ = nc.Close()
		return
	}
	go s.negotiate(c)
}

// add registers a connection: among those served, among those that wait, or not
// at all.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining() {
		return false
	}
	if len(s.conns) >= 2*s.opts.MaxSessions {
		s.metrics.failed(kindTurnedAway)
		s.warn("milter connections are turned away: there are twice as many sessions as are allowed")
		return false
	}
	serve := s.served < s.opts.MaxSessions
	if serve {
		s.served++
	} else {
		c.session.waiting = true
		s.warn("milter sessions are answered with 451: there are more than are allowed")
	}
	s.conns[c] = serve
	s.sessions.Add(1)
	if !s.watched {
		s.watched = true
		go s.watch()
	}
	s.metrics.sessions.Inc()
	s.metrics.begun.Inc()
	return true
}

// warn tells of too many sessions, once a second at most: it is the worst time
// for a busy log.
func (s *Server) warn(what string) {
	if now := time.Now(); now.Sub(s.warned) >= time.Second {
		s.warned = now
		s.opts.Logger.Error(what, zap.Int("sessions", len(s.conns)), zap.Int("max_sessions", s.opts.MaxSessions))
	}
}

// Sessions gives the number of connections that MTAs have open now.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// admit gives a waiting session a place, if there is one now.
func (s *Server) admit(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.served >= s.opts.MaxSessions {
		return false
	}
	s.served++
	s.conns[c] = true
	c.session.waiting = false
	return true
}

// remove is the end of a connection.
func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[c] {
		s.served--
	}
	delete(s.conns, c)
	s.metrics.sessions.Dec()
	s.sessions.Done()
}

// negotiate reads the MTA's offer and hands the connection to the library, with
// a server of its own: only so can the library be told what this MTA offered.
func (s *Server) negotiate(c *conn) {
	offered, err := c.offer()
	if err != nil {
		c.fail(err)
		_ = c.Close()
		return
	}
	c.session.agreed = offered.accept(c.session.waiting)
	lib := &gomilter.Server{
		NewMilter: func() gomilter.Milter { return c.session },
		Actions:   c.session.agreed.actions,
		Protocol:  c.session.agreed.protocol,
		SymList:   s.symbols,
	}
	_ = lib.Serve(&once{conn: &libraryConn{c, c.session.worker}}) // only says that once has no second connection
}

// once is a listener with a single connection.
type once struct {
	conn net.Conn
}

func (o *once) Accept() (net.Conn, error) {
	if o.conn == nil {
		return nil, net.ErrClosed
	}
	c := o.conn
	o.conn = nil
	return c, nil
}

func (o *once) Close() error   { return nil }
func (o *once) Addr() net.Addr { return &net.UnixAddr{} }

func (s *Server) draining() bool { return s.stopped.Load() }

// lastWait is how long Shutdown waits for handlers after it has told them to
// stop.
const lastWait = 2 * time.Second

// Shutdown ends the server: no connection is accepted any more, sessions between
// two messages are closed, and those with a message on the way go on to its end.
// When ctx ends first, the connections that are left are cut (the MTA's default
// action is for their messages) and an error says how many those were; the error
// wraps ctx's. Handlers are done when it returns, but for those that ignore the
// end of their context.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.stopped.Swap(true) {
		close(s.stop)
		go func() {
			s.sessions.Wait()
			close(s.ended)
		}()
	}
	for ln := range s.listeners {
		_ = ln.Close()
	}
	for c := range s.conns {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // wakes it; see conn.fill
	}
	s.mu.Unlock()

	defer s.kill()
	select {
	case <-s.ended:
		return s.awaitHandlers()
	case <-ctx.Done():
	}
	cut := s.cut()
	s.kill()
	<-s.ended
	err := fmt.Errorf("milter: %d sessions were cut: %w", cut, ctx.Err())
	return errors.Join(err, s.awaitHandlers())
}

// cut closes the connections that are left.
func (s *Server) cut() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Conn.Close()
	}
	return len(s.conns)
}

// awaitHandlers waits for handlers whose sessions are gone.
func (s *Server) awaitHandlers() error {
	s.kill()
	done := make(chan struct{})
	go func() {
		s.handlers.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(lastWait):
		return errors.New("milter: a handler goes on although its context has ended")
	}
}
