package control

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/wal"
)

// maxScanned bounds the events that are looked at for one page.
const maxScanned = 200_000

func (s *Server) events(ctx context.Context, _ *call, st *Stores, in *api.EventQuery) (any, error) {
	after, err := ledger.ParseCursor(in.After)
	if err != nil {
		return nil, err
	}
	if in.Limit == 0 {
		in.Limit = pageDefault
	}
	if in.Last {
		return lastEvents(ctx, st, in, after)
	}
	return firstEvents(ctx, st, in, after)
}

// firstEvents gives the events behind a cursor, whole records of them.
func firstEvents(ctx context.Context, st *Stores, in *api.EventQuery, after ledger.Cursor) (any, error) {
	page, names := api.EventPage{Events: []api.Event{}}, names{}
	end, scanned := after, 0
	for e, err := range st.Ledger.Events(after) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
		if page.More {
			break // there is one more
		}
		if scanned++; wanted(in, &e) {
			page.Events = append(page.Events, eventOf(&e, names))
		}
		// The cursor moves with the last event of a record. To stop before that
		// would give the record's first events again and again.
		if e.Cursor != end {
			end = e.Cursor
			page.More = len(page.Events) >= in.Limit || scanned >= maxScanned
		}
	}
	last, err := st.Ledger.Last()
	page.Cursor, page.More = end.String(), page.More && end != last
	return page, err
}

// lastEvents gives the newest events. Those of one entity need no search.
func lastEvents(ctx context.Context, st *Stores, in *api.EventQuery, after ledger.Cursor) (any, error) {
	var found []ledger.Event // a ring once it is full
	n := 0
	add := func(e *ledger.Event) {
		if !wanted(in, e) {
			return
		}
		if len(found) < in.Limit {
			found = append(found, *e)
		} else {
			found[n%in.Limit] = *e
		}
		n++
	}
	end, err := st.Ledger.Last()
	if err != nil {
		return nil, err
	}
	if in.Entity != "" && !strings.HasSuffix(in.Entity, "*") && after.IsZero() {
		state, err := st.Ledger.State(in.Entity)
		if err != nil {
			return nil, err
		}
		for i := range state.Events {
			add(&state.Events[i])
		}
	} else {
		for e, err := range st.Ledger.Events(after) {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				return nil, err
			}
			end = e.Cursor
			add(&e)
		}
	}
	page, names := api.EventPage{Events: []api.Event{}, Cursor: end.String()}, names{}
	for i := range found {
		page.Events = append(page.Events, eventOf(&found[(n+i)%len(found)], names))
	}
	return page, nil
}

func wanted(in *api.EventQuery, e *ledger.Event) bool {
	switch {
	case !in.Since.IsZero() && e.Time.Before(in.Since),
		!in.Until.IsZero() && !e.Time.Before(in.Until),
		in.Actor != "" && e.Actor != in.Actor,
		in.Type != "" && e.Type != in.Type:
		return false
	}
	if prefix, ok := strings.CutSuffix(in.Entity, "*"); ok {
		return strings.HasPrefix(e.Entity, prefix)
	}
	return in.Entity == "" || e.Entity == in.Entity
}

// names remembers the user names of one answer.
type names map[string]string

func (n names) of(actor string) string {
	id, ok := strings.CutPrefix(actor, "unix:")
	if !ok {
		return ""
	}
	name, known := n[id]
	if !known {
		if uid, err := strconv.ParseUint(id, 10, 32); err == nil {
			name = userName(uint32(uid))
		}
		n[id] = name
	}
	return name
}

func eventOf(e *ledger.Event, n names) api.Event {
	return api.Event{
		ID: e.ID, Time: e.Time, Type: e.Type, Entity: e.Entity, Version: e.Version, Actor: e.Actor, ActorName: n.of(e.Actor),
		Reason: e.Reason, Data: e.Data, Node: e.Node, Erased: e.Erased,
	}
}

func (s *Server) head(_ context.Context, _ *call, st *Stores, _ *api.None) (any, error) {
	return api.Head{Head: st.Ledger.Head().String()}, nil
}

func (s *Server) verify(ctx context.Context, _ *call, _ *Stores, in *api.Verify) (any, error) {
	if !s.verifying.TryLock() {
		return nil, api.Errorf(api.Busy, "the ledger is being verified already")
	}
	defer s.verifying.Unlock()
	var head *ledger.Head
	if in.Head != "" {
		h, err := ledger.ParseHead(in.Head)
		if err != nil {
			return nil, BadHead(in.Head)
		}
		head = &h
	}
	report, err := s.o.Verify(ctx, head)
	return Verified(report, in.Head, err)
}

// BadHead says that a text names no record of a ledger.
func BadHead(text string) error {
	return &api.Error{Code: api.BadRequest, Text: fmt.Sprintf("%.80q is no head of a ledger", text), Cure: "a head is NUMBER:DIGITS, as weir audit head prints it and the daemon logs it"}
}

// Verified gives what a check of a ledger found as the socket tells it. An error
// that says that the ledger is not in order is an answer; any other is given
// back.
func Verified(r ledger.Report, expected string, err error) (*api.Verified, error) {
	v := &api.Verified{OK: err == nil, Records: r.Records, Events: r.Events, Wiped: r.Wiped, First: r.First, Last: r.Last, Head: r.Head.String(), Expected: expected}
	var offence *ledger.Offence
	if err != nil && !errors.As(err, &offence) && !errors.Is(err, wal.ErrDamaged) {
		return nil, err
	}
	if err != nil {
		v.Offence = err.Error()
	}
	return v, nil
}
