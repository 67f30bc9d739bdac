package term

import (
	"bytes"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON gives a JSON document in which whatever could do something to a terminal
// is escaped as JSON has it; it means the same. In well-formed JSON such
// characters stand in strings only, and white space is left alone.
func JSON(doc []byte) []byte {
	var b bytes.Buffer
	b.Grow(len(doc))
	for i := 0; i < len(doc); {
		r, size := utf8.DecodeRune(doc[i:])
		switch {
		case r == '\n' || r == '\t' || r == '\r' || isSafe(r):
			b.Write(doc[i : i+size])
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += size
	}
	return b.Bytes()
}
