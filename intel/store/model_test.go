package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/match"
)

// model is what a Store has to do, done simply: each source's lines, and what
// each generation added.
type model struct {
	sources map[string][]string // lines; each an entry that is in universe
	added   map[uint64][]string // "source: pattern attributes" by generation
}

// universe is where the lines of the model come from. Some are for the same.
func universe() []string {
	lines := []string{"<>", "/x/ in=subject", "/x/ in=subject id=2", "/y/i in=header"}
	for i := range 6 {
		lines = append(lines,
			fmt.Sprintf("d%d.example", i), fmt.Sprintf("d%d.example in=helo id=1", i), fmt.Sprintf(".d%d.example", i),
			fmt.Sprintf("https://d%d.example/p*", i), fmt.Sprintf("https://d%d.example/pq", i), fmt.Sprintf("10.0.%d.0/24", i), fmt.Sprintf("10.0.%d.1 action=hold", i),
		)
	}
	return append(lines, "http://d1.example/"+strings.Repeat("long", 200))
}

// said is what a line says, without where it stands.
func said(ind *intel.Indicator) string {
	return fmt.Sprintf("%s: %s in=%v%v action=%s id=%s", ind.Source, ind.Pattern, ind.Roles, ind.Pattern.Fields(), ind.Action, ind.ID)
}

// indicators gives what a source of the model says, with the first line of each.
func (m *model) indicators(t *testing.T, name string) map[string]*intel.Indicator {
	all := map[string]*intel.Indicator{}
	for ind, err := range entries(strings.Join(m.sources[name], "\n")) {
		if err != nil {
			t.Fatal(err)
		}
		ind.Source = name
		if all[said(&ind)] == nil {
			all[said(&ind)] = &ind
		}
	}
	return all
}

// check compares everything that can be asked of a store with the model.
func (m *model) check(t *testing.T, s *Store, matcher *match.Matcher) {
	t.Helper()
	want := map[string]bool{}
	names := []string{}
	for name := range m.sources {
		names = append(names, name)
		inds := m.indicators(t, name)
		for text, ind := range inds {
			want[fmt.Sprintf("%s line %d", text, ind.Line)] = true
		}
		i := slices.IndexFunc(s.Sources(), func(l Listed) bool { return l.Name == name })
		if i < 0 || s.Sources()[i].Entries != len(inds) {
			t.Fatalf("%s is not listed with %d entries: %+v", name, len(inds), s.Sources())
		}
	}
	if len(s.Sources()) != len(names) {
		t.Fatalf("sources %+v, want %v", s.Sources(), names)
	}

	snap := matcher.Acquire()
	defer snap.Release()
	if snap.Generation() != s.Generation() {
		t.Fatalf("the snapshot is of generation %d, the store of %d", snap.Generation(), s.Generation())
	}
	got := map[string]bool{}
	see := func(candidates []match.Candidate) {
		for _, c := range candidates {
			text := fmt.Sprintf("%s line %d", said(c.Indicator), c.Indicator.Line)
			got[text] = true
		}
	}
	for _, line := range universe() {
		text, _, _ := strings.Cut(line, " ")
		text = strings.TrimPrefix(strings.TrimSuffix(strings.TrimSuffix(text, "*"), ".0/24"), ".")
		if strings.HasPrefix(text, "10.0.") && strings.Count(text, ".") == 2 {
			text += ".77"
		}
		if strings.HasPrefix(text, "/") {
			continue
		}
		v := valueOf(t, text)
		candidates, err := snap.Explain(intel.Observable{Value: v}, 0, now)
		if err != nil {
			t.Fatal(err)
		}
		see(candidates)
	}
	see(snap.ExplainText(match.Text{Field: intel.FieldSubject, Value: "x"}, 0, now))
	see(snap.ExplainText(match.Text{Field: intel.FieldHeader, Name: "y"}, 0, now))
	if !maps.Equal(got, want) {
		t.Fatalf("found\n%s\nwant\n%s", lines(got), lines(want))
	}
}

func lines(set map[string]bool) string {
	return strings.Join(slices.Sorted(maps.Keys(set)), "\n")
}

// checkAdded compares what was added since each generation with the model.
func (m *model) checkAdded(t *testing.T, s *Store, since uint64) {
	t.Helper()
	listed := map[string]bool{}
	for name := range m.sources {
		for text := range m.indicators(t, name) {
			listed[text] = true
		}
	}
	// An entry that was added, removed and added again counts from the last time.
	last := map[string]uint64{}
	for generation, texts := range m.added {
		for _, text := range texts {
			last[text] = max(last[text], generation)
		}
	}
	want := map[string]bool{}
	for text, generation := range last {
		if generation > since && listed[text] {
			want[fmt.Sprintf("%d %s", generation, text)] = true
		}
	}
	got := map[string]bool{}
	before := since
	for a, err := range s.Added(since) {
		if err != nil {
			t.Fatal(err)
		}
		if a.Generation < before {
			t.Fatal("generations out of order")
		}
		before = a.Generation
		text := fmt.Sprintf("%d %s", a.Generation, said(a.Indicator))
		if got[text] {
			t.Fatalf("%s is given twice", text)
		}
		got[text] = true
	}
	if !maps.Equal(got, want) {
		t.Fatalf("added since %d\n%s\nwant\n%s", since, lines(got), lines(want))
	}
	m.checkAll(t, s, listed, last)
}

// checkAll compares everything that is listed with the model.
func (m *model) checkAll(t *testing.T, s *Store, listed map[string]bool, last map[string]uint64) {
	t.Helper()
	got := map[string]bool{}
	for a, err := range s.All() {
		if err != nil {
			t.Fatal(err)
		}
		text := said(a.Indicator)
		if got[text] {
			t.Fatalf("%s is given twice", text)
		}
		if generation, known := last[text]; known && a.Generation != generation {
			t.Fatalf("%s was added in %d, want %d", text, a.Generation, generation)
		}
		got[text] = true
	}
	if !maps.Equal(got, listed) {
		t.Fatalf("listed\n%s\nwant\n%s", lines(got), lines(listed))
	}
}

func valueOf(t testing.TB, text string) intel.Value {
	for ind, err := range entries(text) {
		if err != nil {
			t.Fatal(err)
		}
		return ind.Pattern.Value()
	}
	t.Fatalf("%q is no value", text)
	return intel.Value{}
}

// fragile fails where it is told to: once, or from then on, as if the process
// were gone.
type fragile struct {
	*kv.DB
	left    int // commits until one fails; negative: none does
	forGood bool
	err     error // of a commit that fails; errFragile if nil
}

var errFragile = errors.New("no commit today")

func (f *fragile) Commit(b *kv.Batch) error {
	if f.left == 0 {
		if !f.forGood {
			f.left = -1
		}
		if f.err != nil {
			return f.err
		}
		return errFragile
	}
	if f.left > 0 {
		f.left--
	}
	return f.DB.Commit(b)
}

func TestStoreDoesWhatTheModelDoes(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	failed, crashed := 0, 0
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 7))
		m := &model{sources: map[string][]string{}, added: map[uint64][]string{}}
		db := &fragile{DB: memoryDB(t), left: -1}
		s, matcher := openStore(t, db)
		first := s.Generation()
		for range 40 {
			s.batch = r.IntN(4) // of one change, of a few, or of all
			s.room = r.IntN(500)
			sources, next := randomRefresh(r, m)
			if r.IntN(3) == 0 {
				db.left, db.forGood = r.IntN(12), r.IntN(2) == 0
			}
			before := s.Generation()
			_, err := s.Refresh(context.Background(), sources...)
			gone := db.forGood && db.left == 0
			db.left = -1
			switch {
			case errors.Is(err, errFragile):
				failed++
			case err != nil:
				t.Fatal(err)
			default:
				m = m.refreshed(t, next, before, s.Generation())
			}
			if gone || r.IntN(8) == 0 {
				if gone {
					crashed++
				}
				generation := s.Generation()
				s.Close()
				s, matcher = openStore(t, db)
				if s.Generation() != generation && len(m.added) > 0 {
					t.Fatalf("seed %d: generation %d after reopening, was %d", seed, s.Generation(), generation)
				}
			}
			m.check(t, s, matcher)
			m.checkAdded(t, s, first)
			m.checkAdded(t, s, before)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		checkNothingIsLeft(t, s, db.DB)
	}
	t.Logf("%d refreshes failed, the process was gone %d times", failed, crashed)
	if failed < rounds || crashed < rounds/2 {
		t.Error("too few failures to tell anything")
	}
}

// randomRefresh gives sources to refresh, and what the model's sources are afterwards.
func randomRefresh(r *rand.Rand, m *model) (sources []Source, next map[string][]string) {
	next = maps.Clone(m.sources)
	for name := range strings.SplitSeq("abc", "") {
		switch r.IntN(6) {
		case 0: // not refreshed
		case 1: // gone
			sources = append(sources, Source{Name: name})
			delete(next, name)
		case 2: // refused
			if len(m.sources[name]) > 0 {
				sources = append(sources, from(name, "d1.example\nd1..example"))
			}
		default:
			next[name] = randomLines(r, m.sources[name])
			sources = append(sources, from(name, strings.Join(next[name], "\n")))
		}
	}
	return sources, next
}

// refreshed gives the model after a refresh that led from one generation to another.
func (m *model) refreshed(t *testing.T, next map[string][]string, before, generation uint64) *model {
	t.Helper()
	after := &model{sources: next, added: m.added}
	if generation == before {
		if !sameSources(t, m, after) {
			t.Fatal("no generation although something changed")
		}
		return after
	}
	m.added[generation] = nil
	for name := range next {
		was := m.indicators(t, name)
		for text := range after.indicators(t, name) {
			if was[text] == nil {
				m.added[generation] = append(m.added[generation], text)
			}
		}
	}
	return after
}

func sameSources(t *testing.T, a, b *model) bool {
	if len(a.sources) != len(b.sources) {
		return false
	}
	for name := range a.sources {
		was, is := a.indicators(t, name), b.indicators(t, name)
		for text, ind := range is {
			if was[text] == nil || was[text].Line != ind.Line {
				return false
			}
		}
		if len(was) != len(is) {
			return false
		}
	}
	return true
}

// randomLines gives lines for a source: those that it had with an edit, or others.
func randomLines(r *rand.Rand, had []string) []string {
	all := universe()
	lines := slices.Clone(had)
	if r.IntN(3) == 0 {
		lines = nil
		for range r.IntN(30) {
			lines = append(lines, all[r.IntN(len(all))])
		}
	}
	for range r.IntN(3) {
		if len(lines) > 0 && r.IntN(2) == 0 {
			i := r.IntN(len(lines))
			lines = slices.Delete(lines, i, i+1)
		} else {
			lines = slices.Insert(lines, r.IntN(len(lines)+1), all[r.IntN(len(all))])
		}
	}
	return lines
}

// checkNothingIsLeft checks that a store which was opened anew holds nothing in
// its database that does not count.
func checkNothingIsLeft(t *testing.T, s *Store, db *kv.DB) {
	t.Helper()
	s.Close()
	s, err := Open(Options{DB: db, Matcher: match.NewMatcher(), FS: disk.System{}, Dir: s.opts.Dir, MinFree: -1, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(s.state.aborted) != 0 {
		t.Errorf("generations %v are remembered to have come to nothing", s.state.aborted)
	}
	snap, err := db.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Release()
	entries, indexed := 0, 0
	for _, src := range s.sources {
		entries += src.entries
		indexed++
		if x, err := s.openIndex(src); err != nil || x.bytes() != int64(src.entries)*itemBytes {
			t.Errorf("the index of %s: %v", src.name, err)
		}
	}
	if files, err := os.ReadDir(s.opts.Dir); err != nil || len(files) != indexed {
		t.Errorf("%d sources have the files %v, %v", indexed, files, err)
	}
	for e, err := range snap.Range(nil, nil) {
		if err != nil {
			t.Fatal(err)
		}
		switch e.Key[0] {
		case areaEntry, areaRegexp:
			value, err := decodeEntry(e.Value, nil)
			if err != nil || len(value.records) == 0 {
				t.Errorf("an empty or damaged entry: %v", err)
			}
			for i := range value.records {
				if !s.state.listed(&value.records[i]) || value.records[i].last != 0 {
					t.Errorf("a record that does not count: %+v", value.records[i])
				}
				entries--
			}
		case areaAdded:
			if generation := generationIn(e.Key); generation > s.state.active {
				t.Errorf("what generation %d would have added", generation)
			}
		case areaSource, areaState, areaMark:
		default:
			t.Errorf("a key of no area: %q", e.Key)
		}
	}
	if entries != 0 {
		t.Errorf("%d more entries in the sources than in the database", entries)
	}
}
