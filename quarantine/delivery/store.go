package delivery

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/wal"
	"github.com/weirmail/weir/quarantine/delivery/logline"
)

const (
	siteFolder disk.Site = "delivery.folder" // the folder of log and index in its parent

	indexSchema   = 1
	readerApplied = "applied"
	segmentBytes  = 16 << 20
	rollAfter     = 7 * 24 * time.Hour // so that what is too old goes, however little there is
)

// store is the log of records, which is the truth, and an index over it.
type store struct {
	log    *wal.Log
	db     *kv.DB
	codec  *codec
	logger *zap.Logger
	clock  func() time.Time

	mu      sync.Mutex // held by whoever appends, indexes or drops
	applied wal.Position
	places  map[string][]byte // by source: behind what was recorded last
}

func openStore(o *Options) (_ *store, err error) {
	s := &store{logger: o.Logger, clock: o.Clock, places: map[string][]byte{}}
	if s.codec, err = newCodec(); err != nil {
		return nil, err
	}
	if err := disk.MakeFolder(o.FS, o.Dir, 0o700, siteFolder); err != nil {
		return nil, fmt.Errorf("open deliveries: %w", err)
	}
	size := o.segmentBytes
	if size == 0 {
		size = segmentBytes
	}
	s.log, err = wal.Open(wal.Options{FS: o.FS, Dir: filepath.Join(o.Dir, "log"), Name: "delivery", SegmentBytes: size, MinFree: o.MinFree,
		Logger: o.Logger, Metrics: o.Metrics})
	if err != nil {
		return nil, err
	}
	s.db, err = kv.Open(kv.Options{FS: o.FS, Dir: filepath.Join(o.Dir, "index"), Name: "delivery", Schema: indexSchema, BootID: o.BootID,
		MinFree: o.IndexMinFree, InMemory: o.IndexInMemory, Logger: o.Logger, Metrics: o.Metrics})
	if err != nil {
		return nil, errors.Join(err, s.log.Close())
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *store) close() error { return errors.Join(s.log.Close(), s.db.Close()) }

// load finds how far the index has come, and empties it when it belongs to
// another log.
func (s *store) load() error {
	v, err := s.view()
	if err != nil {
		return err
	}
	defer v.release()
	mark, err := v.snapshot.Applied(readerApplied)
	if err != nil || len(mark) != 16 {
		return err
	}
	at, check := wal.Position(binary.BigEndian.Uint64(mark)), binary.BigEndian.Uint64(mark[8:])
	r, err := s.log.Get(at)
	if errors.Is(err, wal.ErrDropped) || err == nil && r.Check == check {
		s.applied = at
		for e, err := range v.snapshot.Range([]byte{keyPlace}, nil) {
			if err != nil {
				return err
			}
			s.places[string(e.Key[1:])] = append([]byte(nil), e.Value...)
		}
		return nil
	}
	s.logger.Warn("the index of deliveries belongs to another log and is made anew")
	return s.db.DeletePrefix(context.Background(), nil)
}

// append makes a record durable; then the index has it too, or will have it when
// there is room again. Errors are those of wal.Log.Append.
func (s *store) append(ctx context.Context, source string, after []byte, events []logline.Event) error {
	payload, err := s.codec.enc.Marshal(&record{Version: recordVersion, At: s.clock().Unix(), Source: source, After: after, Events: events})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.log.Append(ctx, payload); err != nil {
		return err
	}
	s.places[source] = after
	if err := s.index(ctx); err != nil {
		if !errors.Is(err, disk.ErrNoSpace) {
			return err
		}
		s.logger.Warn("the index of deliveries waits for disk space; what was read is safe", zap.Error(err))
	}
	return nil
}

// place gives where a source was read to.
func (s *store) place(source string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.places[source]
}

// catchUp indexes what the log holds beyond the index: all of it when the index
// was emptied.
func (s *store) catchUp(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.index(ctx)
}

// index takes the log's records into the index. The caller holds mu.
func (s *store) index(ctx context.Context) error {
	after := s.applied
	if segments := s.log.Segments(); len(segments) > 0 && after < segments[0].Base {
		after = 0 // what lay between was dropped
	}
	var b kv.Batch
	for raw, err := range s.log.Read(after) {
		if err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		r, err := s.codec.decode(raw.Payload)
		if err != nil {
			s.logger.Error("a record of deliveries cannot be indexed", zap.Uint64("position", uint64(raw.Position)), zap.Error(err))
			r = &record{}
		}
		err = s.entries(r, raw.Position, func(key, value []byte) error {
			if !b.Room(3, len(key)+len(value)+1024) {
				if err := s.db.Commit(&b); err != nil {
					return err
				}
				b.Reset()
			}
			b.Set(key, value)
			return nil
		})
		if err != nil {
			return err
		}
		if r.Source != "" {
			b.Set(append([]byte{keyPlace}, r.Source...), r.After)
		}
		b.SetApplied(readerApplied, binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(raw.Position)), raw.Check))
		// In one with the mark, so that the index is never ahead of it by half a record.
		if err := s.db.Commit(&b); err != nil {
			return err
		}
		b.Reset()
		s.applied = raw.Position
		if r.Source != "" {
			s.places[r.Source] = r.After
		}
	}
	return nil
}

// prune drops the segments whose records are all older than keep, and their keys.
func (s *store) prune(ctx context.Context, keep time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	segments := s.log.Segments()
	if len(segments) == 0 {
		return nil
	}
	now := s.clock()
	if at, ok := s.began(segments[len(segments)-1]); ok && (at.After(now) || now.Sub(at) > min(rollAfter, keep/4)) {
		if err := s.log.Roll(ctx); err != nil {
			return err
		}
	}
	n := 0
	for i := 1; i < len(segments); i++ {
		at, ok := s.began(segments[i])
		if !ok || at.After(now) {
			continue // the clock was ahead: what comes behind it tells
		}
		if now.Sub(at) <= keep {
			break
		}
		n = i
	}
	if n == 0 {
		return nil
	}
	before := segments[n].Base
	if err := s.forget(ctx, before); err != nil {
		return err
	}
	s.logger.Info("old deliveries dropped", zap.Int("segments", n))
	return s.log.Drop(before)
}

// began gives the time of a segment's first record.
func (s *store) began(segment wal.Segment) (time.Time, bool) {
	raw, err := s.log.Get(segment.First())
	if err != nil {
		return time.Time{}, false
	}
	r, err := s.codec.decode(raw.Payload)
	if err != nil {
		return time.Time{}, false
	}
	return time.Unix(r.At, 0), true
}

// forget takes the records before a position out of the index.
func (s *store) forget(ctx context.Context, before wal.Position) error {
	w := s.db.NewWriter(ctx, 0)
	for raw, err := range s.log.Read(0) {
		if err != nil {
			return err
		}
		if raw.Position >= before {
			break
		}
		r, err := s.codec.decode(raw.Payload)
		if err != nil {
			continue // it was not indexed
		}
		if err := s.entries(r, raw.Position, func(key, _ []byte) error { return w.Delete(key) }); err != nil {
			return err
		}
	}
	return w.Flush()
}
