// Package puller is the sidecar as a program: it makes of pull.toml the mail
// stores, the daemons and the loop that works for them (package pull), and tries
// whether what the file says holds. It has no store, and needs none.
package puller

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/quarantine/pull"
)

// Run works for the daemons of a configuration until the context ends, and then
// drains. Errors are of the start, and name what is wrong.
func Run(ctx context.Context, cfg *config.Pull) error {
	log, err := newLogger(cfg)
	if err != nil {
		return err
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	o := pull.Options{
		Memory: int64(cfg.Limits.Memory), JobTimeout: time.Duration(cfg.Limits.JobTimeout), Drain: time.Duration(cfg.Limits.DrainTimeout),
		Linger: time.Duration(cfg.Limits.Linger), Patience: time.Duration(cfg.Limits.Patience),
		Log: log, Metrics: metrics,
	}
	// 0 stands for the default there.
	if o.Linger == 0 {
		o.Linger = -1
	}
	o.Drain = max(o.Drain, time.Nanosecond)
	var problems []error
	for i := range cfg.Daemons {
		d, problem := daemon(cfg, i)
		if problem != nil {
			problems = append(problems, problem)
			continue
		}
		defer d.Close()
		o.Daemons = append(o.Daemons, pull.Daemon{Name: cfg.Daemons[i].Name, Jobs: d, Leases: cfg.Daemons[i].Leases})
	}
	for i := range cfg.Stores {
		s := &cfg.Stores[i]
		b, problem := backend(cfg, i)
		if problem != nil {
			problems = append(problems, problem)
			continue
		}
		o.Stores = append(o.Stores, pull.Store{Name: s.Name, Backend: b, Serves: s.Serves, Connections: s.Connections})
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	p, err := pull.New(o)
	if err != nil {
		return err
	}
	defer collectLess(int64(cfg.Limits.Memory))()
	stop, err := serveMetrics(cfg, metrics, log)
	if err != nil {
		return err
	}
	defer stop()
	log.Info("the sidecar works", zap.Int("daemons", len(o.Daemons)), zap.Int("stores", len(o.Stores)))
	err = p.Run(ctx)
	log.Info("the sidecar has ended")
	return err
}

const (
	// heapGrowth is by how much the heap may grow until garbage is collected, in
	// percent. Messages come and go, and what stays is a few megabytes.
	heapGrowth = 400
	// heapLimit is up to how many times the memory for messages it may do so: so much
	// it takes with Go's own settings when as many messages are read as may be. What
	// the connections take has to fit in too.
	heapLimit = 4
	leastHeap = 256 << 20
)

// collectLess has garbage collected less often than Go does by itself, until back is
// called: that would be every few dozen messages. Who has said in the environment
// how he wants it (GOGC, GOMEMLIMIT) has it so.
func collectLess(memory int64) (back func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	percent, limit := debug.SetGCPercent(heapGrowth), debug.SetMemoryLimit(max(leastHeap, heapLimit*memory))
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}

func newLogger(cfg *config.Pull) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(string(cfg.Log.Level))
	if err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(encoding)
	if cfg.Log.Format == config.LogConsole {
		encoding.EncodeTime = zapcore.TimeEncoderOfLayout("2006-01-02 15:04:05.000")
		encoding.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(os.Stderr), level)), nil
}

// Times of the metrics server.
const (
	headerTimeout = 10 * time.Second
	metricsWait   = 30 * time.Second
)

// serveMetrics serves metrics, if somebody wants them, until stop is called.
func serveMetrics(cfg *config.Pull, metrics *prometheus.Registry, log *zap.Logger) (stop func(), err error) {
	l := cfg.Metrics.Listen
	if l.Network == "" {
		return func() {}, nil
	}
	ln, err := listen(l)
	if err != nil {
		return nil, cfg.Problem("metrics.listen", err.Error(), "name an address of this host that is free")
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{ErrorLog: zap.NewStdLog(log)}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "alive") })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout, WriteTimeout: metricsWait, ErrorLog: zap.NewStdLog(log)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("metrics are served no longer", zap.Error(err))
		}
	}()
	return func() { _ = server.Close(); <-done }, nil
}

// listen opens a socket. A unix socket that a process has left behind which was
// killed is taken over.
func listen(l config.Listen) (net.Listener, error) {
	ln, err := net.Listen(l.Network, l.Address)
	if l.Network != "unix" || !errors.Is(err, syscall.EADDRINUSE) {
		return ln, err
	}
	if c, dialErr := net.Dial(l.Network, l.Address); dialErr == nil {
		_ = c.Close()
		return nil, err
	} else if !errors.Is(dialErr, syscall.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(l.Address); err != nil {
		return nil, err
	}
	return net.Listen(l.Network, l.Address)
}
