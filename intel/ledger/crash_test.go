package ledger

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/crashtest"
	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/intel/kv"
)

// clerk commits to a ledger on a faulty disk and remembers what he was told.
type clerk struct {
	t testing.TB

	mu       sync.Mutex
	n        int
	receipts map[string]Receipt // by command
	open     []string           // commands whose outcome he does not know
	head     Head
	erasing  bool // an Erase of the entity "private" may be recorded
	scrubbed bool // and was carried out
}

func newClerk(t testing.TB) *clerk { return &clerk{t: t, receipts: map[string]Receipt{}} }

const private = "private text"

// ledger opens the ledger with an index that knows nothing: its own crash safety
// is tested where it lives.
func (c *clerk) ledger(d *faulty.Disk) (*Ledger, func(), error) {
	db, err := kv.Open(kv.Options{Name: "views", InMemory: true})
	must(c.t, err)
	l, err := Open(Options{
		FS: d, Dir: "/state/ledger", Index: db, Node: "node01", Key: testKey(), SegmentBytes: 4000,
		NewID: func() string { return ulid.Make().String() },
		Clock: func() time.Time { return time.Unix(1, 0) },
	})
	if err != nil {
		_ = db.Close()
		return nil, nil, err
	}
	return l, func() { _ = l.Close(); _ = db.Close() }, nil
}

func (c *clerk) commit(l *Ledger, id, entity, text string) error {
	r, err := l.Commit(ctx, command(id, entity), say(text+" "+id))
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.open = append(c.open, id)
		return err
	}
	if before, ok := c.receipts[id]; ok && (before.Version != r.Version || before.Cursor != r.Cursor) {
		return fmt.Errorf("command %s: receipt %+v, and before that %+v", id, r, before)
	}
	c.receipts[id] = r
	return nil
}

func (c *clerk) next() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return fmt.Sprintf("c%d", c.n)
}

func (c *clerk) Run(d *faulty.Disk) error {
	l, closeAll, err := c.ledger(d)
	if err != nil {
		return err
	}
	defer closeAll()
	c.mu.Lock()
	again := c.open
	c.open = nil
	c.mu.Unlock()
	for _, id := range again { // who got no answer tries again
		if err := c.commit(l, id, "e1", "text"); err != nil {
			return err
		}
	}
	for range 4 {
		if err := c.commit(l, c.next(), "e1", strings.Repeat("text ", 60)); err != nil {
			return err
		}
	}
	if !c.erasing {
		if err := c.commit(l, c.next(), "private", private); err != nil {
			return err
		}
	}
	if err := c.fill(d, l); err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { errs[i] = c.commit(l, c.next(), fmt.Sprint("e", i), "text") })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	c.head = l.Head()
	c.erasing = true
	if _, err := l.Erase(ctx, Command{ID: "erase", Entity: "private", Actor: "unix:0"}); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	c.head = l.Head()
	if _, err := l.Scrub(ctx); err != nil {
		return err
	}
	c.scrubbed = true
	return c.commit(l, c.next(), "e2", "text")
}

// fill runs into a full disk once.
func (c *clerk) fill(d *faulty.Disk, l *Ledger) error {
	free, err := d.Free("/state")
	if err != nil {
		return err
	}
	used := int64(1<<50) - free
	for _, s := range l.log.Segments() {
		used += s.Bytes
	}
	d.SetCapacity(used + 900)
	err = c.commit(l, c.next(), "e3", strings.Repeat("large ", 250))
	d.SetCapacity(0)
	if d.Dead() {
		return err
	}
	if !errors.Is(err, disk.ErrNoSpace) {
		return fmt.Errorf("on a full disk: %w", err)
	}
	return c.commit(l, c.next(), "e3", strings.Repeat("small ", 60))
}

func (c *clerk) Check(d *faulty.Disk) error {
	l, closeAll, err := c.ledger(d)
	if err != nil {
		return err
	}
	defer closeAll()
	r, err := OpenReader(d, "/state/ledger", nil)
	if err != nil {
		return err
	}
	if _, err := r.Verify(testKey(), &c.head); err != nil {
		return err
	}
	seen := map[string]Event{}
	for e, err := range l.Events(Cursor{}) {
		if err != nil {
			return err
		}
		if _, twice := seen[e.Command]; twice {
			return fmt.Errorf("command %s was recorded twice", e.Command)
		}
		seen[e.Command] = e
		if c.scrubbed && strings.Contains(string(e.Data), private) {
			return errors.New("a wiped text is back")
		}
	}
	for id, receipt := range c.receipts {
		e, ok := seen[id]
		if !ok || e.Version != receipt.Version || e.Entity != receipt.Entity || e.Cursor != receipt.Cursor {
			return fmt.Errorf("command %s had the receipt %+v; there is %+v", id, receipt, e)
		}
		if !e.Erased && !strings.HasSuffix(string(e.Data), id+`"`) {
			return fmt.Errorf("command %s is recorded with data %s", id, e.Data)
		}
	}
	for _, entity := range []string{"e1", "e2", "e3", "private"} {
		if _, err := l.State(entity); err != nil {
			return err
		}
	}
	return nil
}

// Every sync lies in package wal, whose own suite leaves out each of them. Here it
// is enough to see that the ledger relies on them.
func TestNoCommitIsLostWhenThePowerGoes(t *testing.T) {
	s := crashtest.Suite{New: func() crashtest.Workload { return newClerk(t) }, Tears: 6, Trials: 100}
	if _, err := s.Loss(""); err != nil {
		t.Fatal(err)
	}
	if testing.Short() {
		return
	}
	for _, site := range []disk.Site{"wal.append", "wal.open"} {
		if _, err := s.Loss(site); err == nil {
			t.Errorf("leaving out the sync %q lost nothing", site)
		}
	}
}

func TestNoCommitIsLostWhenTheProcessIsKilled(t *testing.T) {
	const dirEnv = "WEIR_TEST_DIR"
	if crashtest.IsChild(t) {
		o := testOptions(t, disk.System{}, os.Getenv(dirEnv)+"/ledger")
		db, err := kv.Open(kv.Options{FS: disk.System{}, Dir: os.Getenv(dirEnv) + "/views", Name: "views", MinFree: -1})
		must(t, err)
		o.Index = db
		l := mustOpen(t, o)
		var wg sync.WaitGroup
		for c := range 8 {
			wg.Go(func() {
				for {
					id := ulid.Make().String()
					r := commit(t, l, id, fmt.Sprint("e", c), "text")
					fmt.Printf("ack %s %d %s\n", id, r.Version, r.Cursor)
				}
			})
		}
		wg.Wait()
		return
	}
	dir := t.TempDir()
	acked := map[string]string{}
	for i := range 8 {
		for _, line := range crashtest.RunUntilKilled(t, time.Duration(i*13)*time.Millisecond, dirEnv+"="+dir) {
			var id, rest string
			var version int
			if n, _ := fmt.Sscanf(line, "ack %s %d %s", &id, &version, &rest); n == 3 {
				acked[id] = fmt.Sprint(version, " ", rest)
			}
		}
		verify(t, disk.System{}, dir+"/ledger", nil)
		r, err := OpenReader(disk.System{}, dir+"/ledger", nil)
		must(t, err)
		found := map[string]string{}
		for e, err := range r.Events() {
			must(t, err)
			found[e.Command] = fmt.Sprint(e.Version, " ", e.Cursor)
		}
		for id, want := range acked {
			if found[id] != want {
				t.Fatalf("command %s was acknowledged as %s and is %q", id, want, found[id])
			}
		}
	}
	if len(acked) < 50 {
		t.Errorf("only %d commits were acknowledged: the test says little", len(acked))
	}
	// The index of a killed process is kept, and fits.
	db, err := kv.Open(kv.Options{FS: disk.System{}, Dir: dir + "/views", Name: "views", MinFree: -1})
	must(t, err)
	defer func() { _ = db.Close() }()
	if db.Rebuilt() != "" {
		t.Errorf("the index was emptied: %s", db.Rebuilt())
	}
	o := testOptions(t, disk.System{}, dir+"/ledger")
	o.Index = db
	l := mustOpen(t, o)
	for id := range acked {
		if r := commit(t, l, id, "e0", "again"); !r.Replayed {
			t.Fatalf("command %s was committed twice", id)
		}
	}
}

func TestADiskFilledByOthersStopsTheIndexFirstAndTheLedgerLast(t *testing.T) {
	if testing.Short() {
		t.Skip("much to do in one goroutine")
	}
	folder := crashtest.SmallDisk(t, 160<<20)
	db, err := kv.Open(kv.Options{FS: disk.System{}, Dir: folder + "/views", Name: "views", MinFree: 80 << 20})
	must(t, err)
	defer func() { _ = db.Close() }()
	o := testOptions(t, disk.System{}, folder+"/ledger")
	o.Index, o.MinFree = db, 1<<20
	l := mustOpen(t, o)
	commit(t, l, "first", "x", "one")
	must(t, l.index.flush())

	// Others leave less than the database needs: the ledger goes on without it.
	must(t, os.WriteFile(folder+"/stranger", make([]byte, 90<<20), 0o600))
	n := 0
	for ; ; n++ {
		id := fmt.Sprint("c", n)
		if _, err = l.Commit(ctx, command(id, id), say(strings.Repeat("x", 500_000))); err != nil {
			break
		}
	}
	if !errors.Is(err, disk.ErrNoSpace) || n < 20 {
		t.Fatalf("after %d commits: %v", n, err)
	}
	if r := commit(t, l, "c3", "again", "x"); !r.Replayed || r.Entity != "c3" {
		t.Errorf("%+v", r)
	}
	if s, err := l.State("c5"); err != nil || s.Version != 1 {
		t.Errorf("%+v, %v", s.Version, err)
	}
	verify(t, disk.System{}, o.Dir, nil)

	// With room again all goes on, and the index catches up.
	must(t, os.Remove(folder+"/stranger"))
	commit(t, l, fmt.Sprint("c", n), "x", "two")
	must(t, l.index.flush())
	verify(t, disk.System{}, o.Dir, nil)
}
