// Package delivery knows where the copies of a message really went: it follows
// the logs of MTA and mailbox server and joins what they say to the entries of
// the journal.
//
// What a line says (package logline) is kept as it is, an event in an append-only
// log of this package's own, in one record with the place behind it in the log
// file. So no line is lost and none is counted twice, whenever the process dies.
// Joining is done when somebody asks: it is a function of entry and events, and
// no order of lines can disturb it.
//
// An entry's copies are found by the queue ID, and Dovecot's lines by the session
// that its answer carried. What left one queue ID for another one (a content
// filter, a forward file, a Sieve redirect, a list server without a milter) is
// followed only where the Message-ID is the same and another sign speaks for it.
// Nothing is guessed: what is not told is InTransit or Unconfirmed, and copies
// that belong to no entry are counted.
package delivery

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/quarantine/delivery/follow"
)

// Status says what became of a copy.
type Status string

// What can become of a copy.
const (
	Unconfirmed Status = "unconfirmed" // no log tells
	InTransit   Status = "in-transit"  // in the queue, as far as the log tells
	Mailbox     Status = "mailbox"     // in a mailbox
	Relayed     Status = "relayed"     // handed to another host or program
	Forwarded   Status = "forwarded"   // sent on to Address by the user's Sieve script
	Bounced     Status = "bounced"     // refused for good; the sender was told
	Expired     Status = "expired"     // given up after its time in the queue; the sender was told
	Discarded   Status = "discarded"   // thrown away by the MTA or the user's Sieve script
	Refused     Status = "refused"     // never queued: another milter or check refused the message
	Removed     Status = "removed"     // taken out of the queue before it was delivered
)

// Final reports whether nothing more will become of the copy there.
func (s Status) Final() bool { return s != Unconfirmed && s != InTransit }

// Known says how a delivery was joined to its entry.
type Known string

// How a delivery can be known.
const (
	ByEnvelope  Known = "envelope"   // no log line tells of this recipient
	ByQueueID   Known = "queue-id"   // the MTA's line has the entry's queue ID
	BySession   Known = "session"    // and Dovecot's line the session that the MTA's line names
	ByMessageID Known = "message-id" // the lines share the Message-ID, and nothing else has it
	ByNextID    Known = "queued-as"  // the MTA's line names the next queue ID, which has the same Message-ID
	ByRedirect  Known = "redirect"   // a Sieve script sent it there, with the same Message-ID
)

// Delivery is one recipient's copy, as far as it is known. Text in it is a
// stranger's.
type Delivery struct {
	Recipient string // of the envelope; empty where the log does not tell for whom it came
	Address   string // final address
	Through   string // the alias or list that it came through; empty if none
	Status    Status
	Mailbox   string // the login whose mailbox it is in, as the mailbox server names it
	Folder    string
	Relay     string // host, or the service that took it
	DSN       string // enhanced status code, RFC 3463
	Reply     string // what the other side said, or the reason
	QueueID   string
	Parent    string // the queue ID that it came from; empty: QueueID is the entry's own
	Session   string // Dovecot's
	Time      time.Time
	Known     Known
}

// Journal is where entries are looked up; *journal.Journal is one.
type Journal interface {
	Lookup(key journal.Key) iter.Seq2[journal.Record, error]
	Status() journal.Status
}

// Options says how deliveries are followed.
type Options struct {
	FS      disk.FS         // required
	Dir     string          // the folder of log and index, made where it is missing; its parent has to be there; required
	Sources []follow.Source // may be none: then only envelopes are known
	Journal Journal         // required

	// Held gives the recipients whose copy of the message with a queue ID is held
	// in quarantine. Nil: none.
	Held func(queueID string) []string
	// Report hears of each source that cannot be read, with the reason, and with
	// nil when it can again. Nil: nobody does.
	Report func(source string, problem error)

	Retention    time.Duration  // events are dropped after this; 0: never. As the journal's
	MinFree      int64          // see wal.Options
	IndexMinFree int64          // see kv.Options
	Location     *time.Location // of timestamps without a zone; time.Local if nil

	BootID        string // see kv.Options
	IndexInMemory bool   // for tests
	Clock         func() time.Time
	Logger        *zap.Logger           // nil: none
	Metrics       prometheus.Registerer // nil: none

	settle       time.Duration // after which a copy should be joined; for tests
	retry        time.Duration // after which a source is tried again; for tests
	segmentBytes int64         // for tests
}

const (
	defaultSettle = 30 * time.Second
	defaultRetry  = 5 * time.Second
)

func (o *Options) validate() error {
	switch {
	case o.FS == nil:
		return errors.New("delivery: Options.FS is missing")
	case o.Dir == "":
		return errors.New("delivery: Options.Dir is missing")
	case o.Journal == nil:
		return errors.New("delivery: Options.Journal is missing")
	case o.Retention < 0:
		return errors.New("delivery: Options.Retention is negative")
	}
	seen := map[string]bool{}
	for _, s := range o.Sources {
		if seen[s.Name()] {
			return errors.New("delivery: the log " + s.Name() + " is given twice")
		}
		seen[s.Name()] = true
	}
	if o.Held == nil {
		o.Held = func(string) []string { return nil }
	}
	if o.Report == nil {
		o.Report = func(string, error) {}
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.settle == 0 {
		o.settle = defaultSettle
	}
	if o.retry == 0 {
		o.retry = defaultRetry
	}
	return nil
}

// Tracker follows logs and answers where copies went. All methods may be called
// at the same time.
type Tracker struct {
	o       Options
	store   *store
	metrics *metrics
	watch   *watch
	news    *news
	keep    atomic.Int64 // time.Duration
	sources []*source
}

// Open opens what was recorded, or makes it. Nothing is read from the logs until
// Run. Errors are those of wal.Open and kv.Open.
func Open(o Options) (*Tracker, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	s, err := openStore(&o)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	t := &Tracker{o: o, store: s, metrics: m, news: newNews(), watch: newWatch(&o, s, m)}
	t.keep.Store(int64(o.Retention))
	for _, from := range o.Sources {
		t.sources = append(t.sources, &source{from: from})
	}
	return t, nil
}

// Close closes log and index. Run has to have returned.
func (t *Tracker) Close() error { return t.store.close() }

// Of tells where the copies of an entry's message went, in the order of the
// envelope's recipients. Every recipient is in it at least once. Errors are those
// of reading the index and the journal.
func (t *Tracker) Of(ctx context.Context, e *journal.Entry) ([]Delivery, error) {
	v, err := t.store.view()
	if err != nil {
		return nil, err
	}
	defer v.release()
	return trace(ctx, v, t.o.Journal, e)
}

// Taken gives when a user took mail out of his inbox by POP3 for the first time since
// then; zero: no log tells that he did. Errors are those of reading the index.
func (t *Tracker) Taken(login string, since time.Time) (time.Time, error) {
	v, err := t.store.view()
	if err != nil {
		return time.Time{}, err
	}
	defer v.release()
	events, err := v.taken(login)
	if err != nil {
		return time.Time{}, err
	}
	// A log may tell whole seconds.
	since = since.Truncate(time.Second)
	for i := range events {
		if !events[i].Time.Before(since) {
			return events[i].Time, nil
		}
	}
	return time.Time{}, nil
}

// SetRetention changes how long events are kept, from the next round on.
func (t *Tracker) SetRetention(keep time.Duration) error {
	if keep < 0 {
		return errors.New("delivery: Retention is negative")
	}
	t.keep.Store(int64(keep))
	return nil
}
