package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirmail/weir/cmd/internal/bench/proc"
)

// report is all that was measured, as --json writes it.
type report struct {
	Began    time.Time `json:"began"`
	Quick    bool      `json:"quick"` // too short for figures that mean anything
	Machine  machine   `json:"machine"`
	Tables   []table   `json:"tables"`
	Targets  []target  `json:"targets"`
	Failures []string  `json:"failures"` // what could not be measured, and why

	GoBenchmarks string `json:"go_benchmarks"` // as go test prints them
}

// machine says what it was measured on, and what else it did meanwhile.
type machine struct {
	CPU         string  `json:"cpu"`
	CPUs        int     `json:"cpus"`
	Kernel      string  `json:"kernel"`
	Go          string  `json:"go"`
	FileSystem  string  `json:"file_system"` // of logs, indexes and queue
	LoadBefore  float64 `json:"load_before"` // load average of the minute before
	LoadAfter   float64 `json:"load_after"`
	StolenShare float64 `json:"stolen_share"` // of all CPU time wanted, what the hypervisor gave to others
}

// table is one comparison.
type table struct {
	Name  string   `json:"name"`
	Title string   `json:"title"`
	Notes []string `json:"notes"`
	Rows  []row    `json:"rows"`
}

// row is one contestant.
type row struct {
	Name      string  `json:"name"`
	What      string  `json:"what"`
	Messages  int     `json:"messages"`
	Seconds   float64 `json:"seconds"`
	Rate      spread  `json:"messages_per_second"`
	P50       spread  `json:"p50_ms"`
	P99       spread  `json:"p99_ms"`
	CPU       spread  `json:"cpu_us_per_message"`
	Resident  int64   `json:"resident_peak_bytes"`
	Anonymous int64   `json:"anonymous_peak_bytes"`
	Rounds    []round `json:"rounds"`
	Error     string  `json:"error,omitempty"`
}

// target is what has to be reached.
type target struct {
	Name    string  `json:"name"`
	Figure  *spread `json:"figure"` // of the rounds; the median counts. nil: not measured
	AtLeast float64 `json:"at_least,omitempty"`
	AtMost  float64 `json:"at_most,omitempty"`
}

func (t target) met() bool {
	return t.Figure != nil && t.Figure.Median > 0 && (t.AtLeast == 0 || t.Figure.Median >= t.AtLeast) && (t.AtMost == 0 || t.Figure.Median <= t.AtMost)
}

// add takes a comparison that was made; whoever could not be measured is a failure.
func (r *report) add(t table, all []*contestant) *table {
	for _, c := range all {
		line := row{Name: c.name, What: c.what, Rounds: c.rounds, Rate: c.over(rate),
			P50: c.over(func(r *round) float64 { return r.P50Millis }), P99: c.over(func(r *round) float64 { return r.P99Millis }),
			CPU: c.over(func(r *round) float64 { return r.CPUMicros })}
		for i := range c.rounds {
			line.Messages += c.rounds[i].Messages
			line.Seconds += c.rounds[i].Seconds
			line.Resident = max(line.Resident, c.rounds[i].ResidentBytes)
			line.Anonymous = max(line.Anonymous, c.rounds[i].AnonymousBytes)
		}
		if c.err != nil {
			line.Error = c.err.Error()
			r.fail(t.Name+": "+c.name, c.err)
		}
		t.Rows = append(t.Rows, line)
	}
	r.Tables = append(r.Tables, t)
	return &r.Tables[len(r.Tables)-1]
}

func (r *report) fail(what string, err error) {
	r.Failures = append(r.Failures, fmt.Sprintf("%s: not measured: %v", what, err))
}

// aim takes a target; without a figure in every round it is missed.
func (r *report) aim(t target, figure spread) {
	if figure != (spread{}) {
		t.Figure = &figure
	}
	r.Targets = append(r.Targets, t)
}

// failed says whether anything was not measured or, unless it was only a smoke
// run, missed its target.
func (r *report) failed() bool {
	for _, t := range r.Targets {
		if t.Figure == nil || !r.Quick && !t.met() {
			return true
		}
	}
	return len(r.Failures) > 0
}

func (t *table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n", t.Title)
	fmt.Fprintf(&b, "  %-15s %10s %8s %8s %15s %15s %7s %7s %9s\n",
		"", "messages/s", "p50 ms", "p99 ms", "CPU µs/message", "in the rounds", "RSS MB", "anon MB", "messages")
	for _, r := range t.Rows {
		if r.Error != "" {
			fmt.Fprintf(&b, "  %-15s NOT MEASURED: %s\n", r.Name, r.Error)
			continue
		}
		fmt.Fprintf(&b, "  %-15s %10.0f %8s %8s %15.1f %15s %7.0f %7.0f %9d\n", r.Name, r.Rate.Median, figure(r.P50), figure(r.P99),
			r.CPU.Median, fmt.Sprintf("%.1f–%.1f", r.CPU.Min, r.CPU.Max), float64(r.Resident)/1e6, float64(r.Anonymous)/1e6, r.Messages)
	}
	for _, r := range t.Rows {
		fmt.Fprintf(&b, "  %-15s %s\n", r.Name, r.What)
	}
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "  %s\n", n)
	}
	return b.String()
}

// figure gives a median, or nothing where nothing was measured.
func figure(s spread) string {
	if s == (spread{}) {
		return ""
	}
	return fmt.Sprintf("%.2f", s.Median)
}

// summary says which targets were met and what was not measured.
func (r *report) summary() string {
	var b strings.Builder
	b.WriteString("\nTargets\n")
	for _, t := range r.Targets {
		bound, limit := "at least", t.AtLeast
		if t.AtMost > 0 {
			bound, limit = "at most", t.AtMost
		}
		answer := "MISSED"
		switch {
		case t.Figure == nil:
			fmt.Fprintf(&b, "  NOT MEASURED  %s (%s %g)\n", t.Name, bound, limit)
			continue
		case r.Quick:
			answer = "not judged"
		case t.met():
			answer = "met"
		}
		fmt.Fprintf(&b, "  %-12s  %s: %.2f (%.2f–%.2f in the rounds), %s %g\n", answer, t.Name, t.Figure.Median, t.Figure.Min, t.Figure.Max, bound, limit)
	}
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "  %s\n", f)
	}
	m := r.Machine
	fmt.Fprintf(&b, "\nMachine: %d × %s, Linux %s, %s, %s; load average %.2f before and %.2f after, %.1f %% of the CPU time wanted was stolen by the hypervisor\n",
		m.CPUs, m.CPU, m.Kernel, m.Go, m.FileSystem, m.LoadBefore, m.LoadAfter, 100*m.StolenShare)
	b.WriteString("CPU time is that of each process's own clock, in ns; of processes that have ended meanwhile in ticks of 10 ms. Medians over the rounds.\n")
	if r.Quick {
		b.WriteString("This was a smoke run: its figures mean nothing.\n")
	}
	return b.String()
}

func (r *report) write(file string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// describe says what the machine is. What it did meanwhile is the caller's.
func describe(dir string) (machine, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return machine{}, err
	}
	fs, err := proc.FileSystem(dir)
	return machine{CPU: proc.CPUModel(), CPUs: runtime.NumCPU(), Kernel: unix.ByteSliceToString(name.Release[:]), Go: runtime.Version(), FileSystem: fs}, err
}
