package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/bench/proc"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/feed/format"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/intel/store"
)

// lookupEnv makes this program the process that looks things up: "N DIR", the number
// of indicators of each kind and the folder with the crowd's files.
const lookupEnv = "WEIR_BENCH_LOOKUPS"

// lookedUp is what that process tells.
type lookedUp struct {
	Total          int
	MissNanos      float64 // a probed key
	Idle           timed
	Loading        timed
	Refreshing     timed
	LoadSeconds    float64
	RefreshSeconds float64
}

// timed are lookups that were timed one by one.
type timed struct{ Hits, Misses times }

type times struct {
	Count                int
	P50Micros, P99Micros float64
}

func timesOf(all []time.Duration) times {
	slices.Sort(all)
	return times{len(all), micros(quantile(all, 0.5)), micros(quantile(all, 0.99))}
}

// lookups measures them in a process of its own.
func (b *bench) lookups(ctx context.Context, c crowd) (*lookedUp, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), lookupEnv+"="+strconv.Itoa(c.known.n)+" "+c.dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	l := &lookedUp{}
	return l, json.Unmarshal(out, l)
}

// serveLookups is that process's main function.
func serveLookups(spec string, out io.Writer) error {
	n, dir, _ := strings.Cut(spec, " ")
	each, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	room := filepath.Join(dir, "lookups")
	defer func() { _ = os.RemoveAll(room) }()
	if err := os.MkdirAll(filepath.Join(room, "lists", "block"), 0o755); err != nil {
		return err
	}
	db, err := kv.Open(kv.Options{FS: disk.System{}, Dir: filepath.Join(room, "intel"), Name: "intel", Schema: store.Schema})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	l := &looker{crowd: crowd{dir, knownBad{each}}, lists: filepath.Join(room, "lists"), matcher: match.NewMatcher()}
	l.store, err = store.Open(store.Options{DB: db, Matcher: l.matcher, FS: disk.System{}, Dir: filepath.Join(room, "indicators")})
	if err != nil {
		return err
	}
	defer l.store.Close()
	answer, err := l.measure()
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(answer)
}

// looker looks up what a store holds.
type looker struct {
	crowd   crowd
	lists   string // folder
	store   *store.Store
	matcher *match.Matcher
}

func (l *looker) measure() (*lookedUp, error) {
	few := knownBad{min(beforeEach, l.crowd.known.n)}
	for name, entry := range map[string]func(int) string{"digests": few.digest, "domains": few.domain, "senders": few.sender, "urls": few.url, "ips": few.ip} {
		if err := writeLines(filepath.Join(l.lists, "block", name+".txt"), few.n, entry); err != nil {
			return nil, err
		}
	}
	if err := l.read(); err != nil {
		return nil, err
	}
	answer := &lookedUp{Total: l.crowd.total()}
	began := time.Now()
	var err error
	if answer.Loading, err = l.while(few, func() error {
		files, err := filepath.Glob(filepath.Join(l.crowd.lists(), "*.txt"))
		for _, f := range files {
			err = errors.Join(err, os.Symlink(f, filepath.Join(l.lists, "block", filepath.Base(f))))
		}
		return errors.Join(err, l.read(), l.readFeed())
	}); err != nil {
		return nil, err
	}
	answer.LoadSeconds = time.Since(began).Seconds()
	if err := rest(); err != nil {
		return nil, err
	}
	if answer.MissNanos, err = l.misses(); err != nil {
		return nil, err
	}
	if answer.Idle, err = l.idle(); err != nil {
		return nil, err
	}
	began = time.Now()
	domains := filepath.Join(l.lists, "block", domainsFile)
	if answer.Refreshing, err = l.while(few, func() error {
		return errors.Join(os.Remove(domains), os.Symlink(l.crowd.refresh(), domains), l.read())
	}); err != nil {
		return nil, err
	}
	answer.RefreshSeconds = time.Since(began).Seconds()
	return answer, nil
}

func (l *looker) read() error {
	report, err := l.store.LoadLists(context.Background(), l.lists, list.Options{})
	return errors.Join(err, report.Err())
}

func (l *looker) readFeed() error {
	f, err := format.New(format.Options{
		Format: format.CSV, Source: "feed:crowd", Disposition: intel.Block, Now: time.Now(),
		Open: func() (io.ReadCloser, error) { return os.Open(l.crowd.feed()) },
		CSV:  format.CSVOptions{Columns: format.Columns{Value: "2", Confidence: "3"}},
	})
	if err != nil {
		return err
	}
	results, err := l.store.Refresh(context.Background(), store.Source{Name: "feed:crowd", Entries: f.Entries, Thin: true})
	if err == nil && results[0].Entries != 2*l.crowd.known.n {
		err = fmt.Errorf("%s %w", results[0], errors.Join(results[0].Errors...))
	}
	return err
}

// rest waits until what a database does in the background is done: until this process
// takes hardly any CPU time for two seconds.
func rest() error {
	const look = 2 * time.Second
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); {
		before, err := proc.Self()
		if err != nil {
			return err
		}
		time.Sleep(look)
		after, err := proc.Self()
		if err != nil {
			return err
		}
		if float64(after-before) <= 2*atRest*float64(look) {
			return nil
		}
	}
	return errors.New("its CPU time does not come to rest")
}

// while looks up, without a pause, what was listed before and what never is, as long as
// something is done.
func (l *looker) while(few knownBad, do func() error) (timed, error) {
	done := make(chan error, 1)
	go func() { done <- do() }()
	var hits, misses []time.Duration
	for i := 0; ; i++ {
		select {
		case err := <-done:
			return timed{timesOf(hits), timesOf(misses)}, err
		case <-time.After(time.Millisecond):
		}
		for j := range 4 {
			hit, err := l.time(observableOf(few, i*4+j, ""), true)
			if err != nil {
				return timed{}, err
			}
			miss, err := l.time(observableOf(few, i*4+j, "good"), false)
			if err != nil {
				return timed{}, err
			}
			hits, misses = append(hits, hit), append(misses, miss)
		}
	}
}

// idle looks up the many entries one by one, in no order.
func (l *looker) idle() (timed, error) {
	var hits, misses []time.Duration
	r := random(7)
	for range 200_000 {
		i := int(r.next() % uint64(l.crowd.total()))
		hit, err := l.time(observableOf(l.crowd.known, i, ""), true)
		if err != nil {
			return timed{}, err
		}
		miss, err := l.time(observableOf(l.crowd.known, i, "good"), false)
		if err != nil {
			return timed{}, err
		}
		hits, misses = append(hits, hit), append(misses, miss)
	}
	return timed{timesOf(hits), timesOf(misses)}, nil
}

// time looks one thing up.
func (l *looker) time(o intel.Observable, listed bool) (time.Duration, error) {
	observables := []intel.Observable{o}
	began := time.Now()
	snap := l.matcher.Acquire()
	hits, err := snap.Match(nil, observables, intel.Inbound, began)
	snap.Release()
	took := time.Since(began)
	if err == nil && (len(hits) > 0) != listed {
		err = fmt.Errorf("%s has %d hits", o.Value, len(hits))
	}
	return took, err
}

// misses gives the time of a probed key that is not listed, in ns, on average over
// observables of all kinds.
func (l *looker) misses() (float64, error) {
	const rounds = 20
	var observables []intel.Observable
	probes := 0
	for i := range 50_000 {
		o := observableOf(l.crowd.known, i, "good")
		observables = append(observables, o)
		probes += probesOf(o.Value)
	}
	snap := l.matcher.Acquire()
	defer snap.Release()
	began := time.Now()
	for range rounds {
		hits, err := snap.Match(nil, observables, intel.Inbound, began)
		if err != nil || len(hits) > 0 {
			return 0, fmt.Errorf("%d hits of what is not listed: %w", len(hits), err)
		}
	}
	return float64(time.Since(began).Nanoseconds()) / float64(rounds*probes), nil
}

// probesOf counts the keys that a lookup asks the filter for (package match says
// which), where neither ranges nor URL prefixes are listed.
func probesOf(v intel.Value) int {
	names := func(host string) int { return 2 + strings.Count(host, ".") } // exactly, and below each of its ends
	switch v.Kind() {
	case intel.KindURL:
		return 2 + names(v.Host()) // the URL, and the mark of its host
	case intel.KindAddress:
		return 1 + names(v.Host())
	case intel.KindDomain:
		return names(v.String())
	}
	return 1
}

// observableOf gives the i-th of all that is listed, kind by kind, or, with a prefix,
// something like it that is not.
func observableOf(k knownBad, i int, prefix string) intel.Observable {
	n := i / crowdKinds
	var v intel.Value
	var err error
	role := intel.RoleURL
	switch i % crowdKinds {
	case 0:
		text := k.digest(n)
		if prefix != "" {
			text = knownBad{1 << 40}.digest(1<<39 + n)
		}
		v, err = intel.Digest(text)
		role = intel.RoleAttachment
	case 1:
		v, err = intel.Domain(prefix + k.domain(n))
		role = intel.RoleHelo
	case 2:
		v, err = intel.Address(strings.Replace(k.sender(n), "@", "@"+prefix, 1))
		role = intel.RoleHeaderFrom
	case 3:
		v, err = intel.URL(strings.Replace(k.url(n), "//", "//"+prefix, 1))
	default:
		text := k.ip(n)
		if prefix != "" {
			text = knownBad{1 << 27}.ip(1<<26 + n)
		}
		addr, parseErr := netip.ParseAddr(text)
		v, err = intel.IP(addr)
		err = errors.Join(err, parseErr)
		role = intel.RoleClient
	}
	if err != nil {
		panic(err) // they are made to be right
	}
	return intel.Observable{Value: v, Role: role}
}
