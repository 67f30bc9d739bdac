package message

import (
	"strings"

	"github.com/weirmail/weir/intel"
)

// Address is a mailbox as a header field names it.
type Address struct {
	Name  string      // display name or, without one, comment; decoded
	Raw   string      // the address as written, without angle brackets; empty where there is none
	Value intel.Value // canonical; zero where Raw is no address
	Group string      // the group that it stands in (RFC 5322 section 3.4); decoded
}

// originators are the addresses in the message's own originator fields (RFC 5322
// section 3.6.2), which parsing reads for their defects.
type originators struct{ from, sender, replyTo []Address }

// add takes the addresses of one more field, as far as all of that name are not
// more than limit.
func (o *originators) add(field string, more []Address, limit int) {
	all := &o.from
	switch field {
	case "Sender":
		all = &o.sender
	case "Reply-To":
		all = &o.replyTo
	}
	more = more[:min(len(more), limit-len(*all))]
	if len(*all) == 0 {
		*all = more
		return
	}
	*all = append(*all, more...)
}

// addressFlaw says what was wrong with a list of addresses; a set of bits.
type addressFlaw uint8

const (
	addressJunk  addressFlaw = 1 << iota // something that is no address, or more than one in a mailbox
	addressLimit                         // more addresses than the limit allows
)

// appendAddresses reads a list of addresses (RFC 5322 section 3.4 with the
// obsolete forms of section 4.4) and appends at most as many as bring dst to
// limit. It refuses nothing: what is no address is kept with a zero Value. Where
// a mailbox holds several addresses, each is kept, since clients disagree on
// which of them counts.
func appendAddresses(dst []Address, text string, limit int) ([]Address, addressFlaw) {
	p := addressParser{text: text, out: dst, limit: limit}
	for p.pos < len(text) && p.flaw&addressLimit == 0 {
		p.step()
	}
	p.finish()
	return p.out, p.flaw
}

// addressParser goes through a list once. A word is a run of atoms and quoted
// strings without space between them: "John Doe"@example.com is one.
type addressParser struct {
	text string
	pos  int

	words    []string // of the mailbox being read
	angles   []string // what stood in angle brackets
	comments []string
	group    string

	noQuote, noParen bool // no closing one is left in the text

	out   []Address
	limit int
	flaw  addressFlaw
}

func (p *addressParser) step() {
	switch c := p.text[p.pos]; c {
	case ' ', '\t', '\r', '\n':
		p.pos++
	case ',':
		p.pos++
		p.finish()
	case ';':
		p.pos++
		p.finish()
		p.group = ""
	case ':':
		p.pos++
		p.colon()
	case '(':
		p.comment()
	case '<':
		p.angle()
	case '>':
		p.pos++
		p.flaw |= addressJunk
	default:
		p.word()
	}
}

// colon ends the name of a group, if what came before can be one.
func (p *addressParser) colon() {
	isName := len(p.angles) == 0 && len(p.words) > 0 && p.group == ""
	for _, w := range p.words {
		isName = isName && lastAt(w) < 0
	}
	if !isName {
		p.flaw |= addressJunk
		p.finish()
		return
	}
	p.group = displayName(p.words)
	p.words, p.comments = p.words[:0], p.comments[:0]
}

// word reads a run of atoms and quoted strings.
func (p *addressParser) word() {
	start := p.pos
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; c {
		case ' ', '\t', '\r', '\n', ',', ';', ':', '(', '<', '>':
			p.words = append(p.words, p.text[start:p.pos])
			return
		case '"':
			if end := p.quoteEnd(p.pos); end > 0 {
				p.pos = end
				continue
			}
			p.flaw |= addressJunk // a quote that nothing closes is passed over
			if p.pos > start {
				p.words = append(p.words, p.text[start:p.pos])
			}
			p.pos++
			return
		case '[':
			// A domain literal may hold colons.
			if end := strings.IndexAny(p.text[p.pos:min(len(p.text), p.pos+64)], "]>,"); end > 0 && p.text[p.pos+end] == ']' {
				p.pos += end
			}
		case '\\':
			if p.pos+1 < len(p.text) {
				p.pos++
			}
		}
		p.pos++
	}
	p.words = append(p.words, p.text[start:p.pos])
}

// quoteEnd gives the offset behind the quoted string at pos; 0 if it has no end.
func (p *addressParser) quoteEnd(pos int) int {
	if p.noQuote {
		return 0
	}
	for i := pos + 1; i < len(p.text); i++ {
		switch p.text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	p.noQuote = true
	return 0
}

// comment reads a comment, others nested in it included.
func (p *addressParser) comment() {
	if !p.noParen {
		depth := 0
		for i := p.pos; i < len(p.text); i++ {
			switch p.text[i] {
			case '\\':
				i++
			case '(':
				depth++
			case ')':
				if depth--; depth == 0 {
					p.comments = append(p.comments, p.text[p.pos+1:i])
					p.pos = i + 1
					return
				}
			}
		}
		p.noParen = true
	}
	p.flaw |= addressJunk
	p.pos++
}

// angle reads what stands in angle brackets. Without a closing one it reaches
// to the comma that ends the mailbox.
func (p *addressParser) angle() {
	start := p.pos + 1
	first := start
	for first < len(p.text) && isSpace(p.text[first]) {
		first++
	}
	isRoute := first < len(p.text) && p.text[first] == '@' // lists hosts with commas
	end := first
	for ; end < len(p.text); end++ {
		switch c := p.text[end]; {
		case c == '"' && end == first: // a quoted local part
			if behind := p.quoteEnd(end); behind > 0 {
				end = behind - 1
			}
			continue
		case c == '>':
			p.angles = append(p.angles, p.text[start:end])
			p.pos = end + 1
			return
		case c == '<': // the brackets before were text
			p.flaw |= addressJunk
			p.words = append(p.words, p.text[start-1:end])
			p.pos = end
			return
		case c != ',' && c != ';' || isRoute:
			continue
		}
		break
	}
	p.flaw |= addressJunk
	p.angles = append(p.angles, p.text[start:end])
	p.pos = end
}

// finish ends a mailbox.
func (p *addressParser) finish() {
	words, angles, comments := p.words, p.angles, p.comments
	if len(words)+len(angles) == 0 {
		p.comments = p.comments[:0]
		return
	}
	p.words, p.angles, p.comments = words[:0], angles[:0], comments[:0]
	if len(angles) > 0 {
		if len(angles) > 1 {
			p.flaw |= addressJunk
		}
		name := displayName(words)
		if name == "" {
			name = displayName(comments)
		}
		for _, raw := range angles {
			p.add(name, stripComments(raw), true)
		}
		return
	}
	raw, rest := bareAddress(words)
	if len(rest) == 0 {
		rest = comments
	} else {
		p.flaw |= addressJunk
	}
	p.add(displayName(rest), raw, raw != "")
}

// bareAddress finds the address among words without angle brackets: the first
// word that has an at sign inside, or all of them if they are an address with
// spaces, which RFC 5322 section 4.4 allows around the at sign and the dots.
func bareAddress(words []string) (raw string, rest []string) {
	for i, w := range words {
		if at := lastAt(w); at > 0 && at < len(w)-1 {
			rest = append(append(rest, words[:i]...), words[i+1:]...)
			return w, rest
		}
	}
	if joined := strings.Join(words, ""); lastAt(joined) >= 0 {
		return joined, nil
	}
	return "", words
}

// lastAt gives the offset of the last at sign outside of quotes; -1 for none.
func lastAt(word string) int {
	if i := strings.LastIndexByte(word, '@'); i >= 0 && strings.IndexByte(word[i:], '"') < 0 {
		return i
	}
	return -1
}

// add adds an address; written says whether there is one, be it the empty <>.
func (p *addressParser) add(name, raw string, written bool) {
	if len(p.out) >= p.limit {
		p.flaw |= addressLimit
		return
	}
	a := Address{Name: name, Raw: strings.TrimSpace(raw), Group: p.group}
	v, err := intel.Address(a.Raw)
	if err == nil && written {
		a.Value = v
	}
	// One that would need quotes has, say, two at signs.
	if a.Value.IsZero() || a.Value.String()[0] == '"' && strings.IndexByte(a.Raw, '"') < 0 {
		p.flaw |= addressJunk
	}
	p.out = append(p.out, a)
}

// stripComments takes comments and, outside of quotes, white space out of the
// text between angle brackets.
func stripComments(raw string) string {
	if !strings.ContainsAny(raw, "( \t\r\n") {
		return raw
	}
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '\\' && i+1 < len(raw):
			if depth == 0 {
				b.WriteString(raw[i : i+2])
			}
			i++
			continue
		case c == '"' && depth == 0:
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
			continue
		case c == ')' && depth > 0:
			depth--
			continue
		case isWhite(c):
			continue
		}
		if depth == 0 {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// displayName puts words together as a reader sees them: quotes undone, then
// encoded words decoded, which many programs put inside of quotes.
func displayName(words []string) string {
	var text string
	switch len(words) {
	case 0:
		return ""
	case 1:
		text = unquote(words[0])
	default:
		var b strings.Builder
		for i, w := range words {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(unquote(w))
		}
		text = b.String()
	}
	text, _ = decodeWords(text)
	return strings.TrimSpace(text)
}

// unquote undoes the quotes and escapes of a word.
func unquote(word string) string {
	if strings.IndexByte(word, '"') < 0 && strings.IndexByte(word, '\\') < 0 {
		return word
	}
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		switch c := word[i]; {
		case c == '"':
		case c == '\\' && i+1 < len(word):
			i++
			b.WriteByte(word[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
