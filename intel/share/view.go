package share

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
)

// Testimony is what an event of the ledger says of indicators that a case rests on.
type Testimony struct {
	Case     string   // an incident's ID
	Patterns []string // names of patterns that it rests on, besides those of before
	ByPerson bool     // a person named them: they need not stand in a list
	Says     Says
	Time     time.Time
}

// Says is what an event says of a case as a whole.
type Says int

// What it can say. A person's word counts for more than policy's.
const (
	Nothing Says = iota
	Confirms
	ConfirmsForSure // a person says so
	Doubts          // a person says that it was nothing bad
)

// View knows the cases and what is published. It is a ledger.View over a database
// that it shares: its keys begin with its prefix.
//
//	share/c | case                      → claim
//	share/p | case | digest of its name → basis
//	share/o | ID of the object          → object
//	share/t | stamp, 8 bytes            → ID of the object
//	share/n                             → the last stamp
type View struct {
	db      *kv.DB
	testify func(*ledger.Event) (t Testimony, ok bool, err error)
	changed chan struct{} // has something in it when something was applied
}

const (
	viewName   = "share"
	viewPrefix = "share/"
	keyCase    = viewPrefix + "c"
	keyBasis   = viewPrefix + "p"
	keyObject  = viewPrefix + "o"
	keyStamp   = viewPrefix + "t"
	keyLast    = viewPrefix + "n"
)

// claim is how a case stands.
type claim struct {
	Says Says      `json:"says"`
	Time time.Time `json:"time"` // of the last event that confirmed it
}

// basis is a pattern that a case rests on.
type basis struct {
	Pattern  string `json:"pattern"`
	ByPerson bool   `json:"by_person,omitempty"`
}

// object is what is published, or was: the last version of it.
type object struct {
	ID         string    `json:"id"`
	Version    uint64    `json:"version"` // of its entity
	Pattern    string    `json:"pattern"`
	TLP        string    `json:"tlp"`
	Confidence int       `json:"confidence,omitempty"`
	Until      time.Time `json:"until,omitzero"`
	Revoked    bool      `json:"revoked,omitempty"`
	Created    int64     `json:"created"` // when its first version was added, as a stamp has it
	Added      int64     `json:"added"`   // stamp of this one
	Grounds    []string  `json:"grounds,omitempty"`
}

// live reports whether peers are told to count it.
func (o *object) live(now time.Time) bool {
	return !o.Revoked && (o.Until.IsZero() || now.Before(o.Until))
}

// Stamps are the times at which versions were added, in microseconds, each one later
// than all before it: they are the order in which peers read.
func timeOf(stamp int64) time.Time { return time.UnixMicro(stamp).UTC() }

var _ ledger.View = (*View)(nil)

// NewView makes a view over a database. testify tells what an event says of a case; ok
// is false where it says nothing.
func NewView(db *kv.DB, testify func(*ledger.Event) (t Testimony, ok bool, err error)) *View {
	return &View{db: db, testify: testify, changed: make(chan struct{}, 1)}
}

// Name implements ledger.View.
func (v *View) Name() string { return viewName }

// Applied implements ledger.View.
func (v *View) Applied() (ledger.Cursor, error) { return ledger.AppliedIn(v.db, viewName) }

// Rebuild implements ledger.View.
func (v *View) Rebuild(ctx context.Context) error {
	return ledger.ForgetIn(ctx, v.db, viewName, viewPrefix)
}

// Apply implements ledger.View.
func (v *View) Apply(_ context.Context, events []ledger.Event, upTo ledger.Cursor) error {
	s, err := v.db.Snapshot()
	if err != nil {
		return err
	}
	defer s.Release()
	a := &applying{db: v.db, s: s, claims: map[string]*claim{}, objects: map[string]*object{}}
	if err := a.begin(); err != nil {
		return err
	}
	news := false
	for n := range events {
		did, err := a.apply(v, &events[n])
		if err != nil {
			return err
		}
		news = news || did
	}
	a.batch.SetApplied(viewName, upTo.Bytes())
	if err := a.flush(); err != nil {
		return err
	}
	if news {
		select {
		case v.changed <- struct{}{}:
		default:
		}
	}
	return nil
}

// applying is one Apply.
type applying struct {
	db      *kv.DB
	s       *kv.Snapshot
	batch   kv.Batch
	last    int64 // stamp
	claims  map[string]*claim
	objects map[string]*object
}

func (a *applying) begin() error {
	raw, ok, err := a.s.Get([]byte(keyLast), nil)
	if ok && len(raw) == 8 {
		a.last = int64(binary.BigEndian.Uint64(raw))
	}
	return err
}

func (a *applying) apply(v *View, e *ledger.Event) (did bool, err error) {
	if strings.HasPrefix(e.Entity, entityPrefix) {
		return a.publish(e)
	}
	t, ok, err := v.testify(e)
	if err != nil || !ok {
		return false, err
	}
	return true, a.hear(&t)
}

// hear takes what is said of a case. Once a person doubts it, only a person confirms
// it again.
func (a *applying) hear(t *Testimony) error {
	for _, p := range t.Patterns {
		if _, err := intel.NamedPattern(p); err != nil {
			continue // an older Weir knew it
		}
		if err := a.set(keyBasis+t.Case+"|"+digestOf(p), basis{p, t.ByPerson}); err != nil {
			return err
		}
	}
	if t.Says == Nothing {
		return nil
	}
	c := a.claims[t.Case]
	if c == nil {
		c = &claim{}
		if _, err := a.get(keyCase+t.Case, c); err != nil {
			return err
		}
		a.claims[t.Case] = c
	}
	switch {
	case t.Says == Doubts, t.Says == ConfirmsForSure:
		c.Says = t.Says
	case c.Says == Nothing:
		c.Says = Confirms
	}
	if t.Says != Doubts && t.Time.After(c.Time) {
		c.Time = t.Time
	}
	return a.set(keyCase+t.Case, c)
}

func (a *applying) publish(e *ledger.Event) (did bool, err error) {
	if e.Type != typePublished && e.Type != typeRevoked || e.Erased {
		return false, nil
	}
	var d publishedData
	if err := unmarshal(e, &d); err != nil { // what is revoked has two of its members
		return false, err
	}
	o := a.objects[d.Object]
	if o == nil {
		o = &object{}
		if _, err := a.get(keyObject+d.Object, o); err != nil {
			return false, err
		}
		a.objects[d.Object] = o
	}
	if e.Version <= o.Version {
		return false, nil // applied before
	}
	a.last = max(a.last+1, e.Time.UnixMicro())
	before := o.Added
	if before != 0 {
		a.last = max(a.last, before+1000) // STIX tells versions apart by milliseconds
	}
	o.ID, o.Version, o.Added, o.Revoked = d.Object, e.Version, a.last, e.Type == typeRevoked
	if o.Created == 0 {
		o.Created = e.Time.UnixMicro() // stamps are ahead where a clock was
	}
	if e.Type == typePublished {
		o.Pattern, o.TLP, o.Confidence, o.Until, o.Grounds = d.Pattern, d.TLP, d.Confidence, d.Until, d.Grounds
	}
	if err := a.set(keyObject+o.ID, o); err != nil {
		return false, err
	}
	if before != 0 {
		a.batch.Delete(stampKey(before))
	}
	a.batch.Set(stampKey(o.Added), []byte(o.ID))
	return true, nil
}

// flush writes what there is. Without the cursor it is passed over when it comes again.
func (a *applying) flush() error {
	if len(a.objects) > 0 {
		a.batch.Set([]byte(keyLast), binary.BigEndian.AppendUint64(nil, uint64(a.last)))
	}
	defer a.batch.Reset()
	return a.db.Commit(&a.batch)
}

// set sets a key, and leaves room for the stamps, the last one and the cursor: events
// that are small can be of many patterns.
func (a *applying) set(key string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if !a.batch.Room(5, len(key)+len(raw)+1024) {
		if err := a.flush(); err != nil {
			return err
		}
	}
	a.batch.Set([]byte(key), raw)
	return nil
}

func (a *applying) get(key string, value any) (ok bool, err error) { return get(a.s, key, value) }

func get(s *kv.Snapshot, key string, value any) (ok bool, err error) {
	raw, ok, err := s.Get([]byte(key), nil)
	if err != nil || !ok {
		return false, err
	}
	if err := json.Unmarshal(raw, value); err != nil {
		return false, fmt.Errorf("%s: %w", key, err)
	}
	return true, nil
}

func stampKey(stamp int64) []byte {
	return binary.BigEndian.AppendUint64([]byte(keyStamp), uint64(stamp))
}

// entries gives what stands under a prefix, by its key's end. An error ends it.
func entries[T any](s *kv.Snapshot, prefix string, failed *error) iter.Seq2[string, *T] {
	return func(yield func(string, *T) bool) {
		for e, err := range s.Range([]byte(prefix), nil) {
			value := new(T)
			if err == nil {
				err = json.Unmarshal(e.Value, value)
			}
			if err != nil {
				*failed = err
				return
			}
			if !yield(string(e.Key[len(prefix):]), value) {
				return
			}
		}
	}
}
