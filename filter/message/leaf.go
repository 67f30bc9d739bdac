package message

import (
	"strconv"
	"strings"

	"github.com/weirmail/weir/filter/message/transfer"
)

// source gives content block by block: not empty, at most len(buf) long; nil at the end.
type source interface {
	Next(buf []byte) []byte
}

// flow is content that is about to be read.
type flow struct {
	source
	size  int    // about how many bytes there are
	whole []byte // all of them, if they are there already
}

// leaf reads the content of a part that holds no others.
func (r *reader) leaf(i, start, end int, c *content) {
	p := &r.parts[i]
	if r.raw {
		p.start, p.end, p.encoding = start, end, c.primary()
	}
	// A multipart whose parts nobody finds is shown as text.
	p.Text = isTextType(c.kind) || c.multipart
	text := r.b[start:end]
	path := p.Path
	flaws := r.decode(i, text, c.primary(), false, c)
	r.transferDefects(flaws, c.primary(), path)
	r.inOtherEncodings(i, text, flaws, c)
	if c.kind == typePartial {
		r.defect(DefectPartial, path, "")
		c.raw = true
	}
	if c.raw {
		r.rawScan(text)
	}
}

// inOtherEncodings reads part i in each way in which its encoding can be
// understood, but for the first, which had these flaws.
func (s *state) inOtherEncodings(i int, text []byte, flaws transfer.Flaw, c *content) {
	if flaws&transfer.FlawConcatenated != 0 {
		s.again(i, text, c.primary(), true, c)
	}
	for n := 1; n < len(c.encodings); n++ {
		s.again(i, text, c.encodings[n], false, c)
	}
	if c.unknown {
		if enc := guessEncoding(text); enc != transfer.Identity {
			s.again(i, text, enc, false, c)
		}
	}
}

// isTextType reports whether clients show content of type t as text. Of the
// types below message, those that hold a whole message are opened instead.
func isTextType(t string) bool {
	return strings.HasPrefix(t, "text/") || strings.HasPrefix(t, "message/") || t == "application/xhtml+xml"
}

// mayReadAgain reports whether so many bytes of part i may be read in one more
// way; the number of ways is bounded for the whole message.
func (s *state) mayReadAgain(i, size int) bool {
	if s.readings > 0 && s.readingLeft >= int64(size) && len(s.parts) < s.limits.Parts {
		return true
	}
	s.defect(DefectReadingLimit, s.parts[i].Path, "")
	return false
}

// again reads part i, or more or less of it, in another way, as a part of its own.
func (s *state) again(i int, text []byte, enc transfer.Encoding, stop bool, c *content) {
	if !s.mayReadAgain(i, len(text)) {
		s.rawScan(text)
		return
	}
	s.readings--
	s.readingLeft -= int64(len(text))
	p := s.parts[i]
	s.parts[i].alternates++
	p.Path += "~" + strconv.Itoa(s.parts[i].alternates+1)
	p.Type, p.Text = c.kind, isTextType(c.kind)
	p.Alternate, p.Container, p.alternates, p.start, p.end = true, false, 0, 0, 0
	flaws := s.decode(s.add(p), text, enc, stop, c)
	if flaws&transfer.FlawConcatenated != 0 && !stop {
		s.again(i, text, enc, true, c)
	}
}

// decode reads part i from its encoded text.
func (s *state) decode(i int, text []byte, enc transfer.Encoding, stop bool, c *content) transfer.Flaw {
	d := &transfer.Decoder{StopAtPadding: stop}
	d.Reset(enc, text)
	f := flow{source: d, size: len(text)}
	if enc == transfer.Identity {
		f.whole = text
	}
	s.read(i, f, c, true)
	if d.Flaws()&transfer.FlawAlphabet != 0 { // who cannot decode it may show it as it is
		s.rawScan(text)
	}
	return d.Flaws()
}

// read gives part i the digests of its content, and then looks into that where
// there is something to look for. What is only digested is not kept.
func (s *state) read(i int, f flow, c *content, wantPrint bool) {
	first := f.Next(s.block[:])
	p := &s.parts[i]
	p.Detected = detect(first, p.Text)
	v := viewOf(p, first, c)
	if s.linkless {
		v.html, v.plain, v.folded = false, false, false
	}
	var keep *keeper
	if v.any() && f.whole == nil {
		keep = s.keeper(f.size)
		defer keep.close()
	}
	s.digest.reset(wantPrint, s.linkless || s.lean && !p.File())
	for block := first; block != nil; block = f.Next(s.block[:]) {
		s.digest.write(block)
		if keep != nil {
			keep.write(block)
		}
	}
	s.digest.sum(p)
	content := f.whole
	if keep != nil {
		var ok bool
		if content, ok = keep.bytes(); !ok {
			return
		}
	}
	if v.any() && len(content) > 0 {
		s.look(i, content, v, c)
	}
}

// transferDefects reports how encoded content was broken.
func (s *state) transferDefects(flaws transfer.Flaw, enc transfer.Encoding, path string) {
	if flaws == 0 {
		return
	}
	if enc == transfer.UUEncode {
		s.defect(DefectUUEncode, path, "")
		return
	}
	for _, f := range [...]struct {
		flaw transfer.Flaw
		name string
	}{
		{transfer.FlawAlphabet, DefectBase64Alphabet}, {transfer.FlawConcatenated, DefectBase64Joined},
		{transfer.FlawTruncated, DefectBase64Truncated}, {transfer.FlawEscape, DefectQuotedPrintable},
	} {
		if flaws&f.flaw != 0 {
			s.defect(f.name, path, "")
		}
	}
}

// guessEncoding tells how content looks encoded whose encoding nobody knows.
func guessEncoding(text []byte) transfer.Encoding {
	head := text[:min(len(text), 4096)]
	start, end, _ := findBase64(head, 0)
	switch {
	case end-start >= max(len(head)/2, minBase64Run):
		return transfer.Base64
	case looksQuoted(head):
		return transfer.QuotedPrintable
	}
	if _, ok := transfer.FindUU(head, 0); ok {
		return transfer.UUEncode
	}
	return transfer.Identity
}
