package client

import (
	"context"

	"github.com/weirmail/weir/cmd/internal/control/api"
)

// Shared lists what is published to peers.
func (c *Client) Shared(ctx context.Context, q api.SharedQuery) (*api.SharedPage, error) {
	return call[api.SharedPage](ctx, c, api.OpShared, q)
}

// Withheld lists what is not published to peers, though something speaks for it.
func (c *Client) Withheld(ctx context.Context, q api.WithheldQuery) (*api.WithheldPage, error) {
	return call[api.WithheldPage](ctx, c, api.OpWithheld, q)
}
