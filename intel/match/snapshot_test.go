package match

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weirmail/weir/intel"
)

func TestHashesNeverChange(t *testing.T) {
	// Stores file indicators by these. Another value means that every store on
	// disk is lost.
	for text, want := range map[string][]uint64{
		"evil.example":                 {0xa48e3105c0d7043a},
		".evil.example":                {0xbeb57b6dba3ffbd2},
		"ceo@evil.example":             {0x13b253256aca880f},
		"http://evil.example/a?b":      {0xedb93fe3378dff4b},
		"https://evil.example/a?b":     {0xedb93fe3378dff4b},
		"ftp://evil.example/a":         {0xee649dc7e8e11930},
		"https://evil.example/a/b?c/*": {0x176b15f5423c8f8e, 0x10bfa25c0e0758ae, 0x87f6a257a5b9db5b, 0x159064cf12bde44},
		"ftp://evil.example/a*":        {0x1a98bebfb3641a86, 0xc1db5b273d6a531f, 0xf446105591944ead, 0x5425e6bccc6128a0},
		"198.51.100.7":                 {0x6529e742a51d8694},
		"198.51.100.0/24":              {0x44be0ffd40f4c207, 0x69e322b826ed2920},
		"2001:db8::/32":                {0x52f48bb3fb979a09, 0xa79f652dd8f51c64},
		md5sum:                         {0x14412220ab5b7b92},
		"~subject~x":                   {0x28a695bfcac7e8d4},
	} {
		p := pattern(t, text)
		if got := AppendMarks([]uint64{Hash(p)}, p); !slices.Equal(got, want) {
			t.Errorf("%q: got %#x, want %#x", text, got, want)
		}
	}
}

func TestFilterHoldsWhatWasPutInAndLittleElse(t *testing.T) {
	b := NewFilterBuilder(nil)
	var perShard [Shards][]uint64
	name := func(i int) uint64 { return hash(fmt.Sprint(i), intel.FormExact, intel.KindDomain) }
	const n = 100_000
	for i := range n {
		perShard[ShardOf(name(i))] = append(perShard[ShardOf(name(i))], name(i))
	}
	for i, hashes := range perShard {
		if err := b.Set(i, append(hashes, hashes[:10]...)); err != nil { // repetitions do no harm
			t.Fatal(err)
		}
	}
	f := b.Filter()
	for i := range n {
		if !f.Contains(name(i)) {
			t.Fatalf("%d is not in", i)
		}
	}
	wrong := 0
	for i := n; i < 2*n; i++ {
		if f.Contains(name(i)) {
			wrong++
		}
	}
	if wrong > n/100 {
		t.Errorf("%d of %d are said to be in", wrong, n)
	}
	if f.Bytes() < n || f.Bytes() > 2*n {
		t.Errorf("%d bytes", f.Bytes())
	}
}

func TestFilterIsMadeOfAnEarlierOne(t *testing.T) {
	b := NewFilterBuilder(nil)
	low, high := uint64(1), uint64(Shards-1)<<56|1
	for shard, h := range map[int]uint64{0: low, Shards - 1: high} {
		if err := b.Set(shard, []uint64{h}); err != nil {
			t.Fatal(err)
		}
	}
	first := b.Filter()
	b = NewFilterBuilder(first)
	if err := b.Set(0, nil); err != nil {
		t.Fatal(err)
	}
	second := b.Filter()
	if !first.Contains(low) || !first.Contains(high) || second.Contains(low) || !second.Contains(high) {
		t.Error("a shard is not where it should be")
	}
	if (*Filter)(nil).Contains(low) || (*Filter)(nil).Bytes() != 0 {
		t.Error("a nil filter holds something")
	}
}

func TestFilterWorksAtEverySmallSize(t *testing.T) {
	for n := 1; n < 200; n++ {
		hashes := make([]uint64, n)
		for i := range hashes {
			hashes[i] = hash(fmt.Sprint(n, i), intel.FormExact, intel.KindURL) >> 8
		}
		b := NewFilterBuilder(nil)
		if err := b.Set(0, slices.Clone(hashes)); err != nil {
			t.Fatal(err)
		}
		f := b.Filter()
		for _, h := range hashes {
			if !f.Contains(h) {
				t.Fatalf("%d hashes: one is not in", n)
			}
		}
	}
}

func TestSnapshotNeedsASourceAndRegularExpressionsOnly(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("no source was accepted")
	}
	if _, err := New(Options{Source: nothing{}, Regexps: []*intel.Indicator{entry(t, "block evil.example")}}); err == nil {
		t.Error("a domain was accepted as a regular expression")
	}
}

func TestMatcherKnowsNothingAtFirst(t *testing.T) {
	s := NewMatcher().Acquire()
	defer s.Release()
	hits, err := s.Match(nil, typicalMessage(t), intel.Inbound, now)
	if err != nil || hits != nil || s.Generation() != 0 || s.WantsTexts(intel.FieldSubject) {
		t.Errorf("got %v, %v", hits, err)
	}
}

func TestSnapshotIsReleasedOnceAfterItsLastReader(t *testing.T) {
	released := 0
	s, err := New(Options{Source: nothing{}, Generation: 7, Release: func() { released++ }})
	if err != nil {
		t.Fatal(err)
	}
	m := NewMatcher()
	m.Swap(s)
	a, b := m.Acquire(), m.Acquire()
	if a != s || b != s || a.Generation() != 7 {
		t.Fatal("another snapshot is current")
	}
	a.Release()
	m.Swap(snapshot(t, "block evil.example"))
	if released != 0 {
		t.Fatal("released under a reader")
	}
	b.Release()
	if released != 1 {
		t.Fatalf("released %d times", released)
	}
	if s.hold() {
		t.Error("a released snapshot can be held")
	}
}

// revocable is a Source that must not be asked once it was released.
type revocable struct {
	entry    *intel.Indicator
	released atomic.Bool
	misuse   *atomic.Int64
}

func (r *revocable) Lookup(dst []*intel.Indicator, _ uint64, _ []byte) ([]*intel.Indicator, error) {
	if r.released.Load() {
		r.misuse.Add(1)
	}
	return append(dst, r.entry), nil
}

func TestReadersAndSwapsDoNotDisturbEachOther(t *testing.T) {
	m := NewMatcher()
	ind := entry(t, "block evil.example")
	b := NewFilterBuilder(nil)
	if err := b.Set(ShardOf(Hash(ind.Pattern)), []uint64{Hash(ind.Pattern)}); err != nil {
		t.Fatal(err)
	}
	var misuse, unreleased atomic.Int64
	swap := func(generation uint64) {
		r := &revocable{entry: ind, misuse: &misuse}
		unreleased.Add(1)
		s, err := New(Options{Source: r, Filter: b.Filter(), Generation: generation, Release: func() { r.released.Store(true); unreleased.Add(-1) }})
		if err != nil {
			t.Error(err)
			return
		}
		m.Swap(s)
	}
	swap(1)
	obs := []intel.Observable{observable(t, "evil.example", "")}
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			var last uint64
			for range 2000 {
				s := m.Acquire()
				hits, err := s.Match(nil, obs, 0, now)
				if err != nil || len(hits) != 1 || s.Generation() < last {
					t.Errorf("generation %d after %d: %v, %v", s.Generation(), last, hits, err)
				}
				last = s.Generation()
				s.Release()
			}
		})
	}
	for generation := range uint64(500) {
		swap(generation + 2)
	}
	readers.Wait()
	if misuse.Load() != 0 {
		t.Errorf("%d lookups in a released source", misuse.Load())
	}
	if unreleased.Load() != 1 {
		t.Errorf("%d snapshots unreleased, want the current one", unreleased.Load())
	}
}
