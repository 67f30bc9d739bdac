package client

import (
	"context"
	"io"

	"github.com/weirmail/weir/cmd/internal/control/api"
)

// Contain stops what a user or a client of ours sends, for a time.
func (c *Client) Contain(ctx context.Context, in api.Contain) (*api.Contained, error) {
	return call[api.Contained](ctx, c, api.OpContain, in)
}

// Containments lists who is contained.
func (c *Client) Containments(ctx context.Context) (*api.Containments, error) {
	return call[api.Containments](ctx, c, api.OpContained, api.None{})
}

// LiftContainment ends a containment before its time and gives it as it was.
func (c *Client) LiftContainment(ctx context.Context, in api.ContainLift) (*api.Containment, error) {
	return call[api.Containment](ctx, c, api.OpContainLift, in)
}

// ExportContained writes who is contained to w, in a form for other programs.
func (c *Client) ExportContained(ctx context.Context, in api.ContainExport, w io.Writer) error {
	_, err := c.stream(ctx, api.OpContainExport, in, w)
	return err
}
