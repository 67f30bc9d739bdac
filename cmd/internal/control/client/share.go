package client

import (
	"context"

	"github.com/weirmail/weir/cmd/internal/control/api"
)

// Shared lists what is published to peers.
func (c *Client) Shared(ctx context.Context, q api.SharedQuery) (*api.SharedPage, error) {
	return call[api.SharedPage](ctx, c, api.OpShared, q)
}
