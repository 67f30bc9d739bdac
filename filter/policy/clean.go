package policy

import (
	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/rule"
)

// clean is what a rule says of mail in which nothing was found. Nearly all mail
// is like that, and most rules speak of what was found alone: they are decided
// once, when the policy is loaded, and not again for each message.
type clean struct {
	hits, defects, contained bool                         // which findings the rule speaks of
	decisions                [intel.Internal + 1]decision // by direction, which is all that is left
}

// cleanOf decides a rule for mail in which nothing was found; nil for a rule that
// speaks of more than findings.
func cleanOf(p *rule.Program) *clean {
	if !p.UsesOnly("blocks", "allows", "watches", varContained, "defects", "direction") {
		return nil
	}
	c := &clean{hits: p.Uses("blocks") || p.Uses("allows") || p.Uses("watches"), defects: p.Uses("defects"), contained: p.Uses(varContained)}
	for d := range c.decisions {
		value, err := p.Eval(nothingFound(d))
		c.decisions[d] = decision{true, value, err}
	}
	return c
}

// decision gives the rule's decision where nothing was found that it speaks of.
func (c *clean) decision(e *evidence.Evidence) (d decision, ok bool) {
	if c == nil || c.contained && len(e.Contained) > 0 || c.hits && len(e.Hits) > 0 || c.defects && (len(e.Message.Defects) > 0 || e.Unseen > 0) {
		return d, false
	}
	return c.decisions[e.Direction], true
}

// nothingFound gives the values of such mail.
type nothingFound intel.Direction

// Value implements rule.Values.
func (n nothingFound) Value(name string) any {
	switch name {
	case "direction":
		return intel.Direction(n).String()
	case "defects":
		return []string{}
	case varContained:
		return []containFact(nil)
	}
	return []hitFact(nil)
}
