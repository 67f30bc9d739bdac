package share

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel"
)

// ours is the guard of an organisation.
func ours() *Guard {
	return NewGuard(GuardOptions{
		Domains:  []string{"corp.example", ".sub.group.example", "hq.example.co.uk"},
		Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8:5::/48")},
		Known:    func(a string) bool { return a == "alice.private@freemail.example" },
	})
}

// patternOf reads a pattern by its name.
func patternOf(t testing.TB, name string) intel.Pattern {
	t.Helper()
	p, err := intel.NamedPattern(name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

func TestWhatIsOursStaysHere(t *testing.T) {
	g := ours()
	coded := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, name := range []string{
		// Domains of ours, below them, above them, and inside other names.
		"exact|domain|corp.example", "below|domain|corp.example", "exact|domain|mail.corp.example", "exact|domain|x.sub.group.example",
		"exact|domain|sub.group.example", "exact|domain|group.example", "below|domain|group.example", "exact|domain|example.co.uk",
		"below|domain|example", "exact|domain|corp.example.evil.example", "exact|domain|login.corp.example.evil.example",
		"exact|domain|mailhost", "exact|domain|db1.internal", "exact|domain|printer.local", "exact|domain|nas.home.arpa", "exact|domain|wiki.corp",
		// People.
		"exact|address|bob@corp.example", "exact|address|bob@mail.corp.example", "exact|address|alice.private@freemail.example",
		"exact|address|bounce+bob=corp.example@evil.example", "exact|address|x@[10.1.2.3]", "exact|address|<>", "exact|address|root@localhost",
		// Networks.
		"exact|ip|10.1.2.3", "exact|ip|127.0.0.1", "exact|ip|::1", "exact|ip|fe80::1", "exact|ip|fd00::1", "exact|ip|203.0.113.9", "exact|ip|2001:db8:5::1",
		"range|ip|203.0.112.0/22", "range|ip|203.0.113.128/25", "range|ip|192.168.0.0/24", "range|ip|2001:db8::/32", "exact|ip|169.254.169.254",
		// Links: to us, to inside, and those that say who was to click.
		"exact|url|https://corp.example/", "exact|url|https://mail.corp.example:8443/x", "prefix|url|https://corp.example/", "exact|url|http://10.0.0.1/x",
		"exact|url|http://[fd00::1]/", "exact|url|https://intranet/x", "exact|url|https://evil.example/corp.example/login",
		"exact|url|https://evil.example/login?d=corp.example", "exact|url|https://evil.example/?next=https://mail.corp.example/x",
		"exact|url|https://evil.example/?u=bob@corp.example", "exact|url|https://evil.example/?u=someone@elsewhere.example",
		"prefix|url|https://evil.example/bob@corp.example/",
		"exact|url|https://evil.example/" + coded("bob@corp.example"), "exact|url|https://evil.example/?q=" + strings.TrimRight(coded("bob@corp.example"), "="),
		"exact|url|https://evil.example/x/" + coded("mail=bob@corp.example&x=1") + "/y", "exact|url|https://evil.example/aa" + coded("??>bob@corp.example"),
		"exact|url|https://evil.example/" + base64.URLEncoding.EncodeToString([]byte("??>bob@corp.example")),
		"exact|url|https://evil.example/" + hex.EncodeToString([]byte("bob@corp.example")), "exact|url|https://evil.example/a" + hex.EncodeToString([]byte("bob@corp.example")),
		"exact|url|https://evil.example/" + coded("to corp.example"),
	} {
		if g.Ours(patternOf(t, name)) == "" {
			t.Errorf("%s is let go", name)
		}
	}
	for _, name := range []string{
		"exact|domain|evil.example", "below|domain|evil.example", "exact|domain|corp-example.evil.example", "exact|domain|xcorp.example", "exact|domain|corp.example2.evil.example",
		"exact|address|billing@evil.example", "exact|address|a=b@evil.example", "exact|ip|198.51.100.7", "range|ip|198.51.100.0/24", "exact|ip|2001:db8:6::1",
		"exact|url|https://evil.example/", "exact|url|https://evil.example/@handle/post", "exact|url|https://evil.example/a/b.php?id=4711&x=YWJjZGVm",
		"prefix|url|https://evil.example/pay/", "exact|url|https://198.51.100.7:8080/x.exe", "exact|url|https://evil.example/" + strings.Repeat("a1", 64),
		"exact|md5|44d88612fea8a8f36de82e1278abb02f",
	} {
		if why := g.Ours(patternOf(t, name)); why != "" {
			t.Errorf("%s stays: %s", name, why)
		}
	}
}

// Whoever makes links can put their reader's address into them in many ways.
func TestNoCodeHidesARecipient(t *testing.T) {
	g, random := ours(), rand.New(rand.NewPCG(1, 2))
	codes := map[string]func(string) string{
		"plain": func(s string) string { return s },
		"upper": strings.ToUpper,
		"query": url.QueryEscape,
		"twice": func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
		"all": func(s string) string {
			var b strings.Builder
			for i := range len(s) {
				fmt.Fprintf(&b, "%%%02x", s[i])
			}
			return b.String()
		},
		"broken percent":   func(s string) string { return "%zz" + url.QueryEscape(s) + "%" },
		"base64":           func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"base64 for links": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
		"base64, escaped":  func(s string) string { return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(s))) },
		"base64 of a form": func(s string) string {
			return base64.RawURLEncoding.EncodeToString([]byte("e=" + s + "&t=" + fmt.Sprint(random.IntN(1e6))))
		},
		"hex":        func(s string) string { return hex.EncodeToString([]byte(s)) },
		"hex, upper": func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	}
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	for name, code := range codes {
		for range 200 {
			local := ""
			for range 1 + random.IntN(12) {
				local += letters[random.IntN(len(letters)):][:1]
			}
			address := local + "@corp.example"
			for _, form := range []string{"https://evil.example/%s", "https://evil.example/a/b?x=1&e=%s&z=2", "https://evil.example/id_%s.html", "https://evil.example/q;%s/"} {
				v, err := intel.URL(fmt.Sprintf(form, code(address)))
				if err != nil {
					t.Fatal(err)
				}
				if g.Ours(intel.Exact(v)) == "" {
					t.Errorf("%s: %s is let go with %s", name, v, address)
				}
			}
		}
	}
}

func FuzzTheGuard(f *testing.F) {
	for _, name := range []string{"exact|url|https://evil.example/%", "exact|url|https://[::1]/", "exact|domain|a.b", "range|ip|::/0", "exact|address|\"a b\"@x.example",
		"exact|url|https://evil.example/%25%2525252525252540", "prefix|url|http://x.example/"} {
		f.Add(name)
	}
	g := ours()
	f.Fuzz(func(t *testing.T, name string) {
		p, err := intel.NamedPattern(name)
		if err != nil {
			return
		}
		why := g.Ours(p)
		if text := strings.ToLower(p.Text()); why == "" && (strings.Contains(text, "@corp.example") || strings.Contains(text, "/corp.example")) {
			t.Errorf("%s is let go", name)
		}
	})
}
