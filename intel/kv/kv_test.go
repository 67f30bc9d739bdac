package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/crashtest"
	"github.com/weirmail/weir/intel/disk/faulty"
)

func testOptions(dir string) Options {
	return Options{FS: disk.System{}, Dir: dir, Name: "test", Schema: 1, MinFree: -1}
}

func mustOpen(t *testing.T, o Options) *DB {
	t.Helper()
	db, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func commit(t *testing.T, db *DB, fill func(b *Batch)) {
	t.Helper()
	var b Batch
	fill(&b)
	must(t, db.Commit(&b))
}

func snapshot(t *testing.T, db *DB) *Snapshot {
	t.Helper()
	s, err := db.Snapshot()
	must(t, err)
	t.Cleanup(s.Release)
	return s
}

func get(t *testing.T, s *Snapshot, key string) string {
	t.Helper()
	v, ok, err := s.Get([]byte(key), nil)
	must(t, err)
	if !ok {
		return "-"
	}
	return string(v)
}

func keys(t *testing.T, s *Snapshot, prefix, from string) string {
	t.Helper()
	var list []string
	for e, err := range s.Range([]byte(prefix), []byte(from)) {
		must(t, err)
		list = append(list, string(e.Key)+"="+string(e.Value))
	}
	return strings.Join(list, " ")
}

// both runs a test on disk and in memory.
func both(t *testing.T, test func(t *testing.T, o Options)) {
	t.Run("disk", func(t *testing.T) { test(t, testOptions(t.TempDir())) })
	t.Run("memory", func(t *testing.T) { test(t, Options{Name: "test", InMemory: true}) })
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		db := mustOpen(t, o)
		commit(t, db, func(b *Batch) {
			b.Set([]byte("a"), []byte("1"))
			b.Set([]byte("b/1"), nil)
			b.Set([]byte("b/2"), []byte("x"))
			b.Set([]byte("b/2"), []byte("2"))
			b.Set([]byte("c"), []byte("3"))
			b.SetApplied("one", []byte("cursor 1"))
			b.SetApplied("two", []byte("cursor 2"))
		})
		before := snapshot(t, db)
		commit(t, db, func(b *Batch) {
			b.Delete([]byte("a"))
			b.Delete([]byte("never there"))
			b.Set([]byte("c"), []byte("4"))
			b.SetApplied("one", []byte("cursor 3"))
		})
		after := snapshot(t, db)
		for _, c := range []struct {
			s                   *Snapshot
			a, c, one, all, sub string
		}{
			{before, "1", "3", "cursor 1", "a=1 b/1= b/2=2 c=3", "b/1= b/2=2"},
			{after, "-", "4", "cursor 3", "b/1= b/2=2 c=4", "b/1= b/2=2"},
		} {
			if got := get(t, c.s, "a"); got != c.a {
				t.Errorf("a is %q", got)
			}
			if got := get(t, c.s, "c"); got != c.c {
				t.Errorf("c is %q", got)
			}
			if got, err := c.s.Applied("one"); string(got) != c.one || err != nil {
				t.Errorf("one: %q, %v", got, err)
			}
			if got, err := c.s.Applied("two"); string(got) != "cursor 2" || err != nil {
				t.Errorf("two: %q, %v", got, err)
			}
			if got, err := c.s.Applied("three"); got != nil || err != nil {
				t.Errorf("three: %q, %v", got, err)
			}
			if got := keys(t, c.s, "", ""); got != c.all {
				t.Errorf("all: %s", got)
			}
			if got := keys(t, c.s, "b/", ""); got != c.sub {
				t.Errorf("below b/: %s", got)
			}
		}
		if got := keys(t, after, "b/", "b/2"); got != "b/2=2" {
			t.Errorf("from b/2: %s", got)
		}
		if got := get(t, after, "b/1"); got != "" {
			t.Errorf("an empty value is %q", got)
		}
		buf := []byte("kept ")
		if v, ok, err := after.Get([]byte("c"), buf); string(v) != "kept 4" || !ok || err != nil {
			t.Errorf("appended: %q", v)
		}
		for e, err := range after.Range(nil, nil) { // leaving a loop early is fine
			must(t, err)
			_ = e
			break
		}
	})
}

func TestWhatCannotBeWrittenIsRefusedWhole(t *testing.T) {
	db := mustOpen(t, Options{Name: "test", InMemory: true})
	for name, c := range map[string]struct {
		fill func(*Batch)
		want error
	}{
		"an empty key":        {func(b *Batch) { b.Set(nil, nil) }, ErrReserved},
		"our own key":         {func(b *Batch) { b.Set([]byte("\x00x"), nil) }, ErrReserved},
		"Badger's own key":    {func(b *Batch) { b.Delete([]byte("!badger!x")) }, ErrReserved},
		"a long key":          {func(b *Batch) { b.Set(make([]byte, MaxKey+1), nil) }, ErrReserved},
		"a longer key":        {func(b *Batch) { b.Set(bytes.Repeat([]byte("k"), MaxKey+1), nil) }, ErrTooLarge},
		"a large value":       {func(b *Batch) { b.Set([]byte("k"), make([]byte, MaxValue+1)) }, ErrTooLarge},
		"too many changes":    {func(b *Batch) { fillWith(b, maxBatchCount+1, 1) }, ErrTooLarge},
		"too many bytes":      {func(b *Batch) { fillWith(b, 10, maxBatchBytes/10) }, ErrTooLarge},
		"a good change after": {func(b *Batch) { b.Set(nil, nil); b.Set([]byte("k"), nil) }, ErrReserved},
	} {
		var b Batch
		b.Set([]byte("first"), nil)
		c.fill(&b)
		if err := db.Commit(&b); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := keys(t, snapshot(t, db), "", ""); got != "" {
		t.Errorf("left: %s", got)
	}
}

func fillWith(b *Batch, n, size int) {
	for i := range n {
		b.Set(fmt.Appendf(nil, "key %07d", i), make([]byte, size))
	}
}

// Badger has bounds of its own: ours have to lie below them.
func TestABatchThatIsJustFullFits(t *testing.T) {
	db := mustOpen(t, testOptions(t.TempDir()))
	for _, size := range []int{0, 20, 1000, MaxValue} {
		var b Batch
		for n := 0; b.Room(1, 11+size); n++ {
			b.Set(fmt.Appendf(nil, "k%05d%05d", size%100000, n), make([]byte, size))
		}
		if err := db.Commit(&b); err != nil {
			t.Errorf("%d changes with values of %d bytes: %v", b.Len(), size, err)
		}
	}
	var b Batch
	for n := 0; b.Room(1, MaxKey); n++ {
		b.Set(fmt.Appendf(nil, "%0*d", MaxKey, n), nil)
	}
	must(t, db.Commit(&b))
	b.Reset()
	if b.Len() != 0 || !b.Room(maxBatchCount, 0) {
		t.Error("a batch that was reset is not empty")
	}
}

func TestAWriterWritesMoreThanABatchHolds(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		db := mustOpen(t, o)
		const n = maxBatchCount*2 + 17
		w := db.NewWriter(context.Background(), 0.01)
		for i := range n {
			must(t, w.Set(fmt.Appendf(nil, "key %07d", i), []byte("v")))
		}
		must(t, w.SetApplied("reader", []byte("end")))
		must(t, w.Flush())
		must(t, w.Flush())
		s := snapshot(t, db)
		count := 0
		for _, err := range s.Range([]byte("key "), nil) {
			must(t, err)
			count++
		}
		if got, err := s.Applied("reader"); count != n || string(got) != "end" || err != nil {
			t.Errorf("%d keys, applied %q, %v", count, got, err)
		}
		commit(t, db, func(b *Batch) { b.Set([]byte("other"), nil) })
		must(t, db.DeletePrefix(context.Background(), []byte("key ")))
		if got := keys(t, snapshot(t, db), "", ""); got != "other=" {
			t.Errorf("after deleting by prefix: %.80s", got)
		}
		if err := w.Set(nil, nil); !errors.Is(err, ErrReserved) {
			t.Error(err)
		}
	})
}

func TestAWriterEndsWithItsContext(t *testing.T) {
	db := mustOpen(t, Options{Name: "test", InMemory: true})
	ctx, cancel := context.WithCancel(context.Background())
	w := db.NewWriter(ctx, 1e9)
	must(t, w.Set([]byte("k"), nil))
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := w.Flush(); !errors.Is(err, context.Canceled) {
		t.Errorf("resting: %v", err)
	}
	if err := w.Flush(); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

func TestADatabaseKeepsItsContentOnlyWithoutDoubt(t *testing.T) {
	const (
		closed = iota
		died   // without closing
		copied // while in use
	)
	kept := func(*Options) {}
	reboot := func(o *Options) { o.BootID = "other" }
	for name, c := range map[string]struct {
		end    int
		change func(o *Options)
		reason string // "" when the content is kept
	}{
		"closed":                     {closed, kept, ""},
		"closed, then another boot":  {closed, reboot, ""},
		"closed and copied":          {closed, moveToCopy, ""},
		"process died":               {died, kept, ""},
		"process died, machine too":  {died, reboot, "when the machine stopped"},
		"copied while it was in use": {copied, kept, "copied"},
		"another schema":             {closed, func(o *Options) { o.Schema = 2 }, "schema version 1, and 2"},
		"marker lost":                {closed, func(o *Options) { _ = os.Remove(o.Dir + "/marker") }, "it is new"},
		"marker of the future":       {closed, func(o *Options) { mark(o.Dir, "weir-kv 2 x\n") }, "cannot be read"},
		"marker too long":            {closed, func(o *Options) { mark(o.Dir, strings.Repeat("x", 5000)) }, "cannot be read"},
		"marker torn":                {closed, func(o *Options) { mark(o.Dir, "") }, "cannot be read"},
		"emptying was interrupted":   {closed, func(o *Options) { edit(o.Dir, "state=closed", "state=empty") }, "did not come to its end"},
		"manifest damaged":           {closed, func(o *Options) { spoil(o.Dir + "/data/MANIFEST") }, "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(filepath.Join(t.TempDir(), "db"))
			o.BootID = "this"
			db := mustOpen(t, o)
			if db.Rebuilt() != "it is new" {
				t.Errorf("at first: %q", db.Rebuilt())
			}
			commit(t, db, func(b *Batch) {
				b.Set([]byte("k"), []byte("v"))
				b.SetApplied("r", []byte("c"))
			})
			if c.end != closed {
				moveToCopy(&o) // the files as they are while Badger has them open
			}
			if c.end == died {
				adopt(t, o.Dir)
			}
			must(t, db.Close())
			c.change(&o)

			db = mustOpen(t, o)
			if !strings.Contains(db.Rebuilt(), c.reason) || (db.Rebuilt() == "") != (c.reason == "") {
				t.Errorf("rebuilt because %q", db.Rebuilt())
			}
			s := snapshot(t, db)
			applied, err := s.Applied("r")
			must(t, err)
			if lost := get(t, s, "k") == "-"; lost != (c.reason != "") || lost != (applied == nil) {
				t.Errorf("content lost: %v; applied: %q", lost, applied)
			}
			commit(t, db, func(b *Batch) { b.Set([]byte("again"), nil) })
			must(t, db.Close())
			if db = mustOpen(t, o); db.Rebuilt() != "" || get(t, snapshot(t, db), "again") != "" {
				t.Errorf("after that: %q", db.Rebuilt())
			}
		})
	}
}

func mark(dir, text string) { _ = os.WriteFile(dir+"/marker", []byte(text), 0o600) }

func edit(dir, from, to string) {
	text, _ := os.ReadFile(dir + "/marker")
	mark(dir, strings.Replace(string(text), from, to, 1))
}

func spoil(name string) {
	b, _ := os.ReadFile(name)
	for i := range b {
		b[i] ^= 0x55
	}
	_ = os.WriteFile(name, b, 0o600)
}

// moveToCopy puts a copy in the place of the folder.
func moveToCopy(o *Options) {
	if err := os.CopyFS(o.Dir+".copy", os.DirFS(o.Dir)); err != nil {
		panic(err)
	}
	o.Dir += ".copy"
}

// adopt makes the marker of a copied folder say that it is the original.
func adopt(t *testing.T, dir string) {
	t.Helper()
	db := &DB{o: Options{Dir: dir}}
	m, err := db.marker(stateOpen)
	must(t, err)
	text, err := os.ReadFile(dir + "/marker")
	must(t, err)
	was, ok := parseMarker(string(text))
	if !ok {
		t.Fatalf("marker %q", text)
	}
	edit(dir, was.folder, m.folder)
}

func TestADamagedTableIsFoundWhenTheDatabaseIsOpened(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, testOptions(dir))
	commit(t, db, func(b *Batch) { fillWith(b, 1000, 100) })
	must(t, db.Close())
	tables, err := filepath.Glob(dir + "/data/*.sst")
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	b, err := os.ReadFile(tables[0])
	must(t, err)
	b[2000] ^= 1
	must(t, os.WriteFile(tables[0], b, 0o600))
	db = mustOpen(t, testOptions(dir))
	if !strings.Contains(db.Rebuilt(), "damaged") {
		t.Errorf("rebuilt because %q", db.Rebuilt())
	}
	if got := keys(t, snapshot(t, db), "", ""); got != "" {
		t.Errorf("left: %.100s", got)
	}
}

func TestNothingIsOpenedOrWrittenBelowTheSpaceBound(t *testing.T) {
	dir := t.TempDir()
	root := faulty.New(dir, 1)
	o := testOptions(filepath.Join(dir, "db"))
	o.FS, o.MinFree = root, 5000
	root.SetCapacity(4000)
	if _, err := Open(o); !errors.Is(err, disk.ErrNoSpace) {
		t.Fatalf("opened: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "db")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("Badger was let at a full disk")
	}
	root.SetCapacity(50_000)
	db := mustOpen(t, o)
	var b Batch
	b.Set([]byte("k"), make([]byte, 46_000))
	if err := db.Commit(&b); !errors.Is(err, disk.ErrNoSpace) {
		t.Errorf("written: %v", err)
	}
	root.SetCapacity(0)
	must(t, db.Commit(&b))
}

func TestADiskFilledByOthersDoesNotKillTheProcess(t *testing.T) {
	folder := crashtest.SmallDisk(t, 128<<20)
	o := testOptions(filepath.Join(folder, "db"))
	o.MinFree = 80 << 20
	db := mustOpen(t, o)
	stranger := filepath.Join(folder, "stranger")
	must(t, os.WriteFile(stranger, make([]byte, 100<<20), 0o600))
	var b Batch
	b.Set([]byte("k"), []byte("v"))
	if err := db.Commit(&b); !errors.Is(err, disk.ErrNoSpace) {
		t.Fatalf("written: %v", err)
	}
	must(t, db.Close())
	if _, err := Open(o); !errors.Is(err, disk.ErrNoSpace) {
		t.Fatalf("opened: %v", err)
	}
	must(t, os.Remove(stranger))
	db = mustOpen(t, o)
	must(t, db.Commit(&b))
}

func TestWritingUntilTheBoundStopsInGoodOrder(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 100 MB")
	}
	folder := crashtest.SmallDisk(t, 200<<20)
	o := testOptions(filepath.Join(folder, "db"))
	o.MinFree = 100 << 20
	db := mustOpen(t, o)
	rng := rand.New(rand.NewPCG(1, 1))
	value := make([]byte, 1000)
	n := 0
	for {
		var b Batch
		for b.Room(1, 1020) {
			for i := range value {
				value[i] = byte(rng.Uint32())
			}
			b.Set(fmt.Appendf(nil, "%016x", rng.Uint64()), value)
		}
		if err := db.Commit(&b); errors.Is(err, disk.ErrNoSpace) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		n += b.Len()
	}
	if n < 10_000 {
		t.Errorf("only %d keys were written", n)
	}
	s := snapshot(t, db)
	count := 0
	for _, err := range s.Range(nil, nil) {
		must(t, err)
		count++
	}
	if count != n {
		t.Errorf("%d of %d keys", count, n)
	}
}

func TestASecondOpenIsRefused(t *testing.T) {
	o := testOptions(t.TempDir())
	mustOpen(t, o)
	var locked *disk.LockedError
	if _, err := Open(o); !errors.As(err, &locked) {
		t.Errorf("%v", err)
	}
}

func TestSnapshotsAndCloseGetAlong(t *testing.T) {
	both(t, func(t *testing.T, o Options) {
		db := mustOpen(t, o)
		commit(t, db, func(b *Batch) { fillWith(b, 1000, 10) })
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					s, err := db.Snapshot()
					if errors.Is(err, ErrClosed) {
						return
					}
					must(t, err)
					go s.Release() // at any moment
					_, ok, err := s.Get([]byte("key 0000003"), nil)
					if err == nil && !ok || err != nil && !errors.Is(err, ErrReleased) && !errors.Is(err, ErrClosed) {
						t.Errorf("%v, %v", ok, err)
					}
					for _, err := range s.Range(nil, nil) {
						if err != nil && !errors.Is(err, ErrReleased) && !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						var b Batch // a write inside a loop
						b.Set([]byte("key 0000003"), nil)
						if err := db.Commit(&b); err != nil && !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						break
					}
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		s := snapshot(t, db)
		must(t, db.Close())
		wg.Wait()
		if _, _, err := s.Get([]byte("k"), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		s.Release()
		s.Release()
		must(t, db.Close())
		if db.Size() != 0 {
			t.Error("a closed database has a size")
		}
	})
}

func TestMetricsTellTheSize(t *testing.T) {
	reg := prometheus.NewRegistry()
	o := testOptions(t.TempDir())
	o.Metrics = reg
	db := mustOpen(t, o)
	commit(t, db, func(b *Batch) { fillWith(b, 100, 1000) })
	must(t, db.Close())
	mustOpen(t, o)
	families, err := reg.Gather()
	must(t, err)
	if len(families) != 1 || families[0].GetName() != "weir_db_bytes" || families[0].GetMetric()[0].GetGauge().GetValue() < 100_000 {
		t.Errorf("%v", families)
	}
	o2 := testOptions(t.TempDir())
	o2.Metrics = reg
	if _, err := Open(o2); err == nil {
		t.Error("two databases of one name share a registry")
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	for name, o := range map[string]Options{
		"no name":    {FS: disk.System{}, Dir: "x"},
		"no FS":      {Name: "x", Dir: "x"},
		"no Dir":     {Name: "x", FS: disk.System{}},
		"odd boot":   {Name: "x", FS: disk.System{}, Dir: "x", BootID: "a b"},
		"no parent":  {Name: "x", FS: disk.System{}, Dir: "/nowhere/at/all"},
		"not a name": {Name: "x", FS: disk.System{}, Dir: os.DevNull},
	} {
		if db, err := Open(o); err == nil {
			_ = db.Close()
			t.Errorf("%s: opened", name)
		}
	}
}

// user opens a database, writes and closes it. Badger's own files do not live on
// the faulty disk: what is looked at is whether they are trusted when a power cut
// can have spoilt them, and kept when Close has said that they are safe.
type user struct {
	t        *testing.T
	root     string
	unsynced string // the boot under which something was last written and not synced
	safe     bool   // Close said yes, and nothing was opened since
}

func (u *user) Root() string { return u.root }

func (u *user) open(d *faulty.Disk) (*DB, error) {
	o := testOptions(u.root + "/db")
	o.FS, o.BootID = d, d.BootID()
	must(u.t, os.MkdirAll(o.Dir, 0o700))
	return Open(o)
}

func (u *user) Run(d *faulty.Disk) error {
	db, err := u.open(d)
	if err != nil {
		return err
	}
	u.unsynced, u.safe = d.BootID(), false
	err = db.Close() // syncs Badger's files, whatever becomes of the marker
	u.unsynced, u.safe = "", err == nil
	return err
}

func (u *user) Check(d *faulty.Disk) error {
	db, err := u.open(d)
	if err != nil {
		return err
	}
	defer func() { u.unsynced, u.safe = "", true }()
	defer func() { must(u.t, db.Close()) }()
	switch reason := db.Rebuilt(); {
	case reason == "" && u.unsynced != "" && u.unsynced != d.BootID():
		return errors.New("the database is trusted after a power cut")
	case reason != "" && u.safe:
		return errors.New("the database was closed in good order and is emptied: " + reason)
	}
	return nil
}

func TestTheMarkerIsRightWhenThePowerGoes(t *testing.T) {
	crashtest.Suite{New: func() crashtest.Workload { return &user{t: t, root: t.TempDir()} }, Tears: 1, Trials: 20}.Test(t)
}

func TestClosingEndsAlthoughTheFolderIsGone(t *testing.T) {
	o := testOptions(filepath.Join(t.TempDir(), "db"))
	o.closeWithin = 100 * time.Millisecond
	db := mustOpen(t, o)
	commit(t, db, func(b *Batch) { b.Set([]byte("k"), []byte("v")) })
	must(t, os.RemoveAll(o.Dir))
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	select {
	case err := <-closed:
		if !errors.Is(err, ErrStuck) {
			t.Errorf("closed with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("Close does not end")
	}
	if _, err := db.Snapshot(); !errors.Is(err, ErrClosed) {
		t.Errorf("a snapshot of it: %v", err)
	}
	must(t, os.MkdirAll(db.data(), 0o700)) // so that Badger comes to its end
}

func TestClosingEndsAlthoughSomebodyIsInside(t *testing.T) {
	o := Options{Name: "test", InMemory: true, closeWithin: 50 * time.Millisecond}
	db := mustOpen(t, o)
	commit(t, db, func(b *Batch) { b.Set([]byte("k"), []byte("v")) })
	for _, err := range snapshot(t, db).Range(nil, nil) {
		must(t, err)
		if err := db.Close(); !errors.Is(err, ErrStuck) {
			t.Errorf("closed with %v", err)
		}
		return
	}
	t.Error("nothing was read")
}
