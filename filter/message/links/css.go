package links

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// css reports the links in a style sheet or style attribute: url() and src(),
// @import, and every string that is an absolute link, as image-set() has them.
// Comments are not told from the rest: a client may be as careless.
func (h *htmlScanner) css(text []byte) {
	h.work += len(text)
	i := next(text, 0, isStyle)
	if i == len(text) { // as in nearly all attributes
		return
	}
	if bytes.IndexByte(text, '\\') >= 0 {
		text, i = unescapeCSS(text), 0
	}
	importing := false
	for i < len(text) && !h.stopped {
		c := text[i]
		i++
		switch c {
		case '(':
			if i > 3 && (bytes.EqualFold(text[i-4:i-1], []byte("url")) || bytes.EqualFold(text[i-4:i-1], []byte("src"))) {
				i = h.cssURL(text, i)
			}
		case '"', '\'':
			end := stringEnd(text, i, c)
			if value := text[i:end]; importing || hasScheme(value) {
				h.reference(value, "css")
				i = end + 1
			} // else it is read on, since a quote in a comment, or one that was escaped, begins no string
			importing = false
		case '@':
			importing = len(text) >= i+6 && bytes.EqualFold(text[i:i+6], []byte("import"))
		case ';', '}':
			importing = false
		}
	}
}

// cssURL reports the link in url( whose argument begins at i, and gives where
// it ends.
func (h *htmlScanner) cssURL(text []byte, i int) int {
	for i < len(text) && isSpace(text[i]) {
		i++
	}
	if i == len(text) {
		return i
	}
	if quote := text[i]; quote == '"' || quote == '\'' {
		end := stringEnd(text, i+1, quote)
		h.reference(text[i+1:end], "css")
		return end + 1
	}
	end := i
	for end < len(text) && !isSpace(text[end]) && strings.IndexByte(`()"'`, text[end]) < 0 {
		end++
	}
	h.reference(text[i:end], "css")
	return end
}

// stringEnd gives the end of a CSS string: at its quote, or at the end of the
// line, where clients give up an unclosed one.
func stringEnd(text []byte, i int, quote byte) int {
	for i < len(text) && text[i] != quote && text[i] != '\n' {
		i++
	}
	return i
}

// hasScheme reports whether text begins as an absolute link does.
func hasScheme(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	return len(text) > 6 && (bytes.EqualFold(text[:4], []byte("http")) || bytes.EqualFold(text[:4], []byte("ftp:")) || bytes.HasPrefix(text, []byte("//")))
}

// lineEndSize gives the size of the white space that text begins with: CR LF is one.
func lineEndSize(text []byte) int {
	if len(text) > 1 && text[0] == '\r' && text[1] == '\n' {
		return 2
	}
	return 1
}

// unescapeCSS undoes escapes (CSS Syntax, "consume an escaped code point"),
// with which url can be written \75 rl.
func unescapeCSS(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			out = append(out, text[i])
			continue
		}
		i++
		code, digits := 0, 0
		for digits < 6 && i+digits < len(text) && hexDigit(text[i+digits]) >= 0 {
			code = code<<4 | hexDigit(text[i+digits])
			digits++
		}
		switch {
		case digits > 0:
			if code == 0 || code > utf8.MaxRune {
				code = utf8.RuneError
			}
			out = utf8.AppendRune(out, rune(code))
			i += digits - 1
			if i+1 < len(text) && isSpace(text[i+1]) {
				i += lineEndSize(text[i+1:])
			}
		case text[i] == '\n', text[i] == '\r', text[i] == '\f': // an escaped line end is nothing
			i += lineEndSize(text[i:]) - 1
		default:
			out = append(out, text[i])
		}
	}
	return out
}
