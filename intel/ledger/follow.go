package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/weirmail/weir/intel/wal"
)

// Follow gives the events behind a cursor and goes on with those that are
// committed later, until the context ends or the ledger closes. Every event is
// given at least once: who stores an event's Cursor in one with what it made of
// the event sees it exactly once. The last pair has an error: the context's
// cause, ErrClosed, ErrCursor, wal.ErrDamaged, Upcast's, or one of the file system.
func (l *Ledger) Follow(ctx context.Context, after Cursor) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			for e, err := range l.Events(after) {
				if !yield(e, err) || err != nil {
					return
				}
				after = e.Cursor
			}
			if err := l.await(ctx, after); err != nil {
				yield(Event{}, err)
				return
			}
		}
	}
}

// await returns when there is a record behind a cursor.
func (l *Ledger) await(ctx context.Context, after Cursor) error {
	err := l.log.Wait(ctx, after.at)
	if errors.Is(err, wal.ErrClosed) {
		return ErrClosed
	}
	return err
}

// Events gives the events behind a cursor that are there now. Errors are those
// of Follow.
func (l *Ledger) Events(after Cursor) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if err := l.checkCursor(after); err != nil {
			yield(Event{}, err)
			return
		}
		follow(l.log.Read(after.at), l.codec, l.o.Upcast, after, yield)
	}
}

// follow turns records into events. A follower that has not seen a record's last
// event has to begin with its first again, so all but the last carry the cursor
// of the record before.
func follow(records iter.Seq2[wal.Record, error], c codec, upcast func(*Event) error, after Cursor, yield func(Event, error) bool) {
	for raw, err := range records {
		var r *record
		if err == nil {
			r, err = c.decode(raw.Payload, raw.Position)
		}
		var events []Event
		if err == nil {
			events, err = r.events(upcast)
		}
		if err != nil {
			yield(Event{}, fmt.Errorf("read ledger: %w", err))
			return
		}
		for i := range events {
			events[i].Cursor = after
			if i == len(events)-1 {
				events[i].Cursor = r.cursor()
			}
			if !yield(events[i], nil) {
				return
			}
		}
		after = r.cursor()
	}
}

// checkCursor makes sure that a cursor is of this ledger.
func (l *Ledger) checkCursor(c Cursor) error {
	if c.IsZero() {
		return nil
	}
	r, err := l.record(c.at)
	if errors.Is(err, wal.ErrPosition) || errors.Is(err, wal.ErrDropped) {
		return fmt.Errorf("%w: %s: %w", ErrCursor, c, err)
	}
	if err != nil {
		return err
	}
	if r.cursor() != c {
		return fmt.Errorf("%w: %s: another record stands there", ErrCursor, c)
	}
	return nil
}

// Wait returns when every view has applied what lies before a cursor: then who
// committed can read what became of it. It gives the context's cause when that
// ends first, with what keeps a view from going on, and ErrClosed.
func (l *Ledger) Wait(ctx context.Context, c Cursor) error {
	for _, r := range l.runners {
		if err := r.wait(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// Last gives the cursor of the last event, zero when there is none.
func (l *Ledger) Last() (Cursor, error) {
	at := l.log.Last()
	if at == 0 {
		return Cursor{}, nil
	}
	r, err := l.record(at)
	if err != nil {
		return Cursor{}, err
	}
	return r.cursor(), nil
}
