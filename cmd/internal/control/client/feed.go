package client

import (
	"context"

	"github.com/weirmail/weir/cmd/internal/control/api"
)

// Feeds lists the feeds.
func (c *Client) Feeds(ctx context.Context) (*api.Feeds, error) {
	return call[api.Feeds](ctx, c, api.OpFeeds, api.None{})
}

// RefreshFeed refreshes a feed now.
func (c *Client) RefreshFeed(ctx context.Context, name string) (*api.FeedRefreshed, error) {
	return call[api.FeedRefreshed](ctx, c, api.OpFeedRefresh, api.FeedName{Name: name})
}

// ApproveFeed lets a feed count that was held.
func (c *Client) ApproveFeed(ctx context.Context, a api.FeedApprove) (*api.Feed, error) {
	return call[api.Feed](ctx, c, api.OpFeedApprove, a)
}
