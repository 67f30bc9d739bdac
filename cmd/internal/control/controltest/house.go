// Package controltest builds what the control socket serves, for tests: real
// stores in folders of their own, a filter that fills them, an SMTP listener that
// takes what is released, and the server on a unix socket.
package controltest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
	"github.com/weirmail/weir/filter"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/message/spool"
	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/contain"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/hits"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/intel/store"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/blob"
	"github.com/weirmail/weir/quarantine/delivery"
	"github.com/weirmail/weir/quarantine/incident"
	"github.com/weirmail/weir/quarantine/notify"
	"github.com/weirmail/weir/quarantine/reinject"
	"github.com/weirmail/weir/quarantine/unblock"
)

// House is a daemon's insides without the daemon.
type House struct {
	Dir    string // of everything below
	Socket string // of the server
	Sink   *smtptest.Sink
	Server *control.Server

	Identity   *ident.Identity
	Ledger     *ledger.Ledger
	Journal    *journal.Journal
	Store      *store.Store
	Judge      *filter.Judge
	Quarantine *quarantine.Quarantine
	Filter     *filter.Filter
	Hits       *hits.Counter
	Requests   *unblock.Desk
	Notices    *notify.Outbox
	Desk       *incident.Desk
	Contained  *contain.Book

	t        testing.TB
	matcher  *match.Matcher
	received atomic.Int64 // messages

	mu     sync.Mutex
	limits control.Limits
	closed bool // as if the stores were not open
	backup func(ctx context.Context, w io.Writer) error
	report store.ListReport
	loaded time.Time
}

// New builds a house and serves it. With no lists nothing is known; WriteList and
// Reload change that.
func New(t testing.TB, access control.Access) *House {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir") // short: a socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &House{Dir: dir, Socket: filepath.Join(dir, "c.sock"), t: t}
	h.must(os.Chmod(dir, 0o755)) // others may connect
	h.folder("lists/block")
	h.limits.ListsDir = h.path("lists")
	h.open()
	h.serve(access)
	return h
}

func (h *House) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *House) path(name string) string { return filepath.Join(h.Dir, name) }

func (h *House) folder(name string) string {
	h.must(os.MkdirAll(h.path(name), 0o755))
	return h.path(name)
}

func (h *House) open() {
	fsys := disk.System{}
	var err error
	h.Identity, err = ident.Open(ident.Options{FS: fsys, Dir: h.Dir})
	h.must(err)
	views, err := kv.Open(kv.Options{Name: "views", InMemory: true})
	h.must(err)
	h.t.Cleanup(func() { _ = views.Close() })
	view, err := quarantine.NewView(views)
	h.must(err)
	cases, err := incident.NewView(views)
	h.must(err)
	containing := contain.NewView(views)
	asked, owed := unblock.NewView(views), notify.NewView(views)
	h.Ledger, err = ledger.Open(ledger.Options{FS: fsys, Dir: h.path("ledger"), Index: views, Node: h.Identity.Node(), Key: h.Identity.Key("ledger"),
		NewID: h.Identity.NewID, Views: []ledger.View{view, cases, containing, asked, owed}})
	h.must(err)
	h.Requests, err = unblock.New(unblock.Options{Ledger: h.Ledger, View: asked, NewID: h.Identity.NewID})
	h.must(err)
	h.t.Cleanup(func() { _ = h.Ledger.Close() })

	h.Journal, err = journal.Open(journal.Options{FS: fsys, Dir: h.path("journal"), GroupDelay: time.Millisecond, IndexMinFree: -1})
	h.must(err)
	h.t.Cleanup(func() { _ = h.Journal.Close() })
	h.background(func(ctx context.Context) { _ = h.Journal.Run(ctx) })

	indicators, err := kv.Open(kv.Options{Name: "intel", InMemory: true, Schema: store.Schema})
	h.must(err)
	h.t.Cleanup(func() { _ = indicators.Close() })
	h.matcher = match.NewMatcher()
	h.Store, err = store.Open(store.Options{DB: indicators, Matcher: h.matcher, Rest: -1})
	h.must(err)
	h.t.Cleanup(h.Store.Close)

	h.Contained, err = contain.Open(contain.Options{Ledger: h.Ledger, View: containing, Identity: h.Identity, Site: contain.Site{
		LocalDomains: site().LocalDomains, IsLocal: func(domain string) bool { s := site(); return s.IsLocal(domain) }, Internal: site().InternalNetworks,
	}})
	h.must(err)
	h.Hits, err = hits.Open(hits.Options{FS: fsys, Dir: h.path("hits")})
	h.must(err)
	h.t.Cleanup(func() { _ = h.Hits.Close() })
	h.build(view, owed)
	h.background(h.Notices.Run)
	h.Desk, err = incident.New(incident.Options{
		Ledger: h.Ledger, View: cases, Journal: h.Journal, Tracker: tracker{}, Items: h.Quarantine, Identity: h.Identity,
		Settings: incident.Settings{CapIncident: CapIncident, Mailbox: func(address string) (string, bool) { return address, !strings.HasSuffix(address, "@elsewhere.example") }},
	})
	h.must(err)
	h.background(func(ctx context.Context) { _ = h.Desk.Run(ctx) })
}

// CapIncident is how many deliveries of an incident somebody may approve who has
// opened it.
const CapIncident = 5

// tracker knows that every copy went to the mailbox whose login is the address,
// but for those at elsewhere.example, which left.
type tracker struct{}

// Of implements incident.Tracker.
func (tracker) Of(_ context.Context, e *journal.Entry) (all []delivery.Delivery, _ error) {
	for _, to := range e.To {
		d := delivery.Delivery{Recipient: to, Address: to, Status: delivery.Mailbox, Mailbox: to, Folder: "INBOX", QueueID: e.QueueID, Time: e.Time, Known: delivery.BySession}
		if strings.HasSuffix(to, "@elsewhere.example") {
			d.Status, d.Mailbox, d.Folder, d.Relay, d.Known = delivery.Relayed, "", "", "mx.elsewhere.example", delivery.ByQueueID
		}
		all = append(all, d)
	}
	return all, nil
}

// Taken implements incident.Tracker.
func (tracker) Taken(string, time.Time) (time.Time, error) { return time.Time{}, nil }

// Await implements incident.Tracker: there are no news.
func (tracker) Await(*journal.Entry, func()) (stop func()) { return func() {} }

// site is whose mail the house handles.
func site() filter.Site {
	return filter.Site{LocalDomains: []string{"example.org"}, InternalNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
}

func (h *House) build(view *quarantine.View, owed *notify.View) {
	blobs, err := blob.OpenFolder(blob.Options{FS: disk.System{}, Dir: h.path("blobs")})
	h.must(err)
	h.t.Cleanup(func() { _ = blobs.Close() })
	rules, err := policy.Parse(policy.DefaultName, policy.Default(), policy.Options{})
	h.must(err)
	h.Judge, err = filter.NewJudge(h.matcher, filter.Rules{Policy: rules, Site: site(), Contained: h.Contained}, nil)
	h.must(err)
	parser, err := message.NewParser(message.Limits{})
	h.must(err)
	room, err := spool.New(spool.Options{Dir: h.folder("spool")})
	h.must(err)
	h.Sink, err = smtptest.NewSink(smtptest.SinkOptions{})
	h.must(err)
	h.t.Cleanup(func() { _ = h.Sink.Close() })
	sender, err := reinject.New(reinject.Options{Network: "tcp", Address: h.Sink.Addr(), Timeout: 10 * time.Second})
	h.must(err)
	h.Quarantine, err = quarantine.New(quarantine.Options{
		Ledger: h.Ledger, View: view, Blobs: blobs, Judge: h.Judge, Journal: h.Journal, Identity: h.Identity,
		Scratch:  func() quarantine.ScratchSpace { return room.Spool() },
		Settings: quarantine.Settings{Parser: parser, HoldTime: time.Minute, Senders: quarantine.Senders{Inbound: sender, Outbound: sender}},
	})
	h.must(err)
	h.Notices, err = notify.New(notify.Options{Ledger: h.Ledger, View: owed, Now: h.Identity.Now, Settings: notify.Settings{
		From: "weir@example.org", IsLocal: func(domain string) bool { return domain == "example.org" }, Inbound: sender, Outbound: sender,
	}})
	h.must(err)
	h.Filter, err = filter.New(filter.Options{
		Hits: h.Hits, Judge: h.Judge, Scratch: room, Journal: h.Journal, Quarantine: h.Quarantine, Identity: h.Identity,
		Settings: filter.Settings{Parser: parser, OnError: intel.ActionTempfail, Oversize: intel.ActionReject},
	})
	h.must(err)
}

func (h *House) serve(access control.Access) {
	var err error
	h.Server, err = control.New(control.Options{
		Stores: h.stores, Access: access,
		Limits: func() control.Limits {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.limits
		},
		Status: func() api.Status {
			return api.Status{Version: "test", Node: h.Identity.Node(), State: "ready", Mode: "enforce", Now: time.Now().UTC(), Started: time.Now().UTC(), Policy: policy.DefaultName}
		},
		Reload: func(context.Context, string) (control.Reloaded, error) {
			h.Reload()
			return control.Reloaded{Applied: []string{"log.level"}, Lists: h.report}, nil
		},
		Lists: func() (store.ListReport, time.Time) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.report, h.loaded
		},
		Config: func() string { return "[policy]\nmode = \"enforce\"\n" },
		Verify: func(_ context.Context, head *ledger.Head) (ledger.Report, error) {
			r, err := ledger.OpenReader(disk.System{}, h.path("ledger"), nil)
			if err != nil {
				return ledger.Report{}, err
			}
			return r.Verify(h.Identity.Key("ledger"), head)
		},
		Backup: func(ctx context.Context, w io.Writer) error {
			h.mu.Lock()
			backup := h.backup
			h.mu.Unlock()
			return backup(ctx, w)
		},
	})
	h.must(err)
	ln, err := net.Listen("unix", h.Socket)
	h.must(err)
	h.must(os.Chmod(h.Socket, 0o666))
	done := make(chan error, 1)
	go func() { done <- h.Server.Serve(ln) }()
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := h.Server.Shutdown(ctx); err != nil {
			h.t.Error(err)
		}
		if err := <-done; err != http.ErrServerClosed {
			h.t.Error(err)
		}
	})
}

func (h *House) stores() *control.Stores {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	return &control.Stores{Quarantine: h.Quarantine, Ledger: h.Ledger, Journal: h.Journal, Lists: h.Store, Matcher: h.matcher, Judge: h.Judge, Identity: h.Identity, Incidents: h.Desk, Deliveries: tracker{}, Contained: h.Contained, Hits: h.Hits, Requests: h.Requests, Notices: h.Notices}
}

// SetLimits makes other limits hold; those that are zero are the server's own, but
// lists stay where they are.
func (h *House) SetLimits(l control.Limits) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l.ListsDir = h.path("lists")
	h.limits = l
}

// SetBackup says what the operation writes from now on; an error ends it.
func (h *House) SetBackup(backup func(ctx context.Context, w io.Writer) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.backup = backup
}

// CloseStores makes it seem as if the stores were not open.
func (h *House) CloseStores() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
}

func (h *House) background(f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	h.t.Cleanup(func() { cancel(); <-done })
}

// WriteList writes a list file, "block/local.txt", and has all lists read again.
func (h *House) WriteList(name, content string) {
	h.t.Helper()
	path := h.path("lists/" + name)
	h.folder(filepath.Dir("lists/" + name))
	h.must(os.WriteFile(path, []byte(content), 0o644))
	h.Reload()
}

// Reload has the list files read again.
func (h *House) Reload() {
	h.t.Helper()
	report, err := h.Store.LoadLists(context.Background(), h.path("lists"), list.Options{})
	if err != nil {
		h.t.Error(err) // the server may be asking
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.report, h.loaded = report, time.Now()
}

// Receive hands a message to the filter as a milter would, and gives what became
// of it: the action, and the reference under which item and journal know it.
func (h *House) Receive(content, from string, to ...string) (action, ref string) {
	h.t.Helper()
	return h.ReceiveFrom("198.51.100.7", "", content, from, to...)
}

// ReceiveFrom is Receive from a client with this address and login; empty: none.
func (h *House) ReceiveFrom(client, login, content, from string, to ...string) (action, ref string) {
	h.t.Helper()
	env := &message.Envelope{
		QueueID: fmt.Sprintf("4XyzQ%05d", h.received.Add(1)), Helo: "mail.sender.example", Time: time.Now(), AuthUser: login,
		From:   message.Path{Raw: "<" + from + ">"},
		Client: message.Client{Addr: netip.MustParseAddr(client), Name: "mail.sender.example"},
	}
	for _, r := range to {
		env.To = append(env.To, message.Path{Raw: "<" + r + ">"})
	}
	raw := []byte(strings.ReplaceAll(strings.ReplaceAll(content, "\r\n", "\n"), "\n", "\r\n"))
	answer := h.Filter.Handle(context.Background(), &milter.Mail{Envelope: env, Raw: raw, Size: int64(len(raw))})
	last, err := h.Ledger.Last()
	h.must(err)
	h.must(h.Ledger.Wait(context.Background(), last))
	return answer.Action.String(), answer.ID
}
