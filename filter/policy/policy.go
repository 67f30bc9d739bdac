// Package policy decides what becomes of a message: rules, written as CEL
// conditions in a file, over the evidence. It is pure. The same evidence and
// the same rules give the same verdict, and each verdict names the rule and
// the hits behind it.
package policy

import (
	"slices"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/rule"
)

// DefaultRule is the name under which a message passes that no rule spoke of.
const DefaultRule = "default"

// Rule is one rule of a policy.
type Rule struct {
	Name   string
	When   string       // the condition, in CEL
	Action intel.Action // what becomes of a message, or of one recipient's copy, for which it is true
	Reply  verdict.Reply
	Tag    verdict.Tag
	Line   int // in the policy file

	program *rule.Program
	perRcpt bool // the condition speaks of rcpt and is decided for each recipient
	contain bool // it speaks of containments, which each recipient has apart
	clean   *clean
}

// Policy is an ordered list of rules; the first one that is true decides. It is
// immutable and safe for use by many goroutines.
type Policy struct {
	name   string
	rules  []Rule
	inEach bool // some rule speaks of rcpt
}

// Name is the file that the policy was read from.
func (p *Policy) Name() string { return p.name }

// Rules lists the rules in order.
func (p *Policy) Rules() []Rule { return p.rules }

// Step says how one rule was decided, for people who ask why.
type Step struct {
	Rule      string
	Recipient string // empty where the rule does not speak of rcpt
	True      bool
	Err       error // the condition could not be decided
}

// outcome is what the rules say for one recipient.
type outcome struct {
	rule    *Rule // nil: none was true
	action  intel.Action
	reasons []verdict.Reason
}

// Decide gives the verdict on e.
//
// A condition that cannot be decided (it went over its cost limit, or took the
// first of none) is taken for true, so that nobody slips past a rule by making
// it fail; but then a reject or discard is a hold, and an accept is passed over.
func (p *Policy) Decide(e *evidence.Evidence) *verdict.Verdict {
	return p.decide(e, nil)
}

// Trace gives the verdict on e and how each rule was decided on the way.
func (p *Policy) Trace(e *evidence.Evidence) (*verdict.Verdict, []Step) {
	var steps []Step
	v := p.decide(e, func(s Step) { steps = append(steps, s) })
	return v, steps
}

func (p *Policy) decide(e *evidence.Evidence, trace func(Step)) *verdict.Verdict {
	f := newFacts(e)
	// A rule that does not speak of rcpt is decided once for the message.
	memo := make([]decision, len(p.rules))
	if !p.forEach(e) || len(e.Recipients) == 0 {
		only := p.first(f, -1, memo, trace)
		outcomes := make([]outcome, max(1, len(e.Recipients)))
		for i := range outcomes {
			outcomes[i] = only
		}
		return merge(e, outcomes)
	}
	outcomes := make([]outcome, len(e.Recipients))
	for i := range e.Recipients {
		outcomes[i] = p.first(f, i, memo, trace)
	}
	return merge(e, outcomes)
}

// forEach reports whether recipients may differ.
func (p *Policy) forEach(e *evidence.Evidence) bool {
	return p.inEach || len(e.Contained) > 0 && p.SeesContainments()
}

// SeesContainments reports whether some rule speaks of containments. Without one
// nobody is contained, whatever was recorded.
func (p *Policy) SeesContainments() bool {
	return slices.ContainsFunc(p.rules, func(r Rule) bool { return r.contain })
}

type decision struct {
	made  bool
	value bool
	err   error
}

func (r *Rule) decide(f *facts) decision {
	if d, ok := r.clean.decision(f.e); ok {
		return d
	}
	value, err := r.program.Eval(f)
	return decision{true, value, err}
}

// first finds the rule that decides for recipient i (-1: for the message).
func (p *Policy) first(f *facts, i int, memo []decision, trace func(Step)) outcome {
	f.rcpt = i
	for n := range p.rules {
		r := &p.rules[n]
		d := memo[n]
		if !d.made {
			d = r.decide(f)
			each := r.perRcpt || r.contain && len(f.e.Contained) > 0
			if !each {
				memo[n] = d
			}
			if trace != nil {
				trace(Step{Rule: r.Name, Recipient: f.rcptName(each), True: d.value, Err: d.err})
			}
		}
		if d.err != nil {
			if r.Action == intel.ActionAccept {
				continue
			}
			action := r.Action
			if action == intel.ActionReject || action == intel.ActionDiscard {
				action = intel.ActionHold
			}
			return outcome{rule: r, action: action, reasons: []verdict.Reason{{Rule: r.Name, Note: "the condition could not be decided: " + d.err.Error()}}}
		}
		if d.value {
			return outcome{rule: r, action: r.Action, reasons: explain(f, r)}
		}
	}
	return outcome{action: intel.ActionAccept}
}

// maxReasons bounds the hits that one rule names.
const maxReasons = 16

// explain names the hits behind a true rule: those for each of which alone the
// condition would still be true, or all of them where only several together are.
func explain(f *facts, r *Rule) []verdict.Reason {
	reasons := explainContained(f, r)
	hits := f.hitsUsedBy(r.program)
	for _, h := range hits {
		if len(reasons) == maxReasons {
			break
		}
		if alone, err := r.program.Eval(f.withOnly(h)); err == nil && alone {
			reasons = append(reasons, ReasonOf(r.Name, h))
		}
	}
	if len(reasons) > 0 {
		return reasons
	}
	for _, h := range hits[:min(len(hits), maxReasons)] {
		reasons = append(reasons, ReasonOf(r.Name, h))
	}
	if len(reasons) == 0 {
		reasons = []verdict.Reason{{Rule: r.Name}}
	}
	return reasons
}

// explainContained names the containments for each of which alone the condition
// would still be true.
func explainContained(f *facts, r *Rule) []verdict.Reason {
	if !r.contain {
		return nil
	}
	var reasons []verdict.Reason
	for _, h := range f.containments() {
		if len(reasons) == maxReasons {
			break
		}
		if alone, err := r.program.Eval(f.withContained(h)); err == nil && alone {
			c := h.Containment
			reasons = append(reasons, verdict.Reason{
				Rule: r.Name, Source: verdict.SourceContain + c.ID, Entry: c.Value, Value: h.Value, Role: string(h.Role), Place: h.Place, Note: c.Reason,
			})
		}
	}
	return reasons
}

// ReasonOf says what a hit was, as a verdict and a listing name it.
func ReasonOf(ruleName string, h *intel.Hit) verdict.Reason {
	r := verdict.Reason{
		Rule: ruleName, Source: h.Indicator.Source, Line: h.Indicator.Line, Entry: h.Indicator.Pattern.String(),
		Role: string(h.Observable.Role), Place: h.Observable.Place, Note: h.Indicator.Note, Value: h.Text,
	}
	if v := h.Observable.Value; !v.IsZero() {
		r.Kind, r.Value = v.Kind().String(), v.String()
	}
	return r
}
