package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/wal"
)

// The index is one database a week, in a folder named by the week's number
// since 1970. Under each key stand posting lists, one for each group of entries
// that was written at once:
//
//	0x01 | key (8 bytes) | position of the first entry (8) → uvarints: how far the next one is
//
// The log is cut into blocks by position. No list goes on from one block into
// the next, so that a search can read the lists of some blocks alone. And for
// each block that the week has entries in, it is known when they passed:
//
//	0x02 | block (8) → position of the first entry (8) | its earliest time (8) | its latest (8)
//
// Numbers in keys are big-endian, so that lists stand in order. A database also
// keeps where in the log its week begins ("after"), how far it has come
// ("applied") and whether the week is over ("sealed"), the first two with the
// record's check, so that a log that was put in another's place is seen. Weeks that follow each
// other without a gap and are sealed need not be looked at again; all else is
// indexed anew from the log. To index an entry twice does no harm.
const (
	indexSchema = 2
	postingKey  = 0x01
	zoneKey     = 0x02
	keyBytes    = 1 + 8 + 8
	week        = 7 * 24 * time.Hour

	maxGroup = 200_000 // postings that are written at once
	maxNoted = 100_000 // entries whose keys are kept until they are indexed
	// A value holds about this many bytes before the list goes on in a new one.
	maxList = 32 << 10

	readerAfter   = "after"
	readerApplied = "applied"
	readerSealed  = "sealed"
)

// index follows the log. Only run writes.
type index struct {
	j    *Journal
	dir  string
	grid grid

	mu      sync.Mutex
	weeks   map[int64]*weekDB
	noted   map[wal.Position]note
	applied mark
	moved   chan struct{} // closed and replaced when applied grows or run ends
	ended   error         // why run ended

	hurry chan struct{} // somebody waits
}

// note keeps what the index needs of an entry from Append to run, which spares
// decoding it again.
type note struct {
	keys []Key
	week int64
	time int64 // ns since 1970
}

func noteOf(dst []Key, e *Entry) note {
	return note{keys: keys(dst, e), week: weekOf(e.Time), time: e.Time.UnixNano()}
}

type weekDB struct {
	number  int64
	db      *kv.DB
	after   mark
	applied mark
	sealed  bool
	zones   []zone // by block
}

// mark is a record of the log, and of no other one.
type mark struct {
	at    wal.Position
	check uint64
}

func openIndex(j *Journal) (*index, error) {
	x := &index{
		j: j, dir: filepath.Join(j.o.Dir, "index"), grid: j.o.grid,
		weeks: map[int64]*weekDB{}, noted: map[wal.Position]note{}, moved: make(chan struct{}), hurry: make(chan struct{}, 1),
	}
	if err := disk.MakeFolder(j.o.FS, x.dir, 0o700, siteIndex); err != nil {
		return nil, fmt.Errorf("open journal index: %w", err)
	}
	names, err := j.o.FS.ReadDir(x.dir)
	if err != nil {
		return nil, fmt.Errorf("open journal index: %w", err)
	}
	for _, entry := range names {
		number, err := strconv.ParseInt(entry.Name(), 10, 64)
		if err != nil {
			continue
		}
		if _, err := x.open(number); err != nil {
			return nil, errors.Join(err, x.close())
		}
	}
	x.applied = x.contiguous()
	return x, nil
}

// open opens or makes the database of a week.
func (x *index) open(number int64) (*weekDB, error) {
	db, err := kv.Open(kv.Options{
		FS: x.j.o.FS, Dir: x.folder(number), Name: "journal-" + strconv.FormatInt(number, 10), Schema: indexSchema,
		BootID: x.j.o.BootID, MinFree: x.j.o.IndexMinFree, InMemory: x.j.o.IndexInMemory, Logger: x.j.o.Logger,
	})
	if err != nil {
		return nil, err
	}
	w := &weekDB{number: number, db: db}
	if err := w.load(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if !x.j.holds(w.after) || !x.j.holds(w.applied) {
		x.j.o.Logger.Warn("the journal's index belongs to another log and is made anew", zap.Int64("week", number))
		if err := errors.Join(db.Close(), os.RemoveAll(x.folder(number))); err != nil {
			return nil, err
		}
		return x.open(number)
	}
	x.mu.Lock()
	x.weeks[number] = w
	x.mu.Unlock()
	return w, nil
}

// holds reports whether the record is one of this log, or lies before all that
// are kept.
func (j *Journal) holds(m mark) bool {
	segments := j.log.Segments()
	if m.at == 0 || len(segments) > 0 && m.at < segments[0].Base {
		return true
	}
	r, err := j.log.Get(m.at)
	return err == nil && r.Check == m.check
}

func (x *index) folder(number int64) string {
	return filepath.Join(x.dir, strconv.FormatInt(number, 10))
}

func (w *weekDB) load() error {
	s, err := w.db.Snapshot()
	if err != nil {
		return err
	}
	defer s.Release()
	for name, m := range map[string]*mark{readerAfter: &w.after, readerApplied: &w.applied} {
		if *m, err = cursor(s, name); err != nil {
			return err
		}
	}
	sealed, err := cursor(s, readerSealed)
	if err != nil {
		return err
	}
	w.sealed = sealed.at > 0
	w.zones, err = loadZones(s)
	return err
}

func cursor(s *kv.Snapshot, name string) (mark, error) {
	raw, err := s.Applied(name)
	if err != nil || len(raw) != 16 {
		return mark{}, err
	}
	return mark{wal.Position(binary.BigEndian.Uint64(raw)), binary.BigEndian.Uint64(raw[8:])}, nil
}

func (m mark) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(m.at)), m.check)
}

// contiguous gives the record up to which all entries are indexed: through the
// sealed weeks that follow each other without a gap, into the first one that
// is not sealed.
func (x *index) contiguous() mark {
	var m mark
	first := wal.Position(0)
	if segments := x.j.log.Segments(); len(segments) > 0 {
		first = segments[0].Base
	}
	for i, number := range slices.Sorted(maps.Keys(x.weeks)) {
		w := x.weeks[number]
		if w.after != m && (i > 0 || w.after.at > first) {
			break
		}
		if w.applied.at > m.at {
			m = w.applied
		}
		if !w.sealed {
			break
		}
	}
	return m
}

// note keeps the keys of an entry just written for run.
func (x *index) note(at wal.Position, e *Entry) {
	n := noteOf(make([]Key, 0, 8+5*len(e.Observables)), e)
	x.mu.Lock()
	if len(x.noted) < maxNoted && at > x.applied.at {
		x.noted[at] = n
	}
	x.mu.Unlock()
}

func weekOf(t time.Time) int64 { return t.Unix() / int64(week/time.Second) }

func (x *index) appliedTo() wal.Position {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.applied.at
}

func (x *index) wait(ctx context.Context, at wal.Position) error {
	for {
		x.mu.Lock()
		done, moved, ended := x.applied.at >= at, x.moved, x.ended
		x.mu.Unlock()
		if done {
			return nil
		}
		if ended != nil {
			return fmt.Errorf("the journal's index has stopped: %w", ended)
		}
		select {
		case x.hurry <- struct{}{}:
		default:
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-moved:
		}
	}
}

// positions goes through the posting lists of a key, week by week.
func (x *index) positions(key Key) iter.Seq2[wal.Position, error] {
	return func(yield func(wal.Position, error) bool) {
		x.mu.Lock()
		numbers := slices.Sorted(maps.Keys(x.weeks))
		x.mu.Unlock()
		last := wal.Position(0)
		for _, number := range numbers {
			x.mu.Lock()
			w := x.weeks[number]
			x.mu.Unlock()
			if w != nil && !w.positions(key, &last, yield) {
				return
			}
		}
	}
}

func (w *weekDB) positions(key Key, last *wal.Position, yield func(wal.Position, error) bool) bool {
	s, err := w.db.Snapshot()
	if errors.Is(err, kv.ErrClosed) {
		return true // dropped for its age meanwhile
	}
	if err != nil {
		return yield(0, err)
	}
	defer s.Release()
	prefix := appendPostingKey(nil, key)
	for entry, err := range s.Range(prefix, nil) {
		if err != nil {
			return yield(0, err)
		}
		for at := range steps(wal.Position(binary.BigEndian.Uint64(entry.Key[len(prefix):])), entry.Value) {
			// Groups that were written again after a crash overlap.
			if at > *last {
				*last = at
				if !yield(at, nil) {
					return false
				}
			}
		}
	}
	return true
}

// steps gives the positions of a posting list.
func steps(at wal.Position, list []byte) iter.Seq[wal.Position] {
	return func(yield func(wal.Position) bool) {
		for yield(at) {
			step, n := binary.Uvarint(list)
			if n <= 0 {
				return
			}
			at += wal.Position(step)
			list = list[n:]
		}
	}
}

func appendPostingKey(dst []byte, key Key) []byte {
	return binary.BigEndian.AppendUint64(append(dst, postingKey), uint64(key))
}

// dropBefore removes the weeks whose entries all lie before a position.
func (x *index) dropBefore(before wal.Position) error {
	var errs []error
	for _, number := range x.sealedBefore(before) {
		x.mu.Lock()
		w := x.weeks[number]
		delete(x.weeks, number)
		x.mu.Unlock()
		errs = append(errs, w.db.Close(), os.RemoveAll(x.folder(number)))
	}
	return errors.Join(errs...)
}

func (x *index) sealedBefore(before wal.Position) (numbers []int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for number, w := range x.weeks {
		if w.sealed && w.applied.at < before {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

func (x *index) close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var errs []error
	for _, w := range x.weeks {
		errs = append(errs, w.db.Close())
	}
	return errors.Join(errs...)
}
