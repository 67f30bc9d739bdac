package intel

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestAllSpellingsOfALinkHaveOneForm(t *testing.T) {
	tests := []struct {
		want  string
		texts []string
	}{
		{"http://example.com/", []string{
			"http://example.com", "http://example.com/", "HTTP://EXAMPLE.COM/", "http:example.com", "http:/example.com", "http:///example.com",
			`http:\\example.com\`, "  http://example.com/ \r\n", "\x01http://example.com/\x1f", "ht\ntp://exa\tmple.com/\r", "http://example.com:80/", "http://example.com:/",
			"http://example.com:0080/", "http://user:pass@example.com/", "http://bank.example@example.com", "http://a@b@example.com/",
			"http://example.com/#top", "http://example.com#top", "http://example.com/?", "http://example.com?", "http://example.com?#", "http://example.com.", "http://example.com...",
			"http://example..com/", "http://ex%61mple.com/", "http://ex%2561mple.com/", "http://example%2ecom", "http://ｅｘａｍｐｌｅ.com/", "http://example。com/", "http://example．com/",
			"http://exam\u200bple.com/", "http://exam\u00adple.com/", "http://exam\u206bple.com/", "http://example.com/.", "http://example.com/./", "http://example.com/a/..", "http://example.com/../..",
			"http://example.com//", "example.com", "example.com/", "//example.com", "example.com:80", "webcal://example.com/",
		}},
		{"https://example.com/", []string{"https://example.com", "https://example.com:443/", "webcals://example.com"}},
		{"http://example.com:8080/", []string{"http://example.com:8080", "example.com:8080", "http://example.com:08080/?"}},
		{"https://example.com:80/", []string{"https://example.com:80"}},
		{"ftp://example.com/pub/x", []string{"FTP://example.com:21/pub/x", "ftp://anonymous:me@example.com/pub//x"}},
		{"http://192.0.2.5/", []string{
			"http://192.0.2.5", "http://3221225989/", "http://0xC0000205/", "http://0xc0.0.0x2.5", "http://0300.0.02.05/", "http://192.517/", "http://192.0.517/", "http://030000001005/",
			"http://192.0.2.5./", "http://１９２.0.2.5/", "http://192。0。2。5/", "http://[::ffff:192.0.2.5]/", "http://[::ffff:c000:205]", "http://%31%39%32.0.2.5/",
		}},
		{"http://[2001:db8::1]/", []string{"http://[2001:db8::1]", "http://[2001:0DB8:0:0::0:1]:80/", "http://[2001:db8::1%25eth0]/", "http://[2001:db8::1%eth0]/"}},
		{"http://[2001:db8::1]:8080/x", []string{"http://[2001:db8::1]:8080/x"}},
		{"http://xn--bcher-kva.example/", []string{"http://bücher.example/", "http://BÜCHER.example", "http://b%C3%BCcher.example/", "http://xn--bcher-kva.example", "http://XN--BCHER-KVA.example/"}},
		{"http://xn--payp-yre.example/", []string{"http://paypӏ.example/", "http://paypӀ.example/"}},
		{"http://example.com/a/b", []string{
			"http://example.com/a/b", `http://example.com\a\b`, "http://example.com/a//b", "http://example.com/./a/./b", "http://example.com/x/../a/b", "http://example.com/a/%2e%2e/a/b",
			"http://example.com/%61/b", "http://example.com/%2561/b", "http://example.com/%25%36%31/b", "http://example.com/a%2Fb", "http://example.com/a%5cb",
		}},
		{"http://bank.example/@example.com", []string{`http://bank.example\@example.com`}},
		{"http://example.com/a/pay", []string{"http://example.com/a//../pay"}},
		{"http://example.com/A%20%C3%A9%23%25", []string{"http://example.com/A é%23%25", "http://example.com/A%20%c3%a9%23%", "http://example.com/A%2520%C3%A9%2523%2525"}},
		{"http://example.com/a%3Fb", []string{"http://example.com/a%3fb", "http://example.com/a%253Fb"}},
		{"http://example.com/?q=a/b?c&d=%23", []string{"http://example.com?q=a/b?c&d=%23", "http://example.com/?q=a%2Fb%3Fc&d=%2523#x"}},
		{`http://example.com/?q=a\b/../c`, []string{`http://example.com/?q=a\b/../c`}},
		{"http://example.com/...", []string{"http://example.com/..."}},
		{"http://example.com/.a/", []string{"http://example.com/.a/"}},
		{"http://localhost/", []string{"http://localhost", "http://LOCALHOST:80"}},
		{"http://under_score.example/", []string{"http://under_score.example"}},
		{"http://bank.example,login.example/", []string{"http://bank.example,login.example/"}},
		{"http://1.2.3.4x/", []string{"http://1.2.3.4x/"}},
		{"file://192.0.2.5/share/x", []string{"file://192.0.2.5/share/x", "file:////192.0.2.5/share/x", "file://///192.0.2.5/share/x", `\\192.0.2.5\share\x`}},
		{"file://evil.example/pay", []string{`\\evil.example@80\pay`, `\\evil.example@SSL@443\pay`, "file://evil.example@SSL/pay"}},
		{"smb://files.example/share", []string{"SMB://files.example:445/share"}},
	}
	for _, tt := range tests {
		for _, text := range tt.texts {
			v, err := URL(text)
			if err != nil || v.String() != tt.want || v.Kind() != KindURL {
				t.Errorf("URL(%q) = %q, %v, want %q", text, v, err, tt.want)
			}
		}
	}
}

func TestWhatNoBrowserOpensIsNoURL(t *testing.T) {
	for _, text := range []string{
		"", " ", "/", "/path", "?q", "#f", ":", "://", "http://", "http:///", "http://?q", "http://#f", "http://:80/", "http://.", "http://user@/",
		"mailto:a@example.com", "javascript:alert(1)", "data:text/html,x", "tel:123", "cid:1@x", "localhost:8080", "gopher://example.com/",
		"http://exa mple.com/", "http://%20example.com/", "http://a<b>.example/", "http://a%00.example/", "http://a%2Fb.example/", "http://a%3A80.example/", "http://a%40b.example/",
		"http://a\xff.example/", "http://a%ff.example/", "http://\ufffd.example/", "http://xn--a.bücher.example/",
		"http://example.com:x/", "http://example.com:80x/", "http://example.com:65536/", "http://example.com:80:80/", "http://example.com:99999999999999999999/",
		"http://256.1.1.1/", "http://1.2.3.4.5/", "http://1.2.3.4294967296/", "http://4294967296/", "http://0x1ffffffff/", "http://08.1.1.1/", "http://a.1/", "http://1..2.0x.09/",
		"http://[::1/", "http://[::1]x/", "http://[1.2.3.4]/", "http://[]/", "http://::1/", "http://[:::]/",
		"http://" + strings.Repeat("a.", 127) + "example/",
		"file:///C:/x", "file:///etc/passwd", "file:x", "file:/x", "file://C:/x", "file://c|/x", "file://localhost/x",
	} {
		if v, err := URL(text); err == nil {
			t.Errorf("URL(%q) = %q, want an error", text, v)
		} else if !errors.Is(err, ErrValue) {
			t.Errorf("URL(%q): error %v is no ErrValue", text, err)
		}
	}
}

func TestURLHostIsTheNameOrAddressAlone(t *testing.T) {
	for text, want := range map[string]string{
		"https://Shop.Example:8443/a:b/": "shop.example", "http://user@shop.example": "shop.example", "http://192.517/": "192.0.2.5",
		"http://[2001:db8::1]:8080/": "2001:db8::1", "http://[::ffff:192.0.2.5]/": "192.0.2.5", `\\files.example\x`: "files.example",
	} {
		v, err := URL(text)
		if err != nil || v.Host() != want {
			t.Errorf("Host of %q = %q, %v, want %q", text, v.Host(), err, want)
		}
	}
}

func TestHTTPAndHTTPSMatchEachOtherAndNothingElse(t *testing.T) {
	key := func(text string) string {
		v, err := URL(text)
		if err != nil {
			t.Fatal(err)
		}
		return string(v.AppendKey(nil))
	}
	if key("http://example.com/x") != key("https://example.com/x") {
		t.Error("http and https differ")
	}
	for _, other := range []string{"ftp://example.com/x", "http://example.com:8080/x", "http://example.com/X", "http://example.com/x/", "http://example.com/x?y"} {
		if key(other) == key("http://example.com/x") {
			t.Errorf("%s matches http://example.com/x", other)
		}
	}
}

func TestALongURLIsCutWhereItsFormStaysCanonical(t *testing.T) {
	for _, tail := range []string{
		strings.Repeat("a", 2*MaxURL), strings.Repeat("%20", MaxURL), strings.Repeat("x%20", MaxURL), strings.Repeat("é", MaxURL), strings.Repeat("/.a", MaxURL),
		strings.Repeat("/..a", MaxURL), strings.Repeat("a", MaxURL-20) + strings.Repeat("?", MaxURL), strings.Repeat("%25", MaxURL),
	} {
		for shift := range 4 {
			text := "http://example.com/" + strings.Repeat("s", shift) + tail
			v, err := URL(text)
			if err != nil || len(v.String()) > MaxURL || len(v.String()) < MaxURL-4 {
				t.Fatalf("%.40q…: %d bytes, %v", text, len(v.String()), err)
			}
			if again, err := URL(v.String()); again != v {
				t.Errorf("%.40q…: cut form is not canonical: %v", text, err)
			}
		}
	}
}

func TestALongWayToTheHostHidesNothing(t *testing.T) {
	for name, text := range map[string]string{
		"credentials": "http://" + strings.Repeat("a", 1<<20) + "@example.com/",
		"slashes":     "http:" + strings.Repeat("/", 1<<20) + "example.com/",
		"line ends":   "http://exam" + strings.Repeat("\n", 1<<20) + "ple.com/",
		"dots":        "http://" + strings.Repeat(".", 900) + "example.com/" + strings.Repeat("../", 1<<20),
		"escapes":     "http://example.com/%" + strings.Repeat("25", 1<<20) + "2e/",
		"fragment":    "http://example.com/#" + strings.Repeat("x", 1<<20),
	} {
		if v, err := URL(text); v.String() != "http://example.com/" {
			t.Errorf("%s: got %.60q, %v", name, v, err)
		}
	}
}

func TestAURLPrefixMatchesWhatBeginsSo(t *testing.T) {
	tests := []struct {
		prefix  string
		text    string
		yes, no []string
	}{
		{"https://evil.example/pay/*", "https://evil.example/pay/",
			[]string{"http://evil.example/pay/", "https://EVIL.example:443/pay/x?y", "https://evil.example//pay/%78"},
			[]string{"https://evil.example/pay", "https://evil.example/payment", "https://evil.example.org/pay/", "https://evil.example:8443/pay/x"}},
		{"evil.example/pay*", "http://evil.example/pay", []string{"https://evil.example/payment/x", "http://evil.example/pay"}, []string{"http://evil.example/Pay"}},
		{"https://evil.example/*", "https://evil.example/", []string{"http://evil.example", "https://evil.example/?x"}, []string{"http://www.evil.example/"}},
		{"https://evil.example/.*", "https://evil.example/.", []string{"http://evil.example/.git/"}, []string{"http://evil.example/git"}},
		{"https://evil.example/a?*", "https://evil.example/a?", []string{"http://evil.example/a?b"}, []string{"http://evil.example/a", "http://evil.example/a/?b"}},
		{"https://evil.example?id=*", "https://evil.example/?id=", []string{"http://evil.example/?id=7"}, []string{"http://evil.example/"}},
		{"https://evil.example/a%20*", "https://evil.example/a%20", []string{"http://evil.example/a b"}, []string{"http://evil.example/ab"}},
		{"http://192.517/a/*", "http://192.0.2.5/a/", []string{"http://3221225989/a/b"}, nil},
	}
	for _, tt := range tests {
		p, err := URLPrefix(tt.prefix)
		if err != nil || p.Form() != FormPrefix || p.Kind() != KindURL || p.String() != tt.text+"*" {
			t.Errorf("URLPrefix(%q) = %v, %v, want %q", tt.prefix, p, err, tt.text+"*")
			continue
		}
		matches := func(text string) bool {
			v, err := URL(text)
			if err != nil {
				t.Fatal(err)
			}
			return strings.HasPrefix(v.matchText(), p.MatchText())
		}
		for _, text := range tt.yes {
			if !matches(text) {
				t.Errorf("%s does not match %s", tt.prefix, text)
			}
		}
		for _, text := range tt.no {
			if matches(text) {
				t.Errorf("%s matches %s", tt.prefix, text)
			}
		}
	}
}

func TestAURLPrefixThatWouldMatchMoreThanItsAuthorMeansIsRefused(t *testing.T) {
	for _, text := range []string{
		"http://a.example/%25*", "http://a.example/%2525*", "http://a.example/%25a*",
		"", "*", "https://evil.example/", "https://evil.example*", "https://evil.example:8080*", "https://*", "https://evil.example/x**", "https://evil.example/%2*", "https://evil.example/%*",
		"https://evil.example/#*", "https://evil.example/#x*", "https://*.evil.example/*", "mailto:x*", "https://user@*",
		"https://evil.example/" + strings.Repeat("a", MaxURL) + "*",
	} {
		if p, err := URLPrefix(text); err == nil {
			t.Errorf("URLPrefix(%.40q) = %.60v, want an error", text, p)
		} else if !errors.Is(err, ErrValue) {
			t.Errorf("URLPrefix(%q): error %v is no ErrValue", text, err)
		}
	}
}

func TestACanonicalURLCostsNoAllocation(t *testing.T) {
	const link = "https://www.shop.example/offers/spring?id=1182&c=7"
	if n := testing.AllocsPerRun(100, func() { _, _ = URL(link) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzURL(f *testing.F) {
	for _, text := range []string{
		"http://example.com/a/../b?c#d", "HTTP:\\\\user@0x7f.1:080/%2525", "//[::ffff:1.2.3.4]/", "http://bücher.example%2e/%3f", "file:////host/share", "example.com:8080/x",
		"http://a..b/..//./x/%2e%2E/", "https://a.example/?" + strings.Repeat("%41", 20), "http://a\u200b.example/\xff", "webcal://x/%", "http://ⓔxample.com/",
	} {
		f.Add(text, "more/.?#%41")
	}
	f.Add("http://a.example/%25", "141")
	f.Add("http://a.example/%25a", "1")
	f.Fuzz(func(t *testing.T, text, more string) {
		v, err := URL(text)
		if err != nil {
			if !v.IsZero() || !errors.Is(err, ErrValue) {
				t.Fatalf("%q: %v, %v", text, v, err)
			}
			return
		}
		again, err := URL(v.String())
		if err != nil || again != v {
			t.Fatalf("%q: not idempotent: %q, then %q, %v", text, v, again, err)
		}
		if slow, why := appendURL(nil, text); isCanonicalURL(text) && string(slow) != text {
			t.Fatalf("%q passes as canonical and is %q, %s", text, slow, why)
		}
		if v.Host() == "" || len(v.String()) > MaxURL || strings.ContainsFunc(v.String(), func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' }) {
			t.Fatalf("%q: %q", text, v)
		}
		checkPrefix(t, text, more)
	})
}

// checkPrefix checks that a prefix pattern matches what is written with more behind it.
func checkPrefix(t *testing.T, text, more string) {
	p, err := URLPrefix(text + "*")
	if err != nil || more == "" || strings.ContainsAny(more, `./\%#?`) || more != strings.TrimRight(more, "\x00 \t\r\n") {
		return
	}
	for i := range len(more) {
		if more[i] <= ' ' {
			return
		}
	}
	v, err := URL(text + more)
	if err != nil || !strings.HasPrefix(v.String(), p.Text()) && len(v.String()) < MaxURL-4 {
		t.Fatalf("%q with %q is %q, %v, and does not begin with %q", text, more, v, err, p.Text())
	}
}

func BenchmarkURL(b *testing.B) {
	for _, bench := range []struct{ name, text string }{
		{"canonical", "https://www.shop.example/offers/spring/index.html?id=1182&c=7&utm_source=news"},
		{"escapes", "https://www.shop.example/offers/spring%20sale/index.html?id=1182&to=joe%40shop.example"},
		{"mixed case and port", "HTTPS://WWW.Shop.Example:443/offers/./spring//index.html#top"},
		{"international", "https://www.bücher.example/angebote?id=1182"},
		{"address", "http://0xC0000205/offers/spring/index.html"},
		{"refused", "http://www.shop example/offers/spring/index.html"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = URL(bench.text)
			}
		})
	}
	b.Run(fmt.Sprintf("hostile/%d", 1<<20), func(b *testing.B) {
		text := "http://example.com/%" + strings.Repeat("25", 1<<19) + strings.Repeat("a/../", 1<<17)
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			_, _ = URL(text)
		}
	})
}
