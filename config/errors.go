package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Error is one mistake in a configuration.
type Error struct {
	File         string // as it was named to Load or Parse
	Line, Column int    // from 1, columns in bytes; 0 where the file says nothing about Key
	Key          string // "milter.listen"; empty when the TOML itself is wrong
	Value        string // as the file or the default writes it, cut at valueMax bytes
	Problem      string // "is not a duration"
	Cure         string // what to do
}

// Error gives all of e on one line.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ":")
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", e.Line, e.Column)
	}
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	if e.Key != "" {
		b.WriteString(e.Key)
		if e.Value != "" {
			b.WriteString(" = " + e.Value)
		}
		if e.File != "" && e.Line == 0 {
			b.WriteString(" (default)")
		}
		b.WriteByte(' ')
	}
	b.WriteString(e.Problem)
	if e.Cure != "" {
		b.WriteString("; " + e.Cure)
	}
	return b.String()
}

// Errors is every mistake that was found, in the order of the file; what the
// file says nothing about comes last. It is never empty when it is returned as
// an error.
type Errors []*Error

// Error gives one line for each mistake.
func (e Errors) Error() string {
	lines := make([]string, 0, len(e))
	for _, one := range e {
		lines = append(lines, one.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the mistakes to errors.As and errors.Is.
func (e Errors) Unwrap() []error {
	all := make([]error, 0, len(e))
	for _, one := range e {
		all = append(all, one)
	}
	return all
}

// orNil sorts e and gives it as an error, nil when it is empty.
func (e Errors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b *Error) int {
		switch {
		case a.Line == b.Line:
			return a.Column - b.Column
		case a.Line == 0:
			return 1
		case b.Line == 0:
			return -1
		}
		return a.Line - b.Line
	})
	return e
}

// Bounds on what an error repeats of a file.
const (
	valueMax  = 120  // bytes of a value
	errorsMax = 1000 // mistakes in one file
)

// quoteValue makes text that came from a file safe to print and not too long.
func quoteValue(raw string) string {
	if len(raw) > valueMax {
		raw = strings.ToValidUTF8(raw[:valueMax], "") + "…"
	}
	if strings.ContainsFunc(raw, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(raw)
	}
	return raw
}
