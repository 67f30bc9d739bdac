package incident

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/blob"
	"github.com/weirmail/weir/quarantine/delivery"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// site is a Desk and what it stands on, in memory: all real but the delivery log,
// the judge, the clock and the sidecar.
type site struct {
	*Desk
	t       testing.TB
	disk    *faulty.Disk
	db      *kv.DB
	ledger  *ledger.Ledger
	journal *journal.Journal
	items   *quarantine.Quarantine
	blobs   *blob.Folder
	ident   *ident.Identity
	tracker *tracker
	judge   *judge
	options func(*Options)
	fault   func(ledger.Command) error // before a commit of the Desk or the quarantine
	cuts    func(ledger.Command) error // behind it: it was recorded, and nobody hears of it
	asking  sync.Mutex                 // held while one of these two runs
	end     func()

	mu  sync.Mutex
	now time.Time
	n   int
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(time.Microsecond)
	return s.now
}

func (s *site) pass(d time.Duration) {
	s.mu.Lock()
	s.now = s.now.Add(d)
	s.mu.Unlock()
}

// faultyLedger fails where the test says.
type faultyLedger struct {
	*ledger.Ledger
	s *site
}

func (f faultyLedger) Commit(ctx context.Context, c ledger.Command, decide func(ledger.State) ([]ledger.Event, error)) (ledger.Receipt, error) {
	if err := f.ask(f.s.fault, c); err != nil {
		return ledger.Receipt{}, err
	}
	r, err := f.Ledger.Commit(ctx, c, decide)
	if err == nil {
		err = f.ask(f.s.cuts, c)
	}
	return r, err
}

func (f faultyLedger) ask(fault func(ledger.Command) error, c ledger.Command) error {
	if fault == nil {
		return nil
	}
	f.s.asking.Lock()
	defer f.s.asking.Unlock()
	return fault(c)
}

// tracker is the delivery log: every recipient's copy is in a mailbox, unless the
// test says something else.
type tracker struct {
	mu    sync.Mutex
	told  map[string][]delivery.Delivery
	asked int
	taken map[string]time.Time        // by login: when he took mail by POP3
	waits map[string]map[*func()]bool // who hears of news, by entry
}

func (t *tracker) Await(e *journal.Entry, tell func()) (stop func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waits[e.ID] == nil {
		t.waits[e.ID] = map[*func()]bool{}
	}
	t.waits[e.ID][&tell] = true
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if delete(t.waits[e.ID], &tell); len(t.waits[e.ID]) == 0 {
			delete(t.waits, e.ID)
		}
	}
}

// log tells something, and that it does.
func (t *tracker) log(e *journal.Entry, d ...delivery.Delivery) {
	t.tell(e, d...)
	t.mu.Lock()
	waits := maps.Clone(t.waits[e.ID])
	t.mu.Unlock()
	for tell := range waits {
		(*tell)()
	}
}

func (t *tracker) Taken(login string, since time.Time) (time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at := t.taken[login]; !at.Before(since) {
		return at, nil
	}
	return time.Time{}, nil
}

func (t *tracker) Of(_ context.Context, e *journal.Entry) ([]delivery.Delivery, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked++
	if d, ok := t.told[e.ID]; ok {
		return slices.Clone(d), nil
	}
	var all []delivery.Delivery
	for _, to := range e.To {
		all = append(all, inMailbox(to))
	}
	return all, nil
}

func (t *tracker) tell(e *journal.Entry, d ...delivery.Delivery) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told[e.ID] = d
}

func inMailbox(address string) delivery.Delivery {
	return delivery.Delivery{Recipient: address, Address: address, Status: delivery.Mailbox, Known: delivery.ByQueueID}
}

func told(address string, s delivery.Status) delivery.Delivery {
	return delivery.Delivery{Recipient: address, Address: address, Status: s, Known: delivery.ByQueueID}
}

type judge struct {
	action intel.Action
	only   string // the recipient whom it is for; empty: all
}

func (j *judge) Judge(env *message.Envelope, m *message.Message) (*evidence.Evidence, *verdict.Verdict, error) {
	v := &verdict.Verdict{Action: j.action, Rule: "today"}
	if j.only != "" && !strings.Contains(env.To[0].Raw, j.only) {
		v.Action = intel.ActionAccept
	}
	return &evidence.Evidence{Envelope: env, Message: m}, v, nil
}

type heapScratch struct{}

func (heapScratch) Buffer() message.Buffer { return &heapBuffer{} }
func (heapScratch) Close() error           { return nil }

type heapBuffer struct{ b []byte }

func (h *heapBuffer) Write(p []byte) (int, error) { h.b = append(h.b, p...); return len(p), nil }
func (h *heapBuffer) Bytes() ([]byte, error)      { return h.b, nil }
func (h *heapBuffer) Close() error                { return nil }

// mailboxOf gives the login that an address of example.org has.
func mailboxOf(address string) (string, bool) {
	local, domain, ok := strings.Cut(address, "@")
	local, _, _ = strings.Cut(local, "+")
	return local, ok && domain == "example.org"
}

func newSite(t testing.TB, options func(*Options)) *site {
	t.Helper()
	s := &site{t: t, disk: faulty.New("/state", 1), now: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC),
		tracker: &tracker{told: map[string][]delivery.Delivery{}, waits: map[string]map[*func()]bool{}}, judge: &judge{action: intel.ActionAccept}, options: options}
	var err error
	s.db, err = kv.Open(kv.Options{Name: "views", InMemory: true})
	s.must(err)
	t.Cleanup(func() { _ = s.db.Close() })
	s.open()
	t.Cleanup(func() { s.end() })
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// open starts the Desk over what is there, as the daemon does.
func (s *site) open() {
	s.t.Helper()
	var err error
	s.ident, err = ident.Open(ident.Options{FS: s.disk, Dir: "/state", Clock: s.clock})
	s.must(err)
	view, err := NewView(s.db)
	s.must(err)
	held, err := quarantine.NewView(s.db)
	s.must(err)
	s.ledger, err = ledger.Open(ledger.Options{FS: s.disk, Dir: "/state/ledger", Index: s.db, Node: "test", Key: s.ident.Key("ledger"),
		NewID: s.ident.NewID, Clock: s.clock, Views: []ledger.View{view, held}})
	s.must(err)
	s.blobs, err = blob.OpenFolder(blob.Options{FS: s.disk, Dir: "/state/blobs", Clock: s.clock})
	s.must(err)
	s.journal, err = journal.Open(journal.Options{FS: s.disk, Dir: "/state/journal", IndexInMemory: true, Clock: s.clock, GroupDelay: time.Millisecond})
	s.must(err)
	ctx, stop := context.WithCancel(context.Background())
	var tasks sync.WaitGroup
	tasks.Go(func() { _ = s.journal.Run(ctx) })
	s.must(s.journal.Wait(ctx, s.journal.Last()))
	parser, err := message.NewParser(message.Limits{})
	s.must(err)
	s.items, err = quarantine.New(quarantine.Options{Ledger: faultyLedger{s.ledger, s}, View: held, Blobs: s.blobs, Judge: s.judge, Journal: s.journal, Identity: s.ident,
		Scratch: func() quarantine.ScratchSpace { return heapScratch{} }, Settings: quarantine.Settings{Parser: parser, HoldTime: time.Minute}})
	s.must(err)
	o := Options{Ledger: faultyLedger{s.ledger, s}, View: view, Journal: s.journal, Tracker: s.tracker, Items: s.items, Identity: s.ident, Settings: Settings{Mailbox: mailboxOf}}
	if s.options != nil {
		s.options(&o)
	}
	s.Desk, err = New(o)
	s.must(err)
	s.end = func() {
		stop()
		tasks.Wait()
		_ = s.ledger.Close()
		_ = s.journal.Close()
		_ = s.blobs.Close()
	}
}

func (s *site) reopen() {
	s.t.Helper()
	s.end()
	s.open()
}

func (s *site) settle() {
	s.t.Helper()
	last, err := s.ledger.Last()
	s.must(err)
	s.must(s.ledger.Wait(context.Background(), last))
}

// entry journals a message.
func (s *site) entry(to ...string) *journal.Entry {
	s.t.Helper()
	s.mu.Lock()
	s.n++
	n := s.n
	s.mu.Unlock()
	e := &journal.Entry{ID: s.ident.NewID(), Time: s.clock(), QueueID: fmt.Sprint("4Q", n), MessageID: fmt.Sprintf("m%d@evil.example", n), From: "pay@evil.example",
		To: to, Subject: "Your invoice", Size: 1000, Body: [32]byte{byte(n), byte(n >> 8), 1}}
	at, err := s.journal.Append(context.Background(), e)
	s.must(err)
	s.must(s.journal.Wait(context.Background(), at))
	return e
}

const (
	list   = "list:block/urls.txt"
	alice  = "unix:1000"
	bob    = "unix:1001"
	puller = "pull:store1"
)

func sure(entries ...*journal.Entry) []Match {
	var all []Match
	for _, e := range entries {
		all = append(all, Match{Entry: e, Chain: []Step{{How: "indicator", What: "https://evil.example/", Sure: true}}})
	}
	return all
}

func bySource() Opening {
	return Opening{Key: "url:https://evil.example/", Title: "Blocked url https://evil.example/", Severity: High, Actor: list, Source: list, Reason: "listed"}
}

func byHand() Opening {
	return Opening{Title: "Phishing", Actor: alice, Reason: "reported by a user"}
}

func (s *site) opened(o Opening) string {
	s.t.Helper()
	i, err := s.Open(context.Background(), o)
	s.must(err)
	return i.ID
}

func (s *site) extended(id, actor string, matches ...Match) int {
	s.t.Helper()
	n, err := s.Extend(context.Background(), id, actor, matches)
	s.must(err)
	return n
}

func (s *site) lease(max int) []job.Lease {
	s.t.Helper()
	l, err := s.Lease(context.Background(), Request{Actor: puller, Max: max})
	s.must(err)
	return l
}

func (s *site) one() job.Lease {
	s.t.Helper()
	l := s.lease(1)
	if len(l) != 1 {
		s.t.Fatalf("%d leases instead of one", len(l))
	}
	return l[0]
}

// leased gives a message to a@example.org, of which the log tells that, with the
// incident that is to pull it, and has the sidecar take the job.
func (s *site) leased(status delivery.Status) (e *journal.Entry, id string, l job.Lease) {
	s.t.Helper()
	e = s.entry("a@example.org")
	s.tracker.tell(e, told("a@example.org", status))
	id = s.opened(bySource())
	s.extended(id, list, sure(e)...)
	return e, id, s.one()
}

func copyOf(j *job.Job, uid string) mailbox.Copy {
	return mailbox.Copy{Folder: "INBOX", ID: "7/" + uid, MessageID: j.Target.MessageID, Size: 40, Date: time.Date(2026, 4, 30, 9, 0, 0, 0, time.UTC),
		Flags: []mailbox.Flag{mailbox.FlagSeen}, Keywords: []string{"$Forwarded"}}
}

func rawOf(j *job.Job, uid string) []byte {
	return fmt.Appendf(nil, "Subject: Your invoice\r\nMessage-ID: <%s>\r\n\r\nhello %s %s\r\n", j.Target.MessageID, j.Recipient, uid)
}

func (s *site) keep(l job.Lease, uid string) job.Kept {
	s.t.Helper()
	k, err := s.Keep(context.Background(), puller, l.ID, copyOf(&l.Job, uid), rawOf(&l.Job, uid))
	s.must(err)
	return k
}

func (s *site) report(l job.Lease, r job.Result) {
	s.t.Helper()
	s.must(s.Report(context.Background(), puller, l.ID, r))
}

// pull does a job as a sidecar does that finds one copy.
func (s *site) pull(l job.Lease) job.Kept {
	s.t.Helper()
	k := s.keep(l, "1")
	s.report(l, job.Result{Outcome: job.Pulled, Copies: []job.Copy{{Copy: k.Copy, Fate: job.Removed, Item: k.Item}}})
	return k
}

// pullAll does all jobs that there are.
func (s *site) pullAll() (n int) {
	s.t.Helper()
	for {
		leases := s.lease(16)
		if len(leases) == 0 {
			return n
		}
		for _, l := range leases {
			if l.Job.Kind == job.Restore {
				s.report(l, job.Result{Outcome: job.Restored, Folder: "INBOX", Placed: mailbox.Copy{Folder: "INBOX", ID: "7/9" + l.Job.Item.Copy.ID[2:]}})
			} else {
				s.pull(l)
			}
			n++
		}
	}
}

func (s *site) incident(id string) *Incident {
	s.t.Helper()
	s.settle()
	i, err := s.Get(id)
	s.must(err)
	s.checkCounts(id)
	return i
}

// checkCounts compares what the view has counted with the deliveries, and what is
// in memory with the view.
func (s *site) checkCounts(id string) {
	s.t.Helper()
	i, err := s.Get(id)
	s.must(err)
	counts, waits := map[Outcome]int{}, 0
	refs := map[string]bool{}
	for r, err := range s.o.View.deliveries(id, "") {
		s.must(err)
		counts[r.Outcome]++
		refs[r.Ref] = true
		if r.Waits != "" {
			waits++
		}
		s.Desk.mu.Lock()
		l := s.lives[id][r.ID]
		if l != nil && (l.rec.Outcome != r.Outcome || l.rec.Waits != r.Waits || l.rec.Open != r.Open || l.rec.Version != r.Version ||
			l.rec.Mailbox != r.Mailbox || len(l.rec.Kept) != len(r.Kept) || l.rec.Tried != r.Tried || l.rec.Approved.IsZero() != r.Approved.IsZero()) {
			s.t.Errorf("in memory\n%+v\nand in the view\n%+v", *l.rec, *r)
		}
		if l == nil && s.loaded && i.State != Closed && r.live() {
			s.t.Errorf("not in memory: %+v", *r)
		}
		s.Desk.mu.Unlock()
	}
	if !maps.Equal(counts, i.Counts) || waits != i.Waits || len(refs) != i.Messages {
		s.t.Errorf("counted %v, %d wait, of %d messages, there are %v, %d, %d", i.Counts, i.Waits, i.Messages, counts, waits, len(refs))
	}
}

func (s *site) deliveries(id string) []Delivery {
	s.t.Helper()
	s.settle()
	p, err := s.Deliveries(context.Background(), id, DeliveryQuery{Limit: MaxLimit})
	s.must(err)
	return p.Deliveries
}

// of gives the delivery to an address.
func (s *site) of(id, address string) Delivery {
	s.t.Helper()
	var found []Delivery
	for _, d := range s.deliveries(id) {
		if d.Address == address {
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		s.t.Fatalf("%d deliveries to %s: %+v", len(found), address, found)
	}
	return found[0]
}

// is checks what became of the delivery to an address.
func (s *site) is(id, address string, o Outcome) Delivery {
	s.t.Helper()
	d := s.of(id, address)
	if d.Outcome != o {
		s.t.Errorf("%s is %s (%s; waits: %q), want %s", address, d.Outcome, d.Detail, d.Waits, o)
	}
	return d
}

func (s *site) content(l job.Lease) []byte {
	s.t.Helper()
	c, err := s.Content(context.Background(), puller, l.ID)
	s.must(err)
	defer func() { _ = c.Close() }()
	var b bytes.Buffer
	_, err = io.Copy(&b, c)
	s.must(err)
	return b.Bytes()
}

// addresses gives n addresses.
func addresses(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("u%d@example.org", i))
	}
	return all
}
