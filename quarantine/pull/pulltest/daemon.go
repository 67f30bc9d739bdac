// Package pulltest is the suite that package pull has to pass on each kind of
// mailboxes, with a daemon in memory that has jobs as the real one does.
package pulltest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/pull"
)

// Daemon is a daemon in memory: it leases jobs, those of one mailbox one at a time
// or together, and keeps what it is given. Everything in it outlives its sidecars, but leases
// may be forgotten as a restart does.
type Daemon struct {
	// Hold is how long a lease holds; default 10 s.
	Hold time.Duration
	// Together has it lease the pulls of one mailbox together, up to 32 of them, as
	// the real one does.
	Together bool
	// Fault is called before and after each operation, if it is set; with an error
	// the operation fails, after it was done or without.
	Fault func(operation string, done bool) error

	mu      sync.Mutex
	jobs    map[string]*state
	order   []string
	leases  map[string]*held
	items   map[string]kept
	next    int
	changed chan struct{}
	reports int
}

// together is how many pulls of one mailbox are leased at once.
const together = 32

type state struct {
	job    job.Job
	result *job.Result
	tries  int
}

type held struct {
	job   string
	until time.Time
}

type kept struct {
	job.Kept
	raw []byte
}

// NewDaemon makes a daemon without jobs.
func NewDaemon() *Daemon {
	return &Daemon{Hold: 10 * time.Second, jobs: map[string]*state{}, leases: map[string]*held{}, items: map[string]kept{}, changed: make(chan struct{})}
}

// Add gives it a job, which is leased from now on.
func (d *Daemon) Add(j job.Job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.jobs[j.ID] == nil {
		d.order = append(d.order, j.ID)
	}
	d.jobs[j.ID] = &state{job: j}
	d.tell()
}

// Again has a job done once more, with what was kept of it; change may alter it.
func (d *Daemon) Again(id string, change func(*job.Job)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.jobs[id]
	s.result = nil
	if change != nil {
		change(&s.job)
	}
	d.tell()
}

// Withdraw takes a job back: its lease is lost, and it is not leased again.
func (d *Daemon) Withdraw(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for lease, h := range d.leases {
		if h.job == id {
			delete(d.leases, lease)
		}
	}
	d.jobs[id].result = &job.Result{}
}

func (d *Daemon) tell() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// Restart forgets all leases.
func (d *Daemon) Restart() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.leases)
	d.tell()
}

// Result waits for what a job came to.
func (d *Daemon) Result(ctx context.Context, id string) (job.Result, error) {
	for {
		d.mu.Lock()
		s, changed := d.jobs[id], d.changed
		if s.result != nil {
			defer d.mu.Unlock()
			return *s.result, nil
		}
		tries := s.tries
		d.mu.Unlock()
		select {
		case <-ctx.Done():
			return job.Result{}, fmt.Errorf("job %s was leased %d times and not reported: %w", id, tries, ctx.Err())
		case <-changed:
		}
	}
}

// Open counts the jobs that were not reported.
func (d *Daemon) Open() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := 0
	for _, s := range d.jobs {
		if s.result == nil {
			n++
		}
	}
	return n
}

// Leased counts how often a job was leased.
func (d *Daemon) Leased(id string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.jobs[id].tries
}

// Items gives what was kept of a job.
func (d *Daemon) Items(id string) []job.Kept {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.jobs[id].job.Kept)
}

// Raw gives the bytes of an item.
func (d *Daemon) Raw(item string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.items[item].raw
}

// Holds reports whether bytes are kept.
func (d *Daemon) Holds(raw []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range d.items {
		if bytes.Equal(k.raw, raw) {
			return true
		}
	}
	return false
}

func (d *Daemon) fault(operation string, done bool) error {
	if d.Fault == nil {
		return nil
	}
	return d.Fault(operation, done)
}

// Lease implements pull.Jobs.
func (d *Daemon) Lease(ctx context.Context, most int, wait time.Duration) ([]job.Lease, error) {
	if err := d.fault("lease", false); err != nil {
		return nil, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		d.mu.Lock()
		leases, changed := d.lease(most), d.changed
		d.mu.Unlock()
		if len(leases) > 0 {
			return leases, d.fault("lease", true)
		}
		// A lease that runs out tells nobody.
		again := time.NewTimer(20 * time.Millisecond)
		select {
		case <-ctx.Done():
			again.Stop()
			return nil, ctx.Err()
		case <-timer.C:
			again.Stop()
			return nil, nil
		case <-changed:
			again.Stop()
		case <-again.C:
		}
	}
}

func (d *Daemon) lease(most int) []job.Lease {
	now := time.Now()
	maps.DeleteFunc(d.leases, func(_ string, h *held) bool { return !h.until.After(now) })
	busy := map[string]bool{}
	for _, h := range d.leases {
		busy[d.jobs[h.job].job.Mailbox] = true
	}
	var all []job.Lease
	lease := func(s *state, id string) {
		s.tries++
		d.next++
		l := job.Lease{ID: fmt.Sprintf("lease-%d", d.next), Job: s.job, Until: now.Add(d.Hold)}
		l.Job.Kept = slices.Clone(s.job.Kept)
		d.leases[l.ID] = &held{id, l.Until}
		all = append(all, l)
	}
	for i, id := range d.order {
		s := d.jobs[id]
		if len(all) == most {
			break
		}
		if s.result != nil || busy[s.job.Mailbox] {
			continue
		}
		busy[s.job.Mailbox] = true
		lease(s, id)
		most := min(most, len(all)+together-1)
		for _, id := range d.order[i+1:] {
			o := d.jobs[id]
			if !d.Together || s.job.Kind != job.Pull || len(all) == most {
				break
			}
			if o.result == nil && o.job.Kind == job.Pull && o.job.Mailbox == s.job.Mailbox {
				lease(o, id)
			}
		}
	}
	return all
}

// Renew implements pull.Jobs.
func (d *Daemon) Renew(_ context.Context, leases []string) (lost []string, err error) {
	if err := d.fault("renew", false); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range leases {
		if h, err := d.held(id); err != nil {
			lost = append(lost, id)
		} else {
			h.until = time.Now().Add(d.Hold)
		}
	}
	return lost, nil
}

func (d *Daemon) held(lease string) (*held, error) {
	h := d.leases[lease]
	if h == nil || !h.until.After(time.Now()) {
		return nil, fmt.Errorf("%w: %s", pull.ErrLease, lease)
	}
	return h, nil
}

// Keep implements pull.Jobs. A fault at one of the copies fails them all: those before
// it are kept, and nobody hears of it.
func (d *Daemon) Keep(_ context.Context, copies []pull.Upload) []pull.Stored {
	all := make([]pull.Stored, len(copies))
	for i, c := range copies {
		err := d.fault("keep", false)
		if err == nil {
			all[i].Kept, all[i].Err = d.keep(c.Lease, c.Copy, c.Raw)
		}
		if err == nil && all[i].Err == nil {
			err = d.fault("keep", true)
		}
		if err != nil {
			for i := range all {
				all[i] = pull.Stored{Err: err}
			}
			return all
		}
	}
	return all
}

func (d *Daemon) keep(lease string, c mailbox.Copy, raw []byte) (job.Kept, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h, err := d.held(lease)
	if err != nil {
		return job.Kept{}, err
	}
	s := d.jobs[h.job]
	sum := job.Digest(sha256.Sum256(raw))
	for _, k := range s.job.Kept {
		if k.Copy.Is(&c) && k.SHA256 == sum {
			return k, nil
		}
	}
	k := job.Kept{Item: fmt.Sprintf("item-%d", len(d.items)), Copy: c, Bytes: int64(len(raw)), SHA256: sum}
	d.items[k.Item] = kept{k, slices.Clone(raw)}
	s.job.Kept = append(s.job.Kept, k)
	return k, nil
}

// Content implements pull.Jobs.
func (d *Daemon) Content(_ context.Context, lease string, w io.Writer) error {
	if err := d.fault("content", false); err != nil {
		return err
	}
	d.mu.Lock()
	h, err := d.held(lease)
	var raw []byte
	if err == nil {
		raw = d.items[d.jobs[h.job].job.Item.Item].raw
	}
	d.mu.Unlock()
	if err == nil {
		_, err = w.Write(raw)
	}
	if err == nil {
		err = d.fault("content", true)
	}
	return err
}

// Report implements pull.Jobs. A fault at one of the reports fails them all: those
// before it were taken, and nobody hears of it.
func (d *Daemon) Report(_ context.Context, reports []pull.Report) []error {
	errs := make([]error, len(reports))
	for i, r := range reports {
		err := d.fault("report", false)
		if err == nil {
			errs[i] = d.report(r.Lease, r.Result)
		}
		if err == nil && errs[i] == nil {
			err = d.fault("report", true)
		}
		if err != nil {
			for i := range errs {
				errs[i] = err
			}
			return errs
		}
	}
	return errs
}

func (d *Daemon) report(lease string, r job.Result) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	h, err := d.held(lease)
	if err != nil {
		return err
	}
	delete(d.leases, lease)
	d.jobs[h.job].result = &r
	d.reports++
	d.tell()
	return nil
}

// RestoreAll adds a job for every item of a job, and gives their IDs.
func (d *Daemon) RestoreAll(id string) []string {
	var ids []string
	d.mu.Lock()
	j := d.jobs[id].job
	d.mu.Unlock()
	for i, k := range j.Kept {
		r := job.Job{ID: fmt.Sprintf("%s-restore-%d", id, i), Kind: job.Restore, Incident: j.Incident, Mailbox: j.Mailbox, Recipient: j.Recipient, Item: k}
		d.Add(r)
		ids = append(ids, r.ID)
	}
	return ids
}

// Was says in one line what a result tells, for comparison: its outcome, and how
// many copies met which fate.
func Was(r job.Result) string {
	fates := map[string]int{}
	for _, c := range r.Copies {
		fates[string(c.Fate)]++
	}
	words := []string{string(r.Outcome)}
	for _, fate := range slices.Sorted(maps.Keys(fates)) {
		words = append(words, fmt.Sprintf("%d %s", fates[fate], fate))
	}
	return strings.Join(words, ", ")
}

// ErrCut is what operations give that were cut off by a test.
var ErrCut = errors.New("cut off by the test")
