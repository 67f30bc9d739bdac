package share

import (
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/weirmail/weir/intel"
)

// Guard knows what is ours and stays here.
type Guard struct {
	domains  map[string]bool // ours, without a leading dot
	parents  map[string]bool // names that they are below
	networks []netip.Prefix
	known    func(address string) bool
}

// GuardOptions says what is ours.
type GuardOptions struct {
	Domains  []string                  // as filter.Site has them: ".example.org" has all below it
	Networks []netip.Prefix            // besides those that nobody can reach from outside
	Known    func(address string) bool // an address of somebody of ours, canonical; nil: none is
}

// NewGuard makes a Guard.
func NewGuard(o GuardOptions) *Guard {
	g := &Guard{domains: map[string]bool{}, parents: map[string]bool{}, known: o.Known}
	if g.known == nil {
		g.known = func(string) bool { return false }
	}
	for _, d := range o.Domains {
		d = strings.TrimPrefix(d, ".")
		g.domains[d] = true
		for _, rest, ok := strings.Cut(d, "."); ok; _, rest, ok = strings.Cut(rest, ".") {
			g.parents[rest] = true
		}
	}
	for _, p := range append(closed(), o.Networks...) {
		g.networks = append(g.networks, p.Masked())
	}
	return g
}

// closed gives the networks that are not reached from outside: loopback, private,
// link-local, shared and the like (IANA's registries of special-purpose addresses).
func closed() []netip.Prefix {
	var all []netip.Prefix
	for _, p := range [...]string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3",
		"::/96", "::1/128", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
	} {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// Ours says why a pattern stays here; empty: it may go.
func (g *Guard) Ours(p intel.Pattern) string {
	text := strings.ToLower(p.Text())
	switch p.Kind() {
	case intel.KindMD5, intel.KindSHA1, intel.KindSHA256:
		return ""
	case intel.KindIP:
		return g.network(text)
	case intel.KindDomain:
		return g.name(text)
	case intel.KindAddress:
		at := strings.LastIndexByte(text, '@')
		if at < 0 {
			return "it is no address of anybody"
		}
		if g.known(text) {
			return "it is somebody of ours"
		}
		if why := g.inText(text[:at]); why != "" { // VERP and the like
			return why
		}
		return g.name(text[at+1:])
	case intel.KindURL:
		return g.link(p.Text())
	}
	return "it is no value"
}

func (g *Guard) network(text string) string {
	p, err := netip.ParsePrefix(text)
	if a, single := netip.ParseAddr(text); single == nil {
		p, err = netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	if err != nil {
		return "it is no network"
	}
	for _, ours := range g.networks {
		if ours.Overlaps(p) {
			return "it is inside"
		}
	}
	return ""
}

// name looks at a host name, or an address in its place.
func (g *Guard) name(host string) string {
	host = strings.TrimSuffix(host, ".")
	if a, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return g.network(a.String())
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	switch {
	case last == host:
		return "it is a name of one label, which only counts inside"
	case strings.HasSuffix(host, ".home.arpa"):
		return "it is a name that only counts inside"
	case g.parents[host]:
		return "it is above a domain of ours"
	}
	switch last {
	case "local", "localhost", "localdomain", "internal", "intranet", "private", "corp", "home", "lan":
		return "it is a name that only counts inside"
	}
	return g.inName(host)
}

const hasDomain = "it has a domain of ours in it"

// inName looks for a domain of ours in a name, with others before and behind it: who
// imitates us says who we are.
func (g *Guard) inName(name string) string {
	for rest, ok := name, true; ok; _, rest, ok = strings.Cut(rest, ".") {
		for part := rest; part != ""; part = part[:max(0, strings.LastIndexByte(part, '.'))] {
			if g.domains[part] {
				return hasDomain
			}
		}
	}
	return ""
}

// link looks at a URL: at its host, and at all that it may carry, such as the address
// of who was to click on it.
func (g *Guard) link(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return "its host cannot be told"
	}
	if why := g.name(strings.ToLower(u.Hostname())); why != "" {
		return why
	}
	_, rest, _ := strings.Cut(text, u.Host)
	return g.inText(rest)
}

// address is something that looks like one.
var address = regexp.MustCompile(`[a-z0-9.!#$%&'*+=^_{|}~-]@[a-z0-9][a-z0-9-]*\.[a-z0-9]`)

// maxDecoded bounds how often percent-encoding is undone.
const maxDecoded = 4

// inText looks for addresses and domains of ours in a text that a stranger made, in
// clear and in the codes that are used in links.
func (g *Guard) inText(text string) string {
	for range maxDecoded {
		if why := g.inClear(strings.ToLower(text)); why != "" {
			return why
		}
		for _, word := range strings.FieldsFunc(text, func(r rune) bool { return !isCode(r) }) {
			for _, hidden := range decoded(word) {
				if why := g.inClear(strings.ToLower(hidden)); why != "" {
					return why
				}
			}
		}
		again := unescaped(text)
		if again == text {
			return ""
		}
		text = again
	}
	return "it is encoded too often"
}

// unescaped undoes percent-encoding once, where it is one.
func unescaped(text string) string {
	if !strings.Contains(text, "%") {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+3 <= len(text) {
			if raw, err := hex.DecodeString(text[i+1 : i+3]); err == nil {
				b.WriteByte(raw[0])
				i += 2
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

func (g *Guard) inClear(text string) string {
	if address.MatchString(text) {
		return "it carries an address"
	}
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return !isName(r) }) {
		if strings.Contains(word, ".") {
			if why := g.inName(strings.Trim(word, ".")); why != "" {
				return why
			}
		}
	}
	return ""
}

func isName(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r >= 0x80
}

// isCode reports the characters of base64 in both alphabets; those of hex are among
// them.
func isCode(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '+' || r == '/'
}

// shortestCode is the length of the shortest address, a@b.c; codes of it are longer.
const shortestCode = 5

// decoded gives what a word may stand for, wherever in it the code begins.
func decoded(word string) []string {
	var all []string
	add := func(raw []byte) { all = append(all, string(raw)) }
	// A slash may belong to the code, or part the path.
	for _, w := range append(strings.Split(word, "/"), word) {
		if len(w) < shortestCode {
			continue
		}
		plain := strings.NewReplacer("+", "-", "/", "_").Replace(w)
		for skip := range 4 {
			code := plain[skip:]
			if len(code)%4 == 1 {
				code = code[:len(code)-1]
			}
			if raw, err := base64.RawURLEncoding.DecodeString(code); err == nil {
				add(raw)
			}
		}
	}
	for _, w := range strings.FieldsFunc(word, func(r rune) bool { return !isHex(r) }) {
		if len(w) < 2*shortestCode {
			continue
		}
		for skip := range 2 {
			code := w[skip:]
			if raw, err := hex.DecodeString(code[:len(code)&^1]); err == nil {
				add(raw)
			}
		}
	}
	return all
}

func isHex(r rune) bool { return r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F' || r >= '0' && r <= '9' }
