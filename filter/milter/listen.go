package milter

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Socket says where to listen.
type Socket struct {
	Network string // "unix" or "tcp"
	Address string // path of the socket, or host and port

	// Group and Mode say who may connect to a unix socket. Group is a name or a
	// number; "" leaves the process's own. Mode zero is 0660.
	Group string
	Mode  fs.FileMode
}

// Listen opens the socket. A unix socket is never there with wider permissions
// than it is to have; a file that an earlier process left in its place is
// replaced, one that somebody listens on is not. Closing the listener removes the
// socket, unless it is another one by then. Errors name the socket and say what to
// do.
func Listen(s Socket) (net.Listener, error) {
	switch s.Network {
	case "unix":
		return listenUnix(s)
	case "tcp":
		ln, err := net.Listen("tcp", s.Address)
		if err != nil {
			return nil, fmt.Errorf("milter: listening on %s: %w", s.Address, err)
		}
		return ln, nil
	}
	return nil, fmt.Errorf("milter: cannot listen on network %q; it is \"unix\" or \"tcp\"", s.Network)
}

// maxSocketPath is what fits into sockaddr_un with its final NUL.
const maxSocketPath = 107

// listenUnix makes the socket in a folder that nobody else can enter and moves
// it into place when its owner and mode are right.
func listenUnix(s Socket) (net.Listener, error) {
	fail := func(err error) (net.Listener, error) {
		return nil, fmt.Errorf("milter: listening on unix socket %s: %w", s.Address, err)
	}
	if err := vacant(s.Address); err != nil {
		return fail(err)
	}
	group, err := groupID(s.Group)
	if err != nil {
		return fail(err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(s.Address), ".w")
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("its folder is missing; create it: %w", err)
	}
	if err != nil {
		return fail(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	hidden := filepath.Join(dir, "s")
	if beyond := max(len(hidden), len(s.Address)) - maxSocketPath; beyond > 0 {
		return fail(fmt.Errorf("the path is too long by %d bytes; choose a shorter one", beyond))
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: hidden})
	if err != nil {
		return fail(err)
	}
	ln.SetUnlinkOnClose(false)
	mode := s.Mode
	if mode == 0 {
		mode = 0o660
	}
	u := &unixListener{UnixListener: ln, addr: net.UnixAddr{Net: "unix", Name: s.Address}}
	err = os.Chown(hidden, -1, group)
	if errors.Is(err, fs.ErrPermission) {
		err = fmt.Errorf("its group cannot be set; the user that runs this has to be a member of it: %w", err)
	}
	if err == nil {
		err = os.Chmod(hidden, mode)
	}
	if err == nil {
		u.file, err = os.Lstat(hidden)
	}
	if err == nil {
		err = os.Rename(hidden, s.Address)
	}
	if err != nil {
		_ = ln.Close()
		return fail(err)
	}
	return u, nil
}

// vacant says why nothing can be put at path; a socket that nobody listens on is
// no reason.
func vacant(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("there is a file in its place that is no socket; move it away")
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return errors.New("another process listens on it; stop that one first")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("there is a socket in its place, and it cannot be seen whether somebody listens on it: %w", err)
	}
	return nil
}

func groupID(group string) (int, error) {
	if group == "" {
		return -1, nil
	}
	if id, err := strconv.Atoi(group); err == nil && id >= 0 {
		return id, nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, fmt.Errorf("its group %q is not known; create it or name another: %w", group, err)
	}
	return strconv.Atoi(g.Gid)
}

// unixListener knows where its socket lies and removes it.
type unixListener struct {
	*net.UnixListener
	addr net.UnixAddr
	file fs.FileInfo
	once sync.Once
}

func (u *unixListener) Addr() net.Addr { return &u.addr }

// Close closes the listener and removes the socket, unless another one has been
// put in its place.
func (u *unixListener) Close() error {
	u.once.Do(func() {
		if now, err := os.Lstat(u.addr.Name); err == nil && os.SameFile(now, u.file) {
			_ = os.Remove(u.addr.Name)
		}
	})
	return u.UnixListener.Close()
}
