package list

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// line is one line of a list, taken apart but not yet understood.
type line struct {
	value   token // the entry as written, forced kind and slashes included; empty in a line without one
	kind    string
	text    token // the value behind its forced kind; of a regular expression what is between the slashes
	regexp  bool  // text is a regular expression
	fold    bool  // the regular expression has the flag i
	options []option
	comment string // with its #
}

// token is a piece of a line and the column, in bytes from 1, where it begins.
type token struct {
	text   string
	column int
}

// option is one name=value.
type option struct {
	name  token
	value token // without quotes and escapes
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// split takes a line apart. The line has no line end.
func split(text string) (line, *fault) {
	var l line
	if f := unreadable(text); f != nil {
		return l, f
	}
	s := scanner{text: text}
	s.blanks()
	if s.comment(&l) || s.end() {
		return l, nil
	}
	if f := s.entry(&l); f != nil {
		return l, f
	}
	for {
		s.blanks()
		if s.comment(&l) || s.end() {
			return l, nil
		}
		if f := s.option(&l); f != nil {
			return l, f
		}
	}
}

// unreadable finds what no line of a list can have.
func unreadable(text string) *fault {
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD"):
			return &fault{column: i + 1, reason: "is not UTF-8 here", cure: "save the file as UTF-8"}
		case r == '\r':
			return &fault{column: i + 1, value: "\r", reason: "is a line end of its own", cure: "end lines in LF or CRLF"}
		case r != '\t' && unicode.IsControl(r):
			return &fault{column: i + 1, value: string(r), reason: "is a control character", cure: "remove it"}
		}
	}
	return nil
}

// scanner walks over a line.
type scanner struct {
	text string
	at   int
}

func (s *scanner) end() bool { return s.at >= len(s.text) }

func (s *scanner) blanks() {
	for !s.end() && isBlank(s.text[s.at]) {
		s.at++
	}
}

// comment takes the rest of the line if it is one.
func (s *scanner) comment(l *line) bool {
	if s.end() || s.text[s.at] != '#' {
		return false
	}
	l.comment = strings.TrimRight(s.text[s.at:], " \t")
	s.at = len(s.text)
	return true
}

// word takes what is left up to white space or the end.
func (s *scanner) word() token {
	start := s.at
	for !s.end() && !isBlank(s.text[s.at]) {
		s.at++
	}
	return token{s.text[start:s.at], start + 1}
}

// forcible lists the words that force a kind, and regexp.
func forcible() []string {
	return []string{"sha256", "sha1", "md5", "address", "domain", "url", "ip", "regexp"}
}

// forced gives the forced kind that text begins with, in lower case.
func forced(text string) (kind string, length int) {
	const longest = len("address")
	colon := strings.IndexByte(text[:min(len(text), longest+1)], ':')
	if colon < 0 {
		return "", 0
	}
	kind = strings.ToLower(text[:colon])
	if !slices.Contains(forcible(), kind) {
		return "", 0
	}
	return kind, colon + 1
}

// entry takes the entry itself.
func (s *scanner) entry(l *line) *fault {
	start := s.at
	kind, length := forced(s.text[s.at:])
	l.kind = kind
	s.at += length
	if kind != "" && (s.end() || isBlank(s.text[s.at])) {
		return &fault{column: start + 1, value: kind + ":", reason: "has nothing behind it", cure: "write the entry right behind the colon, without a space"}
	}
	switch {
	case s.text[s.at] == '/' && (kind == "" || kind == "regexp"):
		if f := s.regexp(l); f != nil {
			return f
		}
	case kind == "regexp":
		return &fault{column: start + 1, value: s.word().text, reason: "has no slash behind the colon", cure: `write regexp:/EXPRESSION/`}
	default:
		l.text = s.word()
	}
	l.value = token{s.text[start:s.at], start + 1}
	return nil
}

// regexp takes /expression/flags. A backslash takes the character behind it along.
func (s *scanner) regexp(l *line) *fault {
	start := s.at
	l.regexp = true
	for s.at++; !s.end() && s.text[s.at] != '/'; s.at++ {
		if s.text[s.at] == '\\' {
			s.at++
		}
	}
	if s.end() {
		return &fault{column: start + 1, value: s.text[start:], reason: "begins with a slash, as a regular expression does, and has no second one", cure: `write /EXPRESSION/ with every slash in it as \/; a URL needs https://HOST before its path`}
	}
	l.text = token{s.text[start+1 : s.at], start + 2}
	s.at++
	flags := s.word()
	switch {
	case l.text.text == "":
		return &fault{column: start + 1, value: "//", reason: "is an empty regular expression", cure: "a comment begins with #"}
	case flags.text != "" && flags.text != "i":
		return &fault{column: flags.column, value: flags.text, reason: "is not the flag i, the only one that may follow a regular expression", cure: `write other flags into it, as in /(?s)EXPRESSION/, and a slash in it as \/; a URL needs https://HOST before its path`}
	}
	l.fold = flags.text == "i"
	return nil
}

// option takes one name=value.
func (s *scanner) option(l *line) *fault {
	word := *s
	start := s.at
	for !s.end() && s.text[s.at] != '=' && !isBlank(s.text[s.at]) {
		s.at++
	}
	name := token{s.text[start:s.at], start + 1}
	if s.end() || s.text[s.at] != '=' {
		return strayWord(l, word.word())
	}
	s.at++
	value := token{column: s.at + 1}
	if s.end() || s.text[s.at] != '"' {
		value = s.word()
	} else if f := s.quoted(&value); f != nil {
		return f
	}
	l.options = append(l.options, option{name, value})
	return nil
}

// quoted takes a value between double quotes.
func (s *scanner) quoted(value *token) *fault {
	start := s.at
	var b strings.Builder
	for s.at++; !s.end() && s.text[s.at] != '"'; s.at++ {
		if s.text[s.at] == '\\' && s.at+1 < len(s.text) && (s.text[s.at+1] == '"' || s.text[s.at+1] == '\\') {
			s.at++
		}
		b.WriteByte(s.text[s.at])
	}
	if s.end() {
		return &fault{column: start + 1, value: s.text[start:], reason: "has no closing quote", cure: `write a quote within the value as \"`}
	}
	s.at++
	if after := s.word(); after.text != "" {
		return &fault{column: after.column, value: after.text, reason: "follows a closing quote", cure: `put a space between options, and write a quote within the value as \"`}
	}
	value.text = b.String()
	return nil
}

// strayWord says what a word behind an entry, which is no option, is likely to be.
func strayWord(l *line, word token) *fault {
	f := &fault{column: word.column, value: word.text, reason: "is no option", cure: "one entry a line; options are name=value without spaces around the =, and a comment begins with #"}
	switch {
	case isIPAddress(l.text.text) && l.kind == "":
		f.reason = "follows an address, as in a hosts file"
		f.cure = "keep the name only, without the address before it; " + f.cure
	case strings.HasPrefix(word.text, "//"), strings.HasPrefix(word.text, ";"):
		f.cure = "a comment begins with #"
	case l.regexp:
		f.cure = `write a slash within a regular expression as \/; ` + f.cure
	}
	return f
}
