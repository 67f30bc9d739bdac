package quarantine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/message"
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
	maxText      = 998
	maxHashes    = 200
	maxFiles     = 100
	maxFileBytes = 16 << 10 // of the names of files together
	maxReasons   = 64
)

// Bounds on the recipients of one item, so that what is recorded and listed of
// it fits into a record of the ledger and a value of the view. A message that is
// held for more becomes several items. The bytes are those of addresses and
// arguments as given; one recipient is taken whatever it has.
const (
	maxHeld      = 500
	maxHeldBytes = 64 << 10
)

// Hold keeps a message for the recipients of v whose copy is held, and returns
// once that is durable. ref is the message's reference and becomes the ID of the
// item, or of the first of several where it is held for very many. Recipients for
// whom the same message was held before are passed over. The ID given back is
// that of an item that has some of the recipients. Errors satisfy
// disk.ErrNoSpace, among others; then nothing may be withheld from anybody.
func (q *Quarantine) Hold(ctx context.Context, e *evidence.Evidence, v *verdict.Verdict, ref string) (string, error) {
	content, err := q.o.Blobs.Put(ctx, e.Message.Raw)
	if err != nil {
		return "", fmt.Errorf("keep the message: %w", err)
	}
	key, left, of := sameness(e, content), heldRecipients(e, v), ""
	for n := 1; ; n++ {
		some := left[:fitting(left)]
		id, earlier, err := q.once(ctx, key, e, v, ref, content, some)
		if err != nil {
			return "", err
		}
		if earlier == nil {
			q.metrics.held.Inc()
			left, of, ref = left[len(some):], id, q.o.Identity.NewID()
		} else if others := earlier.without(left); len(others) < len(left) {
			// Other copies may be held today than when it came first.
			q.o.Logger.Info("the same message was held before", zap.String("item", id), zap.Int("recipients", len(left)), zap.Int("new", len(others)))
			left, of = others, id
		}
		if len(left) == 0 {
			return of, nil
		}
		key = sameness(e, content) + "/" + strconv.Itoa(n)
	}
}

// fitting says how many of the recipients one item takes.
func fitting(recipients []Recipient) int {
	size := 0
	for n := range recipients {
		r := &recipients[n]
		size += len(r.Raw)
		for _, arg := range r.Args {
			size += len(arg)
		}
		if n == maxHeld || n > 0 && size > maxHeldBytes {
			return n
		}
	}
	return len(recipients)
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

// without gives the recipients that are none of the item's.
func (i *Item) without(recipients []Recipient) []Recipient {
	has := make(map[Octets]bool, len(i.Recipients))
	for n := range i.Recipients {
		has[i.Recipients[n].Raw] = true
	}
	return slices.DeleteFunc(slices.Clone(recipients), func(r Recipient) bool { return has[r.Raw] })
}

func heldRecipients(e *evidence.Evidence, v *verdict.Verdict) []Recipient {
	var held []Recipient
	seen := make(map[string]bool, len(v.Recipients))
	for i := range v.Recipients {
		r, path := &v.Recipients[i], e.Recipients[i].Path
		if !r.Hold || seen[path.Raw] { // an address that the client gave twice is one copy
			continue
		}
		seen[path.Raw] = true
		held = append(held, Recipient{Address: legible(r.Address, maxText), Rule: r.Rule, Silent: r.Action == intel.ActionDiscard, Raw: Octets(path.Raw), Args: octets(path.Args)})
	}
	return held
}

func facts(e *evidence.Evidence, v *verdict.Verdict, ref string, content blob.Ref) Facts {
	env, f := e.Envelope, messageFacts(e.Message, content)
	f.Ref, f.Received, f.QueueID = ref, env.Time, env.QueueID
	f.From, f.FromArgs, f.Sender = Octets(env.From.Raw), octets(env.From.Args), legibleSender(env.From.Address())
	f.ClientName, f.Helo, f.AuthUser, f.Local = legible(e.Client.Name, maxText), legible(env.Helo, maxText), legible(env.AuthUser, maxText), env.Local
	f.Direction, f.Rule, f.Reasons, f.Generation = e.Direction.String(), v.Rule, reasons(v), e.Generation
	if e.Client.Addr.IsValid() {
		f.Client = e.Client.Addr.String()
	}
	return f
}

// legibleSender gives an envelope sender for people.
func legibleSender(address string) string {
	if address == "" {
		return "<>"
	}
	return legible(address, maxText)
}

// messageFacts gives what the message itself tells.
func messageFacts(m *message.Message, content blob.Ref) Facts {
	f := Facts{
		Blob: content, Size: int64(len(m.Raw)), Subject: legible(m.Subject(), maxText),
		HeaderFrom: legible(m.Header.Get("From"), maxText), MessageID: legible(m.MessageID(), maxText),
	}
	names := 0
	for i := range m.Parts {
		p := &m.Parts[i]
		if p.SHA256 != ([32]byte{}) && len(f.Hashes) < maxHashes {
			f.Hashes = append(f.Hashes, hex.EncodeToString(p.SHA256[:]))
		}
		if names += len(p.Name); p.Name != "" && len(f.Files) < maxFiles && names <= maxFileBytes {
			f.Files = append(f.Files, legible(p.Name, maxText))
		}
	}
	return f
}

// reasons gives those of all held recipients, each once, as long as they are few.
func reasons(v *verdict.Verdict) []verdict.Reason {
	var all []verdict.Reason
	for i := range v.Recipients {
		if !v.Recipients[i].Hold {
			continue
		}
		for _, r := range v.Recipients[i].Reasons {
			if r.Value = legible(r.Value, maxText); len(all) < maxReasons && !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
	}
	return all
}
