package policy

import (
	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

// merge makes one verdict of what the rules say for each recipient. After DATA
// there is one reply and one header for all of them, so recipients can differ
// only in whether their copy is held:
//
//   - a tempfail for any is a tempfail for all, and nothing is held;
//   - a reject counts only if it is for all, else those copies are held; and
//     never for mail from a trusted relay or not from SMTP, where it would
//     make somebody bounce to a forged sender;
//   - a discard is a hold that nobody is told of;
//   - the strongest tag, that of the rule that stands first in the file among
//     those with a subject prefix, is the tag of all copies that are delivered.
func merge(e *evidence.Evidence, outcomes []outcome) *verdict.Verdict {
	v := &verdict.Verdict{Action: intel.ActionAccept, Rule: DefaultRule}
	mayReject := !e.Relay && !e.Envelope.Local
	for i := range outcomes {
		mayReject = mayReject && outcomes[i].action == intel.ActionReject
	}
	var tagged *Rule
	for i := range outcomes {
		o := &outcomes[i]
		r := verdict.Recipient{Action: o.action, Rule: DefaultRule, Reasons: o.reasons}
		if len(e.Recipients) > 0 {
			r.Address = e.Recipients[i].Path.Address()
		}
		if o.rule != nil {
			r.Rule = o.rule.Name
		}
		if o.action == intel.ActionReject && !mayReject {
			o.action = intel.ActionHold
		}
		r.Hold = o.action == intel.ActionHold || o.action == intel.ActionDiscard
		v.Recipients = append(v.Recipients, r)
		if stronger(o.action, v.Action) {
			v.Action, v.Rule, v.Reasons = o.action, r.Rule, o.reasons
			v.Reply = verdict.Reply{}
			if o.rule != nil && (o.action == intel.ActionReject || o.action == intel.ActionTempfail) {
				v.Reply = o.rule.Reply
			}
		}
		if o.action == intel.ActionTag && o.rule.Tag.SubjectPrefix != "" && (tagged == nil || o.rule.Line < tagged.Line) {
			tagged, v.Tag = o.rule, o.rule.Tag
		}
	}
	switch v.Action {
	case intel.ActionTempfail, intel.ActionReject:
		for i := range v.Recipients {
			v.Recipients[i].Hold = false
		}
		v.Tag = verdict.Tag{}
	}
	if len(e.Recipients) == 0 {
		v.Recipients = nil
	}
	return v
}

// stronger reports whether a decides the message rather than b. A hold that
// somebody is told of outweighs a discard: a message of which one copy is held
// and another discarded is a held one.
func stronger(a, b intel.Action) bool { return strength(a) > strength(b) }

func strength(a intel.Action) int {
	switch a {
	case intel.ActionTag:
		return 1
	case intel.ActionDiscard:
		return 2
	case intel.ActionHold:
		return 3
	case intel.ActionReject:
		return 4
	case intel.ActionTempfail:
		return 5
	}
	return 0
}
