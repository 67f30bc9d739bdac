package hunt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/intel/wal"
	"github.com/weirmail/weir/quarantine/incident"
)

// What comes after a hunt, and answers or forwards a message of an incident, is
// found as it is journaled: each entry is compared with the ties, and what has
// something of one is judged by the linker, as if a pass had just found it. The
// index has to lead to it by then, which is waited for.
//
// How far that has come is place.Linked. It moves only when the desk has what was
// found; a pass that ends moves it back to where the pass began, and a new message
// of an incident to that message, for those that came since were not compared with
// them. What is compared twice is told twice at most, and known to the desk.

const (
	maxHits     = 50 // entries that have something of a tie, and are judged at once
	expireEvery = time.Minute
	saveEvery   = time.Minute // a place behind entries that were only compared
)

// followLater compares what was journaled with the ties. It reports that there is
// more to read now.
func (h *Hunt) followLater(ctx context.Context) (more bool, err error) {
	if !h.remembers {
		return h.remember(ctx)
	}
	now := h.o.Clock()
	if now.Sub(h.expired) >= expireEvery {
		h.expired = now
		h.ties.expire(now.Add(-time.Duration(h.lookBack.Load())))
	}
	if last := h.o.Journal.Last(); h.ties.n == 0 || last <= h.place.Linked {
		h.place.Linked = last // a journal that was restored may end before
		return false, nil
	}
	var hits []*hit
	entries := h.o.Journal.ReadSharing(h.place.Linked, h.ties.knows)
	at, more, err := h.read(ctx, h.place.Linked, entries, func(r journal.Record) (enough bool, err error) {
		if r.Entry == nil {
			return false, nil
		}
		if found := h.ties.hits(r); found != nil {
			hits = append(hits, found)
		}
		return len(hits) == maxHits, nil
	})
	if errors.Is(err, wal.ErrPosition) {
		h.startOver(err)
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading what was journaled behind a hunt: %w", err)
	}
	if len(hits) > 0 {
		again, err := h.compare(ctx, hits)
		if err != nil {
			return false, err
		}
		if again > 0 {
			at, more = again, true
		}
		h.unsaid = true
	}
	h.place.Linked = at
	if now.Sub(h.saved) >= saveEvery {
		h.unsaid = true
	}
	return more, nil
}

// later is what a linker looks at that was not called for a pass.
type later struct {
	at   map[wal.Position]bool // the entries
	keys map[journal.Key]bool  // what they have of ties
	gone []journal.Key         // what turned out to be everywhere
}

// compare judges entries that have something of ties, and hands over what belongs
// to their incidents. If those are to be tied too, it gives the position of the
// first one, behind which entries were not compared with it.
func (h *Hunt) compare(ctx context.Context, hits []*hit) (again wal.Position, err error) {
	if err := h.o.Journal.Wait(ctx, hits[len(hits)-1].Position); err != nil {
		return 0, fmt.Errorf("waiting for the journal's index: %w", err)
	}
	lists := h.o.Matcher.Acquire()
	defer lists.Release()
	c := comparing{h: h, lists: lists, now: h.o.Clock(), trails: map[*tied]*trail{}, roots: map[string][]intel.Hit{}, found: newFound(h, &Result{})}
	c.linker = newLinker(&pass{h: h, found: c.found})
	for _, hit := range hits {
		for _, t := range hit.sorted() {
			if err := c.note(ctx, hit, t); err != nil {
				return 0, err
			}
		}
	}
	for _, of := range c.order {
		if err := c.judge(ctx, of, hits); err != nil {
			return 0, err
		}
	}
	if err := c.linker.settle(ctx); err != nil {
		return 0, err
	}
	return c.tie(ctx)
}

// comparing is one compare under way.
type comparing struct {
	h      *Hunt
	lists  *match.Snapshot
	now    time.Time
	found  *found
	linker *linker
	order  []*tied
	trails map[*tied]*trail
	roots  map[string][]intel.Hit // by entry: what the lists of today say of it
}

// note takes note of a tie that a hit has something of, if the lists still say that
// what its incident is about is bad. Where they said so of the hit itself it was let
// through all the same: that was policy.
func (c *comparing) note(ctx context.Context, h *hit, t *tie) error {
	if slices.ContainsFunc(h.Entry.Hits, func(then journal.Hit) bool { return sameText(then.Value, t.chain[0].What) }) {
		return nil
	}
	ind, err := c.stillBlocked(ctx, t)
	if ind == nil {
		return err
	}
	own := c.trails[t.of]
	if own == nil {
		own = &trail{
			opening: opening(t.of.key, ind), seen: map[wal.Position]bool{}, joined: map[wal.Position]bool{}, members: t.of.members, linked: t.of.linked,
			links: &links{ids: t.of.ids, got: t.of.got, asked: map[journal.Key]bool{}, unsure: map[wal.Position]guess{}},
			later: &later{at: map[wal.Position]bool{}, keys: map[journal.Key]bool{}},
		}
		c.trails[t.of] = own
		c.order = append(c.order, t.of)
		c.found.order = append(c.found.order, own)
	}
	own.later.at[h.Position] = true
	for _, key := range h.keys {
		own.later.keys[key] = true
	}
	if !slices.ContainsFunc(own.links.round, func(n node) bool { return n.at == t.at }) {
		own.links.round = append(own.links.round, t.node)
	}
	return nil
}

// stillBlocked gives the indicator for which a tie is in its incident, as it is
// listed today; nil if it is not any more: then nothing is followed.
func (c *comparing) stillBlocked(ctx context.Context, t *tie) (*intel.Indicator, error) {
	root := t.ref
	if len(t.chain) > 1 {
		root = t.chain[1].Ref
	}
	hits, known := c.roots[root]
	if !known {
		r, err := c.h.lookUp(ctx, root)
		if err != nil {
			return nil, err
		}
		if r.Entry != nil {
			if hits, err = hitsOf(c.lists, r.Entry, true, c.now); err != nil {
				return nil, err
			}
		}
		c.roots[root] = hits
	}
	var best *intel.Indicator
	for i := range hits {
		ind := hits[i].Indicator
		if worth(ind, c.now) && incidentKey(ind) == t.of.key && (best == nil || c.h.rank(ind) < c.h.rank(best)) {
			best = ind
		}
	}
	return best, nil
}

// judge judges what has something of one incident.
func (c *comparing) judge(ctx context.Context, of *tied, hits []*hit) error {
	t := c.trails[of]
	slices.SortFunc(t.links.round, func(a, b node) int { return cmp.Compare(a.at, b.at) })
	for _, n := range t.links.round {
		if err := c.linker.follow(ctx, t, n); err != nil {
			return err
		}
	}
	for _, h := range hits {
		if !t.later.at[h.Position] {
			continue
		}
		for _, id := range slices.Backward(h.Entry.References) {
			c.linker.refer(t, id, h.Record)
		}
	}
	return nil
}

// tie has what was found compared with what comes.
func (c *comparing) tie(ctx context.Context) (again wal.Position, err error) {
	for _, of := range c.order {
		t := c.trails[of]
		for _, n := range t.nodes {
			if len(n.chain) > maxDepth {
				continue
			}
			if err := c.linker.meet(ctx, t, &n); err != nil {
				return 0, err
			}
			if again == 0 || n.at < again {
				again = n.at
			}
		}
	}
	r := c.found.result
	for _, of := range c.order {
		t := c.trails[of]
		for _, key := range t.later.gone {
			c.h.ties.forget(key, of)
		}
		linked := t.linked - of.linked
		if linked > 0 {
			c.h.ties.take(t, c.now)
			c.h.o.Logger.Info("later mail belongs to an incident", zap.String("incident", t.id), zap.String("key", of.key), zap.Int("messages", linked), zap.Bool("cut", t.cut))
		}
	}
	c.h.metrics.linked(r)
	return again, nil
}

// lookUp finds an entry by its ID; one without an entry if it is not there.
func (h *Hunt) lookUp(ctx context.Context, id string) (journal.Record, error) {
	for at, err := range h.o.Journal.Positions(journal.KeyOfID(id)) {
		if err = cmp.Or(err, context.Cause(ctx)); err != nil {
			return journal.Record{}, fmt.Errorf("looking up entry %s: %w", id, err)
		}
		r, err := h.o.Journal.Get(at)
		switch {
		case errors.Is(err, wal.ErrDropped) || errors.Is(err, journal.ErrEntry):
		case err != nil:
			return journal.Record{}, fmt.Errorf("looking up entry %s: %w", id, err)
		case r.Entry.ID == id:
			return r, nil
		}
	}
	return journal.Record{}, nil
}

// remember ties again, after a start, what the incidents have matched. It does a
// part of the work.
func (h *Hunt) remember(ctx context.Context) (more bool, err error) {
	began := time.Now()
	if h.memories == nil {
		h.ties = newTies()
		if err := h.o.Journal.Wait(ctx, h.o.Journal.Last()); err != nil {
			return false, fmt.Errorf("waiting for the journal's index: %w", err)
		}
		since := h.o.Clock().Add(-time.Duration(h.lookBack.Load()))
		h.memories = []incident.Matched{}
		for m, err := range h.o.Desk.Matched(ctx, since) {
			if err != nil {
				h.memories = nil
				return false, fmt.Errorf("reading what incidents have matched: %w", err)
			}
			if h.memories = append(h.memories, m); len(h.memories) == maxMembersAll {
				break
			}
		}
		slices.Reverse(h.memories) // the newest last, which stay if these are too many
	}
	l := newLinker(&pass{h: h, found: newFound(h, &Result{})})
	for len(h.memories) > 0 && time.Since(began) < stepTime {
		m := h.memories[0]
		if err := h.tieAgain(ctx, l, &m); err != nil {
			return false, err
		}
		h.memories = h.memories[1:]
	}
	if len(h.memories) == 0 {
		h.memories, h.remembers = nil, true
	}
	return true, nil
}

func (h *Hunt) tieAgain(ctx context.Context, l *linker, m *incident.Matched) error {
	r, err := h.lookUp(ctx, m.Ref)
	if err != nil || r.Entry == nil {
		return err
	}
	sure := (&incident.Match{Chain: m.Chain}).Sure()
	if d := h.ties.incidents[m.Key]; d != nil {
		if before, known := d.members[r.Position]; known && (before || !sure) { // another of its deliveries
			return nil
		}
	}
	t := &trail{
		opening: incident.Opening{Key: m.Key}, seen: map[wal.Position]bool{r.Position: true}, joined: map[wal.Position]bool{},
		links: &links{ids: map[string]node{}, got: map[intel.Value]node{}},
	}
	if len(m.Chain) > 1 {
		t.joined[r.Position] = sure
	}
	if sure && len(m.Chain) <= maxDepth {
		l.note(t, &node{r.Position, m.Ref, m.Chain}, r.Entry)
	}
	h.ties.take(t, m.Found)
	return nil
}
