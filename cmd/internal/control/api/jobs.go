package api

import (
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// Bounds on the work in mailboxes.
const (
	MaxLeases    = 256     // of one request
	MaxLeaseWait = 60      // seconds
	MaxTogether  = 32      // copies, or reports, of one request
	MaxReports   = 8 << 20 // bytes of a request with reports
	MaxCopies    = 2 << 20 // bytes of a request with copies; one copy alone may be larger
	MaxCopyName  = 1 << 20 // bytes of what is said of a copy before its bytes
)

// CopiesType is the media type of copies that are handed over, 1 to MaxTogether: of
// each one line of JSON (Handed), a line feed, and its bytes, as many as that line says.
const CopiesType = "application/vnd.weir.copies"

// Handed says what copy follows.
type Handed struct {
	Lease string       `json:"lease" doc:"the lease's ID"`
	Copy  mailbox.Copy `json:"copy" doc:"how it stood"`
	Bytes int64        `json:"bytes" doc:"how many follow"`
}

// Keeping says what came of copies that were handed over.
type Keeping struct {
	Copies []KeptCopy `json:"copies" doc:"what came of each, in the order in which they were handed over"`
}

// KeptCopy is what came of one copy.
type KeptCopy struct {
	Kept  *job.Kept `json:"kept,omitempty" doc:"the item that it is: its bytes and record are durable"`
	Error *Error    `json:"error,omitempty" doc:"why it is not kept; then it stays where it is"`
}

// Lease asks for work.
type Lease struct {
	Max  int `json:"max" min:"1" max:"256" doc:"at most so many jobs"`
	Wait int `json:"wait,omitempty" min:"0" max:"60" doc:"seconds to wait while there are none"`
}

// Leases are jobs that the caller has for a time.
type Leases struct {
	Leases []job.Lease `json:"leases"`
}

// Renew asks for more time.
type Renew struct {
	Leases []string `json:"leases" doc:"their IDs; 256 at most"`
}

// Renewed says which leases could not be renewed.
type Renewed struct {
	Lost []string `json:"lost" doc:"they have run out, or were never the caller's: stop working on them"`
}

// LeaseID names a lease.
type LeaseID struct {
	Lease string `path:"lease" doc:"the lease's ID"`
}

// Reports say what became of jobs.
type Reports struct {
	Reports []Report `json:"reports" doc:"1 to 32"`
}

// Report says what became of a job.
type Report struct {
	Lease  string     `json:"lease" doc:"the lease's ID"`
	Result job.Result `json:"result" doc:"what became of the job"`
}

// Reported says which reports were taken.
type Reported struct {
	Jobs []ReportedJob `json:"jobs" doc:"what came of each report, in the order in which they were given"`
}

// ReportedJob is what came of one report.
type ReportedJob struct {
	Error *Error `json:"error,omitempty" doc:"why it was not taken; without, the lease has ended"`
}
