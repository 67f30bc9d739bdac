package wal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/disk"
)

// Options says how a log is kept.
type Options struct {
	FS   disk.FS // required
	Dir  string  // the log's folder, made where it is missing; required
	Name string  // names the log in metrics and messages; required

	SegmentBytes int64 // a segment that holds so much gets a successor; 64 MiB if 0
	MaxPending   int64 // records that wait for the device, in bytes; callers wait beyond that; 32 MiB if 0
	MinFree      int64 // below so much free space appending gives disk.ErrNoSpace; 0: only a full disk does

	Rand    io.Reader             // for the log's ID; crypto/rand if nil
	Logger  *zap.Logger           // nil: none
	Metrics prometheus.Registerer // nil: none
}

const (
	defaultSegmentBytes = 64 << 20
	defaultMaxPending   = 32 << 20
	folderMode          = fs.FileMode(0o700)
	fileMode            = fs.FileMode(0o600)
)

// validate fills in what was left out.
func (o *Options) validate() error {
	switch {
	case o.FS == nil:
		return errors.New("wal: Options.FS is missing")
	case o.Dir == "":
		return errors.New("wal: Options.Dir is missing")
	case o.Name == "":
		return errors.New("wal: Options.Name is missing")
	case o.SegmentBytes < 0, o.MaxPending < 0, o.MinFree < 0:
		return fmt.Errorf("wal: log %s: a size is negative", o.Name)
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	if o.MaxPending == 0 {
		o.MaxPending = defaultMaxPending
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	return nil
}

// Every sync of this package has its site here.
const (
	siteFolder        disk.Site = "wal.folder"         // the log's folder in its parent
	siteSegment       disk.Site = "wal.segment"        // a new segment's header
	siteSegmentFolder disk.Site = "wal.segment-folder" // a new segment's name
	siteAppend        disk.Site = "wal.append"         // a batch
	siteRollback      disk.Site = "wal.rollback"       // a batch cut off after a full disk
	siteOpen          disk.Site = "wal.open"           // the last batch, and what was cut off behind it
	siteDrop          disk.Site = "wal.drop"           // a removed segment
	siteRewrite       disk.Site = "wal.rewrite"        // a segment's new content
	siteRewriteFolder disk.Site = "wal.rewrite-folder" // its taking the old one's place
)

// metrics counts what a log does.
type metrics struct {
	records prometheus.Counter
	bytes   prometheus.Counter
	batches prometheus.Counter
	errors  *prometheus.CounterVec
	sync    prometheus.Histogram
	reg     prometheus.Registerer
	all     []prometheus.Collector
}

func newMetrics(reg prometheus.Registerer, name string) (*metrics, error) {
	label := prometheus.Labels{"log": name}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: label})
	}
	m := &metrics{
		reg:     reg,
		records: counter("weir_log_records_total", "Records made durable."),
		bytes:   counter("weir_log_bytes_total", "Bytes made durable, frames included."),
		batches: counter("weir_log_batches_total", "Writes that were synced; records divided by batches is what group commit gains."),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_log_errors_total", Help: "Batches that were refused, by kind: space or device.", ConstLabels: label,
		}, []string{"kind"}),
		sync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_log_write_seconds", Help: "Time to write and sync a batch.", ConstLabels: label,
			Buckets: prometheus.ExponentialBuckets(20e-6, 3, 12),
		}),
	}
	m.all = []prometheus.Collector{m.records, m.bytes, m.batches, m.errors, m.sync}
	if reg == nil {
		return m, nil
	}
	for i, c := range m.all {
		if err := reg.Register(c); err != nil {
			m.all = m.all[:i]
			m.unregister()
			return nil, fmt.Errorf("wal: metrics of log %s: %w", name, err)
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
