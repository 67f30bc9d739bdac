package contain

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/directory"
)

// Site is what has to be known of the house to tell who and what is ours.
type Site struct {
	// LocalDomains are canonical; ".example.com" stands for example.com and all
	// names below it.
	LocalDomains []string
	IsLocal      func(domain string) bool // required
	Internal     []netip.Prefix           // clients from here are ours
	Relays       []netip.Prefix           // trusted relays: they only hand over what others send
	Directory    *directory.Directory     // nil: nobody is known
	Delimiters   string                   // that begin an address's extension
}

// Bounds on what is contained.
const (
	maxValue    = 200 // bytes; an entity's name has to hold it
	maxDomains  = 16  // in which a login that nobody knows is taken for an address as well
	leastBits4  = 16  // of a range; what is wider is a wall and no containment
	leastBits6  = 48
	postmaster  = "postmaster" // has to be reachable and to answer, RFC 5321 section 4.5.1
	daemonLocal = "mailer-daemon"
)

// RefusedError says why something is not contained, and what to do.
type RefusedError struct {
	Text, Cure string
	Malformed  bool // the request is none, whoever is meant and whatever is ours
}

// Error gives text and cure on one line.
func (e *RefusedError) Error() string { return e.Text + "; " + e.Cure }

func refuse(cure, format string, args ...any) error {
	return &RefusedError{Text: fmt.Sprintf(format, args...), Cure: cure}
}

func malformed(cure, format string, args ...any) error {
	return &RefusedError{Text: fmt.Sprintf(format, args...), Cure: cure, Malformed: true}
}

// value gives the canonical form of what shall be contained. The error is a
// *RefusedError.
func (s *Site) value(kind Kind, text string) (string, error) {
	switch kind {
	case User:
		return s.user(text)
	case Client:
		p, err := s.client(text)
		if err != nil {
			return "", err
		}
		return rangeText(p), nil
	}
	return "", malformed("say user or ip", "%.40q is no kind of what can be contained", string(kind))
}

// rangeText writes a single address without the length of its prefix.
func rangeText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func (s *Site) user(text string) (string, error) {
	const who = "name one user, by login or address"
	text = strings.TrimSpace(text)
	switch {
	case text == "" || text == "<>":
		return "", refuse(who, "the null sender is no user: bounces come from it")
	case len(text) > maxValue:
		return "", malformed(who, "%.40q… has %d bytes; %d are the most", text, len(text), maxValue)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }):
		return "", malformed(who, "%q has white space or control characters, or is not UTF-8", text)
	}
	if !strings.Contains(text, "@") {
		login := loginOf(text)
		if isService(login) {
			return "", refuse("contain the person behind it", "%s is not contained: mail about mail comes from it", text)
		}
		if all := s.namesakes(login); len(all) > 1 {
			return "", refuse("name one by address", "%s is more than one person: %s", login, strings.Join(all, ", "))
		}
		return login, nil
	}
	v, err := intel.Address(text)
	if err != nil {
		return "", malformed(who, "%q is neither a login nor an address: %v", text, err)
	}
	if len(v.String()) > maxValue {
		return "", malformed(who, "%.40q… has %d bytes; %d are the most", v, len(v.String()), maxValue)
	}
	if v.Host() == "" || !s.IsLocal(v.Host()) {
		return "", refuse("block it in a list (lists/block); what is ours stands in mail.local_domains", "%s is not in a domain of ours", v)
	}
	if isService(localOf(v)) {
		return "", refuse("contain the person behind it", "%s is not contained: mail about mail comes from it", v)
	}
	return v.String(), nil
}

// namesakes gives an address of each whom the directory knows by what stands before
// the @, where nobody logs in so.
func (s *Site) namesakes(login string) (all []string) {
	known := s.roll()
	if known.logins[login] != nil {
		return nil
	}
	for _, p := range known.locals[login] {
		i := slices.IndexFunc(p.Addresses, func(address string) bool {
			plain := s.base(address)
			return plain[:strings.LastIndexByte(plain, '@')] == login && s.IsLocal(plain[strings.LastIndexByte(plain, '@')+1:])
		})
		all = append(all, p.Addresses[i])
	}
	slices.Sort(all)
	const most = 5 // that are named: a provider has an info@ for each customer
	if len(all) > most {
		all = append(all[:most], fmt.Sprintf("and %d more", len(all)-most))
	}
	return all
}

func isService(local string) bool { return local == postmaster || local == daemonLocal }

func (s *Site) client(text string) (netip.Prefix, error) {
	const which = "name an address such as 10.1.2.3, or a range such as 10.1.2.0/24"
	text = strings.TrimSpace(text)
	p, err := parseRange(text)
	if err != nil {
		return p, malformed(which, "%.60q is %v", text, err)
	}
	least := leastBits4
	if p.Addr().Is6() {
		least = leastBits6
	}
	within := func(all []netip.Prefix) bool {
		return slices.ContainsFunc(all, func(n netip.Prefix) bool { return n.Bits() <= p.Bits() && n.Contains(p.Addr()) })
	}
	overlaps := func(all []netip.Prefix) bool { return slices.ContainsFunc(all, p.Overlaps) }
	switch {
	case p.Bits() < least:
		return p, refuse(which, "%s is too much: a range has at least /%d", p, least)
	case p.Addr().IsLoopback():
		return p, refuse(which, "%s is this host, from which everybody's mail comes", p)
	case overlaps(s.Relays):
		return p, refuse("contain the client behind it", "%s is a trusted relay or holds one (mail.trusted_relays), which only hands over what others send", p)
	case !within(s.Internal):
		return p, refuse("block it in a list (lists/block); what is ours stands in mail.internal_networks", "%s is not in a network of ours", p)
	}
	return p, nil
}

func parseRange(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		if addr.Zone() != "" {
			return netip.Prefix{}, errors.New("an address with a zone")
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, errors.New("neither an address nor a range")
	case p.Addr().Is4In6():
		return p, errors.New("an IPv4 range written as IPv6")
	case p != p.Masked():
		return p, fmt.Errorf("no range: its host bits are not zero, as in %s", p.Masked())
	}
	return p, nil
}

// loginOf gives the one spelling of a login: no mail system in use tells Bob from bob.
func loginOf(text string) string { return strings.ToLower(strings.TrimSpace(text)) }

// localOf gives what stands before the @ of an address.
func localOf(v intel.Value) string {
	text := v.String()
	return text[:max(0, strings.LastIndexByte(text, '@'))]
}

// base gives an address without its extension (RFC 5233).
func (s *Site) base(text string) string {
	at := strings.LastIndexByte(text, '@')
	if at < 1 || s.Delimiters == "" {
		return text
	}
	if i := strings.IndexAny(text[1:at], s.Delimiters); i >= 0 {
		return text[:1+i] + text[at:]
	}
	return text
}

// person gives whom the directory knows behind an address, nil for nobody and
// for what stands there for a whole domain.
func (s *Site) person(v intel.Value) *directory.Person {
	if p := s.Directory.Lookup(v); p != nil && len(p.Addresses) > 0 {
		return p
	}
	return nil
}
