package policy

import (
	"testing"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/contain"
)

// A decision that was made when the policy was loaded is the one that the
// condition gives for the message, whatever was found in it.
func TestDecisionsMadeBeforehandAreThoseOfTheCondition(t *testing.T) {
	conditions := []string{
		`blocks.exists(b, b.action == "none")`, `!allows.exists(a, true)`, `watches.size() > 0 || direction == "inbound"`, `defects.exists(d, d == "nul")`,
		`direction == "outbound" && blocks.size() == 0`, `blocks.size() == 0 && defects.size() == 0`, `blocks[0].kind == "url"`, `true`, `direction != ""`,
		`contained.exists(c, true)`, `contained.size() == 0 && blocks.size() == 0`, `size > 10`, `subject == "" && blocks.size() == 0`,
	}
	hits := map[string][]intel.Hit{
		"no hits": nil,
		"a block": {hit(t, "evil.example", intel.RoleURL, intel.Block, intel.ActionNone)},
		"a watch": {hit(t, "seen.example", intel.RoleURL, intel.Watch, intel.ActionNone)},
	}
	quick := 0
	for _, condition := range conditions {
		r := &parse(t, oneRule(condition, "hold")).rules[0]
		for what, found := range hits {
			for n, defects := range [][]message.Defect{nil, {{Name: "nul"}}, nil} {
				for _, d := range []intel.Direction{intel.DirectionAny, intel.Inbound, intel.Outbound, intel.Internal} {
					e := sampleEvidence(t, "a@example.org")
					e.Hits, e.Direction, e.Message.Defects = found, d, defects
					if n == 2 {
						e.Contained = containedEvidence(t, contain.All).Contained
					}
					if _, ok := r.clean.decision(e); ok {
						quick++
					}
					got := r.decide(newFacts(e))
					value, err := r.program.Eval(newFacts(e))
					if got.value != value || (got.err == nil) != (err == nil) {
						t.Errorf("%s, %s, %d defects, %s: got %v %v, want %v %v", condition, what, len(defects), d, got.value, got.err, value, err)
					}
				}
			}
		}
	}
	if quick == 0 {
		t.Error("no decision was made beforehand")
	}
}
