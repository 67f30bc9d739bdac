package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/reinject"
)

// Errors of Recipient.
var (
	// ErrAddress says that a text is not the address of one mailbox.
	ErrAddress = errors.New("cannot be written to")
	// ErrOff says that the configuration has no way for a notice; which key would
	// make one comes with it.
	ErrOff = errors.New("nobody is written to")
)

// Ledger records what became of notices; *ledger.Ledger is one.
type Ledger interface {
	Commit(ctx context.Context, c ledger.Command, decide func(ledger.State) ([]ledger.Event, error)) (ledger.Receipt, error)
	State(entity string) (ledger.State, error)
}

// Sender hands a message to the MTA; *reinject.Sender is one.
type Sender interface {
	Send(ctx context.Context, m reinject.Message, point func() error) []reinject.Result
}

// Options says what an Outbox works with. All but Logger and Metrics are required.
type Options struct {
	Ledger   Ledger
	View     *View
	Now      func() time.Time
	Settings Settings
	Logger   *zap.Logger
	Metrics  prometheus.Registerer
}

// Settings is what can change while the outbox works.
type Settings struct {
	From     string                   // an address, with or without a name; empty: nobody is written to
	IsLocal  func(domain string) bool // required
	Inbound  Sender                   // to local domains; nil: there is no way
	Outbound Sender                   // to all others; nil: there is no way

	from *mail.Address // From; nil where that is empty
}

// Outbox sends notices. Its methods may be called at the same time.
type Outbox struct {
	o        Options
	settings atomic.Pointer[Settings]
	wake     chan struct{}
	metrics  *metrics

	mu    sync.Mutex
	tries map[string]try // of the notices that wait, by what they are about
}

// try is how far a notice came.
type try struct {
	under   *Settings     // of the last try
	wait    time.Duration // from then to the next
	next    time.Time
	text    string // the MTA's last answer, or why there was none
	outcome string // type of the event that is yet to be recorded
}

// Times. An MTA that takes nothing for so long would have sent the mail back as well
// (RFC 5321 section 4.5.4.1).
const (
	firstWait   = time.Minute
	longestWait = time.Hour
	giveUpAfter = 5 * 24 * time.Hour
)

// maxAnswer bounds what is kept of the MTA's answer, in characters.
const maxAnswer = 500

// New checks the options.
func New(o Options) (*Outbox, error) {
	if o.Ledger == nil || o.View == nil || o.Now == nil {
		return nil, errors.New("notify: an option is missing")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	b := &Outbox{o: o, wake: make(chan struct{}, 1), tries: map[string]try{}}
	if err := b.SetSettings(o.Settings); err != nil {
		return nil, err
	}
	var err error
	b.metrics, err = newMetrics(o.Metrics, b)
	return b, err
}

// SetSettings makes other settings hold from now on. What waits is tried at once.
func (b *Outbox) SetSettings(s Settings) error {
	if s.IsLocal == nil {
		return errors.New("notify: the settings do not say what is local")
	}
	if s.From != "" {
		from, err := mail.ParseAddress(s.From)
		if err != nil {
			return fmt.Errorf("notify: from %.80q: %w", s.From, err)
		}
		s.from = from
	}
	b.settings.Store(&s)
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return nil
}

// Recipient gives the canonical form of an address that can be told. Errors satisfy
// ErrAddress or ErrOff.
func (b *Outbox) Recipient(text string) (string, error) {
	v, err := intel.Address(text)
	var unfit *intel.ValueError
	switch {
	case errors.As(err, &unfit):
		return "", fmt.Errorf("%.80q %w: %s", text, ErrAddress, unfit.Why)
	case err != nil:
		return "", err
	case v == intel.NullSender():
		return "", fmt.Errorf("%.80q %w: is nobody's address", text, ErrAddress)
	// What needs quotes is, as a rule, more than one address.
	case v.String()[0] == '"', strings.ContainsFunc(v.String(), func(r rune) bool { return !unicode.IsPrint(r) }):
		return "", fmt.Errorf("%.80q %w: is not the address of one mailbox", text, ErrAddress)
	}
	_, err = b.settings.Load().route(v.String())
	return v.String(), err
}

// route gives the way to an address. The error satisfies ErrOff.
func (s *Settings) route(to string) (Sender, error) {
	if s.from == nil {
		return nil, fmt.Errorf("%w: set notify.from", ErrOff)
	}
	domain := to[strings.LastIndexByte(to, '@')+1:]
	way, key := s.Outbound, "reinject.outbound"
	if s.IsLocal(domain) {
		way, key = s.Inbound, "reinject.inbound"
	}
	if way == nil {
		return nil, fmt.Errorf("%w at %s: set %s.address", ErrOff, domain, key)
	}
	return way, nil
}

// Of gives the notice about an entity of the ledger. Errors are the database's.
func (b *Outbox) Of(entity string) (n Notice, ok bool, err error) {
	n, ok, err = b.o.View.get(entity)
	if ok && n.State == Waiting {
		b.mu.Lock()
		n.Text = b.tries[entity].text
		b.mu.Unlock()
	}
	return n, ok, err
}

// Status says what waits.
type Status struct {
	Waiting int       // notices
	Since   time.Time // the first of them came to be owed
	Text    string    // what the MTA answered for that one, or why it did not; empty: it was not tried
}

// Status tells how it stands. Errors are the database's.
func (b *Outbox) Status() (s Status, err error) {
	all, err := b.o.View.waiting()
	s.Waiting = len(all)
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range all {
		if n := &all[i]; s.Since.IsZero() || n.Since.Before(s.Since) {
			s.Since, s.Text = n.Since, b.tries[n.About].text
		}
	}
	return s, err
}

// Run sends what is due until the context ends.
func (b *Outbox) Run(ctx context.Context) {
	for ctx.Err() == nil {
		timer := time.NewTimer(b.pass(ctx))
		select {
		case <-ctx.Done():
		case <-b.o.View.changed:
		case <-b.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// pass sends what is due, and gives the time until something is again.
func (b *Outbox) pass(ctx context.Context) time.Duration {
	all, err := b.o.View.waiting()
	if err != nil {
		b.o.Logger.Error("which notices wait is not known; it is tried again", zap.Error(err), zap.Duration("in", firstWait))
		return firstWait
	}
	b.forget(all)
	s, next := b.settings.Load(), longestWait
	for i := range all {
		n := &all[i]
		b.mu.Lock()
		t := b.tries[n.About]
		b.mu.Unlock()
		if t.under != s { // who changed them may have mended it
			t.under, t.wait, t.next = s, 0, time.Time{}
		}
		if wait := t.next.Sub(b.o.Now()); wait > 0 {
			next = min(next, wait)
			continue
		}
		if done := b.attempt(ctx, n, &t); ctx.Err() != nil {
			break
		} else if done {
			continue
		}
		t.wait = min(max(2*t.wait, firstWait), longestWait)
		t.next = b.o.Now().Add(t.wait)
		next = min(next, t.wait)
		b.mu.Lock()
		b.tries[n.About] = t
		b.mu.Unlock()
	}
	return next
}

// forget drops what is known of tries of notices that do not wait any more.
func (b *Outbox) forget(waiting []Notice) {
	still := map[string]bool{}
	for i := range waiting {
		still[waiting[i].About] = true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for about := range b.tries {
		if !still[about] {
			delete(b.tries, about)
		}
	}
}

// attempt tries once, and reports whether the notice is done with.
func (b *Outbox) attempt(ctx context.Context, n *Notice, t *try) (done bool) {
	if ctx.Err() != nil {
		return false
	}
	log := b.o.Logger.With(zap.String("about", n.About), zap.String("to", n.To))
	past, err := b.o.Ledger.State(n.entity())
	if err != nil {
		if t.outcome == "" {
			t.text = err.Error()
		}
		log.Error("a notice could not be looked up; it is tried again", zap.Error(err))
		return false
	}
	if len(past.Events) > 0 { // the view does not know yet
		return true
	}
	if t.outcome == "" {
		t.outcome, t.text = b.send(ctx, n, t.under)
	}
	if t.outcome == "" && ctx.Err() != nil {
		return false
	}
	if t.outcome == "" && b.o.Now().Sub(n.Since) >= giveUpAfter {
		t.outcome = typeFailed
	}
	if t.outcome == "" {
		b.metrics.tries.WithLabelValues("deferred").Inc()
		log.Warn("a notice was not taken and is tried again", zap.String("answer", t.text))
		return false
	}
	if err := b.record(ctx, n, t); err != nil {
		log.Error("what became of a notice could not be recorded; that is tried again", zap.String("outcome", t.outcome), zap.Error(err))
		return false
	}
	if t.outcome == typeFailed {
		b.metrics.tries.WithLabelValues("failed").Inc()
		log.Error("a notice is given up", zap.String("answer", t.text))
	} else {
		b.metrics.tries.WithLabelValues("sent").Inc()
		log.Info("a notice was sent", zap.String("answer", t.text))
	}
	return true
}

// send hands a notice to the MTA, and gives the type of the event that says what
// became of it; empty: it is to be tried again. So it is where the MTA may have taken
// it: a notice that comes twice does no harm, and shows that it is the same one.
func (b *Outbox) send(ctx context.Context, n *Notice, s *Settings) (outcome, text string) {
	way, err := s.route(n.To)
	if err != nil {
		return "", err.Error()
	}
	about, err := b.o.Ledger.State(n.About)
	if err != nil {
		return "", err.Error()
	}
	l := letter{from: s.from, to: n.To, id: strings.ReplaceAll(n.About, "/", "."), date: n.Since}
	if l.subject, l.text, err = tellOfRequest(about); err != nil {
		return typeFailed, err.Error()
	}
	m := reinject.Message{To: []reinject.Path{{Address: n.To}}, Content: [][]byte{l.bytes()}}
	r := way.Send(ctx, m, func() error { return nil })[0]
	switch r.Status {
	case reinject.Sent:
		outcome = typeSent
	case reinject.Refused:
		outcome = typeFailed
	}
	return outcome, legible(r.Text)
}

// legible gives the MTA's answer as a line of bounded length.
func legible(answer string) string {
	runes := []rune(strings.ToValidUTF8(answer, "\uFFFD"))
	return string(runes[:min(len(runes), maxAnswer)])
}

// record says in the ledger what became of a notice.
func (b *Outbox) record(ctx context.Context, n *Notice, t *try) error {
	data, err := json.Marshal(outcomeData{To: n.To, Text: t.text})
	if err != nil {
		return err
	}
	c := ledger.Command{ID: n.entity() + "/" + t.outcome, Entity: n.entity(), Actor: actor}
	_, err = b.o.Ledger.Commit(context.WithoutCancel(ctx), c, func(ledger.State) ([]ledger.Event, error) {
		return []ledger.Event{{Type: t.outcome, Schema: schema, Data: data}}, nil
	})
	return err
}

type metrics struct {
	tries *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, b *Outbox) (*metrics, error) {
	m := &metrics{tries: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_notices_total", Help: "Notices that were tried to be sent, by what became of it.",
	}, []string{"outcome"})}
	if reg == nil {
		return m, nil
	}
	waiting := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weir_notices_waiting", Help: "Notices that the MTA has not taken yet.",
	}, func() float64 {
		s, _ := b.Status()
		return float64(s.Waiting)
	})
	for _, c := range []prometheus.Collector{m.tries, waiting} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("notify: %w", err)
		}
	}
	return m, nil
}
