package puller

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/weirmail/weir/config"
)

func TestASecretIsReadOnlyFromAFileThatIsPrivate(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
		ok   bool
	}{
		"as it should be":        {"pass word \r\n", 0o600, "pass word ", true},
		"read alone":             {"x", 0o400, "x", true},
		"its group reads":        {"x", 0o640, "", false},
		"everybody writes":       {"x", 0o602, "", false},
		"there is nothing in it": {"\n", 0o600, "", false},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		if got, err := secret(path); got != c.want || (err == nil) != c.ok {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	// What systemd hands over can show a mode that is wider than who gets at it.
	t.Setenv("CREDENTIALS_DIRECTORY", dir+"/")
	if got, err := secret(filepath.Join(dir, "its group reads")); got != "x" || err != nil {
		t.Errorf("a credential of systemd's: %q, %v", got, err)
	}
}

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
