package links

import (
	"bytes"
	"strings"
)

// startTag reads the start tag that begins at i, and for elements that hold
// text of their own the element.
func (h *htmlScanner) startTag(i int, r *region) int {
	var room [32]byte
	name := h.nameEnd(i+1, r)
	element := appendLower(room[:0], h.text[i+1:name])
	h.boundary(element)
	next, odd := h.attributes(name, element, r)
	h.brokenTag(i, name, next, odd)
	return h.content(element, next, r)
}

// endTag reads the end tag that begins at i.
func (h *htmlScanner) endTag(i int, r *region) int {
	var room [32]byte
	name := h.nameEnd(i+2, r)
	h.boundary(appendLower(room[:0], h.text[i+2:name]))
	next, odd := h.attributes(name, nil, r)
	h.brokenTag(i, name, next, odd)
	return next
}

// boundary ends what a start or end tag of the element ends: a paragraph, a link.
func (h *htmlScanner) boundary(element []byte) {
	switch {
	case h.baseOnly || h.hidden:
	case string(element) == "a":
		h.closeAnchor()
	case !isInline(element):
		h.paragraph()
	}
}

// brokenTag reads a tag as plain text if its quotes are odd, or its name is,
// which ends at name: clients differ in what they make of it.
func (h *htmlScanner) brokenTag(i, name, next int, odd bool) {
	if !odd {
		for _, c := range h.text[i+2 : name] {
			odd = odd || byteClass[c]&isHost == 0 && c != ':' && c != '.'
		}
	}
	if odd && !h.baseOnly {
		h.words(h.decode(h.text[i:next]), h.place("tag"), schemeOnly)
	}
}

func (h *htmlScanner) nameEnd(i int, r *region) int {
	text := h.text[:r.end]
	for i < len(text) && byteClass[text[i]]&isBreak == 0 {
		i++
	}
	return i
}

// isInline reports that an element does not separate the text before it from
// the text after it.
func isInline(element []byte) bool {
	switch string(element) {
	case "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "em", "font", "i", "ins", "kbd", "mark", "o:p",
		"label", "nobr", "q", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var", "wbr":
		return true
	}
	return false
}

// attributes reads the attributes from i to the end of the tag. odd says that
// the tag's quotes look broken, so that where it ends is a matter of taste.
// Without an element they are only passed over.
func (h *htmlScanner) attributes(i int, element []byte, r *region) (next int, odd bool) {
	text := h.text[:r.end]
	for i < len(text) {
		class := byteClass[text[i]]
		if class&isBreak != 0 {
			i++
			if text[i-1] == '>' {
				return i, odd
			}
			continue
		}
		start := i
		i++ // even a = begins a name
		for i < len(text) && byteClass[text[i]]&isBreak == 0 && text[i] != '=' {
			class |= byteClass[text[i]]
			i++
		}
		name := text[start:i]
		odd = odd || class&isOdd != 0
		i = h.skipSpace(i, r)
		if i == r.end || h.text[i] != '=' {
			continue
		}
		i = h.skipSpace(i+1, r)
		var value []byte
		var broken bool
		value, i, broken = h.value(i, r)
		odd = odd || broken
		if element != nil {
			h.attribute(element, name, value)
		}
	}
	return r.end, true
}

func (h *htmlScanner) skipSpace(i int, r *region) int {
	for i < r.end && isSpace(h.text[i]) {
		i++
	}
	return i
}

// value reads the attribute's value that begins at i, and gives where it ends.
// A quote that is not closed is taken as if it were not there.
func (h *htmlScanner) value(i int, r *region) (value []byte, next int, odd bool) {
	if i < r.end && (h.text[i] == '"' || h.text[i] == '\'') {
		quote := `"`
		if h.text[i] == '\'' {
			quote = "'"
		}
		i++
		if end := h.find(quote, i, r); end >= 0 {
			value = h.text[i:end]
			return value, end + 1, bytes.IndexByte(value, '<') >= 0
		}
		odd = true
	}
	start := i
	for i < r.end && !isSpace(h.text[i]) && h.text[i] != '>' {
		odd = odd || strings.IndexByte("\"'`<", h.text[i]) >= 0
		i++
	}
	return h.text[start:i], i, odd
}

// decode gives an attribute's value with its character references decoded. It
// is valid until the next call.
func (h *htmlScanner) decode(value []byte) []byte {
	if bytes.IndexByte(value, '&') < 0 {
		return value
	}
	h.work += len(value)
	h.decoded = appendDecoded(h.decoded[:0], value, true)
	return h.decoded
}

// attribute reports the links in one attribute.
func (h *htmlScanner) attribute(element, name, value []byte) {
	var room [16]byte
	written := name
	name = appendLower(room[:0], name)
	switch {
	case len(name) > 2 && name[0] == 'o' && name[1] == 'n' && !h.baseOnly:
		h.script(h.decode(value))
		return
	case len(written) > 5 && bytes.EqualFold(written[len(written)-5:], []byte(":href")) && string(name) != "o:href":
		name = append(name[:0], "xlink:href"...) // XML calls the prefix as it likes
	case len(written) > len(room):
		return
	}
	isBase := string(element) == "base" && string(name) == "href"
	if h.baseOnly {
		if isBase && !h.hidden {
			h.addBase(h.decode(value))
		}
		return
	}
	switch string(name) {
	case "href":
		if string(element) == "a" && !h.hidden && !h.anchor.open {
			h.openAnchor(h.decode(value))
			return
		}
		h.reference(h.decode(value), whereOf(element, "href"))
	case "src":
		h.reference(h.decode(value), whereOf(element, "src"))
	case "action":
		h.reference(h.decode(value), whereOf(element, "action"))
	case "formaction":
		h.reference(h.decode(value), whereOf(element, "formaction"))
	case "background":
		h.reference(h.decode(value), whereOf(element, "background"))
	case "poster":
		h.reference(h.decode(value), whereOf(element, "poster"))
	case "data":
		h.reference(h.decode(value), whereOf(element, "data"))
	case "cite":
		h.reference(h.decode(value), whereOf(element, "cite"))
	case "longdesc":
		h.reference(h.decode(value), whereOf(element, "longdesc"))
	case "lowsrc":
		h.reference(h.decode(value), whereOf(element, "lowsrc"))
	case "dynsrc":
		h.reference(h.decode(value), whereOf(element, "dynsrc"))
	case "xlink:href":
		h.reference(h.decode(value), whereOf(element, "xlink:href"))
	case "originalsrc": // what Outlook keeps of a link that Safe Links rewrote
		h.reference(h.decode(value), whereOf(element, "originalsrc"))
	case "ping":
		for _, target := range bytes.Fields(h.decode(value)) {
			h.reference(target, whereOf(element, "ping"))
		}
	case "srcset":
		h.sourceSet(h.decode(value), whereOf(element, "srcset"))
	case "imagesrcset":
		h.sourceSet(h.decode(value), whereOf(element, "imagesrcset"))
	case "o:href":
		h.reference(h.decode(value), whereOf(element, "o:href"))
	case "style", "fill", "stroke", "filter", "mask", "clip-path", "cursor": // the last ones are SVG's
		h.css(h.decode(value))
	case "values", "to", "from", "by": // what SVG's animations set an href to
		for target := range bytes.SplitSeq(h.decode(value), []byte(";")) {
			h.absolute(target, whereOf(element, string(name)))
		}
	case "value":
		if string(element) == "param" {
			h.absolute(h.decode(value), "param@value")
		}
	case "target": // what an Office document links to, or loads when it is opened
		if bytes.HasSuffix(element, []byte("relationship")) {
			if target := h.decode(value); bytes.ContainsAny(target, `:\`) {
				h.reference(target, "relationship@target")
			}
		}
	case "codebase":
		h.absolute(h.decode(value), whereOf(element, "codebase"))
	case "srcdoc":
		h.document(bytes.Clone(h.decode(value)), h.place("iframe@srcdoc")+"/data")
	case "content":
		if string(element) == "meta" {
			h.reference(refreshTarget(h.decode(value)), "meta@content")
		}
	case "alt":
		if h.anchor.open && h.anchor.alt == "" && !h.hidden {
			alt := anchor{}
			alt.show(h.decode(value))
			h.anchor.alt = string(bytes.TrimRight(alt.text, " "))
		}
	}
}

// absolute is reference for attributes that hold other things as well.
func (h *htmlScanner) absolute(value []byte, where string) {
	if hasScheme(value) {
		h.reference(value, where)
	}
}

// sourceSet reports the links of a srcset (HTML standard, "parse a srcset
// attribute").
func (h *htmlScanner) sourceSet(text []byte, where string) {
	for {
		text = bytes.TrimLeft(text, " \t\r\n\f,")
		end := bytes.IndexAny(text, " \t\r\n\f")
		if end < 0 {
			end = len(text)
		}
		if end == 0 {
			return
		}
		source := bytes.TrimRight(text[:end], ",")
		closed := len(source) < end // a comma ended it, so that no descriptor follows
		h.reference(source, where)
		text = text[end:]
		if !closed {
			_, text, _ = bytes.Cut(text, []byte(","))
		}
	}
}

// refreshTarget gives the link in the content of a <meta>: that of a refresh
// (HTML standard, "shared declarative refresh steps"), or the whole if it is a
// link. It does not look whether http-equiv says refresh: nothing else begins
// with a number of seconds.
func refreshTarget(content []byte) []byte {
	content = bytes.TrimSpace(content)
	rest := bytes.TrimLeft(content, "0123456789.")
	rest = bytes.TrimLeft(rest, " \t\r\n\f")
	if len(rest) == 0 || rest[0] != ';' && rest[0] != ',' {
		if len(rest) < len(content) || hasScheme(content) {
			return rest
		}
		return nil
	}
	rest = bytes.TrimLeft(rest, ";, \t\r\n\f")
	if len(rest) > 3 && bytes.EqualFold(rest[:3], []byte("url")) {
		if after := bytes.TrimLeft(rest[3:], " \t\r\n\f"); len(after) > 0 && after[0] == '=' {
			rest = bytes.TrimLeft(after[1:], " \t\r\n\f")
		}
	}
	if len(rest) > 0 && (rest[0] == '"' || rest[0] == '\'') {
		rest, _, _ = bytes.Cut(rest[1:], rest[:1])
	}
	return rest
}

// whereOf names an attribute as Found.Where does.
func whereOf(element []byte, attribute string) string {
	switch attribute {
	case "href":
		switch string(element) {
		case "a":
			return "a@href"
		case "area":
			return "area@href"
		case "link":
			return "link@href"
		case "base":
			return "base@href"
		}
	case "src":
		if string(element) == "img" {
			return "img@src"
		}
	case "background":
		switch string(element) {
		case "body":
			return "body@background"
		case "table":
			return "table@background"
		case "td":
			return "td@background"
		}
	}
	where := make([]byte, 0, len(element)+1+len(attribute))
	for _, c := range element {
		if !isAlnum(c) && c != ':' && c != '-' {
			c = '_' // it goes into logs
		}
		where = append(where, c)
	}
	return string(append(append(where, '@'), attribute...))
}
