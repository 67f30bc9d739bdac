package incident

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/delivery"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// mailboxes gives the mailboxes of leases, in their order.
func mailboxes(leases []job.Lease) (all []string) {
	for n := range leases {
		all = append(all, leases[n].Job.Mailbox)
	}
	return all
}

func TestThePullsOfAMailboxAreLeasedTogetherTheNewestFirst(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	for range 5 {
		s.extended(id, list, sure(s.entry("a@example.org", "b@example.org"))...)
		s.pass(time.Minute)
	}
	first := s.lease(7)
	got := mailboxes(first)
	slices.Sort(got[:5])
	if len(first) != 7 || got[0] != got[4] || got[5] != got[6] || got[0] == got[5] {
		t.Fatalf("leased are %v", got)
	}
	for n := range first[1:5] {
		if !first[n].Job.Target.Around.After(first[n+1].Job.Target.Around) {
			t.Errorf("lease %d is of an older message than the one behind it", n)
		}
	}
	if !first[5].Job.Target.Around.Equal(first[0].Job.Target.Around) {
		t.Error("the second mailbox does not begin with its newest message")
	}
	if other, err := s.Lease(t.Context(), Request{Actor: "pull:other", Max: 10}); err != nil || len(other) != 0 {
		t.Fatalf("%v of a mailbox that is leased, %v", mailboxes(other), err)
	}
	for n, l := range first[5:] {
		if len(s.lease(10)) != 0 {
			t.Errorf("the mailbox is given again after %d of 2 reports", n)
		}
		s.pull(l)
	}
	if rest := s.lease(10); len(rest) != 3 || rest[0].Job.Mailbox != got[5] {
		t.Errorf("left are %v", mailboxes(rest))
	}
}

func TestNoMoreThan32PullsOfAMailboxAreLeasedTogether(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	var entries []*journal.Entry
	for range 40 {
		entries = append(entries, s.entry("a@example.org"))
	}
	s.extended(id, list, sure(entries...)...)
	first := s.lease(MaxLeases)
	if len(first) != 32 || len(s.lease(MaxLeases)) != 0 {
		t.Fatalf("%d leases", len(first))
	}
	for _, l := range first {
		s.pull(l)
	}
	if rest := s.lease(MaxLeases); len(rest) != 8 {
		t.Errorf("%d leases are left", len(rest))
	}
}

func TestPullsThatSeekTheSameMessageAreNotLeasedTogether(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	for range 3 {
		s.extended(id, list, sure(s.entry("a@example.org", "A+x@example.org"))...)
		s.pass(time.Minute)
	}
	again, other := s.entry("a@example.org"), s.entry("a@example.org")
	other.MessageID = again.MessageID
	s.extended(id, list, sure(again, other)...)
	for _, want := range []int{4, 4} {
		leases := s.lease(10)
		seen := map[string]bool{}
		for n := range leases {
			seen[leases[n].Job.Target.MessageID] = true
		}
		if len(leases) != want || len(seen) != want {
			t.Errorf("%d leases of %d messages, want %d", len(leases), len(seen), want)
		}
		for _, l := range leases {
			s.pull(l)
		}
	}
	if n := s.pullAll(); n != 0 {
		t.Errorf("%d jobs were left", n)
	}
	if i := s.incident(id); i.Counts[Pulled] != 8 || i.State != Done {
		t.Errorf("%+v", i)
	}
}

func TestARestoreIsLeasedAlone(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"), s.entry("a@example.org"))...)
	s.pullAll()
	_, err := s.Restore(t.Context(), Restore{Incident: id, Actor: alice, Reason: "good"})
	s.must(err)
	s.pass(-time.Hour) // older ones are pulled than those that go back
	older := []*journal.Entry{s.entry("a@example.org"), s.entry("a@example.org")}
	s.pass(2 * time.Hour)
	newer := []*journal.Entry{s.entry("a@example.org"), s.entry("a@example.org")}
	s.extended(id, list, sure(append(older, newer...)...)...)
	var got []job.Kind
	var sizes []int
	for leases := s.lease(10); len(leases) > 0; leases = s.lease(10) {
		got, sizes = append(got, leases[0].Job.Kind), append(sizes, len(leases))
		for _, l := range leases {
			if l.Job.Kind == job.Restore {
				s.report(l, job.Result{Outcome: job.Restored, Folder: "INBOX", Placed: mailbox.Copy{Folder: "INBOX", ID: "8/" + l.ID}})
			} else {
				s.pull(l)
			}
		}
	}
	if !slices.Equal(got, []job.Kind{job.Pull, job.Restore, job.Restore}) || !slices.Equal(sizes, []int{4, 1, 1}) {
		t.Errorf("leased were %v, %v at a time", got, sizes)
	}
	s.incident(id)
}

func TestALostLeaseFreesItsMailboxWhenTheOthersHaveEnded(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"), s.entry("a@example.org"), s.entry("a@example.org"))...)
	leases := s.lease(10)
	if len(leases) != 3 {
		t.Fatalf("%d leases", len(leases))
	}
	s.pass(defaultLease - time.Second)
	if lost, err := s.Renew(t.Context(), puller, []string{leases[0].ID, leases[2].ID}); err != nil || len(lost) != 0 {
		t.Fatal(lost, err)
	}
	s.pass(2 * time.Second)
	if lost, _ := s.Renew(t.Context(), puller, []string{leases[1].ID}); len(lost) != 1 {
		t.Error("what was not renewed is not lost")
	}
	if len(s.lease(10)) != 0 {
		t.Error("the mailbox is given again while two of its leases are held")
	}
	s.pull(leases[0])
	if len(s.lease(10)) != 0 {
		t.Error("the mailbox is given again while one of its leases is held")
	}
	s.pull(leases[2])
	if again := s.lease(10); len(again) != 1 || again[0].Job.ID != leases[1].Job.ID {
		t.Errorf("given again is %+v", again)
	}
}

func TestAMailboxIsFreeWhenAllOfItsLeasesAreLost(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"), s.entry("a@example.org"))...)
	if len(s.lease(10)) != 2 {
		t.Fatal("they are not leased together")
	}
	s.pass(defaultLease + time.Second)
	if n := s.pullAll(); n != 2 {
		t.Errorf("%d jobs are given again", n)
	}
	s.incident(id)
}

func TestALeaseThatRunsOutIsGivenAgain(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"))...)
	l := s.one()
	k := s.keep(l, "1")
	s.pass(defaultLease - time.Second)
	if lost, err := s.Renew(t.Context(), puller, []string{l.ID, "unheard-of"}); err != nil || len(lost) != 1 || lost[0] != "unheard-of" {
		t.Error(lost, err)
	}
	if lost, _ := s.Renew(t.Context(), "pull:other", []string{l.ID}); len(lost) != 1 {
		t.Error("somebody else renews it")
	}
	s.pass(defaultLease - time.Second)
	if len(s.lease(1)) != 0 {
		t.Error("a renewed lease ran out")
	}
	s.pass(2 * time.Second)
	again := s.one()
	if again.ID == l.ID || again.Job.ID != l.Job.ID || len(again.Job.Kept) != 1 || again.Job.Kept[0].Item != k.Item {
		t.Errorf("%+v", again)
	}
	if _, err := s.Keep(t.Context(), puller, l.ID, copyOf(&l.Job, "1"), []byte("x")); !errors.Is(err, ErrLease) {
		t.Error(err)
	}
	if err := s.Report(t.Context(), puller, l.ID, job.Result{Outcome: job.Failed}); !errors.Is(err, ErrLease) {
		t.Error(err)
	}
	if _, err := s.Content(t.Context(), puller, l.ID); !errors.Is(err, ErrLease) {
		t.Error(err)
	}
	if lost, _ := s.Renew(t.Context(), puller, []string{l.ID}); len(lost) != 1 {
		t.Error("a lost lease is renewed")
	}
	for _, actor := range []string{"pull:other", ""} {
		if err := s.Report(t.Context(), actor, again.ID, job.Result{Outcome: job.Failed}); !errors.Is(err, ErrLease) {
			t.Error(err)
		}
	}
	// It was taken out under the first lease, and nothing is there any more.
	s.report(again, job.Result{Outcome: job.NotFound})
	if d := s.is(id, "a@example.org", Pulled); len(d.Items) != 1 {
		t.Errorf("%+v", d)
	}
	s.incident(id)
}

func TestALeaseThatHasRunOutIsLostBeforeItIsGivenAgain(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"))...)
	l := s.one()
	s.pass(defaultLease + time.Second)
	if _, err := s.Keep(t.Context(), puller, l.ID, copyOf(&l.Job, "1"), []byte("x")); !errors.Is(err, ErrLease) {
		t.Error(err)
	}
	if err := s.Report(t.Context(), puller, l.ID, job.Result{Outcome: job.Failed}); !errors.Is(err, ErrLease) {
		t.Error(err)
	}
}

func TestALeaseDoesNotRunOutWhileItIsHeardOf(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"))...)
	l := s.one()
	slow := func(ledger.Command) error {
		s.pass(2 * defaultLease)
		if len(s.lease(1)) != 0 {
			t.Error("it is given again while its bytes are on their way")
		}
		return nil
	}
	s.fault = slow
	k := s.keep(l, "1")
	s.report(l, job.Result{Outcome: job.Pulled, Copies: []job.Copy{{Copy: k.Copy, Fate: job.Removed}}})
	s.is(id, "a@example.org", Pulled)
}

func TestAReportThatComesTwiceCountsOnce(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"))...)
	l := s.one()
	k := s.keep(l, "1")
	r := job.Result{Outcome: job.Pulled, Copies: []job.Copy{{Copy: k.Copy, Fate: job.Removed}}}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := s.Report(t.Context(), puller, l.ID, r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s.report(l, r)
	if d := s.is(id, "a@example.org", Pulled); d.Version != 2 { // kept, outcome
		t.Errorf("%+v", d)
	}
	if err := s.Report(t.Context(), "pull:other", l.ID, r); !errors.Is(err, ErrLease) {
		t.Error(err)
	}
	s.reopen()
	// The answer was lost with the daemon: the lease is unknown, and the job done.
	if err := s.Report(t.Context(), puller, l.ID, r); !errors.Is(err, ErrLease) {
		t.Error(err)
	}
	if len(s.lease(5)) != 0 {
		t.Error("it is pulled again")
	}
}

func TestTheSameCopyIsKeptOnce(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"))...)
	l := s.one()
	var wg sync.WaitGroup
	items := make([]string, 6)
	for n := range items {
		wg.Go(func() { items[n] = s.keep(l, "1").Item })
	}
	wg.Wait()
	for _, item := range items {
		if item != items[0] {
			t.Errorf("%v", items)
		}
	}
	if d := s.of(id, "a@example.org"); len(d.Items) != 1 || d.Version != 1 {
		t.Errorf("%+v", d)
	}
}

func TestWhatAUserTookByPOP3IsOutOfReach(t *testing.T) {
	for name, tt := range map[string]struct {
		after  time.Duration // the message came that POP3 was used; 0: never
		result job.Outcome
		status delivery.Status
		want   Outcome
	}{
		"later":                       {time.Minute, job.NotFound, delivery.Mailbox, OutOfReach},
		"before the pull, just":       {time.Minute, job.AlreadyGone, delivery.Mailbox, OutOfReach},
		"before it came":              {-time.Minute, job.NotFound, delivery.Mailbox, AlreadyGone},
		"never":                       {0, job.NotFound, delivery.Mailbox, AlreadyGone},
		"where it never was, perhaps": {time.Minute, job.NotFound, delivery.Unconfirmed, NotFound},
		"where it is":                 {time.Minute, job.Differs, delivery.Mailbox, Differs},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, nil)
			e, id, l := s.leased(tt.status)
			if tt.after != 0 {
				s.tracker.mu.Lock()
				s.tracker.taken = map[string]time.Time{l.Job.Mailbox: e.Time.Add(tt.after)}
				s.tracker.mu.Unlock()
			}
			s.report(l, job.Result{Outcome: tt.result})
			d := s.is(id, "a@example.org", tt.want)
			if tt.want != OutOfReach {
				return
			}
			if want := e.Time.Add(tt.after).UTC().Format(time.RFC3339) + ": ask a@example.org"; !strings.HasSuffix(d.Detail, want) {
				t.Errorf("detail %q, want the end %q", d.Detail, want)
			}
			if i := s.incident(id); i.State != Done {
				t.Errorf("%+v", i)
			}
			s.reopen()
			if s.pass(48 * time.Hour); len(s.lease(1)) != 0 {
				t.Error("it is looked for again")
			}
			// Perhaps he has put it back: who asks for it by name gets it looked for.
			if n, err := s.Approve(t.Context(), Approval{Incident: id, Actor: alice, Reason: "he says it is back", Deliveries: []string{d.ID}}); n != 1 || err != nil {
				t.Errorf("approved %d, %v", n, err)
			}
			if n := len(s.lease(1)); n != 1 {
				t.Errorf("%d leases", n)
			}
		})
	}
}

func TestWhatASidecarReportsIsWhatIsShown(t *testing.T) {
	for _, tt := range []struct {
		name    string
		keep    bool
		result  job.Result
		outcome Outcome
		state   State
		again   time.Duration // after which it is leased again; 0: never
		status  delivery.Status
	}{
		{"pulled", true, job.Result{Outcome: job.Pulled}, Pulled, Done, 0, delivery.Mailbox},
		{"pulled without a copy", false, job.Result{Outcome: job.Pulled}, Failed, Done, 0, delivery.Mailbox},
		{"restored", false, job.Result{Outcome: job.Restored}, Failed, Done, 0, delivery.Mailbox},
		{"gone", false, job.Result{Outcome: job.AlreadyGone}, AlreadyGone, Done, 0, delivery.Mailbox},
		{"gone by its user", false, job.Result{Outcome: job.NotFound}, AlreadyGone, Done, 0, delivery.Mailbox},
		{"not found yet", false, job.Result{Outcome: job.NotFound}, NotFound, Open, firstPause, delivery.Unconfirmed},
		{"no mailbox", false, job.Result{Outcome: job.MailboxMissing}, MailboxMissing, Done, 0, delivery.Mailbox},
		{"unreachable", false, job.Result{Outcome: job.Unreachable, Detail: "connection refused"}, Unreachable, Open, firstPause, delivery.Mailbox},
		{"differs", false, job.Result{Outcome: job.Differs}, Differs, Waiting, 0, delivery.Mailbox},
		{"failed", true, job.Result{Outcome: job.Failed, Detail: strings.Repeat("\xff", 4000)}, Failed, Done, 0, delivery.Mailbox},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, nil)
			_, id, l := s.leased(tt.status)
			if tt.keep {
				k := s.keep(l, "1")
				tt.result.Copies = []job.Copy{{Copy: k.Copy, Fate: job.Removed}}
			}
			s.report(l, tt.result)
			d := s.is(id, "a@example.org", tt.outcome)
			if i := s.incident(id); i.State != tt.state {
				t.Errorf("state %s", i.State)
			}
			if len(d.Detail) > 3*maxDetail || !strings.HasPrefix(d.Detail, tt.result.Detail[:min(5, len(tt.result.Detail))]) && tt.name != "failed" {
				t.Errorf("detail %q", d.Detail)
			}
			if len(s.lease(1)) != 0 {
				t.Error("it is tried again at once")
			}
			s.reopen()
			if tt.again > 0 { // after a restart it begins anew
				s.report(s.one(), tt.result)
			}
			version := s.of(id, "a@example.org").Version
			pause := tt.again
			for range 3 {
				s.pass(pause + time.Second)
				leases := s.lease(1)
				if (len(leases) == 1) != (tt.again > 0) {
					t.Fatalf("%d leases after %s", len(leases), pause)
				}
				for _, l := range leases {
					s.report(l, tt.result)
				}
				pause *= 2
			}
			if got := s.of(id, "a@example.org").Version; got != version {
				t.Errorf("each try is recorded: %d events after %d", got, version)
			}
			if err := s.Report(t.Context(), puller, l.ID, job.Result{Outcome: "fine"}); !errors.Is(err, ErrInvalid) {
				t.Error(err)
			}
		})
	}
}

func TestWhatDiffersIsPulledWhenAPersonHasSeenIt(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"))...)
	other := job.Digest{9, 9}
	s.report(s.one(), job.Result{Outcome: job.Differs, Copies: []job.Copy{
		{Copy: mailbox.Copy{Folder: "INBOX", ID: "7/1"}, Fate: job.Differ, Body: other},
		{Copy: mailbox.Copy{Folder: "Sent", ID: "8/1", Role: mailbox.RoleSent}, Fate: job.InSent},
	}})
	d := s.is(id, "a@example.org", Differs)
	if d.Waits == "" || len(d.Copies) != 2 {
		t.Errorf("%+v", d)
	}
	s.reopen()
	if n, err := s.Approve(t.Context(), Approval{Incident: id, Actor: alice, Reason: "a footer"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	s.reopen()
	l := s.one()
	if len(l.Job.Approved) != 1 || l.Job.Approved[0] != other || !l.Job.Sent {
		t.Errorf("%+v", l.Job)
	}
	s.pull(l)
	s.is(id, "a@example.org", Pulled)
	s.incident(id)
}

func TestWhatFailedIsTriedAgainWhenItIsNamed(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org", "b@example.org"))...)
	for _, l := range s.lease(2) {
		s.report(l, job.Result{Outcome: job.Failed, Detail: "permission denied"})
	}
	if _, err := s.Approve(t.Context(), Approval{Incident: id, Actor: alice, Reason: "again"}); !errors.Is(err, ErrNothing) {
		t.Error(err)
	}
	d := s.of(id, "a@example.org")
	if n, err := s.Approve(t.Context(), Approval{Incident: id, Deliveries: []string{d.ID}, Actor: alice, Reason: "again"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	s.incident(id)
	if n := s.pullAll(); n != 1 {
		t.Errorf("%d jobs", n)
	}
	s.is(id, "a@example.org", Pulled)
	s.is(id, "b@example.org", Failed)
}

func TestAMailboxThatIsProtectedLaterIsNotTouched(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org", "b@example.org"))...)
	settings := s.current()
	settings.Protected = []string{"a@example.org"}
	s.must(s.SetSettings(settings))
	if n := s.pullAll(); n != 1 {
		t.Errorf("%d jobs", n)
	}
	s.is(id, "a@example.org", Protected)
	s.is(id, "b@example.org", Pulled)
	if i := s.incident(id); i.State != Done {
		t.Errorf("%+v", i)
	}
}

func TestAMailboxFullOfCopiesIsBounded(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"))...)
	l := s.one()
	long := copyOf(&l.Job, "x")
	long.MessageID, long.WeirID = strings.Repeat("m", 1<<20), strings.Repeat("w", 1<<20)
	for n := range 500 {
		long.Keywords = append(long.Keywords, fmt.Sprintf("%0200d", n))
	}
	n := 0
	var err error
	for ; n < 1000; n++ {
		long.ID = fmt.Sprintf("7/%d", n)
		long.Folder = strings.Repeat("\x01", maxName)
		if _, err = s.Keep(t.Context(), puller, l.ID, long, []byte("Subject: x\r\n\r\nx\r\n")); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrTooMany) || n < 30 {
		t.Fatalf("%d copies: %v", n, err)
	}
	var copies []job.Copy
	for range 1000 {
		copies = append(copies, job.Copy{Copy: long, Fate: job.Differ, Detail: strings.Repeat("\x01", 1<<16)})
	}
	s.report(l, job.Result{Outcome: job.Differs, Copies: copies})
	s.is(id, "a@example.org", Differs)
	for _, c := range []mailbox.Copy{{}, {Folder: "x"}, {Folder: strings.Repeat("x", 2000), ID: "1"}} {
		s.must(second(s.Approve(t.Context(), Approval{Incident: id, Actor: alice, Reason: "again", Deliveries: []string{s.of(id, "a@example.org").ID}})))
		l := s.one()
		if _, err := s.Keep(t.Context(), puller, l.ID, c, []byte("x")); !errors.Is(err, ErrInvalid) {
			t.Error(err)
		}
		if _, err := s.Content(t.Context(), puller, l.ID); !errors.Is(err, ErrInvalid) {
			t.Error(err)
		}
		s.report(l, job.Result{Outcome: job.Differs})
	}
}

// renewed lets a sidecar's lease begin anew that nobody has swept yet.
func (s *site) renewed(l job.Lease) job.Lease {
	s.t.Helper()
	s.Desk.mu.Lock()
	defer s.Desk.mu.Unlock()
	s.queue.leases[l.ID].until = s.clock().Add(defaultLease)
	return l
}

func TestWhatWasRecordedAndNotHeardOfIsKnownLater(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"))...)
	l := s.one()
	s.cuts = func(c ledger.Command) error {
		if strings.HasPrefix(c.ID, "kept/") {
			return errDead
		}
		return nil
	}
	if _, err := s.Keep(t.Context(), puller, l.ID, copyOf(&l.Job, "1"), rawOf(&l.Job, "1")); !errors.Is(err, errDead) {
		t.Fatal(err)
	}
	s.cuts = nil
	s.report(l, job.Result{Outcome: job.Unreachable})
	s.incident(id)
	s.pass(firstPause)
	if again := s.one(); len(again.Job.Kept) != 1 {
		t.Errorf("%+v", again.Job)
	}
}

func TestARestoreWaitsForThePullThatIsUnderWay(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"))...)
	l := s.one()
	s.keep(l, "1")
	back := Restore{Incident: id, Actor: bob, Reason: "good"}
	if n, err := s.Restore(t.Context(), back); n != 0 || !errors.Is(err, ErrBusy) {
		t.Errorf("%d %v", n, err)
	}
	s.report(l, job.Result{Outcome: job.Unreachable})
	// Now it goes back, and the rest of the pull is given up.
	if n, err := s.Restore(t.Context(), back); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	s.pass(maxPause)
	if n := s.pullAll(); n != 1 {
		t.Errorf("%d jobs", n)
	}
	s.is(id, "a@example.org", Restored)
	s.incident(id)
}

func TestARestoreThatWorksAfterItsFailureWasHalfRecordedIsOne(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"))...)
	k := s.pull(s.one())
	s.must(second(s.Restore(t.Context(), Restore{Incident: id, Actor: bob, Reason: "good"})))
	l := s.one()
	s.fault = func(c ledger.Command) error {
		if strings.HasPrefix(c.ID, "restored/") {
			return errDead
		}
		return nil
	}
	if err := s.Report(t.Context(), puller, l.ID, job.Result{Outcome: job.Failed, Detail: "over quota"}); !errors.Is(err, errDead) {
		t.Fatal(err)
	}
	s.fault = nil
	s.reopen()
	s.pullAll()
	s.is(id, "a@example.org", Restored)
	if item, err := s.items.Get(k.Item); err != nil || item.State() != quarantine.Released {
		t.Errorf("%s, %v", item.State(), err)
	}
}

// The control server goes on after a panic, and so has the mailbox to.
func TestAReportThatPanicsLeavesTheLeaseToRunOut(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org"))...)
	l := s.one()
	s.keep(l, "1")
	s.fault = func(c ledger.Command) error {
		if strings.HasPrefix(c.ID, "outcome/") {
			panic("a fault in the program")
		}
		return nil
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		_ = s.Report(t.Context(), puller, l.ID, job.Result{Outcome: job.Pulled})
	}()
	s.fault = nil
	s.pass(time.Hour)
	if n := s.pullAll(); n != 1 {
		t.Errorf("%d jobs", n)
	}
	s.is(id, "a@example.org", Pulled)
}

// Nor does it hold the delivery whose copy was taken out together with another's.
func TestARestoreThatPanicsCanBeReportedAgain(t *testing.T) {
	s := newSite(t, nil)
	id := s.opened(bySource())
	s.extended(id, list, sure(s.entry("a@example.org", "a+x@example.org"))...)
	l := s.one()
	one, two := s.keep(l, "1"), s.keep(l, "2")
	s.report(l, job.Result{Outcome: job.Pulled, Copies: []job.Copy{{Copy: one.Copy, Fate: job.Removed, Item: one.Item}, {Copy: two.Copy, Fate: job.Removed, Item: two.Item}}})
	s.report(s.one(), job.Result{Outcome: job.NotFound})
	if i := s.incident(id); i.Counts[Pulled] != 2 {
		t.Fatalf("%+v", i)
	}
	s.must(second(s.Restore(t.Context(), Restore{Incident: id, Actor: alice, Reason: "good"})))
	back := func() (left []job.Lease) {
		for leases := s.lease(1); len(leases) > 0; leases = s.lease(1) {
			done := make(chan any)
			go func() {
				defer func() { done <- recover() }()
				_ = s.Report(t.Context(), puller, leases[0].ID, job.Result{Outcome: job.Restored, Folder: "INBOX", Placed: mailbox.Copy{Folder: "INBOX", ID: "8/" + leases[0].Job.Item.Copy.ID}})
			}()
			select {
			case p := <-done:
				if p != nil {
					return leases
				}
			case <-time.After(10 * time.Second):
				t.Fatal("a report never ends")
			}
		}
		return nil
	}
	s.fault = func(c ledger.Command) error {
		if strings.HasPrefix(c.ID, "restored/") && strings.Count(c.ID, "/") == 2 {
			panic("a fault in the program")
		}
		return nil
	}
	if len(back()) == 0 {
		t.Fatal("no panic")
	}
	s.fault = nil
	s.pass(time.Hour)
	back()
	s.is(id, "a@example.org", Restored)
	s.is(id, "a+x@example.org", Restored)
	if len(s.lives) != 0 {
		t.Errorf("%d incidents are live", len(s.lives))
	}
}
