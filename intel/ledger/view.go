package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/kv"
)

// View is derived from the ledger's events and can be built again from them at
// any time. Package viewtest has the conformance suite. The ledger calls its
// methods from one goroutine, one after the other. It lets events gather for a
// moment (50 ms) before it applies them, unless somebody waits (Ledger.Wait).
type View interface {
	// Name names the view in logs and metrics; it is always the same.
	Name() string
	// Applied gives the cursor that the last Apply came with, zero for a view that
	// is new or was emptied.
	Applied() (Cursor, error)
	// Apply takes events in the order of the ledger, and keeps what it makes of them
	// and the cursor all together or not at all. It may be given events again that
	// it has applied, when the cursor was not kept. It passes over types that it
	// does not know, and takes erased events, which have no data. An error makes the
	// same call come again later.
	Apply(ctx context.Context, events []Event, upTo Cursor) error
	// Rebuild empties the view, because its cursor is not of this ledger.
	Rebuild(ctx context.Context) error
}

// AppliedIn gives the cursor that a view last kept in its database under its
// name, for Applied. Errors are the database's, or satisfy ErrCursor.
func AppliedIn(db *kv.DB, name string) (Cursor, error) {
	s, err := db.Snapshot()
	if err != nil {
		return Cursor{}, err
	}
	defer s.Release()
	raw, err := s.Applied(name)
	if err != nil {
		return Cursor{}, err
	}
	return CursorFromBytes(raw)
}

// ForgetIn empties a view in its database, for Rebuild: all keys that begin with one
// of the prefixes. Errors are the database's.
func ForgetIn(ctx context.Context, db *kv.DB, name string, prefixes ...string) error {
	// The cursor goes first: what is left without it is only applied again.
	var b kv.Batch
	b.SetApplied(name, nil)
	if err := db.Commit(&b); err != nil {
		return err
	}
	for _, p := range prefixes {
		if err := db.DeletePrefix(ctx, []byte(p)); err != nil {
			return err
		}
	}
	return nil
}

// Bounds on what one Apply is given.
const (
	groupEvents = 256
	groupBytes  = 1 << 20
)

// viewsAfter is how long events gather for a view, unless somebody waits for them:
// many at once cost it a fraction of what they cost one by one.
const viewsAfter = 50 * time.Millisecond

// runner keeps one view up to date.
type runner struct {
	l    *Ledger
	view View
	log  *zap.Logger

	mu      sync.Mutex
	applied Cursor
	err     error         // what keeps the view from going on at the moment
	moved   chan struct{} // closed when applied or err changes; nil if nobody waits

	hurry chan struct{} // somebody waits
}

func newRunner(l *Ledger, v View) *runner {
	return &runner{l: l, view: v, log: l.o.Logger.With(zap.String("view", v.Name())), hurry: make(chan struct{}, 1)}
}

// run follows the ledger until it closes. After an error it begins anew with what
// the view says it has applied.
func (r *runner) run() {
	const longest = 10 * time.Second
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, longest) {
		progress, err := r.follow()
		if r.l.ctx.Err() != nil {
			r.stuck(ErrClosed)
			return
		}
		r.stuck(fmt.Errorf("view %s: %w", r.view.Name(), err))
		r.log.Error("a view cannot go on and is tried again", zap.Error(err), zap.Duration("in", wait))
		if progress {
			wait = 100 * time.Millisecond
		}
		select {
		case <-time.After(wait):
		case <-r.l.ctx.Done():
		}
	}
}

// follow applies events until something fails, and reports whether any were.
func (r *runner) follow() (progress bool, err error) {
	at, err := r.begin()
	if err != nil {
		return false, err
	}
	r.reached(at)
	for {
		group, upTo, full, err := r.gather(at)
		if err != nil {
			return progress, err
		}
		if len(group) > 0 {
			if err := r.view.Apply(r.l.ctx, group, upTo); err != nil {
				return progress, err
			}
			at, progress = upTo, true
			r.reached(at)
		}
		if full {
			continue
		}
		if err := r.l.await(r.l.ctx, at); err != nil {
			return progress, err
		}
		r.pause()
	}
}

// pause lets events gather.
func (r *runner) pause() {
	timer := time.NewTimer(viewsAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.hurry:
	case <-r.l.ctx.Done():
	}
}

// gather reads the next events: whole records, as many as go into a group, and
// reports whether it is full.
func (r *runner) gather(after Cursor) (group []Event, upTo Cursor, full bool, err error) {
	size := 0
	upTo = after
	for e, err := range r.l.Events(after) {
		if err != nil {
			return nil, upTo, false, err
		}
		group = append(group, e)
		size += len(e.Data)
		whole := e.Cursor != upTo // the cursor moves with a record's last event
		upTo = e.Cursor
		if full = whole && (len(group) >= groupEvents || size >= groupBytes); full {
			break
		}
	}
	return group, upTo, full, nil
}

// begin finds where the view stands, and empties it when that is nowhere.
func (r *runner) begin() (Cursor, error) {
	at, err := r.view.Applied()
	if err == nil {
		err = r.l.checkCursor(at)
	}
	if !errors.Is(err, ErrCursor) {
		return at, err
	}
	r.log.Warn("a view does not fit the ledger and is built again", zap.Error(err))
	return Cursor{}, r.view.Rebuild(r.l.ctx)
}

// reached publishes how far the view is.
func (r *runner) reached(at Cursor) { r.publish(func() { r.applied, r.err = at, nil }) }

// stuck publishes what keeps the view from going on.
func (r *runner) stuck(err error) { r.publish(func() { r.err = err }) }

func (r *runner) publish(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	if r.moved != nil {
		close(r.moved)
		r.moved = nil
	}
}

// lag gives the bytes of the log that the view has yet to apply.
func (r *runner) lag() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return uint64(r.l.log.Last() - r.applied.at)
}

// hasten ends the gathering of events, or the next one if none is under way.
func (r *runner) hasten() {
	select {
	case r.hurry <- struct{}{}:
	default:
	}
}

func (r *runner) wait(ctx context.Context, c Cursor) error {
	for {
		r.mu.Lock()
		applied, err := r.applied, r.err
		if r.moved == nil {
			r.moved = make(chan struct{})
		}
		moved := r.moved
		r.mu.Unlock()
		if applied.at >= c.at {
			return nil
		}
		if errors.Is(err, ErrClosed) {
			return ErrClosed
		}
		r.hasten()
		select {
		case <-moved:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}
