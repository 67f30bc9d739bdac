package app

import (
	"context"
	"errors"

	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/wal"
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

type watchedLedger struct {
	*ledger.Ledger
	a *App
}

// Commit implements quarantine.Ledger and its like.
func (w watchedLedger) Commit(ctx context.Context, c ledger.Command, decide func(ledger.State) ([]ledger.Event, error)) (ledger.Receipt, error) {
	r, err := w.Ledger.Commit(ctx, c, decide)
	w.a.endOnFailedLog(err)
	return r, err
}

func (a *App) endOnFailedLog(err error) {
	if errors.Is(err, wal.ErrFailed) {
		a.fail(err)
	}
}
