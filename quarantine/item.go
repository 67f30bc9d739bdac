package quarantine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/blob"
	"github.com/weirmail/weir/quarantine/reinject"
)

// State is what has become of one recipient's copy, or of an item.
type State string

// The states.
const (
	Held      State = "held"
	Releasing State = "releasing" // being handed over
	Uncertain State = "uncertain" // handed over, and no answer came: it may have been delivered
	Released  State = "released"
	Refused   State = "refused" // the re-injection listener refused it for good; still held
	Deleted   State = "deleted" // by a person, with its bytes
	Expired   State = "expired" // by its age, with its bytes
)

// Octets is text from an envelope that must come back byte for byte. In JSON it
// is a string, or {"base64": …} where it is not UTF-8.
type Octets string

// Recipient is one held copy.
type Recipient struct {
	Address string    `json:"address"` // for people; valid UTF-8
	State   State     `json:"state"`
	Rule    string    `json:"rule"`
	Silent  bool      `json:"silent,omitempty"` // discarded: nobody is told of it
	At      time.Time `json:"at,omitzero"`      // of the last change
	Detail  string    `json:"detail,omitempty"` // what the re-injection listener said

	Raw  Octets   `json:"raw"`
	Args []Octets `json:"args,omitempty"`
}

// Item is a message in quarantine: what the events of its entity add up to.
type Item struct {
	ID         string      `json:"id"`
	Version    uint64      `json:"version"`
	Held       time.Time   `json:"held"`
	Facts      Facts       `json:"message"`
	Recipients []Recipient `json:"recipients"`
	Gone       State       `json:"gone,omitempty"` // Deleted or Expired
	Releases   int         `json:"releases,omitempty"`
	Attempt    string      `json:"attempt,omitempty"` // the release under way
	HandedOver bool        `json:"handed_over,omitempty"`
	Erased     bool        `json:"erased,omitempty"` // what was known of it was wiped
	Pulled     *Origin     `json:"pulled,omitempty"` // of what was taken out of a mailbox; nil: it was held on its way
}

// Facts is what is known of the message from when it was held.
type Facts struct {
	Ref        string           `json:"ref"` // of the message, as the log has it
	Blob       blob.Ref         `json:"blob"`
	Size       int64            `json:"size"`
	Received   time.Time        `json:"received"`
	QueueID    string           `json:"queue_id,omitempty"`
	From       Octets           `json:"from"` // verbatim
	FromArgs   []Octets         `json:"from_args,omitempty"`
	Sender     string           `json:"sender"` // for people; "<>" is the null sender
	Client     string           `json:"client,omitempty"`
	ClientName string           `json:"client_name,omitempty"`
	Helo       string           `json:"helo,omitempty"`
	AuthUser   string           `json:"auth_user,omitempty"`
	Local      bool             `json:"local,omitempty"`
	Direction  string           `json:"direction"`
	Subject    string           `json:"subject"`
	HeaderFrom string           `json:"header_from"`
	MessageID  string           `json:"message_id"`
	Hashes     []string         `json:"hashes,omitempty"` // SHA-256 of its parts
	Files      []string         `json:"files,omitempty"`
	Rule       string           `json:"rule"`
	Reasons    []verdict.Reason `json:"reasons"`
	Generation uint64           `json:"generation"`
}

// State gives what has become of the item as a whole: what most needs a person
// among its recipients.
func (i *Item) State() State {
	if i.Gone != "" {
		return i.Gone
	}
	for _, s := range []State{Uncertain, Releasing, Refused, Held} {
		if slices.ContainsFunc(i.Recipients, func(r Recipient) bool { return r.State == s }) {
			return s
		}
	}
	return Released
}

// Event types. Their data are the structs below; schema 1 each.
const (
	typeHeld      = "held"
	typeRelease   = "release"   // a release begins
	typeHandover  = "handover"  // its last byte is about to go
	typeReleased  = "released"  // what became of it
	typeAbandoned = "abandoned" // it did not come to the handover
	typeDeleted   = "deleted"   // by a person
	typeExpired   = "expired"   // by age
	typeViewed    = "viewed"    // somebody looked at the message
	typeDoubted   = "doubted"   // what is known of it may be out of date
	typePulled    = "pulled"    // it was taken out of a mailbox
	typeReturning = "returning" // it is to go back there
	typeReturned  = "returned"  // what became of that
	schema        = 1
)

type heldData struct {
	Facts      Facts       `json:"message"`
	Recipients []Recipient `json:"recipients"`
}

type releaseData struct {
	Attempt    string `json:"attempt"`
	Recipients []int  `json:"recipients"`
	Override   bool   `json:"override,omitempty"` // although today's lists would hold it
	Again      bool   `json:"again,omitempty"`    // although it may have been delivered
	Entry      string `json:"entry,omitempty"`    // the journal entry
}

type attemptData struct {
	Attempt string `json:"attempt"`
}

type releasedData struct {
	Attempt    string            `json:"attempt"`
	Recipients []int             `json:"recipients"`
	Results    []reinject.Result `json:"results"`
}

type doubtedData struct {
	Why string `json:"why"`
}

type viewedData struct {
	How string `json:"how"` // preview, export, raw
}

const entityPrefix = "item/"

func entityOf(id string) string { return entityPrefix + id }

// idOf gives the item that an entity is; ok is false for other entities.
func idOf(entity string) (id string, ok bool) { return strings.CutPrefix(entity, entityPrefix) }

// errEvent says that an event's data are not what its type needs.
var errEvent = errors.New("an event of an item cannot be read")

// fold applies an item's next event. Types that it does not know change nothing
// but the version.
func (i *Item) fold(e *ledger.Event) error {
	if e.Erased {
		// Reason and data are gone for good; what is known without them stays.
		i.Version = e.Version
		if e.Type == typeHeld || e.Type == typePulled {
			i.ID, _ = idOf(e.Entity)
			i.Held, i.Gone, i.Erased = e.Time, Deleted, true
		}
		return nil
	}
	var err error
	switch e.Type {
	case typeHeld:
		var d heldData
		err = unmarshal(e, &d)
		i.ID, _ = idOf(e.Entity)
		i.Held, i.Facts, i.Recipients = e.Time, d.Facts, d.Recipients
		for n := range i.Recipients {
			i.Recipients[n].State, i.Recipients[n].At = Held, e.Time
		}
	case typePulled, typeReturning, typeReturned:
		err = i.foldPulled(e)
	case typeRelease:
		var d releaseData
		err = unmarshal(e, &d)
		i.Attempt, i.HandedOver = d.Attempt, false
		i.Releases++
		err = errors.Join(err, i.each(d.Recipients, func(_ int, r *Recipient) { r.State, r.At, r.Detail = Releasing, e.Time, "" }))
	case typeHandover:
		i.HandedOver = true
	case typeReleased:
		var d releasedData
		err = unmarshal(e, &d)
		i.Attempt, i.HandedOver = "", false
		err = errors.Join(err, i.each(d.Recipients, func(n int, r *Recipient) {
			r.At = e.Time
			if n < len(d.Results) {
				r.State, r.Detail = stateAfter(d.Results[n].Status), d.Results[n].Text
			}
		}))
	case typeAbandoned:
		i.Attempt, i.HandedOver = "", false
		for n := range i.Recipients {
			if r := &i.Recipients[n]; r.State == Releasing {
				r.State, r.At, r.Detail = Held, e.Time, "the daemon stopped before the message was handed over"
			}
		}
	case typeDoubted:
		var d doubtedData
		err = unmarshal(e, &d)
		for n := range i.Recipients {
			if r := &i.Recipients[n]; r.State == Held || r.State == Refused {
				r.State, r.At, r.Detail = Uncertain, e.Time, d.Why
			}
		}
	case typeDeleted:
		i.Gone = Deleted
	case typeExpired:
		i.Gone = Expired
	}
	i.Version = e.Version
	return err
}

func stateAfter(s reinject.Status) State {
	switch s {
	case reinject.Sent:
		return Released
	case reinject.Refused:
		return Refused
	case reinject.Uncertain:
		return Uncertain
	}
	return Held
}

func (i *Item) each(indexes []int, f func(n int, r *Recipient)) error {
	for n, index := range indexes {
		if i.Erased {
			return nil
		}
		if index < 0 || index >= len(i.Recipients) {
			return fmt.Errorf("%w: recipient %d of %d", errEvent, index, len(i.Recipients))
		}
		f(n, &i.Recipients[index])
	}
	return nil
}

// foldAll gives the item that the events make.
func foldAll(events []ledger.Event) (*Item, error) {
	i := &Item{}
	for n := range events {
		if err := i.fold(&events[n]); err != nil {
			return nil, err
		}
	}
	return i, nil
}

func unmarshal(e *ledger.Event, data any) error {
	if e.Schema != schema {
		return fmt.Errorf("%w: %s of %s has schema %d, this Weir reads %d", errEvent, e.Type, e.Entity, e.Schema, schema)
	}
	if err := json.Unmarshal(e.Data, data); err != nil {
		return fmt.Errorf("%w: %s of %s: %w", errEvent, e.Type, e.Entity, err)
	}
	return nil
}

func event(kind string, data any) (ledger.Event, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return ledger.Event{}, err
	}
	return ledger.Event{Type: kind, Schema: schema, Data: raw}, nil
}

// path gives a recipient as it goes back to the MTA.
func (r *Recipient) path() reinject.Path {
	return reinject.Path{Address: message.Path{Raw: string(r.Raw)}.Address(), Args: plain(r.Args)}
}

func octets(texts []string) []Octets {
	var all []Octets
	for _, t := range texts {
		all = append(all, Octets(t))
	}
	return all
}

func plain(all []Octets) []string {
	var texts []string
	for _, o := range all {
		texts = append(texts, string(o))
	}
	return texts
}
