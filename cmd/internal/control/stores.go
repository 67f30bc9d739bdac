package control

import (
	"context"
	"iter"
	"time"

	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/hits"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/intel/store"
	"github.com/weirmail/weir/intel/wal"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/blob"
)

// Stores is what the daemon keeps, while it is open. All fields but Deliveries,
// Incidents, Feeds, Contained, Hits, Requests, Notices and Share are required.
type Stores struct {
	Quarantine Quarantine
	Ledger     Ledger
	Journal    Journal
	Lists      Lists
	Matcher    Matcher
	Judge      Judge
	Identity   Identity
	Deliveries Deliveries // nil: entries are shown without
	Incidents  Incidents  // nil: there are none, and no work in mailboxes
	Feeds      Feeds      // nil: there are none
	Contained  Contained  // nil: nobody can be contained
	Hits       Hits       // nil: nobody counts them
	Requests   Requests   // nil: nobody can ask for something to be unblocked
	Notices    Notices    // nil: nobody is written to
	Share      Shared     // nil: nothing is published to peers
}

// Quarantine holds messages; *quarantine.Quarantine is one.
type Quarantine interface {
	Find(prefix string) (string, error)
	Get(id string) (*quarantine.Item, error)
	StoppedBy(ctx context.Context, id string) ([]string, error)
	List(ctx context.Context, query quarantine.Query) (quarantine.Page, error)
	Preview(ctx context.Context, id, actor string) (*quarantine.Item, *quarantine.Preview, error)
	Message(ctx context.Context, id, actor, how string) (*quarantine.Item, blob.Content, error)
	Release(ctx context.Context, r quarantine.Release) (*quarantine.Item, error)
	Delete(ctx context.Context, id, actor, reason string) (*quarantine.Item, error)
}

// Ledger records what changes; *ledger.Ledger is one.
type Ledger interface {
	Commit(ctx context.Context, c ledger.Command, decide func(ledger.State) ([]ledger.Event, error)) (ledger.Receipt, error)
	State(entity string) (ledger.State, error)
	Events(after ledger.Cursor) iter.Seq2[ledger.Event, error]
	Last() (ledger.Cursor, error)
	Wait(ctx context.Context, c ledger.Cursor) error
	Head() ledger.Head
}

// Journal remembers what was let through; *journal.Journal is one.
type Journal interface {
	Search(ctx context.Context, q journal.Query) (journal.Page, error)
	Positions(key journal.Key) iter.Seq2[wal.Position, error]
	Get(at wal.Position) (journal.Record, error)
	Last() wal.Position
	Wait(ctx context.Context, at wal.Position) error
}

// Lists knows what is listed; *store.Store is one.
type Lists interface {
	Sources() []store.Listed
	Generation() uint64
	Walk(ctx context.Context, place []byte, visit func(all []store.Addition, place []byte) bool) error
	OfPattern(p intel.Pattern) ([]store.Addition, error)
	Times() (added map[uint64]time.Time, before uint64, err error)
}

// Hits knows what indicators did; *hits.Counter is one.
type Hits interface {
	Of(source string, p intel.Pattern) (hits.Tally, bool)
	Since() time.Time
	RefusedAs(id string) (hits.Refused, bool)
}

// Matcher gives the lists in force to look something up; *match.Matcher is one.
type Matcher interface {
	Acquire() *match.Snapshot
}

// Judge knows the rules in force; *filter.Judge is one.
type Judge interface {
	Policy() *policy.Policy
}

// Identity gives out identifiers; *ident.Identity is one.
type Identity interface {
	NewID() string
}
