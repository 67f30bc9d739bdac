package policy

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/rule"
)

// Bounds on a policy file.
const (
	maxFileBytes = 1 << 20
	maxRules     = 500
	maxName      = 64
	maxText      = 200
	maxPrefix    = 64
)

// Error is one fault in a policy file.
type Error struct {
	File   string
	Line   int // from 1; 0 where the fault is in no one line
	Column int // from 1; 0 where it is in no one column
	Rule   string
	Text   string // what is wrong and what to do
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
		if e.Column > 0 {
			fmt.Fprintf(&b, ":%d", e.Column)
		}
	}
	b.WriteString(": ")
	if e.Rule != "" {
		fmt.Fprintf(&b, "rule %s: ", e.Rule)
	}
	b.WriteString(e.Text)
	return b.String()
}

//go:embed default.toml
var defaultPolicy []byte

// DefaultName is the file name that the shipped policy has in errors and listings.
const DefaultName = "default.toml"

// Default gives the text of the shipped policy, which holds where none is
// configured and is a place to start from.
func Default() []byte { return slices.Clone(defaultPolicy) }

// Options says how conditions are compiled.
type Options struct {
	CostLimit uint64 // of one evaluation; 0 means rule.DefaultCostLimit
}

// file is a policy file as TOML has it.
type file struct {
	Rules []fileRule `toml:"rule"`
}

type fileRule struct {
	Name          string `toml:"name" doc:"lower-case letters, digits and hyphens; headers, logs and listings show it"`
	When          string `toml:"when" doc:"the condition; true is for every message"`
	Action        string `toml:"action" doc:"what becomes of the message, or of the copies of those recipients for whom the condition is true"`
	Code          int    `toml:"code" doc:"of reject and tempfail: the SMTP code, else 550 or 451"`
	Enhanced      string `toml:"enhanced" doc:"of reject and tempfail: the enhanced status, else 5.7.1 or 4.7.1"`
	Text          string `toml:"text" doc:"of reject and tempfail: what the client is told, in ASCII"`
	SubjectPrefix string `toml:"subject_prefix" doc:"of tag: what is put before the subject, with a space behind it"`
}

// Parse reads a policy. The name is the file's, for errors and listings. It
// takes the whole policy or none of it: the error joins an *Error for each fault.
func Parse(name string, data []byte, o Options) (*Policy, error) {
	if len(data) > maxFileBytes {
		return nil, &Error{File: name, Text: fmt.Sprintf("is larger than %d bytes", maxFileBytes)}
	}
	var f file
	if err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(&f); err != nil {
		return nil, tomlFaults(name, err)
	}
	if len(f.Rules) > maxRules {
		return nil, &Error{File: name, Text: fmt.Sprintf("has %d rules, more than %d", len(f.Rules), maxRules)}
	}
	env, err := rule.NewEnv(rule.Options{Vars: vars(), CostLimit: o.CostLimit})
	if err != nil {
		return nil, err
	}
	l := loader{file: name, env: env, where: locate(data), seen: map[string]int{}}
	p := &Policy{name: name}
	for i := range f.Rules {
		r := l.rule(i, &f.Rules[i])
		p.rules = append(p.rules, r)
		p.inEach = p.inEach || r.perRcpt
	}
	if len(l.faults) > 0 {
		return nil, errors.Join(l.faults...)
	}
	return p, nil
}

func tomlFaults(name string, err error) error {
	var missing *toml.StrictMissingError
	if errors.As(err, &missing) {
		var faults []error
		for i := range missing.Errors {
			e := &missing.Errors[i]
			line, column := e.Position()
			faults = append(faults, &Error{File: name, Line: line, Column: column, Text: fmt.Sprintf(
				"%q is no key of a rule; a rule has name, when, action, code, enhanced, text and subject_prefix", strings.Join(e.Key(), "."))})
		}
		return errors.Join(faults...)
	}
	var fault *toml.DecodeError
	if errors.As(err, &fault) {
		line, column := fault.Position()
		return &Error{File: name, Line: line, Column: column, Text: strings.TrimPrefix(fault.Error(), "toml: ")}
	}
	return &Error{File: name, Text: err.Error()}
}

// loader turns the rules of one file into checked ones and keeps the faults.
type loader struct {
	file   string
	env    *rule.Env
	where  []places
	seen   map[string]int // rule name to line
	faults []error
}

func (l *loader) fault(at place, ruleName, format string, args ...any) {
	l.faults = append(l.faults, &Error{File: l.file, Line: at.line, Column: at.column, Rule: ruleName, Text: fmt.Sprintf(format, args...)})
}

func (l *loader) rule(i int, f *fileRule) Rule {
	var at places
	if i < len(l.where) {
		at = l.where[i]
	}
	r := Rule{Name: f.Name, When: f.When, Line: at.rule.line}
	l.checkName(at, f)
	l.checkAction(at, f, &r)
	l.compile(at, f, &r)
	return r
}

func (l *loader) checkName(at places, f *fileRule) {
	switch {
	case f.Name == "":
		l.fault(at.rule, "", "has no name: add name = \"…\", it is shown in headers, logs and listings")
	case len(f.Name) > maxName || strings.ContainsFunc(f.Name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
	}):
		l.fault(at.key("name"), "", "the name %q has to be lower-case letters, digits and hyphens, at most %d", f.Name, maxName)
	case reserved(f.Name):
		l.fault(at.key("name"), "", "the name %q is used by Weir itself: choose another", f.Name)
	case l.seen[f.Name] != 0:
		l.fault(at.key("name"), f.Name, "a rule in line %d has this name already", l.seen[f.Name])
	}
	l.seen[f.Name] = max(1, at.rule.line)
}

func (l *loader) checkAction(at places, f *fileRule, r *Rule) {
	action, ok := intel.ParseAction(f.Action)
	if !ok {
		l.fault(at.key("action"), f.Name, "the action %q is none of accept, tag, hold, discard, reject, tempfail", f.Action)
		return
	}
	r.Action = action
	answers := action == intel.ActionReject || action == intel.ActionTempfail
	if !answers && (f.Code != 0 || f.Enhanced != "" || f.Text != "") {
		l.fault(at.key("code", "enhanced", "text"), f.Name, "code, enhanced and text are the answer of reject and tempfail; %s has none", action)
	}
	if action != intel.ActionTag && f.SubjectPrefix != "" {
		l.fault(at.key("subject_prefix"), f.Name, "subject_prefix belongs to the action tag, not to %s", action)
	}
	if bad := unprintable(f.SubjectPrefix); bad != "" || len(f.SubjectPrefix) > maxPrefix {
		l.fault(at.key("subject_prefix"), f.Name, "subject_prefix has to be printable and at most %d bytes", maxPrefix)
	}
	r.Tag = verdict.Tag{SubjectPrefix: f.SubjectPrefix}
	if answers {
		r.Reply = l.reply(at, f, action)
	}
}

// reply fills in what the file leaves out and checks what it says (RFC 5321
// section 4.2, RFC 3463 section 2).
func (l *loader) reply(at places, f *fileRule, action intel.Action) verdict.Reply {
	reply := verdict.Reply{Code: f.Code, Enhanced: f.Enhanced, Text: f.Text}
	class, code, enhanced, text := 5, 550, "5.7.1", "Message refused"
	if action == intel.ActionTempfail {
		class, code, enhanced, text = 4, 451, "4.7.1", "Message not accepted now, try again later"
	}
	if reply.Code == 0 {
		reply.Code = code
	}
	if reply.Enhanced == "" {
		reply.Enhanced = enhanced
	}
	if reply.Text == "" {
		reply.Text = text
	}
	if reply.Code/100 != class || reply.Code%100 > 59 {
		l.fault(at.key("code"), f.Name, "the code of a %s has to be %d00 to %d59, not %d", action, class, class, reply.Code)
	}
	var a, b, c int
	if n, _ := fmt.Sscanf(reply.Enhanced, "%d.%d.%d", &a, &b, &c); n != 3 || fmt.Sprintf("%d.%d.%d", a, b, c) != reply.Enhanced || a != class || b > 999 || c > 999 {
		l.fault(at.key("enhanced"), f.Name, "the enhanced status of a %s has to be of the form %d.7.1, not %q", action, class, reply.Enhanced)
	}
	if len(reply.Text) > maxText || strings.ContainsFunc(reply.Text, func(r rune) bool { return r < ' ' || r > '~' }) {
		l.fault(at.key("text"), f.Name, "the text has to be printable ASCII in one line and at most %d bytes", maxText)
	}
	return reply
}

func (l *loader) compile(at places, f *fileRule, r *Rule) {
	if strings.TrimSpace(f.When) == "" {
		l.fault(at.rule, f.Name, "has no condition: add when = '…'; when = 'true' is for every message")
		return
	}
	program, err := l.env.Compile(f.When)
	if err == nil {
		r.program, r.perRcpt, r.clean = program, program.Uses("rcpt"), cleanOf(program)
		r.contain = program.Uses(varContained)
		return
	}
	for _, fault := range unjoin(err) {
		var e *rule.Error
		if errors.As(fault, &e) {
			l.fault(at.inWhen(e.Line, e.Column), f.Name, "%s", e.Text)
		} else {
			l.fault(at.key("when"), f.Name, "%s", fault)
		}
	}
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// reserved names are those of answers that no rule gave.
func reserved(name string) bool {
	return name == DefaultRule || name == OversizeRule || name == UnavailableRule
}

// Names of the answers that are given without asking the rules.
const (
	OversizeRule    = "oversize"    // over the size that Weir looks at
	UnavailableRule = "unavailable" // Weir could not keep its promises for this message
)

func unprintable(s string) string {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return string(r)
		}
	}
	return ""
}
