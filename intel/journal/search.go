package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weirmail/weir/intel/journal/postings"
	"github.com/weirmail/weir/intel/wal"
)

// Query says which entries Search gives. All conditions have to hold.
type Query struct {
	// Keys lead to the entries: each has a key of every group. Without a group all
	// entries of the time are read. A group without a key is no condition.
	Keys  [][]Key
	Since time.Time // entries of this time or later; zero: from the oldest on
	Until time.Time // entries before this time; zero: up to the newest
	// Glance may refuse an entry before all of it is read: it is given without
	// parts, observables and hits, at a third of the cost. nil refuses none.
	Glance func(*Entry) bool
	// Match has the last word on an entry, since two things can have one key; nil
	// takes all.
	Match func(*Entry) bool

	Before wal.Position // only entries that stand before; 0: from the newest on
	Limit  int          // at most so many; at least 1
}

// Page is a part of what a query finds, the entries that were written last first.
type Page struct {
	Records []Record
	// Next is the Before of the next page; 0: there is nothing more. A page ends
	// where it has cost enough: it can be short, or empty, and be followed by others.
	Next wal.Position
	// Reached is about how far back the page went, zero on the last one.
	Reached time.Time
}

// Bounds on what one page costs.
const (
	maxExamined   = 20_000    // entries that are read and looked at
	maxPageRead   = 256 << 20 // their bytes
	maxPageGiven  = 16 << 20  // bytes of those that are given
	maxPostings   = 4_000_000 // positions that are read from the index
	maxWindow     = 200_000   // positions that are kept at once, unless one block has more
	fewCandidates = 8         // so many are sooner looked at than sifted by another list
	manyFound     = 512       // candidates of a window beyond which the next one is smaller
	maxWidth      = 1 << 20   // zones of a window: a TiB of log
)

// Search gives the entries that a query asks for, as far as the index has come
// (see Wait), the last written first, a page at a time. What is written meanwhile
// is on no later page, and what is dropped for its age or size is passed over.
// Errors are those of the context, the index and wal.Log.Get; entries of a later
// version are passed over.
func (j *Journal) Search(ctx context.Context, q Query) (Page, error) {
	if q.Limit < 1 {
		return Page{}, errors.New("journal: a search for no entries")
	}
	return newSearch(ctx, j, q).run()
}

func newSearch(ctx context.Context, j *Journal, q Query) *search {
	s := &search{ctx: ctx, j: j, q: q, before: q.Before, width: 4, window: maxWindow}
	if s.before == 0 {
		s.before = ^wal.Position(0)
	}
	for _, group := range q.Keys {
		if len(group) > 0 {
			s.lists = append(s.lists, &list{keys: group})
		}
	}
	return s
}

func (s *search) run() (Page, error) {
	look := s.scan
	if len(s.lists) > 0 {
		look = s.lookUp
	}
	for _, part := range s.j.index.stretches(s.before, s.q.Since, s.q.Until) {
		more, err := look(part)
		if err != nil {
			return Page{}, err
		}
		if more {
			s.page.Next, s.page.Reached = s.before, s.reached
			break
		}
	}
	return s.page, nil
}

// search is one page on its way.
type search struct {
	ctx   context.Context
	j     *Journal
	q     Query
	lists []*list

	width  int // zones that are looked up at once
	window int // positions that are kept at once

	page     Page
	before   wal.Position // all from here on was answered
	reached  time.Time
	examined int
	read     int // bytes of entries
	given    int // bytes of those on the page
	postings int
}

// list is what the index has under the keys of a group.
type list struct {
	keys []Key
	seen int // positions so far: the rarest is asked first
}

// spent reports that the page has cost enough.
func (s *search) spent() bool {
	return s.examined >= maxExamined || s.read >= maxPageRead || s.postings >= maxPostings
}

// ended reports that no further entry may be looked at.
func (s *search) ended() bool {
	return len(s.page.Records) == s.q.Limit || s.given >= maxPageGiven || s.spent()
}

// scan reads a part of a week from its end. It reports that the page ended
// before the part did.
func (s *search) scan(part stretch) (more bool, err error) {
	for _, zone := range slices.Backward(part.zones) {
		if s.ended() {
			return true, nil
		}
		if more, err := s.readZone(zone); more || err != nil {
			return more, err
		}
		s.passed(zone)
	}
	return false, nil
}

// lookUp goes through the index of a part of a week from its end, some zones at
// a time: more of them as long as nothing is found. It reports what scan does.
func (s *search) lookUp(part stretch) (more bool, err error) {
	defer func() {
		if errors.Is(err, postings.ErrClosed) {
			if err = fmt.Errorf("%w: %w", wal.ErrClosed, err); s.j.dropped(part) {
				err = nil
			}
		}
	}()
	view, err := part.set.Look()
	if err != nil {
		return false, err
	}
	defer view.Release()
	for zones := part.zones; len(zones) > 0; {
		if s.spent() {
			return true, nil
		}
		window := zones[max(0, len(zones)-s.width):]
		found, ok, err := s.candidates(view, window)
		if err != nil {
			return false, err
		}
		if !ok {
			s.width = max(1, len(window)/8)
			continue
		}
		if more, err := s.readEach(found); more || err != nil {
			return more, err
		}
		s.passed(window[0])
		zones = zones[:len(zones)-len(window)]
		switch {
		case len(found) == 0:
			s.width = min(2*s.width, maxWidth)
		case len(found) > manyFound:
			s.width = max(1, s.width/2)
		}
	}
	return false, nil
}

// dropped reports that all of a part of a week is no longer kept.
func (j *Journal) dropped(part stretch) bool {
	segments := j.log.Segments()
	return len(segments) > 0 && part.zones[len(part.zones)-1].first < segments[0].Base
}

// passed notes that a zone and all behind it were answered.
func (s *search) passed(z zone) {
	s.before, s.reached = min(s.before, z.first), time.Unix(0, z.earliest).UTC()
}

// candidates gives where entries stand in neighbouring zones that have a key of
// each list, or at least of some: where few are left, looking is the cheaper
// sieve. Of lists, the rarest so far is asked first. ok is false where one holds
// too many to be kept.
func (s *search) candidates(view *postings.View, window []zone) (found []wal.Position, ok bool, err error) {
	slices.SortStableFunc(s.lists, func(a, b *list) int { return a.seen - b.seen })
	for i, l := range s.lists {
		if i > 0 && len(found) <= fewCandidates {
			break
		}
		positions, ok, err := s.positions(view, l, window)
		if !ok || err != nil {
			return nil, false, err
		}
		if l.seen += len(positions); i == 0 {
			found = positions
		} else {
			found = intersect(found, positions)
		}
	}
	return found, true, nil
}

// positions gives what a list has in the window, in order.
func (s *search) positions(view *postings.View, l *list, window []zone) (found []wal.Position, ok bool, err error) {
	grid := s.j.index.grid
	from := grid.start(window[0].first)
	to := min(s.before, grid.end(window[len(window)-1].first))
	for _, key := range l.keys {
		for at, err := range view.Between(uint64(key), uint64(from), uint64(to)) {
			if err != nil {
				return nil, false, err
			}
			if len(found) == s.window && len(window) > 1 {
				return nil, false, nil
			}
			found = append(found, wal.Position(at))
		}
		if err := context.Cause(s.ctx); err != nil {
			return nil, false, err
		}
	}
	s.postings += len(found)
	// Several keys.
	if !slices.IsSorted(found) {
		slices.Sort(found)
	}
	return slices.Compact(found), true, nil
}

// intersect keeps of a what b has too. Both are sorted.
func intersect(a, b []wal.Position) []wal.Position {
	kept := a[:0]
	for _, at := range a {
		for len(b) > 0 && b[0] < at {
			b = b[1:]
		}
		if len(b) > 0 && b[0] == at {
			kept = append(kept, at)
		}
	}
	return kept
}

// readEach looks at entries, the last one first. It reports that the page ended
// before all were seen.
func (s *search) readEach(positions []wal.Position) (more bool, err error) {
	for _, at := range slices.Backward(positions) {
		if s.ended() {
			return true, nil
		}
		raw, err := s.j.log.Get(at)
		if errors.Is(err, wal.ErrDropped) {
			continue
		}
		if err == nil {
			err = s.examine(raw)
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// readZone looks at all entries of a zone, the last one first, and reports what
// readEach does.
func (s *search) readZone(z zone) (more bool, err error) {
	records, err := s.j.zone(z, s.before)
	if err != nil {
		return false, err
	}
	for _, raw := range slices.Backward(records) {
		if s.ended() {
			return true, nil
		}
		if err := s.examine(raw); err != nil {
			return false, err
		}
	}
	return false, nil
}

// zone reads the entries of a zone that stand before a position and are still kept.
func (j *Journal) zone(z zone, before wal.Position) ([]wal.Record, error) {
	before = min(before, j.index.grid.end(z.first))
	if z.first >= before {
		return nil, nil
	}
	var records []wal.Record
	after := wal.Position(0) // where the first entry was dropped, what follows may be kept
	switch first, err := j.log.Get(z.first); {
	case err == nil:
		records, after = append(records, first), z.first
	case !errors.Is(err, wal.ErrDropped):
		return nil, err
	}
	for raw, err := range j.log.Read(after) {
		if errors.Is(err, wal.ErrDropped) {
			return j.zone(z, before) // at this moment
		}
		if err != nil {
			return nil, err
		}
		if raw.Position >= before {
			break
		}
		raw.Payload = slices.Clone(raw.Payload)
		records = append(records, raw)
	}
	return records, nil
}

// examine puts an entry on the page if it is what the query asks for.
func (s *search) examine(raw wal.Record) error {
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	s.before = raw.Position
	s.examined++
	s.read += len(raw.Payload)
	e, err := s.j.codec.decodeHead(raw.Payload)
	if err == nil {
		s.reached = e.Time
		if !s.glance(e) {
			return nil
		}
		e, err = s.j.codec.decode(raw.Payload)
	}
	switch {
	case errors.Is(err, ErrEntry):
		return nil // of a later version, or erased: the log tells of it
	case err != nil:
		return err
	case s.q.Match != nil && !s.q.Match(e):
		return nil
	}
	s.given += len(raw.Payload)
	s.page.Records = append(s.page.Records, Record{raw.Position, e})
	return nil
}

func (s *search) glance(e *Entry) bool {
	switch {
	case !s.q.Since.IsZero() && e.Time.Before(s.q.Since), !s.q.Until.IsZero() && !e.Time.Before(s.q.Until):
		return false
	}
	return s.q.Glance == nil || s.q.Glance(e)
}
