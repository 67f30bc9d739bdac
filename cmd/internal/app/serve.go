package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/zap"

	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/message/spool"
	"github.com/weirmail/weir/filter/milter"
)

// listen opens a socket as the configuration describes it, or takes it from systemd.
func (a *App) listen(key string, l config.Listen, group string, mode config.Mode) (net.Listener, error) {
	if l.Network != "systemd" {
		ln, err := milter.Listen(milter.Socket{Network: l.Network, Address: l.Address, Group: group, Mode: fs.FileMode(mode)})
		if err != nil {
			return nil, a.o.Config.Problem(key, err.Error(), "see that its folder is there and that the daemon's user may write to it, or choose another address")
		}
		return ln, nil
	}
	named, err := a.inherited()
	if err != nil {
		return nil, a.o.Config.Problem(key, err.Error(), "start the daemon by its systemd socket unit")
	}
	if len(named[l.Address]) == 0 {
		return nil, a.o.Config.Problem(key, fmt.Sprintf("systemd handed over no socket called %q", l.Address), "set FileDescriptorName= in the socket unit")
	}
	ln := named[l.Address][0]
	named[l.Address] = named[l.Address][1:]
	return ln, nil
}

// inherited gives the sockets that systemd handed over, by name.
func (a *App) inherited() (map[string][]net.Listener, error) {
	if a.sockets != nil {
		return a.sockets, nil
	}
	var err error
	a.sockets, err = activation.ListenersWithNames()
	if err == nil && a.sockets == nil {
		err = errors.New("systemd handed over no sockets")
	}
	return a.sockets, err
}

func (a *App) serveMilter() error {
	cfg := a.o.Config
	m := &cfg.Milter
	a.gate = &gate{log: a.log.Logger}
	a.gate.onError.Store(int32(onError(cfg)))
	var err error
	a.milter, err = milter.New(milter.Options{
		Handler: a.gate, Scratch: incoming{a.spool}, Logger: a.log.Logger, Registerer: a.metrics,
		MaxSessions: m.MaxSessions, MaxMessageBytes: int64(m.MessageSizeLimit), MaxRecipients: m.MaxRecipients,
		IdleTimeout: time.Duration(m.IdleTimeout), TransactionTimeout: time.Duration(m.TransactionTimeout), ReadTimeout: time.Duration(m.ReadTimeout),
		WriteTimeout: time.Duration(m.WriteTimeout), AnswerTimeout: time.Duration(m.AnswerTimeout), ProgressInterval: time.Duration(m.ProgressInterval),
	})
	if err != nil {
		return err
	}
	for i, l := range m.Listen {
		ln, err := a.listen(fmt.Sprintf("milter.listen[%d]", i), l, m.SocketGroup, m.SocketMode)
		if err != nil {
			return err
		}
		a.log.Info("milter listens", zap.Stringer("address", l))
		a.onStop(func() { _ = ln.Close() })
		a.tasks.Go(func() {
			if err := a.milter.Serve(ln); !errors.Is(err, milter.ErrClosed) && !errors.Is(err, net.ErrClosed) {
				a.fail(err)
			}
		})
	}
	return nil
}

// incoming gives each message that comes in a room of its own.
type incoming struct{ pool *spool.Pool }

// Buffer implements message.Scratch.
func (i incoming) Buffer() message.Buffer {
	room := i.pool.Spool()
	return &incomingBuffer{room.New(), room}
}

type incomingBuffer struct {
	*spool.Buffer
	room *spool.Spool
}

// Close gives the room back.
func (b *incomingBuffer) Close() error { return b.room.Close() }

// Times of the HTTP servers.
const (
	headerTimeout = 10 * time.Second
	metricsWait   = 30 * time.Second
	closeWait     = 5 * time.Second
)

func (a *App) serveMetrics() error {
	l := a.o.Config.Metrics.Listen
	if l.Network == "" {
		return nil
	}
	ln, err := a.listen("metrics.listen", l, "", 0)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(gatherer{a}, promhttp.HandlerOpts{ErrorLog: zap.NewStdLog(a.log.Logger)}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !a.health.is() {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintln(w, "the stores are not open yet")
		}
		for _, p := range a.health.list() {
			_, _ = fmt.Fprintf(w, "%s: %s\n", p.What, p.Text)
		}
	})
	a.log.Info("metrics listen", zap.Stringer("address", l))
	a.serveHTTP(patientServer{&http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout, WriteTimeout: metricsWait, ErrorLog: zap.NewStdLog(a.log.Logger)}}, ln)
	return nil
}

// httpServer is the metrics server or the control server. Shutdown waits for
// requests until its context ends and then cuts them.
type httpServer interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
}

// patientServer is an http.Server whose Shutdown cuts what its patience leaves.
type patientServer struct{ *http.Server }

// Shutdown implements httpServer.
func (s patientServer) Shutdown(ctx context.Context) error {
	err := s.Server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.Close())
	}
	return err
}

func (a *App) serveHTTP(s httpServer, ln net.Listener) {
	a.onStop(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			a.log.Warn("requests were cut", zap.Stringer("listener", ln.Addr()), zap.Error(err))
		}
	})
	a.tasks.Go(func() {
		if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			a.fail(fmt.Errorf("serve %s: %w", ln.Addr(), err))
		}
	})
}

// gatherer gives the metrics of the daemon and of the stores while they are open.
type gatherer struct{ a *App }

func (g gatherer) Gather() ([]*dto.MetricFamily, error) {
	all := prometheus.Gatherers{g.a.metrics}
	if h := g.a.rooms(); h != nil {
		all = append(all, h.metrics)
	}
	return all.Gather()
}

func notifyReady(log *logger) {
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Warn("systemd was not told that the daemon is ready", zap.Error(err))
	}
}

func notifyStopping() { _, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) }
