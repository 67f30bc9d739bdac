package edit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/list"
)

func pattern(t testing.TB, text string) intel.Pattern {
	t.Helper()
	p, err := list.ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func block(t testing.TB, text, note string) intel.Indicator {
	return intel.Indicator{Pattern: pattern(t, text), Disposition: intel.Block, Note: note}
}

func content(t testing.TB, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "block", Name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t testing.TB, dir, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, "block"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "block", Name), []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func TestAChangeTouchesNothingElse(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "# ours\r\n\nold.example note=\"a\" # keep\nother.example in=helo\nother.example\n.gone.example\n  last.example")
	until := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	put := block(t, "other.example", `seen in "case" 7`)
	put.Until, put.Confidence, put.TLP, put.ID, put.Campaign = until, 80, intel.TLPAmber, "T 1", "late fish"
	asked := 0
	r, err := new(Editor).Apply(dir, intel.Block, Change{
		Put:    []intel.Indicator{put, block(t, "new.example", ""), block(t, "domain:localhost", "")},
		Remove: []intel.Pattern{pattern(t, ".gone.example"), pattern(t, "never.example")},
	}, func(r *Result) error {
		asked++
		if strings.Contains(content(t, dir), "new.example") {
			t.Error("it was written before that was allowed")
		}
		return nil
	})
	if err != nil || asked != 1 {
		t.Fatal(err, asked)
	}
	want := "# ours\r\n\nold.example note=\"a\" # keep\nother.example in=helo\n" +
		`other.example until=2027-01-02T03:04:05Z id="T 1" campaign="late fish" confidence=80 tlp=amber note="seen in \"case\" 7"` + "\n" +
		"  last.example\nnew.example\ndomain:localhost\n"
	if got := content(t, dir); got != want {
		t.Errorf("the list is\n%s", got)
	}
	var told []string
	for _, e := range r.Entries {
		told = append(told, fmt.Sprintf("%s %s %d", e.Pattern, e.Outcome, e.Line))
	}
	if got := strings.Join(told, ", "); got != "other.example replaced 5, new.example added 7, localhost added 8, .gone.example removed 6" {
		t.Error(got)
	}
	if info, err := os.Stat(filepath.Join(dir, "block", Name)); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	// The same again is no change.
	r, err = new(Editor).Apply(dir, intel.Block, Change{Put: []intel.Indicator{put}}, func(*Result) error {
		t.Error("nothing changes, and somebody is asked")
		return nil
	})
	if err != nil || r.Changes() || r.Entries[0].Outcome != Unchanged {
		t.Errorf("%+v, %v", r, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "block", "*")); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOfEntriesAboutTheSameOneStays(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.example\nb.example\na.example until=2030-01-01\n")
	if _, err := new(Editor).Apply(dir, intel.Block, Change{Put: []intel.Indicator{block(t, "a.example", "x")}}, nil); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir); got != "b.example\na.example note=x\n" {
		t.Errorf("%q", got)
	}
	if _, err := new(Editor).Apply(dir, intel.Block, Change{Remove: []intel.Pattern{pattern(t, "a.example")}}, nil); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir); got != "b.example\n" {
		t.Errorf("%q", got)
	}
}

func TestWhatCannotBeDoneLeavesTheListAlone(t *testing.T) {
	dir := t.TempDir()
	refused := errors.New("no")
	e := new(Editor)
	put := Change{Put: []intel.Indicator{block(t, "a.example", "")}}
	if _, err := e.Apply(dir, intel.Block, put, func(*Result) error { return refused }); !errors.Is(err, refused) {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "block", Name)); err == nil {
		t.Error("the list was written")
	}
	long := Change{Put: []intel.Indicator{block(t, "a.example", strings.Repeat("x", 2000))}}
	if _, err := e.Apply(dir, intel.Block, long, nil); err == nil || !strings.Contains(err.Error(), "is longer than the 1024 bytes of note=") {
		t.Error(err)
	}
	wrong := put
	if _, err := e.Apply(dir, intel.Allow, wrong, nil); err == nil {
		t.Error("a block was put among allows")
	}
	write(t, dir, "10.1.2.3/8\n")
	var mistake *MistakeError
	if _, err := e.Apply(dir, intel.Block, put, nil); !errors.As(err, &mistake) || !strings.Contains(err.Error(), "operator.txt:1") {
		t.Error(err)
	}
	if _, err := e.Plan(dir, intel.Block, put); !errors.As(err, &mistake) {
		t.Error(err)
	}
	if got := content(t, dir); got != "10.1.2.3/8\n" {
		t.Errorf("%q", got)
	}
}

func TestAPipeInThePlaceOfTheListStays(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "block", Name)
	if err := errors.Join(os.Mkdir(filepath.Dir(name), 0o755), syscall.Mkfifo(name, 0o640)); err != nil {
		t.Fatal(err)
	}
	if _, err := new(Editor).Apply(dir, intel.Block, Change{Put: []intel.Indicator{block(t, "a.example", "")}}, nil); !errors.Is(err, disk.ErrNotRegular) {
		t.Error(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		t.Error(info, err)
	}
}

// Whoever edits the file while it is changed, as editors do it, loses nothing.
func TestWhatAPersonWritesMeanwhileStays(t *testing.T) {
	for how, edit := range map[string]func(name, text string) error{
		"in place": func(name, text string) error { return os.WriteFile(name, []byte(text), 0o600) },
		"by rename": func(name, text string) error {
			return errors.Join(os.WriteFile(name+".new", []byte(text), 0o600), os.Rename(name+".new", name))
		},
		"by removing it first": func(name, text string) error {
			return errors.Join(os.Remove(name), os.WriteFile(name, []byte(text), 0o600))
		},
	} {
		for _, when := range []string{"written", "exchange"} {
			t.Run(how+" when it is "+when, func(t *testing.T) {
				dir := t.TempDir()
				write(t, dir, "a.example\n")
				f := fileOf(dir, intel.Block)
				f.between = func(step string) {
					if step != when {
						return
					}
					if err := edit(f.name, "a.example\nperson.example\n"); err != nil {
						t.Error(err)
					}
				}
				done, err := f.replace([]byte("a.example\n"), []byte("a.example\nours.example\n"))
				if done || err != nil {
					t.Errorf("%t, %v", done, err)
				}
				if got := content(t, dir); got != "a.example\nperson.example\n" {
					t.Errorf("%q", got)
				}
				if left, _ := filepath.Glob(filepath.Join(dir, "block", "*")); len(left) != 1 {
					t.Errorf("left behind: %v", left)
				}
				if _, err := new(Editor).Apply(dir, intel.Block, Change{Put: []intel.Indicator{block(t, "ours.example", "")}}, nil); err != nil {
					t.Fatal(err)
				}
				if got := content(t, dir); got != "a.example\nperson.example\nours.example\n" {
					t.Errorf("%q", got)
				}
			})
		}
	}
	// One that somebody else makes first is not overwritten either, and a link is
	// followed.
	dir := t.TempDir()
	f := fileOf(dir, intel.Block)
	f.between = func(string) { write(t, dir, "person.example\n") }
	if done, err := f.replace(nil, []byte("ours.example\n")); done || err != nil || content(t, dir) != "person.example\n" {
		t.Errorf("%t, %v", done, err)
	}
	f.between = nil
	if err := errors.Join(os.Rename(f.name, dir+"/elsewhere"), os.Symlink("../elsewhere", f.name)); err != nil {
		t.Fatal(err)
	}
	if done, err := f.replace([]byte("person.example\n"), []byte("both.example\n")); !done || err != nil || content(t, dir) != "both.example\n" {
		t.Errorf("%t, %v", done, err)
	}
	if info, err := os.Lstat(f.name); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", info, err)
	}
}

func TestNothingIsLostOfManyWhoAddAtOnce(t *testing.T) {
	dir := t.TempDir()
	e := new(Editor)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, err := e.Apply(dir, intel.Block, Change{Put: []intel.Indicator{block(t, fmt.Sprintf("n%d.example", i), "")}}, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range 20 {
		if !strings.Contains(content(t, dir), fmt.Sprintf("\nn%d.example\n", i)) {
			t.Errorf("n%d is lost", i)
		}
	}
}
