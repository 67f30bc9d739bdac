package secret

import (
	"os"
	"path/filepath"
	"testing"
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
		if got, err := Read(path); got != c.want || (err == nil) != c.ok {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	// What systemd hands over can show a mode that is wider than who gets at it.
	t.Setenv("CREDENTIALS_DIRECTORY", dir+"/")
	if got, err := Read(filepath.Join(dir, "its group reads")); got != "x" || err != nil {
		t.Errorf("a credential of systemd's: %q, %v", got, err)
	}
}

func TestRootMayInspectASecretOfTheDaemonsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(path); err == nil {
		t.Errorf("another's is read: %q", got)
	}
	if got, err := Inspect(path); got != "x" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := Inspect(path); err == nil {
		t.Errorf("one that all can read: %q", got)
	}
}
