package hunt

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/delivery"
	"github.com/weirmail/weir/quarantine/incident"
)

// everyone is a delivery log by which every copy is in its recipient's mailbox.
type everyone struct{}

func (everyone) Of(_ context.Context, e *journal.Entry) (all []delivery.Delivery, err error) {
	for _, to := range e.To {
		all = append(all, delivery.Delivery{Recipient: to, Address: to, Status: delivery.Mailbox, Known: delivery.ByQueueID})
	}
	return all, nil
}

func (everyone) Await(*journal.Entry, func()) (stop func()) { return func() {} }

func (everyone) Taken(string, time.Time) (time.Time, error) { return time.Time{}, nil }

// items keeps nothing: nothing is pulled here.
type items struct{ incident.Items }

// minConfidence is what the real desk asks for.
const minConfidence = 60

// realDesk puts an incident desk over a real ledger behind the hunt.
func realDesk(t *testing.T, s *site) *incident.Desk {
	t.Helper()
	d := faulty.New("/state", 1)
	views, err := kv.Open(kv.Options{Name: "views", InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	id, err := ident.Open(ident.Options{FS: d, Dir: "/state", Clock: s.clock})
	if err != nil {
		t.Fatal(err)
	}
	view, err := incident.NewView(views)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(ledger.Options{FS: d, Dir: "/state/ledger", Index: views, Node: "test", Key: id.Key("ledger"), NewID: id.NewID, Clock: s.clock, Views: []ledger.View{view}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(); _ = views.Close() })
	desk, err := incident.New(incident.Options{Ledger: l, View: view, Journal: s.journal, Tracker: everyone{}, Items: items{}, Identity: id,
		Settings: incident.Settings{MinConfidence: minConfidence, Mailbox: func(address string) (string, bool) { return address, true }}})
	if err != nil {
		t.Fatal(err)
	}
	return desk
}

func TestTheDeskGetsEachDeliveryOnceWhateverIsHuntedAgain(t *testing.T) {
	s := newSite(t)
	desk := realDesk(t, s)
	s.open()
	s.hunt.o.Desk = desk
	file := "application/pdf " + text("offer")
	var want []string
	for i := range 30 {
		address := fmt.Sprintf("u%02d@here.example", i)
		s.mail(evil, to(address, "all@here.example"), content("text/plain "+text(address), file))
		want = append(want, address+" ", "all@here.example ")
	}
	s.mail(from("u07@here.example"), to("boss@here.example"), subject("Fwd: hello"), content("text/plain look", file))
	s.mail(from("u08@here.example"), to("chef@here.example"), answering("m3@mail.example"))
	want = append(want, "boss@here.example ", "chef@here.example unsure")
	slices.Sort(want)
	old := s.store.Generation()
	s.list("list:block/a", "evil.example")
	for range 3 {
		s.work()
		s.hunt.place = place{} // as if the place was lost
		s.hunt.looked = 0
	}
	late := s.mail(evil, to("late@here.example"), under(old))
	want = append(want, "late@here.example ")
	slices.Sort(want)
	s.work()
	page, err := desk.List(s.ctx, incident.Query{Limit: 10})
	if err != nil || len(page.Incidents) != 1 {
		t.Fatalf("incidents %+v, %v", page.Incidents, err)
	}
	i := page.Incidents[0]
	if i.Key != evilKey || i.Source != "list:block/a" || i.Actor != i.Source || i.Messages != 33 || i.Waits != 1 {
		t.Errorf("incident %+v", i)
	}
	deliveries, err := desk.Deliveries(s.ctx, i.ID, incident.DeliveryQuery{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range deliveries.Deliveries {
		waits := ""
		if d.Waits != "" {
			waits = "unsure"
		}
		got = append(got, d.Address+" "+waits)
		if d.Ref == late && d.Chain[0].How != "indicator" {
			t.Errorf("chain %+v", d.Chain)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("deliveries\n%q\nwant\n%q", got, want)
	}
}

func TestAnIncidentThatAPersonClosesMeanwhileIsLeftAlone(t *testing.T) {
	s := newSite(t)
	desk := realDesk(t, s)
	s.open()
	s.hunt.o.Desk = desk
	for range 2*pageLimit + 10 {
		s.mail(evil)
	}
	s.work()
	s.list("list:block/a", "evil.example")
	for {
		page, err := desk.List(s.ctx, incident.Query{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Incidents) == 1 {
			if err := desk.Close(s.ctx, page.Incidents[0].ID, "unix:1", "a slip"); err != nil {
				t.Fatal(err)
			}
			break
		}
		if _, err := s.hunt.turn(s.ctx); err != nil {
			t.Fatal(err)
		}
	}
	s.work()
	page, err := desk.List(s.ctx, incident.Query{Limit: 10})
	if err != nil || len(page.Incidents) != 1 || page.Incidents[0].Messages != pageLimit || page.Incidents[0].State != incident.Closed {
		t.Fatalf("incidents %+v, %v", page.Incidents, err)
	}
	old := s.store.Generation()
	s.list("list:block/b", "worse.example")
	s.work()
	s.mail(evil, under(old-1)) // late, and in no pass that knew the incident
	s.work()
	if page, err = desk.List(s.ctx, incident.Query{Limit: 10}); err != nil || len(page.Incidents) != 2 {
		t.Fatalf("incidents %+v, %v", page.Incidents, err)
	}
}

// What is listed with little confidence waits for a person, until the list says that
// it is sure, or a surer one has it.
func TestWhatAListIsNotSureOfWaitsUntilSomebodyIsSure(t *testing.T) {
	for name, surer := range map[string]struct {
		list, entry string
		why         string // it waits; empty: it does not
	}{
		"the same, sure":       {"list:block/a", "evil.example confidence=60", ""},
		"another, sure":        {"list:block/b", "evil.example confidence=100", ""},
		"one that doesn't say": {"list:block/b", "evil.example", ""},
		"the same, not yet":    {"list:block/a", "evil.example confidence=59", "its source is not sure enough: a confidence of 40, and policy asks for 60"},
		"a sure feed":          {"feed:x", "evil.example confidence=100", "its source is not sure enough: a confidence of 40, and policy asks for 60"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			desk := realDesk(t, s)
			s.open()
			s.hunt.o.Desk = desk
			s.mail(evil, to("a@here.example"))
			s.list("list:block/a", "evil.example confidence=40")
			s.work()
			if d := soleDelivery(t, s, desk); d.Waits == "" || d.Chain[0].Confidence != 40 {
				t.Fatalf("%+v", d)
			}
			s.list(surer.list, surer.entry)
			s.work()
			if d := soleDelivery(t, s, desk); d.Waits != surer.why {
				t.Errorf("it waits: %q, want %q", d.Waits, surer.why)
			}
		})
	}
}

func TestASurerEntryIsTheOneThatAMessageIsFoundBy(t *testing.T) {
	s := newSite(t)
	desk := realDesk(t, s)
	s.open()
	s.hunt.o.Desk = desk
	s.mail(evil, to("a@here.example"))
	s.list("list:block/a", "evil.example confidence=40", "evil.example confidence=90 note=seen")
	s.work()
	if d := soleDelivery(t, s, desk); d.Waits != "" || d.Chain[0].Confidence != 90 {
		t.Errorf("%+v", d)
	}
}

func soleDelivery(t *testing.T, s *site, desk *incident.Desk) *incident.Delivery {
	t.Helper()
	page, err := desk.List(s.ctx, incident.Query{Limit: 10})
	if err != nil || len(page.Incidents) != 1 {
		t.Fatalf("incidents %+v, %v", page.Incidents, err)
	}
	deliveries, err := desk.Deliveries(s.ctx, page.Incidents[0].ID, incident.DeliveryQuery{Limit: 10})
	if err != nil || len(deliveries.Deliveries) != 1 {
		t.Fatalf("deliveries %+v, %v", deliveries.Deliveries, err)
	}
	return &deliveries.Deliveries[0]
}
