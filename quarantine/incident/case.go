package incident

import (
	"errors"
	"fmt"

	"github.com/weirmail/weir/intel/ledger"
)

// docket is what decisions about an incident depend on: what the events of its
// entity add up to.
type docket struct {
	id       string
	opened   openedData
	actor    string // who opened it
	closed   bool
	admitted int                        // pulls that policy has started
	own      map[string]map[string]bool // deliveries that somebody approved who had asked for them, by actor
}

func docketOf(s ledger.State) (*docket, error) {
	id := s.Entity[len(incidentPrefix):]
	if s.Version == 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	k := &docket{id: id, own: map[string]map[string]bool{}}
	for n := range s.Events {
		if err := k.fold(&s.Events[n]); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func (k *docket) fold(e *ledger.Event) error {
	if e.Type == typeClosed {
		k.closed = true
	}
	if e.Type == typeOpened {
		k.actor = e.Actor
	}
	if e.Erased {
		return nil
	}
	switch e.Type {
	case typeOpened:
		return unmarshal(e, &k.opened)
	case typeAdmitted:
		var d admittedData
		err := unmarshal(e, &d)
		k.admitted += d.N
		return err
	case typeApproved:
		var d chosenData
		if err := unmarshal(e, &d); err != nil || !d.Own {
			return err
		}
		if k.own[e.Actor] == nil {
			k.own[e.Actor] = map[string]bool{}
		}
		for _, id := range d.Deliveries {
			k.own[e.Actor][id] = true
		}
	}
	return nil
}

// docket reads an incident's decisions as the ledger has them. Errors satisfy
// ErrNotFound, among others.
func (d *Desk) docket(id string) (*docket, error) {
	if id == "" {
		return nil, fmt.Errorf("%w: an incident's ID is missing", ErrNotFound)
	}
	s, err := d.o.Ledger.State(entityOf(id))
	if err != nil {
		return nil, err
	}
	return docketOf(s)
}

// exemptKey is what a restored message is exempt from: the indicator or campaign
// of the incident, or the incident alone where it has none.
func (k *docket) exemptKey() string { return exemptKey(k.id, k.opened.Key) }

func exemptKey(incident, key string) string {
	if key == "" {
		return "incident:" + incident
	}
	return "key:" + key
}

var errStale = errors.New("what is known of the delivery is out of date")
