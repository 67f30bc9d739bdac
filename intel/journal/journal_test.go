package journal

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/intel/wal"
)

var start = time.Date(2026, 3, 5, 12, 0, 0, 0, time.UTC)

type opened struct {
	*Journal
	stop func()
}

func open(t testing.TB, o Options) *opened {
	t.Helper()
	o.FS, o.IndexMinFree = disk.System{}, -1
	return openAs(t, o)
}

func openAs(t testing.TB, o Options) *opened {
	t.Helper()
	if o.GroupDelay == 0 {
		o.GroupDelay = time.Hour // only Wait makes it go
	}
	j, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- j.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := j.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	t.Cleanup(stop)
	return &opened{j, stop}
}

func value(t testing.TB, v intel.Value, err error) intel.Value {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func domain(t testing.TB, s string) intel.Value  { v, err := intel.Domain(s); return value(t, v, err) }
func address(t testing.TB, s string) intel.Value { v, err := intel.Address(s); return value(t, v, err) }
func link(t testing.TB, s string) intel.Value    { v, err := intel.URL(s); return value(t, v, err) }
func ip(t testing.TB, s string) intel.Value {
	v, err := intel.IP(netip.MustParseAddr(s))
	return value(t, v, err)
}

func sample(t testing.TB) *Entry {
	return &Entry{
		ID: "01arz3ndektsv4rrffq69g5fav", Parent: "01arz3ndektsv4rrffq69g5faw", Time: start, QueueID: "4Y1abc", MessageID: "m1@evil.example",
		From: "s@evil.example", To: []string{"a@example.org", "caf\xe9@example.org"}, Client: netip.MustParseAddr("2001:db8:1:2::5"),
		Helo: "mail.evil.example", AuthUser: "alice", Direction: intel.Inbound,
		Subject: "Rechnung é \xff", HeaderFrom: "Bank <s@evil.example>", Date: "now", References: []string{"a@b", "c@d"}, Files: []string{"x.exe"},
		Size: 12345, Body: [32]byte{1, 2, 3}, Parts: []Part{{Path: "1", Type: "text/plain", Name: "x\xff", Size: 9, Fingerprint: [32]byte{9}}},
		Observables: []intel.Observable{
			{Value: address(t, "s@evil.example"), Role: intel.RoleEnvelopeFrom, Place: "envelope"},
			{Value: intel.SHA256([32]byte{7}), Role: intel.RoleAttachment, Place: "2"},
			{Value: link(t, "https://www.pay.evil.co.uk/x?y=1"), Role: intel.RoleURL, Place: "1/text"},
			{Value: ip(t, "2001:db8:1:2::5"), Role: intel.RoleClient, Place: "envelope"},
			{Value: ip(t, "198.51.100.7"), Role: intel.RoleClient, Place: "envelope"},
			{Value: link(t, "http://203.0.113.9/"), Role: intel.RoleURL, Place: "1/text"},
			{Value: intel.NullSender(), Role: intel.RoleRcpt, Place: "envelope"},
		},
		Action: intel.ActionTag, Rule: "listed-tag", Hits: []Hit{{"list:block/x", 3, "v", "1/text"}}, Generation: 42, Unjudged: true,
	}
}

func TestAnEntryComesBackAsItWasWritten(t *testing.T) {
	j := open(t, Options{Dir: filepath.Join(t.TempDir(), "journal")})
	want := sample(t)
	at, err := j.Append(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := j.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Entry, want) {
		t.Errorf("got  %+v\nwant %+v", got.Entry, want)
	}
	if _, err := j.Append(t.Context(), &Entry{Time: start}); err != nil {
		t.Errorf("an empty entry: %v", err)
	}
}

func TestAnEntryFitsWhateverTheMessageShows(t *testing.T) {
	long := strings.Repeat("x", 8000)
	for name, many := range map[string]struct {
		count int
		url   string
		kept  int
	}{
		"very many":         {9000, "https://h%d.example/", MaxObservables},
		"long ones":         {4000, "https://h%d.example/" + long, 129},
		"short behind long": {129, "https://h%d.example/" + long, 129},
	} {
		t.Run(name, func(t *testing.T) {
			j := open(t, Options{Dir: filepath.Join(t.TempDir(), "journal")})
			e := sample(t)
			first, last := link(t, "https://first.example/"), link(t, "https://last.example/")
			e.Observables = []intel.Observable{{Value: first, Role: intel.RoleURL, Place: "1/text"}}
			for n := range many.count {
				e.Observables = append(e.Observables, intel.Observable{Value: link(t, fmt.Sprintf(many.url, n)), Role: intel.RoleURL, Place: "1/text"})
			}
			e.Observables = append(e.Observables, intel.Observable{Value: last, Role: intel.RoleURL, Place: "1/text"})
			all := len(e.Observables)
			at, err := j.Append(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			got, err := j.Get(at)
			if err != nil {
				t.Fatal(err)
			}
			n := len(got.Entry.Observables)
			if got.Entry.Overflow != all-n || n < many.kept || n > many.kept+5 || len(e.Observables) != all || e.Overflow != 0 {
				t.Errorf("%d of %d observables are there, %d are said to be missing", n, all, got.Entry.Overflow)
			}
			if len(j.found(t, KeyOf(first))) != 1 {
				t.Error("the entry is not found by its first observable")
			}
			has := slices.ContainsFunc(got.Entry.Observables, func(o intel.Observable) bool { return o.Value == last })
			if found := len(j.found(t, KeyOf(last))) == 1; found != has || has != (many.count < MaxObservables) {
				t.Errorf("the last observable is in the entry: %t, and it is found: %t", has, found)
			}
		})
	}
}

func (j *opened) found(t testing.TB, key Key) (ids []string) {
	t.Helper()
	if err := j.Wait(t.Context(), j.Last()); err != nil {
		t.Fatal(err)
	}
	for r, err := range j.Lookup(key) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.Entry.ID)
	}
	return ids
}

func TestAnEntryIsFoundByAllThatItCarries(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, Options{Dir: dir})
	e := sample(t)
	if _, err := j.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	ranged := func(s string) Key {
		key, ok := KeyOfRange(netip.MustParsePrefix(s))
		if !ok {
			t.Fatalf("%s has no key", s)
		}
		return key
	}
	check := func(j *opened) {
		t.Helper()
		for name, key := range map[string]Key{
			"sender": KeyOf(address(t, "S@EVIL.example")), "sender's domain": KeyOf(domain(t, "evil.example")),
			"digest": KeyOf(intel.SHA256([32]byte{7})), "url over http": KeyOf(link(t, "http://www.pay.evil.co.uk/x?y=1")),
			"host": KeyOf(domain(t, "www.pay.evil.co.uk")), "parent": KeyOf(domain(t, "pay.evil.co.uk")), "registrable": KeyOf(domain(t, "evil.co.uk")),
			"public suffix": KeyOf(domain(t, "co.uk")), "top level": KeyOf(domain(t, "uk")),
			"sender's own": KeyOf(address(t, "s@evil.example")), "recipient": KeyOf(address(t, "a@example.org")), "recipient's domain": KeyOf(domain(t, "example.org")),
			"client of the envelope": KeyOf(ip(t, "2001:db8:1:2::5")), "login": KeyOfLogin("ALICE"),
			"client": KeyOf(ip(t, "198.51.100.7")), "address in a url": KeyOf(ip(t, "203.0.113.9")), "range around it": ranged("203.0.113.8/29"),
			"its range": ranged("198.51.100.0/24"), "a wider one": ranged("198.51.0.0/16"), "one between": ranged("198.51.96.0/20"),
			"IPv6 range": ranged("2001:db8:1:2::/64"), "a wider IPv6 one": ranged("2001:db8:1::/48"),
			"message id": KeyOfMessageID("m1@evil.example"), "id": KeyOfID(e.ID), "parent id": KeyOfID(e.Parent), "queue id": KeyOfQueueID("4Y1abc"),
			"null sender": KeyOf(intel.NullSender()),
		} {
			if got := j.found(t, key); !reflect.DeepEqual(got, []string{e.ID}) {
				t.Errorf("by %s: %v", name, got)
			}
		}
		for name, key := range map[string]Key{
			"another": KeyOf(domain(t, "other.example")), "id as message id": KeyOfMessageID(e.ID),
		} {
			if got := j.found(t, key); got != nil {
				t.Errorf("by %s: %v", name, got)
			}
		}
	}
	check(j)
	if _, ok := KeyOfRange(netip.MustParsePrefix("198.0.0.0/8")); ok {
		t.Error("a range wider than any key has one")
	}
	j.stop()
	check(open(t, Options{Dir: dir}))
}

// fill writes entries whose senders are drawn from a few, over weeks, and
// gives the IDs by sender.
func fill(t testing.TB, j *opened, n int, from time.Time, step time.Duration, seed uint64) map[string][]string {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	want := map[string][]string{}
	for i := range n {
		sender := fmt.Sprintf("s%d@evil.example", rng.IntN(7))
		e := &Entry{ID: fmt.Sprintf("%d-%d", seed, i), Time: from.Add(time.Duration(i) * step),
			Observables: []intel.Observable{{Value: address(t, sender), Role: intel.RoleEnvelopeFrom}}}
		if _, err := j.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		want[sender] = append(want[sender], e.ID)
		if rng.IntN(20) == 0 {
			if err := j.Wait(t.Context(), j.Last()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return want
}

func (j *opened) check(t testing.TB, want map[string][]string) {
	t.Helper()
	for sender, ids := range want {
		if got := j.found(t, KeyOf(address(t, sender))); !slices.Equal(got, ids) {
			t.Errorf("%s: %d entries, want %d\ngot  %v\nwant %v", sender, len(got), len(ids), got, ids)
		}
	}
}

func weeks(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "index"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestTheIndexOutlivesRestartsAndIsMadeAnewWhereItIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, Options{Dir: dir})
	want := fill(t, j, 300, start, 3*time.Hour, 1) // more than five weeks
	j.check(t, want)
	names := weeks(t, dir)
	if len(names) < 5 {
		t.Fatalf("%d weeks", len(names))
	}
	j.stop()

	j = open(t, Options{Dir: dir})
	if at := j.Status().Indexed; at != j.Last() {
		t.Errorf("after a restart indexed up to %d of %d", at, j.Last())
	}
	j.check(t, want)
	j.stop()

	for i := range names { // each week gone in turn, then all of them
		if err := os.RemoveAll(filepath.Join(dir, "index", names[i])); err != nil {
			t.Fatal(err)
		}
		j = open(t, Options{Dir: dir})
		if at := j.Status().Indexed; at >= j.Last() && i < len(names)-1 {
			t.Errorf("week %d is gone, and nothing is to do", i)
		}
		j.check(t, want)
		j.stop()
	}
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	j = open(t, Options{Dir: dir})
	j.check(t, want)
	j.stop()
	// And once more: what was made anew is complete.
	j = open(t, Options{Dir: dir})
	if at := j.Status().Indexed; at != j.Last() {
		t.Errorf("made anew, indexed up to %d of %d", at, j.Last())
	}
	j.check(t, want)
}

// killed gives a copy of a journal that is in use.
func killed(t *testing.T, dir string) string {
	t.Helper()
	for {
		left := t.TempDir()
		err := os.CopyFS(filepath.Join(left, "index"), os.DirFS(filepath.Join(dir, "index")))
		if errors.Is(err, os.ErrNotExist) {
			continue // a file was merged meanwhile
		}
		if err = errors.Join(err, os.CopyFS(filepath.Join(left, "log"), os.DirFS(filepath.Join(dir, "log")))); err != nil {
			t.Fatal(err)
		}
		return left
	}
}

// A process that is killed takes with it what the index has in memory, and may
// leave its files at any point of a merge.
func TestWhatAKilledProcessLeftIsIndexedFromTheLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, Options{Dir: dir, maxWaiting: 40})
	want := map[string][]string{}
	for round := range 12 {
		for sender, ids := range fill(t, j, 60, start.Add(time.Duration(round)*30*time.Hour), 30*time.Minute, uint64(round)) {
			want[sender] = append(want[sender], ids...)
		}
		left := killed(t, dir)
		again := open(t, Options{Dir: left})
		again.check(t, want)
		again.stop()
	}
	files, err := filepath.Glob(filepath.Join(dir, "index", "*", "*.run"))
	if err != nil || len(files) < 5 {
		t.Errorf("%d files of the index, %v", len(files), err)
	}
	j.check(t, want)
}

func TestAClockThatGoesBackHidesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := open(t, Options{Dir: dir})
	want := fill(t, j, 50, start, 12*time.Hour, 1)
	for sender, ids := range fill(t, j, 50, start, 12*time.Hour, 2) {
		want[sender] = append(want[sender], ids...)
	}
	j.check(t, want)
	j.stop()
	open(t, Options{Dir: dir}).check(t, want)
}

func TestManyWritersAreAllFound(t *testing.T) {
	j := open(t, Options{Dir: filepath.Join(t.TempDir(), "journal"), GroupDelay: time.Millisecond})
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for i := range 100 {
				e := &Entry{ID: fmt.Sprintf("%d-%d", w, i), Time: start, Observables: []intel.Observable{{Value: address(t, fmt.Sprintf("w%d@x.example", w))}}}
				if _, err := j.Append(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for w := range 8 {
		if got := j.found(t, KeyOf(address(t, fmt.Sprintf("w%d@x.example", w)))); len(got) != 100 {
			t.Errorf("writer %d: %d found", w, len(got))
		}
	}
}

// The index may read an entry before its writer gets to note the keys.
func TestNoNoteOutlivesItsEntrysIndexing(t *testing.T) {
	j := open(t, Options{Dir: filepath.Join(t.TempDir(), "journal")})
	ctx, stop := context.WithCancel(t.Context())
	var hasty, writers sync.WaitGroup
	hasty.Go(func() {
		for ctx.Err() == nil {
			_ = j.Wait(ctx, j.Last())
		}
	})
	for range 4 {
		writers.Go(func() {
			for range 500 {
				if _, err := j.Append(t.Context(), sample(t)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	stop()
	hasty.Wait()
	if err := j.Wait(t.Context(), j.Last()); err != nil {
		t.Fatal(err)
	}
	j.noNotes(t)
}

func TestWhatThereIsNoRoomToNoteIsIndexedAllTheSame(t *testing.T) {
	const room = 100
	j := open(t, Options{Dir: filepath.Join(t.TempDir(), "journal"), maxNoted: room})
	want := fill(t, j, 60, start, time.Minute, 1)
	j.index.mu.Lock()
	notes, noted := j.index.notes, len(j.index.noted)
	j.index.mu.Unlock()
	if notes > room || noted == 0 || noted == 60 {
		t.Errorf("%d entries are noted, which count %d", noted, notes)
	}
	j.check(t, want)
	j.noNotes(t)
}

func (j *opened) noNotes(t *testing.T) {
	t.Helper()
	if x := j.index; len(x.noted) != 0 || x.notes != 0 {
		t.Errorf("%d notes are left, which count %d", len(x.noted), x.notes)
	}
}

func TestOldEntriesGoAndYoungOnesStay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	now := start
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	j := open(t, Options{Dir: dir, Clock: clock, Retention: Retention{MaxAge: 10 * 24 * time.Hour}, segmentBytes: 2 << 10})
	want := fill(t, j, 400, start, 2*time.Hour, 1) // 33 days
	j.check(t, want)
	mu.Lock()
	now = start.Add(400 * 2 * time.Hour)
	mu.Unlock()
	if _, err := j.Append(t.Context(), &Entry{ID: "last", Time: clock()}); err != nil {
		t.Fatal(err)
	}
	if err := j.Wait(t.Context(), j.Last()); err != nil {
		t.Fatal(err)
	}
	// prune runs after the index has caught up; the next round is sure to come after it.
	if _, err := j.Append(t.Context(), &Entry{ID: "after", Time: clock()}); err != nil {
		t.Fatal(err)
	}
	if err := j.Wait(t.Context(), j.Last()); err != nil {
		t.Fatal(err)
	}
	oldest := j.Status().Oldest
	if age := clock().Sub(oldest); age > 11*24*time.Hour || age < 10*24*time.Hour {
		t.Errorf("the oldest entry is %s old", age)
	}
	if n := len(weeks(t, dir)); n > 3 {
		t.Errorf("%d weeks of the index are left", n)
	}
	kept := 0
	for r, err := range j.Read(0) {
		if err != nil {
			t.Fatal(err)
		}
		kept++
		_ = r
	}
	if kept < 120 || kept > 135 {
		t.Errorf("%d entries are left", kept)
	}
	for sender, ids := range want {
		got := j.found(t, KeyOf(address(t, sender)))
		if len(got) == 0 || !slices.Equal(got, ids[len(ids)-len(got):]) {
			t.Errorf("%s: found %v of %v", sender, got, ids)
		}
	}
	j.stop()
	j = open(t, Options{Dir: dir, Clock: clock, segmentBytes: 2 << 10})
	if at := j.Status().Indexed; at != j.Last() {
		t.Errorf("indexed up to %d of %d", at, j.Last())
	}
}

func TestSizeNeverDropsWhatIsInsideTheLookBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const maxBytes = 16 << 10
		j := open(t, Options{Dir: filepath.Join(t.TempDir(), "journal"), Retention: Retention{LookBack: 24 * time.Hour}, MaxBytes: maxBytes, segmentBytes: 2 << 10})
		j.fillUp(t)
		first, err := j.Get(j.log.Segments()[0].First())
		if err != nil || first.Entry.ID != "0" {
			t.Fatalf("the first entry is gone: %v", err)
		}
		time.Sleep(25 * time.Hour) // in which nothing is taken, and nothing wakes the index
		if _, err := j.Append(t.Context(), &Entry{ID: "again", Time: time.Now()}); err != nil {
			t.Fatalf("with the look-back over: %v", err)
		}
		if b := j.Status().Bytes; b > maxBytes {
			t.Errorf("%d bytes are kept", b)
		}
		j.stop()
	})
}

// fillUp appends until the journal is full.
func (j *opened) fillUp(t *testing.T) {
	t.Helper()
	for i := range 1000 {
		_, err := j.Append(t.Context(), &Entry{ID: fmt.Sprint(i), Time: j.o.Clock()})
		if errors.Is(err, ErrFull) && errors.Is(err, disk.ErrNoSpace) {
			return
		}
		if err == nil {
			err = j.Wait(t.Context(), j.Last())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("it does not become full")
}

func TestAnIndexWithoutRoomKeepsNoEntryThatIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const minFree = 1 << 40
		fsys := faulty.New("/var", 1)
		j := openAs(t, Options{FS: fsys, Dir: "/var/journal", GroupDelay: time.Second, IndexMinFree: minFree, Retention: Retention{MaxAge: time.Hour}, segmentBytes: 2 << 10})
		fill(t, j, 100, time.Now(), time.Second, 1)
		fsys.SetCapacity(minFree)
		time.Sleep(2 * writeAfter)
		for i := range 100 { // which are never indexed
			if _, err := j.Append(t.Context(), &Entry{ID: fmt.Sprint("late", i), Time: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Hour)
		if _, err := j.Append(t.Context(), &Entry{ID: "last", Time: time.Now()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := len(j.log.Segments()); n > 2 {
			t.Errorf("%d segments are kept, and the oldest entry is of %s, %s ago", n, j.Status().Oldest, time.Since(j.Status().Oldest))
		}
		fsys.SetCapacity(0)
		if err := j.Wait(t.Context(), j.Last()); err != nil {
			t.Fatal(err)
		}
		if got := j.found(t, KeyOfID("last")); !slices.Equal(got, []string{"last"}) {
			t.Errorf("the last entry is not found: %v", got)
		}
		j.noNotes(t)
		j.stop()
	})
}

// What begins so stands in the way of nothing that is dropped.
func TestWhatHasNoUsableTimeKeepsNothing(t *testing.T) {
	for name, write := range map[string]func(t *testing.T, j *opened, now time.Time){
		"of a clock that was ahead": func(t *testing.T, j *opened, now time.Time) {
			fill(t, j, 20, now.AddDate(20, 0, 0), time.Second, 1)
		},
		"that cannot be read": func(t *testing.T, j *opened, _ time.Time) {
			for range 20 {
				if _, err := j.log.Append(t.Context(), make([]byte, 500)); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := open(t, Options{Dir: filepath.Join(t.TempDir(), "journal"), Retention: Retention{LookBack: 24 * time.Hour}, MaxBytes: 16 << 10, segmentBytes: 2 << 10})
				write(t, j, time.Now())
				j.fillUp(t)
				time.Sleep(48 * time.Hour)
				if _, err := j.Append(t.Context(), &Entry{ID: "again", Time: time.Now()}); err != nil {
					t.Fatalf("with the look-back over: %v", err)
				}
				j.stop()
			})
		})
	}
}

func TestAClockThatWasAheadDoesNotKeepTheIndexFromGoing(t *testing.T) {
	for name, restarts := range map[string]bool{"at one go": false, "with restarts": true} {
		t.Run(name, func(t *testing.T) { aheadForAWeek(t, restarts) })
	}
}

func aheadForAWeek(t *testing.T, restarts bool) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "journal")
	var late atomic.Int64
	clock := func() time.Time { return start.Add(time.Duration(late.Load())) }
	o := Options{Dir: dir, Clock: clock, Retention: Retention{MaxAge: 10 * 24 * time.Hour}, segmentBytes: 2 << 10, grid: 10}
	j := open(t, o)
	want := map[string][]string{}
	pass := func(weeks int, ahead time.Duration, seed uint64) {
		t.Helper()
		for sender, ids := range fill(t, j, 84*weeks, clock().Add(ahead), 2*time.Hour, seed) {
			want[sender] = append(want[sender], ids...)
		}
		for sender, ids := range want {
			if got := j.found(t, KeyOf(address(t, sender))); len(got) < 5 || !slices.Equal(got, ids[len(ids)-len(got):]) {
				t.Errorf("%s: found %v of %v", sender, got, ids)
			}
		}
		late.Add(int64(weeks) * int64(week))
	}
	pass(1, 0, 1)
	pass(1, 20*365*24*time.Hour, 2)
	pass(1, 0, 3)
	for i := range uint64(3) {
		if restarts {
			j.stop()
			j = open(t, o)
		}
		pass(2, 0, 4+i)
	}
	pass(1, 0, 7)
	j.stop()
	if n := len(weeks(t, dir)); n > 4 {
		t.Errorf("%d weeks of the index are left", n)
	}
	oldest := j.log.Segments()[0].Base
	for number, w := range j.index.weeks {
		if last := uint64(j.Last()); wal.Position(w.applied.At) < oldest || w.applied.At-w.after.At > last/5 { // of ten weeks
			t.Errorf("week %d from %d to %d of %d is left, where the log begins at %d", number, w.after.At, w.applied.At, last, oldest)
		}
	}
}

func TestWaitEndsWithRunAndWithItsContext(t *testing.T) {
	j := open(t, Options{Dir: filepath.Join(t.TempDir(), "journal")})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := j.Wait(ctx, 1<<60); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	result := make(chan error, 1)
	go func() { result <- j.Wait(context.Background(), 1<<60) }()
	j.stop()
	if err := <-result; err == nil {
		t.Error("waited for ever for an index that had stopped")
	}
}

func TestAnIndexOfAnotherLogIsNotBelieved(t *testing.T) {
	dirs := []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
	var want []map[string][]string
	for i, dir := range dirs {
		j := open(t, Options{Dir: dir})
		want = append(want, fill(t, j, 60+40*i, start, 9*time.Hour, uint64(i+1)))
		j.check(t, want[i])
		j.stop()
	}
	// A restored log beside the index of before.
	for _, dir := range dirs {
		if err := os.RemoveAll(filepath.Join(dir, "log.old")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(dirs[0], "log")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dirs[1], "log"), filepath.Join(dirs[0], "log")); err != nil {
		t.Fatal(err)
	}
	open(t, Options{Dir: dirs[0]}).check(t, want[1])
}

func TestOnlyWhatOlderListsJudgedIsDecoded(t *testing.T) {
	j := open(t, Options{Dir: filepath.Join(t.TempDir(), "journal")})
	generations := []uint64{0, 3, 23, 24, 300, 1 << 40, 7}
	for _, g := range generations {
		e := sample(t)
		e.Generation, e.Unjudged = g, g == 7
		if _, err := j.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for _, limit := range []uint64{0, 1, 24, 300, math.MaxUint64} {
		n := 0
		for r, err := range j.ReadJudgedBefore(0, limit) {
			if err != nil {
				t.Fatal(err)
			}
			g := generations[n]
			if wanted := g < limit; (r.Entry != nil) != wanted || wanted && r.Entry.Generation != g {
				t.Errorf("before %d, generation %d: %+v", limit, g, r.Entry)
			}
			n++
		}
		if n != len(generations) {
			t.Errorf("before %d: %d records, want %d", limit, n, len(generations))
		}
	}
	other := []byte{majorMap | 1, majorUint, version + 1} // of a later version
	if _, err := j.log.Append(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range j.ReadJudgedBefore(0, 0) {
		last = err
	}
	if !errors.Is(last, ErrEntry) {
		t.Errorf("a record that is not understood: %v", last)
	}
}

// keysToShare gives what ReadSharing asks about an entry.
func keysToShare(e *Entry) (all []Key) {
	if e.Parent != "" {
		all = append(all, KeyOfID(e.Parent))
	}
	if e.MessageID != "" {
		all = append(all, KeyOfMessageID(e.MessageID))
	}
	for _, id := range e.References {
		all = append(all, KeyOfMessageID(id))
	}
	for _, o := range e.Observables {
		if o.Role == intel.RoleBody || o.Role == intel.RoleAttachment || o.Role == intel.RoleURL {
			all = append(all, KeyOf(o.Value))
		}
	}
	return all
}

// sharedKeys gives the keys that a record is asked about without decoding it.
func sharedKeys(t testing.TB, data []byte) (all []Key) {
	t.Helper()
	if found, ok := shares(data, func(k Key) bool { all = append(all, k); return false }); found || !ok {
		t.Fatalf("found %v, ok %v", found, ok)
	}
	return all
}

func TestOnlyWhatSharesSomethingIsDecoded(t *testing.T) {
	j := open(t, Options{Dir: filepath.Join(t.TempDir(), "journal")})
	e := sample(t)
	e.Parent, e.References = "01PARENT", []string{"a@x.example", "b@x.example", strings.Repeat("long", 100)}
	for text, role := range map[string]intel.Role{"http://files.example/a": intel.RoleURL, "https://files.example/b": intel.RoleURL, "ftp://files.example/c": intel.RoleURL} {
		v, err := intel.URL(text)
		if err != nil {
			t.Fatal(err)
		}
		e.Observables = append(e.Observables, intel.Observable{Value: v, Role: role, Place: "1/text"})
	}
	e.Observables = append(e.Observables, intel.Observable{Value: intel.SHA1([20]byte{1}), Role: intel.RoleAttachment, Place: "2"},
		intel.Observable{Value: intel.SHA256([32]byte{2}), Role: intel.RoleBody, Place: "1"})
	if _, err := j.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), &Entry{ID: "01OTHER", MessageID: "other@x.example"}); err != nil {
		t.Fatal(err)
	}
	read := func(known func(Key) bool) (n int) {
		for r, err := range j.ReadSharing(0, known) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Entry != nil {
				n++
			}
		}
		return n
	}
	for _, key := range keysToShare(e) {
		if n := read(func(k Key) bool { return k == key }); n != 1 {
			t.Errorf("%d entries have %x", n, key)
		}
	}
	if n := read(func(Key) bool { return false }); n != 0 {
		t.Errorf("%d entries have nothing", n)
	}
	data, err := appendEntry(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(10, func() { shares(data, func(Key) bool { return false }) }); n > 1 { // for the long one
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecode(f *testing.F) {
	c, err := newCodec()
	if err != nil {
		f.Fatal(err)
	}
	data, err := appendEntry(nil, sample(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		generationOf(data)
		shares(data, func(Key) bool { return false })
		e, err := c.decode(data)
		if err != nil {
			if !errors.Is(err, ErrEntry) {
				t.Fatal(err)
			}
			return
		}
		again, err := appendEntry(nil, e)
		if err != nil {
			t.Skip() // larger than an entry may be
		}
		e2, err := c.decode(again)
		if err != nil {
			t.Fatal(err)
		}
		if g, ok := generationOf(again); !ok || g != e.Generation {
			t.Fatalf("generation %d, %v of an entry with %d", g, ok, e.Generation)
		}
		if got, want := sharedKeys(t, again), keysToShare(e); !slices.Equal(got, want) {
			t.Fatalf("what an entry shares is read as %x, and is %x", got, want)
		}
		if !slices.Equal(keys(nil, e), keys(nil, e2)) {
			t.Fatal("another entry came back")
		}
	})
}

func benchEntry(b *testing.B, i int) *Entry {
	e := sample(b)
	e.ID, e.MessageID = fmt.Sprintf("01arz3ndektsv4rrff%08d", i), fmt.Sprintf("%d@evil.example", i)
	for n := range 16 {
		e.Observables = append(e.Observables, intel.Observable{Value: link(b, fmt.Sprintf("https://h%d.evil.example/%d", n, i)), Role: intel.RoleURL, Place: "2/a@href"})
	}
	return e
}

func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 16} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			j := open(b, Options{Dir: filepath.Join(b.TempDir(), "journal"), GroupDelay: time.Second})
			entries := make([]*Entry, 1024)
			for i := range entries {
				entries[i] = benchEntry(b, i)
			}
			var last wal.Position
			var mu sync.Mutex
			b.ReportAllocs()
			b.ResetTimer()
			var group sync.WaitGroup
			for c := range callers {
				group.Go(func() {
					for i := c; i < b.N; i += callers {
						at, err := j.Append(b.Context(), entries[i%len(entries)])
						if err != nil {
							b.Error(err)
							return
						}
						mu.Lock()
						last = max(last, at)
						mu.Unlock()
					}
				})
			}
			group.Wait()
			if err := j.Wait(b.Context(), last); err != nil {
				b.Fatal(err)
			}
		})
	}
}
