package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/weirmail/weir/cmd/internal/bench/load"
	"github.com/weirmail/weir/cmd/internal/bench/proc"
	"github.com/weirmail/weir/cmd/internal/lab"
)

// The indicators of the scale part are of five kinds, equally many of each: digests,
// domains and senders in list files, URLs and IP addresses in a feed's CSV file.
const (
	crowdKinds = 5
	beforeEach = 1000 // of each kind that was there before; the larger lists hold it too
)

// crowd are the files of the indicators, as they are before and after a refresh.
type crowd struct {
	dir   string
	known knownBad
}

// total is how many there are.
func (c crowd) total() int { return crowdKinds * c.known.n }

// changed is how many lines of a list the refresh changes.
func (c crowd) changed() int { return c.known.n / 2 }

func (c crowd) lists() string   { return filepath.Join(c.dir, "lists") }
func (c crowd) feed() string    { return filepath.Join(c.dir, "crowd.csv") }
func (c crowd) refresh() string { return filepath.Join(c.dir, "changed", domainsFile) }

const domainsFile = "crowd-domains.txt"

// ip is the i-th address: of 8.0.0.0/5, which is public.
func (k knownBad) ip(i int) string {
	i %= k.n
	return fmt.Sprintf("%d.%d.%d.%d", 8+i>>24, i>>16&255, i>>8&255, i&255)
}

// makeCrowd writes the files.
func makeCrowd(dir string, n int) (crowd, error) {
	c := crowd{dir, knownBad{n}}
	if err := errors.Join(os.MkdirAll(c.lists(), 0o755), os.MkdirAll(filepath.Dir(c.refresh()), 0o755)); err != nil {
		return c, err
	}
	changed := func(i int) string {
		if i < c.changed() {
			return "worse" + c.known.domain(i)
		}
		return c.known.domain(i)
	}
	return c, errors.Join(
		writeLines(filepath.Join(c.lists(), "crowd-digests.txt"), n, c.known.digest),
		writeLines(filepath.Join(c.lists(), domainsFile), n, c.known.domain),
		writeLines(filepath.Join(c.lists(), "crowd-senders.txt"), n, c.known.sender),
		writeLines(c.refresh(), n, changed),
		writeLines(c.feed(), 2*n, func(i int) string {
			if i%2 == 0 {
				return strconv.Itoa(i) + "," + c.known.url(i/2) + ",90"
			}
			return strconv.Itoa(i) + "," + c.known.ip(i/2) + ",75"
		}),
	)
}

func writeLines(name string, n int, line func(i int) string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for i := range n {
		_, _ = w.WriteString(line(i)) // Flush tells
		_ = w.WriteByte('\n')
	}
	return errors.Join(w.Flush(), f.Close())
}

// scale measures the daemon with many indicators: how long it takes to load them and a
// refresh of many changed lines, with what memory, while it judges mail; then what a
// message costs, with few and with many, beside rspamd with the same lists. Lookups
// are measured in a process of their own, which loads the same files the same way.
func (b *bench) scale(ctx context.Context) error {
	total := b.indicators
	if b.quick {
		total = min(total, 20_000)
	}
	dir := filepath.Join(b.lab.Dir(), "crowd")
	c, err := makeCrowd(dir, total/crowdKinds)
	if err != nil {
		return err
	}
	looked, err := b.lookups(ctx, c)
	if err != nil {
		b.report.fail("scale: lookups", err)
	} else {
		b.print(looked.String())
	}
	weir, err := b.growWeir(ctx, c)
	if err != nil {
		return err
	}
	b.print(weir.String())
	if b.indicators == fullIndicators || b.quick {
		b.aimScale(looked, weir)
	}
	return b.compareScale(ctx, c, weir)
}

// fullIndicators is how many the targets are set for.
const fullIndicators = 10_000_000

func (b *bench) aimScale(l *lookedUp, w *grown) {
	one := func(v float64) spread { return spread{v, v, v} }
	if l != nil {
		b.report.aim(target{Name: "ns per probed key that is not listed, at ten million indicators", AtMost: 300}, one(l.MissNanos))
		b.report.aim(target{Name: "µs of a lookup that hits, median", AtMost: 10}, one(l.Idle.Hits.P50Micros))
		b.report.aim(target{Name: "µs of a lookup that hits, p99", AtMost: 100}, one(l.Idle.Hits.P99Micros))
		b.report.aim(target{Name: "µs of a lookup during the first load, p99", AtMost: 1000}, one(max(l.Loading.Hits.P99Micros, l.Loading.Misses.P99Micros)))
		b.report.aim(target{Name: "µs of a lookup during the refresh, p99", AtMost: 1000}, one(max(l.Refreshing.Hits.P99Micros, l.Refreshing.Misses.P99Micros)))
	} else {
		b.report.aim(target{Name: "lookups at ten million indicators", AtMost: 1}, spread{})
	}
	b.report.aim(target{Name: "seconds of the first load", AtMost: 90}, one(w.load.took.Seconds()))
	b.report.aim(target{Name: "seconds of a refresh of one million changed lines", AtMost: 20}, one(w.refresh.took.Seconds()))
	b.report.aim(target{Name: "MB of anonymous memory at most, while loading and refreshing", AtMost: 400}, one(float64(max(w.load.memory.Anonymous, w.refresh.memory.Anonymous))/1e6))
}

// grown is what growing has cost a daemon.
type grown struct {
	*server
	crowd         crowd
	before, after proc.Memory // at rest
	load, refresh growth
	hunted        time.Duration // from the load until what it added was hunted
}

// growth is one time of reading.
type growth struct {
	took   time.Duration
	cpu    time.Duration
	memory proc.Memory // the most
	judged []time.Duration
}

func (w *grown) String() string {
	mb := func(m proc.Memory) string {
		return fmt.Sprintf("%.0f MB anonymous, %.0f MB resident", float64(m.Anonymous)/1e6, float64(m.Resident)/1e6)
	}
	line := func(g *growth) string {
		p50, p99 := quantile(g.judged, 0.5), quantile(g.judged, 0.99)
		return fmt.Sprintf("%.1f s, %.1f s of CPU time, at most %s; %d messages judged meanwhile, p50 %.2f ms, p99 %.2f ms", g.took.Seconds(), g.cpu.Seconds(), mb(g.memory), len(g.judged), millis(p50), millis(p99))
	}
	return fmt.Sprintf(`
The daemon with %d indicators of %d kinds, %d in list files and the rest in a feed
  before                                %s
  first load                            %s
  what was added was hunted             %.1f s later
  at rest                               %s
  refresh of %d changed lines      %s
`, w.crowd.total(), crowdKinds, 3*w.crowd.known.n, mb(w.before), line(&w.load), w.hunted.Seconds(), mb(w.after), w.crowd.changed(), line(&w.refresh))
}

// growWeir starts a daemon with few indicators and makes them many.
func (b *bench) growWeir(ctx context.Context, c crowd) (*grown, error) {
	s, err := startWeir(ctx, b.lab, b.program, "weir-scale", knownBad{beforeEach})
	if err != nil {
		return nil, err
	}
	w := &grown{server: s, crowd: c}
	s.what = fmt.Sprintf("the daemon with its default policy and settings, journal on: %d indicators, none in the messages", c.total())
	if w.before, err = w.atRest(ctx); err != nil {
		return nil, err
	}
	home := filepath.Dir(s.socket)
	if err := w.deliver(wish{link: c.known.url(c.known.n - 1)}); err != nil {
		return nil, fmt.Errorf("a letter before the load: %w", err)
	}
	want := float64(4*beforeEach + c.total())
	err = w.load.measure(ctx, w, func() error {
		if err := w.addFeed(home); err != nil {
			return err
		}
		files, err := filepath.Glob(filepath.Join(c.lists(), "*.txt"))
		for _, f := range files {
			err = errors.Join(err, os.Link(f, filepath.Join(home, "lists", "block", filepath.Base(f))))
		}
		return errors.Join(err, s.process.Signal(syscall.SIGHUP))
	}, func(m map[string]float64) bool { return m["weir_indicators"] == want })
	if err != nil {
		return nil, fmt.Errorf("first load: %w", err)
	}
	web := unixClient(filepath.Join(home, "metrics.sock"))
	if w.hunted, err = hunted(ctx, web); err != nil {
		return nil, err
	}
	if w.after, err = w.atRest(ctx); err != nil {
		return nil, err
	}
	was, err := scrape(web)
	if err != nil {
		return nil, err
	}
	err = w.refresh.measure(ctx, w, func() error {
		// Renamed, as an editor does it.
		fresh := filepath.Join(home, "lists", "block", "."+domainsFile)
		return errors.Join(os.Link(c.refresh(), fresh), os.Rename(fresh, filepath.Join(home, "lists", "block", domainsFile)), s.process.Signal(syscall.SIGHUP))
	}, func(m map[string]float64) bool {
		return m["weir_indicator_generation"] > was["weir_indicator_generation"]
	})
	if err != nil {
		return nil, fmt.Errorf("refresh: %w", err)
	}
	_, err = w.atRest(ctx)
	return w, err
}

// deliver sends a letter that has to be accepted.
func (w *grown) deliver(what wish) error {
	session, err := openMilter(w.socket, 0, func(uint64) (wish, bool) { return what, false })
	if err != nil {
		return err
	}
	return errors.Join(session.Send(math.MaxUint32-1), session.Close())
}

// hunted waits until what was added was looked for in the journal, and found in the
// letter that was delivered before.
func hunted(ctx context.Context, web *http.Client) (time.Duration, error) {
	began := time.Now()
	limit, end := context.WithTimeout(ctx, 20*time.Minute)
	defer end()
	err := lab.Poll(limit, func() (bool, error) {
		m, err := scrape(web)
		return err == nil && m["weir_hunt_generation"] >= m["weir_indicator_generation"] && m["weir_incident_opened_total"] > 0, err
	})
	if err != nil {
		return 0, fmt.Errorf("what was added is not hunted to the end: %w", err)
	}
	return time.Since(began), nil
}

// addFeed adds the feed to the configuration.
func (w *grown) addFeed(home string) error {
	file := filepath.Join(home, "weir.toml")
	conf, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	conf = fmt.Appendf(conf, "[[feed]]\nname = \"crowd\"\nfile = %q\nformat = \"csv\"\ncolumns = [\"value=2\", \"confidence=3\"]\nmax_size = \"1GiB\"\n", w.crowd.feed())
	return os.WriteFile(file, conf, 0o644)
}

// atRest waits until the daemon has nothing left to do, and tells what memory it
// takes then.
func (w *grown) atRest(ctx context.Context) (proc.Memory, error) {
	deadline := time.Now().Add(10 * time.Minute)
	for {
		_, err := settle(ctx, w.group, 2*time.Second)
		if err == nil {
			return w.group.Memory()
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return proc.Memory{}, err
		}
	}
}

// measure begins something and measures until it is done, while mail is judged: a
// letter at a time, one of twenty with something that is listed since before.
func (g *growth) measure(ctx context.Context, w *grown, begin func() error, done func(metrics map[string]float64) bool) error {
	watch, stop := context.WithCancel(ctx)
	defer stop()
	peak := watchMemory(watch, w.group)
	before, err := w.group.CPU()
	if err != nil {
		return err
	}
	var mail sync.WaitGroup
	var failed error
	mail.Go(func() { g.judged, failed = w.judge(watch) })
	began := time.Now()
	err = begin()
	web := unixClient(filepath.Join(filepath.Dir(w.socket), "metrics.sock"))
	if err == nil {
		limit, end := context.WithTimeout(ctx, 20*time.Minute)
		defer end()
		err = lab.Poll(limit, func() (bool, error) {
			m, err := scrape(web)
			return err == nil && done(m), err
		})
	}
	g.took = time.Since(began)
	after, cpuErr := w.group.CPU()
	g.cpu = after - before
	stop()
	mail.Wait()
	var memoryErr error
	g.memory, memoryErr = peak()
	return errors.Join(err, cpuErr, memoryErr, failed)
}

// judge sends letters until the context ends, and gives the sorted times that they took.
func (w *grown) judge(ctx context.Context) ([]time.Duration, error) {
	known := bench{known: knownBad{beforeEach}}
	var times []time.Duration
	for n := uint64(0); ctx.Err() == nil; {
		session, err := openMilter(w.socket, 0, known.withHits)
		if err != nil {
			return nil, err
		}
		for range 20 {
			began := time.Now()
			if err := session.Send(math.MaxUint32 + n); err != nil {
				_ = session.Close()
				return nil, err
			}
			times = append(times, time.Since(began))
			n++
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
		if err := session.Close(); err != nil {
			return nil, err
		}
	}
	slices.Sort(times)
	return times, nil
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return (&load.Result{Times: sorted}).Quantile(q)
}

// compareScale measures what a message costs with few indicators and with many, here
// and in rspamd.
func (b *bench) compareScale(ctx context.Context, c crowd, weir *grown) error {
	few := knownBad{beforeEach}
	small, err := startWeir(ctx, b.lab, b.program, "weir-few", few)
	if err != nil {
		return err
	}
	theirs, took, err := b.growRspamd(ctx, "rspamd-scale", c.known)
	if err != nil {
		return err
	}
	theirFew, _, err := b.growRspamd(ctx, "rspamd-few", few)
	if err != nil {
		return err
	}
	var all []*contestant
	for _, s := range []*server{weir.server, small, theirs, theirFew} {
		all = append(all, b.contestant(s, harmless))
	}
	b.contest(milterSessions, 20, 20*time.Second).run(ctx, all)
	notes := []string{fmt.Sprintf("rspamd read the same %d entries into its maps in %.1f s", c.total(), took.Seconds())}
	extra := func(many, few *contestant) float64 {
		return ratioOf(many, few, func(a, b *round) float64 { return a.CPUMicros - b.CPUMicros }).Median
	}
	notes = append(notes, fmt.Sprintf("CPU µs a message that the many entries cost: weir %.1f, rspamd %.1f", extra(all[0], all[1]), extra(all[2], all[3])))
	bytes := ratioOf(all[2], all[3], func(a, b *round) float64 { return float64(a.AnonymousBytes - b.AnonymousBytes) }).Median
	notes = append(notes, fmt.Sprintf("bytes of anonymous memory an entry: rspamd %.0f; weir %.0f at rest", bytes/float64(c.total()), float64(weir.after.Anonymous-weir.before.Anonymous)/float64(c.total())))
	b.print(b.report.add(table{Name: "scale", Title: fmt.Sprintf("A message with %d indicators, and with few", c.total()), Notes: notes}, all).String())
	return nil
}

// growRspamd starts an rspamd with one worker, so that its maps are in memory once, and
// tells how long it takes until it finds the last entry of each.
func (b *bench) growRspamd(ctx context.Context, name string, k knownBad) (*server, time.Duration, error) {
	began := time.Now()
	r, err := b.lab.Rspamd(lab.RspamdOptions{Senders: k.all(k.sender), Domains: k.all(k.domain), URLs: k.all(k.urlHost), SHA256: k.all(k.digest), IPs: k.all(k.ip), Within: 10 * time.Minute})
	if err != nil {
		return nil, 0, err
	}
	pids, err := r.PIDs()
	if err != nil {
		return nil, 0, err
	}
	s := &server{name: name, what: fmt.Sprintf("Debian's rspamd, 1 worker, no rules: %d entries in its maps", crowdKinds*k.n), socket: r.Socket()}
	if s.group, err = proc.GroupOf(pids...); err != nil {
		return nil, 0, err
	}
	last := bench{known: k}
	limit, end := context.WithTimeout(ctx, 10*time.Minute)
	defer end()
	for i := range 4 {
		err := lab.Poll(limit, func() (bool, error) {
			return findsLast(s.socket, &last, i), nil
		})
		if err != nil {
			return nil, 0, fmt.Errorf("it does not find the last entry of its %dth map: %w", i+1, err)
		}
	}
	return s, time.Since(began), nil
}

// findsLast sends a letter with the last entry of a kind, and tells whether it is stopped.
func findsLast(socket string, b *bench, kind int) bool {
	last := b.known.n - 1 - (b.known.n-1-kind)%4 // the last one of this kind, as withHits takes turns
	session, err := openMilter(socket, 0, b.withHits)
	if err != nil {
		return false
	}
	defer func() { _ = session.Close() }()
	return session.Send(uint64(last*hitEvery+hitEvery-1)) == nil
}

// ratioOf compares two contestants round by round in a way of its own.
func ratioOf(a, b *contestant, of func(a, b *round) float64) spread {
	return over(min(len(a.rounds), len(b.rounds)), func(i int) float64 { return of(&a.rounds[i], &b.rounds[i]) })
}

// String tells it in words.
func (l *lookedUp) String() string {
	line := func(t timed) string {
		return fmt.Sprintf("hits p50 %.1f µs, p99 %.1f µs of %d; misses p50 %.1f µs, p99 %.1f µs of %d",
			t.Hits.P50Micros, t.Hits.P99Micros, t.Hits.Count, t.Misses.P50Micros, t.Misses.P99Micros, t.Misses.Count)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nLookups in a process of their own, %d indicators\n", l.Total)
	fmt.Fprintf(&b, "  a probed key that is not listed       %.0f ns on average\n", l.MissNanos)
	fmt.Fprintf(&b, "  idle                                  %s\n", line(l.Idle))
	fmt.Fprintf(&b, "  during the first load, %5.1f s        %s\n", l.LoadSeconds, line(l.Loading))
	fmt.Fprintf(&b, "  during the refresh, %5.1f s           %s\n", l.RefreshSeconds, line(l.Refreshing))
	return b.String()
}
