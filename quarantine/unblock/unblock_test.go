package unblock

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/ledger/viewtest"
)

var ctx = context.Background()

func newDesk(t *testing.T) *Desk {
	db, err := kv.Open(kv.Options{Name: "views", InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	view := NewView(db)
	var ids atomic.Int64
	newID := func() string { return fmt.Sprintf("01KB%022d", ids.Add(1)) }
	l, err := ledger.Open(ledger.Options{FS: faulty.New("/state", 1), Dir: "/state/ledger", Index: db, Node: "node01", Key: make([]byte, 32), NewID: newID, Views: []ledger.View{view}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	d, err := New(Options{Ledger: l, View: view, NewID: newID})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func ask(t *testing.T, d *Desk, value string) Request {
	t.Helper()
	r, isNew, err := d.Ask(ctx, Asking{Value: value, Until: time.Now().Add(time.Hour), Actor: "unix:1000", Reason: "a partner", Reference: "REF"})
	if err != nil || !isNew || r.State != Open || r.By != "unix:1000" || r.Reason != "a partner" || r.Reference != "REF" {
		t.Fatal(r, isNew, err)
	}
	return r
}

func TestARequestIsDecidedOnceAndByAnotherPersonWhereThatIsWanted(t *testing.T) {
	d := newDesk(t)
	r := ask(t, d, "shop.example")
	if again, isNew, err := d.Ask(ctx, Asking{Value: "shop.example", Actor: "unix:2000", Reason: "me too"}); err != nil || isNew || again.ID != r.ID {
		t.Errorf("%+v, %t, %v", again, isNew, err)
	}
	if _, err := d.Approve(ctx, r.ID, "unix:1000", "I say so", nil, true); !errors.Is(err, ErrSecondPerson) {
		t.Error(err)
	}
	if _, err := d.Approve(ctx, r.ID, "unix:2000", " ", nil, true); !errors.Is(err, ErrReason) {
		t.Error(err)
	}
	got, err := d.Approve(ctx, r.ID, "unix:2000", "it is one", nil, true)
	if err != nil || got.State != Approving || got.Decider != "unix:2000" || got.Why != "it is one" {
		t.Fatal(got, err)
	}
	if _, err := d.Refuse(ctx, r.ID, "unix:3000", "no"); !errors.Is(err, ErrDecided) {
		t.Errorf("while the list is being written: %v", err)
	}
	// What could not be written is open again.
	if got, err = d.Failed(ctx, r.ID, "unix:2000"); err != nil || got.State != Open || got.Decider != "" {
		t.Fatal(got, err)
	}
	if _, err = d.Approve(ctx, r.ID, "unix:1000", "mine", nil, false); err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(2 * time.Hour).UTC().Truncate(time.Second)
	got, err = d.Written(ctx, r.ID, "unix:1000", "shop.example until=…", "allow/operator.txt", until)
	if err != nil || got.State != Approved || got.Entry == "" || got.File == "" || !got.Until.Equal(until) || got.Why != "mine" {
		t.Fatal(got, err)
	}
	for what, err := range map[string]error{
		"approve":   second(d.Approve(ctx, r.ID, "unix:2000", "x", nil, false)),
		"refuse":    second(d.Refuse(ctx, r.ID, "unix:2000", "x")),
		"written":   second(d.Written(ctx, r.ID, "unix:2000", "", "", until)),
		"fail":      second(d.Failed(ctx, r.ID, "unix:2000")),
		"not there": notFoundIs(second(d.Approve(ctx, "01KB0000000000000000000001", "unix:2000", "x", nil, false))),
	} {
		if !errors.Is(err, ErrDecided) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The next one for the same value is another.
	other := ask(t, d, "shop.example")
	if got, err := d.Refuse(ctx, other.ID, "unix:1000", "was a slip"); err != nil || got.State != Refused || got.Why != "was a slip" {
		t.Error(got, err)
	}
}

func second[T any](_ T, err error) error { return err }

func notFoundIs(err error) error {
	if errors.Is(err, ErrNotFound) {
		return ErrDecided
	}
	return err
}

func TestADecisionCarriesWhoIsToBeTold(t *testing.T) {
	d := newDesk(t)
	for _, to := range []string{"alice@example.org", ""} {
		for _, approve := range []bool{true, false} {
			r, _, err := d.Ask(ctx, Asking{Value: "shop.example", Notify: to, Actor: "unix:1000", Reason: "a partner"})
			if err == nil && approve {
				if _, err = d.Approve(ctx, r.ID, "unix:2000", "yes", nil, false); err == nil {
					r, err = d.Written(ctx, r.ID, "unix:2000", "shop.example", "allow/operator.txt", time.Now().Add(time.Hour))
				}
			} else if err == nil {
				r, err = d.Refuse(ctx, r.ID, "unix:2000", "no")
			}
			if err != nil || r.Notify != to {
				t.Fatal(r, err)
			}
			state, err := d.o.Ledger.State(r.Entity())
			if err != nil {
				t.Fatal(err)
			}
			for i := range state.Events {
				got, ok, err := Decided(&state.Events[i])
				if last := i == len(state.Events)-1; err != nil || ok != last || last && got != to {
					t.Errorf("%s: %q %t %v", state.Events[i].Type, got, ok, err)
				}
			}
		}
	}
	strange := ledger.Event{Type: typeRefused, Entity: "other/1", Data: []byte(`{"notify":"eve@example.org"}`)}
	if _, ok, err := Decided(&strange); ok || err != nil {
		t.Error("another entity's event decides a request")
	}
	if _, ok, err := Decided(&ledger.Event{Type: typeRefused, Entity: "unblock/1", Data: []byte("[]")}); ok || err == nil {
		t.Error("an event that cannot be read decides a request")
	}
}

func TestRequestsAreListedNewestFirstInPages(t *testing.T) {
	d := newDesk(t)
	var ids []string
	for i := range 7 {
		ids = append([]string{ask(t, d, fmt.Sprintf("n%d.example", i)).ID}, ids...)
	}
	if _, err := d.Refuse(ctx, ids[3], "unix:2000", "no"); err != nil {
		t.Fatal(err)
	}
	var got []string
	q := Query{Limit: 3, State: Open}
	for more := true; more; {
		var page []Request
		var err error
		if page, more, err = d.List(q); err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			got = append(got, r.ID)
			q.Before = r.ID
		}
	}
	want := append(append([]string{}, ids[:3]...), ids[4:]...)
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%v", got)
	}
	if r, err := d.Get(strings.ToLower(ids[2])); err != nil || r.ID != ids[2] {
		t.Error(r, err)
	}
	if _, err := d.Get(ids[2][:3]); !errors.Is(err, ErrAmbiguous) {
		t.Error(err)
	}
	for _, id := range []string{"", "zzz"} {
		if _, err := d.Get(id); !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrAmbiguous) {
			t.Error(err)
		}
	}
}

func TestTwoWhoAskForTheSameAtOnceGetOneRequest(t *testing.T) {
	d := newDesk(t)
	var all sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		all.Go(func() {
			r, _, err := d.Ask(ctx, Asking{Value: "shop.example", Actor: "unix:1000", Reason: "x"})
			if err != nil {
				t.Error(err)
			}
			ids[i] = r.ID
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("%v", ids)
		}
	}
}

func TestManyLongReasonsAtOnceDoNotStopTheView(t *testing.T) {
	db, err := kv.Open(kv.Options{Name: "views", InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	v := NewView(db)
	const n = 256 // as many events as come at once
	var events []ledger.Event
	for i := range n {
		e, err := event(typeRequested, requestedData{Value: fmt.Sprintf("shop%d.example", i)})
		if err != nil {
			t.Fatal(err)
		}
		e.Entity, e.Reason = fmt.Sprintf("%s01KB%022d", entityPrefix, i), strings.Repeat(`"`, ledger.MaxReason)
		events = append(events, e)
	}
	if err := v.Apply(ctx, events, ledger.Cursor{}); err != nil {
		t.Fatal(err)
	}
	listed := 0
	err = v.each("", func(*Request) bool { listed++; return true })
	if err != nil || listed != n {
		t.Errorf("%d requests, %v", listed, err)
	}
}

func TestTheViewKeepsItsContract(t *testing.T) {
	made := func(kind string, data any) []ledger.Event {
		e, err := event(kind, data)
		if err != nil {
			t.Fatal(err)
		}
		return []ledger.Event{e}
	}
	requested := made(typeRequested, requestedData{Value: "shop.example", Reference: "REF", Until: time.Unix(2e9, 0).UTC()})
	one, two, three := "unblock/01KB0000000000000000000001", "unblock/01KB0000000000000000000002", "unblock/01KB0000000000000000000003"
	viewtest.Test(t, []viewtest.Commit{
		{Entity: one, Events: requested}, {Entity: two, Events: requested}, {Entity: three, Events: requested},
		{Entity: one, Events: made(typeApproving, struct{}{})}, {Entity: two, Events: made(typeApproving, struct{}{})},
		{Entity: one, Events: made(typeApproved, writtenData{Entry: "e", File: "f", Until: time.Unix(2e9, 0).UTC()})},
		{Entity: two, Events: made(typeFailed, struct{}{})}, {Entity: three, Events: made(typeRefused, struct{}{})},
	}, func(t *testing.T) viewtest.Fixture {
		db, err := kv.Open(kv.Options{Name: "views", InMemory: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return viewtest.Fixture{
			Open: func() (ledger.View, error) { return NewView(db), nil },
			Dump: func(v ledger.View) (string, error) {
				var b strings.Builder
				err := v.(*View).each("", func(r *Request) bool {
					_, _ = fmt.Fprintf(&b, "%+v\n", *r)
					return true
				})
				return b.String(), err
			},
		}
	})
}
