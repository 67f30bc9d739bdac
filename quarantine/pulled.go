package quarantine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/blob"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// Kind says how an item came into quarantine.
type Kind string

// The kinds of items.
const (
	KindHeld   Kind = "held"   // diverted before it was delivered
	KindPulled Kind = "pulled" // taken out of a mailbox
)

// Errors about items that came out of a mailbox.
var (
	// ErrPulled says that the item came out of a mailbox: it is not released but
	// goes back there, which its incident sees to (Return).
	ErrPulled = errors.New("the item was pulled out of a mailbox, and goes back there by a restore")
	// ErrNotPulled says that the item was never in a mailbox.
	ErrNotPulled = errors.New("the item was held before it was delivered")
)

// Pulled is a copy that was fetched from a mailbox and is to be kept before it is
// removed there. All but Sender and Reason is required.
type Pulled struct {
	Incident string       // ID
	Delivery string       // ID
	Ref      string       // ID of the journal entry of the message
	Sender   string       // of the envelope, without angle brackets; empty: the null sender, or not known
	Mailbox  string       // login of its owner
	Address  string       // final address
	Copy     mailbox.Copy // as it stood in the mailbox
	Raw      []byte       // its bytes, as they were fetched; not kept, not changed
	Actor    string       // scheme:id
	Reason   string       // at most 4 KiB; a longer one is cut
}

func (p *Pulled) validate() error {
	for _, f := range []struct{ name, text string }{
		{"Incident", p.Incident}, {"Delivery", p.Delivery}, {"Ref", p.Ref}, {"Mailbox", p.Mailbox}, {"Address", p.Address},
		{"Copy.Folder", p.Copy.Folder}, {"Copy.ID", p.Copy.ID}, {"Actor", p.Actor},
	} {
		if f.text == "" {
			return fmt.Errorf("quarantine: Pulled.%s is missing", f.name)
		}
	}
	if len(p.Raw) == 0 {
		return errors.New("quarantine: Pulled.Raw is empty")
	}
	return nil
}

// Origin says which mailbox an item was pulled out of, and why. Text in it may be
// a stranger's.
type Origin struct {
	Incident string       `json:"incident"`
	Delivery string       `json:"delivery"`
	Mailbox  string       `json:"mailbox"` // login of its owner
	Copy     mailbox.Copy `json:"copy"`    // as it stood there
	Reason   string       `json:"reason,omitempty"`
}

// Kind says how the item came here.
func (i *Item) Kind() Kind {
	if i.Pulled != nil {
		return KindPulled
	}
	return KindHeld
}

// Keep makes an item of a copy that is about to be removed from a mailbox, and
// gives its ID and the name of the bytes once bytes and record are durable. It has
// one recipient, whose copy is Held. Keeping the same copy of the same delivery
// again gives the same item, as long as it is Held. Errors satisfy
// disk.ErrNoSpace, among others; then the copy must stay where it is.
//
// It costs one blob and one commit, which group with those of other callers.
func (q *Quarantine) Keep(ctx context.Context, p Pulled) (id string, content blob.Ref, err error) {
	if err := p.validate(); err != nil {
		return "", content, err
	}
	// A blob that has no item for longer is one that nobody needs; see Tidy.
	ctx, cancel := context.WithTimeout(ctx, q.current().HoldTime)
	defer cancel()
	content, err = q.o.Blobs.Put(ctx, p.Raw)
	if err != nil {
		return "", content, fmt.Errorf("keep the message: %w", err)
	}
	ev, err := event(typePulled, q.pulledData(&p, content))
	if err != nil {
		return "", content, err
	}
	key := sameCopy(&p, content)
	command := ledger.Command{ID: key, Entity: entityOf(q.o.Identity.NewID()), Actor: p.Actor, Reason: legible(p.Reason, ledger.MaxReason)}
	for {
		receipt, err := q.o.Ledger.Commit(ctx, command, func(ledger.State) ([]ledger.Event, error) { return []ledger.Event{ev}, nil })
		if err != nil {
			return "", content, fmt.Errorf("record the item: %w", err)
		}
		id, _ := idOf(receipt.Entity)
		if !receipt.Replayed {
			q.metrics.pulled.Inc()
			return id, content, nil
		}
		item, err := q.state(id)
		if err != nil || item.State() == Held {
			return id, content, err
		}
		// It went back, or was deleted, and is pulled again: what is known of the
		// earlier item is over, and its bytes may be about to go.
		command.ID = key + "/after/" + id
	}
}

// sameCopy names what makes two uploads one: delivery, place and bytes.
func sameCopy(p *Pulled, content blob.Ref) string {
	return "pulled/" + digest(p.Delivery, p.Copy.Folder, p.Copy.ID, string(content[:]))
}

func (q *Quarantine) pulledData(p *Pulled, content blob.Ref) pulledData {
	scratch := q.o.Scratch()
	defer func() { _ = scratch.Close() }()
	f := messageFacts(q.current().outline.Parse(p.Raw, scratch), content)
	f.Ref, f.Received, f.From, f.Sender = p.Ref, p.Copy.Date, Octets("<"+p.Sender+">"), legibleSender(p.Sender)
	// Names of a message can be as long as its header; the bytes are in the blob.
	c := p.Copy
	c.MessageID, c.WeirID = legible(c.MessageID, maxText), legible(c.WeirID, maxText)
	return pulledData{
		Facts:     f,
		Recipient: Recipient{Address: legible(p.Address, maxText), Raw: Octets("<" + p.Address + ">")},
		Origin:    Origin{Incident: p.Incident, Delivery: p.Delivery, Mailbox: p.Mailbox, Copy: c, Reason: legible(p.Reason, ledger.MaxReason)},
	}
}

// Return begins to give a pulled item back to its mailbox: it is Releasing until
// Returned says how that went. It judges the message by today's rules first. An
// item that is on its way back already, or is back, is given as it is. Errors
// satisfy ErrNotFound, ErrNotPulled, ErrGone, ErrReason (an override needs a
// reason) or *BlockedError, and nothing was changed.
func (q *Quarantine) Return(ctx context.Context, id, actor, reason string, override bool) (*Item, error) {
	if override && strings.TrimSpace(reason) == "" {
		return nil, ErrReason
	}
	item, err := q.state(id)
	if err != nil {
		return nil, err
	}
	if err := item.inMailbox(); err != nil || !item.waits() {
		return item, err
	}
	if !override {
		if err := q.judgeReturn(ctx, item); err != nil {
			return item, err
		}
	}
	name := q.o.Identity.NewID()
	command := ledger.Command{ID: "returning/" + name, Entity: entityOf(id), Actor: actor, Reason: reason}
	return q.change(ctx, command, typeReturning, returningData{name, override}, (*Item).waits)
}

// Returned records what became of an item's return: it stands in its mailbox
// again (Released), or it does not (Held), and detail says why. It may be called
// again; an item that is not on its way back is given as it is. Errors satisfy
// ErrNotFound, ErrNotPulled or ErrGone.
func (q *Quarantine) Returned(ctx context.Context, id, actor string, ok bool, detail string) (*Item, error) {
	command := ledger.Command{ID: "returned/" + q.o.Identity.NewID(), Entity: entityOf(id), Actor: actor}
	return q.change(ctx, command, typeReturned, returnedData{ok, legible(detail, maxAnswer)}, func(now *Item) bool { return now.State() == Releasing })
}

// change records a step of an item's return, unless the item is not one that
// takes it, and gives the item as it is then.
func (q *Quarantine) change(ctx context.Context, c ledger.Command, kind string, data any, takes func(*Item) bool) (*Item, error) {
	e, err := event(kind, data)
	if err != nil {
		return nil, err
	}
	id, _ := idOf(c.Entity)
	_, err = q.o.Ledger.Commit(ctx, c, func(s ledger.State) ([]ledger.Event, error) {
		now, err := itemOf(s, id)
		if err == nil {
			err = now.inMailbox()
		}
		if err != nil || !takes(now) {
			return nil, err
		}
		return []ledger.Event{e}, nil
	})
	if err != nil {
		return nil, err
	}
	return q.state(id)
}

// inMailbox gives an error for an item that cannot be in a mailbox again.
func (i *Item) inMailbox() error {
	switch {
	case i.Gone != "":
		return fmt.Errorf("%w: it was %s", ErrGone, i.Gone)
	case i.Pulled == nil:
		return ErrNotPulled
	}
	return nil
}

// waits reports whether a return may begin.
func (i *Item) waits() bool { return i.State() == Held }

// judgeReturn gives a *BlockedError when today's rules would not let the message
// through as it came.
func (q *Quarantine) judgeReturn(ctx context.Context, i *Item) error {
	scratch := q.o.Scratch()
	defer func() { _ = scratch.Close() }()
	content, err := q.load(ctx, i, scratch)
	if err != nil {
		return err
	}
	env, err := q.envelopeOf(i)
	if err != nil {
		return err
	}
	_, v, err := q.o.Judge.Judge(env, q.current().Parser.Parse(content, scratch))
	if err != nil {
		return err
	}
	return blocked(v)
}

// envelopeOf gives the transaction that a pulled message came in: a mailbox does
// not tell, the journal does for as long as it has the entry.
func (q *Quarantine) envelopeOf(i *Item) (*message.Envelope, error) {
	env := i.envelope([]int{0})
	for r, err := range q.o.Journal.Lookup(journal.KeyOfID(i.Facts.Ref)) {
		if err != nil {
			return nil, err
		}
		if e := r.Entry; e.ID == i.Facts.Ref {
			env.QueueID, env.Helo, env.AuthUser, env.Time = e.QueueID, e.Helo, e.AuthUser, e.Time
			env.Client.Addr, env.From.Raw = e.Client, "<"+e.From+">"
			break
		}
	}
	return env, nil
}

type pulledData struct {
	Facts     Facts     `json:"message"`
	Recipient Recipient `json:"recipient"`
	Origin    Origin    `json:"origin"`
}

type returningData struct {
	Attempt  string `json:"attempt"`
	Override bool   `json:"override,omitempty"` // although today's lists would hold it
}

type returnedData struct {
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}

// foldPulled applies an event that only pulled items have.
func (i *Item) foldPulled(e *ledger.Event) error {
	switch e.Type {
	case typePulled:
		var d pulledData
		if err := unmarshal(e, &d); err != nil {
			return err
		}
		d.Recipient.State, d.Recipient.At = Held, e.Time
		i.ID, _ = idOf(e.Entity)
		i.Held, i.Facts, i.Recipients, i.Pulled = e.Time, d.Facts, []Recipient{d.Recipient}, &d.Origin
	case typeReturning:
		var d returningData
		if err := unmarshal(e, &d); err != nil {
			return err
		}
		i.Attempt = d.Attempt
		i.Releases++
		return i.each([]int{0}, func(_ int, r *Recipient) { r.State, r.At, r.Detail = Releasing, e.Time, "" })
	case typeReturned:
		var d returnedData
		if err := unmarshal(e, &d); err != nil {
			return err
		}
		state := Held
		if d.OK {
			state = Released
		}
		i.Attempt = ""
		return i.each([]int{0}, func(_ int, r *Recipient) { r.State, r.At, r.Detail = state, e.Time, d.Detail })
	}
	return nil
}
