package hunt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/wal"
	"github.com/weirmail/weir/quarantine/incident"
)

// How later messages are linked to one that is in an incident. A stranger chose
// its Message-ID, its links and its files, and may have chosen them so that mail
// of others looks like a forward of it. So a link is sure only where
//
//   - the whole content of the original is embedded in the later message, or is
//     all of it and the message has its Message-ID or X-Weir-ID; or
//   - a file that is no image, or a link, is in both, the later message says that
//     it forwards or answers, and its sender had got the original;
//
// and only where what they share is in at most 20 unrelated messages. Everything
// else is unsure and waits for a person: threading headers, an X-Weir-ID alone, a
// file that nothing ties to the original. From an unsure message nothing is
// followed further.
const (
	maxDepth     = 5   // links that follow on each other
	maxUnrelated = 20  // messages with the same hash or URL, beyond which it proves nothing
	maxShared    = 200 // and beyond which nothing is linked by it
	minContent   = 64  // bytes of content below which being embedded proves nothing

	maxGot     = 20_000    // recipients of an incident that are known
	clockSlack = time.Hour // a later entry may bear an earlier time
)

// links is what a trail keeps while messages are followed.
type links struct {
	round  []node // whose answers and forwards are looked for now, the oldest first
	asked  map[journal.Key]bool
	ids    map[string]node      // messages of the incident by their Message-ID, as far as they were read
	got    map[intel.Value]node // and by who got them
	unsure map[wal.Position]guess
}

// guess is a link that a further look may make sure.
type guess struct {
	from node
	step incident.Step
}

// linker follows the messages of a pass, round by round: first by content, which
// the index leads to, then by threading headers, for which the entries since are
// read once.
type linker struct {
	p     *pass
	depth int
	todo  []*trail // of this round, whose content is not through

	named  map[string][]*trail // the incidents that have a message of this Message-ID
	oldest wal.Position        // of the messages of this round
	since  time.Time
	before wal.Position // where reading the entries has come to; 0: it has not begun
	read   bool         // the entries were read
}

func newLinker(p *pass) *linker { return &linker{p: p, named: map[string][]*trail{}} }

// begin begins a round with what is to be followed. It reads all of it first:
// whose answer a message is shows only by all who may have got it.
func (l *linker) begin(ctx context.Context) error {
	l.oldest, l.since, l.before, l.read = ^wal.Position(0), time.Time{}, 0, false
	for _, t := range l.p.found.order {
		if len(t.nodes) == 0 {
			continue
		}
		if t.links == nil {
			t.links = &links{ids: map[string]node{}, got: map[intel.Value]node{}, unsure: map[wal.Position]guess{}}
		}
		t.links.round, t.nodes, t.links.asked = t.nodes, nil, map[journal.Key]bool{}
		slices.SortFunc(t.links.round, func(a, b node) int { return cmp.Compare(a.at, b.at) })
		for i := range t.links.round {
			if err := l.meet(ctx, t, &t.links.round[i]); err != nil {
				return err
			}
		}
		l.todo = append(l.todo, t)
	}
	return nil
}

// meet takes note of a message's name and of who got it.
func (l *linker) meet(ctx context.Context, t *trail, n *node) error {
	e, err := l.entry(ctx, n.at)
	if e == nil {
		return err
	}
	n.ref = e.ID
	l.note(t, n, e)
	l.oldest = min(l.oldest, n.at)
	if l.since.IsZero() || e.Time.Before(l.since) {
		l.since = e.Time
	}
	return nil
}

// note is meet for an entry that was read.
func (l *linker) note(t *trail, n *node, e *journal.Entry) {
	x := t.links
	mark := tie{node: *n}
	for _, m := range marksOf(e, n.chain[0].What) {
		mark.keys = append(mark.keys, m.key)
	}
	t.met = append(t.met, mark)
	if _, known := x.ids[e.MessageID]; e.MessageID != "" && !known {
		x.ids[e.MessageID] = *n
		l.named[e.MessageID] = append(l.named[e.MessageID], t)
	}
	for _, to := range e.To {
		v, ok := journal.AddressOf(to)
		if _, known := x.got[v]; ok && !known && len(x.got) < maxGot {
			x.got[v] = *n
		}
	}
}

// entry reads an entry; nil if it is not there any more, or of a later version.
func (l *linker) entry(ctx context.Context, at wal.Position) (*journal.Entry, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	r, err := l.p.h.o.Journal.Get(at)
	if errors.Is(err, wal.ErrDropped) || errors.Is(err, journal.ErrEntry) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("following a message: %w", err)
	}
	return r.Entry, nil
}

// stepTime is about how long one step follows content.
const stepTime = 50 * time.Millisecond

// step goes on. It reports whether all is done, and whether it read entries that
// the index did not lead to.
func (l *linker) step(ctx context.Context) (done, scanned bool, err error) {
	began := time.Now()
	if l.depth == 0 {
		l.depth = 1
		if err := l.begin(ctx); err != nil {
			return false, false, err
		}
	}
	for len(l.todo) > 0 {
		t := l.todo[0]
		if len(t.links.round) == 0 {
			l.todo = l.todo[1:]
			continue
		}
		if err := l.follow(ctx, t, t.links.round[0]); err != nil {
			return false, false, err
		}
		t.links.round = t.links.round[1:]
		if time.Since(began) > stepTime {
			return false, false, l.p.found.handOver(ctx)
		}
	}
	if !l.read && l.oldest < l.p.h.o.Journal.Last() {
		return false, true, l.threads(ctx)
	}
	if l.depth++; l.depth <= maxDepth {
		if err := l.begin(ctx); err != nil || len(l.todo) > 0 {
			return false, false, errors.Join(err, l.p.found.handOver(ctx))
		}
	}
	return true, false, l.settle(ctx)
}

// settle hands over what stayed unsure.
func (l *linker) settle(ctx context.Context) error {
	for _, t := range l.p.found.order {
		if t.links == nil {
			continue
		}
		for _, at := range slices.Sorted(maps.Keys(t.links.unsure)) {
			e, err := l.entry(ctx, at)
			if err != nil {
				return err
			}
			if e == nil {
				continue
			}
			g := t.links.unsure[at]
			if err := l.link(ctx, t, g.from, journal.Record{Position: at, Entry: e}, g.step); err != nil {
				return err
			}
		}
		clear(t.links.unsure)
	}
	return l.p.found.handOver(ctx)
}

// link puts a message into the incident.
func (l *linker) link(ctx context.Context, t *trail, from node, r journal.Record, step incident.Step) error {
	if t.has(r.Position) {
		return nil
	}
	if t.linked >= l.p.h.o.MaxLinks {
		t.cut = true
		return nil
	}
	step.Ref = from.ref
	n := node{at: r.Position, ref: r.Entry.ID, chain: append(slices.Clone(from.chain), step)}
	t.seen[r.Position], t.joined[r.Position] = true, step.Sure
	t.linked++
	l.p.result.Linked++
	t.matches = append(t.matches, incident.Match{Entry: r.Entry, Chain: n.chain})
	if step.Sure {
		l.p.found.node(t, n)
	} else {
		l.p.result.Unsure++
	}
	if len(t.matches) < maxBatch {
		return nil
	}
	return l.p.found.handOver(ctx)
}

// suppose remembers a link that is not sure yet.
func (l *linker) suppose(t *trail, from node, at wal.Position, step incident.Step) {
	_, known := t.links.unsure[at]
	if _, member := t.members[at]; known || member || t.has(at) {
		return
	}
	if t.linked+len(t.links.unsure) >= l.p.h.o.MaxLinks {
		t.cut = true
		return
	}
	t.links.unsure[at] = guess{from, step}
}

// follow looks for later messages that share something with one.
func (l *linker) follow(ctx context.Context, t *trail, n node) error {
	e, err := l.entry(ctx, n.at)
	if e == nil {
		return err
	}
	shared := map[wal.Position][]mark{}
	for _, m := range marksOf(e, n.chain[0].What) {
		if t.links.asked[m.key] || t.later != nil && !t.later.keys[m.key] {
			continue
		}
		t.links.asked[m.key] = true
		if err := l.ask(ctx, t, n, e, m, shared); err != nil {
			return err
		}
	}
	for _, at := range slices.Sorted(maps.Keys(shared)) {
		later, err := l.entry(ctx, at)
		if err != nil {
			return err
		}
		if later == nil {
			continue
		}
		step, from, ok := linkOf(t.links, n, e, later, shared[at])
		switch {
		case !ok:
		case step.Sure:
			delete(t.links.unsure, at)
			if err := l.link(ctx, t, from, journal.Record{Position: at, Entry: later}, step); err != nil {
				return err
			}
		default:
			l.suppose(t, from, at, step)
		}
	}
	return nil
}

// ask notes which later messages share a mark, and whether it is rare.
func (l *linker) ask(ctx context.Context, t *trail, n node, e *journal.Entry, m mark, shared map[wal.Position][]mark) error {
	var all []wal.Position
	for at, err := range l.p.h.o.Journal.Positions(m.key) {
		if err != nil {
			return fmt.Errorf("following %s: %w", m.how, err)
		}
		if t.has(at) {
			continue
		}
		if all = append(all, at); len(all) > maxShared { // it is everywhere
			if t.later != nil {
				t.later.gone = append(t.later.gone, m.key)
			}
			return nil
		}
	}
	m.rare = len(all) <= maxUnrelated
	if !m.rare {
		var err error
		if all, m.rare, err = l.related(ctx, t.links, e, all); err != nil {
			return err
		}
	}
	for _, at := range all {
		if at > n.at && (t.later == nil || t.later.at[at]) {
			shared[at] = append(shared[at], m)
		}
	}
	return nil
}

// related counts the messages that nothing but a mark ties to an incident. While
// those are few, all are given; else those that are tied.
func (l *linker) related(ctx context.Context, x *links, e *journal.Entry, all []wal.Position) (left []wal.Position, rare bool, err error) {
	for _, at := range all {
		other, err := l.entry(ctx, at)
		if err != nil {
			return nil, false, err
		}
		if other != nil && (isForward(other.Subject) || isTied(x, e, other)) {
			left = append(left, at)
		}
	}
	if len(all)-len(left) <= maxUnrelated {
		return all, true, nil
	}
	return left, false, nil
}

// threads reads a page of the entries since the oldest message of the round, the
// newest first, for those that refer to one.
func (l *linker) threads(ctx context.Context) error {
	page, err := l.p.h.o.Journal.Search(ctx, journal.Query{
		Since: l.since.Add(-clockSlack), Before: l.before, Limit: pageLimit,
		Glance: func(e *journal.Entry) bool {
			l.p.result.Examined++
			return slices.ContainsFunc(e.References, func(id string) bool { return l.named[id] != nil })
		},
	})
	if err != nil {
		return fmt.Errorf("looking for answers: %w", err)
	}
	for _, r := range page.Records {
		for _, id := range slices.Backward(r.Entry.References) { // the message that is answered first
			for _, t := range l.named[id] {
				l.refer(t, id, r)
			}
		}
	}
	l.before = page.Next
	l.read = page.Next <= l.oldest
	return nil
}

// refer takes note that an entry refers to a Message-ID, if that is one of a message
// of the incident.
func (l *linker) refer(t *trail, id string, r journal.Record) {
	if n, known := t.links.ids[id]; known && r.Position > n.at {
		l.suppose(t, n, r.Position, incident.Step{How: howThread, What: "refers to " + shorten(id, maxText)})
	}
}

// refersTo gives the message of the incident that an entry's threading headers
// name, the last one that they do; nil if none.
func (x *links) refersTo(e *journal.Entry) *node {
	for _, id := range slices.Backward(e.References) {
		if n, ok := x.ids[id]; ok {
			return &n
		}
	}
	return nil
}
