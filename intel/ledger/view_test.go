package ledger

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/faulty"
)

// listView keeps events in memory.
type listView struct {
	name string

	mu      sync.Mutex
	cursor  Cursor
	events  []Event
	groups  int
	rebuilt int
	fail    error
}

func (v *listView) Name() string { return v.name }

func (v *listView) Applied() (Cursor, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cursor, nil
}

func (v *listView) Apply(_ context.Context, events []Event, upTo Cursor) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.fail != nil {
		return v.fail
	}
	v.events = append(v.events, events...)
	v.cursor = upTo
	v.groups++
	return nil
}

func (v *listView) Rebuild(context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.events, v.cursor = nil, Cursor{}
	v.rebuilt++
	return nil
}

func (v *listView) setFail(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fail = err
}

func (v *listView) look() (events []Event, rebuilt int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.events, v.rebuilt
}

func TestAViewShowsWhatWasCommittedAfterWait(t *testing.T) {
	v := &listView{name: "list"}
	o := testOptions(t, disk.System{}, t.TempDir())
	o.Views = []View{v}
	l := mustOpen(t, o)
	for i := range 50 {
		r := commit(t, l, fmt.Sprint(i), "x", "one", "two")
		must(t, l.Wait(ctx, r.Cursor))
		if events, _ := v.look(); len(events) != 2*(i+1) {
			t.Fatalf("%d events after commit %d", len(events), i)
		}
	}
	must(t, l.Close())

	// Started again it goes on where it was.
	l = mustOpen(t, o)
	r := commit(t, l, "last", "x", "last")
	must(t, l.Wait(ctx, r.Cursor))
	if events, rebuilt := v.look(); len(events) != 101 || rebuilt != 0 {
		t.Errorf("%d events, rebuilt %d times", len(events), rebuilt)
	}
}

func TestAViewCatchesUpInGroupsOfWholeRecords(t *testing.T) {
	o := testOptions(t, disk.System{}, t.TempDir())
	l := mustOpen(t, o)
	var last Receipt
	for i := range 300 {
		texts := make([]string, i%7+1)
		last = commit(t, l, fmt.Sprint(i), fmt.Sprint("e", i%5), texts...)
	}
	must(t, l.Close())
	v := &listView{name: "list"}
	o.Views = []View{v}
	l = mustOpen(t, o)
	must(t, l.Wait(ctx, last.Cursor))
	events, _ := v.look()
	all := collect(t, l, Cursor{})
	if fmt.Sprint(events) != fmt.Sprint(all) {
		t.Errorf("%d events, of %d", len(events), len(all))
	}
	if v.groups > len(all)/groupEvents+2 {
		t.Errorf("%d groups for %d events", v.groups, len(all))
	}
}

func TestEventsGatherForAViewUntilSomebodyWaits(t *testing.T) {
	v := &listView{name: "list"}
	o := testOptions(t, faulty.New("/state", 1), "/state/ledger")
	o.Views = []View{v}
	l := mustOpen(t, o)
	const n = 400
	var last Receipt
	for i := range n {
		last = commit(t, l, fmt.Sprint(i), fmt.Sprint(i), "one")
	}
	must(t, l.Wait(ctx, last.Cursor))
	if events, _ := v.look(); len(events) != n || v.groups > n/4 {
		t.Errorf("%d events in %d groups", len(events), v.groups)
	}
}

func TestAViewThatFailsIsTriedAgainAndWaitSaysWhy(t *testing.T) {
	v := &listView{name: "list"}
	v.setFail(errors.New("out of order"))
	o := testOptions(t, disk.System{}, t.TempDir())
	o.Views = []View{v}
	l := mustOpen(t, o)
	r := commit(t, l, "1", "x", "one")
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if err := l.Wait(short, r.Cursor); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, v.fail) {
		t.Errorf("waiting: %v", err)
	}
	v.setFail(nil)
	must(t, l.Wait(ctx, r.Cursor))
	waits := make(chan error, 1)
	go func() { waits <- l.Wait(ctx, Cursor{at: 1 << 40}) }()
	must(t, l.Close())
	if err := <-waits; !errors.Is(err, ErrClosed) {
		t.Errorf("waiting for what never comes: %v", err)
	}
}

func TestAViewOfAnotherLedgerIsBuiltAgain(t *testing.T) {
	root := t.TempDir()
	v := &listView{name: "list"}
	o := testOptions(t, disk.System{}, filepath.Join(root, "one"))
	o.Views = []View{v}
	l := mustOpen(t, o)
	must(t, l.Wait(ctx, commit(t, l, "1", "x", "one").Cursor))
	must(t, l.Close())
	o.Dir = filepath.Join(root, "two")
	l = mustOpen(t, o)
	must(t, l.Wait(ctx, commit(t, l, "1", "x", "two").Cursor))
	if events, rebuilt := v.look(); said(t, events) != "two" || rebuilt != 1 {
		t.Errorf("%s, rebuilt %d times", said(t, events), rebuilt)
	}
}

// reactor commits to another entity what it sees of one, as whoever works across
// entities does.
type reactor struct {
	listView
	l *Ledger
}

func (r *reactor) Apply(ctx context.Context, events []Event, upTo Cursor) error {
	for _, e := range events {
		if e.Entity != "source" {
			continue
		}
		if _, err := r.l.Commit(ctx, Command{ID: "echo " + e.ID, Entity: "echo", Actor: "rule:echo"}, say("echo")); err != nil {
			return err
		}
	}
	return r.listView.Apply(ctx, events, upTo)
}

func TestAViewMayCommitAcrossEntities(t *testing.T) {
	v := &reactor{listView: listView{name: "reactor"}}
	o := testOptions(t, disk.System{}, t.TempDir())
	o.Views = []View{v}
	l, err := Open(o)
	must(t, err)
	v.l = l
	for i := range 20 {
		r := commit(t, l, fmt.Sprint(i), "source", "x")
		must(t, l.Wait(ctx, r.Cursor))
	}
	s, err := l.State("echo")
	must(t, err)
	if s.Version != 20 {
		t.Errorf("%d echoes", s.Version)
	}
	for i := range 50 {
		commit(t, l, fmt.Sprint("late", i), "source", "x")
	}
	must(t, l.Close()) // in the middle of it
}

func TestMetricsCountCommitsAndTellTheLag(t *testing.T) {
	reg := prometheus.NewRegistry()
	v := &listView{name: "list"}
	o := testOptions(t, disk.System{}, t.TempDir())
	o.Views, o.Metrics = []View{v}, reg
	l := mustOpen(t, o)
	commit(t, l, "1", "x", "one", "two")
	commit(t, l, "1", "x", "one")
	must(t, l.Wait(ctx, commit(t, l, "2", "x", "three").Cursor))
	families, err := reg.Gather()
	must(t, err)
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"weir_ledger_commits_total committed": 2, "weir_ledger_commits_total replayed": 1,
		"weir_ledger_events_total": 3, "weir_ledger_view_lag_bytes list": 0, "weir_log_records_total ledger": 2,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, not %v", name, v, want)
		}
	}
	must(t, l.Close())
	mustOpen(t, o) // the same registry again
}
