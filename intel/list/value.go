package list

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"

	"github.com/weirmail/weir/intel"
)

// ParseValue reads a value as a list entry writes it, forced kinds and defanged
// forms included, for trying what is known about it. Something that stands for
// more than one value (.evil.example, a range, a prefix, a regular expression)
// is refused. The error is a *Problem without file and line.
func ParseValue(text string) (intel.Value, error) {
	l, f := split(text)
	var v intel.Value
	switch {
	case f != nil:
	case l.value.text == "", len(l.options) > 0, l.comment != "", l.regexp:
		f = &fault{value: text, reason: "is not one value", cure: "give an address, a domain, a URL, an IP address or a digest"}
	default:
		var p intel.Pattern
		if p, f = parsePattern(&l, nil); f != nil {
			break
		}
		if p.Form() != intel.FormExact {
			f = &fault{value: text, reason: "stands for more than one value", cure: "give one that it would match"}
			break
		}
		v = p.Value()
	}
	if f != nil {
		p := f.at("", 0)
		p.Column = 0
		return intel.Value{}, p
	}
	return v, nil
}

// parsePattern makes a pattern of the entry; fields are those of a regular expression.
func parsePattern(l *line, fields []intel.Field) (intel.Pattern, *fault) {
	if l.regexp {
		return parseRegexp(l, fields)
	}
	if f := invisible(l.text); f != nil {
		return intel.Pattern{}, f
	}
	text := refang(l.text.text)
	p, err := parseForced(l.kind, text)
	if err == nil {
		return p, nil
	}
	f := &fault{column: l.text.column, value: l.text.text, reason: err.Error()}
	var invalid *intel.ValueError
	if errors.As(err, &invalid) {
		f.reason = invalid.Why
	}
	var curable *cureError
	if errors.As(err, &curable) {
		f.cure = curable.cure
	}
	if f.cure == "" {
		f.cure = cureFor(l.kind, text)
	}
	return intel.Pattern{}, f
}

// refang undoes defanging. What looks like it in a URL's path stays, unless its
// scheme or host is defanged too: there it may be meant.
func refang(text string) string {
	if scheme, rest, found := strings.Cut(text, "://"); found {
		host, _, _ := strings.Cut(rest, "/")
		if plain := text[:len(scheme)+len("://")+len(host)]; intel.Refang(plain) == plain {
			return text
		}
	}
	return intel.Refang(text)
}

// cureError is an error that knows its cure.
type cureError struct{ reason, cure string }

func (e *cureError) Error() string { return e.reason }

func parseRegexp(l *line, fields []intel.Field) (intel.Pattern, *fault) {
	if len(fields) == 0 {
		return intel.Pattern{}, &fault{column: l.value.column, value: l.value.text, reason: "names no field to look at", cure: "add in=subject, in=file-name, in=header or in=header:NAME"}
	}
	expr := l.text.text
	if l.fold {
		expr = "(?i)" + expr
	}
	p, err := intel.Regexp(expr, fields)
	if err == nil {
		return p, nil
	}
	f := &fault{column: l.text.column, value: l.text.text, reason: err.Error(), cure: "the syntax is that of RE2: no look-around, no back-references"}
	var invalid *intel.ValueError
	if errors.As(err, &invalid) {
		f.reason = invalid.Why
	}
	return intel.Pattern{}, f
}

// invisible finds a character that nobody sees but that makes another name.
// Joiners belong to some scripts (RFC 5892, appendix A).
func invisible(t token) *fault {
	const zeroWidthNonJoiner, zeroWidthJoiner = '\u200C', '\u200D'
	for i, r := range t.text {
		if r < unicode.MaxASCII || r == zeroWidthJoiner || r == zeroWidthNonJoiner {
			continue
		}
		if unicode.In(r, unicode.Cf, unicode.Zs, unicode.Zl, unicode.Zp) {
			return &fault{column: t.column + i, value: t.text, reason: fmt.Sprintf("has an invisible character, U+%04X", r), cure: "remove it"}
		}
	}
	return nil
}

// parseForced reads text as this kind, or by its form where kind is empty.
func parseForced(kind, text string) (intel.Pattern, error) {
	switch kind {
	case "":
		return parseForm(text)
	case "address":
		return exact(intel.Address(text))
	case "domain":
		if isIPAddress(text) {
			return intel.Pattern{}, &cureError{"is an IP address", "leave domain: out"}
		}
		if strings.HasPrefix(text, ".") {
			return intel.Below(text)
		}
		return exact(intel.Domain(text))
	case "url":
		var p intel.Pattern
		var err error
		if strings.HasSuffix(text, "*") {
			p, err = intel.URLPrefix(text)
		} else {
			p, err = exact(intel.URL(text))
		}
		if err == nil && starInHost(p) {
			return intel.Pattern{}, &cureError{"has a * in its host", "a * can only stand at the end of a URL; .evil.example covers a domain and all below it"}
		}
		return p, err
	case "ip":
		return parseIP(text)
	}
	v, err := intel.Digest(text)
	if err == nil && v.Kind().String() != kind {
		err = &cureError{fmt.Sprintf("has %d digits, as a %s has", len(text), v.Kind()), "leave " + kind + ": out"}
	}
	return exact(v, err)
}

// starInHost reports whether a URL is meant for many hosts, which no URL can be.
func starInHost(p intel.Pattern) bool {
	v, err := intel.URL(p.Text())
	return err == nil && strings.Contains(v.Host(), "*")
}

func exact(v intel.Value, err error) (intel.Pattern, error) {
	if err != nil {
		return intel.Pattern{}, err
	}
	return intel.Exact(v), nil
}

// parseForm reads text as what its form says.
func parseForm(text string) (intel.Pattern, error) {
	switch {
	case strings.Contains(text, "://"):
		return parseForced("url", text)
	case strings.HasPrefix(text, "."):
		return intel.Below(text)
	case text == "<>", strings.Contains(text, "@") && !strings.ContainsAny(text, "/*|"):
		if strings.HasPrefix(text, "@") {
			return intel.Pattern{}, &cureError{"has nothing before the @", fmt.Sprintf("for every address there write %s in=envelope-from,header-from", text[1:])}
		}
		return exact(intel.Address(text))
	case isDigest(text):
		return exact(intel.Digest(text))
	case isIPAddress(text), isRange(text):
		return parseIP(text)
	case strings.ContainsAny(text, "/*|"):
		return intel.Pattern{}, &cureError{"has no form of an entry", cureFor("", text)}
	}
	v, err := intel.Domain(text)
	if err == nil && !strings.Contains(v.String(), ".") {
		err = &cureError{"is a name of one label", singleLabelCure(v.String())}
	}
	if err == nil && endsInNumber(v.String()) {
		err = &cureError{"ends in a number, as no domain does", "write an IP address with all its parts, and a range as 198.51.100.0/24"}
	}
	return exact(v, err)
}

// parseIP reads one IP address or a range in CIDR form.
func parseIP(text string) (intel.Pattern, error) {
	if strings.Contains(text, "/") {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return intel.Pattern{}, &cureError{"is no address range", "write the first address, a slash and the number of bits, as in 198.51.100.0/24 or 2001:db8::/32"}
		}
		return intel.Range(prefix)
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return intel.Pattern{}, &cureError{"is no IP address", "write it as 198.51.100.7 or 2001:db8::7, without brackets or port"}
	}
	if addr.Zone() != "" {
		return intel.Pattern{}, &cureError{"has a zone, which means nothing on another host", "leave out % and what follows it"}
	}
	return exact(intel.IP(addr))
}

// isDigest reports hex digits in the number of a digest.
func isDigest(text string) bool {
	return (len(text) == 32 || len(text) == 40 || len(text) == 64) && isHex(text)
}

func isHex(text string) bool {
	for i := range len(text) {
		if c := text[i] | 0x20; (text[i] < '0' || text[i] > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return text != ""
}

func isIPAddress(text string) bool {
	// A parse error costs an allocation, and most entries are names.
	if text == "" || (text[0] < '0' || text[0] > '9') && strings.IndexByte(text, ':') < 0 {
		return false
	}
	_, err := netip.ParseAddr(text)
	return err == nil
}

// isRange reports something of the form of a CIDR block, right or wrong.
func isRange(text string) bool {
	addr, bits, found := strings.Cut(text, "/")
	if !found || bits == "" || strings.Trim(bits, "0123456789") != "" {
		return false
	}
	return isIPAddress(addr) || addr != "" && strings.Trim(addr, "0123456789.") == "" || strings.Contains(addr, ":") && strings.Trim(addr, "0123456789abcdefABCDEF:") == ""
}

func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.Trim(last, "0123456789") == ""
}

func singleLabelCure(name string) string {
	if isHex(name) && len(name) >= 16 {
		return fmt.Sprintf("if it is meant as a digest: it has %d digits, and MD5 has 32, SHA-1 40, SHA-256 64", len(name))
	}
	return fmt.Sprintf("write domain:%s if that is meant, .%s for a whole top level", name, name)
}

// cureFor guesses what somebody meant by text that is nothing of this kind.
func cureFor(kind, text string) string {
	if kind != "" {
		return "without " + kind + ": the form decides what an entry is"
	}
	name, port, hasPort := strings.Cut(text, ":")
	switch {
	case strings.Contains(text, "://"):
		return "a URL has a scheme, a host and a path, as in https://evil.example/pay"
	case strings.HasPrefix(text, "||"):
		return "lists for ad blockers are written otherwise: .evil.example covers a domain and all below it"
	case strings.HasPrefix(text, "*."):
		return "write ." + strings.TrimPrefix(text, "*.") + ", which covers the domain and all below it"
	case strings.HasPrefix(text, "mailto:"):
		return "leave mailto: out"
	case strings.HasPrefix(text, "["):
		return "write an IP address without brackets"
	case strings.ContainsAny(text, `,;"|`):
		return "one entry a line, without other columns; options are name=value"
	case strings.Contains(text, "#"):
		return "put a space before the # of a comment"
	case hasPort && suggestKind(name) != "":
		return "did you mean " + suggestKind(name) + ":?"
	case hasPort && port != "" && strings.Trim(port, "0123456789") == "":
		return "a port is part of a URL: write https://" + text + "/*"
	case strings.Contains(text, "/"):
		return "a URL needs its scheme: write https://" + text + ", which covers http as well"
	case strings.HasSuffix(text, "*"):
		return "only a URL can end in *"
	case strings.Contains(text, "*"):
		return "a * can only stand at the end of a URL; use a regular expression, or .evil.example for a domain and all below it"
	case strings.Contains(text, "@"):
		return "write an address as local@evil.example, without a name"
	}
	return "an entry is a domain, an address, a URL, an IP address or range, a digest or a /regular expression/"
}

// suggestKind gives the kind that a word was probably meant to force.
func suggestKind(word string) string {
	switch strings.ToLower(word) {
	case "host", "hostname", "fqdn", "dns":
		return "domain"
	case "email", "mail", "sender", "from", "addr":
		return "address"
	case "uri", "link":
		return "url"
	case "ipv4", "ipv6", "cidr", "net", "range", "client":
		return "ip"
	case "hash", "digest", "sha":
		return "sha256"
	case "re", "regex":
		return "regexp"
	}
	return nearest(word, forcible())
}
