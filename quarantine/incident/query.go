package incident

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// Query says which incidents to list. Empty fields mean no condition; all that
// are given have to be met. Text is compared without regard to case.
type Query struct {
	State    State
	Severity Severity
	Owner    string
	Text     string    // words that all stand in title, key or reason
	Since    time.Time // opened then or later
	Until    time.Time // opened before

	Before string // only incidents older than the one with this ID: for the next page
	Limit  int    // at most so many; 0: DefaultLimit
}

// Bounds on a listing.
const (
	DefaultLimit = 100
	MaxLimit     = 10_000
)

// Page is a part of a listing, the newest incident first.
type Page struct {
	Incidents []*Incident
	More      bool // there are older ones
}

// DeliveryQuery says which deliveries of an incident to list, as Query does.
type DeliveryQuery struct {
	Outcome Outcome
	Address string // final address or recipient of the envelope, whole or a part
	Waiting bool   // only those that wait for approval

	After string // only those behind the one with this ID: for the next page
	Limit int    // at most so many; 0: DefaultLimit
}

// DeliveryPage is a part of a listing, the newest message first.
type DeliveryPage struct {
	Deliveries []Delivery
	More       bool
}

func limit(n int) (int, error) {
	if n == 0 {
		return DefaultLimit, nil
	}
	if n < 0 || n > MaxLimit {
		return 0, fmt.Errorf("%w: a page holds 1 to %d, not %d", ErrInvalid, MaxLimit, n)
	}
	return n, nil
}

// Find gives the ID of the incident whose ID begins so, in either case. Errors
// satisfy ErrNotFound or ErrAmbiguous.
func (d *Desk) Find(prefix string) (string, error) { return d.o.View.Find(prefix) }

// Find is as Desk.Find.
func (v *View) Find(prefix string) (string, error) {
	prefix = strings.ToUpper(prefix)
	var found []string
	if prefix != "" {
		for c, err := range v.incidents(prefix, "") {
			if err != nil {
				return "", err
			}
			if c.ID == prefix {
				return prefix, nil
			}
			if found = append(found, c.ID); len(found) > 3 {
				break
			}
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w: %q", ErrNotFound, prefix)
	case 1:
		return found[0], nil
	}
	slices.Sort(found)
	return "", fmt.Errorf("%w: %q fits %s", ErrAmbiguous, prefix, strings.Join(found, ", "))
}

// Get gives an incident by its ID, as the listing has it. The error satisfies
// ErrNotFound.
func (d *Desk) Get(id string) (*Incident, error) {
	s, err := d.o.View.db.Snapshot()
	if err != nil {
		return nil, err
	}
	defer s.Release()
	c, err := d.o.View.incident(s, id)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	return &c.Incident, nil
}

// List gives the incidents that a query asks for.
func (d *Desk) List(ctx context.Context, q Query) (Page, error) {
	most, err := limit(q.Limit)
	if err != nil {
		return Page{}, err
	}
	var page Page
	for c, err := range d.o.View.incidents("", strings.ToUpper(q.Before)) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return Page{}, err
		}
		if !q.matches(c) {
			continue
		}
		if len(page.Incidents) == most {
			page.More = true
			break
		}
		page.Incidents = append(page.Incidents, &c.Incident)
	}
	return page, nil
}

func (q *Query) matches(c *caseRecord) bool {
	switch {
	case q.State != "" && c.State != q.State,
		q.Severity != "" && c.Severity != q.Severity,
		q.Owner != "" && !strings.EqualFold(c.Owner, q.Owner),
		!q.Since.IsZero() && c.Opened.Before(q.Since),
		!q.Until.IsZero() && !c.Opened.Before(q.Until):
		return false
	}
	text := fold(c.Title + " " + c.Key + " " + c.Reason)
	for _, word := range strings.Fields(fold(q.Text)) {
		if !strings.Contains(text, word) {
			return false
		}
	}
	return true
}

// Deliveries gives the deliveries of an incident that a query asks for. The error
// satisfies ErrNotFound, among others.
func (d *Desk) Deliveries(ctx context.Context, id string, q DeliveryQuery) (DeliveryPage, error) {
	most, err := limit(q.Limit)
	if err != nil {
		return DeliveryPage{}, err
	}
	if _, err := d.Get(id); err != nil {
		return DeliveryPage{}, err
	}
	var page DeliveryPage
	address := fold(q.Address)
	for r, err := range d.o.View.deliveries(id, strings.ToUpper(q.After)) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return DeliveryPage{}, err
		}
		if q.Outcome != "" && r.Outcome != q.Outcome || q.Waiting && r.Waits == "" ||
			address != "" && !strings.Contains(fold(r.Address), address) && !strings.Contains(fold(r.Recipient), address) {
			continue
		}
		if len(page.Deliveries) == most {
			page.More = true
			break
		}
		page.Deliveries = append(page.Deliveries, r.Delivery)
	}
	return page, nil
}

// TimelineQuery says which part of an incident's timeline to give.
type TimelineQuery struct {
	After string // only what came after the action with this ID: for the next page
	Limit int    // at most so many; 0: DefaultLimit
}

// TimelinePage is a part of a timeline, the oldest action first.
type TimelinePage struct {
	Actions []Action
	More    bool // there are later ones
}

// Timeline gives what was done in an incident, in order. The error satisfies
// ErrNotFound or ErrInvalid, among others.
func (d *Desk) Timeline(ctx context.Context, id string, q TimelineQuery) (TimelinePage, error) {
	most, err := limit(q.Limit)
	if err != nil {
		return TimelinePage{}, err
	}
	if _, err := d.Get(id); err != nil {
		return TimelinePage{}, err
	}
	s, err := d.o.View.db.Snapshot()
	if err != nil {
		return TimelinePage{}, err
	}
	defer s.Release()
	prefix, behind := []byte(keyTime+id), []byte(nil)
	if q.After != "" {
		behind = append(append(behind, prefix...), strings.ToUpper(q.After)+"\x00"...)
	}
	var page TimelinePage
	for entry, err := range s.Range(prefix, behind) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return TimelinePage{}, err
		}
		if len(page.Actions) == most {
			page.More = true
			break
		}
		a := Action{ID: string(entry.Key[len(prefix):])}
		if err := d.o.View.decode(entry.Value, &a); err != nil {
			return TimelinePage{}, err
		}
		page.Actions = append(page.Actions, a)
	}
	return page, nil
}

// Matched is a message of an incident, and why it is in it. A message may be given
// more than once.
type Matched struct {
	Key   string // of the incident
	Ref   string // ID of the journal entry
	Chain []Step
	Found time.Time // when it came into the incident
}

// Matched gives the messages of the incidents that indicators opened and that have
// changed since then, closed ones too, the newest incident first.
func (d *Desk) Matched(ctx context.Context, since time.Time) iter.Seq2[Matched, error] {
	return func(yield func(Matched, error) bool) {
		err := d.see(ctx)
		if err == nil {
			err = d.o.View.matched(ctx, since, yield)
		}
		if err != nil {
			yield(Matched{}, err)
		}
	}
}

// matched is Desk.Matched; it gives no error to yield.
func (v *View) matched(ctx context.Context, since time.Time, yield func(Matched, error) bool) error {
	for c, err := range v.incidents("", "") {
		if err != nil {
			return err
		}
		if c.Source == "" || c.Key == "" || c.Changed.Before(since) {
			continue
		}
		last := ""
		for r, err := range v.deliveries(c.ID, "") {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				return err
			}
			if r.Ref == last { // as most times, one message's are together
				continue
			}
			last = r.Ref
			if !yield(Matched{c.Key, r.Ref, r.Chain, r.Found}, nil) {
				return nil
			}
		}
	}
	return nil
}

func (v *View) decode(data []byte, into any) error {
	if err := v.dec.Unmarshal(data, into); err != nil {
		return fmt.Errorf("the listing of incidents: %w", err)
	}
	return nil
}

// incident reads one incident; nil where there is none.
func (v *View) incident(s *kv.Snapshot, id string) (*caseRecord, error) {
	data, ok, err := s.Get(turned(keyCase, id), nil)
	if err != nil || !ok {
		return nil, err
	}
	var c caseRecord
	return &c, v.decode(data, &c)
}

// record reads one delivery; nil where there is none.
func (v *View) record(s *kv.Snapshot, incident, id string) (*record, error) {
	data, ok, err := s.Get(turned(keyDelivery+incident, id), nil)
	if err != nil || !ok {
		return nil, err
	}
	var r record
	return &r, v.decode(data, &r)
}

// ranged gives the decoded values under a prefix, those behind a key alone if
// that is not nil.
func ranged[T any](v *View, prefix, behind []byte) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		s, err := v.db.Snapshot()
		if err != nil {
			yield(nil, err)
			return
		}
		defer s.Release()
		if behind != nil {
			behind = append(behind, 0)
		}
		for entry, err := range s.Range(prefix, behind) {
			value := new(T)
			if err == nil {
				err = v.decode(entry.Value, value)
			}
			if !yield(value, err) || err != nil {
				return
			}
		}
	}
}

// incidents gives those whose ID begins so, the newest first, those older than
// the one called before alone if that is not empty.
func (v *View) incidents(prefix, before string) iter.Seq2[*caseRecord, error] {
	var behind []byte
	if before != "" {
		behind = turned(keyCase, before)
	}
	return ranged[caseRecord](v, turned(keyCase, prefix), behind)
}

// deliveries gives those of an incident, the newest message first, those behind
// one alone if that is not empty.
func (v *View) deliveries(incident, after string) iter.Seq2[*record, error] {
	var behind []byte
	if after != "" {
		behind = turned(keyDelivery+incident, after)
	}
	return ranged[record](v, []byte(keyDelivery+incident), behind)
}

// unfinished gives the deliveries that something is still to come of.
func (v *View) unfinished() iter.Seq2[*record, error] {
	return func(yield func(*record, error) bool) {
		s, err := v.db.Snapshot()
		if err != nil {
			yield(nil, err)
			return
		}
		defer s.Release()
		for entry, err := range s.Range([]byte(keyOpen), nil) {
			var r *record
			if err == nil {
				r, err = v.ofKey(s, entry.Key[len(keyOpen):])
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// ofKey reads the delivery that an index names.
func (v *View) ofKey(s *kv.Snapshot, key []byte) (*record, error) {
	if len(key) < lengthOfULID {
		return nil, fmt.Errorf("the listing of incidents: an index key of %d bytes", len(key))
	}
	r, err := v.record(s, string(key[:lengthOfULID]), string(key[lengthOfULID:]))
	if err == nil && r == nil {
		err = errors.New("the listing of incidents: an index names a delivery that is not there")
	}
	return r, err
}

// sharing gives the deliveries of one message in an incident that are in one
// mailbox.
func (v *View) sharing(incident, ref, mailbox string) ([]*record, error) {
	s, err := v.db.Snapshot()
	if err != nil {
		return nil, err
	}
	defer s.Release()
	prefix := sharingPrefix(incident, ref, mailbox)
	var all []*record
	for entry, err := range s.Range([]byte(prefix), nil) {
		if err != nil {
			return nil, err
		}
		r, err := v.record(s, incident, string(entry.Key[len(prefix):]))
		if err != nil {
			return nil, err
		}
		if r != nil && fold(r.Mailbox) == fold(mailbox) {
			all = append(all, r)
		}
	}
	return all, nil
}

// placed gives where restores have put copies with this content in a mailbox, but
// for that of one item.
func (v *View) placed(login string, content job.Digest, but string) ([]mailbox.Copy, error) {
	s, err := v.db.Snapshot()
	if err != nil {
		return nil, err
	}
	defer s.Release()
	prefix := placedPrefix(login, content)
	var all []mailbox.Copy
	for entry, err := range s.Range([]byte(prefix), nil) {
		if err != nil {
			return nil, err
		}
		if string(entry.Key[len(prefix):]) == but {
			continue
		}
		var c mailbox.Copy
		if err := v.decode(entry.Value, &c); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// knows reports whether an incident has a delivery, under this ID or because
// another one took it over.
func (v *View) knows(s *kv.Snapshot, incident, id string) (bool, error) {
	_, there, err := s.Get(turned(keyDelivery+incident, id), nil)
	if err != nil || there {
		return there, err
	}
	_, there, err = s.Get([]byte(keyAlias+incident+id), nil)
	return there, err
}

// nameOf gives the ID of the delivery that an ID stands for: itself, or the one that
// took it over.
func (v *View) nameOf(s *kv.Snapshot, incident, id string) (string, error) {
	name, there, err := s.Get([]byte(keyAlias+incident+id), nil)
	if err != nil || !there {
		return id, err
	}
	return string(name), nil
}

// trusted reports whether a message was restored for this key, to any mailbox.
func (v *View) trusted(s *kv.Snapshot, key, ref string) (bool, error) {
	_, there, err := s.Get([]byte(trustedMark(key, ref)), nil)
	return there, err
}

// exempt reports whether a message was restored to a mailbox for this key.
func (v *View) exempt(s *kv.Snapshot, key, ref, mailbox string) (bool, error) {
	if mailbox == "" {
		return false, nil
	}
	_, there, err := s.Get([]byte(exemptMark(key, ref, mailbox)), nil)
	return there, err
}
