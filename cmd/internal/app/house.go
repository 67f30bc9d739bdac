package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/cmd/internal/backup"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/filter"
	"github.com/weirmail/weir/intel/contain"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/feed"
	"github.com/weirmail/weir/intel/hits"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/intel/share"
	"github.com/weirmail/weir/intel/store"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/blob"
	"github.com/weirmail/weir/quarantine/delivery"
	"github.com/weirmail/weir/quarantine/hunt"
	"github.com/weirmail/weir/quarantine/incident"
	"github.com/weirmail/weir/quarantine/notify"
	"github.com/weirmail/weir/quarantine/unblock"
)

// house is all that stands on the state folder.
type house struct {
	metrics    *prometheus.Registry
	identity   *ident.Identity
	view       *quarantine.View
	ledger     *ledger.Ledger
	containing *contain.View
	contained  *contain.Book
	journal    *journal.Journal
	blobs      *blob.Folder
	matcher    *match.Matcher
	store      *store.Store
	feeds      *feed.Keeper
	hits       *hits.Counter // nil: they cannot be counted
	judge      *filter.Judge
	filter     *filter.Filter
	quarantine *quarantine.Quarantine
	held       *heldIndex
	deliveries *delivery.Tracker
	incidents  *incident.View
	desk       *incident.Desk
	hunt       *hunt.Hunt
	asked      *unblock.View
	requests   *unblock.Desk
	owed       *notify.View
	notices    *notify.Outbox
	shared     *share.View
	share      *share.Share // nil where nothing is shared

	closers []func()
}

// onClose registers what close undoes; an error on the way is logged.
func (h *house) onClose(log *zap.Logger, what string, f func() error) {
	h.closers = append(h.closers, func() {
		if err := f(); err != nil {
			log.Error("closing failed; what was acknowledged is safe", zap.String("what", what), zap.Error(err))
		}
	})
}

func (h *house) close() {
	for len(h.closers) > 0 {
		last := h.closers[len(h.closers)-1]
		h.closers = h.closers[:len(h.closers)-1]
		last()
	}
}

// Versions of what the databases hold. They are built anew from logs and lists
// when theirs is another one.
const viewsSchema = 6

// retryOpen is how often opening is tried again while the disk is too full.
const retryOpen = 5 * time.Second

// openHouse opens everything under the state folder. While there is too little
// room on the disk it waits: writing could kill the process, and what is there
// is safe.
func (a *App) openHouse(ctx context.Context, r *rules) (*house, error) {
	for {
		h := &house{metrics: prometheus.NewRegistry(), held: newHeldIndex()}
		err := a.furnish(ctx, h, r)
		if err == nil {
			a.health.solved("disk")
			return h, nil
		}
		h.close()
		if !errors.Is(err, disk.ErrNoSpace) {
			return nil, err
		}
		a.health.problem("disk", fmt.Sprintf("the stores cannot be opened: %v", err))
		a.log.Error("the stores cannot be opened for lack of disk space; it is tried again", zap.Error(err), zap.Duration("in", retryOpen))
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(retryOpen):
		}
	}
}

func (a *App) furnish(ctx context.Context, h *house, r *rules) (err error) {
	cfg := a.current()
	if h.identity, err = ident.Open(ident.Options{FS: a.o.FS, Dir: string(cfg.State.Dir)}); err != nil {
		return err
	}
	for _, open := range []func(context.Context, *config.Config, *house) error{a.openLedger, a.openJournal, a.openBlobs, a.openStore, a.openHits} {
		if err := open(ctx, cfg, h); err != nil {
			return err
		}
	}
	if err := a.build(cfg, h, r); err != nil {
		return err
	}
	if _, err := a.loadLists(ctx, h); errors.Is(err, disk.ErrNoSpace) {
		return err
	}
	if err := a.openFeeds(cfg, h); err != nil {
		return err
	}
	if err := h.quarantine.Recover(ctx); err != nil {
		return err
	}
	if err := a.openDeliveries(ctx, cfg, h); err != nil {
		return err
	}
	if err := a.openIncidents(cfg, h, r); err != nil {
		return err
	}
	if err := a.openShare(cfg, h, r); err != nil {
		return err
	}
	return a.afterRestore(ctx, h)
}

// afterRestore takes note of a restore: a new epoch begins, and what is held may
// have been released since the backup was made.
func (a *App) afterRestore(ctx context.Context, h *house) error {
	state := string(a.current().State.Dir)
	m, err := backup.Restored(state)
	if err != nil || m == nil {
		return err
	}
	why := fmt.Sprintf("restored from a backup of %s: it may have been released since", m.Time.Format(time.RFC3339))
	command := ledger.Command{ID: "restored/" + h.identity.NewID(), Entity: "node/" + h.identity.Node(), Actor: "weir:restore", Reason: why}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = h.ledger.Commit(ctx, command, func(ledger.State) ([]ledger.Event, error) {
		return []ledger.Event{{Type: "restored", Schema: 1, Data: data}}, nil
	})
	if err != nil {
		return err
	}
	n, err := h.quarantine.Doubt(ctx, command.Actor, why)
	if err != nil {
		return err
	}
	pulls, err := h.desk.Doubt(ctx, command.Actor, why)
	if err != nil {
		return err
	}
	a.log.Warn("the state was restored from a backup", zap.Time("of", m.Time), zap.Int("held_items", n), zap.Int("pulls_that_wait", pulls))
	return backup.Noted(state)
}

func (a *App) openDB(cfg *config.Config, h *house, name string, schema uint32) (*kv.DB, error) {
	db, err := kv.Open(kv.Options{FS: a.o.FS, Dir: filepath.Join(string(cfg.State.Dir), name), Name: name, Schema: schema,
		MinFree: lastRoom(cfg), Logger: a.log.Logger, Metrics: h.metrics})
	if err != nil {
		return nil, err
	}
	h.onClose(a.log.Logger, "database "+name, db.Close)
	return db, nil
}

// lastRoom is the free space below which nothing at all is written. Mail that
// needs a place is refused well above it, so that whoever makes room can be
// recorded, and what is recorded can be found. It leaves what a database writes
// in the background.
func lastRoom(cfg *config.Config) int64 { return max(int64(cfg.State.MinFree)/2, kv.CompactionReserve) }

func (a *App) openLedger(ctx context.Context, cfg *config.Config, h *house) error {
	db, err := a.openDB(cfg, h, "views", viewsSchema)
	if err != nil {
		return err
	}
	if h.view, err = quarantine.NewView(db); err != nil {
		return err
	}
	if h.incidents, err = incident.NewView(db); err != nil {
		return err
	}
	h.containing = contain.NewView(db)
	h.asked, h.owed = unblock.NewView(db), notify.NewView(db)
	h.shared = share.NewView(db, testify)
	h.ledger, err = ledger.Open(ledger.Options{
		FS: a.o.FS, Dir: filepath.Join(string(cfg.State.Dir), "ledger"), Index: db, Node: h.identity.Node(), Key: h.identity.Key(backup.LedgerKey),
		NewID: h.identity.NewID, Views: []ledger.View{h.view, h.incidents, h.containing, h.asked, h.owed, h.shared}, Logger: a.log.Logger, Metrics: h.metrics,
		MinFree: lastRoom(cfg),
	})
	if err != nil {
		return err
	}
	h.onClose(a.log.Logger, "ledger", h.ledger.Close)
	// Whoever starts from a listing has to see all that was recorded.
	last, err := h.ledger.Last()
	if err != nil {
		return err
	}
	return h.ledger.Wait(ctx, last)
}

func (a *App) openJournal(_ context.Context, cfg *config.Config, h *house) (err error) {
	h.journal, err = journal.Open(journal.Options{
		FS: a.o.FS, Dir: filepath.Join(string(cfg.State.Dir), "journal"), MinFree: int64(cfg.State.MinFree), IndexMinFree: lastRoom(cfg),
		Retention: journalRetention(cfg), MaxBytes: int64(cfg.Journal.MaxSize), Logger: a.log.Logger, Metrics: h.metrics,
	})
	if err == nil {
		h.onClose(a.log.Logger, "journal", h.journal.Close)
	}
	return err
}

func journalRetention(cfg *config.Config) journal.Retention {
	return journal.Retention{MaxAge: time.Duration(cfg.Journal.Retention), LookBack: time.Duration(cfg.Journal.Lookback)}
}

func (a *App) openBlobs(_ context.Context, cfg *config.Config, h *house) (err error) {
	h.blobs, err = blob.OpenFolder(blob.Options{
		FS: a.o.FS, Dir: filepath.Join(string(cfg.State.Dir), "blobs"), MaxBytes: int64(cfg.Quarantine.MaxSize), MinFree: int64(cfg.State.MinFree),
		Logger: a.log.Logger, Metrics: h.metrics,
	})
	if err == nil {
		h.onClose(a.log.Logger, "blobs", h.blobs.Close)
	}
	return err
}

func (a *App) openStore(_ context.Context, cfg *config.Config, h *house) error {
	db, err := a.openDB(cfg, h, "intel", store.Schema)
	if err != nil {
		return err
	}
	h.matcher = match.NewMatcher()
	h.store, err = store.Open(store.Options{
		DB: db, Matcher: h.matcher, FS: a.o.FS, Dir: filepath.Join(string(cfg.State.Dir), "indicators"), MinFree: lastRoom(cfg), Large: thrift,
		Floor: lastGeneration(h.journal), Logger: a.log.Logger, Metrics: h.metrics,
	})
	if err == nil {
		h.onClose(a.log.Logger, "store", func() error { h.store.Close(); return nil })
	}
	return err
}

// openHits opens what is known of hits. Mail is judged without it as well.
func (a *App) openHits(_ context.Context, cfg *config.Config, h *house) error {
	dir := filepath.Join(string(cfg.State.Dir), "hits")
	counter, err := hits.Open(hits.Options{FS: a.o.FS, Dir: dir, MinFree: lastRoom(cfg), Now: h.identity.Now, Logger: a.log.Logger, Metrics: h.metrics})
	switch {
	case errors.Is(err, disk.ErrNoSpace):
		return err
	case err != nil:
		a.trouble("hits", fmt.Sprintf("what entries hit is not counted: %v; remove %s and start again, and counting begins anew", err, dir))
		return nil
	}
	a.relief("hits")
	h.hits = counter
	h.onClose(a.log.Logger, "hits", counter.Close)
	return nil
}

// thrift has the heap grow less between collections while very many indicators are
// read. Most of it are tables of the database by then, which cost the collector little.
func thrift() (end func()) {
	const percent = 40
	was := debug.SetGCPercent(percent)
	if was < percent {
		debug.SetGCPercent(was) // as it was asked for, or switched off
	}
	return func() { debug.SetGCPercent(was) }
}

// build makes what judges and holds over what was opened.
func (a *App) build(cfg *config.Config, h *house, r *rules) (err error) {
	h.contained, err = contain.Open(contain.Options{Ledger: watchedLedger{h.ledger, a}, View: h.containing, Identity: h.identity, Site: containSite(cfg, r),
		Logger: a.log.Logger, Metrics: h.metrics})
	if err != nil {
		return err
	}
	if h.judge, err = filter.NewJudge(h.matcher, r.forJudge(h.contained), nil); err != nil {
		return err
	}
	settings, err := quarantineSettings(cfg, r)
	if err != nil {
		return err
	}
	if h.requests, err = unblock.New(unblock.Options{Ledger: watchedLedger{h.ledger, a}, View: h.asked, NewID: h.identity.NewID}); err != nil {
		return err
	}
	h.notices, err = notify.New(notify.Options{Ledger: watchedLedger{h.ledger, a}, View: h.owed, Now: h.identity.Now, Settings: notifySettings(cfg, r, &settings),
		Logger: a.log.Logger, Metrics: h.metrics})
	if err != nil {
		return err
	}
	h.quarantine, err = quarantine.New(quarantine.Options{
		Ledger: watchedLedger{h.ledger, a}, View: h.view, Blobs: h.blobs, Judge: h.judge, Journal: h.journal, Identity: h.identity,
		Scratch: func() quarantine.ScratchSpace { return a.spool.Spool() }, Settings: settings, Logger: a.log.Logger, Metrics: h.metrics,
	})
	if err != nil {
		return err
	}
	var counter filter.Hits
	if h.hits != nil {
		counter = h.hits
	}
	h.filter, err = filter.New(filter.Options{
		Hits: counter, Judge: h.judge, Scratch: a.spool, Journal: watchedJournal{h.journal, a}, Quarantine: notingQuarantine{h.quarantine, h.held}, Identity: h.identity, Settings: filterSettings(cfg, r),
		Logger: a.log.Logger, Metrics: h.metrics,
	})
	return err
}

// lastGeneration gives the list generation that the newest journal entry was
// judged under: no later generation may have a lower number.
func lastGeneration(j *journal.Journal) uint64 {
	r, err := j.Get(j.Last())
	if err != nil {
		return 0
	}
	return r.Entry.Generation
}
