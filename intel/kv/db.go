package kv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
)

// Errors of this package, besides disk.ErrNoSpace.
var (
	// ErrClosed says that the database is closed.
	ErrClosed = errors.New("database closed")
	// ErrReleased says that a snapshot was released.
	ErrReleased = errors.New("snapshot released")
	// ErrTooLarge says that a key, a value or a batch is beyond its bound.
	ErrTooLarge = errors.New("too large for the database")
	// ErrStuck says that a database could not be closed in time. What its readers
	// need is in the logs, so that nothing is lost when the process ends.
	ErrStuck = errors.New("it does not end, as where its folder is gone or cannot be written to")
	// ErrReserved says that a key is empty or begins with a byte or word that is
	// kept for the database's own use: 0x00, "!badger!".
	ErrReserved = errors.New("reserved key")
)

// DB is an open database. All methods may be called at the same time.
type DB struct {
	o       Options
	guard   disk.Guard
	rebuilt string
	lock    *disk.Lock // nil in memory
	size    prometheus.Collector

	gate   *gate // who uses badger is inside
	badger *badger.DB
}

// Open opens the database in a folder, or makes it. When the folder's content is
// in doubt it is removed first, and Rebuilt says why. Errors satisfy
// disk.ErrNoSpace or come from the file system; a *disk.LockedError says that
// another process has the database open.
func Open(o Options) (*DB, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	db := &DB{o: o, gate: newGate()}
	if !o.InMemory {
		db.guard = disk.Guard{FS: o.FS, Path: o.Dir, MinFree: o.MinFree}
	}
	if err := db.open(); err != nil {
		return nil, fmt.Errorf("open database %s: %w", o.Name, err)
	}
	if err := db.register(); err != nil {
		_ = db.Close()
		return nil, err
	}
	return db, nil
}

func (db *DB) open() error {
	if db.o.InMemory {
		db.rebuilt = "it is in memory"
		return db.openBadger()
	}
	if err := disk.MakeFolder(db.o.FS, db.o.Dir, 0o700, siteFolder); err != nil {
		return err
	}
	if err := db.guard.Check(0); err != nil {
		return err
	}
	if err := os.MkdirAll(db.data(), 0o700); err != nil {
		return err
	}
	var err error
	if db.lock, err = disk.AcquireLock(filepath.Join(db.o.Dir, lockName)); err != nil {
		return err
	}
	if err := db.openData(); err != nil {
		_ = db.lock.Release()
		return err
	}
	return nil
}

// openData opens what the folder holds, or empties it first.
func (db *DB) openData() error {
	var err error
	if db.rebuilt, err = db.doubt(); err != nil {
		return err
	}
	if db.rebuilt == "" {
		if err := db.mark(stateOpen); err != nil {
			return err
		}
		err := db.openBadger()
		if err == nil {
			return nil
		}
		db.rebuilt = "its files are damaged: " + err.Error()
	}
	if err := db.empty(); err != nil {
		return err
	}
	return db.openBadger()
}

// data is the folder that is Badger's.
func (db *DB) data() string { return filepath.Join(db.o.Dir, dataName) }

// empty removes all that Badger wrote. The marker says so before, so that what an
// interruption leaves is not taken for a database.
func (db *DB) empty() error {
	level := zap.WarnLevel
	if db.rebuilt == isNew {
		level = zap.DebugLevel
	}
	db.o.Logger.Log(level, "a database is built anew", zap.String("db", db.o.Name), zap.String("why", db.rebuilt))
	if err := db.mark(stateEmpty); err != nil {
		return err
	}
	if err := os.RemoveAll(db.data()); err != nil {
		return err
	}
	if err := os.Mkdir(db.data(), 0o700); err != nil {
		return err
	}
	return db.mark(stateOpen)
}

func (db *DB) openBadger() (err error) {
	// Badger panics on some files that are not what they should be.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	db.badger, err = badger.Open(badgerOptions(db.data(), db.o))
	return err
}

// Rebuilt says why the database was empty when it was opened, as the end of a
// sentence; "" if it was not emptied.
func (db *DB) Rebuilt() string { return db.rebuilt }

// Close closes the database and makes all of it durable. It waits for reads and
// writes that are under way, loops over Snapshot.Range included; later ones give
// ErrClosed. After ten seconds it gives up and returns an error that satisfies
// ErrStuck: the lock then stays until the process ends, since Badger still
// writes. Closing again does nothing.
func (db *DB) Close() error {
	if !db.gate.shut() {
		return nil
	}
	if db.size != nil {
		db.o.Metrics.Unregister(db.size)
	}
	closed := make(chan error, 1)
	go func() {
		<-db.gate.drained
		closed <- db.badger.Close()
	}()
	timer := time.NewTimer(db.o.closeWithin)
	defer timer.Stop()
	var err error
	select {
	case err = <-closed:
	case <-timer.C:
		return fmt.Errorf("close database %s: %w after %s", db.o.Name, ErrStuck, db.o.closeWithin)
	}
	if err == nil && !db.o.InMemory {
		if err = syncAll(db.data()); err == nil {
			err = db.mark(stateClosed)
		}
	}
	if db.lock != nil {
		err = errors.Join(err, db.lock.Release())
	}
	if err != nil {
		return fmt.Errorf("close database %s: %w", db.o.Name, err)
	}
	return nil
}

// syncAll makes a folder of files durable.
func syncAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = f.Sync()
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		return err
	})
}

func (db *DB) register() error {
	if db.o.Metrics == nil {
		return nil
	}
	db.size = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weir_db_bytes", Help: "Size of a database's tables.", ConstLabels: prometheus.Labels{"db": db.o.Name},
	}, func() float64 { return float64(db.Size()) })
	if err := db.o.Metrics.Register(db.size); err != nil {
		db.size = nil
		return fmt.Errorf("kv: metrics of database %s: %w", db.o.Name, err)
	}
	return nil
}

// Size gives the bytes in the database's tables. What was written last, up to 32
// MiB of it, is not counted yet.
func (db *DB) Size() int64 {
	var total int64
	if db.gate.enter() {
		defer db.gate.leave()
		for _, level := range db.badger.Levels() {
			total += level.Size
		}
	}
	return total
}

// Commit writes a batch: after a crash of the process all of it is there or none.
// It is not durable when Commit returns; what a power cut takes, Open notices.
// Errors satisfy ErrTooLarge, ErrReserved, disk.ErrNoSpace or ErrClosed.
func (db *DB) Commit(b *Batch) error {
	if err := db.commit(b); err != nil {
		return fmt.Errorf("write to database %s: %w", db.o.Name, err)
	}
	return nil
}

func (db *DB) commit(b *Batch) error {
	if b.err != nil {
		return b.err
	}
	if err := db.guard.Check(int64(b.bytes)); err != nil {
		return err
	}
	if !db.gate.enter() {
		return ErrClosed
	}
	defer db.gate.leave()
	txn := db.badger.NewTransaction(true)
	defer txn.Discard()
	for _, op := range b.ops {
		key := b.arena[op.start:op.key]
		var err error
		if op.remove {
			err = txn.Delete(key)
		} else {
			err = txn.Set(key, b.arena[op.key:op.end])
		}
		if errors.Is(err, badger.ErrTxnTooBig) {
			return fmt.Errorf("%w: a batch of %d entries and %d bytes", ErrTooLarge, len(b.ops), b.bytes)
		}
		if err != nil {
			return err
		}
	}
	return txn.Commit()
}

// DeletePrefix removes every key that begins with prefix, in batches. It serves
// a view that is built again and shares its database with others.
func (db *DB) DeletePrefix(ctx context.Context, prefix []byte) error {
	snap, err := db.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Release()
	w := db.NewWriter(ctx, 0)
	for e, err := range snap.Range(prefix, nil) {
		if err != nil {
			return err
		}
		if err := w.Delete(e.Key); err != nil {
			return err
		}
	}
	return w.Flush()
}
