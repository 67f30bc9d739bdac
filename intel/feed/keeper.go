package feed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/store"
)

// Errors of a Keeper's methods.
var (
	ErrUnknown = errors.New("there is no such feed")
	ErrNotHeld = errors.New("nothing of the feed waits for approval")
)

// Store takes over what feeds list; *store.Store is one.
type Store interface {
	Refresh(ctx context.Context, sources ...store.Source) ([]store.Refreshed, error)
	Sources() []store.Listed
}

// Options says what a Keeper works with. FS, Dir and Store are needed.
type Options struct {
	FS    disk.FS
	Dir   string // the feeds' folders are in it; its parent has to be there
	Store Store
	Feeds []Feed

	Now     func() time.Time      // time.Now if nil
	Logger  *zap.Logger           // nil: none
	Metrics prometheus.Registerer // nil: none
}

// Keeper refreshes feeds. Its methods may be called at the same time.
type Keeper struct {
	o       Options
	outcome *prometheus.CounterVec
	wake    chan struct{}

	mu    sync.Mutex
	feeds map[string]*kept
	gone  map[string]*kept // that are not configured any more, and are to be forgotten
	work  int              // refreshes under way
}

// kept is one feed.
type kept struct {
	name     string
	room     *room
	settings atomic.Pointer[settings] // those that a refresh that begins now has
	status   atomic.Pointer[Status]   // as the last refresh left it
	unlisted atomic.Bool              // the store was told to forget it, and it came back

	refreshing sync.Mutex // held by who refreshes it
	state      *state     // under refreshing
	applied    string     // version that the store was given since the start; likewise
	saved      time.Time  // when the state was last written down; likewise

	due  time.Time // under Keeper.mu
	busy bool      // Run is refreshing it; under Keeper.mu
}

// settings is how a feed is refreshed.
type settings struct {
	Feed
	client *http.Client
}

// atOnce is how many feeds are refreshed at the same time.
const atOnce = 4

// Open reads what is known of the feeds; Run makes it hold. Errors are those of
// the folder, and ErrFeed.
func Open(o Options) (*Keeper, error) {
	if o.FS == nil || o.Dir == "" || o.Store == nil {
		return nil, errors.New("feed: an option is missing")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if err := disk.MakeFolder(o.FS, o.Dir, 0o700, siteFolder); err != nil {
		return nil, err
	}
	k := &Keeper{o: o, wake: make(chan struct{}, 1), feeds: map[string]*kept{}, gone: map[string]*kept{}}
	if err := k.measure(o.Metrics); err != nil {
		return nil, err
	}
	if err := k.Set(o.Feeds); err != nil {
		return nil, err
	}
	return k, k.leftBehind()
}

// leftBehind finds the folders of feeds that went while nobody looked.
func (k *Keeper) leftBehind() error {
	folders, err := k.o.FS.ReadDir(k.o.Dir)
	if err != nil {
		return err
	}
	for _, f := range folders {
		if name := f.Name(); f.IsDir() && nameForm.MatchString(name) && k.feeds[name] == nil {
			one := &kept{name: name, room: k.room(name), state: &state{}}
			one.status.Store(&Status{Name: name, every: DefaultEvery, since: k.o.Now()})
			k.gone[name] = one
		}
	}
	return nil
}

func (k *Keeper) room(name string) *room {
	return &room{k.o.FS, filepath.Join(k.o.Dir, name), k.o.Logger}
}

// Set replaces the feeds, after a change of the configuration. What a feed listed
// that is not among them any more is forgotten. The error is ErrFeed, or that of a
// folder; then all is as before.
func (k *Keeper) Set(feeds []Feed) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	fresh := map[string]*kept{}
	wanted := map[string]*settings{}
	for _, f := range feeds {
		f, err := f.complete()
		if err != nil {
			return err
		}
		if fresh[f.Name] != nil {
			return fmt.Errorf("%w: there are two of the name %s", ErrFeed, f.Name)
		}
		c, err := client(&f)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrFeed, f.Name, err)
		}
		wanted[f.Name] = &settings{f, c}
		// One that has gone and comes back may still be at work: there is one of a name.
		if fresh[f.Name] = cmp.Or(k.feeds[f.Name], k.gone[f.Name]); fresh[f.Name] != nil {
			continue
		}
		one := &kept{name: f.Name, room: k.room(f.Name)}
		if one.state, err = one.room.load(); err != nil {
			return fmt.Errorf("feed %s: %w", f.Name, err)
		}
		fresh[f.Name] = one
	}
	for name, one := range fresh {
		one.settings.Store(wanted[name])
		one.due = time.Time{} // whether it is, the refresh sees
		if one.status.Load() == nil {
			one.publish(wanted[name], k.o.Now())
		}
		delete(k.gone, name)
	}
	for name, one := range k.feeds {
		if fresh[name] == nil {
			k.gone[name] = one
		}
	}
	k.feeds = fresh
	k.rouse()
	return nil
}

func (k *Keeper) rouse() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Run refreshes feeds when they are due, until the context ends.
func (k *Keeper) Run(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	for ctx.Err() == nil {
		k.forget(ctx)
		next := k.begin(func(one *kept) {
			workers.Go(func() {
				before := one.settings.Load()
				due := k.turn(ctx, one)
				k.mu.Lock()
				one.busy, one.due = false, due
				if one.unlisted.Load() || one.settings.Load() != before {
					one.due = time.Time{} // what came meanwhile holds at once
				}
				k.work--
				k.mu.Unlock()
				k.rouse()
			})
		})
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-k.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// begin starts the refreshes that are due, and gives the time until the next one.
func (k *Keeper) begin(start func(*kept)) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, next := k.o.Now(), time.Hour
	for _, name := range slices.Sorted(maps.Keys(k.feeds)) {
		one := k.feeds[name]
		switch wait := one.due.Sub(now); {
		case one.busy || k.work >= atOnce: // its end rouses
		case wait > 0:
			next = min(next, wait)
		default:
			one.busy = true
			k.work++
			start(one)
		}
	}
	return next
}

// forget drops what feeds listed that are not there any more, and their files.
func (k *Keeper) forget(ctx context.Context) {
	k.unlist(ctx)
	k.mu.Lock()
	gone := slices.Collect(maps.Values(k.gone))
	k.mu.Unlock()
	for _, one := range gone {
		if !one.refreshing.TryLock() {
			continue // its end rouses
		}
		if err := k.clear(one); err != nil {
			k.o.Logger.Error("the files of a feed that is gone could not be removed; it is tried again", zap.String("feed", one.name), zap.Error(err))
		}
		one.refreshing.Unlock()
	}
}

// clear removes the files of a feed that has gone, and nobody refreshes.
func (k *Keeper) clear(one *kept) error {
	stays := func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.gone[one.name] != one
	}
	if stays() {
		return nil // it came back
	}
	one.state, one.applied = &state{}, ""
	if err := one.room.clear(); err != nil {
		return err
	}
	k.mu.Lock()
	gone := k.gone[one.name] == one
	if gone {
		delete(k.gone, one.name)
	}
	k.mu.Unlock()
	if gone {
		return nil
	}
	_, err := one.room.load() // it came back meanwhile, and needs its folder
	return err
}

// unlist has the store forget the feeds that are gone.
func (k *Keeper) unlist(ctx context.Context) {
	k.mu.Lock()
	var gone []store.Source
	for _, listed := range k.o.Store.Sources() {
		name, ok := strings.CutPrefix(listed.Name, SourcePrefix)
		if ok && k.feeds[name] == nil {
			gone = append(gone, store.Source{Name: listed.Name})
		}
	}
	k.mu.Unlock()
	if len(gone) == 0 {
		return
	}
	if _, err := k.o.Store.Refresh(ctx, gone...); err != nil {
		k.o.Logger.Error("what a feed listed that is gone could not be forgotten; it is tried again", zap.Error(err))
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range gone {
		if one := k.feeds[strings.TrimPrefix(s.Name, SourcePrefix)]; one != nil { // it came back meanwhile
			one.unlisted.Store(true)
			one.due = time.Time{}
		}
		k.o.Logger.Info("a feed is gone, and what it listed is forgotten", zap.String("feed", s.Name))
	}
}

func (k *Keeper) feed(name string) (*kept, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	one := k.feeds[strings.TrimPrefix(name, SourcePrefix)]
	if one == nil {
		return nil, fmt.Errorf("%w: %.80s", ErrUnknown, name)
	}
	return one, nil
}

// Refresh refreshes a feed now, and gives how it is then. The error is ErrUnknown,
// or why it could not be refreshed.
func (k *Keeper) Refresh(ctx context.Context, name string) (Status, error) {
	one, err := k.feed(name)
	if err != nil {
		return Status{}, err
	}
	one.refreshing.Lock()
	defer one.refreshing.Unlock()
	s := one.settings.Load()
	if err = k.apply(ctx, one, s); err == nil {
		err = k.refresh(ctx, one, s, true)
	}
	one.publish(s, k.o.Now())
	return *one.status.Load(), err
}

// Approve takes over what was held because it differs too much from what was
// there before. Errors satisfy ErrUnknown or ErrNotHeld, or are the store's.
func (k *Keeper) Approve(ctx context.Context, name string) (Status, error) {
	one, err := k.feed(name)
	if err != nil {
		return Status{}, err
	}
	one.refreshing.Lock()
	defer one.refreshing.Unlock()
	s := one.settings.Load()
	if one.state.Held == nil {
		return *one.status.Load(), fmt.Errorf("%w: %s", ErrNotHeld, one.name)
	}
	if err := k.take(ctx, one, s, one.state.Held); err != nil {
		return *one.status.Load(), err
	}
	err = one.keep()
	one.publish(s, k.o.Now())
	return *one.status.Load(), err
}

// Status gives how the feeds are, by name.
func (k *Keeper) Status() []Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []Status
	for _, name := range slices.Sorted(maps.Keys(k.feeds)) {
		s := *k.feeds[name].status.Load()
		s.Overdue = s.overdue(k.o.Now())
		all = append(all, s)
	}
	return all
}
