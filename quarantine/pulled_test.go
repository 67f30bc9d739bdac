package quarantine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	"github.com/weirmail/weir/quarantine/blob"
	"github.com/weirmail/weir/quarantine/mailbox"
)

const (
	incidentID = "01KB0000000000000000000001"
	deliveryID = "01KB0000000000000000000002"
	entryID    = "01KB0000000000000000000003"
)

func aCopy() mailbox.Copy {
	return mailbox.Copy{
		Folder: "Projekte/Übersicht", Role: mailbox.RoleJunk, ID: "17/4", MessageID: "m1@evil.example", WeirID: entryID + ".abc",
		Size: int64(len(text)), Date: time.Date(2026, 4, 30, 9, 8, 7, 0, time.UTC),
		Flags: []mailbox.Flag{mailbox.FlagFlagged, mailbox.FlagSeen}, Keywords: []string{"$Forwarded", "$label1"}, By: mailbox.ByWeirID,
	}
}

func aPull() Pulled {
	return Pulled{
		Incident: incidentID, Delivery: deliveryID, Ref: entryID, Sender: "pay@evil.example", Mailbox: "alice", Address: "alice@example.org",
		Copy: aCopy(), Raw: []byte(text), Actor: "pull:unix:990", Reason: "list:block/urls.txt:3",
	}
}

func (h *house) keep(p Pulled) *Item {
	h.t.Helper()
	id, _, err := h.Keep(context.Background(), p)
	if err != nil {
		h.t.Fatal(err)
	}
	h.settle()
	return h.item(id)
}

func (h *house) bytesOf(id string) string {
	h.t.Helper()
	_, content, err := h.Message(context.Background(), id, "unix:1000", "restore")
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = content.Close() }()
	raw, err := io.ReadAll(content)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(raw)
}

func TestAPulledCopyKeepsAllThatPutsItBack(t *testing.T) {
	h := newHouse(t)
	item := h.keep(aPull())
	if item.Kind() != KindPulled || item.State() != Held || len(item.Recipients) != 1 || item.Recipients[0].Address != "alice@example.org" {
		t.Fatalf("%+v", item)
	}
	want := &Origin{Incident: incidentID, Delivery: deliveryID, Mailbox: "alice", Copy: aCopy(), Reason: "list:block/urls.txt:3"}
	if !reflect.DeepEqual(item.Pulled, want) {
		t.Errorf("%+v", item.Pulled)
	}
	f := item.Facts
	if f.Subject != "Your invoice is due" || f.MessageID != "m1@evil.example" || f.Ref != entryID || f.Sender != "pay@evil.example" ||
		!f.Received.Equal(aCopy().Date) || f.Size != int64(len(text)) || len(f.Hashes) == 0 {
		t.Errorf("%+v", f)
	}
	h.reopen()
	if got := h.bytesOf(item.ID); got != text {
		t.Errorf("bytes %q", got)
	}
	if h.item(item.ID).Pulled.Copy.Keywords[1] != "$label1" {
		t.Error("a restart loses keywords")
	}
}

func TestTheSameCopyIsKeptOnce(t *testing.T) {
	h := newHouse(t)
	first := h.keep(aPull())
	if again := h.keep(aPull()); again.ID != first.ID {
		t.Errorf("%s and %s", first.ID, again.ID)
	}
	for name, other := range map[string]func(*Pulled){
		"delivery": func(p *Pulled) { p.Delivery = "01KB0000000000000000000009" },
		"folder":   func(p *Pulled) { p.Copy.Folder = "INBOX" },
		"copy":     func(p *Pulled) { p.Copy.ID = "17/5" },
		"bytes":    func(p *Pulled) { p.Raw = []byte(text + "-- \r\nfooter\r\n") },
	} {
		p := aPull()
		other(&p)
		if h.keep(p).ID == first.ID {
			t.Errorf("another %s is the same item", name)
		}
	}
	// Many at once, as after an answer that was lost.
	var all sync.Map
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			p := aPull()
			p.Copy.ID = "17/99"
			id, _, err := h.Keep(context.Background(), p)
			if err != nil {
				t.Error(err)
				return
			}
			all.Store(id, true)
		})
	}
	wg.Wait()
	n := 0
	all.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d items of one copy", n)
	}
}

func TestACopyThatIsPulledAgainAfterItWentBackIsAnotherItem(t *testing.T) {
	h := newHouse(t)
	first := h.keep(aPull())
	if _, err := h.Return(context.Background(), first.ID, "unix:1000", "", false); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Returned(context.Background(), first.ID, "pull:unix:990", true, "INBOX"); err != nil {
		t.Fatal(err)
	}
	second := h.keep(aPull())
	if second.ID == first.ID || second.State() != Held {
		t.Fatalf("%s is %s", second.ID, second.State())
	}
	if again := h.keep(aPull()); again.ID != second.ID {
		t.Errorf("a third item %s", again.ID)
	}
	if _, err := h.Delete(context.Background(), second.ID, "unix:1000", "for good"); err != nil {
		t.Fatal(err)
	}
	third := h.keep(aPull())
	if third.State() != Held || h.bytesOf(third.ID) != text {
		t.Errorf("%s after the second was deleted", third.State())
	}
}

func TestAPulledItemIsNotReleased(t *testing.T) {
	h := newHouse(t)
	item := h.keep(aPull())
	if _, err := h.release(Release{ID: item.ID, Override: true, Again: true, Reason: "please"}); !errors.Is(err, ErrPulled) {
		t.Errorf("got %v", err)
	}
	if len(h.send.sent) != 0 || h.item(item.ID).State() != Held {
		t.Error("it was handed to the MTA")
	}
	held := h.hold(text, "<s@x.example>", "a@example.org")
	if _, err := h.Return(context.Background(), held.ID, "unix:1000", "", false); !errors.Is(err, ErrNotPulled) {
		t.Errorf("a held one goes to a mailbox: %v", err)
	}
	if _, err := h.Returned(context.Background(), held.ID, "unix:1000", true, ""); !errors.Is(err, ErrNotPulled) || h.item(held.ID).State() != Held {
		t.Errorf("a held one was in a mailbox: %v", err)
	}
}

// strictJudge keeps what it was asked.
type strictJudge struct {
	judge
	env *message.Envelope
}

func (j *strictJudge) Judge(env *message.Envelope, m *message.Message) (*evidence.Evidence, *verdict.Verdict, error) {
	j.env = env
	return j.judge.Judge(env, m)
}

func TestTodaysRulesAreAskedBeforeAReturn(t *testing.T) {
	h := newHouse(t)
	asked := &strictJudge{judge: judge{intel.ActionHold}}
	h.o.Judge = asked
	h.notes.entries = []*journal.Entry{{ID: entryID + "X", From: "else@x.example"}, {ID: entryID, From: "bounce@evil.example", Client: netip.MustParseAddr("192.0.2.7"), Helo: "mx.evil.example"}}
	item := h.keep(aPull())
	var blocked *BlockedError
	if _, err := h.Return(context.Background(), item.ID, "unix:1000", "a user asked", false); !errors.As(err, &blocked) || h.item(item.ID).State() != Held {
		t.Fatalf("got %v", err)
	}
	if asked.env.From.Address() != "bounce@evil.example" || asked.env.Client.Addr.String() != "192.0.2.7" || asked.env.Helo != "mx.evil.example" || asked.env.To[0].Address() != "alice@example.org" {
		t.Errorf("judged as %+v", asked.env)
	}
	h.notes.entries = nil // dropped for its age
	if _, err := h.Return(context.Background(), item.ID, "unix:1000", "a user asked", false); !errors.As(err, &blocked) || asked.env.From.Address() != "pay@evil.example" {
		t.Errorf("got %v, judged as %+v", err, asked.env)
	}
	if _, err := h.Return(context.Background(), item.ID, "unix:1000", " ", true); !errors.Is(err, ErrReason) {
		t.Errorf("an override without a reason: %v", err)
	}
	returned, err := h.Return(context.Background(), item.ID, "unix:1000", "case 7", true)
	if err != nil || returned.State() != Releasing {
		t.Errorf("%v %v", returned.State(), err)
	}
}

func TestAReturnHappensOnceAndAnotherTryIsPossible(t *testing.T) {
	h := newHouse(t)
	item := h.keep(aPull())
	ctx := context.Background()
	var begun atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if i, err := h.Return(ctx, item.ID, "unix:1000", "", false); err != nil || i.State() != Releasing {
				t.Errorf("%v %v", i.State(), err)
			} else {
				begun.Add(int32(i.Releases))
			}
		})
	}
	wg.Wait()
	if begun.Load() != 4 { // each saw the first
		t.Errorf("begun %d times in all", begun.Load())
	}
	if _, err := h.Delete(ctx, item.ID, "unix:1000", "gone"); !errors.Is(err, ErrBusy) {
		t.Errorf("deleted on its way: %v", err)
	}
	h.reopen() // the sidecar still has the job
	if h.item(item.ID).State() != Releasing {
		t.Error("a restart ends the return")
	}
	if n, err := h.Doubt(ctx, "unix:0", "restored from a backup"); n != 0 || err != nil {
		t.Errorf("doubted %d, %v", n, err)
	}
	if i, err := h.Returned(ctx, item.ID, "pull:unix:990", false, "the mailbox is full"); err != nil || i.State() != Held || i.Recipients[0].Detail != "the mailbox is full" {
		t.Errorf("%+v %v", i, err)
	}
	if i, err := h.Returned(ctx, item.ID, "pull:unix:990", true, "late"); err != nil || i.State() != Held {
		t.Errorf("what was not on its way has come back: %v %v", i.State(), err)
	}
	if _, err := h.Return(ctx, item.ID, "unix:1000", "", false); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if i, err := h.Returned(ctx, item.ID, "pull:unix:990", true, "INBOX"); err != nil || i.State() != Released || i.Attempt != "" || i.Version != 5 {
			t.Errorf("%+v %v", i, err)
		}
	}
	if i, err := h.Return(ctx, item.ID, "unix:1000", "", false); err != nil || i.State() != Released {
		t.Errorf("%v %v", i.State(), err)
	}
	if _, err := h.Delete(ctx, item.ID, "unix:1000", "done"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Return(ctx, item.ID, "unix:1000", "", false); !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
	if _, err := h.Return(ctx, "01KB00000000000000000000ZZ", "unix:1000", "", false); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestACopyIsNotKeptWhenItCannotBe(t *testing.T) {
	h := newHouse(t)
	for name, mistake := range map[string]func(*Pulled){
		"no incident": func(p *Pulled) { p.Incident = "" }, "no delivery": func(p *Pulled) { p.Delivery = "" }, "no ref": func(p *Pulled) { p.Ref = "" },
		"no mailbox": func(p *Pulled) { p.Mailbox = "" }, "no address": func(p *Pulled) { p.Address = "" }, "no folder": func(p *Pulled) { p.Copy.Folder = "" },
		"no name": func(p *Pulled) { p.Copy.ID = "" }, "no bytes": func(p *Pulled) { p.Raw = nil }, "no actor": func(p *Pulled) { p.Actor = "" },
	} {
		p := aPull()
		mistake(&p)
		if _, _, err := h.Keep(context.Background(), p); err == nil {
			t.Errorf("%s: kept", name)
		}
	}
	for _, op := range []string{"blob", "ledger"} {
		h.disk.Inject(func(o faulty.Op) error {
			if o.Kind == faulty.Write && strings.Contains(o.Name, op) {
				return disk.ErrNoSpace
			}
			return nil
		})
		if _, _, err := h.Keep(context.Background(), aPull()); !errors.Is(err, disk.ErrNoSpace) {
			t.Errorf("with no room for the %s: %v", op, err)
		}
		h.disk.Inject(nil)
	}
	page, err := h.List(context.Background(), Query{State: AnyState})
	if err != nil || len(page.Items) != 0 {
		t.Errorf("%d items, %v", len(page.Items), err)
	}
}

func TestNamesOfAnySizeAndBytesOfAnyValueFitIntoAPulledItem(t *testing.T) {
	h := newHouse(t)
	p := aPull()
	p.Copy.MessageID = strings.Repeat("\xff", 250<<10)
	p.Copy.WeirID = strings.Repeat("x", 250<<10)
	p.Sender, p.Address, p.Reason = "caf\xe9@x.example", "caf\xe9@example.org", strings.Repeat("é", 4<<10)
	p.Raw = []byte("Subject: " + strings.Repeat("\x00\xff ", 100<<10) + "\r\n\r\n")
	item := h.keep(p)
	if item.Recipients[0].Raw != "<caf\xe9@example.org>" || item.Facts.From != "<caf\xe9@x.example>" || len(item.Pulled.Copy.WeirID) > maxText || len(item.Pulled.Reason) > ledger.MaxReason {
		t.Errorf("%.2000q", fmt.Sprint(item))
	}
	if h.bytesOf(item.ID) != string(p.Raw) {
		t.Error("other bytes")
	}
}

func TestPulledItemsAreFoundByWhereTheyComeFrom(t *testing.T) {
	h := newHouse(t)
	held := h.hold(text, "<s@x.example>", "a@example.org")
	one := h.keep(aPull())
	p := aPull()
	p.Incident, p.Mailbox, p.Address, p.Copy.ID = "01KC0000000000000000000001", "bob", "bob@example.org", "17/6"
	two := h.keep(p)
	for name, tt := range map[string]struct {
		q    Query
		want []*Item
	}{
		"all":       {Query{}, []*Item{two, one, held}},
		"held":      {Query{Kind: KindHeld}, []*Item{held}},
		"pulled":    {Query{Kind: KindPulled}, []*Item{two, one}},
		"incident":  {Query{Incident: incidentID}, []*Item{one}},
		"beginning": {Query{Incident: "01kc"}, []*Item{two}},
		"mailbox":   {Query{Mailbox: "Bob"}, []*Item{two}},
		"recipient": {Query{Recipient: "bob@example.org"}, []*Item{two}},
		"sender":    {Query{Sender: "evil.example", Kind: KindPulled, Subject: "invoice due"}, []*Item{two, one}},
	} {
		page, err := h.List(context.Background(), tt.q)
		var got, want []string
		for _, i := range page.Items {
			got = append(got, i.ID)
		}
		for _, i := range tt.want {
			want = append(want, i.ID)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
}

func TestAPulledItemExpiresAndIsShownAsAnyOther(t *testing.T) {
	h := newHouse(t)
	s := h.current()
	s.Retention = 24 * time.Hour
	if err := h.SetSettings(s); err != nil {
		t.Fatal(err)
	}
	item := h.keep(aPull())
	p := aPull()
	p.Copy.ID = "17/7"
	away := h.keep(p)
	if _, err := h.Return(context.Background(), away.ID, "unix:1000", "", false); err != nil {
		t.Fatal(err)
	}
	if _, preview, err := h.Preview(context.Background(), item.ID, "unix:1000"); err != nil || !strings.Contains(preview.Text, "hello") {
		t.Errorf("%+v %v", preview, err)
	}
	h.pass(48 * time.Hour)
	if err := h.Tidy(context.Background(), h.ledger.Last); err != nil {
		t.Fatal(err)
	}
	if got := h.item(item.ID).State(); got != Expired {
		t.Errorf("it is %s", got)
	}
	// The same bytes are needed by the one that is on its way back.
	if got := h.item(away.ID).State(); got != Releasing || h.bytesOf(away.ID) != text {
		t.Errorf("the one on its way is %s", got)
	}
}

func TestAnErasedPulledItemLeavesTheListingWhole(t *testing.T) {
	h := newHouse(t)
	item := h.keep(aPull())
	if _, err := h.Return(context.Background(), item.ID, "unix:1000", "", false); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ledger.Erase(t.Context(), ledger.Command{ID: "erase", Entity: entityOf(item.ID), Actor: "unix:0"}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ledger.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	i, err := h.Get(item.ID)
	if err != nil || i.State() != Deleted || !i.Erased || i.Pulled != nil {
		t.Errorf("%+v %v", i, err)
	}
}

// BenchmarkKeep measures what a pull waits for before it may remove a copy, on
// the disk under the temporary folder.
func BenchmarkKeep(b *testing.B) {
	body := strings.Repeat("The quick brown fox jumps over the lazy dog 0123456789.\r\n", 180)
	for _, callers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			q := realQuarantine(b)
			b.ReportAllocs()
			b.ResetTimer()
			var next atomic.Int64
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
						p := aPull()
						p.Copy.ID = fmt.Sprint("17/", n)
						p.Raw = fmt.Appendf(nil, "Subject: %d\r\nMessage-ID: <%d@x.example>\r\n\r\n%s", n, n, body)
						if _, _, err := q.Keep(context.Background(), p); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// realQuarantine is one whose ledger and blobs are on the disk.
func realQuarantine(b *testing.B) *Quarantine {
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	dir, fsys := b.TempDir(), disk.System{}
	db, err := kv.Open(kv.Options{Name: "views", FS: fsys, Dir: dir + "/views"})
	must(err)
	b.Cleanup(func() { _ = db.Close() })
	id, err := ident.Open(ident.Options{FS: fsys, Dir: dir})
	must(err)
	view, err := NewView(db)
	must(err)
	l, err := ledger.Open(ledger.Options{FS: fsys, Dir: dir + "/ledger", Index: db, Node: "test", Key: id.Key("ledger"), NewID: id.NewID, Views: []ledger.View{view}})
	must(err)
	b.Cleanup(func() { _ = l.Close() })
	blobs, err := blob.OpenFolder(blob.Options{FS: fsys, Dir: dir + "/blobs"})
	must(err)
	b.Cleanup(func() { _ = blobs.Close() })
	parser, err := message.NewParser(message.Limits{})
	must(err)
	q, err := New(Options{Ledger: l, View: view, Blobs: blobs, Judge: &judge{}, Journal: &notes{}, Identity: id,
		Scratch: func() ScratchSpace { return heapScratch{} }, Settings: Settings{Parser: parser, HoldTime: holdTime}})
	must(err)
	return q
}
