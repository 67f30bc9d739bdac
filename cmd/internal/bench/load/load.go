// Package load puts a server under a steady load and tells how fast it was: so
// many sessions at once, each of which sends its next message when the one before
// was answered. It knows nothing of what is sent.
//
// A closed loop measures what a server can do, not what it does at a given rate:
// while the server is slow, less is sent. The times are those of one message in
// an open session, and at more sessions than processors they hold the wait for one.
package load

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Session sends messages, one at a time.
type Session interface {
	// Send sends the message of a number and returns when it was answered as it
	// ought to be.
	Send(n uint64) error
	// Close ends the session.
	Close() error
}

// Plan says what a load is like.
type Plan struct {
	Sessions   int           // at once
	Duration   time.Duration // no message begins after that
	PerSession int           // messages, after which a session is closed and another one opened; 0: no end
	Next       *atomic.Uint64
	Open       func(n int) (Session, error) // n is below Sessions and tells sessions apart that are open at once
}

// Result is what a load came to.
type Result struct {
	Messages int
	Elapsed  time.Duration   // until the last one was answered
	Times    []time.Duration // of each message, sorted
}

// Rate gives messages a second.
func (r *Result) Rate() float64 { return float64(r.Messages) / r.Elapsed.Seconds() }

// Quantile gives the time within which the share q of the messages was answered,
// the next longer one where q falls between two; 0 without messages.
func (r *Result) Quantile(q float64) time.Duration {
	if len(r.Times) == 0 {
		return 0
	}
	i := int(q * float64(len(r.Times)))
	return r.Times[min(max(i, 0), len(r.Times)-1)]
}

// Run loads a server. The first error ends it, and the result up to there is of
// no use.
func Run(p Plan) (*Result, error) {
	workers := make([]worker, p.Sessions)
	var group sync.WaitGroup
	var broken atomic.Bool
	began := time.Now()
	for i := range workers {
		group.Go(func() {
			w := &workers[i]
			if w.err = w.work(p, i, began.Add(p.Duration), &broken); w.err != nil {
				broken.Store(true)
			}
		})
	}
	group.Wait()
	r := &Result{Elapsed: time.Since(began)}
	var errs []error
	for i := range workers {
		r.Times = append(r.Times, workers[i].times...)
		if err := workers[i].err; err != nil {
			errs = append(errs, fmt.Errorf("session %d: %w", i, err))
		}
	}
	r.Messages = len(r.Times)
	slices.Sort(r.Times)
	if len(errs) == 0 && r.Messages == 0 {
		errs = append(errs, errors.New("no message was sent"))
	}
	return r, errors.Join(errs...)
}

type worker struct {
	times []time.Duration
	err   error
}

func (w *worker) work(p Plan, i int, end time.Time, broken *atomic.Bool) (err error) {
	var s Session
	defer func() {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	for left := 0; ; left-- {
		if !time.Now().Before(end) || broken.Load() {
			return nil
		}
		if left == 0 {
			if s != nil {
				if err := s.Close(); err != nil {
					return err
				}
			}
			if s, err = p.Open(i); err != nil {
				return err
			}
			left = p.PerSession
		}
		sent := time.Now()
		if err := s.Send(p.Next.Add(1) - 1); err != nil {
			return err
		}
		w.times = append(w.times, time.Since(sent))
	}
}
