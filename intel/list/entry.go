package list

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirmail/weir/intel"
)

// Line gives an indicator as a line of a list in the folder of its disposition,
// in the way of Format and without a line end. Read gives the same indicator
// back, but for its source and line. The error says why no line can hold it.
func Line(ind *intel.Indicator) (string, error) {
	var first error
	for _, value := range spellings(ind.Pattern) {
		line := lineOf(ind, value)
		err := readsAs(line, ind)
		if err == nil {
			return line, nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = errors.New("it is no pattern")
	}
	return "", fmt.Errorf("%s cannot stand in a list: %w", ind.Pattern, first)
}

// spellings gives how a value may be written: by its form alone, or with its kind.
func spellings(p intel.Pattern) []string {
	if p.Kind() == 0 {
		return []string{p.String()}
	}
	return []string{p.String(), p.Kind().String() + ":" + p.String()}
}

func lineOf(ind *intel.Indicator, value string) string {
	var b strings.Builder
	b.WriteString(value)
	option := func(name, text string) {
		if text != "" {
			b.WriteString(" " + name + "=" + quote(text))
		}
	}
	var in []string
	for _, r := range ind.Roles {
		in = append(in, string(r))
	}
	for _, f := range ind.Pattern.Fields() {
		in = append(in, string(f))
	}
	option("in", strings.Join(in, ","))
	if ind.Action != intel.ActionNone {
		option("action", ind.Action.String())
	}
	if !ind.Until.IsZero() {
		option("until", ind.Until.UTC().Format(time.RFC3339))
	}
	if ind.Direction != intel.DirectionAny {
		option("dir", ind.Direction.String())
	}
	option("id", ind.ID)
	option("campaign", ind.Campaign)
	if ind.Confidence != 0 {
		option("confidence", strconv.Itoa(ind.Confidence))
	}
	option("tlp", ind.TLP.String())
	option("note", ind.Note)
	return b.String()
}

// readsAs reports what is wrong with a line that is to hold an indicator.
func readsAs(line string, want *intel.Indicator) error {
	n := 0
	for e, err := range Read(strings.NewReader(line), Options{File: "line", Disposition: want.Disposition}) {
		var p *Problem
		if errors.As(err, &p) {
			p.File, p.Line, p.Column = "", 0, 0
			return errors.New(strings.TrimPrefix(p.Error(), ": "))
		}
		if err != nil {
			return err
		}
		n++
		got := &e.Indicator
		same := string(got.Pattern.AppendKey(nil)) == string(want.Pattern.AppendKey(nil)) && got.Pattern.Text() == want.Pattern.Text() &&
			got.Note == want.Note && got.ID == want.ID && got.Campaign == want.Campaign && got.Confidence == want.Confidence && got.TLP == want.TLP &&
			got.Until.Equal(want.Until.Truncate(time.Second)) && got.Action == want.Action && got.Direction == want.Direction && sameRoles(got.Roles, want.Roles)
		if !same {
			return errors.New("it would be read as something else")
		}
	}
	if n != 1 {
		return errors.New("it would not be read as one entry")
	}
	return nil
}

func sameRoles(a, b []intel.Role) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// ParsePattern reads what an entry of a list is about, without options: a value,
// or a family of them as .evil.example. A regular expression is refused, since
// it says nothing without the option in=. The error is a *Problem without file
// and line.
func ParsePattern(text string) (intel.Pattern, error) {
	l, f := split(text)
	var p intel.Pattern
	switch {
	case f != nil:
	case l.value.text == "", len(l.options) > 0, l.comment != "":
		f = &fault{value: text, reason: "is more than a value, or less", cure: "write the value alone, without options and comments"}
	case l.regexp:
		f = &fault{value: text, reason: "is a regular expression", cure: "it belongs into a list file, with the fields that it looks at"}
	default:
		p, f = parsePattern(&l, nil)
	}
	if f != nil {
		problem := f.at("", 0)
		problem.Column = 0
		return intel.Pattern{}, problem
	}
	return p, nil
}
