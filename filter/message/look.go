package message

import (
	"bytes"
	"slices"
	"strings"

	"github.com/weirmail/weir/filter/message/archive"
	"github.com/weirmail/weir/filter/message/charset"
	"github.com/weirmail/weir/filter/message/transfer"
)

// view says what there is to look for in a part's content.
type view struct {
	html, plain bool // links
	folded      bool // lines of a calendar or a card, which are folded and escaped
	uu          bool // uuencoded files
	message     bool
	archive     archive.Kind
	zip         bool // one behind something else
}

func (v *view) any() bool { return *v != view{} }

// viewOf decides what to look for, by the declared types, the name and the
// first bytes. Links are looked for in text of every kind, and in markup
// whatever it is called, since who opens it sees a page. In archives, where
// whole trees of documentation may lie, only markup, shortcuts and RTF are searched.
func viewOf(p *Part, head []byte, c *content) view {
	types := c.types
	if len(types) == 0 {
		types = []string{c.kind}
	}
	v := view{
		html: isMarkup(p.Detected) || p.hasExtension(isMarkupExtension) || slices.ContainsFunc(types, isMarkup),
		message: p.hasExtension(isMessageExtension) ||
			p.Detected == typeMessage && (!p.Text || isMessageType(c.kind) || c.kind == typePartial),
		folded:  isFolded(c.kind) || isFolded(p.Detected),
		uu:      p.Text && c.kind == typePlain && !p.Alternate,
		archive: archive.Sniff(head),
	}
	inClear := p.hasExtension(isPlainExtension)
	if p.Archived {
		v.plain = inClear
	} else {
		shown := p.Text && slices.ContainsFunc(types, func(t string) bool { return !isMarkup(t) })
		v.plain = shown || !v.html && isTextType(p.Detected) || inClear || v.folded
	}
	// Programs open a zip by its name and from its end, whatever stands before it,
	// be it another archive.
	v.zip = v.archive != archive.Zip && (strings.Contains(c.kind, "zip") || p.hasExtension(isZipExtension))
	return v
}

// hasExtension reports whether any of the names of p has an extension that is
// such a one.
func (p *Part) hasExtension(is func(string) bool) bool {
	return is(extension(p.Name)) || slices.ContainsFunc(p.OtherNames, func(name string) bool { return is(extension(name)) })
}

func isMarkup(t string) bool {
	switch t {
	case typeHTML, "text/xml", "application/xml", "text/enriched", "text/x-amp-html":
		return true
	}
	return strings.HasSuffix(t, "+xml") // SVG and XHTML among them
}

// isFolded reports whether content of type t has lines as RFC 5545 section 3.1
// and RFC 6350 section 3.2 fold them.
func isFolded(t string) bool {
	switch t {
	case "text/calendar", "text/vcard", "text/x-vcard", "text/x-vcalendar", "application/ics":
		return true
	}
	return false
}

func isMarkupExtension(ext string) bool {
	switch ext {
	case "htm", "html", "xhtml", "shtml", "xht", "svg", "hta", "xml", "xsl", "xslt", "rels": // the last one is Office's
		return true
	}
	return false
}

func isMessageExtension(ext string) bool { return ext == "eml" || ext == "mht" || ext == "mhtml" }

// isPlainExtension reports whether links stand in the clear in files with this
// extension that are no text: shortcuts, and documents in RTF.
func isPlainExtension(ext string) bool {
	switch ext {
	case "url", "webloc", "website", "desktop", "lnk", "rtf":
		return true
	}
	return false
}

func isZipExtension(ext string) bool { return ext == "zip" || ext == "jar" || isOfficeExtension(ext) }

// look looks into the content of part i.
func (s *state) look(i int, content []byte, v view, c *content) {
	path := s.parts[i].Path
	if v.html || v.plain {
		s.lookForLinks(content, v, c, path)
	}
	if v.uu {
		s.uuencoded(i, content)
	}
	if v.archive != archive.None {
		s.archive(i, v.archive, content)
	}
	if v.zip {
		s.archive(i, archive.Zip, content)
	}
	if v.message && !s.parts[i].Container {
		s.messageFile(i, content)
	}
}

// messageFile opens a message that is attached as a file: reporting buttons of
// mail clients send them so, and who opens one sees a message. It stays a leaf
// for the fingerprint, since mail stores keep its bytes.
func (s *state) messageFile(i int, content []byte) {
	path, depth := s.parts[i].Path, s.parts[i].Depth
	if depth >= s.limits.Depth {
		s.defect(DefectDepthLimit, path, "")
	}
	if depth >= s.limits.Depth || !s.mayOpen(i, len(content)) {
		s.rawScan(content)
		return
	}
	s.parts[i].Container = true
	r := reader{state: s, b: content}
	r.entity(0, nest{parent: i, depth: depth + 1, base: path})
}

// uuencoded gives the files that stand uuencoded in a text as parts.
func (s *state) uuencoded(i int, text []byte) {
	path, depth := s.parts[i].Path, s.parts[i].Depth
	for n, from := 1, 0; ; n++ {
		block, ok := transfer.FindUU(text, from)
		if !ok || s.full() {
			return
		}
		from = block.End
		name, flaw := cleanName(decodeWordsOnly(block.Name))
		child := fileNumber(path, n, false)
		s.nameDefects(flaw, child, []string{name})
		p := Part{Path: child, Type: typeBinary, Name: name, Encoding: "x-uuencode", Parent: i, Depth: depth + 1, Archived: true}
		j := s.add(p)
		d := &transfer.Decoder{}
		d.Reset(transfer.UUEncode, text[block.Start:block.End])
		s.read(j, flow{source: d, size: block.End - block.Start}, &content{kind: typeBinary}, false)
		s.transferDefects(d.Flaws(), transfer.UUEncode, child)
	}
}

// lookForLinks looks for links in the text of a part, in each charset that it
// may have.
func (s *state) lookForLinks(raw []byte, v view, c *content, path string) {
	raw = raw[:min(int64(len(raw)), s.textLeft+1)] // one byte more, for the defect
	labels := c.charsets
	if len(labels) == 0 {
		labels = []string{""}
		if bytes.IndexByte(raw, 0x1b) >= 0 { // browsers tell this one by its escapes
			labels = append(labels, "iso-2022-jp")
		}
	}
	if v.html {
		if label := metaCharset(raw); charset.Opaque(label) {
			labels = append(slices.Clip(labels), label)
		}
	}
	opaque := charset.Marked(raw)
	for _, label := range labels {
		text, flaw := charset.ToUTF8(label, raw)
		if flaw&charset.FlawUnknown != 0 {
			s.defect(DefectCharsetUnknown, path, excerpt(label))
		}
		if flaw&charset.FlawInvalid != 0 {
			s.defect(DefectCharsetInvalid, path, excerpt(label))
		}
		opaque = opaque || charset.Opaque(label)
		s.textLinks(text, v, c, path)
	}
	if opaque { // to some reader it may be what the bytes seem to say
		s.textLinks(raw, v, c, path)
	}
	if bytes.IndexByte(raw, 0) >= 0 { // some clients leave NUL out
		s.textLinks(bytes.ReplaceAll(raw, []byte{0}, nil), v, c, path)
	}
}

// textLinks looks for links in text of known charset.
func (s *state) textLinks(text []byte, v view, c *content, path string) {
	text = s.within(&s.textLeft, text, path)
	if v.html {
		s.pageLinks(text, c, path)
	}
	if !v.plain {
		return
	}
	s.linksIn(text, false, path, false)
	switch {
	case v.folded:
		text = unescapeText(unfoldLines(text))
		s.linksIn(text, false, path, false)
		if bytes.IndexByte(text, '<') >= 0 { // X-ALT-DESC holds a page
			s.linksIn(text, true, path, false)
		}
	case c.delSp:
		s.linksIn(joinFlowed(text), false, path, false)
	}
}

// unfoldLines undoes the folds of calendars and cards (RFC 5545 section 3.1),
// which fall anywhere, inside a link too.
func unfoldLines(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for {
		i := bytes.IndexByte(text, '\n')
		if i < 0 || i+1 == len(text) {
			return append(out, text...)
		}
		if next := text[i+1]; next == ' ' || next == '\t' {
			out = append(out, bytes.TrimSuffix(text[:i], []byte("\r"))...)
			text = text[i+2:]
			continue
		}
		out = append(out, text[:i+1]...)
		text = text[i+1:]
	}
}

// unescapeText undoes the escapes of calendars and cards (RFC 5545 section
// 3.3.11) that can stand beside a link.
func unescapeText(text []byte) []byte {
	return []byte(strings.NewReplacer(`\n`, "\n", `\N`, "\n", `\,`, ",", `\;`, ";", `\\`, `\`).Replace(string(text)))
}

// metaCharset gives the charset that a page says it has near its beginning,
// where browsers look for it; empty where it says none.
func metaCharset(page []byte) string {
	const name = "charset"
	for head := page[:min(len(page), 4096)]; ; {
		i := bytes.IndexByte(head, '=')
		if i < 0 {
			return ""
		}
		end := i
		for end > 0 && isWhite(head[end-1]) {
			end--
		}
		if end >= len(name) && hasPrefixFold(head[end-len(name):end], name) {
			after := bytes.TrimLeft(head[i+1:], " \t\r\n\"'")
			if end := bytes.IndexAny(after, " \t\r\n\"';>/"); end >= 0 {
				return string(after[:end])
			}
		}
		head = head[i+1:]
	}
}

// joinFlowed joins the lines of format=flowed text with delsp=yes (RFC 3676
// section 4.1), where a space that ends a line stands for nothing.
func joinFlowed(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			return append(out, text...)
		}
		line := bytes.TrimSuffix(text[:i], []byte("\r"))
		if flowed, ok := bytes.CutSuffix(line, []byte(" ")); ok {
			out = append(out, flowed...)
		} else {
			out = append(out, text[:i+1]...)
		}
		text = text[i+1:]
	}
}

func isWhite(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
