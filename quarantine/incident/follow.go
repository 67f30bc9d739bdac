package incident

import (
	"container/heap"
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/delivery"
)

// followKey names a message of an incident.
type followKey struct{ incident, ref string }

// follow is a message whose copies have not all arrived, as far as the log tells.
type follow struct {
	key   followKey
	lives map[string]*live
	due   time.Time
	asked time.Time // when it was asked about last
	heard bool      // there were news while it was asked about
	stop  func()    // ends the waiting for news; nil until it was asked about
	index int
}

// follows says when to ask the delivery log again. It is under the Desk's lock.
type follows struct {
	all  map[followKey]*follow
	next pile[*follow]
}

func newFollows() follows {
	return follows{
		all:  map[followKey]*follow{},
		next: pile[*follow]{less: func(a, b *follow) bool { return a.due.Before(b.due) }, moved: func(f *follow, i int) { f.index = i }},
	}
}

// Bounds on the time between two questions to the delivery log about a message.
const (
	askEvery   = time.Second
	askAtLeast = 5 * time.Minute
	askSoon    = 200 * time.Millisecond // after news: other lines of the same mail are on their way
)

// add asks the log about a delivery from time to time: at first often, since the
// lines of mail that has just come may be on their way, then ever more seldom.
func (f *follows) add(l *live, now time.Time) {
	if l.follow != nil {
		return
	}
	key := followKey{l.incident, l.rec.Ref}
	of := f.all[key]
	if of == nil {
		of = &follow{key: key, lives: map[string]*live{}, due: now.Add(askEvery)}
		f.all[key] = of
		heap.Push(&f.next, of)
	}
	of.lives[l.id], l.follow = l, of
}

func (f *follows) remove(l *live) {
	of := l.follow
	if of == nil {
		return
	}
	l.follow = nil
	if delete(of.lives, l.id); len(of.lives) > 0 {
		return
	}
	delete(f.all, of.key)
	if of.index >= 0 {
		heap.Remove(&f.next, of.index)
	}
	if of.stop != nil {
		of.stop()
	}
}

// due takes a message that is to be asked about now, nil if there is none, and
// says when to ask next.
func (f *follows) take(now time.Time) *follow {
	if f.next.Len() == 0 || f.next.items[0].due.After(now) {
		return nil
	}
	return heap.Pop(&f.next).(*follow)
}

// again puts a message back, to be asked about later.
func (f *follows) again(of *follow, now, message time.Time) {
	if f.all[of.key] != of || of.index >= 0 {
		return
	}
	of.asked = now
	of.due = now.Add(min(max(now.Sub(message)/20, askEvery), askAtLeast))
	heap.Push(&f.next, of)
	if of.heard {
		f.soon(of, now)
	}
}

// soon has a message asked about before its turn, and at most once a second.
func (f *follows) soon(of *follow, now time.Time) {
	if of.heard = of.index < 0; of.heard {
		return
	}
	due := now.Add(askSoon)
	if earliest := of.asked.Add(askEvery); due.Before(earliest) {
		due = earliest
	}
	if due.Before(of.due) {
		of.due = due
		heap.Fix(&f.next, of.index)
	}
}

// await has news of a message bring its turn forward.
func (d *Desk) await(of *follow, e *journal.Entry) {
	d.mu.Lock()
	waits := of.stop != nil || d.follows.all[of.key] != of
	d.mu.Unlock()
	if waits {
		return
	}
	stop := d.o.Tracker.Await(e, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.follows.all[of.key] == of {
			d.follows.soon(of, d.now())
			d.nudge()
		}
	})
	d.mu.Lock()
	over := d.follows.all[of.key] != of
	if !over {
		of.stop = stop
	}
	d.mu.Unlock()
	if over {
		stop()
	}
}

// Run follows mail that has not arrived, and lets approvals lapse, until the
// context ends, whose cause it gives.
func (d *Desk) Run(ctx context.Context) error {
	var swept time.Time
	for {
		var wait time.Duration
		if err := d.ready(ctx); err != nil {
			d.o.Logger.Error("incidents cannot be loaded; it is tried again", zap.Error(err))
			wait = askEvery
		} else {
			if now := d.now(); swept.IsZero() || now.Sub(swept) >= sweepEvery {
				if err := d.lapse(ctx); err != nil && ctx.Err() == nil {
					d.o.Logger.Error("approvals that have lapsed could not be recorded; it is tried again", zap.Error(err))
				}
				swept = now
			}
			wait = d.ask(ctx)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		case <-d.poke:
			timer.Stop()
		}
	}
}

// ask asks the delivery log about all messages that are due, and gives the time
// until the next one is.
func (d *Desk) ask(ctx context.Context) time.Duration {
	for ctx.Err() == nil {
		d.mu.Lock()
		now := d.now()
		f := d.follows.take(now)
		wait := sweepEvery
		if f == nil && d.follows.next.Len() > 0 {
			wait = min(wait, max(d.follows.next.items[0].due.Sub(now), 0))
		}
		d.mu.Unlock()
		if f == nil {
			return wait
		}
		message, err := d.askAbout(ctx, f)
		if err != nil && ctx.Err() == nil {
			d.o.Logger.Warn("the delivery log cannot be asked about a message; it is tried again", zap.String("incident", f.key.incident), zap.String("ref", f.key.ref), zap.Error(err))
		}
		d.mu.Lock()
		d.follows.again(f, d.now(), message)
		d.mu.Unlock()
	}
	return sweepEvery
}

// askAbout takes over what the log tells of a message by now, and gives when it
// came.
func (d *Desk) askAbout(ctx context.Context, f *follow) (time.Time, error) {
	defer d.lock(f.key.incident)()
	d.mu.Lock()
	var lives []*live
	for _, l := range f.lives {
		if !l.leased() { // it is asked about when that is over
			lives = append(lives, l)
		}
	}
	d.mu.Unlock()
	if len(lives) == 0 {
		return d.now(), nil
	}
	first := d.record(lives[0])
	came := first.came()
	entry, err := d.entry(f.key.ref)
	if err != nil {
		return came, err
	}
	if entry != nil {
		d.await(f, entry) // before asking: nothing slips between
		copies, err := d.o.Tracker.Of(ctx, entry)
		if err != nil {
			return came, err
		}
		m := Match{Entry: entry, Chain: first.Chain}
		if first.Partial {
			for _, l := range lives {
				m.Only = append(m.Only, d.record(l).Recipient, d.record(l).Address)
			}
		}
		if err := d.compare(ctx, f.key.incident, lives, &m, only(m.Only, merged(copies))); err != nil {
			return came, err
		}
	}
	settings := d.current()
	if d.now().Before(came.Add(settings.waitsFor())) {
		return came, nil
	}
	for _, l := range lives {
		if err := d.settle(ctx, l); err != nil {
			return came, err
		}
	}
	return came, nil
}

// compare takes over what the log tells of a message that is followed.
func (d *Desk) compare(ctx context.Context, incident string, lives []*live, m *Match, copies []delivery.Delivery) error {
	if d.nothingNew(incident, lives, m, copies) {
		return nil
	}
	k, err := d.docket(incident)
	if err != nil || k.closed {
		return err
	}
	if err := d.see(ctx); err != nil {
		return err
	}
	x, err := d.extension(k, d.record(lives[0]).By)
	if err != nil {
		return err
	}
	defer x.snapshot.Release()
	return x.takeOver(ctx, lives, m, copies)
}

// nothingNew reports whether the log tells of just the deliveries that are
// followed, and of each what is known. That is so most times that it is asked, and
// the rest of comparing reads all that was decided in the incident.
func (d *Desk) nothingNew(incident string, lives []*live, m *Match, copies []delivery.Delivery) bool {
	if len(copies) != len(lives) {
		return false
	}
	known := make(map[string]*record, len(lives))
	for _, l := range lives {
		r := d.record(l)
		known[copyID(incident, m, r.Recipient, r.Address)] = r
	}
	d.mu.Lock()
	settings, guard := d.settings, d.guard
	d.mu.Unlock()
	for n := range copies {
		id := copyID(incident, m, copies[n].Recipient, copies[n].Address)
		r := known[id]
		if r == nil {
			return false
		}
		delete(known, id)
		if p := settings.place(&guard, &copies[n]); !p.is(r) {
			return false
		}
	}
	return true
}

// is reports whether a place is no news of a delivery.
func (p *placeData) is(r *record) bool {
	return p.Status == r.Status && p.Address == r.Address && (p.Mailbox == r.Mailbox || !p.Status.Final())
}

// takeOver compares the copies that the log tells of with the deliveries that are
// followed. One that the log no longer tells of, since its recipient was an alias,
// becomes the first of those that came of it; the others are added, and decided
// about as any that are found. They come first: as long as the one is followed, all
// of this is done again after an end of the daemon.
func (x *extension) takeOver(ctx context.Context, lives []*live, m *Match, copies []delivery.Delivery) error {
	named := make(map[string]*delivery.Delivery, len(copies))
	ids := make([]string, len(copies))
	for n := range copies {
		ids[n] = x.idOf(m, copies[n].Recipient, copies[n].Address)
		named[ids[n]] = &copies[n]
	}
	found := map[*live]*delivery.Delivery{}
	var vanished []*live
	for _, l := range lives {
		r := x.d.record(l)
		if c := named[x.idOf(m, r.Recipient, r.Address)]; c != nil {
			found[l] = c
		} else {
			vanished = append(vanished, l)
		}
	}
	for _, l := range vanished {
		recipient := fold(x.d.record(l).Recipient)
		for n := range copies {
			if x.seen[ids[n]] || fold(legible(copies[n].Recipient, maxText)) != recipient {
				continue
			}
			there, err := x.d.o.View.knows(x.snapshot, x.k.id, ids[n])
			if err != nil {
				return err
			}
			if !there {
				found[l], x.seen[ids[n]] = &copies[n], true
				break
			}
			if found[l] == nil {
				found[l] = &delivery.Delivery{Recipient: copies[n].Recipient, Address: x.d.record(l).Address, Status: superseded, Reply: copies[n].Address, Known: copies[n].Known}
			}
		}
	}
	if err := x.addCopies(ctx, messageOf(m), m, copies); err != nil {
		return err
	}
	if err := x.flush(ctx); err != nil {
		return err
	}
	for _, l := range lives {
		if c := found[l]; c != nil {
			if err := x.locate(ctx, l, m, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// superseded is what became of a delivery whose recipient turned out to be an
// alias, when all that came of it is known already.
const superseded delivery.Status = "alias"

func (x *extension) idOf(m *Match, recipient, address string) string {
	return copyID(x.k.id, m, recipient, address)
}

func copyID(incident string, m *Match, recipient, address string) string {
	return deliveryID(incident, m.Entry.ID, legible(recipient, maxText), legible(address, maxText), m.Entry.Time)
}

// locate records what the log tells of a delivery, if that is something new.
func (x *extension) locate(ctx context.Context, l *live, m *Match, c *delivery.Delivery) error {
	d := x.d
	l.mu.Lock()
	defer l.mu.Unlock()
	d.mu.Lock()
	r, leased := l.rec, l.leased()
	d.mu.Unlock()
	if leased {
		return nil
	}
	p := x.settings.place(&x.guard, c)
	if p.is(r) {
		return nil
	}
	data := locatedData{placeData: p}
	if p.Open {
		waits, err := x.waitsThere(ctx, r, m, &p, c)
		if err != nil {
			return err
		}
		data.Waits = waits
	}
	command := ledger.Command{ID: "locate/" + l.id + "/" + d.o.Identity.NewID(), Actor: "weir:delivery-log"}
	if err := d.commit(ctx, l, command, typeLocated, data); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l.attempts = 0
	if l.pull != nil && l.pull.lease == nil { // with news, no pause
		d.queue.remove(l.pull)
		l.pull = nil
	}
	d.sync(l, d.now())
	d.rouse()
	return nil
}

// waitsThere says why a delivery that was located waits for a person.
func (x *extension) waitsThere(ctx context.Context, r *record, m *Match, p *placeData, c *delivery.Delivery) (string, error) {
	if r.Wanted {
		exempt, err := x.d.o.View.exempt(x.snapshot, x.k.exemptKey(), r.Ref, p.Mailbox)
		if err == nil && exempt {
			return waitsRestored, nil
		}
		return r.Waits, err
	}
	// It was out of reach so far, and no cap has counted it.
	if why, err := x.grounds(m, r.Ref, p.Mailbox, c.Address, c.Recipient); err != nil || why != "" {
		return why, err
	}
	granted, why, err := x.admit(ctx, hexDigest("located", r.ID, p.Address), 1)
	if err != nil || granted == 1 {
		return "", err
	}
	return why, nil
}

// settle ends the waiting for news of a delivery. One that may have arrived
// without a word of the log is looked for one last time.
func (d *Desk) settle(ctx context.Context, l *live) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	d.mu.Lock()
	r, leased, s, g := l.rec, l.leased(), d.settings, d.guard
	d.mu.Unlock()
	if leased || !r.followed() {
		return nil
	}
	p := placeData{
		Address: r.Address, Through: r.Through, Mailbox: r.Mailbox, Known: r.Known, Status: r.Status,
		Outcome: r.Outcome, Detail: r.Detail, Open: r.Open, Settled: true,
	}
	if r.Outcome == InTransit {
		at := s.place(&g, &delivery.Delivery{Recipient: r.Recipient, Address: r.Address, Status: delivery.Unconfirmed, Known: r.Known})
		p.Mailbox, p.Outcome, p.Open = at.Mailbox, at.Outcome, at.Open
		p.Detail = "no log has told of it for longer than the MTA keeps mail"
		if p.Outcome == OutOfReach {
			p.Outcome = NotFound
		}
	}
	if r.Outcome == NotFound {
		p.Open = false
	}
	command := ledger.Command{ID: "settle/" + l.id + "/" + d.o.Identity.NewID(), Actor: "weir:delivery-log"}
	data := locatedData{placeData: p}
	if p.Open {
		data.Waits = r.Waits
	}
	if err := d.commit(ctx, l, command, typeLocated, data); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync(l, d.now())
	d.rouse()
	return nil
}
