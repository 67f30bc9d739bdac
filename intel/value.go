package intel

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
	"golang.org/x/text/unicode/norm"
)

// Bounds on what a canonical value may hold, in bytes. RFC 1035 section 2.3.4
// bounds a name, RFC 5321 section 4.5.3.1 an address (local part 64, domain
// 255; clients are laxer than that, so the local part gets four times as much).
const (
	MaxDomain    = 253
	MaxLocalPart = 256
	MaxURL       = 8192
)

// ErrValue is the root of every error that a constructor of this package
// returns; its text says what is wrong with which input.
var ErrValue = errors.New("not a usable value")

// ValueError says what is wrong with which input. It is an ErrValue.
type ValueError struct {
	What  string // "domain", "address", "url" …
	Input string // as it was given, shortened
	Why   string // "has an empty label"
}

// Error gives all three.
func (e *ValueError) Error() string {
	return fmt.Sprintf("%v: %s %q: %s", ErrValue, e.What, e.Input, e.Why)
}

// Unwrap gives ErrValue.
func (e *ValueError) Unwrap() error { return ErrValue }

func invalid(what, input, why string) error {
	if len(input) > 80 {
		input = strings.ToValidUTF8(input[:80], "") + "…"
	}
	return &ValueError{What: what, Input: input, Why: why}
}

// Value is one thing that a message can show and an indicator can name, in
// canonical form. Values are comparable; the zero Value is none.
type Value struct {
	kind Kind
	text string
}

// Kind says what sort of thing v is; 0 for the zero Value.
func (v Value) Kind() Kind { return v.kind }

// String gives the canonical text: lower-case hex for a digest, "local@domain"
// or "<>" for an address, an A-label name without a final dot for a domain.
func (v Value) String() string { return v.text }

// IsZero reports whether v is no value at all.
func (v Value) IsZero() bool { return v.kind == 0 }

// matchText is what two values must share to be the same for matching. A link
// is the same link over http and https, so these two schemes are left out.
func (v Value) matchText() string {
	if v.kind == KindURL {
		return urlMatchText(v.text)
	}
	return v.text
}

// urlMatchText cuts the scheme from a canonical http or https URL; other
// schemes stay.
func urlMatchText(canonical string) string {
	if rest, ok := strings.CutPrefix(canonical, "https://"); ok {
		return rest
	}
	if rest, ok := strings.CutPrefix(canonical, "http://"); ok {
		return rest
	}
	return canonical
}

// AppendKey appends the bytes by which stores and indexes know v: its kind and
// the text that matters for matching.
func (v Value) AppendKey(dst []byte) []byte {
	return append(append(dst, byte(v.kind)), v.matchText()...)
}

// Hash is the xxhash64 of v's key, for indexes that can tolerate a collision
// because they check what they find.
func (v Value) Hash() uint64 {
	var buf [128]byte
	return xxhash.Sum64(v.AppendKey(buf[:0]))
}

// SHA256 makes a value of a SHA-256 digest.
func SHA256(sum [32]byte) Value { return Value{KindSHA256, hex.EncodeToString(sum[:])} }

// SHA1 makes a value of a SHA-1 digest.
func SHA1(sum [20]byte) Value { return Value{KindSHA1, hex.EncodeToString(sum[:])} }

// MD5 makes a value of an MD5 digest.
func MD5(sum [16]byte) Value { return Value{KindMD5, hex.EncodeToString(sum[:])} }

// Digest reads a digest from hex of either case; its length gives the kind:
// 32 digits MD5, 40 SHA-1, 64 SHA-256.
func Digest(text string) (Value, error) {
	var kind Kind
	switch len(text) {
	case 32:
		kind = KindMD5
	case 40:
		kind = KindSHA1
	case 64:
		kind = KindSHA256
	default:
		return Value{}, invalid("digest", text, "has to be 32, 40 or 64 hex digits")
	}
	if i := strings.IndexFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'f') && (r < 'A' || r > 'F')
	}); i >= 0 {
		return Value{}, invalid("digest", text, fmt.Sprintf("character %d is no hex digit", i+1))
	}
	return Value{kind, strings.ToLower(text)}, nil
}

// IP makes a value of an address. An IPv4 address mapped into IPv6 is the IPv4
// address; a zone is dropped, since it means nothing on another host.
func IP(addr netip.Addr) (Value, error) {
	if !addr.IsValid() {
		return Value{}, invalid("address", addr.String(), "is not an IP address")
	}
	return Value{KindIP, addr.Unmap().WithZone("").String()}, nil
}

// Addr gives the address of a KindIP value.
func (v Value) Addr() (netip.Addr, bool) {
	if v.kind != KindIP {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(v.text)
	return a, err == nil
}

// lenientIDNA maps as browsers do (UTS 46, non-transitional) but does not
// refuse names that exist although the rules forbid them, such as an underscore.
var lenientIDNA = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false), idna.CheckHyphens(false), idna.CheckJoiners(false), idna.BidiRule())

// Domain canonicalises a host name: lower case, Unicode labels as A-labels
// (RFC 5890), no final dot. It takes names that DNS knows and registries would
// refuse (underscores, a single label) and refuses empty labels, spaces,
// control characters and anything over MaxDomain bytes.
func Domain(text string) (Value, error) {
	name, why := canonicalDomain(text)
	if why != "" {
		return Value{}, invalid("domain", text, why)
	}
	return Value{KindDomain, name}, nil
}

func canonicalDomain(text string) (name, why string) {
	name, why = mapName(text)
	if why != "" {
		return "", why
	}
	name = strings.TrimSuffix(name, ".")
	switch {
	case name == "":
		return "", "is empty"
	case len(name) > MaxDomain:
		return "", fmt.Sprintf("is longer than %d bytes", MaxDomain)
	case name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, ".."):
		return "", "has an empty label"
	}
	if strings.Contains(name, "*") {
		return "", `has a "*"; a domain with all below it is written .example.org`
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"#%/:<>?@[\]^|,;()`, c) >= 0 {
			return "", fmt.Sprintf("has a character that no host name has at byte %d", i+1)
		}
	}
	return name, ""
}

// mapName gives a name of any characters in lower case and its Unicode labels
// as A-labels; whether it can be a host is for the caller to see. A name in
// ASCII is taken as it is, A-labels that decode to nothing included: DNS looks
// them up all the same, and so do browsers.
func mapName(text string) (name, why string) {
	if len(text) > 4*MaxDomain {
		return "", fmt.Sprintf("is longer than %d bytes", MaxDomain)
	}
	if isASCII(text) {
		return strings.ToLower(text), ""
	}
	if !utf8.ValidString(text) {
		return "", "is neither ASCII nor UTF-8"
	}
	name, err := lenientIDNA.ToASCII(strings.Map(visibleLower, text))
	if err != nil {
		return "", "is no internationalised name (" + err.Error() + ")"
	}
	return strings.ToLower(name), ""
}

// visibleLower does what newer tables of UTS 46 do and those compiled in may
// not: letters that only lately got a lower case are mapped, and format
// characters, which no reader sees, are ignored. The joiners are left to IDNA,
// where they can be part of a word.
func visibleLower(r rune) rune {
	switch {
	case r == '\u0130', r == '\u200c', r == '\u200d':
		return r // U+0130 becomes two characters, which IDNA does
	case unicode.Is(unicode.Cf, r):
		return -1
	}
	return unicode.ToLower(r)
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// NullSender is the empty reverse path of bounces (RFC 5321 section 4.5.5).
var nullSender = Value{KindAddress, "<>"}

// NullSender is the address value of the empty reverse path (RFC 5321 section
// 4.5.5), which lists write as <>.
func NullSender() Value { return nullSender }

// Address canonicalises a mail address: domain as Domain does, local part in
// NFC and lower case, because no mail system in use tells Bob from bob; quotes
// that are not needed are removed (RFC 5321 section 4.1.2). Angle brackets
// around it are accepted; an empty text or <> is the null sender.
func Address(text string) (Value, error) {
	s := strings.TrimSpace(text)
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") {
		s = strings.TrimSpace(s[1 : len(s)-1])
	}
	if s == "" {
		return nullSender, nil
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return Value{}, invalid("address", text, "has no @")
	}
	local, domain := s[:at], s[at+1:]
	if strings.HasPrefix(local, "@") { // source route, RFC 5321 appendix C
		if _, after, ok := strings.Cut(local, ":"); ok {
			local = after
		}
	}
	local = canonicalLocal(local)
	switch {
	case local == "":
		return Value{}, invalid("address", text, "has nothing before the @")
	case len(local) > MaxLocalPart:
		return Value{}, invalid("address", text, fmt.Sprintf("has more than %d bytes before the @", MaxLocalPart))
	case strings.ContainsFunc(local, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return Value{}, invalid("address", text, "has a control character")
	}
	if strings.HasPrefix(domain, "[") && strings.HasSuffix(domain, "]") { // address literal
		literal := strings.ToLower(domain[1 : len(domain)-1])
		addr, err := netip.ParseAddr(strings.TrimPrefix(literal, "ipv6:"))
		if err != nil {
			return Value{}, invalid("address", text, "has no IP address between its brackets")
		}
		return Value{KindAddress, local + "@[" + addr.Unmap().WithZone("").String() + "]"}, nil
	}
	name, why := canonicalDomain(domain)
	if why != "" {
		return Value{}, invalid("address", text, "its domain "+why)
	}
	return Value{KindAddress, local + "@" + name}, nil
}

// canonicalLocal gives the one spelling of a local part: quoted where RFC 5321
// section 4.1.2 asks for it, but for dots in unusual places, which real
// mailboxes have and their owners write without quotes.
func canonicalLocal(local string) string {
	local = strings.ToValidUTF8(local, "\uFFFD")
	if isASCII(local) {
		local = strings.ToLower(local)
	} else { // lower case can leave what NFC would compose
		local = norm.NFC.String(strings.ToLower(norm.NFC.String(local)))
	}
	bare := local
	if len(local) >= 2 && local[0] == '"' && local[len(local)-1] == '"' {
		bare = unquote(local[1 : len(local)-1])
	}
	if !strings.ContainsAny(bare, " \"(),:;<>@[\\]") {
		return bare
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(bare) + `"`
}

// unquote undoes quoted pairs (RFC 5322 section 3.2.1).
func unquote(text string) string {
	if strings.IndexByte(text, '\\') < 0 {
		return text
	}
	bare := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			i++
		}
		bare = append(bare, text[i])
	}
	return string(bare)
}

// Host gives the host of v: a domain's own name, the domain of an address, the
// host of a URL (a name, or an IP address without brackets). It is empty for
// the null sender, an address literal, a digest and an IP address.
func (v Value) Host() string {
	switch v.kind {
	case KindDomain:
		return v.text
	case KindAddress:
		host := v.text[strings.LastIndexByte(v.text, '@')+1:]
		if strings.HasPrefix(host, "[") || host == "<>" {
			return ""
		}
		return host
	case KindURL:
		return urlHost(v.text)
	}
	return ""
}

// HostAddr gives the IP address that a canonical host is, if it is one. It costs
// names nothing: the standard library's parser makes an error for each.
func HostAddr(host string) (netip.Addr, bool) {
	if host == "" {
		return netip.Addr{}, false
	}
	if last := host[len(host)-1]; (last < '0' || last > '9') && strings.IndexByte(host, ':') < 0 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(host)
	return a, err == nil
}

// RegistrableDomain gives the part of a canonical host name that somebody
// registered: one label more than its public suffix, by the public suffix list
// that is compiled in. It is empty for an IP address, a public suffix itself
// and a single label.
func RegistrableDomain(host string) string {
	if host == "" || strings.IndexByte(host, ':') >= 0 {
		return ""
	}
	if _, ok := HostAddr(host); ok {
		return ""
	}
	d, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return ""
	}
	return d
}

// IsPublicSuffix reports whether anyone can register names directly below
// host, so that an entry naming it would match strangers.
func IsPublicSuffix(host string) bool {
	suffix, icann := publicsuffix.PublicSuffix(host)
	return suffix == host && (icann || strings.Contains(suffix, "."))
}
