package links

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/weirmail/weir/intel"
)

const (
	maxBases  = 4   // <base href> that relative links are resolved against
	maxBase   = 512 // bytes of one, since each relative link costs as many
	maxNested = 2   // documents within data: links within documents
)

// resolved is a link as written and as it is meant.
type resolved struct{ raw, meant string }

// reference reports the link in an attribute or a style sheet, character
// references decoded: absolute, relative to a <base>, or within a data: or
// javascript: link.
func (h *htmlScanner) reference(value []byte, where string) {
	h.links = h.resolve(h.links[:0], value, where)
	for _, l := range h.links {
		h.link(l.raw, l.meant, h.place(where), "")
	}
}

// resolve appends the absolute links that value stands for: one as a rule, none
// if it is no link, or one whose content was reported on the way, several if
// there are several bases.
func (h *htmlScanner) resolve(dst []resolved, value []byte, where string) []resolved {
	h.work += len(value)
	text := cleanReference(value)
	if len(text) == 0 || text[0] == '#' {
		return dst
	}
	scheme, rest, ok := bytes.Cut(text, []byte(":"))
	if !ok || !isScheme(scheme) {
		return h.relative(dst, text, where)
	}
	var room [16]byte
	switch string(appendLower(room[:0], scheme)) {
	case "http", "https":
		raw := string(text)
		dst = append(dst, resolved{raw, raw})
		if len(rest) > 0 && (len(rest) < 2 || !isSlash(rest[0]) || !isSlash(rest[1])) {
			// Relative, if the base has this scheme; else only slashes are missing.
			for _, base := range h.baseList() {
				if name, _, _ := strings.Cut(base, ":"); strings.EqualFold(name, string(scheme)) {
					dst = append(dst, resolved{raw, resolveReference(base, string(rest))})
				}
			}
		}
	case "ftp", "file", "smb", "webcal", "webcals":
		raw := string(text)
		dst = append(dst, resolved{raw, raw})
	case "cid", "mid", "mailto", "tel", "sms", "about":
	case "data":
		h.data(rest, where)
	case "javascript", "vbscript":
		h.script([]byte(percentDecoded(string(rest))))
	default:
		if intel.RefangScheme(scheme) != "" {
			raw := string(text)
			return append(dst, resolved{raw, intel.Refang(raw)})
		}
		return h.ofApplication(dst, text, rest, where)
	}
	return dst
}

// ofApplication appends the links in a link with an application's own scheme:
// those that stand in it (ms-word:ofe|u|https://…), a share's name
// (search-ms:…location:\\server\share), or the host (feed://host/…).
func (h *htmlScanner) ofApplication(dst []resolved, text, rest []byte, where string) []resolved {
	plain := percentDecoded(string(rest))
	h.words([]byte(plain), h.place(where), schemeOnly)
	if share := strings.Index(plain, `\\`); share >= 0 {
		raw, _, _ := strings.Cut(plain[share:], "&")
		dst = append(dst, resolved{raw, raw})
	}
	if authority := bytes.TrimLeft(rest, `/`); len(rest)-len(authority) == 2 {
		if meant, ok := bareReference(authority); ok {
			dst = append(dst, resolved{string(text), meant})
		}
	}
	return dst
}

// appendLower appends text in lower case, as far as dst has room.
func appendLower(dst, text []byte) []byte {
	for _, c := range text[:min(len(text), cap(dst))] {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		dst = append(dst, c)
	}
	return dst
}

// cleanReference removes what browsers remove from an attribute that holds a
// link, and NUL, which some clients drop and some take for the end.
func cleanReference(value []byte) []byte {
	value = bytes.TrimFunc(value, func(r rune) bool { return r <= ' ' })
	if !bytes.ContainsAny(value, "\t\r\n\x00") {
		return value
	}
	clean := make([]byte, 0, len(value))
	for _, c := range value {
		if c != '\t' && c != '\r' && c != '\n' && c != 0 {
			clean = append(clean, c)
		}
	}
	return clean
}

// isScheme reports whether what stands before a colon is a scheme, defanged or
// not. One with a dot is a host before its port.
func isScheme(text []byte) bool {
	for _, c := range text[:min(len(text), 64)] {
		if !isAlnum(c) && strings.IndexByte("+-*_", c) < 0 {
			return false
		}
	}
	return len(text) > 0 && len(text) <= 64
}

// relative resolves a reference without a scheme against each base. Those that
// name a host all the same are links to it besides: mail clients mend what
// authors forgot, and not all know bases.
func (h *htmlScanner) relative(dst []resolved, text []byte, where string) []resolved {
	raw := string(text)
	bases := h.baseList()
	for _, base := range bases {
		dst = append(dst, resolved{raw, resolveReference(base, raw)})
	}
	switch {
	case strings.HasPrefix(raw, `\\`): // \\server\share: Outlook opens it, and to browsers it is //
		dst = append(dst, resolved{raw, raw})
		if len(bases) == 0 {
			dst = append(dst, resolved{raw, "https:" + raw})
		}
	case len(raw) > 2 && isSlash(raw[0]) && isSlash(raw[1]):
		if len(bases) == 0 {
			dst = append(dst, resolved{raw, "https:" + raw})
		}
	default:
		if meant, ok := bareReference(text); ok {
			dst = append(dst, resolved{raw, meant})
		} else if len(bases) == 0 {
			h.words(text, h.place(where), schemeOnly) // a template's leftovers before the link
		}
	}
	return dst
}

// resolveReference gives a relative reference as an absolute link, dot segments
// and all. base is a canonical URL.
func resolveReference(base, ref string) string {
	scheme, rest, _ := strings.Cut(base, "://")
	path := strings.IndexByte(rest, '/')
	host, path0 := rest[:path], rest[path:]
	path0, query, hasQuery := strings.Cut(path0, "?")
	switch {
	case ref == "" || ref[0] == '#':
		if hasQuery {
			path0 += "?" + query
		}
	case len(ref) > 1 && isSlash(ref[0]) && isSlash(ref[1]):
		return scheme + ":" + ref
	case isSlash(ref[0]):
		path0 = ref
	case ref[0] == '?':
		path0 += ref
	default:
		path0 = path0[:strings.LastIndexByte(path0, '/')+1] + ref
	}
	return scheme + "://" + host + path0
}

// data reports the links in a data: link that holds a document. where is that
// of the link.
func (h *htmlScanner) data(rest []byte, where string) {
	kind, payload, ok := bytes.Cut(rest, []byte(","))
	if !ok || h.nested >= maxNested {
		return
	}
	kind = bytes.ToLower(kind)
	markup := bytes.Contains(kind, []byte("html")) || bytes.Contains(kind, []byte("xml")) || bytes.Contains(kind, []byte("svg"))
	media, _, _ := bytes.Cut(kind, []byte(";"))
	if !markup && len(media) > 0 && !bytes.HasPrefix(media, []byte("text/")) {
		return
	}
	text := percentDecoded(string(payload))
	if bytes.HasSuffix(bytes.TrimSpace(kind), []byte("base64")) {
		text = lenientBase64(text)
	}
	// Without its NULs, UTF-16 can be read.
	h.document([]byte(strings.ReplaceAll(text, "\x00", "")), h.place(where)+"/data")
}

// document reports the links of an HTML document within this one.
func (h *htmlScanner) document(text []byte, where string) {
	if h.nested >= maxNested {
		return
	}
	around := h.bases
	h.bases = h.baseList() // srcdoc goes by those around it
	h.nested++
	h.html(text, where)
	h.nested--
	h.bases = around
}

// lenientBase64 decodes either alphabet, without regard for padding or for
// bytes that are in none.
func lenientBase64(text string) string {
	clean := make([]byte, 0, len(text))
	for i := range len(text) {
		switch c := text[i]; {
		case c == '-':
			clean = append(clean, '+')
		case c == '_':
			clean = append(clean, '/')
		case isAlnum(c) || c == '+' || c == '/':
			clean = append(clean, c)
		}
	}
	if len(clean)%4 == 1 {
		clean = clean[:len(clean)-1]
	}
	n, _ := base64.RawStdEncoding.Decode(clean, clean)
	return string(clean[:n])
}
