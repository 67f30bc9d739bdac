package share

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/match"
)

// Ledger records what is published; *ledger.Ledger is one.
type Ledger interface {
	Commit(ctx context.Context, c ledger.Command, decide func(ledger.State) ([]ledger.Event, error)) (ledger.Receipt, error)
	Wait(ctx context.Context, c ledger.Cursor) error
}

// Lists are those in force; *match.Matcher is one.
type Lists interface {
	Acquire() *match.Snapshot
}

// Identity gives out identifiers and the time.
type Identity interface {
	NewID() string
	Now() time.Time
}

// Options says what a Share works with. All but Logger and Metrics are needed.
type Options struct {
	Ledger   Ledger
	View     *View
	Lists    Lists
	Identity Identity
	Node     string // what makes the collection's ID
	Settings Settings
	Logger   *zap.Logger
	Metrics  prometheus.Registerer
}

// Settings say what is published.
type Settings struct {
	Mark          intel.TLP     // of what nobody has marked; TLPNone: TLPGreen
	MaxTLP        intel.TLP     // what is marked more strictly is not published; TLPNone: TLPGreen
	MinConfidence int           // of 100, where a source says how sure it is
	Expiry        time.Duration // how long a case speaks for its indicators; 0: DefaultExpiry
	Guard         *Guard        // needed
	// Listed gives the entries of lists that are published although no case rests on
	// them, if they have a marking. Nil: none. An *UnreadError does not end it: nothing
	// is revoked for want of a list that cannot be read.
	Listed func() iter.Seq2[intel.Indicator, error]
}

// UnreadError says that nobody knows what a list has that is shared.
type UnreadError struct {
	Source string // as its indicators have it
	Err    error
}

// Error implements error.
func (e *UnreadError) Error() string { return fmt.Sprintf("%s: %v", e.Source, e.Err) }

// Unwrap gives the cause.
func (e *UnreadError) Unwrap() error { return e.Err }

// DefaultExpiry is the default of Settings.Expiry.
const DefaultExpiry = 90 * 24 * time.Hour

// MaxPublished is how many indicators are published at the same time. Those beyond it
// are left out and counted.
const MaxPublished = 100_000

// Share publishes what is confirmed. Its methods may be called at the same time.
type Share struct {
	o        Options
	settings atomic.Pointer[Settings]
	wake     chan struct{}
	metrics  *metrics

	mu     sync.Mutex
	status Status
	held   []Withheld // by the last pass, by name of the pattern
}

// New checks the options.
func New(o Options) (*Share, error) {
	if o.Ledger == nil || o.View == nil || o.Lists == nil || o.Identity == nil || o.Node == "" {
		return nil, errors.New("share: an option is missing")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	s := &Share{o: o, wake: make(chan struct{}, 1)}
	if err := s.SetSettings(o.Settings); err != nil {
		return nil, err
	}
	var err error
	s.metrics, err = newMetrics(o.Metrics, s)
	return s, err
}

// SetSettings makes other settings hold from now on.
func (s *Share) SetSettings(n Settings) error {
	if n.Guard == nil {
		return errors.New("share: Settings.Guard is missing")
	}
	if n.MinConfidence < 0 || n.MinConfidence > 100 || n.Expiry < 0 {
		return errors.New("share: a confidence or an expiry in Settings makes no sense")
	}
	if n.Mark == intel.TLPNone {
		n.Mark = intel.TLPGreen
	}
	if n.MaxTLP == intel.TLPNone {
		n.MaxTLP = intel.TLPGreen
	}
	if n.Expiry == 0 {
		n.Expiry = DefaultExpiry
	}
	if n.Listed == nil {
		n.Listed = func() iter.Seq2[intel.Indicator, error] {
			return func(func(intel.Indicator, error) bool) {}
		}
	}
	s.settings.Store(&n)
	s.rouse()
	return nil
}

func (s *Share) rouse() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Times of the loop.
const (
	lookEvery = time.Second     // how often it is looked whether lists have changed
	passEvery = 5 * time.Minute // how often a pass is made without a reason, for what ends
	passAgain = 10 * time.Second
	restFor   = 4 // times as long as a pass took is rested after it, where much is published
)

// Run publishes and revokes until the context ends.
func (s *Share) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var next time.Time
	var generation uint64
	for {
		now := s.o.Identity.Now()
		lists := s.o.Lists.Acquire()
		current := lists.Generation()
		lists.Release()
		if current != generation || !now.Before(next) {
			next, generation = now.Add(passEvery), current
			if err := s.pass(ctx, now); err != nil && ctx.Err() == nil {
				s.o.Logger.Error("what is confirmed could not be published; it is tried again", zap.Error(err))
				next = now.Add(passAgain)
			}
			rest := time.NewTimer(restFor * s.o.Identity.Now().Sub(now))
			select {
			case <-ctx.Done():
			case <-rest.C:
			}
			rest.Stop()
		}
		select {
		case <-ctx.Done():
			return
		case <-s.o.View.changed:
			next = time.Time{}
		case <-s.wake:
			next = time.Time{}
		case <-tick.C:
		}
	}
}

// pass makes what is published what should be.
func (s *Share) pass(ctx context.Context, now time.Time) error {
	w, err := s.weigh(now)
	if err != nil {
		return err
	}
	for _, source := range w.unread {
		s.o.Logger.Info("no version of a list that is shared is in force: what is published of it stays so", zap.String("list", source))
	}
	var last ledger.Cursor
	// What is taken back comes first: somebody's mail is blocked by it.
	for _, pattern := range slices.Sorted(maps.Keys(w.there)) {
		if w.wanted[pattern] == nil && w.there[pattern].live(now) && !w.unknown(pattern) {
			at, err := s.revoke(ctx, pattern, w.why(pattern))
			if err != nil {
				return err
			}
			last = at
		}
	}
	for _, pattern := range slices.Sorted(maps.Keys(w.wanted)) {
		if d := w.wanted[pattern]; !d.same(w.there[pattern]) {
			at, err := s.publish(ctx, d)
			if err != nil {
				return err
			}
			last = at
		}
	}
	s.mu.Lock()
	s.status.Published, s.status.Revoked, s.status.Withheld = w.live, w.revoked, w.withheld
	s.held = w.held
	s.mu.Unlock()
	return s.o.Ledger.Wait(ctx, last)
}

func (s *Share) publish(ctx context.Context, d *publishedData) (at ledger.Cursor, err error) {
	p, err := intel.NamedPattern(d.Pattern)
	if err != nil {
		return at, err
	}
	c := ledger.Command{ID: "share/" + s.o.Identity.NewID(), Entity: entityOf(d.Pattern), Actor: actor, Reason: "confirmed by " + shorten(strings.Join(d.Grounds, ", "))}
	receipt, err := s.o.Ledger.Commit(ctx, c, func(state ledger.State) ([]ledger.Event, error) {
		was, err := pastOf(state)
		if err != nil || was.current != nil && was.current.equal(d) {
			return nil, err
		}
		fresh := *d
		if fresh.Object, err = objectID(p, was.rounds); err != nil {
			return nil, err
		}
		return event(typePublished, fresh)
	})
	if err != nil {
		return at, err
	}
	s.o.Logger.Info("an indicator is published", zap.String("pattern", d.Pattern), zap.Strings("grounds", d.Grounds))
	return receipt.Cursor, nil
}

func (s *Share) revoke(ctx context.Context, pattern, why string) (at ledger.Cursor, err error) {
	c := ledger.Command{ID: "share/" + s.o.Identity.NewID(), Entity: entityOf(pattern), Actor: actor, Reason: why}
	receipt, err := s.o.Ledger.Commit(ctx, c, func(state ledger.State) ([]ledger.Event, error) {
		was, err := pastOf(state)
		if err != nil || was.current == nil {
			return nil, err
		}
		return event(typeRevoked, revokedData{was.current.Object, pattern})
	})
	if err != nil {
		return at, err
	}
	s.o.Logger.Info("an indicator is revoked", zap.String("pattern", pattern), zap.String("why", why))
	return receipt.Cursor, nil
}

// shorten bounds a reason.
func shorten(text string) string {
	const most = 500
	if len(text) > most {
		return fmt.Sprintf("%s…", strings.ToValidUTF8(text[:most], ""))
	}
	return text
}
