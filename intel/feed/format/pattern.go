package format

import (
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/weirmail/weir/intel"
)

// STIX patterns (STIX 2.1 section 9), as far as they say that one value alone
// tells what the indicator is about.

// found is what a part of a pattern names.
type found struct {
	values []patternValue
	hashes bool      // all of them are digests of one file
	refuse []refusal // parts that give nothing
}

// patternValue is one value that a pattern names.
type patternValue struct {
	kind     intel.Kind
	text     string
	isSubnet bool // an address range, by ISSUBSET
	isBelow  bool // all names below a domain, by LIKE
}

// errPattern says that a text is no pattern of STIX.
var errPattern = errors.New("is no STIX pattern")

// stixPattern gives the values that a pattern names, and why parts of it give
// none. Brackets nest as deep as that at most.
func stixPattern(text string, maxDepth int) (values []patternValue, refused []refusal) {
	p := patternParser{text: text, max: maxDepth}
	p.next()
	f, err := p.observations(0)
	if err == nil && p.token.sort != endOfPattern {
		err = errPattern
	}
	if err != nil {
		return nil, []refusal{*malformed(err.Error())}
	}
	values, alone := families(f.values)
	if alone > 0 {
		f.refuse = append(f.refuse, refusal{Unsupported, "operator LIKE"})
	}
	return values, f.refuse
}

// families makes one of a domain and of all below it where a pattern names both.
// Names below alone are no family that is known here: a domain with all below it
// would say more than the pattern does. It counts them.
func families(values []patternValue) (whole []patternValue, alone int) {
	below := map[string]bool{} // whether the domain itself was named
	for _, v := range values {
		if v.isBelow {
			below[strings.ToLower(v.text)] = false
		}
	}
	if len(below) == 0 {
		return values, 0
	}
	for _, v := range values {
		name := strings.ToLower("." + v.text)
		if _, ok := below[name]; ok && v.kind == intel.KindDomain {
			below[name] = true
			continue
		}
		whole = append(whole, v)
	}
	whole = slices.DeleteFunc(whole, func(v patternValue) bool {
		if v.isBelow && !below[strings.ToLower(v.text)] {
			alone++
			return true
		}
		return false
	})
	return whole, alone
}

// tokenSort tells the tokens of a pattern apart.
type tokenSort uint8

const (
	endOfPattern tokenSort = iota
	symbol                 // [ ] ( ) , = != < > and so on
	word                   // a keyword or an object path
	literal                // a quoted string
	otherLiteral           // a number, a timestamp, hex or binary: never a value of ours
	wrongToken
)

type token struct {
	sort tokenSort
	text string
}

type patternParser struct {
	text  string
	at    int
	max   int
	token token
}

// next reads the next token.
func (p *patternParser) next() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
	if p.at == len(p.text) {
		p.token = token{}
		return
	}
	start := p.at
	switch c := p.text[p.at]; {
	case c == '\'':
		p.quoted()
	case strings.IndexByte("[](),", c) >= 0:
		p.at++
		p.token = token{symbol, p.text[start:p.at]}
	case strings.IndexByte("=!<>", c) >= 0:
		for p.at < len(p.text) && strings.IndexByte("=!<>", p.text[p.at]) >= 0 {
			p.at++
		}
		p.token = token{symbol, p.text[start:p.at]}
	case isPathByte(c):
		p.path()
	default:
		p.token = token{sort: wrongToken}
	}
}

// quoted reads a string. A backslash stands before a quote and before itself;
// before anything else writers mean it.
func (p *patternParser) quoted() {
	var b strings.Builder
	for i := p.at + 1; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '\'':
			p.at = i + 1
			p.token = token{literal, b.String()}
			return
		case c == '\\' && i+1 < len(p.text) && (p.text[i+1] == '\'' || p.text[i+1] == '\\'):
			i++
			b.WriteByte(p.text[i])
		default:
			b.WriteByte(c)
		}
	}
	p.token = token{sort: wrongToken}
}

// path reads a word: a keyword, a number, a literal such as h'ff' or t'…', or an
// object path, in which parts can be quoted and have an index.
func (p *patternParser) path() {
	start := p.at
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case isPathByte(c):
			p.at++
		case c == '\'' && p.at > start && (p.text[p.at-1] == '.' || p.text[p.at-1] == ':'):
			if !p.over("'") {
				return
			}
		case c == '\'' && p.at == start+1 && strings.IndexByte("htb", p.text[start]) >= 0:
			if p.over("'") {
				p.token = token{otherLiteral, p.text[start:p.at]}
			}
			return
		case c == '[' && strings.IndexByte(p.text[start:p.at], ':') >= 0:
			if !p.over("]") {
				return
			}
		default:
			p.word(start)
			return
		}
	}
	p.word(start)
}

func (p *patternParser) word(start int) {
	p.token = token{word, p.text[start:p.at]}
	if c := p.text[start]; c >= '0' && c <= '9' || c == '-' || c == '+' {
		p.token.sort = otherLiteral
	}
}

// over passes over what stands between here and the next end, which no part of
// a path holds. If there is none, the token is wrong.
func (p *patternParser) over(end string) bool {
	n := strings.Index(p.text[p.at+1:], end)
	if n < 0 {
		p.token = token{sort: wrongToken}
		return false
	}
	p.at += 1 + n + len(end)
	return true
}

func isPathByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.' || c == ':' || c == '+'
}

func (p *patternParser) isSymbol(text string) bool {
	return p.token.sort == symbol && p.token.text == text
}

func (p *patternParser) isWord(text string) bool {
	return p.token.sort == word && strings.EqualFold(p.token.text, text)
}

// expect passes over a symbol that has to stand here.
func (p *patternParser) expect(text string) error {
	if !p.isSymbol(text) {
		return errPattern
	}
	p.next()
	return nil
}

// either joins two parts of which one is enough.
func either(a, b found) found {
	return found{values: append(a.values, b.values...), refuse: append(a.refuse, b.refuse...)}
}

// neither gives nothing of what was found: it tells nothing alone.
func neither(detail string) found { return found{refuse: []refusal{{Unsupported, detail}}} }

// joined reads what an operator joins, from the one that binds least.
func (p *patternParser) joined(part func() (found, error), operator string, join func(a, b found) found) (found, error) {
	all, err := part()
	for err == nil && p.isWord(operator) {
		p.next()
		var f found
		if f, err = part(); err == nil {
			all = join(all, f)
		}
	}
	return all, err
}

// observations reads observation expressions: FOLLOWEDBY binds least, then OR,
// then AND (STIX 2.1 section 9.5.1).
func (p *patternParser) observations(depth int) (found, error) {
	one := func() (found, error) { return p.observation(depth) }
	and := func() (found, error) {
		return p.joined(one, "AND", func(_, _ found) found { return neither("AND of observations") })
	}
	or := func() (found, error) { return p.joined(and, "OR", either) }
	return p.joined(or, "FOLLOWEDBY", func(_, _ found) found { return neither("operator FOLLOWEDBY") })
}

// observation reads one in square brackets, or several in round ones, with what
// qualifies them.
func (p *patternParser) observation(depth int) (f found, err error) {
	switch {
	case depth >= p.max:
		return f, errors.New("has brackets nested too deep")
	case p.isSymbol("["):
		p.next()
		if f, err = p.comparisons(depth + 1); err == nil {
			err = p.expect("]")
		}
	case p.isSymbol("("):
		p.next()
		if f, err = p.observations(depth + 1); err == nil {
			err = p.expect(")")
		}
	default:
		err = errPattern
	}
	for err == nil {
		operands := 0
		switch {
		case p.isWord("WITHIN"), p.isWord("REPEATS"):
			operands = 2 // 5 TIMES, 300 SECONDS
		case p.isWord("START"):
			operands = 3 // t'…' STOP t'…'
		default:
			return f, nil
		}
		f = neither("operator " + strings.ToUpper(p.token.text))
		for range operands + 1 {
			if p.token.sort == endOfPattern || p.token.sort == wrongToken {
				return f, errPattern
			}
			p.next()
		}
	}
	return f, err
}

// comparisons reads what stands in square brackets: OR binds less than AND.
func (p *patternParser) comparisons(depth int) (found, error) {
	one := func() (found, error) { return p.comparison(depth) }
	and := func() (found, error) {
		return p.joined(one, "AND", func(a, b found) found {
			if a.hashes && b.hashes {
				f := either(a, b)
				f.hashes = true
				return f
			}
			return neither("AND of comparisons")
		})
	}
	return p.joined(and, "OR", either)
}

// comparison reads one comparison, or several in brackets.
func (p *patternParser) comparison(depth int) (f found, err error) {
	if depth >= p.max {
		return f, errors.New("has brackets nested too deep")
	}
	if p.isSymbol("(") {
		p.next()
		if f, err = p.comparisons(depth + 1); err == nil {
			err = p.expect(")")
		}
		return f, err
	}
	not := p.isWord("NOT")
	if not {
		p.next()
	}
	if p.isWord("EXISTS") { // EXISTS path
		p.next()
		if p.token.sort != word {
			return f, errPattern
		}
		p.next()
		return neither("operator EXISTS"), nil
	}
	if p.token.sort != word || !strings.Contains(p.token.text, ":") {
		return f, errPattern
	}
	path := p.token.text
	p.next()
	if p.isWord("NOT") {
		not = true
		p.next()
	}
	if p.token.sort != symbol && p.token.sort != word {
		return f, errPattern
	}
	operator := strings.ToUpper(p.token.text)
	p.next()
	values, strange, err := p.operands(operator)
	if err != nil {
		return f, err
	}
	if not {
		return neither("operator NOT"), nil
	}
	return compare(path, operator, values, strange), nil
}

// operands reads what stands behind an operator: one literal, or for IN a set.
// strange says that it is of another type than a string.
func (p *patternParser) operands(operator string) (values []string, strange bool, err error) {
	one := func() error {
		switch p.token.sort {
		case literal:
			values = append(values, p.token.text)
		case otherLiteral:
			strange = true
		case word:
			if !p.isWord("true") && !p.isWord("false") {
				return errPattern
			}
			strange = true
		default:
			return errPattern
		}
		p.next()
		return nil
	}
	if operator != "IN" {
		switch operator {
		case "=", "==", "!=", "<>", "<", "<=", ">", ">=", "LIKE", "MATCHES", "ISSUBSET", "ISSUPERSET":
			return values, strange, one()
		}
		return nil, false, errPattern
	}
	if err := p.expect("("); err != nil {
		return nil, false, err
	}
	for {
		if err := one(); err != nil {
			return nil, false, err
		}
		if !p.isSymbol(",") {
			return values, strange, p.expect(")")
		}
		p.next()
	}
}

// compare gives what a comparison names.
func compare(path, operator string, values []string, strange bool) found {
	kind, isHash := kindOfPath(path)
	isIP := strings.HasPrefix(path, "ipv")
	switch {
	case kind == 0:
		return neither("path " + path)
	case operator == "ISSUBSET" && isIP:
	case operator == "LIKE" && !strange:
		return like(kind, values[0])
	case operator != "=" && operator != "==" && operator != "IN":
		return neither("operator " + operator)
	case strange:
		return neither("a value that is no string")
	}
	f := found{hashes: isHash && operator != "IN"}
	for _, text := range values {
		f.values = append(f.values, patternValue{kind: kind, text: text, isSubnet: operator == "ISSUBSET"})
	}
	return f
}

// like gives what a comparison by LIKE names, where it is one of the families
// that are known here: all names below a domain ('%.evil.example'), and all URLs
// that begin alike ('https://evil.example/pay/%').
func like(kind intel.Kind, text string) found {
	const wildcards = "%_"
	switch name, below := strings.CutPrefix(text, "%."); {
	case kind == intel.KindDomain && below && !strings.ContainsAny(name, wildcards):
		return found{values: []patternValue{{kind: kind, text: "." + name, isBelow: true}}}
	case kind == intel.KindURL && strings.HasSuffix(text, "%") && !strings.ContainsAny(text[:len(text)-1], wildcards):
		return found{values: []patternValue{{kind: kind, text: text[:len(text)-1] + "*"}}}
	}
	return neither("operator LIKE")
}

// kindOfPath gives what kind of value an object path names; 0 for what mail
// cannot be searched for.
func kindOfPath(path string) (kind intel.Kind, isHash bool) {
	switch path {
	case "url:value":
		return intel.KindURL, false
	case "domain-name:value":
		return intel.KindDomain, false
	case "ipv4-addr:value", "ipv6-addr:value":
		return intel.KindIP, false
	case "email-addr:value", "email-message:from_ref.value", "email-message:sender_ref.value":
		return intel.KindAddress, false
	}
	name, ok := strings.CutPrefix(path, "file:hashes.")
	if !ok {
		return 0, false
	}
	switch strings.ToUpper(strings.ReplaceAll(strings.Trim(name, "'"), "-", "")) {
	case "MD5":
		return intel.KindMD5, true
	case "SHA1":
		return intel.KindSHA1, true
	case "SHA256":
		return intel.KindSHA256, true
	}
	return 0, false
}

// subnet reads the operand of ISSUBSET.
func (v *values) subnet(text string) (intel.Pattern, *refusal) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return v.ip(text)
	}
	return v.ipRange(prefix)
}
