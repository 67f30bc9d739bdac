package incident

import (
	"context"

	"github.com/fxamacker/cbor/v2"

	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
)

// View lists incidents and their deliveries. It is a ledger.View over a database
// that it shares: its keys begin with its prefix.
//
//	incident/i | ID with all bits turned            → incident (newest first)
//	incident/d | incident | delivery, bits turned   → delivery (newest first)
//	incident/o | incident | delivery                → nothing; it is not finished
//	incident/a | incident | delivery                → the delivery that took over what this one would be
//	incident/m | incident | entry                   → nothing; the incident has this message
//	incident/s | incident | entry and mailbox | delivery → nothing; who shares a mailbox
//	incident/x | indicator, entry and mailbox       → nothing; restored, and exempt
//	incident/r | indicator and entry                → nothing; restored, to some mailbox
//	incident/p | mailbox and content | item         → the copy that a restore placed
//	incident/t | incident | event                   → action (in order of time)
type View struct {
	db  *kv.DB
	enc cbor.EncMode
	dec cbor.DecMode

	// Of Apply, whose calls do not overlap.
	batch  kv.Batch // empty between them
	recent recent
}

// recent are deliveries as the last calls of Apply have left them: what happened to
// one is mostly followed by more before long, and to read it again costs more than
// to change it.
type recent struct {
	records map[string]*record // by incident/delivery
	bytes   int                // that they take, or more
}

// recentBytes bounds what is kept of recent deliveries.
const recentBytes = 8 << 20

// keep adds a delivery.
func (r *recent) keep(key string, d *record) {
	r.records[key] = d
	r.bytes += d.bytes()
}

// take gives what is kept, and keeps nothing.
func (r *recent) take() recent {
	taken := *r
	*r = recent{}
	if taken.records == nil {
		taken.records = map[string]*record{}
	}
	return taken
}

const (
	viewName     = "incident"
	viewPrefix   = "incident/"
	keyCase      = viewPrefix + "i"
	keyDelivery  = viewPrefix + "d"
	keyOpen      = viewPrefix + "o"
	keyAlias     = viewPrefix + "a"
	keyMessage   = viewPrefix + "m"
	keySharing   = viewPrefix + "s"
	keyExempt    = viewPrefix + "x"
	keyTrusted   = viewPrefix + "r"
	keyPlaced    = viewPrefix + "p"
	keyTime      = viewPrefix + "t"
	lengthOfULID = 26
)

var _ ledger.View = (*View)(nil)

// NewView makes a view over a database.
func NewView(db *kv.DB) (*View, error) {
	enc, err := cbor.EncOptions{Time: cbor.TimeRFC3339Nano, Sort: cbor.SortBytewiseLexical}.EncMode()
	if err != nil {
		return nil, err
	}
	// Names of folders and logins come from strangers.
	dec, err := cbor.DecOptions{UTF8: cbor.UTF8DecodeInvalid}.DecMode()
	if err != nil {
		return nil, err
	}
	return &View{db: db, enc: enc, dec: dec}, nil
}

// Name implements ledger.View.
func (v *View) Name() string { return viewName }

// Applied implements ledger.View.
func (v *View) Applied() (ledger.Cursor, error) { return ledger.AppliedIn(v.db, viewName) }

// Rebuild implements ledger.View.
func (v *View) Rebuild(ctx context.Context) error {
	v.recent.take()
	return ledger.ForgetIn(ctx, v.db, viewName, viewPrefix)
}

// Apply implements ledger.View.
func (v *View) Apply(_ context.Context, events []ledger.Event, upTo ledger.Cursor) error {
	s, err := v.db.Snapshot()
	if err != nil {
		return err
	}
	defer s.Release()
	defer v.batch.Reset()
	a := newApplying(v, s)
	for n := range events {
		if err := a.apply(&events[n]); err != nil {
			return err
		}
	}
	if err := a.flush(&upTo); err != nil {
		return err
	}
	if a.bytes <= recentBytes {
		v.recent = a.recent // after an error nobody knows what of it was written
	}
	return nil
}
