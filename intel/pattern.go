package intel

import (
	"fmt"
	"net/netip"
	"regexp"
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

// Regexp gives the compiled expression of a FormRegexp pattern, else nil.
func (p Pattern) Regexp() *regexp.Regexp { return p.re }

// String gives p as a list file writes it.
func (p Pattern) String() string {
	switch p.form {
	case FormBelow:
		return "." + p.text
	case FormPrefix:
		return p.text + "*"
	case FormRegexp:
		return "/" + strings.ReplaceAll(p.text, "/", `\/`) + "/"
	}
	return p.text
}

// AppendKey appends the bytes by which stores know p. Patterns that match the
// same values have the same key; a regular expression's key is its fields and text.
func (p Pattern) AppendKey(dst []byte) []byte {
	text := p.text
	if p.kind == KindURL {
		text = urlMatchText(text)
	}
	dst = AppendPatternKey(dst, p.form, p.kind, text)
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

// Regexp matches the given fields by an RE2 expression, without anchors and
// with the case that it says itself ((?i) for none). It needs at least one field.
func Regexp(expr string, fields []Field) (Pattern, error) {
	if len(fields) == 0 {
		return Pattern{}, invalid("regular expression", expr, "names no field to look at: add in=subject, in=file-name or in=header:NAME")
	}
	for _, f := range fields {
		name, isHeader := strings.CutPrefix(string(f), "header:")
		if f != FieldSubject && f != FieldFileName && f != FieldHeader && (!isHeader || name == "") {
			return Pattern{}, invalid("field", string(f), "is none of subject, file-name, header, header:NAME")
		}
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return Pattern{}, fmt.Errorf("%w: regular expression: %w", ErrValue, err)
	}
	return Pattern{form: FormRegexp, text: expr, fields: fields, re: re}, nil
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
