// Package app is the one place where the daemon is wired together: it opens
// what is stored, starts what serves, reloads what was edited and ends all of
// it in order. It decides nothing about mail.
//
// The MTA is answered from the first moment on. Until the stores are open (an
// index may have to be built anew, a full disk may have to be waited out), each
// message gets the answer of policy.on_error.
package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"github.com/weirmail/weir/cmd/internal/backup"
	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/filter/message/spool"
	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/share"
	"github.com/weirmail/weir/intel/store"
)

// Options says what a daemon is made of.
type Options struct {
	ConfigFile string // read again at each reload
	Config     *config.Config
	Version    string
	FS         disk.FS // disk.System{} if nil; tests put faults in
}

// App is a daemon that runs.
type App struct {
	o       Options
	log     *logger
	metrics *prometheus.Registry
	started time.Time
	health  *health

	gate    *gate // answers the MTA
	milter  *milter.Server
	control *control.Server
	share   *share.Server // nil where nothing is shared
	spool   *spool.Pool

	mu        sync.Mutex
	config    *config.Config   // in force
	house     *house           // nil until the stores are open
	lists     store.ListReport // when they were last read
	listsRead time.Time

	sockets map[string][]net.Listener // from systemd

	reloads chan reloadRequest
	tasks   sync.WaitGroup
	fatal   chan error // why the daemon cannot go on
	closers []func()   // what Stop undoes, the last first
}

// Start starts the daemon. It returns once the MTA is answered and the control
// socket is open; the stores may still be opening (see Ready). Errors say what
// in the configuration or on this machine has to change. The caller stops what
// it started, also after Wait.
func Start(ctx context.Context, o Options) (_ *App, err error) {
	if o.FS == nil {
		o.FS = disk.System{}
	}
	a := &App{o: o, config: o.Config, started: time.Now(), health: newHealth(), metrics: prometheus.NewRegistry(),
		reloads: make(chan reloadRequest), fatal: make(chan error, 1)}
	if a.log, err = newLogger(o.Config, os.Stderr); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			a.undo()
		}
	}()
	if os.Geteuid() == 0 {
		a.log.Warn("the daemon runs as root, which it does not need: run it as a user of its own")
	}
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := a.prepareState(); err != nil {
		return nil, err
	}
	seen := a.fingerprint() // before anything is read: what is edited from now on is read again
	rules, err := loadRules(o.Config)
	if err != nil {
		return nil, err
	}
	// Registered before the servers, so that these end first.
	tasks, cancel := context.WithCancel(context.Background())
	a.onStop(func() { cancel(); a.tasks.Wait() })
	if err := a.serveMilter(); err != nil {
		return nil, err
	}
	if err := a.serveMetrics(); err != nil {
		return nil, err
	}
	if err := a.serveControl(); err != nil {
		return nil, err
	}
	if err := a.serveShare(); err != nil {
		return nil, err
	}
	a.tasks.Go(func() { a.run(tasks, rules, seen) })
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return a, nil
}

// current gives the configuration in force.
func (a *App) current() *config.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config
}

// rooms gives the open stores, nil while there are none.
func (a *App) rooms() *house {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.house
}

// onStop registers what Stop undoes.
func (a *App) onStop(f func()) { a.closers = append(a.closers, f) }

func (a *App) undo() {
	for len(a.closers) > 0 {
		last := a.closers[len(a.closers)-1]
		a.closers = a.closers[:len(a.closers)-1]
		last()
	}
	_ = a.log.Sync()
}

// run opens the stores and then works until the daemon ends.
func (a *App) run(ctx context.Context, rules *rules, seen string) {
	h, err := a.openHouse(ctx, rules)
	if err != nil {
		if ctx.Err() == nil {
			a.fail(err)
		}
		return
	}
	defer h.close()
	a.mu.Lock()
	a.house = h
	a.mu.Unlock()
	a.gate.open(h.filter)
	a.health.ready()
	a.log.Info("ready", zap.Duration("after", time.Since(a.started)), zap.Uint64("generation", h.store.Generation()))
	notifyReady(a.log)

	var workers sync.WaitGroup
	workers.Go(func() {
		if err := h.journal.Run(ctx); err != nil {
			a.fail(err)
		}
	})
	workers.Go(func() { h.quarantine.Run(ctx, tidyEvery, h.ledger.Last) })
	workers.Go(func() {
		if err := h.deliveries.Run(ctx); err != nil {
			a.fail(err)
		}
	})
	workers.Go(func() { h.feeds.Run(ctx) })
	workers.Go(func() { h.contained.Run(ctx) })
	if h.hits != nil {
		workers.Go(func() { h.hits.Run(ctx) })
	}
	workers.Go(func() { h.notices.Run(ctx) })
	workers.Go(func() { h.hunt.Run(ctx) })
	workers.Go(func() { _ = h.desk.Run(ctx) }) // the context has ended
	if h.share != nil {
		workers.Go(func() { h.share.Run(ctx) })
	}
	workers.Go(func() { a.logHead(ctx, h) })
	workers.Go(func() { a.keepWatch(ctx) })
	a.reload(ctx, h, seen)
	workers.Wait()
	a.mu.Lock()
	a.house = nil
	a.mu.Unlock()
}

// tidyEvery is how often expired items are looked for.
const tidyEvery = 10 * time.Minute

// fail ends the daemon for a reason that waiting does not mend.
func (a *App) fail(err error) {
	a.log.Error("the daemon cannot go on", zap.Error(err))
	select {
	case a.fatal <- err:
	default:
	}
}

// Wait returns why the daemon cannot go on, or nil when the context ends.
func (a *App) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-a.fatal:
		return err
	}
}

// stopWithin is how long Stop waits for everything to close once the sessions
// have ended. A store that cannot write any more could keep it for ever, and what
// was acknowledged needs no closing.
const stopWithin = 45 * time.Second

// errStuck says that the daemon was left before everything in it had ended.
var errStuck = errors.New("closing does not end, as where the state folder is gone or cannot be written to; what was acknowledged is safe")

// Stop ends the daemon: no new sessions, those in the middle of a message go on
// until milter.drain_timeout, then everything is closed in order. After 45
// seconds of that it gives up with an error; the process has to end then.
func (a *App) Stop() error { return a.stop(stopWithin) }

func (a *App) stop(within time.Duration) error {
	notifyStopping()
	a.log.Info("stopping")
	a.mu.Lock()
	patience := time.Duration(a.config.Milter.DrainTimeout)
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := a.milter.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		a.log.Warn("sessions were cut in the middle of a message", zap.Error(err))
		err = nil
	}
	closed := make(chan struct{})
	go func() {
		a.undo()
		close(closed)
	}()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-closed:
		a.log.Info("stopped")
	case <-timer.C:
		a.log.Error("the daemon ends without closing everything", zap.Error(errStuck), zap.Duration("after", within))
		err = errors.Join(err, errStuck)
	}
	return err
}

// Ready waits until the stores are open and mail is judged.
func (a *App) Ready(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-a.health.isReady:
		return nil
	case err := <-a.fatal:
		a.fatal <- err
		return err
	}
}

func (a *App) prepareState() error {
	dir := string(a.o.Config.State.Dir)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return a.o.Config.Problem("state.dir", fmt.Sprintf("cannot be made: %v", err), "make it, and give it to the user that the daemon runs as")
	}
	if _, err := backup.Restored(dir); err != nil {
		return a.o.Config.Problem("state.dir", err.Error(), "remove the folder, and restore a whole backup")
	}
	lock, err := disk.AcquireLock(dir + "/lock")
	var locked *disk.LockedError
	switch {
	case errors.As(err, &locked):
		return a.o.Config.Problem("state.dir", err.Error(), "stop that one, or give this daemon a folder of its own")
	case err != nil:
		return a.o.Config.Problem("state.dir", err.Error(), "give it to the user that the daemon runs as")
	}
	a.onStop(func() { _ = lock.Release() })
	if err := os.MkdirAll(string(a.o.Config.Milter.SpoolDir), 0o700); err != nil {
		return a.o.Config.Problem("milter.spool_dir", fmt.Sprintf("cannot be made: %v", err), "make it, and give it to the user that the daemon runs as")
	}
	a.spool, err = spool.New(spool.Options{Dir: string(a.o.Config.Milter.SpoolDir),
		MemoryPerMessage: int64(a.o.Config.Milter.MemoryPerMessage), MemoryTotal: int64(a.o.Config.Milter.MemoryTotal)})
	if err != nil {
		return a.o.Config.Problem("milter.spool_dir", err.Error(), "choose a folder that the daemon's user can write to")
	}
	return nil
}
