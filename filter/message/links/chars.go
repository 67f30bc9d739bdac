package links

import (
	"unicode"
	"unicode/utf8"
)

// What a byte can be in text; several at once.
const (
	isTrigger uint8 = 1 << iota // a link may be around it
	isHost                      // part of a host name; any byte of a non-ASCII character
	isEnd                       // no link goes on beyond it
	isSpecial                   // needs a closer look within a link
	isTrailer                   // not part of a link whose last byte it would be
	isBreak                     // ends the name of a tag
	isOdd                       // does not belong in the name of an attribute
	isStyle                     // a link in CSS begins at it or behind it, or it is an escape
)

var byteClass = classifyBytes()

func classifyBytes() (class [256]uint8) {
	set := func(flag uint8, bytes string) {
		for i := range len(bytes) {
			class[bytes[i]] |= flag
		}
	}
	for c := range 256 {
		switch {
		case isAlnum(byte(c)):
			class[c] |= isHost
		case c <= ' ' || c == 0x7f:
			class[c] |= isEnd
		case c >= utf8.RuneSelf:
			class[c] |= isHost | isSpecial
		}
	}
	set(isHost, "-_")
	set(isTrigger, ":.[({")
	set(isEnd, "<>\"`")
	set(isSpecial, "([{)]},;|'&")
	set(isTrailer, ".,:;!?'*_~|\\([{&")
	set(isBreak, " \t\n\f\r/>")
	set(isOdd, `"'<`)
	set(isStyle, `("'@\`)
	return class
}

// next gives where the next byte of a class stands from i on; len(text) if there
// is none.
func next(text []byte, i int, class uint8) int {
	for len(text)-i >= 4 { // most bytes are none
		four := text[i : i+4 : i+4]
		if (byteClass[four[0]]|byteClass[four[1]]|byteClass[four[2]]|byteClass[four[3]])&class != 0 {
			break
		}
		i += 4
	}
	for i < len(text) && byteClass[text[i]]&class == 0 {
		i++
	}
	return i
}

func isAlnum(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || isDigit(c)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// hexDigit gives the value of a hex digit, -1 for any other byte.
func hexDigit(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// isNameRune reports whether a character outside ASCII can stand in a host name
// as people write it: a letter, a mark, a digit or a joiner. Punctuation and
// symbols end the name.
func isNameRune(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Cf) && r != utf8.RuneError
}

// endsLink reports whether a character outside ASCII ends a link: spaces, and
// quotation marks of any shape.
func endsLink(r rune) bool {
	return unicode.IsSpace(r) || unicode.In(r, unicode.Pi, unicode.Pf) || r == '\u3000'
}

// endsSentence reports whether a character ends a link that already has a path:
// punctuation that scripts without spaces put straight after a word. In a host
// name some of it is a dot.
func endsSentence(r rune) bool {
	return '\u3001' <= r && r <= '\u303f' || '\uff01' <= r && r <= '\uff0f' || '\uff1a' <= r && r <= '\uff20' ||
		'\uff3b' <= r && r <= '\uff40' || '\uff5b' <= r && r <= '\uff65' || r == '\u2026'
}
