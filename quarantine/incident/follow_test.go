package incident

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/quarantine/delivery"
	"github.com/weirmail/weir/quarantine/job"
)

// news makes the Desk ask the delivery log about all that it follows.
func (s *site) news() {
	s.t.Helper()
	s.must(s.ready(s.t.Context()))
	s.pass(askAtLeast)
	s.ask(s.t.Context())
}

// Most times that the log is asked it tells nothing new, and no more is read.
func TestWhatTheLogToldAlreadyIsNoNews(t *testing.T) {
	d := &Desk{settings: Settings{Mailbox: func(a string) (string, bool) { return a, true }}}
	m := &Match{Entry: &journal.Entry{ID: "an entry", Time: time.Unix(1e9, 0)}}
	var lives []*live
	for _, a := range []string{"a@example.org", "b@example.org"} {
		lives = append(lives, &live{rec: &record{Delivery: Delivery{Recipient: a, Address: a, Status: delivery.InTransit}}})
	}
	a, b := told("a@example.org", delivery.InTransit), told("b@example.org", delivery.InTransit)
	through := told("c@example.org", delivery.InTransit)
	through.Recipient = "b@example.org"
	for name, c := range map[string]struct {
		copies []delivery.Delivery
		old    bool
	}{
		"both as they were":            {[]delivery.Delivery{a, b}, true},
		"in another order":             {[]delivery.Delivery{b, a}, true},
		"one has arrived":              {[]delivery.Delivery{a, told("b@example.org", delivery.Mailbox)}, false},
		"one was an alias":             {[]delivery.Delivery{a, through}, false},
		"one of them is an alias, too": {[]delivery.Delivery{a, b, through}, false},
		"one is not told of any more":  {[]delivery.Delivery{a}, false},
		"one is told of twice":         {[]delivery.Delivery{a, a}, false},
		"nothing is told":              {nil, false},
	} {
		if d.nothingNew("an incident", lives, m, c.copies) != c.old {
			t.Errorf("%s: no news is %t, want %t", name, !c.old, c.old)
		}
	}
}

func TestMailInTransitIsPulledWhenItHasArrived(t *testing.T) {
	s := newSite(t, nil)
	e := s.entry("a@example.org", "b@example.org", "c@far.example")
	transit := func(a string) delivery.Delivery { return told(a, delivery.InTransit) }
	s.tracker.tell(e, transit("a@example.org"), transit("b@example.org"), transit("c@far.example"))
	id := s.opened(bySource())
	s.extended(id, list, sure(e)...)
	if i := s.incident(id); i.State != Open || i.Counts[InTransit] != 3 || len(s.lease(5)) != 0 {
		t.Errorf("%+v", i)
	}
	version := s.of(id, "a@example.org").Version
	s.news()
	if got := s.of(id, "a@example.org").Version; got != version {
		t.Error("no news are recorded")
	}
	s.reopen()
	bounced := told("b@example.org", delivery.Bounced)
	bounced.Reply = "550 no such user"
	arrived := inMailbox("a@example.org")
	arrived.Mailbox, arrived.Known = "al", delivery.BySession
	s.tracker.tell(e, arrived, bounced, told("c@far.example", delivery.Relayed))
	s.news()
	if d := s.is(id, "a@example.org", Pending); d.Mailbox != "al" || d.Status != delivery.Mailbox {
		t.Errorf("%+v", d)
	}
	if d := s.is(id, "b@example.org", NotFound); !strings.Contains(d.Detail, "no such user") {
		t.Errorf("%+v", d)
	}
	s.is(id, "c@far.example", OutOfReach)
	if n := s.pullAll(); n != 1 {
		t.Errorf("%d jobs", n)
	}
	if i := s.incident(id); i.State != Done {
		t.Errorf("%+v", i)
	}
	if len(s.follows.all) != 0 || len(s.lives) != 0 {
		t.Errorf("%d are followed, %d are live", len(s.follows.all), len(s.lives))
	}
}

func TestAnAliasBecomesWhatItStoodFor(t *testing.T) {
	s := newSite(t, func(o *Options) { o.Settings.CapIncident = 3 })
	e := s.entry("list@example.org", "z@example.org")
	s.tracker.tell(e, told("list@example.org", delivery.InTransit), inMailbox("z@example.org"))
	id := s.opened(bySource())
	s.extended(id, list, sure(e)...)
	var all []delivery.Delivery
	for _, a := range []string{"a@example.org", "b@example.org", "c@example.org"} {
		d := inMailbox(a)
		d.Recipient, d.Through = "list@example.org", "list@example.org"
		all = append(all, d)
	}
	s.tracker.tell(e, append(all, inMailbox("z@example.org"))...)
	s.news()
	ds := s.deliveries(id)
	waits := 0
	for _, d := range ds {
		if d.Waits != "" {
			waits++
		}
		if d.Address == "list@example.org" || d.Outcome != Pending {
			t.Errorf("%+v", d)
		}
	}
	// The list's and z's pull were counted at first, so that one is left to policy.
	if len(ds) != 4 || waits != 1 {
		t.Errorf("%d deliveries, %d wait: %+v", len(ds), waits, ds)
	}
	for range 2 { // what is known already does not come again
		if n := s.extended(id, list, sure(e)...); n != 0 {
			t.Errorf("%d new ones", n)
		}
		s.news()
		s.reopen()
	}
	if i := s.incident(id); i.Counts[Pending] != 4 || i.Messages != 1 {
		t.Errorf("%+v", i)
	}
	if n := s.pullAll(); n != 3 {
		t.Errorf("%d jobs", n)
	}
}

func TestOnlyTheMeantRecipientsAreFollowed(t *testing.T) {
	s := newSite(t, nil)
	e := s.entry("a@example.org", "b@example.org")
	s.tracker.tell(e, told("a@example.org", delivery.InTransit), told("b@example.org", delivery.InTransit))
	id := s.opened(bySource())
	m := sure(e)
	m[0].Only = []string{"a@example.org"}
	s.extended(id, list, m...)
	s.tracker.tell(e, inMailbox("a@example.org"), inMailbox("b@example.org"))
	s.reopen()
	s.news()
	if ds := s.deliveries(id); len(ds) != 1 || ds[0].Outcome != Pending {
		t.Errorf("%+v", ds)
	}
}

func TestWhatNobodyTellsOfIsSearchedUntilItsTimeIsOver(t *testing.T) {
	s := newSite(t, nil)
	unconfirmed, transit, far := s.entry("u@example.org"), s.entry("t@example.org"), s.entry("f@far.example")
	s.tracker.tell(unconfirmed, told("u@example.org", delivery.Unconfirmed))
	s.tracker.tell(transit, told("t@example.org", delivery.InTransit))
	s.tracker.tell(far, told("f@far.example", delivery.InTransit))
	id := s.opened(bySource())
	s.extended(id, list, sure(unconfirmed, transit, far)...)
	tries := 0
	pauses := map[time.Duration]bool{}
	last := s.clock()
	for end := s.clock().Add(DefaultQueueLifetime + 25*time.Hour); s.clock().Before(end); s.pass(time.Minute) {
		for _, l := range s.lease(5) {
			tries++
			pauses[s.clock().Sub(last).Round(time.Minute)] = true
			last = s.clock()
			s.report(l, job.Result{Outcome: job.NotFound})
		}
		if tries == 3 {
			s.reopen()
		}
	}
	if tries < 200 || tries > 400 || !pauses[30*time.Minute] {
		t.Errorf("%d tries with pauses of %v", tries, pauses)
	}
	if i := s.incident(id); i.State != Open {
		t.Errorf("%+v", i)
	}
	s.news()
	// One last look, where there is a mailbox to look into.
	for _, l := range s.lease(5) {
		s.report(l, job.Result{Outcome: job.NotFound})
	}
	for _, a := range []string{"u@example.org", "t@example.org", "f@far.example"} {
		s.is(id, a, NotFound)
	}
	s.news()
	if i := s.incident(id); i.State != Done || len(s.lives) != 0 || len(s.follows.all) != 0 {
		t.Errorf("%+v, %d live, %d followed", i, len(s.lives), len(s.follows.all))
	}
	s.reopen()
	s.news()
	if len(s.lease(5)) != 0 || len(s.lives) != 0 {
		t.Error("it begins anew")
	}
}

func TestNewsOfTheLogEndAPause(t *testing.T) {
	s := newSite(t, nil)
	e := s.entry("u@example.org")
	s.tracker.tell(e, told("u@example.org", delivery.Unconfirmed))
	id := s.opened(bySource())
	s.extended(id, list, sure(e)...)
	for range 12 {
		s.report(s.one(), job.Result{Outcome: job.NotFound})
		s.pass(maxNotFound)
	}
	s.report(s.one(), job.Result{Outcome: job.NotFound})
	arrived := inMailbox("u@example.org")
	arrived.Mailbox, arrived.Known = "uu", delivery.BySession
	s.tracker.tell(e, arrived)
	s.news()
	if l := s.one(); l.Job.Mailbox != "uu" {
		t.Errorf("%+v", l)
	}
}

func TestAMessageThatWasRestoredToAMailboxWaitsThere(t *testing.T) {
	s := newSite(t, nil)
	e := s.entry("a@example.org", "a+x@example.org")
	s.tracker.tell(e, inMailbox("a@example.org"), told("a+x@example.org", delivery.InTransit))
	id := s.opened(bySource())
	s.extended(id, list, sure(e)...)
	s.pullAll()
	s.must(second(s.Restore(t.Context(), Restore{Incident: id, Actor: bob, Reason: "wanted"})))
	s.pullAll()
	s.is(id, "a@example.org", Restored)
	s.tracker.tell(e, inMailbox("a@example.org"), inMailbox("a+x@example.org"))
	s.news()
	if d := s.is(id, "a+x@example.org", Pending); !strings.Contains(d.Waits, "restored") || len(s.lease(1)) != 0 {
		t.Errorf("%+v", d)
	}
}

func TestRunFollowsAndEnds(t *testing.T) {
	s := newSite(t, nil)
	e := s.entry("a@example.org")
	s.tracker.tell(e, told("a@example.org", delivery.InTransit))
	id := s.opened(bySource())
	ctx, stop := context.WithCancelCause(t.Context())
	defer stop(nil)
	var wg sync.WaitGroup
	ended := errors.New("the end")
	wg.Go(func() {
		if err := s.Run(ctx); !errors.Is(err, ended) {
			t.Error(err)
		}
	})
	s.extended(id, list, sure(e)...)
	s.tracker.tell(e, inMailbox("a@example.org"))
	s.pass(2 * askEvery)
	s.extended(id, list, sure(s.entry("b@example.org"))...) // wakes Run
	for {
		l, err := s.Lease(t.Context(), Request{Actor: puller, Max: 5, Wait: 10 * time.Second})
		s.must(err)
		for n := range l {
			if l[n].Job.Mailbox == "a" {
				stop(ended)
			}
		}
		if ctx.Err() != nil || len(l) == 0 {
			break
		}
	}
	if ctx.Err() == nil {
		t.Error("it was not followed")
		stop(ended)
	}
	wg.Wait()
}

func TestAnAliasIsResolvedWhenItsMessageIsFoundAgain(t *testing.T) {
	s := newSite(t, nil)
	e := s.entry("list@example.org")
	s.tracker.tell(e, told("list@example.org", delivery.InTransit))
	id := s.opened(bySource())
	s.extended(id, list, sure(e)...)
	var all []delivery.Delivery
	for _, a := range []string{"a@example.org", "b@example.org"} {
		d := inMailbox(a)
		d.Recipient = "list@example.org"
		all = append(all, d)
	}
	s.tracker.tell(e, all...)
	if n := s.extended(id, list, sure(e)...); n != 1 {
		t.Errorf("%d new ones", n)
	}
	s.is(id, "a@example.org", Pending)
	s.is(id, "b@example.org", Pending)
	if i := s.incident(id); i.Counts[Pending] != 2 || len(i.Counts) != 1 {
		t.Errorf("%+v", i)
	}
}

// The turn of a message that was in the queue for long comes only after minutes.
func TestNewsOfTheLogBringTheTurnForward(t *testing.T) {
	s := newSite(t, nil)
	e, other := s.entry("a@example.org"), s.entry("b@example.org")
	s.tracker.tell(e, told("a@example.org", delivery.InTransit))
	s.tracker.tell(other, told("b@example.org", delivery.InTransit))
	id, second := s.opened(bySource()), s.opened(byHand())
	s.pass(2 * time.Hour) // the message is as old
	s.extended(id, list, sure(e, other)...)
	s.extended(second, alice, sure(e)...)
	s.pass(askEvery)
	if wait := s.ask(t.Context()); wait != sweepEvery || len(s.tracker.waits) != 2 {
		t.Fatalf("the next turn is in %s, %d are waited for", wait, len(s.tracker.waits))
	}
	s.pass(askEvery)
	asked := s.tracker.asked
	s.tracker.log(e, inMailbox("a@example.org"))
	for range 10 { // each line of its copies
		s.tracker.log(e, inMailbox("a@example.org"))
	}
	select {
	case <-s.poke:
	default:
		t.Error("Run is not told")
	}
	wait := s.ask(t.Context())
	if wait > askSoon {
		t.Errorf("the next turn is in %s", wait)
	}
	s.pass(wait)
	s.ask(t.Context())
	if n := s.tracker.asked - asked; n != 2 { // once for each incident
		t.Errorf("the log was asked %d times", n)
	}
	if l := s.one(); l.Job.Recipient != "a@example.org" {
		t.Errorf("%+v", l)
	}
	if len(s.tracker.waits) != 1 {
		t.Error("what has arrived is waited for")
	}
	s.is(id, "b@example.org", InTransit)
	s.tracker.log(other, told("b@example.org", delivery.Bounced))
	s.pass(askSoon)
	s.ask(t.Context())
	s.is(id, "b@example.org", NotFound)
	if len(s.tracker.waits) != 0 || len(s.follows.all) != 0 {
		t.Errorf("%d are waited for, %d followed", len(s.tracker.waits), len(s.follows.all))
	}
}

func TestNewsAsFastAsTheyComeAreAskedAboutOnceASecond(t *testing.T) {
	s := newSite(t, nil)
	e := s.entry("a@example.org")
	s.tracker.tell(e, told("a@example.org", delivery.InTransit))
	s.extended(s.opened(bySource()), list, sure(e)...)
	s.pass(2 * time.Hour)
	s.ask(t.Context())
	asked := s.tracker.asked
	for range 100 { // ten seconds
		s.tracker.log(e, told("a@example.org", delivery.InTransit))
		s.pass(100 * time.Millisecond)
		s.ask(t.Context())
	}
	if n := s.tracker.asked - asked; n < 8 || n > 11 {
		t.Errorf("the log was asked %d times", n)
	}
}

// While it is asked, the log may tell more.
func TestNewsThatComeWhileTheLogIsAskedAreNotLost(t *testing.T) {
	s := newSite(t, nil)
	e := s.entry("a@example.org")
	s.tracker.tell(e, told("a@example.org", delivery.InTransit))
	id := s.opened(bySource())
	s.extended(id, list, sure(e)...)
	s.pass(2 * time.Hour)
	s.Desk.mu.Lock()
	f := s.follows.take(s.clock())
	s.Desk.mu.Unlock()
	at, err := s.askAbout(t.Context(), f)
	s.must(err)
	s.tracker.log(e, inMailbox("a@example.org"))
	s.Desk.mu.Lock()
	s.follows.again(f, s.clock(), at)
	s.Desk.mu.Unlock()
	s.pass(askEvery)
	s.ask(t.Context())
	if s.is(id, "a@example.org", Pending); len(s.lease(1)) != 1 {
		t.Error("it is not pulled")
	}
}

// A message may have come while the clock was far ahead.
func TestAMessageOfTheFutureIsNotFollowedUntilThen(t *testing.T) {
	s := newSite(t, nil)
	const year = 365 * 24 * time.Hour
	s.pass(year)
	e := s.entry("t@example.org")
	s.pass(-year)
	s.tracker.tell(e, told("t@example.org", delivery.InTransit))
	id := s.opened(bySource())
	s.extended(id, list, sure(e)...)
	s.pass(DefaultQueueLifetime)
	s.tracker.asked = 0
	for end := s.clock().Add(time.Hour); s.clock().Before(end); s.pass(time.Second) {
		s.ask(t.Context())
	}
	if s.tracker.asked > 20 {
		t.Errorf("the log was asked %d times in an hour", s.tracker.asked)
	}
	s.pass(25 * time.Hour)
	s.news()
	for _, l := range s.lease(5) {
		s.report(l, job.Result{Outcome: job.NotFound})
	}
	s.is(id, "t@example.org", NotFound)
	if i := s.incident(id); i.State != Done || len(s.lives) != 0 || len(s.follows.all) != 0 {
		t.Errorf("%+v, %d live, %d followed", i, len(s.lives), len(s.follows.all))
	}
}
