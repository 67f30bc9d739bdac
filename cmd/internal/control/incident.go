package control

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/quarantine/blob"
	"github.com/weirmail/weir/quarantine/hunt"
	"github.com/weirmail/weir/quarantine/incident"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// Incidents keeps cases and the work that they make; *incident.Desk is one.
type Incidents interface {
	Open(ctx context.Context, o incident.Opening) (*incident.Incident, error)
	Extend(ctx context.Context, id, actor string, matches []incident.Match) (added int, err error)
	Plan(ctx context.Context, o incident.Opening, matches []incident.Match) ([]incident.Delivery, error)
	Find(prefix string) (string, error)
	Get(id string) (*incident.Incident, error)
	List(ctx context.Context, q incident.Query) (incident.Page, error)
	Deliveries(ctx context.Context, id string, q incident.DeliveryQuery) (incident.DeliveryPage, error)
	Timeline(ctx context.Context, id string, q incident.TimelineQuery) (incident.TimelinePage, error)
	Approve(ctx context.Context, a incident.Approval) (n int, err error)
	Note(ctx context.Context, id, actor, text string) error
	Assign(ctx context.Context, id, owner, actor, reason string) error
	Close(ctx context.Context, id, actor, reason string) error
	Dismiss(ctx context.Context, id, actor, reason string) error
	Restore(ctx context.Context, r incident.Restore) (n int, err error)

	Lease(ctx context.Context, r incident.Request) ([]job.Lease, error)
	Renew(ctx context.Context, actor string, leases []string) (lost []string, err error)
	Keep(ctx context.Context, actor, lease string, c mailbox.Copy, raw []byte) (job.Kept, error)
	Content(ctx context.Context, actor, lease string) (blob.Content, error)
	Report(ctx context.Context, actor, lease string, r job.Result) error
}

// anyState is what a listing of incidents asks for that wants closed ones too.
const anyState = "all"

// IncidentsStatus gives what is still to come, as the socket tells it.
func IncidentsStatus(s incident.Status) api.IncidentsStatus {
	told := api.IncidentsStatus{
		Unfinished: s.Incidents, Waiting: s.Waiting, Following: s.Following, Ready: s.Ready, Pausing: s.Pausing, Leased: s.Leased,
		Oldest: s.Oldest, Sidecars: []api.Sidecar{},
	}
	who := names{}
	for _, c := range s.Sidecars {
		told.Sidecars = append(told.Sidecars, api.Sidecar{Actor: c.Actor, Name: who.of(c.Actor), Heard: c.Heard, Leases: c.Leases})
	}
	return told
}

// HuntStatus gives how far the journal was searched, as the socket tells it.
func HuntStatus(s hunt.Status) api.HuntStatus {
	told := api.HuntStatus{Generation: s.Hunted, Passes: s.Passes}
	if s.Problem != nil {
		told.Problem = s.Problem.Error()
	}
	return told
}

func (s *Server) incidents(ctx context.Context, _ *call, st *Stores, in *api.IncidentQuery) (any, error) {
	if _, ok := ident.ParseID(strings.ToUpper(in.Before)); in.Before != "" && !ok {
		return nil, api.Errorf(api.BadRequest, "before=%.70s is not the ID of an incident", in.Before)
	}
	q := incident.Query{
		Severity: incident.Severity(in.Severity), Owner: in.Owner, Text: in.Text, Since: in.Since, Until: in.Until,
		Before: in.Before, Limit: pageDefault,
	}
	if in.State != anyState {
		q.State = incident.State(in.State)
	}
	most := cmp.Or(in.Limit, pageDefault)
	page := api.IncidentPage{Incidents: []api.Incident{}}
	listed(ctx, st)
	for who := (names{}); ; {
		found, err := st.Incidents.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, i := range found.Incidents {
			q.Before = i.ID
			if in.State == "" && i.State == incident.Closed {
				continue
			}
			if len(page.Incidents) == most {
				page.Next = page.Incidents[most-1].ID
				return page, nil
			}
			page.Incidents = append(page.Incidents, incidentOf(i, who))
		}
		if !found.More {
			return page, nil
		}
	}
}

func (s *Server) incident(ctx context.Context, _ *call, st *Stores, in *api.IncidentID) (any, error) {
	listed(ctx, st)
	return oneIncident(st, in.ID)
}

// oneIncident gives an incident as it is now.
func oneIncident(st *Stores, prefix string) (api.Incident, error) {
	id, err := st.Incidents.Find(prefix)
	if err != nil {
		return api.Incident{}, err
	}
	i, err := st.Incidents.Get(id)
	if err != nil {
		return api.Incident{}, err
	}
	return incidentOf(i, names{}), nil
}

func (s *Server) incidentDeliveries(ctx context.Context, _ *call, st *Stores, in *api.IncidentDeliveryQuery) (any, error) {
	if _, ok := ident.ParseID(strings.ToUpper(in.After)); in.After != "" && !ok {
		return nil, api.Errorf(api.BadRequest, "after=%.70s is not the ID of a delivery", in.After)
	}
	listed(ctx, st)
	i, err := oneIncident(st, in.ID)
	if err != nil {
		return nil, err
	}
	found, err := st.Incidents.Deliveries(ctx, i.ID, incident.DeliveryQuery{
		Outcome: incident.Outcome(in.Outcome), Address: in.Address, Waiting: in.Waiting, After: in.After, Limit: cmp.Or(in.Limit, pageDefault),
	})
	if err != nil {
		return nil, err
	}
	page := api.IncidentDeliveries{Incident: i, Deliveries: deliveriesIn(found.Deliveries)}
	if n := len(page.Deliveries); found.More && n > 0 {
		page.Next = page.Deliveries[n-1].ID
	}
	return page, nil
}

func (s *Server) incidentTimeline(ctx context.Context, _ *call, st *Stores, in *api.IncidentID) (any, error) {
	listed(ctx, st)
	id, err := st.Incidents.Find(in.ID)
	if err != nil {
		return nil, err
	}
	answer, who := api.IncidentTimeline{Actions: []api.IncidentAction{}}, names{}
	for q := (incident.TimelineQuery{Limit: incident.MaxLimit}); ; {
		page, err := st.Incidents.Timeline(ctx, id, q)
		if err != nil {
			return nil, err
		}
		for _, a := range page.Actions {
			q.After = a.ID
			answer.Actions = append(answer.Actions, api.IncidentAction{
				Time: a.Time, Actor: a.Actor, ActorName: who.of(a.Actor), What: a.What, Delivery: a.Delivery, Reason: a.Reason, Detail: a.Detail,
			})
		}
		if !page.More {
			return answer, nil
		}
	}
}

// changeIncident does something to an incident, and gives it as it is then.
func changeIncident(ctx context.Context, st *Stores, prefix string, do func(id string) (int, error)) (any, error) {
	id, err := st.Incidents.Find(prefix)
	if err != nil {
		return nil, err
	}
	n, err := do(id)
	if err != nil {
		return nil, err
	}
	listed(ctx, st)
	i, err := st.Incidents.Get(id)
	if err != nil {
		return nil, err
	}
	return api.IncidentChanged{Incident: incidentOf(i, names{}), Changed: n}, nil
}

func (s *Server) approve(ctx context.Context, c *call, st *Stores, in *api.IncidentApprove) (any, error) {
	return changeIncident(ctx, st, in.ID, func(id string) (int, error) {
		return st.Incidents.Approve(ctx, incident.Approval{Incident: id, Deliveries: upper(in.Deliveries), Actor: c.caller.Actor, Reason: in.Reason})
	})
}

func (s *Server) note(ctx context.Context, c *call, st *Stores, in *api.IncidentNote) (any, error) {
	if strings.TrimSpace(in.Text) == "" {
		return nil, api.Errorf(api.BadRequest, "the note is empty")
	}
	return changeIncident(ctx, st, in.ID, func(id string) (int, error) { return 0, st.Incidents.Note(ctx, id, c.caller.Actor, in.Text) })
}

func (s *Server) assign(ctx context.Context, c *call, st *Stores, in *api.IncidentAssign) (any, error) {
	return changeIncident(ctx, st, in.ID, func(id string) (int, error) {
		return 0, st.Incidents.Assign(ctx, id, in.Owner, c.caller.Actor, in.Reason)
	})
}

func (s *Server) closeIncident(ctx context.Context, c *call, st *Stores, in *api.IncidentClose) (any, error) {
	return changeIncident(ctx, st, in.ID, func(id string) (int, error) {
		if in.FalseAlarm {
			return 0, st.Incidents.Dismiss(ctx, id, c.caller.Actor, in.Reason)
		}
		return 0, st.Incidents.Close(ctx, id, c.caller.Actor, in.Reason)
	})
}

func (s *Server) restore(ctx context.Context, c *call, st *Stores, in *api.IncidentRestore) (any, error) {
	return changeIncident(ctx, st, in.ID, func(id string) (int, error) {
		var items []string
		for _, prefix := range in.Items {
			item, err := st.Quarantine.Find(prefix)
			if err != nil {
				return 0, err
			}
			items = append(items, item)
		}
		return st.Incidents.Restore(ctx, incident.Restore{
			Incident: id, Deliveries: upper(in.Deliveries), Items: items, Actor: c.caller.Actor, Reason: in.Reason, Override: in.Override,
		})
	})
}

func upper(ids []string) []string {
	var all []string
	for _, id := range ids {
		all = append(all, strings.ToUpper(id))
	}
	return all
}

// stillPending gives the outcomes after which a mailbox is still to be looked at.
func stillPending() []incident.Outcome {
	return []incident.Outcome{incident.Pending, incident.InTransit, incident.Unreachable, incident.Restoring}
}

func incidentOf(i *incident.Incident, who names) api.Incident {
	told := api.Incident{
		ID: i.ID, Title: i.Title, Key: i.Key, Severity: string(i.Severity), State: string(i.State), Owner: i.Owner, Actor: i.Actor, ActorName: who.of(i.Actor),
		Reason: i.Reason, Automatic: i.Automatic, Opened: i.Opened, Changed: i.Changed, Messages: i.Messages, Counts: map[string]int{}, Waits: i.Waits,
	}
	for outcome, n := range i.Counts {
		if n != 0 {
			told.Counts[string(outcome)] = n
		}
	}
	for _, o := range stillPending() {
		told.Pending += i.Counts[o]
	}
	return told
}

func deliveriesIn(found []incident.Delivery) []api.IncidentDelivery {
	told := make([]api.IncidentDelivery, len(found))
	for n := range found {
		d := &found[n]
		told[n] = api.IncidentDelivery{
			ID: d.ID, Ref: d.Ref, MessageID: d.MessageID, Subject: d.Subject, Sender: cmp.Or(d.Sender, intel.NullSender().String()), Recipient: d.Recipient,
			Address: d.Address, Through: d.Through, Mailbox: d.Mailbox, Status: string(d.Status), Known: string(d.Known), Chain: []api.IncidentStep{},
			Time: d.Time, Outcome: string(d.Outcome), Detail: d.Detail, Waits: d.Waits, Seen: d.Seen, Answered: d.Answered, Forwarded: d.Forwarded,
			Copies: d.Copies, Items: d.Items, Found: d.Found, Changed: d.Changed,
		}
		for _, step := range d.Chain {
			told[n].Chain = append(told[n].Chain, api.IncidentStep(step))
		}
	}
	return told
}

// lookBack gives the beginning of the time that an incident is about.
func (s *Server) lookBack(since time.Time) time.Time {
	if since.IsZero() {
		return time.Now().Add(-s.limits().LookBack)
	}
	return since
}
