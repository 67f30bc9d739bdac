package kv

import (
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// Snapshot is the database as it was at one moment. All methods may be called at
// the same time, Release included. A snapshot that is held keeps Badger from
// dropping what was overwritten since: renew it after writing much.
type Snapshot struct {
	db    *DB
	txn   *badger.Txn
	users atomic.Int64 // those who read, and one until it is released
	done  atomic.Bool
}

// Snapshot gives the database as it is now. It waits for commits that are on
// their way. The error is ErrClosed.
func (db *DB) Snapshot() (*Snapshot, error) {
	if !db.gate.enter() {
		return nil, db.readError(ErrClosed)
	}
	defer db.gate.leave()
	s := &Snapshot{db: db, txn: db.badger.NewTransaction(false)}
	s.users.Store(1)
	return s, nil
}

// enter keeps the snapshot and the database alive until leave.
func (s *Snapshot) enter() error {
	if !s.db.gate.enter() {
		return s.db.readError(ErrClosed)
	}
	for {
		n := s.users.Load()
		if n == 0 {
			s.db.gate.leave()
			return ErrReleased
		}
		if s.users.CompareAndSwap(n, n+1) {
			return nil
		}
	}
}

func (s *Snapshot) leave() {
	s.drop()
	s.db.gate.leave()
}

// drop takes one user away; the last one ends the transaction.
func (s *Snapshot) drop() {
	if s.users.Add(-1) == 0 {
		s.txn.Discard()
	}
}

// Release gives the snapshot up. Reads that are under way still finish; later
// ones give ErrReleased. Releasing again, or after the database was closed, does
// nothing.
func (s *Snapshot) Release() {
	if s.done.CompareAndSwap(false, true) && s.db.gate.enter() {
		s.drop()
		s.db.gate.leave()
	}
}

// Get appends the value of a key to dst, which may be nil, and reports whether
// the key is there.
func (s *Snapshot) Get(key, dst []byte) (value []byte, ok bool, err error) {
	if err := s.enter(); err != nil {
		return dst, false, err
	}
	defer s.leave()
	item, err := s.txn.Get(key)
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		return dst, false, nil
	case err == nil:
		err = item.Value(func(v []byte) error {
			dst = append(dst, v...)
			return nil
		})
	}
	if err != nil {
		return dst, false, s.db.readError(err)
	}
	return dst, true, nil
}

// Applied gives the cursor that the reader of this name stored last, nil if there
// is none: then it has to begin anew.
func (s *Snapshot) Applied(reader string) ([]byte, error) {
	cursor, _, err := s.Get(appliedKey(reader), nil)
	return cursor, err
}

// Entry is a key and its value.
type Entry struct{ Key, Value []byte }

// Range gives the entries whose keys begin with prefix, in order, from the key
// from on; all of them if from is nil. An empty prefix gives the whole database
// but for what this package keeps in it. Key and Value are valid until the loop
// goes on, which it does not after an error.
func (s *Snapshot) Range(prefix, from []byte) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := s.enter(); err != nil {
			yield(Entry{}, err)
			return
		}
		defer s.leave()
		if len(prefix) == 0 && len(from) == 0 {
			from = []byte{metaPrefix + 1}
		}
		it := s.txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
		defer it.Close()
		if len(from) == 0 {
			from = prefix
		}
		for it.Seek(from); it.Valid(); it.Next() {
			item, again := it.Item(), true
			err := item.Value(func(v []byte) error {
				again = yield(Entry{item.Key(), v}, nil)
				return nil
			})
			if err != nil {
				yield(Entry{}, s.db.readError(err))
				return
			}
			if !again {
				return
			}
		}
	}
}

func (db *DB) readError(err error) error {
	if errors.Is(err, badger.ErrDBClosed) {
		err = ErrClosed
	}
	return fmt.Errorf("read database %s: %w", db.o.Name, err)
}
