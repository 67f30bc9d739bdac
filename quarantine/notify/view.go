package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
)

// View knows all notices. It is a ledger.View over a database that it shares: its
// keys begin with its prefixes.
//
//	notify/w | what it is about → notice that waits
//	notify/d | what it is about → notice that was sent or given up
type View struct {
	db      *kv.DB
	batch   kv.Batch      // of Apply, whose calls do not overlap; empty between them
	changed chan struct{} // has something in it when something was applied
}

const (
	viewName      = "notify"
	waitingPrefix = "notify/w"
	donePrefix    = "notify/d"
)

var _ ledger.View = (*View)(nil)

// NewView makes a view over a database.
func NewView(db *kv.DB) *View { return &View{db: db, changed: make(chan struct{}, 1)} }

// Name implements ledger.View.
func (v *View) Name() string { return viewName }

// Applied implements ledger.View.
func (v *View) Applied() (ledger.Cursor, error) { return ledger.AppliedIn(v.db, viewName) }

// Rebuild implements ledger.View.
func (v *View) Rebuild(ctx context.Context) error {
	return ledger.ForgetIn(ctx, v.db, viewName, waitingPrefix, donePrefix)
}

// Apply implements ledger.View.
func (v *View) Apply(_ context.Context, events []ledger.Event, upTo ledger.Cursor) error {
	s, err := v.db.Snapshot()
	if err != nil {
		return err
	}
	defer s.Release()
	changed := map[string]*Notice{}
	for i := range events {
		if err := apply(s, changed, &events[i]); err != nil {
			return err
		}
	}
	defer v.batch.Reset()
	for about, n := range changed {
		value, err := json.Marshal(n)
		if err != nil {
			return err
		}
		key, other := waitingPrefix+about, donePrefix+about
		if n.State != Waiting {
			key, other = other, key
		}
		v.batch.Set([]byte(key), value)
		v.batch.Delete([]byte(other))
	}
	v.batch.SetApplied(viewName, upTo.Bytes())
	if err := v.db.Commit(&v.batch); err != nil {
		return err
	}
	if len(changed) > 0 {
		select {
		case v.changed <- struct{}{}:
		default:
		}
	}
	return nil
}

// apply adds what an event makes of notices to those that have changed.
func apply(s *kv.Snapshot, changed map[string]*Notice, e *ledger.Event) error {
	about, ours := strings.CutPrefix(e.Entity, entityPrefix)
	if !ours {
		n, ok, err := noticeOf(e)
		if ok {
			changed[n.About] = &n
		}
		return err
	}
	n := changed[about]
	if n == nil {
		known, ok, err := load(s, about)
		if err != nil || !ok { // what made it due was erased
			return err
		}
		n = &known
		changed[about] = n
	}
	return n.apply(e)
}

func load(s *kv.Snapshot, about string) (n Notice, ok bool, err error) {
	for _, prefix := range []string{waitingPrefix, donePrefix} {
		value, ok, err := s.Get([]byte(prefix+about), nil)
		if err != nil {
			return n, false, err
		}
		if ok {
			n, err = decode(value)
			return n, err == nil, err
		}
	}
	return n, false, nil
}

func decode(value []byte) (n Notice, err error) {
	if err := json.Unmarshal(value, &n); err != nil {
		return n, fmt.Errorf("a notice in the view: %w", err)
	}
	return n, nil
}

// get gives the notice about something.
func (v *View) get(about string) (n Notice, ok bool, err error) {
	s, err := v.db.Snapshot()
	if err != nil {
		return n, false, err
	}
	defer s.Release()
	return load(s, about)
}

// waiting gives the notices that wait.
func (v *View) waiting() (all []Notice, err error) {
	s, err := v.db.Snapshot()
	if err != nil {
		return nil, err
	}
	defer s.Release()
	for e, err := range s.Range([]byte(waitingPrefix), nil) {
		if err != nil {
			return nil, err
		}
		n, err := decode(e.Value)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}
