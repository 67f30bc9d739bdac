package filter

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/contain"
)

type metrics struct {
	messages    *prometheus.CounterVec
	contained   prometheus.Counter
	unjournaled prometheus.Counter
	failures    prometheus.Counter
	seconds     prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_messages_total",
			Help: "Messages by verdict and direction; in observe mode by what the verdict would have been."}, []string{"verdict", "direction"}),
		contained: prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_contained_messages_total",
			Help: "Messages that came under a containment, whatever their recipients."}),
		unjournaled: prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_accepted_without_journal_total",
			Help: "Messages let through without a journal entry, because policy.on_error is accept."}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "weir_unavailable_total",
			Help: "Messages for which Weir could not keep its promises, whatever the answer was."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "weir_message_seconds",
			Help: "From the end of a message to its answer.", Buckets: prometheus.ExponentialBuckets(0.00025, 2, 16)}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.messages, m.contained, m.unjournaled, m.failures, m.seconds} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("filter: %w", err)
		}
	}
	return m, nil
}

// maxLoggedHits bounds the hits in one log line.
const maxLoggedHits = 8

// report counts and logs one message: one line says all that was decided.
func (f *Filter) report(w *work, answer *verdict.Answer) {
	elapsed := time.Since(w.began)
	f.metrics.seconds.Observe(elapsed.Seconds())
	action, direction := answer.Action.String(), "unknown"
	if w.verdict != nil && w.err == nil {
		action = w.verdict.Action.String()
	}
	if w.evidence != nil {
		direction = w.evidence.Direction.String()
		if len(w.evidence.Contained) > 0 {
			f.metrics.contained.Inc()
		}
	}
	f.metrics.messages.WithLabelValues(action, direction).Inc()

	level, text := zapcore.InfoLevel, "message judged"
	if w.err != nil {
		f.metrics.failures.Inc()
		level, text = zapcore.ErrorLevel, "message refused for now: Weir could not keep its promises for it"
		if answer.Action == intel.ActionAccept {
			f.metrics.unjournaled.Inc()
			text = "message let through without a journal entry, because policy.on_error is accept"
		}
	}
	entry := f.o.Logger.Check(level, text)
	if entry == nil {
		return
	}
	env := w.mail.Envelope
	fields := make([]zap.Field, 0, 20)
	fields = append(fields, zap.String("ref", w.ref), zap.String("queue_id", env.QueueID), zap.String("verdict", action), zap.String("direction", direction),
		zap.String("from", env.From.Address()), zap.Int("recipients", len(env.To)), zap.Int64("bytes", w.mail.Size), zap.Duration("elapsed", elapsed))
	if w.message != nil {
		fields = append(fields, zap.String("message_id", w.message.MessageID()))
	}
	if w.evidence != nil {
		fields = append(fields, zap.Stringer("client", w.evidence.Client.Addr), zap.Strings("hits", hitsForLog(w.evidence.Hits)), zap.Int("defects", len(w.message.Defects)))
		if len(w.evidence.Contained) > 0 {
			fields = append(fields, zap.Strings("contained", containedForLog(w.evidence.Contained)))
		}
	}
	if w.verdict != nil {
		fields = append(fields, zap.String("rule", w.verdict.Rule))
		if w.verdict.Observed {
			fields = append(fields, zap.String("mode", "observe"))
		}
	}
	if w.item != "" {
		fields = append(fields, zap.String("item", w.item), zap.Int("held", len(w.verdict.Held())))
	}
	if w.mail.TooLarge {
		fields = append(fields, zap.Bool("oversize", true))
	}
	if w.err != nil {
		fields = append(fields, zap.Error(w.err))
	}
	entry.Write(fields...)
}

func containedForLog(hits []contain.Hit) []string {
	var all []string
	for i := range hits[:min(len(hits), maxLoggedHits)] {
		h := &hits[i]
		all = append(all, fmt.Sprintf("%s %s as %s %s", h.Containment.ID, h.Containment.Value, h.Role, h.Value))
	}
	return all
}

func hitsForLog(hits []intel.Hit) []string {
	var all []string
	for i := range hits {
		if len(all) == maxLoggedHits {
			break
		}
		h := &hits[i]
		all = append(all, fmt.Sprintf("%s %s:%d %s at %s", h.Indicator.Disposition, h.Indicator.Source, h.Indicator.Line, h.Text, h.Observable.Place))
	}
	return all
}
