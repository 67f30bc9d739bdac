// Package pull is the sidecar's loop: it leases jobs of any number of daemons,
// takes mail out of mailboxes or puts it back, and reports what became of it.
//
// It owns the order of a pull: find, fetch, compare, upload, and only when the
// daemon has said that the bytes are durable, and named their digest, remove; then
// look again until a search finds nothing more. What is no match by its content
// stays where it is. It knows no store, and no mailbox server: mailboxes come from
// package mailbox, jobs from whatever fills in Jobs.
//
// # What may go wrong
//
// Everything here can be cut off at any moment. What was uploaded is told with the
// next lease of the job, whose holder looks at the mailbox and not at his memory.
// Who has lost a lease, or cannot know that he still has it, begins nothing more.
// A lease that is given up is not reported: it runs out.
//
// # One mailbox at a time
//
// Nobody else works in a mailbox, whichever daemon sends him: what waits for its
// turn keeps its lease. The pulls of one mailbox that a daemon leases at once are
// done at once, since every command costs a mail server about the same for many
// messages as for one: they share each search, and each removal is of all that is
// durable by then. A daemon too is given copies and reports together, and says of
// each what came of it. Each job ends by itself, and one that fails leaves the others
// alone. If two of them mean the same copy, the first takes it.
//
// A Store has a number of connections that are open at once. A connection stays
// with a mailbox for the next job, and for a moment after the last.
//
// A Store that does not answer is left alone for a while that grows (a
// quarter of a second to a minute): one login is tried at its end, and nobody else
// logs in meanwhile, since mail servers punish clients that try without end. Jobs
// that cannot wait so long are reported as unreachable.
package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// ErrLease says that a lease is lost: it has run out, or the job was taken back.
var ErrLease = errors.New("the lease is lost")

// Jobs is where work comes from: a daemon. Its methods may be called at the same
// time. Their errors satisfy ErrLease, where a lease is lost, or else are taken for
// temporary.
type Jobs interface {
	// Lease gives at most max jobs. Where there are none it waits for them, at most
	// so long, and then gives none.
	Lease(ctx context.Context, max int, wait time.Duration) ([]job.Lease, error)
	// Renew makes leases hold as long again as they did at first, and gives those
	// that are lost.
	Renew(ctx context.Context, leases []string) (lost []string, err error)
	// Keep takes the bytes of copies, MaxTogether at most. When it returns, those are
	// durable whose answer, in the same place, has no error. They may be given again.
	Keep(ctx context.Context, copies []Upload) []Stored
	// Content writes the bytes that a restore puts back.
	Content(ctx context.Context, lease string, w io.Writer) error
	// Report ends leases, MaxTogether at most: those whose error, in the same place, is
	// nil. They may be reported again.
	Report(ctx context.Context, reports []Report) []error
}

// MaxTogether is how many copies, or reports, a daemon is given at once at most.
const MaxTogether = 32

// Upload is a copy whose bytes are to be kept.
type Upload struct {
	Lease string
	Copy  mailbox.Copy
	Raw   []byte
}

// Stored is what came of an Upload. An error that satisfies mailbox.ErrTooLarge is
// for good.
type Stored struct {
	Kept job.Kept
	Err  error
}

// Report is what became of the job of a lease.
type Report struct {
	Lease  string
	Result job.Result
}

// Daemon is one daemon that has jobs.
type Daemon struct {
	Name string // for people; required, and unique
	Jobs Jobs   // required
	// Leases is how many jobs are leased at once; default 256. This is best several
	// times the connections of the stores: a mailbox's jobs are cheaper together.
	Leases int
}

// Store is where mailboxes are.
type Store struct {
	Name    string          // for people; required, and unique
	Backend mailbox.Backend // required
	// Serves reports whether a login's mailbox is here. nil: every one.
	Serves func(login string) bool
	// Connections is how many mailboxes are open at once; default 16.
	Connections int
}

// Options says what a Puller works with. Daemons and Stores are needed.
type Options struct {
	Daemons []Daemon
	// Stores are asked in their order: the first that serves a mailbox has it.
	Stores []Store

	// Memory bounds the bytes of messages that are held at once, over all jobs; a
	// larger message is held alone. Reading one takes about as much again. Default
	// 256 MiB.
	Memory int64
	// JobTimeout is how long one job may take; default 30 minutes.
	JobTimeout time.Duration
	// Drain is how long jobs may go on after Run's context has ended: each ends the
	// step that it is at. Default 20 s.
	Drain time.Duration
	// Linger is how long a connection stays open after a job; default 2 s. Negative: not
	// at all.
	Linger time.Duration
	// Wait is how long a daemon is asked to wait for jobs; default 30 s.
	Wait time.Duration
	// Patience is how long a job waits for a mail store, or a daemon, that does not
	// answer; default 5 s.
	Patience time.Duration

	Log     *zap.Logger           // nil: none
	Metrics prometheus.Registerer // nil: none
}

// Defaults of Options.
const (
	DefaultLeases      = 256
	DefaultConnections = 16
	DefaultMemory      = 256 << 20
	DefaultJobTimeout  = 30 * time.Minute
	DefaultDrain       = 20 * time.Second
	DefaultLinger      = 2 * time.Second
	DefaultWait        = 30 * time.Second
	DefaultPatience    = 5 * time.Second
)

func orDefault[T int | int64 | time.Duration](v *T, fallback T) {
	if *v == 0 {
		*v = fallback
	}
}

// complete checks o and gives it with its defaults.
func (o Options) complete() (Options, error) {
	if len(o.Daemons) == 0 || len(o.Stores) == 0 {
		return o, errors.New("pull: a daemon and a store are needed")
	}
	names := map[string]bool{}
	for i, d := range o.Daemons {
		if d.Jobs == nil || d.Name == "" || names[d.Name] || d.Leases < 0 {
			return o, fmt.Errorf("pull: daemon %d (%q) has no Jobs, no name, another's name or a negative number of leases", i, d.Name)
		}
		names[d.Name] = true
	}
	clear(names)
	for i, s := range o.Stores {
		if s.Backend == nil || s.Name == "" || names[s.Name] || s.Connections < 0 {
			return o, fmt.Errorf("pull: store %d (%q) has no Backend, no name, another's name or a negative number of connections", i, s.Name)
		}
		names[s.Name] = true
	}
	if o.Memory < 0 || o.JobTimeout < 0 || o.Drain < 0 || o.Wait < 0 || o.Patience < 0 {
		return o, fmt.Errorf("pull: a limit is negative: %d bytes, %s, %s, %s, %s", o.Memory, o.JobTimeout, o.Drain, o.Wait, o.Patience)
	}
	orDefault(&o.Memory, DefaultMemory)
	orDefault(&o.JobTimeout, DefaultJobTimeout)
	orDefault(&o.Drain, DefaultDrain)
	orDefault(&o.Linger, DefaultLinger)
	orDefault(&o.Wait, DefaultWait)
	orDefault(&o.Patience, DefaultPatience)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o, nil
}

// Puller does the work of a sidecar.
type Puller struct {
	o       Options
	daemons []*daemon
	servers []*server
	room    *room
	parser  *message.Parser
	metrics *metrics
}

// New gives a Puller. It connects to nothing.
func New(o Options) (*Puller, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	p := &Puller{o: o, room: newRoom(o.Memory), parser: mailbox.NewParser(), metrics: m}
	for _, d := range o.Daemons {
		orDefault(&d.Leases, DefaultLeases)
		p.daemons = append(p.daemons, newDaemon(p, d))
	}
	for _, s := range o.Stores {
		orDefault(&s.Connections, DefaultConnections)
		p.servers = append(p.servers, newServer(p, s))
	}
	return p, nil
}

// server gives the one that has a mailbox.
func (p *Puller) server(login string) (*server, bool) {
	for _, s := range p.servers {
		if s.Serves == nil || s.Serves(login) {
			return s, true
		}
	}
	return nil, false
}

// Run works until the context ends. Then it leases nothing more, lets every job
// end the step that it is at, and returns at the latest after Options.Drain and
// the moment that giving up takes. It may be called once.
func (p *Puller) Run(ctx context.Context) error {
	work, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(p.o.Drain, func() { cut(errStopping) })
	})()
	done := make(chan struct{})
	for _, d := range p.daemons {
		go func() {
			defer func() { done <- struct{}{} }()
			d.run(ctx, work)
		}()
	}
	for range p.daemons {
		<-done
	}
	for _, s := range p.servers {
		s.close()
	}
	return nil
}

// errStopping says that the sidecar ends.
var errStopping = errors.New("the sidecar is stopping")

// mailboxKey names a mailbox in a store. Stores differ in whether case counts;
// that two logins may be one mailbox is enough to do one after the other.
func mailboxKey(login string) string { return strings.ToLower(login) }
