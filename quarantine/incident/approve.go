package incident

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/ledger"
)

// Approval is a person's decision that deliveries be pulled.
type Approval struct {
	Incident   string
	Deliveries []string // IDs; empty: all that wait
	Actor      string
	Reason     string // required
}

// maxChosen bounds the deliveries that one event names.
const maxChosen = 10_000

// Approve starts the pulls of deliveries that wait, and gives their number. What
// differs from the message is pulled then too, as it was when it was looked at. Of
// deliveries that are named, those whose pull has failed, or found no mailbox or
// no mail, are tried again; others that do not wait are passed over. Whoever opened
// the incident, or brought a delivery into it, may approve up to CapIncident
// deliveries of it himself. An approval lapses when the pull was not tried within
// ApprovalFor. Errors satisfy ErrNotFound, ErrClosed, ErrReason, ErrNothing or
// ErrSecondPerson, among others; then nothing was approved, or part of them if
// there are more than 10 000.
func (d *Desk) Approve(ctx context.Context, a Approval) (int, error) {
	if strings.TrimSpace(a.Reason) == "" {
		return 0, ErrReason
	}
	if err := d.ready(ctx); err != nil {
		return 0, err
	}
	defer d.lock(a.Incident)()
	k, err := d.docket(a.Incident)
	if err != nil {
		return 0, err
	}
	chosen, err := d.waiting(ctx, &a)
	if err != nil {
		return 0, err
	}
	if len(chosen) == 0 {
		return 0, fmt.Errorf("%w: no delivery of %s waits for approval", ErrNothing, a.Incident)
	}
	var own, others []*record
	for _, r := range chosen {
		if a.Actor == k.actor || a.Actor == r.By {
			own = append(own, r)
		} else {
			others = append(others, r)
		}
	}
	if err := k.mayApprove(a.Actor, own, d.current().CapIncident); err != nil {
		return 0, err
	}
	n := 0
	for part := range slices.Chunk(own, maxChosen) {
		if err := d.approve(ctx, &a, part, true); err != nil {
			return n, err
		}
		n += len(part)
	}
	for part := range slices.Chunk(others, maxChosen) {
		if err := d.approve(ctx, &a, part, false); err != nil {
			return n, err
		}
		n += len(part)
	}
	d.o.Logger.Info("pulls were approved", zap.String("incident", a.Incident), zap.String("actor", a.Actor), zap.Int("deliveries", n))
	d.seeSoon(ctx)
	return n, nil
}

// waiting gives the deliveries that an approval is about, as they are now.
func (d *Desk) waiting(ctx context.Context, a *Approval) ([]*record, error) {
	var chosen []*record
	d.mu.Lock()
	for id, l := range d.lives[a.Incident] {
		if l.rec.Waits != "" && (len(a.Deliveries) == 0 || slices.Contains(a.Deliveries, id)) {
			chosen = append(chosen, l.rec)
		}
	}
	d.mu.Unlock()
	if len(a.Deliveries) > 0 {
		again, err := d.again(ctx, a)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, again...)
	}
	slices.SortFunc(chosen, func(a, b *record) int { return strings.Compare(a.ID, b.ID) })
	return chosen, nil
}

// again gives the named deliveries that can be tried again.
func (d *Desk) again(ctx context.Context, a *Approval) ([]*record, error) {
	if err := d.see(ctx); err != nil {
		return nil, err
	}
	s, err := d.o.View.db.Snapshot()
	if err != nil {
		return nil, err
	}
	defer s.Release()
	var all []*record
	for _, id := range a.Deliveries {
		r, err := d.o.View.record(s, a.Incident, id)
		if err != nil {
			return nil, err
		}
		if r == nil {
			return nil, fmt.Errorf("%w: delivery %.40s in incident %s", ErrNotFound, id, a.Incident)
		}
		d.mu.Lock()
		l := d.lives[a.Incident][id]
		if l != nil {
			r = l.rec
		}
		busy := l != nil && l.leased()
		d.mu.Unlock()
		if !busy && r.Waits == "" && !r.Open && r.Mailbox != "" && slices.Contains([]Outcome{Failed, MailboxMissing, NotFound, AlreadyGone, OutOfReach}, r.Outcome) {
			all = append(all, r)
		}
	}
	return all, nil
}

// approve commits a decision about some deliveries. own says that whoever approves
// asked for them himself.
func (d *Desk) approve(ctx context.Context, a *Approval, some []*record, own bool) error {
	data := chosenData{Own: own, Deliveries: idsOfRecords(some)}
	e, err := event(typeApproved, data)
	if err != nil {
		return err
	}
	most := d.current().CapIncident
	c := ledger.Command{ID: "approve/" + d.o.Identity.NewID(), Entity: entityOf(a.Incident), Actor: a.Actor, Reason: legible(a.Reason, ledger.MaxReason)}
	receipt, err := d.o.Ledger.Commit(ctx, c, func(s ledger.State) ([]ledger.Event, error) {
		now, err := docketOf(s)
		if err != nil {
			return nil, err
		}
		if now.closed {
			return nil, fmt.Errorf("%w: %s", ErrClosed, now.id)
		}
		if own {
			err = now.mayApprove(a.Actor, some, most)
		}
		return []ledger.Event{e}, err
	})
	if err != nil {
		return err
	}
	at := d.now()
	d.decided(some, func(r *record) { r.approve(receipt.Version, at) })
	return nil
}

// mayApprove gives ErrSecondPerson where somebody has asked for too many of an
// incident's deliveries to approve these too.
func (k *docket) mayApprove(actor string, own []*record, most int) error {
	n := len(k.own[actor])
	for _, r := range own {
		if !k.own[actor][r.ID] {
			n++
		}
	}
	if len(own) > 0 && n > most {
		return fmt.Errorf("%w: who asks for a pull approves at most %s of it himself, and this makes %d", ErrSecondPerson, counted(most, "delivery", "deliveries"), n)
	}
	return nil
}

func idsOfRecords(some []*record) []string {
	ids := make([]string, len(some))
	for n, r := range some {
		ids[n] = r.ID
	}
	return ids
}

// decided applies a decision of an incident to deliveries in memory.
func (d *Desk) decided(some []*record, apply func(*record)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	for _, r := range some {
		l := d.liveOf(r)
		changed := *l.rec
		apply(&changed)
		l.rec, l.attempts = &changed, 0
		d.sync(l, now)
	}
	d.rouse()
}

// lapse takes back what was approved and not tried in time.
func (d *Desk) lapse(ctx context.Context) error {
	due := map[string][]*record{}
	d.mu.Lock()
	now := d.now()
	for id, lives := range d.lives {
		for _, l := range lives {
			switch {
			case l.closed || l.leased():
			case l.rec.pullable() && l.rec.expired(now, d.settings.ApprovalFor):
				due[id] = append(due[id], l.rec)
			case l.pull == nil:
				d.sync(l, now) // ApprovalFor may be longer now
			}
		}
	}
	d.mu.Unlock()
	for id := range due {
		if err := d.lapseOf(ctx, id, due[id]); err != nil {
			return fmt.Errorf("incident %s: %w", id, err)
		}
	}
	return nil
}

func (d *Desk) lapseOf(ctx context.Context, id string, some []*record) error {
	defer d.lock(id)()
	after := d.current().ApprovalFor
	return d.takeBack(ctx, id, some, "weir:approval", "", false, func(l *live) bool { return l.rec.expired(d.now(), after) })
}

// Doubt makes all pulls that are wanted wait for a person, in all incidents, and
// gives their number: after a restore from a backup nobody knows what was done
// since. Reason is said of each. It may be called again after a crash.
func (d *Desk) Doubt(ctx context.Context, actor, reason string) (int, error) {
	if err := d.ready(ctx); err != nil {
		return 0, err
	}
	all := map[string][]*record{}
	n := 0
	d.mu.Lock()
	for id, lives := range d.lives {
		for _, l := range lives {
			if !l.closed && l.rec.works() && l.rec.Outcome != Restoring {
				all[id] = append(all[id], l.rec)
				n++
			}
		}
	}
	d.mu.Unlock()
	for id, some := range all {
		unlock := d.lock(id)
		err := d.takeBack(ctx, id, some, actor, reason, true, func(l *live) bool { return l.rec.works() && l.rec.Outcome != Restoring })
		unlock()
		if err != nil {
			return n, fmt.Errorf("incident %s: %w", id, err)
		}
	}
	d.seeSoon(ctx)
	return n, nil
}

// lapsedBecause says why a delivery waits again.
func lapsedBecause(doubt bool, reason string) string {
	if doubt {
		return legible(join("a person has to look again", reason), maxWhat)
	}
	return "the approval lapsed: the pull was not tried in time"
}

// takeBack makes deliveries wait again for which it still holds that they should.
func (d *Desk) takeBack(ctx context.Context, id string, some []*record, actor, reason string, doubt bool, still func(*live) bool) error {
	d.mu.Lock()
	some = slices.DeleteFunc(some, func(r *record) bool {
		l := d.lives[id][r.ID]
		return l == nil || l.leased() || !still(l)
	})
	for _, r := range some { // so that nobody is given it meanwhile
		if l := d.lives[id][r.ID]; l.pull != nil {
			d.queue.remove(l.pull)
			l.pull = nil
		}
	}
	d.mu.Unlock()
	slices.SortFunc(some, func(a, b *record) int { return strings.Compare(a.ID, b.ID) })
	reason = legible(reason, ledger.MaxReason)
	for part := range slices.Chunk(some, maxChosen) {
		e, err := event(typeLapsed, chosenData{Deliveries: idsOfRecords(part), Doubt: doubt})
		if err != nil {
			return err
		}
		c := ledger.Command{ID: "lapse/" + d.o.Identity.NewID(), Entity: entityOf(id), Actor: actor, Reason: reason}
		receipt, err := d.o.Ledger.Commit(ctx, c, always(e))
		if err != nil {
			return err
		}
		at := d.now()
		d.decided(part, func(r *record) { r.lapse(receipt.Version, lapsedBecause(doubt, reason), at) })
		d.o.Logger.Warn("pulls wait for approval again", zap.String("incident", id), zap.Int("deliveries", len(part)), zap.Bool("doubt", doubt))
	}
	return nil
}

// sweepEvery is how often approvals are looked at.
const sweepEvery = time.Minute
