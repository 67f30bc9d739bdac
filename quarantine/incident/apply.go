package incident

import (
	"fmt"
	"strings"
	"time"

	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// caseRecord is an incident as the view keeps it.
type caseRecord struct {
	Incident
	Erased bool
	Works  int // deliveries that somebody works on, or will
}

// count takes a delivery's share away (-1) or adds it (+1).
func (c *caseRecord) count(r *record, by int) {
	if r == nil {
		return
	}
	if c.Counts == nil {
		c.Counts = map[Outcome]int{}
	}
	if c.Counts[r.Outcome] += by; c.Counts[r.Outcome] == 0 {
		delete(c.Counts, r.Outcome)
	}
	if r.Waits != "" {
		c.Waits += by
	}
	if r.works() {
		c.Works += by
	}
}

// state says how far the incident is.
func (c *caseRecord) state() State {
	switch {
	case c.State == Closed:
		return Closed
	case c.Waits > 0:
		return Waiting
	case c.Works > 0 || c.Messages == 0:
		return Open
	}
	return Done
}

// applying is one Apply. What it has read and changed stays in memory, so that
// what is written early, when much has gathered, is not read again. At every such
// moment deliveries and the counts of their incident agree; what comes again
// after that is known by its versions.
type applying struct {
	v *View
	s *kv.Snapshot

	cases      map[string]*caseRecord
	recent                     // deliveries that were read, changed, or changed before
	marks      map[string]bool // keys without a value, and whether they are there
	newCases   map[string]bool
	newRecords map[string]bool
	batch      *kv.Batch
	gathered   int // bytes that changed records will take, about
}

func newApplying(v *View, s *kv.Snapshot) *applying {
	return &applying{v: v, s: s, batch: &v.batch, recent: v.recent.take(), cases: map[string]*caseRecord{}, marks: map[string]bool{},
		newCases: map[string]bool{}, newRecords: map[string]bool{}}
}

// gatherBytes is how much is written at once, in bytes of records. A batch takes
// twice that.
const gatherBytes = 1 << 20

func (a *applying) apply(e *ledger.Event) error {
	if !known(e.Type) {
		return nil
	}
	if id, _, ok := idsOf(e.Entity, deliveryPrefix); ok && id != "" {
		return a.applyDelivery(e)
	}
	if id, _, ok := idsOf(e.Entity, matchesPrefix); ok && id != "" {
		return a.applyMatched(e, id)
	}
	if id, ok := strings.CutPrefix(e.Entity, incidentPrefix); ok && id != "" {
		return a.applyCase(e, id)
	}
	return nil
}

// known reports whether events of a type mean anything here.
func known(kind string) bool {
	switch kind {
	case typeOpened, typeAdmitted, typeApproved, typeLapsed, typeNoted, typeAssigned, typeClosed, typeMatched,
		typeKept, typeOutcome, typeLocated, typeConfirmed, typeRestoring, typeRestored:
		return true
	}
	return false
}

func (a *applying) applyCase(e *ledger.Event, id string) error {
	c, err := a.incident(id)
	if err != nil {
		return err
	}
	if e.Version <= c.Version {
		return nil // applied before
	}
	if err := a.tell(e, id, "", nil); err != nil {
		return err
	}
	switch e.Type {
	case typeOpened:
		c.ID, c.Opened, c.Actor, c.Reason = id, e.Time, e.Actor, e.Reason
		if e.Erased {
			c.Erased = true
			break
		}
		var d openedData
		if err := unmarshal(e, &d); err != nil {
			return err
		}
		c.Key, c.Title, c.Severity, c.Owner, c.Source, c.Automatic = d.Key, d.Title, d.Severity, d.Owner, d.Source, d.Automatic
	case typeClosed:
		c.State = Closed
		if err := a.closed(id, e.Time); err != nil {
			return err
		}
	case typeAssigned:
		if e.Erased {
			break
		}
		var d assignedData
		if err := unmarshal(e, &d); err != nil {
			return err
		}
		c.Owner = d.Owner
	case typeApproved, typeLapsed:
		if e.Erased {
			break
		}
		if err := a.decided(e, id); err != nil {
			return err
		}
	}
	c.Version, c.Changed = e.Version, e.Time
	a.newCases[id] = true
	return nil
}

// closed ends what an incident's deliveries wait for, and takes them off the list
// of what is not finished, but for those that go back.
func (a *applying) closed(id string, at time.Time) error {
	for entry, err := range a.s.Range([]byte(keyOpen+id), nil) {
		if err == nil {
			_, err = a.record(id, string(entry.Key[len(keyOpen)+len(id):]))
		}
		if err != nil {
			return err
		}
	}
	for _, r := range a.records { // some are not written yet
		if r.Incident != id || !r.live() {
			continue
		}
		if err := a.change(r, func() { r.leave(at) }); err != nil {
			return err
		}
	}
	return nil
}

// decided applies a decision to the deliveries that it names.
func (a *applying) decided(e *ledger.Event, id string) error {
	var d chosenData
	if err := unmarshal(e, &d); err != nil {
		return err
	}
	for _, of := range d.Deliveries {
		r, err := a.record(id, of)
		if err != nil {
			return err
		}
		if r == nil {
			continue
		}
		if err := a.change(r, func() {
			if e.Type == typeApproved {
				r.approve(e.Version, e.Time)
			} else {
				r.lapse(e.Version, lapsedBecause(d.Doubt, e.Reason), e.Time)
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

func (a *applying) applyMatched(e *ledger.Event, id string) error {
	if e.Type != typeMatched || e.Erased {
		return nil
	}
	var d matchedData
	if err := unmarshal(e, &d); err != nil {
		return err
	}
	added := 0
	for n := range d.Deliveries {
		f := &d.Deliveries[n]
		if f.Message < 0 || f.Message >= len(d.Messages) {
			return fmt.Errorf("%w: message %d of %d", errEvent, f.Message, len(d.Messages))
		}
		m := &d.Messages[f.Message]
		r, err := a.record(id, f.ID)
		if err != nil {
			return err
		}
		if r != nil {
			continue
		}
		c, err := a.incident(id)
		if err != nil {
			return err
		}
		mark := keyMessage + id + m.Ref
		there, err := a.marked(mark)
		if err != nil {
			return err
		}
		if !there {
			c.Messages++
			a.mark(mark)
		}
		r = found(id, m, f, e.Actor, e.Time)
		added++
		a.keep(id+"/"+f.ID, r)
		c.count(r, +1)
		a.share(r)
		if err := a.written(r); err != nil {
			return err
		}
	}
	c, err := a.incident(id)
	if err != nil {
		return err
	}
	if added > 0 && c.Changed.Before(e.Time) {
		c.Changed = e.Time
		a.newCases[id] = true
	}
	return a.tell(e, id, "", &d)
}

func (a *applying) applyDelivery(e *ledger.Event) error {
	id, of, _ := idsOf(e.Entity, deliveryPrefix)
	r, err := a.record(id, of)
	if err != nil || r == nil || e.Version <= r.Version {
		return err
	}
	if err := a.tell(e, id, of, nil); err != nil {
		return err
	}
	if err := a.change(r, func() { err = r.fold(e) }); err != nil {
		return err
	}
	if err != nil || e.Erased {
		return err
	}
	switch e.Type {
	case typeLocated:
		if now := deliveryID(id, r.Ref, r.Recipient, r.Address, r.Time); now != r.ID {
			a.batch.Set([]byte(keyAlias+id+now), []byte(r.ID))
			a.marks[keyAlias+id+now] = true
		}
		a.share(r)
	case typeRestored:
		return a.back(e, r)
	}
	return nil
}

// back notes where a restored copy stands, and that it is not to be pulled again
// for the same reason.
func (a *applying) back(e *ledger.Event, r *record) error {
	var d restoredData
	if err := unmarshal(e, &d); err != nil || d.Fate != isBack {
		return err
	}
	c, err := a.incident(r.Incident)
	if err != nil {
		return err
	}
	a.mark(exemptMark(exemptKey(r.Incident, c.Key), r.Ref, r.Mailbox))
	a.mark(trustedMark(exemptKey(r.Incident, c.Key), r.Ref))
	if k := r.kept(d.Item); k != nil && d.Placed.ID != "" {
		data, err := a.v.enc.Marshal(d.Placed)
		if err != nil {
			return err
		}
		a.batch.Set([]byte(placedPrefix(r.Mailbox, k.SHA256)+d.Item), data)
	}
	return nil
}

func exemptMark(key, ref, mailbox string) string {
	return keyExempt + hexDigest(key, ref, fold(mailbox))
}

func trustedMark(key, ref string) string { return keyTrusted + hexDigest(key, ref) }

func placedPrefix(mailbox string, content job.Digest) string {
	return keyPlaced + hexDigest(fold(mailbox), string(content[:]))
}

func sharingPrefix(incident, ref, mailbox string) string {
	return keySharing + incident + hexDigest(ref, fold(mailbox))
}

func (a *applying) share(r *record) {
	if r.Mailbox != "" {
		a.mark(sharingPrefix(r.Incident, r.Ref, r.Mailbox) + r.ID)
	}
}

// change changes a record, and the counts of its incident with it.
func (a *applying) change(r *record, f func()) error {
	c, err := a.incident(r.Incident)
	if err != nil {
		return err
	}
	c.count(r, -1)
	f()
	c.count(r, +1)
	if c.Changed.Before(r.Changed) {
		c.Changed = r.Changed
	}
	return a.written(r)
}

// written notes that a record and its incident have changed.
func (a *applying) written(r *record) error {
	key := r.Incident + "/" + r.ID
	a.newCases[r.Incident] = true
	if !a.newRecords[key] {
		a.newRecords[key] = true
		n := r.bytes()
		a.gathered += n
		a.bytes += n
	}
	if a.gathered < gatherBytes {
		return nil
	}
	return a.flush(nil)
}

// bytes is about what a record takes when it is written, and not less.
func (r *record) bytes() int {
	n := 2048 + 2*(len(r.Subject)+len(r.MessageID)+len(r.Address)+len(r.Recipient)+len(r.Detail)+len(r.Waits))
	for _, s := range r.Chain {
		n += 64 + len(s.What) + len(s.Ref) + len(s.Indicator)
	}
	for i := range r.Copies {
		n += 512 + copyBytes(&r.Copies[i].Copy) + len(r.Copies[i].Detail)
	}
	for i := range r.Kept {
		n += 512 + copyBytes(&r.Kept[i].Copy) + copyBytes(&r.Kept[i].Placed)
	}
	return n
}

// copyBytes is about what a copy takes, and not less.
func copyBytes(c *mailbox.Copy) int {
	n := 256 + len(c.Folder) + len(c.ID) + len(c.MessageID) + len(c.WeirID)
	for _, k := range c.Keywords {
		n += 4 + len(k)
	}
	return n
}

// flush writes what has changed; the last time with the cursor.
func (a *applying) flush(upTo *ledger.Cursor) error {
	for id := range a.newCases {
		c := a.cases[id]
		if c.ID == "" && c.Messages == 0 {
			continue
		}
		c.ID, c.State = id, c.state()
		data, err := a.v.enc.Marshal(c)
		if err != nil {
			return fmt.Errorf("incident %s: %w", id, err)
		}
		a.batch.Set(turned(keyCase, id), data)
	}
	for key := range a.newRecords {
		r := a.records[key]
		if _, err := a.incident(r.Incident); err != nil {
			return err
		}
		data, err := a.v.enc.Marshal(r)
		if err != nil {
			return fmt.Errorf("delivery %s: %w", key, err)
		}
		a.batch.Set(turned(keyDelivery+r.Incident, r.ID), data)
		if open := []byte(keyOpen + r.Incident + r.ID); r.live() && (r.Outcome == Restoring || a.cases[r.Incident].State != Closed) {
			a.batch.Set(open, nil)
		} else {
			a.batch.Delete(open)
		}
	}
	clear(a.newCases)
	clear(a.newRecords)
	a.gathered = 0
	if upTo != nil {
		a.batch.SetApplied(viewName, upTo.Bytes())
	}
	if a.batch.Len() == 0 {
		return nil
	}
	err := a.v.db.Commit(a.batch)
	a.batch.Reset()
	return err
}

// turned makes keys come in the order of time, the newest first, and those of
// IDs that begin alike together.
func turned(prefix, id string) []byte {
	key := append([]byte(prefix), id...)
	for i := len(prefix); i < len(key); i++ {
		key[i] = ^key[i]
	}
	return key
}

func (a *applying) incident(id string) (*caseRecord, error) {
	if c, ok := a.cases[id]; ok {
		return c, nil
	}
	c, err := a.v.incident(a.s, id)
	if err != nil {
		return nil, err
	}
	if c == nil {
		c = &caseRecord{}
	}
	a.cases[id] = c
	return c, nil
}

// record gives a delivery, nil where there is none.
func (a *applying) record(id, of string) (*record, error) {
	key := id + "/" + of
	if r, ok := a.records[key]; ok {
		return r, nil
	}
	r, err := a.v.record(a.s, id, of)
	if err != nil || r == nil {
		return nil, err
	}
	a.keep(key, r)
	return r, nil
}

func (a *applying) marked(key string) (bool, error) {
	if there, ok := a.marks[key]; ok {
		return there, nil
	}
	_, there, err := a.s.Get([]byte(key), nil)
	a.marks[key] = there
	return there, err
}

func (a *applying) mark(key string) {
	a.marks[key] = true
	a.batch.Set([]byte(key), nil)
}
