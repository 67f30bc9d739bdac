package match

import (
	"strings"
	"testing"

	"github.com/weirmail/weir/intel"
)

func TestExplanationSaysWhatBecameOfEachEntry(t *testing.T) {
	entries := []string{
		"block evil.example until=2026-01-01",
		"block evil.example in=url,helo",
		"allow evil.example dir=outbound",
		"block .evil.example",
		"allow .evil.example",
		"watch .evil.example",
		"block .example",
		"allow .example",
	}
	m := NewMemory()
	for i, text := range entries {
		ind := entry(t, text)
		ind.Source, ind.Line = "list:"+ind.Disposition.String()+"/a.txt", i+1
		m.Add(ind)
	}
	s, err := m.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	got := explain(t, s, observable(t, "evil.example", intel.RoleHeaderFrom), intel.Inbound)
	want := `1 block by evil.example (list:block/a.txt line 2): speaks only of url, helo
1 allow by evil.example (list:allow/a.txt line 3): speaks only of outbound mail
1 block by evil.example (list:block/a.txt line 1): expired at 2026-01-01T00:00:00Z
2 allow by .evil.example (list:allow/a.txt line 5): decides
2 watch by .evil.example (list:watch/a.txt line 6): noted, decides nothing
2 block by .evil.example (list:block/a.txt line 4): as specific as the allow .evil.example (list:allow/a.txt line 5), which beats it
3 block by .example (list:block/a.txt line 7): less specific than .evil.example (list:allow/a.txt line 5)
3 allow by .example (list:allow/a.txt line 8): less specific than .evil.example (list:allow/a.txt line 5)`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestBareValueIsExplainedForEveryRoleAndDirection(t *testing.T) {
	s := snapshot(t, "block evil.example in=url dir=outbound")
	got := explain(t, s, observable(t, "evil.example", ""), intel.DirectionAny)
	if want := "1 block by evil.example (block evil.example in=url dir=outbound): decides"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestExplanationNamesTheAction(t *testing.T) {
	ind := entry(t, "block evil.example")
	ind.Action, ind.Source = intel.ActionReject, "operator"
	m := NewMemory()
	m.Add(ind)
	s, err := m.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := explain(t, s, observable(t, "evil.example", ""), 0), "1 block by evil.example (operator): decides, action reject"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestNothingKnownIsExplainedByNothing(t *testing.T) {
	s := snapshot(t, "block evil.example", "block ~subject~x")
	if got := explain(t, s, observable(t, "good.example", ""), 0); got != "" {
		t.Errorf("got %s", got)
	}
	if got := s.ExplainText(Text{Field: intel.FieldSubject, Value: "y"}, 0, now); got != nil {
		t.Errorf("got %v", got)
	}
}

func explain(t *testing.T, s *Snapshot, o intel.Observable, d intel.Direction) string {
	t.Helper()
	candidates, err := s.Explain(o, d, now)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, c := range candidates {
		lines = append(lines, string(rune('0'+c.Level))+" "+c.String())
	}
	return strings.Join(lines, "\n")
}
