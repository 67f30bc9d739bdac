package api

import "time"

// Feeds are the feeds of the configuration.
type Feeds struct {
	Feeds []Feed `json:"feeds"`
}

// Feed is how a feed is.
type Feed struct {
	Name     string    `json:"name"`
	From     string    `json:"from" doc:"URL without its query, or file"`
	State    string    `json:"state" enum:"current waiting failing overdue expired held" doc:"waiting: nothing was fetched yet; failing: the last refresh failed, and what was fetched before counts; overdue: it has not been refreshed in its time; expired: it was not refreshed for so long that it counts no more; held: something newer differs so much that a person has to approve it"`
	Entries  int       `json:"entries" doc:"in force"`
	Unusable int       `json:"unusable,omitempty" doc:"lines, objects or patterns that were passed over"`
	Examples []string  `json:"examples,omitempty" doc:"some of them, each with its place and why"`
	Fetched  time.Time `json:"fetched,omitzero" doc:"when what is in force was fetched"`
	Checked  time.Time `json:"checked,omitzero" doc:"when its source last said what it has, new or not"`
	Next     time.Time `json:"next,omitzero" doc:"when it is refreshed again"`
	Error    string    `json:"error,omitempty" doc:"why the last refresh failed"`
	Since    time.Time `json:"since,omitzero" doc:"since when refreshes fail"`
	Held     string    `json:"held,omitempty" doc:"why something newer waits for a person"`
	HeldAt   time.Time `json:"held_at,omitzero" doc:"when that was fetched"`
}

// FeedName names a feed.
type FeedName struct {
	Name string `path:"name" doc:"of the feed"`
}

// FeedRefreshed says what came of a refresh that somebody asked for.
type FeedRefreshed struct {
	Feed  Feed   `json:"feed"`
	Error string `json:"error,omitempty" doc:"why it failed"`
}

// FeedApprove lets a feed count that was held.
type FeedApprove struct {
	Name   string `path:"name" json:"-" doc:"of the feed"`
	Reason string `json:"reason" required:"" doc:"for the ledger"`
}
