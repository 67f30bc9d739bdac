package wal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/faulty"
)

func open(t *testing.T, fsys disk.FS, dir string, segment int64) *Log {
	t.Helper()
	l, err := Open(Options{FS: fsys, Dir: dir, Name: "test", SegmentBytes: segment})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func mustAppend(t *testing.T, l *Log, payloads ...string) []Position {
	t.Helper()
	var list []Position
	for _, p := range payloads {
		at, err := l.Append(context.Background(), []byte(p))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, at)
	}
	return list
}

func payloads(t *testing.T, read func(func(Record, error) bool)) []string {
	t.Helper()
	list := []string{}
	read(func(r Record, err error) bool {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(r.Payload))
		return true
	})
	return list
}

func TestRecordsComeBackInOrderBehindAnyPosition(t *testing.T) {
	dir := t.TempDir()
	l := open(t, disk.System{}, dir, 200)
	var want []string
	for i := range 40 {
		want = append(want, fmt.Sprintf("record %d %s", i, bytes.Repeat([]byte{'x'}, i*i%97)))
	}
	want[7] = "" // an empty record is a record
	at := mustAppend(t, l, want...)
	if !slices.IsSorted(at) {
		t.Fatalf("positions are not in order: %v", at)
	}
	look := func(l *Log) {
		t.Helper()
		if got := payloads(t, l.Read(0)); !slices.Equal(got, want) {
			t.Fatalf("read %q", got)
		}
		for i, p := range at {
			if got := payloads(t, l.Read(p)); !slices.Equal(got, want[i+1:]) {
				t.Fatalf("behind record %d: %q", i, got)
			}
			r, err := l.Get(p)
			if err != nil || string(r.Payload) != want[i] || r.Position != p {
				t.Fatalf("record %d: %v %v", i, r, err)
			}
		}
		if l.Last() != at[len(at)-1] {
			t.Fatalf("last is %x", l.Last())
		}
	}
	look(l)
	if n := len(l.Segments()); n < 5 {
		t.Fatalf("%d segments: the test needs several", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, disk.System{}, dir, 200)
	look(l)
	more := mustAppend(t, l, "more")
	if more[0] <= at[len(at)-1] {
		t.Fatalf("a record after reopening stands at %x, before %x", more[0], at[len(at)-1])
	}
}

func TestAppendAllGivesAPositionForEachRecord(t *testing.T) {
	l := open(t, disk.System{}, t.TempDir(), 0)
	mustAppend(t, l, "first")
	at, err := l.AppendAll(context.Background(), [][]byte{[]byte("a"), nil, []byte("ccc"), []byte("dd"), []byte("e")})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"a", "", "ccc", "dd", "e"} {
		if r, err := l.Get(at[i]); err != nil || string(r.Payload) != want {
			t.Errorf("record %d: %q, %v", i, r.Payload, err)
		}
	}
	if at, err := l.AppendAll(context.Background(), nil); at != nil || err != nil {
		t.Errorf("no records gave %v, %v", at, err)
	}
}

func TestAPositionThatIsNoneIsRefused(t *testing.T) {
	l := open(t, disk.System{}, t.TempDir(), 100)
	at := mustAppend(t, l, "one", "two", "three", "four", "five", "six")
	end := l.Segments()[len(l.Segments())-1].end()
	for _, p := range []Position{1, at[0] + 1, at[1] - 1, end, end + 1, 1 << 63} {
		if _, err := l.Get(p); !errors.Is(err, ErrPosition) {
			t.Errorf("Get(%x) gave %v", p, err)
		}
		for _, err := range l.Read(p) {
			if !errors.Is(err, ErrPosition) {
				t.Errorf("Read(%x) gave %v", p, err)
			}
		}
	}
	if err := l.Drop(at[4]); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Get(at[0]); !errors.Is(err, ErrDropped) {
		t.Errorf("a dropped record gave %v", err)
	}
	for _, err := range l.Read(at[0]) {
		if !errors.Is(err, ErrDropped) {
			t.Errorf("reading behind a dropped record gave %v", err)
		}
	}
}

func TestAPositionOfAnotherLogIsToldByItsCheck(t *testing.T) {
	a, b := open(t, disk.System{}, t.TempDir(), 0), open(t, disk.System{}, t.TempDir(), 0)
	at, bt := mustAppend(t, a, "same"), mustAppend(t, b, "same")
	ra, errA := a.Get(at[0])
	rb, errB := b.Get(bt[0])
	if errA != nil || errB != nil || at[0] != bt[0] {
		t.Fatal(errA, errB, at, bt)
	}
	if ra.Check == rb.Check {
		t.Error("two logs give one check for equal records at equal positions")
	}
}

func TestDropRemovesWholeSegmentsAndNeverTheLast(t *testing.T) {
	dir := t.TempDir()
	l := open(t, disk.System{}, dir, 100)
	at := mustAppend(t, l, slices.Repeat([]string{"twenty bytes of text"}, 20)...)
	before := len(l.Segments())
	if err := l.Drop(at[9]); err != nil {
		t.Fatal(err)
	}
	if r, err := l.Get(at[9]); err != nil || string(r.Payload) != "twenty bytes of text" {
		t.Fatalf("the record itself: %v", err)
	}
	if n := len(l.Segments()); n >= before {
		t.Fatalf("%d segments, as before", n)
	}
	if err := l.Drop(1 << 62); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || len(l.Segments()) != 1 {
		t.Fatalf("%d files, %d segments, %v", len(files), len(l.Segments()), err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, disk.System{}, dir, 100)
	if got := mustAppend(t, l, "next"); got[0] <= at[19] {
		t.Fatalf("position %x was used before", got[0])
	}
}

func TestWhatCouldNotBeDroppedIsDroppedLater(t *testing.T) {
	d := faulty.New("/state", 1)
	l := open(t, d, "/state/log", 100)
	at := mustAppend(t, l, slices.Repeat([]string{"twenty bytes of text"}, 20)...)
	d.Inject(func(op faulty.Op) error {
		if op.Kind == faulty.Remove {
			return syscall.EIO
		}
		return nil
	})
	before := len(l.Segments())
	if err := l.Drop(at[9]); !errors.Is(err, syscall.EIO) || len(l.Segments()) != before {
		t.Fatalf("%d of %d segments, %v", len(l.Segments()), before, err)
	}
	if _, err := l.Get(at[0]); err != nil {
		t.Error("what is still there cannot be read:", err)
	}
	d.Inject(nil)
	if err := l.Drop(at[9]); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, d, "/state/log", 100) // without a gap
	if _, err := l.Get(at[0]); !errors.Is(err, ErrDropped) {
		t.Error("what was dropped is still there:", err)
	}
}

func TestLastSurvivesAnEmptyLastSegment(t *testing.T) {
	d := faulty.New("/state", 1)
	l := open(t, d, "/state/log", 100)
	at := mustAppend(t, l, "a record that fills the segment to its bound, which is a hundred bytes")
	d.Inject(func(op faulty.Op) error { // die between the new segment and its first batch
		if op.Kind == faulty.Write && len(l.Segments()) == 2 {
			return errors.New("input/output error")
		}
		return nil
	})
	if _, err := l.Append(context.Background(), []byte("next")); !errors.Is(err, ErrFailed) {
		t.Fatal(err)
	}
	l = open(t, d.Reboot(faulty.Nothing), "/state/log", 100)
	if n := len(l.Segments()); n != 2 || l.Last() != at[0] {
		t.Fatalf("%d segments, last %x", n, l.Last())
	}
}

func TestAReaderFollowsTheLog(t *testing.T) {
	l := open(t, disk.System{}, t.TempDir(), 500)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	const n = 500
	var got []string
	done := make(chan error, 1)
	go func() {
		var after Position
		for len(got) < n {
			if err := l.Wait(ctx, after); err != nil {
				done <- err
				return
			}
			for r, err := range l.Read(after) {
				if err != nil {
					done <- err
					return
				}
				after, got = r.Position, append(got, string(r.Payload))
			}
		}
		done <- nil
	}()
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for i := range n / 4 {
				if _, err := l.Append(ctx, fmt.Appendf(nil, "%d/%d", c, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	next := map[string]int{}
	for _, r := range got {
		var c, i int
		if _, err := fmt.Sscanf(r, "%d/%d", &c, &i); err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprint(c)
		if next[key] != i {
			t.Fatalf("caller %d: record %d came, %d was next", c, i, next[key])
		}
		next[key]++
	}
}

func TestWaitEndsWithItsContextAndWithTheLog(t *testing.T) {
	l := open(t, disk.System{}, t.TempDir(), 0)
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	cancel(why)
	if err := l.Wait(ctx, 0); !errors.Is(err, why) {
		t.Errorf("a cancelled wait gave %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Wait(context.Background(), 0) }()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("closing the log gave %v", err)
	}
	if _, err := l.Append(context.Background(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("appending to a closed log gave %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("closing twice gave %v", err)
	}
}

// stuckFS holds every sync back until it is released.
type stuckFS struct {
	disk.System
	held chan struct{}
}

type stuckFile struct {
	disk.File
	held chan struct{}
}

func (s stuckFS) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	f, err := s.System.OpenFile(name, flag, perm)
	return stuckFile{f, s.held}, err
}

func (f stuckFile) Datasync(site disk.Site) error {
	<-f.held
	return f.File.Datasync(site)
}

func TestAStuckDeviceHoldsNobodyBeyondTheContext(t *testing.T) {
	fsys := stuckFS{held: make(chan struct{})}
	l, err := Open(Options{FS: fsys, Dir: t.TempDir(), Name: "test", MaxPending: 1000})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for range 20 { // more than may be pending: some wait for the device, some for room
		wg.Go(func() {
			if _, err := l.Append(ctx, make([]byte, 400)); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("gave %v", err)
			}
		})
	}
	wg.Wait()
	l.mu.Lock()
	if n := len(l.pending.buf); n > 1000 {
		t.Errorf("%d bytes are pending", n)
	}
	l.mu.Unlock()
	close(fsys.held)
	if at := mustAppend(t, l, "alive"); at[0] == 0 {
		t.Error("no position")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWhoWritesForHimselfLeavesWhatGathersToAnother(t *testing.T) {
	fsys := stuckFS{held: make(chan struct{})}
	l, err := Open(Options{FS: fsys, Dir: t.TempDir(), Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan error, 1)
	go func() {
		_, err := l.Append(context.Background(), []byte("first"))
		first <- err
	}()
	waitFor(t, func() bool { return l.isWriting() })
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	others := make(chan error, 8)
	for n := range cap(others) {
		go func() {
			ctx := ctx
			if n%2 == 0 {
				ctx = context.Background()
			}
			_, err := l.Append(ctx, []byte("other"))
			others <- err
		}()
	}
	waitFor(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.pending != nil && l.pending.records == cap(others)
	})
	fsys.held <- struct{}{}
	if err := <-first; err != nil { // although the device is stuck again
		t.Error(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- l.Close() }()
	fsys.held <- struct{}{}
	for range cap(others) {
		if err := <-others; err != nil {
			t.Error(err)
		}
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if l.isWriting() {
		t.Error("the log is closed, and somebody writes")
	}
}

func (l *Log) isWriting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.writing
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass")
		}
	}
}

// panickyFS panics where a record is synced.
type panickyFS struct{ disk.System }

type panickyFile struct{ disk.File }

func (s panickyFS) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	f, err := s.System.OpenFile(name, flag, perm)
	return panickyFile{f}, err
}

func (panickyFile) Datasync(disk.Site) error { panic("no device") }

func TestAPanicFailsTheLogAndHoldsNobody(t *testing.T) {
	cancelled, cancel := context.WithCancel(context.Background())
	defer cancel()
	for name, ctx := range map[string]context.Context{"who writes": context.Background(), "who waits": cancelled} {
		t.Run(name, func(t *testing.T) {
			l, err := Open(Options{FS: panickyFS{}, Dir: t.TempDir(), Name: "test"})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := l.Append(ctx, []byte("x")); !errors.Is(err, ErrFailed) {
					t.Errorf("gave %v", err)
				}
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestARecordBeyondTheLimitsIsRefusedOrGoesAlone(t *testing.T) {
	l, err := Open(Options{FS: disk.System{}, Dir: t.TempDir(), Name: "test", MaxPending: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if _, err := l.Append(context.Background(), make([]byte, MaxRecord+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a record beyond the limit gave %v", err)
	}
	large := bytes.Repeat([]byte("large "), 100_000)
	at := mustAppend(t, l, string(large))
	if r, err := l.Get(at[0]); err != nil || !bytes.Equal(r.Payload, large) {
		t.Errorf("a record larger than what may be pending: %v", err)
	}
}

func TestTheSpaceBoundRefusesBeforeTheDiskIsFull(t *testing.T) {
	d := faulty.New("/state", 1)
	l, err := Open(Options{FS: d, Dir: "/state/log", Name: "test", MinFree: 4000})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	d.SetCapacity(6000)
	n := 0
	for ; ; n++ {
		if _, err = l.Append(context.Background(), make([]byte, 500)); err != nil {
			break
		}
	}
	if !errors.Is(err, disk.ErrNoSpace) || n != 3 {
		t.Fatalf("after %d records: %v", n, err)
	}
	d.SetCapacity(0)
	mustAppend(t, l, "room again")
}

func TestMetricsCountRecordsBatchesAndErrors(t *testing.T) {
	reg := prometheus.NewRegistry()
	d := faulty.New("/state", 1)
	o := Options{FS: d, Dir: "/state/log", Name: "ledger", Metrics: reg}
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.AppendAll(context.Background(), [][]byte{nil, nil, nil}); err != nil {
		t.Fatal(err)
	}
	d.SetCapacity(1)
	if _, err := l.Append(context.Background(), []byte("x")); !errors.Is(err, disk.ErrNoSpace) {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		got[f.GetName()] = f.GetMetric()[0].GetCounter().GetValue()
	}
	for name, want := range map[string]float64{
		"weir_log_records_total": 3, "weir_log_batches_total": 1, "weir_log_errors_total": 1,
		"weir_log_bytes_total": 3 * frameSize,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, not %v", name, got[name], want)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, err = Open(o) // the same registry again: Close took the metrics out
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); err == nil {
		t.Error("two logs of one name share a registry")
	}
	_ = l.Close()
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	good := Options{FS: disk.System{}, Dir: t.TempDir(), Name: "test"}
	for name, spoil := range map[string]func(*Options){
		"no FS":    func(o *Options) { o.FS = nil },
		"no Dir":   func(o *Options) { o.Dir = "" },
		"no Name":  func(o *Options) { o.Name = "" },
		"negative": func(o *Options) { o.SegmentBytes = -1 },
		"a file":   func(o *Options) { o.Dir = filepath.Join(o.Dir, "file") },
	} {
		o := good
		if err := os.WriteFile(filepath.Join(good.Dir, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		spoil(&o)
		if l, err := Open(o); err == nil {
			_ = l.Close()
			t.Errorf("%s: opened", name)
		}
	}
}

func TestRewriteChangesPayloadsAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	l := open(t, disk.System{}, dir, 300)
	at := mustAppend(t, l, "secret one", "open two", "secret three", string(text(400)), "secret five")
	segs := l.Segments()
	for _, base := range []Position{1, segs[len(segs)-1].Base, segs[len(segs)-1].end()} {
		if err := l.Rewrite(base, func(Position, []byte) bool { return true }); !errors.Is(err, ErrPosition) {
			t.Errorf("rewriting at %x gave %v", base, err)
		}
	}
	if err := l.Roll(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := l.Roll(context.Background()); err != nil { // nothing to roll: no empty segments
		t.Fatal(err)
	}
	before, err := l.Get(at[1])
	if err != nil {
		t.Fatal(err)
	}
	segs = l.Segments()
	var seen []Position
	for _, s := range segs[:len(segs)-1] {
		if err := l.Rewrite(s.Base, func(p Position, payload []byte) bool {
			seen = append(seen, p)
			if !bytes.HasPrefix(payload, []byte("secret")) {
				payload[0] = '!' // not reported, so not wanted
				return false
			}
			copy(payload, "xxxxxx")
			return true
		}); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(seen, at) {
		t.Fatalf("edit saw %v", seen)
	}
	want := []string{"xxxxxx one", "open two", "xxxxxx three", string(text(400)), "xxxxxx five"}
	if after, err := l.Get(at[1]); err != nil || after.Check != before.Check {
		t.Fatalf("a record that was not edited: %v", err)
	}
	for range 2 {
		if got := payloads(t, l.Read(0)); !slices.Equal(got, want) {
			t.Fatalf("%q", got)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, disk.System{}, dir, 300)
	}
	mustAppend(t, l, "next")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != len(l.Segments()) {
		t.Fatalf("left behind: %v", files)
	}
}

// gatedFS lets each sync of a batch wait for what the test says about it.
type gatedFS struct {
	disk.System
	asked   chan struct{}
	answers chan error
}

type gatedFile struct {
	disk.File
	fs gatedFS
}

func (g gatedFS) OpenFile(name string, flag int, perm os.FileMode) (disk.File, error) {
	f, err := g.System.OpenFile(name, flag, perm)
	return gatedFile{f, g}, err
}

func (f gatedFile) Datasync(site disk.Site) error {
	f.fs.asked <- struct{}{}
	if err := <-f.fs.answers; err != nil {
		return err
	}
	return f.File.Datasync(site)
}

func TestWhatWaitsBehindAFailedBatchFailsToo(t *testing.T) {
	fsys := gatedFS{asked: make(chan struct{}), answers: make(chan error, 2)}
	l := open(t, fsys, t.TempDir(), 0)
	results := make(chan error, 2)
	try := func() {
		_, err := l.Append(context.Background(), []byte("x"))
		results <- err
	}
	go try()
	<-fsys.asked
	go try()
	for { // until it waits behind the first
		l.mu.Lock()
		waiting := l.pending != nil
		l.mu.Unlock()
		if waiting {
			break
		}
		time.Sleep(time.Millisecond)
	}
	fsys.answers <- errors.New("input/output error")
	fsys.answers <- nil // for a second batch that must not come
	for range 2 {
		if err := <-results; !errors.Is(err, ErrFailed) {
			t.Errorf("gave %v", err)
		}
	}
}

func TestASyncThatFindsNoRoomIsUndone(t *testing.T) {
	d := faulty.New("/state", 1)
	l := open(t, d, "/state/log", 0)
	mustAppend(t, l, "first")
	fail := map[disk.Site]bool{siteAppend: true}
	d.Inject(func(op faulty.Op) error {
		if fail[op.Site] {
			return syscall.ENOSPC
		}
		return nil
	})
	if _, err := l.Append(context.Background(), []byte("second")); !errors.Is(err, disk.ErrNoSpace) || errors.Is(err, ErrFailed) {
		t.Fatalf("gave %v", err)
	}
	delete(fail, siteAppend)
	mustAppend(t, l, "third")
	if got := payloads(t, l.Read(0)); !slices.Equal(got, []string{"first", "third"}) {
		t.Fatalf("%q", got)
	}

	// When undoing fails as well, trying again is no cure.
	fail[siteAppend], fail[siteRollback] = true, true
	for range 2 {
		if _, err := l.Append(context.Background(), []byte("fourth")); errors.Is(err, disk.ErrNoSpace) || !errors.Is(err, ErrFailed) {
			t.Fatalf("gave %v", err)
		}
	}
	clear(fail)
	if got := payloads(t, l.Read(0)); !slices.Equal(got, []string{"first", "third"}) {
		t.Fatalf("a failed log shows %q", got)
	}
}

func TestRollingWithoutRoomIsTriedAgain(t *testing.T) {
	for _, kind := range []faulty.Kind{faulty.Create, faulty.Write, faulty.Sync, faulty.Rename, faulty.SyncDir} {
		for name, next := range map[string]func(*faulty.Disk) *faulty.Disk{
			"process died":         (*faulty.Disk).Restart,
			"power cut, all kept":  func(d *faulty.Disk) *faulty.Disk { return d.Reboot(faulty.All) },
			"power cut, none kept": func(d *faulty.Disk) *faulty.Disk { return d.Reboot(faulty.Nothing) },
		} {
			d := faulty.New("/state", 1)
			l := open(t, d, "/state/log", 0)
			mustAppend(t, l, "first")
			d.Inject(func(op faulty.Op) error {
				if op.Kind == kind {
					return syscall.ENOSPC
				}
				return nil
			})
			err := l.Roll(context.Background())
			d.Inject(nil)
			if kind == faulty.SyncDir { // too late to be tried again
				if !errors.Is(err, ErrFailed) {
					t.Errorf("%s: %v", kind, err)
				}
				_ = l.Close()
				l = open(t, d, "/state/log", 0)
			} else if !errors.Is(err, disk.ErrNoSpace) {
				t.Errorf("%s: %v", kind, err)
			}
			mustAppend(t, l, "second")
			if err := l.Roll(context.Background()); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			mustAppend(t, l, "third")
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, next(d), "/state/log", 0)
			if got := payloads(t, l.Read(0)); !slices.Equal(got, []string{"first", "second", "third"}) {
				t.Errorf("%s, %s: %q in %d segments", kind, name, got, len(l.Segments()))
			}
		}
	}
}
