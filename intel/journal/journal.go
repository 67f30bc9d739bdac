// Package journal remembers what was let through: one entry a message in an
// append-only log, which is the truth, and an index over it by everything that
// an entry carries. Entries are plain data; package filter fills them.
//
// The index is a follower. It keeps sorted runs of postings, a set a week (package
// postings), and can be made anew from the log at any time. Lookups see what the
// index has come to; Wait is for those who must see all.
package journal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/wal"
)

// Options says how a journal is kept.
type Options struct {
	FS  disk.FS // required
	Dir string  // the journal's folder, made where it is missing; its parent has to be there; required

	MinFree      int64 // free space in bytes below which no entry is taken; see wal.Options
	IndexMinFree int64 // and below which the index is not written; no bound if it is not positive

	Retention Retention
	MaxBytes  int64 // what the log may hold; 0: no bound

	GroupDelay    time.Duration // how long the index may wait for more entries; a second if 0
	IndexInMemory bool          // the index is gone when the journal is closed: for tests
	BootID        string        // see kv.Options
	Clock         func() time.Time
	Logger        *zap.Logger
	Metrics       prometheus.Registerer // nil: none

	segmentBytes int64 // for tests
	grid         grid  // for tests
	maxWaiting   int   // for tests; maxWaiting if 0
	maxNoted     int   // for tests; maxNoted if 0
}

// Retention says how long entries are kept.
type Retention struct {
	MaxAge   time.Duration // older entries are dropped, whole segments at a time; 0: never
	LookBack time.Duration // entries younger than this are never dropped for their size
}

func (r Retention) validate() error {
	if r.MaxAge < 0 || r.LookBack < 0 {
		return errors.New("journal: a time in Retention is negative")
	}
	if r.MaxAge > 0 && r.MaxAge < r.LookBack {
		return fmt.Errorf("journal: entries are dropped after %s and looked back at for %s", r.MaxAge, r.LookBack)
	}
	return nil
}

func (o *Options) validate() error {
	switch {
	case o.FS == nil:
		return errors.New("journal: Options.FS is missing")
	case o.Dir == "":
		return errors.New("journal: Options.Dir is missing")
	case o.MaxBytes < 0:
		return errors.New("journal: Options.MaxBytes is negative")
	}
	if err := o.Retention.validate(); err != nil {
		return err
	}
	if o.GroupDelay == 0 {
		o.GroupDelay = time.Second
	}
	if o.grid == 0 {
		o.grid = blockBits
	}
	if o.maxWaiting == 0 {
		o.maxWaiting = maxWaiting
	}
	if o.maxNoted == 0 {
		o.maxNoted = maxNoted
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return nil
}

const (
	siteFolder disk.Site = "journal.folder" // the journal's folder in its parent
	siteIndex  disk.Site = "journal.index"  // the index's folder in the journal's
)

// ErrFull says that the log holds what it may, and that all of it is inside the
// look-back. It satisfies disk.ErrNoSpace.
var ErrFull = fmt.Errorf("%w: the journal holds what journal.max_bytes allows and all of it is inside the look-back", disk.ErrNoSpace)

// Journal is an open journal. All methods may be called at the same time.
type Journal struct {
	o     Options
	log   *wal.Log
	codec *codec
	rooms sync.Pool // of *[]byte, for entries on their way to the log
	index *index
	full  atomic.Bool // no entry is taken; set by prune
	keep  atomic.Pointer[Retention]
}

// Open opens the journal in a folder, or makes it there. The index catches up
// while Run runs. Errors are those of wal.Open and postings.Open.
func Open(o Options) (*Journal, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	codec, err := newCodec()
	if err != nil {
		return nil, err
	}
	if err := disk.MakeFolder(o.FS, o.Dir, 0o700, siteFolder); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	log, err := wal.Open(wal.Options{
		FS: o.FS, Dir: filepath.Join(o.Dir, "log"), Name: "journal", MinFree: o.MinFree, SegmentBytes: o.segmentBytes,
		Logger: o.Logger, Metrics: o.Metrics,
	})
	if err != nil {
		return nil, err
	}
	j := &Journal{o: o, log: log, codec: codec, rooms: sync.Pool{New: func() any { return new([]byte) }}}
	j.keep.Store(&o.Retention)
	if j.index, err = openIndex(j); err != nil {
		_ = log.Close()
		return nil, err
	}
	return j, nil
}

// SetRetention changes how long entries are kept, from the next round on.
func (j *Journal) SetRetention(r Retention) error {
	if err := r.validate(); err != nil {
		return err
	}
	j.keep.Store(&r)
	return nil
}

// Append writes an entry and returns its position once it is durable. Errors
// are those of wal.Log.Append, ErrFull among the ErrNoSpace ones. Without the
// error the entry will be found, also after a crash.
func (j *Journal) Append(ctx context.Context, e *Entry) (wal.Position, error) {
	if j.full.Load() {
		return 0, ErrFull
	}
	e = e.fitted() // what the entry does not tell, the index must not either
	room := j.rooms.Get().(*[]byte)
	defer j.rooms.Put(room)
	data, err := appendEntry((*room)[:0], e)
	if err != nil {
		return 0, err
	}
	if cap(data) <= keepRoom {
		*room = data
	}
	at, err := j.log.Append(ctx, data) // which copies it before it waits
	if err != nil {
		return 0, err
	}
	j.index.note(at, e)
	return at, nil
}

// keepRoom bounds the memory that is kept for later entries.
const keepRoom = 64 << 10

func (j *Journal) bytes() int64 {
	var n int64
	for _, s := range j.log.Segments() {
		n += s.Bytes
	}
	return n
}

// Record is an entry and its position, by which it can be read again.
type Record struct {
	Position wal.Position
	Entry    *Entry
}

// Get reads the entry at a position. Errors are those of wal.Log.Get and ErrEntry.
func (j *Journal) Get(at wal.Position) (Record, error) {
	raw, err := j.log.Get(at)
	if err != nil {
		return Record{}, err
	}
	e, err := j.codec.decode(raw.Payload)
	if err != nil {
		return Record{}, fmt.Errorf("journal entry at %d: %w", at, err)
	}
	return Record{at, e}, nil
}

// Read gives the entries behind a position in order, 0 for all that are kept.
// The loop ends after the first error.
func (j *Journal) Read(after wal.Position) iter.Seq2[Record, error] {
	return j.read(after, func([]byte) bool { return true })
}

// ReadJudgedBefore is Read for who wants only what was judged under lists older
// than a generation. The Entry of any other is nil: that one is not decoded,
// which costs far more than reading it.
func (j *Journal) ReadJudgedBefore(after wal.Position, generation uint64) iter.Seq2[Record, error] {
	return j.read(after, func(data []byte) bool {
		judged, known := generationOf(data)
		return !known || judged < generation
	})
}

// ReadSharing is Read for who wants only what has something that he knows: the keys
// of a Message-ID that it has or refers to (KeyOfMessageID), of the ID that it came
// in with (KeyOfID), of a body, an attachment or a link (KeyOf). The Entry of any
// other is nil.
func (j *Journal) ReadSharing(after wal.Position, known func(Key) bool) iter.Seq2[Record, error] {
	return j.read(after, func(data []byte) bool {
		found, ok := shares(data, known)
		return found || !ok
	})
}

func (j *Journal) read(after wal.Position, wanted func(data []byte) bool) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for raw, err := range j.log.Read(after) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			r := Record{Position: raw.Position}
			if wanted(raw.Payload) {
				if r.Entry, err = j.codec.decode(raw.Payload); err != nil {
					err = fmt.Errorf("journal entry at %d: %w", raw.Position, err)
				}
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Lookup gives the entries that are indexed under a key, oldest first. Now and
// then one has only the key's hash in common with what was asked for.
func (j *Journal) Lookup(key Key) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for at, err := range j.index.positions(key) {
			var r Record
			if err == nil {
				r, err = j.Get(at)
				if errors.Is(err, wal.ErrDropped) {
					continue
				}
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Positions gives where the entries stand that Lookup gives, in the same order,
// without reading them: for who wants the newest, or only some, of very many.
func (j *Journal) Positions(key Key) iter.Seq2[wal.Position, error] { return j.index.positions(key) }

// Wait returns once lookups see the entry at a position and all before it. The
// error is the context's, or why Run ended.
func (j *Journal) Wait(ctx context.Context, at wal.Position) error { return j.index.wait(ctx, at) }

// Last gives the position of the newest entry, 0 if there never was one.
func (j *Journal) Last() wal.Position { return j.log.Last() }

// Status says how the journal is.
type Status struct {
	Bytes   int64
	Last    wal.Position
	Indexed wal.Position
	Oldest  time.Time // of the oldest entry kept; zero if there is none
}

// Status gives the state at this moment.
func (j *Journal) Status() Status {
	s := Status{Bytes: j.bytes(), Last: j.log.Last(), Indexed: j.index.appliedTo()}
	if segments := j.log.Segments(); len(segments) > 0 {
		if at, ok := j.began(segments[0]); ok {
			s.Oldest = at
		}
	}
	return s
}

// Run keeps the index up with the log and drops what is too old, until the
// context ends or the index fails for a reason that waiting does not mend.
func (j *Journal) Run(ctx context.Context) error { return j.index.run(ctx) }

// Close closes log and index. Run has to have returned.
func (j *Journal) Close() error { return errors.Join(j.log.Close(), j.index.close()) }
