package api

import (
	"encoding/json"
	"time"
)

// None is the input of an operation that takes nothing.
type None struct{}

// Status says how the daemon is.
type Status struct {
	Version    string           `json:"version" doc:"of the daemon"`
	Node       string           `json:"node,omitempty" doc:"ID of this node; empty while the stores are not open"`
	Ready      bool             `json:"ready" doc:"mail is judged; the state is ready"`
	State      string           `json:"state" enum:"starting ready stopping" doc:"starting: the stores are being opened, and mail gets the answer of policy.on_error"`
	Started    time.Time        `json:"started"`
	Now        time.Time        `json:"now" doc:"the daemon's clock"`
	Mode       string           `json:"mode" enum:"enforce observe"`
	ConfigFile string           `json:"config_file,omitempty"`
	Policy     string           `json:"policy,omitempty" doc:"the file that the rules come from"`
	Milter     MilterStatus     `json:"milter"`
	Lists      ListsStatus      `json:"lists"`
	Feeds      FeedsStatus      `json:"feeds"`
	Contained  ContainedStatus  `json:"contained"`
	Share      ShareStatus      `json:"share"`
	Quarantine QuarantineStatus `json:"quarantine"`
	Journal    JournalStatus    `json:"journal"`
	Deliveries DeliveryStatus   `json:"deliveries"`
	Incidents  IncidentsStatus  `json:"incidents"`
	Hunt       HuntStatus       `json:"hunt"`
	Disk       DiskStatus       `json:"disk"`
	LedgerHead string           `json:"ledger_head,omitempty" doc:"names the ledger's last record; keep it elsewhere for audit verify"`
	Trouble    []Trouble        `json:"trouble" doc:"what a person has to look at"`
	Caller     Caller           `json:"caller" doc:"who is asking"`
}

// MilterStatus says how the daemon serves the MTA.
type MilterStatus struct {
	Listen   []string `json:"listen" doc:"the sockets"`
	Sessions int      `json:"sessions" doc:"connections of the MTA now"`
}

// ListsStatus sums up the lists.
type ListsStatus struct {
	Generation uint64 `json:"generation" doc:"in force"`
	Lists      int    `json:"lists" doc:"in force"`
	Entries    int    `json:"entries" doc:"in all of them"`
	Refused    int    `json:"refused" doc:"list files of which an earlier version or nothing is in force"`
}

// FeedsStatus sums up the feeds.
type FeedsStatus struct {
	Feeds   int `json:"feeds"`
	Entries int `json:"entries" doc:"in force, of all of them"`
	Failing int `json:"failing" doc:"feeds that could not be refreshed, or wait for a person"`
}

// ContainedStatus sums up the containments in force.
type ContainedStatus struct {
	Users   int       `json:"users"`
	Clients int       `json:"clients" doc:"addresses and ranges"`
	Next    time.Time `json:"next,omitzero" doc:"when the next of them ends"`
}

// ShareStatus says what is published to peers, and who reads it.
type ShareStatus struct {
	Listen    string      `json:"listen,omitempty" doc:"where peers read; absent: nothing is shared"`
	Published int         `json:"published" doc:"indicators that peers are told to count"`
	Revoked   int         `json:"revoked" doc:"that they were told to count no more"`
	Withheld  []Withheld  `json:"withheld" doc:"what is confirmed, or listed for peers, and not published"`
	Peers     []SharePeer `json:"peers" doc:"that have asked since the daemon started"`
}

// Withheld says how many indicators are not published, and why.
type Withheld struct {
	Why   string `json:"why" doc:"ours, TLP, allowed …"`
	Count int    `json:"count"`
}

// SharePeer is who reads what is published.
type SharePeer struct {
	Name     string    `json:"name" doc:"of its token; cert:NAME, the common name of its certificate"`
	Last     time.Time `json:"last" doc:"when it asked last"`
	Requests int       `json:"requests"`
}

// QuarantineStatus says what room held messages take.
type QuarantineStatus struct {
	Bytes    int64 `json:"bytes" doc:"on disk"`
	MaxBytes int64 `json:"max_bytes,omitempty" doc:"what they may take; absent: no bound"`
}

// JournalStatus says how the journal is.
type JournalStatus struct {
	Bytes      int64     `json:"bytes" doc:"of its log on disk"`
	MaxBytes   int64     `json:"max_bytes,omitempty" doc:"what they may be; absent: no bound"`
	Oldest     time.Time `json:"oldest,omitzero" doc:"of the oldest entry that is kept"`
	IndexLag   int64     `json:"index_lag" doc:"bytes of the log that searches do not see yet"`
	IndexError string    `json:"index_error,omitempty" doc:"why the index does not go on"`
}

// IncidentsStatus says what is still to come over all incidents.
type IncidentsStatus struct {
	Unfinished int       `json:"unfinished" doc:"incidents in which something is still to come"`
	Waiting    int       `json:"waiting" doc:"deliveries that wait for a person"`
	Following  int       `json:"following" doc:"deliveries of which the delivery logs may still have news"`
	Ready      int       `json:"ready" doc:"jobs in mailboxes that a sidecar could have"`
	Pausing    int       `json:"pausing" doc:"jobs that are tried again later"`
	Leased     int       `json:"leased" doc:"jobs that a sidecar has"`
	Oldest     time.Time `json:"oldest,omitzero" doc:"since when the first of the ready jobs could have been done"`
	Sidecars   []Sidecar `json:"sidecars" doc:"that were heard of since the daemon started"`
}

// Sidecar is a weir pull that asks for work.
type Sidecar struct {
	Actor  string    `json:"actor" doc:"unix:UID, or cert:NAME"`
	Name   string    `json:"name,omitempty" doc:"of the user, where it has one"`
	Heard  time.Time `json:"heard" doc:"when it asked for work last; now, while it waits for some"`
	Leases int       `json:"leases" doc:"jobs that it has"`
}

// HuntStatus says how far the journal was searched for what the lists newly know.
type HuntStatus struct {
	Generation uint64 `json:"generation" doc:"of the lists; what came up to it was looked up"`
	Passes     int    `json:"passes" doc:"that are at work"`
	Problem    string `json:"problem,omitempty" doc:"why the last try failed; it is tried again"`
}

// DiskStatus says what is free under state.dir.
type DiskStatus struct {
	FreeBytes int64 `json:"free_bytes"`
	MinFree   int64 `json:"min_free" doc:"below it nothing is stored"`
}

// Trouble is something that a person has to look at.
type Trouble struct {
	What  string    `json:"what" doc:"disk, lists, config …"`
	Text  string    `json:"text"`
	Since time.Time `json:"since"`
}

// Caller is who connected.
type Caller struct {
	Actor  string `json:"actor" doc:"as the ledger records it: unix:UID, or cert:NAME"`
	Name   string `json:"name,omitempty" doc:"of the user, where it has one"`
	Role   Role   `json:"role"`
	Puller bool   `json:"puller,omitempty" doc:"the role puller besides"`
}

// Reloaded says what a reload found. What was refused keeps its last good version.
type Reloaded struct {
	OK       bool      `json:"ok" doc:"nothing was refused"`
	Applied  []string  `json:"applied" doc:"configuration keys that changed and hold now"`
	Restart  []string  `json:"restart" doc:"configuration keys that changed and hold after a restart"`
	Problems []Problem `json:"problems" doc:"of configuration, policy, directory and lists"`
	Lists    []List    `json:"lists"`
}

// Config is the configuration in force.
type Config struct {
	Text string `json:"text" doc:"every key with its value, as TOML"`
}

// Policy is the rules in force, in order.
type Policy struct {
	Name  string `json:"name" doc:"the file that they come from"`
	Rules []Rule `json:"rules"`
}

// Rule is one rule.
type Rule struct {
	Name          string `json:"name"`
	When          string `json:"when" doc:"the condition, in CEL"`
	Action        string `json:"action" enum:"accept tag hold discard reject tempfail"`
	Reply         string `json:"reply,omitempty" doc:"what the client is told, of reject and tempfail"`
	SubjectPrefix string `json:"subject_prefix,omitempty" doc:"of tag"`
	Line          int    `json:"line,omitempty" doc:"in the file"`
}

// Document is the OpenAPI document.
type Document json.RawMessage

// MarshalJSON gives it as it is.
func (d Document) MarshalJSON() ([]byte, error) { return d, nil }
