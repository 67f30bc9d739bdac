package links

import "bytes"

// content reads what follows the start tag of an element that holds text where
// others hold markup, and gives where to go on. Text that readers see is read
// as markup as well: a client that drops the tag shows the rest.
func (h *htmlScanner) content(element []byte, i int, r *region) int {
	var endTag string
	switch string(element) {
	case "style":
		endTag = "</style"
	case "script":
		endTag = "</script"
	case "title":
		endTag = "</title"
	case "textarea":
		endTag = "</textarea"
	case "xmp":
		endTag = "</xmp"
	case "iframe":
		endTag = "</iframe"
	case "noembed":
		endTag = "</noembed"
	case "noframes":
		endTag = "</noframes"
	case "noscript":
		endTag = "</noscript"
	default:
		return i
	}
	known := len(r.missing)
	end := h.endTagAt(endTag, i, r)
	if end >= 0 && endTag == "</script" {
		end = h.scriptEnd(i, end, r)
	}
	next := end
	if end < 0 {
		// Not closed, the element reaches to the end. What follows is read as
		// markup as well, and as style or script once.
		if known == len(r.missing) {
			return i
		}
		end, next = r.end, i
	}
	markup := next > i
	switch {
	case endTag == "</style":
		// Within SVG, style is an element like others, and holds references and tags.
		if !h.baseOnly {
			h.css(h.text[i:end])
			if bytes.IndexByte(h.text[i:end], '&') >= 0 {
				h.css(h.decode(h.text[i:end]))
			}
		}
		markup = markup && holdsTag(h.text[i:end])
	case endTag == "</script":
		if !h.baseOnly {
			h.script(h.text[i:end])
		}
		markup = false
	case r.depth == maxDepth:
		return i
	}
	if markup && r.depth < maxDepth {
		h.region(i, end, r.depth+1)
	}
	return next
}

// holdsTag reports whether a start tag is in text.
func holdsTag(text []byte) bool {
	for {
		lt := bytes.IndexByte(text, '<')
		if lt < 0 || lt+1 == len(text) {
			return false
		}
		if text = text[lt+1:]; isLetter(text[0]) {
			return true
		}
	}
}

// endTagAt gives where the end tag, "</name", begins, or -1.
func (h *htmlScanner) endTagAt(endTag string, i int, r *region) int {
	for _, m := range r.missing {
		if m == endTag {
			return -1
		}
	}
	for at := i; ; at += 2 {
		n := bytes.Index(h.text[at:r.end], []byte("</"))
		if n < 0 {
			break
		}
		at += n
		if h.tagAt(endTag, at, r) {
			h.work += at - i
			return at
		}
	}
	h.work += r.end - i
	r.missing = append(r.missing, endTag)
	return -1
}

// tagAt reports whether the given tag begins at i.
func (h *htmlScanner) tagAt(tag string, i int, r *region) bool {
	end := i + len(tag)
	return end <= r.end && bytes.EqualFold(h.text[i:end], []byte(tag)) &&
		(end == r.end || isSpace(h.text[end]) || h.text[end] == '/' || h.text[end] == '>')
}

// scriptEnd gives the end of a script that begins at i, of which first is the
// first end tag. Within <!-- that tag can belong to a <script> in the script
// (HTML standard, "script data double escaped state").
func (h *htmlScanner) scriptEnd(i, first int, r *region) int {
	const unbalanced = "<script" // with all that stands between
	if !bytes.Contains(h.text[i:first], []byte("<!--")) {
		return first
	}
	for _, m := range r.missing {
		if m == unbalanced {
			return first
		}
	}
	escaped, double := false, false
	for at := i; at < r.end; at++ {
		h.work++
		switch h.text[at] {
		case '-':
			if bytes.HasPrefix(h.text[at:r.end], []byte("-->")) {
				escaped, double = false, false
			}
		case '<':
			switch {
			case !escaped && bytes.HasPrefix(h.text[at:r.end], []byte("<!--")):
				escaped = true
			case h.tagAt("</script", at, r):
				if !double {
					return at
				}
				double = false
			case escaped && h.tagAt("<script", at, r):
				double = true
			}
		}
	}
	r.missing = append(r.missing, unbalanced)
	return first
}
