package incident

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/delivery"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

func TestAListedMessageIsPulledAndComesBack(t *testing.T) {
	s := newSite(t, nil)
	e := s.entry("a@example.org", "b@example.org", "c@far.example")
	s.tracker.tell(e, inMailbox("a@example.org"), inMailbox("b@example.org"), told("c@far.example", delivery.Relayed))
	id := s.opened(bySource())
	if n := s.extended(id, list, sure(e)...); n != 3 {
		t.Fatalf("%d deliveries are new", n)
	}
	s.is(id, "c@far.example", OutOfReach)
	if i := s.incident(id); i.State != Open || i.Counts[Pending] != 2 || i.Messages != 1 {
		t.Errorf("%+v", i)
	}
	leases := s.lease(10)
	if len(leases) != 2 {
		t.Fatalf("%d leases", len(leases))
	}
	j := leases[0].Job
	want := job.Target{WeirID: e.ID, MessageID: e.MessageID, Body: job.Digest(e.Body), Size: e.Size, Around: e.Time}
	if j.Kind != job.Pull || j.Target != want || j.Incident != id || j.Recipient != j.Mailbox+"@example.org" {
		t.Errorf("%+v", j)
	}
	for _, l := range leases {
		s.pull(l)
	}
	d := s.is(id, "a@example.org", Pulled)
	if !d.Seen || d.Answered || !d.Forwarded || len(d.Items) != 1 || len(d.Copies) != 1 {
		t.Errorf("%+v", d)
	}
	if i := s.incident(id); i.State != Done {
		t.Errorf("%+v", i)
	}
	item, err := s.items.Get(d.Items[0])
	if err != nil || item.Pulled == nil || item.Pulled.Incident != id || item.Pulled.Delivery != d.ID || item.State() != quarantine.Held {
		t.Fatalf("%+v %v", item, err)
	}

	if _, err := s.Restore(t.Context(), Restore{Incident: id, Actor: bob}); !errors.Is(err, ErrReason) {
		t.Errorf("%v", err)
	}
	n, err := s.Restore(t.Context(), Restore{Incident: id, Actor: bob, Reason: "a false alarm"})
	if n != 2 || err != nil {
		t.Fatal(n, err)
	}
	s.is(id, "a@example.org", Restoring)
	if again, err := s.Restore(t.Context(), Restore{Incident: id, Actor: bob, Reason: "twice"}); again != 0 || !errors.Is(err, ErrNothing) {
		t.Error(again, err)
	}
	for range 2 {
		l := s.one()
		if l.Job.Kind != job.Restore || l.Job.Item.Copy.Keywords[0] != "$Forwarded" || l.Job.Mailbox == "" {
			t.Errorf("%+v", l.Job)
		}
		if raw := s.content(l); string(raw) != string(rawOf(&job.Job{Target: want, Recipient: l.Job.Recipient}, "1")) {
			t.Errorf("%q", raw)
		}
		s.report(l, job.Result{Outcome: job.Restored, Folder: "INBOX", Placed: mailbox.Copy{Folder: "INBOX", ID: "7/20"}})
	}
	s.is(id, "a@example.org", Restored)
	if item, _ := s.items.Get(d.Items[0]); item.State() != quarantine.Released {
		t.Errorf("%s", item.State())
	}
	if i := s.incident(id); i.State != Done || i.Counts[Restored] != 2 {
		t.Errorf("%+v", i)
	}
	// It stays there, whatever finds it for the same reason again.
	s.must(s.Close(t.Context(), id, bob, "a false alarm"))
	again := s.opened(bySource())
	if again == id {
		t.Fatal("a closed incident goes on")
	}
	if n := s.extended(again, list, sure(e)...); n != 1 { // who is out of reach
		t.Errorf("%d deliveries of a restored message are pulled again", n)
	}
	other := bySource()
	other.Key = "url:https://worse.example/"
	if n := s.extended(s.opened(other), list, sure(e)...); n != 3 {
		t.Errorf("%d deliveries: another reason is another thing", n)
	}
	page, err := s.Timeline(t.Context(), id, TimelineQuery{})
	s.must(err)
	actions := page.Actions
	var whats []string
	for _, a := range actions {
		whats = append(whats, a.What)
	}
	if got := strings.Join(whats, " "); got != "opened matched kept outcome kept outcome restoring restoring restored restored closed" {
		t.Errorf("%s", got)
	}
	if !slices.IsSortedFunc(actions, func(a, b Action) int { return a.Time.Compare(b.Time) }) || actions[0].Actor != list || actions[0].Reason != "listed" {
		t.Errorf("%+v", actions)
	}
}

func TestTheSameKeyIsTheSameIncidentUntilItIsClosed(t *testing.T) {
	s := newSite(t, nil)
	e := s.entry("a@example.org")
	id := s.opened(bySource())
	for range 2 {
		if got := s.opened(bySource()); got != id {
			t.Errorf("another one: %s", got)
		}
		if s.extended(id, list, sure(e, e)...) > 1 {
			t.Error("a delivery is in it twice")
		}
		s.reopen()
	}
	if one, two := s.opened(byHand()), s.opened(byHand()); one == two {
		t.Error("two that have no key are one")
	}
	if i := s.incident(id); i.Messages != 1 || i.Counts[Pending] != 1 || !i.Automatic || i.Source != list {
		t.Errorf("%+v", i)
	}
	s.must(s.Close(t.Context(), id, alice, "done"))
	if err := s.Close(t.Context(), id, alice, "done"); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := s.Extend(t.Context(), id, list, sure(e)); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if len(s.lease(5)) != 0 {
		t.Error("a closed incident goes on pulling")
	}
	second := s.opened(bySource())
	if second == id || s.opened(bySource()) != second {
		t.Error("after a closed one there is one new one")
	}
	s.reopen()
	if len(s.lease(5)) != 0 || s.opened(bySource()) != second {
		t.Error("a restart brings a closed incident back")
	}
	if i := s.incident(id); i.State != Closed {
		t.Errorf("%+v", i)
	}
}

func TestWhatPolicyMayNotPullWaitsForAPerson(t *testing.T) {
	vip := func(address string) []string {
		if strings.HasPrefix(address, "boss") {
			return []string{"vip"}
		}
		return nil
	}
	s := newSite(t, func(o *Options) {
		o.Settings.Groups, o.Settings.ApproveGroups, o.Settings.ProtectedGroups = vip, []string{"VIP"}, []string{"legal"}
		o.Settings.Protected = []string{"abuse@example.org", "@hold.example"}
	})
	for _, tt := range []struct {
		name, to, actor string
		open            Opening
		chain           []Step
		waits           string
		outcome         Outcome
	}{
		{"sure and listed", "a@example.org", list, bySource(), nil, "", Pending},
		{"a feed", "a@example.org", "feed:evil", bySource(), nil, "feed:evil", Pending},
		{"a person in an incident of policy's", "a@example.org", alice, bySource(), nil, alice, Pending},
		{"by hand", "a@example.org", list, byHand(), nil, "a person opened", Pending},
		{"unsure", "a@example.org", list, bySource(), []Step{{How: "indicator", Sure: true}, {How: "thread", What: "m1"}}, "not sure: thread: m1", Pending},
		{"no chain", "a@example.org", list, bySource(), []Step{}, "not sure", Pending},
		{"vip", "boss@example.org", list, bySource(), nil, "group vip", Pending},
		{"protected", "Abuse@example.org", list, bySource(), nil, "", Protected},
		{"another name of a protected mailbox", "abuse+list@example.org", list, bySource(), nil, "", Protected},
		{"a protected domain", "x@hold.example", list, bySource(), nil, "", Protected},
	} {
		o := tt.open
		o.Key = tt.name
		id := s.opened(o)
		m := sure(s.entry(tt.to))
		if tt.chain != nil {
			m[0].Chain = tt.chain
		}
		planned, err := s.Plan(t.Context(), func() Opening { o.Key += " planned"; o.Actor = tt.actor; o.Reason = "x"; return o }(), m)
		s.must(err)
		s.extended(id, tt.actor, m...)
		d := s.is(id, tt.to, tt.outcome)
		if (tt.waits == "") != (d.Waits == "") || !strings.Contains(d.Waits, tt.waits) {
			t.Errorf("%s: waits %q", tt.name, d.Waits)
		}
		if len(planned) != 1 || planned[0].Waits != d.Waits || planned[0].Outcome != d.Outcome || planned[0].ID != "" {
			t.Errorf("%s: planned %+v", tt.name, planned)
		}
		n := len(s.lease(5))
		if (n == 1) != (tt.waits == "" && tt.outcome == Pending) {
			t.Errorf("%s: %d leases", tt.name, n)
		}
		if i := s.incident(id); (i.State == Waiting) != (tt.waits != "") {
			t.Errorf("%s: %+v", tt.name, i)
		}
		s.pass(time.Hour)
		s.must(s.Close(t.Context(), id, alice, "next"))
		s.lease(1)
	}
}

func TestEachWayOfACopyHasItsOutcome(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	session := inMailbox("known@example.org")
	session.Mailbox, session.Known = "k.nown", delivery.BySession
	for _, tt := range []struct {
		d       delivery.Delivery
		outcome Outcome
		mailbox string
	}{
		{inMailbox("a@example.org"), Pending, "a"},
		{session, Pending, "k.nown"},
		{inMailbox("a@virtual.example"), MailboxMissing, ""},
		{told("t@example.org", delivery.InTransit), InTransit, "t"},
		{told("t@far.example", delivery.InTransit), InTransit, ""},
		{told("u@example.org", delivery.Unconfirmed), Pending, "u"},
		{told("u@far.example", delivery.Unconfirmed), OutOfReach, ""},
		{told("r@far.example", delivery.Relayed), OutOfReach, ""},
		{told("r@example.org", delivery.Relayed), Pending, "r"},
		{told("f@far.example", delivery.Forwarded), OutOfReach, ""},
		{told("b@example.org", delivery.Bounced), NotFound, ""},
		{told("x@example.org", delivery.Expired), NotFound, ""},
		{told("d@example.org", delivery.Discarded), NotFound, ""},
		{told("n@example.org", delivery.Refused), NotFound, ""},
		{told("q@example.org", delivery.Removed), NotFound, ""},
	} {
		e := s.entry("x@example.org")
		tt.d.Reply = "because"
		s.tracker.tell(e, tt.d)
		s.extended(id, list, sure(e)...)
		d := s.is(id, tt.d.Address, tt.outcome)
		if d.Mailbox != tt.mailbox || d.Waits != "" {
			t.Errorf("%s: %+v", tt.d.Address, d)
		}
		if tt.outcome == NotFound && !strings.Contains(d.Detail, "because") {
			t.Errorf("%s: %q", tt.d.Address, d.Detail)
		}
	}
	s.incident(id)
	got := map[string]bool{}
	for _, l := range s.lease(20) {
		got[l.Job.Mailbox] = true
	}
	if len(got) != 4 || !got["a"] || !got["k.nown"] || !got["u"] || !got["r"] {
		t.Errorf("leases for %v", got)
	}
}

func TestAFinalAddressIsNamedOnce(t *testing.T) {
	s := newSite(t, nil)
	e := s.entry("a@example.org", "list@example.org")
	inbox, work := inMailbox("a@example.org"), inMailbox("a@example.org")
	inbox.Folder, work.Folder = "INBOX", "Work"
	forward := told("a@example.org", delivery.Forwarded)
	forward.Address, forward.QueueID = "c@example.org", "Q1"
	child := inMailbox("c@example.org")
	child.Parent, child.QueueID, child.Known = "Q1", "Q2", delivery.ByRedirect
	viaList := inMailbox("a@example.org")
	viaList.Recipient, viaList.Through = "list@example.org", "list@example.org"
	s.tracker.tell(e, inbox, work, forward, child, viaList)
	id := s.opened(bySource())
	if n := s.extended(id, list, sure(e)...); n != 3 { // a's own, c's, a's of the list
		t.Errorf("%d: %+v", n, s.deliveries(id))
	}
	// One mailbox, two copies: the first pull takes both.
	leases := s.lease(5)
	if len(leases) != 2 {
		t.Fatalf("%+v", leases)
	}
	for _, l := range leases {
		if l.Job.Mailbox != "a" {
			s.pull(l)
			continue
		}
		one, two := s.keep(l, "1"), s.keep(l, "2")
		s.report(l, job.Result{Outcome: job.Pulled, Copies: []job.Copy{{Copy: one.Copy, Fate: job.Removed}, {Copy: two.Copy, Fate: job.Removed}}})
	}
	l := s.one()
	s.report(l, job.Result{Outcome: job.NotFound})
	if i := s.incident(id); i.Counts[Pulled] != 3 || i.State != Done {
		t.Errorf("%+v", i)
	}
}

func TestDeliveriesHaveNamesThatOrderAsTheirMessagesDo(t *testing.T) {
	at := time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)
	id := deliveryID("i", "r", "A@example.org", "a@example.org", at)
	ms, ok := ident.ParseID(id)
	if !ok || !ms.Equal(at) {
		t.Errorf("%s is no ULID of that time (%v)", id, ms)
	}
	if id != deliveryID("i", "r", "a@example.org", "A@example.org", at) {
		t.Error("the case of an address matters")
	}
	for name, other := range map[string]string{
		"incident":  deliveryID("j", "r", "a@example.org", "a@example.org", at),
		"message":   deliveryID("i", "s", "a@example.org", "a@example.org", at),
		"recipient": deliveryID("i", "r", "b@example.org", "a@example.org", at),
		"address":   deliveryID("i", "r", "a@example.org", "b@example.org", at),
		"split":     deliveryID("i", "ra", "@example.org", "a@example.org", at),
	} {
		if other == id || other[:10] != id[:10] {
			t.Errorf("%s: %s and %s", name, id, other)
		}
	}
	if later := deliveryID("i", "r", "a@example.org", "a@example.org", at.Add(time.Millisecond)); later[:10] <= id[:10] {
		t.Errorf("%s comes behind %s", id, later)
	}
	for _, strange := range []time.Time{{}, time.Unix(-1, 0), time.Date(1<<20, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if id := deliveryID("i", "r", "a", "a", strange); len(id) != lengthOfULID {
			t.Errorf("%s", id)
		}
	}
}

func TestOnlyTheNamedRecipientsAreMeant(t *testing.T) {
	s := newSite(t, nil)
	e := s.entry(addresses(3)...)
	id := s.opened(byHand())
	m := sure(e)
	m[0].Only = []string{"U1@example.org"}
	if n := s.extended(id, alice, m...); n != 1 {
		t.Errorf("%d", n)
	}
	s.of(id, "u1@example.org")
	if n := s.extended(id, alice, sure(e)...); n != 2 {
		t.Errorf("%d", n)
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	s := newSite(t, nil)
	ctx := t.Context()
	for name, o := range map[string]Opening{
		"no title":   {Actor: list, Reason: "x"},
		"no reason":  {Title: "x", Actor: alice},
		"no actor":   {Title: "x", Reason: "x"},
		"severity":   {Title: "x", Actor: alice, Reason: "x", Severity: "huge"},
		"a long key": {Title: "x", Actor: alice, Reason: "x", Key: strings.Repeat("k", 2000)},
	} {
		if _, err := s.Open(ctx, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	id := s.opened(byHand())
	for name, err := range map[string]error{
		"extend":    second(s.Extend(ctx, "01KB0000000000000000000001", alice, nil)),
		"approve":   second(s.Approve(ctx, Approval{Incident: "01KB0000000000000000000001", Actor: alice, Reason: "x"})),
		"restore":   second(s.Restore(ctx, Restore{Incident: "01KB0000000000000000000001", Actor: alice, Reason: "x"})),
		"delivery":  second(s.Approve(ctx, Approval{Incident: id, Deliveries: []string{"01KB0000000000000000000001"}, Actor: alice, Reason: "x"})),
		"item":      second(s.Restore(ctx, Restore{Incident: id, Items: []string{"01KB0000000000000000000001"}, Actor: alice, Reason: "x"})),
		"note":      s.Note(ctx, "01KB0000000000000000000001", alice, "x"),
		"empty":     second(s.Get("")),
		"timeline":  second(s.Timeline(ctx, "x", TimelineQuery{})),
		"find":      second(s.Find("")),
		"of nobody": second(s.Deliveries(ctx, "01KB0000000000000000000001", DeliveryQuery{})),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Extend(ctx, id, "nobody", sure(s.entry("a@example.org"))); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if _, err := s.Extend(ctx, id, alice, []Match{{}}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if _, err := s.Approve(ctx, Approval{Incident: id, Actor: alice}); !errors.Is(err, ErrReason) {
		t.Error(err)
	}
	if _, err := s.Approve(ctx, Approval{Incident: id, Actor: alice, Reason: "x"}); !errors.Is(err, ErrNothing) {
		t.Error(err)
	}
	if err := s.Note(ctx, id, alice, " "); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if _, err := s.Lease(ctx, Request{Actor: puller, Max: MaxLeases + 1}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if _, err := s.List(ctx, Query{Limit: MaxLimit + 1}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestIncidentsAreFound(t *testing.T) {
	s := newSite(t, nil)
	ctx := t.Context()
	var ids []string
	for n, title := range []string{"Blocked url one", "Campaign two", "Phishing three"} {
		o := byHand()
		o.Title, o.Severity = title, Severities()[n]
		if n == 1 {
			o.Owner = "carla"
		}
		ids = append(ids, s.opened(o))
		s.pass(time.Hour)
	}
	s.must(s.Assign(ctx, ids[2], "Dora", alice, "on duty"))
	s.must(s.Note(ctx, ids[2], alice, "looks bad"))
	s.must(s.Close(ctx, ids[0], alice, "nothing"))
	slices.Reverse(ids)
	middle := s.incident(ids[1]).Opened
	for name, tt := range map[string]struct {
		q    Query
		want []string
	}{
		"all":      {Query{}, ids},
		"owner":    {Query{Owner: "dora"}, ids[:1]},
		"state":    {Query{State: Closed}, ids[2:]},
		"severity": {Query{Severity: Medium}, ids[1:2]},
		"text":     {Query{Text: "TWO campaign"}, ids[1:2]},
		"since":    {Query{Since: middle}, ids[:2]},
		"until":    {Query{Until: middle}, ids[2:]},
		"before":   {Query{Before: ids[0]}, ids[1:]},
		"limit":    {Query{Limit: 2}, ids[:2]},
	} {
		p, err := s.List(ctx, tt.q)
		var got []string
		for _, i := range p.Incidents {
			got = append(got, i.ID)
		}
		if err != nil || !slices.Equal(got, tt.want) || p.More != (name == "limit") {
			t.Errorf("%s: %v %v, want %v", name, got, err, tt.want)
		}
	}
	if id, err := s.Find(strings.ToLower(ids[0])); id != ids[0] || err != nil {
		t.Error(id, err)
	}
	if _, err := s.Find(ids[0][:4]); !errors.Is(err, ErrAmbiguous) {
		t.Error(err)
	}
}

func TestDeliveriesAreListedPageByPage(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	for range 3 {
		s.extended(id, list, sure(s.entry(addresses(4)...))...)
		s.pass(time.Second)
	}
	var got []Delivery
	for q := (DeliveryQuery{Limit: 5}); ; {
		p, err := s.Deliveries(t.Context(), id, q)
		s.must(err)
		got = append(got, p.Deliveries...)
		if !p.More {
			break
		}
		q.After = got[len(got)-1].ID
	}
	if len(got) != 12 || !slices.IsSortedFunc(got, func(a, b Delivery) int { return b.Time.Compare(a.Time) }) {
		t.Errorf("%d", len(got))
	}
	p, err := s.Deliveries(t.Context(), id, DeliveryQuery{Address: "U2@"})
	if err != nil || len(p.Deliveries) != 3 {
		t.Error(len(p.Deliveries), err)
	}
	p, err = s.Deliveries(t.Context(), id, DeliveryQuery{Waiting: true, Outcome: Pending})
	if err != nil || len(p.Deliveries) != 0 {
		t.Error(len(p.Deliveries), err)
	}
}

func TestARestoreIsJudgedByTodaysRules(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"))...)
	s.pullAll()
	s.judge.action = intel.ActionHold
	var blocked *quarantine.BlockedError
	if _, err := s.Restore(t.Context(), Restore{Incident: id, Actor: bob, Reason: "wanted"}); !errors.As(err, &blocked) {
		t.Fatal(err)
	}
	d := s.is(id, "a@example.org", Pulled)
	if n, err := s.Restore(t.Context(), Restore{Incident: id, Items: d.Items, Actor: bob, Reason: "wanted", Override: true}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	// What does not work leaves it in quarantine, and says why.
	l := s.one()
	s.report(l, job.Result{Outcome: job.Unreachable, Detail: "connection refused"})
	if d := s.is(id, "a@example.org", Restoring); !strings.Contains(d.Detail, "refused") {
		t.Errorf("%+v", d)
	}
	if len(s.lease(1)) != 0 {
		t.Error("no pause after a failure")
	}
	s.pass(firstPause)
	s.report(s.one(), job.Result{Outcome: job.Failed, Detail: "over quota"})
	if d := s.is(id, "a@example.org", Pulled); !strings.Contains(d.Detail, "over quota") {
		t.Errorf("%+v", d)
	}
	if item, _ := s.items.Get(d.Items[0]); item.State() != quarantine.Held || !strings.Contains(item.Recipients[0].Detail, "over quota") {
		t.Errorf("%+v", item.Recipients)
	}
	s.incident(id)
	_, err := s.items.Delete(t.Context(), d.Items[0], bob, "gone for good")
	s.must(err)
	if _, err := s.Restore(t.Context(), Restore{Incident: id, Actor: bob, Reason: "wanted"}); !errors.Is(err, ErrNothing) {
		t.Error(err)
	}
	if _, err := s.Restore(t.Context(), Restore{Incident: id, Items: d.Items, Actor: bob, Reason: "wanted"}); !errors.Is(err, quarantine.ErrGone) {
		t.Error(err)
	}
}

func TestWhatWouldBeHeldAgainKeepsNothingElseFromGoingBack(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org", "b@example.org", "c@example.org"))...)
	s.pullAll()
	s.judge.action, s.judge.only = intel.ActionHold, "b@example.org"
	var blocked *quarantine.BlockedError
	n, err := s.Restore(t.Context(), Restore{Incident: id, Actor: bob, Reason: "wanted"})
	if n != 2 || !errors.As(err, &blocked) || !strings.Contains(err.Error(), "1 of 3 copies stay in quarantine") || !strings.Contains(err.Error(), "b@example.org") {
		t.Fatal(n, err)
	}
	s.pullAll()
	for address, want := range map[string]Outcome{"a@example.org": Restored, "b@example.org": Pulled, "c@example.org": Restored} {
		s.is(id, address, want)
	}
	if n, err := s.Restore(t.Context(), Restore{Incident: id, Actor: bob, Reason: "wanted"}); n != 0 || !errors.As(err, &blocked) || strings.Contains(err.Error(), "others") {
		t.Error(n, err)
	}
}

func TestTwoCopiesWithTheSameBytesGoBackAsTwo(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"))...)
	l := s.one()
	raw := rawOf(&l.Job, "same")
	for _, uid := range []string{"1", "2"} {
		if _, err := s.Keep(t.Context(), puller, l.ID, copyOf(&l.Job, uid), raw); err != nil {
			t.Fatal(err)
		}
	}
	s.report(l, job.Result{Outcome: job.Pulled, Copies: []job.Copy{{Fate: job.Removed}, {Fate: job.Removed}}})
	d := s.is(id, "a@example.org", Pulled)
	if n, err := s.Restore(t.Context(), Restore{Incident: id, Items: d.Items[:1], Actor: bob, Reason: "wanted"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	l = s.one()
	if len(l.Job.Besides) != 0 {
		t.Errorf("%+v", l.Job.Besides)
	}
	s.report(l, job.Result{Outcome: job.Restored, Placed: mailbox.Copy{Folder: "INBOX", ID: "7/30"}})
	if d := s.is(id, "a@example.org", Pulled); !strings.Contains(d.Detail, "1 of 2") {
		t.Errorf("%+v", d)
	}
	if n, err := s.Restore(t.Context(), Restore{Incident: id, Actor: bob, Reason: "the other too"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	l = s.one()
	if len(l.Job.Besides) != 1 || l.Job.Besides[0].ID != "7/30" {
		t.Errorf("%+v", l.Job.Besides)
	}
	s.report(l, job.Result{Outcome: job.Restored, Placed: mailbox.Copy{Folder: "INBOX", ID: "7/31"}})
	s.is(id, "a@example.org", Restored)
	s.incident(id)
}

func TestWaitingForWorkEndsWhenThereIsSome(t *testing.T) {
	s := newSite(t, nil)
	got := make(chan []job.Lease)
	go func() {
		l, err := s.Lease(context.Background(), Request{Actor: puller, Max: 5, Wait: time.Minute})
		if err != nil {
			t.Error(err)
		}
		got <- l
	}()
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"))...)
	if l := <-got; len(l) != 1 {
		t.Errorf("%+v", l)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Lease(ctx, Request{Actor: puller, Max: 5, Wait: time.Minute}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	began := time.Now()
	if l, err := s.Lease(t.Context(), Request{Actor: puller, Max: 5, Wait: time.Millisecond}); len(l) != 0 || err != nil || time.Since(began) > 30*time.Second {
		t.Error(l, err)
	}
}
