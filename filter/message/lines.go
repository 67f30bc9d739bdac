package message

import (
	"bytes"
	"strconv"
)

// maxLine is the longest line that RFC 5322 section 2.1.1 allows, in bytes
// without its line end.
const maxLine = 998

// readLines notes what is wrong with the message's lines as a whole.
func (s *state) readLines(raw []byte) {
	lf, crlf, longest := 0, 0, 0
	for rest := raw; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		n := i
		switch {
		case i < 0:
			i, n = len(rest)-1, len(rest)
		case i > 0 && rest[i-1] == '\r':
			crlf++
			n--
		default:
			lf++
		}
		longest = max(longest, n)
		rest = rest[i+1:]
	}
	if lf > 0 && crlf > 0 {
		s.defect(DefectBareLF, "", strconv.Itoa(lf)+" of "+strconv.Itoa(lf+crlf)+" lines")
	}
	if cr := bytes.Count(raw, []byte{'\r'}); cr > crlf {
		s.defect(DefectBareCR, "", strconv.Itoa(cr-crlf))
	}
	if bytes.IndexByte(raw, 0) >= 0 {
		s.defect(DefectNUL, "", "")
	}
	if longest > maxLine {
		s.defect(DefectLongLine, "", strconv.Itoa(longest)+" bytes")
	}
}
