package incident

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
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

// store is a mail store, and the sidecar that works on it.
type store struct {
	s    *site
	mail map[string]string // by mailbox/folder/ID
	uid  int
}

func (m *store) deliver(login string, e *journal.Entry, text string) {
	m.uid++
	m.mail[fmt.Sprintf("%s/INBOX/%d", login, m.uid)] = fmt.Sprintf("Message-ID: <%s>\r\nX-Weir-ID: %s\r\n\r\n%s\r\n", e.MessageID, e.ID, text)
}

// find gives the copies of a message.
func (m *store) find(login, ref string) []mailbox.Copy {
	var all []mailbox.Copy
	for key, text := range m.mail {
		rest, ok := strings.CutPrefix(key, login+"/")
		if folder, id, _ := strings.Cut(rest, "/"); ok && strings.Contains(text, "X-Weir-ID: "+ref) {
			all = append(all, mailbox.Copy{Folder: folder, ID: id, Size: int64(len(text))})
		}
	}
	slices.SortFunc(all, func(a, b mailbox.Copy) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// work does all that there is to do, and stops where the daemon is gone.
func (m *store) work() error {
	ctx := context.Background()
	for {
		leases, err := m.s.Lease(ctx, Request{Actor: puller, Max: 3})
		if err != nil || len(leases) == 0 {
			return err
		}
		for n := range leases {
			r, err := m.do(ctx, &leases[n])
			if err == nil {
				err = m.s.Report(ctx, puller, leases[n].ID, r)
			}
			if err != nil {
				return err
			}
		}
	}
}

func (m *store) do(ctx context.Context, l *job.Lease) (job.Result, error) {
	j := &l.Job
	if j.Kind == job.Restore {
		return m.restore(ctx, l)
	}
	r := job.Result{Outcome: job.NotFound}
	for _, c := range m.find(j.Mailbox, j.Target.WeirID) {
		key := j.Mailbox + "/" + c.Folder + "/" + c.ID
		has := func(k job.Kept) bool { return k.Copy.Is(&c) }
		if !slices.ContainsFunc(j.Kept, has) {
			if _, err := m.s.Keep(ctx, puller, l.ID, c, []byte(m.mail[key])); err != nil {
				return r, err
			}
		}
		delete(m.mail, key)
		r.Outcome = job.Pulled
		r.Copies = append(r.Copies, job.Copy{Copy: c, Fate: job.Removed})
	}
	return r, nil
}

func (m *store) restore(ctx context.Context, l *job.Lease) (job.Result, error) {
	j := &l.Job
	content, err := m.s.Content(ctx, puller, l.ID)
	if err != nil {
		return job.Result{}, err
	}
	defer func() { _ = content.Close() }()
	var raw bytes.Buffer
	if _, err := raw.ReadFrom(content); err != nil {
		return job.Result{}, err
	}
	r := job.Result{Outcome: job.Restored, Folder: j.Item.Copy.Folder}
	for key, text := range m.mail {
		rest, ok := strings.CutPrefix(key, j.Mailbox+"/"+j.Item.Copy.Folder+"/")
		taken := slices.ContainsFunc(j.Besides, func(c mailbox.Copy) bool { return c.Folder == j.Item.Copy.Folder && c.ID == rest })
		if ok && !taken && text == raw.String() {
			r.Existed, r.Placed = true, mailbox.Copy{Folder: j.Item.Copy.Folder, ID: rest}
			return r, nil
		}
	}
	m.uid++
	id := fmt.Sprint(m.uid)
	m.mail[j.Mailbox+"/"+j.Item.Copy.Folder+"/"+id] = raw.String()
	r.Placed = mailbox.Copy{Folder: j.Item.Copy.Folder, ID: id}
	return r, nil
}

// texts gives what lies in mailboxes, without the store's own names.
func (m *store) texts() string {
	var all []string
	for key, text := range m.mail {
		all = append(all, key[:strings.LastIndexByte(key, '/')]+" "+text)
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

var errDead = errors.New("the daemon is dead")

// story is a case from its opening to its end, told again from the start after
// each death of the daemon.
type story struct {
	s       *site
	m       *store
	entries []*journal.Entry
	before  string

	goingBack bool // told so far at least once
}

func newStory(t *testing.T) *story {
	s := newSite(t, func(o *Options) { o.Settings.CapIncident = 4 })
	y := &story{s: s, m: &store{s: s, mail: map[string]string{}}}
	for range 2 {
		e := s.entry("a@example.org", "b@example.org", "list@example.org")
		y.entries = append(y.entries, e)
		for _, login := range []string{"a", "b", "b", "c"} { // b has two copies with the same bytes
			y.m.deliver(login, e, "bad")
		}
		other := s.entry("a@example.org")
		y.m.deliver("a", other, "good")
		inList := told("list@example.org", delivery.InTransit)
		s.tracker.tell(e, inMailbox("a@example.org"), inMailbox("b@example.org"), inList)
	}
	y.before = y.m.texts()
	return y
}

// tell goes through it once.
func (y *story) tell() error {
	ctx := context.Background()
	s := y.s
	i, err := s.Open(ctx, bySource())
	if err != nil {
		return err
	}
	if _, err := s.Extend(ctx, i.ID, list, sure(y.entries...)); err != nil {
		return err
	}
	if err := y.m.work(); err != nil {
		return err
	}
	for _, e := range y.entries {
		viaList := inMailbox("c@example.org")
		viaList.Recipient = "list@example.org"
		s.tracker.tell(e, inMailbox("a@example.org"), inMailbox("b@example.org"), viaList)
	}
	if err := y.ask(); err != nil {
		return err
	}
	if _, err := s.Approve(ctx, Approval{Incident: i.ID, Actor: bob, Reason: "bad"}); err != nil && !errors.Is(err, ErrNothing) {
		return err
	}
	if err := y.m.work(); err != nil {
		return err
	}
	if left := y.m.texts(); !y.goingBack && strings.Contains(left, "bad") {
		return fmt.Errorf("not all was pulled: %s", left)
	}
	y.goingBack = true
	if _, err := s.Restore(ctx, Restore{Incident: i.ID, Actor: bob, Reason: "good after all"}); err != nil && !errors.Is(err, ErrNothing) {
		return err
	}
	return y.m.work()
}

// ask does what Run does, and gives its errors.
func (y *story) ask() error {
	y.s.pass(askAtLeast)
	for _, f := range slices.Collect(maps.Values(y.s.follows.all)) {
		if _, err := y.s.askAbout(context.Background(), f); err != nil {
			return err
		}
	}
	return nil
}

func (y *story) check(t *testing.T, what string) {
	t.Helper()
	y.s.fault, y.s.cuts = nil, nil
	if after := y.m.texts(); after != y.before {
		t.Errorf("%s: in the mailboxes there is\n%s\ninstead of\n%s", what, after, y.before)
	}
	s := y.s
	id := s.opened(bySource())
	i := s.incident(id)
	if i.State != Done || i.Counts[Restored] != 6 || i.Messages != 2 {
		t.Errorf("%s: %+v", what, i)
	}
	page, err := s.items.List(t.Context(), quarantine.Query{State: quarantine.AnyState})
	s.must(err)
	if len(page.Items) != 8 {
		t.Errorf("%s: %d items of 8 copies", what, len(page.Items))
	}
	for _, item := range page.Items {
		if item.State() != quarantine.Released {
			t.Errorf("%s: an item is %s", what, item.State())
		}
	}
	if len(s.lives) != 0 {
		t.Errorf("%s: %d are live", what, len(s.lives))
	}
}

func TestNothingIsLostAndNothingDoneTwiceWhereverTheDaemonDies(t *testing.T) {
	y := newStory(t)
	commits := 0
	y.s.fault = func(ledger.Command) error { commits++; return nil }
	if err := y.tell(); err != nil {
		t.Fatal(err)
	}
	if commits < 40 {
		t.Errorf("only %d commits", commits)
	}
	y.check(t, "without a death")
	for _, recorded := range []bool{false, true} {
		for at := range commits {
			if testing.Short() && at%5 != 0 {
				continue
			}
			y := newStory(t)
			n, dead, which := 0, false, ""
			die := func(c ledger.Command) error {
				if n++; n == at+1 {
					dead, which = true, c.ID
				}
				if dead {
					return errDead
				}
				return nil
			}
			if recorded {
				y.s.cuts = die
				y.s.fault = func(ledger.Command) error {
					if dead {
						return errDead
					}
					return nil
				}
			} else {
				y.s.fault = die
			}
			for tries := 0; ; tries++ {
				err := y.tell()
				if err == nil {
					break
				}
				if !errors.Is(err, errDead) || tries > 2 {
					t.Fatalf("death at %d (%s, recorded: %t): %v", at, which, recorded, err)
				}
				dead = false
				y.s.reopen()
			}
			y.check(t, fmt.Sprintf("death at %d (%s, recorded: %t)", at, which, recorded))
			if t.Failed() {
				return
			}
		}
	}
}

// model is a delivery as the contract has it, told by what was done.
type model struct {
	address  string
	outcome  Outcome
	waits    bool
	open     bool
	kept     int
	inMail   bool // the copy is in its mailbox
	approved time.Time
	tried    bool
	leased   string
	again    time.Time // when it may be leased again
}

func TestRandomCommandsDoAsTheModelSays(t *testing.T) {
	seeds := 25
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomly(t, uint64(seed)) })
	}
}

// randomly runs some commands on one incident, which a person has opened or not.
func randomly(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	s := newSite(t, nil)
	byPolicy := rng.IntN(2) == 0
	o := byHand()
	if byPolicy {
		o = bySource()
	}
	id := s.opened(o)
	closed := false
	models := map[string]*model{} // by delivery
	byName := map[string]*model{}
	leases := map[string]*model{}
	restores := map[string]*model{}
	var entries []*journal.Entry
	now := func() time.Time { s.mu.Lock(); defer s.mu.Unlock(); return s.now }
	lapsed := func(m *model) bool {
		return !m.approved.IsZero() && !m.tried && now().Sub(m.approved) >= DefaultApprovalFor
	}
	forget := func() {
		for l, m := range leases {
			m.leased = ""
			delete(leases, l)
		}
		for l, m := range restores {
			m.leased = ""
			delete(restores, l)
		}
	}
	learn := func() {
		for _, d := range s.deliveries(id) {
			m := byName[d.Ref+d.Address]
			if m == nil {
				t.Fatalf("a delivery that nobody asked for: %+v", d)
			}
			models[d.ID] = m
		}
	}
	for step := range 120 {
		what := ""
		switch rng.IntN(12) {
		case 0, 1: // a message, new or known
			if closed {
				break
			}
			e := s.entry(addresses(1 + rng.IntN(3))...)
			if len(entries) > 0 && rng.IntN(3) == 0 {
				e = entries[rng.IntN(len(entries))]
			}
			entries = append(entries, e)
			what = "extend"
			added := s.extended(id, list, sure(e)...)
			for _, to := range e.To {
				if byName[e.ID+to] != nil {
					continue
				}
				added--
				byName[e.ID+to] = &model{address: to, outcome: Pending, open: true, waits: !byPolicy, inMail: true}
			}
			if added != 0 {
				t.Fatalf("%d too many were added", added)
			}
			learn()
		case 2:
			what = "approve"
			n, err := s.Approve(t.Context(), Approval{Incident: id, Actor: "unix:77", Reason: "bad"})
			want := 0
			for _, m := range byName {
				if m.waits && !closed {
					want++
					m.waits, m.open, m.outcome, m.approved, m.tried, m.again = false, true, Pending, now(), false, time.Time{}
				}
			}
			if n != want || (err == nil) != (want > 0) {
				t.Fatalf("approved %d of %d: %v", n, want, err)
			}
		case 3, 4, 5:
			what = "lease"
			together := map[*model]bool{} // pulls of this answer
			for _, l := range s.lease(1 + rng.IntN(4)) {
				if l.Job.Kind == job.Restore {
					for of, m := range models {
						d := s.of2(id, of)
						if slices.Contains(d.Items, l.Job.Item.Item) {
							restores[l.ID], m.leased = m, l.ID
						} else if m.leased != "" && m.address == l.Job.Recipient {
							t.Fatalf("a restore to %s is leased with another job", m.address)
						}
					}
					continue
				}
				m := models[l.Job.ID]
				if m == nil || m.waits || !m.open || m.leased != "" || m.again.After(now()) || lapsed(m) || closed || m.outcome == Restoring {
					t.Fatalf("step %d: %+v was leased", step, m)
				}
				for _, other := range byName {
					if other != m && other.leased != "" && other.address == m.address && !together[other] {
						t.Fatalf("two of %s are leased, and not together", m.address)
					}
				}
				together[m] = true
				m.leased, leases[l.ID] = l.ID, m
			}
		case 6, 7, 8:
			what = "report"
			for lease, m := range leases {
				outcome := []job.Outcome{job.Pulled, job.Pulled, job.Pulled, job.Unreachable, job.Differs, job.NotFound}[rng.IntN(6)]
				r := job.Result{Outcome: outcome}
				if outcome == job.Pulled {
					d := s.theLease(lease)
					k := s.keep(d, fmt.Sprint(m.kept+1))
					r.Copies = []job.Copy{{Copy: k.Copy, Fate: job.Removed}}
					m.kept++
					m.inMail = false
				}
				s.must(s.Report(t.Context(), puller, lease, r))
				m.tried, m.leased = true, ""
				m.outcome, m.open, m.waits = Outcome(outcome), outcome == job.Unreachable, outcome == job.Differs
				if outcome == job.Unreachable {
					m.again = now().Add(firstPause)
				}
				if outcome == job.NotFound {
					m.outcome = AlreadyGone // the log says that it was there
				}
				if outcome == job.NotFound && m.kept > 0 {
					m.outcome = Pulled
				}
				delete(leases, lease)
				break
			}
			for lease, m := range restores {
				s.must(s.Report(t.Context(), puller, lease, job.Result{Outcome: job.Restored, Placed: mailbox.Copy{Folder: "INBOX", ID: lease}}))
				m.outcome, m.open, m.leased, m.inMail = Restored, false, "", true
				delete(restores, lease)
				break
			}
		case 9:
			what = "restore"
			n, err := s.Restore(t.Context(), Restore{Incident: id, Actor: bob, Reason: "good"})
			want := 0
			for _, m := range byName {
				if m.kept > 0 && m.outcome != Restored && m.outcome != Restoring && m.leased == "" {
					want += m.kept
					m.outcome, m.open, m.waits = Restoring, true, false
				}
			}
			if n != want || err != nil && !errors.Is(err, ErrNothing) && !errors.Is(err, ErrBusy) {
				t.Fatalf("step %d: restored %d of %d: %v", step, n, want, err)
			}
		case 10:
			what = "restart"
			s.reopen()
			forget()
			for _, m := range byName {
				m.again = time.Time{}
			}
		case 11:
			switch rng.IntN(4) {
			case 0:
				what = "a day"
				s.pass(DefaultApprovalFor)
				forget()
				s.must(s.ready(t.Context()))
				s.Desk.mu.Lock()
				lost := s.queue.catchUp(now())
				for _, l := range lost {
					s.unlink(l.task)
					s.sync(l.task.live, now())
				}
				s.Desk.mu.Unlock()
				s.must(s.lapse(t.Context()))
				for _, m := range byName {
					if m.open && !m.waits && m.outcome != Restoring && lapsed(m) && !closed {
						m.waits, m.approved = true, time.Time{}
					}
				}
			case 1:
				if step > 90 && !closed {
					what = "close"
					s.must(s.Close(t.Context(), id, alice, "over"))
					closed = true
					for _, m := range models {
						switch m.outcome {
						case Restoring:
							continue
						case Pending, InTransit, Unreachable:
							m.outcome = Left
						}
						m.open, m.waits = false, false
					}
				}
			default:
				what = "a while"
				s.pass(time.Duration(rng.IntN(60)) * time.Second)
			}
		}
		i := s.incident(id)
		if (i.State == Closed) != closed {
			t.Fatalf("%+v", i)
		}
		for _, d := range s.deliveries(id) {
			if m := models[d.ID]; d.Outcome != m.outcome || (d.Waits != "") != m.waits || len(d.Items) != m.kept {
				t.Fatalf("step %d, %s: %s is %s (waits %q, %d items), and should be %+v", step, what, d.Address, d.Outcome, d.Waits, len(d.Items), *m)
			}
		}
		// While a lease may have run out, the model knows it from the Desk.
		for lease, m := range leases {
			if lost, _ := s.Renew(t.Context(), puller, []string{lease}); len(lost) > 0 {
				m.leased = ""
				delete(leases, lease)
			}
		}
		for lease, m := range restores {
			if lost, _ := s.Renew(t.Context(), puller, []string{lease}); len(lost) > 0 {
				m.leased = ""
				delete(restores, lease)
			}
		}
	}
}

// of2 gives a delivery by its ID.
func (s *site) of2(id, delivery string) Delivery {
	for _, d := range s.deliveries(id) {
		if d.ID == delivery {
			return d
		}
	}
	s.t.Fatalf("no delivery %s", delivery)
	return Delivery{}
}

// theLease gives a lease that is held, with its job.
func (s *site) theLease(id string) job.Lease {
	s.Desk.mu.Lock()
	defer s.Desk.mu.Unlock()
	l := s.queue.leases[id]
	return job.Lease{ID: id, Job: l.task.live.rec.pull()}
}

func TestManyAtOnceLoseNothing(t *testing.T) {
	s := newSite(t, nil)
	ctx := t.Context()
	id := s.opened(bySource())
	var entries []*journal.Entry
	for range 20 {
		entries = append(entries, s.entry(addresses(10)...))
	}
	var finding, working sync.WaitGroup
	for part := range slices.Chunk(entries, 5) {
		finding.Go(func() {
			for range 2 { // each twice
				if _, err := s.Extend(ctx, id, list, sure(part...)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	var inUse sync.Map
	for range 6 {
		working.Go(func() {
			for {
				leases, err := s.Lease(ctx, Request{Actor: puller, Max: 4, Wait: time.Millisecond})
				if err != nil {
					t.Error(err)
				}
				left := map[string]int{} // leases by mailbox
				for n := range leases {
					l := leases[n]
					left[l.Job.Mailbox]++
					if n > 0 && leases[n-1].Job.Mailbox == l.Job.Mailbox {
						if l.Job.Kind == job.Restore || leases[n-1].Job.Kind == job.Restore {
							t.Errorf("a restore is not alone in %s", l.Job.Mailbox)
						}
						continue
					}
					if _, twice := inUse.LoadOrStore(l.Job.Mailbox, l.ID); twice {
						t.Errorf("the mailbox %s is in two hands", l.Job.Mailbox)
					}
				}
				for n := range leases {
					l := leases[n]
					r := job.Result{Outcome: job.Restored, Placed: mailbox.Copy{Folder: "INBOX", ID: l.ID}}
					if l.Job.Kind == job.Pull {
						k := s.keep(l, "1")
						r = job.Result{Outcome: job.Pulled, Copies: []job.Copy{{Copy: k.Copy, Fate: job.Removed}}}
					}
					if lost, err := s.Renew(ctx, puller, []string{l.ID}); len(lost) > 0 || err != nil {
						t.Error(lost, err)
					}
					if left[l.Job.Mailbox]--; left[l.Job.Mailbox] == 0 {
						inUse.Delete(l.Job.Mailbox)
					}
					s.report(l, r)
				}
				select {
				case <-done:
					if len(leases) == 0 {
						return
					}
				default:
				}
			}
		})
	}
	finding.Wait()
	for range 5 {
		if _, err := s.Restore(ctx, Restore{Incident: id, Actor: bob, Reason: "good"}); err != nil && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrNothing) {
			t.Error(err)
		}
	}
	close(done)
	working.Wait()
	s.pullAll()
	i := s.incident(id)
	if i.Counts[Pulled]+i.Counts[Restored] != 200 || i.Messages != 20 || i.State != Done {
		t.Errorf("%+v", i)
	}
}
