package intel

import (
	"net/netip"
	"strings"
)

// Name gives p as text that says its form and kind too, "below|domain|evil.example"
// for instance. NamedPattern is its inverse. A regular expression has none.
func (p Pattern) Name() string {
	form := formName(p.form)
	if form == "" {
		return ""
	}
	return form + "|" + p.kind.String() + "|" + p.text
}

func formName(f Form) string {
	switch f {
	case FormExact:
		return "exact"
	case FormBelow:
		return "below"
	case FormPrefix:
		return "prefix"
	case FormRange:
		return "range"
	}
	return ""
}

// NamedPattern gives the pattern that has a name. The error is an ErrValue.
func NamedPattern(name string) (Pattern, error) {
	form, rest, _ := strings.Cut(name, "|")
	word, text, _ := strings.Cut(rest, "|")
	kind, _ := ParseKind(word)
	var p Pattern
	var err error
	switch {
	case form == formName(FormExact) && kind != 0:
		var v Value
		if v, err = valueOf(kind, text); err == nil {
			p = Exact(v)
		}
	case form == formName(FormBelow) && kind == KindDomain:
		p, err = Below(text)
	case form == formName(FormPrefix) && kind == KindURL:
		p, err = URLPrefix(text + "*")
	case form == formName(FormRange) && kind == KindIP:
		block, _ := netip.ParsePrefix(text)
		p, err = Range(block)
	}
	if err == nil && (name == "" || p.Name() != name) {
		err = invalid("name of a pattern", name, "is not one")
	}
	if err != nil {
		return Pattern{}, err
	}
	return p, nil
}

// valueOf makes a value of a kind.
func valueOf(kind Kind, text string) (Value, error) {
	switch kind {
	case KindAddress:
		return Address(text)
	case KindDomain:
		return Domain(text)
	case KindURL:
		return URL(text)
	case KindIP:
		a, err := netip.ParseAddr(text)
		if err != nil {
			return Value{}, invalid("ip", text, "is not an address")
		}
		return IP(a)
	}
	return Digest(text)
}
