package faulty_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/faulty"
)

func create(t *testing.T, d *faulty.Disk, name, text string) disk.File {
	t.Helper()
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	must(t, put(f, text, 0))
	return f
}

func put(f disk.File, text string, off int64) error {
	_, err := f.WriteAt([]byte(text), off)
	return err
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// content gives what a file holds, "-" if it is not there.
func content(t *testing.T, d *faulty.Disk, name string) string {
	t.Helper()
	b, err := disk.ReadFile(d, name, 1<<30)
	if errors.Is(err, fs.ErrNotExist) {
		return "-"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWhatWasNotSyncedIsGone(t *testing.T) {
	d := faulty.New("/s", 1)
	f := create(t, d, "/s/synced", "old")
	must(t, f.Sync("x"), put(f, "new and longer", 0))
	must(t, create(t, d, "/s/nameless", "x").Sync("x"))
	must(t, d.SyncDir("/s", "x"))
	must(t, create(t, d, "/s/late", "x").Sync("x"))
	must(t, d.Rename("/s/nameless", "/s/renamed"))

	d2 := d.Reboot(faulty.Nothing)
	for name, want := range map[string]string{"synced": "old", "nameless": "x", "late": "-", "renamed": "-"} {
		if got := content(t, d2, "/s/"+name); got != want {
			t.Errorf("%s holds %q, not %q", name, got, want)
		}
	}
	if err := put(f, "x", 0); !errors.Is(err, faulty.ErrPower) {
		t.Errorf("the old run still writes: %v", err)
	}
}

func TestAnUnsyncedFileWithADurableNameIsEmpty(t *testing.T) {
	d := faulty.New("/s", 1)
	create(t, d, "/s/f", "text")
	must(t, d.SyncDir("/s", "x"))
	if got := content(t, d.Reboot(faulty.Nothing), "/s/f"); got != "" {
		t.Errorf("%q", got)
	}
}

func TestTheDeathOfAProcessLosesNothingAndSavesNothing(t *testing.T) {
	d := faulty.New("/s", 1)
	must(t, d.SyncDir("/s", "x"))
	create(t, d, "/s/f", "text")
	d = d.Restart()
	if got := content(t, d, "/s/f"); got != "text" {
		t.Errorf("after the death of the process: %q", got)
	}
	if got := content(t, d.Reboot(faulty.Nothing), "/s/f"); got != "-" {
		t.Errorf("after a power cut: %q", got)
	}
}

func TestAllThatWasWrittenCanSurvive(t *testing.T) {
	d := faulty.New("/s", 1)
	f := create(t, d, "/s/f", strings.Repeat("x", 2000))
	must(t, f.Truncate(1500), d.Rename("/s/f", "/s/g"))
	if got := content(t, d.Reboot(faulty.All), "/s/g"); got != strings.Repeat("x", 1500) {
		t.Errorf("%q", got)
	}
}

func TestSomeSectorsAndNamesSurvive(t *testing.T) {
	sectors, names := map[string]int{}, map[string]int{}
	for seed := range uint64(500) {
		d := faulty.New("/s", seed)
		f := create(t, d, "/s/f", strings.Repeat("o", 3*faulty.Sector))
		must(t, f.Sync("x"), d.SyncDir("/s", "x"), put(f, strings.Repeat("n", 3*faulty.Sector), 0))
		must(t, d.Rename("/s/f", "/s/g"))
		d = d.Reboot(faulty.Some)
		f1, f2 := content(t, d, "/s/f"), content(t, d, "/s/g")
		if (f1 == "-") == (f2 == "-") {
			t.Fatalf("seed %d: a rename was torn: %q, %q", seed, f1, f2)
		}
		got := max(f1, f2) // "-" is less than any content
		pattern := ""
		for s := range 3 {
			part := got[s*faulty.Sector : (s+1)*faulty.Sector]
			if strings.Count(part, part[:1]) != faulty.Sector {
				t.Fatalf("seed %d: a sector is torn", seed)
			}
			pattern += part[:1]
		}
		sectors[pattern]++
		names[f1[:1]]++
	}
	if len(sectors) != 8 || len(names) < 2 {
		t.Errorf("not everything happens: %v %v", sectors, names)
	}
}

func TestALengthCanSurviveWithoutItsContent(t *testing.T) {
	zeros, shorter := false, false
	for seed := range uint64(200) {
		d := faulty.New("/s", seed)
		f := create(t, d, "/s/f", "")
		must(t, d.SyncDir("/s", "x"), put(f, strings.Repeat("n", 2*faulty.Sector), 0))
		got := content(t, d.Reboot(faulty.Some), "/s/f")
		zeros = zeros || strings.Contains(got, "\x00")
		shorter = shorter || len(got) > 0 && len(got) < 2*faulty.Sector
	}
	if !zeros || !shorter {
		t.Errorf("zeros %v, shorter %v", zeros, shorter)
	}
}

func TestAFailedSyncIsNotMadeGoodByTheNext(t *testing.T) {
	d := faulty.New("/s", 1)
	f := create(t, d, "/s/f", "old")
	must(t, f.Sync("x"), d.SyncDir("/s", "x"), put(f, "new, longer", 0))
	d.Inject(func(op faulty.Op) error {
		if op.Kind == faulty.Sync {
			return syscall.EIO
		}
		return nil
	})
	if err := f.Sync("x"); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	d.Inject(nil)
	must(t, f.Sync("x"))
	if got := content(t, d, "/s/f"); got != "new, longer" {
		t.Errorf("reading gives %q", got)
	}
	next := d.Restart().Reboot(faulty.All)
	if got := content(t, next, "/s/f"); got != "old" {
		t.Errorf("after the power cut it is %q", got)
	}
}

func TestWritingAgainAfterAFailedSyncHelps(t *testing.T) {
	d := faulty.New("/s", 1)
	f := create(t, d, "/s/f", "text")
	must(t, d.SyncDir("/s", "x"))
	d.Inject(func(faulty.Op) error { return syscall.EIO })
	if err := f.Datasync("x"); err == nil {
		t.Fatal("no error")
	}
	d.Inject(nil)
	must(t, put(f, "text", 0), f.Datasync("x"))
	if got := content(t, d.Reboot(faulty.Nothing), "/s/f"); got != "text" {
		t.Errorf("%q", got)
	}
}

func TestAnOmittedSyncSaysYesAndDoesNothing(t *testing.T) {
	d := faulty.New("/s", 1)
	d.Omit("lazy")
	f := create(t, d, "/s/f", "text")
	must(t, f.Sync("lazy"), d.SyncDir("/s", "good"))
	d2 := d.Reboot(faulty.Nothing)
	if got := content(t, d2, "/s/f"); got != "" {
		t.Errorf("%q", got)
	}
	if got := fmt.Sprint(d2.Sites()); got != "map[good:1 lazy:1]" {
		t.Errorf("sites %s", got)
	}
}

func TestThePowerGoesAtTheChosenStep(t *testing.T) {
	lengths := map[int]bool{}
	for seed := range uint64(100) {
		d := faulty.New("/s", seed)
		d.CutAt(3)
		f := create(t, d, "/s/f", "1") // two steps: create and write
		if err := put(f, "23456789", 1); !errors.Is(err, faulty.ErrPower) || !d.Dead() {
			t.Fatal(err)
		}
		if err := d.Remove("/s/f"); !errors.Is(err, faulty.ErrPower) {
			t.Fatal(err)
		}
		lengths[len(content(t, d.Restart(), "/s/f"))] = true
	}
	if len(lengths) < 5 {
		t.Errorf("a write that the cut strikes does always the same: %v", lengths)
	}
}

func TestSpaceRunsOut(t *testing.T) {
	d := faulty.New("/s", 1)
	d.SetCapacity(10)
	f := create(t, d, "/s/f", "1234567")
	n, err := f.WriteAt([]byte("abcdef"), 7)
	if n != 3 || !errors.Is(err, disk.ErrNoSpace) || content(t, d, "/s/f") != "1234567abc" {
		t.Errorf("%d, %v, %q", n, err, content(t, d, "/s/f"))
	}
	must(t, put(f, "0000000000", 0)) // in place: needs no room
	if free, err := d.Free("/s"); free != 0 || err != nil {
		t.Error(free, err)
	}
	must(t, f.Truncate(4), put(f, "123456", 4))
	d.Inject(func(op faulty.Op) error { return &faulty.Short{N: 2, Err: syscall.EIO} })
	if n, err := f.WriteAt([]byte("abcd"), 0); n != 2 || !errors.Is(err, syscall.EIO) {
		t.Error(n, err)
	}
}

func TestWriteBackLeavesWhatWasOverwrittenSince(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(200) {
		d := faulty.New("/s", seed)
		d.WriteBack(true)
		f := create(t, d, "/s/f", "a")
		must(t, d.SyncDir("/s", "x"), put(f, "b", 0), put(f, "c", 0))
		seen[content(t, d.Reboot(faulty.Nothing), "/s/f")] = true
	}
	for _, want := range []string{"", "a", "b"} {
		if !seen[want] {
			t.Errorf("%q never survived: %v", want, seen)
		}
	}
}

func TestOneSeedGivesOneOutcome(t *testing.T) {
	run := func() []string {
		d := faulty.New("/s", 42)
		d.WriteBack(true)
		for i := range 20 {
			f := create(t, d, fmt.Sprintf("/s/%d", i), strings.Repeat("x", i*200))
			if i%3 == 0 {
				must(t, f.Sync("x"))
			}
		}
		d = d.Reboot(faulty.Some)
		var left []string
		list, err := d.ReadDir("/s")
		must(t, err)
		for _, e := range list {
			left = append(left, e.Name()+content(t, d, "/s/"+e.Name()))
		}
		return left
	}
	if a, b := run(), run(); !slices.Equal(a, b) {
		t.Error("two runs differ")
	}
}
