package incident

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/job"
)

// live is a delivery that is not finished.
type live struct {
	incident string
	id       string
	mu       sync.Mutex // held by who commits to its entity; before Desk.mu

	// Under Desk.mu. A record is not changed once it is here: another one replaces
	// it.
	rec      *record
	closed   bool // its incident was
	pull     *task
	returns  map[string]*task // by item
	follow   *follow
	attempts int // of the work that is under way
}

// ready loads what is not finished, once. Until that has worked nothing goes on.
func (d *Desk) ready(ctx context.Context) error {
	d.loading.Lock()
	defer d.loading.Unlock()
	if d.loaded {
		return nil
	}
	if err := d.see(ctx); err != nil {
		return fmt.Errorf("the listing of incidents: %w", err)
	}
	var records []*record
	for r, err := range d.o.View.unfinished() {
		if err != nil {
			return err
		}
		records = append(records, r)
	}
	d.take(records)
	d.loaded = true
	if len(records) > 0 {
		d.o.Logger.Info("incidents go on", zap.Int("deliveries", len(records)))
	}
	return nil
}

// adopt takes over deliveries as the view has them.
func (d *Desk) adopt(ctx context.Context, incident string, ids []string) error {
	if err := d.see(ctx); err != nil {
		return err
	}
	s, err := d.o.View.db.Snapshot()
	if err != nil {
		return err
	}
	defer s.Release()
	var records []*record
	for _, id := range ids {
		r, err := d.o.View.record(s, incident, id)
		if err != nil {
			return err
		}
		if r != nil {
			records = append(records, r)
		}
	}
	d.take(records)
	return nil
}

// take makes deliveries live that have something still to come.
func (d *Desk) take(records []*record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for _, r := range records {
		if d.lives[r.Incident][r.ID] == nil {
			d.sync(d.liveOf(r), now)
		}
	}
	d.rouse()
}

// liveOf gives the live delivery of a record, and makes it where there is none.
// Desk.mu is held.
func (d *Desk) liveOf(r *record) *live {
	if l := d.lives[r.Incident][r.ID]; l != nil {
		return l
	}
	if d.lives[r.Incident] == nil {
		d.lives[r.Incident] = map[string]*live{}
	}
	l := &live{incident: r.Incident, id: r.ID, rec: r, returns: map[string]*task{}}
	d.lives[r.Incident][r.ID] = l
	return l
}

// sync makes queue and follow-up fit a record. New work is given out at due or
// later. Desk.mu is held; call rouse behind it.
func (d *Desk) sync(l *live, due time.Time) {
	now, r := d.now(), l.rec
	wanted := r.pullable() && !l.closed
	if l.pull != nil && l.pull.lease == nil && (!wanted || l.pull.box.login != fold(r.Mailbox)) {
		d.queue.remove(l.pull)
		l.pull = nil
	}
	if wanted && l.pull == nil {
		l.pull = &task{live: l, kind: job.Pull, at: r.Time}
		d.queue.add(l.pull, r.Mailbox, due, now)
	}
	for item, t := range l.returns {
		if k := r.kept(item); t.lease == nil && (k == nil || k.State != keptGoing) {
			d.queue.remove(t)
			delete(l.returns, item)
		}
	}
	for n := range r.Kept {
		if k := &r.Kept[n]; k.State == keptGoing && l.returns[k.Item] == nil {
			t := &task{live: l, kind: job.Restore, item: k.Item, at: r.Time}
			l.returns[k.Item] = t
			d.queue.add(t, r.Mailbox, due, now)
		}
	}
	if r.followed() && !l.closed {
		d.follows.add(l, now)
	} else {
		d.follows.remove(l)
	}
	if l.leased() || len(l.returns) > 0 || r.live() && !l.closed {
		return
	}
	delete(d.lives[l.incident], l.id)
	if len(d.lives[l.incident]) == 0 {
		delete(d.lives, l.incident)
	}
}

// leased reports whether a sidecar is at work on it. Desk.mu is held.
func (l *live) leased() bool {
	if l.pull != nil && l.pull.lease != nil {
		return true
	}
	for _, t := range l.returns {
		if t.lease != nil {
			return true
		}
	}
	return false
}

// rouse wakes those who wait for work or for something to follow. Desk.mu is held.
func (d *Desk) rouse() {
	if d.queue.free.Len() > 0 || d.queue.pauses.Len() > 0 {
		close(d.wake)
		d.wake = make(chan struct{})
	}
	d.nudge()
}

// nudge has Run look whether there is something to do.
func (d *Desk) nudge() {
	select {
	case d.poke <- struct{}{}:
	default:
	}
}

// giveUp ends what is not under way of a closed incident.
func (d *Desk) giveUp(incident string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for _, l := range d.lives[incident] {
		changed := *l.rec
		changed.leave(now)
		l.rec, l.closed = &changed, true
		d.sync(l, now)
	}
}

// record gives what is known of a live delivery.
func (d *Desk) record(l *live) *record {
	d.mu.Lock()
	defer d.mu.Unlock()
	return l.rec
}

// commit records an event of a live delivery, whose lock is held, and folds it
// into what is in memory. The entity has to be as it is known here: another
// process may have died, or a commit was recorded whose answer was lost.
func (d *Desk) commit(ctx context.Context, l *live, c ledger.Command, kind string, data any) error {
	e, err := event(kind, data)
	if err != nil {
		return err
	}
	c.Entity = entityOfDelivery(l.incident, l.id)
	c.Reason = legible(c.Reason, ledger.MaxReason)
	for range 3 {
		rec := d.record(l)
		receipt, err := d.o.Ledger.Commit(ctx, c, func(s ledger.State) ([]ledger.Event, error) {
			if s.Version != rec.Version {
				return nil, errStale
			}
			return []ledger.Event{e}, nil
		})
		switch {
		case err == nil && !receipt.Replayed:
			e.Entity, e.Version, e.Time, e.Actor, e.Reason = c.Entity, receipt.Version, d.now(), c.Actor, c.Reason
			return d.change(l, func(r *record) error { return r.fold(&e) })
		case err == nil:
			return d.reload(ctx, l)
		case !errors.Is(err, errStale):
			return err
		}
		if err := d.reload(ctx, l); err != nil {
			return err
		}
	}
	return fmt.Errorf("delivery %s: %w", l.id, errStale)
}

// change replaces a record by a changed copy.
func (d *Desk) change(l *live, f func(*record) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := *l.rec
	if err := f(&r); err != nil {
		return err
	}
	l.rec = &r
	return nil
}

// reload takes a record over from the view.
func (d *Desk) reload(ctx context.Context, l *live) error {
	if err := d.see(ctx); err != nil {
		return err
	}
	s, err := d.o.View.db.Snapshot()
	if err != nil {
		return err
	}
	defer s.Release()
	r, err := d.o.View.record(s, l.incident, l.id)
	if err != nil {
		return err
	}
	if r == nil {
		return fmt.Errorf("%w: delivery %s", ErrNotFound, l.id)
	}
	return d.change(l, func(now *record) error { *now = *r; return nil })
}
