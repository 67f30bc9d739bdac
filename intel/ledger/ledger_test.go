package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/wal"
)

var ctx = context.Background()

func testKey() []byte { return []byte("0123456789abcdef0123456789abcdef") }

// memoryIndex gives a database that holds nothing yet.
func memoryIndex(t testing.TB) *kv.DB {
	t.Helper()
	db, err := kv.Open(kv.Options{Name: "views", InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func testOptions(t testing.TB, fsys disk.FS, dir string) Options {
	t.Helper()
	return Options{
		FS: fsys, Dir: dir, Index: memoryIndex(t), Node: "node01", Key: testKey(),
		NewID: func() string { return ulid.Make().String() },
		Clock: func() time.Time { return time.Unix(1_700_000_000, 123_456_789) },
	}
}

func mustOpen(t testing.TB, o Options) *Ledger {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeLedger(l) })
	return l
}

// closeLedger closes a ledger that may be closed already.
func closeLedger(l *Ledger) {
	if l.ctx.Err() == nil {
		_ = l.Close()
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func command(id, entity string) Command {
	return Command{ID: id, Entity: entity, Actor: "unix:1000", Reason: "because of " + id}
}

// say decides for one event with the given text, whatever the state.
func say(texts ...string) func(State) ([]Event, error) {
	return func(State) ([]Event, error) {
		var list []Event
		for _, text := range texts {
			data, err := json.Marshal(text)
			if err != nil {
				return nil, err
			}
			list = append(list, Event{Type: "said", Schema: 1, Data: data})
		}
		return list, nil
	}
}

func commit(t testing.TB, l *Ledger, id, entity string, texts ...string) Receipt {
	t.Helper()
	r, err := l.Commit(ctx, command(id, entity), say(texts...))
	must(t, err)
	return r
}

// said gives the texts of events.
func said(t testing.TB, events []Event) string {
	t.Helper()
	var list []string
	for _, e := range events {
		text := "-"
		if e.Data != nil {
			must(t, json.Unmarshal(e.Data, &text))
		}
		list = append(list, text)
	}
	return strings.Join(list, " ")
}

func collect(t testing.TB, l *Ledger, after Cursor) []Event {
	t.Helper()
	var list []Event
	for e, err := range l.Events(after) {
		must(t, err)
		list = append(list, e)
	}
	return list
}

func TestACommitIsRecordedWithAllThatIsKnown(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, testOptions(t, disk.System{}, dir))
	r := commit(t, l, "c1", "item-1", "one", "two")
	if r.Entity != "item-1" || r.Version != 2 || r.Replayed || r.Cursor.IsZero() {
		t.Fatalf("receipt %+v", r)
	}
	e := collect(t, l, Cursor{})
	if len(e) != 2 {
		t.Fatalf("%d events", len(e))
	}
	want := Event{
		Type: "said", Schema: 1, Data: json.RawMessage(`"one"`), ID: e[0].ID, Entity: "item-1", Version: 1,
		Time: time.Unix(1_700_000_000, 123_456_000).UTC(), Actor: "unix:1000", Reason: "because of c1", Command: "c1", Node: "node01",
	}
	if fmt.Sprint(e[0]) != fmt.Sprint(want) || !e[0].Time.Equal(want.Time) {
		t.Errorf("first event\n%+v, wanted\n%+v", e[0], want)
	}
	if e[1].Version != 2 || e[1].ID == e[0].ID || e[1].ID[:26] != e[0].ID[:26] || e[1].Cursor != r.Cursor || !e[0].Cursor.IsZero() {
		t.Errorf("second event %+v", e[1])
	}
	if got := collect(t, l, r.Cursor); len(got) != 0 {
		t.Errorf("behind the receipt's cursor: %+v", got)
	}
}

func TestDecideSeesTheExactState(t *testing.T) {
	l := mustOpen(t, testOptions(t, disk.System{}, t.TempDir()))
	check := func(id, entity string, version uint64, texts string) {
		t.Helper()
		_, err := l.Commit(ctx, command(id, entity), func(s State) ([]Event, error) {
			if s.Entity != entity || s.Version != version || said(t, s.Events) != texts || len(s.Events) != int(version) {
				t.Errorf("%s: state %d of %s: %s", id, s.Version, s.Entity, said(t, s.Events))
			}
			for i, e := range s.Events {
				if e.Version != uint64(i+1) {
					t.Errorf("%s: event %d has version %d", id, i, e.Version)
				}
			}
			return say(id)(s)
		})
		must(t, err)
	}
	check("a", "x", 0, "")
	check("b", "y", 0, "")
	check("c", "x", 1, "a")
	commit(t, l, "d", "x", "d1", "d2", "d3")
	check("e", "x", 5, "a c d1 d2 d3")
	check("f", "y", 1, "b")
	s, err := l.State("x")
	must(t, err)
	if s.Version != 6 || said(t, s.Events) != "a c d1 d2 d3 e" {
		t.Errorf("State gives version %d: %s", s.Version, said(t, s.Events))
	}
	if s, err := l.State("nobody"); err != nil || s.Version != 0 || s.Events != nil {
		t.Errorf("an entity that is not there: %+v, %v", s, err)
	}
}

func TestCommandsOnOneEntityAreDecidedOneAfterTheOther(t *testing.T) {
	l := mustOpen(t, testOptions(t, disk.System{}, t.TempDir()))
	const callers, each, room = 16, 20, 50
	var granted atomic.Int64
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				_, err := l.Commit(ctx, command(fmt.Sprintf("%d/%d", c, i), "cap"), func(s State) ([]Event, error) {
					if s.Version >= room {
						return nil, errors.New("full")
					}
					return say("x")(s)
				})
				if err == nil {
					granted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	s, err := l.State("cap")
	must(t, err)
	if granted.Load() != room || s.Version != room {
		t.Errorf("%d granted, version %d, of %d", granted.Load(), s.Version, room)
	}
}

func TestTheSameCommandGivesTheFirstReceipt(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t, disk.System{}, dir)
	l := mustOpen(t, o)
	first := commit(t, l, "once", "item-1", "one", "two")
	commit(t, l, "other", "item-1", "three")
	want := first
	want.Replayed = true
	never := func(State) ([]Event, error) {
		t.Error("decided again")
		return nil, nil
	}
	for range 2 {
		for _, entity := range []string{"item-1", "item-2"} {
			if got, err := l.Commit(ctx, command("once", entity), never); err != nil || got != want {
				t.Errorf("again: %+v, %v", got, err)
			}
		}
		must(t, l.Close())
		o.Index = memoryIndex(t) // lost: has to be built again
		l = mustOpen(t, o)
	}
	if e := collect(t, l, Cursor{}); len(e) != 3 {
		t.Errorf("%d events", len(e))
	}
}

func TestOneOfManyEqualCommandsWins(t *testing.T) {
	l := mustOpen(t, testOptions(t, disk.System{}, t.TempDir()))
	var wg sync.WaitGroup
	busy, release := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		_, err := l.Commit(ctx, command("slow", "slow"), func(State) ([]Event, error) {
			close(busy)
			<-release
			return nil, nil
		})
		must(t, err)
	})
	<-busy // now all others wait together
	receipts := make([]Receipt, 50)
	for i := range receipts {
		wg.Go(func() {
			var err error
			receipts[i], err = l.Commit(ctx, command("same", fmt.Sprint("entity ", i)), say("x"))
			must(t, err)
		})
	}
	for len(l.queue) < len(receipts) {
		time.Sleep(time.Millisecond)
	}
	close(release)
	wg.Wait()
	fresh := 0
	for _, r := range receipts {
		if !r.Replayed {
			fresh++
		}
		if r.Entity != receipts[0].Entity || r.Cursor != receipts[0].Cursor {
			t.Errorf("receipts differ: %+v, %+v", r, receipts[0])
		}
	}
	if fresh != 1 {
		t.Errorf("%d of them were first", fresh)
	}
}

func TestWhatIsNotDecidedIsNotRecorded(t *testing.T) {
	l := mustOpen(t, testOptions(t, disk.System{}, t.TempDir()))
	last := commit(t, l, "first", "x", "one")
	refused := errors.New("no")
	if _, err := l.Commit(ctx, command("refused", "x"), func(State) ([]Event, error) { return []Event{{Type: "t", Schema: 1}}, refused }); !errors.Is(err, refused) {
		t.Errorf("refused: %v", err)
	}
	if r, err := l.Commit(ctx, command("nothing", "x"), say()); err != nil || r != last {
		t.Errorf("no events: %+v, %v", r, err)
	}
	if r, err := l.Commit(ctx, command("nothing", "y"), say()); err != nil || r.Version != 0 || !r.Cursor.IsZero() {
		t.Errorf("no events and no entity: %+v, %v", r, err)
	}
	if _, err := l.Commit(ctx, command("panic", "x"), func(State) ([]Event, error) { panic("oh") }); err == nil || !strings.Contains(err.Error(), "oh") {
		t.Errorf("panic: %v", err)
	}
	if r := commit(t, l, "nothing", "x", "two"); r.Replayed || r.Version != 2 {
		t.Errorf("a command that had changed nothing: %+v", r)
	}
}

func TestWhatCannotBeRecordedIsRefused(t *testing.T) {
	l := mustOpen(t, testOptions(t, disk.System{}, t.TempDir()))
	good := Command{ID: "id", Entity: "entity", Actor: "unix:0"}
	event := func(e Event) func(State) ([]Event, error) {
		return func(State) ([]Event, error) { return []Event{e}, nil }
	}
	fine := event(Event{Type: "t", Schema: 1})
	long := strings.Repeat("x", MaxWord+1)
	edit := func(f func(*Command)) Command {
		c := good
		f(&c)
		return c
	}
	for name, c := range map[string]struct {
		command Command
		decide  func(State) ([]Event, error)
		want    error
	}{
		"no ID":               {edit(func(c *Command) { c.ID = "" }), fine, ErrInvalid},
		"no entity":           {edit(func(c *Command) { c.Entity = "" }), fine, ErrInvalid},
		"no actor":            {edit(func(c *Command) { c.Actor = "" }), fine, ErrInvalid},
		"actor without form":  {edit(func(c *Command) { c.Actor = "root" }), fine, ErrInvalid},
		"actor without id":    {edit(func(c *Command) { c.Actor = "unix:" }), fine, ErrInvalid},
		"control character":   {edit(func(c *Command) { c.Entity = "a\nb" }), fine, ErrInvalid},
		"not UTF-8":           {edit(func(c *Command) { c.Entity = "a\xff" }), fine, ErrInvalid},
		"reason not UTF-8":    {edit(func(c *Command) { c.Reason = "a\xff" }), fine, ErrInvalid},
		"long ID":             {edit(func(c *Command) { c.ID = long }), fine, ErrTooLarge},
		"long reason":         {edit(func(c *Command) { c.Reason = strings.Repeat("x", MaxReason+1) }), fine, ErrTooLarge},
		"no type":             {good, event(Event{Schema: 1}), ErrInvalid},
		"long type":           {good, event(Event{Type: long, Schema: 1}), ErrTooLarge},
		"no schema":           {good, event(Event{Type: "t"}), ErrInvalid},
		"data not JSON":       {good, event(Event{Type: "t", Schema: 1, Data: json.RawMessage("{")}), ErrInvalid},
		"the ledger's own":    {good, event(Event{Type: TypeErased, Schema: 1}), ErrInvalid},
		"too many events":     {good, say(make([]string, MaxEvents+1)...), ErrTooLarge},
		"too many bytes":      {good, say(strings.Repeat("x", MaxBytes)), ErrTooLarge},
		"too many altogether": {good, say(strings.Repeat("x", MaxBytes/2), strings.Repeat("x", MaxBytes/2)), ErrTooLarge},
	} {
		if _, err := l.Commit(ctx, c.command, c.decide); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r, err := l.Commit(ctx, good, say(slices.Repeat([]string{strings.Repeat("x", MaxBytes/MaxEvents-10)}, MaxEvents)...))
	if err != nil || r.Version != MaxEvents {
		t.Errorf("the largest commit: %+v, %v", r, err)
	}
	if e := collect(t, l, Cursor{}); len(e) != MaxEvents {
		t.Errorf("%d events", len(e))
	}
}

func TestFollowGivesWhatIsThereAndWhatComes(t *testing.T) {
	l := mustOpen(t, testOptions(t, disk.System{}, t.TempDir()))
	commit(t, l, "1", "a", "1")
	two := commit(t, l, "2", "b", "2", "3")
	go func() {
		for i := 4; i <= 20; i++ {
			commit(t, l, fmt.Sprint(i), "a", fmt.Sprint(i))
		}
	}()
	var got []Event
	for e, err := range l.Follow(ctx, Cursor{}) {
		must(t, err)
		if got = append(got, e); len(got) == 20 {
			break
		}
	}
	for i, e := range got {
		if said(t, []Event{e}) != fmt.Sprint(i+1) {
			t.Fatalf("event %d is %s", i, said(t, got))
		}
	}
	// From the middle of a record on, its first event comes again.
	if got := said(t, collect(t, l, got[1].Cursor)); !strings.HasPrefix(got, "2 3 4") {
		t.Errorf("behind the second event: %s", got)
	}
	if got := said(t, collect(t, l, two.Cursor)); !strings.HasPrefix(got, "4 5") {
		t.Errorf("behind the third event: %s", got)
	}

	short, cancel := context.WithCancel(ctx)
	cancel()
	n := 0
	for _, err := range l.Follow(short, got[19].Cursor) {
		if n++; !errors.Is(err, context.Canceled) {
			t.Errorf("after the context: %v", err)
		}
	}
	ends := make(chan error, 1)
	go func() {
		for _, err := range l.Follow(ctx, got[19].Cursor) {
			ends <- err
		}
	}()
	must(t, l.Close())
	if err := <-ends; !errors.Is(err, ErrClosed) || n != 1 {
		t.Errorf("after Close: %v", err)
	}
	if _, err := l.Commit(ctx, command("late", "a"), say("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("a commit after Close: %v", err)
	}
}

func TestACursorOfAnotherLedgerIsRefused(t *testing.T) {
	a := mustOpen(t, testOptions(t, disk.System{}, t.TempDir()))
	b := mustOpen(t, testOptions(t, disk.System{}, t.TempDir()))
	ra, rb := commit(t, a, "1", "x", "1"), commit(t, b, "1", "x", "1")
	for _, c := range []Cursor{rb.Cursor, {at: 7, check: 1}, {at: 1 << 50}, {at: ra.Cursor.at}} {
		for _, err := range a.Events(c) {
			if !errors.Is(err, ErrCursor) {
				t.Errorf("%s: %v", c, err)
			}
		}
	}
}

func TestCursorsAndHeadsAsText(t *testing.T) {
	l := mustOpen(t, testOptions(t, disk.System{}, t.TempDir()))
	if h := l.Head(); h.String() != "0" {
		t.Errorf("head of an empty ledger: %s", h)
	}
	if c, err := l.Last(); err != nil || !c.IsZero() {
		t.Errorf("last of an empty ledger: %s, %v", c, err)
	}
	r := commit(t, l, "1", "x", "1")
	if c, err := l.Last(); err != nil || c != r.Cursor {
		t.Errorf("last: %s, %v", c, err)
	}
	for _, c := range []Cursor{{}, r.Cursor, {at: 1 << 63, check: 1}} {
		if got, err := ParseCursor(c.String()); err != nil || got != c {
			t.Errorf("%q: %v, %v", c, got, err)
		}
		if got, err := CursorFromBytes(c.Bytes()); err != nil || got != c {
			t.Errorf("%x: %v, %v", c.Bytes(), got, err)
		}
		text, err := json.Marshal(c)
		must(t, err)
		var back Cursor
		if err := json.Unmarshal(text, &back); err != nil || back != c {
			t.Errorf("%s: %v, %v", text, back, err)
		}
	}
	if c, err := CursorFromBytes(nil); err != nil || !c.IsZero() {
		t.Error(c, err)
	}
	for _, text := range []string{"x", "-", "1", "1-", "-1", "01-0000000000000001", "1-1", "1-0000000000000001 ", "1-000000000000000G"} {
		if c, err := ParseCursor(text); !errors.Is(err, ErrCursor) {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
	if _, err := CursorFromBytes([]byte("short")); !errors.Is(err, ErrCursor) {
		t.Error(err)
	}
	for _, h := range []Head{{}, l.Head()} {
		if got, err := ParseHead(h.String()); err != nil || got.String() != h.String() {
			t.Errorf("%s: %v, %v", h, got, err)
		}
	}
	for _, text := range []string{"", "1", "1:", ":00", "0:" + strings.Repeat("00", 16), "1:" + strings.Repeat("0", 31), "01:" + strings.Repeat("00", 16), "1:" + strings.Repeat("AB", 16)} {
		if h, err := ParseHead(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v, %v", text, h, err)
		}
	}
}

func TestOldSchemasAreUpcastWhenTheyAreRead(t *testing.T) {
	o := testOptions(t, disk.System{}, t.TempDir())
	o.Upcast = func(e *Event) error {
		if e.Schema == 1 {
			e.Schema, e.Data = 2, json.RawMessage(`{"text":`+string(e.Data)+`}`)
		}
		return nil
	}
	l := mustOpen(t, o)
	commit(t, l, "1", "x", "old")
	s, err := l.State("x")
	must(t, err)
	for _, e := range append(s.Events, collect(t, l, Cursor{})...) {
		if e.Schema != 2 || string(e.Data) != `{"text":"old"}` {
			t.Errorf("schema %d: %s", e.Schema, e.Data)
		}
	}
	must(t, l.Close())
	bad := errors.New("unknown schema")
	o.Upcast = func(*Event) error { return bad }
	l = mustOpen(t, o)
	for _, err := range l.Events(Cursor{}) {
		if !errors.Is(err, bad) {
			t.Error(err)
		}
	}
}

func TestACancelledCallerNeverSeesDecideRunLater(t *testing.T) {
	d := faulty.New("/state", 1)
	l := mustOpen(t, testOptions(t, d, "/state/ledger"))
	busy, release := make(chan struct{}), make(chan struct{})
	go func() {
		_, _ = l.Commit(ctx, command("slow", "a"), func(State) ([]Event, error) {
			close(busy)
			<-release
			return nil, nil
		})
	}()
	<-busy
	short, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	var returned, late atomic.Bool
	go func() {
		_, err := l.Commit(short, command("waiting", "b"), func(State) ([]Event, error) {
			late.Store(returned.Load())
			return say("x")(State{})
		})
		returned.Store(true)
		done <- err
	}()
	for len(l.queue) == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(release)
	commit(t, l, "next", "b", "y")
	s, err := l.State("b")
	must(t, err)
	if late.Load() || said(t, s.Events) != "y" {
		t.Errorf("decided after Commit had returned: %v; events %s", late.Load(), said(t, s.Events))
	}
}

func TestAFullDiskRecordsNothingAndTheLedgerGoesOn(t *testing.T) {
	d := faulty.New("/state", 1)
	o := testOptions(t, d, "/state/ledger")
	l := mustOpen(t, o)
	commit(t, l, "1", "x", "one")
	head := l.Head()
	d.SetCapacity(1)
	if _, err := l.Commit(ctx, command("2", "x"), say("two")); !errors.Is(err, disk.ErrNoSpace) {
		t.Fatalf("on a full disk: %v", err)
	}
	if l.Head().String() != head.String() {
		t.Error("the head moved")
	}
	if s, err := l.State("x"); err != nil || s.Version != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	d.SetCapacity(0)
	if r := commit(t, l, "2", "x", "two"); r.Version != 2 || r.Replayed {
		t.Errorf("%+v", r)
	}
	verify(t, d, "/state/ledger", nil)
}

func TestAFailedSyncStopsTheLedgerUntilItIsOpenedAnew(t *testing.T) {
	d := faulty.New("/state", 1)
	o := testOptions(t, d, "/state/ledger")
	l := mustOpen(t, o)
	commit(t, l, "1", "x", "one")
	d.Inject(func(op faulty.Op) error {
		if op.Kind == faulty.Sync {
			return errors.New("input/output error")
		}
		return nil
	})
	for _, id := range []string{"2", "3"} {
		if _, err := l.Commit(ctx, command(id, "x"), say(id)); !errors.Is(err, wal.ErrFailed) {
			t.Errorf("%s: %v", id, err)
		}
	}
	d.Inject(nil)
	must(t, l.Close())
	l = mustOpen(t, o)
	two := commit(t, l, "2", "x", "two") // it may be there already; either way there is one
	if two.Version != 2 {
		t.Errorf("%+v", two)
	}
	verify(t, d, "/state/ledger", nil)
}

func TestTheIndexCatchesUpWithoutADatabaseToWriteTo(t *testing.T) {
	o := testOptions(t, disk.System{}, t.TempDir())
	l := mustOpen(t, o)
	for i := range 100 {
		commit(t, l, fmt.Sprint(i), fmt.Sprint("e", i%7), fmt.Sprint(i))
	}
	must(t, o.Index.Close()) // from now on only memory knows what is new
	for i := range 10 {
		if _, err := l.Commit(ctx, command(fmt.Sprint("late", i), "fresh"+fmt.Sprint(i)), say("x")); err != nil && !errors.Is(err, kv.ErrClosed) {
			t.Fatal(err)
		}
	}
	must(t, l.Close())
	o.Index = memoryIndex(t)
	l = mustOpen(t, o)
	if r := commit(t, l, "99", "e1", "x"); !r.Replayed {
		t.Errorf("%+v", r)
	}
}

func TestTheIndexIsExactWhileItIsWritten(t *testing.T) {
	x, err := newIndex(memoryIndex(t), "ledger/", zap.NewNop())
	must(t, err)
	short, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for short.Err() == nil {
			if err := x.flush(); err != nil {
				t.Error(err)
			}
		}
	}()
	for n := uint64(1); n <= 3000; n++ {
		entity := fmt.Sprint("e", n%3)
		x.add([]change{{entry{entity, n, Cursor{at: wal.Position(n)}}, fmt.Sprint("c", n), false}})
		for back := uint64(0); back < min(n, 3); back++ {
			entity := fmt.Sprint("e", (n-back)%3)
			if e, ok, err := x.entity(entity); err != nil || !ok || e.version != n-back {
				t.Fatalf("version %d of %s, %v, instead of %d", e.version, entity, err, n-back)
			}
		}
		if e, ok, err := x.command(fmt.Sprint("c", n/2+1)); err != nil || !ok || e.version != n/2+1 {
			t.Fatalf("command %d: %v, %v", n/2+1, ok, err)
		}
		time.Sleep(time.Microsecond) // the writer comes to its end somewhere between two additions
	}
	must(t, x.flush())
	cancel()
	<-done
	if len(x.entities) != 0 || len(x.commands) != 0 || len(x.waiting) != 0 {
		t.Errorf("left in memory: %d entities, %d commands, %d records", len(x.entities), len(x.commands), len(x.waiting))
	}
	x.close()
}

func TestWhenTheIndexIsTooFarBehindCommitsAreRefused(t *testing.T) {
	o := testOptions(t, disk.System{}, t.TempDir())
	l := mustOpen(t, o)
	commit(t, l, "1", "x", "one")
	must(t, l.index.flush())
	l.index.mu.Lock()
	l.index.waiting = make([]change, maxWaiting)
	l.index.err = disk.ErrNoSpace
	l.index.mu.Unlock()
	if _, err := l.Commit(ctx, command("2", "x"), say("two")); !errors.Is(err, ErrBehind) || !errors.Is(err, disk.ErrNoSpace) {
		t.Errorf("%v", err)
	}
	if r := commit(t, l, "1", "x", "one"); !r.Replayed { // known commands still get their receipt
		t.Errorf("%+v", r)
	}
	l.index.mu.Lock()
	l.index.waiting = nil
	l.index.mu.Unlock()
	commit(t, l, "2", "x", "two")
}

func TestTheIndexIsBuiltAgainWhenItDoesNotFitTheLog(t *testing.T) {
	root := t.TempDir()
	o := testOptions(t, disk.System{}, filepath.Join(root, "one"))
	l := mustOpen(t, o)
	commit(t, l, "1", "x", "one")
	commit(t, l, "2", "y", "one")
	must(t, l.Close())
	o.Dir = filepath.Join(root, "two") // as if another ledger had been restored under it
	l = mustOpen(t, o)
	if s, err := l.State("x"); err != nil || s.Version != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if r := commit(t, l, "1", "x", "two"); r.Replayed || r.Version != 1 {
		t.Errorf("%+v", r)
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(*Options){
		"no FS":     func(o *Options) { o.FS = nil },
		"no Dir":    func(o *Options) { o.Dir = "" },
		"no Index":  func(o *Options) { o.Index = nil },
		"short Key": func(o *Options) { o.Key = []byte("x") },
		"no NewID":  func(o *Options) { o.NewID = nil },
		"no Node":   func(o *Options) { o.Node = "" },
		"two views": func(o *Options) { o.Views = []View{&listView{name: "v"}, &listView{name: "v"}} },
	} {
		o := testOptions(t, disk.System{}, t.TempDir())
		spoil(&o)
		if l, err := Open(o); err == nil {
			closeLedger(l)
			t.Errorf("%s: opened", name)
		}
	}
	o := testOptions(t, disk.System{}, t.TempDir())
	o.NewID = func() string { return "no ULID" }
	l := mustOpen(t, o)
	if _, err := l.Commit(ctx, command("1", "x"), say("x")); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}
