package ident

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/crashtest"
	"github.com/weirmail/weir/intel/disk/faulty"
)

func mustOpen(t testing.TB, o Options) *Identity {
	t.Helper()
	if o.FS == nil {
		o.FS = disk.System{}
	}
	i, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestAnIdentityIsMadeOnceAndKept(t *testing.T) {
	dir := t.TempDir()
	a := mustOpen(t, Options{Dir: dir})
	info, err := os.Stat(filepath.Join(dir, FileName))
	if err != nil || info.Mode() != 0o600 {
		t.Fatal(info.Mode(), err)
	}
	b := mustOpen(t, Options{Dir: dir})
	if a.Node() != b.Node() || len(a.Node()) != nodeSize || !bytes.Equal(a.Key("x"), b.Key("x")) {
		t.Error("a second start is another node")
	}
	other := mustOpen(t, Options{Dir: t.TempDir()})
	if a.Node() == other.Node() || bytes.Equal(a.Key("x"), other.Key("x")) {
		t.Error("two state folders are one node")
	}
	if bytes.Equal(a.Key("x"), a.Key("y")) || bytes.Contains(a.Key("x"), a.key[:]) || len(a.Key("x")) != 32 {
		t.Error("keys are not apart")
	}
}

func TestAnIdentityThatCannotBeUsedIsAnErrorWithACure(t *testing.T) {
	key := strings.Repeat("ab", keySize)
	for name, c := range map[string]struct{ content, want string }{
		"empty":         {"", "missing"},
		"no key":        {"node abcdef\n", "missing"},
		"no node":       {"key " + key + "\n", "missing"},
		"short key":     {"node abcdef\nkey abcd\n", "line 2: a key has 64 hex digits"},
		"key not hex":   {"key " + strings.Repeat("x", 64), "line 1: a key"},
		"long node":     {"node abcdefg\nkey " + key, "line 1: a node ID"},
		"odd node":      {"node ABCDEF\nkey " + key, "line 1: a node ID"},
		"something new": {"node abcdef\nkey " + key + "\ncolour blue", "line 3"},
		"twice":         {"node abcdef\nnode abcdef\nkey " + key, "line 2"},
		"too large":     {strings.Repeat("#", maxFile+1), "more than"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(Options{FS: disk.System{}, Dir: dir})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, FileName)); err != nil || string(got) != c.content {
			t.Errorf("%s: the file was changed", name)
		}
	}
	dir := t.TempDir()
	mustOpen(t, Options{Dir: dir})
	if err := os.Chmod(filepath.Join(dir, FileName), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{FS: disk.System{}, Dir: dir}); !errors.Is(err, ErrIdentity) || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by the group: %v", err)
	}
	if _, err := Open(Options{FS: disk.System{}, Dir: dir + "/none"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no state folder: %v", err)
	}
	if _, err := Open(Options{}); err == nil {
		t.Error("no options")
	}
}

// node uses its identity; it must never come back as somebody else.
type node struct{ name, key string }

func (n *node) Run(d *faulty.Disk) error {
	i, err := Open(Options{FS: d, Dir: "/state"})
	if err != nil {
		return err
	}
	if n.key != "" && (n.key != string(i.Key("x")) || n.name != i.Node()) {
		return errors.New("another node")
	}
	n.name, n.key = i.Node(), string(i.Key("x"))
	// Something else goes on, so that there is time to lose the file.
	f, err := d.OpenFile("/state/other", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte("x"), 0)
	return errors.Join(err, f.Close())
}

func (n *node) Check(d *faulty.Disk) error { return n.Run(d) }

func TestANodeIsTheSameAfterAPowerCut(t *testing.T) {
	crashtest.Suite{New: func() crashtest.Workload { return &node{} }}.Test(t)
}

func TestIDsGrowWhateverTheClockDoes(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	var mu sync.Mutex
	i := mustOpen(t, Options{Dir: t.TempDir(), Clock: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	if !i.Now().Equal(now) {
		t.Error("another clock")
	}
	last := ""
	for n := range 10_000 {
		mu.Lock()
		switch n % 100 {
		case 50:
			now = now.Add(-time.Hour)
		case 99:
			now = now.Add(2 * time.Hour)
		}
		mu.Unlock()
		id := i.NewID()
		if id <= last {
			t.Fatalf("%s after %s", id, last)
		}
		last = id
	}
	at, ok := ParseID(last)
	if !ok || at.Before(now.Add(-3*time.Hour)) || at.After(now.Add(3*time.Hour)) {
		t.Errorf("%s was made at %v, it is %v", last, at, now)
	}
}

func TestIDsAreUniqueAmongCallers(t *testing.T) {
	i := mustOpen(t, Options{Dir: t.TempDir()})
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				id := i.NewID()
				mu.Lock()
				if seen[id] {
					t.Errorf("%s twice", id)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestParseIDTakesOnlyCanonicalText(t *testing.T) {
	for text, want := range map[string]bool{
		"01ARZ3NDEKTSV4RRFFQ69G5FAV":  true,
		"01arz3ndektsv4rrffq69g5fav":  false,
		"01ARZ3NDEKTSV4RRFFQ69G5FAVX": false,
		"01ARZ3NDEKTSV4RRFFQ69G5FA":   false,
		"O1ARZ3NDEKTSV4RRFFQ69G5FAV":  false,
		"81ARZ3NDEKTSV4RRFFQ69G5FAV":  false,
		"":                            false,
	} {
		if _, ok := ParseID(text); ok != want {
			t.Errorf("%q: %v", text, ok)
		}
	}
}

func TestASignedIDVerifiesAndNothingElseDoes(t *testing.T) {
	dir := t.TempDir()
	i := mustOpen(t, Options{Dir: dir})
	id := i.NewID()
	text := i.Sign(id)
	if len(text) != MaxText || !strings.HasPrefix(text, id+"."+i.Node()+".") {
		t.Fatalf("%q", text)
	}
	again := mustOpen(t, Options{Dir: dir})
	if gotID, gotNode, ok := again.Verify(text); !ok || gotID != id || gotNode != i.Node() {
		t.Fatalf("%q %q %v", gotID, gotNode, ok)
	}
	other := mustOpen(t, Options{Dir: t.TempDir()})
	if _, _, ok := other.Verify(text); ok {
		t.Error("another node's key verifies it")
	}
	for n := range len(text) {
		for _, c := range []byte{text[n] ^ 1, text[n] ^ 0x20, '.', 0} {
			forged := []byte(text)
			forged[n] = c
			if string(forged) == text {
				continue
			}
			if gotID, gotNode, ok := i.Verify(string(forged)); ok || gotID != "" || gotNode != "" {
				t.Errorf("verified %q", forged)
			}
		}
	}
	for _, forged := range []string{"", text + " ", " " + text, text[:len(text)-1], strings.ToUpper(text), strings.Repeat(".", MaxText)} {
		if _, _, ok := i.Verify(forged); ok {
			t.Errorf("verified %q", forged)
		}
	}
}

func FuzzVerify(f *testing.F) {
	i := mustOpen(f, Options{Dir: f.TempDir()})
	good := i.Sign(i.NewID())
	f.Add("")
	f.Add(good[:20])
	f.Add(strings.Repeat("0", MaxText))
	f.Fuzz(func(t *testing.T, text string) {
		if id, node, ok := i.Verify(text); ok && i.sign(id, node) != text {
			t.Errorf("%q", text)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(fileHead + "node abcdef\nkey " + strings.Repeat("00", keySize)))
	f.Fuzz(func(t *testing.T, content []byte) {
		var i Identity
		if err := i.parse(content); err == nil && len(i.node) != nodeSize {
			t.Errorf("node %q", i.node)
		} else if err != nil && !errors.Is(err, ErrIdentity) {
			t.Error(err)
		}
	})
}

func BenchmarkNewID(b *testing.B) {
	i := mustOpen(b, Options{Dir: b.TempDir()})
	b.ReportAllocs()
	for b.Loop() {
		_ = i.NewID()
	}
}

func BenchmarkSign(b *testing.B) {
	i := mustOpen(b, Options{Dir: b.TempDir()})
	id := i.NewID()
	b.ReportAllocs()
	for b.Loop() {
		_ = i.Sign(id)
	}
}

func BenchmarkVerify(b *testing.B) {
	i := mustOpen(b, Options{Dir: b.TempDir()})
	text := i.Sign(i.NewID())
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = i.Verify(text)
	}
}
