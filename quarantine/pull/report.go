package pull

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/quarantine/job"
)

// slowestReport is how often a report is tried at least.
const slowestReport = 5 * time.Second

// report is what became of a job that is done.
type report struct {
	*work
	result job.Result
}

// tell begins to report the jobs that were finished since it was last called:
// together, since jobs of one mailbox mostly end together.
func (v *visit) tell() {
	for len(v.untold) > 0 {
		some := v.untold[:min(len(v.untold), MaxTogether)]
		v.untold = v.untold[len(some):]
		v.told.Add(1)
		v.reports.Go(func() { v.report(some) })
	}
}

// report tells the daemon what became of jobs, of each for as long as its lease
// holds, and lets go of the leases.
func (v *visit) report(some []*report) {
	ctx, cancel := whileHeld(some)
	defer cancel()
	pause := firstPause
	for n := 1; ; n++ {
		errs := tryToReport(ctx, some)
		if n == 1 {
			v.told.Done()
		}
		var left []*report
		var last error
		for i, r := range some {
			switch err := errs[i]; {
			case err == nil:
			case errors.Is(err, ErrLease) || errors.Is(err, errPanic) || r.l.ctx.Err() != nil:
				r.log().Info("the report did not arrive: the job is left to whoever leases it next", zap.Error(err))
			default:
				left, last = append(left, r), err
				continue
			}
			r.l.release()
		}
		if len(left) == 0 {
			return
		}
		left[0].log().Warn("reports are tried again", zap.Int("reports", len(left)), zap.Error(last))
		sleep(ctx, pause)
		pause = min(2*pause, slowestReport)
		some = left
	}
}

// whileHeld gives a context that ends with the last of the leases of some jobs.
func whileHeld(some []*report) (ctx context.Context, cancel func()) {
	ctx, end := context.WithCancelCause(context.Background())
	var left atomic.Int64
	left.Store(int64(len(some)))
	for _, r := range some {
		context.AfterFunc(r.l.ctx, func() {
			if left.Add(-1) == 0 {
				end(context.Cause(r.l.ctx))
			}
		})
	}
	return ctx, func() { end(nil) }
}

// tryToReport reports once. A panic fails these reports alone.
func tryToReport(ctx context.Context, some []*report) (errs []error) {
	errs = make([]error, len(some))
	defer func() {
		if p := recover(); p != nil {
			err := some[0].panicked(p)
			for i := range errs {
				errs[i] = err
			}
		}
	}()
	reports := make([]Report, len(some))
	for i, r := range some {
		reports[i] = Report{Lease: r.l.ID, Result: r.result}
	}
	told := some[0].l.d.Jobs.Report(ctx, reports)
	for i := range errs {
		if i < len(told) {
			errs[i] = told[i]
		} else {
			errs[i] = errShort
		}
	}
	return errs
}
