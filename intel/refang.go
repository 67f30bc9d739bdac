package intel

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Refang gives text, one word of a list or a message, as its author meant it
// before it was defanged, so that nobody could click it: hxxps://evil[.]example,
// evil(dot)example, h**p[:]//evil{.}example, fraud[at]evil[.]example. Text that
// is not defanged comes back as it is.
//
// It undoes what DefangMark and RefangScheme know. Left alone is what ordinary
// prose and code have too: words between spaces (evil dot example), a bracket
// on one side (evil[.example), an escaped dot (evil\.example), and what people
// made up once.
func Refang(text string) string {
	first := strings.IndexAny(text, "[({:")
	if first < 0 {
		return text
	}
	var b strings.Builder
	if scheme := RefangScheme(text[:first]); scheme != "" {
		if mark, _ := DefangMark(text[first:]); text[first] == ':' || strings.HasPrefix(mark, ":") {
			b.WriteString(scheme)
			text = text[first:]
		}
	}
	if b.Len() == 0 && !strings.ContainsAny(text, "[({") {
		return text
	}
	for {
		i := strings.IndexAny(text, "[({")
		if i < 0 {
			break
		}
		b.WriteString(text[:i])
		plain, n := DefangMark(text[i:])
		if n == 0 {
			plain, n = text[i:i+1], 1
		}
		b.WriteString(plain)
		text = text[i+n:]
	}
	b.WriteString(text)
	return b.String()
}

// Defang writes text so that no program makes a link of anything in it:
// https[:]//evil[.]example/pay, fraud@evil[.]example. It marks each colon before two
// slashes and each dot within a word, those of other scripts that browsers take for
// dots too. Refang undoes it, but for brackets that stood there before.
func Defang(text string) string {
	var b strings.Builder
	within := false // the character before belongs to a word
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		plain, rest := text[:size], text[size:]
		next, _ := utf8.DecodeRuneInString(rest)
		switch {
		case r == ':' && strings.HasPrefix(rest, "//"):
			plain = "[:]"
		case within && isDot(r) && (unicode.IsLetter(next) || unicode.IsNumber(next)):
			plain = "[.]"
		}
		b.WriteString(plain)
		within = !unicode.IsSpace(r)
		text = rest
	}
	return b.String()
}

// isDot reports whether r parts labels (UTS 46 section 2.3).
func isDot(r rune) bool { return r == '.' || r == '\u3002' || r == '\uff0e' || r == '\uff61' }

// DefangMark gives what the mark at the beginning of text stands for and the
// mark's length, 0 if there is none: a dot, an @, a colon or slashes, or the
// words dot and at, in square, round or curly brackets.
func DefangMark[T string | []byte](text T) (plain string, length int) {
	if len(text) < 3 {
		return "", 0
	}
	var bracket byte
	switch text[0] {
	case '[':
		bracket = ']'
	case '(':
		bracket = ')'
	case '{':
		bracket = '}'
	default:
		return "", 0
	}
	for length = 2; text[length] != bracket; length++ {
		if length == 4 || length+1 == len(text) {
			return "", 0
		}
	}
	switch string(text[1:length]) {
	case ".", "dot", "DOT", "Dot":
		plain = "."
	case "@", "at", "AT", "At":
		plain = "@"
	case ":":
		plain = ":"
	case "://":
		plain = "://"
	case "/":
		plain = "/"
	case "//":
		plain = "//"
	default:
		return "", 0
	}
	return plain, length + 1
}

// RefangScheme gives the scheme that a word before a colon stands for: http,
// https or ftp, as it is or with letters crossed out (hxxp, hxxps, h**p, h__ps,
// htxp, xxxxs, fxp); "" for any other word. Case does not matter.
func RefangScheme[T string | []byte](word T) string {
	n := len(word)
	secure := n == 5 && word[4]|0x20 == 's'
	switch {
	case n == 3 && word[0]|0x20 == 'f' && isLetterOrCross(word[1], 't') && word[2]|0x20 == 'p':
		return "ftp"
	case n != 4 && !secure:
	case isLetterOrX(word[0], 'h') && isLetterOrCross(word[1], 't') && isLetterOrCross(word[2], 't') && isLetterOrX(word[3], 'p'):
		if secure {
			return "https"
		}
		return "http"
	}
	return ""
}

// isLetterOrX reports whether c is the letter, in either case, or an x in its place.
func isLetterOrX(c, letter byte) bool { return c|0x20 == letter || c|0x20 == 'x' }

func isLetterOrCross(c, letter byte) bool { return isLetterOrX(c, letter) || c == '*' || c == '_' }
