package client

import (
	"context"

	"github.com/weirmail/weir/cmd/internal/control/api"
)

// OpenIncident opens an incident, or in a dry run says what it would pull.
func (c *Client) OpenIncident(ctx context.Context, o api.IncidentOpen) (*api.IncidentOpened, error) {
	return call[api.IncidentOpened](ctx, c, api.OpIncidentOpen, o)
}

// Incidents lists incidents.
func (c *Client) Incidents(ctx context.Context, q api.IncidentQuery) (*api.IncidentPage, error) {
	return call[api.IncidentPage](ctx, c, api.OpIncidents, q)
}

// Incident gives one incident.
func (c *Client) Incident(ctx context.Context, id string) (*api.Incident, error) {
	return call[api.Incident](ctx, c, api.OpIncident, api.IncidentID{ID: id})
}

// IncidentDeliveries lists the copies that an incident is about.
func (c *Client) IncidentDeliveries(ctx context.Context, q api.IncidentDeliveryQuery) (*api.IncidentDeliveries, error) {
	return call[api.IncidentDeliveries](ctx, c, api.OpIncidentDeliveries, q)
}

// IncidentTimeline gives all that was done in an incident.
func (c *Client) IncidentTimeline(ctx context.Context, id string) (*api.IncidentTimeline, error) {
	return call[api.IncidentTimeline](ctx, c, api.OpIncidentTimeline, api.IncidentID{ID: id})
}

// ApproveIncident lets deliveries be pulled that wait for a person.
func (c *Client) ApproveIncident(ctx context.Context, a api.IncidentApprove) (*api.IncidentChanged, error) {
	return call[api.IncidentChanged](ctx, c, api.OpIncidentApprove, a)
}

// NoteIncident adds a note to an incident.
func (c *Client) NoteIncident(ctx context.Context, n api.IncidentNote) (*api.IncidentChanged, error) {
	return call[api.IncidentChanged](ctx, c, api.OpIncidentNote, n)
}

// AssignIncident gives an incident to somebody.
func (c *Client) AssignIncident(ctx context.Context, a api.IncidentAssign) (*api.IncidentChanged, error) {
	return call[api.IncidentChanged](ctx, c, api.OpIncidentAssign, a)
}

// CloseIncident ends an incident.
func (c *Client) CloseIncident(ctx context.Context, i api.IncidentClose) (*api.IncidentChanged, error) {
	return call[api.IncidentChanged](ctx, c, api.OpIncidentClose, i)
}

// RestoreIncident puts what was pulled back into its mailboxes.
func (c *Client) RestoreIncident(ctx context.Context, r api.IncidentRestore) (*api.IncidentChanged, error) {
	return call[api.IncidentChanged](ctx, c, api.OpIncidentRestore, r)
}

// UnblockPlan asks what an unblocking would let through.
func (c *Client) UnblockPlan(ctx context.Context, p api.UnblockPlan) (*api.Unblocking, error) {
	return call[api.Unblocking](ctx, c, api.OpUnblockPlan, p)
}

// Unblock has a value allowed for a time.
func (c *Client) Unblock(ctx context.Context, u api.Unblock) (*api.Unblocked, error) {
	return call[api.Unblocked](ctx, c, api.OpUnblock, u)
}
