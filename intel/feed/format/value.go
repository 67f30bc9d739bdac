package format

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/weirmail/weir/intel"
)

// values reads values.
type values struct {
	kinds      []intel.Kind
	subdomains bool
	wide       bool           // what is too wide is taken
	internal   []netip.Prefix // that are passed over
}

func newValues(o Options) values {
	v := values{kinds: o.Kinds, subdomains: o.Subdomains, wide: o.Wide}
	if !o.Internal {
		// RFC 6890 has them: this host, private, shared, loopback, link-local,
		// multicast, reserved.
		for _, block := range []string{
			"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
			"192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
			"::/127", "fc00::/7", "fe80::/10", "ff00::/8",
		} {
			v.internal = append(v.internal, netip.MustParsePrefix(block))
		}
	}
	return v
}

// wants reports whether entries of this kind are taken.
func (v *values) wants(k intel.Kind) bool { return len(v.kinds) == 0 || slices.Contains(v.kinds, k) }

// refusal says why a value gives no pattern.
type refusal struct {
	reason Reason
	detail string
}

func malformed(detail string) *refusal { return &refusal{Malformed, detail} }

// pattern reads a value as this kind, or where it is 0 by its form.
func (v *values) pattern(kind intel.Kind, text string) (intel.Pattern, *refusal) {
	if !utf8.ValidString(text) {
		return intel.Pattern{}, malformed("is not UTF-8")
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == 0x7f {
			return intel.Pattern{}, malformed("has a control character")
		}
	}
	if text == "" {
		return intel.Pattern{}, malformed("is empty")
	}
	text = refang(text)
	switch kind {
	case 0:
		return v.byForm(text)
	case intel.KindDomain:
		return v.domain(text)
	case intel.KindURL:
		return v.url(text)
	case intel.KindAddress:
		a, err := intel.Address(text)
		if a == intel.NullSender() && !v.wide {
			return intel.Pattern{}, &refusal{TooWide, "the null sender"}
		}
		return exact(a, err)
	case intel.KindIP:
		return v.ip(text)
	}
	d, err := intel.Digest(text)
	if err == nil && d.Kind() != kind {
		return intel.Pattern{}, malformed("is a digest of another length")
	}
	return exact(d, err)
}

// refang undoes defanging. What looks like it in a URL's path stays, unless its
// scheme or host is defanged too: there it may be meant.
func refang(text string) string {
	if scheme, rest, found := strings.Cut(text, "://"); found {
		host, _, _ := strings.Cut(rest, "/")
		if (scheme == "https" || scheme == "http") && !strings.ContainsAny(host, "[({") {
			return text // what Refang would say, at no cost
		}
		if plain := text[:len(scheme)+len("://")+len(host)]; intel.Refang(plain) == plain {
			return text
		}
	}
	return intel.Refang(text)
}

// byForm reads a value as what its form says.
func (v *values) byForm(text string) (intel.Pattern, *refusal) {
	switch {
	case strings.HasPrefix(text, "||"), strings.HasPrefix(text, "@@"):
		return v.adblock(text)
	case strings.Contains(text, "://"):
		return v.url(text)
	case text[0] == '/':
		return intel.Pattern{}, &refusal{Unsupported, "a path without a host"}
	case text == "<>", strings.Contains(text, "@") && !strings.Contains(text, "/"):
		return v.pattern(intel.KindAddress, text)
	case isDigest(text):
		return exact(intel.Digest(text))
	case isIP(text):
		return v.ip(text)
	case strings.Contains(text, "/"):
		return v.url(text)
	}
	return v.domain(text)
}

// adblock reads ||evil.example^, with options behind a $ or not. What it excepts
// (@@) and what reaches into a URL mean more than a domain.
func (v *values) adblock(text string) (intel.Pattern, *refusal) {
	name, ok := strings.CutPrefix(text, "||")
	name, _, _ = strings.Cut(name, "$")
	name, end := strings.CutSuffix(name, "^")
	if !ok || !end || strings.ContainsAny(name, "/^*") {
		return intel.Pattern{}, &refusal{Unsupported, "a rule for ad blockers that is no ||domain^"}
	}
	if isIP(name) {
		return v.ip(name)
	}
	return v.below(name)
}

// domain reads a name. Nobody lists one of a single label, or one that ends in a
// number, and means it.
func (v *values) domain(text string) (intel.Pattern, *refusal) {
	if text[0] == '.' || strings.HasPrefix(text, "*.") {
		return v.below(strings.TrimPrefix(strings.TrimPrefix(text, "*"), "."))
	}
	d, err := intel.Domain(text)
	if err != nil {
		return exact(d, err)
	}
	name := d.String()
	switch {
	case !strings.Contains(name, "."):
		return intel.Pattern{}, malformed("is a name of one label")
	case endsInNumber(name):
		return intel.Pattern{}, malformed("ends in a number, as no domain does")
	}
	if v.subdomains && !intel.IsPublicSuffix(name) {
		return v.below(name)
	}
	return intel.Exact(d), nil
}

// below reads the name of a domain that is meant with all below it.
func (v *values) below(name string) (intel.Pattern, *refusal) {
	p, err := intel.Below(name)
	switch {
	case err != nil:
		return intel.Pattern{}, malformed(why(err))
	case !v.wide && (intel.IsPublicSuffix(p.Text()) || !strings.Contains(p.Text(), ".")):
		return intel.Pattern{}, &refusal{TooWide, "a public suffix with all below it"}
	case endsInNumber(p.Text()):
		return intel.Pattern{}, malformed("ends in a number, as no domain does")
	}
	return p, nil
}

// url reads a URL, with or without its scheme, or what URLs begin with.
func (v *values) url(text string) (intel.Pattern, *refusal) {
	var p intel.Pattern
	var refused *refusal
	if strings.HasSuffix(text, "*") {
		var err error
		if p, err = intel.URLPrefix(text); err != nil {
			return intel.Pattern{}, malformed(why(err))
		}
	} else if p, refused = exact(intel.URL(text)); refused != nil {
		return p, refused
	}
	_, host, _ := strings.Cut(p.Text(), "://")
	if end := strings.IndexByte(host, '/'); end >= 0 {
		host = host[:end]
	}
	switch {
	case strings.Contains(host, "*"):
		return intel.Pattern{}, &refusal{Unsupported, "a URL with a * in its host"}
	case strings.IndexByte(host, '.') < 0 && host[0] != '[':
		return intel.Pattern{}, malformed("is a URL without a host")
	}
	return p, nil
}

// ip reads an address, with its port or without, or a range.
func (v *values) ip(text string) (intel.Pattern, *refusal) {
	if strings.Contains(text, "/") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return intel.Pattern{}, malformed("is no address range")
		}
		return v.ipRange(prefix)
	}
	addr, ok := parseIP(text)
	if !ok {
		return intel.Pattern{}, malformed("is no IP address")
	}
	if v.isInternal(netip.PrefixFrom(addr, addr.BitLen())) {
		return intel.Pattern{}, &refusal{Internal, ""}
	}
	return exact(intel.IP(addr))
}

func (v *values) ipRange(prefix netip.Prefix) (intel.Pattern, *refusal) {
	p, err := intel.Range(prefix)
	if err != nil {
		return intel.Pattern{}, malformed(rangeWhy(prefix, err))
	}
	// The largest networks of one organisation.
	const widest4, widest6 = 8, 19
	if a := prefix.Addr().Unmap(); !v.wide && (a.Is4() && prefix.Bits() < widest4 || a.Is6() && prefix.Bits() < widest6) {
		return intel.Pattern{}, &refusal{TooWide, "a range larger than any one network"}
	}
	if v.isInternal(prefix) {
		return intel.Pattern{}, &refusal{Internal, ""}
	}
	return p, nil
}

// rangeWhy leaves the block itself out, so that all of them are counted as one.
func rangeWhy(prefix netip.Prefix, err error) string {
	if prefix.IsValid() && prefix != prefix.Masked() {
		return "is an address range with host bits set"
	}
	return why(err)
}

func (v *values) isInternal(prefix netip.Prefix) bool {
	for _, block := range v.internal {
		if block.Overlaps(prefix) {
			return true
		}
	}
	return false
}

// parseIP reads an address with or without brackets and port.
func parseIP(text string) (netip.Addr, bool) {
	if inside, ok := strings.CutPrefix(text, "["); ok {
		addr, port, closed := strings.Cut(inside, "]")
		if !closed || port != "" && (port[0] != ':' || !isNumber(port[1:])) {
			return netip.Addr{}, false
		}
		text = addr
	} else if addr, port, ok := strings.Cut(text, ":"); ok && isNumber(port) && strings.Contains(addr, ".") {
		text = addr
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// isIP reports the form of an address or a range, right or wrong.
func isIP(text string) bool {
	text, bits, slash := strings.Cut(text, "/")
	if slash && !isNumber(bits) {
		return false
	}
	if strings.HasPrefix(text, "[") || strings.Count(text, ":") > 1 {
		return true
	}
	text, _, _ = strings.Cut(text, ":")
	return text != "" && strings.Trim(text, "0123456789.") == "" && strings.Contains(text, ".")
}

func endsInNumber(name string) bool { return isNumber(name[strings.LastIndexByte(name, '.')+1:]) }

func isNumber(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }

// isDigest reports hex digits in the number of a digest.
func isDigest(text string) bool {
	if len(text) != 32 && len(text) != 40 && len(text) != 64 {
		return false
	}
	for i := range len(text) {
		if c := text[i] | 0x20; (text[i] < '0' || text[i] > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func exact(value intel.Value, err error) (intel.Pattern, *refusal) {
	if err != nil {
		return intel.Pattern{}, malformed(why(err))
	}
	return intel.Exact(value), nil
}

// why gives what is wrong without the value, so that all alike are counted as one.
func why(err error) string {
	var invalid *intel.ValueError
	if errors.As(err, &invalid) {
		return invalid.Why
	}
	return err.Error()
}

// hostname reads a name that is meant with all below it, with or without a dot
// before it.
func (v *values) hostname(text string) (intel.Pattern, *refusal) {
	if !utf8.ValidString(text) || isIP(text) {
		return intel.Pattern{}, malformed("is no host name")
	}
	return v.below(strings.TrimPrefix(text, "."))
}
