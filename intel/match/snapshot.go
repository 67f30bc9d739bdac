package match

import (
	"errors"
	"math/bits"
	"sync/atomic"

	"github.com/weirmail/weir/intel"
)

// Source gives the indicators behind a pattern key. It is read by many
// goroutines at once.
type Source interface {
	// Lookup appends the indicators listed under a pattern key, as
	// intel.AppendPatternKey makes it; hash is the pattern's Hash. It keeps
	// neither key nor dst. The indicators are shared and never written to.
	Lookup(dst []*intel.Indicator, hash uint64, key []byte) ([]*intel.Indicator, error)
}

// Options says what a Snapshot is made of.
type Options struct {
	Source     Source
	Filter     *Filter            // of all that Source holds, marks included
	Regexps    []*intel.Indicator // FormRegexp; Source is never asked for these
	Generation uint64             // of the lists, for the journal
	Release    func()             // called once, when nobody reads any more; may be nil
}

// Snapshot is all that is known at one moment.
type Snapshot struct {
	source     Source
	filter     *Filter
	texts      texts
	lengths4   [33]bool // range lengths in use
	lengths6   [129]bool
	maxTail    int // how far a URL prefix may reach behind its bucket
	generation uint64

	release func()
	readers atomic.Int64 // one more than there are: whoever made it holds it too
}

// New makes a Snapshot that the caller holds: Release ends that, or handing it
// to a Matcher.
func New(o Options) (*Snapshot, error) {
	if o.Source == nil {
		return nil, errors.New("match: a snapshot needs a source")
	}
	s := &Snapshot{source: o.Source, filter: o.Filter, generation: o.Generation, release: o.Release}
	for _, ind := range o.Regexps {
		if ind.Pattern.Form() != intel.FormRegexp {
			return nil, errors.New("match: " + ind.Pattern.String() + " is no regular expression")
		}
		s.texts.add(ind)
	}
	for n := range s.lengths4 {
		s.lengths4[n] = s.filter.Contains(lengthMark("4", n))
	}
	for n := range s.lengths6 {
		s.lengths6[n] = s.filter.Contains(lengthMark("6", n))
	}
	for digits := range bits.Len(intel.MaxURL) + 1 {
		if s.filter.Contains(tailMark(digits)) {
			s.maxTail = 1<<digits - 1
		}
	}
	s.readers.Store(1)
	return s, nil
}

// Generation is that of the lists that s was made from.
func (s *Snapshot) Generation() uint64 { return s.generation }

// Release ends the reading of a Snapshot that Acquire or New gave. It must not
// be used afterwards.
func (s *Snapshot) Release() {
	if s.readers.Add(-1) == 0 && s.release != nil {
		s.release()
	}
}

// hold counts one more reader, unless the last one is gone already.
func (s *Snapshot) hold() bool {
	for {
		n := s.readers.Load()
		if n == 0 {
			return false
		}
		if s.readers.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Matcher holds the current Snapshot. Its methods are safe for concurrent use
// and none of them waits.
type Matcher struct {
	current atomic.Pointer[Snapshot]
}

// NewMatcher begins with a Snapshot that knows nothing.
func NewMatcher() *Matcher {
	s := &Snapshot{source: nothing{}}
	s.readers.Store(1)
	m := &Matcher{}
	m.current.Store(s)
	return m
}

// Acquire gives the current Snapshot, which stays as it is and readable until
// the caller releases it. One message is matched against one Snapshot.
func (m *Matcher) Acquire() *Snapshot {
	for {
		// Between Load and hold the snapshot may be replaced and released by its
		// last reader; then there is a newer one to be had.
		if s := m.current.Load(); s.hold() {
			return s
		}
	}
}

// Swap makes s, which the caller holds and gives away, the current Snapshot.
func (m *Matcher) Swap(s *Snapshot) { m.current.Swap(s).Release() }

// nothing is the Source of a Matcher before its first Swap.
type nothing struct{}

func (nothing) Lookup(dst []*intel.Indicator, _ uint64, _ []byte) ([]*intel.Indicator, error) {
	return dst, nil
}
