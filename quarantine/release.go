package quarantine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/reinject"
)

// Release asks for copies of an item to be delivered after all.
type Release struct {
	ID         string
	Recipients []string // addresses among the item's; none: all that are held
	Actor      string
	Reason     string
	Override   bool // although today's rules would hold it; needs a reason
	Again      bool // also copies that may have been delivered already; needs a reason
}

// releaseWithin bounds a release from its first record to its last.
const releaseWithin = 10 * time.Minute

// maxAnswer bounds what is kept of the listener's answer for each recipient, in bytes.
const maxAnswer = 500

// headerID is the field that lets a released message be found again.
const headerID = "X-Weir-ID"

// Release hands the held copies to the MTA and gives the item as it is then.
// Copies that are released already are passed over, so that asking twice
// delivers once. It judges the message by today's rules first. Errors satisfy
// ErrNotFound, ErrGone, ErrPulled, ErrBusy, ErrUncertain, ErrRecipient,
// ErrNoWay, ErrReason or *BlockedError, and nothing was handed over; or say which
// recipients the listener did not take, and the item tells of each.
func (q *Quarantine) Release(ctx context.Context, r Release) (*Item, error) {
	if (r.Override || r.Again) && strings.TrimSpace(r.Reason) == "" {
		return nil, ErrReason
	}
	item, err := q.state(r.ID)
	if err != nil {
		return nil, err
	}
	if item.Pulled != nil {
		return item, fmt.Errorf("%w: incident %s", ErrPulled, item.Pulled.Incident)
	}
	chosen, err := item.choose(&r)
	if err != nil || len(chosen) == 0 {
		return item, err
	}
	sender, err := q.sender(item)
	if err != nil {
		return item, err
	}
	scratch := q.o.Scratch()
	defer func() { _ = scratch.Close() }()
	content, err := q.load(ctx, item, scratch)
	if err != nil {
		return item, err
	}
	entry, err := q.judgeAgain(item, content, scratch, chosen, r.Override)
	if err != nil {
		return item, err
	}
	// From here on the caller going away changes nothing: half a release helps nobody.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
	defer cancel()
	return q.release(ctx, &attempt{item: item, request: r, chosen: chosen, sender: sender, content: content, entry: entry, name: q.o.Identity.NewID()})
}

// choose gives the indexes of the recipients to release.
func (i *Item) choose(r *Release) ([]int, error) {
	if i.Gone != "" {
		return nil, fmt.Errorf("%w: it was %s", ErrGone, i.Gone)
	}
	if i.Attempt != "" {
		return nil, ErrBusy
	}
	var chosen []int
	uncertain := 0
	for n := range i.Recipients {
		to := &i.Recipients[n]
		if len(r.Recipients) > 0 && !slices.ContainsFunc(r.Recipients, func(a string) bool { return strings.EqualFold(a, to.Address) }) {
			continue
		}
		switch {
		case to.State == Held, to.State == Refused, to.State == Uncertain && r.Again:
			chosen = append(chosen, n)
		case to.State == Uncertain:
			uncertain++
		}
	}
	for _, a := range r.Recipients {
		if !slices.ContainsFunc(i.Recipients, func(to Recipient) bool { return strings.EqualFold(a, to.Address) }) {
			return nil, fmt.Errorf("%w: %s is not among those whose copy is held", ErrRecipient, a)
		}
	}
	if uncertain > 0 && len(chosen) == 0 {
		return nil, fmt.Errorf("%w, to %d recipients: release it with again and a reason if it was not", ErrUncertain, uncertain)
	}
	return chosen, nil
}

func (q *Quarantine) sender(i *Item) (Sender, error) {
	senders, key := q.current().Senders, "reinject.inbound"
	s := senders.Inbound
	if i.Facts.Direction == intel.Outbound.String() {
		s, key = senders.Outbound, "reinject.outbound"
	}
	if s == nil {
		return nil, fmt.Errorf("%w for %s mail: set %s.address", ErrNoWay, i.Facts.Direction, key)
	}
	return s, nil
}

// judgeAgain judges the message by today's rules for the chosen recipients and
// gives the journal entry of its release.
func (q *Quarantine) judgeAgain(i *Item, content []byte, scratch message.Scratch, chosen []int, override bool) (*journal.Entry, error) {
	m := q.current().Parser.Parse(content, scratch)
	env := i.envelope(chosen)
	e, v, err := q.o.Judge.Judge(env, m)
	if err != nil {
		return nil, err
	}
	if err := blocked(v); err != nil && !override {
		return nil, err
	}
	return q.entry(i, e, v), nil
}

// blocked gives a *BlockedError where a verdict would not let the message through.
func blocked(v *verdict.Verdict) error {
	if v.Action == intel.ActionAccept || v.Action == intel.ActionTag {
		return nil
	}
	return &BlockedError{Rule: v.Rule, Reasons: v.Reasons}
}

// envelope gives the transaction of the message as it was, for some of its recipients.
func (i *Item) envelope(chosen []int) *message.Envelope {
	env := &message.Envelope{
		QueueID: i.Facts.QueueID, Helo: i.Facts.Helo, AuthUser: i.Facts.AuthUser, Local: i.Facts.Local, Time: i.Facts.Received,
		From: message.Path{Raw: string(i.Facts.From), Args: plain(i.Facts.FromArgs)},
	}
	env.Client.Name = i.Facts.ClientName
	env.Client.Addr, _ = netip.ParseAddr(i.Facts.Client)
	for _, n := range chosen {
		env.To = append(env.To, message.Path{Raw: string(i.Recipients[n].Raw), Args: plain(i.Recipients[n].Args)})
	}
	return env
}

// entry is what the journal keeps of a release, so that the message can be
// found again when it proves bad after all.
func (q *Quarantine) entry(i *Item, e *evidence.Evidence, v *verdict.Verdict) *journal.Entry {
	entry := e.Entry()
	entry.ID, entry.Item, entry.Parent, entry.Time = q.o.Identity.NewID(), i.ID, i.Facts.Ref, q.o.Identity.Now()
	entry.Action, entry.Rule = v.Action, v.Rule
	for n := range e.Envelope.To {
		entry.To = append(entry.To, e.Envelope.To[n].Address())
	}
	return entry
}

// attempt is one release under way.
type attempt struct {
	item    *Item
	request Release
	chosen  []int
	sender  Sender
	content []byte
	entry   *journal.Entry
	name    string
}

func (q *Quarantine) release(ctx context.Context, a *attempt) (*Item, error) {
	id := a.item.ID
	// The item may have changed since it was read; whoever commits first goes on.
	_, err := q.commit(ctx, a.command("release", a.request.Actor), typeRelease,
		releaseData{Attempt: a.name, Recipients: a.chosen, Override: a.request.Override, Again: a.request.Again, Entry: a.entry.ID},
		func(now *Item) error {
			chosen, err := now.choose(&a.request)
			if err == nil && !slices.Equal(chosen, a.chosen) {
				err = ErrBusy
			}
			return err
		})
	if err != nil {
		return a.item, err
	}
	results := q.send(ctx, a)
	for n := range results {
		results[n].Text = legible(results[n].Text, maxAnswer)
	}
	receipt, err := q.commit(ctx, a.command("released", a.request.Actor), typeReleased,
		releasedData{Attempt: a.name, Recipients: a.chosen, Results: results}, a.stillOurs)
	if err != nil {
		return a.item, fmt.Errorf("the outcome of the release could not be recorded, Weir finds it again when it starts: %w", err)
	}
	q.see(ctx, receipt)
	item, err := q.state(id)
	if err != nil {
		return nil, err
	}
	return item, q.outcome(item, a, results)
}

func (a *attempt) command(step, actor string) ledger.Command {
	return ledger.Command{ID: step + "/" + a.name, Entity: entityOf(a.item.ID), Actor: actor, Reason: a.request.Reason}
}

func (a *attempt) stillOurs(now *Item) error {
	if now.Attempt != a.name {
		return fmt.Errorf("release %s of item %s was ended by somebody else", a.name, now.ID)
	}
	return nil
}

func (q *Quarantine) send(ctx context.Context, a *attempt) []reinject.Result {
	if _, err := q.o.Journal.Append(ctx, a.entry); err != nil {
		return all(len(a.chosen), reinject.Deferred, "the journal takes no entry: "+err.Error())
	}
	m := reinject.Message{
		From:    reinject.Path{Address: message.Path{Raw: string(a.item.Facts.From)}.Address(), Args: plain(a.item.Facts.FromArgs)},
		Content: [][]byte{[]byte(headerID + ": " + q.o.Identity.Sign(a.entry.ID) + "\r\n"), a.content},
	}
	for _, n := range a.chosen {
		m.To = append(m.To, a.item.Recipients[n].path())
	}
	return a.sender.Send(ctx, m, func() error {
		_, err := q.commit(ctx, a.command("handover", a.request.Actor), typeHandover, attemptData{a.name}, a.stillOurs)
		return err
	})
}

func all(n int, s reinject.Status, text string) []reinject.Result {
	return slices.Repeat([]reinject.Result{{Status: s, Text: text}}, n)
}

// outcome logs and counts a release and gives an error for copies that did not go.
func (q *Quarantine) outcome(item *Item, a *attempt, results []reinject.Result) error {
	var failed []string
	for n, r := range results {
		q.metrics.released.WithLabelValues(string(r.Status)).Inc()
		if r.Status != reinject.Sent {
			failed = append(failed, fmt.Sprintf("%s %s: %s", item.Recipients[a.chosen[n]].Address, r.Status, r.Text))
		}
	}
	q.o.Logger.Info("item released", zap.String("item", item.ID), zap.String("actor", a.request.Actor), zap.String("ref", a.entry.ID),
		zap.Int("recipients", len(results)), zap.Strings("failed", failed), zap.Bool("override", a.request.Override))
	if len(failed) > 0 {
		return &ReleaseError{Failed: failed, Of: len(results)}
	}
	return nil
}

// ReleaseError says which copies the listener did not take. They are still held.
type ReleaseError struct {
	Failed []string
	Of     int
}

func (e *ReleaseError) Error() string {
	return fmt.Sprintf("%d of %d copies were not taken: %s", len(e.Failed), e.Of, strings.Join(e.Failed, "; "))
}

// Recover ends the releases that an earlier run of the daemon did not come to
// end: those that had not handed over the message are held again, of the
// others nobody knows.
func (q *Quarantine) Recover(ctx context.Context) error {
	for item, err := range q.o.View.items("", "") {
		if err != nil {
			return err
		}
		if item.Attempt == "" || item.Pulled != nil { // a mailbox is looked at again, by whoever has the job
			continue
		}
		if err := q.recover(ctx, item.ID); err != nil {
			return fmt.Errorf("item %s: %w", item.ID, err)
		}
	}
	return nil
}

func (q *Quarantine) recover(ctx context.Context, id string) error {
	item, err := q.state(id)
	if err != nil || item.Attempt == "" {
		return err
	}
	a := &attempt{item: item, name: item.Attempt, request: Release{Reason: "the daemon stopped in mid-release"}}
	kind, data := typeAbandoned, any(attemptData{item.Attempt})
	if item.HandedOver {
		var d releasedData
		d.Attempt = item.Attempt
		for n := range item.Recipients {
			if item.Recipients[n].State == Releasing {
				d.Recipients = append(d.Recipients, n)
			}
		}
		d.Results = all(len(d.Recipients), reinject.Uncertain, "the daemon stopped before the answer came")
		kind, data = typeReleased, d
	}
	_, err = q.commit(ctx, a.command("recover", "weir:start"), kind, data, a.stillOurs)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	q.o.Logger.Warn("a release was cut off by the end of the daemon", zap.String("item", id), zap.Bool("uncertain", item.HandedOver))
	return err
}

// Doubt marks every held copy as one that may have been delivered: after a
// restore nobody knows what was released since the backup was made. It may be
// called again after a crash.
func (q *Quarantine) Doubt(ctx context.Context, actor, why string) (int, error) {
	n := 0
	for item, err := range q.o.View.items("", "") {
		if err != nil {
			return n, err
		}
		if s := item.State(); s != Held && s != Refused && s != Uncertain || item.Pulled != nil { // putting back what is there puts nothing there
			continue
		}
		command := ledger.Command{ID: "doubted/" + q.o.Identity.NewID(), Entity: entityOf(item.ID), Actor: actor, Reason: why}
		if _, err := q.commit(ctx, command, typeDoubted, doubtedData{why}, func(*Item) error { return nil }); err != nil {
			return n, fmt.Errorf("item %s: %w", item.ID, err)
		}
		n++
	}
	return n, nil
}
