package quarantine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/blob"
)

// Delete takes an item's message away for good; its record stays. Copies that
// were not released are lost, so it needs a reason. Errors satisfy ErrNotFound,
// ErrGone, ErrBusy or ErrReason.
func (q *Quarantine) Delete(ctx context.Context, id, actor, reason string) (*Item, error) {
	if strings.TrimSpace(reason) == "" {
		return nil, ErrReason
	}
	return q.remove(ctx, id, actor, reason, typeDeleted)
}

func (q *Quarantine) remove(ctx context.Context, id, actor, reason, kind string) (*Item, error) {
	command := ledger.Command{ID: kind + "/" + q.o.Identity.NewID(), Entity: entityOf(id), Actor: actor, Reason: reason}
	receipt, err := q.commit(ctx, command, kind, struct{}{}, func(now *Item) error {
		if now.Gone != "" {
			return fmt.Errorf("%w: it was %s", ErrGone, now.Gone)
		}
		if now.Attempt != "" {
			return ErrBusy
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	q.o.Logger.Info("item removed", zap.String("item", id), zap.String("actor", actor), zap.String("how", kind))
	q.see(ctx, receipt)
	item, err := q.state(id)
	if err != nil {
		return nil, err
	}
	// What is too young to be removed now, Tidy removes later.
	if _, err := q.dropBlob(ctx, item.Facts.Blob, q.o.Identity.Now().Add(-q.current().HoldTime)); err != nil && !errors.Is(err, blob.ErrRecent) {
		q.o.Logger.Warn("the message of a removed item is still there", zap.String("item", id), zap.Error(err))
	}
	return item, nil
}

// dropBlob removes a blob that no item needs and that was put before the time;
// known says whether any item ever did. The view has to have seen all that was
// recorded by then.
func (q *Quarantine) dropBlob(ctx context.Context, ref blob.Ref, before time.Time) (known bool, err error) {
	needed, known, err := q.o.View.uses(ref)
	if err != nil || needed || !known {
		return known, err
	}
	return true, q.deleteBlob(ctx, ref, before)
}

func (q *Quarantine) deleteBlob(ctx context.Context, ref blob.Ref, before time.Time) error {
	if err := q.o.Blobs.Delete(ctx, ref, before); err != nil && !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	return nil
}

// Tidy expires what is older than the retention and removes blobs that no item
// needs: those of removed items, and, once they are older than the retention,
// those that no item ever named. A message whose item could not be recorded
// leaves such a blob; but so does every message that is held when the ledger is
// lost or an older one is put in its place, and then the blob is all there is of
// it. last gives the ledger's end.
func (q *Quarantine) Tidy(ctx context.Context, last func() (ledger.Cursor, error)) error {
	if err := q.expire(ctx); err != nil {
		return err
	}
	settings, now := q.current(), q.o.Identity.Now()
	before := now.Add(-settings.HoldTime)
	end, err := last()
	if err != nil {
		return err
	}
	if err := q.o.Ledger.Wait(ctx, end); err != nil {
		return err
	}
	unknown := 0
	for info, err := range q.o.Blobs.All(ctx) {
		if err != nil {
			return err
		}
		known, err := q.dropBlob(ctx, info.Ref, before)
		if err == nil && !known && info.Put.Before(before) {
			unknown++
			if settings.Retention > 0 {
				err = q.deleteBlob(ctx, info.Ref, now.Add(-max(settings.Retention, settings.HoldTime)))
			}
		}
		if err != nil && !errors.Is(err, blob.ErrRecent) {
			return err
		}
	}
	if old := int(q.unknown.Swap(int64(unknown))); unknown > old {
		q.o.Logger.Warn("messages are kept of which the ledger knows nothing: holding them failed, or the ledger is older than they are; they go after quarantine.retention",
			zap.Int("messages", unknown))
	}
	return nil
}

func (q *Quarantine) expire(ctx context.Context) error {
	retention := q.current().Retention
	if retention == 0 {
		return nil
	}
	limit := q.o.Identity.Now().Add(-retention)
	var due []string
	before, allGone := q.goneTo(), ""
	for item, err := range q.o.View.items("", "") {
		if err != nil {
			return err
		}
		if item.ID <= before {
			break
		}
		switch {
		case item.Gone == "":
			allGone = ""
			if item.Attempt == "" && item.Held.Before(limit) {
				due = append(due, item.ID)
			}
		case allGone == "" && cameBefore(item.ID, limit): // no younger one can get a smaller ID
			allGone = item.ID
		}
	}
	q.mu.Lock()
	q.allGone = max(q.allGone, allGone)
	q.mu.Unlock()
	for _, id := range due {
		_, err := q.remove(ctx, id, "rule:retention", "older than quarantine.retention", typeExpired)
		if err != nil && !errors.Is(err, ErrGone) && !errors.Is(err, ErrBusy) {
			return err
		}
	}
	return nil
}

// Run tidies now and then until the context ends.
func (q *Quarantine) Run(ctx context.Context, every time.Duration, last func() (ledger.Cursor, error)) {
	for {
		if err := q.Tidy(ctx, last); err != nil && ctx.Err() == nil {
			q.o.Logger.Error("the quarantine could not be tidied; it is tried again", zap.Error(err), zap.Duration("in", every))
		}
		timer := time.NewTimer(every)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
