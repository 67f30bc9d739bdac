package hunt

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	passes     prometheus.Counter
	failures   prometheus.Counter
	indicators prometheus.Counter
	examined   prometheus.Counter
	messages   *prometheus.CounterVec
	hunted     prometheus.Gauge
	followed   prometheus.Gauge
	seconds    prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		passes:     counter("weir_hunt_passes_total", "Passes over the journal that ended."),
		failures:   counter("weir_hunt_failures_total", "Times that a hunt failed and was begun again."),
		indicators: counter("weir_hunt_indicators_total", "Indicators that were looked up in the journal."),
		examined:   counter("weir_hunt_examined_total", "Journal entries that were looked into for them."),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_hunt_messages_total",
			Help: "Messages that were handed to an incident, by how they were found: indicator, link (they answer or forward one, surely), unsure (perhaps)."}, []string{"how"}),
		hunted: prometheus.NewGauge(prometheus.GaugeOpts{Name: "weir_hunt_generation",
			Help: "Generation of the lists up to which everything was looked up."}),
		followed: prometheus.NewGauge(prometheus.GaugeOpts{Name: "weir_hunt_followed_messages",
			Help: "Messages of incidents whose answers and forwards are looked for as mail comes."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "weir_hunt_pass_seconds",
			Help: "From the beginning of a pass to its end.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 11)}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.passes, m.failures, m.indicators, m.examined, m.messages, m.hunted, m.followed, m.seconds} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("hunt: metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) count(r *Result) {
	m.passes.Inc()
	m.indicators.Add(float64(r.Indicators))
	m.examined.Add(float64(r.Examined))
	m.messages.WithLabelValues("indicator").Add(float64(r.Matched))
	m.linked(r)
	m.seconds.Observe(r.Took.Seconds())
}

// linked counts messages that answer or forward others.
func (m *metrics) linked(r *Result) {
	m.messages.WithLabelValues("link").Add(float64(r.Linked - r.Unsure))
	m.messages.WithLabelValues("unsure").Add(float64(r.Unsure))
}
