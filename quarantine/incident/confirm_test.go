package incident

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/delivery"
)

const feed = "feed:phish"

// linked is a match by an unsure link.
func linked(e *journal.Entry) Match {
	return Match{Entry: e, Chain: []Step{{How: "indicator", What: "https://evil.example/", Sure: true}, {How: "thread", What: "refers to x", Ref: "01FROM"}}}
}

// whats gives what was done in an incident.
func (s *site) whats(id string) (all []string) {
	s.t.Helper()
	s.settle()
	page, err := s.Timeline(s.t.Context(), id, TimelineQuery{})
	s.must(err)
	for _, a := range page.Actions {
		all = append(all, a.What+" "+a.Actor+": "+a.Detail)
	}
	return all
}

func TestASureMatchOfAnAutomaticSourceLetsGoWhatAFeedOrALinkFoundFirst(t *testing.T) {
	for name, first := range map[string]func(s *site, id string, e *journal.Entry){
		"a feed": func(s *site, id string, e *journal.Entry) { s.extended(id, feed, sure(e)...) },
		"an entry of little confidence": func(s *site, id string, e *journal.Entry) {
			m := sure(e)
			m[0].Chain[0].Confidence = 59
			s.extended(id, list, m...)
		},
		"an unsure link": func(s *site, id string, e *journal.Entry) { s.extended(id, list, linked(e)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(o *Options) { o.Settings.MinConfidence = 60 })
			o := bySource()
			o.Source, o.Actor = feed, feed
			id := s.opened(o)
			e := s.entry("a@example.org", "b@example.org")
			s.tracker.tell(e, inMailbox("a@example.org"), told("b@example.org", delivery.InTransit))
			first(s, id, e)
			if i := s.incident(id); i.Waits != 2 || len(s.lease(5)) != 0 {
				t.Fatalf("%+v", i)
			}
			s.extended(id, feed, sure(e)...) // no better grounds
			s.extended(id, list, linked(e))
			if i := s.incident(id); i.Waits != 2 {
				t.Fatalf("%+v", i)
			}
			s.pass(time.Second) // what follows in one millisecond after a start has no order
			s.reopen()
			if n := s.extended(id, list, sure(e)...); n != 0 {
				t.Errorf("%d new ones", n)
			}
			if i := s.incident(id); i.Waits != 0 || i.State != Open {
				t.Errorf("%+v", i)
			}
			d := s.is(id, "a@example.org", Pending)
			if len(d.Chain) != 1 || !d.Chain[0].Sure {
				t.Errorf("chain %+v", d.Chain)
			}
			said := s.whats(id)
			want := "confirmed " + list + ": a later match is sure: indicator: https://evil.example/; it is to be pulled"
			if got := said[len(said)-2:]; got[0] != want || got[1] != want {
				t.Errorf("%q", said)
			}
			s.extended(id, list, sure(e)...)
			if got := s.whats(id); len(got) != len(said) {
				t.Errorf("%q", got)
			}
			s.reopen()
			s.tracker.tell(e, inMailbox("a@example.org"), inMailbox("b@example.org"))
			s.news()
			if n := s.pullAll(); n != 2 {
				t.Errorf("%d jobs", n)
			}
			if i := s.incident(id); i.State != Done {
				t.Errorf("%+v", i)
			}
		})
	}
}

func TestWhatWaitsForAnotherReasonIsNotLetGo(t *testing.T) {
	groups := func(a string) []string {
		if strings.HasPrefix(a, "vip") {
			return []string{"vip"}
		}
		return nil
	}
	s := newSite(t, func(o *Options) {
		o.Settings.ApproveGroups, o.Settings.Groups, o.Settings.CapIncident = []string{"vip"}, groups, 2
		o.Settings.Protected = []string{"abuse@example.org"}
	})
	id := s.opened(bySource())
	capped := s.entry("c1@example.org", "c2@example.org", "c3@example.org")
	s.extended(id, list, sure(capped)...) // the cap lets two go
	vip, abuse := s.entry("vip@example.org"), s.entry("abuse@example.org")
	s.extended(id, feed, sure(vip, abuse)...)
	for range 2 {
		s.extended(id, list, sure(capped, vip, abuse)...)
	}
	if i := s.incident(id); i.Waits != 2 || i.Counts[Protected] != 1 {
		t.Errorf("%+v", i)
	}
	if d := s.of(id, "vip@example.org"); !strings.Contains(d.Waits, "group vip") {
		t.Errorf("it waits: %q", d.Waits)
	}
	if n := s.pullAll(); n != 2 {
		t.Errorf("%d jobs", n)
	}

	byPerson := s.opened(byHand())
	e := s.entry("a@example.org")
	s.extended(byPerson, alice, sure(e)...)
	s.extended(byPerson, list, sure(e)...)
	if d := s.of(byPerson, "a@example.org"); !strings.Contains(d.Waits, "a person opened") {
		t.Errorf("it waits: %q", d.Waits)
	}
}

func TestTheCapsCountWhatIsLetGo(t *testing.T) {
	s := newSite(t, func(o *Options) { o.Settings.CapIncident = 250 })
	id := s.opened(bySource())
	e := s.entry(addresses(300)...)
	s.extended(id, feed, sure(e)...)
	s.extended(id, list, sure(e)...)
	if i := s.incident(id); i.Waits != 50 || i.Counts[Pending] != 300 {
		t.Errorf("%+v", i)
	}
	s.extended(id, list, sure(e)...)
	if n := s.pullAll(); n != 250 {
		t.Errorf("%d jobs", n)
	}
}

// However often it is cut off: in the end all are let go, and what was counted for
// nothing is at most one batch a cut.
func TestLettingGoIsTakenUpWhereItWasCut(t *testing.T) {
	lost := errors.New("the answer is lost")
	for _, recorded := range []bool{false, true} {
		cut := true
		for n := 0; cut; n++ {
			cut = false
			s := newSite(t, nil)
			id := s.opened(bySource())
			e := s.entry(addresses(3)...)
			s.extended(id, feed, sure(e)...)
			left := n
			fault := func(ledger.Command) error {
				if left--; left == -1 {
					cut = true
					return lost
				}
				return nil
			}
			if recorded {
				s.cuts = fault
			} else {
				s.fault = fault
			}
			if _, err := s.Extend(t.Context(), id, list, sure(e)); cut != errors.Is(err, lost) {
				t.Fatal(err)
			}
			s.fault, s.cuts = nil, nil
			s.reopen()
			s.extended(id, list, sure(e)...)
			if i := s.incident(id); i.Waits != 0 {
				t.Fatalf("cut at %d: %+v", n, i)
			}
			if k, err := s.docket(id); err != nil || k.admitted < 3 || k.admitted > 6 {
				t.Errorf("cut at %d: %d are counted, %v", n, k.admitted, err)
			}
			if n := s.pullAll(); n != 3 {
				t.Errorf("%d jobs", n)
			}
		}
	}
}

func TestWhatComesFromARestoredMessageWaits(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	e, forward := s.entry("a@example.org"), s.entry("b@example.org")
	s.extended(id, list, sure(e)...)
	s.pullAll()
	s.must(second(s.Restore(t.Context(), Restore{Incident: id, Actor: bob, Reason: "wanted"})))
	s.pullAll()
	s.settle()
	s.extended(id, list, Match{Entry: forward, Chain: append(sure(e)[0].Chain, Step{How: "embedded", What: "all", Ref: e.ID, Sure: true})})
	if d := s.is(id, "b@example.org", Pending); !strings.Contains(d.Waits, "restored") || len(s.lease(1)) != 0 {
		t.Errorf("%+v", d)
	}
}

func TestTheTimelineIsGivenInPagesAndInWords(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org", "b@example.org"))...)
	s.pullAll()
	s.must(second(s.Restore(t.Context(), Restore{Incident: id, Actor: bob, Reason: "wanted"})))
	s.pullAll()
	all := s.whats(id)
	var paged []string
	for q := (TimelineQuery{Limit: 2}); ; {
		page, err := s.Timeline(t.Context(), id, q)
		s.must(err)
		for _, a := range page.Actions {
			paged = append(paged, a.What+" "+a.Actor+": "+a.Detail)
			q.After = strings.ToLower(a.ID)
		}
		if !page.More {
			break
		}
		if len(page.Actions) != 2 {
			t.Fatalf("%+v", page)
		}
	}
	if strings.Join(paged, "\n") != strings.Join(all, "\n") {
		t.Errorf("in pages\n%q\nat once\n%q", paged, all)
	}
	if want := "matched " + list + ": 2 deliveries of 1 message: 2 are to be pulled, 0 wait for approval"; all[1] != want {
		t.Errorf("%q", all[1])
	}
	if last := all[len(all)-1]; !strings.HasSuffix(last, " stands in INBOX again") {
		t.Errorf("%q", last)
	}
	if _, err := s.Timeline(t.Context(), id, TimelineQuery{Limit: MaxLimit + 1}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestAClosedIncidentSaysWhatWillNotBeDone(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	e := s.entry("a@example.org", "b@example.org", "c@example.org")
	s.tracker.tell(e, inMailbox("a@example.org"), told("b@example.org", delivery.InTransit), inMailbox("c@example.org"))
	s.extended(id, list, sure(e)...)
	l := s.one()
	s.must(s.Close(t.Context(), id, alice, "over"))
	s.pull(l) // what a sidecar is at is ended
	i := s.incident(id)
	if i.Counts[Left] != 2 || i.Counts[Pulled] != 1 || len(i.Counts) != 2 || i.Waits != 0 {
		t.Errorf("%+v", i)
	}
	s.reopen()
	s.news()
	if len(s.lease(5)) != 0 || s.incident(id).Counts[Left] != 2 {
		t.Error("it goes on")
	}
}
