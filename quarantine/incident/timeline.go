package incident

import (
	"fmt"
	"strings"
	"time"

	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/job"
)

// Action is one thing that was done, or that happened, in an incident. Text in it
// may be a stranger's.
type Action struct {
	ID       string    `cbor:"-" json:"id"` // its place in the incident's timeline
	Time     time.Time `json:"time"`
	Actor    string    `json:"actor"`
	What     string    `json:"what"`               // type of the event: opened, matched, approved, outcome, …
	Delivery string    `json:"delivery,omitempty"` // ID; empty: the whole incident
	Reason   string    `json:"reason,omitempty"`
	Detail   string    `json:"detail,omitempty"`
}

// tell adds an event to its incident's timeline. A batch that is told of comes
// with what was found.
func (a *applying) tell(e *ledger.Event, incident, delivery string, batch *matchedData) error {
	if e.Type == typeAdmitted { // matched tells the same
		return nil
	}
	action := Action{Time: e.Time, Actor: e.Actor, What: e.Type, Delivery: delivery, Reason: e.Reason}
	if e.Erased {
		action.Detail = "erased"
	} else {
		detail, err := detailOf(e, batch)
		if err != nil {
			return err
		}
		action.Detail = legible(detail, maxWhat)
	}
	data, err := a.v.enc.Marshal(action)
	if err != nil {
		return err
	}
	a.gathered += len(data) + 128
	a.batch.Set([]byte(keyTime+incident+orderOf(e.ID)), data)
	return nil
}

// orderOf makes event IDs order as the events do: a ULID, which grows, and the
// number of the event in its record.
func orderOf(id string) string {
	record, number, _ := strings.Cut(id, ".")
	return record + "." + fmt.Sprintf("%04s", number)
}

// detailOf says what an event tells besides its type.
func detailOf(e *ledger.Event, batch *matchedData) (string, error) {
	switch e.Type {
	case typeOpened:
		return read(e, func(d *openedData) string { return d.Title })
	case typeApproved, typeLapsed:
		return read(e, func(d *chosenData) string { return counted(len(d.Deliveries), "delivery", "deliveries") })
	case typeClosed:
		return read(e, func(d *closedData) string {
			if d.FalseAlarm {
				return "a false alarm"
			}
			return ""
		})
	case typeNoted:
		return read(e, func(d *notedData) string { return d.Text })
	case typeAssigned:
		return read(e, func(d *assignedData) string { return d.Owner })
	case typeMatched:
		wanted, waits := 0, 0
		for n := range batch.Deliveries {
			if batch.Deliveries[n].Waits != "" {
				waits++
			} else if batch.Deliveries[n].Open {
				wanted++
			}
		}
		return fmt.Sprintf("%s of %s: %s to be pulled, %s for approval", counted(len(batch.Deliveries), "delivery", "deliveries"),
			counted(len(batch.Messages), "message", "messages"), counted(wanted, "is", "are"), counted(waits, "waits", "wait")), nil
	case typeKept:
		return read(e, func(d *job.Kept) string { return d.Item + " from " + d.Copy.Folder })
	case typeOutcome:
		return read(e, func(d *outcomeData) string { return join(string(d.Outcome), d.Detail, d.Waits) })
	case typeLocated:
		return read(e, func(d *locatedData) string {
			return join(string(d.Status), d.Address, d.Mailbox, string(d.Outcome), d.Detail)
		})
	case typeConfirmed:
		return read(e, func(d *confirmedData) string {
			last := d.Chain[len(d.Chain)-1]
			why := join("a later match is sure", last.How, last.What)
			if d.Waits != "" {
				return why + "; it waits still: " + d.Waits
			}
			return why + "; it is to be pulled"
		})
	case typeRestoring:
		return read(e, func(d *restoringData) string { return strings.Join(d.Items, " ") })
	case typeRestored:
		return read(e, (*restoredData).words)
	}
	return "", nil
}

// words says what became of the way back of one copy.
func (d *restoredData) words() string {
	switch {
	case d.Fate == isKept:
		return join(d.Item+" stays in quarantine", d.Detail)
	case d.Fate == isLate:
		return join(d.Item+" is tried again", d.Detail)
	case d.Existed:
		return join(d.Item+" stood in "+d.Folder+" again already", d.Detail)
	}
	return join(d.Item+" stands in "+d.Folder+" again", d.Detail)
}

func read[T any](e *ledger.Event, say func(*T) string) (string, error) {
	var d T
	err := unmarshal(e, &d)
	return say(&d), err
}

func join(words ...string) string {
	var all []string
	for _, w := range words {
		if w != "" {
			all = append(all, w)
		}
	}
	return strings.Join(all, ": ")
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
