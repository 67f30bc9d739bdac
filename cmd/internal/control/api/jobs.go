package api

import "github.com/weirmail/weir/quarantine/job"

// Bounds on the work in mailboxes.
const (
	MaxLeases    = 256     // of one request
	MaxLeaseWait = 60      // seconds
	MaxReport    = 8 << 20 // bytes of a report
	MaxCopyName  = 1 << 20 // bytes of what is said of a copy before its bytes
)

// CopyType is the media type of a copy that is handed over: one line of JSON that
// says how it stood (mailbox.Copy), a line feed, and its bytes.
const CopyType = "application/vnd.weir.copy"

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

// Report says what became of a job.
type Report struct {
	Lease  string     `path:"lease" json:"-" doc:"the lease's ID"`
	Result job.Result `json:"result" doc:"what became of the job"`
}
