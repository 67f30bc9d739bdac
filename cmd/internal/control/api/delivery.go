package api

import "time"

// Delivery is one copy of a message that was let through, as far as the delivery
// logs tell.
type Delivery struct {
	Recipient string    `json:"recipient" doc:"of the envelope; empty where the log does not tell for whom it came"`
	Address   string    `json:"address" doc:"final address; of a forwarded copy, whom it went to"`
	Through   string    `json:"through,omitempty" doc:"the alias or list that it came through"`
	Status    string    `json:"status" enum:"unconfirmed in-transit mailbox relayed forwarded bounced expired discarded refused removed" doc:"unconfirmed: no log tells; relayed: handed to another host or program; forwarded: sent on by the user's Sieve script; expired: given up after its time in the queue; refused: never queued, since another filter refused it; removed: taken out of the queue"`
	Mailbox   string    `json:"mailbox,omitempty" doc:"the login whose mailbox it is in"`
	Folder    string    `json:"folder,omitempty"`
	Relay     string    `json:"relay,omitempty" doc:"host or service that took it"`
	DSN       string    `json:"dsn,omitempty" doc:"enhanced status code, RFC 3463"`
	Reply     string    `json:"reply,omitempty" doc:"what the other side said, or the reason"`
	QueueID   string    `json:"queue_id,omitempty" doc:"in the MTA's log"`
	Parent    string    `json:"parent,omitempty" doc:"the queue ID that it came from; absent: queue_id is the entry's own"`
	Time      time.Time `json:"time" doc:"of the line that tells; of the entry when none does"`
	Known     string    `json:"known" enum:"envelope queue-id session message-id queued-as redirect" doc:"how it was joined to the entry; envelope: no line tells of this recipient"`
}

// DeliveryStatus says how the delivery logs are read.
type DeliveryStatus struct {
	Logs     []DeliveryLog `json:"logs" doc:"none: only envelopes are known"`
	Unjoined uint64        `json:"unjoined" doc:"copies since the start that belong to no entry, or to more than one"`
	Latest   []Unjoined    `json:"latest_unjoined,omitempty" doc:"the last 100 of them, the newest first"`
}

// DeliveryLog says how one log is read.
type DeliveryLog struct {
	Name    string    `json:"name" doc:"as in delivery.logs"`
	Lines   uint64    `json:"lines" doc:"read since the start"`
	Events  uint64    `json:"events" doc:"that they told"`
	Gaps    uint64    `json:"gaps" doc:"times that it was rotated out of sight, so that lines may be missing"`
	Last    time.Time `json:"last,omitzero" doc:"of the newest event"`
	Problem string    `json:"problem,omitempty" doc:"why it cannot be read"`
}

// Unjoined is a copy that could not be joined to a journal entry.
type Unjoined struct {
	QueueID   string    `json:"queue_id"`
	MessageID string    `json:"message_id,omitempty"`
	Address   string    `json:"address"`
	Time      time.Time `json:"time"`
	Why       string    `json:"why" enum:"none ambiguous" doc:"none: the journal has nothing of it; ambiguous: several entries have its Message-ID"`
}
