package intel

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"
)

// Form says how a pattern matches.
type Form uint8

// The forms. Their numbers are written to disk.
const (
	FormExact  Form = 1 // exactly this value
	FormBelow  Form = 2 // a domain and every name below it
	FormPrefix Form = 3 // every URL that begins so
	FormRange  Form = 4 // every address in a CIDR block
	FormRegexp Form = 5 // RE2, on fields of the message
)

// Field names a text of the message that a regular expression looks at.
// Header fields other than the subject are "header" (each one as
// "Name: value") or "header:name" (the value of that field).
type Field string

// The fields.
const (
	FieldSubject  Field = "subject"
	FieldFileName Field = "file-name"
	FieldHeader   Field = "header"
)

// Pattern is what an indicator matches: one Value, a family of them, or a text.
// The zero Pattern matches nothing.
type Pattern struct {
	form   Form
	kind   Kind
	text   string // canonical; for a prefix without its "*", for a range in CIDR form
	fields []Field
	re     *regexp.Regexp
}

// Form says how p matches.
func (p Pattern) Form() Form { return p.form }

// Kind says what kind of value p matches; 0 for a regular expression.
func (p Pattern) Kind() Kind { return p.kind }

// Fields gives the fields that a regular expression looks at.
func (p Pattern) Fields() []Field { return p.fields }

// Value gives the one value that a FormExact pattern matches; of other forms
// the zero Value.
func (p Pattern) Value() Value {
	if p.form != FormExact {
		return Value{}
	}
	return Value{kind: p.kind, text: p.text}
}

// Regexp gives the compiled expression of a FormRegexp pattern, else nil.
func (p Pattern) Regexp() *regexp.Regexp { return p.re }

// Text gives the canonical text that p's form is about: the domain of a
// FormBelow without its dot, a prefix without its "*", a regular expression
// without its slashes.
func (p Pattern) Text() string { return p.text }

// MatchText is Text as patterns and values are compared: of a URL without an
// http or https scheme.
func (p Pattern) MatchText() string {
	if p.kind == KindURL {
		return urlMatchText(p.text)
	}
	return p.text
}

// String gives p as a list file writes it, of a regular expression without the
// fields, which stand in an option there.
func (p Pattern) String() string {
	switch p.form {
	case FormBelow:
		return "." + p.text
	case FormPrefix:
		return p.text + "*"
	case FormRegexp:
		expr, foldCase := strings.CutPrefix(p.text, "(?i)")
		text := "/" + strings.ReplaceAll(expr, "/", `\/`) + "/"
		if foldCase {
			text += "i"
		}
		return text
	}
	return p.text
}

// AppendKey appends the bytes by which stores know p. Patterns that match the
// same values have the same key; a regular expression's key is its fields and text.
func (p Pattern) AppendKey(dst []byte) []byte {
	dst = AppendPatternKey(dst, p.form, p.kind, p.MatchText())
	for _, f := range p.fields {
		dst = append(append(dst, 0), f...)
	}
	return dst
}

// AppendPatternKey appends the key of the pattern that has this form, kind and
// text, where a URL's text has no http or https scheme. A lookup that probes
// the generalisations of an observable uses it to make no Pattern on the way.
func AppendPatternKey(dst []byte, form Form, kind Kind, text string) []byte {
	return append(append(dst, byte(form), byte(kind)), text...)
}

// PatternFromKey is the inverse of AppendKey, for stores that keep nothing but
// the key. A URL's key has lost its scheme: scheme is what has to stand before
// the key's text, "http://", "https://" or nothing. It believes the text to be
// canonical; the error of a key that AppendKey cannot have made is an ErrValue.
func PatternFromKey(key []byte, scheme string) (Pattern, error) {
	if len(key) < 2 {
		return Pattern{}, invalid("pattern key", string(key), "is too short")
	}
	form, kind, text := Form(key[0]), Kind(key[1]), scheme+string(key[2:])
	switch {
	case scheme != "" && (kind != KindURL || scheme != "http://" && scheme != "https://"):
	case form == FormRegexp && kind == 0:
		expr, names, _ := strings.Cut(text, "\x00")
		var fields []Field
		for name := range strings.SplitSeq(names, "\x00") {
			fields = append(fields, Field(name))
		}
		return Regexp(expr, fields)
	case !slices.Contains(Kinds(), kind), text == "":
	case form == FormExact:
		return Pattern{form: form, kind: kind, text: text}, nil
	case form == FormBelow && kind == KindDomain, form == FormPrefix && kind == KindURL, form == FormRange && kind == KindIP:
		return Pattern{form: form, kind: kind, text: text}, nil
	}
	return Pattern{}, invalid("pattern key", string(key), "has a form or kind that does not exist")
}

// Exact matches v and nothing else.
func Exact(v Value) Pattern { return Pattern{form: FormExact, kind: v.kind, text: v.text} }

// Below matches the domain and every name below it. The text may begin with
// the dot that lists write.
func Below(text string) (Pattern, error) {
	d, err := Domain(strings.TrimPrefix(text, "."))
	if err != nil {
		return Pattern{}, err
	}
	return Pattern{form: FormBelow, kind: KindDomain, text: d.text}, nil
}

// Range matches every address of the block. Host bits must be zero: an entry
// such as 10.1.2.3/8 is more often a slip than a wish.
func Range(p netip.Prefix) (Pattern, error) {
	if !p.IsValid() {
		return Pattern{}, invalid("address range", p.String(), "is not a CIDR block")
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return Pattern{}, invalid("address range", p.String(), "reaches beyond the IPv4 addresses mapped into IPv6")
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return Pattern{}, invalid("address range", p.String(), fmt.Sprintf("has host bits set; the block is %s", p.Masked()))
	}
	if p.IsSingleIP() {
		v, err := IP(p.Addr())
		return Exact(v), err
	}
	return Pattern{form: FormRange, kind: KindIP, text: p.String()}, nil
}

// MaxRegexp is the number of bytes that a regular expression may have.
const MaxRegexp = 4096

// Regexp matches the given fields by an RE2 expression, without anchors and
// with the case that it says itself ((?i) for none). It needs at least one
// field; their order, their case and repetitions mean nothing. A slash may
// stand there escaped, as lists write it, or bare.
func Regexp(expr string, fields []Field) (Pattern, error) {
	if len(fields) == 0 {
		return Pattern{}, invalid("regular expression", expr, "names no field to look at: add in=subject, in=file-name or in=header:NAME")
	}
	canonical := make([]Field, 0, len(fields))
	for _, f := range fields {
		lower := Field(strings.ToLower(string(f)))
		name, isHeader := strings.CutPrefix(string(lower), "header:")
		if lower != FieldSubject && lower != FieldFileName && lower != FieldHeader && (!isHeader || !isFieldName(name)) {
			return Pattern{}, invalid("field", string(f), "is none of subject, file-name, header, header:NAME")
		}
		canonical = append(canonical, lower)
	}
	slices.Sort(canonical)
	canonical = slices.Compact(canonical)
	expr = bareSlashes(expr)
	if len(expr) > MaxRegexp {
		return Pattern{}, invalid("regular expression", expr, fmt.Sprintf("is longer than %d bytes", MaxRegexp))
	}
	if strings.IndexByte(expr, 0) >= 0 { // it parts expression and fields in the key
		return Pattern{}, invalid("regular expression", expr, `has a NUL; write \x00`)
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		var why *syntax.Error
		if errors.As(err, &why) {
			return Pattern{}, invalid("regular expression", expr, fmt.Sprintf("%s: %s", why.Code, why.Expr))
		}
		return Pattern{}, invalid("regular expression", expr, err.Error())
	}
	return Pattern{form: FormRegexp, text: expr, fields: canonical, re: re}, nil
}

// isFieldName reports whether name can name a header field (RFC 5322 section 3.6.8).
func isFieldName(name string) bool {
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return name != ""
}

// bareSlashes replaces each escaped slash by a slash.
func bareSlashes(expr string) string {
	if !strings.Contains(expr, `\/`) {
		return expr
	}
	bare := make([]byte, 0, len(expr))
	for i := 0; i < len(expr); i++ {
		if expr[i] == '\\' && i+1 < len(expr) {
			if expr[i+1] != '/' {
				bare = append(bare, '\\')
			}
			i++
		}
		bare = append(bare, expr[i])
	}
	return string(bare)
}

// Indicator is something known about values or texts, and what to make of it.
type Indicator struct {
	Pattern     Pattern
	Disposition Disposition
	Source      string    // who says so: "list:block/local.txt", "feed:urlhaus", "operator"
	Line        int       // line in the source's file, from 1; 0 where there is none
	Note        string    // for people here, never for a header
	ID          string    // a case or ticket
	Campaign    string    // what it belongs to
	Confidence  int       // how sure the source is, 1 to 100; 0: it does not say
	TLP         TLP       // how far it may be passed on; TLPNone: the source does not say
	Until       time.Time // not in force from this moment on; zero: for ever
	Action      Action    // what the author wants done; ActionNone leaves it to the policy
	Roles       []Role    // in force only for these roles; empty: for all
	Direction   Direction // in force only this way; DirectionAny: both
}

// InForce reports whether i speaks about an observable with this role in a
// message of this direction at this time.
func (i *Indicator) InForce(role Role, d Direction, now time.Time) bool {
	if !i.Until.IsZero() && !now.Before(i.Until) {
		return false
	}
	if i.Direction != DirectionAny && d != DirectionAny && i.Direction != d {
		return false
	}
	if len(i.Roles) == 0 {
		return true
	}
	for _, r := range i.Roles {
		if r == role {
			return true
		}
	}
	return false
}

// Partial reports whether i speaks only of a part of a message, or of one direction:
// said without that it would say more than its author does.
func (i *Indicator) Partial() bool { return len(i.Roles) > 0 || i.Direction != DirectionAny }

// Observable is a value seen in a message: which part it plays there and where.
type Observable struct {
	Value Value
	Role  Role
	Place string // "envelope", "header/From", "1.2/a@href": see package message
}

// Hit is an observable, or for a regular expression a text, that an indicator
// matched.
type Hit struct {
	Observable Observable // for a regular expression: Role and Value empty, Place the field
	Text       string     // what was matched, as a person would want to read it; at most 256 bytes
	Indicator  *Indicator // shared, never written to
}
