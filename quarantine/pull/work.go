package pull

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

const (
	// maxAsks bounds how often a daemon is asked to take or give bytes.
	maxAsks = 4
	// maxDetail bounds what a report says in words, in bytes.
	maxDetail = 1 << 10
)

// errDaemon says that the daemon did not take or give a message's bytes.
var errDaemon = errors.New("the daemon does not answer as it should")

// work is one job under way.
type work struct {
	v    *visit
	l    *lease
	off  func() // the job is done, or its lease is lost
	done bool
}

func (w *work) log() *zap.Logger {
	j := &w.l.Job
	return w.l.d.log.With(zap.String("incident", j.Incident), zap.String("job", j.ID), zap.String("mailbox", j.Mailbox))
}

// step reports whether the next step may begin.
func (w *work) step() error {
	if w.v.soft.Err() != nil {
		return context.Cause(w.v.soft)
	}
	return w.l.holds()
}

// firstAsk is how long to wait until a daemon is asked once more; twice as long the
// next time.
func (p *Puller) firstAsk() time.Duration { return p.o.Patience / (1<<maxAsks - 1) }

// ask asks the daemon, a few times if need be. An error that is not for good, nor
// the lease's, satisfies errDaemon.
func (w *work) ask(f func(ctx context.Context) error) error {
	deadline, _ := w.v.ctx.Deadline()
	ctx, cancel := context.WithDeadlineCause(w.l.ctx, deadline, errTooLong)
	defer cancel()
	pause := w.v.p.firstAsk()
	for n := 1; ; n++ {
		err := f(ctx)
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
		w.log().Warn("the daemon is asked again", zap.Error(err))
		sleep(w.v.soft, pause)
		if err := w.step(); err != nil {
			return err
		}
		pause *= 2
	}
}

// finish ends a job that an error has ended, or that went well with a result: tell
// reports it. A job that is not to be reported is left to whoever leases
// it next.
func (w *work) finish(r job.Result, err error) {
	w.done, w.v.tries = true, 0
	defer w.off()
	if err != nil {
		r.Outcome, err = w.failing(err)
		if r.Outcome == "" {
			w.log().Info("the job is left to whoever leases it next", zap.Error(err))
			w.v.p.metrics.abandoned()
			w.l.release()
			return
		}
		r.Detail = err.Error()
	}
	r.Detail = cut(r.Detail)
	took := time.Since(w.v.began)
	w.v.p.metrics.finished(w.l.Job.Kind, &r, took)
	w.log().Info("done", zap.String("kind", string(w.l.Job.Kind)), zap.String("outcome", string(r.Outcome)),
		zap.String("detail", r.Detail), zap.Int("copies", len(r.Copies)), zap.Duration("took", took))
	w.v.untold = append(w.v.untold, &report{work: w, result: r})
}

// isEnd reports whether an error is no failure of anything: the job is to end.
func isEnd(err error) bool {
	return errors.Is(err, ErrLease) || errors.Is(err, errStopping) || errors.Is(err, errTooLong)
}

// failing says what it means for the job that an error has ended it, and why it
// did. It gives no outcome where there is nothing to report.
func (w *work) failing(err error) (job.Outcome, error) {
	switch {
	case w.l.ctx.Err() != nil:
		err = context.Cause(w.l.ctx)
	case w.v.soft.Err() != nil:
		err = context.Cause(w.v.soft)
	}
	switch {
	case errors.Is(err, errTooLong):
		return job.Unreachable, fmt.Errorf("after %s it was not done", w.v.p.o.JobTimeout)
	case isEnd(err):
		return "", err
	case errors.Is(err, mailbox.ErrNoMailbox):
		return job.MailboxMissing, err
	case errors.Is(err, mailbox.ErrUnreachable) || errors.Is(err, errDaemon):
		return job.Unreachable, err
	}
	return job.Failed, err
}

func cut(s string) string {
	if len(s) > maxDetail {
		s = s[:maxDetail] + "…"
	}
	return s
}
