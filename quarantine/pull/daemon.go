package pull

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/quarantine/job"
)

const (
	// firstPause and longestPause bound how long a daemon is left alone that does
	// not answer.
	firstPause   = 250 * time.Millisecond
	longestPause = 30 * time.Second
	// emptyPause is the least time between two answers that there is nothing to do.
	emptyPause = 100 * time.Millisecond
	// fewPlaces are so few that it is worth waiting for more, at most for gatherFor.
	fewPlaces = 32
	gatherFor = 50 * time.Millisecond
	// unclear is how long a lease is taken to hold whose end makes no sense, which it
	// does where the clocks of two hosts differ.
	unclear = 30 * time.Second
	// longestHold is the longest time that is believed.
	longestHold = 10 * time.Minute
	// slowestRenewal is how often leases are renewed at least.
	slowestRenewal = 10 * time.Second
)

// daemon is one whose jobs are done.
type daemon struct {
	Daemon
	p    *Puller
	log  *zap.Logger
	free chan struct{} // holds a token for each further lease
	jobs sync.WaitGroup

	mu     sync.Mutex
	leases map[string]*lease
	news   chan struct{} // there is a lease where there was none
}

func newDaemon(p *Puller, d Daemon) *daemon {
	free := make(chan struct{}, d.Leases)
	for range d.Leases {
		free <- struct{}{}
	}
	return &daemon{Daemon: d, p: p, log: p.o.Log.With(zap.String("daemon", d.Name)), free: free,
		leases: map[string]*lease{}, news: make(chan struct{}, 1)}
}

// lease is one that is held.
type lease struct {
	job.Lease
	d    *daemon
	ctx  context.Context // ends when the lease is lost
	end  context.CancelCauseFunc
	hold time.Duration // after it was given or renewed
	// release lets go of it, and of its place. It may be called again.
	release func()

	mu    sync.Mutex
	until time.Time // when it has run out, by our clock, unless it is renewed
}

// holds reports whether the lease is certainly held.
func (l *lease) holds() error {
	if l.ctx.Err() != nil {
		return context.Cause(l.ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !time.Now().Before(l.until) {
		return errNotRenewed
	}
	return nil
}

var errNotRenewed = errors.Join(ErrLease, errors.New("it was not renewed in time"))

// run leases jobs until ctx ends, and returns when all are done. Jobs work under
// work.
func (d *daemon) run(ctx, work context.Context) {
	renewing, end := context.WithCancel(context.WithoutCancel(ctx))
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		d.renew(renewing)
	}()
	pause := time.Duration(0)
	for {
		n := d.places(ctx)
		if n == 0 {
			break
		}
		asked := time.Now()
		leases, err := d.Jobs.Lease(ctx, n, d.p.o.Wait)
		given := d.begin(ctx, work, leases[:min(n, len(leases))])
		d.giveBack(n - given)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			if pause == 0 {
				d.log.Warn("no jobs from the daemon", zap.Error(err))
			}
			pause = min(max(firstPause, 2*pause), longestPause)
			d.p.metrics.daemonUp(d.Name, false)
			sleep(ctx, pause)
		default:
			if pause > 0 {
				d.log.Info("the daemon answers again")
			}
			pause = 0
			d.p.metrics.daemonUp(d.Name, true)
			if given == 0 {
				sleep(ctx, emptyPause-time.Since(asked))
			}
		}
	}
	d.jobs.Wait()
	end()
	<-renewed
}

// places waits until something may be leased, and takes all places that are free:
// where there are few, it waits a moment for more, since the jobs of a mailbox are
// cheaper together. It gives 0 when ctx has ended.
func (d *daemon) places(ctx context.Context) int {
	if ctx.Err() != nil {
		return 0
	}
	select {
	case <-d.free:
	case <-ctx.Done():
		return 0
	}
	n := 1 + d.freeNow()
	few := min(fewPlaces, d.Leases/2)
	if n >= few {
		return n
	}
	moment := time.NewTimer(gatherFor)
	defer moment.Stop()
	for n < few {
		select {
		case <-d.free:
			n += 1 + d.freeNow()
		case <-moment.C:
			return n
		case <-ctx.Done():
			return 0
		}
	}
	return n
}

// freeNow takes all places that are free.
func (d *daemon) freeNow() int {
	for n := 0; ; n++ {
		select {
		case <-d.free:
		default:
			return n
		}
	}
}

func (d *daemon) giveBack(n int) {
	for range n {
		d.free <- struct{}{}
	}
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, pause time.Duration) {
	if pause <= 0 {
		return
	}
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// begin starts jobs: the pulls of one mailbox together, in their order. It gives
// how many leases there are that were not under way already.
func (d *daemon) begin(stop, work context.Context, given []job.Lease) int {
	var all [][]*lease
	pulls := map[string]int{} // where in all those of a mailbox are
	held := 0
	for _, g := range given {
		l := d.hold(work, g)
		if l == nil {
			continue
		}
		held++
		if at, ok := pulls[g.Job.Mailbox]; ok && g.Job.Kind == job.Pull {
			all[at] = append(all[at], l)
			continue
		}
		if g.Job.Kind == job.Pull {
			pulls[g.Job.Mailbox] = len(all)
		}
		all = append(all, []*lease{l})
	}
	select {
	case d.news <- struct{}{}:
	default:
	}
	for _, leases := range all {
		d.jobs.Go(func() {
			defer func() {
				for _, l := range leases {
					l.release()
				}
			}()
			d.p.do(stop, work, leases)
		})
	}
	return held
}

// hold begins to hold a lease. It gives nil for one that is held already.
func (d *daemon) hold(work context.Context, given job.Lease) *lease {
	hold := time.Until(given.Until)
	if hold < time.Second {
		hold = unclear
	}
	hold = min(hold, longestHold)
	l := &lease{Lease: given, d: d, hold: hold, until: time.Now().Add(hold)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.leases[given.ID] != nil {
		d.log.Warn("the daemon gave a lease twice", zap.String("lease", given.ID))
		return nil
	}
	l.ctx, l.end = context.WithCancelCause(work)
	l.release = sync.OnceFunc(func() {
		d.mu.Lock()
		delete(d.leases, given.ID)
		d.mu.Unlock()
		l.end(nil)
		d.p.metrics.leased(d.Name, -1)
		d.giveBack(1)
	})
	d.leases[given.ID] = l
	d.p.metrics.leased(d.Name, 1)
	return l
}

// renew renews all leases in time, until ctx ends.
func (d *daemon) renew(ctx context.Context) {
	last := time.Now()
	for {
		held := d.held()
		pause := slowestRenewal
		for _, l := range held {
			pause = min(pause, l.hold/3)
		}
		if len(held) == 0 {
			last = time.Now()
		}
		due := time.NewTimer(time.Until(last.Add(pause)))
		select {
		case <-ctx.Done():
			due.Stop()
			return
		case <-d.news: // its lease may be a shorter one
			due.Stop()
		case <-due.C:
			last = time.Now()
			if len(held) > 0 {
				d.renewAll(ctx, held, pause)
			}
		}
	}
}

func (d *daemon) held() []*lease {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]*lease, 0, len(d.leases))
	for _, l := range d.leases {
		all = append(all, l)
	}
	return all
}

// renewAll renews leases, and ends the jobs of those that are lost or have run
// out. It takes no longer than limit.
func (d *daemon) renewAll(ctx context.Context, held []*lease, limit time.Duration) {
	ids := make([]string, len(held))
	for i, l := range held {
		ids[i] = l.ID
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	asked := time.Now()
	lost, err := d.Jobs.Renew(ctx, ids)
	if err != nil {
		d.log.Warn("leases are not renewed", zap.Int("leases", len(ids)), zap.Error(err))
	}
	for _, l := range held {
		if err == nil && !slices.Contains(lost, l.ID) {
			l.mu.Lock()
			l.until = asked.Add(l.hold)
			l.mu.Unlock()
		}
		if slices.Contains(lost, l.ID) {
			l.end(ErrLease)
		} else if err := l.holds(); err != nil {
			l.end(err)
		}
	}
}
