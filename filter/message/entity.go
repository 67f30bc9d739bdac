package message

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"github.com/weirmail/weir/filter/message/transfer"
)

// nest says where an entity stands.
type nest struct {
	parent   int    // index of the part around it; -1 for the message itself
	depth    int    // its own
	base     string // the number around it
	n        int    // its own number in a multipart; 0 for the content of a message
	inDigest bool   // its type is message/rfc822 where it names none
}

// join makes the number of a part.
func join(base string, n int) string {
	if base == "" {
		return strconv.Itoa(n)
	}
	return base + "." + strconv.Itoa(n)
}

// paths gives the number of the entity and the one that its children's begin
// with. A multipart that is the whole content of a message has no number; it
// is called what IMAP calls that (RFC 9051 section 6.4.5.1).
func (in *nest) paths(multipart bool) (path, base string) {
	switch {
	case in.n > 0:
		path = join(in.base, in.n)
		return path, path
	case !multipart:
		path = join(in.base, 1)
		return path, path
	case in.base == "":
		return "TEXT", ""
	}
	return in.base + ".TEXT", in.base
}

// place gives the place of the entity's header: "header" for the message's own,
// else the number of the part, or of the attached message, that it is the header of.
func (in *nest) place() string {
	switch {
	case in.n > 0:
		return join(in.base, in.n) + "/header"
	case in.base == "":
		return "header"
	}
	return in.base + "/header"
}

// field gives the place of a field.
func (in *nest) field(name string) string { return in.place() + "/" + name }

// add appends a part.
func (s *state) add(p Part) int {
	s.parts = append(s.parts, p)
	return len(s.parts) - 1
}

// full reports whether no more parts may be added, which is a defect.
func (s *state) full() bool {
	if len(s.parts) < s.limits.Parts {
		return false
	}
	s.defect(DefectPartLimit, "", "more than "+strconv.Itoa(s.limits.Parts))
	return true
}

// entity reads a header and the body behind it (RFC 2045 section 2.4), which
// ends at the delimiter that it gives back.
func (r *reader) entity(start int, in nest) delim {
	if r.full() {
		r.rawScan(r.b[start:])
		return r.end()
	}
	h := r.scanHeader(start)
	header := h.header(r.b)
	i := r.add(Part{Parent: in.parent, Depth: in.depth})
	if r.headerLeft -= len(header.text); r.headerLeft >= 0 {
		r.parts[i].Header = header
	} else {
		r.defect(DefectHeaderLimit, in.place(), "not kept")
	}
	r.headerDefects(start, &h, &in)
	if in.n == 0 {
		r.messageHeader(header, &in)
	}
	c := r.readContent(header, &in, &r.parts[i])
	c.raw = h.unended // to some readers, the header goes on
	deep := in.depth >= r.limits.Depth
	if deep && (c.multipart || c.message) {
		c.multipart, c.message = false, false
		c.raw = true
		r.defect(DefectDepthLimit, in.place(), "")
	}
	path, base := in.paths(c.multipart && !h.cut)
	r.parts[i].Path = path
	var early Header
	if h.early >= 0 { // the pass's room is used again from here on
		early = copyFields(r.b, h.fields[:h.before], false)
	}
	var d delim
	switch {
	case h.cut:
		d = h.delim
		r.leaf(i, h.body, r.contentEnd(h.body, d), &c)
	case c.multipart:
		d = r.multipart(i, h.body, base, &c)
	case c.message:
		d = r.attached(i, h.body, &c)
	default:
		r.stray = false
		d = r.next(h.body)
		if r.stray {
			r.defect(DefectBoundaryStray, path, "")
			c.raw = true
		}
		r.leaf(i, h.body, r.contentEnd(h.body, d), &c)
		r.softly(i, h.body, d, &c)
	}
	if h.early >= 0 {
		var p Part
		c := r.readContent(early, &in, &p)
		r.again(i, r.b[h.early:r.contentEnd(h.early, d)], c.primary(), false, &c)
	}
	return d
}

// softly reads a part again that ends at a delimiter which is text to some
// readers: to the next one that is none to nobody.
func (r *reader) softly(i, start int, d delim, c *content) {
	if !d.soft || !r.mayReadAgain(i, 0) {
		return
	}
	hard := r.nextHard(d.next)
	r.again(i, r.b[start:r.contentEnd(start, hard)], c.primary(), false, c)
}

// multipart reads the body of a multipart (RFC 2046 section 5.1.1): by its
// boundary, or decoded if it is encoded as a whole, or by a boundary that can be
// guessed, else as text.
func (r *reader) multipart(i, start int, base string, c *content) delim {
	d, ok := r.divide(i, start, base, c)
	end := r.contentEnd(start, d)
	text := r.b[start:end]
	if !ok && !r.divideDecoded(i, text, base, c) {
		ok = r.divideByGuess(i, start, end, base, c)
		if !ok {
			if strings.HasSuffix(r.parts[i].Path, "TEXT") {
				r.parts[i].Path = join(base, 1)
			}
			c.raw = true
			r.leaf(i, start, end, c)
		}
		if len(c.boundaries) > 0 {
			r.defect(DefectBoundaryUnseen, r.parts[i].Path, excerpt(c.boundaries[0]))
		}
		if !ok {
			return d
		}
	}
	r.parts[i].Size = int64(len(text))
	r.otherwise(i, text, c, func(t string) bool { return !strings.HasPrefix(t, "multipart/") })
	return d
}

// divideDecoded is divide for a multipart that is encoded as a whole, which RFC
// 2045 section 6.4 forbids.
func (r *reader) divideDecoded(i int, text []byte, base string, c *content) bool {
	if c.primary() == transfer.Identity || !r.mayOpen(i, len(text)) {
		return false
	}
	r.rawScan(text)
	ok := false
	r.decoded(c.primary(), text, func(sub *reader) {
		if _, ok = sub.divide(i, 0, base, c); !ok {
			ok = sub.divideByGuess(i, 0, len(sub.b), base, c)
		}
	})
	if ok {
		r.defect(DefectEncodingContainer, r.parts[i].Path, c.encoding)
	}
	return ok
}

// otherwise reads part i, which was opened, as the file or text that it is to
// those who go by another of its types.
func (r *reader) otherwise(i int, text []byte, c *content, isOther func(string) bool) {
	j := slices.IndexFunc(c.types, isOther)
	if j < 0 {
		return
	}
	other := *c
	other.kind, other.multipart, other.message = c.types[j], false, false
	r.again(i, text, c.primary(), false, &other)
}

// divideByGuess is divide between start and end, by the first line that looks
// like a delimiter.
func (r *reader) divideByGuess(i, start, end int, base string, c *content) bool {
	boundary, ok := guessBoundary(r.b[start:end])
	if !ok || r.guesses == 0 {
		return false
	}
	r.guesses--
	guessed := *c
	guessed.boundaries = []string{boundary}
	_, ok = r.divide(i, start, base, &guessed)
	return ok
}

// divide reads the parts of a multipart. It reports false if it finds none, and
// gives the delimiter behind the multipart in either case.
func (r *reader) divide(i, start int, base string, c *content) (delim, bool) {
	r.levels = append(r.levels, level{boundaries: c.boundaries})
	mine := len(r.levels) - 1
	d := r.next(start)
	if d.level != mine {
		r.levels = r.levels[:mine]
		return d, false
	}
	r.outside(r.b[start:d.start])
	in := nest{parent: i, depth: r.parts[i].Depth + 1, base: base, inDigest: c.kind == "multipart/digest"}
	var junk []byte
	after, epilogue := false, false
	for d.level == mine {
		if d.junk && junk == nil {
			junk = r.b[d.start:min(d.next, d.start+maxExcerpt+1)]
		}
		if !d.last {
			after = after || r.levels[mine].closed
			in.n++
			r.parts[i].Container = true
			d = r.entity(d.next, in)
			continue
		}
		r.levels[mine].closed = true
		behind := d.next
		d = r.next(behind)
		epilogue = r.outside(r.b[behind:d.start]) || epilogue
	}
	closed := r.levels[mine].closed
	r.levels = r.levels[:mine]
	if in.n == 0 {
		return d, false
	}
	path := r.parts[i].Path
	if junk != nil {
		r.defect(DefectBoundaryJunk, path, excerpt(string(junk)))
	}
	if after {
		r.defect(DefectPartAfterEnd, path, "")
	}
	if epilogue {
		r.defect(DefectEpilogue, path, "")
	}
	if !closed {
		r.defect(DefectUnclosed, path, "")
	}
	return d, true
}

// outside looks through what stands before the first or behind the last part
// of a multipart, which few clients show. It reports whether there is text.
func (r *reader) outside(text []byte) bool {
	if len(bytes.TrimSpace(text)) == 0 {
		return false
	}
	r.rawScan(text)
	return true
}

// attached reads a message inside the message (RFC 2046 section 5.2.1), whose
// own boundaries and fields are part of the same pass. One that is encoded, as
// RFC 2046 forbids and many programs do, is decoded first.
func (r *reader) attached(i, start int, c *content) delim {
	path := r.parts[i].Path
	in := nest{parent: i, depth: r.parts[i].Depth + 1, base: path}
	enc := c.primary()
	if enc == transfer.Identity || enc == transfer.Base64 && r.beginsWithField(start) {
		r.parts[i].Container = true
		d := r.entity(start, in)
		text := r.b[start:r.contentEnd(start, d)]
		r.digestContainer(i, text)
		if enc != transfer.Identity { // to some readers it is encoded, as its fields say
			r.again(i, text, enc, false, c)
		}
		r.attachedOtherwise(i, text, 0, c)
		return d
	}
	d := r.next(start)
	end := r.contentEnd(start, d)
	if !r.mayOpen(i, end-start) {
		r.leaf(i, start, end, c)
		return d
	}
	r.defect(DefectEncodingContainer, path, c.encoding)
	text := r.b[start:end]
	r.rawScan(text)
	flaws := r.decoded(enc, text, func(sub *reader) {
		r.parts[i].Container = true
		sub.entity(0, in)
		r.digestContainer(i, sub.b)
	})
	r.transferDefects(flaws, enc, path)
	r.attachedOtherwise(i, text, flaws, c)
	return d
}

// attachedOtherwise reads an attached message as those do who go by another of
// its types or encodings.
func (r *reader) attachedOtherwise(i int, text []byte, flaws transfer.Flaw, c *content) {
	r.otherwise(i, text, c, func(t string) bool { return !isMessageType(t) })
	r.inOtherEncodings(i, text, flaws, c)
}

// mayOpen reports whether part i, which has so many bytes, may be read as a
// message of its own. Those that are copied or digested as a whole are
// budgeted: plain text stays what it is however often it is decoded.
func (s *state) mayOpen(i, size int) bool {
	if s.openLeft >= int64(size) {
		s.openLeft -= int64(size)
		return true
	}
	s.defect(DefectDepthLimit, s.parts[i].Path, "")
	return false
}

// beginsWithField reports whether a header field stands at pos.
func (r *reader) beginsWithField(pos int) bool {
	end, _ := lineEnd(r.b, pos)
	name, ok := fieldName(r.b[pos:end])
	return ok && isASCII(name)
}

// digestContainer gives an attached message its digests, while that keeps the
// work linear in the message's size.
func (s *state) digestContainer(i int, content []byte) {
	p := &s.parts[i]
	p.Size = int64(len(content))
	if s.containerLeft -= p.Size; s.containerLeft < 0 {
		s.defect(DefectDigestLimit, p.Path, "")
		return
	}
	s.digest.digestWhole(p, content, s.linkless)
}

// headerDefects reports what a pass over a header found, and looks for links
// where it left something out.
func (r *reader) headerDefects(start int, h *headerScan, in *nest) {
	for _, f := range [...]struct {
		found bool
		name  string
	}{
		{h.mbox, DefectMboxLine}, {h.leading, DefectLeadingFold}, {h.blank, DefectHeaderBlank},
		{h.junk >= 0 && h.badLine, DefectHeaderLine}, {h.spaced, DefectHeaderSpace},
		{h.oddName, DefectHeaderName}, {h.unended, DefectHeaderUnended}, {h.skipped > 0, DefectHeaderLimit},
	} {
		if f.found {
			r.defect(f.name, in.place(), "")
		}
	}
	first := h.junk
	if h.overflow >= 0 && (first < 0 || h.overflow < first) {
		first = h.overflow
	}
	if h.oddName { // to some readers that is no field
		first = start
	}
	if first >= 0 && first < h.body {
		r.rawScan(r.b[first:h.body])
	}
}

// singleFields are those that may come once (RFC 5322 section 3.6, RFC 2045
// section 3).
func singleFields() [13]string {
	return [...]string{
		"From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References",
		"MIME-Version", "Content-Type", "Content-Transfer-Encoding",
	}
}

// fieldUnsubscribe is the field of RFC 2369 that mail clients show.
const fieldUnsubscribe = "List-Unsubscribe"

// messageHeader looks at the fields that people see, and for links in those that
// can have some.
func (r *reader) messageHeader(h Header, in *nest) {
	names := singleFields()
	var seen [len(names)]bool
	for i := range h.fields {
		f := h.At(i)
		if strings.EqualFold(f.Name, fieldUnsubscribe) { // clients make a button of it
			r.headerLinks(withoutSpace(f.Unfolded()), in.field(fieldUnsubscribe))
		}
		for n, name := range names {
			if len(f.Name) != len(name) || (f.Name[0]^name[0])&^0x20 != 0 || !strings.EqualFold(f.Name, name) {
				continue
			}
			if seen[n] {
				r.defect(DefectDuplicateField, in.field(name), "")
			}
			seen[n] = true
			switch name {
			case "Subject":
				r.subject(f, in)
			case "From", "Sender", "Reply-To":
				r.originator(f, name, in)
			}
		}
	}
}

func (r *reader) subject(f Field, in *nest) {
	text, flaw := decodeWords(f.Unfolded())
	r.wordDefects(flaw, "Subject", in)
	r.headerLinks(text, in.field("Subject"))
}

func (r *reader) originator(f Field, name string, in *nest) {
	text := f.Unfolded()
	all, flaw := appendAddresses(nil, text, r.limits.AddressFields)
	if in.parent < 0 {
		r.originators.add(name, all, r.limits.AddressFields)
	}
	if flaw&addressJunk != 0 {
		r.defect(DefectAddress, in.field(name), excerpt(text))
	}
	if flaw&addressLimit != 0 {
		r.defect(DefectAddressLimit, in.field(name), "")
	}
	if !isPlain(text) {
		_, words := decodeWords(text)
		r.wordDefects(words, name, in)
	}
}

func (r *reader) wordDefects(flaw wordFlaw, name string, in *nest) {
	if flaw == 0 {
		return
	}
	if flaw&(wordBroken|wordCharset) != 0 {
		r.defect(DefectHeaderWord, in.field(name), "")
	}
	if flaw&wordRaw != 0 {
		r.defect(DefectHeaderBytes, in.field(name), "")
	}
	if flaw&wordControl != 0 {
		r.defect(DefectHeaderControl, in.field(name), "")
	}
}
