package delivery

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/quarantine/delivery/follow"
	"github.com/weirmail/weir/quarantine/delivery/logline"
)

// source is a log that is followed, and how that goes.
type source struct {
	from follow.Source

	mu       sync.Mutex
	lines    uint64
	events   uint64
	gaps     uint64
	last     time.Time // of the newest event
	problem  error
	recorded time.Time // when its place was recorded last
}

// SourceState says how it goes with one log.
type SourceState struct {
	Name    string
	Lines   uint64    // read since the start
	Events  uint64    // that they told
	Gaps    uint64    // times that lines may have been missed
	Last    time.Time // of the newest event
	Problem error     // why it cannot be read; nil if it can
}

// State says how it goes.
type State struct {
	Sources  []SourceState
	Unjoined uint64     // copies that could not be joined since the start
	Latest   []Unjoined // the last 100 of them, the newest first
}

// State gives the state at this moment.
func (t *Tracker) State() State {
	var all State
	for _, s := range t.sources {
		s.mu.Lock()
		all.Sources = append(all.Sources, SourceState{s.from.Name(), s.lines, s.events, s.gaps, s.last, s.problem})
		s.mu.Unlock()
	}
	t.watch.mu.Lock()
	defer t.watch.mu.Unlock()
	all.Unjoined = t.watch.total
	for i := len(t.watch.unjoined) - 1; i >= 0; i-- {
		all.Latest = append(all.Latest, t.watch.unjoined[i])
	}
	return all
}

// Times of Run's work.
const (
	settleEvery = time.Second
	pruneEvery  = time.Hour
	recordEvery = time.Minute // a place behind lines that told nothing
)

// Run follows the logs until the context ends, or what is read cannot be recorded
// for a reason that waiting does not mend.
func (t *Tracker) Run(ctx context.Context) error {
	for {
		err := t.store.catchUp(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, disk.ErrNoSpace) {
			return err
		}
		t.o.Logger.Warn("the index of deliveries waits for disk space", zap.Error(err))
		if !sleep(ctx, t.o.retry) {
			return nil
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var work sync.WaitGroup
	for _, s := range t.sources {
		work.Go(func() { t.follow(ctx, s, cancel) })
	}
	work.Go(func() { t.tidy(ctx) })
	<-ctx.Done()
	work.Wait()
	var failed *recordError
	if errors.As(context.Cause(ctx), &failed) {
		return failed.cause
	}
	return nil
}

// recordError says that nothing can be recorded any more.
type recordError struct{ cause error }

func (e *recordError) Error() string { return e.cause.Error() }

// follow follows one source, also after it could not be read.
func (t *Tracker) follow(ctx context.Context, s *source, end context.CancelCauseFunc) {
	for {
		err := s.from.Run(ctx, t.store.place(s.from.Name()), func(b follow.Batch) error { return t.take(ctx, s, b) })
		var failed *recordError
		switch {
		case ctx.Err() != nil:
			return
		case errors.As(err, &failed):
			end(failed)
			return
		case err != nil:
			t.report(s, err)
		}
		if !sleep(ctx, t.o.retry) {
			return
		}
	}
}

// report tells how it goes with a source, if that is news.
func (t *Tracker) report(s *source, problem error) {
	s.mu.Lock()
	news := (s.problem == nil) != (problem == nil) || problem != nil && s.problem.Error() != problem.Error()
	s.problem = problem
	s.mu.Unlock()
	if news {
		t.o.Report(s.from.Name(), problem)
	}
}

// take records what a batch tells.
func (t *Tracker) take(ctx context.Context, s *source, b follow.Batch) error {
	name, now := s.from.Name(), t.o.Clock()
	parser := logline.Parser{Location: t.o.Location}
	var events []logline.Event
	for i := range b.Lines {
		if l := &b.Lines[i]; l.Program != nil {
			events = logline.ParseMessage(events, l.Time, l.Program, l.Text)
		} else {
			events = parser.Parse(events, l.Text, b.AsOf)
		}
	}
	// Before it is recorded: a process that dies between the two raises the alarm
	// once more rather than never.
	t.watch.heldDelivered(events)
	s.mu.Lock()
	due := now.Sub(s.recorded) >= recordEvery
	s.mu.Unlock()
	if len(events) > 0 || b.Gap != "" || due {
		if err := t.store.append(ctx, name, b.After, events); err != nil {
			if errors.Is(err, disk.ErrNoSpace) || ctx.Err() != nil {
				return err
			}
			return &recordError{err}
		}
		s.mu.Lock()
		s.recorded = now
		s.mu.Unlock()
	}
	t.news.tell(events)
	t.watch.add(ctx, events)
	t.count(s, &b, events, now)
	t.report(s, nil)
	return nil
}

func (t *Tracker) count(s *source, b *follow.Batch, events []logline.Event, now time.Time) {
	name := s.from.Name()
	t.metrics.lines.WithLabelValues(name).Add(float64(len(b.Lines) + b.TooLong))
	t.metrics.events.WithLabelValues(name).Add(float64(len(events)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines += uint64(len(b.Lines) + b.TooLong)
	s.events += uint64(len(events))
	if len(events) > 0 {
		s.last = events[len(events)-1].Time
		t.metrics.lag.WithLabelValues(name).Set(max(0, now.Sub(s.last).Seconds()))
	}
	if b.Gap != "" {
		s.gaps++
		t.metrics.lost.WithLabelValues(name).Inc()
		t.o.Logger.Warn(b.Gap, zap.String("log", name))
	}
}

// tidy settles copies and drops what is too old.
func (t *Tracker) tidy(ctx context.Context) {
	var pruned time.Time
	for sleep(ctx, settleEvery) {
		if err := t.watch.settle(); err != nil {
			t.o.Logger.Warn("copies could not be joined to the journal; they can still be asked for", zap.Error(err))
		}
		keep := time.Duration(t.keep.Load())
		if now := t.o.Clock(); keep > 0 && now.Sub(pruned) >= pruneEvery {
			pruned = now
			if err := t.store.prune(ctx, keep); err != nil && ctx.Err() == nil {
				t.o.Logger.Warn("old deliveries could not be dropped; it is tried again in an hour", zap.Error(err))
			}
		}
	}
}

// sleep waits, and reports whether the context still holds.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
