package store

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/match"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// memoryDB gives a database in memory.
func memoryDB(t testing.TB) *kv.DB {
	t.Helper()
	db, err := kv.Open(kv.Options{Name: "intel", Schema: Schema, InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// diskDB opens a database in a folder.
func diskDB(t testing.TB, dir string) *kv.DB {
	t.Helper()
	db, err := kv.Open(kv.Options{FS: disk.System{}, Dir: dir, Name: "intel", Schema: Schema, MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// dirs are the folders of stores, by database.
var dirs sync.Map

// openStore opens a store on a database, with the folder that it had there before.
func openStore(t testing.TB, db DB) (*Store, *match.Matcher) {
	t.Helper()
	dir, known := dirs.Load(db)
	if !known {
		dir = t.TempDir()
		dirs.Store(db, dir)
	}
	return openStoreIn(t, db, dir.(string))
}

func openStoreIn(t testing.TB, db DB, dir string) (*Store, *match.Matcher) {
	t.Helper()
	m := match.NewMatcher()
	s, err := Open(Options{DB: db, Matcher: m, FS: disk.System{}, Dir: dir, MinFree: -1, Rest: -1, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, m
}

// entries reads the entries of a block list; an allow or watch list's begin with
// "allow " or "watch ".
func entries(text string) iter.Seq2[intel.Indicator, error] {
	return func(yield func(intel.Indicator, error) bool) {
		d, text := intel.Block, text
		for _, other := range []intel.Disposition{intel.Allow, intel.Watch} {
			if rest, ok := strings.CutPrefix(text, other.String()+" "); ok {
				d, text = other, rest
			}
		}
		for e, err := range list.Read(strings.NewReader(text), list.Options{File: "f", Disposition: d, Source: "f"}) {
			if !yield(e.Indicator, err) {
				return
			}
		}
	}
}

func from(name, text string) Source { return Source{Name: name, Entries: entries(text)} }

func load(t testing.TB, s *Store, sources ...Source) []Refreshed {
	t.Helper()
	results, err := s.Refresh(context.Background(), sources...)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

// known gives what a snapshot has for a value: "disposition pattern source:line" each.
func known(t testing.TB, m *match.Matcher, value string) string {
	t.Helper()
	s := m.Acquire()
	defer s.Release()
	v, err := list.ParseValue(value)
	if err != nil {
		t.Fatal(err)
	}
	candidates, err := s.Explain(intel.Observable{Value: v}, intel.DirectionAny, now)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, c := range candidates {
		found = append(found, fmt.Sprintf("%s %s %s:%d", c.Indicator.Disposition, c.Indicator.Pattern, c.Indicator.Source, c.Indicator.Line))
	}
	slices.Sort(found)
	return strings.Join(found, ", ")
}

func expect(t testing.TB, m *match.Matcher, value, want string) {
	t.Helper()
	if got := known(t, m, value); got != want {
		t.Errorf("%s:\n got %s\nwant %s", value, got, want)
	}
}

func TestWhatSourcesListIsFound(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	results := load(t, s,
		from("a", "evil.example\n.evil.example\nhttps://evil.example/pay/*\n198.51.100.0/24\n"),
		from("b", "allow # heading\nevil.example id=T-1\n<>\n"),
	)
	for i, want := range []string{"a: 4 entries, 4 new, 0 gone", "b: 2 entries, 2 new, 0 gone"} {
		if results[i].String() != want {
			t.Errorf("got %s, want %s", results[i], want)
		}
	}
	expect(t, m, "evil.example", "allow evil.example b:2, block .evil.example a:2, block evil.example a:1")
	expect(t, m, "https://evil.example/pay/x", "allow evil.example b:2, block .evil.example a:2, block evil.example a:1, block https://evil.example/pay/* a:3")
	expect(t, m, "198.51.100.77", "block 198.51.100.0/24 a:4")
	expect(t, m, "<>", "allow <> b:3")
	expect(t, m, "good.example", "")
}

func TestEveryAttributeComesBack(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	text := `HTTPS://evil.example/a%20b in=url,attachment action=reject until=2026-12-31 dir=outbound id=T-1 campaign="late fish" note="a \"note\""`
	load(t, s, from("a", text))
	var want intel.Indicator
	for ind, err := range entries(text) {
		if err != nil {
			t.Fatal(err)
		}
		want = ind
	}
	want.Source = "a"
	snap := m.Acquire()
	defer snap.Release()
	u, _ := intel.URL("http://evil.example/a%20b")
	hits, err := snap.Match(nil, []intel.Observable{{Value: u, Role: intel.RoleURL}}, intel.Outbound, now)
	if err != nil || len(hits) != 1 {
		t.Fatal(hits, err)
	}
	if got := *hits[0].Indicator; fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
}

func TestEntriesForTheSameInOneSourceAreKeptApart(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	load(t, s, from("a", "evil.example in=helo action=reject\nevil.example in=url\nevil.example in=url\nhttps://x.example/\nhttp://x.example/\n"))
	expect(t, m, "evil.example", "block evil.example a:1, block evil.example a:2")
	expect(t, m, "http://x.example/", "block http://x.example/ a:5, block https://x.example/ a:4")
	if l := s.Sources(); len(l) != 1 || l[0].Entries != 4 {
		t.Errorf("got %+v", l)
	}
	load(t, s, from("a", "evil.example in=url\n"))
	expect(t, m, "evil.example", "block evil.example a:1")
	expect(t, m, "http://x.example/", "")
}

func TestRefreshAddsAndRemovesWhatChanged(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	load(t, s, from("a", "one.example\ntwo.example\nthree.example\n"), from("b", "two.example\n"))
	generation := s.Generation()
	got := load(t, s, from("a", "# moved down\ntwo.example\nthree.example note=why\nfour.example\n"))[0].String()
	if want := "a: 3 entries, 2 new, 2 gone"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if s.Generation() != generation+1 {
		t.Errorf("generation %d after %d", s.Generation(), generation)
	}
	expect(t, m, "one.example", "")
	expect(t, m, "two.example", "block two.example a:2, block two.example b:1")
	expect(t, m, "three.example", "block three.example a:3")
	expect(t, m, "four.example", "block four.example a:4")
	snap := m.Acquire()
	defer snap.Release()
	if snap.Generation() != s.Generation() {
		t.Errorf("the snapshot is of generation %d", snap.Generation())
	}
}

func TestNothingNewMakesNoGeneration(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	load(t, s, from("a", "one.example\n"))
	generation := s.Generation()
	before := m.Acquire()
	defer before.Release()
	for _, src := range []Source{from("a", "one.example\n"), {Name: "never listed"}, from("a", "one.example # comment\n")} {
		if got := load(t, s, src)[0]; got.Outcome != Unchanged {
			t.Errorf("got %s", got)
		}
	}
	after := m.Acquire()
	defer after.Release()
	if s.Generation() != generation || before != after {
		t.Errorf("generation %d after %d", s.Generation(), generation)
	}
}

func TestSourceOfTheSameVersionIsNotRead(t *testing.T) {
	s, _ := openStore(t, memoryDB(t))
	src := from("a", "one.example\n")
	src.Version = "1"
	load(t, s, src)
	src.Entries = func(func(intel.Indicator, error) bool) { t.Error("it is read") }
	if got := load(t, s, src)[0]; got.Outcome != Unchanged || got.Entries != 1 {
		t.Errorf("got %s", got)
	}
	src = from("a", "one.example\n")
	src.Version = "2"
	load(t, s, src)
	if l := s.Sources()[0]; l.Version != "2" || !l.Changed.Equal(now) || l.Generation != s.Generation() {
		t.Errorf("got %+v", l)
	}
}

func TestSourceThatListsNothingAnyMoreIsForgotten(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	load(t, s, from("a", "one.example\n/x/ in=subject\n"), from("b", "one.example\n"))
	if got := load(t, s, Source{Name: "a"})[0]; got.Outcome != Gone || got.Removed != 2 {
		t.Errorf("got %s", got)
	}
	expect(t, m, "one.example", "block one.example b:1")
	if l := s.Sources(); len(l) != 1 || l[0].Name != "b" {
		t.Errorf("got %+v", l)
	}
	load(t, s, from("a", "one.example\n"))
	expect(t, m, "one.example", "block one.example a:1, block one.example b:1")
}

func TestEmptySourceStaysListed(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	load(t, s, from("a", "one.example\n"))
	load(t, s, from("a", "# nothing any more\n"))
	expect(t, m, "one.example", "")
	if l := s.Sources(); len(l) != 1 || l[0].Entries != 0 {
		t.Errorf("got %+v", l)
	}
}

func TestSourceThatFailsKeepsItsLastGoodVersion(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	load(t, s, from("a", "one.example\n"), from("b", "two.example\n"))
	results := load(t, s, from("a", "one..example\nthree.example\nx y\n"), from("b", "four.example\n"))
	if r := results[0]; r.Outcome != Failed || len(r.Errors) != 2 || r.Entries != 1 || !strings.HasPrefix(r.String(), "a: refused for 2 problems, 1 entries stay") {
		t.Errorf("got %+v", r)
	}
	expect(t, m, "one.example", "block one.example a:1")
	expect(t, m, "three.example", "")
	expect(t, m, "two.example", "")
	expect(t, m, "four.example", "block four.example b:1")
}

func TestEntryMovesFromOneSourceToAnotherInOneStep(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	load(t, s, from("a", "evil.example\nx.example\n"), from("b", "y.example\n"))
	load(t, s, from("a", "x.example\n"), from("b", "y.example\nevil.example\n"))
	expect(t, m, "evil.example", "block evil.example b:2")
	load(t, s, from("b", "y.example\n"), from("c", "evil.example\n"), from("d", "allow evil.example\n"))
	expect(t, m, "evil.example", "allow evil.example d:1, block evil.example c:1")
}

func TestRegularExpressionsAreInTheSnapshot(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	texts := func(value string) string {
		snap := m.Acquire()
		defer snap.Release()
		hits, _ := snap.MatchTexts(nil, []match.Text{{Field: intel.FieldSubject, Value: value}}, 0, now)
		var found []string
		for _, h := range hits {
			found = append(found, fmt.Sprintf("%s %s:%d", h.Indicator.Pattern, h.Indicator.Source, h.Indicator.Line))
		}
		return strings.Join(found, ", ")
	}
	load(t, s, from("a", "# x\n/pay.now/i in=subject\n/pay.now/i in=file-name\n"), from("b", "/Pay/ in=subject\n"))
	if got := texts("Pay now"); got != "/Pay/ b:1, /pay.now/i a:2" && got != "/pay.now/i a:2, /Pay/ b:1" {
		t.Errorf("got %s", got)
	}
	load(t, s, from("a", "/pay.now/i in=file-name\n"))
	if got := texts("Pay now"); got != "/Pay/ b:1" {
		t.Errorf("got %s", got)
	}
	load(t, s, Source{Name: "b"})
	if got := texts("Pay now"); got != "" {
		t.Errorf("got %s", got)
	}
}

func TestVeryLongPatternsAreKept(t *testing.T) {
	s, m := openStore(t, memoryDB(t))
	long := "http://evil.example/" + strings.Repeat("a", 8000)
	load(t, s, from("a", long+"\n"+long[:5000]+"*\n"+long[:500]+"\n/"+strings.Repeat("x?", 1500)+"yz/ in=subject"))
	snap := m.Acquire()
	defer snap.Release()
	for value, lines := range map[string][]int{long: {1, 2}, long[:6000]: {2}, long[:500]: {3}, long[:600]: nil} {
		u, _ := intel.URL(value)
		candidates, err := snap.Explain(intel.Observable{Value: u}, 0, now)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for _, c := range candidates {
			got = append(got, c.Indicator.Line)
		}
		if !slices.Equal(got, lines) {
			t.Errorf("%d bytes: got lines %v, want %v", len(value), got, lines)
		}
	}
	n := 0
	for a, err := range s.Added(0) {
		if err == nil {
			t.Error(a)
		}
	}
	for a, err := range s.Added(s.Generation() - 1) {
		if err != nil || a.Indicator.Source != "a" {
			t.Error(err)
		}
		n++
	}
	if n != 4 {
		t.Errorf("%d were added", n)
	}
	load(t, s, from("a", "x.example"))
	expect(t, m, long, "")
}

func TestAllIsThereAfterReopening(t *testing.T) {
	dir := t.TempDir() + "/intel"
	db := diskDB(t, dir)
	s, _ := openStoreIn(t, db, dir+"-index")
	load(t, s, from("a", "one.example\nhttps://evil.example/a*\n198.51.100.0/24\n/x/ in=subject\n"), from("b", "two.example"))
	load(t, s, from("a", "one.example\nhttps://evil.example/a*\n198.51.100.0/24\n"), Source{Name: "b"})
	generation := s.Generation()
	s.Close()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, m := openStoreIn(t, diskDB(t, dir), dir+"-index")
	if s.Generation() != generation {
		t.Errorf("generation %d, was %d", s.Generation(), generation)
	}
	expect(t, m, "one.example", "block one.example a:1")
	expect(t, m, "https://evil.example/ab", "block https://evil.example/a* a:2")
	expect(t, m, "198.51.100.7", "block 198.51.100.0/24 a:3")
	expect(t, m, "two.example", "")
	load(t, s, from("b", "two.example"))
	expect(t, m, "two.example", "block two.example b:1")
	if s.Generation() != generation+1 {
		t.Errorf("generation %d after %d", s.Generation(), generation)
	}
}

func TestGenerationsGrowWhenTheDatabaseWasEmptied(t *testing.T) {
	s, _ := openStore(t, memoryDB(t))
	load(t, s, from("a", "one.example"))
	if s.Generation() != uint64(now.Unix())+1 {
		t.Errorf("generation %d", s.Generation())
	}
	later := s.Generation() + 1000
	other, err := Open(Options{DB: memoryDB(t), Matcher: match.NewMatcher(), Now: func() time.Time { return time.Unix(0, 0) }, Floor: later})
	if err != nil {
		t.Fatal(err)
	}
	if other.Generation() != later {
		t.Errorf("generation %d", other.Generation())
	}
}

func TestUnusableOptionsAndCallsAreErrors(t *testing.T) {
	db, m := memoryDB(t), match.NewMatcher()
	for _, o := range []Options{{}, {DB: db}, {Matcher: m}, {DB: db, Matcher: m, KeepAdded: -1}} {
		if _, err := Open(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
	s, _ := openStore(t, db)
	for _, sources := range [][]Source{{{}}, {{Name: "a"}, {Name: "a"}}} {
		if _, err := s.Refresh(context.Background(), sources...); err == nil {
			t.Errorf("%+v is accepted", sources)
		}
	}
}

func TestTooManyEntriesForTheSameAreRefused(t *testing.T) {
	s, _ := openStore(t, memoryDB(t))
	var text strings.Builder
	for i := range maxPerPattern + 1 {
		fmt.Fprintf(&text, "evil.example id=%d\n", i)
	}
	r := load(t, s, from("a", text.String()))[0]
	if r.Outcome != Failed || !strings.Contains(r.Errors[0].Error(), "is one of more than 16 entries for the same") {
		t.Errorf("got %s %v", r, r.Errors)
	}
	lines := strings.SplitAfter(text.String(), "\n")
	if r = load(t, s, from("a", strings.Join(lines[1:], "")))[0]; r.Outcome != Changed {
		t.Errorf("got %s %v", r, r.Errors)
	}
}

func TestOfTooManyEntriesForTheSameAThinSourceKeepsTheFirst(t *testing.T) {
	s, _ := openStore(t, memoryDB(t))
	var text strings.Builder
	for i := range 3 * maxPerPattern {
		fmt.Fprintf(&text, "evil.example id=%d\nother%d.example\n", i, i)
	}
	src := from("a", text.String())
	src.Thin = true
	if r := load(t, s, src)[0]; r.Outcome != Changed || r.Entries != 4*maxPerPattern {
		t.Errorf("got %s %v", r, r.Errors)
	}
	ids := map[string]bool{}
	for a, err := range s.All() {
		if err != nil {
			t.Fatal(err)
		}
		if a.Indicator.ID != "" {
			ids[a.Indicator.ID] = true
		}
	}
	if len(ids) != maxPerPattern || !ids["0"] || !ids[fmt.Sprint(maxPerPattern-1)] {
		t.Errorf("those are kept: %v", ids)
	}
	src.Version = "other"
	if r := load(t, s, src)[0]; r.Added != 0 || r.Removed != 0 {
		t.Errorf("the same again: %s", r)
	}
}

func TestMetricsAreShownOnceAndRemovedAtClose(t *testing.T) {
	registry := prometheus.NewRegistry()
	db := memoryDB(t)
	o := Options{DB: db, Matcher: match.NewMatcher(), Metrics: registry}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	load(t, s, from("a", "one.example\ntwo.example"))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		if g := f.Metric[0].Gauge; g != nil {
			values[f.GetName()] = g.GetValue()
		}
	}
	if values["weir_indicators"] != 2 || values["weir_indicator_sources"] != 1 || values["weir_indicator_generation"] != float64(s.Generation()) {
		t.Errorf("got %v", values)
	}
	if _, err := Open(o); err == nil {
		t.Error("the same metrics are registered twice")
	}
	s.Close()
	if s, err = Open(o); err != nil {
		t.Fatal(err)
	}
	s.Close()
}
