package incident

import (
	"context"
	"fmt"
	"time"

	"github.com/weirmail/weir/intel/ledger"
)

// hourEntity is where the pulls are counted that policy starts in an hour.
func hourEntity(at time.Time) string { return capsPrefix + at.UTC().Format("2006-01-02T15") }

// admit asks for so many pulls by policy, for a batch of an incident, and gives
// how many may start and why no more. The caps hold exactly, because each is
// counted within one entity: what was granted and then not used, since the daemon
// died, stays counted. Asking again for the same batch gives the same answer.
// Errors satisfy ErrClosed, among others.
func (d *Desk) admit(ctx context.Context, k *docket, s *Settings, batch, actor string, want int) (granted int, why string, err error) {
	left := max(0, s.CapIncident-k.admitted)
	whyIncident := capped(s.CapIncident, "of one incident")
	if left < want { // so that an incident at its cap uses up no hour's
		want, why = left, whyIncident
	}
	if want == 0 {
		return 0, why, nil
	}
	hour, err := d.count(ctx, ledger.Command{ID: "cap/" + k.id + "/" + batch, Entity: hourEntity(d.now()), Actor: actor},
		typeReserved, admittedData{Incident: k.id, Batch: batch}, want, func(s ledger.State, cap func(int) int) (int, error) {
			used, err := admitted(s.Events, typeReserved)
			return cap(used), err
		}, s.CapHour)
	if err != nil {
		return 0, "", err
	}
	if hour < want {
		want, why = hour, capped(s.CapHour, "an hour")
	}
	if want == 0 {
		return 0, why, nil
	}
	granted, err = d.count(ctx, ledger.Command{ID: "admit/" + k.id + "/" + batch, Entity: entityOf(k.id), Actor: actor},
		typeAdmitted, admittedData{Batch: batch}, want, func(s ledger.State, cap func(int) int) (int, error) {
			now, err := docketOf(s)
			if err == nil && now.closed {
				err = ErrClosed
			}
			if err != nil {
				return 0, err
			}
			return cap(now.admitted), nil
		}, s.CapIncident)
	if granted < want {
		why = whyIncident
	}
	k.admitted += granted
	return granted, why, err
}

// capped says why policy pulls no more.
func capped(most int, of string) string {
	return fmt.Sprintf("policy pulls at most %s %s", counted(most, "delivery", "deliveries"), of)
}

// count commits how many of the wanted fit under a cap, as events of this type.
// used looks at the entity and asks cap how many fit above what it counts.
func (d *Desk) count(ctx context.Context, c ledger.Command, kind string, data admittedData, want int,
	used func(ledger.State, func(int) int) (int, error), most int) (int, error) {
	granted := 0
	receipt, err := d.o.Ledger.Commit(ctx, c, func(s ledger.State) ([]ledger.Event, error) {
		n, err := used(s, func(used int) int { return max(0, min(want, most-used)) })
		if granted = n; err != nil || n == 0 {
			return nil, err
		}
		data.N = n
		e, err := event(kind, data)
		return []ledger.Event{e}, err
	})
	if err != nil || !receipt.Replayed {
		return granted, err
	}
	// It was granted before an end of the daemon, perhaps in another hour.
	s, err := d.o.Ledger.State(receipt.Entity)
	if err != nil {
		return 0, err
	}
	var mine []ledger.Event
	for _, e := range s.Events {
		if e.Command == c.ID {
			mine = append(mine, e)
		}
	}
	n, err := admitted(mine, kind)
	return min(n, want), err
}

// admitted adds up what events of this type have granted.
func admitted(events []ledger.Event, kind string) (int, error) {
	n := 0
	for i := range events {
		e := &events[i]
		if e.Type != kind || e.Erased {
			continue
		}
		var d admittedData
		if err := unmarshal(e, &d); err != nil {
			return 0, err
		}
		n += d.N
	}
	return n, nil
}
