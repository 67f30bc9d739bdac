package milter_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weirmail/weir/filter/milter"
)

func unixSocket(path string) milter.Socket { return milter.Socket{Network: "unix", Address: path} }

func mustListen(t *testing.T, s milter.Socket) net.Listener {
	t.Helper()
	ln, err := milter.Listen(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func TestAUnixSocketHasItsModeAndGroup(t *testing.T) {
	for _, test := range []struct{ mode, want fs.FileMode }{{0, 0o660}, {0o600, 0o600}, {0o666, 0o666}} {
		path := filepath.Join(t.TempDir(), "s")
		s := unixSocket(path)
		s.Mode = test.mode
		if os.Getuid() == 0 {
			s.Group = "1"
		}
		ln := mustListen(t, s)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != fs.ModeSocket|test.want {
			t.Errorf("mode %v, want %v", info.Mode(), test.want)
		}
		if gid := info.Sys().(*syscall.Stat_t).Gid; os.Getuid() == 0 && gid != 1 {
			t.Errorf("group %d, want 1", gid)
		}
		if ln.Addr().String() != path || ln.Addr().Network() != "unix" {
			t.Errorf("address %v", ln.Addr())
		}
		entries, _ := os.ReadDir(filepath.Dir(path))
		if len(entries) != 1 {
			t.Errorf("left behind: %v", entries)
		}
		_ = ln.Close()
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after Close: %v", err)
		}
	}
}

func TestASocketThatNobodyListensOnIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()
	ln := mustListen(t, unixSocket(path))
	go func() {
		if c, err := ln.Accept(); err == nil {
			_ = c.Close()
		}
	}()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

func TestASocketThatIsNotOursStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	first := mustListen(t, unixSocket(path))
	if _, err := milter.Listen(unixSocket(path)); err == nil || !strings.Contains(err.Error(), "another process listens on it") {
		t.Errorf("a second listener: %v", err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the first one is gone: %v", err)
	} else {
		_ = c.Close()
	}
	// Somebody takes the place by force: it is his to remove.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := mustListen(t, unixSocket(path))
	_ = first.Close()
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the first one removed the second's socket: %v", err)
	} else {
		_ = c.Close()
	}
	_ = second.Close()
	_ = second.Close()
}

func TestWhatCannotBeListenedOnIsExplained(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	taken := mustListen(t, milter.Socket{Network: "tcp", Address: "127.0.0.1:0"})
	for _, test := range []struct {
		socket milter.Socket
		want   string
	}{
		{unixSocket(file), "no socket; move it away"},
		{unixSocket(dir), "no socket; move it away"},
		{unixSocket(dir + "/no/s"), "folder is missing; create it"},
		{unixSocket(dir + "/" + strings.Repeat("x", 200)), "too long"},
		{unixSocket(file + "/s"), "not a directory"},
		{milter.Socket{Network: "unix", Address: dir + "/s", Group: "no-such-group"}, `group "no-such-group" is not known`},
		{milter.Socket{Network: "tcp", Address: taken.Addr().String()}, "address already in use"},
		{milter.Socket{Network: "tcp", Address: "nonsense"}, "nonsense"},
		{milter.Socket{Network: "udp", Address: "127.0.0.1:1"}, `"unix" or "tcp"`},
	} {
		ln, err := milter.Listen(test.socket)
		if err == nil {
			_ = ln.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.socket.Address) && test.socket.Network != "udp" {
			t.Errorf("%+v: %v, want %q", test.socket, err, test.want)
		}
	}
	if b, err := os.ReadFile(file); string(b) != "precious" {
		t.Errorf("the file is now %q, %v", b, err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}
