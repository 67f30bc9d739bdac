package filter

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/intel"
)

// Site says what is inside: whose mail this host handles and who may send
// through it.
type Site struct {
	LocalDomains     []string       // canonical; ".example.com" stands for example.com and all names below it
	InternalNetworks []netip.Prefix // clients from here are inside
	TrustedRelays    []netip.Prefix // backup MX, load balancer, fetchmail: the client is read from their Received line
	AuthServID       string         // whose Authentication-Results are believed; empty: nobody's

	// Groups gives the groups of feeds, by the Source of their indicators.
	Groups map[string][]string
}

// maxRelayHops bounds how many trusted relays in a row are looked through.
const maxRelayHops = 8

// origin is where a message comes from.
type origin struct {
	client message.Client // the one that counts
	relay  bool           // it was read from a trusted relay's Received line
	inside bool           // the client is one of ours
}

// origin finds the client that counts. Behind a trusted relay that is the one
// which its Received line names; where the line does not say, the client is
// unknown, which is better than taking the relay for it.
func (s *Site) origin(env *message.Envelope, m *message.Message) origin {
	o := origin{client: env.Client}
	if env.Local || env.AuthUser != "" {
		o.inside = true
		return o
	}
	if !contains(s.TrustedRelays, o.client.Addr) {
		o.inside = contains(s.InternalNetworks, o.client.Addr)
		return o
	}
	o.relay = true
	hops := 0
	for received := range m.Header.All("Received") {
		if hops++; hops > maxRelayHops {
			break
		}
		o.client = receivedFrom(received.Unfolded())
		if !contains(s.TrustedRelays, o.client.Addr) {
			o.inside = contains(s.InternalNetworks, o.client.Addr)
			return o
		}
	}
	o.client = message.Client{}
	return o
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsValid() && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// receivedFrom reads the client from a Received field (RFC 5321 section 4.4).
// What the client called itself stands first and is not to be believed; what
// the relay saw stands in parentheses behind it:
//
//	from HELO (name [192.0.2.1]) by …     Postfix, Sendmail, Exchange
//	from name ([192.0.2.1] helo=HELO) by … Exim
//	from name (HELO helo) (192.0.2.1) by … qmail
//	from [192.0.2.1] (helo=HELO) by …      Exim without a name
func receivedFrom(field string) message.Client {
	from, ok := cutWord(field, "from")
	if !ok {
		return message.Client{}
	}
	// The first word is a name, whatever it looks like: a client may well call
	// itself "by".
	from = strings.TrimLeft(from, " \t\r\n")
	first := strings.IndexAny(from, " \t\r\n(")
	if first < 0 {
		first = len(from)
	}
	var seen, outside strings.Builder
	outside.WriteString(from[:first])
	depth := 0
	for i := first; i < len(from); i++ {
		switch c := from[i]; {
		case c == '\\':
			i++
		case c == '(':
			depth++
		case c == ')':
			depth = max(0, depth-1)
		case depth == 0 && (c == 'b' || c == 'B') && isWordAt(from, i, "by"):
			i = len(from)
		case depth > 0:
			seen.WriteByte(c)
			continue
		default:
			outside.WriteByte(c)
			continue
		}
		seen.WriteByte(' ')
	}
	if addr, name := bracketed(seen.String()); addr.IsValid() {
		return message.Client{Addr: addr, Name: name}
	}
	for _, word := range strings.Fields(seen.String()) {
		if addr, err := netip.ParseAddr(word); err == nil {
			return message.Client{Addr: addr.Unmap().WithZone("")}
		}
	}
	addr, _ := bracketed(outside.String())
	return message.Client{Addr: addr}
}

// bracketed finds the first "[address]" and the host name in front of it.
func bracketed(s string) (addr netip.Addr, name string) {
	for rest := s; ; {
		before, after, ok := strings.Cut(rest, "[")
		if !ok {
			return netip.Addr{}, ""
		}
		inside, behind, ok := strings.Cut(after, "]")
		if !ok {
			return netip.Addr{}, ""
		}
		text := strings.TrimSpace(inside)
		if len(text) > 5 && strings.EqualFold(text[:5], "IPv6:") {
			text = text[5:]
		}
		if a, err := netip.ParseAddr(text); err == nil {
			words := strings.Fields(before)
			if n := len(words); n > 0 && strings.Contains(words[n-1], ".") && !strings.Contains(words[n-1], "=") {
				name = words[n-1]
			}
			return a.Unmap().WithZone(""), name
		}
		rest = behind
	}
}

func cutWord(s, word string) (after string, ok bool) {
	s = strings.TrimLeft(s, " \t\r\n")
	if !isWordAt(s, 0, word) {
		return "", false
	}
	return s[len(word):], true
}

// isWordAt reports whether word stands at s[i:] in any case, alone.
func isWordAt(s string, i int, word string) bool {
	end := i + len(word)
	if end > len(s) || !strings.EqualFold(s[i:end], word) {
		return false
	}
	space := func(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
	return (i == 0 || space(s[i-1]) || s[i-1] == ')') && (end == len(s) || space(s[end]))
}

// direction says which way a message travels: from inside to local recipients
// only is internal, from inside otherwise outbound, all else inbound.
func direction(inside bool, rcpts []evidence.Recipient) intel.Direction {
	if !inside {
		return intel.Inbound
	}
	for i := range rcpts {
		if !rcpts[i].Local {
			return intel.Outbound
		}
	}
	return intel.Internal
}

// IsLocal reports whether mail for the domain, which is canonical, stays here.
func (s *Site) IsLocal(domain string) bool {
	return slices.ContainsFunc(s.LocalDomains, func(d string) bool {
		return d == domain || strings.HasPrefix(d, ".") && (strings.HasSuffix(domain, d) || domain == d[1:])
	})
}
