package links

import (
	"bytes"
	"unicode/utf8"

	"github.com/weirmail/weir/intel"
)

// Which links a text is searched for.
type search uint8

const (
	allLinks   search = iota
	schemeOnly        // those that begin with a scheme: what programs read, people don't
)

// maxJoined bounds a link that is broken across lines.
const maxJoined = 4096

// wordScanner finds links in text. Every byte is passed once forwards, and once
// more backwards when the beginning of a link is looked for: never beyond
// floor, which is where the last link ended.
type wordScanner struct {
	*finder
	text   []byte
	where  string
	search search
	floor  int
	mailAt int // the domain of a mail address begins here, after a defanged @
}

func (f *finder) words(text []byte, where string, search search) {
	f.work += len(text)
	i := nextTrigger(text, 0)
	if i == len(text) { // nearly always, between two tags
		return
	}
	s := wordScanner{finder: f, text: text, where: where, search: search, mailAt: -1}
	for i < len(text) && !f.stopped {
		i = nextTrigger(text, s.trigger(i))
	}
}

// nextTrigger gives where the next byte stands that a link may be around.
func nextTrigger(text []byte, i int) int { return next(text, i, isTrigger) }

// trigger looks at the byte at i and gives where to go on.
func (s *wordScanner) trigger(i int) int {
	switch s.text[i] {
	case ':':
		return s.scheme(i, i+1)
	case '.':
		if s.search == allLinks && i > s.floor && i+1 < len(s.text) &&
			byteClass[s.text[i-1]]&isHost != 0 && byteClass[s.text[i+1]]&isHost != 0 {
			return s.bare(i)
		}
		return i + 1
	}
	mark, length := intel.DefangMark(s.text[i:])
	switch {
	case length == 0 || i == s.floor:
		return i + 1
	case mark == ":":
		return s.scheme(i, i+length)
	case mark == "://":
		return s.schemeLink(i, i+length)
	case s.search == schemeOnly:
	case mark == "@":
		s.mailAt = i + length
	case mark == "." && byteClass[s.text[i-1]]&isHost != 0 && i+length < len(s.text) && byteClass[s.text[i+length]]&isHost != 0:
		return s.bare(i)
	}
	return i + length
}

// scheme takes a colon that reaches from i to after for the end of a scheme, if
// two slashes follow.
func (s *wordScanner) scheme(i, after int) int {
	slashes := after
	for slashes < len(s.text) && isSlash(s.text[slashes]) {
		slashes++
	}
	if slashes < after+2 {
		return after
	}
	return s.schemeLink(i, slashes)
}

func isSlash(c byte) bool { return c == '/' || c == '\\' }

// schemeLink reads the link whose scheme ends at colon and whose host begins at host.
func (s *wordScanner) schemeLink(colon, host int) int {
	start, defanged := s.schemeStart(colon)
	if start < 0 {
		return host
	}
	quote := byte(0)
	if start > 0 {
		quote = s.text[start-1]
	}
	stop := s.linkEnd(host, quote)
	s.work += stop - start
	s.floor = stop
	end := s.trim(host, stop)
	if end == host {
		return stop
	}
	s.written(s.text[start:end], defanged)
	if ascii := s.foreignTail(host, end); ascii > 0 {
		s.written(s.text[start:ascii], defanged)
	}
	if quote == '<' || bytes.EqualFold(s.text[max(0, start-5):start], []byte("<url:")) {
		s.written(s.joined(start, stop), defanged)
	}
	return stop
}

// written reports a link with a scheme, if it is one.
func (s *wordScanner) written(link []byte, defanged bool) {
	raw := string(link)
	meant := raw
	if defanged || bytes.ContainsAny(link, "[({") {
		meant = intel.Refang(raw)
	}
	s.link(raw, meant, s.where, "")
}

// schemeStart looks for a scheme before colon. http and https are also seen at
// the end of another word, where a space is missing.
func (s *wordScanner) schemeStart(colon int) (start int, defanged bool) {
	start = colon
	for start > s.floor && colon-start < 8 && isSchemeLetter(s.text[start-1]) {
		start--
	}
	word := s.text[start:colon]
	for n := min(5, len(word)); n >= 3; n-- {
		tail := word[len(word)-n:]
		scheme := intel.RefangScheme(tail)
		if scheme == "" {
			continue
		}
		glued := n < len(word) && isLetter(word[len(word)-n-1])
		defanged = !bytes.EqualFold(tail, []byte(scheme))
		if !glued || !defanged && scheme != "ftp" {
			return colon - n, defanged
		}
	}
	word = bytes.TrimLeft(word, "*_") // emphasis
	for _, known := range [...]string{"file", "smb", "webcal", "webcals"} {
		if bytes.EqualFold(word, []byte(known)) {
			return colon - len(word), false
		}
	}
	return -1, false
}

func isSchemeLetter(c byte) bool { return isLetter(c) || c == '*' || c == '_' }

// linkEnd gives where a link stops whose host, or what follows its host, begins
// at i. quote is the byte before the link.
func (s *wordScanner) linkEnd(i int, quote byte) int {
	var open [4]int // brackets, by the bits in which the three pairs differ
	path := false   // beyond the host
	for ; i < len(s.text); i++ {
		c := s.text[i]
		switch class := byteClass[c]; {
		case class&isEnd != 0:
			return i
		case class&isSpecial == 0:
			path = path || isSlash(c) || c == '?' || c == '#'
			continue
		}
		switch c {
		case ')', ']', '}':
			if open[c>>5]--; open[c>>5] < 0 {
				return i
			}
		case '(', '[', '{':
			if s.linkAt(i + 1) {
				return i
			}
			open[c>>5]++
		case ',', ';', '|':
			if s.linkAt(i + 1) {
				return i
			}
		case '\'':
			if quote == '\'' {
				return i
			}
		case '&':
			if isEscapedDelimiter(s.text[i:]) {
				return i
			}
		default:
			r, size := utf8.DecodeRune(s.text[i:])
			if endsLink(r) || path && endsSentence(r) {
				return i
			}
			i += size - 1
		}
	}
	return i
}

// isEscapedDelimiter reports that text, which was HTML once, goes on with what
// ends a link.
func isEscapedDelimiter(text []byte) bool {
	return bytes.HasPrefix(text, []byte("&lt;")) || bytes.HasPrefix(text, []byte("&gt;")) || bytes.HasPrefix(text, []byte("&quot;"))
}

// linkAt reports that another link begins at i.
func (s *wordScanner) linkAt(i int) bool {
	rest := s.text[i:]
	return len(rest) > 8 && rest[0]|0x20 == 'h' &&
		(bytes.EqualFold(rest[:7], []byte("http://")) || bytes.EqualFold(rest[:8], []byte("https://")))
}

// trim gives the end of the link from start to end without what belongs to the
// sentence around it.
func (s *wordScanner) trim(start, end int) int {
	for end > start {
		c := s.text[end-1]
		if c < utf8.RuneSelf {
			if byteClass[c]&isTrailer == 0 {
				return end
			}
			end--
			continue
		}
		r, size := utf8.DecodeLastRune(s.text[start:end])
		if !endsSentence(r) {
			return end
		}
		end -= size
	}
	return end
}

// foreignTail gives the end of a host in ASCII that is followed by other
// letters, as a link is in a sentence in a script that has no spaces; 0 if
// there is none. Both readings are links then.
func (s *wordScanner) foreignTail(host, end int) int {
	i := host
	dot := false
	for i < end && (byteClass[s.text[i]]&isHost != 0 && s.text[i] < utf8.RuneSelf || s.text[i] == '.') {
		dot = dot || s.text[i] == '.'
		i++
	}
	if i == end || s.text[i] < utf8.RuneSelf || !dot || !isTopLevel(lastLabel(s.text[host:i])) {
		return 0
	}
	return i
}

// joined gives a link in angle brackets that is broken across lines (RFC 3986
// appendix C), nothing if the one from start, which stops at stop, is none.
func (s *wordScanner) joined(start, stop int) []byte {
	if stop == len(s.text) || s.text[stop] != '\r' && s.text[stop] != '\n' {
		return nil
	}
	whole := bytes.Clone(s.text[start:stop])
	lines := 0
	for _, c := range s.text[stop:min(len(s.text), stop+maxJoined)] {
		s.work++
		switch {
		case c == '>':
			return whole
		case c == '\n':
			if lines++; lines == 2 { // an empty line
				return nil
			}
		case c == '\r':
		case c == ' ' || c == '\t':
			if lines == 0 {
				return nil
			}
		case byteClass[c]&isEnd != 0:
			return nil
		default:
			lines = 0
			whole = append(whole, c)
		}
	}
	return nil
}
