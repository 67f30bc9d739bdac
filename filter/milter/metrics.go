package milter

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmail/weir/intel"
)

// The kinds of errors, as the metric weir_milter_errors_total names them.
const (
	kindAccept     = "accept"      // no connection could be accepted
	kindTurnedAway = "turned-away" // a connection beyond twice MaxSessions
	kindProtocol   = "protocol"    // the MTA broke the protocol
	kindTimeout    = "timeout"     // the MTA was silent, or did not read
	kindConnection = "connection"  // a connection broke, or was cut at shutdown
	kindSpool      = "spool"       // a message could not be kept
	kindRecipients = "recipients"  // a message had too many
	kindDeadline   = "deadline"    // the handler did not answer in time
	kindPanic      = "panic"
	kindNotOffered = "not-offered" // an answer needs what the MTA does not let a milter do
	kindAnswer     = "answer"      // an answer that the MTA could not be told
)

// metrics counts what the package does.
type metrics struct {
	sessions prometheus.Gauge
	begun    prometheus.Counter // sessions
	bytes    prometheus.Counter
	refused  prometheus.Counter // messages at MAIL
	aborted  prometheus.Counter // messages before their end
	actions  map[intel.Action]prometheus.Counter
	errors   map[string]prometheus.Counter
	receive  prometheus.Observer
	judge    prometheus.Observer
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	sessions := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "weir_milter_sessions", Help: "Milter connections open now."})
	begun := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "weir_milter_sessions_total", Help: "Milter connections since the start."})
	bytes := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "weir_milter_message_bytes_total", Help: "Bytes of the messages that the MTA handed over completely."})
	messages := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_milter_messages_total", Help: "Messages by what the MTA was told: accept, tag, discard, reject, tempfail; refused at MAIL for too many sessions; aborted before their end."}, []string{"action"})
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_milter_errors_total", Help: "Errors by kind."}, []string{"kind"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "weir_milter_stage_seconds",
		Help:    "How long messages took to receive, from MAIL to their end, and to judge.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 30, 60, 300},
	}, []string{"stage"})
	m := &metrics{
		sessions: sessions, begun: begun, bytes: bytes,
		refused: messages.WithLabelValues("refused"),
		aborted: messages.WithLabelValues("aborted"),
		receive: seconds.WithLabelValues("receive"),
		judge:   seconds.WithLabelValues("judge"),
		actions: make(map[intel.Action]prometheus.Counter),
		errors:  make(map[string]prometheus.Counter),
	}
	for _, a := range []intel.Action{intel.ActionAccept, intel.ActionTag, intel.ActionDiscard, intel.ActionReject, intel.ActionTempfail} {
		m.actions[a] = messages.WithLabelValues(a.String())
	}
	for _, kind := range []string{kindAccept, kindTurnedAway, kindProtocol, kindTimeout, kindConnection, kindSpool, kindRecipients, kindDeadline, kindPanic, kindNotOffered, kindAnswer} {
		m.errors[kind] = failures.WithLabelValues(kind)
	}
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{sessions, begun, bytes, messages, failures, seconds} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) failed(kind string) { m.errors[kind].Inc() }

func (m *metrics) answered(a intel.Action) { m.actions[a].Inc() }

func (m *metrics) received(d time.Duration, bytes int64) {
	m.receive.Observe(d.Seconds())
	m.bytes.Add(float64(bytes))
}

func (m *metrics) judged(d time.Duration) { m.judge.Observe(d.Seconds()) }
