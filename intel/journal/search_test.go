package journal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/wal"
)

// written is an entry and where it stands.
type written struct {
	at wal.Position
	e  *Entry
}

// shades are senders' names, some of which many share.
var shades = [...]string{"rare", "some", "often", "often", "often", "often", "some", "often"}

func randomEntry(t testing.TB, rng *rand.Rand, n int, at time.Time) *Entry {
	e := &Entry{ID: fmt.Sprintf("%026d", n), Time: at, Subject: fmt.Sprintf("subject %d", rng.IntN(4)), Date: strings.Repeat("x", rng.IntN(2_000))}
	for range rng.IntN(3) {
		e.Observables = append(e.Observables, intel.Observable{Value: address(t, shades[rng.IntN(len(shades))]+"@evil.example"), Role: intel.RoleEnvelopeFrom})
	}
	if rng.IntN(40) == 0 {
		e.QueueID = "RARE"
	}
	e.To = []string{[]string{"a@example.org", "b@example.org", "c@other.example"}[rng.IntN(3)]}
	return e
}

func carries(e *Entry, k Key) bool { return slices.Contains(keys(nil, e), k) }

// reference is what a query asks for, found the plain way.
func reference(all []written, q Query) (ids []string) {
	for _, w := range slices.Backward(all) {
		ok := (q.Before == 0 || w.at < q.Before) && (q.Since.IsZero() || !w.e.Time.Before(q.Since)) && (q.Until.IsZero() || w.e.Time.Before(q.Until)) &&
			(q.Match == nil || q.Match(w.e)) && (q.Glance == nil || q.Glance(w.e))
		for _, group := range q.Keys {
			ok = ok && (len(group) == 0 || slices.ContainsFunc(group, func(k Key) bool { return carries(w.e, k) }))
		}
		if ok {
			ids = append(ids, w.e.ID)
		}
	}
	return ids
}

// pages collects all pages of a query, and calls meanwhile between them. Where few
// candidates are left, one list of the index is all that speaks for them: so the
// query checks them, as every caller of Search has to.
func (j *opened) pages(t testing.TB, q Query, meanwhile func()) (ids []string, pages int) {
	t.Helper()
	match := q.Match
	q.Match = func(e *Entry) bool {
		for _, group := range q.Keys {
			if len(group) > 0 && !slices.ContainsFunc(group, func(k Key) bool { return carries(e, k) }) {
				return false
			}
		}
		return match == nil || match(e)
	}
	for {
		s := newSearch(t.Context(), j.Journal, q)
		if q.Limit%2 == 1 {
			s.window, s.width = 10, 64 // as if there were very many
		}
		page, err := s.run()
		if err != nil {
			t.Fatal(err)
		}
		pages++
		if len(page.Records) > q.Limit {
			t.Fatalf("%d entries on a page of %d", len(page.Records), q.Limit)
		}
		for _, r := range page.Records {
			ids = append(ids, r.Entry.ID)
		}
		if page.Next == 0 {
			return ids, pages
		}
		if q.Before != 0 && page.Next >= q.Before {
			t.Fatalf("a page before %d is followed by one before %d", q.Before, page.Next)
		}
		q.Before = page.Next
		if meanwhile != nil {
			meanwhile()
		}
	}
}

func randomQuery(t testing.TB, rng *rand.Rand, all []written, span time.Duration) Query {
	q := Query{Limit: []int{1, 3, 7, 50, 10_000}[rng.IntN(5)]}
	groups := [][]Key{
		{KeyOfQueueID("RARE")},
		{KeyOf(address(t, "rare@evil.example"))},
		{KeyOf(address(t, "often@evil.example"))},
		{KeyOf(address(t, "rare@evil.example")), KeyOf(address(t, "some@evil.example")), KeyOfQueueID("RARE")},
		{KeyOf(domain(t, "evil.example"))},
		{KeyOf(domain(t, "example.org"))},
		{KeyOf(address(t, "c@other.example"))},
		{KeyOf(domain(t, "example"))},
		{KeyOfQueueID("never")},
		{},
	}
	for range rng.IntN(4) {
		q.Keys = append(q.Keys, groups[rng.IntN(len(groups))])
	}
	moment := func() time.Time {
		if rng.IntN(3) == 0 {
			return all[rng.IntN(len(all))].e.Time
		}
		return start.Add(time.Duration(rng.Int64N(int64(span)*5/4)) - span/8)
	}
	if rng.IntN(2) == 0 {
		q.Since = moment()
	}
	if rng.IntN(2) == 0 {
		q.Until = moment()
	}
	if rng.IntN(3) == 0 {
		want := fmt.Sprintf("subject %d", rng.IntN(5))
		q.Match = func(e *Entry) bool { return e.Subject == want }
	}
	if rng.IntN(4) == 0 {
		want := fmt.Sprintf("subject %d", rng.IntN(4))
		q.Glance = func(e *Entry) bool { return e.Subject != want }
	}
	if rng.IntN(4) == 0 {
		q.Before = all[rng.IntN(len(all))].at + wal.Position(rng.IntN(2))
	}
	return q
}

// clocks are orders in which the times of entries come.
func clocks(rng *rand.Rand, span time.Duration, n int) map[string]func(i int) time.Time {
	step := span / time.Duration(n)
	return map[string]func(i int) time.Time{
		"forward":  func(i int) time.Time { return start.Add(time.Duration(i) * step) },
		"back":     func(i int) time.Time { return start.Add(span - time.Duration(i)*step) },
		"anyhow":   func(int) time.Time { return start.Add(time.Duration(rng.Int64N(int64(span)))) },
		"standing": func(int) time.Time { return start },
	}
}

func TestASearchFindsWhatAPlainFilterFinds(t *testing.T) {
	const n, span = 300, 40 * 24 * time.Hour
	queries := 80
	if testing.Short() {
		queries = 10
	}
	rng := rand.New(rand.NewPCG(4, 2))
	for name, clock := range clocks(rng, span, n) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "journal")
			o := Options{Dir: dir, segmentBytes: 20 << 10, grid: 13}
			j := open(t, o)
			var all []written
			write := func() {
				e := randomEntry(t, rng, len(all), clock(len(all)))
				at, err := j.Append(t.Context(), e)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, written{at, e})
			}
			sync := func() {
				if err := j.Wait(t.Context(), j.Last()); err != nil {
					t.Fatal(err)
				}
			}
			check := func() {
				t.Helper()
				for range queries {
					q := randomQuery(t, rng, all, span)
					want := reference(all, q)
					got, pages := j.pages(t, q, nil)
					if !slices.Equal(got, want) {
						t.Fatalf("%d keys, since %s until %s before %d limit %d:\ngot  %v\nwant %v", len(q.Keys), q.Since, q.Until, q.Before, q.Limit, got, want)
					}
					if least := len(want) / q.Limit; pages < least || pages > least+1 && len(q.Keys) == 0 && q.Match == nil && q.Glance == nil {
						t.Fatalf("%d entries in %d pages of %d", len(want), pages, q.Limit)
					}
				}
			}
			for range n {
				write()
				if rng.IntN(30) == 0 {
					sync() // so that the index has groups of all sizes
				}
			}
			sync()
			if zones := j.index.stretches(^wal.Position(0), time.Time{}, time.Time{}); name == "forward" && (len(zones) < 5 || len(j.log.Segments()) < 5) {
				t.Fatalf("%d weeks, %d segments", len(zones), len(j.log.Segments()))
			}
			check()
			// What is written while somebody pages is on none of the pages.
			for range 10 {
				q := randomQuery(t, rng, all, span)
				q.Limit = 5
				want := reference(all, q)
				if got, _ := j.pages(t, q, func() { write(); sync() }); !slices.Equal(got, want) {
					t.Fatalf("got  %v\nwant %v", got, want)
				}
			}
			j.stop()
			j = open(t, o) // what is kept of zones is what they were
			sync()
			check()
			j.stop()
			if names := weeks(t, dir); len(names) > 1 { // and a lost week is made anew
				if err := os.RemoveAll(filepath.Join(dir, "index", names[len(names)/2])); err != nil {
					t.Fatal(err)
				}
			}
			j = open(t, o)
			sync()
			check()
		})
	}
}

// A span of time bounds what is read, also where nothing has a key.
func TestASpanOfTimeBoundsTheWork(t *testing.T) {
	j := open(t, Options{Dir: filepath.Join(t.TempDir(), "journal"), grid: 14})
	rng := rand.New(rand.NewPCG(1, 1))
	const n = 400
	for i := range n {
		if _, err := j.Append(t.Context(), randomEntry(t, rng, i, start.Add(time.Duration(i)*time.Hour))); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Wait(t.Context(), j.Last()); err != nil {
		t.Fatal(err)
	}
	for _, keys := range [][][]Key{nil, {{KeyOf(domain(t, "example")), KeyOf(domain(t, "org"))}}} {
		looked := 0
		page, err := j.Search(t.Context(), Query{Keys: keys, Since: start.Add(100 * time.Hour), Until: start.Add(110 * time.Hour), Limit: n,
			Match: func(*Entry) bool { looked++; return true }})
		if err != nil || len(page.Records) != 10 || page.Next != 0 || looked != 10 {
			t.Errorf("%d of 10 found, %d looked at: %v", len(page.Records), looked, err)
		}
		s := newSearch(t.Context(), j.Journal, Query{Since: start.Add(100 * time.Hour), Until: start.Add(110 * time.Hour), Limit: n})
		if _, err := s.run(); err != nil {
			t.Fatal(err)
		}
		if s.examined > 60 { // two zones
			t.Errorf("%d entries were read for ten", s.examined)
		}
	}
}

func TestAPageEndsWhenItHasCostEnough(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 30,000 entries")
	}
	j := open(t, Options{Dir: filepath.Join(t.TempDir(), "journal")})
	const n = maxExamined + 10_000
	var group sync.WaitGroup
	for w := range 50 {
		group.Go(func() {
			for i := range n / 50 {
				e := &Entry{ID: fmt.Sprintf("%d-%d", w, i), Time: start, QueueID: "SAME"}
				if _, err := j.Append(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if err := j.Wait(t.Context(), j.Last()); err != nil {
		t.Fatal(err)
	}
	for name, keys := range map[string][][]Key{"read": nil, "looked up": {{KeyOfQueueID("SAME")}}} {
		looked, pages := map[string]bool{}, 0
		for q := (Query{Keys: keys, Limit: 10, Match: func(e *Entry) bool { looked[e.ID] = true; return false }}); ; pages++ {
			before := len(looked)
			page, err := j.Search(t.Context(), q)
			if err != nil || len(page.Records) != 0 || len(looked)-before > maxExamined {
				t.Fatalf("%s: %+v %v", name, page, err)
			}
			if q.Before = page.Next; q.Before == 0 {
				break
			}
			if page.Reached.IsZero() {
				t.Errorf("%s: it is not said how far the page went", name)
			}
		}
		if pages != 1 || len(looked) != n {
			t.Errorf("%s: %d looked at in %d pages", name, len(looked), pages+1)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := j.Search(ctx, Query{Limit: 1, Match: func(*Entry) bool { cancel(); return false }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a search that nobody waits for: %v", err)
	}
	if _, err := j.Search(t.Context(), Query{}); err == nil {
		t.Error("a search for no entries is taken")
	}
}

func TestWhatIsDroppedWhileSomebodyPagesIsPassedOver(t *testing.T) {
	for name, keys := range map[string][][]Key{"read": nil, "looked up": {{KeyOf(domain(t, "example")), KeyOf(domain(t, "org"))}}} {
		t.Run(name, func(t *testing.T) {
			now := start
			var mu sync.Mutex
			clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
			j := open(t, Options{Dir: filepath.Join(t.TempDir(), "journal"), Clock: clock, Retention: Retention{MaxAge: 10 * 24 * time.Hour}, segmentBytes: 20 << 10, grid: 13})
			rng := rand.New(rand.NewPCG(3, 1))
			var all []written
			for i := range 300 {
				e := randomEntry(t, rng, i, start.Add(time.Duration(i)*2*time.Hour)) // 25 days
				at, err := j.Append(t.Context(), e)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, written{at, e})
			}
			if err := j.Wait(t.Context(), j.Last()); err != nil {
				t.Fatal(err)
			}
			dropped := 0
			got, _ := j.pages(t, Query{Keys: keys, Limit: 20}, func() {
				mu.Lock()
				now = start.Add(time.Duration(dropped) * 4 * 24 * time.Hour)
				dropped++
				mu.Unlock()
				for range 2 { // prune runs after the index has caught up
					e := &Entry{ID: "late", Time: clock()}
					if _, err := j.Append(t.Context(), e); err != nil {
						t.Fatal(err)
					}
					if err := j.Wait(t.Context(), j.Last()); err != nil {
						t.Fatal(err)
					}
				}
			})
			oldest := j.log.Segments()[0].Base
			var kept []string
			for _, w := range slices.Backward(all) {
				if w.at > oldest {
					kept = append(kept, w.e.ID)
				}
			}
			if len(kept) == 300 || len(got) < len(kept) || !slices.Equal(got[:len(kept)], kept) {
				t.Errorf("%d kept, %d found", len(kept), len(got))
			}
			for i, id := range got { // and none twice, none in another order
				if id != all[299-i].e.ID {
					t.Fatalf("%d: got %s, want %s", i, id, all[299-i].e.ID)
				}
			}
			// A new search finds exactly what is left, wherever in a zone that begins.
			for _, segment := range j.log.Segments() {
				if err := j.log.Drop(segment.Base); err != nil {
					t.Fatal(err)
				}
				for len(kept) > 0 && all[300-len(kept)].at < segment.Base {
					kept = kept[:len(kept)-1]
				}
				if got, _ := j.pages(t, Query{Keys: keys, Limit: 7, Match: func(e *Entry) bool { return e.ID != "late" }}, nil); !slices.Equal(got, kept) {
					t.Errorf("found %d of %d", len(got), len(kept))
				}
			}
		})
	}
}

// A week of the index that is closed is one that was dropped, or the journal ends:
// then nobody may believe that this was all.
func TestASearchInAnIndexThatIsClosedIsNotBelieved(t *testing.T) {
	j := open(t, Options{Dir: filepath.Join(t.TempDir(), "journal")})
	if _, err := j.Append(t.Context(), sample(t)); err != nil {
		t.Fatal(err)
	}
	if err := j.Wait(t.Context(), j.Last()); err != nil {
		t.Fatal(err)
	}
	j.stop()
	if page, err := j.Search(t.Context(), Query{Keys: [][]Key{{KeyOfQueueID("4Y1abc")}}, Limit: 1}); !errors.Is(err, wal.ErrClosed) {
		t.Errorf("%+v %v", page, err)
	}
}
