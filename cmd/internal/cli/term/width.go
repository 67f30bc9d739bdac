package term

import (
	"unicode"

	"golang.org/x/text/width"
)

// Width gives the cells that text takes, which has passed through Line.
func Width(s string) int {
	if isPlain(s) {
		return len(s)
	}
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Cut gives the beginning of text, which has passed through Line, that fits into
// so many cells; what was cut ends with an ellipsis.
func Cut(s string, cells int) string {
	if Width(s) <= cells {
		return s
	}
	n := 0
	for i, r := range s {
		if n += runeWidth(r); n > cells-1 {
			return s[:i] + "…"
		}
	}
	return s
}
