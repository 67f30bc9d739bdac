// Package hunt looks up in the journal what the lists newly know, and opens
// incidents for what was let through before they knew it.
//
// It owns one fact: up to which generation of the lists, and behind which entry
// of the journal, everything was looked at. What it finds belongs to package
// incident, which is asked to open and extend; both may be asked twice, so a
// crash at any moment is answered by doing the work again.
//
// # What is looked at
//
// A pass takes all block indicators that came since the last one and looks their
// keys up in the journal's index, some thousand at a time. Each entry that is
// found and was judged under an older generation is judged again by today's
// lists: it is a match only where an added indicator is among the block entries
// that decide, with its role, direction and expiry, and where its action lets
// nothing pass. Regular expressions are tried on what the journal keeps of the
// texts that they name: subject, names of files, and of the header From, Date and
// Message-ID. The newest mail comes first. A new generation does not wait for an
// older pass to end: what came last is looked up first.
//
// A message may be judged under the lists of a moment ago and be journaled after
// the look-up. So behind each swap the journal is followed for Options.LateWindow,
// and what was judged under an older generation is judged again.
//
// # What it leads to
//
// From a matched message later ones are followed that answer or forward it; see
// links.go for what is believed and how surely. The pass that found the message
// looks for those that are journaled already. For those that come after it, each
// entry is compared with the messages of incidents as it is journaled, as long as
// the look-back is, from the last message that an incident got; see later.go. What
// the lists no longer call bad, and what a person released, is not followed.
package hunt

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

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/intel/store"
	"github.com/weirmail/weir/intel/wal"
	"github.com/weirmail/weir/quarantine/incident"
)

// Lists knows what was listed when; *store.Store is one.
type Lists interface {
	// Added gives what generations after the given one added, in their order. The
	// error is store.ErrForgotten where that is not known any more.
	Added(after uint64) iter.Seq2[store.Addition, error]
	// All gives everything that is listed.
	All() iter.Seq2[store.Addition, error]
}

// Journal is where mail that was let through is looked up; *journal.Journal is one.
type Journal interface {
	Search(ctx context.Context, q journal.Query) (journal.Page, error)
	Positions(key journal.Key) iter.Seq2[wal.Position, error]
	Get(at wal.Position) (journal.Record, error)
	ReadJudgedBefore(after wal.Position, generation uint64) iter.Seq2[journal.Record, error]
	ReadSharing(after wal.Position, known func(journal.Key) bool) iter.Seq2[journal.Record, error]
	Wait(ctx context.Context, at wal.Position) error
	Last() wal.Position
}

// Desk takes what is found; *incident.Desk is one.
type Desk interface {
	// Open gives the incident that has the Key, a new one if there is none or only
	// a closed one.
	Open(ctx context.Context, o incident.Opening) (*incident.Incident, error)
	// Extend adds matches; what the incident has already is not added again.
	Extend(ctx context.Context, id, actor string, matches []incident.Match) (added int, err error)
	// Matched gives what incidents have matched that indicators opened and that have
	// changed since then, the newest incident first.
	Matched(ctx context.Context, since time.Time) iter.Seq2[incident.Matched, error]
	// Pulls reports whether policy pulls what an indicator of a source matches without
	// a person; confidence is the indicator's.
	Pulls(source string, confidence int) bool
}

// Options says how a Hunt works.
type Options struct {
	FS      disk.FS        // required
	Dir     string         // the folder of the place, made where it is missing; its parent has to be there; required
	Lists   Lists          // required
	Matcher *match.Matcher // what mail is judged by; required
	Journal Journal        // required
	Desk    Desk           // required

	LookBack time.Duration // how old mail is looked at; 30 days if 0
	// LateWindow is how long after the lists changed a message may be journaled that
	// was judged by the old ones: the longest answer to the MTA, and something for
	// the clocks; 10 minutes if 0.
	LateWindow time.Duration
	// MaxMatches bounds the messages that one pass puts into one incident, the newest
	// ones; 100 000 if 0. An indicator that is in more is a slip, and said so.
	MaxMatches int
	// MaxLinks bounds the messages that one pass puts into one incident for answering
	// or forwarding others, and those that are put into it as they come; 1 000 if 0.
	MaxLinks int

	Clock   func() time.Time      // time.Now if nil
	Logger  *zap.Logger           // nil: none
	Metrics prometheus.Registerer // nil: none

	maxKeys int           // that are looked up at once; for tests
	retry   time.Duration // after an error; for tests
}

const (
	defaultLookBack   = 30 * 24 * time.Hour
	defaultLateWindow = 10 * time.Minute
	defaultMaxMatches = 100_000
	defaultMaxLinks   = 1000
	defaultMaxKeys    = 4096
	defaultRetry      = time.Second
	maxRetry          = time.Minute
)

func (o *Options) validate() error {
	switch {
	case o.FS == nil:
		return errors.New("hunt: Options.FS is missing")
	case o.Dir == "":
		return errors.New("hunt: Options.Dir is missing")
	case o.Lists == nil:
		return errors.New("hunt: Options.Lists is missing")
	case o.Matcher == nil:
		return errors.New("hunt: Options.Matcher is missing")
	case o.Journal == nil:
		return errors.New("hunt: Options.Journal is missing")
	case o.Desk == nil:
		return errors.New("hunt: Options.Desk is missing")
	case o.LookBack < 0 || o.LateWindow < 0 || o.MaxMatches < 0 || o.MaxLinks < 0:
		return errors.New("hunt: LookBack, LateWindow, MaxMatches or MaxLinks is negative")
	}
	orDefault(&o.LookBack, defaultLookBack)
	orDefault(&o.LateWindow, defaultLateWindow)
	orDefault(&o.MaxMatches, defaultMaxMatches)
	orDefault(&o.MaxLinks, defaultMaxLinks)
	orDefault(&o.maxKeys, defaultMaxKeys)
	orDefault(&o.retry, defaultRetry)
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return nil
}

func orDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Hunt looks up what the lists newly know. Wake, SetLookBack and Status may be
// called at any time, Run once.
type Hunt struct {
	o        Options
	metrics  *metrics
	lookBack atomic.Int64 // time.Duration
	wake     chan struct{}

	mu     sync.Mutex
	status Status

	// What is below belongs to whoever runs.
	place  place
	unsaid bool     // the place is not on disk as it is here
	looked uint64   // what was added up to here is hunted, or a pass is at it
	passes []*pass  // the newest last
	late   []*found // what was found late and is not in a pass yet

	ties      *ties
	memories  []incident.Matched // that are still to be tied again
	remembers bool               // what incidents have matched is tied
	compared  time.Time          // when later mail was compared last, by the clock of the machine
	expired   time.Time          // when ties were looked at last
	saved     time.Time          // when the place was
}

// Status says how a hunt is.
type Status struct {
	Hunted    uint64 // everything that was added up to this generation was looked up
	Passes    int    // that are at work
	Following bool   // entries that were judged by lists of before may still come
	Last      Result // of the pass that ended last
	Problem   error  // why the last try failed; nil if it did not
}

// Open reads the place where the last run stopped. One that is lost or cannot be
// read costs only work: all that is listed is hunted again. Errors are those of
// the folder.
func Open(o Options) (*Hunt, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	p, err := loadPlace(&o)
	if err != nil {
		return nil, fmt.Errorf("hunt: %w", err)
	}
	h := &Hunt{o: o, wake: make(chan struct{}, 1), place: p, looked: p.Hunted, ties: newTies()}
	if h.place.Linked == 0 {
		h.place.Linked = o.Journal.Last()
	}
	h.lookBack.Store(int64(o.LookBack))
	if h.metrics, err = newMetrics(o.Metrics); err != nil {
		return nil, err
	}
	return h, nil
}

// Wake says that the lists have changed.
func (h *Hunt) Wake() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// SetLookBack changes how old mail is looked at, from the next pass on.
func (h *Hunt) SetLookBack(d time.Duration) error {
	if d <= 0 {
		return errors.New("hunt: the look-back has to be longer than nothing")
	}
	h.lookBack.Store(int64(d))
	return nil
}

// Status gives the state at this moment.
func (h *Hunt) Status() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status
}

// pollEvery is how often late entries are looked for, and lists that changed
// without a Wake.
const pollEvery = time.Second

// Run hunts until the context ends. What fails is logged and tried again, after
// a pause that grows to a minute.
func (h *Hunt) Run(ctx context.Context) {
	defer h.abandon()
	pause := h.o.retry
	for ctx.Err() == nil {
		rest, err := h.turn(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			h.metrics.failures.Inc()
			h.o.Logger.Error("what the lists newly know could not be looked up; it is tried again", zap.Error(err), zap.Duration("after", pause))
			h.abandon()
			rest, pause = pause, min(2*pause, maxRetry)
		default:
			pause = h.o.retry
		}
		h.say(err)
		if rest > 0 && !h.sleep(ctx, rest, err == nil) {
			return
		}
	}
}

// sleep waits, less where it may be woken, and reports whether the context holds.
func (h *Hunt) sleep(ctx context.Context, d time.Duration, wakeable bool) bool {
	wake := h.wake
	if !wakeable {
		wake = nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-timer.C:
	}
	return true
}

// turn does one piece of work and says how long to rest after it: not at all
// while there is more that somebody waits for.
func (h *Hunt) turn(ctx context.Context) (rest time.Duration, err error) {
	h.notice()
	more, err := h.followLate(ctx)
	if err != nil {
		return 0, err
	}
	if len(h.passes) == 0 || time.Since(h.compared) >= pollEvery {
		again, err := h.followLater(ctx)
		if err != nil {
			return 0, err
		}
		h.compared, more = time.Now(), more || again
	}
	if len(h.late) > 0 && len(h.passes) < maxPasses {
		h.passes = append(h.passes, h.linkPass(h.late[0]))
		h.late = h.late[1:]
	}
	if n := len(h.passes); n > 0 {
		p := h.passes[n-1]
		done, rest, err := p.step(ctx)
		if err != nil {
			return 0, err
		}
		if done {
			h.finish(p)
		}
		return rest, h.save()
	}
	if err := h.save(); err != nil || more {
		return 0, err
	}
	return pollEvery, nil
}

// maxPasses is how many passes are at work at most: one of a newer generation
// goes before those of older ones.
const maxPasses = 8

// notice begins a pass if the lists have changed.
func (h *Hunt) notice() {
	snapshot := h.o.Matcher.Acquire()
	generation := snapshot.Generation()
	snapshot.Release()
	if generation < h.looked && generation > 0 {
		h.startOver(fmt.Errorf("the lists are of generation %d, and %d was hunted, as after a restore", generation, h.looked))
	}
	if generation <= h.looked || len(h.passes) >= maxPasses {
		return
	}
	// Entries that stand here or before are looked up; those behind that were
	// judged by older lists are late.
	last, now := h.o.Journal.Last(), h.o.Clock()
	if !h.place.following() {
		h.place.Position = last
	}
	h.place.Until = now.Add(h.o.LateWindow)
	h.unsaid = true
	h.passes = append(h.passes, h.newPass(h.looked, generation, last, now))
	h.looked = generation
}

// startOver forgets the place: all that is listed is hunted again.
func (h *Hunt) startOver(why error) {
	h.o.Logger.Warn("the journal or the lists are not those that were hunted: all that is listed is hunted again", zap.Error(why))
	h.abandon()
	h.place, h.looked, h.unsaid = place{Linked: h.o.Journal.Last()}, 0, true
	h.ties, h.memories, h.remembers = newTies(), nil, false
}

// abandon gives up the passes. What they had to do is done again from where the
// place says.
func (h *Hunt) abandon() {
	for _, p := range h.passes {
		p.close()
	}
	if n := len(h.late); n > 0 || len(h.passes) > 0 {
		h.place.Position = h.followed()
	}
	h.passes, h.late = nil, nil
	h.looked = h.place.Hunted
}

// followed is up to where late entries were dealt with for good.
func (h *Hunt) followed() wal.Position {
	at := h.place.Position
	for _, f := range h.late {
		at = min(at, f.after)
	}
	for _, p := range h.passes {
		if p.found.late {
			at = min(at, p.found.after)
		}
	}
	return at
}

// finish takes note of a pass that ended.
func (h *Hunt) finish(ended *pass) {
	ended.close()
	left := h.passes[:0]
	hunted := h.looked
	for _, p := range h.passes {
		if p != ended {
			left = append(left, p)
			hunted = min(hunted, p.from)
		}
	}
	clear(h.passes[len(left):])
	h.passes = left
	h.place.Hunted, h.unsaid = hunted, true
	for _, t := range ended.found.order {
		h.ties.take(t, h.o.Clock())
		h.place.Linked = min(h.place.Linked, ended.last) // later entries were not compared with it
	}
	ended.report()
	h.mu.Lock()
	h.status.Last = ended.result
	h.mu.Unlock()
}

func (h *Hunt) say(problem error) {
	h.metrics.hunted.Set(float64(h.place.Hunted))
	h.metrics.followed.Set(float64(h.ties.n))
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status.Hunted, h.status.Passes, h.status.Following, h.status.Problem = h.place.Hunted, len(h.passes), h.place.following(), problem
}

// save writes the place if it has changed. A place that lies behind the truth
// costs work, one before it would cost mail: so it never tells of more than was
// handed over.
func (h *Hunt) save() error {
	if !h.unsaid {
		return nil
	}
	p := h.place
	p.Position = h.followed()
	if err := p.save(&h.o); err != nil {
		return fmt.Errorf("writing down how far the journal was hunted: %w", err)
	}
	h.unsaid, h.saved = false, h.o.Clock()
	return nil
}
