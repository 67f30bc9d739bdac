package contain

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/directory"
	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
)

// house is a book over a ledger of its own.
type house struct {
	*Book
	t      testing.TB
	db     *kv.DB
	disk   *faulty.Disk
	ledger *ledger.Ledger
	ident  *ident.Identity
	site   Site

	mu  sync.Mutex
	now time.Time // zero: that of package time
}

const people = `address;name;groups;vip;mailbox
alice@example.org a.lee@example.org alice@partner.example;Alice;;;
carla@example.org c.smith@example.org;Carla;;;csmith
@shop.example.org;;shop;;
sam@example.org;Sam;;;
sam@sub.example;Samuel;;;
carl@example.org;Carl;;;cb
carl@a.sub.example;Carlo;;;cm
`

func siteWith(t testing.TB, text string) Site {
	t.Helper()
	s := Site{
		LocalDomains: []string{"example.org", ".sub.example"}, Delimiters: "+",
		Internal: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fd00::/8")},
		Relays:   []netip.Prefix{netip.MustParsePrefix("10.9.9.9/32")},
	}
	s.IsLocal = func(domain string) bool {
		return domain == "example.org" || domain == "sub.example" || strings.HasSuffix(domain, ".sub.example")
	}
	if text != "" {
		var err error
		if s.Directory, err = directory.Read(strings.NewReader(text), directory.Options{File: "people.csv", Delimiters: "+"}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func newHouse(t testing.TB, people string) *house {
	t.Helper()
	h := &house{t: t, disk: faulty.New("/state", 1), now: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC), site: siteWith(t, people)}
	var err error
	if h.db, err = kv.Open(kv.Options{Name: "views", InMemory: true}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.db.Close() })
	h.open()
	t.Cleanup(func() { _ = h.ledger.Close() })
	return h
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.now.IsZero() {
		return time.Now()
	}
	return h.now
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

func (h *house) open() {
	h.t.Helper()
	var err error
	if h.ident, err = ident.Open(ident.Options{FS: h.disk, Dir: "/state", Clock: h.clock}); err != nil {
		h.t.Fatal(err)
	}
	view := NewView(h.db)
	if h.ledger, err = ledger.Open(ledger.Options{FS: h.disk, Dir: "/state/ledger", Index: h.db, Node: "test", Key: h.ident.Key("ledger"),
		NewID: h.ident.NewID, Clock: h.clock, Views: []ledger.View{view}}); err != nil {
		h.t.Fatal(err)
	}
	h.settle()
	if h.Book, err = Open(Options{Ledger: h.ledger, View: view, Identity: h.ident, Site: h.site, Metrics: prometheus.NewRegistry()}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) reopen() {
	h.t.Helper()
	if err := h.ledger.Close(); err != nil {
		h.t.Fatal(err)
	}
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

func (h *house) request(kind Kind, value string) Request {
	return Request{Kind: kind, Value: value, Scope: All, Action: intel.ActionHold, Until: h.clock().Add(time.Hour), Actor: "unix:1000", Reason: "case 12"}
}

func (h *house) contain(kind Kind, value string) Entry {
	h.t.Helper()
	e, err := h.Contain(h.t.Context(), h.request(kind, value))
	if err != nil {
		h.t.Fatal(err)
	}
	return e
}

// under gives what the mail of a login comes under at this moment.
func (h *house) under(login string) []string {
	var all []string
	for _, hit := range h.Contained().Match(login, nil, true, h.clock()) {
		all = append(all, hit.Containment.Value)
	}
	return all
}

func (h *house) events() (types []string) {
	h.t.Helper()
	for e, err := range h.ledger.Events(ledger.Cursor{}) {
		if err != nil {
			h.t.Fatal(err)
		}
		types = append(types, e.Type+" "+e.Entity+" by "+e.Actor)
	}
	return types
}

func TestAContainmentHoldsAtOnceOutlivesARestartAndIsLifted(t *testing.T) {
	h := newHouse(t, "")
	if h.Contained() != nil {
		t.Fatal("somebody is contained from the beginning")
	}
	made := h.contain(User, "Alice")
	if made.Value != "alice" || made.Reason != "case 12" || made.Actor != "unix:1000" || !made.Since.Equal(h.clock()) {
		t.Errorf("%+v", made)
	}
	if got := h.under("alice"); !slices.Equal(got, []string{"alice"}) {
		t.Errorf("at once: %q", got)
	}
	h.settle()
	h.reopen()
	if got := h.under("alice"); !slices.Equal(got, []string{"alice"}) {
		t.Errorf("after a restart: %q", got)
	}
	if _, err := h.Lift(t.Context(), "alice", "unix:1000", " "); !errors.Is(err, ErrReason) {
		t.Errorf("without a reason: %v", err)
	}
	lifted, err := h.Lift(t.Context(), "ALICE", "unix:1001", "password changed")
	if err != nil || lifted.ID != made.ID {
		t.Fatalf("%+v %v", lifted, err)
	}
	if h.Contained() != nil {
		t.Error("the snapshot is not nil although nobody is contained")
	}
	if _, err := h.Lift(t.Context(), made.ID, "unix:1001", "again"); !errors.Is(err, ErrNotFound) {
		t.Errorf("lifted again: %v", err)
	}
	h.settle()
	h.reopen()
	if h.Contained() != nil {
		t.Error("contained again after a restart")
	}
	if got := h.events(); !slices.Equal(got, []string{"contained contain/user:alice by unix:1000", "lifted contain/user:alice by unix:1001"}) {
		t.Errorf("%q", got)
	}
}

func TestWhatALaterNodeRecordsIsTakenOver(t *testing.T) {
	h := newHouse(t, "")
	e, err := event(typeContained, containedData{ID: h.ident.NewID(), Kind: User, Value: "bob", Scope: All, Action: "hold", Until: h.clock().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.ledger.Commit(t.Context(), ledger.Command{ID: "x", Entity: "contain/user:bob", Actor: "unix:1"}, func(ledger.State) ([]ledger.Event, error) { return []ledger.Event{e}, nil })
	if err != nil {
		t.Fatal(err)
	}
	h.settle()
	if got := h.under("bob"); !slices.Equal(got, []string{"bob"}) {
		t.Errorf("%q", got)
	}
}

func TestTimeEndsAContainmentAndTheLedgerSaysSoLater(t *testing.T) {
	h := newHouse(t, "")
	h.contain(User, "alice")
	h.pass(time.Hour - time.Nanosecond)
	if len(h.under("alice")) != 1 {
		t.Error("it ended before its time")
	}
	h.pass(time.Nanosecond)
	if len(h.under("alice")) != 0 || len(h.List()) != 0 {
		t.Error("it did not end at its time")
	}
	if _, err := h.Lift(t.Context(), "alice", "unix:1", "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("lifted after its end: %v", err)
	}
	h.expire(t.Context())
	h.expire(t.Context())
	if got := h.events(); len(got) != 2 || got[1] != "expired contain/user:alice by weir:expiry" {
		t.Errorf("%q", got)
	}
	if h.Contained() != nil {
		t.Error("what has ended is still looked through")
	}
	// It can be contained again, as another one.
	first := h.contain(User, "alice")
	h.pass(2 * time.Hour)
	if second := h.contain(User, "alice"); second.ID == first.ID || !second.Since.Equal(h.clock()) {
		t.Errorf("%+v", second)
	}
}

func TestRunRecordsWhatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		view, l := &View{}, &notebook{}
		db, err := kv.Open(kv.Options{Name: "views", InMemory: true})
		if err != nil {
			t.Fatal(err)
		}
		view.db = db
		b, err := Open(Options{Ledger: l, View: view, Identity: counter{}, Site: siteWith(t, "")})
		if err == nil {
			_, err = b.Contain(t.Context(), Request{Kind: User, Value: "alice", Scope: All, Action: intel.ActionHold, Until: time.Now().Add(90 * time.Second), Actor: "unix:1", Reason: "x"})
		}
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		time.Sleep(89 * time.Second)
		synctest.Wait()
		if got := l.types(); len(got) != 1 {
			t.Errorf("before its end: %q", got)
		}
		time.Sleep(lookEvery)
		synctest.Wait()
		if got := l.types(); len(got) != 2 || got[1] != typeExpired {
			t.Errorf("%q", got)
		}
		cancel()
		synctest.Wait()
		_ = db.Close()
	})
}

// notebook is a ledger of one entity without a log, for a clock that is not real.
type notebook struct {
	mu     sync.Mutex
	events []ledger.Event
}

func (n *notebook) types() (types []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.events {
		types = append(types, e.Type)
	}
	return types
}

func (n *notebook) Commit(_ context.Context, c ledger.Command, decide func(ledger.State) ([]ledger.Event, error)) (ledger.Receipt, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	events, err := decide(ledger.State{Events: n.events})
	for _, e := range events {
		e.Entity, e.Actor, e.Time = c.Entity, c.Actor, time.Now()
		n.events = append(n.events, e)
	}
	return ledger.Receipt{}, err
}

func (n *notebook) State(string) (ledger.State, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return ledger.State{Events: n.events}, nil
}

type counter struct{}

func (counter) NewID() string  { return fmt.Sprint("01K", time.Now().UnixNano()) }
func (counter) Now() time.Time { return time.Now() }

func TestOnePersonIsContainedOnceWhateverTheirName(t *testing.T) {
	h := newHouse(t, people)
	first := h.contain(User, "alice")
	for _, name := range []string{"alice", "a.lee@example.org", "alice+x@example.org"} {
		_, err := h.Contain(t.Context(), h.request(User, name))
		var refused *RefusedError
		if !errors.As(err, &refused) || !strings.Contains(refused.Text, first.ID) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The same name goes on with its ID.
	r := h.request(User, "alice")
	r.Replace, r.Scope, r.Until = true, External, h.clock().Add(48*time.Hour)
	h.pass(time.Minute)
	again, err := h.Contain(t.Context(), r)
	if err != nil || again.ID != first.ID || again.Scope != External || !again.Since.Equal(first.Since) || !again.Until.Equal(r.Until) {
		t.Errorf("%+v %v", again, err)
	}
	// Another name takes over.
	r.Value = "a.lee@example.org"
	other, err := h.Contain(t.Context(), r)
	if err != nil || other.ID == first.ID {
		t.Fatalf("%+v %v", other, err)
	}
	if all := h.List(); len(all) != 1 || all[0].Value != "a.lee@example.org" {
		t.Errorf("%+v", all)
	}
	if lifted, err := h.Lift(t.Context(), "alice", "unix:1", "x"); err != nil || lifted.ID != other.ID {
		t.Errorf("by another name: %+v %v", lifted, err)
	}
}

func TestAPersonIsContainedOnceAndLiftedByTheNameBeforeTheAt(t *testing.T) {
	for _, names := range [][2]string{
		{"carla", "carla@example.org"}, {"carla@example.org", "carla"}, {"c.smith", "csmith"}, {"csmith", "c.smith"}, {"carla", "c.smith"},
	} {
		h := newHouse(t, people)
		e := h.contain(User, names[0])
		_, err := h.Contain(t.Context(), h.request(User, names[1]))
		var refused *RefusedError
		if !errors.As(err, &refused) || !strings.Contains(refused.Text, e.ID) || e.Unknown {
			t.Errorf("%s beside %s: %v", names[1], names[0], err)
		}
		if lifted, err := h.Lift(t.Context(), names[1], "unix:1", "x"); err != nil || lifted.ID != e.ID || h.Contained() != nil {
			t.Errorf("%s by %s: %+v %v", names[0], names[1], lifted, err)
		}
	}
}

func TestWhomTheDirectoryDoesNotKnowIsSaidToBeUnknown(t *testing.T) {
	if e := newHouse(t, people).contain(User, "bob"); !e.Unknown {
		t.Errorf("%+v", e)
	}
	if e := newHouse(t, people).contain(User, "bob@example.org"); !e.Unknown {
		t.Errorf("%+v", e)
	}
	if e := newHouse(t, people).contain(Client, "10.1.2.3"); e.Unknown {
		t.Errorf("%+v", e)
	}
	if e := newHouse(t, "").contain(User, "bob"); e.Unknown {
		t.Errorf("without a directory: %+v", e)
	}
}

func TestACommittedContainmentHoldsAlthoughTheCallerHasGone(t *testing.T) {
	h := newHouse(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Contain(ctx, h.request(User, "alice")); err != nil {
		t.Fatal(err)
	}
	if len(h.under("alice")) != 1 {
		t.Error("it is recorded and does not hold")
	}
}

func TestWhatIsNoUserOrClientOfOursIsRefused(t *testing.T) {
	h := newHouse(t, people)
	for _, c := range []struct {
		kind  Kind
		value string
		says  string
	}{
		{User, "", "null sender"},
		{User, "<>", "null sender"},
		{User, "postmaster", "mail about mail"},
		{User, "Postmaster@example.org", "mail about mail"},
		{User, "MAILER-DAEMON", "mail about mail"},
		{User, "eve@elsewhere.example", "not in a domain of ours"},
		{User, "sam", "more than one person: sam@example.org, sam@sub.example"},
		{User, "carl", "more than one person: carl@a.sub.example, carl@example.org"},
		{User, "alice@[10.1.2.3]", "not in a domain of ours"},
		{User, "@example.org", "nothing before the @"},
		{User, "alice@", "neither a login nor an address"},
		{User, "al ice", "white space"},
		{User, "al\nice", "control"},
		{User, "al\xffice", "UTF-8"},
		{User, strings.Repeat("a", 201), "are the most"},
		{Client, "", "neither an address nor a range"},
		{Client, "0.0.0.0/0", "is too much"},
		{Client, "::/0", "is too much"},
		{Client, "10.0.0.0/8", "is too much"},
		{Client, "10.1.2.3/24", "host bits"},
		{Client, "fd00::/32", "is too much"},
		{Client, "198.51.100.7", "not in a network of ours"},
		{Client, "127.0.0.1", "this host"},
		{Client, "10.9.9.9", "trusted relay"},
		{Client, "10.9.0.0/16", "trusted relay"},
		{Client, "fe80::1%eth0", "zone"},
		{Client, "::ffff:10.0.0.0/112", "IPv4 range written as IPv6"},
		{"host", "x", "no kind"},
	} {
		_, err := h.Contain(t.Context(), h.request(c.kind, c.value))
		var refused *RefusedError
		if !errors.As(err, &refused) || !strings.Contains(refused.Text, c.says) || refused.Cure == "" {
			t.Errorf("%s %q: %v, which should say %q", c.kind, c.value, err, c.says)
		}
	}
	for name, change := range map[string]func(*Request){
		"no scope":           func(r *Request) { r.Scope = "" },
		"accept":             func(r *Request) { r.Action = intel.ActionAccept },
		"an end in the past": func(r *Request) { r.Until = h.clock() },
		"an end far away":    func(r *Request) { r.Until = h.clock().Add(MaxTime + time.Second) },
		"no reason":          func(r *Request) { r.Reason = "\t" },
	} {
		r := h.request(User, "alice")
		change(&r)
		if _, err := h.Contain(t.Context(), r); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if len(h.events()) != 0 {
		t.Errorf("%q", h.events())
	}
}

func TestOnlySoManyAreInForce(t *testing.T) {
	h := newHouse(t, "")
	if h.most != MaxInForce {
		t.Errorf("%d", h.most)
	}
	h.most = 5
	for i := range h.most {
		h.contain(Client, fmt.Sprintf("10.1.0.%d", i))
	}
	_, err := h.Contain(t.Context(), h.request(User, "alice"))
	var refused *RefusedError
	if !errors.As(err, &refused) || !strings.Contains(refused.Text, "5 containments") {
		t.Fatalf("%v", err)
	}
	r := h.request(Client, "10.1.0.0")
	r.Replace = true
	if _, err := h.Contain(t.Context(), r); err != nil {
		t.Errorf("to change one: %v", err)
	}
	if _, err := h.Lift(t.Context(), "10.1.0.0", "unix:1", "x"); err != nil {
		t.Fatal(err)
	}
	h.contain(User, "alice")
	if _, err := h.Lift(t.Context(), "01", "unix:1", "x"); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("a beginning that all have: %v", err)
	}
}

func TestOtherPeopleAndNetworksHoldFromTheNextMessageOn(t *testing.T) {
	h := newHouse(t, "")
	h.contain(User, "alice")
	if len(h.under("asmith")) != 0 {
		t.Fatal("contained already")
	}
	if err := h.SetSite(siteWith(t, "address;mailbox\nalice@example.org a.smith@example.org;\na.smith@sub.example;asmith\n")); err != nil {
		t.Fatal(err)
	}
	if len(h.under("a.smith")) != 1 || len(h.under("asmith")) != 0 {
		t.Errorf("%q %q", h.under("a.smith"), h.under("asmith"))
	}
}

func TestOfManyOfOneNameSomeAreNamed(t *testing.T) {
	text := "address;mailbox\n"
	for i := range 40 {
		text += fmt.Sprintf("info@c%02d.sub.example info+x@c%02d.sub.example;c%d\n", i, i, i)
	}
	h := newHouse(t, text)
	_, err := h.Contain(t.Context(), h.request(User, "info"))
	if err == nil || !strings.Contains(err.Error(), "info@c04.sub.example, and 35 more;") {
		t.Errorf("%v", err)
	}
}
