package match

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// pattern reads the short notation of these tests: the forms that lists write.
func pattern(t testing.TB, text string) intel.Pattern {
	t.Helper()
	p, err := func() (intel.Pattern, error) {
		if expr, ok := strings.CutPrefix(text, "~"); ok { // ~field~expression
			field, expr, _ := strings.Cut(expr, "~")
			return intel.Regexp(expr, []intel.Field{intel.Field(field)})
		}
		if strings.HasPrefix(text, ".") {
			return intel.Below(text)
		}
		if strings.HasSuffix(text, "*") {
			return intel.URLPrefix(text)
		}
		if prefix, err := netip.ParsePrefix(text); err == nil {
			return intel.Range(prefix)
		}
		v, err := value(text)
		return intel.Exact(v), err
	}()
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func value(text string) (intel.Value, error) {
	if name, ok := strings.CutPrefix(text, "name:"); ok {
		return intel.Domain(name)
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		return intel.IP(addr)
	}
	switch {
	case strings.Contains(text, "://"):
		return intel.URL(text)
	case strings.Contains(text, "@"), text == "<>":
		return intel.Address(text)
	case len(text) == 32 || len(text) == 40 || len(text) == 64:
		return intel.Digest(text)
	}
	return intel.Domain(text)
}

func observable(t testing.TB, text string, role intel.Role) intel.Observable {
	t.Helper()
	v, err := value(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return intel.Observable{Value: v, Role: role, Place: "test"}
}

// entry reads "block evil.example", with options like those of a list.
func entry(t testing.TB, text string) *intel.Indicator {
	t.Helper()
	words := strings.Fields(text)
	d, ok := intel.ParseDisposition(words[0])
	if !ok {
		t.Fatalf("%s: no disposition", text)
	}
	ind := &intel.Indicator{Pattern: pattern(t, words[1]), Disposition: d, Source: text}
	for _, option := range words[2:] {
		name, arg, _ := strings.Cut(option, "=")
		switch name {
		case "in":
			for r := range strings.SplitSeq(arg, ",") {
				ind.Roles = append(ind.Roles, intel.Role(r))
			}
		case "dir":
			ind.Direction, _ = intel.ParseDirection(arg)
		case "until":
			until, err := time.Parse(time.DateOnly, arg)
			if err != nil {
				t.Fatal(err)
			}
			ind.Until = until
		default:
			t.Fatalf("%s: no option", option)
		}
	}
	return ind
}

func snapshot(t testing.TB, entries ...string) *Snapshot {
	t.Helper()
	m := NewMemory()
	for _, e := range entries {
		m.Add(entry(t, e))
	}
	s, err := m.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sources gives the entries behind hits, which the tests write into Source.
func sources(hits []intel.Hit) string {
	var texts []string
	for _, h := range hits {
		texts = append(texts, h.Indicator.Source)
	}
	return strings.Join(texts, " | ")
}

const (
	md5sum  = "44d88612fea8a8f36de82e1278abb02f"
	sha1sum = "3395856ce81f2b7382dee72602f798b642f14140"
	sha256s = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"
)

func TestMostSpecificLevelDecides(t *testing.T) {
	for _, c := range []struct {
		name    string
		entries []string
		seen    string
		role    intel.Role
		dir     intel.Direction
		want    string
	}{
		{name: "nothing known", entries: nil, seen: "evil.example", want: ""},
		{name: "digest", entries: []string{"block " + md5sum, "block " + sha1sum}, seen: md5sum, want: "block " + md5sum},
		{name: "other digest", entries: []string{"block " + md5sum}, seen: sha256s, want: ""},
		{name: "domain itself", entries: []string{"block evil.example"}, seen: "EVIL.example", want: "block evil.example"},
		{name: "name below an exact entry", entries: []string{"block evil.example"}, seen: "mail.evil.example", want: ""},
		{name: "below covers the domain itself", entries: []string{"block .evil.example"}, seen: "evil.example", want: "block .evil.example"},
		{name: "below covers what is below", entries: []string{"block .evil.example"}, seen: "a.b.evil.example", want: "block .evil.example"},
		{name: "below ends at a dot", entries: []string{"block .evil.example"}, seen: "notevil.example", want: ""},
		{name: "a whole top level", entries: []string{"block .example"}, seen: "a.evil.example", want: "block .example"},
		{name: "exact before below", entries: []string{"block .evil.example", "allow evil.example"}, seen: "evil.example", want: "allow evil.example"},
		{name: "nearer before wider", entries: []string{"allow .example", "block .evil.example"}, seen: "x.evil.example", want: "block .evil.example"},
		{name: "allow beats block at one level", entries: []string{"block evil.example", "allow evil.example"}, seen: "evil.example", want: "allow evil.example"},
		{name: "an allow elsewhere covers nothing", entries: []string{"block evil.example", "allow x@good.example"}, seen: "evil.example", want: "block evil.example"},
		{name: "all blocks of the level", entries: []string{"block evil.example", "block evil.example dir=inbound", "block .evil.example"}, seen: "evil.example", want: "block evil.example | block evil.example dir=inbound"},
		{name: "watch at any level", entries: []string{"watch .example", "block evil.example", "watch evil.example"}, seen: "evil.example", want: "block evil.example | watch evil.example | watch .example"},

		{name: "address itself", entries: []string{"block ceo@evil.example", "allow evil.example"}, seen: "CEO@evil.example", want: "block ceo@evil.example"},
		{name: "domain of an address", entries: []string{"block evil.example"}, seen: "ceo@evil.example", want: "block evil.example"},
		{name: "below, of an address", entries: []string{"block .evil.example"}, seen: "ceo@mail.evil.example", want: "block .evil.example"},
		{name: "null sender", entries: []string{"watch <>"}, seen: "<>", want: "watch <>"},
		{name: "address literal", entries: []string{"block 198.51.100.0/24"}, seen: "root@[198.51.100.7]", want: "block 198.51.100.0/24"},
		{name: "IPv6 address literal", entries: []string{"block 2001:db8::/32"}, seen: "root@[IPv6:2001:db8::1]", want: "block 2001:db8::/32"},

		{name: "url over either scheme", entries: []string{"block http://evil.example/pay"}, seen: "https://evil.example/pay", want: "block http://evil.example/pay"},
		{name: "url is not its prefix", entries: []string{"block http://evil.example/pay"}, seen: "https://evil.example/pay/x", want: ""},
		{name: "prefix of whole segments", entries: []string{"block https://evil.example/pay/*"}, seen: "https://evil.example/pay/a/b?c", want: "block https://evil.example/pay/*"},
		{name: "prefix covers itself", entries: []string{"block https://evil.example/pay/*"}, seen: "https://evil.example/pay/", want: "block https://evil.example/pay/*"},
		{name: "prefix within a segment", entries: []string{"block https://evil.example/pay/inv*"}, seen: "https://evil.example/pay/invoice.zip", want: "block https://evil.example/pay/inv*"},
		{name: "prefix of a whole segment", entries: []string{"block https://evil.example/pay*"}, seen: "https://evil.example/pay/invoice", want: "block https://evil.example/pay*"},
		{name: "prefix as long as the url", entries: []string{"block https://evil.example/pay*"}, seen: "https://evil.example/pay", want: "block https://evil.example/pay*"},
		{name: "prefix longer than the url", entries: []string{"block https://evil.example/pay/*"}, seen: "https://evil.example/pay", want: ""},
		{name: "prefix into the query", entries: []string{"block https://evil.example/go?to=https://x/*"}, seen: "https://evil.example/go?to=https://x/y", want: "block https://evil.example/go?to=https://x/*"},
		{name: "prefix of the host", entries: []string{"block https://evil.example/*"}, seen: "https://evil.example/", want: "block https://evil.example/*"},
		{name: "prefix of another port", entries: []string{"block https://evil.example:8443/*"}, seen: "https://evil.example/", want: ""},
		{name: "prefix with a port", entries: []string{"block https://evil.example:8443/*"}, seen: "http://evil.example:8443/x", want: "block https://evil.example:8443/*"},
		{name: "prefix with a scheme of its own", entries: []string{"block ftp://evil.example/pub/x*"}, seen: "ftp://evil.example/pub/xy/z", want: "block ftp://evil.example/pub/x*"},
		{name: "scheme of its own is another link", entries: []string{"block ftp://evil.example/pub/*"}, seen: "http://evil.example/pub/", want: ""},
		{name: "longest prefix", entries: []string{"block https://evil.example/*", "allow https://evil.example/doc/*", "block https://evil.example/doc/bad*"}, seen: "https://evil.example/doc/bad.html", want: "block https://evil.example/doc/bad*"},
		{name: "middle prefix", entries: []string{"block https://evil.example/*", "allow https://evil.example/doc/*", "block https://evil.example/doc/bad*"}, seen: "https://evil.example/doc/good.html", want: "allow https://evil.example/doc/*"},
		{name: "url before its host", entries: []string{"block .evil.example", "allow https://evil.example/ok"}, seen: "https://evil.example/ok", want: "allow https://evil.example/ok"},
		{name: "host of a url", entries: []string{"block evil.example"}, seen: "https://evil.example:8080/x", want: "block evil.example"},
		{name: "below, of a url", entries: []string{"block .evil.example"}, seen: "https://www.evil.example/x", want: "block .evil.example"},
		{name: "address of a url", entries: []string{"block 198.51.100.0/24"}, seen: "http://0xc6336407/x", want: "block 198.51.100.0/24"},
		{name: "IPv6 address of a url", entries: []string{"block 2001:db8::/32"}, seen: "http://[2001:db8::1]:80/x", want: "block 2001:db8::/32"},

		{name: "address in place of a name", entries: []string{"block 198.51.100.0/24"}, seen: "name:198.51.100.7", want: "block 198.51.100.0/24"},
		{name: "ip itself before its range", entries: []string{"block 198.51.100.0/24", "allow 198.51.100.7"}, seen: "198.51.100.7", want: "allow 198.51.100.7"},
		{name: "longest range", entries: []string{"block 198.51.100.0/24", "allow 198.51.0.0/16"}, seen: "198.51.100.7", want: "block 198.51.100.0/24"},
		{name: "mapped address", entries: []string{"block 198.51.100.0/24"}, seen: "::ffff:198.51.100.7", want: "block 198.51.100.0/24"},
		{name: "everything", entries: []string{"block 0.0.0.0/0"}, seen: "203.0.113.9", want: "block 0.0.0.0/0"},
		{name: "families are apart", entries: []string{"block 0.0.0.0/0"}, seen: "2001:db8::1", want: ""},

		{name: "role", entries: []string{"block evil.example in=helo,url"}, seen: "evil.example", role: intel.RoleHelo, want: "block evil.example in=helo,url"},
		{name: "other role", entries: []string{"block evil.example in=url", "allow .evil.example"}, seen: "evil.example", role: intel.RoleHelo, want: "allow .evil.example"},
		{name: "direction", entries: []string{"block evil.example dir=outbound", "watch .evil.example dir=inbound"}, seen: "evil.example", dir: intel.Inbound, want: "watch .evil.example dir=inbound"},
		{name: "expired", entries: []string{"allow evil.example until=2026-03-01", "block evil.example"}, seen: "evil.example", want: "block evil.example"},
		{name: "not yet expired", entries: []string{"allow evil.example until=2026-03-02", "block evil.example"}, seen: "evil.example", want: "allow evil.example until=2026-03-02"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := snapshot(t, c.entries...)
			hits, err := s.Match(nil, []intel.Observable{observable(t, c.seen, c.role)}, c.dir, now)
			if err != nil {
				t.Fatal(err)
			}
			if got := sources(hits); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
			for _, h := range hits {
				if h.Text != h.Observable.Value.String() || h.Observable.Place != "test" {
					t.Errorf("hit says %q at %q", h.Text, h.Observable.Place)
				}
			}
		})
	}
}

func TestHitsAreAppendedForEachObservable(t *testing.T) {
	s := snapshot(t, "block evil.example", "allow good.example")
	obs := []intel.Observable{
		observable(t, "x@evil.example", intel.RoleHeaderFrom),
		observable(t, "nothing.example", intel.RoleHelo),
		observable(t, "http://good.example/", intel.RoleURL),
		{},
	}
	before := intel.Hit{Text: "before"}
	hits, err := s.Match([]intel.Hit{before}, obs, intel.Inbound, now)
	if err != nil || len(hits) != 3 || hits[0].Text != "before" {
		t.Fatalf("got %v, %v", hits, err)
	}
	if hits[1].Observable != obs[0] || hits[2].Observable != obs[2] {
		t.Errorf("got %v", hits)
	}
}

func TestLongValuesAreShortenedInHits(t *testing.T) {
	s := snapshot(t, "block .evil.example")
	long := observable(t, "http://evil.example/"+strings.Repeat("ü", 1000), intel.RoleURL)
	hits, err := s.Match(nil, []intel.Observable{long}, 0, now)
	if err != nil || len(hits) != 1 || len(hits[0].Text) > 256 || !strings.HasSuffix(hits[0].Text, "…") {
		t.Errorf("got %v, %v", hits, err)
	}
	if got := shorten(strings.Repeat("ü", 200)); len(got) > 256 || strings.ContainsRune(got, '\uFFFD') {
		t.Errorf("cut within a character: %q", got)
	}
}

var errSource = errors.New("the disk is on fire")

type brokenSource struct{ Source }

func (b brokenSource) Lookup(dst []*intel.Indicator, h uint64, key []byte) ([]*intel.Indicator, error) {
	if strings.HasSuffix(string(key), "evil.example") {
		return dst, errSource
	}
	return b.Source.Lookup(dst, h, key)
}

func TestSourceErrorIsReportedAndNeverReadAsAMiss(t *testing.T) {
	s := snapshot(t, "block evil.example", "block good.example")
	s.source = brokenSource{s.source}
	obs := []intel.Observable{observable(t, "good.example", ""), observable(t, "http://evil.example/", "")}
	hits, err := s.Match(nil, obs, 0, now)
	if !errors.Is(err, errSource) || !strings.Contains(err.Error(), `url "http://evil.example/"`) {
		t.Errorf("got error %v", err)
	}
	if len(hits) != 1 {
		t.Errorf("the hit before the error is gone: %v", hits)
	}
	if _, err := s.Explain(obs[1], 0, now); !errors.Is(err, errSource) {
		t.Errorf("Explain: got error %v", err)
	}
}

func TestMissesAllocateNothing(t *testing.T) {
	s := snapshot(t, "block evil.example", "block https://evil.example/pay/*", "block 198.51.100.0/24", "block 2001:db8::/32")
	obs := typicalMessage(t)
	var hits []intel.Hit
	if n := testing.AllocsPerRun(100, func() {
		var err error
		if hits, err = s.Match(hits[:0], obs, intel.Inbound, now); err != nil || len(hits) != 0 {
			t.Fatalf("got %v, %v", hits, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// typicalMessage has some 30 observables, none of them listed anywhere here.
func typicalMessage(t testing.TB) []intel.Observable {
	var obs []intel.Observable
	for _, c := range []struct {
		role  intel.Role
		texts []string
	}{
		{intel.RoleClient, []string{"203.0.113.25"}},
		{intel.RoleHelo, []string{"mail-out-7.newsletter.sender.example"}},
		{intel.RoleEnvelopeFrom, []string{"bounces+12345-67ab@em.newsletter.sender.example"}},
		{intel.RoleHeaderFrom, []string{"news@sender.example"}},
		{intel.RoleReplyTo, []string{"no-reply@sender.example"}},
		{intel.RoleRcpt, []string{"alice@here.example", "bob@here.example"}},
		{intel.RoleAttachment, []string{md5sum[1:] + "0", sha1sum[1:] + "0", sha256s[1:] + "0", "00" + md5sum[2:], "00" + sha1sum[2:], "00" + sha256s[2:]}},
	} {
		for _, text := range c.texts {
			obs = append(obs, observable(t, text, c.role))
		}
	}
	for i := range 17 {
		obs = append(obs, observable(t, fmt.Sprintf("https://click%d.sender.example/campaign/2026/03/item-%d?utm_source=mail&utm_medium=news", i%3, i), intel.RoleURL))
	}
	return obs
}
