package hits

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/wal"
)

const siteFolder disk.Site = "hits.folder" // the log's folder in its parent

// record is one record of the log. It says how things stand, not what changed: of
// several about the same indicator the last one holds, and the log can be written
// anew at any time.
type record struct {
	Since int64   `cbor:"0,keyasint,omitempty"` // only in the first
	Hits  []entry `cbor:"1,keyasint,omitempty"`
	// Refused messages, each of which stands in one record, and again where the log is
	// written anew.
	Refused []refused `cbor:"2,keyasint,omitempty"`
	Anew    bool      `cbor:"3,keyasint,omitempty"` // the messages of this record are all there were
}

type refused struct {
	_      struct{} `cbor:",toarray"`
	ID     string
	Time   int64
	Blocks [][3]string // source, kind, value
}

type entry struct {
	_       struct{} `cbor:",toarray"`
	Source  string
	Pattern []byte
	Count   uint64
	First   int64
	Last    int64
	Recent  []message
}

type message struct {
	_      struct{} `cbor:",toarray"`
	Time   int64
	ID     string
	Action intel.Action
}

// Bounds on the log.
const (
	segmentBytes = 1 << 20
	perRecord    = 1000 // indicators in a record
	each         = 200  // bytes of an indicator besides its pattern, about
	maxBloat     = 8    // the log may be so many times as long as what it says, and a few segments
)

// open reads the log, and begins one that is new.
func (c *Counter) open() error {
	if err := disk.MakeFolder(c.o.FS, c.o.Dir, 0o700, siteFolder); err != nil {
		return fmt.Errorf("open hits: %w", err)
	}
	var err error
	c.log, err = wal.Open(wal.Options{FS: c.o.FS, Dir: c.o.Dir, Name: "hits", MinFree: c.o.MinFree, SegmentBytes: segmentBytes, Logger: c.o.Logger, Metrics: c.o.Metrics})
	if err != nil {
		return fmt.Errorf("open hits: %w", err)
	}
	if err := c.read(); err != nil {
		return fmt.Errorf("open hits: %w", errors.Join(err, c.log.Close()))
	}
	if c.since.IsZero() {
		c.since = c.o.Now().UTC().Truncate(time.Second)
		if err := c.append(context.Background(), record{Since: c.since.Unix()}); err != nil {
			return fmt.Errorf("open hits: %w", errors.Join(err, c.log.Close()))
		}
	}
	return nil
}

func (c *Counter) read() error {
	for r, err := range c.log.Read(0) {
		if err != nil {
			return err
		}
		var rec record
		if err := cbor.Unmarshal(r.Payload, &rec); err != nil {
			return fmt.Errorf("the record at %d: %w", r.Position, err)
		}
		if rec.Since != 0 {
			c.since = time.Unix(rec.Since, 0).UTC()
		}
		if rec.Anew {
			c.refused, c.refusedBytes = nil, 0
		}
		for _, m := range rec.Refused {
			r := Refused{ID: m.ID, Time: time.Unix(m.Time, 0).UTC()}
			for _, b := range m.Blocks[:min(maxBlocks, len(m.Blocks))] {
				r.Blocks = append(r.Blocks, Block{b[0], b[1], b[2]})
			}
			c.keep(r)
		}
		for i := range rec.Hits {
			e := &rec.Hits[i]
			n := &counted{Tally: Tally{Count: e.Count, First: time.Unix(e.First, 0).UTC(), Last: time.Unix(e.Last, 0).UTC()}}
			for _, m := range e.Recent[:min(recent, len(e.Recent))] {
				n.Recent = append(n.Recent, Message{time.Unix(m.Time, 0).UTC(), m.ID, m.Action})
			}
			c.known[key{e.Source, string(e.Pattern)}] = n
		}
		c.forget()
	}
	return nil
}

// Flush writes what was counted since it was last called. Errors are those of
// wal.Log.Append; what could not be written is written the next time.
func (c *Counter) Flush(ctx context.Context) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.flush(ctx, func(n *counted) bool { return n.dirty }); err != nil {
		return err
	}
	c.mu.Lock()
	fresh := c.fresh // of which some are forgotten already, where they could not be written for long
	recent := slices.Clone(c.refused[len(c.refused)-min(fresh, len(c.refused)):])
	c.mu.Unlock()
	if err := c.flushRefused(ctx, recent); err != nil {
		return err
	}
	c.mu.Lock()
	c.fresh -= fresh
	c.mu.Unlock()
	return c.shorten(ctx)
}

// flush writes those that are wanted, a record at a time, so that nobody who
// counts waits for long.
func (c *Counter) flush(ctx context.Context, wanted func(*counted) bool) error {
	c.mu.Lock()
	c.forget()
	var keys []key
	c.knownBytes = 0
	for k, n := range c.known {
		c.knownBytes += each + len(k.pattern)
		if wanted(n) {
			keys = append(keys, k)
		}
	}
	c.mu.Unlock()
	for part := range slices.Chunk(keys, perRecord) {
		rec := c.take(part)
		if err := c.append(ctx, rec); err != nil {
			c.taint(part)
			return err
		}
	}
	return nil
}

// flushRefused writes messages that were refused.
func (c *Counter) flushRefused(ctx context.Context, all []Refused) error {
	for part := range slices.Chunk(all, perRecord) {
		if err := c.append(ctx, record{Refused: refusedIn(part)}); err != nil {
			return err
		}
	}
	return nil
}

func refusedIn(all []Refused) (written []refused) {
	for i := range all {
		m := refused{ID: all[i].ID, Time: all[i].Time.Unix()}
		for _, b := range all[i].Blocks {
			m.Blocks = append(m.Blocks, [3]string{b.Source, b.Kind, b.Value})
		}
		written = append(written, m)
	}
	return written
}

// take gives how things stand with some.
func (c *Counter) take(keys []key) record {
	c.mu.Lock()
	defer c.mu.Unlock()
	var rec record
	for _, k := range keys {
		n := c.known[k]
		if n == nil {
			continue
		}
		n.dirty = false
		e := entry{Source: k.source, Pattern: []byte(k.pattern), Count: n.Count, First: n.First.Unix(), Last: n.Last.Unix()}
		for _, m := range n.Recent {
			e.Recent = append(e.Recent, message{Time: m.Time.Unix(), ID: m.ID, Action: m.Action})
		}
		rec.Hits = append(rec.Hits, e)
	}
	return rec
}

// taint says that some could not be written.
func (c *Counter) taint(keys []key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range keys {
		if n := c.known[k]; n != nil {
			n.dirty = true
		}
	}
}

func (c *Counter) append(ctx context.Context, rec record) error {
	payload, err := cbor.Marshal(rec)
	if err != nil {
		return err
	}
	_, err = c.log.Append(ctx, payload)
	return err
}

// shorten writes the log anew where most of it says what is no longer so. What is
// dropped was said again before.
func (c *Counter) shorten(ctx context.Context) error {
	c.mu.Lock()
	most := int64(4*segmentBytes + maxBloat*(c.knownBytes+c.refusedBytes))
	rejected := slices.Clone(c.refused[:len(c.refused)-min(c.fresh, len(c.refused))]) // the others are still to come
	c.mu.Unlock()
	segments := c.log.Segments()
	if int64(c.log.Last())-int64(segments[0].Base) < most {
		return nil
	}
	if err := c.log.Roll(ctx); err != nil {
		return err
	}
	first, err := cbor.Marshal(record{Since: c.since.Unix(), Anew: true, Refused: refusedIn(rejected)})
	if err != nil {
		return err
	}
	at, err := c.log.Append(ctx, first)
	if err != nil {
		return err
	}
	if err := c.flush(ctx, func(*counted) bool { return true }); err != nil {
		return err
	}
	return c.log.Drop(at)
}
