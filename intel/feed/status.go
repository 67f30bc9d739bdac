package feed

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Status says how a feed is.
type Status struct {
	Name    string
	From    string // URL without its query, which may hold a key; or file
	Entries int    // that are in force
	Counted Counted
	Fetched time.Time // when what is in force was fetched; zero: nothing is
	Checked time.Time // when its source last said what it has, new or not
	Next    time.Time // when it is refreshed again
	Error   string    // why the last refresh failed; empty: it did not
	Since   time.Time // since when refreshes fail
	Held    string    // why something newer waits for a person; empty: nothing does
	HeldAt  time.Time // when that was fetched
	Expired bool      // it was not refreshed for so long that it counts no more
	Overdue bool      // it has not been refreshed in its time

	every time.Duration
	since time.Time // when it was first known
}

// late is by how much a refresh may be late without a person: feeds fail now and
// then.
const late = 10 * time.Minute

// overdue reports whether a feed has missed two refreshes.
func (s *Status) overdue(now time.Time) bool {
	last := s.Checked
	if last.IsZero() {
		last = s.since
	}
	return now.Sub(last) > 2*s.every+late
}

func (s *settings) from() string {
	if s.File != "" {
		return s.File
	}
	return s.URL
}

// publish makes what is known of a feed the status that others see. Nobody else
// refreshes it meanwhile.
func (one *kept) publish(s *settings, at time.Time) {
	st := one.state
	from, _, _ := strings.Cut(s.from(), "?")
	now := &Status{Name: one.name, From: from, Checked: st.Checked, Next: one.next(s, at), Error: st.Error, Since: st.Since, Expired: st.Expired, every: s.Every, since: at}
	if old := one.status.Load(); old != nil {
		now.since = old.since
	}
	if st.Good != nil && !st.Expired {
		now.Entries, now.Counted, now.Fetched = st.Good.Entries, st.Good.Counted, st.Good.Fetched
	}
	if st.Held != nil {
		now.Held, now.HeldAt = changed(st.Good, st.Held, s), st.Held.Fetched
		if now.Held == "" { // the bound was raised meanwhile
			now.Held = fmt.Sprintf("it has %d entries", st.Held.Entries)
		}
	}
	one.status.Store(now)
}

// legible gives text for people, of bounded length.
func legible(s string) string {
	if len(s) > maxError {
		s = s[:maxError] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// measure registers the metrics.
func (k *Keeper) measure(reg prometheus.Registerer) error {
	k.outcome = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_feed_refreshes_total", Help: "Refreshes of feeds, by what came of them."}, []string{"feed", "outcome"})
	if reg == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{k.outcome, states{k}} {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("feed: %w", err)
		}
	}
	return nil
}

// states collects how the feeds are.
type states struct{ k *Keeper }

var (
	entriesDesc = prometheus.NewDesc("weir_feed_entries", "Entries of a feed that are in force.", []string{"feed"}, nil)
	checkedDesc = prometheus.NewDesc("weir_feed_checked_timestamp_seconds", "When a feed's source last said what it has.", []string{"feed"}, nil)
	overdueDesc = prometheus.NewDesc("weir_feed_overdue", "1 if a feed has not been refreshed in its time.", []string{"feed"}, nil)
	heldDesc    = prometheus.NewDesc("weir_feed_held", "1 if something newer of a feed waits for a person.", []string{"feed"}, nil)
)

// Describe implements prometheus.Collector.
func (states) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{entriesDesc, checkedDesc, overdueDesc, heldDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s states) Collect(ch chan<- prometheus.Metric) {
	bit := map[bool]float64{true: 1}
	for _, f := range s.k.Status() {
		for d, v := range map[*prometheus.Desc]float64{
			entriesDesc: float64(f.Entries), checkedDesc: float64(f.Checked.Unix()), overdueDesc: bit[f.Overdue], heldDesc: bit[f.Held != ""],
		} {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, f.Name)
		}
	}
}
