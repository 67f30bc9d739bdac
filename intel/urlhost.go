package intel

import (
	"net/netip"
	"strings"
)

// canonicalHost gives the canonical name or address of a URL's host; literal6
// says that it is an IPv6 address, which a URL has in brackets.
func canonicalHost(host string) (name string, literal6 bool, why string) {
	if strings.IndexByte(host, '%') >= 0 {
		host = string(appendUnescaped(nil, host))
	}
	if literal, ok := strings.CutPrefix(host, "["); ok {
		literal, ok = strings.CutSuffix(literal, "]")
		addr, err := netip.ParseAddr(literal)
		if !ok || err != nil || addr.Is4() {
			return "", false, "has no IPv6 address between its brackets"
		}
		addr = addr.Unmap().WithZone("")
		return addr.String(), addr.Is6(), ""
	}
	name, why = mapName(host)
	if why != "" {
		return "", false, "has a host that " + why
	}
	name = squeezeDots(name)
	if name == "" {
		return "", false, "has no host"
	}
	if len(name) > MaxDomain {
		return "", false, "has a host that is longer than a name can be"
	}
	// The forbidden domain code points of the WHATWG URL standard.
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("#%/:<>?@[\\]^|", c) >= 0 {
			return "", false, "has a character in its host that no name has"
		}
	}
	if last := name[strings.LastIndexByte(name, '.')+1:]; isNumber(last) {
		addr, ok := parseIPv4(name)
		if !ok {
			return "", false, "has a host that ends in a number and is no IPv4 address"
		}
		return addr.String(), false, ""
	}
	return name, false, ""
}

// squeezeDots removes dots at both ends of name and all but one in a row.
func squeezeDots(name string) string {
	name = strings.Trim(name, ".")
	if !strings.Contains(name, "..") {
		return name
	}
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r == '.' }), ".")
}

// isNumber reports whether a last label makes its name an IPv4 address: digits
// only, or a hex number (WHATWG URL, "ends in a number").
func isNumber(label string) bool {
	if label == "" {
		return false
	}
	digits, hex := strings.CutPrefix(label, "0x")
	for i := range len(digits) {
		if c := digits[i]; (c < '0' || c > '9') && (!hex || c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// parseIPv4 reads an IPv4 address as inet_aton does: one to four numbers,
// decimal, octal after 0, hex after 0x, of which the last fills all bytes left.
func parseIPv4(name string) (netip.Addr, bool) {
	var value uint64
	left := 4
	for more := true; more; {
		var part string
		part, name, more = strings.Cut(name, ".")
		n, ok := parseIPv4Number(part)
		if !ok || left == 0 {
			return netip.Addr{}, false
		}
		if more {
			left--
			if n > 0xff {
				return netip.Addr{}, false
			}
			value |= n << (8 * left)
			continue
		}
		if n >= 1<<(8*left) {
			return netip.Addr{}, false
		}
		value |= n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}

func parseIPv4Number(text string) (n uint64, ok bool) {
	if text == "" {
		return 0, false
	}
	base := uint64(10)
	switch {
	case strings.HasPrefix(text, "0x"):
		text, base = text[2:], 16
	case len(text) > 1 && text[0] == '0':
		text, base = text[1:], 8
	}
	for i := range len(text) {
		digit, isHex := unhex(text[i])
		if !isHex || uint64(digit) >= base {
			return 0, false
		}
		if n = n*base + uint64(digit); n > 1<<32 {
			return 0, false
		}
	}
	return n, true
}
