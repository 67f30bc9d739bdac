package postconf

import (
	"strconv"
	"strings"
)

// Bounds on expansion: a configuration is text that somebody wrote, and
// "a = $a$a" has no end.
const (
	depthMax    = 40      // levels of references
	expandedMax = 1 << 20 // bytes of one value
	stepsMax    = 2000    // references followed for one value
)

// expander expands the references in one value.
type expander struct {
	config  *Config
	service *Service
	steps   int
	size    int
}

// Expand replaces references as postconf(5) describes: $name, $(name), ${name},
// ${name?text}, ${name:text}, ${name?{text}:{text}}, ${{a} == {b} ? {c} : {d}}
// and $$. They are looked up as s sees them, which may be nil. What cannot be
// read, and what goes beyond 40 levels, 2000 references or 1 MiB, stays as it is.
func (c *Config) Expand(s *Service, text string) string {
	if !strings.Contains(text, "$") {
		return text
	}
	e := &expander{config: c, service: s}
	return e.text(text, 0)
}

func (e *expander) text(text string, depth int) string {
	var b strings.Builder
	for text != "" {
		at := strings.IndexByte(text, '$')
		if at < 0 || depth > depthMax || e.steps > stepsMax || e.size > expandedMax {
			b.WriteString(text)
			break
		}
		b.WriteString(text[:at])
		text = text[at+1:]
		value, rest, ok := e.reference(text, depth)
		if !ok {
			b.WriteByte('$')
			continue
		}
		e.size += len(value)
		b.WriteString(value)
		text = rest
	}
	return b.String()
}

// reference expands what stands after a "$" and gives the rest of the text.
func (e *expander) reference(text string, depth int) (value, rest string, ok bool) {
	e.steps++
	if text == "" {
		return "", "", false
	}
	switch text[0] {
	case '$':
		return "$", text[1:], true
	case '{':
		end := closing(text)
		if end < 0 {
			return "", "", false
		}
		value, ok = e.braced(strings.TrimLeft(text[1:end], " \t"), depth)
		return value, text[end+1:], ok
	case '(':
		end := strings.IndexByte(text, ')')
		if end < 0 || !isName(text[1:end]) {
			return "", "", false
		}
		return e.name(text[1:end], depth), text[end+1:], true
	}
	end := 0
	for end < len(text) && isName(text[end:end+1]) && text[end] != '-' && text[end] != '.' {
		end++
	}
	if end == 0 {
		return "", "", false
	}
	return e.name(text[:end], depth), text[end:], true
}

func (e *expander) name(name string, depth int) string {
	return e.text(e.config.Raw(e.service, name), depth+1)
}

// braced expands the inside of "${…}".
func (e *expander) braced(inner string, depth int) (string, bool) {
	if strings.HasPrefix(inner, "{") {
		return e.comparison(inner, depth)
	}
	end := strings.IndexAny(inner, "?: \t")
	if end < 0 {
		end = len(inner)
	}
	name := inner[:end]
	if !isName(name) {
		return "", false
	}
	value := e.name(name, depth)
	rest := strings.TrimLeft(inner[end:], " \t")
	switch {
	case rest == "":
		return value, true
	case rest[0] == ':':
		return e.choice(rest[1:], value == "", depth), true
	case rest[0] == '?':
		return e.choice(rest[1:], value != "", depth), true
	}
	return "", false
}

// choice expands "{text1}:{text2}", "{text}" or "text" to the first where the
// condition holds, and to the second, or to nothing, where it does not. White
// space within braces is kept, as Postfix does.
func (e *expander) choice(text string, holds bool, depth int) string {
	first, second := text, ""
	if braced := strings.TrimLeft(text, " \t"); strings.HasPrefix(braced, "{") {
		if end := closing(braced); end >= 0 {
			first, second = braced[1:end], strings.Trim(braced[end+1:], " \t:")
			if closing(second) == len(second)-1 && second != "" {
				second = second[1 : len(second)-1]
			}
		}
	}
	if !holds {
		first = second
	}
	return e.text(first, depth+1)
}

// comparison expands "{a} == {b} ? {c} : {d}" and gives false where it is not
// of that form.
func (e *expander) comparison(text string, depth int) (string, bool) {
	end := closing(text)
	if end < 0 {
		return "", false
	}
	left := e.text(text[1:end], depth+1)
	operator, text, ok := strings.Cut(text[end+1:], "{")
	if !ok {
		return "", false
	}
	text = "{" + text
	if end = closing(text); end < 0 {
		return "", false
	}
	right := e.text(text[1:end], depth+1)
	holds, ok := compare(left, strings.TrimSpace(operator), right)
	if !ok {
		return "", false
	}
	text = strings.TrimSpace(text[end+1:])
	if text, ok = strings.CutPrefix(text, "?"); !ok {
		return "", false
	}
	return e.choice(text, holds, depth), true
}

// compare applies an operator. Numbers are compared as numbers, and with
// "level" behind the operator compatibility levels as such.
func compare(left, operator, right string) (holds, ok bool) {
	operator, level := strings.CutSuffix(operator, "level")
	n := strings.Compare(left, right)
	a, errA := strconv.Atoi(left)
	b, errB := strconv.Atoi(right)
	switch {
	case level:
		n = compareLevels(left, right)
	case errA == nil && errB == nil:
		n = a - b
	}
	switch operator {
	case "==":
		return n == 0, true
	case "!=":
		return n != 0, true
	case "<":
		return n < 0, true
	case "<=":
		return n <= 0, true
	case ">":
		return n > 0, true
	case ">=":
		return n >= 0, true
	}
	return false, false
}

// compareLevels compares compatibility levels, "3.6" or "2", part by part.
// What is no number counts as 0.
func compareLevels(left, right string) int {
	a, b := strings.Split(left, "."), strings.Split(right, ".")
	for i := range max(len(a), len(b)) {
		var x, y int
		if i < len(a) {
			x, _ = strconv.Atoi(a[i])
		}
		if i < len(b) {
			y, _ = strconv.Atoi(b[i])
		}
		if x != y {
			return x - y
		}
	}
	return 0
}

// closing gives the index of the brace that closes the one at the start of
// text; -1 when there is none.
func closing(text string) int {
	depth := 0
	for i := range len(text) {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}
