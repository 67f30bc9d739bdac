package links

import (
	"encoding/base64"
	"strings"

	"github.com/weirmail/weir/intel"
)

var (
	urlDefense2    = strings.NewReplacer("-", "%", "_", "/") // its percent encoding, in letters of its own
	base64Alphabet = strings.NewReplacer("-", "+", "_", "/") // that of URLs to the usual one
)

// maxWrapped is how many links deep a link within a link is followed.
const maxWrapped = 4

// unwrap reports the links that a link holds: in a parameter of its query or in
// its path, as it is, percent-encoded or in base64, and as URL Defense codes
// it. That takes in the redirects of search engines and networks, the
// rewriters of mail filters, and whatever open redirect somebody found
// yesterday, without a list of them: that is where the reader would arrive.
func (f *finder) unwrap(link, where string, depth int) {
	rest := link
	if i := strings.IndexAny(link, `:/\?`); i >= 0 && link[i] == ':' {
		rest = link[i+1:]
	}
	rest = strings.TrimLeft(rest, `/\`)
	start := strings.IndexAny(rest, `/\?`)
	if start < 0 || depth == maxWrapped {
		return
	}
	f.work += len(link)
	rest = rest[start:]
	if target, ok := strings.CutPrefix(rest, "/amp/s/"); ok { // a search engine's viewer
		meant, _ := bareReference([]byte(target))
		f.unwrapped(meant, where, depth)
	}
	for i := 0; i < len(rest); {
		before, inner := rest[:i+1], rest[i+1:]
		var meant string
		switch c := rest[i]; {
		case c != '=' && c != '/' && c != '\\' && (c != '_' || !strings.HasSuffix(before, "/v3/__")):
			i++
			continue
		case isBase64Link(inner):
			inner = inner[:base64Length(inner)]
			meant = decodeBase64Link(inner)
		case c == '=' && beginsHost(inner):
			inner = parameter(inner)
			meant, _ = bareReference([]byte(percentDecoded(inner))[2:])
		case !beginsLink(inner):
			i++
			continue
		case c == '=':
			inner = parameter(inner)
			meant = decodeLink(inner)
		default:
			// A link in the path reaches to the end, query and all. If it is none
			// after all, the query is still looked at by itself.
			if meant = decodeLink(inner); c == '_' {
				meant = urlDefense3(inner)
			}
			if f.unwrapped(meant, where, depth) {
				return
			}
			if end := strings.IndexByte(inner, '?'); end >= 0 {
				inner = inner[:end]
			}
			meant = ""
		}
		f.unwrapped(meant, where, depth)
		i += 1 + len(inner)
	}
}

func (f *finder) unwrapped(link, where string, depth int) bool {
	if link == "" {
		return false
	}
	v, err := intel.URL(link)
	if err != nil {
		return false
	}
	if !strings.HasSuffix(where, "/wrapped") {
		where += "/wrapped"
	}
	f.found(v, link, where, "")
	f.unwrap(link, where, depth+1)
	return true
}

// parameter gives the value of the parameter that text begins with.
func parameter(text string) string {
	if end := strings.IndexAny(text, "&#"); end >= 0 {
		return text[:end]
	}
	return text
}

// beginsHost reports that text begins with the two slashes before a host.
func beginsHost(text string) bool {
	return strings.HasPrefix(text, "//") || len(text) > 6 && strings.EqualFold(text[:6], "%2f%2f")
}

// beginsLink reports that text begins with http:// or https://, coded or not.
// It looks at a bounded number of bytes.
func beginsLink(text string) bool {
	if len(text) < 8 || text[0]|0x20 != 'h' && text[0] != '%' {
		return false
	}
	head := decodeLink(text[:min(len(text), 64)])
	_, slashes, _ := strings.Cut(head, ":")
	return slashes != "" && (slashes[0] == '/' || slashes[0] == '\\')
}

// decodeLink gives the link that stands at the beginning of text: as it is,
// percent-encoded up to three times, as by rewriters that wrap each other's
// links, or in the code of URL Defense, version 2. It is empty if there is none.
func decodeLink(text string) string {
	for range 4 {
		colon := ""
		if len(text) > 4 && strings.EqualFold(text[:4], "http") {
			colon = text[4:]
			if colon[0]|0x20 == 's' {
				colon = colon[1:]
			}
		}
		switch {
		case len(colon) > 1 && colon[0] == ':' && colon[1] != '%':
			return text
		case len(colon) >= 3 && strings.EqualFold(colon[:3], "-3a"):
			text = urlDefense2.Replace(text)
		case strings.IndexByte(text[:min(len(text), 64)], '%') < 0:
			return ""
		}
		decoded := percentDecoded(text)
		if len(decoded) == len(text) && colon == "" {
			return ""
		}
		text = decoded
	}
	return ""
}

// isBase64Link reports that text begins with "http" in base64. The a1 before it
// is a search engine's.
func isBase64Link(text string) bool {
	return strings.HasPrefix(strings.TrimPrefix(text, "a1"), base64HTTP)
}

// base64HTTP is "http", and what of a p's last bits is the same before s and :, in base64.
const base64HTTP = "aHR0c"

func base64Length[T string | []byte](text T) int {
	n := 0
	for n < len(text) && (isAlnum(text[n]) || strings.IndexByte("+/-_", text[n]) >= 0) {
		n++
	}
	return n
}

func decodeBase64Link(text string) string {
	text = base64Alphabet.Replace(strings.TrimPrefix(text, "a1"))
	if len(text)%4 == 1 {
		text = text[:len(text)-1]
	}
	link, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || !beginsLink(string(link)) {
		return ""
	}
	return string(link)
}

// urlDefense3 undoes version 3 of URL Defense, which writes
// /v3/__LINK__;BYTES!!… where each * in LINK stands for the next one of BYTES,
// which are in base64, and **X for a run of them, as many as X says.
func urlDefense3(text string) string {
	link, coded, ok := strings.Cut(text, "__;")
	if !ok {
		return ""
	}
	coded, _, _ = strings.Cut(coded, "!")
	removed, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(coded, "="))
	if err != nil {
		return ""
	}
	var b strings.Builder
	for i := 0; i < len(link); i++ {
		if link[i] != '*' {
			b.WriteByte(link[i])
			continue
		}
		n := 1
		if i+2 < len(link) && link[i+1] == '*' {
			if run := strings.IndexByte(urlDefenseRuns, link[i+2]); run >= 0 {
				n = run + 2
				i += 2
			}
		}
		n = min(n, len(removed))
		b.Write(removed[:n])
		removed = removed[n:]
	}
	return b.String()
}

// urlDefenseRuns gives the lengths of runs, from 2.
const urlDefenseRuns = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// percentDecoded undoes the percent escapes of text, once.
func percentDecoded(text string) string {
	if strings.IndexByte(text, '%') < 0 {
		return text
	}
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			hi, lo := hexDigit(text[i+1]), hexDigit(text[i+2])
			if hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, text[i])
	}
	return string(b)
}
