package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel/disk"
)

// fullDisk says that there is no room.
type fullDisk struct{ disk.System }

func (fullDisk) Free(string) (int64, error) { return 1 << 10, nil }

func someStatements(n int) []statement {
	r := rand.New(rand.NewPCG(1, 2))
	var all []statement
	for i := range n {
		all = append(all, statement{
			item: item{r.Uint64N(uint64(n)) << 50, r.Uint64N(2), uint32(i + 1)},
			key:  fmt.Appendf(nil, "key%d", i), attributes: bytes.Repeat([]byte{byte(i)}, r.IntN(20)),
		})
	}
	return all
}

func TestStatementsAreSortedInMemoryAndOnDiskAlike(t *testing.T) {
	all := someStatements(2000)
	want := slices.Clone(all)
	slices.SortFunc(want, func(a, b statement) int { return a.compareLines(b.item) })
	for name, test := range map[string]struct{ room, runs int }{
		"in memory": {1 << 30, 0}, "in one run and a rest": {80 << 10, 1}, "in many runs": {4 << 10, 20}, "in runs of one": {1, 2000},
	} {
		dir := t.TempDir()
		s := &sorter{large: func() {}, guard: disk.Guard{FS: disk.System{}, Path: dir, MinFree: -1}, room: test.room}
		for _, st := range all {
			if err := s.add(st); err != nil {
				t.Fatal(err)
			}
		}
		if len(s.runs) < test.runs || test.runs == 0 && len(s.runs) > 0 {
			t.Errorf("%s: %d runs", name, len(s.runs))
		}
		for range 2 { // it can be read again
			i := 0
			for st, err := range s.all() {
				if err != nil {
					t.Fatal(err)
				}
				if st.item != want[i].item || !bytes.Equal(st.key, want[i].key) || !bytes.Equal(st.attributes, want[i].attributes) {
					t.Fatalf("%s: the %dth is %+v, want %+v", name, i, st, want[i])
				}
				i++
			}
			if i != len(want) {
				t.Errorf("%s: %d statements", name, i)
			}
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%s: files are left: %v, %v", name, left, err)
		}
		s.close()
	}
}

func TestSortingLeavesRoomOnTheDisk(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	load(t, s, from("a", "one.example"))
	s.opts.FS, s.opts.MinFree, s.room = fullDisk{}, 1<<20, 100
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "d%d.example\n", i)
	}
	if _, err := s.Refresh(t.Context(), from("a", text.String())); !errors.Is(err, disk.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	expect(t, m, "one.example", "block one.example a:1")
}

func TestSourceOfTheLongestLinesIsSorted(t *testing.T) {
	s, _ := openStore(t, memoryDB(t))
	s.room = 1
	text := "/" + strings.Repeat("a", 900) + "/ in=subject\nhttps://evil.example/" + strings.Repeat("b", 8000) + " note=" + strings.Repeat("n", 400)
	if r := load(t, s, from("a", text))[0]; r.Outcome != Changed || r.Entries != 2 {
		t.Errorf("got %s %v", r, r.Errors)
	}
}

func TestWhoWantsToKnowIsToldOfLargeRefreshes(t *testing.T) {
	began, ended := 0, 0
	s, _ := openStore(t, memoryDB(t))
	s.opts.Large = func() func() { began++; return func() { ended++ } }
	load(t, s, from("a", "one.example\ntwo.example"))
	if began != 0 {
		t.Error("two lines are called large")
	}
	s.room = 1
	load(t, s, from("a", "one.example\nthree.example"), from("b", "one.example\nfour.example"))
	if began != 1 || ended != 1 {
		t.Errorf("began %d times, ended %d times", began, ended)
	}
}
