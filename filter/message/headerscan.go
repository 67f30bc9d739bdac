package message

import (
	"bytes"
	"strings"
)

// headerScan is one pass over a header and what it finds.
type headerScan struct {
	fields   []fieldSpan // offsets in the bytes; of the first fields, and of those that matter
	body     int         // where the body begins
	junk     int         // where the first line stands that is no field; -1 for none
	early    int         // where the body begins to those who end a header at its first bad line; -1 for nowhere else
	before   int         // how many fields stand before that
	delim    delim       // the delimiter that the header ran into, if cut
	cut      bool
	skipped  int // fields left out or cut short, beyond the limits
	overflow int // where the first of them stands

	mbox, leading, blank, badLine, spaced, oddName, unended bool

	limits    *Limits
	bytesLeft int
	open      bool // a fold would belong to the last field
	kept      bool // and that field is in fields
	tail      int  // the first line behind the last field that is neither field nor fold; -1 for none
	folds     bool // all lines from there on look like folds
	softly    bool // the line at early may not be the end even to them

	judged     int // how many fields the two below were made from
	multipart  bool
	boundaries []string
}

// maxFieldName bounds the name of a field, in bytes.
const maxFieldName = 256

// scanHeader finds the fields of the header at start. It goes on after lines
// that are no fields, as most clients do. A header ends at an empty line; one
// that ends in lines that are no fields, with no empty line behind them, ended
// before these (RFC 5322 section 2.1 knows no such thing, mail programs do).
func (r *reader) scanHeader(start int) headerScan {
	h := headerScan{
		fields: r.fields[:0], body: -1, junk: -1, early: -1, overflow: -1, tail: -1,
		limits: &r.limits, bytesLeft: r.limits.HeaderBytes,
	}
	pos, afterCR, sawLF := start, false, false
	for pos < len(r.b) {
		end, next := lineEnd(r.b, pos)
		line, cr := r.b[pos:end], next == end+1 && r.b[end] == '\r'
		if len(line) == 0 && (!cr || !sawLF) { // among other line ends, a lone CR is none to most
			h.body = next
			break
		}
		name, isField := fieldName(line)
		if bytes.HasPrefix(line, []byte("--")) {
			if h.delim, h.cut = r.delimAt(pos); h.cut {
				break
			}
			if !isField && h.beginsBody(r.b, pos) {
				h.body, h.unended = pos, true
				break
			}
		}
		switch {
		case isField:
			h.field(pos, next, line, name)
		case h.open && h.tail < 0 && !isBlankLine(line) && (afterCR || isSpace(line[0])):
			h.fold(pos, next)
		case pos == start && isMboxLine(line):
			h.mbox = true
		default:
			h.bad(pos, line)
		}
		afterCR, sawLF = cr, sawLF || !cr
		pos = next
	}
	r.fields = h.fields
	h.finish(start, pos)
	return h
}

// beginsBody reports whether the line at pos is the first delimiter of the
// multipart that the fields before it declare, so that the header ends without
// an empty line.
func (h *headerScan) beginsBody(b []byte, pos int) bool {
	if h.judged != len(h.fields) { // else the fields are those of the last time
		h.judged, h.boundaries, h.multipart = len(h.fields), nil, false
		for _, f := range h.fields {
			if len(h.boundaries) >= maxReadings {
				break
			}
			name := bytes.TrimRight(b[f.start:f.colon], " \t")
			if len(name) != len("Content-Type") || !hasPrefixFold(name, "Content-Type") {
				continue
			}
			value, ps, _ := cutParams(unfold(string(b[f.colon+1 : f.end])))
			h.multipart = h.multipart || strings.HasPrefix(value, "multipart")
			h.boundaries = append(h.boundaries, boundariesOf(ps)...)
		}
	}
	if !h.multipart {
		return false
	}
	if len(h.boundaries) == 0 {
		_, ok := guessDelimiter(b, pos)
		return ok
	}
	line := b[pos+2:]
	for _, boundary := range h.boundaries {
		if len(line) >= len(boundary) && string(line[:len(boundary)]) == boundary && isBlankLine(line[len(boundary):]) {
			return true
		}
	}
	return false
}

// field takes a field's first line.
func (h *headerScan) field(pos, next int, line, name []byte) {
	if h.tail >= 0 && h.folds && h.kept {
		h.fields[len(h.fields)-1].end = pos // lines that looked empty were inside a fold after all
	}
	h.open, h.tail = true, -1
	h.spaced = h.spaced || line[len(name)] != ':'
	h.oddName = h.oddName || !isASCII(name)
	f := fieldSpan{pos, pos + len(name) + bytes.IndexByte(line[len(name):], ':'), next}
	h.kept = len(h.fields) < h.limits.HeaderFields && next-pos <= h.bytesLeft
	if !h.kept {
		if len(h.fields) >= h.limits.HeaderFields+maxMattering || !matters(name) {
			h.skip(pos)
			return
		}
		f.end = min(next, pos+maxMatteringBytes)
		h.kept = f.end == next
		h.skip(f.end)
	}
	h.fields = append(h.fields, f)
	h.bytesLeft -= f.end - pos
}

// fold takes a line that continues a field.
func (h *headerScan) fold(pos, next int) {
	if !h.kept {
		return
	}
	f := &h.fields[len(h.fields)-1]
	if next-pos > h.bytesLeft && next-f.start > maxMatteringBytes {
		h.skip(pos)
		h.kept = false
		return
	}
	f.end = next
	h.bytesLeft -= next - pos
}

// bad takes a line that is no field and continues none.
func (h *headerScan) bad(pos int, line []byte) {
	soft := len(line) == 0 || isSpace(line[0]) || isMboxLine(line) // to few readers the end
	if h.early < 0 || h.softly && !soft {
		h.early, h.before, h.softly = pos, len(h.fields), soft
	}
	if h.junk < 0 {
		h.junk = pos
	}
	if h.tail < 0 {
		h.tail, h.folds = pos, h.open
	}
	blank := isBlankLine(line)
	h.folds = h.folds && (blank || isSpace(line[0]))
	switch {
	case blank:
		h.blank = true
	case isSpace(line[0]):
		h.leading = h.leading || !h.open
	default:
		h.badLine = true
	}
}

func (h *headerScan) skip(pos int) {
	h.skipped++
	if h.overflow < 0 {
		h.overflow = pos
	}
}

// finish says where the body begins; pos is where the pass stopped.
func (h *headerScan) finish(start, pos int) {
	switch {
	case h.body >= 0:
	case h.tail >= 0:
		h.body, h.unended = h.tail, true
	default:
		h.body = pos
		h.unended = pos > start
	}
	if h.junk >= h.body {
		h.junk = -1
	}
	if h.early >= h.body {
		h.early = -1
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }

// Fields that say what the message is are kept beyond the limits, so many of
// them and so many bytes of each.
const (
	maxMattering      = 64
	maxMatteringBytes = 64 << 10
)

// matters reports whether a field says how a message is read or who sent it.
func matters(name []byte) bool {
	switch name[0] | 0x20 {
	case 'c', 'f', 's', 'r', 't', 'd', 'm':
	default:
		return false
	}
	for _, known := range []string{
		"Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "From", "Sender", "Reply-To",
		"Subject", "To", "Cc", "Date", "Message-ID", "MIME-Version",
	} {
		if len(name) == len(known) && hasPrefixFold(name, known) {
			return true
		}
	}
	return false
}

// fieldName gives the name of the field that line is, without the space behind
// it; ok is false if line is none. A name holds no white space and no control
// characters (RFC 5322 section 2.2); bytes beyond ASCII are let pass. What goes
// on with "://" is a link that begins a line.
func fieldName(line []byte) (name []byte, ok bool) {
	i := bytes.IndexByte(line[:min(len(line), maxFieldName)], ':')
	if i <= 0 || bytes.HasPrefix(line[i:], []byte("://")) {
		return nil, false
	}
	name = bytes.TrimRight(line[:i], " \t")
	for _, c := range name {
		if c <= ' ' || c == 0x7f {
			return nil, false
		}
	}
	return name, len(name) > 0
}

// isMboxLine reports whether line is what mailbox files put before a message,
// which is no field but no end of the header either.
func isMboxLine(line []byte) bool {
	return bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))
}

// header copies the fields that were found.
func (h *headerScan) header(b []byte) Header {
	return copyFields(b, h.fields, h.skipped == 0 && h.junk < 0)
}

// copyFields copies fields; in one piece, if nothing is to be left out between them.
func copyFields(b []byte, fields []fieldSpan, onePiece bool) Header {
	if len(fields) == 0 {
		return Header{}
	}
	out := Header{fields: make([]fieldSpan, len(fields))}
	first, last := fields[0].start, fields[len(fields)-1].end
	if onePiece {
		out.text = string(b[first:last])
		for i, f := range fields {
			out.fields[i] = fieldSpan{f.start - first, f.colon - first, f.end - first}
		}
		return out
	}
	var text strings.Builder
	for i, f := range fields {
		at := text.Len() - f.start
		text.Write(b[f.start:f.end])
		out.fields[i] = fieldSpan{at + f.start, at + f.colon, at + f.end}
	}
	out.text = text.String()
	return out
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
