package pull

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

const (
	// maxTries bounds how many connections one job uses up.
	maxTries = 6
	// maxAsks bounds how often a daemon is asked to take or give bytes.
	maxAsks = 4
	// reportGrace is how long a mailbox and its connection wait for the report: the
	// daemon gives the next job in the mailbox for it.
	reportGrace = 250 * time.Millisecond
	// slowestReport is how often a report is tried at least.
	slowestReport = 5 * time.Second
	// maxDetail bounds what a report says in words, in bytes.
	maxDetail = 1 << 10
)

var (
	errTooLong = errors.New("the job took too long")
	errPanic   = errors.New("a fault in the sidecar's program")
	// errDaemon says that the daemon did not take or give a message's bytes.
	errDaemon = errors.New("the daemon does not answer as it should")
)

// work is one job under way.
type work struct {
	p   *Puller
	l   *lease
	log *zap.Logger
	// soft ends before the context of the job does: when the sidecar is stopping.
	// What only looks or waits runs under it; what changes something is finished.
	soft context.Context
	// leave gives the mailbox to the next one.
	leave func()
}

// do does a job and reports what became of it. When stop ends, it stops after the
// step that it is at, and a job that is not done is not reported.
func (p *Puller) do(stop context.Context, l *lease) {
	defer func() {
		if r := recover(); r != nil { // while it was reported: it will be leased again
			l.d.log.Error("panic", zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
		}
	}()
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(l.ctx, p.o.JobTimeout, errTooLong)
	defer cancel()
	soft, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(stop, func() { end(errStopping) })()
	w := &work{p: p, l: l, soft: soft, leave: func() {}, log: l.d.log.With(
		zap.String("incident", l.Job.Incident), zap.String("job", l.Job.ID), zap.String("mailbox", l.Job.Mailbox))}
	defer func() { w.leave() }()
	result, err := w.guarded(ctx)
	switch {
	case err == nil:
	case errors.Is(err, errTooLong):
		result.Outcome, result.Detail = job.Unreachable, fmt.Sprintf("after %s it was not done", p.o.JobTimeout)
	default:
		w.log.Info("the job is left to whoever leases it next", zap.Error(err))
		p.metrics.abandoned()
		return
	}
	result.Detail = cut(result.Detail)
	p.metrics.finished(l.Job.Kind, &result, time.Since(began))
	w.log.Info("done", zap.String("kind", string(l.Job.Kind)), zap.String("outcome", string(result.Outcome)),
		zap.String("detail", result.Detail), zap.Int("copies", len(result.Copies)), zap.Duration("took", time.Since(began)))
	w.report(result)
}

// guarded runs the job; a panic fails this job alone. An error says that there is
// nothing to report.
func (w *work) guarded(ctx context.Context) (result job.Result, err error) {
	defer func() {
		if r := recover(); r != nil {
			w.log.Error("panic", zap.Any("panic", r), zap.ByteString("stack", debug.Stack()))
			result, err = job.Result{Outcome: job.Failed, Detail: fmt.Sprintf("%s: %v", errPanic, r)}, nil
		}
	}()
	return w.run(ctx)
}

func (w *work) run(ctx context.Context) (job.Result, error) {
	login := w.l.Job.Mailbox
	s, ok := w.p.server(login)
	if !ok {
		return job.Result{Outcome: job.Failed, Detail: fmt.Sprintf("no store of this sidecar serves the mailbox %.80q", login)}, nil
	}
	b, err := s.enter(w.soft, login)
	if err != nil {
		return job.Result{}, err
	}
	w.leave = sync.OnceFunc(b.leave)
	finished := false
	defer func() {
		if !finished {
			b.broken(errPanic)
		}
	}()
	var result job.Result
	switch kind := w.l.Job.Kind; kind {
	case job.Pull:
		result, err = w.pull(ctx, b)
	case job.Restore:
		result, err = w.restore(ctx, b)
	default:
		result = job.Result{Outcome: job.Failed, Detail: fmt.Sprintf("this sidecar does not know what %.40q is", kind)}
	}
	finished = true
	return result, err
}

// step reports whether the next step may begin.
func (w *work) step() error {
	if w.soft.Err() != nil {
		return context.Cause(w.soft)
	}
	return w.l.holds()
}

// at runs f on the mailbox's connection, and again on a new one where the store
// broke off. An error of f ends the connection.
func (w *work) at(b *box, f func(mailbox.Account) error) error {
	for try := 1; ; try++ {
		if err := w.step(); err != nil {
			return err
		}
		a, err := b.connect(w.soft)
		old := err == nil && b.used
		if err == nil {
			if err = f(a); err == nil {
				b.s.breaker.worked()
				return nil
			}
			b.broken(err)
		}
		if !errors.Is(err, mailbox.ErrUnreachable) || errors.Is(err, errLeftAlone) || try >= maxTries {
			return err
		}
		if old {
			try--
		}
		w.log.Debug("the mail store broke off", zap.Error(err))
	}
}

// ask asks the daemon, a few times if need be. An error that is not for good, nor
// the lease's, satisfies errDaemon.
func (w *work) ask(ctx context.Context, f func() error) error {
	pause := w.p.o.Patience / (1<<maxAsks - 1)
	for n := 1; ; n++ {
		err := f()
		switch {
		case err == nil || errors.Is(err, mailbox.ErrTooLarge):
			return err
		case errors.Is(err, ErrLease):
			w.l.end(err)
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case n == maxAsks:
			return fmt.Errorf("%w: %w", errDaemon, err)
		}
		w.log.Warn("the daemon is asked again", zap.Error(err))
		sleep(w.soft, pause)
		if err := w.step(); err != nil {
			return err
		}
		pause *= 2
	}
}

// report tells the daemon, for as long as the lease holds. The mailbox is left
// after the first try at the latest.
func (w *work) report(r job.Result) {
	pause := firstPause
	defer time.AfterFunc(reportGrace, w.leave).Stop()
	for {
		err := w.l.d.Jobs.Report(w.l.ctx, w.l.ID, r)
		w.leave()
		switch {
		case err == nil:
			return
		case errors.Is(err, ErrLease) || w.l.ctx.Err() != nil:
			w.log.Info("the report came too late: the job is left to whoever leases it next", zap.Error(err))
			return
		}
		w.log.Warn("the report did not arrive", zap.Error(err))
		sleep(w.l.ctx, pause)
		pause = min(2*pause, slowestReport)
	}
}

// isEnd reports whether an error is no failure of anything: the job is to end.
func isEnd(err error) bool {
	return errors.Is(err, ErrLease) || errors.Is(err, errStopping) || errors.Is(err, errTooLong)
}

// failing gives the result of a job that an error has ended. It gives an error
// where there is nothing to report.
func (w *work) failing(r job.Result, err error) (job.Result, error) {
	if w.soft.Err() != nil {
		err = context.Cause(w.soft)
	}
	switch {
	case isEnd(err):
		return r, err
	case errors.Is(err, mailbox.ErrNoMailbox):
		r.Outcome = job.MailboxMissing
	case errors.Is(err, mailbox.ErrUnreachable) || errors.Is(err, errDaemon):
		r.Outcome = job.Unreachable
	default:
		r.Outcome = job.Failed
	}
	r.Detail = err.Error()
	return r, nil
}

func cut(s string) string {
	if len(s) > maxDetail {
		s = s[:maxDetail] + "…"
	}
	return s
}
