package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/wal"
)

// Options says how a ledger is kept.
type Options struct {
	FS    disk.FS       // required
	Dir   string        // of the log, made where it is missing; required
	Index *kv.DB        // where entities and commands are looked up; required
	Node  string        // this node's ID; required
	Key   []byte        // seals the chain, at least 16 bytes; required
	NewID func() string // gives ULIDs as text, each larger than the one before; required

	// IndexPrefix begins the ledger's keys in Index, and is its reader's name there;
	// "ledger/" if empty.
	IndexPrefix string
	// Views are kept up to date until Close.
	Views []View
	// Upcast, if not nil, brings an event that is read to the newest schema.
	Upcast func(*Event) error

	Clock        func() time.Time // time.Now if nil
	SegmentBytes int64            // as wal.Options
	MinFree      int64            // as wal.Options

	Logger  *zap.Logger           // nil: none
	Metrics prometheus.Registerer // nil: none
}

func (o *Options) validate() error {
	switch {
	case o.FS == nil:
		return errors.New("ledger: Options.FS is missing")
	case o.Dir == "":
		return errors.New("ledger: Options.Dir is missing")
	case o.Index == nil:
		return errors.New("ledger: Options.Index is missing")
	case len(o.Key) < 16:
		return errors.New("ledger: Options.Key has less than 16 bytes")
	case o.NewID == nil:
		return errors.New("ledger: Options.NewID is missing")
	}
	if err := checkWord("node", o.Node); err != nil {
		return err
	}
	if o.IndexPrefix == "" {
		o.IndexPrefix = "ledger/"
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	names := map[string]bool{}
	for _, v := range o.Views {
		if names[v.Name()] {
			return fmt.Errorf("ledger: two views are called %s", v.Name())
		}
		names[v.Name()] = true
	}
	return nil
}

// Ledger is an open ledger. All methods may be called at the same time.
type Ledger struct {
	o       Options
	codec   codec
	log     *wal.Log
	index   *index
	queue   chan *request
	runners []*runner
	metrics *metrics

	ctx     context.Context // ends when the ledger closes
	cancel  context.CancelFunc
	tasks   sync.WaitGroup // committer and runners
	decided chan struct{}  // closed when the committer has ended
	stop    func()         // ends the index; after the others

	mu   sync.Mutex
	head link // of the last durable record
}

// link is what the next record hangs on.
type link struct {
	sequence uint64
	chain    hash
	seal     hash
}

// Open opens the ledger in a folder, or makes it, and brings its index up to
// date; views catch up in the background. Errors satisfy disk.ErrNoSpace or
// wal.ErrDamaged, or come from the file system.
func Open(o Options) (*Ledger, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	l := &Ledger{o: o, queue: make(chan *request, maxGather), decided: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	var err error
	if l.codec, err = newCodec(); err != nil {
		return nil, err
	}
	l.log, err = wal.Open(wal.Options{
		FS: o.FS, Dir: o.Dir, Name: "ledger", SegmentBytes: o.SegmentBytes, MinFree: o.MinFree,
		Logger: o.Logger, Metrics: o.Metrics,
	})
	if err != nil {
		return nil, err
	}
	if err := l.start(); err != nil {
		l.cancel()
		_ = l.log.Close()
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return l, nil
}

func (l *Ledger) start() error {
	if err := l.findHead(); err != nil {
		return err
	}
	var err error
	if l.index, err = newIndex(l.o.Index, l.o.IndexPrefix, l.o.Logger); err != nil {
		return err
	}
	if err := l.catchUp(); err != nil {
		l.index.close()
		return err
	}
	l.startIndex()
	for _, v := range l.o.Views {
		r := newRunner(l, v)
		l.runners = append(l.runners, r)
	}
	if l.metrics, err = newMetrics(l); err != nil {
		l.stop()
		return err
	}
	for _, r := range l.runners {
		l.tasks.Go(r.run)
	}
	l.tasks.Go(l.commitAll)
	return nil
}

// startIndex keeps the index written until stop is called.
func (l *Ledger) startIndex() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.index.run(ctx)
	}()
	l.stop = func() {
		cancel()
		<-done
		l.index.close()
	}
}

// findHead reads the last record.
func (l *Ledger) findHead() error {
	last := l.log.Last()
	if last == 0 {
		return nil
	}
	r, err := l.record(last)
	if err != nil {
		return err
	}
	if r.seal != seal(l.o.Key, r.chain) {
		l.o.Logger.Warn("the ledger's last record was sealed with another key: the identity file was replaced, or the ledger was; run weir audit verify",
			zap.Uint64("sequence", r.Sequence))
	}
	l.head = link{r.Sequence, r.chain, r.seal}
	return nil
}

// catchUp brings the index to the end of the log.
func (l *Ledger) catchUp() error {
	from := l.index.written
	if err := l.checkCursor(from); err != nil {
		if !errors.Is(err, ErrCursor) {
			return err
		}
		l.o.Logger.Warn("the ledger's index does not fit the ledger and is built again", zap.Error(err))
		from = Cursor{}
	}
	if from.IsZero() {
		if err := l.index.rebuild(l.ctx); err != nil {
			return err
		}
	}
	var group []change
	flush := func() error {
		l.index.add(group)
		group = group[:0]
		return l.index.flush()
	}
	for raw, err := range l.log.Read(from.at) {
		if err != nil {
			return err
		}
		r, err := l.decode(raw)
		if err != nil {
			return err
		}
		if group = append(group, changeOf(r)); len(group) == 4096 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// Close ends the views, writes what is under way and closes the ledger. The index
// database stays open.
func (l *Ledger) Close() error {
	l.cancel()
	l.tasks.Wait()
	l.stop()
	l.metrics.unregister()
	return l.log.Close()
}

func (l *Ledger) decode(raw wal.Record) (*record, error) {
	r, err := l.codec.decode(raw.Payload, raw.Position)
	if err != nil {
		return nil, fmt.Errorf("ledger record at %x: %w: %w", uint64(raw.Position), wal.ErrDamaged, err)
	}
	return r, nil
}

// record reads one record.
func (l *Ledger) record(at wal.Position) (*record, error) {
	raw, err := l.log.Get(at)
	if err != nil {
		return nil, err
	}
	return l.decode(raw)
}

// State gives an entity as it is now; Version is 0 when there is none.
func (l *Ledger) State(entity string) (State, error) {
	e, _, err := l.index.entity(entity)
	if err != nil {
		return State{}, err
	}
	return l.load(entity, e)
}

// load reads the events of an entity by following its records back.
func (l *Ledger) load(entity string, last entry) (State, error) {
	s := State{Entity: entity, Version: last.version}
	var records []*record
	for at := last.cursor.at; at != 0; {
		r, err := l.record(at)
		if err != nil {
			return s, err
		}
		want := s.Version
		if len(records) > 0 {
			want = records[len(records)-1].First - 1
		}
		if r.Entity != entity || r.last() != want || r.Before >= at {
			return s, fmt.Errorf("ledger record at %x: %w: it is version %d of %q, where version %d of %q should be",
				uint64(at), wal.ErrDamaged, r.last(), r.Entity, want, entity)
		}
		records = append(records, r)
		at = r.Before
	}
	for _, r := range slices.Backward(records) {
		events, err := r.events(l.o.Upcast)
		if err != nil {
			return s, err
		}
		s.Events = append(s.Events, events...)
	}
	return s, nil
}

// parseID reads a ULID that Options.NewID gave.
func parseID(text string) ([16]byte, error) {
	id, err := ulid.ParseStrict(text)
	if err != nil {
		return [16]byte{}, fmt.Errorf("%w: Options.NewID gave %q: %w", ErrInvalid, text, err)
	}
	return id, nil
}
