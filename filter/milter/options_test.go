package milter_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/milter/miltertest"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

func TestWrongOptionsAreNamedAllAtOnce(t *testing.T) {
	_, err := milter.New(milter.Options{MaxSessions: -1, MaxMessageBytes: -2, ReadTimeout: -time.Second})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"Handler is missing", "Scratch is missing", "MaxSessions is -1", "MaxMessageBytes is -2", "ReadTimeout is -1s"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	reg := prometheus.NewRegistry()
	opts := milter.Options{Handler: acceptAll{}, Scratch: &heap{}, Registerer: reg}
	if _, err := milter.New(opts); err != nil {
		t.Fatal(err)
	}
	if _, err := milter.New(opts); err == nil {
		t.Error("a second server with the same registry has no metrics of its own, and no error")
	}
}

// gather gives the metrics of a registry by name and label, histograms by how
// much they have seen.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "weir_milter_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

func TestWhatHappensIsCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := serve(t, func(o *milter.Options) {
		o.Registerer = reg
		o.MaxSessions = 1
		o.MaxRecipients = 2
		o.AnswerTimeout = 20 * time.Millisecond
	})
	offer := miltertest.Postfix()
	offer.Actions &^= 1 // no fields can be added
	c := connect(t, s, miltertest.Options{Offer: offer})
	answer := func(a verdict.Answer) {
		s.set(func(context.Context, *milter.Mail) verdict.Answer { return a })
		send(t, c, sample())
	}
	for range 2 {
		answer(verdict.Answer{Action: intel.ActionAccept})
	}
	answer(verdict.Answer{Action: intel.ActionTag})
	answer(verdict.Answer{Action: intel.ActionDiscard})
	answer(verdict.Answer{Action: intel.ActionReject})
	answer(verdict.Answer{Action: intel.ActionTempfail})
	answer(verdict.Answer{Action: 99})
	answer(verdict.Answer{Action: intel.ActionAccept, Edits: []verdict.Edit{{Op: verdict.EditInsert, Name: "A"}}})
	s.set(func(context.Context, *milter.Mail) verdict.Answer { panic("a bug") })
	send(t, c, sample())
	late := make(chan struct{})
	s.set(func(context.Context, *milter.Mail) verdict.Answer { <-late; return verdict.Answer{} })
	send(t, c, sample())
	close(late)
	s.set(nil)
	m := sample()
	m.To = append(m.To, m.To...)
	send(t, c, m)
	s.scratch.fail = errors.New("full")
	send(t, c, sample())
	s.scratch.fail = nil
	if err := errors.Join(c.Envelope(sample()), c.Abort()); err != nil {
		t.Fatal(err)
	}
	waiting := connect(t, s, miltertest.Options{})
	send(t, waiting, sample())
	away := dialRaw(t, s)
	_, _ = away.Read(make([]byte, 1))
	broken := waiting.Conn()
	_, _ = broken.Write([]byte("\x00\x00\x00\x01?"))
	_, _ = broken.Read(make([]byte, 1))
	if _, err := c.End(); err != nil { // of no message
		t.Fatal(err)
	}
	want := map[string]float64{
		"sessions_total": 2, "sessions": 1,
		"messages_total accept": 3, "messages_total tag": 1, "messages_total discard": 1, "messages_total reject": 1,
		"messages_total tempfail": 7, "messages_total aborted": 1, "messages_total refused": 1,
		"errors_total answer": 1, "errors_total not-offered": 1, "errors_total panic": 1, "errors_total deadline": 1, "errors_total recipients": 1,
		"errors_total spool": 1, "errors_total turned-away": 1, "errors_total protocol": 2,
		"errors_total accept": 0, "errors_total timeout": 0, "errors_total connection": 0,
		"stage_seconds receive": 12, "stage_seconds judge": 12,
		"message_bytes_total": float64(12 * len(sample().Raw)),
	}
	// The session that was cut is gone for us a moment before it is counted.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		got := gather(t, reg)
		if maps.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("counted\n%v, want\n%v", got, want)
		}
	}
}
