package intel

import (
	"errors"
	"net/netip"
	"testing"
)

func TestAPatternIsFoundByItsName(t *testing.T) {
	must := func(p Pattern, err error) Pattern {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	exact := func(v Value, err error) Pattern { return must(Exact(v), err) }
	for name, p := range map[string]Pattern{
		"exact|domain|evil.example":                           exact(Domain("Evil.example")),
		"below|domain|evil.example":                           must(Below(".evil.example")),
		"exact|url|https://evil.example/a|b*":                 exact(URL("https://evil.example/a|b*")),
		"prefix|url|https://evil.example/a":                   must(URLPrefix("https://evil.example/a*")),
		"exact|address|x@evil.example":                        exact(Address("x@evil.example")),
		"exact|address|<>":                                    exact(Address("<>")),
		"exact|ip|2001:db8::1":                                exact(IP(netip.MustParseAddr("2001:db8::1"))),
		"range|ip|198.51.100.0/24":                            must(Range(netip.MustParsePrefix("198.51.100.0/24"))),
		"exact|md5|44d88612fea8a8f36de82e1278abb02f":          exact(Digest("44D88612FEA8A8F36DE82E1278ABB02F")),
		"exact|domain|xn--bcher-kva.example":                  exact(Domain("bücher.example")),
		"exact|sha1|3395856ce81f2b7382dee72602f798b642f14140": exact(Digest("3395856ce81f2b7382dee72602f798b642f14140")),
	} {
		if got := p.Name(); got != name {
			t.Errorf("%s is called %s, want %s", p, got, name)
		}
		again, err := NamedPattern(name)
		if err != nil || string(again.AppendKey(nil)) != string(p.AppendKey(nil)) || again.Text() != p.Text() {
			t.Errorf("%s names %v, %v", name, again, err)
		}
	}
	expression := must(Regexp("a", []Field{FieldSubject}))
	if name := expression.Name(); name != "" {
		t.Errorf("a regular expression is called %s", name)
	}
}

func FuzzNamesOfPatterns(f *testing.F) {
	for _, name := range []string{"", "|", "||", "exact", "exact|domain|", "exact|domain|Evil.example", "below|url|a.example", "range|ip|10.0.0.1/8", "range|ip|x",
		"prefix|url|evil", "exact|md5|3395856ce81f2b7382dee72602f798b642f14140", "exact|domain|evil.example", "exact|ip|010.0.0.1", "exact|ip|fe80::1%eth0"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		p, err := NamedPattern(name)
		if err != nil && !errors.Is(err, ErrValue) {
			t.Errorf("%q: %v", name, err)
		}
		if err == nil && p.Name() != name {
			t.Errorf("%q names what is called %q", name, p.Name())
		}
	})
}
