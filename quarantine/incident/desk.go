package incident

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/blob"
	"github.com/weirmail/weir/quarantine/delivery"
)

// Ledger records what changes; *ledger.Ledger is one.
type Ledger interface {
	Commit(ctx context.Context, c ledger.Command, decide func(ledger.State) ([]ledger.Event, error)) (ledger.Receipt, error)
	State(entity string) (ledger.State, error)
	Wait(ctx context.Context, c ledger.Cursor) error
	Last() (ledger.Cursor, error)
}

// Journal is where entries are read again; *journal.Journal is one.
type Journal interface {
	Lookup(key journal.Key) iter.Seq2[journal.Record, error]
}

// Tracker tells where the copies of an entry's message went, and when there may be
// news of them; *delivery.Tracker is one.
type Tracker interface {
	Of(ctx context.Context, e *journal.Entry) ([]delivery.Delivery, error)
	Await(e *journal.Entry, tell func()) (stop func())
	// Taken gives when a user first took mail away by POP3 since then; zero: not known.
	Taken(login string, since time.Time) (time.Time, error)
}

// Items keeps what is pulled; *quarantine.Quarantine does.
type Items interface {
	Keep(ctx context.Context, p quarantine.Pulled) (id string, content blob.Ref, err error)
	Return(ctx context.Context, id, actor, reason string, override bool) (*quarantine.Item, error)
	Returned(ctx context.Context, id, actor string, ok bool, detail string) (*quarantine.Item, error)
	Message(ctx context.Context, id, actor, how string) (*quarantine.Item, blob.Content, error)
}

// Identity gives out identifiers and the time.
type Identity interface {
	NewID() string
	Now() time.Time
}

// Options says what a Desk works with. All but LeaseFor, Logger and Metrics are
// required.
type Options struct {
	Ledger   Ledger
	View     *View
	Journal  Journal
	Tracker  Tracker
	Items    Items
	Identity Identity
	Settings Settings

	LeaseFor time.Duration // how long a lease holds that nobody renews; two minutes if 0
	Logger   *zap.Logger
	Metrics  prometheus.Registerer
}

// Errors of this package, besides those of the ledger and of package quarantine.
var (
	// ErrNotFound says that there is no such incident, or no such delivery or item
	// in it.
	ErrNotFound = errors.New("no such incident, delivery or item")
	// ErrAmbiguous says that an ID's beginning fits more than one incident.
	ErrAmbiguous = errors.New("more than one incident begins so")
	// ErrLease says that a lease has run out, was reported, or is another's.
	ErrLease = errors.New("the lease is lost")
	// ErrSecondPerson says that whoever asked for a pull may not approve so much of
	// it himself.
	ErrSecondPerson = errors.New("another person has to approve this")
	// ErrReason says that a reason has to be given.
	ErrReason = errors.New("a reason has to be given")
	// ErrClosed says that the incident was closed.
	ErrClosed = errors.New("the incident is closed")
	// ErrNothing says that there is nothing to be done: no delivery waits, or none
	// has a copy that can go back.
	ErrNothing = errors.New("there is nothing to do")
	// ErrBusy says that a sidecar is at work on the delivery.
	ErrBusy = errors.New("the delivery is being worked on: try again")
	// ErrInvalid says that a request is not what it should be.
	ErrInvalid = errors.New("not a valid request")
	// ErrTooMany says that there are more copies of one message in a mailbox than
	// are kept track of.
	ErrTooMany = errors.New("too many copies of one message in one mailbox")
)

// Desk keeps incidents and gives out the work that they make. All methods may be
// called at the same time.
//
// What is still open is in memory too, and there first: every commit is folded
// into it as the view folds it, so that giving out work and taking results reads
// no listing. It is loaded from the view at the first use.
type Desk struct {
	o       Options
	metrics *metrics
	seed    maphash.Seed
	locks   [64]sync.Mutex // by incident: whoever changes which deliveries it has, or decides about them

	loading sync.Mutex
	loaded  bool // under loading, and under mu to be changed

	mu       sync.Mutex
	settings Settings
	guard    guard
	lives    map[string]map[string]*live // by incident and delivery
	queue    queue
	follows  follows
	sidecars map[string]*presence // by actor
	wake     chan struct{}        // closed and made anew when there may be work
	poke     chan struct{}        // tells Run that there is something to follow
}

// New checks the options.
func New(o Options) (*Desk, error) {
	if o.Ledger == nil || o.View == nil || o.Journal == nil || o.Tracker == nil || o.Items == nil || o.Identity == nil {
		return nil, errors.New("incident: an option is missing")
	}
	if o.LeaseFor == 0 {
		o.LeaseFor = defaultLease
	}
	if o.LeaseFor < 0 {
		return nil, fmt.Errorf("incident: leases of %s", o.LeaseFor)
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	d := &Desk{
		o: o, seed: maphash.MakeSeed(), lives: map[string]map[string]*live{},
		queue: newQueue(), follows: newFollows(), sidecars: map[string]*presence{}, wake: make(chan struct{}), poke: make(chan struct{}, 1),
	}
	if err := d.SetSettings(o.Settings); err != nil {
		return nil, err
	}
	var err error
	d.metrics, err = newMetrics(o.Metrics, d)
	return d, err
}

// Bounds on what is recorded of strangers' text, in bytes.
const (
	maxText   = 320  // addresses, subjects, names
	maxWhat   = 500  // values that led from one message to another, details
	maxName   = 998  // Message-IDs and folders: RFC 5322 section 2.1.1
	maxKey    = 1024 // of an incident
	maxNote   = 4 << 10
	maxSteps  = 16
	maxCopies = 100 // of a delivery that a listing shows
)

// legible gives text for people: valid UTF-8, at most so many bytes.
func legible(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func fold(s string) string { return strings.ToLower(s) }

// isPerson reports whether an actor is somebody, and not a rule or a list.
func isPerson(actor string) bool {
	switch scheme, _, _ := strings.Cut(actor, ":"); scheme {
	case "rule", "list", "feed", "operator", "pull", "hunt", "weir":
		return false
	}
	return true
}

func (d *Desk) now() time.Time { return d.o.Identity.Now() }

func (d *Desk) current() Settings {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.settings
}

// lock keeps others from deciding about the same incident.
func (d *Desk) lock(id string) func() {
	m := &d.locks[maphash.String(d.seed, id)%uint64(len(d.locks))]
	m.Lock()
	return m.Unlock
}

// see waits until the view shows all that was committed so far.
func (d *Desk) see(ctx context.Context) error {
	last, err := d.o.Ledger.Last()
	if err != nil {
		return err
	}
	return d.o.Ledger.Wait(ctx, last)
}

// seeSoon is see for listings: one that lags is no error of the caller's.
func (d *Desk) seeSoon(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := d.see(ctx); err != nil {
		d.o.Logger.Warn("the listing of incidents lags", zap.Error(err))
	}
}

// commitWithin bounds a commit whose caller may go away: half of it helps nobody.
const commitWithin = 30 * time.Second

func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), commitWithin)
}
