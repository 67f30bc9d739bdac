package contain

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/ledger/viewtest"
)

func TestViewKeepsTheContract(t *testing.T) {
	var commits []viewtest.Commit
	add := func(entity, kind string, data any) {
		e, err := event(kind, data)
		if err != nil {
			t.Fatal(err)
		}
		commits = append(commits, viewtest.Commit{Entity: entity, Events: []ledger.Event{e}})
	}
	until := time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)
	for i := range 6 {
		d := containedData{ID: fmt.Sprintf("01KB%022d", i), Kind: User, Value: fmt.Sprint("user", i), Scope: All, Action: "hold", Until: until}
		entity := entityPrefix + "user:" + d.Value
		add(entity, typeContained, d)
		add("item/"+d.ID, "held", struct{}{})
		switch i % 3 {
		case 1:
			add(entity, typeLifted, endedData{d.ID})
		case 2:
			add(entity, typeExpired, endedData{d.ID})
			d.Scope = External
			add(entity, typeContained, d)
		}
	}
	viewtest.Test(t, commits, func(t *testing.T) viewtest.Fixture {
		db, err := kv.Open(kv.Options{Name: "views", InMemory: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return viewtest.Fixture{
			Open: func() (ledger.View, error) { return NewView(db), nil },
			Dump: func(v ledger.View) (string, error) {
				all, err := v.(*View).load()
				var b strings.Builder
				for i := range 6 { // in order
					if c := all[fmt.Sprint(entityPrefix, "user:user", i)]; c != nil {
						fmt.Fprintf(&b, "%+v\n", *c)
					}
				}
				return b.String(), err
			},
		}
	})
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
		d := containedData{ID: fmt.Sprintf("01KB%022d", i), Kind: User, Value: fmt.Sprint("user", i), Scope: All, Action: "hold", Until: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)}
		e, err := event(typeContained, d)
		if err != nil {
			t.Fatal(err)
		}
		e.Entity, e.Reason = entityPrefix+"user:"+d.Value, strings.Repeat(`"`, ledger.MaxReason)
		events = append(events, e)
	}
	if err := v.Apply(t.Context(), events, ledger.Cursor{}); err != nil {
		t.Fatal(err)
	}
	if all, err := v.load(); err != nil || len(all) != n {
		t.Errorf("%d containments, %v", len(all), err)
	}
}
