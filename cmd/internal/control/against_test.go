package control

import (
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/quarantine/unblock"
)

func TestAFeedThatListsAValueSpeaksAgainstIt(t *testing.T) {
	asked := time.Now()
	r := unblock.Request{Asked: asked}
	reasons := against(&r, []api.Candidate{
		{Source: "feed:partner", Disposition: "block", Outcome: "decides", Entry: "evil.example"},
		{Source: "feed:old", Disposition: "block", Outcome: "expired", Entry: "evil.example"},
		{Source: "feed:good", Disposition: "allow", Outcome: "decides", Entry: "evil.example"},
		{Source: "list:block/a.txt", Disposition: "block", Outcome: "decides", Entry: "evil.example"},
	}, []api.Incident{{ID: "before", Opened: asked.Add(-time.Hour)}})
	if len(reasons) != 1 || reasons[0] != "feed:partner lists evil.example today" {
		t.Errorf("%q", reasons)
	}
}
