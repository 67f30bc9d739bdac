package postings

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weirmail/weir/intel/disk"
)

// joinNotes puts notes one behind the other.
func joinNotes(a, b []byte) []byte { return slices.Concat(a, b) }

func open(t testing.TB, o Options) *Set {
	t.Helper()
	if o.FS == nil {
		o.FS = disk.System{}
	}
	o.Join = joinNotes
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// model is a log of records with keys, and what an index of it has to know.
type model struct {
	rng  *rand.Rand
	last Mark
	want map[uint64][]uint64
	keys []uint64
}

func newModel(seed uint64) *model {
	m := &model{rng: rand.New(rand.NewPCG(seed, 1)), want: map[uint64][]uint64{}}
	for range 300 {
		m.keys = append(m.keys, m.rng.Uint64())
	}
	m.keys = append(m.keys, 0, 1, ^uint64(0), 1<<63, 1<<63-1)
	return m
}

// group makes postings of so many more records: each has the first key, some of
// the others, and one that no other record has.
func (m *model) group(records int) (group []Posting, through Mark) {
	for range records {
		at := m.last.At + 1 + m.rng.Uint64N(3000)
		m.last = Mark{at, at * 7}
		for _, key := range []uint64{m.keys[0], m.keys[m.rng.IntN(len(m.keys))], m.keys[m.rng.IntN(8)], m.rng.Uint64()} {
			group = append(group, Posting{key, at})
			if list := m.want[key]; len(list) == 0 || list[len(list)-1] != at {
				m.want[key] = append(list, at)
			}
		}
	}
	m.rng.Shuffle(len(group), func(i, j int) { group[i], group[j] = group[j], group[i] })
	return group, m.last
}

func (m *model) add(s *Set, records int) {
	after := m.last
	group, through := m.group(records)
	s.Add(group, after, through, fmt.Appendf(nil, "%d,", through.At))
}

func all(t testing.TB, v *View, key, from, to uint64) (got []uint64) {
	t.Helper()
	for at, err := range v.Between(key, from, to) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, at)
	}
	return got
}

func (m *model) check(t testing.TB, v *View, keys int) {
	t.Helper()
	known := slices.Sorted(maps.Keys(m.want))
	for n := range keys {
		key := known[m.rng.IntN(len(known))]
		switch {
		case n == 0:
			key = m.keys[0]
		case n%7 == 0:
			key = m.rng.Uint64()
		}
		want := m.want[key]
		if got := all(t, v, key, 0, ^uint64(0)); !slices.Equal(got, want) {
			t.Fatalf("key %x: %d positions, want %d", key, len(got), len(want))
		}
		from := m.rng.Uint64N(m.last.At + 1)
		to := from + m.rng.Uint64N(m.last.At+1)
		part := slices.DeleteFunc(slices.Clone(want), func(at uint64) bool { return at < from || at >= to })
		if got := all(t, v, key, from, to); !slices.Equal(got, part) {
			t.Fatalf("key %x from %d to %d: %d positions, want %d", key, from, to, len(got), len(part))
		}
		for at, err := range v.All(key) { // a loop that ends early
			if err != nil || at != want[0] {
				t.Fatalf("key %x begins with %d, want %d, %v", key, at, want[0], err)
			}
			break
		}
	}
}

func look(t testing.TB, s *Set) *View {
	t.Helper()
	v, err := s.Look()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Release)
	return v
}

func TestWhatWasAddedIsFoundWhereverItStands(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		dir := filepath.Join(t.TempDir(), "set")
		o := Options{Dir: dir, fanout: 3}
		s := open(t, o)
		m := newModel(seed)
		merges := 0
		for round := range 60 {
			m.add(s, 1+m.rng.IntN(1500))
			switch m.rng.IntN(4) {
			case 0, 1:
				if err := s.Write(false); err != nil {
					t.Fatal(err)
				}
			case 2:
				merged, err := s.Merge(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if merged {
					merges++
				}
			}
			v, err := s.Look()
			if err != nil {
				t.Fatal(err)
			}
			m.check(t, v, 5)
			v.Release()
			if round%13 == 12 {
				if err := errors.Join(s.Write(false), s.Close()); err != nil {
					t.Fatal(err)
				}
				s = open(t, o)
			}
		}
		m.check(t, look(t, s), 2000)
		if merges < 3 {
			t.Errorf("%d merges", merges)
		}
		state, ok := s.State()
		if !ok || state.After != (Mark{}) || state.Through != m.last || state.Sealed {
			t.Errorf("%+v %v, want through %v", state, ok, m.last)
		}
		if len(s.files) > 12 || len(s.memory) > 12 {
			t.Errorf("%d files and %d runs in memory", len(s.files), len(s.memory))
		}
	}
}

func TestASetKnowsWhatItCoversAcrossRestarts(t *testing.T) {
	o := Options{Dir: filepath.Join(t.TempDir(), "set"), fanout: 2}
	s := open(t, o)
	if state, ok := s.State(); ok {
		t.Errorf("a new set covers %+v", state)
	}
	m := newModel(4)
	m.last = Mark{1000, 5}
	after := m.last
	var notes string
	for range 5 {
		m.add(s, 10)
		notes += fmt.Sprintf("%d,", m.last.At)
		if err := s.Write(false); err != nil {
			t.Fatal(err)
		}
	}
	if merged, err := s.Merge(t.Context()); !merged || err != nil {
		t.Fatal(merged, err)
	}
	if err := errors.Join(s.Write(true), s.Write(true)); err != nil {
		t.Fatal(err)
	}
	written := m.last
	check := func(sealed bool) {
		t.Helper()
		if state, ok := s.State(); !ok || state.After != after || state.Through != written || state.Sealed != sealed || string(state.Notes) != notes {
			t.Errorf("covers %+v, want from %v to %v with the notes %q, sealed: %t", state, after, written, notes, sealed)
		}
	}
	check(true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	check(true)
	m.add(s, 10) // is not written
	if state, _ := s.State(); state.Through != m.last || state.Sealed || state.Waiting == 0 {
		t.Errorf("covers %+v", state)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Look(); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	s = open(t, o)
	check(true)
	if err := s.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(o.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestAViewGoesOnWhileFilesAreMergedAndTheSetIsClosed(t *testing.T) {
	s := open(t, Options{Dir: filepath.Join(t.TempDir(), "set"), fanout: 2})
	m := newModel(5)
	for range 4 {
		m.add(s, 200)
		if err := s.Write(false); err != nil {
			t.Fatal(err)
		}
	}
	v := look(t, s)
	for merged := true; merged; {
		var err error
		if merged, err = s.Merge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.files) != 1 {
		t.Errorf("%d files", len(s.files))
	}
	m.check(t, v, 100)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	m.check(t, v, 100)
}

// A file that is merged takes 300 KiB of memory, and each posting a look at all of them.
func TestManyFilesAreNotMergedAllAtOnce(t *testing.T) {
	s := open(t, Options{Dir: filepath.Join(t.TempDir(), "set"), fanout: 2})
	m := newModel(7)
	const files = 40 // as when there was no room to merge them for long
	for range files {
		m.add(s, 20)
		if err := s.Write(false); err != nil {
			t.Fatal(err)
		}
	}
	for before := len(s.files); ; before = len(s.files) {
		merged, err := s.Merge(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !merged {
			break
		}
		if n := before - len(s.files) + 1; n > mergedAtOnce*2 {
			t.Errorf("%d files were merged at once", n)
		}
	}
	if len(s.files) > 6 {
		t.Errorf("%d files are left", len(s.files))
	}
	m.check(t, look(t, s), 100)
}

func TestAMergeThatWasCutOffLeavesNothingTwice(t *testing.T) {
	o := Options{Dir: filepath.Join(t.TempDir(), "set"), fanout: 4}
	s := open(t, o)
	m := newModel(6)
	kept := map[string][]byte{}
	for range 4 {
		m.add(s, 100)
		if err := s.Write(false); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range s.files {
		data, err := os.ReadFile(f.name)
		if err != nil {
			t.Fatal(err)
		}
		kept[f.name] = data
	}
	if merged, err := s.Merge(t.Context()); !merged || err != nil {
		t.Fatal(merged, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	kept[filepath.Join(o.Dir, "x.run"+disk.TempSuffix)] = []byte("unfinished")
	for name, data := range kept { // as if they had not been removed yet
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, o)
	m.check(t, look(t, s), 300)
	names, err := os.ReadDir(o.Dir)
	if err != nil || len(names) != 1 || len(s.files) != 1 {
		t.Errorf("%d files are left, %d open, %v", len(names), len(s.files), err)
	}
}

func TestNothingIsWrittenWhereSpaceIsShort(t *testing.T) {
	o := Options{Dir: filepath.Join(t.TempDir(), "set"), MinFree: 1 << 60}
	s := open(t, o)
	m := newModel(7)
	m.add(s, 100)
	if err := s.Write(true); !errors.Is(err, disk.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	m.check(t, look(t, s), 50)
	s.o.MinFree = 0
	if err := s.Write(true); err != nil {
		t.Fatal(err)
	}
	m.check(t, look(t, s), 50)
}

// A file that was damaged gives an error or is left out; it never gives a wrong
// answer.
func TestDamageIsNoticedWhereverItIs(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	o := Options{Dir: filepath.Join(t.TempDir(), "set"), fanout: 100}
	s := open(t, o)
	m := newModel(8)
	m.add(s, 3000)
	if err := errors.Join(s.Write(true), s.Close()); err != nil {
		t.Fatal(err)
	}
	name := s.nameOf(t, o.Dir)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	noticed, harmless := 0, 0
	step := 1 + len(whole)/400
	for i := 0; i < len(whole); i += step {
		if i+400 > len(whole) {
			step = 1
		}
		bad := slices.Clone(whole)
		bad[i] ^= 1 << m.rng.IntN(8)
		if i%3 == 0 {
			bad = bad[:i]
		}
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, o)
		if _, ok := s.State(); !ok {
			noticed++
			continue
		}
		v := look(t, s)
		found := false
		for key, want := range m.want {
			var got []uint64
			for at, err := range v.All(key) {
				if err != nil {
					if !errors.Is(err, ErrDamaged) {
						t.Fatal(err)
					}
					found, got = true, nil
					break
				}
				got = append(got, at)
			}
			if got != nil && !slices.Equal(got, want) || got == nil && !found {
				t.Fatalf("byte %d: key %x has %d positions, want %d", i, key, len(got), len(want))
			}
		}
		if found {
			noticed++
		} else {
			harmless++ // the magic at the start, the sum of the directory
		}
		_ = s.Close()
	}
	if noticed < 300 || harmless > 20 {
		t.Errorf("noticed %d times, %d times harmless", noticed, harmless)
	}
}

func (s *Set) nameOf(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+fileSuffix))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	return names[0]
}

// Keys that stand in one bucket, as somebody can make them who has time, cost
// time and break nothing.
func TestKeysThatAreNotSpreadEvenlyAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	s := open(t, Options{Dir: filepath.Join(t.TempDir(), "set"), fanout: 2})
	want := map[uint64][]uint64{}
	at := uint64(0)
	for range 2 {
		var group []Posting
		after := Mark{at, 0}
		for i := range uint64(20_000) {
			at += 10
			key := 42<<40 | i%10_000
			group = append(group, Posting{key, at}, Posting{key, at}) // and twice
			want[key] = append(want[key], at)
		}
		s.Add(group, after, Mark{at, 0}, nil)
		if err := s.Write(false); err != nil {
			t.Fatal(err)
		}
	}
	if merged, err := s.Merge(t.Context()); !merged || err != nil {
		t.Fatal(merged, err)
	}
	v := look(t, s)
	for key, list := range want {
		if got := all(t, v, key, 0, ^uint64(0)); !slices.Equal(got, list) {
			t.Fatalf("key %x: got %v, want %v", key, got, list)
		}
	}
}

func TestASorterGivesWhatSortingGives(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var s sorter
	for _, n := range []int{0, 1, 2, 7, 100, 5000} {
		for _, spread := range []uint64{1, 3, 1000, ^uint64(0)} {
			group := make([]Posting, n)
			for i := range group {
				group[i] = Posting{rng.Uint64N(spread), rng.Uint64N(50)}
			}
			want := slices.Clone(group)
			slices.SortFunc(want, Posting.Compare)
			if got := s.sort(group); !slices.Equal(got, slices.Compact(want)) {
				t.Errorf("%d postings of %d keys: got %v", n, spread, got)
			}
		}
	}
}

func FuzzItems(f *testing.F) {
	f.Add([]byte{1, 2, 5, 7, 3, 40, 0})
	f.Fuzz(func(t *testing.T, content []byte) {
		n, size := 0, 0
		for it := (items{left: content}); ; n++ {
			i, ok, bad := it.next()
			if bad || !ok {
				break
			}
			give(0, i.list, 0, ^uint64(0), func(uint64) bool { size++; return true })
		}
		if n > len(content) || size > len(content) {
			t.Fatalf("%d items with %d positions of %d bytes", n, size, len(content))
		}
	})
}

// FuzzFile opens what is no run's file, or was one: the bytes stand behind the
// start of a good one.
func FuzzFile(f *testing.F) {
	s := open(f, Options{Dir: filepath.Join(f.TempDir(), "set")})
	m := newModel(9)
	m.add(s, 60)
	if err := s.Write(false); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(s.files[0].name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint(len(whole)), []byte{})
	f.Add(uint(8), whole[8:])
	f.Add(uint(0), []byte("WEIRRUN1"))
	f.Fuzz(func(t *testing.T, keep uint, rest []byte) {
		name := filepath.Join(t.TempDir(), "x.run")
		if err := os.WriteFile(name, slices.Concat(whole[:min(keep, uint(len(whole)))], rest), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := openFile(disk.System{}, name)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		defer func() { _ = r.leave() }()
		for _, key := range m.keys {
			_, _ = r.lookup(key, 0, ^uint64(0), func(uint64) bool { return true })
		}
		c := r.scan()
		for {
			if _, ok, err := c.next(); !ok || err != nil {
				return
			}
		}
	})
}
