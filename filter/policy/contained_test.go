package policy

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/contain"
)

// containedEvidence is of a message to a recipient here and one elsewhere.
func containedEvidence(t testing.TB, scopes ...contain.Scope) *evidence.Evidence {
	t.Helper()
	e := sampleEvidence(t, "bob@example.org", "eve@elsewhere.example")
	e.Recipients[0].Local = true
	e.Direction = intel.Outbound
	for i, s := range scopes {
		e.Contained = append(e.Contained, contain.Hit{
			Containment: &contain.Containment{ID: "01K" + string(rune('A'+i)), Kind: contain.User, Value: "alice", Scope: s, Action: intel.ActionHold, Until: time.Unix(1, 0), Reason: "case 12"},
			Role:        intel.RoleAuthUser, Value: "Alice", Place: "envelope",
		})
	}
	return e
}

func shipped(t testing.TB) *Policy {
	t.Helper()
	p, err := Parse(DefaultName, Default(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheShippedPolicyHoldsTheCopiesThatAContainmentIsAbout(t *testing.T) {
	p := shipped(t)
	for _, c := range []struct {
		scopes     []contain.Scope
		action     intel.Action
		here, away bool // held
	}{
		{nil, intel.ActionAccept, false, false},
		{[]contain.Scope{contain.External}, intel.ActionHold, false, true},
		{[]contain.Scope{contain.Internal}, intel.ActionHold, true, false},
		{[]contain.Scope{contain.All}, intel.ActionHold, true, true},
		{[]contain.Scope{contain.Internal, contain.External}, intel.ActionHold, true, true},
	} {
		v := p.Decide(containedEvidence(t, c.scopes...))
		if v.Action != c.action || v.Recipients[0].Hold != c.here || v.Recipients[1].Hold != c.away {
			t.Errorf("%v: %+v", c.scopes, v)
		}
	}
	e := containedEvidence(t, contain.External)
	want := []verdict.Reason{{Rule: "contained", Source: "contain:01KA", Entry: "alice", Value: "Alice", Role: "auth-user", Place: "envelope", Note: "case 12"}}
	if v := p.Decide(e); v.Rule != "contained" || !reflect.DeepEqual(v.Reasons, want) || !reflect.DeepEqual(v.Recipients[1].Reasons, want) || v.Recipients[0].Rule != DefaultRule {
		t.Errorf("%+v", v)
	}
	// What else is known of the message holds for the copies that are not contained.
	e.Hits = []intel.Hit{hit(t, "a.example", intel.RoleURL, intel.Block, intel.ActionNone)}
	if v := p.Decide(e); v.Recipients[0].Rule != "blocked-url" || !v.Recipients[0].Hold || v.Recipients[1].Rule != "contained" {
		t.Errorf("%+v", v)
	}
}

func TestARefusedContainmentIsAHoldWhereSomeCopiesGoOn(t *testing.T) {
	p := shipped(t)
	reject := func(s contain.Scope) *evidence.Evidence {
		e := containedEvidence(t, s)
		e.Contained[0].Containment.Action = intel.ActionReject
		return e
	}
	if v := p.Decide(reject(contain.All)); v.Action != intel.ActionReject || v.Rule != "contained-reject" || v.Reply.Code != 550 {
		t.Errorf("%+v", v)
	}
	if v := p.Decide(reject(contain.External)); v.Action != intel.ActionHold || v.Recipients[0].Hold || !v.Recipients[1].Hold {
		t.Errorf("%+v", v)
	}
}

func TestOfSeveralContainmentsThoseAreNamedThatTheRuleRestsOn(t *testing.T) {
	e := containedEvidence(t, contain.All, contain.Internal, contain.All)
	e.Contained[2].Containment.Action = intel.ActionReject
	v := parse(t, oneRule(`contained.exists(c, c.action == "hold" && c.kind == "user" && c.who == "alice" && c.role == "auth-user" && c.value == "Alice" && c.id.startsWith("01K") && c.scope != "")`, "hold")).Decide(e)
	var ids [2][]string
	for i := range ids {
		for _, r := range v.Recipients[i].Reasons {
			ids[i] = append(ids[i], strings.TrimPrefix(r.Source, verdict.SourceContain))
		}
	}
	if want := [2][]string{{"01KA", "01KB"}, {"01KA"}}; !reflect.DeepEqual(ids, want) {
		t.Errorf("%v, want %v", ids, want)
	}
}

func TestOnlyMailUnderAContainmentIsDecidedForEachRecipient(t *testing.T) {
	p := parse(t, oneRule(`contained.exists(c, true)`, "hold"))
	if _, steps := p.Trace(containedEvidence(t)); !reflect.DeepEqual(steps, []Step{{Rule: "it"}}) {
		t.Errorf("%+v", steps)
	}
	want := []Step{{Rule: "it", Recipient: "bob@example.org"}, {Rule: "it", Recipient: "eve@elsewhere.example", True: true}}
	if _, steps := p.Trace(containedEvidence(t, contain.External)); !reflect.DeepEqual(steps, want) {
		t.Errorf("%+v", steps)
	}
	// Without recipients, as where a file is judged, no scope keeps one away.
	e := containedEvidence(t, contain.External)
	e.Recipients, e.Envelope.To = nil, nil
	if v := p.Decide(e); v.Action != intel.ActionHold {
		t.Errorf("%+v", v)
	}
	if !p.SeesContainments() || !shipped(t).SeesContainments() || parse(t, oneRule("true", "hold")).SeesContainments() {
		t.Error("which policies see containments is wrong")
	}
}
