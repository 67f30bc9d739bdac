// Package quarantine keeps messages that were held: their bytes in a blob
// store, all that is known and done as events of one ledger entity an item.
//
// What it promises: Hold returns only once bytes, envelope and reasons are
// durable. A copy is released once; where that cannot be known, because the
// daemon died between the last byte and the answer, the item says so and a
// person decides. Nothing goes without a record: a release, a deletion, even a
// look at a message is an event.
package quarantine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/wal"
	"github.com/weirmail/weir/quarantine/blob"
	"github.com/weirmail/weir/quarantine/reinject"
)

// Ledger records what changes.
type Ledger interface {
	Commit(ctx context.Context, c ledger.Command, decide func(ledger.State) ([]ledger.Event, error)) (ledger.Receipt, error)
	State(entity string) (ledger.State, error)
	Wait(ctx context.Context, c ledger.Cursor) error
}

// Judge judges a message by today's lists.
type Judge interface {
	Judge(env *message.Envelope, m *message.Message) (*evidence.Evidence, *verdict.Verdict, error)
}

// Journal remembers what was let through.
type Journal interface {
	Append(ctx context.Context, e *journal.Entry) (wal.Position, error)
	Lookup(key journal.Key) iter.Seq2[journal.Record, error]
}

// Sender hands a message back to the MTA.
type Sender interface {
	Send(ctx context.Context, m reinject.Message, point func() error) []reinject.Result
}

// Identity gives out identifiers.
type Identity interface {
	NewID() string
	Sign(id string) string
	Now() time.Time
}

// Senders are the ways back. One that is nil is not configured.
type Senders struct {
	Inbound  Sender // a listener without milters
	Outbound Sender // one whose only milter is the DKIM signer
}

// Options says what a Quarantine works with. All but Logger and Metrics are
// required.
type Options struct {
	Ledger   Ledger
	View     *View
	Blobs    blob.Store
	Judge    Judge
	Journal  Journal
	Identity Identity
	Scratch  func() ScratchSpace
	Settings Settings
	Logger   *zap.Logger
	Metrics  prometheus.Registerer
}

// ScratchSpace is room to parse one message in.
type ScratchSpace interface {
	message.Scratch
	Close() error
}

// Settings is what can change while the quarantine works.
type Settings struct {
	Parser    *message.Parser // required
	Retention time.Duration   // items older than this expire; 0: never
	HoldTime  time.Duration   // the longest that Hold takes: bytes that are younger may be waiting for their item; required
	Senders   Senders

	outline *message.Parser // Parser, without what an item does not tell of a message
}

// Errors of this package.
var (
	// ErrNotFound says that there is no such item.
	ErrNotFound = errors.New("no such item")
	// ErrAmbiguous says that an ID's beginning fits more than one item.
	ErrAmbiguous = errors.New("more than one item begins so")
	// ErrGone says that the item was deleted or has expired.
	ErrGone = errors.New("the item's message is gone")
	// ErrBusy says that a release of the item is under way.
	ErrBusy = errors.New("a release of this item is under way")
	// ErrUncertain says that copies may have been delivered already.
	ErrUncertain = errors.New("the message may have been delivered already")
	// ErrRecipient says that the item has no such recipient.
	ErrRecipient = errors.New("no such recipient")
	// ErrNoWay says that no listener is configured for this direction.
	ErrNoWay = errors.New("no re-injection listener is configured")
	// ErrReason says that a reason has to be given.
	ErrReason = errors.New("a reason has to be given")
)

// BlockedError says that today's lists would hold the message again.
type BlockedError struct {
	Rule    string
	Reasons []verdict.Reason
}

func (e *BlockedError) Error() string {
	s := "today's rules would hold it again: rule " + e.Rule
	for _, r := range e.Reasons {
		if r.Value == "" {
			continue
		}
		source := r.Source
		if r.Line > 0 {
			source += fmt.Sprintf(":%d", r.Line)
		}
		return fmt.Sprintf("%s, %s at %s (%s)", s, r.Value, r.Place, source)
	}
	return s
}

// Quarantine holds, releases and deletes items. All methods may be called at
// the same time.
type Quarantine struct {
	o       Options
	metrics *metrics
	unknown atomic.Int64 // blobs that no item named when Tidy looked

	mu       sync.Mutex
	settings Settings
	allGone  string // the messages of all items up to this ID are gone, as Tidy saw
}

// New checks the options. Recover has to come before the first release.
func New(o Options) (*Quarantine, error) {
	if o.Ledger == nil || o.View == nil || o.Blobs == nil || o.Judge == nil || o.Journal == nil || o.Identity == nil || o.Scratch == nil {
		return nil, errors.New("quarantine: an option is missing")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	q := &Quarantine{o: o}
	if err := q.SetSettings(o.Settings); err != nil {
		return nil, err
	}
	var err error
	q.metrics, err = newMetrics(o.Metrics)
	return q, err
}

// SetSettings makes other settings hold from now on.
func (q *Quarantine) SetSettings(s Settings) error {
	if s.Parser == nil {
		return errors.New("quarantine: settings need a parser")
	}
	if s.Retention < 0 || s.HoldTime <= 0 {
		return fmt.Errorf("quarantine: a retention of %s and a hold time of %s", s.Retention, s.HoldTime)
	}
	s.outline = s.Parser.Linkless()
	q.mu.Lock()
	q.settings = s
	q.mu.Unlock()
	return nil
}

func (q *Quarantine) current() Settings {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.settings
}

// goneTo gives the ID up to which the messages of all items are gone, as far as is
// known.
func (q *Quarantine) goneTo() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.allGone
}

// state reads an item as the ledger has it.
func (q *Quarantine) state(id string) (*Item, error) {
	s, err := q.o.Ledger.State(entityOf(id))
	if err != nil {
		return nil, err
	}
	return itemOf(s, id)
}

func itemOf(s ledger.State, id string) (*Item, error) {
	if s.Version == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	return foldAll(s.Events)
}

// commit records one event of an item. Decide looks at the item and says
// whether it may; it must change nothing.
func (q *Quarantine) commit(ctx context.Context, c ledger.Command, kind string, data any, decide func(*Item) error) (ledger.Receipt, error) {
	e, err := event(kind, data)
	if err != nil {
		return ledger.Receipt{}, err
	}
	id, _ := idOf(c.Entity)
	return q.o.Ledger.Commit(ctx, c, func(s ledger.State) ([]ledger.Event, error) {
		item, err := itemOf(s, id)
		if err != nil {
			return nil, err
		}
		if err := decide(item); err != nil {
			return nil, err
		}
		return []ledger.Event{e}, nil
	})
}

// see waits until listings show what was committed; a listing that lags for
// other reasons is no error of the caller's.
func (q *Quarantine) see(ctx context.Context, r ledger.Receipt) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := q.o.Ledger.Wait(ctx, r.Cursor); err != nil {
		q.o.Logger.Warn("the listing of the quarantine lags", zap.Error(err))
	}
}
