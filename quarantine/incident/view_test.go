package incident

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/ledger/viewtest"
	"github.com/weirmail/weir/quarantine/delivery"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// dump gives the view's keys and values.
func (v *View) dump() (string, error) {
	s, err := v.db.Snapshot()
	if err != nil {
		return "", err
	}
	defer s.Release()
	var b strings.Builder
	for entry, err := range s.Range([]byte(viewPrefix), nil) {
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%q=%x\n", entry.Key, entry.Value)
	}
	return b.String(), nil
}

func freshView(t *testing.T) viewtest.Fixture {
	db, err := kv.Open(kv.Options{Name: "views", InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return viewtest.Fixture{
		Open: func() (ledger.View, error) { return NewView(db) },
		Dump: func(v ledger.View) (string, error) { return v.(*View).dump() },
	}
}

const (
	inc1 = "01KB0000000000000000000001"
	inc2 = "01KB0000000000000000000002"
	ref1 = "01KA0000000000000000000001"
)

func del(n int) string { return fmt.Sprintf("01KA1%021d", n) }

// life is a ledger with something of every sort in it.
func life(t *testing.T, perBatch int) []viewtest.Commit {
	var all []viewtest.Commit
	add := func(entity, kind string, data any) {
		e, err := event(kind, data)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, viewtest.Commit{Entity: entity, Events: []ledger.Event{e}})
	}
	at := time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)
	batch := matchedData{Messages: []messageData{{Ref: ref1, MessageID: "m1", Exact: true, Subject: strings.Repeat("s", 300), Time: at, Chain: []Step{{How: "indicator", What: "x", Sure: true}}}}}
	for n := range perBatch {
		f := foundData{ID: del(n), Recipient: fmt.Sprint("u", n, "@example.org"), placeData: placeData{
			Address: fmt.Sprint("u", n, "@example.org"), Mailbox: fmt.Sprint("u", n/2), Status: delivery.Mailbox, Outcome: Pending, Open: true}}
		switch n % 4 {
		case 1:
			f.Waits = "by hand"
		case 2:
			f.Status, f.Outcome = delivery.InTransit, InTransit
		case 3:
			f.Status, f.Outcome, f.Open = delivery.Relayed, OutOfReach, false
		}
		batch.Deliveries = append(batch.Deliveries, f)
	}
	var waiting []string
	for n := 1; n < perBatch; n += 4 {
		waiting = append(waiting, del(n))
	}
	c := mailbox.Copy{Folder: "INBOX", ID: "7/1", Flags: []mailbox.Flag{mailbox.FlagSeen}, Date: at}
	k := job.Kept{Item: "01KC0000000000000000000001", Copy: c, Bytes: 3, SHA256: job.Digest{1}}
	add(entityOf(inc1), typeOpened, openedData{Key: "k", Title: "one", Severity: High, Automatic: true})
	add(entityOf(inc2), typeOpened, openedData{Title: "two", Severity: Low})
	add(entityOf(inc1), typeAdmitted, admittedData{Batch: "b", N: perBatch})
	add(entityOfBatch(inc1, "b"), typeMatched, batch)
	add(entityOf(inc1), typeApproved, chosenData{Deliveries: waiting})
	add(entityOf(inc1), typeLapsed, chosenData{Deliveries: waiting})
	add(entityOfDelivery(inc1, del(0)), typeKept, k)
	add(entityOfDelivery(inc1, del(0)), typeOutcome, outcomeData{Outcome: Pulled, Removed: 1, Copies: []job.Copy{{Copy: c, Fate: job.Removed}}})
	add(entityOfDelivery(inc1, del(2)), typeLocated, locatedData{placeData: placeData{Address: "other@example.org", Mailbox: "other", Status: delivery.Mailbox, Outcome: Pending, Open: true}})
	add(entityOfDelivery(inc1, del(2)), typeOutcome, outcomeData{Outcome: Differs, Waits: "differs", Copies: []job.Copy{{Copy: c, Fate: job.Differ, Body: job.Digest{2}}}})
	add(entityOf(inc1), typeApproved, chosenData{Deliveries: []string{del(2)}})
	add(entityOfBatch(inc1, "c"), typeMatched, batch) // found again
	add(entityOf(inc1), typeNoted, notedData{"a note"})
	add(entityOf(inc1), typeAssigned, assignedData{"carla"})
	add(entityOfDelivery(inc1, del(0)), typeRestoring, restoringData{[]string{k.Item}})
	add(entityOfDelivery(inc1, del(0)), typeRestored, restoredData{Item: k.Item, Fate: isBack, Folder: "INBOX", Placed: c})
	add(entityOf(inc2), typeClosed, struct{}{})
	add(entityOf(inc1), typeClosed, struct{}{})
	add(capsPrefix+"2026-05-01T08", typeReserved, admittedData{Incident: inc1, N: 3})
	add("item/01KC0000000000000000000001", "held", struct{}{})
	return all
}

func TestTheViewIsOne(t *testing.T) { viewtest.Test(t, life(t, 8), freshView) }

// What is written in several batches has to come out as in one.
func TestTheViewIsOneWhereMuchChangesAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	viewtest.Test(t, life(t, 500), freshView)
}

func TestAViewThatStoppedHalfwayGoesOnWhereItStopped(t *testing.T) {
	s := newSite(t, nil)
	for n, c := range life(t, 500) {
		_, err := s.ledger.Commit(t.Context(), ledger.Command{ID: fmt.Sprint("c", n), Entity: c.Entity, Actor: alice},
			func(ledger.State) ([]ledger.Event, error) { return c.Events, nil })
		s.must(err)
	}
	s.settle()
	want, err := s.o.View.dump()
	s.must(err)
	var events []ledger.Event
	for e, err := range s.ledger.Events(ledger.Cursor{}) {
		s.must(err)
		events = append(events, e)
	}
	for stop := range events {
		if testing.Short() && stop%4 != 0 {
			continue
		}
		f := freshView(t)
		v, err := f.Open()
		s.must(err)
		// All but the last write of an Apply over the first events.
		snapshot, err := v.(*View).db.Snapshot()
		s.must(err)
		a := newApplying(v.(*View), snapshot)
		for n := range events[:stop+1] {
			s.must(a.apply(&events[n]))
		}
		snapshot.Release()
		s.must(v.Apply(t.Context(), events, events[len(events)-1].Cursor))
		if got, err := f.Dump(v); err != nil || got != want {
			t.Fatalf("after event %d: it shows something else, %v", stop, err)
		}
	}
}

// What an Apply has changed in memory and did not write is forgotten.
func TestAnApplyThatFailedLeavesNothingBehind(t *testing.T) {
	s := newSite(t, nil)
	for n, c := range life(t, 8) {
		_, err := s.ledger.Commit(t.Context(), ledger.Command{ID: fmt.Sprint("c", n), Entity: c.Entity, Actor: alice},
			func(ledger.State) ([]ledger.Event, error) { return c.Events, nil })
		s.must(err)
	}
	s.settle()
	want, err := s.o.View.dump()
	s.must(err)
	var events []ledger.Event
	for e, err := range s.ledger.Events(ledger.Cursor{}) {
		s.must(err)
		events = append(events, e)
	}
	last := events[len(events)-1].Cursor
	broken := events[slices.IndexFunc(events, func(e ledger.Event) bool { return e.Type == typeMatched })]
	broken.Schema = schema + 1
	for stop := range events {
		f := freshView(t)
		v, err := f.Open()
		s.must(err)
		s.must(v.Apply(t.Context(), events[:stop], last))
		if err := v.Apply(t.Context(), append(slices.Clone(events[stop:]), broken), last); err == nil {
			t.Fatal("an event of another schema is read")
		}
		s.must(v.Apply(t.Context(), events[stop:], last))
		if got, err := f.Dump(v); err != nil || got != want {
			t.Fatalf("after event %d: it shows something else, %v", stop, err)
		}
	}
}
