package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/match"
)

func TestSourceThatListedNothingCanGo(t *testing.T) {
	db := memoryDB(t)
	s, _ := openStore(t, db)
	load(t, s, from("a", "# nothing\n"))
	load(t, s, Source{Name: "a"})
	generation := s.Generation()
	s.Close()
	s, _ = openStore(t, db)
	if s.Generation() != generation || len(s.Sources()) != 0 {
		t.Errorf("generation %d, was %d; %+v", s.Generation(), generation, s.Sources())
	}
}

func TestSourceWithoutLinesMayRepeatItself(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	feed := func(yield func(intel.Indicator, error) bool) {
		for ind, err := range entries("one.example\none.example\ntwo.example\none.example") {
			ind.Line = 0
			if !yield(ind, err) {
				return
			}
		}
	}
	before := s.Generation()
	if r := load(t, s, Source{Name: "feed", Entries: feed})[0]; r.Entries != 2 || r.Added != 2 {
		t.Errorf("got %s", r)
	}
	expect(t, m, "one.example", "block one.example feed:0")
	n := 0
	for _, err := range s.Added(before) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d were added", n)
	}
}

// TestLargeSourcesAreComparedWithWhatTheyWere uses indexes of many shards, whose
// number changes, and removes little and much at a time.
func TestLargeSourcesAreComparedWithWhatTheyWere(t *testing.T) {
	db := memoryDB(t)
	s, m := openStore(t, db)
	r := rand.New(rand.NewPCG(1, 2))
	had := map[string]bool{}
	lines := []string{}
	for step, size := range []int{5000, 5001, 4990, 100, 3000, 3000, 0, 2000} {
		kept := size - min(size, 10)
		if len(lines) > kept {
			lines = slices.Clone(lines[len(lines)-kept:])
		}
		for len(lines) < size {
			lines = slices.Insert(lines, r.IntN(len(lines)+1), fmt.Sprintf("d%d-%d.example", step, len(lines)))
		}
		has := map[string]bool{}
		added := 0
		for _, line := range lines {
			has[line] = true
			if !had[line] {
				added++
			}
		}
		result := load(t, s, from("a", strings.Join(lines, "\n")))[0]
		if result.Entries != size || result.Added != added || result.Removed != len(had)+added-size {
			t.Fatalf("step %d: got %s, want %d new", step, result, added)
		}
		for line := range had {
			if !has[line] {
				expect(t, m, line, "")
			}
		}
		for i, line := range lines {
			expect(t, m, line, fmt.Sprintf("block %s a:%d", line, i+1))
		}
		if t.Failed() {
			t.Fatalf("step %d", step)
		}
		had = has
	}
	checkNothingIsLeft(t, s, db)
}

func TestMarksAreWrittenOnce(t *testing.T) {
	db := &fragile{DB: memoryDB(t), left: -1}
	s, _ := openStore(t, db)
	load(t, s, from("a", "https://evil.example/a*"))
	r := newRefresh(context.Background(), s, nil)
	defer r.w.release()
	r.written.grow(1)
	p, err := intel.URLPrefix("https://evil.example/b*") // the marks are those of the first one
	if err != nil {
		t.Fatal(err)
	}
	if err := r.addMarks(p); err != nil || len(r.w.order) != 0 {
		t.Errorf("%d marks are written again, %v", len(r.w.order), err)
	}
}

func TestRefreshEndsWithItsContext(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	load(t, s, from("a", "one.example"))
	generation := s.Generation()
	for _, at := range []int{1, 500, 999} {
		ctx, cancel := context.WithCancel(context.Background())
		n := 0
		src := Source{Name: "a", Entries: func(yield func(intel.Indicator, error) bool) {
			for ind, err := range generated(1000, 0) {
				if n++; n == at {
					cancel()
				}
				if !yield(ind, err) {
					return
				}
			}
		}}
		if _, err := s.Refresh(ctx, src); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at %d: %v", at, err)
		}
		cancel()
	}
	expect(t, m, "one.example", "block one.example a:1")
	if s.Generation() != generation {
		t.Errorf("generation %d, was %d", s.Generation(), generation)
	}
}

func TestSourceIsReadOnce(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	for _, text := range []string{"one.example\ntwo.example", "two.example note=x\nthree.example"} {
		reads := 0
		load(t, s, Source{Name: "a", Entries: func(yield func(intel.Indicator, error) bool) {
			reads++
			entries(text)(yield)
		}})
		if reads != 1 {
			t.Errorf("%q was read %d times", text, reads)
		}
	}
	expect(t, m, "two.example", "block two.example a:1")
}

func TestWhatFailedGenerationsLeftIsRemovedBeforeItIsTooMuch(t *testing.T) {
	db := &fragile{DB: memoryDB(t), left: -1}
	s, m := openStore(t, db)
	load(t, s, from("a", "one.example"))
	s.batch = 1
	for i := range maxAborted + 5 {
		db.left = 3
		if _, err := s.Refresh(context.Background(), from("a", fmt.Sprintf("two.example id=%d\nx%d.example", i, i))); !errors.Is(err, errFragile) {
			t.Fatal(err)
		}
		if n := len(s.state.aborted); n > maxAborted+1 {
			t.Fatalf("%d generations are remembered", n)
		}
	}
	db.left = -1
	expect(t, m, "one.example", "block one.example a:1")
	expect(t, m, "two.example", "")
	load(t, s, from("a", "two.example"))
	expect(t, m, "two.example", "block two.example a:1")
	checkNothingIsLeft(t, s, db.DB)
}

// blind gives no snapshots while it is told not to.
type blind struct {
	*kv.DB
	from, calls int
}

func (b *blind) Snapshot() (*kv.Snapshot, error) {
	if b.calls++; b.from > 0 && b.calls >= b.from {
		return nil, errFragile
	}
	return b.DB.Snapshot()
}

func TestGenerationThatCouldNotBePublishedIsPublishedByTheNextRefresh(t *testing.T) {
	activated := false
	for call := 1; ; call++ {
		db := &blind{DB: memoryDB(t)}
		s, m := openStore(t, db)
		load(t, s, from("a", "one.example"))
		generation := s.Generation()
		db.from, db.calls = call, 0
		_, err := s.Refresh(context.Background(), from("a", "two.example"))
		db.from = 0
		if err == nil {
			if !activated {
				t.Error("no failure between activating and publishing")
			}
			return
		}
		expect(t, m, "one.example", "block one.example a:1") // what was published last is served
		load(t, s, Source{Name: "never listed"})
		if s.Generation() > generation { // it was activated, and is published now
			expect(t, m, "one.example", "")
			expect(t, m, "two.example", "block two.example a:1")
			activated = true
		}
	}
}

func TestOldAdditionsAreForgotten(t *testing.T) {
	db, clock := memoryDB(t), now
	s, err := Open(Options{DB: db, Matcher: match.NewMatcher(), Now: func() time.Time { return clock }, KeepAdded: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	start := s.Generation()
	added := func(after uint64) string {
		var got []string
		for a, err := range s.Added(after) {
			if err != nil {
				return err.Error()
			}
			got = append(got, fmt.Sprintf("%d %s", a.Generation-start, a.Indicator.Pattern))
		}
		return strings.Join(got, ", ")
	}
	load(t, s, from("a", "one.example"))
	clock = clock.Add(50 * time.Minute)
	load(t, s, from("a", "one.example\ntwo.example"))
	if got := added(start); got != "1 one.example, 2 two.example" {
		t.Errorf("got %s", got)
	}
	clock = clock.Add(20 * time.Minute)
	load(t, s, from("a", "one.example\ntwo.example\nthree.example"))
	if got := added(start); got != ErrForgotten.Error() {
		t.Errorf("got %s", got)
	}
	if got := added(start + 1); got != "2 two.example, 3 three.example" {
		t.Errorf("got %s", got)
	}
	if got := added(start + 3); got != "" {
		t.Errorf("got %s", got)
	}
	s.Close()
	if s, err = Open(Options{DB: db, Matcher: match.NewMatcher(), Now: func() time.Time { return clock.Add(2 * time.Hour) }, KeepAdded: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if got := added(start + 2); got != ErrForgotten.Error() {
		t.Errorf("got %s", got)
	}
}

func TestAdditionsOfAClockThatWasAheadKeepNoOthers(t *testing.T) {
	clock := now.AddDate(20, 0, 0)
	s, err := Open(Options{DB: memoryDB(t), Matcher: match.NewMatcher(), Now: func() time.Time { return clock }, KeepAdded: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	start := s.Generation()
	load(t, s, from("a", "one.example"))
	clock = now
	load(t, s, from("a", "two.example"))
	if _, before, err := s.Times(); err != nil || before > start {
		t.Errorf("it is forgotten up to %d, %v", before-start, err)
	}
	clock = now.Add(2 * time.Hour)
	load(t, s, from("a", "three.example"))
	if times, before, err := s.Times(); err != nil || before != start+2 || len(times) != 1 {
		t.Errorf("it is known of %v, and forgotten up to %d, %v", times, before-start, err)
	}
}

func TestReadersSeeOneGenerationWhileAnotherIsLoaded(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	const n = 40
	text := func(round int) string {
		var lines []string
		for i := range n {
			lines = append(lines, fmt.Sprintf("d%d.example id=%d", i, round))
		}
		return strings.Join(lines, "\n")
	}
	load(t, s, from("a", text(0)), from("b", text(0)))
	var values []intel.Observable
	for i := range n {
		v, _ := intel.Domain(fmt.Sprintf("d%d.example", i))
		values = append(values, intel.Observable{Value: v})
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				snap := m.Acquire()
				hits, err := snap.Match(nil, values, 0, now)
				if err != nil || len(hits) != 2*n {
					t.Errorf("%d hits, %v", len(hits), err)
				}
				for _, h := range hits {
					if h.Indicator.ID != hits[0].Indicator.ID {
						t.Errorf("%s and %s in one snapshot", h.Indicator.ID, hits[0].Indicator.ID)
						break
					}
				}
				for _, err := range s.Added(s.Generation() - 1) {
					if err != nil {
						t.Error(err)
					}
				}
				snap.Release()
			}
		})
	}
	s.batch = 7
	for round := range 15 {
		load(t, s, from("a", text(round+1)), from("b", text(round+1)))
	}
	close(stop)
	readers.Wait()
}

func TestStoreOpensOnAFullDisk(t *testing.T) {
	db := &fragile{DB: memoryDB(t), left: -1}
	s, _ := openStore(t, db)
	load(t, s, from("a", "one.example"))
	s.batch = 1
	db.left = 2
	if _, err := s.Refresh(context.Background(), from("a", "two.example\nthree.example")); err == nil {
		t.Fatal("no failure")
	}
	s.Close()
	db.left, db.forGood, db.err = 0, true, disk.ErrNoSpace
	s, m := openStore(t, db)
	expect(t, m, "one.example", "block one.example a:1")
	expect(t, m, "two.example", "")
	if _, err := s.Refresh(context.Background(), from("a", "two.example")); !errors.Is(err, disk.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	db.left = -1
	load(t, s, from("a", "two.example"))
	expect(t, m, "one.example", "")
	expect(t, m, "two.example", "block two.example a:1")
	checkNothingIsLeft(t, s, db.DB)
}

func TestFilterHoldsAllOfLargeSources(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	s, m := openStore(t, memoryDB(t))
	const n = 60_000 // more shards of the index than of the filter
	load(t, s, Source{Name: "a", Entries: generated(n, 100)}, Source{Name: "b", Entries: generated(100, 0)})
	for range 2 {
		for i := range n {
			p, err := generatedPattern(i)
			if err != nil {
				t.Fatal(err)
			}
			if !s.filter.Contains(match.Hash(p)) {
				t.Fatalf("%s is not in the filter", p)
			}
			for _, mark := range match.AppendMarks(nil, p) {
				if !s.filter.Contains(mark) {
					t.Fatalf("a mark of %s is not in the filter", p)
				}
			}
		}
		if got := s.filter.Bytes(); got > 2*n {
			t.Errorf("the filter takes %d bytes", got)
		}
		s.Close()
		s, m = openStoreIn(t, s.opts.DB, s.opts.Dir)
	}
	expect(t, m, "host16.bad16.example", "block host16.bad16.example b:17")
	expect(t, m, "host800.bad800.example", "block host800.bad800.example a:801")
}

func TestAdditionsAreFoundWhereMuchOrLittleOfTheDatabaseIsMeant(t *testing.T) {
	s, _ := openStore(t, memoryDB(t))
	const n = 20_000
	first := s.Generation()
	load(t, s, Source{Name: "a", Entries: generated(n, 0)})
	little := s.Generation()
	load(t, s, from("b", "one.example\n/x/ in=subject\nhost800.bad800.example"), Source{Name: "c", Entries: generated(n+50, n)})
	load(t, s, from("b", "one.example\n/x/ in=subject")) // one is gone again
	for after, want := range map[uint64]int{first: n + 52, little: 52} {
		seen := map[string]bool{}
		for a, err := range s.Added(after) {
			if err != nil {
				t.Fatal(err)
			}
			seen[a.Indicator.Source+" "+a.Indicator.Pattern.String()] = true
		}
		if len(seen) != want || !seen["b one.example"] {
			t.Errorf("%d were added after %d, want %d", len(seen), after, want)
		}
	}
}
