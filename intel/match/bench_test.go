package match

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel"
)

// listed is the i-th entry of a list of many kinds.
func listed(t testing.TB, i int) *intel.Indicator {
	var text string
	switch i % 8 {
	case 0, 1:
		text = fmt.Sprintf("host%d.bad%d.example", i, i%1000)
	case 2:
		text = fmt.Sprintf(".evil%d.example", i)
	case 3:
		text = fmt.Sprintf("user%d@mail%d.example", i, i%1000)
	case 4:
		text = fmt.Sprintf("https://site%d.example/login/%d?x=%d", i%5000, i, i)
	case 5:
		text = fmt.Sprintf("https://files%d.example/d/%x*", i%5000, i)
	case 6:
		text = fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)
	case 7:
		text = fmt.Sprintf("%032x", i)
	}
	return &intel.Indicator{Pattern: pattern(t, text), Disposition: intel.Block, Source: "list:block/bench.txt", Line: i + 1}
}

func benchSnapshot(b *testing.B, n int) *Snapshot {
	m := NewMemory()
	for i := range n {
		m.Add(listed(b, i))
	}
	for _, text := range []string{"block 192.0.2.0/24", "block 198.18.0.0/15", "block 2001:db8:ffff::/48"} {
		m.Add(entry(b, text))
	}
	s, err := m.Snapshot(1)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func BenchmarkMatch(b *testing.B) {
	for _, size := range []struct {
		name string
		n    int
	}{{"1k", 1000}, {"100k", 100_000}, {"1M", 1_000_000}} {
		s := benchSnapshot(b, size.n)
		one := func(text string, role intel.Role) []intel.Observable {
			return []intel.Observable{observable(b, text, role)}
		}
		for _, c := range []struct {
			name string
			obs  []intel.Observable
		}{
			{"message-of-misses", typicalMessage(b)},
			{"miss-digest", one("ff"+sha256s[2:], intel.RoleAttachment)},
			{"miss-domain", one("mail.sender.example", intel.RoleHelo)},
			{"miss-url", one("https://www.sender.example/a/b/c?d=e", intel.RoleURL)},
			{"miss-url-of-listed-host", one("https://files5.example/e/0123456789abcdef/view", intel.RoleURL)},
			{"miss-ip", one("203.0.113.25", intel.RoleClient)},
			{"hit-digest", one(fmt.Sprintf("%032x", 7), intel.RoleAttachment)},
			{"hit-below", one("x@a.evil2.example", intel.RoleHeaderFrom)},
			{"hit-prefix", one("https://files5.example/d/5/x", intel.RoleURL)},
			{"hit-range", one("192.0.2.77", intel.RoleClient)},
			{"miss-url-of-8KB-and-2700-slashes", one("https://files5.example/"+strings.Repeat("ab/", 2700), intel.RoleURL)},
			{"miss-url-of-8KB-in-a-bucket", one("https://files5.example/d/"+strings.Repeat("z", 8000), intel.RoleURL)},
		} {
			b.Run(size.name+"/"+c.name, func(b *testing.B) {
				var hits []intel.Hit
				b.ReportAllocs()
				for b.Loop() {
					hits, _ = s.Match(hits[:0], c.obs, intel.Inbound, now)
				}
				if (len(hits) > 0) == strings.HasPrefix(c.name, "m") {
					b.Fatalf("%d hits", len(hits))
				}
			})
		}
	}
}

func BenchmarkAcquire(b *testing.B) {
	m := NewMatcher()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Acquire().Release()
		}
	})
}

func BenchmarkBuildFilterShard(b *testing.B) {
	const n = 40_000 // of 10 million in 256 shards
	hashes := make([]uint64, n)
	for i := range hashes {
		hashes[i] = hash(fmt.Sprint(i), intel.FormExact, intel.KindDomain) >> 8
	}
	fb := NewFilterBuilder(nil)
	b.ReportAllocs()
	for b.Loop() {
		if err := fb.Set(0, hashes); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatchTexts(b *testing.B) {
	m := NewMemory()
	for i := range 100 {
		m.Add(entry(b, fmt.Sprintf("block ~subject~(?i)urgent[^a-z]+payment%d", i)))
	}
	s, err := m.Snapshot(1)
	if err != nil {
		b.Fatal(err)
	}
	texts := []Text{{Field: intel.FieldSubject, Value: "Invitation to the annual meeting of the fish trap society"}}
	for range 30 {
		texts = append(texts, Text{Field: intel.FieldHeader, Name: "Received", Value: "from a by b with ESMTP"})
	}
	b.ReportAllocs()
	for b.Loop() {
		s.MatchTexts(nil, texts, intel.Inbound, now)
	}
}
