package quarantine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/blob"
)

// onceFor is how long the same bytes from the same sender to the same recipients
// are the same item: a client that did not get the answer tries again, for up to
// five days (RFC 5321 section 4.5.4.1).
const onceFor = 5 * 24 * time.Hour

// Bounds on what an item repeats of its message.
const (
	maxText   = 998
	maxHashes = 200
	maxFiles  = 100
)

// Hold keeps a message for the recipients of v whose copy is held, and returns
// once that is durable. ref is the message's reference and becomes the item's
// ID. Where the same message was held before for all of them, nothing is kept
// again and that item's ID is given. Errors satisfy disk.ErrNoSpace, among
// others; then nothing may be withheld from anybody.
func (q *Quarantine) Hold(ctx context.Context, e *evidence.Evidence, v *verdict.Verdict, ref string) (string, error) {
	content, err := q.o.Blobs.Put(ctx, e.Message.Raw)
	if err != nil {
		return "", fmt.Errorf("keep the message: %w", err)
	}
	key, held := sameness(e, content), heldRecipients(e, v)
	for {
		id, earlier, err := q.once(ctx, key, e, v, ref, content, held)
		if err != nil {
			return "", err
		}
		if earlier == nil {
			q.metrics.held.Inc()
			return id, nil
		}
		// Other copies may be held today than when it came first.
		missing := slices.DeleteFunc(slices.Clone(held), earlier.has)
		q.o.Logger.Info("the same message was held before", zap.String("item", id), zap.Int("recipients", len(held)), zap.Int("new", len(missing)))
		if len(missing) == 0 {
			return id, nil
		}
		if len(missing) == len(held) && key != sameness(e, content) {
			return "", fmt.Errorf("item %s should be this message's and has none of its recipients", id)
		}
		key, held, ref = key+"/also/"+digest(rawOf(missing)...), missing, q.o.Identity.NewID()
	}
}

// once commits the item under a key, or finds the one that was committed under it.
func (q *Quarantine) once(ctx context.Context, key string, e *evidence.Evidence, v *verdict.Verdict, ref string, content blob.Ref, held []Recipient) (id string, earlier *Item, err error) {
	ev, err := event(typeHeld, heldData{Facts: facts(e, v, ref, content), Recipients: held})
	if err != nil {
		return "", nil, err
	}
	command := ledger.Command{ID: key, Entity: entityOf(ref), Actor: "rule:" + v.Rule}
	for {
		receipt, err := q.o.Ledger.Commit(ctx, command, func(ledger.State) ([]ledger.Event, error) { return []ledger.Event{ev}, nil })
		if err != nil {
			return "", nil, fmt.Errorf("record the item: %w", err)
		}
		id, _ := idOf(receipt.Entity)
		if !receipt.Replayed {
			return id, nil, nil
		}
		item, err := q.state(id)
		if err != nil {
			return "", nil, err
		}
		if q.o.Identity.Now().Sub(item.Held) < onceFor {
			return id, item, nil
		}
		// Too long ago to be the same try. The chain goes on from that item, so
		// that the next retry finds this one.
		command.ID = key + "/after/" + id
	}
}

// sameness names what makes two messages one: bytes, sender, envelope recipients.
func sameness(e *evidence.Evidence, content blob.Ref) string {
	words := []string{string(content[:]), e.Envelope.From.Raw}
	for i := range e.Envelope.To {
		words = append(words, e.Envelope.To[i].Raw)
	}
	slices.Sort(words[2:])
	return "hold/" + digest(words...)
}

func digest(words ...string) string {
	h := sha256.New()
	for _, w := range words {
		_, _ = fmt.Fprintf(h, "%d:%s", len(w), w)
	}
	return hex.EncodeToString(h.Sum(nil)[:20])
}

func rawOf(recipients []Recipient) []string {
	var raw []string
	for i := range recipients {
		raw = append(raw, string(recipients[i].Raw))
	}
	slices.Sort(raw)
	return raw
}

func (i *Item) has(r Recipient) bool {
	return slices.ContainsFunc(i.Recipients, func(other Recipient) bool { return other.Raw == r.Raw })
}

func heldRecipients(e *evidence.Evidence, v *verdict.Verdict) []Recipient {
	var held []Recipient
	for i := range v.Recipients {
		r := &v.Recipients[i]
		if !r.Hold {
			continue
		}
		path := e.Recipients[i].Path
		copied := Recipient{Address: legible(r.Address, maxText), Rule: r.Rule, Silent: r.Action == intel.ActionDiscard, Raw: Octets(path.Raw), Args: octets(path.Args)}
		// An address that the client gave twice is one copy.
		if !slices.ContainsFunc(held, func(other Recipient) bool { return other.Raw == copied.Raw }) {
			held = append(held, copied)
		}
	}
	return held
}

func facts(e *evidence.Evidence, v *verdict.Verdict, ref string, content blob.Ref) Facts {
	env, m := e.Envelope, e.Message
	f := Facts{
		Ref: ref, Blob: content, Size: int64(len(m.Raw)), Received: env.Time, QueueID: env.QueueID,
		From: Octets(env.From.Raw), FromArgs: octets(env.From.Args), Sender: legible(env.From.Address(), maxText),
		ClientName: legible(e.Client.Name, maxText), Helo: legible(env.Helo, maxText), AuthUser: legible(env.AuthUser, maxText), Local: env.Local,
		Direction: e.Direction.String(), Subject: legible(m.Subject(), maxText), HeaderFrom: legible(m.Header.Get("From"), maxText),
		MessageID: legible(m.MessageID(), maxText), Rule: v.Rule, Reasons: reasons(v), Generation: e.Generation,
	}
	if f.Sender == "" {
		f.Sender = "<>"
	}
	if e.Client.Addr.IsValid() {
		f.Client = e.Client.Addr.String()
	}
	for i := range m.Parts {
		p := &m.Parts[i]
		if p.SHA256 != ([32]byte{}) && len(f.Hashes) < maxHashes {
			f.Hashes = append(f.Hashes, hex.EncodeToString(p.SHA256[:]))
		}
		if p.Name != "" && len(f.Files) < maxFiles {
			f.Files = append(f.Files, legible(p.Name, maxText))
		}
	}
	return f
}

// reasons gives those of all held recipients, each once.
func reasons(v *verdict.Verdict) []verdict.Reason {
	var all []verdict.Reason
	for i := range v.Recipients {
		if !v.Recipients[i].Hold {
			continue
		}
		for _, r := range v.Recipients[i].Reasons {
			if r.Value = legible(r.Value, maxText); !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
	}
	return all
}
