package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// TB is what a lab uses of a testing.TB.
type TB interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Skip(args ...any)
	Fatal(args ...any)
}

// Lab is a folder, a loopback address and the servers that were started in it.
// Its methods may be called by several goroutines.
type Lab struct {
	dir      string
	addr     netip.Addr
	claim    net.Listener // keeps addr from other labs
	guardian *guardian

	mu      sync.Mutex
	servers []server
	names   map[string]int // servers started under each name
	ports   map[uint16]bool
	closed  bool
}

// A server is anything that Close has to end.
type server interface {
	Kill() error
	// logs names the files to show when a test has failed.
	logs() []string
}

// New makes a lab in a new folder under the system's folder for temporary
// files. Close removes it.
func New() (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("lab: mail servers run under several users: run as root")
	}
	dir, err := os.MkdirTemp("", "weirlab")
	if err != nil {
		return nil, err
	}
	removed := dir
	if os.Getenv("WEIR_LAB_KEEP") != "" {
		removed = ""
	}
	g, err := newGuardian(removed)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	claim, addr, err := claimAddr()
	// The servers' users must get through the folder.
	if err := errors.Join(err, os.Chmod(dir, 0o755)); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return &Lab{
		dir: dir, addr: addr, claim: claim, guardian: g,
		names: map[string]int{}, ports: map[uint16]bool{},
	}, nil
}

// Start makes a lab for a test, which it skips or fails when what it needs is
// missing (see Require). When the test ends the lab is closed; when it has
// failed, the ends of all logs are shown first.
func Start(t TB, needs ...Need) *Lab {
	t.Helper()
	Require(t, needs...)
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", l.Logs())
		}
		if err := l.Close(); err != nil {
			t.Errorf("lab: %v", err)
		}
	})
	return l
}

// Close kills all servers, the latest first, and removes the folder: what they
// would do in an orderly end is not needed any more. The environment variable
// WEIR_LAB_KEEP keeps the folder for a look.
func (l *Lab) Close() error {
	l.mu.Lock()
	servers := l.servers
	l.servers = nil
	closed := l.closed
	l.closed = true
	l.mu.Unlock()
	if closed {
		return nil
	}
	var errs []error
	for _, s := range slices.Backward(servers) {
		errs = append(errs, s.Kill())
	}
	return errors.Join(append(errs, l.claim.Close(), l.guardian.close())...)
}

// Dir gives the lab's folder. All users can enter it.
func (l *Lab) Dir() string { return l.dir }

// IP gives the loopback address of the lab's servers.
func (l *Lab) IP() string { return l.addr.String() }

// FreeAddr gives "ADDRESS:PORT" of the lab's address, with a port on which
// nobody listens and which it gives to nobody else. Nor does the system, to whoever
// asks it for any port.
func (l *Lab) FreeAddr() (string, error) {
	const first, behind = 10_000, 32_000
	err := errors.New("all are taken")
	for range 100 {
		addr := netip.AddrPortFrom(l.addr, uint16(first+rand.IntN(behind-first)))
		l.mu.Lock()
		taken := l.ports[addr.Port()]
		l.ports[addr.Port()] = true
		l.mu.Unlock()
		if taken {
			continue
		}
		var ln net.Listener
		if ln, err = net.Listen("tcp", addr.String()); err == nil {
			return addr.String(), ln.Close()
		}
	}
	return "", fmt.Errorf("lab: no free port: %w", err)
}

// Logs gives the last lines of every server's logs.
func (l *Lab) Logs() string {
	l.mu.Lock()
	servers := slices.Clone(l.servers)
	l.mu.Unlock()
	var b strings.Builder
	for _, s := range servers {
		for _, path := range s.logs() {
			if text := tail(path, 60); text != "" {
				fmt.Fprintf(&b, "--- %s\n%s", strings.TrimPrefix(path, l.dir+"/"), text)
			}
		}
	}
	return b.String()
}

// room makes the folder of a new server: "postfix", the second one "postfix2".
func (l *Lab) room(name string) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return "", errors.New("lab: closed")
	}
	l.names[name]++
	if n := l.names[name]; n > 1 {
		name = fmt.Sprintf("%s%d", name, n)
	}
	dir := filepath.Join(l.dir, name)
	return dir, os.Mkdir(dir, 0o755)
}

// keep lets Close stop s.
func (l *Lab) keep(s server) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.servers = append(l.servers, s)
}

// claimAddr picks an address of 127.0.0.0/8 and listens on a port of it that
// every lab uses, so that no other lab has the same.
func claimAddr() (net.Listener, netip.Addr, error) {
	const guardPort = 1 // below what the kernel gives out, and with nothing on it
	var last error
	for range 100 {
		n := rand.Uint32()
		addr := netip.AddrFrom4([4]byte{127, byte(1 + n%250), byte(n >> 8), byte(1 + (n>>16)%250)})
		ln, err := net.Listen("tcp", netip.AddrPortFrom(addr, guardPort).String())
		if err == nil {
			return ln, addr, nil
		}
		last = err
	}
	return nil, netip.Addr{}, fmt.Errorf("lab: no free loopback address: %w", last)
}

// Poll calls done until it is true or fails, at growing intervals of up to 20
// milliseconds: what other processes do gives no sign to wait for. It returns
// done's error, or the context's.
func Poll(ctx context.Context, done func() (bool, error)) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// tail gives the last lines of a file; nothing when it cannot be read.
func tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	start := len(data)
	for range lines {
		start = bytes.LastIndexByte(data[:max(0, start-1)], '\n') + 1
	}
	return string(data[start:])
}

// write makes a file that every user can read, and that looks as if it had been
// there for a while: Postfix reads a configuration file again and again until
// its last change is two seconds ago.
func write(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	old := time.Now().Add(-time.Minute)
	return os.Chtimes(path, old, old)
}
