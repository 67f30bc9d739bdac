package hits

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/wal"
)

// Options says how hits are counted. Zero numbers take the defaults named with
// them.
type Options struct {
	FS      disk.FS
	Dir     string        // of the log; made if its parent is there
	MinFree int64         // see wal.Options
	Every   time.Duration // how often what was counted is written; 10 s
	Keep    int           // indicators that are remembered; 200 000

	Now     func() time.Time      // nil: time.Now
	Logger  *zap.Logger           // nil: none
	Metrics prometheus.Registerer // nil: none
}

func (o Options) withDefaults() (Options, error) {
	switch {
	case o.FS == nil:
		return o, errors.New("hits: Options.FS is missing")
	case o.Dir == "":
		return o, errors.New("hits: Options.Dir is missing")
	case o.Every < 0 || o.Keep < 0:
		return o, errors.New("hits: a negative limit")
	}
	o.Every = cmp.Or(o.Every, 10*time.Second)
	o.Keep = cmp.Or(o.Keep, 200_000)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return o, nil
}

// Message is a message that was hit.
type Message struct {
	Time   time.Time
	ID     string // of its journal entry or item, or its reference if it was refused
	Action intel.Action
}

// recent is how many messages are remembered of an indicator.
const recent = 5

// Tally is what is known of an indicator.
type Tally struct {
	Count  uint64
	First  time.Time
	Last   time.Time
	Recent []Message // the last ones, the newest first
}

// Refused is a message that was refused: nothing else remembers what it hit.
type Refused struct {
	ID     string // the reference that the client was told
	Time   time.Time
	Blocks []Block // eight at most
}

// Block is something that an indicator blocked.
type Block struct {
	Source string
	Kind   string // of the value
	Value  string
}

// Bounds on what is remembered of refused messages.
const (
	maxRefused      = 20_000
	maxRefusedBytes = 32 << 20 // a record of the log has to hold them
	maxBlocks       = 8
)

// key is an indicator of a source.
type key struct {
	source  string
	pattern string // intel.Pattern.AppendKey
}

type counted struct {
	Tally
	dirty bool // not written since it changed
}

// Counter counts. Its methods may be called by many goroutines.
type Counter struct {
	o   Options
	log *wal.Log

	writing sync.Mutex // held by who writes

	mu         sync.Mutex
	since      time.Time
	known      map[key]*counted
	knownBytes int // of them, about, when they were last gone through

	refused      []Refused // the last ones, the newest last
	refusedBytes int       // of them
	fresh        int       // of them, that are not written
}

// Open reads what was counted before. Errors are those of wal.Open.
func Open(o Options) (*Counter, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Counter{o: o, known: map[key]*counted{}}
	if err := c.open(); err != nil {
		return nil, err
	}
	return c, nil
}

// Since is when counting began: what was hit before nobody knows.
func (c *Counter) Since() time.Time { return c.since }

// Count counts a message and what it hit.
func (c *Counter) Count(hits []intel.Hit, m Message) {
	if len(hits) == 0 {
		return
	}
	m.Time = m.Time.UTC().Truncate(time.Second)
	var room [256]byte
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.Action == intel.ActionReject {
		c.refuse(hits, m)
	}
	for i := range hits {
		ind := hits[i].Indicator
		pattern := ind.Pattern.AppendKey(room[:0])
		n := c.known[key{ind.Source, string(pattern)}]
		if n == nil {
			n = &counted{Tally: Tally{First: m.Time}}
			c.known[key{ind.Source, string(pattern)}] = n
		}
		if len(n.Recent) > 0 && n.Recent[0].ID == m.ID {
			continue // it hit before, in another place of the same message
		}
		n.Count++
		n.Last, n.dirty = m.Time, true
		if len(n.Recent) < recent {
			n.Recent = append(n.Recent, Message{})
		}
		copy(n.Recent[1:], n.Recent)
		n.Recent[0] = m
	}
}

// refuse remembers a message that was refused.
func (c *Counter) refuse(hits []intel.Hit, m Message) {
	r := Refused{ID: m.ID, Time: m.Time}
	for i := range hits {
		h := &hits[i]
		if h.Indicator.Disposition != intel.Block || h.Observable.Value.IsZero() || len(r.Blocks) == maxBlocks {
			continue
		}
		r.Blocks = append(r.Blocks, Block{h.Indicator.Source, h.Observable.Value.Kind().String(), h.Observable.Value.String()})
	}
	c.keep(r)
	c.fresh++
}

// keep adds a refused message and forgets the oldest.
func (c *Counter) keep(r Refused) {
	c.refused = append(c.refused, r)
	c.refusedBytes += r.bytes()
	if len(c.refused) <= maxRefused+maxRefused/10 && c.refusedBytes <= maxRefusedBytes+maxRefusedBytes/10 {
		return // seldom more, since it moves all of them
	}
	first := 0
	for len(c.refused)-first > maxRefused || c.refusedBytes > maxRefusedBytes {
		c.refusedBytes -= c.refused[first].bytes()
		first++
	}
	c.refused = slices.Clone(c.refused[first:])
}

// bytes is about what a refused message takes.
func (r *Refused) bytes() int {
	n := 64
	for _, b := range r.Blocks {
		n += 64 + len(b.Source) + len(b.Value)
	}
	return n
}

// RefusedAs gives what blocked a message that was refused with this reference, as
// long as it is among the last 20 000 of them; among fewer where those were full of
// long links.
func (c *Counter) RefusedAs(id string) (Refused, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range slices.Backward(c.refused) {
		if r.ID == id {
			return r, true
		}
	}
	return Refused{}, false
}

// Of gives what is known of an indicator; ok is false where it was never hit, or
// so long ago that it is forgotten.
func (c *Counter) Of(source string, p intel.Pattern) (t Tally, ok bool) {
	var room [256]byte
	pattern := p.AppendKey(room[:0])
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.known[key{source, string(pattern)}]
	if n == nil {
		return Tally{}, false
	}
	t = n.Tally
	t.Recent = slices.Clone(t.Recent)
	return t, true
}

// Run writes what is counted, until the context ends.
func (c *Counter) Run(ctx context.Context) {
	tick := time.NewTicker(c.o.Every)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := c.Flush(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			c.o.Logger.Error("hits that were counted cannot be written; it is tried again, and what is not written a restart forgets", zap.Error(err))
		}
		failing = err != nil
	}
}

// Close writes what was counted last.
func (c *Counter) Close() error {
	err := c.Flush(context.Background())
	return errors.Join(err, c.log.Close())
}

// forget makes room where there is more than is remembered, by a tenth.
func (c *Counter) forget() {
	if len(c.known) <= c.o.Keep {
		return
	}
	keys := make([]key, 0, len(c.known))
	for k := range c.known {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b key) int { return c.known[a].Last.Compare(c.known[b].Last) })
	for _, k := range keys[:len(keys)-c.o.Keep+c.o.Keep/10] {
		delete(c.known, k)
	}
}
