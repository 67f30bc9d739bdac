package pull

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

const (
	// maxTries bounds how many connections are used up until a job is done.
	maxTries = 6
	// reportGrace is how long a mailbox and its connection wait for the reports: the
	// daemon gives the next jobs in the mailbox for them.
	reportGrace = 250 * time.Millisecond
)

var (
	errTooLong = errors.New("the job took too long")
	errPanic   = errors.New("a fault in the sidecar's program")
)

// visit is the work in one mailbox, without another's in between: pulls that were
// leased together, or one restore.
type visit struct {
	p     *Puller
	began time.Time
	works []*work
	box   *box

	// ctx ends when the time for it is over or no lease is left; soft does so too when
	// the sidecar is stopping. What only looks or waits runs under soft; what changes
	// something is finished.
	ctx, soft context.Context
	end       context.CancelCauseFunc
	left      atomic.Int64 // jobs that are not done and whose leases are not lost

	tries   int // connections since a job was done
	untold  []*report
	told    sync.WaitGroup // first reports
	reports sync.WaitGroup
}

// do does jobs in one mailbox and reports what became of each. When stop ends, it
// stops after the step that it is at, and jobs that are not done are not reported.
// The leases are let go of.
func (p *Puller) do(stop, working context.Context, leases []*lease) {
	ctx, cancel := context.WithTimeoutCause(working, p.o.JobTimeout, errTooLong)
	defer cancel()
	v := &visit{p: p, began: time.Now()}
	v.ctx, v.end = context.WithCancelCause(ctx)
	defer v.end(nil)
	soft, end := context.WithCancelCause(v.ctx)
	defer end(nil)
	defer context.AfterFunc(stop, func() { end(errStopping) })()
	v.soft = soft
	v.left.Store(int64(len(leases)))
	for _, l := range leases {
		w := &work{v: v, l: l}
		w.off = sync.OnceFunc(func() {
			if v.left.Add(-1) == 0 {
				v.end(context.Cause(l.ctx))
			}
		})
		defer context.AfterFunc(l.ctx, w.off)()
		v.works = append(v.works, w)
	}
	v.guarded()
	v.tell()
	v.leave()
	v.reports.Wait()
}

// leave gives the mailbox to the next one, after the first reports.
func (v *visit) leave() {
	if v.box == nil {
		return
	}
	told := make(chan struct{})
	go func() {
		v.told.Wait()
		close(told)
	}()
	grace := time.NewTimer(reportGrace)
	defer grace.Stop()
	select {
	case <-told:
	case <-grace.C:
	}
	v.box.leave()
}

// guarded does the work. A panic fails the jobs that are not done, and no others.
func (v *visit) guarded() {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if v.box != nil {
			v.box.broken(errPanic)
		}
		for _, w := range v.works {
			if !w.done {
				w.finish(job.Result{}, w.panicked(r))
			}
		}
	}()
	v.run()
}

func (v *visit) run() {
	first := v.works[0]
	login := first.l.Job.Mailbox
	s, ok := v.p.server(login)
	if !ok {
		v.all(fmt.Errorf("no store of this sidecar serves the mailbox %.80q", login))
		return
	}
	box, err := s.enter(v.soft, login)
	if err != nil {
		v.all(err)
		return
	}
	v.box = box
	switch kind := first.l.Job.Kind; kind {
	case job.Pull:
		newBatch(v).pull()
	case job.Restore:
		first.finish(first.restore())
	default:
		v.all(fmt.Errorf("this sidecar does not know what %.40q is", kind))
	}
}

// all ends every job with an error.
func (v *visit) all(err error) {
	for _, w := range v.works {
		w.finish(job.Result{}, err)
	}
}

// at runs f on the mailbox's connection, and again on a new one where the store
// broke off. An error of f ends the connection.
func (v *visit) at(f func(mailbox.Account) error) error {
	b := v.box
	for v.tries = 1; ; v.tries++ {
		if v.soft.Err() != nil {
			return context.Cause(v.soft)
		}
		a, err := b.connect(v.soft)
		old := err == nil && b.used
		if err == nil {
			if err = f(a); err == nil {
				b.s.breaker.worked()
				return nil
			}
			b.broken(err)
		}
		switch {
		case errors.Is(err, errAnew): // not often
		case !errors.Is(err, mailbox.ErrUnreachable) || errors.Is(err, errLeftAlone) || v.tries >= maxTries:
			return err
		case old:
			v.tries--
		}
		b.s.log.Debug("another connection is needed", zap.String("mailbox", b.login), zap.Error(err))
	}
}

// panicked makes an error of what was recovered from.
func (w *work) panicked(r any) error {
	w.log().Error("panic", zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
	return fmt.Errorf("%w: %v", errPanic, r)
}
