package quarantine

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	held     prometheus.Counter
	pulled   prometheus.Counter
	released *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		held: prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_quarantine_held_total", Help: "Items that were held."}),
		pulled: prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_quarantine_pulled_total",
			Help: "Items that were taken out of a mailbox."}),
		released: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_quarantine_released_total",
			Help: "Copies whose release was tried, by what became of them."}, []string{"status"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.held, m.pulled, m.released} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("quarantine: %w", err)
		}
	}
	return m, nil
}
