package incident

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestWhoAsksForAPullApprovesOnlySoMuchOfIt(t *testing.T) {
	s := newSite(t, func(o *Options) { o.Settings.CapIncident = 5 })
	id := s.opened(byHand())
	s.extended(id, alice, sure(s.entry(addresses(5)...))...)
	ask := func(actor string, ids ...string) (int, error) {
		return s.Approve(t.Context(), Approval{Incident: id, Actor: actor, Reason: "phishing", Deliveries: ids})
	}
	var ids []string
	for _, d := range s.deliveries(id) {
		ids = append(ids, d.ID)
	}
	if n, err := ask(alice, ids[:3]...); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	s.extended(id, alice, sure(s.entry(addresses(3)...))...)
	s.reopen()
	if n, err := ask(alice); n != 0 || !errors.Is(err, ErrSecondPerson) {
		t.Errorf("%d %v", n, err)
	}
	if n, err := ask(alice, ids[3:]...); n != 2 || err != nil {
		t.Error(n, err)
	}
	// Who brings a delivery into it asks for it, too.
	s.extended(id, bob, sure(s.entry(addresses(6)...))...)
	if n, err := ask(bob); n != 0 || !errors.Is(err, ErrSecondPerson) {
		t.Errorf("%d %v", n, err)
	}
	if i := s.incident(id); i.Waits != 9 || i.State != Waiting {
		t.Errorf("%+v", i)
	}
	if n, err := ask("unix:1002"); n != 9 || err != nil {
		t.Error(n, err)
	}
	if n := s.pullAll(); n != 14 {
		t.Errorf("%d jobs", n)
	}
	s.incident(id)
}

func TestACapHoldsExactly(t *testing.T) {
	s := newSite(t, func(o *Options) { o.Settings.CapIncident, o.Settings.CapHour = 50, 120 })
	var wg sync.WaitGroup
	ids := make([]string, 4)
	for n := range ids {
		o := bySource()
		o.Key = fmt.Sprint("k", n)
		ids[n] = s.opened(o)
	}
	for n := range 24 {
		e := s.entry(addresses(7)...)
		wg.Go(func() {
			if _, err := s.Extend(context.Background(), ids[n%4], list, sure(e)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	started := 0
	for _, id := range ids {
		i := s.incident(id)
		if free := i.Counts[Pending] - i.Waits; free > 50 {
			t.Errorf("%d pulls of one incident", free)
		} else {
			started += free
		}
	}
	if started != 120 {
		t.Errorf("policy started %d pulls", started)
	}
	s.reopen()
	e := s.entry(addresses(3)...)
	o := bySource()
	o.Key = "late"
	late := s.opened(o)
	s.extended(late, list, sure(e)...)
	if i := s.incident(late); i.Waits != 3 {
		t.Errorf("%+v", i)
	}
	if d := s.of(late, "u0@example.org"); !strings.Contains(d.Waits, "120 deliveries an hour") {
		t.Errorf("%q", d.Waits)
	}
	s.pass(time.Hour)
	s.extended(late, list, sure(s.entry(addresses(3)...))...)
	if i := s.incident(late); i.Waits != 3 || i.Counts[Pending] != 6 {
		t.Errorf("in the next hour: %+v", i)
	}
	for n := range 20 {
		s.extended(late, list, sure(s.entry(addresses(3)...))...)
		if i := s.incident(late); i.Counts[Pending]-i.Waits != min(50, 6+3*n) {
			t.Fatalf("%d: %+v", n, i)
		}
	}
	full := 0
	for _, d := range s.deliveries(late) {
		if strings.Contains(d.Waits, "50 deliveries of one incident") {
			full++
		}
	}
	if full != 13 {
		t.Errorf("%d wait for the incident's cap", full)
	}
	if n, err := s.Approve(t.Context(), Approval{Incident: late, Actor: alice, Reason: "all of it"}); n != 16 || err != nil {
		t.Error(n, err)
	}
}

func TestAnApprovalThatNobodyUsesLapses(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(byHand())
	s.extended(id, alice, sure(s.entry(addresses(3)...))...)
	approve := func(ids ...string) {
		t.Helper()
		s.must(second(s.Approve(t.Context(), Approval{Incident: id, Actor: bob, Reason: "phishing", Deliveries: ids})))
	}
	approve()
	s.reopen()
	s.pass(DefaultApprovalFor - time.Minute)
	s.must(s.lapse(t.Context()))
	if i := s.incident(id); i.Waits != 0 {
		t.Errorf("%+v", i)
	}
	tried := s.one()
	s.keep(tried, "1")
	held := s.one()
	s.pass(2 * time.Minute)
	held = s.renewed(held)
	// One was tried, and one is being tried: these hold, and the third does not,
	// whether that is recorded already or not.
	again := s.lease(5)
	if len(again) != 1 || again[0].Job.ID != tried.Job.ID {
		t.Errorf("%+v", again)
	}
	s.must(s.lapse(t.Context()))
	for _, d := range s.deliveries(id) {
		if lapsed := d.ID != tried.Job.ID && d.ID != held.Job.ID; lapsed != (d.Waits != "") {
			t.Errorf("%+v", d)
		}
	}
	s.incident(id)
	s.reopen() // the sidecar's lease is gone, and with it what was being tried
	s.must(s.ready(t.Context()))
	s.must(s.lapse(t.Context()))
	approve()
	if n := s.pullAll(); n != 3 {
		t.Errorf("%d jobs after a new approval", n)
	}
	if i := s.incident(id); i.Counts[Pulled] != 3 || i.State != Done {
		t.Errorf("%+v", i)
	}
}

func TestWhatPolicyStartedDoesNotLapse(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"))...)
	s.pass(100 * time.Hour)
	s.must(s.lapse(t.Context()))
	if len(s.lease(1)) != 1 {
		t.Error("it is not pulled any more")
	}
}

func TestInDoubtEverythingWaitsForAPerson(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org", "b@example.org"))...)
	s.pull(s.one())
	s.reopen()
	if n, err := s.Doubt(t.Context(), "weir:restore", "the state came from a backup"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := s.Doubt(t.Context(), "weir:restore", "again"); n != 0 || err != nil {
		t.Error(n, err)
	}
	s.reopen()
	if len(s.lease(5)) != 0 {
		t.Error("it goes on")
	}
	for _, d := range s.deliveries(id) {
		if d.Outcome == Pending && !strings.Contains(d.Waits, "backup") {
			t.Errorf("%q", d.Waits)
		}
	}
	s.must(second(s.Approve(t.Context(), Approval{Incident: id, Actor: alice, Reason: "checked"})))
	if n := s.pullAll(); n != 1 {
		t.Errorf("%d jobs", n)
	}
	s.incident(id)
}
