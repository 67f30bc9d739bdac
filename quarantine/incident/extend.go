package incident

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/delivery"
	"github.com/weirmail/weir/quarantine/job"
)

// Bounds on one batch, so that it fits into a record of the ledger.
const (
	maxBatch      = 200
	maxBatchBytes = 400 << 10
)

// atOnce is how many matches are added before others get at the incident.
const atOnce = 1000

// Extend adds messages to an incident: every copy of each, where the delivery log
// says it went. Actor is who found them; for indicators it is their source, such
// as "list:block/urls.txt", which Settings.Automatic is asked about. It gives the
// number of deliveries that are new. It may be called again with the same matches:
// a recipient's copy that the incident has is passed over, and one that was
// restored for the incident's key. A copy that is in it on weak grounds, since a
// feed or an unsure link found it first, is let go by a match that policy acts on.
// Pulls begin while it still runs. Errors satisfy
// ErrNotFound, ErrClosed or ErrInvalid, among others; part of the deliveries may
// have been added then.
func (d *Desk) Extend(ctx context.Context, id, actor string, matches []Match) (added int, err error) {
	if err := d.ready(ctx); err != nil {
		return 0, err
	}
	// Between the parts others get at the incident, to close it above all.
	for first := 0; first == 0 || first < len(matches); first += atOnce {
		n, err := d.extend(ctx, id, actor, matches[first:min(first+atOnce, len(matches))])
		if added += n; err != nil {
			return added, err
		}
	}
	d.seeSoon(ctx)
	return added, nil
}

func (d *Desk) extend(ctx context.Context, id, actor string, matches []Match) (added int, err error) {
	defer d.lock(id)()
	k, err := d.docket(id)
	if err != nil {
		return 0, err
	}
	if k.closed {
		return 0, fmt.Errorf("%w: %s", ErrClosed, id)
	}
	if err := d.see(ctx); err != nil {
		return 0, err
	}
	x, err := d.extension(k, actor)
	if err != nil {
		return 0, err
	}
	defer x.snapshot.Release()
	for n := range matches {
		if err := x.add(ctx, &matches[n]); err != nil {
			return x.added, err
		}
	}
	if err := x.flush(ctx); err != nil {
		return x.added, err
	}
	return x.added, x.letGo(ctx)
}

// Plan gives the deliveries that Open and Extend would make of matches, and
// records nothing. Their IDs are empty. Caps are counted as they stand.
func (d *Desk) Plan(ctx context.Context, o Opening, matches []Match) ([]Delivery, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if err := d.ready(ctx); err != nil {
		return nil, err
	}
	id, _, err := d.openNow(ctx, &o)
	if err != nil {
		return nil, err
	}
	k := &docket{opened: openedData{Key: o.Key, Automatic: o.automatic()}, actor: o.Actor}
	if id != "" {
		if k, err = d.docket(id); err != nil {
			return nil, err
		}
	}
	x, err := d.extension(k, o.Actor)
	if err != nil {
		return nil, err
	}
	defer x.snapshot.Release()
	x.planned = []Delivery{}
	for n := range matches {
		if err := x.add(ctx, &matches[n]); err != nil {
			return nil, err
		}
	}
	err = x.flush(ctx)
	return x.planned, err
}

// extension is one Extend or Plan under way.
type extension struct {
	d        *Desk
	k        *docket
	actor    string
	settings Settings
	guard    guard
	snapshot *kv.Snapshot
	seen     map[string]bool // deliveries of this extension
	doubted  []doubted       // those that the incident has, and that are let go
	batch    matchedData
	size     int
	added    int
	planned  []Delivery // not nil: nothing is recorded
}

func (d *Desk) extension(k *docket, actor string) (*extension, error) {
	if scheme, id, ok := strings.Cut(actor, ":"); !ok || scheme == "" || id == "" {
		return nil, fmt.Errorf("%w: the actor %q is not of the form scheme:id", ErrInvalid, actor)
	}
	s, err := d.o.View.db.Snapshot()
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return &extension{d: d, k: k, actor: actor, settings: d.settings, guard: d.guard, snapshot: s, seen: map[string]bool{}}, nil
}

// add puts the new deliveries of a match into the batch.
func (x *extension) add(ctx context.Context, m *Match) error {
	if m.Entry == nil || m.Entry.ID == "" {
		return fmt.Errorf("%w: a match without an entry", ErrInvalid)
	}
	copies, err := x.d.o.Tracker.Of(ctx, m.Entry)
	if err != nil {
		return fmt.Errorf("where the copies of %s went: %w", m.Entry.ID, err)
	}
	copies = only(m.Only, merged(copies))
	x.d.mu.Lock()
	var lives []*live
	if f := x.d.follows.all[followKey{x.k.id, m.Entry.ID}]; f != nil && x.planned == nil {
		lives = slices.Collect(maps.Values(f.lives))
	}
	x.d.mu.Unlock()
	if len(m.Only) > 0 {
		lives = nil
	}
	if err := x.confirm(ctx, m, copies, lives); err != nil {
		return err
	}
	if len(lives) > 0 {
		// The log may tell by now where one of them went, under another name.
		return x.takeOver(ctx, lives, m, copies)
	}
	return x.addCopies(ctx, messageOf(m), m, copies)
}

// only leaves the copies of the addresses that are meant, all if none are named.
func only(addresses []string, copies []delivery.Delivery) []delivery.Delivery {
	if len(addresses) == 0 {
		return copies
	}
	meant := make(map[string]bool, len(addresses))
	for _, a := range addresses {
		meant[fold(a)] = true
	}
	return slices.DeleteFunc(copies, func(c delivery.Delivery) bool { return !meant[fold(c.Address)] && !meant[fold(c.Recipient)] })
}

func (x *extension) addCopies(ctx context.Context, message messageData, m *Match, copies []delivery.Delivery) error {
	at := -1 // the message in the batch
	for n := range copies {
		c := &copies[n]
		id := deliveryID(x.k.id, message.Ref, legible(c.Recipient, maxText), legible(c.Address, maxText), message.Time)
		if x.seen[id] {
			continue
		}
		x.seen[id] = true
		there, err := x.d.o.View.knows(x.snapshot, x.k.id, id)
		if err != nil || there {
			if err != nil {
				return err
			}
			continue
		}
		p := x.settings.place(&x.guard, c)
		exempt, err := x.d.o.View.exempt(x.snapshot, x.k.exemptKey(), message.Ref, p.Mailbox)
		if err != nil {
			return err
		}
		if exempt {
			continue
		}
		f := foundData{ID: id, Recipient: legible(c.Recipient, maxText), placeData: p}
		if p.Open {
			if f.Waits, err = x.grounds(m, message.Ref, "", c.Address, c.Recipient); err != nil {
				return err
			}
		}
		if at < 0 || len(x.batch.Messages) == 0 {
			at = len(x.batch.Messages)
			x.batch.Messages = append(x.batch.Messages, message)
			x.size += message.bytes()
		}
		f.Message = at
		x.batch.Deliveries = append(x.batch.Deliveries, f)
		if x.size += f.bytes(); len(x.batch.Deliveries) >= maxBatch || x.size >= maxBatchBytes {
			if err := x.flush(ctx); err != nil {
				return err
			}
			at = -1
		}
	}
	return nil
}

// merged gives each copy once: one that a script stored in several folders is one
// delivery, and a forward that the log follows further is told by where it ends.
func merged(copies []delivery.Delivery) []delivery.Delivery {
	followed := map[[2]string]bool{}
	for n := range copies {
		if c := &copies[n]; c.Parent != "" {
			followed[[2]string{c.Parent, fold(c.Address)}] = true
			followed[[2]string{c.Parent, fold(c.Through)}] = true
		}
	}
	first := map[[2]string]int{}
	var out []delivery.Delivery
	for n := range copies {
		c := &copies[n]
		if c.Status == delivery.Forwarded && followed[[2]string{c.QueueID, fold(c.Address)}] {
			continue
		}
		key := [2]string{fold(c.Recipient), fold(c.Address)}
		at, twice := first[key]
		if !twice {
			first[key] = len(out)
			out = append(out, *c)
		} else if rank(c) > rank(&out[at]) {
			out[at] = *c
		}
	}
	return out
}

// rank orders what is told twice of one recipient's copy: that it can be had
// counts more than that it went.
func rank(c *delivery.Delivery) int {
	switch c.Status {
	case delivery.Mailbox:
		return 4
	case delivery.InTransit:
		return 3
	case delivery.Unconfirmed:
		return 2
	case delivery.Relayed, delivery.Forwarded:
		return 1
	}
	return 0
}

func messageOf(m *Match) messageData {
	e := m.Entry
	d := messageData{
		Ref: e.ID, MessageID: legible(e.MessageID, maxName), Subject: legible(e.Subject, maxText), Sender: legible(e.From, maxText),
		Exact: e.MessageID != "" && len(e.MessageID) <= maxName && utf8.ValidString(e.MessageID),
		Time:  e.Time, Size: e.Size, Body: job.Digest(e.Body), Partial: len(m.Only) > 0,
	}
	for n, s := range m.Chain {
		if n == maxSteps-1 && len(m.Chain) > maxSteps { // the last one says how it ended
			s = m.Chain[len(m.Chain)-1]
		}
		if n == maxSteps {
			break
		}
		d.Chain = append(d.Chain, Step{How: legible(s.How, maxText), What: legible(s.What, maxWhat), Ref: legible(s.Ref, maxText), Sure: s.Sure, Indicator: wholeOrNone(s.Indicator), Confidence: s.Confidence})
	}
	return d
}

// wholeOrNone gives the name of a pattern, which is none once it is cut.
func wholeOrNone(name string) string {
	if len(name) > maxWhat || !utf8.ValidString(name) {
		return ""
	}
	return name
}

// bytes is about what it takes in an event; JSON may need six bytes for one.
func (m *messageData) bytes() int {
	n := 400 + escaped(m.MessageID) + escaped(m.Subject) + escaped(m.Sender)
	for _, s := range m.Chain {
		n += 80 + escaped(s.How) + escaped(s.What) + escaped(s.Ref) + escaped(s.Indicator)
	}
	return n
}

func (f *foundData) bytes() int {
	return 250 + escaped(f.Recipient) + escaped(f.Address) + escaped(f.Through) + escaped(f.Mailbox) + escaped(f.Detail) + escaped(f.Waits)
}

// escaped is how long a text can be in JSON.
func escaped(s string) int {
	n := len(s)
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '<' || c == '>' || c == '&' || c == '"' || c == '\\' || c == 0xe2 || c == 0x7f {
			n += 5
		}
	}
	return n
}

// flush commits the batch and gives out its work.
func (x *extension) flush(ctx context.Context) error {
	b := x.batch
	x.batch, x.size = matchedData{}, 0
	if len(b.Deliveries) == 0 {
		return nil
	}
	ids := make([]string, 0, len(b.Deliveries))
	var free []int // those that policy may start
	for n := range b.Deliveries {
		ids = append(ids, b.Deliveries[n].ID)
		if b.Deliveries[n].Open && b.Deliveries[n].Waits == "" {
			free = append(free, n)
		}
	}
	batch := hexDigest(ids...)
	granted, why, err := x.admit(ctx, batch, len(free))
	if err != nil {
		return err
	}
	for _, n := range free[granted:] {
		b.Deliveries[n].Waits = why
	}
	if x.planned != nil {
		for n := range b.Deliveries {
			f := &b.Deliveries[n]
			f.ID = ""
			x.planned = append(x.planned, found(x.k.id, &b.Messages[f.Message], f, x.actor, x.d.now()).Delivery)
		}
		return nil
	}
	e, err := event(typeMatched, b)
	if err != nil {
		return err
	}
	command := ledger.Command{ID: "match/" + x.k.id + "/" + batch, Entity: entityOfBatch(x.k.id, batch), Actor: x.actor}
	receipt, err := x.d.o.Ledger.Commit(ctx, command, always(e))
	if err != nil {
		return fmt.Errorf("record what was found: %w", err)
	}
	if receipt.Replayed {
		// It was recorded by somebody who did not hear of it, and as it was then.
		return x.d.adopt(ctx, x.k.id, ids)
	}
	at := x.d.now()
	records := make([]*record, 0, len(b.Deliveries))
	for n := range b.Deliveries {
		f := &b.Deliveries[n]
		records = append(records, found(x.k.id, &b.Messages[f.Message], f, x.actor, at))
		x.d.metrics.deliveries.WithLabelValues(string(f.Outcome)).Inc()
	}
	x.added += len(records)
	x.d.take(records)
	x.d.o.Logger.Info("an incident was extended", zap.String("incident", x.k.id), zap.String("actor", x.actor),
		zap.Int("messages", len(b.Messages)), zap.Int("deliveries", len(records)), zap.Int("started", granted))
	return nil
}

func (x *extension) admit(ctx context.Context, batch string, want int) (int, string, error) {
	if want == 0 {
		return 0, "", nil
	}
	if x.planned == nil {
		return x.d.admit(ctx, x.k, &x.settings, batch, x.actor, want)
	}
	granted := max(0, min(want, x.settings.CapIncident-x.k.admitted))
	x.k.admitted += granted
	return granted, capped(x.settings.CapIncident, "of one incident"), nil
}

// entry reads a journal entry again; nil where the journal no longer has it, or
// not yet.
func (d *Desk) entry(ref string) (*journal.Entry, error) {
	for r, err := range d.o.Journal.Lookup(journal.KeyOfID(ref)) {
		if err != nil {
			return nil, err
		}
		if r.Entry.ID == ref {
			return r.Entry, nil
		}
	}
	return nil, nil
}
