package intel

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestAllSpellingsOfADomainHaveOneForm(t *testing.T) {
	for want, texts := range map[string][]string{
		"example.com":                   {"example.com", "EXAMPLE.com", "example.com.", "ｅxample。com", "exam\u00adple.com", "exam\u202eple.com"},
		"xn--bcher-kva.example":         {"bücher.example", "BÜCHER.Example.", "xn--bcher-kva.example", "XN--Bcher-KVA.example", "Xn--bcher-kva.example", "bu\u0308cher.example"},
		"xn--strae-oqa.example":         {"straße.example", "STRAẞE.example"},
		"xn--a":                         {"xn--a", "Xn--A", "XN--a."}, // decodes to nothing, and is looked up all the same
		"_dmarc.example.com":            {"_dmarc.example.com", "_DMARC.EXAMPLE.COM"},
		"localhost":                     {"localhost"},
		"-a-.example":                   {"-a-.example"},
		"xn--i-9bb.example":             {"\u0130.example", "i\u0307.example"},
		strings.Repeat("a.", 126) + "b": {strings.Repeat("A.", 126) + "b."},
	} {
		for _, text := range texts {
			if v, err := Domain(text); err != nil || v.String() != want || v.Kind() != KindDomain || v.Host() != want {
				t.Errorf("Domain(%q) = %q, %v, want %q", text, v, err, want)
			}
		}
	}
}

func TestWhatNoNameCanBeIsNoDomain(t *testing.T) {
	for _, text := range []string{
		"", ".", "..", ".example", "example..", "a..b", "。", "a b", "a\tb", "a\x00b", "a\x7f", "a/b", "a:80", "a@b", "<a>", "[::1]", `a"b`, "a,b", "a;b", "(a)", "a|b", "a%41", "*.example", "a#b", "a?b",
		"℀.example", "a\xffb", "\ufffd.example", "xn--a.ü", "\u202e", strings.Repeat("a", MaxDomain+1), strings.Repeat("ü", 4*MaxDomain),
	} {
		if v, err := Domain(text); err == nil || !errors.Is(err, ErrValue) || !v.IsZero() {
			t.Errorf("Domain(%q) = %q, %v, want an ErrValue", text, v, err)
		}
	}
}

func TestAllSpellingsOfAnAddressHaveOneForm(t *testing.T) {
	for want, texts := range map[string][]string{
		"bob@example.com":              {"bob@example.com", "BOB@Example.COM.", " <bob@example.com> ", `"bob"@example.com`, `"b\ob"@example.com`, "<@relay.example:bob@example.com>", "<@a.example,@b.example:bob@example.com>"},
		"<>":                           {"", "<>", "  ", "< >"},
		"bob+ext@example.com":          {"Bob+Ext@example.com"},
		"o'brien@example.com":          {"O'Brien@example.com"},
		`"a b"@example.com`:            {`"a b"@example.com`, `"a\ b"@example.com`, `"A B"@example.com`, `a b@example.com`},
		`"a@b"@example.com`:            {`"a@b"@example.com`, `"a\@b"@example.com`, `a@b@example.com`},
		`"a\"b"@example.com`:           {`"a\"b"@example.com`},
		`"a\\b"@example.com`:           {`"a\\b"@example.com`},
		"john..doe.@example.com":       {"john..doe.@example.com", `"john..doe."@example.com`}, // RFC 5321 would quote it, its owner doesn't
		"jürgen@xn--bcher-kva.example": {"Jürgen@bücher.example", "JU\u0308RGEN@xn--bcher-kva.example"},
		"bob@[192.0.2.5]":              {"bob@[192.0.2.5]", "bob@[IPv6:::ffff:192.0.2.5]", "BOB@[ipv6:::ffff:c000:205]"},
		"bob@[2001:db8::1]":            {"bob@[IPv6:2001:DB8:0::1]", "bob@[2001:db8::1]"},
		"a\ufffdb@example.com":         {"a\xffb@example.com"},
	} {
		for _, text := range texts {
			if v, err := Address(text); err != nil || v.String() != want || v.Kind() != KindAddress {
				t.Errorf("Address(%q) = %q, %v, want %q", text, v, err, want)
			}
		}
	}
	if v, _ := Address("<>"); v != NullSender() {
		t.Error("<> is not the null sender")
	}
}

func TestWhatNoMailReachesIsNoAddress(t *testing.T) {
	for _, text := range []string{
		"bob", "@", "@example.com", "bob@", "bob@.", "bob@a b", "bob@exam ple.com", "bob@[192.0.2]", "bob@[]", "bob@[x", "bo\x00b@example.com", "bo\rb@example.com", "bob@example.com>",
		strings.Repeat("a", MaxLocalPart+1) + "@example.com", "@a.example:@example.com", `""@example.com`,
	} {
		if v, err := Address(text); err == nil || !errors.Is(err, ErrValue) || !v.IsZero() {
			t.Errorf("Address(%q) = %q, %v, want an ErrValue", text, v, err)
		}
	}
}

func TestADigestIsKnownByItsLength(t *testing.T) {
	data := []byte("weir")
	for _, tt := range []struct {
		value Value
		kind  Kind
	}{{SHA256(sha256.Sum256(data)), KindSHA256}, {SHA1(sha1.Sum(data)), KindSHA1}, {MD5(md5.Sum(data)), KindMD5}} {
		read, err := Digest(strings.ToUpper(tt.value.String()))
		if err != nil || read != tt.value || read.Kind() != tt.kind || read.Host() != "" {
			t.Errorf("%v: read back %v, %v", tt.value, read, err)
		}
	}
	for _, text := range []string{"", "00", strings.Repeat("0", 31), strings.Repeat("g", 32), strings.Repeat("0", 39) + " ", strings.Repeat("0", 65), strings.Repeat("é", 16)} {
		if v, err := Digest(text); err == nil || !errors.Is(err, ErrValue) || !v.IsZero() {
			t.Errorf("Digest(%q) = %v, %v, want an ErrValue", text, v, err)
		}
	}
}

func TestAMappedAddressIsTheIPv4Address(t *testing.T) {
	for text, want := range map[string]string{"192.0.2.5": "192.0.2.5", "::ffff:192.0.2.5": "192.0.2.5", "2001:DB8::1": "2001:db8::1", "fe80::1%eth0": "fe80::1"} {
		v, err := IP(netip.MustParseAddr(text))
		if err != nil || v.String() != want || v.Kind() != KindIP {
			t.Errorf("IP(%s) = %q, %v, want %q", text, v, err, want)
		}
		if addr, ok := v.Addr(); !ok || addr.String() != want {
			t.Errorf("Addr of %q = %v, %v", v, addr, ok)
		}
	}
	if _, err := IP(netip.Addr{}); !errors.Is(err, ErrValue) {
		t.Errorf("no address: %v", err)
	}
	if _, ok := (Value{}).Addr(); ok {
		t.Error("the zero Value has an address")
	}
}

func TestHostIsWhereAValuePointsTo(t *testing.T) {
	for text, want := range map[string]string{"bob@Example.com": "example.com", "bob@[192.0.2.5]": "", "<>": "", `"a@b"@example.com`: "example.com"} {
		v, err := Address(text)
		if err != nil || v.Host() != want {
			t.Errorf("Host of %q = %q, %v, want %q", text, v.Host(), err, want)
		}
	}
	if v := (Value{}); v.Host() != "" || !v.IsZero() {
		t.Error("the zero Value has a host")
	}
}

func TestValuesOfDifferentKindHaveDifferentKeys(t *testing.T) {
	domain, err := Domain("example.com")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]Value{}
	for _, kind := range Kinds() {
		v := Value{kind, domain.text}
		key := string(v.AppendKey([]byte("before ")))
		if other, ok := seen[key]; ok || !strings.HasPrefix(key, "before ") {
			t.Errorf("key of %v: %q, as of %v", kind, key, other.Kind())
		}
		seen[key] = v
	}
	if (Value{KindDomain, "a"}).Hash() == (Value{KindDomain, "b"}).Hash() {
		t.Error("two domains, one hash")
	}
}

func TestRegistrableDomainIsWhatSomebodyRegistered(t *testing.T) {
	for host, want := range map[string]string{
		"example.com": "example.com", "a.b.example.com": "example.com", "a.example.co.uk": "example.co.uk", "joe.github.io": "joe.github.io", "a.joe.github.io": "joe.github.io",
		"com": "", "co.uk": "", "github.io": "", "localhost": "", "": "", "192.0.2.5": "", "2001:db8::1": "", "a.1x": "a.1x", "a.b.invalidtld": "b.invalidtld",
	} {
		if got := RegistrableDomain(host); got != want {
			t.Errorf("RegistrableDomain(%q) = %q, want %q", host, got, want)
		}
	}
	for host, want := range map[string]bool{"com": true, "co.uk": true, "github.io": true, "example.com": false, "localhost": false, "a.co.uk": false} {
		if got := IsPublicSuffix(host); got != want {
			t.Errorf("IsPublicSuffix(%q) = %v", host, got)
		}
	}
}

func TestAnErrorShowsALongInputShortened(t *testing.T) {
	_, err := Domain(strings.Repeat("é", 50_000) + " ")
	var wrong *ValueError
	if !errors.As(err, &wrong) || len(wrong.Input) > 100 || len(err.Error()) > 300 {
		t.Errorf("got %.400v", err)
	}
}

func FuzzValue(f *testing.F) {
	for _, text := range []string{
		"bob@example.com", `<"a\ b"@x.example>`, "<@a,@b:c@[IPv6:::ffff:1.2.3.4]>", "İ@İ.example", "a\u0345@x", "\u2000a@x", "BÜCHER.example.", "xn--a.ß", "a..b", "44d88612fea8a8f36de82e1278abb02f", "a\xff@b", "ǅ@x", "\u1e9b\u0323@x",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for name, read := range map[string]func(string) (Value, error){"Domain": Domain, "Address": Address, "Digest": Digest} {
			v, err := read(text)
			if err != nil {
				if !v.IsZero() || !errors.Is(err, ErrValue) {
					t.Fatalf("%s(%q): %v, %v", name, text, v, err)
				}
				continue
			}
			if again, err := read(v.String()); err != nil || again != v {
				t.Fatalf("%s(%q) is not idempotent: %q, then %q, %v", name, text, v, again, err)
			}
			if strings.ContainsFunc(v.String(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("%s(%q) = %q", name, text, v)
			}
			if host := v.Host(); host != "" {
				if d, err := Domain(host); err != nil || d.String() != host {
					t.Fatalf("%s(%q): host %q is no domain: %v", name, text, host, err)
				}
				if r := RegistrableDomain(host); r != "" && host != r && !strings.HasSuffix(host, "."+r) {
					t.Fatalf("%q: registrable domain %q", host, r)
				}
			}
		}
	})
}

func BenchmarkValue(b *testing.B) {
	b.Run("Domain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = Domain("mail.shop.example")
		}
	})
	b.Run("Address", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = Address("<news@mail.shop.example>")
		}
	})
	b.Run("Hash", func(b *testing.B) {
		v, _ := URL("https://www.shop.example/offers/spring?id=1182")
		b.ReportAllocs()
		for b.Loop() {
			_ = v.Hash()
		}
	})
	b.Run("RegistrableDomain", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = RegistrableDomain("mail.shop.example.co.uk")
		}
	})
}
