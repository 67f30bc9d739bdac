package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/weirmail/weir/cmd/internal/control/api"
)

// IntelAdd has entries written into an operators' list.
func (c *Client) IntelAdd(ctx context.Context, a api.IntelAdd) (*api.IntelChanged, error) {
	return call[api.IntelChanged](ctx, c, api.OpIntelAdd, a)
}

// IntelRemove has a value taken out of the operators' lists.
func (c *Client) IntelRemove(ctx context.Context, r api.IntelRemove) (*api.IntelChanged, error) {
	return call[api.IntelChanged](ctx, c, api.OpIntelRemove, r)
}

// IntelShow gives all that is known of a value.
func (c *Client) IntelShow(ctx context.Context, v api.IntelValue) (*api.IntelShown, error) {
	return call[api.IntelShown](ctx, c, api.OpIntelShow, v)
}

// IntelSearch finds indicators.
func (c *Client) IntelSearch(ctx context.Context, s api.IntelSearch) (*api.IntelPage, error) {
	return call[api.IntelPage](ctx, c, api.OpIntelSearch, s)
}

// IntelHistory gives what operators did about a value.
func (c *Client) IntelHistory(ctx context.Context, v api.IntelValue) (*api.IntelHistory, error) {
	return call[api.IntelHistory](ctx, c, api.OpIntelHistory, v)
}

// ListUnused gives entries of list files that hit nothing.
func (c *Client) ListUnused(ctx context.Context, u api.ListUnused) (*api.UnusedPage, error) {
	return call[api.UnusedPage](ctx, c, api.OpListUnused, u)
}

// IntelExport writes indicators to w, and says what the format could not say.
func (c *Client) IntelExport(ctx context.Context, e api.IntelExport, w io.Writer) (*api.ExportReport, error) {
	answer, err := c.send(ctx, api.OpIntelExport, e)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if _, err = io.Copy(w, answer.Body); errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%s: the daemon broke off in the middle, and what was written is not complete; its log says why", api.OpIntelExport)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", api.OpIntelExport, err)
	}
	report := &api.ExportReport{}
	if err := json.Unmarshal([]byte(answer.Trailer.Get(api.TrailerExport)), report); err != nil {
		return nil, fmt.Errorf("%s: the answer of %s has no report at its end: %w", api.OpIntelExport, c.socket, err)
	}
	return report, nil
}

// AskUnblock asks for a value to be allowed.
func (c *Client) AskUnblock(ctx context.Context, a api.UnblockAsk) (*api.UnblockAsked, error) {
	return call[api.UnblockAsked](ctx, c, api.OpUnblockAsk, a)
}

// UnblockRequests lists the requests for values to be allowed.
func (c *Client) UnblockRequests(ctx context.Context, q api.UnblockQuery) (*api.UnblockPage, error) {
	return call[api.UnblockPage](ctx, c, api.OpUnblockRequests, q)
}

// UnblockCase gives a request and what speaks for and against it.
func (c *Client) UnblockCase(ctx context.Context, id string) (*api.UnblockCase, error) {
	return call[api.UnblockCase](ctx, c, api.OpUnblockCase, api.UnblockID{ID: id})
}

// ApproveUnblock allows what was asked for.
func (c *Client) ApproveUnblock(ctx context.Context, a api.UnblockApprove) (*api.UnblockApproved, error) {
	return call[api.UnblockApproved](ctx, c, api.OpUnblockApprove, a)
}

// RefuseUnblock refuses a request.
func (c *Client) RefuseUnblock(ctx context.Context, r api.UnblockRefuse) (*api.UnblockRequest, error) {
	return call[api.UnblockRequest](ctx, c, api.OpUnblockRefuse, r)
}
