package notify

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/reinject"
	"github.com/weirmail/weir/quarantine/unblock"
)

// site is an outbox on a ledger in memory; the MTA and the clock are the test's.
type site struct {
	*Outbox
	t       testing.TB
	disk    *faulty.Disk
	ledger  *ledger.Ledger
	desk    *unblock.Desk
	inbound *mta // for local.example
	beyond  *mta // for all other domains
	fault   func(ledger.Command) error
	close   func()

	mu  sync.Mutex
	now time.Time
}

// mta answers as the test says, and keeps what it was given.
type mta struct {
	answer func() reinject.Result // nil: it takes all

	mu  sync.Mutex
	got []reinject.Message
}

// Send implements Sender.
func (m *mta) Send(_ context.Context, message reinject.Message, point func() error) []reinject.Result {
	r := reinject.Result{Status: reinject.Sent, Text: "250 2.0.0 queued"}
	if m.answer != nil {
		r = m.answer()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := point(); err != nil {
		r = reinject.Result{Status: reinject.Deferred, Text: err.Error()}
	}
	m.got = append(m.got, message)
	return []reinject.Result{r}
}

func (m *mta) says(status reinject.Status, text string) {
	m.answer = func() reinject.Result { return reinject.Result{Status: status, Text: text} }
}

func (m *mta) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.got)
}

// content gives what the MTA was given, which has to be one message or the same
// one again.
func (m *mta) content(t testing.TB) []byte {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var first []byte
	for i := range m.got {
		content := bytes.Join(m.got[i].Content, nil)
		if first == nil {
			first = content
		} else if !bytes.Equal(first, content) {
			t.Fatalf("another message:\n%s\n%s", first, content)
		}
	}
	if first == nil {
		t.Fatal("nothing was sent")
	}
	return first
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, disk: faulty.New("/state", 1), inbound: &mta{}, beyond: &mta{}, now: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)}
	s.open()
	t.Cleanup(func() { s.close() })
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) passes(d time.Duration) {
	s.mu.Lock()
	s.now = s.now.Add(d)
	s.mu.Unlock()
}

// faulty is a ledger that fails where the test says.
type faultyLedger struct {
	*ledger.Ledger
	s *site
}

func (f faultyLedger) Commit(ctx context.Context, c ledger.Command, decide func(ledger.State) ([]ledger.Event, error)) (ledger.Receipt, error) {
	if f.s.fault != nil {
		if err := f.s.fault(c); err != nil {
			return ledger.Receipt{}, err
		}
	}
	return f.Ledger.Commit(ctx, c, decide)
}

// open starts as the daemon does, over the ledger alone: views are built anew.
func (s *site) open() {
	s.t.Helper()
	db, err := kv.Open(kv.Options{Name: "views", InMemory: true})
	s.must(err)
	id, err := ident.Open(ident.Options{FS: s.disk, Dir: "/state"})
	s.must(err)
	view, asked := NewView(db), unblock.NewView(db)
	s.ledger, err = ledger.Open(ledger.Options{FS: s.disk, Dir: "/state/ledger", Index: db, Node: "test", Key: make([]byte, 32),
		NewID: id.NewID, Clock: s.clock, Views: []ledger.View{view, asked}})
	s.must(err)
	s.close = func() { _, _ = s.ledger.Close(), db.Close() }
	s.settle()
	s.desk, err = unblock.New(unblock.Options{Ledger: s.ledger, View: asked, NewID: id.NewID})
	s.must(err)
	s.Outbox, err = New(Options{Ledger: faultyLedger{s.ledger, s}, View: view, Now: s.clock, Settings: s.plain()})
	s.must(err)
}

// crash ends it with nothing done any more, and starts again.
func (s *site) crash() {
	s.t.Helper()
	s.close()
	s.fault = nil
	s.open()
}

// plain gives settings with both ways.
func (s *site) plain() Settings {
	return Settings{From: "Weir <weir@local.example>", IsLocal: func(domain string) bool { return domain == "local.example" }, Inbound: s.inbound, Outbound: s.beyond}
}

// settle waits until the views know all that was recorded.
func (s *site) settle() {
	s.t.Helper()
	last, err := s.ledger.Last()
	s.must(err)
	s.must(s.ledger.Wait(s.t.Context(), last))
}

// asked makes a request.
func (s *site) asked(value, notify string) unblock.Request {
	s.t.Helper()
	r, _, err := s.desk.Ask(s.t.Context(), unblock.Asking{Value: value, Reference: "REF-1", Notify: notify, Until: s.clock().AddDate(0, 0, 30), Actor: "unix:1000", Reason: "words of who asks"})
	s.must(err)
	return r
}

// refused makes a request and refuses it.
func (s *site) refused(value, notify, why string) unblock.Request {
	s.t.Helper()
	r := s.asked(value, notify)
	s.passes(time.Minute)
	r, err := s.desk.Refuse(s.t.Context(), r.ID, "unix:2000", why)
	s.must(err)
	return r
}

// approved makes a request and approves it.
func (s *site) approved(value, notify, why string) unblock.Request {
	s.t.Helper()
	r := s.asked(value, notify)
	s.passes(time.Minute)
	_, err := s.desk.Approve(s.t.Context(), r.ID, "unix:2000", why, nil, false)
	s.must(err)
	r, err = s.desk.Written(s.t.Context(), r.ID, "unix:2000", value, "allow/operator.txt", s.clock().AddDate(0, 0, 7))
	s.must(err)
	return r
}

// sends makes one pass, and gives how long it is until the next.
func (s *site) sends() time.Duration {
	s.t.Helper()
	wait := s.pass(s.t.Context())
	s.settle()
	return wait
}

// is says how a request's notice has to be.
func (s *site) is(r *unblock.Request, state State, text string) {
	s.t.Helper()
	n, ok, err := s.Of(r.Entity())
	if err != nil || !ok || n.State != state || n.Text != text || n.To != r.Notify || !n.Since.Equal(r.Decided) || (state == Waiting) != n.Time.IsZero() {
		s.t.Errorf("%+v %t %v, not %s %q", n, ok, err, state, text)
	}
}

// events gives the types of a notice's events.
func (s *site) events(r *unblock.Request) string {
	s.t.Helper()
	state, err := s.ledger.State("notice/" + r.Entity())
	s.must(err)
	text := ""
	for _, e := range state.Events {
		text += fmt.Sprintf("%s by %s: %s\n", e.Type, e.Actor, e.Data)
	}
	return text
}

// read takes a message apart: its header and subject, and its text.
func read(t testing.TB, raw []byte) (header mail.Header, subject, text string) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in %q", err, raw)
	}
	if subject, err = (&mime.WordDecoder{}).DecodeHeader(m.Header.Get("Subject")); err != nil {
		t.Fatalf("%v in %q", err, raw)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatalf("%v in %q", err, raw)
	}
	return m.Header, subject, string(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")))
}
