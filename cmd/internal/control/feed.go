package control

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel/feed"
	"github.com/weirmail/weir/intel/ledger"
)

// Feeds keeps feeds; *feed.Keeper is one.
type Feeds interface {
	Status() []feed.Status
	Refresh(ctx context.Context, name string) (feed.Status, error)
	Approve(ctx context.Context, name string) (feed.Status, error)
}

func (s *Server) feeds(_ context.Context, _ *call, st *Stores, _ *api.None) (any, error) {
	told := api.Feeds{Feeds: []api.Feed{}}
	for _, f := range st.Feeds.Status() {
		told.Feeds = append(told.Feeds, FeedOf(&f))
	}
	return told, nil
}

func (s *Server) refreshFeed(ctx context.Context, _ *call, st *Stores, in *api.FeedName) (any, error) {
	f, err := st.Feeds.Refresh(ctx, in.Name)
	if f.Name == "" {
		return nil, err
	}
	told := api.FeedRefreshed{Feed: FeedOf(&f)}
	if err != nil {
		told.Error = err.Error()
	}
	return told, nil
}

func (s *Server) approveFeed(ctx context.Context, c *call, st *Stores, in *api.FeedApprove) (any, error) {
	if strings.TrimSpace(in.Reason) == "" {
		return nil, api.Errorf(api.BadRequest, "approving a feed needs a reason")
	}
	f, err := st.Feeds.Approve(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	told := FeedOf(&f)
	data, err := json.Marshal(told)
	if err != nil {
		return nil, err
	}
	command := ledger.Command{ID: "feed/" + st.Identity.NewID(), Entity: feed.SourcePrefix + f.Name, Actor: c.caller.Actor, Reason: in.Reason}
	_, err = st.Ledger.Commit(ctx, command, func(ledger.State) ([]ledger.Event, error) {
		return []ledger.Event{{Type: "feed-approved", Schema: 1, Data: data}}, nil
	})
	return told, err
}

// FeedsStatus sums up the feeds, as the socket tells it.
func FeedsStatus(all []feed.Status) api.FeedsStatus {
	told := api.FeedsStatus{Feeds: len(all)}
	for i := range all {
		told.Entries += all[i].Entries
		if s := feedState(&all[i]); s != "current" && s != "waiting" {
			told.Failing++
		}
	}
	return told
}

// FeedOf gives how a feed is, as the socket tells it.
func FeedOf(f *feed.Status) api.Feed {
	return api.Feed{
		Name: f.Name, From: f.From, State: feedState(f), Entries: f.Entries, Unusable: f.Counted.Unusable, Examples: f.Counted.Examples,
		Fetched: f.Fetched, Checked: f.Checked, Next: f.Next, Error: f.Error, Since: f.Since, Held: f.Held, HeldAt: f.HeldAt,
	}
}

// feedState says in a word what a person has to know first.
func feedState(f *feed.Status) string {
	switch {
	case f.Expired:
		return "expired"
	case f.Held != "":
		return "held"
	case f.Overdue:
		return "overdue"
	case f.Error != "":
		return "failing"
	case f.Fetched.IsZero():
		return "waiting"
	}
	return "current"
}
