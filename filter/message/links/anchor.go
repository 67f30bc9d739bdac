package links

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// anchor is the <a> that is open: its links, and what the reader sees in their
// place. Its zero value is ready for use, and it is used again and again.
type anchor struct {
	open  bool
	links []resolved
	text  []byte // white space collapsed, at most maxText bytes
	alt   string // of the first image in it that has one
}

// show takes in text of the anchor.
func (a *anchor) show(text []byte) {
	for len(text) > 0 && len(a.text) < maxText {
		r, size := rune(text[0]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(text)
		}
		piece := text[:size]
		text = text[size:]
		switch {
		case unicode.IsSpace(r):
			if n := len(a.text); n > 0 && a.text[n-1] != ' ' {
				a.text = append(a.text, ' ')
			}
		case r < ' ', r == 0x7f, r >= utf8.RuneSelf && unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d':
			// Not seen, though it would make two texts differ. Joiners shape words.
		case len(a.text)+size > maxText:
			return
		default:
			a.text = append(a.text, piece...)
		}
	}
}

// openAnchor takes in the href of an <a>, in which the text that follows stands.
func (h *htmlScanner) openAnchor(href []byte) {
	h.anchor.links = h.resolve(h.anchor.links[:0], href, "a@href")
	h.anchor.open = len(h.anchor.links) > 0
	if h.anchor.text == nil {
		h.anchor.text = make([]byte, 0, maxText)
	}
	h.anchor.text = h.anchor.text[:0]
	h.anchor.alt = ""
}

// closeAnchor reports the links of the anchor that is open, if one is.
func (h *htmlScanner) closeAnchor() {
	a := &h.anchor
	if !a.open {
		return
	}
	a.open = false
	text := string(bytes.TrimRight(a.text, " "))
	if text == "" {
		text = a.alt
	}
	for _, l := range a.links {
		if text == l.raw {
			text = ""
		}
	}
	for _, l := range a.links {
		h.link(l.raw, l.meant, h.place("a@href"), text)
	}
}
