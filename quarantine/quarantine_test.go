package quarantine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/ledger/viewtest"
	"github.com/weirmail/weir/intel/wal"
	"github.com/weirmail/weir/quarantine/blob"
	"github.com/weirmail/weir/quarantine/reinject"
)

// house is a quarantine and what it stands on, in memory.
type house struct {
	*Quarantine
	t      testing.TB
	disk   *faulty.Disk
	db     *kv.DB
	ledger *ledger.Ledger
	blobs  *blob.Folder
	ident  *ident.Identity
	send   *sender
	judge  *judge
	notes  *notes

	mu  sync.Mutex
	now time.Time
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(time.Millisecond)
	return h.now
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	h.now = h.now.Add(d)
	h.mu.Unlock()
}

// sender stands for the MTA behind the listener.
type sender struct {
	mu      sync.Mutex
	sent    []reinject.Message
	results func(m reinject.Message) []reinject.Result
	before  func() // before the point
	after   func() // behind it
}

func (s *sender) Send(_ context.Context, m reinject.Message, point func() error) []reinject.Result {
	if s.before != nil {
		s.before()
	}
	if err := point(); err != nil {
		return all(len(m.To), reinject.Deferred, err.Error())
	}
	if s.after != nil {
		s.after()
	}
	content := slices.Concat(m.Content...) // valid only now
	s.mu.Lock()
	defer s.mu.Unlock()
	m.Content = [][]byte{content}
	s.sent = append(s.sent, m)
	if s.results != nil {
		return s.results(m)
	}
	return all(len(m.To), reinject.Sent, "250 queued")
}

type judge struct{ action intel.Action }

func (j *judge) Judge(env *message.Envelope, m *message.Message) (*evidence.Evidence, *verdict.Verdict, error) {
	return &evidence.Evidence{Envelope: env, Message: m}, &verdict.Verdict{Action: j.action, Rule: "today", Reasons: []verdict.Reason{{Value: "evil.example", Source: "list:block/x", Line: 3, Place: "1/text"}}}, nil
}

type notes struct {
	mu      sync.Mutex
	entries []*journal.Entry
	err     error
}

func (n *notes) Lookup(journal.Key) iter.Seq2[journal.Record, error] {
	return func(yield func(journal.Record, error) bool) {
		n.mu.Lock()
		entries := slices.Clone(n.entries)
		n.mu.Unlock()
		for i, e := range entries {
			if !yield(journal.Record{Position: wal.Position(i + 1), Entry: e}, nil) {
				return
			}
		}
	}
}

func (n *notes) Append(_ context.Context, e *journal.Entry) (wal.Position, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.entries = append(n.entries, e)
	return wal.Position(len(n.entries)), n.err
}

type heapScratch struct{}

func (heapScratch) Buffer() message.Buffer { return &heapBuffer{} }
func (heapScratch) Close() error           { return nil }

type heapBuffer struct{ b []byte }

func (h *heapBuffer) Write(p []byte) (int, error) { h.b = append(h.b, p...); return len(p), nil }
func (h *heapBuffer) Bytes() ([]byte, error)      { return h.b, nil }
func (h *heapBuffer) Close() error                { return nil }

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, disk: faulty.New("/state", 1), now: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC),
		send: &sender{}, judge: &judge{action: intel.ActionAccept}, notes: &notes{}}
	var err error
	if h.db, err = kv.Open(kv.Options{Name: "views", InMemory: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.db.Close() })
	h.open()
	t.Cleanup(func() { h.close() })
	return h
}

// open starts the quarantine over what is there, as the daemon does.
func (h *house) open() {
	h.t.Helper()
	var err error
	if h.ident, err = ident.Open(ident.Options{FS: h.disk, Dir: "/state", Clock: h.clock}); err != nil {
		h.t.Fatal(err)
	}
	view, err := NewView(h.db)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.ledger, err = ledger.Open(ledger.Options{FS: h.disk, Dir: "/state/ledger", Index: h.db, Node: "test", Key: h.ident.Key("ledger"),
		NewID: h.ident.NewID, Clock: h.clock, Views: []ledger.View{view}}); err != nil {
		h.t.Fatal(err)
	}
	if h.blobs, err = blob.OpenFolder(blob.Options{FS: h.disk, Dir: "/state/blobs", Clock: h.clock}); err != nil {
		h.t.Fatal(err)
	}
	parser, err := message.NewParser(message.Limits{})
	if err != nil {
		h.t.Fatal(err)
	}
	if h.Quarantine, err = New(Options{Ledger: h.ledger, View: view, Blobs: h.blobs, Judge: h.judge, Journal: h.notes,
		Identity: h.ident, Scratch: func() ScratchSpace { return heapScratch{} }, Settings: Settings{Parser: parser, HoldTime: holdTime, Senders: Senders{Inbound: h.send}}}); err != nil {
		h.t.Fatal(err)
	}
	h.settle()
	if err := h.Recover(context.Background()); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) close() {
	_ = h.ledger.Close()
	_ = h.blobs.Close()
}

func (h *house) reopen() {
	h.close()
	h.open()
}

// settle waits until the view shows all that was recorded.
func (h *house) settle() {
	h.t.Helper()
	last, err := h.ledger.Last()
	if err == nil {
		err = h.ledger.Wait(context.Background(), last)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

const holdTime = 5 * time.Minute

const text = "From: Bank <pay@evil.example>\r\nSubject: Your invoice is due\r\nMessage-ID: <m1@evil.example>\r\n\r\nhello\r\n.\r\n\x00\xff\r\n"

func (h *house) message(content, from string, to ...string) (*evidence.Evidence, *verdict.Verdict) {
	env := &message.Envelope{QueueID: "4Y1", Helo: "mail.evil.example", Time: h.clock(), From: message.Path{Raw: from, Args: []string{"BODY=8BITMIME"}}}
	e := &evidence.Evidence{Envelope: env, Message: message.Parse([]byte(content), message.Options{}), Direction: intel.Inbound}
	v := &verdict.Verdict{Action: intel.ActionHold, Rule: "blocked-url"}
	for _, r := range to {
		hold := !strings.HasPrefix(r, "free")
		p := message.Path{Raw: "<" + r + ">", Args: []string{"NOTIFY=NEVER"}}
		env.To = append(env.To, p)
		e.Recipients = append(e.Recipients, evidence.Recipient{Path: p})
		v.Recipients = append(v.Recipients, verdict.Recipient{Address: r, Hold: hold, Action: intel.ActionHold, Rule: "blocked-url", Reasons: []verdict.Reason{{Rule: "blocked-url", Value: "evil.example"}}})
	}
	return e, v
}

func (h *house) hold(content, from string, to ...string) *Item {
	h.t.Helper()
	e, v := h.message(content, from, to...)
	id, err := h.Hold(context.Background(), e, v, h.ident.NewID())
	if err != nil {
		h.t.Fatal(err)
	}
	h.settle()
	return h.item(id)
}

func (h *house) item(id string) *Item {
	h.t.Helper()
	i, err := h.Get(id)
	if err != nil {
		h.t.Fatal(err)
	}
	h.settle()
	for listed, err := range h.o.View.items(id, "") {
		if err != nil || !reflect.DeepEqual(listed, i) {
			h.t.Errorf("the listing shows another item: %v\n%.300s\n%.300s", err, fmt.Sprint(listed), fmt.Sprint(i))
		}
	}
	return i
}

func (h *house) release(r Release) (*Item, error) {
	if r.Actor == "" {
		r.Actor = "unix:1000"
	}
	return h.Release(context.Background(), r)
}

func states(i *Item) (s []State) {
	for _, r := range i.Recipients {
		s = append(s, r.State)
	}
	return s
}

func TestAReleaseHandsOverTheExactBytesOnceToWhomItWasHeldFor(t *testing.T) {
	h := newHouse(t)
	item := h.hold(text, "<>", "a@example.org", "free@example.org", "caf\xe9@example.org")
	if item.State() != Held || len(item.Recipients) != 2 || item.Facts.Sender != "<>" {
		t.Fatalf("%+v", item)
	}
	for range 2 { // a double click
		released, err := h.release(Release{ID: item.ID})
		if err != nil {
			t.Fatal(err)
		}
		if got := released.State(); got != Released {
			t.Errorf("state %s", got)
		}
	}
	if len(h.send.sent) != 1 {
		t.Fatalf("handed over %d times", len(h.send.sent))
	}
	m := h.send.sent[0]
	head, rest, _ := strings.Cut(string(m.Content[0]), "\r\n")
	if rest != text {
		t.Errorf("content %q", rest)
	}
	id, _, ok := h.ident.Verify(strings.TrimPrefix(head, "X-Weir-ID: "))
	if !ok || len(h.notes.entries) != 1 || h.notes.entries[0].ID != id || h.notes.entries[0].Item != item.ID {
		t.Errorf("header %q, journal %+v", head, h.notes.entries)
	}
	if want := (reinject.Path{Address: "", Args: []string{"BODY=8BITMIME"}}); !reflect.DeepEqual(m.From, want) {
		t.Errorf("from %+v", m.From)
	}
	if want := []reinject.Path{{Address: "a@example.org", Args: []string{"NOTIFY=NEVER"}}, {Address: "caf\xe9@example.org", Args: []string{"NOTIFY=NEVER"}}}; !reflect.DeepEqual(m.To, want) {
		t.Errorf("to %q", m.To)
	}
	if !slices.Equal(h.notes.entries[0].To, []string{"a@example.org", "caf\xe9@example.org"}) {
		t.Errorf("journalled to %q", h.notes.entries[0].To)
	}
}

func TestEachRecipientIsReleasedOnItsOwn(t *testing.T) {
	h := newHouse(t)
	h.send.results = func(m reinject.Message) (results []reinject.Result) {
		for _, to := range m.To {
			status := map[byte]reinject.Status{'a': reinject.Sent, 'b': reinject.Refused, 'c': reinject.Deferred, 'd': reinject.Uncertain}[to.Address[0]]
			results = append(results, reinject.Result{Status: status, Text: "said " + string(status)})
		}
		return results
	}
	item := h.hold(text, "<s@x.example>", "a@example.org", "b@example.org", "c@example.org", "d@example.org", "e@example.org")
	item, err := h.release(Release{ID: item.ID, Recipients: []string{"A@example.org", "b@example.org", "c@example.org", "d@example.org"}})
	var failed *ReleaseError
	if !errors.As(err, &failed) || len(failed.Failed) != 3 {
		t.Fatalf("got %v", err)
	}
	if want := []State{Released, Refused, Held, Uncertain, Held}; !slices.Equal(states(item), want) || item.State() != Uncertain {
		t.Fatalf("%v %s", states(item), item.State())
	}
	h.send.results = nil
	// What may have been delivered is passed over until somebody says otherwise.
	if _, err := h.release(Release{ID: item.ID, Recipients: []string{"d@example.org"}}); !errors.Is(err, ErrUncertain) {
		t.Errorf("got %v", err)
	}
	if _, err := h.release(Release{ID: item.ID, Again: true}); !errors.Is(err, ErrReason) {
		t.Errorf("without a reason: %v", err)
	}
	item, err = h.release(Release{ID: item.ID})
	if err != nil {
		t.Fatal(err)
	}
	if want := []State{Released, Released, Released, Uncertain, Released}; !slices.Equal(states(item), want) {
		t.Errorf("%v", states(item))
	}
	item, err = h.release(Release{ID: item.ID, Again: true, Reason: "the recipient says that it never came"})
	if err != nil || item.State() != Released {
		t.Errorf("%v %v", states(item), err)
	}
	var to []string
	for _, m := range h.send.sent {
		for _, p := range m.To {
			to = append(to, p.Address[:1])
		}
	}
	if got := strings.Join(to, ""); got != "abcdbced" {
		t.Errorf("handed over to %s", got)
	}
	if _, err := h.release(Release{ID: item.ID, Recipients: []string{"stranger@example.org"}}); !errors.Is(err, ErrRecipient) {
		t.Errorf("got %v", err)
	}
}

func TestTodaysRulesAreAskedBeforeARelease(t *testing.T) {
	h := newHouse(t)
	item := h.hold(text, "<s@x.example>", "a@example.org")
	h.judge.action = intel.ActionHold
	_, err := h.release(Release{ID: item.ID})
	var blocked *BlockedError
	if !errors.As(err, &blocked) || !strings.Contains(err.Error(), "rule today, evil.example at 1/text (list:block/x:3)") {
		t.Fatalf("got %v", err)
	}
	if len(h.send.sent)+len(h.notes.entries) != 0 || h.item(item.ID).State() != Held {
		t.Error("something went all the same")
	}
	if _, err := h.release(Release{ID: item.ID, Override: true, Reason: " "}); !errors.Is(err, ErrReason) {
		t.Errorf("got %v", err)
	}
	if _, err := h.release(Release{ID: item.ID, Override: true, Reason: "false positive"}); err != nil {
		t.Fatal(err)
	}
	s, err := h.ledger.State(entityOf(item.ID))
	if err != nil {
		t.Fatal(err)
	}
	if e := s.Events[1]; e.Type != typeRelease || e.Reason != "false positive" || e.Actor != "unix:1000" || !strings.Contains(string(e.Data), `"override":true`) {
		t.Errorf("recorded as %+v", e)
	}
}

func TestNothingIsReleasedThatCouldNotBeFoundAgain(t *testing.T) {
	h := newHouse(t)
	item := h.hold(text, "<s@x.example>", "a@example.org")
	h.notes.err = disk.ErrNoSpace
	item, err := h.release(Release{ID: item.ID})
	if err == nil || item.State() != Held || len(h.send.sent) != 0 {
		t.Fatalf("%v %s, sent %d", err, item.State(), len(h.send.sent))
	}
}

func TestTwoReleasesAtOnceDeliverOnce(t *testing.T) {
	h := newHouse(t)
	item := h.hold(text, "<s@x.example>", "a@example.org", "b@example.org")
	started, goOn := make(chan struct{}), make(chan struct{})
	h.send.before = func() { close(started); <-goOn }
	done := make(chan error, 1)
	go func() { _, err := h.release(Release{ID: item.ID}); done <- err }()
	<-started
	if _, err := h.release(Release{ID: item.ID}); !errors.Is(err, ErrBusy) {
		t.Errorf("the second: %v", err)
	}
	if _, err := h.Delete(t.Context(), item.ID, "unix:1000", "x"); !errors.Is(err, ErrBusy) {
		t.Errorf("a deletion in between: %v", err)
	}
	// Looking at it does not get in the way.
	if _, content, err := h.Message(t.Context(), item.ID, "unix:1000", "preview"); err != nil {
		t.Error(err)
	} else {
		_ = content.Close()
	}
	close(goOn)
	if err := <-done; err != nil || len(h.send.sent) != 1 {
		t.Errorf("%v, sent %d times", err, len(h.send.sent))
	}
}

func TestAReleaseThatTheDaemonDidNotSurviveIsEndedAtTheNextStart(t *testing.T) {
	for name, c := range map[string]struct {
		cut  func(h *house) // where the power goes
		want State
	}{
		"before the last byte": {func(h *house) { h.send.before = func() { h.disk.CutAt(h.disk.Steps() + 1) } }, Held},
		"behind the last byte": {func(h *house) { h.send.after = func() { h.disk.CutAt(h.disk.Steps() + 1) } }, Uncertain},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			item := h.hold(text, "<s@x.example>", "a@example.org")
			c.cut(h)
			if _, err := h.release(Release{ID: item.ID}); err == nil {
				t.Fatal("no error although the power went")
			}
			h.send.before, h.send.after = nil, nil
			h.close()
			h.disk = h.disk.Reboot(faulty.Nothing)
			h.open()
			got := h.item(item.ID)
			if got.State() != c.want || got.Attempt != "" {
				t.Fatalf("%s: %+v", got.State(), got)
			}
			again := Release{ID: item.ID, Again: c.want == Uncertain, Reason: "x"}
			if got, err := h.release(again); err != nil || got.State() != Released {
				t.Errorf("%v %v", got.State(), err)
			}
		})
	}
}

func TestTheSameMessageIsOneItem(t *testing.T) {
	h := newHouse(t)
	first := h.hold(text, "<s@x.example>", "a@example.org", "free@example.org", "b@example.org")
	same := func(want bool, content, from string, to ...string) *Item {
		t.Helper()
		again := h.hold(content, from, to...)
		if (again.ID == first.ID) != want {
			t.Errorf("%q from %s to %v: item %s, the first is %s", content[:10], from, to, again.ID, first.ID)
		}
		return again
	}
	same(true, text, "<s@x.example>", "a@example.org", "free@example.org", "b@example.org")
	same(true, text, "<s@x.example>", "b@example.org", "a@example.org", "free@example.org")
	same(false, text+"x", "<s@x.example>", "a@example.org", "free@example.org", "b@example.org")
	same(false, text, "<t@x.example>", "a@example.org", "free@example.org", "b@example.org")
	same(false, text, "<s@x.example>", "a@example.org", "b@example.org")
	h.reopen()
	same(true, text, "<s@x.example>", "a@example.org", "free@example.org", "b@example.org")
	// Released meanwhile: the client that tries again is late, not new.
	if _, err := h.release(Release{ID: first.ID}); err != nil {
		t.Fatal(err)
	}
	same(true, text, "<s@x.example>", "a@example.org", "free@example.org", "b@example.org")
	h.pass(onceFor)
	second := same(false, text, "<s@x.example>", "a@example.org", "free@example.org", "b@example.org")
	if again := h.hold(text, "<s@x.example>", "a@example.org", "free@example.org", "b@example.org"); again.ID != second.ID {
		t.Errorf("after five days a retry is item %s, not %s", again.ID, second.ID)
	}
}

func TestARetryThatIsHeldForMoreAddsWhatIsMissing(t *testing.T) {
	h := newHouse(t)
	e, v := h.message(text, "<s@x.example>", "a@example.org", "b@example.org")
	v.Recipients[1].Hold = false
	first, err := h.Hold(t.Context(), e, v, h.ident.NewID())
	if err != nil {
		t.Fatal(err)
	}
	v.Recipients[1].Hold = true // a list was edited in between
	var second string
	for range 2 {
		id, err := h.Hold(t.Context(), e, v, h.ident.NewID())
		if err != nil {
			t.Fatal(err)
		}
		if second == "" {
			second = id
		}
		if id != second || id == first {
			t.Errorf("item %s, before %s, first %s", id, second, first)
		}
	}
	if i := h.item(second); len(i.Recipients) != 1 || i.Recipients[0].Address != "b@example.org" {
		t.Errorf("%+v", i.Recipients)
	}
	if i := h.item(first); len(i.Recipients) != 1 || i.Recipients[0].Address != "a@example.org" {
		t.Errorf("%+v", i.Recipients)
	}
}

func TestAMessageForVeryManyIsSeveralItems(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	for name, many := range map[string]struct {
		count  int
		prefix string
	}{
		"many":             {3000, ""},
		"long ones":        {400, strings.Repeat("x", 1000)},
		"longer than fits": {5, strings.Repeat("x", 60_000)},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.send.results = func(m reinject.Message) []reinject.Result {
				return all(len(m.To), reinject.Refused, strings.Repeat("long answer ", 1000))
			}
			var to []string
			for i := range many.count {
				to = append(to, fmt.Sprintf("%s%d@example.org", many.prefix, i))
			}
			e, v := h.message(text, "<s@x.example>", to...)
			first, err := h.Hold(t.Context(), e, v, h.ident.NewID())
			if err != nil {
				t.Fatal(err)
			}
			held := func() (addresses, ids []string) {
				h.settle()
				for item, err := range h.o.View.items("", "") {
					if err != nil {
						t.Fatal(err)
					}
					ids = append(ids, item.ID)
					for _, r := range item.Recipients {
						addresses = append(addresses, string(r.Raw))
					}
				}
				slices.Sort(addresses)
				return addresses, ids
			}
			all, ids := held()
			want := rawOf(e)
			if !slices.Equal(all, want) || len(ids) < 2 || len(h.item(first).Recipients) == 0 {
				t.Fatalf("%d items with %d recipients, of %d", len(ids), len(all), len(want))
			}
			// The client did not get the answer; and a list was edited in between.
			slices.Reverse(v.Recipients)
			slices.Reverse(e.Recipients)
			v.Recipients[0].Hold, v.Recipients[3].Hold = false, false
			if _, err := h.Hold(t.Context(), e, v, h.ident.NewID()); err != nil {
				t.Fatal(err)
			}
			if again, later := held(); !slices.Equal(again, want) || !slices.Equal(later, ids) {
				t.Errorf("after a retry %d items with %d recipients", len(later), len(again))
			}
			for _, id := range ids {
				if item, err := h.release(Release{ID: id}); item == nil || item.State() != Refused {
					t.Fatalf("%v %v", item, err)
				}
			}
			h.reopen() // which waits for the view
		})
	}
}

func rawOf(e *evidence.Evidence) (raw []string) {
	for i := range e.Recipients {
		raw = append(raw, e.Recipients[i].Path.Raw)
	}
	slices.Sort(raw)
	return raw
}

func TestWhatAStrangerNamesDoesNotMakeAnItemThatIsTooLarge(t *testing.T) {
	h := newHouse(t)
	var b strings.Builder
	long := strings.Repeat("\U0001f4a9", 245)
	b.WriteString("From: " + strings.Repeat("x", 5000) + "\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n")
	for i := range 1900 {
		fmt.Fprintf(&b, "--b\r\nContent-Type: application/octet-stream; name=\"%d%s\"\r\n\r\nx%d\r\n", i, long, i)
	}
	e, v := h.message(b.String(), "<"+strings.Repeat("\xff", 60_000)+"@x.example>", strings.Repeat("\xff", 60_000)+"@example.org")
	for n := range 5000 {
		v.Recipients[0].Reasons = append(v.Recipients[0].Reasons, verdict.Reason{Rule: "r", Value: fmt.Sprint(n) + strings.Repeat("v", 5000), Entry: strings.Repeat("e", 1000), Note: strings.Repeat("n", 1000)})
	}
	id, err := h.Hold(t.Context(), e, v, h.ident.NewID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.release(Release{ID: id}); err != nil {
		t.Error(err)
	}
	h.item(id)
}

// TestItemsThatAreLargeAreListedThoughTheirEventsAreSmall looks at large items
// so often that the view has more to write at once than a batch takes.
func TestItemsThatAreLargeAreListedThoughTheirEventsAreSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	h := newHouse(t)
	var events []ledger.Event
	long := strings.Repeat("x", 100)
	for n := range 30 {
		var to []string
		for i := range 400 {
			to = append(to, fmt.Sprintf("u%d-%s@example.org", i, long))
		}
		id := h.hold(fmt.Sprint(n)+text, "<s@x.example>", to...).ID
		state, err := h.ledger.State(entityOf(id))
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, ledger.Event{Entity: entityOf(id), Version: state.Version + 1, Type: typeViewed, Schema: schema, Data: []byte(`{"how":"preview"}`)})
	}
	last, err := h.ledger.Last()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.o.View.Apply(t.Context(), events, last); err != nil {
		t.Fatal(err)
	}
	for item, err := range h.o.View.items("", "") {
		if err != nil || item.Version != 2 {
			t.Fatalf("version %d: %v", item.Version, err)
		}
	}
}

func TestAHoldThatFailsHasKeptNothingAndSaysSo(t *testing.T) {
	h := newHouse(t)
	e, v := h.message(text, "<s@x.example>", "a@example.org")
	for _, op := range []string{"blob", "ledger"} {
		h.disk.Inject(func(o faulty.Op) error {
			if o.Kind == faulty.Write && strings.Contains(o.Name, op) {
				return disk.ErrNoSpace
			}
			return nil
		})
		if id, err := h.Hold(t.Context(), e, v, h.ident.NewID()); !errors.Is(err, disk.ErrNoSpace) {
			t.Errorf("with no room for the %s: %q %v", op, id, err)
		}
		h.disk.Inject(nil)
		h.settle()
		if page, err := h.List(t.Context(), Query{State: AnyState}); err != nil || len(page.Items) != 0 {
			t.Errorf("with no room for the %s: %d items, %v", op, len(page.Items), err)
		}
	}
	if _, err := h.Hold(t.Context(), e, v, h.ident.NewID()); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestADeletedMessageIsGoneAndItsRecordStays(t *testing.T) {
	h := newHouse(t)
	item, twin := h.hold(text, "<s@x.example>", "a@example.org"), h.hold(text, "<other@x.example>", "a@example.org")
	h.pass(2 * holdTime)
	if _, err := h.Delete(t.Context(), item.ID, "unix:1000", ""); !errors.Is(err, ErrReason) {
		t.Errorf("without a reason: %v", err)
	}
	if _, err := h.Delete(t.Context(), item.ID, "unix:1000", "spam"); err != nil {
		t.Fatal(err)
	}
	if got := h.item(item.ID).State(); got != Deleted {
		t.Errorf("state %s", got)
	}
	if _, err := h.release(Release{ID: item.ID}); !errors.Is(err, ErrGone) {
		t.Errorf("release: %v", err)
	}
	if _, _, err := h.Message(t.Context(), item.ID, "unix:1000", "export"); !errors.Is(err, ErrGone) {
		t.Errorf("export: %v", err)
	}
	if _, err := h.Delete(t.Context(), item.ID, "unix:1000", "again"); !errors.Is(err, ErrGone) {
		t.Errorf("again: %v", err)
	}
	// The other item has the same bytes and keeps them.
	if _, err := h.release(Release{ID: twin.ID}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Delete(t.Context(), twin.ID, "unix:1000", "done"); err != nil {
		t.Fatal(err)
	}
	if _, n := h.blobs.Usage(); n != 0 {
		t.Errorf("%d blobs are left", n)
	}
}

func TestOldItemsExpireAndBytesThatNobodyNeedsGo(t *testing.T) {
	h := newHouse(t)
	if err := h.SetSettings(Settings{Parser: h.current().Parser, HoldTime: holdTime, Retention: 30 * 24 * time.Hour, Senders: Senders{Inbound: h.send}}); err != nil {
		t.Fatal(err)
	}
	old := h.hold(text, "<s@x.example>", "a@example.org")
	if _, err := h.blobs.Put(t.Context(), []byte("put, and then the item could not be recorded")); err != nil {
		t.Fatal(err)
	}
	h.pass(29 * 24 * time.Hour)
	young := h.hold(text+"young", "<s@x.example>", "a@example.org")
	if err := h.Tidy(t.Context(), h.ledger.Last); err != nil {
		t.Fatal(err)
	}
	if _, n := h.blobs.Usage(); n != 3 || h.item(old.ID).Gone != "" {
		t.Errorf("%d blobs, old item %s", n, h.item(old.ID).State())
	}
	h.pass(2 * 24 * time.Hour)
	if err := h.Tidy(t.Context(), h.ledger.Last); err != nil {
		t.Fatal(err)
	}
	if got := h.item(old.ID).State(); got != Expired {
		t.Errorf("state %s", got)
	}
	if _, n := h.blobs.Usage(); n != 1 {
		t.Errorf("%d blobs", n)
	}
	if _, err := h.release(Release{ID: young.ID}); err != nil {
		t.Error(err)
	}
}

// TestAnOlderLedgerTakesNoMessageWithIt puts an earlier copy of the ledger in the
// place of the one that knows of the item.
func TestAnOlderLedgerTakesNoMessageWithIt(t *testing.T) {
	h := newHouse(t)
	before := h.hold(text, "<s@x.example>", "a@example.org")
	names, err := h.disk.ReadDir("/state/ledger")
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	file := "/state/ledger/" + names[0].Name()
	h.close()
	earlier, err := disk.ReadFile(h.disk, file, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	h.open()
	lost := h.hold(text+"lost", "<s@x.example>", "a@example.org")
	gone := h.hold(text+"gone", "<s@x.example>", "a@example.org")
	h.pass(time.Hour)
	if _, err := h.Delete(t.Context(), gone.ID, "unix:0", "a test"); err != nil {
		t.Fatal(err)
	}
	h.close()
	if err := disk.Replace(h.disk, file, earlier, 0o600, "test.content", "test.names"); err != nil {
		t.Fatal(err)
	}
	h.open()
	if err := h.Tidy(t.Context(), h.ledger.Last); err != nil {
		t.Fatal(err)
	}
	for _, item := range []*Item{before, lost} {
		if c, err := h.blobs.Open(t.Context(), item.Facts.Blob); err != nil {
			t.Errorf("item %s: %v", item.ID, err)
		} else {
			_ = c.Close()
		}
	}
	if h.unknown.Load() != 1 {
		t.Errorf("%d messages are said to be unknown", h.unknown.Load())
	}
}

func TestEveryLookAtAMessageIsRecorded(t *testing.T) {
	h := newHouse(t)
	item := h.hold(text, "<s@x.example>", "a@example.org")
	_, content, err := h.Message(t.Context(), item.ID, "unix:7", "export")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(content)
	if err != nil || string(got) != text {
		t.Errorf("%q %v", got, err)
	}
	_ = content.Close()
	s, err := h.ledger.State(entityOf(item.ID))
	if err != nil {
		t.Fatal(err)
	}
	if e := s.Events[len(s.Events)-1]; e.Type != typeViewed || e.Actor != "unix:7" || string(e.Data) != `{"how":"export"}` {
		t.Errorf("%+v", e)
	}
	h.disk.Inject(func(o faulty.Op) error { return disk.ErrNoSpace })
	if _, _, err := h.Message(t.Context(), item.ID, "unix:7", "export"); err == nil {
		t.Error("shown although that could not be recorded")
	}
	h.disk.Inject(nil)
}

func TestOutboundMailGoesBackItsOwnWay(t *testing.T) {
	h := newHouse(t)
	e, v := h.message(text, "<me@example.org>", "a@elsewhere.example")
	e.Direction = intel.Outbound
	id, err := h.Hold(t.Context(), e, v, h.ident.NewID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.release(Release{ID: id}); !errors.Is(err, ErrNoWay) || !strings.Contains(err.Error(), "reinject.outbound") {
		t.Errorf("without a listener: %v", err)
	}
	out := &sender{}
	if err := h.SetSettings(Settings{Parser: h.current().Parser, HoldTime: holdTime, Senders: Senders{Inbound: h.send, Outbound: out}}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.release(Release{ID: id}); err != nil || len(out.sent) != 1 || len(h.send.sent) != 0 {
		t.Errorf("%v, outbound %d, inbound %d", err, len(out.sent), len(h.send.sent))
	}
}

func TestAListingShowsWhatIsAskedFor(t *testing.T) {
	h := newHouse(t)
	var ids []string
	begin := h.clock()
	for i := range 10 {
		content := fmt.Sprintf("From: Bank <pay@evil%d.example>\r\nSubject: Invoice number %d\r\n\r\nhello %d\r\n", i, i, i)
		ids = append(ids, h.hold(content, fmt.Sprintf("<s%d@mail.evil%d.example>", i, i), fmt.Sprintf("r%d@example.org", i%2)).ID)
		h.pass(time.Hour)
	}
	if _, err := h.release(Release{ID: ids[3]}); err != nil {
		t.Fatal(err)
	}
	slices.Reverse(ids) // the newest first; number 3 is ids[6]
	list := func(q Query) (got []string) {
		t.Helper()
		page, err := h.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page.Items {
			got = append(got, i.ID)
		}
		return got
	}
	without := func(n int) []string { return slices.Delete(slices.Clone(ids), n, n+1) }
	hash := h.item(ids[0]).Facts.Hashes[0]
	for name, c := range map[string]struct {
		query Query
		want  []string
	}{
		"waiting": {Query{}, without(6)}, "all": {Query{State: AnyState}, ids}, "released": {Query{State: Released}, ids[6:7]},
		"by beginning": {Query{ID: strings.ToLower(ids[2])}, ids[2:3]}, "since": {Query{Since: begin.Add(8 * time.Hour)}, ids[:2]}, "until": {Query{Until: begin.Add(2 * time.Hour)}, ids[8:]},
		"sender": {Query{Sender: "S0@mail.evil0.example"}, ids[9:]}, "sender's domain": {Query{Sender: "evil0.example"}, ids[9:]}, "header from": {Query{Sender: "pay@evil1.example"}, ids[8:9]},
		"recipient": {Query{Recipient: "r1@example.org", State: AnyState}, []string{ids[0], ids[2], ids[4], ids[6], ids[8]}}, "recipient's domain": {Query{Recipient: "@example.org"}, without(6)},
		"another domain": {Query{Recipient: "ample.org"}, nil}, "rule": {Query{Rule: "blocked-url"}, without(6)}, "another rule": {Query{Rule: "x"}, nil},
		"subject": {Query{Subject: "INVOICE 9"}, ids[:1]}, "hash": {Query{Hash: strings.ToUpper(hash)}, ids[:1]}, "hash's beginning": {Query{Hash: hash[:8]}, ids[:1]},
		"message's hash": {Query{Hash: h.item(ids[5]).Facts.Blob.String()}, ids[5:6]}, "direction": {Query{Direction: "outbound"}, nil},
		"page": {Query{Limit: 2}, ids[:2]}, "next page": {Query{Limit: 2, Before: ids[1]}, ids[2:4]}, "last page": {Query{Before: ids[8]}, ids[9:]},
	} {
		if got := list(c.query); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if _, err := h.List(t.Context(), Query{Hash: "abc"}); err == nil {
		t.Error("a hash of three digits was taken")
	}
	if page, _ := h.List(t.Context(), Query{Limit: 2}); !page.More {
		t.Error("a page does not say that there is more")
	}
	if id, err := h.Find(ids[0][:len(ids[0])-1]); err != nil || id != ids[0] {
		t.Errorf("%q %v", id, err)
	}
	if _, err := h.Find(ids[0][:4]); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("got %v", err)
	}
	if _, err := h.Find("zzz"); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := h.Find(""); !errors.Is(err, ErrNotFound) {
		t.Errorf("nothing finds something: %v", err)
	}
}

func TestAnErasedItemLeavesTheListingWhole(t *testing.T) {
	h := newHouse(t)
	item := h.hold(text, "<s@x.example>", "a@example.org")
	if _, err := h.ledger.Erase(t.Context(), ledger.Command{ID: "erase", Entity: entityOf(item.ID), Actor: "unix:0"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ledger.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := h.Get(item.ID)
	if err != nil || got.State() != Deleted || got.Facts.Subject != "" {
		t.Errorf("%+v %v", got, err)
	}
	h.settle()
	h.close() // only the ledger may call a view, while it is open
	if err := h.o.View.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.open()
	if page, err := h.List(t.Context(), Query{State: AnyState}); err != nil || len(page.Items) != 1 {
		t.Errorf("%+v %v", page, err)
	}
}

func TestTheViewKeepsItsPromises(t *testing.T) {
	must := func(kind string, data any) ledger.Event {
		e, err := event(kind, data)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	held := func(n byte) ledger.Event {
		return must(typeHeld, heldData{Facts: Facts{Ref: "r", Blob: blob.Ref{n}, From: Octets("<\xff>")}, Recipients: []Recipient{{Address: "a", Raw: "<a>"}, {Address: "b", Raw: "<b>"}}})
	}
	viewtest.Test(t, []viewtest.Commit{
		{Entity: "item/one", Events: []ledger.Event{held(1)}},
		{Entity: "item/two", Events: []ledger.Event{held(1)}},
		{Entity: "item/one", Events: []ledger.Event{must(typeRelease, releaseData{Attempt: "x", Recipients: []int{0}}), must(typeHandover, attemptData{"x"})}},
		{Entity: "other/one", Events: []ledger.Event{must("held", "not an item")}},
		{Entity: "item/one", Events: []ledger.Event{must(typeReleased, releasedData{Attempt: "x", Recipients: []int{0}, Results: all(1, reinject.Uncertain, "?")})}},
		{Entity: "item/three", Events: []ledger.Event{held(3)}},
		{Entity: "item/four", Events: []ledger.Event{must(typePulled, pulledData{Facts: Facts{Subject: "s"}, Recipient: Recipient{Address: "a"}, Origin: Origin{Incident: "one", Copy: aCopy()}})}},
		{Entity: "item/four", Events: []ledger.Event{must(typeReturning, returningData{Attempt: "z"})}},
		{Entity: "item/three", Events: []ledger.Event{must(typeDeleted, struct{}{})}},
		{Entity: "item/four", Events: []ledger.Event{must(typeReturned, returnedData{OK: true})}},
		{Entity: "item/two", Events: []ledger.Event{must(typeRelease, releaseData{Attempt: "y", Recipients: []int{0, 1}}), must(typeAbandoned, attemptData{"y"}), must(typeViewed, viewedData{"x"}), must(typeExpired, struct{}{})}},
	}, func(t *testing.T) viewtest.Fixture {
		db, err := kv.Open(kv.Options{Name: "views", InMemory: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return viewtest.Fixture{
			Open: func() (ledger.View, error) { return NewView(db) },
			Dump: func(v ledger.View) (string, error) { return v.(*View).dump() },
		}
	})
}

func TestOctetsSurviveJSON(t *testing.T) {
	for _, s := range []Octets{"", "<a@b>", "\xff\xfe", "é", "\uFFFD", `{"base64":"x"}`, "\x00"} {
		data, err := s.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var back Octets
		if err := back.UnmarshalJSON(data); err != nil || back != s {
			t.Errorf("%q became %q by way of %s: %v", s, back, data, err)
		}
	}
}

// What a round of tidying and a listing of today cost must not grow with all that
// was ever held. Decoding an item is what they do of each that they look at.
func TestWhatIsLongGoneIsNotLookedAtAgain(t *testing.T) {
	const many = 300
	h := newHouse(t)
	if err := h.SetSettings(Settings{Parser: h.current().Parser, HoldTime: holdTime, Retention: 30 * 24 * time.Hour, Senders: Senders{Inbound: h.send}}); err != nil {
		t.Fatal(err)
	}
	for n := range many {
		e, v := h.message(text+fmt.Sprint(n), "<s@x.example>", "a@example.org")
		if _, err := h.Hold(t.Context(), e, v, h.ident.NewID()); err != nil {
			t.Fatal(err)
		}
		h.pass(time.Hour)
	}
	h.settle()
	h.pass(32 * 24 * time.Hour)
	young := h.hold(text+"young", "<s@x.example>", "a@example.org")
	allocated := func(f func()) uint64 {
		least := ^uint64(0)
		for range 5 { // others are at work, too
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			f()
			runtime.ReadMemStats(&after)
			least = min(least, after.Mallocs-before.Mallocs)
		}
		return least
	}
	tidy := func() {
		if err := h.Tidy(t.Context(), h.ledger.Last); err != nil {
			t.Fatal(err)
		}
		h.settle()
	}
	list := func(since time.Time, want int) {
		page, err := h.List(t.Context(), Query{Since: since, State: AnyState, Limit: MaxLimit})
		if err != nil || len(page.Items) != want || page.More {
			t.Errorf("%d items since %s: %v", len(page.Items), since, err)
		}
	}
	tidy()
	all := allocated(func() { list(time.Time{}, many+1) })
	if got := allocated(func() { list(young.Held, 1) }); got > all/10 {
		t.Errorf("a listing of one item's day makes %d allocations, of all %d", got, all)
	}
	tidy() // sees that they are gone
	if got := allocated(func() {
		if page, err := h.List(t.Context(), Query{}); err != nil || len(page.Items) != 1 {
			t.Errorf("%d items are held: %v", len(page.Items), err)
		}
	}); got > all/10 {
		t.Errorf("a listing of what is held makes %d allocations, of all %d", got, all)
	}
	for _, state := range []State{AnyState, Expired} {
		if page, err := h.List(t.Context(), Query{State: state, Limit: MaxLimit}); err != nil || len(page.Items) < many {
			t.Errorf("%d items are %s: %v", len(page.Items), state, err)
		}
	}
	if got := allocated(tidy); got > all/10 {
		t.Errorf("tidying what is tidy makes %d allocations, a listing of all %d", got, all)
	}
	h.pass(31 * 24 * time.Hour)
	tidy()
	if got := h.item(young.ID).State(); got != Expired {
		t.Errorf("what came last is %s", got)
	}
}

// A clock that was far ahead for a moment leaves IDs behind that are too young, and
// after the next start there are smaller ones again.
func TestItemsExpireAfterAClockWasFarAhead(t *testing.T) {
	h := newHouse(t)
	const retention = 30 * 24 * time.Hour
	set := func() {
		if err := h.SetSettings(Settings{Parser: h.current().Parser, HoldTime: holdTime, Retention: retention, Senders: Senders{Inbound: h.send}}); err != nil {
			t.Fatal(err)
		}
	}
	set()
	h.pass(365 * 24 * time.Hour)
	h.ident.NewID()
	h.pass(-365 * 24 * time.Hour)
	ahead := h.hold(text, "<s@x.example>", "a@example.org")
	h.reopen()
	set()
	for range 3 {
		began := h.clock()
		i := h.hold(text+began.String(), "<s@x.example>", "a@example.org")
		if i.ID > ahead.ID {
			t.Fatal("the IDs go on from the clock's")
		}
		if page, err := h.List(t.Context(), Query{Since: began}); err != nil || len(page.Items) != 1 || page.Items[0].ID != i.ID {
			t.Errorf("%d items: %v", len(page.Items), err)
		}
		h.pass(retention + time.Hour)
		for range 2 {
			if err := h.Tidy(t.Context(), h.ledger.Last); err != nil {
				t.Fatal(err)
			}
			h.settle()
		}
		for _, id := range []string{ahead.ID, i.ID} {
			if got := h.item(id).State(); got != Expired {
				t.Errorf("%s is %s", id, got)
			}
		}
	}
}
