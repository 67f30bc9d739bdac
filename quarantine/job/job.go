// Package job is what the daemon and the sidecar share: a piece of work in one
// mailbox, the lease under which it is done, and what became of it. It is plain
// data with a stable JSON form, which travels over the control socket.
//
// A job is idempotent. It may be leased again after a crash at any step, and
// carries what was done of it before; whoever does it looks at the mailbox and
// not at his memory.
package job

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// Kind says what is to be done.
type Kind string

// The kinds of jobs.
const (
	Pull    Kind = "pull"    // take every verified copy out of the mailbox
	Restore Kind = "restore" // put one copy back
)

// Job is work in one mailbox.
type Job struct {
	ID        string `json:"id"`   // of the delivery that is pulled, or of the restore; stable
	Kind      Kind   `json:"kind"` //
	Incident  string `json:"incident"`
	Mailbox   string `json:"mailbox"`   // login of the mailbox's owner
	Recipient string `json:"recipient"` // final address, for people

	// Target is the message to pull.
	Target Target `json:"target,omitzero"`
	// Approved are fingerprints that a person accepted besides the target's own: a
	// copy that bears the target's name and has one of them is pulled too.
	Approved []Digest `json:"approved,omitempty"`
	// Sent says that copies in folders for sent mail go too.
	Sent bool `json:"sent,omitempty"`
	// Kept are the copies whose bytes the daemon has got under an earlier lease of
	// this job. They are durable: one that still stands in the mailbox is removed
	// without being uploaded again.
	Kept []Kept `json:"kept,omitempty"`

	// Item is what a restore puts back.
	Item Kept `json:"item,omitzero"`
	// Besides are copies of the same bytes that were restored to the same mailbox
	// in their own right; see mailbox.Return.
	Besides []mailbox.Copy `json:"besides,omitempty"`
}

// Target says which message is pulled; see mailbox.Target.
type Target struct {
	WeirID    string    `json:"weir_id,omitempty"`    // the part before the first dot
	MessageID string    `json:"message_id,omitempty"` // without angle brackets
	Body      Digest    `json:"body"`                 // fingerprint of the content
	Size      int64     `json:"size,omitempty"`       // bytes; 0: unknown
	Around    time.Time `json:"around,omitzero"`      // when it was delivered
}

// Kept is a copy whose bytes are durable in quarantine.
type Kept struct {
	Item   string       `json:"item"` // ID of the quarantine item
	Copy   mailbox.Copy `json:"copy"`
	Bytes  int64        `json:"bytes"`
	SHA256 Digest       `json:"sha256"` // of the bytes as they were fetched
}

// Lease is a job that one sidecar has for a time. The pulls of one mailbox may be
// leased together; then they stand next to each other in the answer, the newest
// message first. Nothing else in that mailbox is given, to that sidecar or another,
// until each of them was reported or has run out. A restore is leased alone.
type Lease struct {
	ID    string    `json:"id"`
	Job   Job       `json:"job"`
	Until time.Time `json:"until"`
}

// Outcome says what became of a job.
type Outcome string

// The outcomes that a sidecar reports.
const (
	Pulled         Outcome = "pulled"          // every verified copy is out, and the mailbox was looked at again
	AlreadyGone    Outcome = "already-gone"    // a copy was found and its user took it away before it was removed
	NotFound       Outcome = "not-found"       // no copy, after the whole mailbox was searched
	MailboxMissing Outcome = "mailbox-missing" // there is no such mailbox
	Unreachable    Outcome = "unreachable"     // the mail store does not answer; worth a try later
	Differs        Outcome = "differs"         // what bears the name has another content, or is a sent copy: a person decides
	Failed         Outcome = "failed"          // for another reason, which Detail says; nothing was lost
	Restored       Outcome = "restored"        // it stands in the mailbox again, and was compared
)

// Outcomes lists all of them.
func Outcomes() []Outcome {
	return []Outcome{Pulled, AlreadyGone, NotFound, MailboxMissing, Unreachable, Differs, Failed, Restored}
}

// Temporary reports whether the job is to be tried again later by itself.
func (o Outcome) Temporary() bool { return o == Unreachable }

// Result is what a sidecar reports of a job. All text in it is a stranger's.
type Result struct {
	Outcome Outcome `json:"outcome"`
	Detail  string  `json:"detail,omitempty"`  // why; what the mail store said
	Copies  []Copy  `json:"copies,omitempty"`  // that were looked at
	Folder  string  `json:"folder,omitempty"`  // of a restore: where it stands now
	Existed bool    `json:"existed,omitempty"` // of a restore: it stood there before
	// Placed is the copy that a restore made.
	Placed mailbox.Copy `json:"placed,omitzero"`
}

// Fate says what became of one copy.
type Fate string

// What can become of a copy.
const (
	Removed Fate = "removed"      // copied, compared, taken out, looked at again
	Gone    Fate = "already-gone" // its user took it away first
	Differ  Fate = "differs"      // another content; left where it is
	InSent  Fate = "sent"         // in a folder for sent mail; left where it is
	Left    Fate = "left"         // for the reason that Detail says; left where it is
)

// Copy is a copy that was looked at, as it stood.
type Copy struct {
	Copy   mailbox.Copy `json:"copy"`
	Fate   Fate         `json:"fate"`
	Body   Digest       `json:"body,omitzero"` // fingerprint of its content, where it was read
	Item   string       `json:"item,omitempty"`
	Detail string       `json:"detail,omitempty"`
}

// Digest is a SHA-256, written as 64 hexadecimal digits.
type Digest [32]byte

// String gives d in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// IsZero reports whether d is not set.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(d) {
		return fmt.Errorf("%.80q is no SHA-256: 64 hexadecimal digits", text)
	}
	copy(d[:], raw)
	return nil
}

// Mailbox gives what a Backend is asked for. With content, the whole mailbox may
// be read for it.
func (t *Target) Mailbox(content bool) mailbox.Target {
	m := mailbox.Target{WeirID: t.WeirID, MessageID: t.MessageID, Size: t.Size, Around: t.Around}
	if content {
		m.Body = t.Body
	}
	return m
}
