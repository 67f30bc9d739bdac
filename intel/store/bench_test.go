package store

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/match"
)

// generated gives n entries of many kinds; those from skip on only.
func generated(n, skip int) iter.Seq2[intel.Indicator, error] {
	return func(yield func(intel.Indicator, error) bool) {
		for i := skip; i < n; i++ {
			p, err := generatedPattern(i)
			if !yield(intel.Indicator{Pattern: p, Disposition: intel.Block, Line: i + 1}, err) {
				return
			}
		}
	}
}

func generatedPattern(i int) (intel.Pattern, error) {
	exact := func(v intel.Value, err error) (intel.Pattern, error) { return intel.Exact(v), err }
	switch i % 8 {
	case 0, 1:
		return exact(intel.Domain(fmt.Sprintf("host%d.bad%d.example", i, i%1000)))
	case 2:
		return intel.Below(fmt.Sprintf("evil%d.example", i))
	case 3:
		return exact(intel.Address(fmt.Sprintf("user%d@mail%d.example", i, i%1000)))
	case 4:
		return exact(intel.URL(fmt.Sprintf("https://site%d.example/login/%d?x=%d", i%5000, i, i)))
	case 5:
		return intel.URLPrefix(fmt.Sprintf("https://files%d.example/d/%x*", i%5000, i))
	case 6:
		return exact(intel.IP(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})))
	}
	return exact(intel.Digest(fmt.Sprintf("%032x", i)))
}

// BenchmarkRefresh is a first load, then one line more at the beginning, so that
// all others move, on a database on disk.
func BenchmarkRefresh(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				db := diskDB(b, b.TempDir()+"/intel")
				s, _ := openStore(b, db)
				b.StartTimer()
				began := time.Now()
				load(b, s, Source{Name: "a", Entries: generated(n, 1)})
				first := time.Since(began)
				began = time.Now()
				moved := func(yield func(intel.Indicator, error) bool) {
					for ind, err := range generated(n, 0) {
						ind.Line++
						if !yield(ind, err) {
							return
						}
					}
				}
				load(b, s, Source{Name: "a", Entries: moved})
				edit := time.Since(began)
				began = time.Now()
				s.Close()
				if _, err := Open(Options{DB: db, Matcher: match.NewMatcher()}); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(first.Seconds(), "s/first")
				b.ReportMetric(edit.Seconds(), "s/edit")
				b.ReportMetric(time.Since(began).Seconds(), "s/open")
				b.ReportMetric(float64(s.filter.Bytes())/float64(n), "filter-B/entry")
				_ = db.Close()
			}
		})
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		db := diskDB(b, b.TempDir()+"/intel")
		s, m := openStore(b, db)
		load(b, s, Source{Name: "a", Entries: generated(n, 0)})
		snap := m.Acquire()
		now := time.Now()
		obs := func(make func(i int) (intel.Value, error)) []intel.Observable {
			var all []intel.Observable
			for i := range 1024 {
				v, err := make(i)
				if err != nil {
					b.Fatal(err)
				}
				all = append(all, intel.Observable{Value: v, Role: intel.RoleURL})
			}
			return all
		}
		for _, c := range []struct {
			name string
			hit  bool
			obs  []intel.Observable
		}{
			{"miss-domain", false, obs(func(i int) (intel.Value, error) { return intel.Domain(fmt.Sprintf("good%d.other.example", i)) })},
			{"miss-url", false, obs(func(i int) (intel.Value, error) {
				return intel.URL(fmt.Sprintf("https://www.good%d.example/a/b/c?d=e", i))
			})},
			{"hit-domain", true, obs(func(i int) (intel.Value, error) {
				p, err := generatedPattern(i * (n / 1024) / 8 * 8)
				return p.Value(), err
			})},
			{"hit-digest", true, obs(func(i int) (intel.Value, error) {
				p, err := generatedPattern(i*(n/1024)/8*8 + 7)
				return p.Value(), err
			})},
			{"hit-prefix", true, obs(func(i int) (intel.Value, error) {
				p, err := generatedPattern(i*(n/1024)/8*8 + 5)
				if err != nil {
					return intel.Value{}, err
				}
				return intel.URL(p.Text() + "/x")
			})},
		} {
			b.Run(fmt.Sprintf("%d/%s", n, c.name), func(b *testing.B) {
				b.ReportAllocs()
				var hits []intel.Hit
				i := 0
				for b.Loop() {
					var err error
					if hits, err = snap.Match(hits[:0], c.obs[i&1023:i&1023+1], intel.Inbound, now); err != nil {
						b.Fatal(err)
					}
					if (len(hits) > 0) != c.hit {
						b.Fatalf("%s: %d hits", c.obs[i&1023].Value, len(hits))
					}
					i++
				}
			})
		}
		snap.Release()
		_ = db.Close()
	}
}

func BenchmarkAdded(b *testing.B) {
	s, _ := openStore(b, memoryDB(b))
	before := s.Generation()
	if _, err := s.Refresh(context.Background(), Source{Name: "a", Entries: generated(100_000, 0)}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for _, err := range s.Added(before) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/entry")
}
