package hunt

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/wal"
	"github.com/weirmail/weir/quarantine/incident"
)

var (
	offer = "application/pdf " + text("offer")
	fwd   = subject("Fwd: hello")
	ways  = []string{"at once", "after a restart", "with its place lost"}
)

// hunted is a site where a message was found.
func hunted(t *testing.T) (s *site, first string) {
	s = newSite(t)
	first = original(s)
	s.list("list:block/a", "evil.example")
	s.work()
	return s, first
}

// What comes after the hunt is judged as what was there.
func TestAnswersAndForwardsThatComeLaterAreFollowed(t *testing.T) {
	for _, c := range linkCases() {
		for _, how := range ways {
			t.Run(c.name+" "+how, func(t *testing.T) {
				s, _ := hunted(t)
				switch how {
				case ways[1]:
					s.open()
				case ways[2]:
					s.open()
					s.hunt.place = place{Linked: s.hunt.place.Linked}
					s.hunt.looked = 0
				}
				s.mail() // somebody else's
				id := s.mail(c.mail...)
				s.mail()
				s.work()
				if got := s.desk.chain(evilKey, id); got != c.want {
					t.Errorf("chain %q, want %q", got, c.want)
				}
				told := s.desk.told
				s.work()
				s.open()
				s.work()
				if how == ways[0] && s.desk.told != told {
					t.Errorf("%d matches are told again", s.desk.told-told)
				}
			})
		}
	}
}

func TestForwardsOfForwardsThatComeLaterAreFollowedFiveLinksDeep(t *testing.T) {
	for _, each := range []bool{false, true} { // as they come, or all of them at once
		s, _ := hunted(t)
		s.mail(to("u0@here.example"), from("alice@here.example"), fwd, content("text/plain n", offer))
		var ids []string
		for i := range 7 {
			if each {
				s.work()
			}
			ids = append(ids, s.mail(from(fmt.Sprintf("u%d@here.example", i)), to(fmt.Sprintf("u%d@here.example", i+1)), fwd, content("text/plain "+text(fmt.Sprint("note", i)), offer)))
		}
		s.work()
		s.work()
		want := "indicator attachment<01ENTRY0001"
		for i, id := range ids {
			got := s.desk.chain(evilKey, id)
			if i+1 >= maxDepth {
				if !strings.HasSuffix(got, "?") {
					t.Errorf("link %d is sure: %s", i+2, got)
				}
				continue
			}
			if want += fmt.Sprintf(" attachment<01ENTRY%04d", i+2); got != want {
				t.Errorf("one by one %v: chain %q, want %q", each, got, want)
			}
		}
	}
}

// A message that is unsure by one link may be sure by another, which is known later.
func TestAnUnsureLinkBecomesSure(t *testing.T) {
	s, _ := hunted(t)
	answer := s.mail(from("bob@here.example"), answering("m1@mail.example"), content("text/plain look", offer))
	s.work()
	if got := s.desk.chain(evilKey, answer); got != "indicator attachment<01ENTRY0001?" {
		t.Fatal(got)
	}
	// Now it is known that Bob had got it.
	s.hunt.ties.incidents[evilKey].got[must(intel.Address("bob@here.example"))] = s.hunt.ties.incidents[evilKey].ties[0].node
	s.hunt.place.Linked = 0
	s.work()
	if got := s.desk.chain(evilKey, answer); got != "indicator attachment<01ENTRY0001" {
		t.Error(got)
	}
}

func TestLaterMailIsNotFollowedOnceTheEntryIsTakenOff(t *testing.T) {
	s, first := hunted(t)
	s.list("list:block/a", "other.example")
	s.work()
	s.mail(from("alice@here.example"), fwd, content("text/plain look", offer))
	s.work()
	s.want(map[string][]string{evilKey: {first}})
	s.list("list:block/a", "evil.example action=tag") // no reason to have mail back
	s.work()
	s.mail(from("alice@here.example"), fwd, content("text/plain look", offer))
	s.work()
	s.want(map[string][]string{evilKey: {first}})
	s.list("list:block/a", "evil.example")
	s.list("list:allow/a", "https://evil.example/pay")
	s.work()
	s.mail(from("alice@here.example"), fwd, content("text/plain look", offer))
	s.work()
	s.want(map[string][]string{evilKey: {first}})
}

// Entries may be journaled while a pass is at work, behind what it has looked at.
func TestWhatComesWhileAPassIsAtWorkIsComparedWithWhatItFinds(t *testing.T) {
	s := newSite(t)
	want := []string{original(s)}
	s.open()
	s.list("list:block/a", "evil.example")
	for n := 0; n == 0 || len(s.hunt.passes) > 0; n++ {
		s.hunt.compared = time.Time{} // the passes take longer than a second
		if _, err := s.hunt.turn(s.ctx); err != nil {
			t.Fatal(err)
		}
		want = append(want, s.mail(from("alice@here.example"), fwd, content("text/plain look", offer)))
	}
	s.work()
	s.want(map[string][]string{evilKey: want})
}

func TestWhatPolicyOrAPersonLetThroughIsNotFollowed(t *testing.T) {
	s, first := hunted(t)
	again := content("text/plain "+text("dear alice"), offer, "image/png "+text("logo"))
	s.mail(again, func(e *journal.Entry) { e.MessageID, e.Item = "m1@mail.example", "01ITEM" })
	s.mail(evil, again, known("list:block/a", "https://evil.example/pay", "1/text"))
	s.work()
	s.want(map[string][]string{evilKey: {first}})
}

func TestLaterMailIsFollowedAsLongAsTheLookBackIs(t *testing.T) {
	s, first := hunted(t)
	s.hunt.lookBack.Store(int64(24 * time.Hour))
	s.later(23 * time.Hour)
	late := s.mail(from("alice@here.example"), fwd, content("text/plain look", offer))
	s.work()
	s.want(map[string][]string{evilKey: {first, late}})
	s.later(23 * time.Hour) // since the last one
	later := s.mail(from("alice@here.example"), fwd, content("text/plain look", offer))
	s.work()
	s.want(map[string][]string{evilKey: {first, late, later}})
	s.later(20 * time.Hour)
	s.mail(from("carol@here.example"), link("https://files.example/only-here")) // something of it, and no forward
	s.work()
	s.later(5 * time.Hour)
	s.work()
	if x := s.hunt.ties; x.n != 0 || x.members != 0 || len(x.by) != 0 || len(x.incidents) != 0 {
		t.Errorf("%d are tied, %d members, %d keys, %d incidents", x.n, x.members, len(x.by), len(x.incidents))
	}
	s.mail(from("alice@here.example"), fwd, content("text/plain look", offer))
	s.work()
	s.want(map[string][]string{evilKey: {first, late, later}})
}

func TestWhatIsEverywhereIsNotLookedUpForEachMessage(t *testing.T) {
	s, _ := hunted(t)
	for range maxShared + 2 {
		s.mail(content("text/plain x", offer))
	}
	s.work()
	key := journal.KeyOf(intel.SHA256(sha256.Sum256([]byte(text("offer")))))
	s.mail(content("text/plain x", offer))
	s.work()
	if len(s.hunt.ties.by[key]) != 0 {
		t.Error("it is compared still")
	}
	id := s.mail(from("alice@here.example"), answering("m1@mail.example"), content("text/plain look", offer))
	s.work()
	if got := s.desk.chain(evilKey, id); got != "indicator thread<01ENTRY0001?" {
		t.Error(got)
	}
}

func TestLaterLinksAreBoundedForTheIncident(t *testing.T) {
	s := newSite(t)
	s.options.MaxLinks = 5
	original(s)
	s.list("list:block/a", "evil.example")
	s.work()
	for range 4 {
		for range 2 {
			s.mail(from("alice@here.example"), answering("m1@mail.example"))
		}
		s.work()
		s.open()
	}
	s.work()
	if n := len(s.desk.messages()[evilKey]); n != 6 {
		t.Errorf("%d messages, want 6", n)
	}
}

func TestATieThatMakesRoomLeavesWhatOthersHaveInCommonWithIt(t *testing.T) {
	x := newTies()
	d := x.incident("a", start)
	for i := range maxFollowed + 3 {
		x.add(d, node{at: wal.Position(i + 1)}, []journal.Key{7, journal.Key(1000 + i)})
	}
	if x.n != maxFollowed || len(x.by[7]) != 1 || x.by[7][0].at != 4 || x.by[1000] != nil || len(x.by) != maxFollowed+1 {
		t.Errorf("%d ties, %d keys, %+v", x.n, len(x.by), x.by[7])
	}
	for i := range maxTies / maxFollowed {
		other := x.incident(fmt.Sprint("b", i), start.Add(time.Duration(i+1)))
		for k := range maxFollowed {
			x.add(other, node{at: wal.Position(i*maxFollowed + k + 1)}, []journal.Key{journal.Key(k)})
		}
	}
	if x.n > maxTies || x.incidents["a"] != nil || x.incidents["b19"] == nil || len(x.by[7]) != 20 {
		t.Errorf("%d ties, %d incidents, %d have a key", x.n, len(x.incidents), len(x.by[7]))
	}
	x.expire(start.Add(time.Hour))
	if x.n != 0 || len(x.by) != 0 {
		t.Errorf("%d ties, %d keys are left", x.n, len(x.by))
	}
}

// Over a real desk: what a person has closed goes on in an incident of its own, as
// any later match does, and what he restored is asked about.
func TestLaterMailOfAClosedIncidentOpensAnother(t *testing.T) {
	s := newSite(t)
	desk := realDesk(t, s)
	s.open()
	s.hunt.o.Desk = desk
	original(s)
	s.list("list:block/a", "evil.example")
	s.work()
	page, err := desk.List(s.ctx, incident.Query{})
	if err != nil || len(page.Incidents) != 1 {
		t.Fatal(page, err)
	}
	if err := desk.Close(s.ctx, page.Incidents[0].ID, "unix:1", "done"); err != nil {
		t.Fatal(err)
	}
	for _, restart := range []bool{false, true} {
		if restart {
			s.open()
			s.hunt.o.Desk = desk
		}
		late := s.mail(from("alice@here.example"), to("bob@here.example"), fwd, content("text/plain look", offer))
		s.work()
		page, err = desk.List(s.ctx, incident.Query{State: incident.Open})
		if err != nil || len(page.Incidents) != 1 {
			t.Fatal(page, err)
		}
		d, err := desk.Deliveries(s.ctx, page.Incidents[0].ID, incident.DeliveryQuery{})
		if err != nil || !slices.ContainsFunc(d.Deliveries, func(d incident.Delivery) bool { return d.Ref == late && d.Waits == "" }) {
			t.Errorf("after a restart %v: %+v, %v", restart, d, err)
		}
	}
}

func TestAFeedsMatchIsLetGoByAListsInTheSameIncident(t *testing.T) {
	s := newSite(t)
	desk := realDesk(t, s)
	s.open()
	s.hunt.o.Desk = desk
	original(s)
	s.source("feed:phish", entries("feed:phish", "evil.example"))
	s.work()
	page, err := desk.List(s.ctx, incident.Query{})
	if err != nil || len(page.Incidents) != 1 || page.Incidents[0].Waits != 1 {
		t.Fatal(page, err)
	}
	s.list("list:block/a", "evil.example")
	s.work()
	page, err = desk.List(s.ctx, incident.Query{})
	if err != nil || len(page.Incidents) != 1 || page.Incidents[0].Waits != 0 {
		t.Fatalf("%+v, %v", page.Incidents[0], err)
	}
}

// BenchmarkFollowLater is what reading and comparing an entry costs that has nothing
// of an incident, while 20 000 messages are followed.
func BenchmarkFollowLater(b *testing.B) {
	const entries = 4000
	s := newSite(b)
	for i := range entries {
		if _, err := s.journal.Append(s.ctx, benchEntry(1<<20+i)); err != nil {
			b.Fatal(err)
		}
	}
	s.open()
	s.hunt.remembers = true
	x := s.hunt.ties
	for i := range maxTies {
		var keys []journal.Key
		for _, m := range marksOf(benchEntry(i), "") {
			keys = append(keys, m.key)
		}
		x.add(x.incident(fmt.Sprint(i/maxFollowed), start), node{at: wal.Position(i + 1)}, keys)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.hunt.place.Linked = 0
		if more, err := s.hunt.followLater(s.ctx); more || err != nil {
			b.Fatal(more, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*entries), "ns/entry")
}
