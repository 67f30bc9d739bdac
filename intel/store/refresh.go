package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/match"
)

// Source is what one origin of indicators lists now.
type Source struct {
	Name string // "list:block/local.txt"; unique
	// Version tells this content from another. A source whose version is the one
	// that is listed is not read. Empty: it is always read.
	Version string
	// Entries gives what the source lists; nil lists nothing, and the source is
	// forgotten. An error does not end it: all errors are collected, and the source is
	// not taken over.
	// The Source of the indicators is set to Name.
	Entries iter.Seq2[intel.Indicator, error]
	// Thin says that of more entries for one pattern than a source may have, 16, those
	// on the first lines are taken: what a stranger publishes. Else the source is not
	// taken over.
	Thin bool
}

// Outcome says what became of a source in a refresh.
type Outcome string

// The outcomes.
const (
	Unchanged Outcome = "unchanged"
	Changed   Outcome = "changed"
	Gone      Outcome = "gone"   // it lists nothing any more
	Failed    Outcome = "failed" // its last good version stays
)

// Refreshed is what became of one source.
type Refreshed struct {
	Name    string
	Outcome Outcome
	Entries int // that are listed now
	Added   int
	Removed int
	Errors  []error // of Failed
}

// String gives it on one line, without the errors.
func (r Refreshed) String() string {
	switch r.Outcome {
	case Changed:
		return fmt.Sprintf("%s: %d entries, %d new, %d gone", r.Name, r.Entries, r.Added, r.Removed)
	case Gone:
		return fmt.Sprintf("%s: no more, %d entries gone", r.Name, r.Removed)
	case Failed:
		return fmt.Sprintf("%s: refused for %d problems, %d entries stay in force", r.Name, len(r.Errors), r.Entries)
	}
	return fmt.Sprintf("%s: %d entries, unchanged", r.Name, r.Entries)
}

// ErrChanged says that a source is not what it was when its version was taken.
var ErrChanged = errors.New("changed while it was read")

// maxAborted is the number of generations that may have come to nothing before
// what they left behind is removed.
const maxAborted = 32

// Refresh makes sources list what they give now. All that changes comes into
// force together, as one generation; if nothing does there is none. A source
// that fails keeps its last good version and does not keep the others from
// changing: what became of each is in the result, in the order of the call.
//
// The error is that of the whole refresh, after which all is as before: of the
// database or of sorting (disk.ErrNoSpace among them), the context's, or of an
// unusable call. Only where publishing the new generation failed the next
// refresh begins with that. A refresh waits for the one before it.
func (s *Store) Refresh(ctx context.Context, sources ...Source) ([]Refreshed, error) {
	if err := checkNames(sources); err != nil {
		return nil, err
	}
	s.refreshing.Lock()
	defer s.refreshing.Unlock()
	defer s.endLarge()
	began := time.Now()
	results, changed, err := s.refresh(ctx, sources)
	s.metrics.seconds.Observe(time.Since(began).Seconds())
	switch {
	case err != nil:
		s.metrics.refreshes.WithLabelValues("failed").Inc()
		return nil, fmt.Errorf("refreshing indicators: %w", err)
	case changed:
		s.metrics.refreshes.WithLabelValues("changed").Inc()
	default:
		s.metrics.refreshes.WithLabelValues("unchanged").Inc()
	}
	return results, nil
}

func checkNames(sources []Source) error {
	seen := map[string]bool{}
	for _, src := range sources {
		if src.Name == "" || seen[src.Name] {
			return fmt.Errorf("store: a source without a name, or two called %q", src.Name)
		}
		seen[src.Name] = true
	}
	return nil
}

func (s *Store) refresh(ctx context.Context, sources []Source) (results []Refreshed, changed bool, err error) {
	if s.behind {
		if err := s.catchUp(); err != nil {
			return nil, false, err
		}
	}
	if len(s.state.aborted) > maxAborted {
		if err := s.clean(ctx); err != nil {
			return nil, false, err
		}
	}
	old, err := s.opts.DB.Snapshot()
	if err != nil {
		return nil, false, err
	}
	defer old.Release()
	r := newRefresh(ctx, s, old)
	defer r.close()
	for _, src := range sources {
		result, err := r.source(src)
		if err != nil {
			r.abort()
			return nil, false, fmt.Errorf("%s: %w", src.Name, err)
		}
		results = append(results, result)
	}
	if len(r.changed) == 0 {
		return results, false, nil
	}
	if err := r.activate(); err != nil {
		r.abort()
		return nil, false, err
	}
	if err := s.catchUp(); err != nil {
		return nil, false, err
	}
	// From here on only what nobody reads any more is removed.
	if err := r.tidyUp(); err != nil {
		s.opts.Logger.Warn("what a refresh of the lists made superfluous is left in the database", zap.Error(err))
	}
	return results, true, nil
}

// catchUp publishes the active generation.
func (s *Store) catchUp() error {
	if err := s.rebuild(); err != nil {
		return err
	}
	return s.publish()
}

// refresh is the state of one refresh.
type refresh struct {
	s          *Store
	generation uint64
	old        *kv.Snapshot // the database before
	w          *writer
	numbers    uint32             // the highest number of a source
	changed    map[uint32]*source // by number; nil for one that is gone
	touched    [match.Shards]bool // of the filter
	written    hashSet            // what of areaEntry and areaRegexp this refresh has written
	marks      map[uint64]bool    // that are known to be in the database
	files      []string           // of indexes that were written, and of those in whose place they are
	added      addedLog
	wasUntidy  bool     // the database was before
	ended      int      // records
	untidy     [][]byte // keys of those, not all of them if there are more than maxUntidy
}

func newRefresh(ctx context.Context, s *Store, old *kv.Snapshot) *refresh {
	r := &refresh{
		s: s, generation: s.state.reserved + 1, old: old,
		w:       s.newWriter(ctx, s.opts.Rest),
		numbers: s.state.sources,
		changed: map[uint32]*source{}, marks: map[uint64]bool{},
	}
	r.wasUntidy = s.state.untidy
	r.added = addedLog{generation: r.generation, now: s.opts.Now(), w: r.w}
	// The number is given out with the first thing that is written under it.
	reserved := s.state
	reserved.reserved = r.generation
	r.w.first = func(b *kv.Batch) { b.Set([]byte{areaState}, reserved.encode()) }
	return r
}

// source takes one source over, up to activation. Errors of reading it are in
// the result; the error is one that ends the refresh.
func (r *refresh) source(src Source) (Refreshed, error) {
	before := r.s.sourceNamed(src.Name)
	result := Refreshed{Name: src.Name, Outcome: Unchanged}
	if before != nil {
		result.Entries = before.entries
		if src.Entries != nil && src.Version != "" && src.Version == before.version {
			return result, nil
		}
	}
	sorter := r.s.newSorter()
	defer sorter.close()
	c, errs, err := collect(r.w.ctx, src, sorter)
	if err != nil {
		return result, err
	}
	if len(errs) > 0 {
		result.Outcome, result.Errors = Failed, errs
		return result, nil
	}
	if before == nil && src.Entries == nil {
		return result, nil
	}
	after := r.sourceAfter(before, src, c)
	added, removed, err := r.takeOver(before, after, c)
	if err != nil {
		return result, err
	}
	if before != nil && src.Entries != nil && src.Version == before.version && added+removed == 0 && after.sum == before.sum {
		return result, nil // the file goes with the refresh
	}
	if before != nil {
		r.files = append(r.files, before.indexName())
	}
	result.Outcome, result.Entries, result.Added, result.Removed = Changed, c.entries, added, removed
	r.changed[after.number] = after
	if src.Entries == nil {
		result.Outcome = Gone
		r.changed[after.number] = nil
	}
	return result, nil
}

func (r *refresh) sourceAfter(before *source, src Source, c *collected) *source {
	after := &source{
		name: src.Name, version: src.Version, generation: r.generation, changed: r.s.opts.Now().UTC(), entries: c.entries, lines: c.lines,
	}
	if before != nil {
		after.number = before.number
	} else {
		r.numbers++
		after.number = r.numbers
	}
	return after
}

// close gives up what the refresh held, and removes files that no source has.
func (r *refresh) close() {
	r.w.release()
	if err := r.s.removeIndexes(r.files); err != nil {
		r.s.opts.Logger.Warn("an index that nobody needs any more is left", zap.Error(err))
	}
}

// activate makes the generation count.
func (r *refresh) activate() error {
	if err := r.added.flush(); err != nil {
		return err
	}
	if err := r.w.flush(); err != nil {
		return err
	}
	next := r.s.state
	next.active, next.reserved, next.sources = r.generation, r.generation, r.numbers
	next.untidy = next.untidy || r.ended > 0
	sources := maps.Clone(r.s.sources)
	var b kv.Batch
	b.Set([]byte{areaState}, next.encode())
	for number, src := range r.changed {
		if src == nil {
			b.Delete(sourceKey(number))
			delete(sources, number)
			continue
		}
		b.Set(sourceKey(number), src.encode())
		sources[number] = src
	}
	if err := context.Cause(r.w.ctx); err != nil {
		return err
	}
	r.s.reading.Lock()
	defer r.s.reading.Unlock()
	if err := r.s.opts.DB.Commit(&b); err != nil {
		return err
	}
	r.s.state, r.s.sources = next, sources
	r.w.first = nil // nothing may have had to be written before
	for shard, touched := range r.touched {
		r.s.dirty[shard] = r.s.dirty[shard] || touched
	}
	r.s.behind = true
	return nil
}

// abort lets the generation come to nothing. What it wrote that has keys of its
// own is removed, as far as that is possible; the rest is passed over.
func (r *refresh) abort() {
	if !r.w.tried {
		return
	}
	s := r.s
	s.reading.Lock()
	s.state.reserved = r.generation
	s.state.abort(r.generation)
	s.reading.Unlock()
	w := s.newWriter(context.WithoutCancel(r.w.ctx), 0)
	defer w.release()
	for _, key := range r.added.keys() {
		if w.delete(key) != nil {
			return
		}
	}
	_ = w.flush() // it stays until the store is opened
}
