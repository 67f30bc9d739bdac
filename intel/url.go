package intel

import (
	"strconv"
	"strings"
)

// URL canonicalises a link for matching: two links that a browser opens at the
// same place, give or take scheme, fragment and credentials, get one Value.
//
// It reads the text as browsers do (WHATWG URL, special schemes): surrounding
// spaces and control characters go, tabs and line ends go wherever they stand,
// a backslash is a slash, any number of slashes may follow the scheme. From
// there it goes the way of the Safe Browsing canonicalisation:
//
//   - scheme in lower case; webcal is http. A text without a scheme is http, as
//     in an address bar; \\server\share is file.
//   - credentials and fragment removed; the query kept unless it is empty
//   - host percent-decoded and as Domain has it, without surplus dots; each
//     spelling of an IPv4 address (octal, hex, fewer parts) as a dotted quad,
//     IPv6 as RFC 5952 has it and an IPv4 address mapped into it as IPv4
//   - the scheme's own port removed, other ports kept
//   - path and query percent-decoded until there is nothing left to decode, then
//     what is not printable ASCII, and #, % and a ? in the path, encoded again
//   - dot segments resolved, runs of slashes one slash, an empty path "/"
//
// Schemes: http, https, ftp, and file and smb with a host, since opening those
// hands the reader's credentials to it. All others are refused, and so is what
// no browser opens: no host, a host that no name can be, a port that is none.
//
// The time is linear in len(text), and the result holds at most MaxURL bytes:
// the rest of a longer one is cut off.
func URL(text string) (Value, error) {
	if isCanonicalURL(text) {
		return Value{KindURL, text}, nil
	}
	var room [512]byte
	canonical, why := appendURL(room[:0], text)
	if why != "" {
		return Value{}, invalid("URL", text, why)
	}
	if len(canonical) > MaxURL {
		canonical = cutURL(canonical)
	}
	return Value{KindURL, string(canonical)}, nil
}

// URLPrefix reads a list entry that ends in "*": it matches every URL whose
// canonical form begins with that of the text before it. The prefix has to
// reach into the path, because "https://evil.example*" would also be
// evil.example.org, and may hold no other "*" that could be meant as a wildcard.
func URLPrefix(text string) (Pattern, error) {
	prefix, ok := strings.CutSuffix(strings.TrimSpace(text), "*")
	if !ok {
		return Pattern{}, invalid("URL prefix", text, `does not end in "*"`)
	}
	if strings.HasSuffix(prefix, "*") {
		return Pattern{}, invalid("URL prefix", text, `ends in more than one "*"; one is enough`)
	}
	if i := max(len(prefix)-2, 0); strings.IndexByte(prefix[i:], '%') >= 0 {
		return Pattern{}, invalid("URL prefix", text, "ends within a percent escape")
	}
	// What follows the prefix keeps its last segment from being read as a dot
	// segment and its query from being empty. The byte is no hex digit.
	const more = "x"
	v, err := URL(prefix + more)
	if err != nil {
		return Pattern{}, err
	}
	canonical, ok := strings.CutSuffix(v.text, more)
	if !ok {
		return Pattern{}, invalid("URL prefix", text, "has to reach into the path, and not into the fragment: https://evil.example/*")
	}
	if endsInPercent(canonical) {
		return Pattern{}, invalid("URL prefix", text, "ends within a percent escape")
	}
	if strings.Contains(urlHost(canonical), "*") {
		return Pattern{}, invalid("URL prefix", text, `has a "*" in its host; a domain with all below it is written .evil.example`)
	}
	return Pattern{form: FormPrefix, kind: KindURL, text: canonical}, nil
}

// endsInPercent reports whether a canonical URL ends in a percent sign, or in one and a
// digit: with digits behind it, it would be an escape of something else.
func endsInPercent(canonical string) bool {
	i := strings.LastIndex(canonical, "%25")
	if i < 0 || len(canonical) > i+4 {
		return false
	}
	if len(canonical) == i+4 {
		_, hex := unhex(canonical[i+3])
		return hex
	}
	return true
}

// urlHost gives the host of a canonical URL, without port or brackets.
func urlHost(canonical string) string {
	_, rest, _ := strings.Cut(canonical, "://")
	if literal, ok := strings.CutPrefix(rest, "["); ok {
		literal, _, _ = strings.Cut(literal, "]")
		return literal
	}
	if end := strings.IndexAny(rest, ":/"); end >= 0 {
		rest = rest[:end]
	}
	return rest
}

// isCanonicalURL reports that appendURL would give text back. It knows the
// common shape only: http or https, a plain lower-case name, no port, no escapes.
func isCanonicalURL(text string) bool {
	rest, ok := strings.CutPrefix(text, "https://")
	if !ok {
		if rest, ok = strings.CutPrefix(text, "http://"); !ok {
			return false
		}
	}
	if len(text) > MaxURL {
		return false
	}
	slash := strings.IndexByte(rest, '/')
	if slash < 1 || slash > MaxDomain {
		return false
	}
	label := 0 // where the present label begins
	for i := range slash {
		switch c := rest[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.' && i > label:
			label = i + 1
		default:
			return false
		}
	}
	if label == slash || '0' <= rest[label] && rest[label] <= '9' {
		return false
	}
	query := false
	for i := slash; i < len(rest); i++ {
		switch c := rest[i]; {
		case c <= ' ', c >= 0x7f, c == '#', c == '%':
			return false
		case query:
		case c == '?':
			if query = true; i+1 == len(rest) {
				return false
			}
		case c == '\\', c == '/' && i+1 < len(rest) && (rest[i+1] == '/' || rest[i+1] == '\\' || rest[i+1] == '.'):
			return false
		}
	}
	return true
}

// appendURL appends the canonical form of text, of any length, or says why
// there is none.
func appendURL(dst []byte, text string) (canonical []byte, why string) {
	text = cleanURL(text)
	scheme, rest, why := splitScheme(text)
	if why != "" {
		return nil, why
	}
	rest, _, _ = strings.Cut(rest, "#")
	authority := strings.TrimLeft(rest, `/\`)
	if scheme == "file" {
		// file:///path is on the reader's own machine. Four slashes and more are
		// how Office writes \\server\share.
		if n := len(rest) - len(authority); n < 2 || n == 3 {
			return nil, "is a file on the reader's own machine"
		}
	}
	rest = ""
	if end := strings.IndexAny(authority, `/\?`); end >= 0 {
		authority, rest = authority[:end], authority[end:]
	}
	if scheme == "file" { // \\server@SSL@port\share is how Windows names a server that it reaches by WebDAV
		authority, _, _ = strings.Cut(authority, "@")
	} else {
		authority = authority[strings.LastIndexByte(authority, '@')+1:]
	}
	host, port, why := splitHostPort(authority)
	if why != "" {
		return nil, why
	}
	name, literal6, why := canonicalHost(host)
	if why != "" {
		return nil, why
	}
	if scheme == "file" && (len(name) == 1 || name == "localhost") { // a drive letter, RFC 8089
		return nil, "is a file on the reader's own machine"
	}

	dst = append(append(dst, scheme...), "://"...)
	if literal6 {
		dst = append(append(append(dst, '['), name...), ']')
	} else {
		dst = append(dst, name...)
	}
	if port >= 0 && port != defaultPort(scheme) {
		dst = strconv.AppendInt(append(dst, ':'), int64(port), 10)
	}
	path, query, _ := strings.Cut(rest, "?")
	dst = appendPath(dst, path)
	if query != "" {
		dst = appendQuery(append(dst, '?'), query)
	}
	return dst, ""
}

// cleanURL removes what browsers remove before they read a URL: control
// characters and spaces around it, tabs and line ends in it.
func cleanURL(text string) string {
	for text != "" && text[0] <= ' ' {
		text = text[1:]
	}
	for text != "" && text[len(text)-1] <= ' ' {
		text = text[:len(text)-1]
	}
	if !strings.ContainsAny(text, "\t\r\n") {
		return text
	}
	clean := make([]byte, 0, len(text))
	for i := range len(text) {
		if c := text[i]; c != '\t' && c != '\r' && c != '\n' {
			clean = append(clean, c)
		}
	}
	return string(clean)
}

// splitScheme gives the canonical scheme and what follows its colon.
func splitScheme(text string) (scheme, rest, why string) {
	i := 0
	for i < len(text) && isSchemeByte(text[i]) {
		i++
	}
	if i > 0 && i < len(text) && text[i] == ':' && !isHostPort(text[:i], text[i+1:]) {
		switch name, rest := text[:i], text[i+1:]; {
		case strings.EqualFold(name, "https"), strings.EqualFold(name, "webcals"):
			return "https", rest, ""
		case strings.EqualFold(name, "http"), strings.EqualFold(name, "webcal"):
			return "http", rest, ""
		case strings.EqualFold(name, "ftp"):
			return "ftp", rest, ""
		case strings.EqualFold(name, "file"):
			return "file", rest, ""
		case strings.EqualFold(name, "smb"):
			return "smb", rest, ""
		}
		return "", "", "has a scheme that is none of http, https, ftp, file, smb and webcal"
	}
	switch {
	case strings.HasPrefix(text, `\\`):
		return "file", text, ""
	case strings.HasPrefix(text, "//"):
		return "http", text, ""
	case text == "":
		return "", "", "is empty"
	case strings.IndexByte(`/\?#`, text[0]) >= 0:
		return "", "", "has no host"
	}
	return "http", text, ""
}

// isHostPort tells host:port, without a scheme, from scheme:rest: no scheme in
// use has a dot.
func isHostPort(name, rest string) bool {
	if strings.IndexByte(name, '.') < 0 {
		return false
	}
	digits := 0
	for digits < len(rest) && '0' <= rest[digits] && rest[digits] <= '9' {
		digits++
	}
	return digits > 0 && (digits == len(rest) || strings.IndexByte(`/\?#`, rest[digits]) >= 0)
}

func isSchemeByte(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'
}

func defaultPort(scheme string) int {
	switch scheme {
	case "http":
		return 80
	case "https":
		return 443
	case "ftp":
		return 21
	case "smb":
		return 445
	}
	return -1
}

// splitHostPort splits an authority without credentials; port is -1 when
// there is none.
func splitHostPort(authority string) (host string, port int, why string) {
	colon := strings.IndexByte(authority, ':')
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']') + 1
		if end == 0 || end < len(authority) && authority[end] != ':' {
			return "", 0, "has an IPv6 address whose bracket is not closed"
		}
		colon = end
	}
	if colon < 0 || colon == len(authority) {
		return authority, -1, ""
	}
	host, digits := authority[:colon], authority[colon+1:]
	if digits == "" {
		return host, -1, ""
	}
	for i := range len(digits) {
		if c := digits[i]; c < '0' || c > '9' {
			return "", 0, "has a port that is no number"
		}
		if port = port*10 + int(digits[i]-'0'); port > 65535 {
			return "", 0, "has a port above 65535"
		}
	}
	return host, port, ""
}
