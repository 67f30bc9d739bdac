package mta

import (
	"strings"
)

// Severity says how bad a finding is.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // mail passes Weir by, is lost, or cannot be released
	Warning Severity = "warning" // it works, but not as most would want it
	OK      Severity = "ok"      // looked at and found right
)

// Finding is one result of a check.
type Finding struct {
	Severity Severity
	ID       string // a fixed word for what was looked at: "milter-missing"
	What     string // what was found
	Where    string // file, service and setting
	Why      string // why it matters
	Cure     string // what to do
}

// String gives the finding on one to four lines.
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(string(f.Severity) + ": " + f.What)
	for _, more := range []struct{ name, text string }{{"where", f.Where}, {"why", f.Why}, {"do", f.Cure}} {
		if more.text != "" {
			b.WriteString("\n  " + more.name + ": " + more.text)
		}
	}
	return b.String()
}
