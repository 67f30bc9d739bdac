package intel

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// must gives the pattern of a constructor that is not meant to fail.
func must(t *testing.T) func(Pattern, error) Pattern {
	return func(p Pattern, err error) Pattern {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
}

func exactURL(text string) (Pattern, error) {
	v, err := URL(text)
	return Exact(v), err
}

func cidr(text string) (Pattern, error) { return Range(netip.MustParsePrefix(text)) }

func TestAPatternShowsItselfAsListsWriteIt(t *testing.T) {
	ok := must(t)
	for want, p := range map[string]Pattern{
		".evil.example":             ok(Below(".Evil.Example.")),
		".xn--bcher-kva.example":    ok(Below("bücher.example")),
		"https://evil.example/pay*": ok(URLPrefix("https://EVIL.example/./pay*")),
		"https://evil.example/":     ok(exactURL("https://evil.example")),
		"198.51.100.0/24":           ok(cidr("198.51.100.0/24")),
		"192.0.2.5":                 ok(cidr("192.0.2.5/32")),
		"2001:db8::/32":             ok(cidr("2001:db8::/32")),
		"10.0.0.0/8":                ok(cidr("::ffff:10.0.0.0/104")),
		"0.0.0.0/0":                 ok(cidr("::ffff:0:0/96")),
		`/a\/b\d\\\/c/`:             ok(Regexp(`a/b\d\\/c`, []Field{FieldSubject})),
		"/pay.*now/i":               ok(Regexp("(?i)pay.*now", []Field{FieldSubject})),
	} {
		if p.String() != want {
			t.Errorf("got %q, want %q", p, want)
		}
	}
}

func TestPatternsThatMatchTheSameHaveOneKey(t *testing.T) {
	ok := must(t)
	for name, same := range map[string][]Pattern{
		"below":   {ok(Below("evil.example")), ok(Below(".EVIL.example."))},
		"schemes": {ok(exactURL("http://evil.example/x")), ok(exactURL("https://evil.example/x"))},
		"prefix":  {ok(URLPrefix("http://evil.example/x*")), ok(URLPrefix("https://evil.example:443/./x*")), ok(URLPrefix("evil.example/x*"))},
		"range":   {ok(cidr("10.0.0.0/8")), ok(cidr("::ffff:10.0.0.0/104"))},
		"single":  {ok(cidr("192.0.2.5/32")), ok(cidr("::ffff:192.0.2.5/128"))},
		"fields":  {ok(Regexp("x", []Field{"subject", "header:X-A"})), ok(Regexp("x", []Field{"Header:x-a", "subject", "subject"}))},
		"slashes": {ok(Regexp("a/b", []Field{"subject"})), ok(Regexp(`a\/b`, []Field{"subject"}))},
	} {
		for _, p := range same[1:] {
			if string(p.AppendKey(nil)) != string(same[0].AppendKey(nil)) {
				t.Errorf("%s: %v and %v have different keys", name, p, same[0])
			}
		}
	}
}

func TestPatternsThatMatchDifferentlyHaveDifferentKeys(t *testing.T) {
	ok := must(t)
	domain, err := Domain("evil.example")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]Pattern{}
	for _, p := range []Pattern{
		Exact(domain), ok(Below("evil.example")), ok(exactURL("http://evil.example/")), ok(URLPrefix("http://evil.example/*")), ok(exactURL("ftp://evil.example/")), ok(exactURL("http://evil.example:8080/")),
		ok(cidr("10.0.0.0/8")), ok(cidr("10.0.0.0/9")), ok(cidr("10.0.0.0/32")),
		ok(Regexp("x", []Field{"subject"})), ok(Regexp("x", []Field{"header"})), ok(Regexp("x", []Field{"subject", "header"})), ok(Regexp("(?i)x", []Field{"subject"})), ok(Regexp("xsubject", []Field{"header"})),
	} {
		key := string(p.AppendKey(nil))
		if other, taken := seen[key]; taken {
			t.Errorf("%v and %v have the same key", p, other)
		}
		seen[key] = p
	}
}

func TestAPatternIsReadBackFromItsKey(t *testing.T) {
	ok := must(t)
	for _, tt := range []struct {
		p      Pattern
		scheme string
	}{
		{ok(Below("evil.example")), ""}, {ok(exactURL("https://evil.example/x")), "https://"}, {ok(exactURL("ftp://evil.example/x")), ""}, {ok(URLPrefix("http://evil.example/x*")), "http://"},
		{ok(cidr("10.0.0.0/8")), ""}, {Exact(SHA256([32]byte{1})), ""}, {ok(Regexp(`(?i)a/b\d`, []Field{"subject", "header:x-a"})), ""},
	} {
		got, err := PatternFromKey(tt.p.AppendKey(nil), tt.scheme)
		if err != nil || got.String() != tt.p.String() || got.Kind() != tt.p.Kind() || got.Form() != tt.p.Form() || !slices.Equal(got.Fields(), tt.p.Fields()) || got.Value() != tt.p.Value() {
			t.Errorf("%v comes back as %v, %v", tt.p, got, err)
		}
	}
	for _, key := range []string{"", "\x01", "\x01\x05", "\x01\x00x", "\x01\xffx", "\x00\x05x", "\x09\x05x", "\x02\x06x", "\x03\x05x", "\x04\x05x", "\x05\x00x", "\x05\x00(\x00subject", "\x05\x00x\x00nonsense"} {
		if p, err := PatternFromKey([]byte(key), ""); !errors.Is(err, ErrValue) {
			t.Errorf("key %q: %v, %v", key, p, err)
		}
	}
}

func TestAPatternThatCannotBeMeantIsRefused(t *testing.T) {
	for name, make := range map[string]func() (Pattern, error){
		"host bits":         func() (Pattern, error) { return cidr("10.1.2.3/8") },
		"host bits, IPv6":   func() (Pattern, error) { return cidr("2001:db8::1/64") },
		"beyond mapped":     func() (Pattern, error) { return cidr("::ffff:0:0/95") },
		"no prefix":         func() (Pattern, error) { return Range(netip.Prefix{}) },
		"no domain":         func() (Pattern, error) { return Below(".") },
		"two dots":          func() (Pattern, error) { return Below("..example") },
		"a wildcard":        func() (Pattern, error) { return Below("*.example") },
		"no field":          func() (Pattern, error) { return Regexp("x", nil) },
		"unknown field":     func() (Pattern, error) { return Regexp("x", []Field{"body"}) },
		"unnamed header":    func() (Pattern, error) { return Regexp("x", []Field{"header:"}) },
		"impossible header": func() (Pattern, error) { return Regexp("x", []Field{"header:a b"}) },
		"broken expression": func() (Pattern, error) { return Regexp("(", []Field{FieldSubject}) },
		"NUL":               func() (Pattern, error) { return Regexp("a\x00b", []Field{FieldSubject}) },
		"overlong":          func() (Pattern, error) { return Regexp(strings.Repeat("a", MaxRegexp+1), []Field{FieldSubject}) },
	} {
		if p, err := make(); !errors.Is(err, ErrValue) {
			t.Errorf("%s: %v, %v, want an ErrValue", name, p, err)
		}
	}
}

func TestTheCureForHostBitsNamesTheBlock(t *testing.T) {
	if _, err := cidr("10.1.2.3/8"); err == nil || !strings.Contains(err.Error(), "10.0.0.0/8") {
		t.Errorf("got %v", err)
	}
}

func TestTheZeroPatternMatchesNothing(t *testing.T) {
	var p Pattern
	if p.Form() != 0 || p.Kind() != 0 || p.Regexp() != nil || p.String() != "" || !p.Value().IsZero() {
		t.Errorf("got %+v", p)
	}
}

func TestARegexpKeepsItsFieldsFromItsCaller(t *testing.T) {
	fields := []Field{"subject", "file-name"}
	p := must(t)(Regexp("x", fields))
	fields[0], fields[1] = "header", "header"
	if !slices.Equal(p.Fields(), []Field{"file-name", "subject"}) {
		t.Errorf("got %v", p.Fields())
	}
}

func TestAnIndicatorIsInForceWhereAndWhileItSays(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		indicator Indicator
		want      bool
	}{
		"always":                      {Indicator{}, true},
		"until later":                 {Indicator{Until: now.Add(time.Nanosecond)}, true},
		"until now":                   {Indicator{Until: now}, false},
		"until before":                {Indicator{Until: now.Add(-time.Hour)}, false},
		"this role":                   {Indicator{Roles: []Role{RoleHelo, RoleURL}}, true},
		"another role":                {Indicator{Roles: []Role{RoleHelo}}, false},
		"this direction":              {Indicator{Direction: Inbound}, true},
		"another direction":           {Indicator{Direction: Outbound}, false},
		"all of it":                   {Indicator{Until: now.Add(time.Hour), Roles: []Role{RoleURL}, Direction: Inbound}, true},
		"all but the role":            {Indicator{Until: now.Add(time.Hour), Roles: []Role{RoleRcpt}, Direction: Inbound}, false},
		"all, and it is past its end": {Indicator{Until: now.Add(-time.Hour), Roles: []Role{RoleURL}, Direction: Inbound}, false},
	} {
		if got := tt.indicator.InForce(RoleURL, Inbound, now); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if i := (Indicator{Direction: Outbound}); !i.InForce(RoleURL, DirectionAny, now) {
		t.Error("a direction that nobody asked for counts")
	}
}

func FuzzPattern(f *testing.F) {
	for _, text := range []string{"10.0.0.0/8", "::ffff:1.2.3.4/128", "::/0", ".evil.example", `a\/b\\/`, "(?i)x", "(?i)", `\`, "/"} {
		f.Add(text, "subject")
	}
	f.Add("x", "Header:X-Y")
	f.Fuzz(func(t *testing.T, text, field string) {
		var patterns []Pattern
		keep := func(p Pattern, err error) {
			if err == nil {
				patterns = append(patterns, p)
			} else if !errors.Is(err, ErrValue) {
				t.Fatalf("%q: %v is no ErrValue", text, err)
			}
		}
		keep(Below(text))
		keep(Regexp(text, []Field{Field(field), FieldSubject}))
		if p, err := netip.ParsePrefix(text); err == nil {
			keep(Range(p))
		}
		for _, p := range patterns {
			got, err := PatternFromKey(p.AppendKey(nil), "")
			if err != nil || got.String() != p.String() || !slices.Equal(got.Fields(), p.Fields()) || got.Form() != p.Form() || got.Kind() != p.Kind() {
				t.Fatalf("%q, %q: %v comes back as %v, %v", text, field, p, got, err)
			}
		}
	})
}
