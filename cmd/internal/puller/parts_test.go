package puller

import (
	"net"
	"path/filepath"
	"testing"

	"github.com/weirmail/weir/config"
)

// A process that was killed leaves its socket behind.
func TestASocketThatWasLeftBehindIsTakenOver(t *testing.T) {
	l := config.Listen{Network: "unix", Address: filepath.Join(t.TempDir(), "m.sock")}
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: l.Address})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if _, err := listen(l); err == nil {
		t.Error("a socket that somebody listens on was taken")
	}
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	ln, err := listen(l)
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
}
