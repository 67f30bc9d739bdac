package delivery

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/quarantine/delivery/logline"
)

// How a copy was joined to the journal, in metrics and state.
const (
	joinedQueueID   = "queue-id"
	joinedMessageID = "message-id"
	joinedNotice    = "notification"
	joinedOlder     = "older"
	joinedAmbiguous = "ambiguous"
	joinedNot       = "none"
)

// Whether a held copy was delivered, in metrics.
const (
	heldSure   = "yes"
	heldUnsure = "perhaps"
)

// Unjoined is a copy that could not be joined to an entry of the journal.
type Unjoined struct {
	QueueID   string
	MessageID string
	Address   string
	Time      time.Time
	Why       string // "none": nothing in the journal; "ambiguous": several entries have the Message-ID
}

// Bounds on what is kept in memory.
const (
	maxPending  = 20_000 // copies that have not settled; at twice as many, logs wait
	maxJoins    = 20_000 // queue IDs whose join is remembered
	maxUnjoined = 100    // copies that can be asked for
)

// watch looks after each copy once the journal must know of it: those that belong
// to no entry are counted and the last ones kept.
type watch struct {
	o       *Options
	store   *store
	metrics *metrics

	mu       sync.Mutex
	pending  []pending
	room     chan struct{}     // closed and replaced when pending shrinks
	known    map[string]string // by queue ID: how it was joined
	unjoined []Unjoined        // the newest last
	total    uint64
}

func newWatch(o *Options, s *store, m *metrics) *watch {
	return &watch{o: o, store: s, metrics: m, known: map[string]string{}, room: make(chan struct{})}
}

// pending is a copy whose entry, or the line that names it, may yet come.
type pending struct {
	event logline.Event
	due   time.Time
}

// heldDelivered raises the alarm for copies that are in quarantine and were
// delivered all the same: the MTA did not obey.
func (w *watch) heldDelivered(events []logline.Event) {
	for i := range events {
		e := &events[i]
		if e.Kind != logline.Copy || e.Outcome != logline.Sent {
			continue
		}
		for _, to := range w.o.Held(e.QueueID) {
			if fold(to) != fold(forWhom(e)) {
				continue
			}
			w.metrics.held.WithLabelValues(heldSure).Inc()
			w.o.Logger.Error("a held recipient was delivered all the same: the MTA did not take the copy out of the message (Postfix: enable_original_recipient = yes)",
				zap.String("queue_id", e.QueueID), zap.String("recipient", to), zap.String("delivered_to", e.Address), zap.String("relay", e.Relay), zap.Time("at", e.Time))
		}
	}
}

// add takes note of the copies among events. It waits for room: a log of days is
// read faster than its copies are joined.
func (w *watch) add(ctx context.Context, events []logline.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.pending) >= 2*maxPending && ctx.Err() == nil {
		room := w.room
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-room:
		}
		w.mu.Lock()
	}
	due := w.o.Clock().Add(w.o.settle)
	for i := range events {
		if events[i].Kind == logline.Copy {
			w.pending = append(w.pending, pending{events[i], due})
		}
	}
}

// settle joins the copies whose time has come, and the oldest ones when there are
// too many.
func (w *watch) settle() error {
	now := w.o.Clock()
	w.mu.Lock()
	n := max(0, len(w.pending)-maxPending)
	for n < len(w.pending) && !w.pending[n].due.After(now) {
		n++
	}
	due := w.pending[:n:n]
	w.pending = w.pending[n:]
	if n > 0 {
		close(w.room)
		w.room = make(chan struct{})
	}
	w.mu.Unlock()
	if n == 0 {
		return nil
	}
	v, err := w.store.view()
	if err != nil {
		return err
	}
	defer v.release()
	r := &round{watch: w, v: v, oldest: w.o.Journal.Status().Oldest, lives: map[string][]life{}, joins: map[lifeKey]join{}}
	for i := range due {
		if err := r.join(&due[i].event); err != nil {
			return err
		}
	}
	return nil
}

// round is one settle. A message can be for thousands, and be tried for days: what
// was said of it is read once for all its copies.
type round struct {
	*watch
	v      *view
	oldest time.Time // in the journal
	lives  map[string][]life
	events int // in lives
	joins  map[lifeKey]join
}

// lifeKey names the lives of a queue ID that a copy may belong to.
type lifeKey struct {
	queueID     string
	first, last int
}

func (w *round) livesOf(queueID string) ([]life, error) {
	if all, known := w.lives[queueID]; known {
		return all, nil
	}
	events, err := w.v.ofQueueID(queueID)
	if err != nil {
		return nil, err
	}
	if w.events += 1 + len(events); w.events > maxEvents {
		clear(w.lives)
		clear(w.joins)
		w.events = 1 + len(events)
	}
	w.lives[queueID] = lives(queueID, events)
	return w.lives[queueID], nil
}

func (w *round) join(e *logline.Event) error {
	held := w.o.Held(e.QueueID)
	how, ok := w.known[e.QueueID]
	messageID := ""
	if !ok || len(held) > 0 {
		j, err := w.joinOf(e)
		if err != nil {
			return err
		}
		how, messageID = j.how, j.messageID
		if len(w.known) == maxJoins {
			clear(w.known)
		}
		if how != joinedNot && how != joinedAmbiguous && !isShort(e.QueueID) {
			w.known[e.QueueID] = how
		}
		w.heldPerhaps(held, j.to, e)
	}
	if how == joinedNot && (w.oldest.IsZero() || e.Time.Before(w.oldest)) {
		how = joinedOlder
	}
	w.metrics.copies.WithLabelValues(how).Inc()
	if how != joinedNot && how != joinedAmbiguous {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.total++
	w.unjoined = append(w.unjoined, Unjoined{QueueID: e.QueueID, MessageID: messageID, Address: e.Address, Time: e.Time, Why: how})
	w.unjoined = w.unjoined[max(0, len(w.unjoined)-maxUnjoined):]
	return nil
}

// heldPerhaps raises the alarm for a copy that nobody in the envelope was to get,
// of a message that is held for some: where Postfix keeps no original recipients,
// it removes no alias at a milter's word, and its log does not tell for whom the
// copy came. to is the message's envelope, nil where all of it was held.
func (w *watch) heldPerhaps(held, to []string, e *logline.Event) {
	if len(held) == 0 || e.Outcome != logline.Sent || e.Through != "" {
		return
	}
	expected := slices.Concat(held, to) // of held the alarm was raised before
	if slices.ContainsFunc(expected, func(to string) bool { return fold(to) == fold(e.Address) }) {
		return
	}
	w.metrics.held.WithLabelValues(heldUnsure).Inc()
	w.o.Logger.Error("perhaps a held recipient was delivered all the same: a copy went to an address that is not in the envelope, and the log does not tell for whom (Postfix: enable_original_recipient = yes)",
		zap.String("queue_id", e.QueueID), zap.Strings("held", held), zap.String("delivered_to", e.Address), zap.String("relay", e.Relay), zap.Time("at", e.Time))
}

// join is how a copy's queue ID belongs to the journal.
type join struct {
	how       string
	messageID string
	to        []string // of the entry of the queue ID itself
}

func (w *round) joinOf(e *logline.Event) (join, error) {
	all, err := w.livesOf(e.QueueID)
	if err != nil {
		return join{}, err
	}
	key := lifeKey{e.QueueID, -1, -1}
	var own []*life
	for i := range all {
		l := &all[i]
		if !l.to.IsZero() && l.to.Before(e.Time) || l.began().After(e.Time) {
			continue // another life
		}
		if own = append(own, l); key.first < 0 {
			key.first = i
		}
		key.last = i
	}
	j, known := w.joins[key]
	if known {
		return j, nil
	}
	if j, err = w.joinLives(e.QueueID, own); err == nil {
		w.joins[key] = j
	}
	return j, err
}

func (w *round) joinLives(queueID string, own []*life) (j join, err error) {
	j.how = joinedNot
	for _, l := range own {
		j.messageID = l.messageID
		entry, err := entryOf(w.o.Journal, l)
		if err != nil {
			return j, err
		}
		if entry != nil {
			j.how, j.to = joinedQueueID, entry.To
			return j, nil
		}
	}
	notice, err := w.v.isNotice(queueID)
	if err != nil {
		return j, err
	}
	if notice {
		j.how = joinedNotice
		return j, nil
	}
	if j.messageID == "" {
		return j, nil
	}
	for r, err := range w.o.Journal.Lookup(journal.KeyOfMessageID(j.messageID)) {
		if err != nil {
			return j, err
		}
		if r.Entry.MessageID != j.messageID {
			continue
		}
		if j.how == joinedMessageID {
			j.how = joinedAmbiguous
			return j, nil
		}
		j.how = joinedMessageID
	}
	return j, nil
}
