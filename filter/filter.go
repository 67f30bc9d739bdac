// Package filter takes a message from its bytes to a committed verdict, on one
// straight path: parse, gather evidence, decide, commit, answer.
//
// Commit is what keeps the promises. A copy is withheld from the MTA only once
// the quarantine has it durably, and let through only once its journal entry
// is durable; where that fails the client is told to come again. The journal
// comes first: an entry for mail that then was not delivered does no harm, an
// item for mail that then was would be delivered twice.
package filter

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/message/spool"
	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/hits"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/wal"
)

// Journal remembers what was let through.
type Journal interface {
	// Append returns once the entry is durable.
	Append(ctx context.Context, e *journal.Entry) (wal.Position, error)
}

// Quarantine keeps what is held.
type Quarantine interface {
	// Hold returns once the message, its envelope and the reasons are durable
	// for those recipients of v whose copy is held. ref is the message's
	// reference. It gives the item's ID, which is that of an earlier item when
	// the same message was held for them before.
	Hold(ctx context.Context, e *evidence.Evidence, v *verdict.Verdict, ref string) (item string, err error)
}

// Hits counts what messages hit.
type Hits interface {
	// Count is called once a message is answered for, and does not hold anybody up.
	Count(all []intel.Hit, m hits.Message)
}

// Settings is what can change about filtering while it goes on.
type Settings struct {
	Parser   *message.Parser // required
	Observe  bool            // judge and log, do nothing
	OnError  intel.Action    // accept or tempfail: the answer where Weir cannot keep its promises
	Oversize intel.Action    // accept, tempfail or reject: the answer to mail larger than is looked at
}

func (s *Settings) validate() error {
	if s.Parser == nil {
		return errors.New("filter: settings need a parser")
	}
	if s.OnError != intel.ActionAccept && s.OnError != intel.ActionTempfail {
		return fmt.Errorf("filter: the answer to errors is accept or tempfail, not %s", s.OnError)
	}
	if s.Oversize != intel.ActionAccept && s.Oversize != intel.ActionTempfail && s.Oversize != intel.ActionReject {
		return fmt.Errorf("filter: the answer to oversize mail is accept, tempfail or reject, not %s", s.Oversize)
	}
	return nil
}

// Options says what a Filter works with. All but Hits, Logger and Metrics are
// required.
type Options struct {
	Judge      *Judge
	Scratch    *spool.Pool
	Journal    Journal
	Quarantine Quarantine
	Identity   *ident.Identity
	Hits       Hits // nil: nobody counts
	Settings   Settings
	Logger     *zap.Logger
	Metrics    prometheus.Registerer
}

// Filter answers for messages. It is safe for use by many goroutines.
type Filter struct {
	o        Options
	settings atomic.Pointer[Settings]
	metrics  *metrics
}

var _ milter.Handler = (*Filter)(nil)

// New checks the options.
func New(o Options) (*Filter, error) {
	if o.Judge == nil || o.Scratch == nil || o.Journal == nil || o.Quarantine == nil || o.Identity == nil {
		return nil, errors.New("filter: an option is missing")
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	f := &Filter{o: o}
	if err := f.SetSettings(o.Settings); err != nil {
		return nil, err
	}
	var err error
	f.metrics, err = newMetrics(o.Metrics)
	return f, err
}

// SetSettings makes other settings hold from the next message on.
func (f *Filter) SetSettings(s Settings) error {
	if err := s.validate(); err != nil {
		return err
	}
	f.settings.Store(&s)
	return nil
}

// work is one message on its way through.
type work struct {
	mail     *milter.Mail
	settings *Settings
	ref      string // its reference: the ID of the journal entry or of the item
	began    time.Time
	message  *message.Message // nil while nothing is known of it
	evidence *evidence.Evidence
	verdict  *verdict.Verdict
	item     string
	err      error // what failed on the way, whatever the answer
}

// Handle implements milter.Handler.
func (f *Filter) Handle(ctx context.Context, mail *milter.Mail) verdict.Answer {
	w := &work{mail: mail, settings: f.settings.Load(), ref: f.o.Identity.NewID(), began: time.Now()}
	room := f.o.Scratch.Spool()
	defer func() { _ = room.Close() }()
	answer := f.answer(ctx, w, room)
	answer.ID, answer.Verdict = w.ref, w.verdict
	f.report(w, &answer)
	f.count(w, &answer)
	return answer
}

// count counts what a message hit that does not come again.
func (f *Filter) count(w *work, answer *verdict.Answer) {
	if f.o.Hits == nil || w.err != nil || answer.Action == intel.ActionTempfail || w.evidence == nil || len(w.evidence.Hits) == 0 {
		return
	}
	id := w.ref
	if w.item != "" {
		id = w.item
	}
	f.o.Hits.Count(w.evidence.Hits, hits.Message{Time: f.o.Identity.Now(), ID: id, Action: w.verdict.Action})
}

func (f *Filter) answer(ctx context.Context, w *work, room message.Scratch) verdict.Answer {
	if w.mail.Err != nil {
		return f.unavailable(w, fmt.Errorf("the message could not be kept: %w", w.mail.Err))
	}
	w.message = w.settings.Parser.Parse(w.mail.Raw, room)
	if w.message.Incomplete != nil {
		return f.unavailable(w, fmt.Errorf("the message could not be read whole: %w", w.message.Incomplete))
	}
	var err error
	if w.evidence, w.verdict, err = f.o.Judge.Judge(w.mail.Envelope, w.message); err != nil {
		return f.unavailable(w, err)
	}
	if w.mail.TooLarge {
		return f.oversize(ctx, w)
	}
	w.verdict.Observed = w.settings.Observe
	return f.commit(ctx, w)
}

// commit makes durable what the verdict needs and gives the answer.
func (f *Filter) commit(ctx context.Context, w *work) verdict.Answer {
	v := w.verdict
	if v.Observed {
		if err := f.journal(ctx, w, nil); err != nil {
			return f.unavailable(w, err)
		}
		return f.pass(w, nil)
	}
	if v.Action == intel.ActionReject || v.Action == intel.ActionTempfail {
		return verdict.Answer{Action: v.Action, Reply: withRef(v.Reply, w.ref)}
	}
	var held []int
	for i := range v.Recipients {
		if v.Recipients[i].Hold {
			held = append(held, i)
		}
	}
	if len(held) < len(v.Recipients) || len(v.Recipients) == 0 {
		if err := f.journal(ctx, w, held); err != nil {
			return f.unavailable(w, err)
		}
	}
	if len(held) == 0 {
		return f.pass(w, nil)
	}
	var err error
	if w.item, err = f.o.Quarantine.Hold(ctx, w.evidence, v, w.ref); err != nil {
		return f.unavailable(w, fmt.Errorf("hold: %w", err))
	}
	if len(held) == len(v.Recipients) {
		return verdict.Answer{Action: intel.ActionDiscard}
	}
	return f.pass(w, held)
}

// pass lets the message go on, but for the recipients whose copy is held.
func (f *Filter) pass(w *work, held []int) verdict.Answer {
	return verdict.Answer{Action: intel.ActionAccept, Remove: held, Edits: f.edits(w, w.verdict)}
}

func (f *Filter) journal(ctx context.Context, w *work, held []int) error {
	// Nobody waits for a handler that is late, so that this one may wait for the
	// device itself, which is what the log does for a context that cannot end.
	if _, err := f.o.Journal.Append(context.WithoutCancel(ctx), f.entry(w, held)); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// unavailable answers where a promise cannot be kept: as configured, but what
// was to be held or refused is never let through. Observe mode stands in
// nobody's way.
func (f *Filter) unavailable(w *work, err error) verdict.Answer {
	w.err = err
	clean := w.verdict == nil || w.verdict.Action == intel.ActionAccept || w.verdict.Action == intel.ActionTag
	if w.settings.Observe || w.settings.OnError == intel.ActionAccept && clean {
		v := w.verdict
		if v == nil {
			v = &verdict.Verdict{Action: intel.ActionAccept, Rule: policy.UnavailableRule, Observed: w.settings.Observe,
				Recipients: []verdict.Recipient{{Action: intel.ActionAccept, Rule: policy.UnavailableRule}}}
		}
		return verdict.Answer{Action: intel.ActionAccept, Edits: f.edits(w, v)}
	}
	return verdict.Answer{
		Action: intel.ActionTempfail,
		Reply:  withRef(verdict.Reply{Code: 451, Enhanced: "4.3.0", Text: "Mail filter temporarily unavailable, try again later"}, w.ref),
	}
}

// oversize answers for a message of which only the beginning was kept. What
// that shows as bad is not let through for being large.
func (f *Filter) oversize(ctx context.Context, w *work) verdict.Answer {
	seen := w.verdict
	w.verdict = &verdict.Verdict{Action: w.settings.Oversize, Rule: policy.OversizeRule, Observed: w.settings.Observe,
		Recipients: make([]verdict.Recipient, len(w.evidence.Recipients))}
	for i := range w.verdict.Recipients {
		w.verdict.Recipients[i] = verdict.Recipient{Address: w.evidence.Recipients[i].Path.Address(), Action: w.settings.Oversize, Rule: policy.OversizeRule}
	}
	text := fmt.Sprintf("Message of %d bytes is larger than the mail filter takes", w.mail.Size)
	switch {
	case w.settings.Observe:
	case seen.Action != intel.ActionAccept && seen.Action != intel.ActionTag:
		// It cannot be held, since not all of it is here.
		w.verdict.Action, w.verdict.Reasons = intel.ActionReject, seen.Reasons
		if w.evidence.Relay || w.mail.Envelope.Local || seen.Action == intel.ActionTempfail {
			w.verdict.Action = intel.ActionTempfail
		}
	case w.settings.Oversize == intel.ActionReject && (w.evidence.Relay || w.mail.Envelope.Local):
		w.verdict.Action = intel.ActionTempfail // nobody is to send backscatter
	}
	switch {
	case w.settings.Observe || w.verdict.Action == intel.ActionAccept:
		if err := f.journal(ctx, w, nil); err != nil {
			return f.unavailable(w, err)
		}
		return f.pass(w, nil)
	case w.verdict.Action == intel.ActionReject:
		w.verdict.Reply = verdict.Reply{Code: 552, Enhanced: "5.3.4", Text: text}
	default:
		w.verdict.Reply = verdict.Reply{Code: 452, Enhanced: "4.3.4", Text: text}
	}
	return verdict.Answer{Action: w.verdict.Action, Reply: withRef(w.verdict.Reply, w.ref)}
}

// withRef puts the reference behind the text, so that whoever is told no can
// name the message to the people here.
func withRef(r verdict.Reply, ref string) verdict.Reply {
	r.Text += " (ref " + ref + ")"
	return r
}
