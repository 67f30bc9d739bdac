package hunt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/intel/store"
	"github.com/weirmail/weir/intel/wal"
)

// pageLimit is how many entries that match are read at once.
const pageLimit = 500

// Result says what a pass did.
type Result struct {
	From, Generation uint64        // it hunted what was added behind From, up to Generation
	Everything       bool          // all that is listed, since what was added is not known
	Late             bool          // it followed what was found behind a swap of the lists
	Indicators       int           // that were looked up
	Unsearchable     int           // regular expressions on texts of which the journal keeps nothing
	Examined         int           // entries that were looked into
	Matched          int           // messages that match
	Linked           int           // and that answer or forward these
	Unsure           int           // of those linked: a person decides
	Incidents        int           // that were opened or extended
	Added            int           // what the desk did not have before
	Cut              int           // incidents that more belongs to than Options allow
	Unfollowed       int           // matches whose answers and forwards were not looked for, being too many
	Took             time.Duration // from its beginning to its end, others included
}

// pass is one hunt on its way: for what some generations added. It does its work
// in steps, so that a newer one can go first.
type pass struct {
	h        *Hunt
	from, to uint64
	last     wal.Position // entries up to here have to be seen
	waited   bool
	since    time.Time // older mail is not looked at
	began    time.Time
	result   Result
	found    *found

	next func() (store.Addition, error, bool)
	stop func()

	chunk *search // of indicators that keys lead to
	scan  *search // for all others, once the chunks are through
	links *linker // once those are
}

// search is a query of the journal on its way, and what it is for.
type search struct {
	book  *book
	query journal.Query
	wide  bool            // the book holds what only reading every entry finds
	texts *match.Snapshot // the regular expressions of the book; nil until the first page
}

func (h *Hunt) newPass(from, to uint64, last wal.Position, now time.Time) *pass {
	p := &pass{h: h, from: from, to: to, last: last, since: now.Add(-time.Duration(h.lookBack.Load())), began: now}
	p.result = Result{From: from, Generation: to}
	p.found = newFound(h, &p.result)
	p.scan = &search{book: newBook(), query: journal.Query{Since: p.since, Limit: pageLimit}}
	p.next, p.stop = iter.Pull2(h.additions(from, &p.result.Everything))
	return p
}

// linkPass follows what was found late.
func (h *Hunt) linkPass(f *found) *pass {
	now := h.o.Clock()
	p := &pass{h: h, from: h.looked, to: h.looked, last: h.o.Journal.Last(), began: now, found: f, result: *f.result}
	f.result = &p.result
	p.links = newLinker(p)
	return p
}

func (p *pass) close() {
	if p.stop != nil {
		p.stop()
	}
}

// step does a part of the work, of some tenths of a second at most, and says how
// long to rest before the next one.
func (p *pass) step(ctx context.Context) (done bool, rest time.Duration, err error) {
	began := time.Now()
	if !p.waited {
		if err := p.h.o.Journal.Wait(ctx, p.last); err != nil {
			return false, 0, fmt.Errorf("waiting for the journal's index: %w", err)
		}
		p.waited = true
	}
	if p.links == nil {
		return false, rest, p.lookUp(ctx, began, &rest)
	}
	done, scanned, err := p.links.step(ctx)
	if scanned {
		rest = restAfter(began)
	}
	return done, rest, err
}

// restAfter leaves room for others behind work that nobody waits for.
func restAfter(began time.Time) time.Duration { return time.Since(began) / 2 }

// lookUp looks up the next chunk of indicators or reads on in the journal.
func (p *pass) lookUp(ctx context.Context, began time.Time, rest *time.Duration) error {
	if p.chunk == nil && p.next != nil {
		if err := p.gather(ctx); err != nil {
			return err
		}
	}
	s := p.chunk
	switch {
	case s != nil:
	case len(p.scan.book.by) > 0:
		s = p.scan
		defer func() { *rest = restAfter(began) }()
	default:
		p.links = newLinker(p)
		return nil
	}
	end, err := p.page(ctx, s)
	if err != nil {
		return err
	}
	if err := p.found.handOver(ctx); err != nil {
		return err
	}
	if !end {
		return nil
	}
	if s == p.chunk {
		p.chunk = nil
		return nil
	}
	p.scan.book = newBook()
	return nil
}

// gather takes as many indicators as are looked up at once.
func (p *pass) gather(ctx context.Context) error {
	s := &search{book: newBook(), query: journal.Query{Since: p.since, Limit: pageLimit}}
	var keys []journal.Key
	now := p.h.o.Clock()
	for len(keys) < p.h.o.maxKeys {
		a, err, ok := p.next()
		if !ok {
			p.next = nil
			break
		}
		if err = cmp.Or(err, context.Cause(ctx)); err != nil {
			return fmt.Errorf("reading what the lists added: %w", err)
		}
		if a.Generation > p.to || !worth(a.Indicator, now) {
			continue
		}
		keys = p.note(s, keys, a)
	}
	if len(keys) > 0 {
		slices.Sort(keys) // as they stand in the index
		s.query.Keys = [][]journal.Key{slices.Compact(keys)}
		p.chunk = s
	}
	return nil
}

// note puts an indicator where it is looked for.
func (p *pass) note(s *search, keys []journal.Key, a store.Addition) []journal.Key {
	keys, ok := appendKeys(keys, a.Indicator.Pattern)
	switch {
	case ok:
		s.book.add(a)
	case a.Indicator.Pattern.Form() != intel.FormRegexp:
		p.scan.wide = true
		p.scan.book.add(a)
	case searchable(a.Indicator.Pattern):
		p.scan.book.add(a)
	default:
		p.result.Unsearchable++
	}
	p.result.Indicators++
	return keys
}

// page reads a page of what a search finds and judges it. It reports that there
// is no further one.
func (p *pass) page(ctx context.Context, s *search) (end bool, err error) {
	lists := p.h.o.Matcher.Acquire()
	defer lists.Release()
	j := judge{lists: lists, now: p.h.o.Clock(), book: s.book, relisted: p.result.Everything}
	if err := s.readTexts(); err != nil {
		return false, err
	}
	var failed error
	var why [][]finding // of the entries on the page, in their order
	q := s.query
	q.Glance = func(e *journal.Entry) bool {
		p.result.Examined++
		return s.glance(e, j.now)
	}
	q.Match = func(e *journal.Entry) bool {
		if failed != nil {
			return false
		}
		findings, err := j.findings(e)
		if failed = err; len(findings) == 0 {
			return false
		}
		why = append(why, findings)
		return true
	}
	page, err := p.h.o.Journal.Search(ctx, q)
	if err = errors.Join(failed, err); err != nil {
		return false, err
	}
	for i, r := range page.Records {
		p.found.add(r, why[i])
	}
	s.query.Before = page.Next
	return page.Next == 0, nil
}

// glance reports whether an entry, of which parts, observables and hits are not
// read yet, may be what is looked for. Where keys lead to the entries all may.
func (s *search) glance(e *journal.Entry, now time.Time) bool {
	if e.Generation >= s.book.newest {
		return false
	}
	if len(s.query.Keys) > 0 || s.wide {
		return true
	}
	hits, _ := s.texts.MatchTexts(nil, texts(e), e.Direction, now)
	return len(hits) > 0
}

// readTexts makes the regular expressions of the book ready for glance.
func (s *search) readTexts() (err error) {
	if s.texts != nil || !s.book.texts {
		return nil
	}
	m := match.NewMemory()
	for _, additions := range s.book.by {
		for _, a := range additions {
			if a.Indicator.Pattern.Form() == intel.FormRegexp {
				m.Add(a.Indicator)
			}
		}
	}
	s.texts, err = m.Snapshot(0)
	return err
}

// report logs and counts a pass that ended.
func (p *pass) report() {
	r := &p.result
	r.Took = p.h.o.Clock().Sub(p.began)
	for _, t := range p.found.order {
		if t.cut {
			r.Cut++
			p.h.o.Logger.Warn("more mail belongs to an incident than a hunt puts into one: narrow what is listed, or look for the rest by hand",
				zap.String("incident", t.id), zap.String("key", t.opening.Key), zap.Int("matched", t.matched), zap.Int("linked", t.linked))
		}
	}
	p.h.metrics.count(r)
	p.h.o.Logger.Info("journal hunted for what the lists newly know",
		zap.Uint64("from", r.From), zap.Uint64("generation", r.Generation), zap.Bool("everything", r.Everything), zap.Bool("late", r.Late),
		zap.Int("indicators", r.Indicators), zap.Int("unsearchable", r.Unsearchable), zap.Int("examined", r.Examined), zap.Int("matched", r.Matched),
		zap.Int("linked", r.Linked), zap.Int("unsure", r.Unsure), zap.Int("incidents", r.Incidents), zap.Int("added", r.Added),
		zap.Int("cut", r.Cut), zap.Int("unfollowed", r.Unfollowed), zap.Duration("took", r.Took))
}
