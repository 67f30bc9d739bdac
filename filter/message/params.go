package message

import (
	"slices"
	"strings"

	"github.com/weirmail/weir/filter/message/charset"
)

// maxParams bounds the parameters of one field; the rest is left out.
const maxParams = 128

// param is one parameter of a structured MIME field (RFC 2045 section 5.1), as
// it stands: a long or foreign value comes in sections (RFC 2231).
type param struct {
	name     string // lower case, without its section
	value    string // without quotes and escapes
	section  int    // -1 for a value in one piece
	extended bool   // percent-encoded, with a charset in the first section
	guess    string // what else the value may have been meant to be; for malformed ones
}

// params are the parameters of one field, or of several that say the same thing.
type params []param

// cutParams splits a field's value: what stands before the first semicolon, in
// lower case and without comments, and the parameters. It reads on after what
// it cannot read, and says whether there was such a thing.
func cutParams(text string) (value string, ps params, malformed bool) {
	p := paramParser{text: text}
	value = strings.ToLower(p.value())
	for p.pos < len(text) && len(ps) < maxParams {
		if one, ok := p.param(); ok {
			ps = append(ps, one)
		}
	}
	return value, ps, p.malformed || p.pos < len(text)
}

type paramParser struct {
	text      string
	pos       int
	malformed bool
	noParen   bool // no comment that begins here or later has an end
}

// value reads what stands before the parameters.
func (p *paramParser) value() string {
	p.skip(" \t\r\n")
	start := p.pos
	for p.pos < len(p.text) && strings.IndexByte("; \t\r\n,(", p.text[p.pos]) < 0 {
		p.pos++
	}
	value := strings.Trim(p.text[start:p.pos], `"'`)
	p.skip(" \t\r\n")
	if p.pos < len(p.text) && p.text[p.pos] != ';' && p.text[p.pos] != '(' {
		p.malformed = true
	}
	return value
}

// skip goes over comments and the given characters.
func (p *paramParser) skip(chars string) {
	for p.pos < len(p.text) {
		if p.text[p.pos] == '(' {
			p.skipComment()
			continue
		}
		if strings.IndexByte(chars, p.text[p.pos]) < 0 {
			return
		}
		p.pos++
	}
}

// skipComment goes over a comment; one without an end is a single character.
func (p *paramParser) skipComment() {
	depth := 0
	for i := p.pos; i < len(p.text) && !p.noParen; i++ {
		switch p.text[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				p.pos = i + 1
				return
			}
		}
	}
	p.noParen = true
	p.malformed = true
	p.pos++
}

// param reads one parameter.
func (p *paramParser) param() (param, bool) {
	p.skip("; \t\r\n,")
	start := p.pos
	for p.pos < len(p.text) && strings.IndexByte("=; \t\r\n", p.text[p.pos]) < 0 {
		p.pos++
	}
	name := p.text[start:p.pos]
	if name == "" {
		if p.pos < len(p.text) { // "=" without a name
			p.malformed = true
			p.pos++
		}
		return param{}, false
	}
	p.skip(" \t\r\n")
	if p.pos == len(p.text) || p.text[p.pos] != '=' {
		p.malformed = true
		return param{}, false
	}
	p.pos++
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
	one := param{section: -1}
	one.setName(name)
	if p.pos < len(p.text) && p.text[p.pos] == '"' {
		p.quoted(&one)
	} else {
		p.bare(&one)
	}
	return one, true
}

// setName takes the section and the asterisk out of a name: "name*1*".
func (one *param) setName(name string) {
	base, rest, ok := strings.Cut(strings.ToLower(name), "*")
	one.name = base
	if !ok {
		return
	}
	digits, extended := strings.CutSuffix(rest, "*")
	if rest == "" {
		one.extended = true
		return
	}
	section := 0
	for i := range len(digits) {
		c := digits[i]
		if c < '0' || c > '9' || i > 4 {
			return
		}
		section = section*10 + int(c-'0')
	}
	one.section, one.extended = section, extended
}

// quoted reads a value in quotes. Without the closing one it reaches to the
// end, or it was meant to reach to the next semicolon.
func (p *paramParser) quoted(one *param) {
	p.pos++
	start, escaped := p.pos, false
	for p.pos < len(p.text) && p.text[p.pos] != '"' {
		if p.text[p.pos] == '\\' && p.pos+1 < len(p.text) {
			escaped = true
			p.pos++
		}
		p.pos++
	}
	end := min(p.pos, len(p.text))
	one.value = p.text[start:end]
	if p.pos >= len(p.text) {
		p.malformed = true
		one.guess = one.value
		if before, _, ok := strings.Cut(one.value, ";"); ok {
			one.value, one.guess = strings.TrimRight(before, " \t\r\n"), one.value
			p.pos = start + len(before)
		}
		return
	}
	p.pos++
	if escaped {
		one.guess = one.value // clients that know no escapes take it so
		one.value = unquote(one.value)
	}
	// What follows the closing quote belongs to nothing, or to the value: a"b"c.
	if p.pos < len(p.text) && strings.IndexByte("; \t\r\n(", p.text[p.pos]) < 0 {
		p.malformed = true
		junk := p.pos
		for p.pos < len(p.text) && strings.IndexByte("; \t\r\n", p.text[p.pos]) < 0 {
			p.pos++
		}
		one.guess = one.value + strings.ReplaceAll(p.text[junk:p.pos], `"`, "")
	}
}

// bare reads a value without quotes: to the semicolon, spaces included, unless
// another parameter follows the space.
func (p *paramParser) bare(one *param) {
	start := p.pos
	end := len(p.text)
	if i := strings.IndexByte(p.text[start:], ';'); i >= 0 {
		end = start + i
	}
	text := p.text[start:end]
	p.pos = end
	if i := strings.IndexAny(text, " \t\r\n"); i >= 0 {
		rest := strings.TrimLeft(text[i:], " \t\r\n")
		switch {
		case rest == "":
		case beginsParam(rest):
			p.malformed = true
			p.pos = start + i
			text = text[:i]
		default:
			if rest[0] != '(' {
				p.malformed = true
			}
			one.guess = text[:i]
		}
	}
	one.value = strings.TrimRight(text, " \t\r\n")
	if rest := one.guess; rest != "" && strings.HasPrefix(strings.TrimLeft(one.value[len(rest):], " \t\r\n"), "(") {
		one.value, one.guess = rest, one.value // a comment
	}
}

// beginsParam reports whether text looks like "name=value".
func beginsParam(text string) bool {
	for i := range min(len(text), 40) {
		switch c := text[i]; {
		case c == '=':
			return i > 0
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '-', c == '*', c >= '0' && c <= '9':
		default:
			return false
		}
	}
	return false
}

// get gives the values that the parameter called name may have, decoded, the
// one that most clients take first: the RFC 2231 form, then each plain one, then
// what malformed ones may mean. It is empty where there is no such parameter.
func (ps params) get(name string) []string {
	var all []string
	add := func(v string) {
		if !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	if v, ok := ps.continued(name); ok {
		add(v)
	}
	for i := range ps {
		if p := &ps[i]; p.name == name && p.section < 0 && p.extended {
			add(decodeExtended(p.value))
		}
	}
	for _, guess := range [2]bool{false, true} {
		for i := range ps {
			p := &ps[i]
			if p.name != name || p.section >= 0 || p.extended || guess && p.guess == "" {
				continue
			}
			v := p.value
			if guess {
				v = p.guess
			}
			add(decodeWordsOnly(v))
		}
	}
	return all
}

// written gives the values in one piece that the parameter called name has, as
// they stand.
func (ps params) written(name string) []string {
	var all []string
	for i := range ps {
		if p := &ps[i]; p.name == name && p.section < 0 && !p.extended {
			all = append(all, p.value)
		}
	}
	return all
}

// continued joins the sections of a value (RFC 2231 section 3), in the order
// of their numbers.
func (ps params) continued(name string) (string, bool) {
	var sections []*param
	for i := range ps {
		if p := &ps[i]; p.name == name && p.section >= 0 {
			sections = append(sections, p)
		}
	}
	if len(sections) == 0 {
		return "", false
	}
	slices.SortStableFunc(sections, func(a, b *param) int { return a.section - b.section })
	var raw []byte
	label := ""
	for i, p := range sections {
		if i > 0 && p.section == sections[i-1].section {
			continue
		}
		value := p.value
		if p.extended {
			if i == 0 {
				label, value = cutCharset(value)
			}
			raw = appendPercent(raw, value)
			continue
		}
		raw = append(raw, value...)
	}
	text, _ := charset.ToUTF8(label, raw)
	return decodeWordsOnly(string(text)), true // both at once does occur
}

// decodeExtended decodes "charset'language'percent-encoded" (RFC 2231 section 4).
func decodeExtended(value string) string {
	label, value := cutCharset(value)
	text, _ := charset.ToUTF8(label, appendPercent(nil, value))
	return decodeWordsOnly(string(text))
}

func cutCharset(value string) (label, rest string) {
	label, rest, ok := strings.Cut(value, "'")
	if !ok {
		return "", value
	}
	if _, after, ok := strings.Cut(rest, "'"); ok {
		return label, after
	}
	return "", value
}

func appendPercent(dst []byte, text string) []byte {
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			hi, lo := hexDigit(text[i+1]), hexDigit(text[i+2])
			if hi|lo < 16 {
				dst = append(dst, hi<<4|lo)
				i += 2
				continue
			}
		}
		dst = append(dst, text[i])
	}
	return dst
}
