package list

import (
	"fmt"
	"strings"
)

// Severity tells what keeps a file from loading from what merely looks wrong.
type Severity uint8

// The severities.
const (
	Error   Severity = 1 // the file does not load
	Warning Severity = 2 // it loads, and probably does not do what was meant
)

// String gives "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// Problem is one thing wrong with a list file.
type Problem struct {
	Severity Severity
	File     string // as the administrator named it
	Line     int    // from 1; 0 when the file as a whole is meant
	Column   int    // in bytes, from 1; 0 when the line as a whole is meant
	Value    string // what stands there, shortened; may be empty
	Reason   string // what is wrong with it
	Cure     string // what to do; may be empty
}

// Error gives the problem on one line: file:line:column: "value" reason; cure.
// A warning says that it is one.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Column > 0 {
		fmt.Fprintf(&b, ":%d", p.Column)
	}
	b.WriteString(": ")
	if p.Severity == Warning {
		b.WriteString("warning: ")
	}
	if p.Value != "" {
		fmt.Fprintf(&b, "%q ", p.Value)
	}
	b.WriteString(p.Reason)
	if p.Cure != "" {
		b.WriteString("; " + p.Cure)
	}
	return b.String()
}

// String is Error.
func (p *Problem) String() string { return p.Error() }

// fault is a Problem of which the file and the line are not known yet.
type fault struct {
	column int
	value  string
	reason string
	cure   string
}

// at makes a Problem of a fault.
func (f fault) at(file string, line int) *Problem {
	return &Problem{Severity: Error, File: file, Line: line, Column: f.column, Value: shorten(f.value), Reason: f.reason, Cure: f.cure}
}

// shorten cuts a value that somebody made long.
func shorten(value string) string {
	const most = 80
	if len(value) <= most {
		return value
	}
	return strings.ToValidUTF8(value[:most], "") + "…"
}
