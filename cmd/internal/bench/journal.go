package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/cmd/internal/bench/proc"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/journal"
)

const (
	journalCallers = 16
	lookups        = 20_000
	warmKeys       = 5_000
)

// journal measures a journal of many entries in this process: how fast they are
// acknowledged, how far the index is behind meanwhile, what they take of the
// disk, and how long a lookup takes that the page cache has seen before. CPU time
// holds the making of the entries, which is told apart.
func (b *bench) journal(ctx context.Context) error {
	total := b.entries
	if b.quick {
		total = min(total, 20_000)
	}
	dir, err := os.MkdirTemp("", "weirbench-journal")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	j, err := journal.Open(journal.Options{FS: disk.System{}, Dir: filepath.Join(dir, "journal"), Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	life, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- j.Run(life) }()
	err = b.measureJournal(ctx, j, dir, total)
	stop()
	return errors.Join(err, <-ended, j.Close())
}

func (b *bench) measureJournal(ctx context.Context, j *journal.Journal, dir string, total int) error {
	making, err := costOfMaking(min(total, 20_000))
	if err != nil {
		return err
	}
	before, err := takeStock()
	if err != nil {
		return err
	}
	began := time.Now()
	watch, stopWatch := context.WithCancel(ctx)
	lag := watchLag(watch, j)
	slowest, err := appendEntries(ctx, j, total, b.hold())
	took := time.Since(began)
	if err == nil {
		err = j.Wait(ctx, j.Last())
	}
	behind := time.Since(began) - took
	stopWatch()
	most := max(lag(), behind)
	if err != nil {
		return err
	}
	after, err := takeStock()
	if err != nil {
		return err
	}
	logBytes, indexBytes, err := folders(filepath.Join(dir, "journal"))
	if err != nil {
		return err
	}
	times, err := lookUp(ctx, j, total)
	if err != nil {
		return err
	}
	each := func(n int64) float64 { return float64(n) / float64(total) }
	p99 := times[len(times)*99/100]
	b.print(fmt.Sprintf(`
A journal of %d entries with %d observables each, %d callers at once, for %.0f s
  acknowledged                          %.0f a second, in the slowest ten seconds %.0f
  the index was behind by at most       %.2f s
  CPU time an entry, indexes included   %.1f µs, of which %.1f for making it
  bytes an entry on disk                %.0f in the log, %.0f in the index
  bytes an entry written to the device  %.0f
  a warm lookup with its entry          p50 %.3f ms, p99 %.3f ms, of %d
`, total, observablesEach, journalCallers, took.Seconds(), float64(total)/took.Seconds(), slowest, most.Seconds(),
		micros(after.cpu-before.cpu)/float64(total), micros(making), each(logBytes), each(indexBytes), each(after.written-before.written),
		millis(times[len(times)/2]), millis(p99), len(times)))
	one := func(v float64) spread { return spread{v, v, v} }
	b.report.aim(target{Name: "journal entries acknowledged a second, in the slowest ten seconds", AtLeast: 10_000}, one(slowest))
	b.report.aim(target{Name: "seconds that the journal's index was behind at most", AtMost: 5}, one(most.Seconds()))
	b.report.aim(target{Name: "p99 of a warm lookup in the journal, in ms", AtMost: 1}, one(millis(p99)))
	return nil
}

// observablesEach is how many observables an entry has: some kilobyte of them.
const observablesEach = 30

// makeEntry makes the n-th entry: always the same, and with an address, a URL and
// digests that no other has.
func makeEntry(n uint64) (*journal.Entry, error) {
	r := random(n)
	number, shop := strconv.FormatUint(n, 10), strconv.FormatUint(r.next()%100_000, 10)
	e := &journal.Entry{
		ID: fmt.Sprintf("01kb%022d", n), Time: time.Now(), QueueID: "4c" + strconv.FormatUint(0x10000000+n, 32), MessageID: number + "@mta.shop" + shop + ".test",
		From: "news-" + number + "@shop" + shop + ".test", To: []string{"user" + strconv.FormatUint(r.next()%20_000, 10) + "@" + domain},
		Direction: intel.Inbound, Action: intel.ActionAccept, Rule: "default", Subject: "News no. " + number, Size: 10_000,
	}
	var digest [32]byte
	for i := range 4 {
		binary.LittleEndian.PutUint64(digest[8*i:], r.next())
	}
	e.Body = digest
	e.Client = netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)})
	texts := []struct {
		of    func(string) (intel.Value, error)
		text  string
		role  intel.Role
		place string
	}{
		{intel.Address, e.From, intel.RoleEnvelopeFrom, "envelope"}, {intel.Address, e.From, intel.RoleHeaderFrom, "header/From"},
		{intel.Address, e.To[0], intel.RoleRcpt, "envelope"}, {intel.Domain, "relay.shop" + shop + ".test", intel.RoleHelo, "envelope"},
	}
	for i := len(texts); i < observablesEach-1; i++ {
		link := "https://img.shop" + shop + ".test/" + strconv.Itoa(i)
		if i%4 == 0 {
			link += "/" + number
		}
		texts = append(texts, struct {
			of    func(string) (intel.Value, error)
			text  string
			role  intel.Role
			place string
		}{intel.URL, link, intel.RoleURL, "2/a@href"})
	}
	e.Observables = append(make([]intel.Observable, 0, observablesEach), intel.Observable{Value: intel.SHA256(digest), Role: intel.RoleBody, Place: "1"})
	for _, t := range texts {
		v, err := t.of(t.text)
		if err != nil {
			return nil, err
		}
		e.Observables = append(e.Observables, intel.Observable{Value: v, Role: t.role, Place: t.place})
	}
	return e, nil
}

// costOfMaking gives the CPU time of making an entry.
func costOfMaking(n int) (time.Duration, error) {
	before, err := proc.Self()
	if err != nil {
		return 0, err
	}
	for i := range n {
		if _, err := makeEntry(uint64(i)); err != nil {
			return 0, err
		}
	}
	after, err := proc.Self()
	return (after - before) / time.Duration(n), err
}

// hold is over what time the entries of the journal part are spread.
func (b *bench) hold() time.Duration {
	if b.quick {
		return 0
	}
	return b.holds
}

// ahead is how much earlier than its turn an entry is appended: nobody sleeps for
// less, which would cost more than the entry.
const ahead = 5 * time.Millisecond

// appendEntries appends so many entries, evenly over a time or as fast as it can, and
// gives how many a second were acknowledged in the slowest ten seconds, or over all of
// a shorter time.
func appendEntries(ctx context.Context, j *journal.Journal, total int, hold time.Duration) (slowest float64, err error) {
	const stretch = 10 * time.Second
	var next, done atomic.Int64
	began := time.Now()
	slowest = math.Inf(1)
	watch, stop := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		ticker := time.NewTicker(stretch)
		defer ticker.Stop()
		for last := int64(0); ; {
			select {
			case <-ticker.C:
				now := done.Load()
				slowest = min(slowest, float64(now-last)/stretch.Seconds())
				last = now
			case <-watch.Done():
				return
			}
		}
	})
	errs := make([]error, journalCallers)
	var callers sync.WaitGroup
	for c := range journalCallers {
		callers.Go(func() {
			for errs[c] == nil {
				n := next.Add(1) - 1
				if n >= int64(total) {
					return
				}
				turn := time.Duration(float64(hold) * float64(n) / float64(total))
				if early := turn - time.Since(began); early > ahead {
					time.Sleep(early)
				}
				e, err := makeEntry(uint64(n))
				if err == nil {
					_, err = j.Append(ctx, e)
				}
				errs[c] = err
				done.Add(1)
			}
		})
	}
	callers.Wait()
	stop()
	watcher.Wait()
	if math.IsInf(slowest, 1) {
		slowest = float64(total) / time.Since(began).Seconds()
	}
	return slowest, errors.Join(errs...)
}

// watchLag looks at how old the oldest entry is that is acknowledged and not
// indexed, until the context ends. The function that it gives waits for that and
// gives the most that was seen.
func watchLag(ctx context.Context, j *journal.Journal) func() time.Duration {
	type sample struct {
		last uint64
		at   time.Time
	}
	var most time.Duration
	var watcher sync.WaitGroup
	watcher.Go(func() {
		var waiting []sample
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			now := time.Now()
			s := j.Status()
			waiting = append(waiting, sample{uint64(s.Last), now})
			for len(waiting) > 0 && waiting[0].last <= uint64(s.Indexed) {
				waiting = waiting[1:]
			}
			if len(waiting) > 0 {
				most = max(most, now.Sub(waiting[0].at))
			}
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	})
	return func() time.Duration { watcher.Wait(); return most }
}

// lookUp times lookups of URLs that one entry has, each read with its entry, the
// second time that they are looked up. The times are sorted.
func lookUp(ctx context.Context, j *journal.Journal, total int) ([]time.Duration, error) {
	r := random(99)
	var keys []journal.Key
	for range warmKeys {
		e, err := makeEntry(r.next() % uint64(total))
		if err != nil {
			return nil, err
		}
		keys = append(keys, journal.KeyOf(e.Observables[0].Value))
	}
	var times []time.Duration
	for n := range len(keys) + lookups {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		began, found := time.Now(), 0
		for _, err := range j.Lookup(keys[n%len(keys)]) {
			if err != nil {
				return nil, err
			}
			found++
		}
		if n >= len(keys) {
			times = append(times, time.Since(began))
		}
		if found != 1 {
			return nil, fmt.Errorf("a digest that one entry has was found in %d", found)
		}
	}
	slices.Sort(times)
	return times, nil
}

// stock is what this process has used so far.
type stock struct {
	cpu     time.Duration
	written int64 // bytes, to devices
}

func takeStock() (s stock, err error) {
	if s.cpu, err = proc.Self(); err != nil {
		return s, err
	}
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return s, err
	}
	_, after, _ := strings.Cut(string(text), "\nwrite_bytes: ")
	line, _, _ := strings.Cut(after, "\n")
	s.written, err = strconv.ParseInt(line, 10, 64)
	return s, err
}

// folders gives the bytes of a journal's log and of its index.
func folders(dir string) (logBytes, indexBytes int64, err error) {
	size := func(name string) (n int64, err error) {
		err = filepath.WalkDir(filepath.Join(dir, name), func(_ string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			info, err := entry.Info()
			if err == nil {
				n += info.Size()
			}
			return err
		})
		return n, err
	}
	logBytes, err = size("log")
	if err == nil {
		indexBytes, err = size("index")
	}
	return logBytes, indexBytes, err
}
