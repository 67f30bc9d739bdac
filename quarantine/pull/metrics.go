package pull

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmail/weir/quarantine/job"
)

// metrics counts what is done.
type metrics struct {
	jobs    *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	copies  *prometheus.CounterVec
	given   prometheus.Counter
	bytes   prometheus.Counter
	leases  *prometheus.GaugeVec
	daemons *prometheus.GaugeVec
	stores  *prometheus.GaugeVec
	conns   *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help, label string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		jobs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_pull_jobs_total",
			Help: "Jobs that were reported, by what was to be done and what became of it."}, []string{"kind", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "weir_pull_job_seconds",
			Help: "From lease to report.", Buckets: []float64{.01, .03, .1, .3, 1, 3, 10, 30, 100, 300, 1000}}, []string{"kind"}),
		copies: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_pull_copies_total",
			Help: "Copies that were looked at, by what became of them."}, []string{"fate"}),
		given:   prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_pull_jobs_abandoned_total", Help: "Jobs that were left to the next holder of their lease."}),
		bytes:   prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_pull_kept_bytes_total", Help: "Bytes of messages that the daemons took into quarantine."}),
		leases:  gauge("weir_pull_leases", "Jobs under way or waiting for their mailbox.", "daemon"),
		daemons: gauge("weir_pull_daemon_up", "Whether the daemon answers.", "daemon"),
		stores:  gauge("weir_pull_store_up", "Whether the mail store let the last one in.", "store"),
		conns:   gauge("weir_pull_connections", "Mailboxes that are open.", "store"),
	}
	if reg == nil {
		return m, nil
	}
	all := []prometheus.Collector{m.jobs, m.seconds, m.copies, m.given, m.bytes, m.leases, m.daemons, m.stores, m.conns}
	for i, c := range all {
		if err := reg.Register(c); err != nil {
			for _, done := range all[:i] {
				reg.Unregister(done)
			}
			return nil, fmt.Errorf("pull: metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) finished(kind job.Kind, r *job.Result, took time.Duration) {
	m.jobs.WithLabelValues(string(kind), string(r.Outcome)).Inc()
	m.seconds.WithLabelValues(string(kind)).Observe(took.Seconds())
	for i := range r.Copies {
		m.copies.WithLabelValues(string(r.Copies[i].Fate)).Inc()
	}
}

func (m *metrics) abandoned()                      { m.given.Inc() }
func (m *metrics) kept(n int)                      { m.bytes.Add(float64(n)) }
func (m *metrics) leased(daemon string, n int)     { m.leases.WithLabelValues(daemon).Add(float64(n)) }
func (m *metrics) connections(store string, n int) { m.conns.WithLabelValues(store).Set(float64(n)) }
func (m *metrics) daemonUp(daemon string, up bool) { m.daemons.WithLabelValues(daemon).Set(number(up)) }
func (m *metrics) storeUp(store string, up bool)   { m.stores.WithLabelValues(store).Set(number(up)) }

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
