package delivery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/quarantine/delivery/follow"
	"github.com/weirmail/weir/quarantine/delivery/logline"
)

// start runs the tracker until the test, or stop, ends it.
func (d *desk) start() (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	tracker := d.tracker
	go func() { done <- tracker.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	d.Cleanup(func() { _ = stop() })
	return stop
}

func (d *desk) eventually(what string, f func() bool) {
	d.Helper()
	for until := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			d.Fatal(what)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func logFile(t *testing.T, path string) follow.Source {
	t.Helper()
	f, err := follow.NewFile(follow.FileOptions{Path: path, Poll: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// recorded counts the copies in the log by recipient.
func (d *desk) recorded() map[string]int {
	d.Helper()
	n := map[string]int{}
	for raw, err := range d.tracker.store.log.Read(0) {
		if err != nil {
			d.Fatal(err)
		}
		r, err := d.tracker.store.codec.decode(raw.Payload)
		if err != nil {
			d.Fatal(err)
		}
		for _, e := range r.Events {
			if e.Kind == logline.Copy {
				n[e.Address]++
			}
		}
	}
	return n
}

const copyLine = "Nov 22 01:11:00 mx postfix/lmtp[3]: 4jX9xc2YzNz1Vkhj: to=<%s>, relay=none, " + sentBy + " (ok)\n"

// The tracker is ended and its folder taken as a crash would leave it, in the
// middle of a file that grows and is rotated.
func TestNoCopyIsLostOrCountedTwiceThroughCrashesAndRotations(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 4))
			path := filepath.Join(t.TempDir(), "mail.log")
			write(t, path, fmt.Sprintf(copyLine, "first@lab.test"))
			d := newDesk(t, func(o *Options) { o.Sources = []follow.Source{logFile(t, path)}; o.retry = time.Millisecond })
			stop := d.start()
			d.eventually("the first line", func() bool { return len(d.recorded()) == 1 })
			want, rotations := 1, 0
			for range 60 {
				switch rnd.IntN(10) {
				case 0:
					if err := stop(); err != nil {
						t.Fatal(err)
					}
					d.reopen()
					stop = d.start()
				case 1:
					if info, err := os.Stat(path); err != nil || info.Size() == 0 {
						continue
					}
					time.Sleep(2 * time.Millisecond) // so that modification times differ
					rotations++
					if err := os.Rename(path, fmt.Sprintf("%s-%08d", path, rotations)); err != nil {
						t.Fatal(err)
					}
					write(t, path, "")
				default:
					for range 1 + rnd.IntN(20) {
						write(t, path, fmt.Sprintf(copyLine, fmt.Sprintf("u%d@lab.test", want)))
						want++
					}
				}
			}
			d.eventually("all lines", func() bool { return len(d.recorded()) >= want })
			for address, n := range d.recorded() {
				if n != 1 {
					t.Errorf("%s was recorded %d times", address, n)
				}
			}
			if len(d.recorded()) != want {
				t.Errorf("%d copies, want %d", len(d.recorded()), want)
			}
			for _, s := range d.tracker.State().Sources {
				if s.Gaps != 0 {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

func TestALogThatCannotBeReadIsReportedAndTriedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	var mu sync.Mutex
	var told []string
	d := newDesk(t, func(o *Options) {
		o.Sources = []follow.Source{logFile(t, path)}
		o.retry = time.Millisecond
		o.Report = func(source string, problem error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprintf("%s: %v", source, problem))
		}
	})
	d.start()
	reports := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), told...)
	}
	d.eventually("the missing file is reported", func() bool { return len(reports()) == 1 })
	if s := d.tracker.State().Sources[0]; !errors.Is(s.Problem, os.ErrNotExist) {
		t.Errorf("%+v", s)
	}
	time.Sleep(10 * time.Millisecond)
	write(t, path, "")
	d.eventually("its coming is reported", func() bool { return len(reports()) == 2 })
	if got := reports(); !strings.Contains(got[0], "no such file") || got[1] != "file:"+path+": <nil>" {
		t.Errorf("%q", got)
	}
}

// fullDisk refuses to give room while it is full.
type fullDisk struct {
	disk.System
	mu   sync.Mutex
	full bool
}

func (f *fullDisk) Free(name string) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full {
		return 0, nil
	}
	return f.System.Free(name)
}

func TestAFullDiskIsWaitedOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	fs := &fullDisk{full: true}
	d := newDesk(t, func(o *Options) {
		o.FS, o.MinFree, o.retry = fs, 1, time.Millisecond
		o.Sources = []follow.Source{logFile(t, path)}
	})
	write(t, path, fmt.Sprintf(copyLine, "a@lab.test"))
	stop := d.start()
	d.eventually("the disk is full", func() bool { return errors.Is(d.tracker.State().Sources[0].Problem, disk.ErrNoSpace) })
	fs.mu.Lock()
	fs.full = false
	fs.mu.Unlock()
	d.eventually("the line is recorded", func() bool { return d.recorded()["a@lab.test"] == 1 })
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAnIndexWithoutRoomCatchesUpLater(t *testing.T) {
	fs := &fullDisk{}
	d := newDesk(t, func(o *Options) { o.FS, o.IndexMinFree = fs, 1 })
	e := d.journal.add(&journal.Entry{QueueID: "4jX9xc2YzNz1Vkhj", Time: at(1, 11, 0), To: []string{"a@lab.test"}})
	fs.full = true
	d.read("01:11:00 lmtp[3]: 4jX9xc2YzNz1Vkhj: to=<a@lab.test>, relay=none, " + sentBy + " (ok)")
	d.want(e, "a@lab.test > a@lab.test unconfirmed by envelope")
	if got := string(d.tracker.store.place("file:/mail.log")); got != "here" {
		t.Errorf("the place in the log is %q", got)
	}
	fs.full = false
	d.read("01:11:00 qmgr[3]: 0F5383D: removed")
	d.want(e, "a@lab.test > a@lab.test mailbox by queue-id")
}

func TestAnIndexThatIsLostIsMadeAgainFromTheLog(t *testing.T) {
	d := newDesk(t, nil)
	e := d.journal.add(&journal.Entry{QueueID: "4jX9xc2YzNz1Vkhj", Time: at(1, 11, 0), To: []string{"a@lab.test"}})
	d.read("01:11:00 lmtp[3]: 4jX9xc2YzNz1Vkhj: to=<a@lab.test>, relay=none, " + sentBy + " (ok)")
	d.want(e, "a@lab.test > a@lab.test mailbox by queue-id")
	if err := d.tracker.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(d.o.Dir, "index")); err != nil {
		t.Fatal(err)
	}
	d.open()
	d.want(e, "a@lab.test > a@lab.test mailbox by queue-id")
	if got := string(d.tracker.store.place("file:/mail.log")); got != "here" {
		t.Errorf("the place in the log is %q", got)
	}
	// An index over another log: this one's is put in its place.
	if err := d.tracker.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(d.o.Dir, "log")); err != nil {
		t.Fatal(err)
	}
	d.open()
	d.want(e, "a@lab.test > a@lab.test unconfirmed by envelope")
}

func TestOldDeliveriesAreDropped(t *testing.T) {
	now := at(2, 0, 0)
	d := newDesk(t, func(o *Options) { o.Clock = func() time.Time { return now }; o.segmentBytes = 4096 })
	old := d.journal.add(&journal.Entry{QueueID: "4jX9xc2YzNz1Vkhj", Time: at(1, 11, 0), To: []string{"a@lab.test"}})
	fresh := d.journal.add(&journal.Entry{QueueID: "4jX9xc2YzNz1Vkhk", Time: at(1, 11, 0), To: []string{"b@lab.test"}})
	for range 20 {
		d.read("01:11:00 lmtp[3]: 4jX9xc2YzNz1Vkhj: to=<a@lab.test>, relay=none, " + sentBy + " (ok)\n" + strings.Repeat("01:11:00 qmgr[3]: 0F5383D: removed\n", 20))
	}
	keep := 60 * 24 * time.Hour
	prune := func() {
		t.Helper()
		if err := d.tracker.store.prune(t.Context(), keep); err != nil {
			t.Fatal(err)
		}
	}
	prune()
	d.want(old, "a@lab.test > a@lab.test mailbox by queue-id")
	const week = 7 * 24 * time.Hour
	for i := range 13 {
		now = now.Add(week)
		if i == 9 {
			d.read("01:11:00 lmtp[3]: 4jX9xc2YzNz1Vkhk: to=<b@lab.test>, relay=none, " + sentBy + " (ok)")
		} else {
			d.read("01:11:00 qmgr[3]: 0F5383D: removed")
		}
		prune()
	}
	for range 2 {
		d.want(old, "a@lab.test > a@lab.test unconfirmed by envelope")
		d.want(fresh, "b@lab.test > b@lab.test mailbox by queue-id")
		d.reopen()
	}
}

func BenchmarkTake(b *testing.B) {
	core := &memory{}
	t, err := Open(Options{FS: disk.System{}, Dir: filepath.Join(b.TempDir(), "delivery"), Journal: core, IndexMinFree: -1, Location: time.UTC,
		Sources: []follow.Source{quiet("file:/mail.log")}, Clock: func() time.Time { return at(2, 0, 0) }})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = t.Close() }()
	// A message of two recipients as Postfix and Dovecot tell of it.
	const message = `Nov 22 01:11:00 mx postfix/smtpd[1]: connect from mail.sender.test[203.0.113.9]
Nov 22 01:11:00 mx postfix/smtpd[1]: %[1]s: client=mail.sender.test[203.0.113.9]
Nov 22 01:11:00 mx postfix/cleanup[2]: %[1]s: message-id=<%[1]s@sender.test>
Nov 22 01:11:00 mx postfix/qmgr[3]: %[1]s: from=<s@sender.test>, size=367, nrcpt=2 (queue active)
Nov 22 01:11:00 mx postfix/smtpd[1]: disconnect from mail.sender.test[203.0.113.9] ehlo=2 mail=1 rcpt=1 data=1 commands=5/6
Nov 22 01:11:00 mx dovecot: lmtp(alice@lab.test)<5><%[1]s>: msgid=<%[1]s@sender.test>: saved mail to INBOX
Nov 22 01:11:00 mx dovecot: lmtp(bob@lab.test)<5><%[1]s:R2>: msgid=<%[1]s@sender.test>: saved mail to INBOX
Nov 22 01:11:00 mx postfix/lmtp[4]: %[1]s: to=<alice@lab.test>, relay=a[192.0.2.7]:24, delay=0.06, delays=0/0.02/0/0.04, dsn=2.0.0, status=sent (250 2.0.0 <alice@lab.test> %[1]s Saved)
Nov 22 01:11:00 mx postfix/lmtp[4]: %[1]s: to=<bob@lab.test>, relay=a[192.0.2.7]:24, delay=0.06, delays=0/0.02/0/0.04, dsn=2.0.0, status=sent (250 2.0.0 <bob@lab.test> %[1]s:R2 Saved)
Nov 22 01:11:00 mx postfix/qmgr[3]: %[1]s: removed
`
	lines, n := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		batch := follow.Batch{AsOf: at(2, 0, 0), After: []byte("{}")}
		for range 100 {
			for line := range strings.Lines(fmt.Sprintf(message, fmt.Sprintf("4jX9%09dz", n))) {
				batch.Lines = append(batch.Lines, follow.Line{Text: []byte(strings.TrimSuffix(line, "\n"))})
			}
			n++
		}
		lines += len(batch.Lines)
		if err := t.take(b.Context(), t.sources[0], batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(lines), "ns/line")
}

// flood is a source that has told of very many copies before anybody looks.
type flood struct {
	quiet
	batches int
}

func (f flood) Run(ctx context.Context, _ []byte, emit follow.Emit) error {
	for n := range f.batches {
		b := follow.Batch{AsOf: at(2, 0, 0), After: []byte(fmt.Sprint(n))}
		for k := range 1000 {
			b.Lines = append(b.Lines, follow.Line{Text: fmt.Appendf(nil, "Nov 22 01:11:00 mx postfix/lmtp[3]: %X: to=<u%d@lab.test>, relay=none, %s (ok)", 0xf000000+n, k, sentBy)})
		}
		if err := emit(b); err != nil {
			return err
		}
	}
	<-ctx.Done()
	return nil
}

// slowJournal looks nothing up until it may.
type slowJournal struct {
	*memory
	may chan struct{}
}

func (s slowJournal) Lookup(key journal.Key) iter.Seq2[journal.Record, error] {
	<-s.may
	return s.memory.Lookup(key)
}

func TestALogWaitsUntilItsCopiesAreJoined(t *testing.T) {
	const batches = 3 * maxPending / 1000
	may := make(chan struct{})
	d := newDesk(t, func(o *Options) {
		o.Sources = []follow.Source{flood{"file:/mail.log", batches}}
		o.Journal = slowJournal{o.Journal.(*memory), may}
	})
	d.start()
	d.eventually("very many copies", func() bool {
		d.tracker.watch.mu.Lock()
		defer d.tracker.watch.mu.Unlock()
		return len(d.tracker.watch.pending) > maxPending
	})
	close(may)
	d.eventually("all of them", func() bool { return d.count("weir_delivery_copies_total", "") == 1000*batches })
}

func TestCopiesThatAreNotJoinedYetAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(&Options{Clock: time.Now}, nil, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 3 * maxPending / 1000 {
				w.add(ctx, slices.Repeat([]logline.Event{{Kind: logline.Copy}}, 1000))
			}
		}()
		synctest.Wait()
		if n := len(w.pending); n != 2*maxPending {
			t.Errorf("%d copies are in memory", n)
		}
		cancel() // who waits does not hold up the end
		<-done
	})
}

// A clock that was far ahead for a moment must not keep everything for so long.
func TestOldDeliveriesAreDroppedAlsoBehindThoseOfTheFuture(t *testing.T) {
	now := at(2, 0, 0)
	d := newDesk(t, func(o *Options) { o.Clock = func() time.Time { return now }; o.segmentBytes = 4096 })
	const day, keep = 24 * time.Hour, 60 * 24 * time.Hour
	say := func() {
		d.read(strings.Repeat("01:11:00 lmtp[3]: 4jX9xc2YzNz1Vkhj: to=<a@lab.test>, relay=none, "+sentBy+" (ok)\n", 20))
		if err := d.tracker.store.prune(t.Context(), keep); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		say()
	}
	now = now.Add(10 * 365 * day)
	for range 3 { // so that one of them begins a segment
		say()
	}
	now = now.Add(-10 * 365 * day)
	most := 0
	for range 60 {
		now = now.Add(3 * day)
		say()
		most = max(most, len(d.tracker.store.log.Segments()))
	}
	segments := d.tracker.store.log.Segments()
	if first, ok := d.tracker.store.began(segments[0]); !ok || first.After(now) || now.Sub(first) > keep+30*day {
		t.Errorf("of %d segments, %d at most, the first is of %s, and now is %s", len(segments), most, first, now)
	}
}
