package store

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what a Store shows of itself.
type metrics struct {
	registerer prometheus.Registerer
	collectors []prometheus.Collector
	refreshes  *prometheus.CounterVec
	seconds    prometheus.Histogram
}

func newMetrics(s *Store, r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		registerer: r,
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_indicator_refreshes_total", Help: "Refreshes of lists and feeds, by result: changed, unchanged, failed.",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_indicator_refresh_seconds", Help: "Time that a refresh of lists and feeds took.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
		}),
	}
	m.collectors = []prometheus.Collector{
		m.refreshes, m.seconds,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_indicators", Help: "Entries of all lists and feeds that are in force.",
		}, func() float64 {
			n := 0
			for _, l := range s.Sources() {
				n += l.Entries
			}
			return float64(n)
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_indicator_sources", Help: "Lists and feeds that are in force.",
		}, func() float64 { return float64(len(s.Sources())) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_indicator_generation", Help: "Generation of the lists and feeds in force.",
		}, func() float64 { return float64(s.Generation()) }),
	}
	if r == nil {
		return m, nil
	}
	for i, c := range m.collectors {
		if err := r.Register(c); err != nil {
			m.collectors = m.collectors[:i]
			m.unregister()
			return nil, fmt.Errorf("store: metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m.registerer == nil {
		return
	}
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
}
