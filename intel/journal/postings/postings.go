// Package postings keeps an index that follows a log: under each key, the
// positions of the records that have it. It knows nothing of what records hold.
//
// # Runs
//
// A Set is a sequence of runs. A run holds the postings of one stretch of the
// log, sorted by key and position; the next one begins where it ends. What was
// added last is in memory; once that is much, or old, it is written to a file
// in one go, and eight files of one level are merged into one of the next. So a
// posting is written a few times in its life, in order, and a lookup asks some
// dozen runs, each with two reads.
//
// # Files
//
// A run's file is named by its stretch, "after-through" in hex. It is written
// under another name, synced and renamed, and never changed: a file that is
// there is whole. It holds, numbers little-endian:
//
//	header     magic "WEIRRUN1"
//	buckets    the keys that share their first bits, about 32 postings, and the
//	           sum; for each key, as uvarints, how far it is from the one before,
//	           then the length of its list times two, and the list: positions, each
//	           as its distance from the one before, the first from the stretch's
//	           start. For a list beyond 256 bytes: the number of its chunks times
//	           two plus one, and where their table stands
//	chunks     pieces of long lists, about 16 KiB and a sum each; then their table,
//	           with a sum: first position (8 bytes), offset (8), length (4)
//	directory  offset (8) and length (4) of each bucket
//	notes      what the owner keeps beside the postings
//	trailer    what trailer in file.go says, and its sum
//
// A sum is the xxhash64 of what stands before it, plus its offset in the file, so
// that a piece in the wrong place does not check. Keys are hashes, spread evenly:
// that is what makes buckets alike. Nothing breaks where they are not.
//
// # What is lost
//
// Only what is in memory, when the process ends without Close: the owner reads
// that stretch of the log again, from Through on. Open also leaves out a file that
// does not check, and all behind it.
package postings

import (
	"cmp"
	"errors"
	"math/bits"
	"slices"
)

// Errors of this package, besides disk.ErrNoSpace.
var (
	// ErrClosed says that the set is closed.
	ErrClosed = errors.New("index closed")
	// ErrDamaged says that a file is not as it was written.
	ErrDamaged = errors.New("index damaged")
)

// Posting says that the record at a position has a key.
type Posting struct{ Key, At uint64 }

// Compare sorts by key, then position.
func (p Posting) Compare(o Posting) int {
	if c := cmp.Compare(p.Key, o.Key); c != 0 {
		return c
	}
	return cmp.Compare(p.At, o.At)
}

// Mark is a record of the log: its position, and its check by which a record of
// another log is told from it. The zero Mark is the start of the log.
type Mark struct{ At, Check uint64 }

// sorter sorts postings and keeps its room from one time to the next.
type sorter struct{ counts []int32 }

// few is how many postings are sorted by insertion.
const few = 24

// sort gives the postings in order, each once, in memory of their own. Keys are
// hashes: laid out by their first bits they are nearly in place.
func (s *sorter) sort(all []Posting) []Posting {
	shift := 64 - max(bits.Len(uint(len(all)))-3, 1) // about eight in each
	n := 1 << (64 - shift)
	s.counts = slices.Grow(s.counts[:0], n+1)[:n+1]
	clear(s.counts)
	for i := range all {
		s.counts[all[i].Key>>shift+1]++
	}
	for i := 1; i <= n; i++ {
		s.counts[i] += s.counts[i-1]
	}
	sorted := make([]Posting, len(all))
	for i := range all {
		next := &s.counts[all[i].Key>>shift] // its start, and in the end that of the next one
		sorted[*next] = all[i]
		*next++
	}
	start := int32(0)
	for _, end := range s.counts[:n] {
		part := sorted[start:end]
		if len(part) > few {
			slices.SortFunc(part, Posting.Compare)
		} else {
			insertion(part)
		}
		start = end
	}
	return slices.Compact(sorted)
}

func insertion(part []Posting) {
	for i := 1; i < len(part); i++ {
		p := part[i]
		j := i
		for ; j > 0 && (part[j-1].Key > p.Key || part[j-1].Key == p.Key && part[j-1].At > p.At); j-- {
			part[j] = part[j-1]
		}
		part[j] = p
	}
}

// run is a stretch of the log as it is indexed.
type run interface {
	// span gives the stretch.
	span() stretch
	// lookup gives the positions of a key that lie in [from, to), in order, until
	// yield says no more; then it reports false.
	lookup(key, from, to uint64, yield func(at uint64) bool) (bool, error)
	// scan gives a cursor over all of the run.
	scan() cursor
}

// cursor gives the postings of a run in order.
type cursor interface {
	// next gives the next posting, ok false behind the last one.
	next() (p Posting, ok bool, err error)
}

// stretch is what a run is about.
type stretch struct {
	after, through Mark
	count          uint64 // postings
	notes          []byte
}

// memory is a run that is not written yet.
type memory struct {
	stretch
	postings []Posting
}

func (m *memory) span() stretch { return m.stretch }

func (m *memory) lookup(key, from, to uint64, yield func(uint64) bool) (bool, error) {
	i, _ := slices.BinarySearchFunc(m.postings, Posting{key, from}, Posting.Compare)
	for ; i < len(m.postings) && m.postings[i].Key == key && m.postings[i].At < to; i++ {
		if !yield(m.postings[i].At) {
			return false, nil
		}
	}
	return true, nil
}

func (m *memory) scan() cursor { return &memoryCursor{m.postings} }

type memoryCursor struct{ left []Posting }

func (c *memoryCursor) next() (Posting, bool, error) {
	if len(c.left) == 0 {
		return Posting{}, false, nil
	}
	p := c.left[0]
	c.left = c.left[1:]
	return p, true, nil
}

// join merges two runs that follow each other.
func (m *memory) join(o *memory, notes []byte) *memory {
	all := make([]Posting, 0, len(m.postings)+len(o.postings))
	a, b := m.postings, o.postings
	for len(a) > 0 && len(b) > 0 {
		// Of one key, those of the first run come first.
		if a[0].Key <= b[0].Key {
			all, a = append(all, a[0]), a[1:]
		} else {
			all, b = append(all, b[0]), b[1:]
		}
	}
	all = append(append(all, a...), b...)
	return &memory{stretch{m.after, o.through, uint64(len(all)), notes}, all}
}

// merger gives the postings of runs that follow each other in the log, in order.
type merger struct {
	cursors []cursor
	heads   []Posting // of each cursor
}

func newMerger(cursors []cursor) (*merger, error) {
	m := &merger{}
	for _, c := range cursors {
		p, ok, err := c.next()
		if err != nil {
			return nil, err
		}
		if ok {
			m.cursors, m.heads = append(m.cursors, c), append(m.heads, p)
		}
	}
	return m, nil
}

func (m *merger) next() (Posting, bool, error) {
	if len(m.heads) == 0 {
		return Posting{}, false, nil
	}
	least := 0
	for i := 1; i < len(m.heads); i++ { // there are few: of one key, the first run's come first
		if m.heads[i].Key < m.heads[least].Key {
			least = i
		}
	}
	p := m.heads[least]
	next, ok, err := m.cursors[least].next()
	switch {
	case err != nil:
		return Posting{}, false, err
	case ok:
		m.heads[least] = next
	default:
		m.heads = slices.Delete(m.heads, least, least+1)
		m.cursors = slices.Delete(m.cursors, least, least+1)
	}
	return p, true, nil
}
