package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/kv"
)

// entry is where an entity stands, or what became of a command.
type entry struct {
	entity  string
	version uint64 // of the entity's last event, or of the command's
	cursor  Cursor // of the record
}

// change is what the index has to take over from one record.
type change struct {
	entry
	command string
	erases  bool
}

func changeOf(r *record) change {
	return change{entry{r.Entity, r.last(), r.cursor()}, r.Command, r.Kinds[0].Type == TypeErased}
}

// index knows the last record of every entity and the record of every command.
// It is exact: what the database does not hold yet is in memory. It writes the
// database in the background, as much at a time as has gathered.
type index struct {
	db     *kv.DB
	prefix string
	log    *zap.Logger
	wake   chan struct{}

	flushing sync.Mutex // held while the database is written; before mu
	batch    kv.Batch   // of what is written, empty between; under flushing

	mu       sync.Mutex
	snapshot *kv.Snapshot
	entities map[string]entry // not in the snapshot
	commands map[string]entry // not in the snapshot
	waiting  []change         // to be written to the database, in order
	written  Cursor           // the last record that the snapshot knows
	err      error            // why writing fails at the moment
}

// gatherFor is how long records gather before they are written to the database.
// Nobody waits for that: memory knows them.
const gatherFor = 50 * time.Millisecond

// maxWaiting bounds the records that the database does not hold yet. It is only
// reached when the database cannot be written for long.
const maxWaiting = 100_000

func newIndex(db *kv.DB, prefix string, log *zap.Logger) (*index, error) {
	x := &index{
		db: db, prefix: prefix, log: log, wake: make(chan struct{}, 1),
		entities: map[string]entry{}, commands: map[string]entry{},
	}
	return x, x.renew()
}

// renew takes a new snapshot and reads how far it goes.
func (x *index) renew() error {
	s, err := x.db.Snapshot()
	if err != nil {
		return err
	}
	applied, err := s.Applied(x.prefix)
	if err != nil {
		s.Release()
		return err
	}
	cursor, err := CursorFromBytes(applied)
	if err != nil {
		cursor = Cursor{} // begin anew
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.snapshot != nil {
		x.snapshot.Release()
	}
	x.snapshot, x.written = s, cursor
	return nil
}

func (x *index) key(kind byte, name string) []byte {
	k := make([]byte, 0, len(x.prefix)+1+len(name))
	return append(append(append(k, x.prefix...), kind), name...)
}

// Kinds of keys.
const (
	keyEntity  = 'e'
	keyCommand = 'c'
	keyErased  = 'x' // an entity whose records have to be wiped: the record that says so
	keyWiped   = 'y' // the same, once they are
)

func (e entry) encode() []byte {
	b := append(make([]byte, 0, cursorSize+8+len(e.entity)), e.cursor.Bytes()...)
	return append(binary.BigEndian.AppendUint64(b, e.version), e.entity...)
}

func decodeEntry(b []byte) (entry, error) {
	if len(b) < cursorSize+8 {
		return entry{}, fmt.Errorf("ledger index: a value of %d bytes", len(b))
	}
	c, err := CursorFromBytes(b[:cursorSize])
	return entry{string(b[cursorSize+8:]), binary.BigEndian.Uint64(b[cursorSize:]), c}, err
}

// entity finds an entity's last record.
func (x *index) entity(name string) (entry, bool, error) {
	return x.find(x.entities, keyEntity, name)
}

// command finds the record that a command made.
func (x *index) command(id string) (entry, bool, error) {
	return x.find(x.commands, keyCommand, id)
}

func (x *index) find(fresh map[string]entry, kind byte, name string) (entry, bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if e, ok := fresh[name]; ok {
		return e, true, nil
	}
	value, ok, err := x.snapshot.Get(x.key(kind, name), nil)
	if err != nil || !ok {
		return entry{}, false, err
	}
	e, err := decodeEntry(value)
	return e, err == nil, err
}

// admit gives an error when too much waits for the database.
func (x *index) admit() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.waiting) < maxWaiting {
		return nil
	}
	return errors.Join(fmt.Errorf("%w by %d records", ErrBehind, len(x.waiting)), x.err)
}

// add takes over from records that are durable.
func (x *index) add(changes []change) {
	x.mu.Lock()
	for _, c := range changes {
		x.entities[c.entity], x.commands[c.command] = c.entry, c.entry
	}
	x.waiting = append(x.waiting, changes...)
	x.mu.Unlock()
	x.poke()
}

// run writes the database until the context ends, and what is left then. While
// writing fails it tries again, ever more seldom: the database may be out of space
// for some time.
func (x *index) run(ctx context.Context) {
	const longest = 10 * time.Second
	wait := gatherFor
	for {
		select {
		case <-x.wake:
		case <-ctx.Done():
			if err := x.flush(); err != nil {
				x.log.Warn("the ledger's index is not complete; it will be when the ledger is opened again", zap.Error(err))
			}
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		err := x.flush()
		x.setError(err)
		if err == nil {
			wait = gatherFor
			continue
		}
		wait = min(2*wait, longest)
		x.poke()
	}
}

// poke makes run look again.
func (x *index) poke() {
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// setError keeps the state of writing, and logs when it changes.
func (x *index) setError(err error) {
	x.mu.Lock()
	before := x.err
	x.err = err
	x.mu.Unlock()
	if err != nil && (before == nil || errors.Is(err, disk.ErrNoSpace) != errors.Is(before, disk.ErrNoSpace)) {
		x.log.Error("writing the ledger's index fails; it is kept in memory meanwhile", zap.Error(err))
	}
	if err == nil && before != nil {
		x.log.Info("the ledger's index is written again")
	}
}

// flush writes what waits, in batches, and then looks up by a new snapshot.
func (x *index) flush() error {
	x.flushing.Lock()
	defer x.flushing.Unlock()
	x.mu.Lock()
	waiting := x.waiting
	x.mu.Unlock()
	if len(waiting) == 0 {
		return nil
	}
	if err := x.write(waiting); err != nil {
		return err
	}
	if err := x.renew(); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.waiting = slices.Clone(x.waiting[len(waiting):])
	for _, c := range waiting {
		if x.entities[c.entity] == c.entry { // else there is a later one
			delete(x.entities, c.entity)
		}
		delete(x.commands, c.command)
	}
	return nil
}

// write puts changes into the database. Doing so again changes nothing.
func (x *index) write(changes []change) error {
	b := &x.batch
	defer b.Reset()
	for i, c := range changes {
		value := c.encode()
		b.Set(x.key(keyEntity, c.entity), value)
		b.Set(x.key(keyCommand, c.command), value)
		if c.erases {
			b.Set(x.key(keyErased, c.entity), value)
		}
		const most = 4 * (3*MaxWord + 256) // of one change and the cursor, generously
		if i == len(changes)-1 || !b.Room(4, most) {
			b.SetApplied(x.prefix, c.cursor.Bytes())
			if err := x.db.Commit(b); err != nil {
				return err
			}
			b.Reset()
		}
	}
	return nil
}

// rebuild empties the index.
func (x *index) rebuild(ctx context.Context) error {
	if err := x.db.DeletePrefix(ctx, []byte(x.prefix)); err != nil {
		return err
	}
	var b kv.Batch
	b.SetApplied(x.prefix, nil)
	if err := x.db.Commit(&b); err != nil {
		return err
	}
	return x.renew()
}

// erased lists the entities whose records have to be wiped and are not yet, with
// the record that says so.
func (x *index) erased() ([]entry, error) {
	s, err := x.db.Snapshot()
	if err != nil {
		return nil, err
	}
	defer s.Release()
	var list []entry
	for found, err := range s.Range(x.key(keyErased, ""), nil) {
		if err != nil {
			return nil, err
		}
		e, err := decodeEntry(found.Value)
		if err != nil {
			return nil, err
		}
		done, _, err := s.Get(x.key(keyWiped, e.entity), nil)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(done, found.Value) {
			list = append(list, e)
		}
	}
	return list, nil
}

// setWiped notes that entities' records were wiped.
func (x *index) setWiped(list []entry) error {
	w := x.db.NewWriter(context.Background(), 0)
	for _, e := range list {
		if err := w.Set(x.key(keyWiped, e.entity), e.encode()); err != nil {
			return err
		}
	}
	return w.Flush()
}

func (x *index) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.snapshot.Release()
}
