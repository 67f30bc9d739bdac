package links

import (
	"bytes"
	"html"
	"strings"
	"unicode/utf8"
)

// maxEntityName is the length of the longest name of a character reference.
const maxEntityName = 31

// appendDecoded appends text with its character references decoded as browsers
// do it (HTML standard, "character reference state"), which for those without
// a semicolon differs between text and attributes. The result is never longer
// than text.
func appendDecoded(dst, text []byte, attribute bool) []byte {
	for {
		i := bytes.IndexByte(text, '&')
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:i]...)
		var n int
		dst, n = appendReference(dst, text[i:], attribute)
		text = text[i+n:]
	}
}

// appendReference appends what stands at the beginning of text, which begins
// with &, and gives how much of text that is.
func appendReference(dst, text []byte, attribute bool) ([]byte, int) {
	if len(text) > 2 && text[1] == '#' {
		return appendNumeric(dst, text)
	}
	n := 1
	for n < len(text) && n <= maxEntityName && isAlnum(text[n]) {
		n++
	}
	closed := n < len(text) && text[n] == ';'
	if !closed && attribute && (n > 7 || n < len(text) && (text[n] == '=' || isAlnum(text[n]))) || n < 3 {
		return append(dst, text[:n]...), n // as in ?a=1&copy=2; without a semicolon no name has more than six letters
	}
	end := n
	if closed {
		end++
	}
	switch string(text[1:n]) {
	case "amp":
		return append(dst, '&'), end
	case "lt":
		return append(dst, '<'), end
	case "gt":
		return append(dst, '>'), end
	case "quot":
		return append(dst, '"'), end
	case "nbsp":
		return append(dst, "\u00a0"...), end
	case "zwnj":
		if closed {
			return append(dst, "\u200c"...), end
		}
	}
	written := string(text[:end])
	decoded := html.UnescapeString(written)
	if attribute {
		// The whole name has to be one. Of &notit; UnescapeString decodes &not.
		partly := strings.HasSuffix(decoded, ";") && written != "&semi;"
		if !closed {
			partly = utf8.RuneCountInString(decoded) != 1
		}
		if partly {
			decoded = written
		}
	}
	return append(dst, decoded...), end
}

func appendNumeric(dst, text []byte) ([]byte, int) {
	i, base := 2, 10
	if text[i]|0x20 == 'x' {
		i, base = 3, 16
	}
	digits := i
	code := 0
	for ; i < len(text); i++ {
		digit := hexDigit(text[i])
		if digit < 0 || digit >= base {
			break
		}
		code = min(code*base+digit, utf8.MaxRune+1)
	}
	if i == digits {
		return append(dst, text[:i]...), i
	}
	if i < len(text) && text[i] == ';' {
		i++
	}
	switch {
	case code == 0:
		code = utf8.RuneError
	case 0x80 <= code && code <= 0x9f:
		code = int(windows1252[code-0x80])
	}
	return utf8.AppendRune(dst, rune(code)), i
}

// windows1252 gives what browsers show for references to C1 control characters.
var windows1252 = [32]rune{
	0x20ac, 0x81, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8d, 0x017d, 0x8f,
	0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d, 0x017e, 0x0178,
}
