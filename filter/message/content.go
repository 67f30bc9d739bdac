package message

import (
	"slices"
	"strings"

	"github.com/weirmail/weir/filter/message/transfer"
)

// maxBoundary bounds a boundary, in bytes. RFC 2046 section 5.1.1 says 70.
const maxBoundary = 16 << 10

// maxReadings bounds in how many ways one part is read where its fields can be
// understood in several.
const maxReadings = 4

// appendReading appends what a field can be understood as, unless it is there.
// Of too many it keeps the first ones and the last: those are what clients take.
func appendReading(all []string, one string) []string {
	switch {
	case slices.Contains(all, one):
	case len(all) < maxReadings:
		all = append(all, one)
	default:
		all[maxReadings-1] = one
	}
	return all
}

// content is what a part's fields say about its body.
type content struct {
	kind       string   // the type that the body is read as
	types      []string // declared, where there are several that differ; the first first
	multipart  bool
	message    bool
	boundaries []string
	charsets   []string
	encodings  []transfer.Encoding // as declared; more than one where clients may disagree
	encoding   string              // the declared name
	unknown    bool                // the declared encoding is none that is known
	delSp      bool                // text/plain; format=flowed; delsp=yes
	raw        bool                // it holds parts that were not opened
	names      []string
	base       string // what relative links go by (RFC 2557 section 5)
}

// readContent reads the MIME fields of a part's header. They are looked at
// whether or not there is a MIME-Version field, as all clients do. Where a field
// comes twice and clients disagree on which one counts, all are taken.
func (s *state) readContent(h Header, in *nest, p *Part) content {
	var c content
	var typeParams, dispositionParams params
	types, encodings, dispositions := 0, 0, 0
	for i := range h.fields {
		f := h.At(i)
		if len(f.Name) < len("Content-ID") || !strings.EqualFold(f.Name[:8], "Content-") {
			s.fieldLinks(f, in)
			continue
		}
		switch {
		case strings.EqualFold(f.Name, "Content-Type"):
			types++
			typeParams = append(typeParams, s.contentType(&c, f, in)...)
		case strings.EqualFold(f.Name, "Content-Transfer-Encoding"):
			encodings++
			s.transferEncoding(&c, f, in)
		case strings.EqualFold(f.Name, "Content-Disposition"):
			value, ps, malformed := cutParams(f.Unfolded())
			if malformed {
				s.defect(DefectParameters, in.field("Content-Disposition"), "")
			}
			if dispositions++; dispositions == 1 {
				p.Disposition = value
			}
			dispositionParams = append(dispositionParams, ps...)
		case strings.EqualFold(f.Name, "Content-ID") && p.ContentID == "":
			p.ContentID = strings.Trim(f.Unfolded(), "<> \t")
		case strings.EqualFold(f.Name, "Content-Base"), strings.EqualFold(f.Name, "Content-Location") && c.base == "":
			c.base = strings.Trim(f.Unfolded(), `<>" `+"\t")
		}
	}
	if types > 1 && len(c.types) > 1 {
		s.defect(DefectTypeConflict, in.field("Content-Type"), strings.Join(c.types, ", "))
	}
	if encodings > 1 && len(c.encodings) > 1 {
		s.defect(DefectEncodingConflict, in.field("Content-Transfer-Encoding"), c.encoding)
	}
	c.decideType(in.inDigest)
	for _, label := range typeParams.get("charset") {
		c.charsets = appendReading(c.charsets, strings.ToLower(label))
	}
	if c.kind == "message/external-body" {
		s.urlParameter(typeParams, in.field("Content-Type"))
	}
	c.boundaries = s.readBoundaries(&c, typeParams, in)
	c.delSp = slices.Contains(typeParams.get("delsp"), "yes")
	var flaws nameFlaw
	c.names, flaws = fileNames(dispositionParams, typeParams)
	s.nameDefects(flaws, in.place(), c.names)

	p.Type = c.kind
	p.Encoding = c.encoding
	if len(c.charsets) > 0 {
		p.Charset = c.charsets[0]
	}
	if len(c.names) > 0 {
		p.Name = c.names[0]
		p.OtherNames = c.names[1:len(c.names):len(c.names)]
	}
	return c
}

// contentType takes one Content-Type field.
func (s *state) contentType(c *content, f Field, in *nest) params {
	text := f.Unfolded()
	value, ps, malformed := cutParams(text)
	major, minor, _ := strings.Cut(value, "/")
	bad := major == "" || minor == "" || strings.ContainsAny(value, "=?@<>[]")
	if bad {
		s.defect(DefectTypeMalformed, in.field("Content-Type"), excerpt(text))
		value = typePlain
		if major == "multipart" {
			value = "multipart/mixed"
		}
	}
	c.types = appendReading(c.types, value)
	if bad && value == typePlain { // who guesses better than we may see a page
		c.types = appendReading(c.types, typeHTML)
	}
	if malformed {
		if isMarkup(value) { // who gives up on the field sees plain text
			c.types = appendReading(c.types, typePlain)
		}
		s.defect(DefectParameters, in.field("Content-Type"), excerpt(text))
	}
	return ps
}

// decideType says what the body is read as: as what holds most, where there are
// several types, so that nothing in it stays unseen.
func (c *content) decideType(inDigest bool) {
	c.kind = typePlain
	if inDigest { // RFC 2046 section 5.1.5
		c.kind = typeMessage
	}
	if len(c.types) > 0 {
		c.kind = c.types[0]
	}
	for _, t := range c.types {
		if strings.HasPrefix(t, "multipart/") {
			c.kind, c.multipart = t, true
			return
		}
	}
	for _, t := range c.types {
		if isMessageType(t) {
			c.kind = t
			break
		}
	}
	c.message = isMessageType(c.kind)
}

// isMessageType reports whether a whole message is the content of type t (RFC
// 2046 section 5.2.1, RFC 6532 section 3.7, RFC 5537 section 2.3).
func isMessageType(t string) bool {
	return t == typeMessage || t == "message/global" || t == "message/news"
}

// transferEncoding takes one Content-Transfer-Encoding field. Comments and what
// else stands beside a name that is known are passed over, as most clients do.
func (s *state) transferEncoding(c *content, f Field, in *nest) {
	text := f.Unfolded()
	if c.encoding == "" {
		c.encoding = strings.ToLower(excerpt(text))
	}
	found, tidy := 0, true
	for rest := text; rest != ""; {
		n := 0
		for n < len(rest) && (rest[n] == '-' || rest[n]|0x20 >= 'a' && rest[n]|0x20 <= 'z' || rest[n] >= '0' && rest[n] <= '9') {
			n++
		}
		if n == 0 {
			tidy = false
			rest = rest[1:]
			continue
		}
		if enc, ok := transfer.Lookup(rest[:n]); ok {
			if found == 0 {
				c.encoding = strings.ToLower(rest[:n])
			}
			found++
			if !slices.Contains(c.encodings, enc) && len(c.encodings) < maxReadings {
				c.encodings = append(c.encodings, enc)
			}
		} else {
			tidy = false
		}
		rest = rest[n:]
	}
	switch {
	case found == 0:
		c.unknown = true
		s.defect(DefectEncodingUnknown, in.field("Content-Transfer-Encoding"), excerpt(text))
	case found > 1 || !tidy:
		s.defect(DefectEncodingMalformed, in.field("Content-Transfer-Encoding"), excerpt(text))
	}
	// To who knows no such name, the content is not encoded.
	if found > 0 && (!tidy || slices.Contains(c.encodings, transfer.UUEncode)) && !slices.Contains(c.encodings, transfer.Identity) {
		c.encodings = append(c.encodings, transfer.Identity)
	}
}

// primary gives the encoding that the part is read by first.
func (c *content) primary() transfer.Encoding {
	if len(c.encodings) == 0 {
		return transfer.Identity
	}
	return c.encodings[0]
}

// readBoundaries gives every boundary that some client may see in the parameters.
func (s *state) readBoundaries(c *content, ps params, in *nest) []string {
	if !c.multipart {
		return nil
	}
	all := boundariesOf(ps)
	switch {
	case len(all) == 0:
		s.defect(DefectBoundaryMissing, in.field("Content-Type"), "")
	case len(all) > 1:
		s.defect(DefectBoundaryConflict, in.field("Content-Type"), excerpt(strings.Join(all, ", ")))
	case all[0] == "" || len(all[0]) > 70:
		s.defect(DefectBoundaryMalformed, in.field("Content-Type"), excerpt(all[0]))
	}
	return all
}

// boundariesOf gives the boundaries that parameters may mean, the one that most
// clients take first.
func boundariesOf(ps params) []string {
	var all []string
	for _, v := range append(ps.written("boundary"), ps.get("boundary")...) {
		for _, b := range [2]string{v, strings.TrimRight(v, " \t")} {
			if len(b) > maxBoundary {
				b = b[:maxBoundary]
			}
			all = appendReading(all, b)
		}
	}
	return all
}

// nameDefects reports what is wrong with a part's file names.
func (s *state) nameDefects(flaws nameFlaw, place string, names []string) {
	if flaws == 0 {
		return
	}
	detail := excerpt(strings.Join(names, ", "))
	for _, f := range []struct {
		flaw nameFlaw
		name string
	}{
		{nameControl, DefectNameControl}, {nameBidi, DefectNameBidi}, {namePath, DefectNamePath},
		{nameConflict, DefectNameConflict}, {nameLong, DefectNameLong},
	} {
		if flaws&f.flaw != 0 {
			s.defect(f.name, place, detail)
		}
	}
}

// maxExcerpt bounds what a defect shows of the message, in bytes.
const maxExcerpt = 80

// excerpt gives the beginning of text in a form that people can read.
func excerpt(text string) string {
	if len(text) > maxExcerpt {
		text = text[:maxExcerpt] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}
