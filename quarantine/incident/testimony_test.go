package incident

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/ledger"
)

// testimonies gives what the events of an incident say, in their order.
func (s *site) testimonies(id string) (all []string) {
	s.t.Helper()
	for e, err := range s.ledger.Events(ledger.Cursor{}) {
		s.must(err)
		t, ok, err := TestimonyOf(&e)
		s.must(err)
		if ok && t.Incident == id {
			all = append(all, strings.TrimSpace(fmt.Sprint(t.Word, " ", strings.Join(t.Patterns, " "))))
		}
	}
	return all
}

const evil = "exact|domain|evil.example"

// listed is a match by an entry for evil.example.
func listed(e *journal.Entry) Match {
	return Match{Entry: e, Chain: []Step{{How: "indicator", What: "https://evil.example/x", Sure: true, Indicator: evil}}}
}

func TestEventsSayWhatIsConfirmed(t *testing.T) {
	s := newSite(t, nil)
	wants := func(id string, want ...string) {
		t.Helper()
		if got := s.testimonies(id); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	// A list finds mail, and policy pulls it; a person puts it back.
	auto := s.opened(bySource())
	s.extended(auto, list, listed(s.entry("a@example.org")))
	wants(auto, "pulls", "rests "+evil)
	s.pullAll()
	_, err := s.Restore(t.Context(), Restore{Incident: auto, Actor: bob, Reason: "it was good"})
	s.must(err)
	wants(auto, "pulls", "rests "+evil, "doubts")

	// What only a link leads to, and what a feed found, is nobody's to tell.
	byFeed := bySource()
	byFeed.Key, byFeed.Source, byFeed.Actor = "k2", feed, feed
	second := s.opened(byFeed)
	first := s.entry("b@example.org")
	s.extended(second, feed, listed(first))
	further := listed(s.entry("c@example.org"))
	further.Chain = append(further.Chain, Step{How: "thread", What: "refers to it", Ref: first.ID})
	s.extended(second, list, further)
	wants(second)
	// A person approves; what a list then finds surely is what it rests on.
	_, err = s.Approve(t.Context(), Approval{Incident: second, Actor: bob, Reason: "I saw it"})
	s.must(err)
	s.extended(second, list, listed(s.entry("d@example.org")))
	wants(second, "approves", "pulls", "rests "+evil)

	// Closing says nothing, but for a false alarm.
	s.must(s.Close(t.Context(), auto, alice, "done"))
	s.must(s.Dismiss(t.Context(), second, alice, "the bank did send it"))
	wants(auto, "pulls", "rests "+evil, "doubts")
	wants(second, "approves", "pulls", "rests "+evil, "doubts")
	if said := s.whats(second); said[len(said)-1] != "closed "+alice+": a false alarm" {
		t.Error(said[len(said)-1])
	}
	if err := s.Dismiss(t.Context(), auto, alice, " "); err != ErrReason {
		t.Error(err)
	}
}

func TestTheNameOfAPatternThatIsTooLongIsLeftOut(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	m := listed(s.entry("a@example.org"))
	m.Chain[0].Indicator = "exact|url|https://evil.example/" + strings.Repeat("a", maxWhat)
	s.extended(id, list, m)
	if got := s.testimonies(id); !slices.Equal(got, []string{"pulls"}) {
		t.Errorf("%.200q", got)
	}
}

func TestWhatAFeedPullsByItselfIsNotConfirmedByIt(t *testing.T) {
	s := newSite(t, func(o *Options) { o.Settings.Automatic = []string{"feed:*"} })
	o := bySource()
	o.Source, o.Actor = feed, feed
	id := s.opened(o)
	s.extended(id, feed, listed(s.entry("a@example.org")))
	if n := s.pullAll(); n != 1 {
		t.Fatalf("%d jobs", n)
	}
	if got := s.testimonies(id); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
