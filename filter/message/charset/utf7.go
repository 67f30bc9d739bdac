package charset

import (
	"unicode/utf16"
	"unicode/utf8"
)

func isUTF7(label string) bool {
	switch label {
	case "utf-7", "utf7", "unicode-1-1-utf-7", "x-unicode-2-0-utf-7", "csunicode11utf7":
		return true
	}
	return false
}

// utf7 reads UTF-7 (RFC 2152). Characters that should have been encoded stand
// for themselves, and what is left over at the end of a run is dropped, as
// clients have it.
func utf7(text []byte) ([]byte, Flaw) {
	var flaw Flaw
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		c := text[i]
		i++
		switch {
		case c == '+' && i < len(text) && text[i] == '-':
			out = append(out, '+')
			i++
		case c == '+':
			var bad bool
			out, i, bad = utf7Run(out, text, i)
			if bad {
				flaw = FlawInvalid
			}
		case c >= utf8.RuneSelf:
			out = utf8.AppendRune(out, utf8.RuneError)
			flaw = FlawInvalid
		default:
			out = append(out, c)
		}
	}
	return out, flaw
}

// utf7Run reads UTF-16 in base64 from text[i:] and gives the offset behind it.
func utf7Run(out, text []byte, i int) (_ []byte, next int, bad bool) {
	start := i
	var bits uint32
	var have int
	high := rune(-1) // a surrogate that waits for its other half
	for ; i < len(text); i++ {
		v, ok := base64Digit(text[i])
		if !ok {
			break
		}
		bits, have = bits<<6|v, have+6
		if have < 16 {
			continue
		}
		have -= 16
		r := rune(bits >> have & 0xFFFF)
		bits &= 1<<have - 1
		if high >= 0 {
			if full := utf16.DecodeRune(high, r); full != utf8.RuneError {
				out, high = utf8.AppendRune(out, full), -1
				continue
			}
			out, high, bad = utf8.AppendRune(out, utf8.RuneError), -1, true
		}
		switch {
		case r >= 0xD800 && r < 0xDC00:
			high = r
		case utf16.IsSurrogate(r):
			out, bad = utf8.AppendRune(out, utf8.RuneError), true
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	if high >= 0 {
		out, bad = utf8.AppendRune(out, utf8.RuneError), true
	}
	if i == start { // a plus sign that begins nothing
		return append(out, '+'), i, true
	}
	if i < len(text) && text[i] == '-' {
		i++
	}
	return out, i, bad
}

func base64Digit(c byte) (uint32, bool) {
	switch {
	case c >= 'A' && c <= 'Z':
		return uint32(c - 'A'), true
	case c >= 'a' && c <= 'z':
		return uint32(c-'a') + 26, true
	case c >= '0' && c <= '9':
		return uint32(c-'0') + 52, true
	case c == '+':
		return 62, true
	case c == '/':
		return 63, true
	}
	return 0, false
}
