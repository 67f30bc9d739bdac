package incident

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine"
)

// Restore asks for copies to be put back into their mailboxes.
type Restore struct {
	Incident   string
	Deliveries []string // IDs; with Items empty too: all that have a copy in quarantine
	Items      []string // IDs of quarantine items
	Actor      string
	Reason     string // required
	Override   bool   // although today's rules would hold it
}

// restoreWorkers is how many messages are judged at the same time.
const restoreWorkers = 4

// Restore begins to put copies back, after today's rules have judged each again,
// and gives their number. What was restored is not pulled again for the same key.
// A pull of the delivery that has not ended is given up. It may be called again:
// what is on its way or back is passed over, and so is what was deleted from
// quarantine, unless it is named. Errors satisfy ErrNotFound, ErrReason,
// ErrNothing, ErrBusy, quarantine.ErrGone or *quarantine.BlockedError, among
// others; some may be on their way then. What today's rules would hold stays, and
// keeps nothing else from going back: the error says how many.
func (d *Desk) Restore(ctx context.Context, r Restore) (int, error) {
	if strings.TrimSpace(r.Reason) == "" {
		return 0, ErrReason
	}
	if err := d.ready(ctx); err != nil {
		return 0, err
	}
	defer d.lock(r.Incident)()
	k, err := d.docket(r.Incident)
	if err != nil {
		return 0, err
	}
	chosen, busy, err := d.restorable(ctx, &r)
	if err != nil {
		return 0, err
	}
	if len(chosen) == 0 {
		if busy {
			return 0, ErrBusy
		}
		return 0, fmt.Errorf("%w: no copy of what was named is in quarantine", ErrNothing)
	}
	n, err := d.restoreAll(ctx, &r, chosen, k.closed)
	if n > 0 {
		d.o.Logger.Info("copies are restored", zap.String("incident", r.Incident), zap.String("actor", r.Actor), zap.Int("copies", n), zap.Bool("override", r.Override))
		d.seeSoon(ctx)
	}
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: the copies are no longer in quarantine", ErrNothing)
	}
	if err == nil && busy {
		err = fmt.Errorf("some were left out: %w", ErrBusy)
	}
	return n, err
}

// returning is a delivery and the items of it that go back.
type returning struct {
	rec   *record
	items []string
}

// restorable gives what is to go back. busy says that a sidecar is pulling some.
func (d *Desk) restorable(ctx context.Context, r *Restore) (chosen []returning, busy bool, err error) {
	if err := d.see(ctx); err != nil {
		return nil, false, err
	}
	missing := map[string]bool{}
	for _, id := range slices.Concat(r.Deliveries, r.Items) {
		missing[id] = true
	}
	for rec, err := range d.o.View.deliveries(r.Incident, "") {
		if err != nil {
			return nil, false, err
		}
		d.mu.Lock()
		l := d.lives[r.Incident][rec.ID]
		pulling := false
		if l != nil {
			rec, pulling = l.rec, l.pull != nil && l.pull.lease != nil
		}
		d.mu.Unlock()
		delete(missing, rec.ID)
		whole := len(r.Deliveries)+len(r.Items) == 0 || slices.Contains(r.Deliveries, rec.ID)
		var items []string
		for n := range rec.Kept {
			k := &rec.Kept[n]
			delete(missing, k.Item)
			if k.State == keptHere && (whole || slices.Contains(r.Items, k.Item)) {
				items = append(items, k.Item)
			}
		}
		if len(items) == 0 {
			continue
		}
		if pulling {
			busy = true
			continue
		}
		chosen = append(chosen, returning{rec, items})
	}
	for id := range missing {
		return nil, false, fmt.Errorf("%w: %.40s in incident %s", ErrNotFound, id, r.Incident)
	}
	return chosen, busy, nil
}

// restoreAll sends deliveries on their way, some at the same time, and stops at
// the first error but that of a message that would be held again.
func (d *Desk) restoreAll(ctx context.Context, r *Restore, chosen []returning, closed bool) (int, error) {
	work := make(chan returning)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var mu sync.Mutex
	var wg sync.WaitGroup
	total := 0
	var held []error
	for range min(restoreWorkers, len(chosen)) {
		wg.Go(func() {
			for one := range work {
				n, stayed, err := d.restoreOne(ctx, r, one, closed)
				mu.Lock()
				total += n
				held = append(held, stayed...)
				mu.Unlock()
				if err != nil {
					stop(err)
				}
			}
		})
	}
	for _, one := range chosen {
		if ctx.Err() != nil {
			break
		}
		work <- one
	}
	close(work)
	wg.Wait()
	switch err := context.Cause(ctx); {
	case err != nil || len(held) == 0:
		return total, err
	case total+len(held) == 1:
		return total, held[0]
	default:
		return total, fmt.Errorf("%d of %d copies stay in quarantine, and the others are on their way; the first: %w", len(held), total+len(held), held[0])
	}
}

// restoreOne sends the copies of one delivery on their way, and gives an error for
// each that would be held again. The items go first: an end of the daemon in
// between leaves items that are said to be on their way, and the same command again
// takes them up.
func (d *Desk) restoreOne(ctx context.Context, r *Restore, one returning, closed bool) (n int, held []error, err error) {
	var going []string
	var failed error
	for _, item := range one.items {
		_, err := d.o.Items.Return(ctx, item, r.Actor, r.Reason, r.Override)
		if errors.Is(err, quarantine.ErrGone) && !slices.Contains(r.Items, item) {
			continue
		}
		if err != nil {
			err = fmt.Errorf("item %s of %s: %w", item, one.rec.Address, err)
			if _, ok := errors.AsType[*quarantine.BlockedError](err); ok {
				held = append(held, err)
				continue
			}
			failed = err
			break
		}
		going = append(going, item)
	}
	if len(going) == 0 {
		return 0, held, failed
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	d.mu.Lock()
	l := d.liveOf(one.rec)
	l.closed = closed // then it goes back, and nothing else is done with it
	d.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	err = d.commit(ctx, l, ledger.Command{ID: "restore/" + l.id + "/" + d.o.Identity.NewID(), Actor: r.Actor, Reason: r.Reason},
		typeRestoring, restoringData{going})
	d.mu.Lock()
	defer d.mu.Unlock()
	l.attempts = 0
	d.sync(l, d.now())
	d.rouse()
	if err != nil {
		return 0, held, err
	}
	return len(going), held, failed
}
