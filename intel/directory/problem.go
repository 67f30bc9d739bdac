package directory

import (
	"fmt"
	"strings"
)

// Problem is one thing that keeps a directory file from loading.
type Problem struct {
	File   string // as the administrator named it
	Line   int    // from 1; 0 when the file as a whole is meant
	Column int    // in bytes, from 1; 0 when the line as a whole is meant
	Value  string // what stands there, shortened; may be empty
	Reason string // what is wrong with it
	Cure   string // what to do
}

// String gives the problem on one line: file:line:column: value: reason; cure.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	if p.Column > 0 {
		fmt.Fprintf(&b, ":%d", p.Column)
	}
	b.WriteString(": ")
	if p.Value != "" {
		fmt.Fprintf(&b, "%q: ", p.Value)
	}
	b.WriteString(p.Reason)
	if p.Cure != "" {
		b.WriteString("; " + p.Cure)
	}
	return b.String()
}

// Problems is the error that Read and Load return for a file that does not
// load: all that was found wrong, in the order of the file, at most
// Options.MaxProblems of them.
type Problems []Problem

// Error gives every problem on a line of its own.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}
