package postings

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// BenchmarkIndex measures a posting's way through memory, files and merges.
func BenchmarkIndex(b *testing.B) {
	s := open(b, Options{Dir: filepath.Join(b.TempDir(), "set")})
	rng := rand.New(rand.NewPCG(1, 1))
	const group, written = 50_000, 500_000
	all := make([]Posting, 0, group)
	at := Mark{}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += group {
		all = all[:0]
		after := at
		for range group {
			at.At += 150
			all = append(all, Posting{rng.Uint64() >> (rng.Uint64() % 2 * 63), at.At})
		}
		s.Add(all, after, at, nil)
		if s.Waiting() < written && n+group < b.N {
			continue
		}
		if err := s.Write(false); err != nil {
			b.Fatal(err)
		}
		for merged := true; merged; {
			var err error
			if merged, err = s.Merge(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkLookup looks up keys that one record has, in some dozen files.
func BenchmarkLookup(b *testing.B) {
	s := open(b, Options{Dir: filepath.Join(b.TempDir(), "set")})
	m := newModel(1)
	for range 40 {
		m.add(s, 20_000)
		if err := s.Write(false); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Merge(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	var keys []uint64
	for key, list := range m.want {
		if len(list) == 1 && len(keys) < 10_000 {
			keys = append(keys, key)
		}
	}
	v := look(b, s)
	b.ReportMetric(float64(len(s.files)), "files")
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		if got := all(b, v, keys[n%len(keys)], 0, ^uint64(0)); len(got) != 1 {
			b.Fatal(got)
		}
	}
}
