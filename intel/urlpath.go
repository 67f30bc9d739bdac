package intel

import (
	"bytes"
	"strings"
)

// appendPath appends the canonical form of a URL's path, which begins with "/"
// even where raw is empty.
func appendPath(dst []byte, raw string) []byte {
	var room [512]byte
	path := appendUnescaped(room[:0], raw)
	for i, c := range path {
		if c == '\\' {
			path[i] = '/'
		}
	}
	for _, c := range resolveDots(path) {
		if c == '?' {
			dst = append(dst, "%3F"...)
			continue
		}
		dst = appendEscaped(dst, c)
	}
	return dst
}

// resolveDots resolves dot segments (WHATWG URL, "path state"), and then makes
// one slash of several: browsers do the first before they ask, servers the
// second when they answer. path is empty or begins with a slash, and is
// overwritten by the result.
func resolveDots(path []byte) []byte {
	out := path[:0]
	for i, end := 0, 0; i < len(path); i = end {
		end = i + 1
		for end < len(path) && path[end] != '/' {
			end++
		}
		switch segment := path[i+1 : end]; string(segment) {
		case "..":
			out = out[:max(bytes.LastIndexByte(out, '/'), 0)]
			fallthrough
		case ".":
			if end == len(path) {
				out = append(out, '/')
			}
		default:
			out = append(out, path[i:end]...)
		}
	}
	if len(out) == 0 {
		return append(out, '/')
	}
	squeezed := out[:1]
	for _, c := range out[1:] {
		if c != '/' || squeezed[len(squeezed)-1] != '/' {
			squeezed = append(squeezed, c)
		}
	}
	return squeezed
}

// appendQuery appends the canonical form of a URL's query.
func appendQuery(dst []byte, raw string) []byte {
	var room [512]byte
	for _, c := range appendUnescaped(room[:0], raw) {
		dst = appendEscaped(dst, c)
	}
	return dst
}

// appendUnescaped appends text with every percent escape undone, those too
// that only arise by undoing others. Escapes cannot overlap, so the order does
// not matter, and one pass that looks back whenever a byte was added finds
// them all.
func appendUnescaped(dst []byte, text string) []byte {
	if strings.IndexByte(text, '%') < 0 {
		return append(dst, text...)
	}
	base := len(dst)
	for i := range len(text) {
		dst = append(dst, text[i])
		for n := len(dst); n-base >= 3 && dst[n-3] == '%'; n = len(dst) {
			hi, ok1 := unhex(dst[n-2])
			lo, ok2 := unhex(dst[n-1])
			if !ok1 || !ok2 {
				break
			}
			dst[n-3] = hi<<4 | lo
			dst = dst[:n-2]
		}
	}
	return dst
}

func appendEscaped(dst []byte, c byte) []byte {
	if c > ' ' && c < 0x7f && c != '#' && c != '%' {
		return append(dst, c)
	}
	const digits = "0123456789ABCDEF"
	return append(dst, '%', digits[c>>4], digits[c&15])
}

// cutURL cuts a canonical URL to MaxURL bytes at most, so that what is left is
// canonical: not within an escape, and without what would be resolved if it
// stood at the end.
func cutURL(text []byte) []byte {
	n := MaxURL
	switch {
	case text[n-1] == '%':
		n--
	case text[n-2] == '%':
		n -= 2
	}
	text = text[:n]
	switch query := bytes.IndexByte(text, '?'); {
	case query == n-1: // an empty query
		text = text[:n-1]
	case query >= 0:
	case bytes.HasSuffix(text, []byte("/..")):
		text = text[:n-2]
	case bytes.HasSuffix(text, []byte("/.")):
		text = text[:n-1]
	}
	return text
}

func unhex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
