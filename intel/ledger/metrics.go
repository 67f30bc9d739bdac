package ledger

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what a ledger does.
type metrics struct {
	commits *prometheus.CounterVec
	events  prometheus.Counter
	reg     prometheus.Registerer
	all     []prometheus.Collector
}

// Outcomes of a commit.
const (
	outcomeCommitted = "committed"
	outcomeReplayed  = "replayed"
	outcomeNothing   = "nothing"
	outcomeFailed    = "failed"
)

func newMetrics(l *Ledger) (*metrics, error) {
	m := &metrics{
		reg: l.o.Metrics,
		commits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_ledger_commits_total", Help: "Commands that were decided, by outcome: committed, replayed, nothing, failed.",
		}, []string{"outcome"}),
		events: prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_ledger_events_total", Help: "Events recorded."}),
	}
	m.all = []prometheus.Collector{m.commits, m.events}
	for _, r := range l.runners {
		m.all = append(m.all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_ledger_view_lag_bytes", Help: "How much of the ledger a view has yet to apply.",
			ConstLabels: prometheus.Labels{"view": r.view.Name()},
		}, func() float64 { return float64(r.lag()) }))
	}
	if m.reg == nil {
		return m, nil
	}
	for i, c := range m.all {
		if err := m.reg.Register(c); err != nil {
			m.all = m.all[:i]
			m.unregister()
			return nil, fmt.Errorf("metrics of the ledger: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m.reg == nil {
		return
	}
	for _, c := range m.all {
		m.reg.Unregister(c)
	}
}
