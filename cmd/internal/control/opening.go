package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/quarantine/incident"
)

// Bounds on one opening.
const (
	maxObservables = 1000
	maxMessages    = 50_000 // that are named
	maxFound       = 20_000 // journal entries
	maxTitle       = 200    // bytes of one that is made
)

const typeIncidentPlanned = "incident-planned" // somebody looked at what an incident would pull; plannedData

type plannedData struct {
	Observables []string      `json:"observables,omitempty"`
	Search      *searchedData `json:"search,omitempty"`
	Messages    int           `json:"messages,omitempty"` // that were named
	Found       int           `json:"found"`
}

// opening is an incident on its way to be opened.
type opening struct {
	title   string // where none is given
	matches []incident.Match
	missing []api.MissingMessage
	planned plannedData
}

func (s *Server) openIncident(ctx context.Context, c *call, st *Stores, in *api.IncidentOpen) (any, error) {
	request, err := openingOf(in, c)
	if err != nil {
		return nil, err
	}
	top := st.Journal.Last()
	answer := api.IncidentOpened{Lagging: !caughtUp(ctx, st, top), Deliveries: []api.IncidentDelivery{}}
	o, err := s.gather(ctx, st, in)
	if err != nil {
		return nil, err
	}
	if request.Title == "" {
		request.Title = o.title
	}
	deliveries, err := st.Incidents.Plan(ctx, request, o.matches)
	if err != nil {
		return nil, err
	}
	if deliveries, err = meant(deliveries, o); err != nil {
		return nil, err
	}
	answer.Messages, answer.Deliveries, answer.Missing = len(o.matches), deliveriesIn(deliveries), all(o.missing)
	if in.DryRun {
		o.planned.Found = len(o.matches)
		return answer, record(ctx, st, c, typeIncidentPlanned, o.planned)
	}
	if len(deliveries) == 0 {
		return nil, nothingFound(o)
	}
	return s.open(ctx, st, in, request, o, answer)
}

// openingOf reads what an incident is to be.
func openingOf(in *api.IncidentOpen, c *call) (incident.Opening, error) {
	o := incident.Opening{Title: strings.TrimSpace(in.Title), Severity: incident.Severity(in.Severity), Owner: in.Owner, Actor: c.caller.Actor, Reason: in.Reason}
	if o.Severity == "" {
		o.Severity = incident.Medium
	}
	if !slices.Contains([]incident.Severity{incident.Low, incident.Medium, incident.High, incident.Critical}, o.Severity) {
		return o, api.Errorf(api.BadRequest, "severity %.40q is none of low, medium, high, critical", in.Severity)
	}
	if strings.TrimSpace(in.Reason) == "" {
		return o, incident.ErrReason
	}
	return o, nil
}

// gather finds the messages that an incident is to be about.
func (s *Server) gather(ctx context.Context, st *Stores, in *api.IncidentOpen) (*opening, error) {
	given := 0
	for _, is := range []bool{len(in.Observables) > 0, in.Search != nil, len(in.Messages) > 0} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return nil, api.Errorf(api.BadRequest, "an incident is about observables, or a search, or messages that are named: one of them, not %d", given)
	case len(in.Observables) > maxObservables:
		return nil, api.Errorf(api.BadRequest, "%d observables, and %d are the most", len(in.Observables), maxObservables)
	case len(in.Messages) > maxMessages:
		return nil, api.Errorf(api.BadRequest, "%d messages are named, and %d are the most", len(in.Messages), maxMessages)
	}
	since := s.lookBack(in.Since)
	switch {
	case in.Search != nil:
		if !in.Since.IsZero() || !in.Until.IsZero() {
			return nil, api.Errorf(api.BadRequest, "the time of a search stands in the search")
		}
		return s.gatherSearch(ctx, st, in.Search)
	case len(in.Observables) > 0:
		return gatherObservables(ctx, st, in.Observables, since, in.Until)
	}
	return gatherNamed(ctx, st, in.Messages, since, in.Until)
}

// open opens the incident that was planned.
func (s *Server) open(ctx context.Context, st *Stores, in *api.IncidentOpen, request incident.Opening, o *opening, answer api.IncidentOpened) (any, error) {
	// Half an opening helps nobody, whether or not its caller waits.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), openWithin)
	defer cancel()
	i, err := st.Incidents.Open(ctx, request)
	if err != nil {
		return nil, err
	}
	if answer.Added, err = st.Incidents.Extend(ctx, i.ID, request.Actor, o.matches); err != nil {
		return nil, fmt.Errorf("incident %s is open, and what it is about could not all be added: %w", i.ID, err)
	}
	if in.Pull {
		answer.Approved, err = st.Incidents.Approve(ctx, incident.Approval{Incident: i.ID, Actor: request.Actor, Reason: in.Reason})
		switch {
		case errors.Is(err, incident.ErrSecondPerson):
			answer.Second = err.Error()
		case err != nil && !errors.Is(err, incident.ErrNothing):
			return nil, fmt.Errorf("incident %s is open, and could not be approved: %w", i.ID, err)
		}
	}
	listed(ctx, st)
	now, err := oneIncident(st, i.ID)
	answer.Incident = &now
	return answer, err
}

// openWithin bounds the opening of an incident once all is found.
const openWithin = 5 * time.Minute

// meant makes sure that nothing is planned but what was named, and takes note of
// what was named and is not there.
func meant(deliveries []incident.Delivery, o *opening) ([]incident.Delivery, error) {
	restricted := map[string]*incident.Match{} // by entry
	for n := range o.matches {
		if m := &o.matches[n]; len(m.Only) > 0 {
			restricted[m.Entry.ID] = m
		}
	}
	there := map[string]bool{}
	for n := range deliveries {
		d := &deliveries[n]
		m := restricted[d.Ref]
		if m == nil {
			continue
		}
		was := false
		for _, address := range m.Only {
			if strings.EqualFold(address, d.Recipient) || strings.EqualFold(address, d.Address) {
				there[m.Entry.MessageID+" "+strings.ToLower(address)], was = true, true
			}
		}
		if !was {
			return nil, api.Errorf(api.Failed, "the copy of %s for %s would be pulled, which was not named", d.MessageID, d.Address)
		}
	}
	for n := range o.matches {
		m := &o.matches[n]
		for _, address := range m.Only {
			key := m.Entry.MessageID + " " + strings.ToLower(address)
			if !there[key] {
				there[key] = true // of several entries with this Message-ID once
				o.missing = append(o.missing, api.MissingMessage{MessageID: m.Entry.MessageID, Recipient: address, Why: "no copy of it went there"})
			}
		}
	}
	return deliveries, nil
}

func nothingFound(o *opening) error {
	switch {
	case len(o.matches) > 0:
		return api.Errorf(api.NotFound, "the journal has %d such messages, and no copy of one that is not dealt with already; no incident was opened", len(o.matches))
	case len(o.missing) > 0:
		return api.Errorf(api.NotFound, "none of the messages is in the journal; no incident was opened")
	}
	return &api.Error{Code: api.NotFound, Text: "the journal has no such message; no incident was opened", Cure: "weir journal search shows what it has; --since looks further back"}
}

// lean gives an entry without what takes room and says nothing about its copies.
func lean(e *journal.Entry) *journal.Entry {
	l := *e
	l.Observables, l.Parts, l.Hits = nil, nil, nil
	return &l
}

// tooMany says that what was asked for is more than an incident can be about.
func tooMany() error {
	return &api.Error{Code: api.BadRequest, Text: fmt.Sprintf("more than %d messages fit; no incident was opened", maxFound), Cure: "narrow it down, or look at a shorter time"}
}

// titled makes a title of what was looked for.
func titled(what []string) string {
	title := strings.ToValidUTF8(what[0], "\uFFFD")
	if len(title) > maxTitle {
		title = strings.ToValidUTF8(title[:maxTitle], "") + "…"
	}
	if n := len(what) - 1; n > 0 {
		title += fmt.Sprintf(" and %d more", n)
	}
	return title
}
