package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirmail/weir/cmd/internal/bench/load"
	"github.com/weirmail/weir/cmd/internal/bench/proc"
)

// contestant is one of several servers that are measured with the same load.
type contestant struct {
	name   string
	what   string     // what is inside its figures
	group  proc.Group // the processes whose CPU time and memory count
	open   func(n int) (load.Session, error)
	next   atomic.Uint64 // number of the next message
	rounds []round
	err    error // why it could not be measured
}

// round is one measurement of one contestant.
type round struct {
	Messages       int     `json:"messages"`
	Seconds        float64 `json:"seconds"` // of load
	Rate           float64 `json:"messages_per_second"`
	P50Millis      float64 `json:"p50_ms"`
	P99Millis      float64 `json:"p99_ms"`
	CPUMicros      float64 `json:"cpu_us_per_message"`
	ResidentBytes  int64   `json:"resident_peak_bytes"`
	AnonymousBytes int64   `json:"anonymous_peak_bytes"`
}

// contest is how contestants are measured.
type contest struct {
	sessions   int           // open at once
	perSession int           // messages, before a session is opened anew
	rounds     int           // of each contestant
	load       time.Duration // of each contestant in each round
	warm       time.Duration // of load before the first round, which counts for nothing
	quiet      time.Duration // see settle
}

// run measures all contestants in turn, round after round (A B C A B C …), so
// that a machine that becomes slower or faster does so for all of them. One that
// fails is left out from then on and knows why.
func (c contest) run(ctx context.Context, all []*contestant) {
	for i := -1; i < c.rounds; i++ {
		for _, who := range all {
			if who.err != nil {
				continue
			}
			length := c.load
			if i < 0 {
				length = c.warm
			}
			r, err := c.measure(ctx, who, length)
			switch {
			case err != nil:
				who.err = err
			case i >= 0:
				who.rounds = append(who.rounds, *r)
			}
		}
	}
}

// measure puts load on a contestant once and counts its CPU time until that has
// come to rest.
func (c contest) measure(ctx context.Context, who *contestant, length time.Duration) (*round, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	watch, stop := context.WithCancel(ctx)
	defer stop()
	peak := watchMemory(watch, who.group)
	before, err := who.group.CPU()
	if err != nil {
		return nil, err
	}
	result, err := load.Run(load.Plan{Sessions: c.sessions, PerSession: c.perSession, Duration: length, Next: &who.next, Open: who.open})
	if err != nil {
		return nil, err
	}
	after, err := settle(ctx, who.group, c.quiet)
	if err != nil {
		return nil, err
	}
	stop()
	memory, err := peak()
	if err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	return &round{
		Messages: result.Messages, Seconds: result.Elapsed.Seconds(), Rate: result.Rate(),
		P50Millis: millis(result.Quantile(0.5)), P99Millis: millis(result.Quantile(0.99)),
		CPUMicros:     micros(after-before) / float64(result.Messages),
		ResidentBytes: memory.Resident, AnonymousBytes: memory.Anonymous,
	}, nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// atRest is the share of one CPU below which a server is taken to have nothing
// left to do. Timers and housekeeping of an idle daemon, above all those of Badger's
// compactors, which look for work 120 times a second in its three databases, take
// half a percent of a CPU, and up to 2.5 percent where a hypervisor makes it dear to
// wake one that is idle.
const atRest = 0.04

// settle waits until a group has been at rest for a time and gives the CPU time
// that it has used up to then. What a server does after its answers, such as
// writing its indexes, is counted that way.
func settle(ctx context.Context, g proc.Group, quiet time.Duration) (time.Duration, error) {
	const look = 50 * time.Millisecond
	deadline := time.Now().Add(time.Minute)
	from, since := time.Duration(-1), time.Now()
	for {
		cpu, err := g.CPU()
		if err != nil {
			return 0, err
		}
		if from < 0 || cpu-from > time.Duration(float64(quiet)*atRest) {
			from, since = cpu, time.Now()
		}
		switch {
		case time.Since(since) >= quiet:
			return cpu, nil
		case time.Now().After(deadline):
			return 0, errors.New("its CPU time does not come to rest")
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(look):
		}
	}
}

// watchMemory looks at what a group takes until the context ends. The function
// that it gives waits for that and gives the most that was seen of each.
func watchMemory(ctx context.Context, g proc.Group) func() (proc.Memory, error) {
	const look = 250 * time.Millisecond
	var peak proc.Memory
	var failed error
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for {
			m, err := g.Memory()
			if err != nil {
				failed = err
				return
			}
			peak.Resident, peak.Anonymous = max(peak.Resident, m.Resident), max(peak.Anonymous, m.Anonymous)
			select {
			case <-ctx.Done():
				return
			case <-time.After(look):
			}
		}
	})
	return func() (proc.Memory, error) {
		watcher.Wait()
		return peak, failed
	}
}

// spread is a figure over all rounds.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// over gives the spread of n figures; zero if there are none.
func over(n int, figure func(i int) float64) spread {
	if n == 0 {
		return spread{}
	}
	all := make([]float64, n)
	for i := range all {
		all[i] = figure(i)
	}
	slices.SortFunc(all, cmp.Compare[float64])
	return spread{Median: (all[(n-1)/2] + all[n/2]) / 2, Min: all[0], Max: all[n-1]}
}

func (c *contestant) over(figure func(r *round) float64) spread {
	return over(len(c.rounds), func(i int) float64 { return figure(&c.rounds[i]) })
}

// ratio compares two contestants round by round.
func ratio(a, b *contestant, figure func(r *round) float64) spread {
	return over(min(len(a.rounds), len(b.rounds)), func(i int) float64 { return figure(&a.rounds[i]) / figure(&b.rounds[i]) })
}

func rate(r *round) float64 { return r.Rate }

// perCPU gives messages per second of CPU time.
func perCPU(r *round) float64 { return 1e6 / r.CPUMicros }
