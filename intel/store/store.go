package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/match"
)

// DB is the database of indicators, opened with this package's Schema. It
// belongs to one Store. *kv.DB is one.
type DB interface {
	Snapshot() (*kv.Snapshot, error)
	Commit(*kv.Batch) error
}

// Options says how a Store works.
type Options struct {
	DB      DB
	Matcher *match.Matcher // gets a new snapshot with each generation

	// Dir is a folder, in FS, that belongs to the Store and has a parent: for what it
	// sorts and for the indexes of sources, in all some 100 bytes an entry. Without it
	// they are in memory, and made anew when the store is opened.
	Dir     string
	FS      disk.FS // needed with Dir
	MinFree int64   // bytes that stay free there; kv.DefaultMinFree if 0, no bound if negative

	// Rest is how many times as long as writing a batch took nothing is written
	// behind it, so that a large refresh leaves room for others; 0.5 if 0, and if
	// negative there is no rest.
	Rest float64
	// Large, if there is one, is called when a refresh turns out to be a large one, and
	// what it gives when that ends: for who then wants to keep the heap small.
	Large func() (end func())
	// KeepAdded is how long Added knows what a generation added; 35 days if 0.
	KeepAdded time.Duration
	// Floor is the highest generation that anybody remembers, such as the journal.
	// It matters when the database was emptied, and with it its memory.
	Floor uint64
	Now   func() time.Time // time.Now if nil

	Logger  *zap.Logger           // nil: none
	Metrics prometheus.Registerer // nil: none
}

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.DB == nil:
		return o, errors.New("store: Options.DB is missing")
	case o.Matcher == nil:
		return o, errors.New("store: Options.Matcher is missing")
	case o.Dir != "" && o.FS == nil:
		return o, errors.New("store: Options.FS is missing")
	case o.KeepAdded < 0:
		return o, errors.New("store: Options.KeepAdded is negative")
	}
	if o.MinFree == 0 {
		o.MinFree = kv.DefaultMinFree
	}
	if o.Rest == 0 {
		o.Rest = 0.5
	}
	if o.KeepAdded == 0 {
		o.KeepAdded = 35 * 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o, nil
}

// siteFolder is where the Store's folder is made durable.
const siteFolder disk.Site = "store.folder"

// guard keeps room on the disk: the database, which shares it, would not survive a
// full one.
func (s *Store) guard() disk.Guard {
	return disk.Guard{FS: s.opts.FS, Path: s.opts.Dir, MinFree: s.opts.MinFree}
}

// Store keeps indicators. Its methods are safe for concurrent use; refreshes
// wait for each other, and nothing else waits for them.
type Store struct {
	opts    Options
	metrics *metrics
	rooms   sync.Pool // for views
	batch   int       // changes in a batch at most, for tests; 0: as many as fit
	room    int       // bytes of a source that are sorted in memory, for tests; 0: sortRoom

	refreshing sync.Mutex // held by whoever changes what is below or in the database
	filter     *match.Filter
	ending     func()             // what Options.Large gave; nil: the refresh is not large
	keys       [match.Shards]int  // patterns and marks in each shard, about
	dirty      [match.Shards]bool // shards of which the filter does not hold all that is listed
	behind     bool               // the Matcher has no snapshot of the active generation yet

	reading sync.Mutex // held for moments, to read or write what is below
	state   state
	sources map[uint32]*source // never written to, only replaced
}

// Open reads what the database holds, removes what an interrupted refresh left
// in it, and gives the Matcher a snapshot of it. The error is the database's; a
// disk that is too full to remove anything is none.
func Open(o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, sources: map[uint32]*source{}}
	s.rooms.New = func() any { return &rooms{} }
	if s.metrics, err = newMetrics(s, o.Metrics); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		s.metrics.unregister()
		return nil, fmt.Errorf("opening the store of indicators: %w", err)
	}
	return s, nil
}

func (s *Store) open() error {
	defer s.endLarge()
	if s.opts.Dir != "" {
		if err := disk.MakeFolder(s.opts.FS, s.opts.Dir, 0o700, siteFolder); err != nil {
			return err
		}
	}
	if err := s.load(); err != nil {
		return err
	}
	if err := s.openIndexes(); err != nil {
		return err
	}
	if err := s.clean(context.Background()); err != nil && !errors.Is(err, disk.ErrNoSpace) {
		return err
	}
	return s.publish()
}

// large says that so much is being read that it does not stay in memory.
func (s *Store) large() {
	if s.ending == nil && s.opts.Large != nil {
		s.ending = s.opts.Large()
	}
}

func (s *Store) endLarge() {
	if s.ending != nil {
		s.ending()
		s.ending = nil
	}
}

// Close gives up what the Store holds. The Matcher keeps its snapshot, which can
// be read until the database is closed.
func (s *Store) Close() {
	s.refreshing.Lock() // a refresh comes to its end first
	defer s.refreshing.Unlock()
	s.metrics.unregister()
}

// load reads the state and the sources.
func (s *Store) load() error {
	snap, err := s.opts.DB.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Release()
	value, found, err := snap.Get([]byte{areaState}, nil)
	if err != nil {
		return err
	}
	if !found {
		// An emptied database has forgotten which generations it gave out. Going on
		// from the seconds since 1970 is beyond all of them, unless lists changed
		// every second since, or the clock is wrong, against which there is Floor.
		first := max(uint64(max(0, s.opts.Now().Unix())), s.opts.Floor)
		s.state = state{active: first, reserved: first, forgotten: first}
		return nil
	}
	if s.state, err = decodeState(value); err != nil {
		return err
	}
	if s.state.reserved > s.state.active && !s.state.cameToNothing(s.state.reserved) {
		s.opts.Logger.Info("a refresh of the lists was interrupted, and what it wrote is passed over", zap.Uint64("generation", s.state.reserved))
		s.state.abort(s.state.reserved)
	}
	for e, err := range snap.Range([]byte{areaSource}, nil) {
		if err != nil {
			return err
		}
		number := sourceIn(e.Key)
		if s.sources[number], err = decodeSource(number, e.Value); err != nil {
			return err
		}
	}
	return nil
}

// publish gives the Matcher a snapshot of what is in force.
func (s *Store) publish() error {
	snap, err := s.opts.DB.Snapshot()
	if err != nil {
		return err
	}
	v := &view{snap: snap, state: s.state, sources: s.sources, rooms: &s.rooms}
	regexps, err := v.regexps()
	if err != nil {
		snap.Release()
		return err
	}
	next, err := match.New(match.Options{
		Source: v, Filter: s.filter, Regexps: regexps, Generation: s.state.active, Release: snap.Release,
	})
	if err != nil {
		snap.Release()
		return err
	}
	s.opts.Matcher.Swap(next)
	s.behind = false
	return nil
}

// Generation is the active one.
func (s *Store) Generation() uint64 {
	s.reading.Lock()
	defer s.reading.Unlock()
	return s.state.active
}

// Listed is what is known of a source that is listed.
type Listed struct {
	Name       string
	Version    string    // what Source.Version was
	Entries    int       // distinct ones
	Generation uint64    // in which it changed last
	Changed    time.Time // when that was
}

// Sources gives the sources that are listed, sorted by name.
func (s *Store) Sources() []Listed {
	s.reading.Lock()
	defer s.reading.Unlock()
	listed := make([]Listed, 0, len(s.sources))
	for _, src := range s.sources {
		listed = append(listed, Listed{src.name, src.version, src.entries, src.generation, src.changed})
	}
	slices.SortFunc(listed, func(a, b Listed) int { return cmp.Compare(a.Name, b.Name) })
	return listed
}

// sourceNamed gives the source of this name, or nil.
func (s *Store) sourceNamed(name string) *source {
	for _, src := range s.sources {
		if src.name == name {
			return src
		}
	}
	return nil
}
