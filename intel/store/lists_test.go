package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/match"
)

// lists is a lists folder that a test edits.
type lists struct {
	t   testing.TB
	dir string
}

func newLists(t testing.TB) lists {
	l := lists{t, t.TempDir()}
	for _, d := range []string{"block", "allow", "watch"} {
		if err := os.Mkdir(filepath.Join(l.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func (l lists) write(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

func (l lists) remove(name string) {
	l.t.Helper()
	if err := os.Remove(filepath.Join(l.dir, name)); err != nil {
		l.t.Fatal(err)
	}
}

// load gives the report without the name of the folder.
func (l lists) load(s *Store) string {
	l.t.Helper()
	report, err := s.LoadLists(context.Background(), l.dir, list.Options{})
	if err != nil {
		l.t.Fatal(err)
	}
	if (report.Err() != nil) != strings.Contains(report.String(), "refused") {
		l.t.Errorf("the report's error is %v:\n%s", report.Err(), report)
	}
	return strings.TrimSpace(strings.ReplaceAll(report.String(), l.dir+"/", ""))
}

func TestListsAreReadAgainWhenTheyChange(t *testing.T) {
	l := newLists(t)
	s, m := openStore(t, memoryDB(t))
	l.write("block/a.txt", "one.example\n")
	l.write("allow/b.txt", "# nobody\ngood.example\n")
	if got, want := l.load(s), "list:block/a.txt: 1 entries, 1 new, 0 gone\nlist:allow/b.txt: 1 entries, 1 new, 0 gone"; got != want {
		t.Errorf("got\n%s", got)
	}
	expect(t, m, "one.example", "block one.example list:block/a.txt:1")
	expect(t, m, "good.example", "allow good.example list:allow/b.txt:2")

	l.write("block/a.txt", "one.example\ntwo.example\n")
	if got, want := l.load(s), "list:block/a.txt: 2 entries, 1 new, 0 gone\nlist:allow/b.txt: 1 entries, unchanged"; got != want {
		t.Errorf("got\n%s", got)
	}
	l.remove("block/a.txt")
	l.write("block/c.txt", "two.example\n")
	if got, want := l.load(s), "list:block/c.txt: 1 entries, 1 new, 0 gone\nlist:allow/b.txt: 1 entries, unchanged\nlist:block/a.txt: no more, 2 entries gone"; got != want {
		t.Errorf("got\n%s", got)
	}
	expect(t, m, "one.example", "")
	expect(t, m, "two.example", "block two.example list:block/c.txt:1")
}

func TestBrokenEditKeepsTheLastGoodVersion(t *testing.T) {
	l := newLists(t)
	db := memoryDB(t)
	s, m := openStore(t, db)
	l.write("block/a.txt", "one.example\n")
	l.write("block/b.txt", "two.example\n")
	l.load(s)
	l.write("block/a.txt", "one.example\nnew.example\nthree..example\nfour.example actoin=hold\n")
	l.write("block/b.txt", "five.example\n")
	want := `list:block/a.txt: refused for 2 problems, 1 entries stay in force
	block/a.txt:3:1: "three..example" has an empty label; an entry is a domain, an address, a URL, an IP address or range, a digest or a /regular expression/
	block/a.txt:4:14: "actoin" is no option; did you mean action=?
list:block/b.txt: 1 entries, 1 new, 1 gone`
	if got := l.load(s); got != want {
		t.Errorf("got\n%s", got)
	}
	expect(t, m, "one.example", "block one.example list:block/a.txt:1")
	expect(t, m, "new.example", "")
	expect(t, m, "five.example", "block five.example list:block/b.txt:1")

	// Also when the store is opened again while the file is broken.
	s.Close()
	s, m = openStore(t, db)
	l.load(s)
	expect(t, m, "one.example", "block one.example list:block/a.txt:1")

	l.write("block/a.txt", "new.example\n")
	l.load(s)
	expect(t, m, "one.example", "")
	expect(t, m, "new.example", "block new.example list:block/a.txt:1")
}

func TestListThatCannotBeReadKeepsItsLastGoodVersion(t *testing.T) {
	l := newLists(t)
	s, m := openStore(t, memoryDB(t))
	l.write("block/a.txt", "one.example\n")
	l.load(s)
	for name, spoil := range map[string]func(path string) error{
		"is a folder": func(path string) error { return os.Mkdir(path, 0o700) },
		"cannot be read: no such file or directory": func(path string) error { return os.Symlink("nowhere", path) },
	} {
		l.remove("block/a.txt")
		if err := spoil(filepath.Join(l.dir, "block/a.txt")); err != nil {
			t.Fatal(err)
		}
		if got := l.load(s); !strings.HasPrefix(got, "list:block/a.txt: refused for 1 problems, 1 entries stay in force\n\tblock/a.txt: "+name) {
			t.Errorf("%s: got\n%s", name, got)
		}
		expect(t, m, "one.example", "block one.example list:block/a.txt:1")
	}
}

func TestMissingListsFolderKeepsEverything(t *testing.T) {
	l := newLists(t)
	s, m := openStore(t, memoryDB(t))
	l.write("block/a.txt", "one.example\n")
	l.load(s)
	if _, err := s.LoadLists(context.Background(), t.TempDir(), list.Options{}); err == nil {
		t.Error("an empty folder is no error")
	}
	expect(t, m, "one.example", "block one.example list:block/a.txt:1")
	load(t, s, from("feed:x", "two.example"))
	l.load(s)
	expect(t, m, "two.example", "block two.example feed:x:1") // is no list
}

func TestListBeyondItsLimitsIsRefused(t *testing.T) {
	l := newLists(t)
	s, m := openStore(t, memoryDB(t))
	l.write("block/a.txt", "one.example\n")
	l.load(s)
	l.write("block/a.txt", strings.Repeat("two.example\n", 100))
	report, err := s.LoadLists(context.Background(), l.dir, list.Options{MaxBytes: 500})
	if err != nil || len(report) != 1 || len(report[0].Problems) != 1 || report.Changed() {
		t.Fatalf("%v, %v", report, err)
	}
	if p := report[0].Problems[0]; p.Line != 42 || !strings.Contains(p.Reason, "larger than a list may be") {
		t.Errorf("got %s", p)
	}
	expect(t, m, "one.example", "block one.example list:block/a.txt:1")
}

func TestListThatCannotBeKeptNamesTheLine(t *testing.T) {
	l := newLists(t)
	s, _ := openStore(t, memoryDB(t))
	var text strings.Builder
	for i := range maxPerPattern + 1 {
		fmt.Fprintf(&text, "one.example id=%d\n", i)
	}
	l.write("block/a.txt", text.String())
	if got, want := l.load(s), "list:block/a.txt: refused for 1 problems, 0 entries stay in force\n\tblock/a.txt:"; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, ": is one of more than 16 entries for the same") {
		t.Errorf("got\n%s", got)
	}
}

func TestListThatChangesWhileItIsReadIsReadAgain(t *testing.T) {
	l := newLists(t)
	s, m := openStore(t, memoryDB(t))
	l.write("block/a.txt", "one.example\n")
	f := list.File{Name: filepath.Join(l.dir, "block/a.txt"), Source: "list:block/a.txt", Disposition: intel.Block}
	src := listSource(f, list.Options{})
	l.write("block/a.txt", "two.example\n")
	if r := load(t, s, src)[0]; r.Outcome != Failed || !errors.Is(r.Errors[0], ErrChanged) {
		t.Errorf("got %s %v", r, r.Errors)
	}
	expect(t, m, "two.example", "")
	if got := l.load(s); got != "list:block/a.txt: 1 entries, 1 new, 0 gone" {
		t.Errorf("got %s", got)
	}
	expect(t, m, "two.example", "block two.example list:block/a.txt:1")
}

func TestListsAreLoadedIntoMemory(t *testing.T) {
	l := newLists(t)
	l.write("block/a.txt", "# x\none.example\n/x/ in=subject\n")
	l.write("block/b.txt", "two.example\nthree..example\n")
	l.write("allow/c.txt", "one.example in=helo\n")
	snap, report, err := LoadMemory(l.dir, list.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(report) != 3 || report[0].Result.Entries != 2 || report[1].Result.Outcome != Failed || len(report[1].Problems) != 1 || report[2].File != filepath.Join(l.dir, "allow/c.txt") {
		t.Errorf("got %s", report)
	}
	m := match.NewMatcher()
	m.Swap(snap)
	expect(t, m, "one.example", "allow one.example list:allow/c.txt:1, block one.example list:block/a.txt:2")
	expect(t, m, "two.example", "")
	if !m.Acquire().WantsTexts(intel.FieldSubject) {
		t.Error("the regular expression is missing")
	}
	if _, _, err := LoadMemory(t.TempDir(), list.Options{}); err == nil {
		t.Error("an empty folder is no error")
	}
}

func TestRealListsAreLoaded(t *testing.T) {
	dir := samples(t, "feeds/lists")
	l := newLists(t)
	for _, name := range []string{"ipsum_l3.txt", "disposable_email_blocklist.conf"} {
		if err := os.Symlink(filepath.Join(dir, name), filepath.Join(l.dir, "block", name)); err != nil {
			t.Fatal(err)
		}
	}
	s, m := openStore(t, memoryDB(t))
	l.load(s)
	expect(t, m, "mail@0-mail.com", "block 0-mail.com list:block/disposable_email_blocklist.conf:1")
	expect(t, m, "77.239.124.102", "block 77.239.124.102 list:block/ipsum_l3.txt:2")
	expect(t, m, "203.0.113.1", "")
	n := 0
	for _, listed := range s.Sources() {
		n += listed.Entries
	}
	if n != 14217+8335 {
		t.Errorf("%d entries", n)
	}
}

// samples gives a folder of real material that lies beside the repository.
func samples(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Skip("no go.mod above this package: the samples cannot be found")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, "..", "shared", "samples", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the real lists are not there: %v", err)
	}
	return path
}
