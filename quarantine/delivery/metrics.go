package delivery

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what is read and joined.
type metrics struct {
	lines  *prometheus.CounterVec
	events *prometheus.CounterVec
	lost   *prometheus.CounterVec
	lag    *prometheus.GaugeVec
	copies *prometheus.CounterVec
	held   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		lines:  counter("weir_delivery_lines_total", "Lines read from a delivery log.", "log"),
		events: counter("weir_delivery_events_total", "Events that the lines of a delivery log told.", "log"),
		lost:   counter("weir_delivery_gaps_total", "Times that a delivery log was rotated out of sight, so that lines may be missing.", "log"),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "weir_delivery_lag_seconds",
			Help: "How old the newest event was when its line was read."}, []string{"log"}),
		copies: counter("weir_delivery_copies_total", "Attempts to deliver a copy that the logs tell of, by how they were joined to the journal: "+
			"queue-id, message-id, notification (of the MTA's own), older (than the journal), ambiguous, none.", "join"),
		held: counter("weir_delivery_held_delivered_total", "Copies that were delivered although they are held in quarantine, or perhaps are: "+
			"where the MTA's log does not tell for whom a copy came.", "sure"),
	}
	if reg == nil {
		return m, nil
	}
	all := []prometheus.Collector{m.lines, m.events, m.lost, m.lag, m.copies, m.held}
	for i, c := range all {
		if err := reg.Register(c); err != nil {
			for _, done := range all[:i] {
				reg.Unregister(done)
			}
			return nil, fmt.Errorf("delivery: metrics: %w", err)
		}
	}
	return m, nil
}
