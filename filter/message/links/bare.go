package links

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/publicsuffix"

	"github.com/weirmail/weir/intel"
)

// bare reads the word around the dot at i as a link without a scheme, and gives
// where the word ends.
//
// Mail clients make links of some of these, each of others. A word is taken
// here when it is a host name below a public suffix and is not a mail
// address, part of a path, a name in code or a file name.
func (s *wordScanner) bare(dot int) int {
	start := s.hostStart(dot)
	end, defanged := s.hostEnd(dot)
	s.work += 2 * (end - start)
	s.floor = end
	if start == s.mailAt || !s.standsAlone(start, end) {
		return end
	}
	start += len(s.text[start:dot]) - len(bytes.TrimLeft(s.text[start:dot], "-_")) // a list item, emphasis
	host := s.text[start:end]
	if foreign := lastLabel(host); len(foreign) > 0 && isAlnum(foreign[0]) {
		// What follows a name in a script that has no spaces.
		ascii := bytes.IndexFunc(foreign, func(r rune) bool { return r >= utf8.RuneSelf })
		if ascii > 0 {
			host = host[:len(host)-len(foreign)+ascii]
		}
	}
	host = bytes.TrimRight(host, "-_")
	word := host
	if start+len(host) == end {
		end, s.floor = s.tailEnd(end)
		word = s.text[start:end]
	}
	s.writtenBare(word, len(host), defanged)
	if before := foreignStart(host); before > 0 {
		s.writtenBare(word[before:], len(host)-before, defanged)
	}
	return s.floor
}

// lastLabel gives what follows the last dot of a host, defanged or not.
func lastLabel(host []byte) []byte {
	return host[bytes.LastIndexAny(host, ".)]}")+1:]
}

// foreignStart gives where ASCII begins in the first label of host, after
// letters of another script than Latin; 0 if it doesn't. What stands before is
// likely a sentence in a script that has no spaces.
func foreignStart(host []byte) int {
	start := 0
	for i := 0; i < len(host) && host[i] != '.' && byteClass[host[i]]&isHost != 0; {
		r, size := utf8.DecodeRune(host[i:])
		i += size
		switch {
		case r < utf8.RuneSelf:
		case unicode.Is(unicode.Latin, r):
			return 0
		case unicode.Is(unicode.L, r), unicode.Is(unicode.M, r) && start > 0 && start == i-size:
			start = i
		}
	}
	return start
}

// hostStart goes back from the dot to the beginning of the first label.
func (s *wordScanner) hostStart(dot int) int {
	start := dot
	for start > s.floor && byteClass[s.text[start-1]]&isHost != 0 {
		start--
	}
	if s.mailAt > start && s.mailAt <= dot {
		start = s.mailAt
	}
	for i := start; i < dot; {
		r, size := utf8.DecodeRune(s.text[i:dot])
		i += size
		if r >= utf8.RuneSelf && !isNameRune(r) {
			start = i
		}
	}
	return start
}

// hostEnd goes on from the dot to the end of the last label.
func (s *wordScanner) hostEnd(dot int) (end int, defanged bool) {
	end = dot
	for {
		if size := s.nameSize(end); size > 0 {
			end += size
			continue
		}
		length := 1
		if end == len(s.text) {
			return end, defanged
		}
		if s.text[end] != '.' {
			var mark string
			if mark, length = intel.DefangMark(s.text[end:]); mark != "." {
				return end, defanged
			}
		}
		if s.nameSize(end+length) == 0 {
			return end, defanged
		}
		defanged = defanged || length > 1
		end += length
	}
}

// nameSize gives the size of the character at i, if it can be part of a host
// name, else 0.
func (s *wordScanner) nameSize(i int) int {
	switch {
	case i >= len(s.text) || byteClass[s.text[i]]&isHost == 0:
		return 0
	case s.text[i] < utf8.RuneSelf:
		return 1
	}
	r, size := utf8.DecodeRune(s.text[i:])
	if !isNameRune(r) {
		return 0
	}
	return size
}

// standsAlone reports that what is around the word from start to end does not
// make it part of a mail address, a path, or code.
func (s *wordScanner) standsAlone(start, end int) bool {
	if start > 0 && strings.IndexByte(`/\@.%&#$=+?~`, s.text[start-1]) >= 0 {
		return false
	}
	if end == len(s.text) {
		return true
	}
	switch s.text[end] {
	case '@', '=':
		return false
	case '(':
		return s.linkAt(end + 1)
	}
	if mark, length := intel.DefangMark(s.text[end:]); mark == "@" {
		s.mailAt = end + length
		return false
	}
	return true
}

// tailEnd gives the end of a port, path and query that begin at i, and of what
// was looked at.
func (s *wordScanner) tailEnd(i int) (end, stop int) {
	port := i
	if i+1 < len(s.text) && s.text[i] == ':' && isDigit(s.text[i+1]) {
		for port = i + 1; port < len(s.text) && isDigit(s.text[port]); {
			port++
		}
	}
	if port < len(s.text) && strings.IndexByte("/?#", s.text[port]) >= 0 {
		stop = s.linkEnd(port, 0)
		s.work += stop - port
		return s.trim(port, stop), stop
	}
	return port, port
}

// writtenBare reports a link without a scheme, whose host the first n bytes of
// word are, if it is one.
func (s *wordScanner) writtenBare(word []byte, n int, defanged bool) {
	if meant, ok := bareLink(word, n, defanged); ok {
		s.link(string(word), meant, s.where, "")
	}
}

// bareReference reads the whole of text as a link without a scheme.
func bareReference(text []byte) (meant string, ok bool) {
	s := wordScanner{finder: &finder{}, text: text, mailAt: -1}
	dot := bytes.IndexByte(text, '.')
	if dot < 1 || s.hostStart(dot) > 0 {
		return "", false
	}
	end, defanged := s.hostEnd(dot)
	if !s.standsAlone(0, end) || end < len(text) && bytes.IndexByte([]byte(":/?#"), text[end]) < 0 {
		return "", false
	}
	return bareLink(text, end, defanged)
}

// bareLink gives the link that word stands for, whose host its first n bytes
// are, if that host is one that people have in mind when they write one.
func bareLink(word []byte, n int, defanged bool) (meant string, ok bool) {
	suffix := lastLabel(word[:n])
	path := len(word) > n && word[n] != '#'
	number := len(suffix) > 0 && isDigit(suffix[0]) && isDigit(word[0])
	switch {
	case number:
		// Less than address, port and path is a version, an amount, a network.
		if !path || word[n] != ':' || bytes.IndexByte(word[n:], '/') < 0 {
			return "", false
		}
	case !isTopLevel(suffix) && !bytes.EqualFold(word[:min(4, len(word))], []byte("www.")):
		return "", false
	}
	meant = "http://" + intel.Refang(string(word))
	v, err := intel.URL(meant)
	return meant, err == nil && (number || likelyHost(v.Host(), suffix, path || defanged))
}

// isTopLevel reports whether label is, or may be where it is not ASCII, a
// top-level domain.
func isTopLevel(label []byte) bool {
	var room [24]byte
	if len(label) < 2 || len(label) > len(room) {
		return false
	}
	for i, c := range label {
		if c >= utf8.RuneSelf {
			return true
		}
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		room[i] = c
	}
	_, icann := publicsuffix.PublicSuffix(string(room[:len(label)]))
	return icann
}

// likelyHost reports whether a host, whose last label was written suffix, is
// more likely meant as a host than as something else.
func likelyHost(host string, suffix []byte, sure bool) bool {
	labels := strings.Count(host, ".") + 1
	public, icann := publicsuffix.PublicSuffix(host)
	switch {
	case !icann && !strings.Contains(public, "."): // no public suffix: a name inside somebody's network
		return strings.HasPrefix(host, "www.") && labels > 2
	case icann && public == host:
		return false
	case sure || strings.HasPrefix(host, "www."):
		return true
	case 'A' <= suffix[0] && suffix[0] <= 'Z' && 'a' <= suffix[1] && suffix[1] <= 'z':
		return false // Two sentences.Without a space.
	}
	return labels > 2 || !isFileExtension(host[strings.LastIndexByte(host, '.')+1:])
}

// isFileExtension knows the top-level domains that are more often the end of a
// file's name.
func isFileExtension(suffix string) bool {
	switch suffix {
	case "app", "bz", "cab", "cc", "cfg", "do", "foo", "java", "la", "md", "ml", "mm", "mo", "mov", "ms",
		"nc", "pl", "pm", "pn", "ps", "pub", "py", "rs", "sc", "sh", "so", "st", "tf", "vi", "zip":
		return true
	}
	return false
}
