package links

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// script reports the links in a script: as it stands, with the escapes undone
// that its strings and functions undo, and in base64.
func (h *htmlScanner) script(text []byte) {
	where := h.place("script")
	h.words(text, where, schemeOnly)
	if bytes.ContainsAny(text, `\%`) {
		if plain := unescapeScript(text); len(plain) < len(text) {
			h.words(plain, where, schemeOnly)
		}
	}
	if bytes.Contains(text, []byte("&#")) { // within SVG, scripts hold references
		h.words(appendDecoded(nil, text, false), where, schemeOnly)
	}
	for rest := text; ; {
		i := bytes.Index(rest, []byte(base64HTTP))
		if i < 0 {
			return
		}
		rest = rest[i:]
		coded := rest[:base64Length(rest[:min(len(rest), 2*h.max)])]
		if link := decodeBase64Link(string(coded)); link != "" {
			h.link(link, link, where, "")
		}
		rest = rest[len(coded):]
	}
}

// unescapeScript undoes \x68, \u0068 and \u{68} of strings, %68 and %u0068 of
// unescape.
func unescapeScript(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		i := bytes.IndexAny(text, `\%`)
		if i < 0 {
			return append(out, text...)
		}
		out = append(out, text[:i]...)
		code, size := scriptEscape(text[i:])
		if size == 0 {
			out, text = append(out, text[i]), text[i+1:]
			continue
		}
		if text[i] == '%' && size == 3 { // a byte
			out = append(out, byte(code))
		} else {
			out = utf8.AppendRune(out, code)
		}
		text = text[i+size:]
	}
	return out
}

// scriptEscape reads the escape that text begins with; size is 0 for none.
func scriptEscape(text []byte) (code rune, size int) {
	start, digits := 1, 2
	switch {
	case len(text) < 3:
		return 0, 0
	case text[1] == 'u' && text[2] == '{':
		digits = bytes.IndexByte(text[:min(len(text), 10)], '}') - 3
		start, size = 3, 1
	case text[1] == 'u':
		start, digits = 2, 4
	case text[0] == '\\' && text[1] == 'x':
		start = 2
	case text[0] == '\\':
		return 0, 0
	}
	size += start + digits
	if digits < 1 || size > len(text) {
		return 0, 0
	}
	v, err := strconv.ParseUint(string(text[start:start+digits]), 16, 32)
	if err != nil || v > utf8.MaxRune {
		return 0, 0
	}
	return rune(v), size
}
