package app

import (
	"context"
	"errors"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/wal"
	"github.com/weirmail/weir/quarantine"
)

// A log that a failed write left in doubt takes nothing more until it is opened
// anew. Then the daemon ends, and whoever started it starts it again: opening
// repairs what can be repaired. Until then mail gets the configured answer.

type watchedJournal struct {
	*journal.Journal
	a *App
}

// Append implements filter.Journal.
func (w watchedJournal) Append(ctx context.Context, e *journal.Entry) (wal.Position, error) {
	at, err := w.Journal.Append(ctx, e)
	w.a.endOnFailedLog(err)
	return at, err
}

type watchedQuarantine struct {
	*quarantine.Quarantine
	a *App
}

// Hold implements filter.Quarantine.
func (w watchedQuarantine) Hold(ctx context.Context, e *evidence.Evidence, v *verdict.Verdict, ref string) (string, error) {
	item, err := w.Quarantine.Hold(ctx, e, v, ref)
	w.a.endOnFailedLog(err)
	return item, err
}

// Release implements control.Quarantine.
func (w watchedQuarantine) Release(ctx context.Context, r quarantine.Release) (*quarantine.Item, error) {
	item, err := w.Quarantine.Release(ctx, r)
	w.a.endOnFailedLog(err)
	return item, err
}

// Delete implements control.Quarantine.
func (w watchedQuarantine) Delete(ctx context.Context, id, actor, reason string) (*quarantine.Item, error) {
	item, err := w.Quarantine.Delete(ctx, id, actor, reason)
	w.a.endOnFailedLog(err)
	return item, err
}

func (a *App) endOnFailedLog(err error) {
	if errors.Is(err, wal.ErrFailed) {
		a.fail(err)
	}
}
