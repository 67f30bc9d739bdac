package blob

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	put    prometheus.Histogram
	failed prometheus.Counter
	reg    prometheus.Registerer
	all    []prometheus.Collector
}

func newMetrics(f *Folder) (*metrics, error) {
	gauge := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	m := &metrics{
		reg: f.o.Metrics,
		put: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_blob_put_seconds", Help: "Time to make a blob durable.",
			Buckets: prometheus.ExponentialBuckets(100e-6, 3, 12),
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_blob_put_errors_total", Help: "Blobs that could not be kept."}),
	}
	m.all = []prometheus.Collector{m.put, m.failed,
		gauge("weir_blob_bytes", "What all blobs take, compressed.", f.bytes.Load),
		gauge("weir_blobs", "Number of blobs.", f.count.Load),
	}
	if m.reg == nil {
		return m, nil
	}
	for i, c := range m.all {
		if err := m.reg.Register(c); err != nil {
			m.all = m.all[:i]
			m.unregister()
			return nil, fmt.Errorf("metrics of the blob store: %w", err)
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
