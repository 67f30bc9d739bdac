package contain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/ledger"
)

// Ledger records what changes; *ledger.Ledger is one.
type Ledger interface {
	Commit(ctx context.Context, c ledger.Command, decide func(ledger.State) ([]ledger.Event, error)) (ledger.Receipt, error)
	State(entity string) (ledger.State, error)
}

// Identity gives out identifiers and the time.
type Identity interface {
	NewID() string
	Now() time.Time
}

// Bounds.
const (
	MaxInForce = 1000                 // containments at one time
	MaxTime    = 366 * 24 * time.Hour // that one lasts
)

// Errors of this package, besides *RefusedError and those of the ledger.
var (
	// ErrNotFound says that nothing in force is called so.
	ErrNotFound = errors.New("no such containment is in force")
	// ErrAmbiguous says that more than one in force is called so.
	ErrAmbiguous = errors.New("more than one containment is meant")
	// ErrReason says that a reason has to be given.
	ErrReason = errors.New("a reason has to be given")
)

// Options says what a Book works with. All but Logger and Metrics are required.
type Options struct {
	Ledger   Ledger
	View     *View
	Identity Identity
	Site     Site

	Logger  *zap.Logger           // nil: none
	Metrics prometheus.Registerer // nil: none
}

// Book makes and ends containments, and has those in force ready for the mail
// path. All methods may be called at the same time.
type Book struct {
	o    Options
	most int // in force at one time; MaxInForce but for tests

	changing sync.Mutex // held from looking at what is in force to having changed it

	mu   sync.Mutex // over reading an entity and publishing what it is
	site Site
	all  map[string]*Containment // by entity; some may have ended by the clock

	now atomic.Pointer[Snapshot]
}

// Open loads what is in force. The ledger's views have caught up by then.
func Open(o Options) (*Book, error) {
	if o.Ledger == nil || o.View == nil || o.Identity == nil || o.Site.IsLocal == nil {
		return nil, errors.New("contain: an option is missing")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	b := &Book{o: o, most: MaxInForce, site: o.Site}
	b.mu.Lock()
	defer b.mu.Unlock()
	tell := func(entity string) {
		if err := b.refresh(entity); err != nil && !errors.Is(err, ledger.ErrClosed) {
			b.o.Logger.Error("a containment is not as the ledger has it", zap.String("entity", entity), zap.Error(err))
		}
	}
	o.View.changed.Store(&tell)
	var err error
	if b.all, err = o.View.load(); err != nil {
		return nil, err
	}
	b.publish()
	return b, b.register(o.Metrics)
}

// SetSite makes other domains, networks and people hold from the next message on.
func (b *Book) SetSite(s Site) error {
	if s.IsLocal == nil {
		return errors.New("contain: the site does not say what is local")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.site = s
	b.publish()
	return nil
}

// Contained gives who is contained, nil for nobody. It neither waits nor allocates.
func (b *Book) Contained() *Snapshot { return b.now.Load() }

// List gives the containments in force, the oldest first.
func (b *Book) List() []Entry { return b.now.Load().List(b.o.Identity.Now()) }

// refresh takes an entity as the ledger has it at this moment.
func (b *Book) refresh(entity string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	state, err := b.o.Ledger.State(entity)
	if err != nil {
		return err
	}
	c, err := stateOf(state)
	if err != nil {
		return err
	}
	if c == nil {
		delete(b.all, entity)
	} else {
		b.all[entity] = c
	}
	b.publish()
	return nil
}

// publish makes a snapshot of what is known. mu is held.
func (b *Book) publish() {
	site := b.site
	var all []*Containment
	for _, c := range b.all {
		all = append(all, c)
	}
	b.now.Store(newSnapshot(all, &site))
}

// Request asks for a containment.
type Request struct {
	Kind    Kind
	Value   string // a login or an address; an IP address or a range
	Scope   Scope
	Action  intel.Action // hold or reject
	Until   time.Time
	Actor   string
	Reason  string
	Replace bool // the one in force for the same, where there is one
}

func (r *Request) validate(now time.Time) error {
	switch left := r.Until.Sub(now); {
	case strings.TrimSpace(r.Reason) == "":
		return ErrReason
	case r.Scope != External && r.Scope != Internal && r.Scope != All:
		return malformed("say external, internal or all", "%.40q is no scope", string(r.Scope))
	case r.Action != intel.ActionHold && r.Action != intel.ActionReject:
		return malformed("say hold or reject", "%s is nothing that a containment does", r.Action)
	case left <= 0 || left > MaxTime:
		return malformed("say a time within the next year", "it would end at %s", r.Until.UTC().Format(time.RFC3339))
	}
	return nil
}

// Contain makes a containment and gives it as it is then. When it returns the
// containment is durable, and the next message comes under it. Errors are a
// *RefusedError, ErrReason, or the ledger's.
func (b *Book) Contain(ctx context.Context, r Request) (Entry, error) {
	now := b.o.Identity.Now()
	if err := r.validate(now); err != nil {
		return Entry{}, err
	}
	b.mu.Lock()
	site := b.site
	b.mu.Unlock()
	value, err := site.value(r.Kind, r.Value)
	if err != nil {
		return Entry{}, err
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	next := &Containment{ID: b.o.Identity.NewID(), Kind: r.Kind, Value: value}
	others, err := b.admit(next, &r, now)
	if err != nil {
		return Entry{}, err
	}
	data := containedData{ID: next.ID, Kind: r.Kind, Value: value, Scope: r.Scope, Action: r.Action.String(), Until: r.Until.UTC()}
	err = b.commit(ctx, next, r.Actor, r.Reason, func(was *Containment) (string, any, error) {
		d := data
		if was != nil && was.InForce(now) {
			if !r.Replace {
				return "", nil, alreadyContained(was)
			}
			d.ID = was.ID
		}
		return typeContained, d, nil
	})
	if err != nil {
		return Entry{}, err
	}
	for _, e := range b.List() {
		if e.entity() == next.entity() {
			return e, b.replaced(ctx, others, &r, e.ID)
		}
	}
	return Entry{}, fmt.Errorf("%s was contained, and has ended already", value)
}

// replaced ends what the same person was contained by under other names.
func (b *Book) replaced(ctx context.Context, others []*Containment, r *Request, by string) error {
	for _, c := range others {
		if err := b.lift(ctx, c, r.Actor, "replaced by "+by+": "+r.Reason); err != nil && !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("%s is contained now, and %s still is as well: %w", r.Value, c.Value, err)
		}
	}
	return nil
}

func alreadyContained(c *Containment) error {
	return refuse("lift that, or replace it", "%s is contained already, scope %s, until %s: %s", c.Value, c.Scope, c.Until.UTC().Format(time.RFC3339), c.ID)
}

// admit looks at what else is in force: one person is contained once, whatever
// they are called. It gives what the new one replaces besides that of its name.
func (b *Book) admit(next *Containment, r *Request, now time.Time) ([]*Containment, error) {
	all := b.List()
	known := slices.ContainsFunc(all, func(e Entry) bool { return e.entity() == next.entity() })
	if !known && len(all) >= b.most {
		return nil, refuse("lift some (weir contain list)", "%d containments are in force, which are the most", len(all))
	}
	if next.Kind != User {
		return nil, nil
	}
	others := slices.DeleteFunc(b.now.Load().user(next.Value, now), func(c *Containment) bool { return c.Value == next.Value })
	if len(others) > 0 && !r.Replace {
		return nil, alreadyContained(others[0])
	}
	return others, nil // whether the name itself is contained, its entity says
}

// user gives the containments in force of the person whose login or address this
// is, or who has an address that begins so.
func (s *Snapshot) user(text string, now time.Time) []*Containment {
	if s == nil {
		return nil
	}
	all := s.byLogin(text)
	for _, p := range s.known.called(loginOf(text)) {
		all = append(all, s.addresses[p.Addresses[0]]...)
	}
	var found []*Containment
	for _, c := range all {
		if c.InForce(now) && !slices.Contains(found, c) {
			found = append(found, c)
		}
	}
	return found
}

// commit records what decide makes of a containment, nil being none, and takes it
// over. Half of it helps nobody: who asked may be gone by then.
func (b *Book) commit(ctx context.Context, c *Containment, actor, reason string, decide func(was *Containment) (kind string, data any, err error)) error {
	command := ledger.Command{ID: "contain/" + b.o.Identity.NewID(), Entity: c.entity(), Actor: actor, Reason: reason}
	_, err := b.o.Ledger.Commit(context.WithoutCancel(ctx), command, func(s ledger.State) ([]ledger.Event, error) {
		was, err := stateOf(s)
		if err != nil {
			return nil, err
		}
		kind, data, err := decide(was)
		if err != nil || kind == "" {
			return nil, err
		}
		e, err := event(kind, data)
		return []ledger.Event{e}, err
	})
	if err != nil {
		return err
	}
	return b.refresh(c.entity())
}

// Lift ends a containment before its time and gives it as it was. It is named by
// its ID, the beginning of one, or by what it contains. Errors are ErrReason,
// ErrNotFound, ErrAmbiguous or the ledger's.
func (b *Book) Lift(ctx context.Context, name, actor, reason string) (Entry, error) {
	if strings.TrimSpace(reason) == "" {
		return Entry{}, ErrReason
	}
	b.changing.Lock()
	defer b.changing.Unlock()
	found, err := b.find(strings.TrimSpace(name))
	if err != nil {
		return Entry{}, err
	}
	return found, b.lift(ctx, found.Containment, actor, reason)
}

func (b *Book) lift(ctx context.Context, c *Containment, actor, reason string) error {
	now := b.o.Identity.Now()
	return b.commit(ctx, c, actor, reason, func(was *Containment) (string, any, error) {
		if was == nil || was.ID != c.ID || !was.InForce(now) {
			return "", nil, fmt.Errorf("%w: %s", ErrNotFound, c.Value)
		}
		return typeLifted, endedData{c.ID}, nil
	})
}

// find finds what a name means: what is contained comes before the beginning of an
// ID, and that before another name of a person.
func (b *Book) find(name string) (Entry, error) {
	all := b.List()
	var ids, people []Entry
	same := b.now.Load().user(name, b.o.Identity.Now())
	p, errRange := parseRange(name)
	for _, e := range all {
		switch {
		case e.ID == name, e.Kind == User && e.Value == loginOf(name), e.Kind == Client && errRange == nil && e.prefix() == p:
			return e, nil
		case name != "" && strings.HasPrefix(e.ID, strings.ToUpper(name)):
			ids = append(ids, e)
		case slices.Contains(same, e.Containment):
			people = append(people, e)
		}
	}
	for _, found := range [][]Entry{ids, people} {
		if len(found) > 1 {
			return Entry{}, fmt.Errorf("%w by %q", ErrAmbiguous, name)
		}
		if len(found) == 1 {
			return found[0], nil
		}
	}
	return Entry{}, fmt.Errorf("%w: %q", ErrNotFound, name)
}
