package incident

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// record is a delivery and what the work on it needs. The view keeps it; of those
// that are not finished the Desk has its own, folded from the same events.
type record struct {
	Delivery
	Exact    bool         // MessageID is whole, so that mailboxes can be asked for it
	Body     job.Digest   // fingerprint of the message
	Size     int64        // bytes of the message
	Partial  bool         // the incident means only some recipients' copies of the message
	By       string       // actor who brought it into the incident
	Open     bool         // a pull or restore is wanted
	Wanted   bool         // a pull was wanted when it was decided about
	Decided  uint64       // version of the incident's last decision about it
	Approved time.Time    // when a person approved it, or when it came within reach after that; zero: none has
	Tried    bool         // since then
	Digests  []job.Digest // other contents that a person accepted
	Sent     bool         // he accepted copies in folders for sent mail
	Removed  int          // copies that were taken out
	Kept     []kept
	Was      Outcome // before it was Restoring
	Settled  bool    // no more news of the delivery log are waited for
}

// kept is a copy in quarantine.
type kept struct {
	job.Kept
	State  keptState
	Placed mailbox.Copy // where it is back
}

type keptState string

const (
	keptHere  keptState = ""
	keptGoing keptState = "restoring"
	keptBack  keptState = "restored"
)

// live reports whether something is still to come of it.
func (r *record) live() bool { return r.Open || r.Waits != "" || r.followed() }

// followed reports whether the delivery log may have news that matter.
func (r *record) followed() bool {
	if r.Settled || r.Status.Final() {
		return false
	}
	switch r.Outcome {
	case Pending, InTransit, NotFound, MailboxMissing, Unreachable, OutOfReach, Failed:
		return true
	}
	return false
}

// came gives when the message came, which was before it was found: the clock may
// have been ahead.
func (r *record) came() time.Time {
	if r.Found.Before(r.Time) {
		return r.Found
	}
	return r.Time
}

// works reports whether somebody has, or will be given, work with it.
func (r *record) works() bool { return r.Open && r.Waits == "" }

// pullable reports whether a sidecar can be given the pull now.
func (r *record) pullable() bool {
	if !r.works() || r.Mailbox == "" {
		return false
	}
	return r.Outcome == Pending || r.Outcome == Unreachable || r.Outcome == NotFound
}

func (r *record) kept(item string) *kept {
	for n := range r.Kept {
		if r.Kept[n].Item == item {
			return &r.Kept[n]
		}
	}
	return nil
}

// found makes the record of a delivery that was matched.
func found(incident string, m *messageData, f *foundData, by string, at time.Time) *record {
	r := &record{
		Delivery: Delivery{
			ID: f.ID, Incident: incident, Ref: m.Ref, MessageID: m.MessageID, Subject: m.Subject, Sender: m.Sender,
			Recipient: f.Recipient, Chain: m.Chain, Time: m.Time, Found: at, Changed: at,
		},
		Exact: m.Exact, Body: m.Body, Size: m.Size, Partial: m.Partial, By: by,
	}
	r.place(&f.placeData, f.Waits)
	return r
}

func (r *record) place(p *placeData, waits string) {
	r.Address, r.Through, r.Mailbox, r.Known, r.Status = p.Address, p.Through, p.Mailbox, p.Known, p.Status
	r.Outcome, r.Detail, r.Open, r.Waits = p.Outcome, p.Detail, p.Open, waits
	r.Wanted, r.Settled = r.Wanted || p.Open, p.Settled
}

// fold applies the next event of the delivery's entity.
func (r *record) fold(e *ledger.Event) error {
	r.Version = e.Version
	if e.Erased {
		return nil
	}
	switch e.Type {
	case typeKept:
		var d job.Kept
		if err := unmarshal(e, &d); err != nil {
			return err
		}
		if r.kept(d.Item) == nil {
			r.Kept = append(slices.Clip(r.Kept), kept{Kept: d})
			r.Items = append(slices.Clip(r.Items), d.Item)
		}
		r.mark(&d.Copy)
		r.Tried = true
	case typeOutcome:
		var d outcomeData
		if err := unmarshal(e, &d); err != nil {
			return err
		}
		r.Removed += d.Removed
		r.Copies, r.Tried = d.Copies, true
		for n := range d.Copies {
			r.mark(&d.Copies[n].Copy)
		}
		if r.Outcome != Restoring {
			r.Outcome, r.Detail, r.Open, r.Waits = d.Outcome, d.Detail, d.Open, d.Waits
		}
	case typeLocated:
		var d locatedData
		if err := unmarshal(e, &d); err != nil {
			return err
		}
		r.place(&d.placeData, d.Waits)
		if !r.Approved.IsZero() { // only now it can be tried
			r.Approved = e.Time
		}
	case typeConfirmed:
		var d confirmedData
		if err := unmarshal(e, &d); err != nil {
			return err
		}
		r.By, r.Chain, r.Waits = e.Actor, d.Chain, d.Waits
	case typeRestoring:
		var d restoringData
		if err := unmarshal(e, &d); err != nil {
			return err
		}
		r.Kept = slices.Clone(r.Kept)
		for _, item := range d.Items {
			if k := r.kept(item); k != nil {
				k.State = keptGoing
			}
		}
		if r.Outcome != Restoring {
			r.Was = r.Outcome
		}
		r.Outcome, r.Open, r.Waits, r.Detail = Restoring, true, "", ""
	case typeRestored:
		var d restoredData
		if err := unmarshal(e, &d); err != nil {
			return err
		}
		r.restored(&d)
	default:
		return nil
	}
	r.Changed = e.Time
	return nil
}

func (r *record) mark(c *mailbox.Copy) {
	r.Seen, r.Answered, r.Forwarded = r.Seen || c.Seen(), r.Answered || c.Answered(), r.Forwarded || c.Forwarded()
}

// restored takes over what became of one copy's way back.
func (r *record) restored(d *restoredData) {
	r.Detail = d.Detail
	if d.Fate == isLate {
		return
	}
	r.Kept = slices.Clone(r.Kept)
	if k := r.kept(d.Item); k != nil {
		k.State = keptHere
		if d.Fate == isBack {
			k.State, k.Placed = keptBack, d.Placed
		}
	}
	back, going := 0, 0
	for n := range r.Kept {
		switch r.Kept[n].State {
		case keptBack:
			back++
		case keptGoing:
			going++
		}
	}
	switch {
	case going > 0:
		return
	case back == len(r.Kept):
		r.Outcome = Restored
	default:
		r.Outcome = r.Was
		if r.Was != Pulled && r.Was != AlreadyGone && r.Was != OutOfReach {
			r.Outcome = Failed // the pull was given up for the restore
		}
		if back > 0 {
			r.Detail = fmt.Sprintf("%d of %d copies were restored; %s", back, len(r.Kept), d.Detail)
		}
	}
	r.Open = false
}

// approve applies a person's decision that it be pulled, and may be called again.
func (r *record) approve(version uint64, at time.Time) {
	if r.Decided >= version {
		return
	}
	r.Decided = version
	for n := range r.Copies {
		switch c := &r.Copies[n]; c.Fate {
		case job.Differ:
			if !c.Body.IsZero() && !slices.Contains(r.Digests, c.Body) {
				r.Digests = append(slices.Clip(r.Digests), c.Body)
			}
		case job.InSent:
			r.Sent = true
		}
	}
	if r.Outcome != InTransit {
		r.Outcome = Pending
	}
	r.Open, r.Wanted, r.Waits, r.Detail, r.Tried, r.Approved, r.Changed = true, true, "", "", false, at, at
}

// leave ends what will not be done any more, since the incident was closed. What is
// known of it stays, and what goes back goes on.
func (r *record) leave(at time.Time) {
	switch r.Outcome {
	case Restoring:
		return
	case Pending, InTransit, Unreachable:
		r.Outcome, r.Detail, r.Changed = Left, join("the incident was closed first", r.Detail), at
	}
	r.Open, r.Waits = false, ""
}

// lapse takes a decision back, and may be called again.
func (r *record) lapse(version uint64, why string, at time.Time) {
	if r.Decided >= version {
		return
	}
	r.Decided = version
	if r.Open && r.Outcome != Restoring {
		r.Waits, r.Approved, r.Changed = why, time.Time{}, at
	}
}

// target gives what a sidecar looks for.
func (r *record) target() job.Target {
	t := job.Target{WeirID: r.Ref, Body: r.Body, Size: r.Size, Around: r.Time}
	if r.Exact {
		t.MessageID = r.MessageID
	}
	return t
}

// pull gives the work that a pull is.
func (r *record) pull() job.Job {
	j := job.Job{
		ID: r.ID, Kind: job.Pull, Incident: r.Incident, Mailbox: r.Mailbox, Recipient: r.Address,
		Target: r.target(), Approved: r.Digests, Sent: r.Sent,
	}
	for n := range r.Kept {
		if r.Kept[n].State == keptHere {
			j.Kept = append(j.Kept, r.Kept[n].Kept)
		}
	}
	return j
}

// restore gives the work that putting back one copy is.
func (r *record) restore(item string) job.Job {
	j := job.Job{ID: item, Kind: job.Restore, Incident: r.Incident, Mailbox: r.Mailbox, Recipient: r.Address}
	if k := r.kept(item); k != nil {
		j.Item = k.Kept
	}
	return j
}

// deliveryID names a delivery by what it is, so that the same one found again has
// the same name. It is a ULID, and begins with the time of the message, so that IDs
// order as the messages do.
func deliveryID(incident, ref, recipient, address string, at time.Time) string {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford's
	var id [16]byte                                     // 48 bits of milliseconds, 80 others
	if ms := at.UnixMilli(); ms > 0 {
		binary.BigEndian.PutUint64(id[:], uint64(ms)<<16)
	}
	sum := digest(incident, ref, fold(recipient), fold(address))
	copy(id[6:], sum[:])
	high, low := binary.BigEndian.Uint64(id[:8]), binary.BigEndian.Uint64(id[8:])
	var text [lengthOfULID]byte
	for n := range text {
		text[len(text)-1-n] = alphabet[low%32]
		low, high = low>>5|high<<59, high>>5
	}
	return string(text[:])
}

func digest(words ...string) [sha256.Size]byte {
	h := sha256.New()
	for _, w := range words {
		_, _ = fmt.Fprintf(h, "%d:%s", len(w), w)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func hexDigest(words ...string) string {
	sum := digest(words...)
	return hex.EncodeToString(sum[:20])
}
