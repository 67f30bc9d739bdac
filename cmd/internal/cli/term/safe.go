// Package term writes for people at a terminal: text from mail made safe, tables
// whose columns stand under each other, colours where they are wanted.
//
// Whatever comes from mail, lists or the daemon passes through Line or Text
// before it is printed. An escape sequence in a subject could else clear the
// screen, change what stands above it, or make a terminal answer.
package term

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMarks bounds the combining marks on one character: a pile of them covers
// the lines above and below.
const maxMarks = 4

// Line gives text as one line that does nothing to a terminal: control
// characters, what turns the direction of writing, what nobody sees, and bytes
// that are not UTF-8 are written as escapes of Go's strings. So are backslashes
// that would look like one.
func Line(s string) string { return escape(s, false) }

// Text is Line for text of several lines: line feeds and tabs stay.
func Text(s string) string { return escape(s, true) }

func escape(s string, lines bool) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	marks := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		marks = marksAfter(marks, r)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case lines && (r == '\n' || r == '\t'):
			b.WriteRune(r)
		case lines && r == '\r' && strings.HasPrefix(s[i:], "\r\n"):
			// the line feed says it all
		case isSafe(r) && marks <= maxMarks:
			if r == '\\' && looksEscaped(s[i+1:]) {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
		default:
			writeEscape(&b, r)
		}
		i += size
	}
	return b.String()
}

// isPlain reports text that most text is: printable ASCII without a backslash.
func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f || s[i] == '\\' {
			return false
		}
	}
	return true
}

// isSafe reports characters that occupy their own place and nothing else.
// Format characters (Cf) do not: directions, joiners, tags, soft hyphens.
func isSafe(r rune) bool {
	switch r {
	case '\u2028', '\u2029', '\u115f', '\u1160', '\u3164', '\uffa0':
		return false // separators of lines, and letters that nobody sees
	}
	return unicode.IsGraphic(r)
}

func marksAfter(marks int, r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return marks + 1
	}
	return 0
}

// looksEscaped reports whether a backslash before s would be taken for one that
// writeEscape wrote.
func looksEscaped(s string) bool {
	if s == "" {
		return false
	}
	next, size := utf8.DecodeRuneInString(s)
	return strings.IndexByte(`nrtxuU\`, s[0]) >= 0 || !isSafe(next) || next == utf8.RuneError && size == 1
}

func writeEscape(b *strings.Builder, r rune) {
	switch {
	case r == '\n':
		b.WriteString(`\n`)
	case r == '\r':
		b.WriteString(`\r`)
	case r == '\t':
		b.WriteString(`\t`)
	case r < 0x80:
		fmt.Fprintf(b, `\x%02x`, r)
	case r < 0x10000:
		fmt.Fprintf(b, `\u%04x`, r)
	default:
		fmt.Fprintf(b, `\U%08x`, r)
	}
}
