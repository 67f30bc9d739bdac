package puller

import (
	"net"
	"path/filepath"
	"runtime/debug"
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

func TestGarbageIsCollectedLessOftenUnlessSomebodySaysHow(t *testing.T) {
	settings := func() (percent int, limit int64) {
		percent = debug.SetGCPercent(100)
		debug.SetGCPercent(percent)
		return percent, debug.SetMemoryLimit(-1)
	}
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	percent, limit := settings()
	for _, tt := range []struct{ memory, limit int64 }{{1 << 20, leastHeap}, {1 << 30, 4 << 30}} {
		back := collectLess(tt.memory)
		if p, l := settings(); p != heapGrowth || l != tt.limit {
			t.Errorf("with %d bytes for messages: %d %%, limit %d", tt.memory, p, l)
		}
		back()
		if p, l := settings(); p != percent || l != limit {
			t.Errorf("afterwards: %d %%, limit %d", p, l)
		}
	}
	t.Setenv("GOMEMLIMIT", "1GiB")
	defer collectLess(1 << 30)()
	if p, l := settings(); p != percent || l != limit {
		t.Errorf("against the environment: %d %%, limit %d", p, l)
	}
}
