package list

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
)

// Format gives a list file in the one way to write it: an entry as its author
// wrote it, its options in the order of the package comment and quoted only
// where they have to be, single spaces, two before a comment, lines that end in
// LF, no byte order mark, no more than one empty line in a row and none at the
// beginning or the end. It changes no entry and no comment, and formatting the
// result again changes nothing.
//
// The errors are Read's, and all of them: a file with a Problem is not formatted.
func Format(r io.Reader, o Options) ([]byte, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	source, err := io.ReadAll(io.LimitReader(r, o.MaxBytes+1))
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, err := range Read(bytes.NewReader(source), o) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	var out bytes.Buffer
	lines := lineReader{r: bufio.NewReaderSize(bytes.NewReader(source), MaxLine+len("\r\n")), left: o.MaxBytes}
	empty := 0
	for {
		text, f, err := lines.next()
		if f != nil || err != nil {
			return out.Bytes(), nil //nolint:nilerr // the end: Read found no other reason
		}
		formatted := formatLine(text)
		if formatted == "" {
			empty++
			continue
		}
		if empty > 0 && out.Len() > 0 {
			out.WriteByte('\n')
		}
		empty = 0
		out.WriteString(formatted)
		out.WriteByte('\n')
	}
}

func formatLine(text []byte) string {
	if isComment(text) {
		return string(bytes.Trim(text, " \t"))
	}
	l, f := split(string(text))
	if f != nil {
		return string(text) // unreachable: Read found nothing wrong
	}
	var b strings.Builder
	b.WriteString(l.value.text)
	for _, name := range optionNames() {
		i := slices.IndexFunc(l.options, func(o option) bool { return o.name.text == name })
		if i >= 0 {
			b.WriteString(" " + name + "=" + quote(l.options[i].value.text))
		}
	}
	if l.comment != "" {
		if b.Len() > 0 {
			b.WriteString("  ")
		}
		b.WriteString(l.comment)
	}
	if b.Len() > MaxLine {
		return string(text) // a space more would make it unreadable
	}
	return b.String()
}

// quote puts a value between quotes if it would otherwise be read as another.
func quote(value string) string {
	if !strings.HasPrefix(value, `"`) && !strings.ContainsAny(value, " \t") {
		return value
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}
