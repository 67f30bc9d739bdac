package message

import (
	"bytes"
	"strings"
)

// reader goes once through bytes that hold a message: the message as received,
// or one that came encoded inside of it. It knows which multiparts are open, so
// that each line is looked at once however deep they nest.
type reader struct {
	*state
	b      []byte
	raw    bool // b is Message.Raw
	levels []level
	stray  bool // next passed over a line that looks like a delimiter
}

// level is a multipart that is open. It has several boundaries where its
// fields can be read in several ways; most readers take the first.
type level struct {
	boundaries []string
	closed     bool // its last delimiter has come; others of it may follow
}

// delim is a line that delimits parts, or the end of the bytes.
type delim struct {
	start int  // of the line
	next  int  // of the line behind it
	level int  // index of the multipart that it belongs to; -1 at the end of the bytes
	last  bool // the closing delimiter
	soft  bool // a delimiter to some readers, text to others
	junk  bool // that, because something follows the boundary
}

// next finds the next delimiter at or behind the line start pos.
func (r *reader) next(pos int) delim {
	if len(r.levels) == 0 {
		return r.end()
	}
	for first := pos; pos < len(r.b); {
		i := bytes.IndexByte(r.b[pos:], '-')
		if i < 0 {
			break
		}
		pos += i
		if pos == first || r.b[pos-1] == '\n' || r.b[pos-1] == '\r' {
			if d, ok := r.delimAt(pos); ok {
				return d
			}
			r.stray = r.stray || r.strayAt(pos)
		}
		pos++
	}
	return r.end()
}

// strayAt reports whether the line at pos, which begins with a dash, looks like a
// delimiter, since a part's header follows it: who reads a boundary parameter
// otherwise than we may see one.
func (r *reader) strayAt(pos int) bool {
	if pos+1 == len(r.b) || r.b[pos+1] != '-' {
		return false
	}
	for range maxStrayFields {
		pos = nextLine(r.b, pos)
		end, _ := lineEnd(r.b, pos)
		line := r.b[pos:end]
		if hasPrefixFold(line, "Content-") {
			return true
		}
		if _, ok := fieldName(line); !ok && (isBlankLine(line) || !isSpace(line[0])) {
			return false
		}
	}
	return false
}

// maxStrayFields is how many lines of a header are looked at to see that it is
// that of a part.
const maxStrayFields = 8

// nextHard is next, but passes over soft delimiters.
func (r *reader) nextHard(pos int) delim {
	d := r.next(pos)
	for d.soft {
		d = r.next(d.next)
	}
	return d
}

func (r *reader) end() delim { return delim{start: len(r.b), next: len(r.b), level: -1} }

// delimAt reads the line at pos as a delimiter of an open multipart: exactly (RFC
// 2046 section 5.1.1), innermost first and closed ones last, else by its
// beginning, the longest boundary first, as some servers and clients do.
func (r *reader) delimAt(pos int) (delim, bool) {
	if pos+1 >= len(r.b) || r.b[pos] != '-' || r.b[pos+1] != '-' {
		return delim{}, false
	}
	line := r.b[pos+2:]
	best, bestLen := -1, 0
	for _, closed := range [2]bool{false, true} {
		for i := len(r.levels) - 1; i >= 0; i-- {
			l := &r.levels[i]
			if l.closed != closed {
				continue
			}
			for n, boundary := range l.boundaries {
				if len(line) < len(boundary) || string(line[:len(boundary)]) != boundary {
					continue
				}
				rest := line[len(boundary):]
				last := bytes.HasPrefix(rest, []byte("--"))
				if last && isBlankLine(rest[2:]) || isBlankLine(rest) {
					return delim{start: pos, next: nextLine(r.b, pos), level: i, last: last, soft: n > 0}, true
				}
				if len(boundary) > bestLen {
					best, bestLen = i, len(boundary)
				}
			}
		}
	}
	if best < 0 {
		return delim{}, false
	}
	last := bytes.HasPrefix(line[bestLen:], []byte("--"))
	return delim{start: pos, next: nextLine(r.b, pos), level: best, last: last, soft: true, junk: true}, true
}

// isBlankLine reports whether nothing but white space stands before the next line end.
func isBlankLine(b []byte) bool {
	for _, c := range b {
		switch c {
		case ' ', '\t':
		case '\r', '\n':
			return true
		default:
			return false
		}
	}
	return true
}

// maxCRs is how many CRs before an LF count as one line end with it. Broken
// programs write CR CR LF.
const maxCRs = 3

// lineEnd gives where the text of the line at pos ends, and where the next line
// begins. Lines end with LF, CR LF, CR CR LF or CR alone. It looks no further
// than twice the line's length, so that a text full of CRs stays linear.
func lineEnd(b []byte, pos int) (text, next int) {
	for size := 256; pos < len(b); size *= 2 {
		window := b[pos:min(len(b), pos+size)]
		lf := bytes.IndexByte(window, '\n')
		if lf >= 0 {
			window = window[:lf]
		}
		if cr := bytes.IndexByte(window, '\r'); cr >= 0 {
			text = pos + cr
			next = text + 1
			for next < len(b) && next-text < maxCRs && b[next] == '\r' {
				next++
			}
			if next < len(b) && b[next] == '\n' {
				return text, next + 1
			}
			return text, text + 1
		}
		if lf >= 0 {
			return pos + lf, pos + lf + 1
		}
		pos += len(window)
	}
	return len(b), len(b)
}

// nextLine gives where the line behind the one at pos begins.
func nextLine(b []byte, pos int) int {
	_, next := lineEnd(b, pos)
	return next
}

// contentEnd gives where content ends that begins at start and reaches to d:
// the line end before a delimiter belongs to the delimiter.
func (r *reader) contentEnd(start int, d delim) int {
	end := d.start
	if d.level < 0 || end <= start {
		return max(end, start)
	}
	if r.b[end-1] == '\n' {
		end--
	}
	if end > start && r.b[end-1] == '\r' {
		end--
	}
	return end
}

// guessBoundary gives what stands behind the dashes of the first line of text
// that looks like a delimiter.
func guessBoundary(text []byte) (string, bool) {
	for pos := 0; pos < len(text); {
		i := bytes.Index(text[pos:], []byte("--"))
		if i < 0 {
			return "", false
		}
		pos += i
		if pos > 0 && text[pos-1] != '\n' && text[pos-1] != '\r' {
			pos += 2
			continue
		}
		if boundary, ok := guessDelimiter(text, pos); ok {
			return boundary, true
		}
		pos = nextLine(text, pos)
	}
	return "", false
}

// guessDelimiter gives what stands behind the dashes of the line at pos if that
// looks like a delimiter: a MIME field or an empty line follows it.
func guessDelimiter(text []byte, pos int) (string, bool) {
	end, next := lineEnd(text, pos)
	boundary := strings.TrimRight(string(text[pos+2:min(end, pos+2+maxBoundary)]), " \t")
	if boundary == "" || strings.ContainsAny(boundary, "\x00 \t") || strings.Trim(boundary, "-=_*") == "" {
		return "", false
	}
	follows := text[next:]
	return boundary, isBlankLine(follows) && len(follows) > 0 || hasPrefixFold(follows, "Content-")
}
