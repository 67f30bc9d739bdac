package links

import (
	"bytes"
	"slices"
	"strings"

	"github.com/weirmail/weir/intel"
)

const (
	maxDepth   = 3       // of regions within regions: a style sheet in a title in a comment
	maxText    = 256     // of what is shown in place of a link
	maxVisible = 1 << 16 // of visible text that is gathered before it is searched, about
)

// htmlScanner reads one document in the spirit of the HTML standard's
// tokenizer, with one difference: what the standard hides from view (comments,
// the text of title, textarea and the like) is read as HTML too, since not all
// clients agree on what is hidden. It stays within its bounds: markup in a
// comment cannot swallow what follows the comment.
type htmlScanner struct {
	*finder
	text   []byte
	within string // Where for all of this document, or of this part of it; empty: each link its own
	hidden bool   // in a comment

	baseOnly bool     // only look for <base>
	ownBases []string // canonical, those from around it first; nil until they were looked for

	visible []byte // text of the paragraph so far, decoded
	decoded []byte // room for an attribute's value
	links   []resolved
	anchor  anchor
}

// region is a part of the document that markup cannot leave. It remembers which
// searches to its end failed, so that none is made twice.
type region struct {
	end     int
	depth   int
	missing []string
}

func (f *finder) html(text []byte, within string) {
	h := htmlScanner{finder: f, text: text, within: within, visible: make([]byte, 0, min(len(text), 2048))}
	h.region(0, len(text), 0)
	h.closeAnchor()
	h.paragraph()
}

// place gives the Where of a link that would have the given one in the open.
func (h *htmlScanner) place(where string) string {
	if h.within != "" {
		return h.within
	}
	return where
}

// region reads the markup from start to end.
func (h *htmlScanner) region(start, end, depth int) {
	r := region{end: end, depth: depth}
	for i := start; i < end && !h.stopped; {
		lt := bytes.IndexByte(h.text[i:end], '<')
		if lt < 0 {
			lt = end - i
		}
		h.shown(h.text[i : i+lt])
		if i += lt; i < end {
			next := h.markup(i, &r)
			h.work += next - i
			i = next
		}
	}
}

// markup reads what begins with the < at i and gives where it ends.
func (h *htmlScanner) markup(i int, r *region) int {
	if i+1 < r.end {
		switch c := h.text[i+1]; {
		case isLetter(c):
			return h.startTag(i, r)
		case c == '/' && i+2 < r.end && isLetter(h.text[i+2]):
			return h.endTag(i, r)
		case c == '!' && bytes.HasPrefix(h.text[i:r.end], []byte("<!--")):
			return h.comment(i, r)
		case c == '/' || c == '!' || c == '?':
			return h.bogusComment(i, r)
		}
	}
	h.shown(h.text[i : i+1])
	return i + 1
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' && c != '\v' }

// find gives where what stands next after i, or -1.
func (h *htmlScanner) find(what string, i int, r *region) int {
	for _, m := range r.missing {
		if m == what {
			return -1
		}
	}
	var at int
	if len(what) == 1 { // as nearly always
		at = bytes.IndexByte(h.text[i:r.end], what[0])
	} else {
		at = bytes.Index(h.text[i:r.end], []byte(what))
	}
	if at < 0 {
		h.work += r.end - i
		r.missing = append(r.missing, what)
		return -1
	}
	h.work += at
	return i + at
}

// comment reads the comment that begins at i.
func (h *htmlScanner) comment(i int, r *region) int {
	start := i + len("<!--")
	if rest := h.text[start:r.end]; bytes.HasPrefix(rest, []byte(">")) || bytes.HasPrefix(rest, []byte("->")) {
		return start + 1 // an empty one
	}
	end, next := h.commentEnd(start, r)
	if end < 0 || r.depth == maxDepth {
		// Not closed, it reaches to the end for some clients and is none for others.
		return start
	}
	if bytes.HasPrefix(bytes.TrimLeft(h.text[start:min(end, start+16)], " "), []byte("[if ")) { // a conditional comment, which Outlook shows
		if condition := bytes.IndexByte(h.text[start:end], '>'); condition >= 0 {
			start += condition + 1
		}
		h.region(start, end, r.depth+1)
		return next
	}
	within, hidden := h.within, h.hidden
	h.within, h.hidden = h.place("comment"), true
	h.region(start, end, r.depth+1)
	h.within, h.hidden = within, hidden
	return next
}

// commentEnd gives the end of a comment's text, and of the comment.
func (h *htmlScanner) commentEnd(i int, r *region) (end, next int) {
	end = h.find("-->", i, r)
	if end < 0 {
		end = h.find("--!>", i, r)
		return end, end + len("--!>")
	}
	if bang := bytes.Index(h.text[i:end], []byte("--!>")); bang >= 0 {
		return i + bang, i + bang + len("--!>")
	}
	return end, end + len("-->")
}

// bogusComment reads a declaration, a processing instruction, CDATA or an end
// tag without a name: for browsers a comment up to the next >.
func (h *htmlScanner) bogusComment(i int, r *region) int {
	end := h.find(">", i, r)
	if end < 0 {
		h.shown(h.text[i : i+1])
		return i + 1
	}
	// A document type and an XML declaration name schemas, which nobody opens; the
	// one may define entities that stand for links, other instructions name style sheets.
	content := h.text[i+1 : end]
	switch {
	case bytes.EqualFold(content[:min(len(content), 8)], []byte("!doctype")):
		_, content, _ = bytes.Cut(content, []byte("["))
	case bytes.HasPrefix(content, []byte("?xml")) && !bytes.HasPrefix(content, []byte("?xml-")):
		content = nil
	}
	if !h.baseOnly {
		h.words(content, h.place("comment"), schemeOnly)
	}
	return end + 1
}

// shown takes in text that the reader sees, or would see were it not hidden.
func (h *htmlScanner) shown(text []byte) {
	switch {
	case h.baseOnly:
		return
	case h.hidden:
		h.words(text, h.within, schemeOnly)
		return
	}
	for len(text) > 0 {
		piece := text
		if len(piece) > maxVisible {
			if space := bytes.IndexAny(piece[maxVisible:], " \n"); space >= 0 {
				piece = piece[:maxVisible+space+1]
			}
		}
		text = text[len(piece):]
		before := len(h.visible)
		h.visible = appendDecoded(h.visible, piece, false)
		h.work += len(piece)
		if h.anchor.open {
			h.anchor.show(h.visible[before:])
		}
		if n := len(h.visible); n >= maxVisible && isSpace(h.visible[n-1]) {
			h.paragraph()
		}
	}
}

// paragraph reports the links in the text gathered so far. Tags that only
// change its looks do not end a paragraph: a link can go on beyond them.
func (h *htmlScanner) paragraph() {
	if len(h.visible) > 0 {
		h.words(h.visible, h.place("text"), allLinks)
		h.visible = h.visible[:0]
	}
}

// baseList gives the bases of the document, wherever in it they stand.
func (h *htmlScanner) baseList() []string {
	if h.ownBases == nil {
		scan := htmlScanner{finder: &finder{}, text: h.text, baseOnly: true, ownBases: append([]string{}, h.bases...)}
		scan.region(0, len(scan.text), 0)
		h.ownBases = scan.ownBases
		h.work += scan.work
	}
	return h.ownBases
}

// addBase takes in the href of a <base>.
func (h *htmlScanner) addBase(href []byte) {
	if base, ok := baseOf(href); ok && len(h.ownBases) < maxBases && !slices.Contains(h.ownBases, base) {
		h.ownBases = append(h.ownBases, base)
	}
}

// baseOf gives the canonical form of a base, without the end of a long one; false
// if it is no absolute link.
func baseOf(href []byte) (string, bool) {
	text := string(cleanReference(href))
	if strings.HasPrefix(text, "//") {
		text = "https:" + text
	}
	v, err := intel.URL(text)
	base := v.String()
	if len(base) > maxBase {
		base = base[:strings.LastIndexByte(base[:maxBase], '/')+1]
	}
	return base, err == nil && strings.Contains(text, ":")
}
