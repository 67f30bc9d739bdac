package control

import (
	"net"
	"sync"

	"go.uber.org/zap"

	"github.com/weirmail/weir/cmd/internal/control/api"
)

// perUser bounds the connections that one user has at once, so that nobody who
// may connect keeps the others out.
const perUser = 32

// listener knows who connects and bounds their number.
type listener struct {
	net.Listener
	log *zap.Logger

	mu   sync.Mutex
	open map[uint32]int // connections by uid
}

func newListener(ln net.Listener, log *zap.Logger) *listener {
	return &listener{Listener: ln, log: log, open: map[uint32]int{}}
}

// Accept implements net.Listener. It gives connections of known users alone.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p, err := peerOf(c)
		if err != nil {
			l.log.Warn("a connection to the control socket was closed", zap.Error(err))
			_ = c.Close()
			continue
		}
		if !l.enter(p.uid) {
			l.log.Warn("a connection to the control socket was closed: its user has too many", zap.String("actor", p.actor()), zap.Int("most", perUser))
			_ = c.Close()
			continue
		}
		return &conn{Conn: c, peer: p, leave: sync.OnceFunc(func() { l.leave(p.uid) })}, nil
	}
}

func (l *listener) enter(uid uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[uid] >= perUser {
		return false
	}
	l.open[uid]++
	return true
}

func (l *listener) leave(uid uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[uid]--; l.open[uid] == 0 {
		delete(l.open, uid)
	}
}

// conn is a connection of a known user.
type conn struct {
	net.Conn
	peer  *peer
	leave func()

	mu     sync.Mutex
	access *Access // by which caller was found
	caller api.Caller
}

// callerBy says who the user is. Looking names up is worth doing once for a
// connection and the roles in force.
func (c *conn) callerBy(a *Access) api.Caller {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.access != a {
		c.access, c.caller = a, a.caller(c.peer)
	}
	return c.caller
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.leave()
	return c.Conn.Close()
}
