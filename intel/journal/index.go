package journal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/journal/postings"
	"github.com/weirmail/weir/intel/wal"
)

// The index is one set of postings a week, in a folder named by the week's number
// since 1970, or by a later one where the clock was ahead. A week begins behind a
// record of the log ("after"), is indexed up to another ("applied"), and is sealed
// when it is over. Weeks that follow each other without a gap and are sealed need not
// be looked at again; all else is indexed anew from the log, what was in memory at a
// crash included.
//
// The log is cut into blocks by position. For each block that a week has entries
// in, it is known when they passed: its zone. The notes of a week's runs are their
// zones.
const (
	week = 7 * 24 * time.Hour

	maxGroup = 200_000   // postings that are added at once
	maxNoted = 4_000_000 // keys that are kept until their entries are indexed; each entry counts as one more

	// What is in memory is written at so many postings of 16 bytes, or when it is so
	// old: a crash costs reading so much of the log again.
	maxWaiting = 1_000_000
	writeAfter = 5 * time.Minute
)

// index follows the log. Only run writes.
type index struct {
	j    *Journal
	dir  string
	grid grid

	mu      sync.Mutex
	weeks   map[int64]*weekIndex
	noted   map[wal.Position]note
	notes   int          // what those count to maxNoted
	taken   wal.Position // no entry up to here needs a note any more
	applied postings.Mark
	moved   chan struct{} // closed and replaced when applied grows or run ends
	ended   error         // why run ended

	hurry   chan struct{} // somebody waits
	written chan struct{} // there may be something to merge
}

// note keeps what the index needs of an entry from Append to run, which spares
// decoding it again.
type note struct {
	keys []Key
	week int64
	time int64 // ns since 1970
}

func noteOf(dst []Key, e *Entry) note {
	return note{keys: keys(dst, e), week: weekOf(e.Time), time: e.Time.UnixNano()}
}

// weekIndex is the index of one week.
type weekIndex struct {
	number  int64
	set     *postings.Set
	after   postings.Mark
	applied postings.Mark
	sealed  bool
	zones   []zone    // by block
	since   time.Time // when the oldest of what is not written was added
}

// ahead gives by how many weeks the number is ahead of what came last.
func (w *weekIndex) ahead() int64 {
	if len(w.zones) == 0 {
		return 0
	}
	return w.number - weekOf(time.Unix(0, w.zones[len(w.zones)-1].latest))
}

func openIndex(j *Journal) (*index, error) {
	x := &index{
		j: j, dir: filepath.Join(j.o.Dir, "index"), grid: j.o.grid,
		weeks: map[int64]*weekIndex{}, noted: map[wal.Position]note{}, moved: make(chan struct{}), hurry: make(chan struct{}, 1),
		written: make(chan struct{}, 1),
	}
	if err := disk.MakeFolder(j.o.FS, x.dir, 0o700, siteIndex); err != nil {
		return nil, fmt.Errorf("open journal index: %w", err)
	}
	names, err := j.o.FS.ReadDir(x.dir)
	if err != nil {
		return nil, fmt.Errorf("open journal index: %w", err)
	}
	for _, entry := range names {
		number, err := strconv.ParseInt(entry.Name(), 10, 64)
		if err != nil {
			continue
		}
		if _, err := x.open(number); err != nil {
			return nil, errors.Join(err, x.close())
		}
	}
	x.applied = x.contiguous()
	return x, nil
}

// open opens or makes the index of a week.
func (x *index) open(number int64) (*weekIndex, error) {
	set, err := postings.Open(postings.Options{
		FS: x.j.o.FS, Dir: x.folder(number), Join: x.grid.joinNotes, MinFree: x.j.o.IndexMinFree, InMemory: x.j.o.IndexInMemory, Logger: x.j.o.Logger,
	})
	if err != nil {
		return nil, err
	}
	w := &weekIndex{number: number, set: set}
	if state, ok := set.State(); ok {
		w.after, w.applied, w.sealed, w.zones = state.After, state.Through, state.Sealed, readNotes(state.Notes)
	}
	if !x.j.holds(w.after) || !x.j.holds(w.applied) {
		x.j.o.Logger.Warn("the journal's index belongs to another log and is made anew", zap.Int64("week", number))
		if err := set.Remove(); err != nil {
			return nil, err
		}
		return x.open(number)
	}
	x.mu.Lock()
	x.weeks[number] = w
	x.mu.Unlock()
	return w, nil
}

// holds reports whether the record is one of this log, or lies before all that
// are kept.
func (j *Journal) holds(m postings.Mark) bool {
	segments := j.log.Segments()
	at := wal.Position(m.At)
	if at == 0 || len(segments) > 0 && at < segments[0].Base {
		return true
	}
	r, err := j.log.Get(at)
	return err == nil && r.Check == m.Check
}

func (x *index) folder(number int64) string {
	return filepath.Join(x.dir, strconv.FormatInt(number, 10))
}

// contiguous gives the record up to which all entries are indexed: through the
// sealed weeks that follow each other without a gap, into the first one that
// is not sealed.
func (x *index) contiguous() postings.Mark {
	var m postings.Mark
	first := uint64(0)
	if segments := x.j.log.Segments(); len(segments) > 0 {
		first = uint64(segments[0].Base)
	}
	for i, number := range slices.Sorted(maps.Keys(x.weeks)) {
		w := x.weeks[number]
		if w.after != m && (i > 0 || w.after.At > first) {
			break
		}
		if w.applied.At > m.At {
			m = w.applied
		}
		if !w.sealed {
			break
		}
	}
	return m
}

// note keeps the keys of an entry just written for run, unless run was faster.
func (x *index) note(at wal.Position, e *Entry) {
	n := noteOf(make([]Key, 0, 8+5*len(e.Observables)), e)
	x.mu.Lock()
	if count := 1 + len(n.keys); x.notes+count <= x.j.o.maxNoted && at > x.taken {
		x.noted[at] = n
		x.notes += count
	}
	x.mu.Unlock()
}

func weekOf(t time.Time) int64 { return t.Unix() / int64(week/time.Second) }

func (x *index) appliedTo() wal.Position {
	x.mu.Lock()
	defer x.mu.Unlock()
	return wal.Position(x.applied.At)
}

func (x *index) wait(ctx context.Context, at wal.Position) error {
	for {
		x.mu.Lock()
		done, moved, ended := wal.Position(x.applied.At) >= at, x.moved, x.ended
		x.mu.Unlock()
		if done {
			return nil
		}
		if ended != nil {
			return fmt.Errorf("the journal's index has stopped: %w", ended)
		}
		select {
		case x.hurry <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-moved:
		}
	}
}

// positions goes through the posting lists of a key, week by week.
func (x *index) positions(key Key) iter.Seq2[wal.Position, error] {
	return func(yield func(wal.Position, error) bool) {
		x.mu.Lock()
		numbers := slices.Sorted(maps.Keys(x.weeks))
		x.mu.Unlock()
		last := wal.Position(0)
		for _, number := range numbers {
			x.mu.Lock()
			w := x.weeks[number]
			x.mu.Unlock()
			if w != nil && !w.positions(key, &last, yield) {
				return
			}
		}
	}
}

func (w *weekIndex) positions(key Key, last *wal.Position, yield func(wal.Position, error) bool) bool {
	view, err := w.set.Look()
	if errors.Is(err, postings.ErrClosed) {
		return true // dropped for its age meanwhile
	}
	if err != nil {
		return yield(0, err)
	}
	defer view.Release()
	for n, err := range view.All(uint64(key)) {
		if err != nil {
			return yield(0, err)
		}
		// Weeks overlap where one was indexed anew.
		if at := wal.Position(n); at > *last {
			*last = at
			if !yield(at, nil) {
				return false
			}
		}
	}
	return true
}

// dropBefore removes the weeks whose entries all lie before a position, and what
// was noted of entries there that nobody will index any more.
func (x *index) dropBefore(before wal.Position) error {
	x.mu.Lock()
	x.taken = max(x.taken, before-1)
	for at, n := range x.noted {
		if at < before {
			delete(x.noted, at)
			x.notes -= 1 + len(n.keys)
		}
	}
	x.mu.Unlock()
	var errs []error
	for _, number := range x.sealedBefore(before) {
		x.mu.Lock()
		w := x.weeks[number]
		delete(x.weeks, number)
		x.mu.Unlock()
		errs = append(errs, w.set.Remove())
	}
	return errors.Join(errs...)
}

func (x *index) sealedBefore(before wal.Position) (numbers []int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for number, w := range x.weeks {
		if w.sealed && wal.Position(w.applied.At) < before {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

func (x *index) close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var errs []error
	for _, w := range x.weeks {
		errs = append(errs, w.set.Write(w.sealed), w.set.Close())
	}
	return errors.Join(errs...)
}
