package incident

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/blob"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// Request asks for work.
type Request struct {
	Actor string        // the sidecar, as scheme:id
	Max   int           // at most so many jobs; 1 to MaxLeases
	Wait  time.Duration // how long to wait for the first one
}

// Bounds on what a sidecar asks for and says.
const (
	MaxLeases  = 256
	maxKept    = 100       // copies of one delivery
	maxKeptAll = 400 << 10 // bytes of what is known of them
	maxWords   = 8 << 10   // bytes of the keywords of a copy
	maxDetail  = 500       // bytes
)

// afterEnd is how long a reported lease is remembered.
const afterEnd = 10 * time.Minute

// Lease gives work to a sidecar: the newest messages first, and of each mailbox
// the pulls that are ready together, so that one visit does them all. They stand
// next to each other in the answer, the newest first, 32 at most and r.Max over
// all; no two of them go by the same Weir ID or Message-ID. A restore is the only
// job of its mailbox. Until every one of a mailbox's leases has ended, reported or
// lost, nothing else in it is given, to this sidecar or another.
//
// It waits up to r.Wait for the first job and then gives what is there. A lease
// that is not renewed in time is lost, and its job is given again. The errors are
// those of the context, and ErrInvalid.
func (d *Desk) Lease(ctx context.Context, r Request) ([]job.Lease, error) {
	if r.Max < 1 || r.Max > MaxLeases || r.Actor == "" {
		return nil, fmt.Errorf("%w: a sidecar leases 1 to %d jobs at once, not %d", ErrInvalid, MaxLeases, r.Max)
	}
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	defer d.hear(r.Actor)()
	end := time.NewTimer(r.Wait)
	defer end.Stop()
	for {
		leases, protected, wake, again := d.lease(&r)
		for l, why := range protected {
			if err := d.protect(ctx, l, why); err != nil {
				d.o.Logger.Error("a protected mailbox stays in the listing as wanted", zap.String("incident", l.incident), zap.Error(err))
			}
		}
		if len(leases) > 0 || r.Wait <= 0 {
			return leases, d.besides(ctx, leases)
		}
		timer := time.NewTimer(again)
		select {
		case <-wake:
		case <-timer.C:
		case <-end.C:
			timer.Stop()
			leases, _, _, _ := d.lease(&r)
			return leases, d.besides(ctx, leases)
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// lease takes what is ready. It gives the deliveries whose mailbox is protected by
// now, a channel that is closed when there may be more, and the time until a pause
// or a lease ends.
func (d *Desk) lease(r *Request) (leases []job.Lease, protected map[*live]string, wake <-chan struct{}, again time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if lost := d.queue.catchUp(now); len(lost) > 0 {
		d.metrics.lost.Add(float64(len(lost)))
		d.o.Logger.Warn("leases ran out: a sidecar has stopped, or does not renew them; their jobs are given again", zap.Int("leases", len(lost)))
		for _, l := range lost {
			d.unlink(l.task)
			d.sync(l.task.live, now)
		}
	}
	for len(leases) < r.Max {
		together := d.queue.next(r.Max - len(leases))
		if len(together) == 0 {
			break
		}
		for _, t := range together {
			why, wanted := d.stillWanted(t, now)
			if why != "" {
				if protected == nil {
					protected = map[*live]string{}
				}
				protected[t.live] = why
			}
			if !wanted {
				t.live.pull = nil
				continue
			}
			l := d.queue.give(t, d.o.Identity.NewID(), r.Actor, now.Add(d.o.LeaseFor))
			leases = append(leases, job.Lease{ID: l.id, Until: l.until, Job: t.job()})
		}
	}
	again = time.Minute
	if at := d.queue.changes(); !at.IsZero() {
		again = max(min(again, at.Sub(now)), time.Millisecond)
	}
	return leases, protected, d.wake, again
}

// stillWanted reports whether a job may be given, and why its mailbox is not to be
// touched if it was protected by now. Desk.mu is held.
func (d *Desk) stillWanted(t *task, now time.Time) (protected string, wanted bool) {
	if t.kind != job.Pull {
		return "", true
	}
	rec := t.live.rec
	if why := d.guard.protects(&d.settings, rec.Mailbox, rec.Address, rec.Recipient); why != "" {
		return why, false
	}
	return "", !rec.expired(now, d.settings.ApprovalFor) // what is expired lapses in the next round
}

// job gives the work that a task is.
func (t *task) job() job.Job {
	if t.kind == job.Pull {
		return t.live.rec.pull()
	}
	return t.live.rec.restore(t.item)
}

// besides adds to restores what else was restored to the same mailbox.
func (d *Desk) besides(ctx context.Context, leases []job.Lease) error {
	seen := false
	for n := range leases {
		j := &leases[n].Job
		if j.Kind != job.Restore {
			continue
		}
		var err error
		if !seen { // the last one was perhaps restored just now
			err = d.see(ctx)
			seen = true
		}
		if err == nil {
			j.Besides, err = d.o.View.placed(j.Mailbox, j.Item.SHA256, j.Item.Item)
		}
		if err != nil {
			d.giveBack(leases)
			return err
		}
	}
	return nil
}

// giveBack ends leases that nobody hears of.
func (d *Desk) giveBack(leases []job.Lease) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for n := range leases {
		if l := d.queue.leases[leases[n].ID]; l != nil {
			d.queue.end(l)
			d.unlink(l.task)
			d.sync(l.task.live, now)
		}
	}
}

// unlink makes a delivery forget a task that is in no place. Desk.mu is held.
func (d *Desk) unlink(t *task) {
	if t.kind == job.Restore {
		delete(t.live.returns, t.item)
	} else {
		t.live.pull = nil
	}
}

// expired reports whether an approval no longer holds.
func (r *record) expired(now time.Time, after time.Duration) bool {
	return !r.Tried && !r.Approved.IsZero() && now.Sub(r.Approved) >= after
}

// protect ends a pull of a mailbox that was protected after it was decided.
func (d *Desk) protect(ctx context.Context, l *live, why string) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	err := d.commit(ctx, l, ledger.Command{ID: "protect/" + l.id + "/" + d.o.Identity.NewID(), Actor: "weir:settings"},
		typeOutcome, outcomeData{Outcome: Protected, Detail: why})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync(l, d.now().Add(time.Minute))
	return err
}

// Renew keeps leases from running out, and gives those that are lost: whoever has
// one stops that job. It gives no error but of the daemon's end.
func (d *Desk) Renew(ctx context.Context, actor string, leases []string) (lost []string, err error) {
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	defer d.hear(actor)()
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for _, id := range leases {
		l := d.queue.leases[id]
		if l == nil || l.actor != actor || !l.holds(now) {
			lost = append(lost, id)
			continue
		}
		l.until = now.Add(d.o.LeaseFor)
	}
	return lost, nil
}

func (l *lease) holds(now time.Time) bool { return l.busy > 0 || now.Before(l.until) }

// hold gives the lease and keeps it from running out until let.
func (d *Desk) hold(actor, id string) (*lease, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.queue.leases[id]
	if l == nil || l.actor != actor || !l.holds(d.now()) {
		return nil, fmt.Errorf("%w: %.40s", ErrLease, id)
	}
	l.busy++
	return l, nil
}

// let lets go of a lease; who was heard of has all his time again.
func (d *Desk) let(l *lease) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l.busy--
	l.until = d.now().Add(d.o.LeaseFor)
}

// Keep takes the bytes of a copy that is about to be removed, exactly as they were
// fetched, and returns when they and what is known of the copy are durable. Only
// then the copy may be removed. The same copy again is the same item. Errors
// satisfy ErrLease (stop this job), ErrInvalid, ErrTooMany or disk.ErrNoSpace, among
// others; then the copy stays where it is.
func (d *Desk) Keep(ctx context.Context, actor, lease string, c mailbox.Copy, raw []byte) (job.Kept, error) {
	h, err := d.hold(actor, lease)
	if err != nil {
		return job.Kept{}, err
	}
	defer d.let(h)
	l := h.task.live
	if h.task.kind != job.Pull {
		return job.Kept{}, fmt.Errorf("%w: nothing is kept of a restore", ErrInvalid)
	}
	if c.Folder == "" || c.ID == "" || len(raw) == 0 || len(c.Folder) > maxName || len(c.ID) > maxName {
		return job.Kept{}, fmt.Errorf("%w: a copy has a folder and an ID of at most %d bytes, and content", ErrInvalid, maxName)
	}
	bounded(&c)
	rec := d.record(l)
	if err := rec.room(&c); err != nil {
		return job.Kept{}, err
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	item, content, err := d.o.Items.Keep(ctx, quarantine.Pulled{
		Incident: l.incident, Delivery: l.id, Ref: rec.Ref, Sender: rec.Sender, Mailbox: rec.Mailbox, Address: rec.Address,
		Copy: c, Raw: raw, Actor: actor, Reason: reasonOf(rec),
	})
	if err != nil {
		return job.Kept{}, err
	}
	k := job.Kept{Item: item, Copy: c, Bytes: int64(len(raw)), SHA256: job.Digest(content)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.record(l).kept(k.Item) != nil {
		return k, nil
	}
	// The item's ID makes it the same command; a lost answer changes nothing.
	return k, d.commit(ctx, l, ledger.Command{ID: "kept/" + l.id + "/" + k.Item, Actor: actor}, typeKept, k)
}

// reasonOf says why a message is pulled.
func reasonOf(r *record) string {
	if len(r.Chain) == 0 {
		return ""
	}
	return join(r.Chain[0].How, r.Chain[0].What)
}

// room reports whether one copy more can be kept track of.
func (r *record) room(c *mailbox.Copy) error {
	size := copyBytes(c)
	for n := range r.Kept {
		size += copyBytes(&r.Kept[n].Copy)
	}
	if len(r.Kept) >= maxKept || size > maxKeptAll {
		return fmt.Errorf("%w: %d are in quarantine", ErrTooMany, len(r.Kept))
	}
	return nil
}

// bounded cuts what of a copy a stranger can make long. Names that are too long
// are of no use for finding it; folder and ID are what puts it back.
func bounded(c *mailbox.Copy) {
	if len(c.MessageID) > maxName {
		c.MessageID = ""
	}
	if len(c.WeirID) > maxName {
		c.WeirID = ""
	}
	size := 0
	for n, k := range c.Keywords {
		if size += len(k); size > maxWords {
			c.Keywords = slices.Clone(c.Keywords[:n])
			return
		}
	}
}

// Content gives the bytes of the copy that a restore puts back. The caller closes
// it. Errors satisfy ErrLease, ErrInvalid or quarantine.ErrGone, among others.
func (d *Desk) Content(ctx context.Context, actor, lease string) (blob.Content, error) {
	h, err := d.hold(actor, lease)
	if err != nil {
		return nil, err
	}
	defer d.let(h)
	if h.task.kind != job.Restore {
		return nil, fmt.Errorf("%w: only a restore needs content", ErrInvalid)
	}
	_, content, err := d.o.Items.Message(ctx, h.task.item, actor, "restore")
	return content, err
}

// Report takes what became of a job and ends its lease. When it returns without
// an error, that is durable. It may be called again when the answer was lost: a
// lease that was reported is no error for ten minutes. Errors satisfy ErrLease or
// ErrInvalid, among others.
func (d *Desk) Report(ctx context.Context, actor, lease string, r job.Result) error {
	if !slices.Contains(job.Outcomes(), r.Outcome) {
		return fmt.Errorf("%w: %.40q is no outcome of a job", ErrInvalid, r.Outcome)
	}
	h, err := d.hold(actor, lease)
	if err != nil {
		if d.reported(actor, lease) {
			return nil
		}
		return err
	}
	over := false
	defer func() {
		if !over { // also after a panic, which the caller may survive
			d.let(h)
		}
	}()
	ctx, cancel := detached(ctx)
	defer cancel()
	l := h.task.live
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.reported(actor, lease) { // by a call that came at the same time
		return nil
	}
	var pause time.Duration
	if h.task.kind == job.Restore {
		pause, err = d.reportRestore(ctx, h, &r)
	} else {
		pause, err = d.reportPull(ctx, h, &r)
	}
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	d.queue.end(h)
	over = true
	d.queue.ended[h.id] = ended{actor, now.Add(afterEnd)}
	d.unlink(h.task)
	if l.attempts++; pause == 0 {
		l.attempts = 0
	}
	d.sync(l, now.Add(pause))
	d.rouse()
	return nil
}

func (d *Desk) reported(actor, lease string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.queue.ended[lease]
	return ok && e.actor == actor
}
