package match

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weirmail/weir/intel"
)

func everything(uint64) bool { return true }

func TestWiderPatternsWithoutAMarkAreLeftOut(t *testing.T) {
	marks := AppendMarks(AppendMarks(nil, pattern(t, "http://evil.example/a*")), pattern(t, "10.0.0.0/8"))
	marked := func(mark uint64) bool { return slices.Contains(marks, mark) }
	for text, want := range map[string]int{
		"http://evil.example/abc":  1 + len("/abc") + 3,
		"http://other.example/abc": 1 + 3,
		"10.1.2.3":                 1 + 1,
		"2001:db8::1":              1,
	} {
		if n := len(slices.Collect(Wider(pattern(t, text), marked))); n != want {
			t.Errorf("%s: %d patterns, want %d", text, n, want)
		}
	}
}

func TestWiderPatternsOfAValueAreThoseThatMatchIt(t *testing.T) {
	for seed := range uint64(300) {
		w := world{rand.New(rand.NewPCG(seed, 3))}
		v := w.observable(t).Value
		wider := slices.Collect(Wider(intel.Exact(v), everything))
		last := -1
		type seen struct{ at, rank int }
		var ranks []seen
		for range 200 {
			p := w.entry(t).Pattern
			rank, want := specificity(p, v)
			at := slices.Index(wider, Hash(p))
			if (at >= 0) != want {
				t.Fatalf("seed %d: %s matches %s: %v, is wider: %v", seed, p, v, want, at >= 0)
			}
			if want {
				ranks = append(ranks, seen{at, rank})
			}
		}
		slices.SortFunc(ranks, func(a, b seen) int { return a.at - b.at })
		for _, r := range ranks {
			if r.rank < last {
				t.Fatalf("seed %d: wider patterns of %s are out of order", seed, v)
			}
			last = r.rank
		}
	}
}

func TestWiderPatternsOfAFamilyMatchAllOfIt(t *testing.T) {
	for _, c := range []struct {
		pattern       string
		wider, others []string
	}{
		{".a.evil.example", []string{".a.evil.example", ".evil.example", ".example"}, []string{"a.evil.example", "evil.example", ".b.a.evil.example"}},
		{"https://evil.example/a/b*", []string{"http://evil.example/a/*", "http://evil.example/a*", "https://evil.example/*", "evil.example", ".evil.example", ".example"}, []string{"https://evil.example/a/b", "https://evil.example/a/bc*", "https://evil.example/a"}},
		{"http://198.51.100.7/x*", []string{"http://198.51.100.7/*", "198.51.100.7", "198.51.100.0/24"}, []string{"198.51.100.8"}},
		{"198.51.100.0/24", []string{"198.51.100.0/24", "198.51.0.0/16", "0.0.0.0/0"}, []string{"198.51.100.0", "198.51.100.0/25", "::/0"}},
		{"198.51.100.7", []string{"198.51.100.6/31", "0.0.0.0/0"}, []string{"198.51.100.8/31"}},
		{"u@[198.51.100.7]", []string{"198.51.100.7", "198.51.100.0/24"}, []string{"u@evil.example"}},
		{"u@a.evil.example", []string{"a.evil.example", ".a.evil.example", ".evil.example"}, []string{"evil.example", "u@evil.example"}},
		{"<>", []string{"<>"}, []string{"evil.example"}},
		{md5sum, []string{md5sum}, []string{sha1sum}},
		{"~subject~x", []string{"~subject~x"}, []string{"~subject~y"}},
	} {
		wider := slices.Collect(Wider(pattern(t, c.pattern), everything))
		for _, text := range c.wider {
			if !slices.Contains(wider, Hash(pattern(t, text))) {
				t.Errorf("%s is not wider than %s", text, c.pattern)
			}
		}
		for _, text := range c.others {
			if slices.Contains(wider, Hash(pattern(t, text))) {
				t.Errorf("%s is wider than %s", text, c.pattern)
			}
		}
	}
}
