package match

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
)

// specificity says by the words of the package comment, and in no clever way,
// whether p matches v, and how specific that is: less is more specific.
func specificity(p intel.Pattern, v intel.Value) (rank int, ok bool) {
	const hostRank = 100_000
	text := intel.Exact(v).MatchText()
	_, err := netip.ParseAddr(text)
	addressAsName := err == nil && v.Kind() == intel.KindDomain
	if p.Form() == intel.FormExact && p.Kind() == v.Kind() && !addressAsName {
		return 0, p.MatchText() == text
	}
	if p.Form() == intel.FormPrefix {
		return 1 + len(text) - len(p.MatchText()), v.Kind() == intel.KindURL && strings.HasPrefix(text, p.MatchText())
	}
	host := v.Host()
	switch v.Kind() {
	case intel.KindIP:
		host = v.String()
	case intel.KindAddress:
		if host == "" {
			host = strings.TrimSuffix(v.String()[strings.LastIndex(v.String(), "@[")+2:], "]")
		}
	}
	addr, err := netip.ParseAddr(host)
	isIP := err == nil
	switch {
	case p.Kind() == intel.KindIP && p.Form() == intel.FormExact:
		return hostRank, isIP && addr.String() == p.Text()
	case p.Form() == intel.FormRange:
		block := netip.MustParsePrefix(p.Text())
		return hostRank + 1 + 128 - block.Bits(), isIP && block.Contains(addr)
	case p.Kind() == intel.KindDomain && p.Form() == intel.FormExact:
		return hostRank, !isIP && host == p.Text()
	case p.Form() == intel.FormBelow:
		return hostRank + 1 + 1000 - len(p.Text()), !isIP && (host == p.Text() || strings.HasSuffix(host, "."+p.Text()))
	}
	return 0, false
}

// expected gives the hits that the words of the package comment ask for.
func expected(entries []*intel.Indicator, o intel.Observable, d intel.Direction, now time.Time) []*intel.Indicator {
	type ranked struct {
		rank int
		ind  *intel.Indicator
	}
	var matching []ranked
	best := 1 << 30
	for _, ind := range entries {
		rank, ok := specificity(ind.Pattern, o.Value)
		if !ok || !ind.InForce(o.Role, d, now) {
			continue
		}
		matching = append(matching, ranked{rank, ind})
		if ind.Disposition != intel.Watch {
			best = min(best, rank)
		}
	}
	allowed := slices.ContainsFunc(matching, func(m ranked) bool { return m.rank == best && m.ind.Disposition == intel.Allow })
	var hits []*intel.Indicator
	for _, m := range matching {
		if m.ind.Disposition == intel.Watch || m.rank == best && (m.ind.Disposition == intel.Allow) == allowed {
			hits = append(hits, m.ind)
		}
	}
	return hits
}

// world makes random entries and observables out of so few parts that they
// meet all the time.
type world struct{ *rand.Rand }

func (w world) of(parts ...string) string { return parts[w.IntN(len(parts))] }

func (w world) name() string {
	return w.of("", "a.", "b.", "a.b.", "b.a.a.") + w.of("x.example", "y.example", "ax.example", "example")
}

func (w world) ip() string {
	if w.IntN(3) == 0 {
		return w.of("2001:db8::1", "2001:db8:0:1::1", "2001:db8::", "::1")
	}
	return fmt.Sprintf("198.51.%d.%d", w.IntN(3), w.IntN(4))
}

func (w world) block() string {
	addr := netip.MustParseAddr(w.ip())
	p, _ := addr.Prefix(w.IntN(addr.BitLen() + 1))
	return p.String()
}

func (w world) url() string {
	host := w.name()
	if w.IntN(5) == 0 {
		host = w.ip()
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
	}
	u := w.of("http://", "https://", "ftp://") + host + w.of("", "", ":81") + "/"
	for range w.IntN(4) {
		u += w.of("p", "q", "pp", "pq", "p/", "q/", "pq/")
	}
	return u + w.of("", "", "?", "?p", "?q/p", "?p=http://x/q")
}

func (w world) entry(t testing.TB) *intel.Indicator {
	text := ""
	switch w.IntN(8) {
	case 0:
		text = w.name()
	case 1:
		text = "." + w.name()
	case 2:
		text = w.of("u", "v") + "@" + w.name()
	case 3:
		text = w.of("u", "v") + "@[" + strings.Replace(w.ip(), "2001", "IPv6:2001", 1) + "]"
	case 4:
		text = w.url()
	case 5:
		text = w.url()
		if w.IntN(2) == 0 {
			text = strings.TrimRight(text, "?")
			text = text[:len(text)-w.IntN(2)]
		}
		if text += "*"; strings.Count(text, "/") < 3 || strings.HasSuffix(text, "?*") {
			text = "http://" + w.name() + "/*"
		}
	case 6:
		text = w.ip()
	case 7:
		text = w.block()
	}
	ind := &intel.Indicator{Pattern: pattern(t, text), Disposition: intel.Disposition(1 + w.IntN(3)), Source: text}
	if w.IntN(4) == 0 {
		ind.Roles = []intel.Role{intel.Role(w.of("url", "helo"))}
	}
	if w.IntN(4) == 0 {
		ind.Direction = intel.Direction(1 + w.IntN(3))
	}
	if w.IntN(4) == 0 {
		ind.Until = now.Add(time.Duration(w.IntN(3)-1) * time.Hour)
	}
	return ind
}

func (w world) observable(t testing.TB) intel.Observable {
	text := ""
	switch w.IntN(5) {
	case 0:
		text = w.name()
	case 1:
		text = w.of("u", "v") + "@" + w.name()
	case 2:
		text = w.of("u", "v") + "@[" + strings.Replace(w.ip(), "2001", "IPv6:2001", 1) + "]"
	case 3:
		text = w.url()
	case 4:
		text = w.ip()
	}
	return observable(t, text, intel.Role(w.of("url", "helo", "client")))
}

func TestSnapshotAgreesWithTheWordsOfThePackageComment(t *testing.T) {
	rounds := 400
	if testing.Short() {
		rounds = 50
	}
	hits := 0
	for seed := range rounds {
		w := world{rand.New(rand.NewPCG(uint64(seed), 2))}
		m := NewMemory()
		var entries []*intel.Indicator
		for range 1 + w.IntN(60) {
			ind := w.entry(t)
			entries = append(entries, ind)
			m.Add(ind)
		}
		s, err := m.Snapshot(1)
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			o, d := w.observable(t), intel.Direction(w.IntN(4))
			got, err := s.Match(nil, []intel.Observable{o}, d, now)
			if err != nil {
				t.Fatal(err)
			}
			want := expected(entries, o, d, now)
			if !sameSet(got, want) {
				t.Fatalf("seed %d: %s %s as %s, %s:\n got %s\nwant %s", seed, o.Value.Kind(), o.Value, o.Role, d, describe(hitIndicators(got)), describe(want))
			}
			candidates, err := s.Explain(o, d, now)
			if err != nil {
				t.Fatal(err)
			}
			var explained []*intel.Indicator
			for _, c := range candidates {
				if c.Hit() {
					explained = append(explained, c.Indicator)
				}
			}
			if !sameSet(got, explained) {
				t.Fatalf("seed %d: %s: Match and Explain differ:\n got %s\nwant %s", seed, o.Value, describe(hitIndicators(got)), describe(explained))
			}
			hits += len(got)
		}
	}
	if hits < rounds*20 {
		t.Errorf("only %d hits in all: the test tests little", hits)
	}
}

func hitIndicators(hits []intel.Hit) (inds []*intel.Indicator) {
	for _, h := range hits {
		inds = append(inds, h.Indicator)
	}
	return inds
}

func sameSet(hits []intel.Hit, want []*intel.Indicator) bool {
	left := slices.Clone(want)
	for _, ind := range hitIndicators(hits) {
		i := slices.Index(left, ind)
		if i < 0 {
			return false
		}
		left = slices.Delete(left, i, i+1)
	}
	return len(left) == 0
}

func describe(inds []*intel.Indicator) string {
	var lines []string
	for _, ind := range inds {
		lines = append(lines, fmt.Sprintf("%s %s in=%v dir=%s until=%s", ind.Disposition, ind.Pattern, ind.Roles, ind.Direction, ind.Until))
	}
	return strings.Join(lines, "\n     ")
}

func FuzzAnyEntryMeetsAnyObservableAsTheWordsSay(f *testing.F) {
	f.Add("https://evil.example/a/b?c=/d*", "http://evil.example/a/b?c=/d/e")
	f.Add(".evil.example", "ceo@mail.evil.example")
	f.Add("2001:db8::/33", "http://[2001:db8::1]/x")
	f.Add("smb://host.example/a*", "smb://host.example/a/b")
	f.Fuzz(func(t *testing.T, entryText, seen string) {
		v, err := value(seen)
		if err != nil {
			return
		}
		var p intel.Pattern
		if prefix, err := netip.ParsePrefix(entryText); err == nil {
			p, err = intel.Range(prefix)
			if err != nil {
				return
			}
		} else if strings.HasSuffix(entryText, "*") {
			if p, err = intel.URLPrefix(entryText); err != nil {
				return
			}
		} else if strings.HasPrefix(entryText, ".") {
			if p, err = intel.Below(entryText); err != nil {
				return
			}
		} else {
			e, err := value(entryText)
			if err != nil {
				return
			}
			p = intel.Exact(e)
		}
		m := NewMemory()
		m.Add(&intel.Indicator{Pattern: p, Disposition: intel.Block})
		s, err := m.Snapshot(1)
		if err != nil {
			t.Fatal(err)
		}
		hits, err := s.Match(nil, []intel.Observable{{Value: v}}, 0, now)
		if err != nil {
			t.Fatal(err)
		}
		if _, want := specificity(p, v); (len(hits) == 1) != want {
			t.Fatalf("%s %s and %s %s: %d hits, want a hit: %v", p.Kind(), p, v.Kind(), v, len(hits), want)
		}
	})
}
