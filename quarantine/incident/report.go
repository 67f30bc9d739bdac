package incident

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/delivery"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// reportPull records what became of a pull, if that says something new, and gives
// the pause before the next try.
func (d *Desk) reportPull(ctx context.Context, h *lease, r *job.Result) (time.Duration, error) {
	l := h.task.live
	rec := d.record(l)
	o, err := d.judge(ctx, rec, r)
	if err != nil {
		return 0, err
	}
	if o.news(rec) {
		if err := d.commit(ctx, l, ledger.Command{ID: "outcome/" + h.id, Actor: h.actor}, typeOutcome, o); err != nil {
			return 0, err
		}
		d.told(rec, &o)
	}
	if !o.Open {
		return 0, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return pauseAfter(o.Outcome, l.attempts), nil
}

// Pauses between tries.
const (
	firstPause  = 5 * time.Second
	maxPause    = 10 * time.Minute // of a mail store that does not answer
	maxNotFound = 30 * time.Minute // of mail that may still arrive; news of the log end it
)

func pauseAfter(o Outcome, attempts int) time.Duration {
	most := maxPause
	if o == NotFound {
		most = maxNotFound
	}
	return min(firstPause<<min(attempts, 16), most)
}

// judge says what a sidecar's result means for the delivery.
func (d *Desk) judge(ctx context.Context, rec *record, r *job.Result) (outcomeData, error) {
	o := outcomeData{Outcome: Outcome(r.Outcome), Detail: legible(r.Detail, maxDetail)}
	for n := range r.Copies {
		c := r.Copies[n]
		if c.Fate == job.Removed {
			o.Removed++
		}
		if len(o.Copies) < maxCopies {
			o.Copies = append(o.Copies, shown(c))
		}
	}
	switch r.Outcome {
	case job.Pulled:
		if len(rec.Kept) == 0 {
			// What cannot be must not look well.
			o.Outcome, o.Detail = Failed, "the sidecar says that it was pulled, and there is no copy in quarantine"
		}
	case job.NotFound:
		return o, d.judgeNotFound(ctx, rec, &o)
	case job.Unreachable:
		o.Open = true
	case job.Differs:
		o.Waits = "what bears its name there has another content"
		if len(o.Copies) > 0 && !slices.ContainsFunc(o.Copies, func(c job.Copy) bool { return c.Fate == job.Differ }) {
			o.Waits = "a copy lies in a folder for sent mail"
		}
	case job.Restored:
		o.Outcome, o.Detail = Failed, "the sidecar says that it was restored, and was to pull it"
	case job.AlreadyGone:
		return o, d.judgeGone(rec, &o)
	case job.MailboxMissing, job.Failed:
	}
	return o, nil
}

// judgeNotFound says what it means that there is no copy in the mailbox.
func (d *Desk) judgeNotFound(ctx context.Context, rec *record, o *outcomeData) error {
	if len(rec.Kept) > 0 {
		// An earlier lease ended between the removal and its report.
		o.Outcome, o.Detail, o.Removed = Pulled, "taken out under an earlier lease", max(0, len(rec.Kept)-rec.Removed)
		return nil
	}
	if err := d.see(ctx); err != nil {
		return err
	}
	others, err := d.o.View.sharing(rec.Incident, rec.Ref, rec.Mailbox)
	if err != nil {
		return err
	}
	// Two addresses of one mailbox are two copies, and the first pull took both.
	surplus, with := 0, ""
	for _, s := range others {
		if s.ID == rec.ID {
			continue
		}
		surplus += s.Removed
		switch s.Outcome {
		case Pulled, Restoring, Restored:
			surplus--
			with = s.Address
		}
	}
	if surplus > 0 {
		o.Outcome, o.Detail = Pulled, "taken out together with the copy of "+with
		return nil
	}
	if rec.Status == delivery.Mailbox {
		o.Outcome, o.Detail = AlreadyGone, "the log says that it was put into this mailbox, and it is not there any more: its user has taken it away"
		return d.judgeGone(rec, o)
	}
	settings := d.current()
	// It may still arrive, or the log may still tell that it went elsewhere.
	o.Open = !rec.Status.Final() && !rec.Settled && d.now().Before(rec.came().Add(settings.waitsFor()))
	return nil
}

// judgeGone says where a copy may be that its user has taken out of its mailbox: one
// that he took by POP3 lies on his own machine.
func (d *Desk) judgeGone(rec *record, o *outcomeData) error {
	if !rec.Status.Final() {
		return nil // the log may have news of it
	}
	at, err := d.o.Tracker.Taken(rec.Mailbox, rec.Time)
	if err != nil || at.IsZero() {
		return err
	}
	o.Outcome = OutOfReach
	o.Detail = "it is not in the mailbox any more, whose user took mail away by POP3 at " + at.UTC().Format(time.RFC3339) + ": ask " + rec.Address
	return nil
}

// shown gives a copy as a listing shows it.
func shown(c job.Copy) job.Copy {
	c.Copy.Folder, c.Copy.ID = legible(c.Copy.Folder, maxText), legible(c.Copy.ID, maxText)
	c.Copy.MessageID, c.Copy.WeirID = "", ""
	c.Copy.Keywords = slices.DeleteFunc(slices.Clone(c.Copy.Keywords), func(k string) bool {
		return !(&mailbox.Copy{Keywords: []string{k}}).Forwarded()
	})
	c.Copy.Keywords = c.Copy.Keywords[:min(len(c.Copy.Keywords), 2)]
	c.Copy.Flags = c.Copy.Flags[:min(len(c.Copy.Flags), 8)]
	c.Detail, c.Item = legible(c.Detail, maxDetail), legible(c.Item, maxText)
	return c
}

// news reports whether an outcome says something that is not known yet.
func (o *outcomeData) news(r *record) bool {
	return !r.Tried || o.Outcome != r.Outcome || o.Open != r.Open || o.Waits != r.Waits || o.Removed > 0 || len(o.Copies) != len(r.Copies)
}

// told counts an outcome and logs it.
func (d *Desk) told(before *record, o *outcomeData) {
	d.metrics.outcomes.WithLabelValues(string(o.Outcome)).Inc()
	if o.Outcome == Pulled {
		d.metrics.seconds.Observe(d.now().Sub(before.Found).Seconds())
	}
	d.o.Logger.Info("a delivery has an outcome", zap.String("incident", before.Incident), zap.String("delivery", before.ID),
		zap.String("outcome", string(o.Outcome)), zap.String("mailbox", before.Mailbox), zap.String("detail", o.Detail))
}

// reportRestore records what became of a restore. The item knows first: when the
// daemon dies between the two, the restore is done again, and finds it done.
func (d *Desk) reportRestore(ctx context.Context, h *lease, r *job.Result) (time.Duration, error) {
	l, item := h.task.live, h.task.item
	data := restoredData{
		Item: item, Fate: isKept, Detail: legible(r.Detail, maxDetail), Folder: legible(r.Folder, maxName), Existed: r.Existed,
		Placed: mailbox.Copy{Folder: r.Placed.Folder, Role: r.Placed.Role, ID: r.Placed.ID, Size: r.Placed.Size, Date: r.Placed.Date},
	}
	if len(data.Placed.Folder) > maxName || len(data.Placed.ID) > maxName {
		data.Placed = mailbox.Copy{}
	}
	switch r.Outcome {
	case job.Restored:
		data.Fate = isBack
	case job.Unreachable:
		d.mu.Lock()
		pause := pauseAfter(Unreachable, l.attempts)
		first := l.attempts == 0
		d.mu.Unlock()
		if data.Fate = isLate; !first {
			return pause, nil
		}
		return pause, d.commit(ctx, l, ledger.Command{ID: "restored/" + h.id, Actor: h.actor}, typeRestored, data)
	default:
		data.Detail = join(string(r.Outcome), data.Detail)
	}
	if err := d.returned(ctx, h.actor, &data); err != nil {
		return 0, err
	}
	if data.Fate == isBack {
		// Before our own: when the daemon dies in between, this restore comes again.
		if err := d.restoredTogether(ctx, h, d.record(l)); err != nil {
			return 0, err
		}
	}
	if err := d.commit(ctx, l, ledger.Command{ID: "restored/" + h.id, Actor: h.actor}, typeRestored, data); err != nil {
		return 0, err
	}
	d.metrics.restores.WithLabelValues(string(data.Fate)).Inc()
	d.o.Logger.Info("a restore has an outcome", zap.String("incident", l.incident), zap.String("item", item),
		zap.String("outcome", string(r.Outcome)), zap.String("folder", data.Folder), zap.String("detail", data.Detail))
	return 0, nil
}

// restoredTogether gives the outcome of a restore to those deliveries whose copy
// was taken out together with this one's, once all of them are back.
func (d *Desk) restoredTogether(ctx context.Context, h *lease, rec *record) error {
	for n := range rec.Kept {
		if k := &rec.Kept[n]; k.Item != h.task.item && k.State != keptBack {
			return nil
		}
	}
	if err := d.see(ctx); err != nil {
		return err
	}
	others, err := d.o.View.sharing(rec.Incident, rec.Ref, rec.Mailbox)
	if err != nil {
		return err
	}
	for _, s := range others {
		if s.ID == rec.ID || s.Outcome != Pulled || len(s.Kept) > 0 {
			continue
		}
		if err := d.restoredWith(ctx, h, rec, s); err != nil {
			return err
		}
	}
	return nil
}

// restoredWith is restoredTogether for one of them.
func (d *Desk) restoredWith(ctx context.Context, h *lease, rec, without *record) error {
	d.mu.Lock()
	other := d.liveOf(without)
	d.mu.Unlock()
	// It has no copies, so nobody restores it: it never waits for ours.
	other.mu.Lock()
	defer other.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.sync(other, d.now())
	}()
	return d.commit(ctx, other, ledger.Command{ID: "restored/" + h.id + "/" + without.ID, Actor: h.actor}, typeOutcome,
		outcomeData{Outcome: Restored, Detail: "put back together with the copy of " + rec.Address, Copies: without.Copies})
}

// returned tells the quarantine what became of an item.
func (d *Desk) returned(ctx context.Context, actor string, r *restoredData) error {
	ok := r.Fate == isBack
	item, err := d.o.Items.Returned(ctx, r.Item, actor, ok, r.Detail)
	if err == nil && ok && item.State() == quarantine.Held {
		// An earlier report said that it did not work, and was half recorded.
		if _, err = d.o.Items.Return(ctx, r.Item, actor, "it stands in the mailbox again", true); err == nil {
			_, err = d.o.Items.Returned(ctx, r.Item, actor, true, r.Detail)
		}
	}
	if errors.Is(err, quarantine.ErrGone) {
		return nil
	}
	return err
}
