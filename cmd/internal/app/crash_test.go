package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/backup"
	"github.com/weirmail/weir/filter"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/message/spool"
	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/crashtest"
	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/blob"
)

// path is the whole way of a message, from the filter's door to the disk, and
// what clients were told on it.
type path struct {
	t    testing.TB
	pool *spool.Pool

	mu       sync.Mutex
	n        int
	accepted map[string]bool   // by Message-ID: a client was told that it goes on
	held     map[string]string // content by queue ID: a client was told that it was taken, and the MTA to drop it
	key      string            // an X-Weir-ID that was given out
}

const pathPolicy = "[[rule]]\nname = 'some'\nwhen = 'subject.startsWith(\"some\") && rcpt.local == \"held\"'\naction = 'hold'\n[[rule]]\nname = 'all'\nwhen = 'subject == \"all\"'\naction = 'hold'\n"

// open puts the way together over a disk. Databases are in memory: they can be
// made anew, and their own crash safety is tested where they live.
func (p *path) open(d *faulty.Disk) (*filter.Filter, *house, error) {
	h := &house{}
	f, err := p.furnish(d, h)
	if err != nil {
		h.close()
	}
	return f, h, err
}

func (p *path) furnish(d *faulty.Disk, h *house) (f *filter.Filter, err error) {
	log := nopLogger()
	if h.identity, err = ident.Open(ident.Options{FS: d, Dir: "/state"}); err != nil {
		return nil, err
	}
	db, err := kv.Open(kv.Options{Name: "views", InMemory: true})
	if err != nil {
		return nil, err
	}
	h.onClose(log, "views", db.Close)
	if h.view, err = quarantine.NewView(db); err != nil {
		return nil, err
	}
	h.ledger, err = ledger.Open(ledger.Options{FS: d, Dir: "/state/ledger", Index: db, Node: h.identity.Node(), Key: h.identity.Key(backup.LedgerKey),
		NewID: h.identity.NewID, Views: []ledger.View{h.view}, SegmentBytes: 4000})
	if err != nil {
		return nil, err
	}
	h.onClose(log, "ledger", h.ledger.Close)
	if h.journal, err = journal.Open(journal.Options{FS: d, Dir: "/state/journal", IndexInMemory: true}); err != nil {
		return nil, err
	}
	h.onClose(log, "journal", h.journal.Close)
	if h.blobs, err = blob.OpenFolder(blob.Options{FS: d, Dir: "/state/blobs"}); err != nil {
		return nil, err
	}
	h.onClose(log, "blobs", h.blobs.Close)
	pol, err := policy.Parse("policy.toml", []byte(pathPolicy), policy.Options{})
	if err != nil {
		return nil, err
	}
	parser, err := message.NewParser(message.Limits{})
	if err != nil {
		return nil, err
	}
	if h.judge, err = filter.NewJudge(match.NewMatcher(), filter.Rules{Policy: pol}, nil); err != nil {
		return nil, err
	}
	h.quarantine, err = quarantine.New(quarantine.Options{Ledger: h.ledger, View: h.view, Blobs: h.blobs, Judge: h.judge, Journal: h.journal, Identity: h.identity,
		Scratch: func() quarantine.ScratchSpace { return p.pool.Spool() }, Settings: quarantine.Settings{Parser: parser, HoldTime: time.Minute}})
	if err != nil {
		return nil, err
	}
	return filter.New(filter.Options{Judge: h.judge, Scratch: p.pool, Journal: h.journal, Quarantine: h.quarantine, Identity: h.identity,
		Settings: filter.Settings{Parser: parser, OnError: intel.ActionTempfail, Oversize: intel.ActionReject}})
}

// send is one client's message; what it is told is remembered.
func (p *path) send(f *filter.Filter, subject string) {
	p.mu.Lock()
	p.n++
	id := fmt.Sprintf("m%d@sender.test", p.n)
	p.mu.Unlock()
	content := fmt.Sprintf("From: s@sender.test\r\nSubject: %s\r\nMessage-ID: <%s>\r\n\r\nbody of %s\r\n", subject, id, id)
	env := &message.Envelope{QueueID: id, From: message.Path{Raw: "<s@sender.test>"}, To: []message.Path{{Raw: "<free@example.org>"}, {Raw: "<held@example.org>"}}, Time: time.Now()}
	env.Client.Addr = netip.MustParseAddr("203.0.113.9")
	a := f.Handle(context.Background(), &milter.Mail{Envelope: env, Raw: []byte(content), Size: int64(len(content))})
	p.mu.Lock()
	defer p.mu.Unlock()
	switch a.Action {
	case intel.ActionAccept:
		p.accepted[id] = true
		if len(a.Remove) > 0 {
			p.held[id] = content
		}
		p.key = a.Edits[len(a.Edits)-1].Value
	case intel.ActionDiscard:
		p.held[id] = content
	}
}

// Run implements crashtest.Workload.
func (p *path) Run(d *faulty.Disk) error {
	f, h, err := p.open(d)
	if err != nil {
		return err
	}
	defer h.close()
	for _, subject := range []string{"none", "all", "some", "all", "none"} {
		p.send(f, subject)
	}
	var group sync.WaitGroup
	for _, subject := range []string{"all", "none", "some"} {
		group.Go(func() { p.send(f, subject) })
	}
	group.Wait()
	return nil
}

// Check implements crashtest.Workload: whatever a client saw accepted is held,
// or remembered as delivered.
func (p *path) Check(d *faulty.Disk) error {
	_, h, err := p.open(d)
	if err != nil {
		return err
	}
	defer h.close()
	journalled := map[string]bool{}
	for r, err := range h.journal.Read(0) {
		if err != nil {
			return err
		}
		journalled[r.Entry.MessageID] = true
	}
	for id := range p.accepted {
		if !journalled[id] {
			return fmt.Errorf("message %s was let through and is not remembered", id)
		}
	}
	if p.key != "" {
		if _, _, ok := h.identity.Verify(p.key); !ok {
			return errors.New("an X-Weir-ID that was given out does not verify any more")
		}
	}
	return p.checkHeld(h)
}

func (p *path) checkHeld(h *house) error {
	last, err := h.ledger.Last()
	if err != nil {
		return err
	}
	if err := h.ledger.Wait(context.Background(), last); err != nil {
		return err
	}
	page, err := h.quarantine.List(context.Background(), quarantine.Query{State: quarantine.AnyState, Limit: quarantine.MaxLimit})
	if err != nil {
		return err
	}
	items := map[string]*quarantine.Item{}
	for _, i := range page.Items {
		items[i.Facts.QueueID] = i
	}
	for id, content := range p.held {
		item := items[id]
		if item == nil {
			return fmt.Errorf("message %s was taken from the MTA and is not held", id)
		}
		c, err := h.blobs.Open(context.Background(), item.Facts.Blob)
		if err != nil {
			return fmt.Errorf("message %s: %w", id, err)
		}
		got, err := io.ReadAll(c)
		_ = c.Close()
		if err != nil || string(got) != content {
			return fmt.Errorf("message %s came back as %q, %w", id, got, err)
		}
	}
	return nil
}

// TestWhatAClientSawAcceptedSurvivesAPowerCut runs the whole path over a disk
// that forgets what was not synced. Then it leaves out one sync after the other,
// and has to find a loss each time: those that are listed as elsewhere are
// needed too, but here another sync of the same folder covers them, or nothing
// rolls back, drops or rewrites; the suites of their packages show them.
func TestWhatAClientSawAcceptedSurvivesAPowerCut(t *testing.T) {
	pool, err := spool.New(spool.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	suite := crashtest.Suite{Every: 4, Tears: 2, Trials: 25, New: func() crashtest.Workload {
		return &path{t: t, pool: pool, accepted: map[string]bool{}, held: map[string]string{}}
	}}
	seen, err := suite.Loss("")
	if err != nil {
		t.Fatalf("lost with every sync in place: %v", err)
	}
	if testing.Short() {
		return
	}
	elsewhere := []disk.Site{"blob.delete", "wal.rollback", "wal.drop", "wal.rewrite", "wal.rewrite-folder", "wal.open", "wal.folder"}
	for _, source := range []string{"../../../quarantine/blob", "../../../intel/wal"} {
		sites, err := crashtest.DeclaredSites(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, site := range sites {
			if slices.Contains(elsewhere, site) {
				continue
			}
			t.Run(fmt.Sprintf("leaving out %s is noticed", site), func(t *testing.T) {
				t.Parallel()
				if seen[site] == 0 {
					t.Fatalf("the path never came to the sync %q", site)
				}
				if _, err := suite.Loss(site); err == nil {
					t.Errorf("leaving out the sync %q lost nothing", site)
				} else {
					t.Logf("noticed: %v", err)
				}
			})
		}
	}
}
