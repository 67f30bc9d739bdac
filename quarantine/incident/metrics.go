package incident

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	opened     prometheus.Counter
	deliveries *prometheus.CounterVec
	outcomes   *prometheus.CounterVec
	restores   *prometheus.CounterVec
	lost       prometheus.Counter
	seconds    prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, d *Desk) (*metrics, error) {
	m := &metrics{
		opened: prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_incident_opened_total", Help: "Incidents that were opened."}),
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_incident_deliveries_total",
			Help: "Deliveries that came into incidents, by what was decided about them."}, []string{"outcome"}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_incident_outcomes_total",
			Help: "Outcomes of pulls, each counted when it was new."}, []string{"outcome"}),
		restores: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_incident_restores_total",
			Help: "Copies that were to go back, by what became of that."}, []string{"outcome"}),
		lost: prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_incident_leases_lost_total", Help: "Leases that ran out."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "weir_incident_pull_seconds",
			Help: "Time from finding a delivery to having pulled it.", Buckets: prometheus.ExponentialBuckets(0.25, 4, 10)}),
	}
	if reg == nil {
		return m, nil
	}
	all := []prometheus.Collector{m.opened, m.deliveries, m.outcomes, m.restores, m.lost, m.seconds}
	for state, count := range map[string]func() int{
		"ready":   func() int { return d.queue.ready },
		"pausing": func() int { return d.queue.pauses.Len() },
		"leased":  func() int { return len(d.queue.leases) },
	} {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_incident_jobs", Help: "Jobs in mailboxes that are not done.",
			ConstLabels: prometheus.Labels{"state": state}}, func() float64 {
			d.mu.Lock()
			defer d.mu.Unlock()
			return float64(count())
		}))
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("incident: %w", err)
		}
	}
	return m, nil
}
