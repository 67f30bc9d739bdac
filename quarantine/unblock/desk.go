package unblock

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/weirmail/weir/intel/ledger"
)

// What a desk can refuse.
var (
	ErrNotFound     = errors.New("there is no such request")
	ErrAmbiguous    = errors.New("more than one request's ID begins so")
	ErrDecided      = errors.New("the request is decided")
	ErrSecondPerson = errors.New("another person than the one who asked has to approve the request")
	ErrReason       = errors.New("a reason is missing")
	ErrTooMany      = errors.New("too many requests are open")
)

// maxOpen bounds the requests that may be open.
const maxOpen = 1000

// Ledger records what changes; *ledger.Ledger is one.
type Ledger interface {
	Commit(ctx context.Context, c ledger.Command, decide func(ledger.State) ([]ledger.Event, error)) (ledger.Receipt, error)
	State(entity string) (ledger.State, error)
	Wait(ctx context.Context, c ledger.Cursor) error
}

// Options says what a Desk works with. All are required.
type Options struct {
	Ledger Ledger
	View   *View
	NewID  func() string
}

// Desk keeps requests. Its methods may be called by many goroutines.
type Desk struct {
	o      Options
	asking sync.Mutex // one at a time, so that two who ask for the same get one request
}

// New checks the options.
func New(o Options) (*Desk, error) {
	if o.Ledger == nil || o.View == nil || o.NewID == nil {
		return nil, errors.New("unblock: an option is missing")
	}
	return &Desk{o: o}, nil
}

// Asking is what somebody asks for.
type Asking struct {
	Value     string // as a list file has it
	Reference string
	Notify    string // the address that is written to when it is decided; empty: nobody is
	Until     time.Time
	Actor     string
	Reason    string
}

// Ask makes a request, or gives the one that is open for the same value. Errors
// satisfy ErrReason or ErrTooMany, or are the ledger's.
func (d *Desk) Ask(ctx context.Context, a Asking) (r Request, isNew bool, err error) {
	if strings.TrimSpace(a.Reason) == "" {
		return r, false, ErrReason
	}
	d.asking.Lock()
	defer d.asking.Unlock()
	open := 0
	err = d.o.View.each("", func(other *Request) bool {
		if other.State != Open && other.State != Approving {
			return true
		}
		open++
		if other.Value == a.Value {
			r = *other
			return false
		}
		return true
	})
	if err != nil || r.ID != "" {
		return r, false, err
	}
	if open >= maxOpen {
		return r, false, fmt.Errorf("%w: %d", ErrTooMany, open)
	}
	id := d.o.NewID()
	e, err := event(typeRequested, requestedData{Value: a.Value, Reference: a.Reference, Notify: a.Notify, Until: a.Until.UTC()})
	if err != nil {
		return r, false, err
	}
	r, err = d.commit(ctx, id, "requested", a.Actor, a.Reason, func(*Request) (ledger.Event, error) { return e, nil })
	return r, true, err
}

// Approve says that somebody approves a request, before the list is written, and
// what speaks against it all the same. Where second is set it has to be another one
// than who asked. Errors satisfy ErrNotFound,
// ErrDecided, ErrReason or ErrSecondPerson, or are the ledger's.
func (d *Desk) Approve(ctx context.Context, id, actor, reason string, against []string, second bool) (Request, error) {
	if strings.TrimSpace(reason) == "" {
		return Request{}, ErrReason
	}
	e, err := event(typeApproving, approvingData{Against: against})
	if err != nil {
		return Request{}, err
	}
	return d.decide(ctx, id, actor, reason, func(r *Request) (ledger.Event, error) {
		if second && r.By == actor {
			return e, ErrSecondPerson
		}
		return e, nil
	})
}

// Written says that the entry of an approved request stands in its list.
func (d *Desk) Written(ctx context.Context, id, actor, entry, file string, until time.Time) (Request, error) {
	return d.decide(ctx, id, actor, "", func(r *Request) (ledger.Event, error) {
		return event(typeApproved, writtenData{Entry: entry, File: file, Until: until.UTC(), tellingData: tellingData{r.Notify}})
	})
}

// Failed says that the entry of an approved request could not be written: it is
// open again.
func (d *Desk) Failed(ctx context.Context, id, actor string) (Request, error) {
	e, err := event(typeFailed, struct{}{})
	if err != nil {
		return Request{}, err
	}
	return d.decide(ctx, id, actor, "", func(*Request) (ledger.Event, error) { return e, nil })
}

// Refuse says no to a request. Errors are those of Approve, but for
// ErrSecondPerson: who asked may take it back.
func (d *Desk) Refuse(ctx context.Context, id, actor, reason string) (Request, error) {
	if strings.TrimSpace(reason) == "" {
		return Request{}, ErrReason
	}
	return d.decide(ctx, id, actor, reason, func(r *Request) (ledger.Event, error) {
		if r.State == Approving {
			return ledger.Event{}, fmt.Errorf("%w: %s is just approving it", ErrDecided, r.Decider)
		}
		return event(typeRefused, refusedData{tellingData{r.Notify}})
	})
}

// decide records an event of a request that is not decided.
func (d *Desk) decide(ctx context.Context, id, actor, reason string, event func(*Request) (ledger.Event, error)) (Request, error) {
	return d.commit(ctx, id, d.o.NewID(), actor, reason, func(r *Request) (ledger.Event, error) {
		switch r.State {
		case "":
			return ledger.Event{}, ErrNotFound
		case Approved, Refused:
			return ledger.Event{}, fmt.Errorf("%w: %s by %s", ErrDecided, r.State, r.Decider)
		}
		return event(r)
	})
}

// commit records an event and gives the request as it is then.
func (d *Desk) commit(ctx context.Context, id, command, actor, reason string, event func(*Request) (ledger.Event, error)) (Request, error) {
	entity := entityPrefix + id
	receipt, err := d.o.Ledger.Commit(ctx, ledger.Command{ID: entity + "/" + command, Entity: entity, Actor: actor, Reason: reason}, func(s ledger.State) ([]ledger.Event, error) {
		r, err := RequestOf(s)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		e, err := event(&r)
		return []ledger.Event{e}, err
	})
	if err != nil {
		return Request{}, err
	}
	if err := d.o.Ledger.Wait(ctx, receipt.Cursor); err != nil { // who asks sees it in the list
		return Request{}, err
	}
	return d.get(id)
}

func (d *Desk) get(id string) (Request, error) {
	state, err := d.o.Ledger.State(entityPrefix + id)
	if err != nil {
		return Request{}, err
	}
	return RequestOf(state)
}

// Get gives the request whose ID begins so. Errors satisfy ErrNotFound or
// ErrAmbiguous, or are the ledger's.
func (d *Desk) Get(prefix string) (Request, error) {
	id := ""
	ambiguous := false
	err := d.o.View.each("", func(r *Request) bool {
		if !strings.HasPrefix(r.ID, strings.ToUpper(prefix)) {
			return true
		}
		ambiguous = id != ""
		id = r.ID
		return !ambiguous
	})
	switch {
	case err != nil:
		return Request{}, err
	case ambiguous:
		return Request{}, ErrAmbiguous
	case id == "" || prefix == "":
		return Request{}, ErrNotFound
	}
	return d.get(id)
}

// Query says which requests are wanted.
type Query struct {
	State  State  // empty: all
	Before string // requests older than the one with this ID
	Limit  int    // required
}

// List gives requests, the newest first, and whether there are more.
func (d *Desk) List(q Query) (all []Request, more bool, err error) {
	err = d.o.View.each(q.Before, func(r *Request) bool {
		if q.State != "" && r.State != q.State {
			return true
		}
		if more = len(all) == q.Limit; more {
			return false
		}
		all = append(all, *r)
		return true
	})
	return all, more, err
}
