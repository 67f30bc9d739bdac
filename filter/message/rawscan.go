package message

import (
	"bytes"

	"github.com/weirmail/weir/filter/message/transfer"
)

// placeRaw is the place of links in bytes that belong to no part.
const placeRaw = "raw"

// rawScan looks for links in bytes that no part explains: as they are, and
// with the encodings undone that they look as if they were in. It has a budget
// of its own, so that junk does not use up that of the message's text.
func (s *state) rawScan(text []byte) {
	if s.linkless {
		return
	}
	text = text[:min(int64(len(text)), s.rawLeft+1)] // one more, for the defect
	s.rawLinks(text)
	if looksQuoted(text) {
		s.decoded(transfer.QuotedPrintable, text, func(r *reader) { s.rawLinks(r.b) })
	}
	for pos := 0; pos < len(text); {
		start, end, regular := findBase64(text, pos)
		run := text[start:end]
		pos = end
		if len(run) < minBase64Run {
			continue
		}
		if len(run) > maxBase64Run {
			run = run[:maxBase64Run]
			s.defect(DefectTextLimit, placeRaw, "")
		}
		// Where the first group begins is not known if something stands before it.
		for skip := 0; skip == 0 || skip < 4 && !regular; skip++ {
			s.decoded(transfer.Base64, run[skip:], func(r *reader) { s.rawLinks(r.b) })
		}
	}
}

// rawLinks looks for links in text of which nothing is known, UTF-16 included.
func (s *state) rawLinks(text []byte) {
	text = s.within(&s.rawLeft, text, placeRaw)
	s.linksIn(text, bytes.IndexByte(text, '<') >= 0, placeRaw, true)
	if bytes.IndexByte(text, 0) >= 0 {
		text = bytes.ReplaceAll(text, []byte{0}, nil)
		s.linksIn(text, bytes.IndexByte(text, '<') >= 0, placeRaw, true)
	}
}

// minBase64Run is the shortest run of base64 that can hold a link, in bytes.
const minBase64Run = 16

// maxBase64Run bounds how much of a run is decoded, in bytes: what is longer is a file.
const maxBase64Run = 1 << 20

// findBase64 finds the first run of base64 in text from pos on. It may go over
// line ends but not over spaces inside of a line, and ends before its padding. A
// regular run begins a line, and has whole groups in each line but the last.
func findBase64(text []byte, pos int) (start, end int, regular bool) {
	start = pos
	for start < len(text) && !isBase64(text[start]) {
		start++
	}
	end, regular = start, start == 0 || text[start-1] == '\n'
	for line := start; end < len(text); {
		if isBase64(text[end]) {
			end++
			continue
		}
		next := end
		for next < len(text) && (text[next] == '\r' || text[next] == '\n' || isSpace(text[next])) {
			next++
		}
		if next == len(text) || !isBase64(text[next]) || bytes.IndexByte(text[end:next], '\n') < 0 {
			break
		}
		regular = regular && (end-line)%4 == 0
		end, line = next, next
	}
	return start, end, regular
}

func isBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/'
}

// looksQuoted reports whether text has escapes or soft line breaks as
// quoted-printable has them.
func looksQuoted(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '=')
		if i < 0 || i+1 >= len(text) {
			return false
		}
		text = text[i+1:]
		if text[0] == '\r' || text[0] == '\n' || len(text) > 1 && hexDigit(text[0])|hexDigit(text[1]) < 16 {
			return true
		}
	}
}
