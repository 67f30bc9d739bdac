package postings

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
)

// Options says how a set is kept.
type Options struct {
	FS  disk.FS // required
	Dir string  // the set's folder, made where it is missing; its parent has to be there; required
	// Join makes the notes of two runs that follow each other into those of the run
	// that both are merged into; required. It keeps neither and changes neither.
	Join func(a, b []byte) []byte
	// MinFree is the free space in bytes below which nothing is written; no bound
	// if it is not positive.
	MinFree int64
	// InMemory writes nothing: for tests.
	InMemory bool
	Logger   *zap.Logger // nil: none

	fanout int // for tests; fanout if 0
}

// fanout is how many files of a level are merged into one of the next.
const fanout = 8

// mergedAtOnce times as many are merged at most, where there was no room for it for
// long: memory and time grow with their number.
const mergedAtOnce = 4

const (
	siteFolder  disk.Site = "postings.folder" // the set's folder in its parent
	siteRun     disk.Site = "postings.run"    // a run's content
	siteNames   disk.Site = "postings.names"  // a run's name
	flagRead              = os.O_RDONLY
	flagCreate            = os.O_RDWR | os.O_CREATE | os.O_TRUNC
	fileMode              = fs.FileMode(0o600)
	folderMode            = fs.FileMode(0o700)
	fileSuffix            = ".run"
	nameDigits            = 16
	fileNameLen           = 2*nameDigits + 1 + len(fileSuffix)
)

// Set is the runs of a stretch of the log. Add, Write and Close are for one
// goroutine, Merge is for one, which may be another; Look may be called by any.
type Set struct {
	o      Options
	sorter sorter
	life   context.Context // of a merge; ends with Close
	end    context.CancelFunc
	upkeep sync.Mutex // held by a merge

	mu     sync.Mutex
	files  []*file   // in the order of the log
	memory []*memory // behind them
	closed bool
}

// Open opens the set in a folder, or makes it there.
func Open(o Options) (*Set, error) {
	switch {
	case o.FS == nil || o.Dir == "" || o.Join == nil:
		return nil, errors.New("postings: an option is missing")
	case o.fanout == 0:
		o.fanout = fanout
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	s := &Set{o: o}
	s.life, s.end = context.WithCancel(context.Background())
	if o.InMemory {
		return s, nil
	}
	if err := disk.MakeFolder(o.FS, o.Dir, folderMode, siteFolder); err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("open index: %w", errors.Join(err, s.Close()))
	}
	return s, nil
}

// load opens the runs that follow each other from the first one on, and removes
// all other files: those that were merged, and what is behind a gap.
func (s *Set) load() error {
	names, err := s.o.FS.ReadDir(s.o.Dir)
	if err != nil {
		return err
	}
	var all []*file
	for _, entry := range names {
		name := filepath.Join(s.o.Dir, entry.Name())
		if strings.HasSuffix(name, disk.TempSuffix) {
			if err := s.o.FS.Remove(name); err != nil {
				return err
			}
		}
		if !strings.HasSuffix(name, fileSuffix) {
			continue
		}
		f, err := openFile(s.o.FS, name)
		if errors.Is(err, ErrDamaged) {
			s.o.Logger.Warn("a file of the journal's index is left out, and its part of the log indexed anew", zap.Error(err))
			if err := s.o.FS.Remove(name); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return errors.Join(err, giveUp(all))
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *file) int { // of those that begin alike, the one that reaches farthest
		if a.after.At != b.after.At {
			return compare(a.after.At, b.after.At)
		}
		return compare(b.through.At, a.through.At)
	})
	var errs []error
	for _, f := range all {
		if n := len(s.files); n == 0 || s.files[n-1].through == f.after {
			s.files = append(s.files, f)
			continue
		}
		errs = append(errs, f.leave(), s.o.FS.Remove(f.name))
	}
	return errors.Join(errs...)
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// State is what a set covers.
type State struct {
	After   Mark // all behind this record
	Through Mark // up to this one
	Sealed  bool // and nothing will follow
	Notes   []byte
	Waiting int // postings in memory
}

// State gives what the set covers, ok false where it has no run.
func (s *Set) State() (state State, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.runs() {
		span := r.span()
		if i == 0 {
			state.After, state.Notes = span.after, span.notes
		} else {
			state.Notes = s.o.Join(state.Notes, span.notes)
		}
		state.Through, ok = span.through, true
	}
	for _, m := range s.memory {
		state.Waiting += len(m.postings)
	}
	state.Sealed = len(s.memory) == 0 && len(s.files) > 0 && s.files[len(s.files)-1].sealed
	return state, ok
}

// runs gives all runs in the order of the log. The caller holds mu.
func (s *Set) runs() []run {
	all := make([]run, 0, len(s.files)+len(s.memory))
	for _, f := range s.files {
		all = append(all, f)
	}
	for _, m := range s.memory {
		all = append(all, m)
	}
	return all
}

// Add adds the postings of the records behind one up to another. It begins where
// the set ends, anywhere if that has no run. group is free when Add returns.
// Whoever looks from now on sees them.
func (s *Set) Add(group []Posting, after, through Mark, notes []byte) {
	sorted := s.sorter.sort(group)
	next := &memory{stretch{after, through, uint64(len(sorted)), slices.Clone(notes)}, sorted}
	s.mu.Lock()
	before := s.memory // nobody else changes it
	s.mu.Unlock()
	// Runs in memory become larger to the front, so that there are few.
	for n := len(before); n > 0 && len(before[n-1].postings) <= 2*len(next.postings); n-- {
		last := before[n-1]
		next = last.join(next, s.o.Join(last.notes, next.notes))
		before = before[:n-1]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory = append(slices.Clip(before), next)
}

// Waiting gives the number of postings in memory.
func (s *Set) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, m := range s.memory {
		n += len(m.postings)
	}
	return n
}

// Write writes what is in memory to a file. With seal it notes that nothing will
// follow. When it returns nil, all that was added outlives a power cut. Errors
// satisfy disk.ErrNoSpace, or come from the file system; then everything is as
// before.
func (s *Set) Write(seal bool) error {
	if s.o.InMemory {
		return nil
	}
	s.mu.Lock()
	waiting := s.memory
	last := len(s.files) - 1
	if len(waiting) == 0 {
		if last < 0 || !seal || s.files[last].sealed {
			s.mu.Unlock()
			return nil
		}
		waiting = []*memory{{stretch: stretch{after: s.files[last].through, through: s.files[last].through}}}
	}
	s.mu.Unlock()
	sources := make([]run, len(waiting))
	for i, m := range waiting {
		sources[i] = m
	}
	f, err := s.create(context.Background(), sources, trailer{sealed: seal})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files, s.memory = append(slices.Clip(s.files), f), nil
	return nil
}

// Merge merges files once, if there are enough of one level, and reports whether
// it did. Errors are those of Write and the context's.
func (s *Set) Merge(ctx context.Context) (bool, error) {
	s.upkeep.Lock()
	defer s.upkeep.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(ErrClosed) })()

	s.mu.Lock()
	start, count := due(s.files, s.o.fanout)
	old := slices.Clone(s.files[start : start+count])
	s.mu.Unlock()
	if len(old) == 0 {
		return false, nil
	}
	sources := make([]run, len(old))
	for i, f := range old {
		sources[i] = f
	}
	merged, err := s.create(ctx, sources, trailer{level: old[0].level + 1, sealed: old[len(old)-1].sealed})
	if errors.Is(err, ErrClosed) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	s.files = slices.Concat(s.files[:start], []*file{merged}, s.files[start+count:])
	s.mu.Unlock()
	err = giveUp(old)
	for _, f := range old {
		err = errors.Join(err, s.o.FS.Remove(f.name))
	}
	if err != nil { // they are in nobody's way, and go when the set is opened
		s.o.Logger.Warn("files of the journal's index that were merged are left", zap.Error(err))
	}
	return true, nil
}

// due gives the oldest of the newest files that are so many and all of one level.
// Levels do not grow from a file to the next, but for those written while others were
// merged.
func due(files []*file, fanout int) (start, count int) {
	for end := len(files); end >= fanout; end = start {
		start = end - 1
		for start > 0 && files[start-1].level == files[end-1].level {
			start--
		}
		if end-start >= fanout {
			return start, min(end-start, mergedAtOnce*fanout)
		}
	}
	return 0, 0
}

func giveUp(files []*file) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.leave())
	}
	return errors.Join(errs...)
}

// create writes runs that follow each other to one file.
func (s *Set) create(ctx context.Context, sources []run, t trailer) (*file, error) {
	size := int64(0)
	cursors := make([]cursor, len(sources))
	for i, r := range sources {
		span := r.span()
		if i == 0 {
			t.stretch = span
			t.count = 0
		} else {
			t.notes = s.o.Join(t.notes, span.notes)
		}
		t.through = span.through
		t.count += span.count
		size += postingBytes * int64(span.count)
		cursors[i] = r.scan()
	}
	guard := disk.Guard{FS: s.o.FS, Path: s.o.Dir, MinFree: s.o.MinFree}
	if err := guard.Check(size); err != nil {
		return nil, err
	}
	name := filepath.Join(s.o.Dir, fmt.Sprintf("%016x-%016x%s", t.after.At, t.through.At, fileSuffix))
	temp := name + disk.TempSuffix
	f, err := s.o.FS.OpenFile(temp, flagCreate, fileMode)
	if err != nil {
		return nil, fmt.Errorf("write index: %w", err)
	}
	r := &file{name: name, f: f}
	r.users.Store(1)
	if r.trailer, err = fill(ctx, f, cursors, t); err == nil {
		err = f.Sync(siteRun)
	}
	if err == nil {
		err = s.o.FS.Rename(temp, name)
	}
	if err == nil {
		err = s.o.FS.SyncDir(s.o.Dir, siteNames)
	}
	if err != nil {
		_, _ = f.Close(), s.o.FS.Remove(temp)
		return nil, fmt.Errorf("write index: %w", err)
	}
	return r, nil
}

// postingBytes is about what a posting takes in a file.
const postingBytes = 16

// fill writes a file's content.
func fill(ctx context.Context, f disk.File, cursors []cursor, t trailer) (trailer, error) {
	m, err := newMerger(cursors)
	if err != nil {
		return t, err
	}
	w := newWriter(f, t.after.At, t.count)
	for n := 0; ; n++ {
		p, ok, err := m.next()
		if err == nil && ok {
			err = w.add(p)
		}
		if err == nil && n%(1<<16) == 0 {
			err = context.Cause(ctx)
		}
		if err != nil {
			return t, err
		}
		if !ok {
			return w.finish(t)
		}
	}
}

// Look gives the set as it is now, to be looked into until Release. The error is
// ErrClosed.
func (s *Set) Look() (*View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	v := &View{files: s.files, runs: s.runs()}
	for _, f := range v.files {
		f.enter()
	}
	return v, nil
}

// View is a set as it was at one moment.
type View struct {
	files []*file
	runs  []run
}

// Release gives the view up, once.
func (v *View) Release() { _ = giveUp(v.files) }

// All gives every position of a key, in order.
func (v *View) All(key uint64) iter.Seq2[uint64, error] { return v.Between(key, 0, math.MaxUint64) }

// Between gives the positions of a key in [from, to), in order. The loop ends
// after an error.
func (v *View) Between(key, from, to uint64) iter.Seq2[uint64, error] {
	return func(yield func(uint64, error) bool) {
		for _, r := range v.runs {
			more, err := r.lookup(key, from, to, func(at uint64) bool { return yield(at, nil) })
			if err != nil {
				yield(0, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

// Close closes the set. What is in memory is lost: see Write. A merge that goes on
// is given up; views that are not released go on. Closing again does nothing.
func (s *Set) Close() error {
	s.end()
	s.upkeep.Lock()
	defer s.upkeep.Unlock()
	s.mu.Lock()
	files := s.files
	s.files, s.memory, s.closed = nil, nil, true
	s.mu.Unlock()
	return giveUp(files)
}

// Remove closes the set and removes its folder.
func (s *Set) Remove() error {
	err := s.Close()
	if s.o.InMemory {
		return err
	}
	names, readErr := s.o.FS.ReadDir(s.o.Dir)
	err = errors.Join(err, readErr)
	for _, entry := range names {
		err = errors.Join(err, s.o.FS.Remove(filepath.Join(s.o.Dir, entry.Name())))
	}
	return errors.Join(err, s.o.FS.Remove(s.o.Dir))
}
