package evidence

import (
	"fmt"
	"testing"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
)

func TestWhatCannotAllBeRememberedBeginsWithWhatTellsMost(t *testing.T) {
	value := func(v intel.Value, err error) intel.Value {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	e := &Evidence{Envelope: &message.Envelope{}, Message: message.Parse([]byte("Subject: x\r\n\r\n"), message.Options{})}
	for i := range journal.MaxObservables {
		e.Observables = append(e.Observables, intel.Observable{Value: intel.SHA256([32]byte{byte(i), byte(i >> 8)}), Role: intel.RoleAttachment})
	}
	add := func(v intel.Value, role intel.Role) {
		e.Observables = append(e.Observables, intel.Observable{Value: v, Role: role})
	}
	for i := range 3 {
		add(value(intel.URL(fmt.Sprintf("https://same.example/%d", i))), intel.RoleURL)
	}
	add(value(intel.URL("https://other.example/")), intel.RoleURL)
	add(value(intel.Address("a@example.org")), intel.RoleRcpt)
	listed := value(intel.URL("https://same.example/2"))
	e.Hits = []intel.Hit{{Observable: intel.Observable{Value: listed, Role: intel.RoleURL}, Indicator: &intel.Indicator{Pattern: intel.Exact(listed), Disposition: intel.Watch}}}
	got := e.Entry().Observables
	if len(got) != len(e.Observables) {
		t.Fatalf("%d observables, want all %d", len(got), len(e.Observables))
	}
	for i, want := range []string{"https://same.example/2", "https://same.example/0", "https://other.example/", "a@example.org"} {
		if got[i].Value.String() != want {
			t.Errorf("observable %d is %s, want %s", i, got[i].Value, want)
		}
	}
	if e.Observables[0].Role != intel.RoleAttachment {
		t.Error("the evidence was changed")
	}
}
