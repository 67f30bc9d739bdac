// Package viewtest is the conformance suite of ledger.View: what every view has
// to do, whatever it shows.
package viewtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
)

// Commit is what one command records.
type Commit struct {
	Entity string
	Events []ledger.Event // Type, Schema and Data
}

// Fixture is a view with storage of its own, empty at first.
type Fixture struct {
	// Open gives the view over the fixture's storage, as a start of the daemon
	// does. It is called several times, the last view being given up before.
	Open func() (ledger.View, error)
	// Dump gives all that a view shows as text, equal for equal content.
	Dump func(ledger.View) (string, error)
}

// Test runs the suite. fresh makes a fixture that has seen nothing; commits are
// what the view understands, enough to fill it with something of every sort.
func Test(t *testing.T, commits []Commit, fresh func(t *testing.T) Fixture) {
	t.Helper()
	events, err := record(commits)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(events, func() Fixture { return fresh(t) }); err != nil {
				t.Error(err)
			}
		})
	}
}

// record commits to a ledger in memory and gives the events as a view gets them.
func record(commits []Commit) ([]ledger.Event, error) {
	db, err := kv.Open(kv.Options{Name: "viewtest", InMemory: true})
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.Close() }()
	l, err := ledger.Open(ledger.Options{
		FS: faulty.New("/viewtest", 1), Dir: "/viewtest/ledger", Index: db,
		Node: "node01", Key: make([]byte, 32), NewID: func() string { return ulid.Make().String() },
		Clock: func() time.Time { return time.Unix(1_700_000_000, 0) },
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	for i, c := range commits {
		_, err := l.Commit(context.Background(), ledger.Command{ID: fmt.Sprint("command ", i), Entity: c.Entity, Actor: "unix:1000", Reason: "a reason"},
			func(ledger.State) ([]ledger.Event, error) { return c.Events, nil })
		if err != nil {
			return nil, err
		}
	}
	var events []ledger.Event
	for e, err := range l.Events(ledger.Cursor{}) {
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	if len(events) < 2 {
		return nil, errors.New("viewtest: too few events to tell anything")
	}
	return events, nil
}

type check struct {
	name string
	run  func(events []ledger.Event, fresh func() Fixture) error
}

func checks() []check {
	return []check{
		{"a new view has applied nothing", newViewIsEmpty},
		{"groups of any size give the same content", groupsDoNotMatter},
		{"a group that comes again changes nothing", againChangesNothing},
		{"content and cursor are there after a restart", restartKeeps},
		{"Rebuild empties the view", rebuildEmpties},
		{"unknown types are passed over", unknownTypes},
		{"erased events are taken", erasedEvents},
		{"a context that has ended leaves content and cursor together", endedContext},
	}
}

// run is a view in use.
type run struct {
	f Fixture
	v ledger.View
}

func open(f Fixture) (*run, error) {
	v, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return &run{f, v}, nil
}

// apply gives the view events in groups of whole records, size events or a few
// more in each.
func (r *run) apply(events []ledger.Event, size func() int) error {
	for len(events) > 0 {
		n := min(max(1, size()), len(events))
		for n < len(events) && events[n-1].Command == events[n].Command {
			n++
		}
		if err := r.v.Apply(context.Background(), events[:n], events[n-1].Cursor); err != nil {
			return fmt.Errorf("apply %d events: %w", n, err)
		}
		events = events[n:]
	}
	return nil
}

func all() int { return 1 << 30 }
func one() int { return 1 }

// is says how the view differs from what it should show.
func (r *run) is(content string, applied ledger.Cursor) error {
	got, err := r.f.Dump(r.v)
	if err != nil {
		return fmt.Errorf("dump: %w", err)
	}
	if got != content {
		return fmt.Errorf("it shows\n%s\ninstead of\n%s", got, content)
	}
	at, err := r.v.Applied()
	if err != nil {
		return fmt.Errorf("applied: %w", err)
	}
	if at != applied {
		return fmt.Errorf("its cursor is %q instead of %q", at, applied)
	}
	return nil
}

// full gives a view that has applied all events, and what it shows then.
func full(events []ledger.Event, fresh func() Fixture, size func() int) (*run, string, error) {
	r, err := open(fresh())
	if err != nil {
		return nil, "", err
	}
	if err := r.apply(events, size); err != nil {
		return nil, "", err
	}
	content, err := r.f.Dump(r.v)
	return r, content, err
}

func end(events []ledger.Event) ledger.Cursor { return events[len(events)-1].Cursor }

// empty gives what a view shows that has seen nothing.
func empty(fresh func() Fixture) (string, error) {
	r, err := open(fresh())
	if err != nil {
		return "", err
	}
	return r.f.Dump(r.v)
}

func newViewIsEmpty(events []ledger.Event, fresh func() Fixture) error {
	r, err := open(fresh())
	if err != nil {
		return err
	}
	at, err := r.v.Applied()
	if err != nil || !at.IsZero() {
		return fmt.Errorf("a new view has the cursor %q, %v", at, err)
	}
	if r.v.Name() == "" {
		return errors.New("it has no name")
	}
	nothing, err := empty(fresh)
	if err != nil {
		return err
	}
	if _, content, err := full(events, fresh, all); err != nil || content == nothing {
		return fmt.Errorf("with all events it shows the same as with none, so there is nothing to check (%v)", err)
	}
	return nil
}

func groupsDoNotMatter(events []ledger.Event, fresh func() Fixture) error {
	_, content, err := full(events, fresh, all)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, size := range []func() int{one, func() int { return 1 + rng.IntN(4) }} {
		r, _, err := full(events, fresh, size)
		if err != nil {
			return err
		}
		if err := r.is(content, end(events)); err != nil {
			return err
		}
	}
	return nil
}

func againChangesNothing(events []ledger.Event, fresh func() Fixture) error {
	_, content, err := full(events, fresh, all)
	if err != nil {
		return err
	}
	r, err := open(fresh())
	if err != nil {
		return err
	}
	for range 3 {
		if err := r.apply(events, all); err != nil {
			return err
		}
		if err := r.is(content, end(events)); err != nil {
			return err
		}
	}
	// Record by record, each one twice.
	r, err = open(fresh())
	if err != nil {
		return err
	}
	for i := 0; i < len(events); {
		n := i + 1
		for n < len(events) && events[n].Command == events[i].Command {
			n++
		}
		for range 2 {
			if err := r.apply(events[i:n], all); err != nil {
				return err
			}
		}
		i = n
	}
	return r.is(content, end(events))
}

func restartKeeps(events []ledger.Event, fresh func() Fixture) error {
	_, content, err := full(events, fresh, all)
	if err != nil {
		return err
	}
	f := fresh()
	r, err := open(f)
	if err != nil {
		return err
	}
	for i := 0; i < len(events); {
		n := i + 1
		for n < len(events) && events[n].Command == events[i].Command {
			n++
		}
		if err := r.apply(events[i:n], all); err != nil {
			return err
		}
		before, err := f.Dump(r.v)
		if err != nil {
			return err
		}
		if r, err = open(f); err != nil {
			return err
		}
		if err := r.is(before, events[n-1].Cursor); err != nil {
			return fmt.Errorf("after a restart: %w", err)
		}
		i = n
	}
	return r.is(content, end(events))
}

func rebuildEmpties(events []ledger.Event, fresh func() Fixture) error {
	nothing, err := empty(fresh)
	if err != nil {
		return err
	}
	r, content, err := full(events, fresh, all)
	if err != nil {
		return err
	}
	for range 2 {
		if err := r.v.Rebuild(context.Background()); err != nil {
			return fmt.Errorf("rebuild: %w", err)
		}
		if err := r.is(nothing, ledger.Cursor{}); err != nil {
			return fmt.Errorf("after Rebuild: %w", err)
		}
		if again, err := open(r.f); err != nil {
			return err
		} else if err := again.is(nothing, ledger.Cursor{}); err != nil {
			return fmt.Errorf("after Rebuild and a restart: %w", err)
		}
		if err := r.apply(events, one); err != nil {
			return err
		}
		if err := r.is(content, end(events)); err != nil {
			return fmt.Errorf("built again: %w", err)
		}
	}
	return nil
}

func unknownTypes(events []ledger.Event, fresh func() Fixture) error {
	nothing, err := empty(fresh)
	if err != nil {
		return err
	}
	strange := append([]ledger.Event(nil), events...)
	for i := range strange {
		strange[i].Type, strange[i].Schema, strange[i].Data = "unheard-of", 99, []byte(`["?"]`)
	}
	r, _, err := full(strange, fresh, all)
	if err != nil {
		return err
	}
	return r.is(nothing, end(events))
}

func erasedEvents(events []ledger.Event, fresh func() Fixture) error {
	erased := append([]ledger.Event(nil), events...)
	for i := range erased {
		erased[i].Erased, erased[i].Data, erased[i].Reason = true, nil, ""
	}
	r, content, err := full(erased, fresh, all)
	if err != nil {
		return err
	}
	if err := r.is(content, end(events)); err != nil {
		return err
	}
	// Some of an entity's events can be erased, and the rest not.
	mixed := append([]ledger.Event(nil), events...)
	copy(mixed, erased[:len(erased)/2])
	_, _, err = full(mixed, fresh, one)
	return err
}

func endedContext(events []ledger.Event, fresh func() Fixture) error {
	nothing, err := empty(fresh)
	if err != nil {
		return err
	}
	_, content, err := full(events, fresh, all)
	if err != nil {
		return err
	}
	r, err := open(fresh())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.v.Apply(ctx, events, end(events)); err == nil {
		return r.is(content, end(events))
	}
	if err := r.is(nothing, ledger.Cursor{}); err != nil {
		return err
	}
	if err := r.apply(events, all); err != nil {
		return err
	}
	return r.is(content, end(events))
}
