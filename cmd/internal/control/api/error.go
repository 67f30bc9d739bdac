package api

import (
	"fmt"
	"strings"
)

// Code says which sort of thing went wrong.
type Code string

// The codes. What each means stands in Codes.
const (
	BadRequest   Code = "bad-request"
	Ambiguous    Code = "ambiguous"
	NotFound     Code = "not-found"
	Gone         Code = "gone"
	Forbidden    Code = "forbidden"
	Blocked      Code = "blocked"
	Uncertain    Code = "uncertain"
	Busy         Code = "busy"
	NoSpace      Code = "no-space"
	Unavailable  Code = "unavailable"
	Failed       Code = "failed"
	UnknownRoute Code = "unknown-route"
	SecondPerson Code = "second-person"
	Closed       Code = "closed"
	Nothing      Code = "nothing"
	LeaseLost    Code = "lease-lost"
	TooLarge     Code = "too-large"
	Refused      Code = "refused"
)

// Exit codes of the command line (see package cli).
const (
	exitFailed   = 1
	exitUsage    = 2
	exitNotFound = 3
	exitRefused  = 4
)

// CodeInfo describes a code.
type CodeInfo struct {
	Code    Code
	Status  int // of the HTTP answer
	Exit    int // of the command that met it
	Meaning string
}

// Codes lists every code.
func Codes() []CodeInfo {
	return []CodeInfo{
		{BadRequest, 400, exitUsage, "The request is not one that the operation takes."},
		{Ambiguous, 400, exitUsage, "The beginning of an ID fits several."},
		{NotFound, 404, exitNotFound, "There is no such thing."},
		{Gone, 410, exitNotFound, "The message was deleted or has expired."},
		{Forbidden, 403, exitRefused, "The caller's role does not allow it."},
		{Blocked, 409, exitRefused, "Today's rules would hold the message again; override it with a reason."},
		{Uncertain, 409, exitRefused, "The message may have been delivered already; release it again with a reason."},
		{Busy, 409, exitRefused, "The same is being done at this moment."},
		{NoSpace, 507, exitFailed, "There is not enough disk space to record it."},
		{Unavailable, 503, exitFailed, "The daemon's stores are not open: it is starting or stopping."},
		{Failed, 500, exitFailed, "It failed; the daemon's log says more."},
		{SecondPerson, 403, exitRefused, "It is so much that another person has to approve it."},
		{Closed, 409, exitRefused, "The incident is closed."},
		{Nothing, 404, exitNotFound, "There is nothing of the kind to be done."},
		{LeaseLost, 409, exitRefused, "The lease has run out or is not the caller's: stop working on the job."},
		{TooLarge, 413, exitRefused, "The message is larger than the daemon takes."},
		{Refused, 409, exitRefused, "What was asked for is not done, for its own sake: the error says why."},
		{UnknownRoute, 404, exitFailed, "There is no such operation; daemon and caller may be of different versions."},
	}
}

// Info describes the code; one that is not known is like Failed.
func (c Code) Info() CodeInfo {
	info := CodeInfo{Code: c, Status: 500, Exit: exitFailed}
	for _, i := range Codes() {
		if i.Code == c {
			info = i
		}
	}
	return info
}

// Error is the one form of what went wrong.
type Error struct {
	Code    Code   `json:"code" doc:"which sort of thing went wrong"`
	Text    string `json:"error" doc:"what went wrong, on what"`
	Cure    string `json:"cure,omitempty" doc:"what to do"`
	Blocked *Hold  `json:"blocked,omitempty" doc:"of the code blocked: why today's rules would hold the message again"`
}

// Hold says which rule would hold a message, and for what.
type Hold struct {
	Rule    string   `json:"rule" doc:"the rule that decides"`
	Reasons []Reason `json:"reasons" doc:"what it found"`
}

// Error gives text and cure on one line.
func (e *Error) Error() string {
	if e.Cure == "" {
		return e.Text
	}
	return e.Text + "; " + e.Cure
}

// Errorf makes an error without a cure.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Problem is one mistake in a file that somebody edits.
type Problem struct {
	Severity string `json:"severity" enum:"error warning" doc:"an error keeps the file from loading"`
	File     string `json:"file,omitempty" doc:"as the administrator named it"`
	Line     int    `json:"line,omitempty" doc:"from 1"`
	Column   int    `json:"column,omitempty" doc:"in bytes, from 1"`
	Key      string `json:"key,omitempty" doc:"of a configuration: the key; of a policy: the rule"`
	Value    string `json:"value,omitempty" doc:"what stands there"`
	Reason   string `json:"reason" doc:"what is wrong with it"`
	Cure     string `json:"cure,omitempty" doc:"what to do"`
}

// String gives the problem on one line, as compilers do: file:line:column: ….
func (p *Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
			if p.Column > 0 {
				fmt.Fprintf(&b, ":%d", p.Column)
			}
		}
		b.WriteString(": ")
	}
	if p.Severity == "warning" {
		b.WriteString("warning: ")
	}
	if p.Key != "" {
		b.WriteString(p.Key)
		if p.Value != "" {
			b.WriteString(" = " + p.Value)
		}
		b.WriteByte(' ')
	} else if p.Value != "" {
		fmt.Fprintf(&b, "%q ", p.Value)
	}
	b.WriteString(p.Reason)
	if p.Cure != "" {
		b.WriteString("; " + p.Cure)
	}
	return b.String()
}
