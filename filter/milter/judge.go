package milter

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/filter/verdict"
)

var (
	errDeadline = errors.New("the handler did not answer in time")
	errGone     = errors.New("the MTA hung up before it had an answer")
	errStuck    = errors.New("too many messages are with handlers that are late")
)

// outcome is what the handler made of a message.
type outcome struct {
	answer verdict.Answer
	err    error
}

// judge gets the handler's answer, and tells the MTA meanwhile that work goes
// on. It takes no longer than AnswerTimeout: a handler that does is left to
// itself, with its message, which it may not have let go of. When as many are so
// as there may be sessions, no more messages are handed out.
func (s *session) judge(t *transaction) (verdict.Answer, error) {
	if t.failed != nil {
		t.release()
		return verdict.Answer{}, t.failed
	}
	if s.server.running.Add(1) > 2*int64(s.server.opts.MaxSessions) {
		s.server.running.Add(-1)
		t.release()
		return verdict.Answer{}, errStuck
	}
	if s.ctx == nil {
		s.ctx, s.cancel = context.WithCancelCause(s.server.life)
	}
	done := make(chan outcome, 1)
	s.server.handlers.Add(1)
	s.server.hand(task{s.ctx, t, done})
	o := s.await(done)
	if o.err != nil { // a handler that goes on is to know that it need not
		s.cancel(o.err)
		s.ctx = nil
	}
	return o.answer, o.err
}

// await waits for what the handler makes of the message, or says why there is
// nothing.
func (s *session) await(done <-chan outcome) outcome {
	interval, left := s.server.opts.ProgressInterval, s.server.opts.AnswerTimeout
	deadline := time.Now().Add(left)
	if s.timer == nil {
		s.timer = time.NewTimer(min(interval, left))
	} else {
		s.timer.Reset(min(interval, left))
	}
	defer s.timer.Stop()
	for {
		select {
		case o := <-done:
			return o
		case <-s.timer.C:
			if left = time.Until(deadline); left <= 0 {
				return late(done, errDeadline)
			}
			if err := s.conn.progress(); err != nil {
				return outcome{err: errGone}
			}
			s.timer.Reset(min(interval, left))
		case <-s.ctx.Done():
			return late(done, errDrained)
		}
	}
}

// late gives an outcome that came at the last moment, or says why there is none.
func late(done <-chan outcome, why error) outcome {
	select {
	case o := <-done:
		return o
	default:
		return outcome{err: why}
	}
}

// task is a message for a handler.
type task struct {
	ctx  context.Context
	t    *transaction
	done chan<- outcome
}

// workerIdle is how long a goroutine that has handled a message waits for another
// one. Its stack has grown to what handling takes, which costs a new one about a
// twentieth of the message's whole CPU time.
const workerIdle = 5 * time.Second

// hand gives a task to a goroutine that has nothing to do, or to a new one.
func (s *Server) hand(next task) {
	select {
	case s.tasks <- next:
	default:
		go s.work(next)
	}
}

// work handles a message, and further ones while there are any.
func (s *Server) work(next task) {
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for {
		s.handle(next.ctx, next.t, next.done)
		next = task{} // the message is not kept while there is none
		idle.Reset(workerIdle)
		select {
		case next = <-s.tasks:
		case <-idle.C:
			return
		case <-s.stop:
			return
		}
	}
}

// handle calls the handler. A panic on the way is an error like any other.
func (s *Server) handle(ctx context.Context, t *transaction, done chan<- outcome) {
	o := outcome{err: errors.New("the handler ended without an answer")}
	defer func() {
		if v := recover(); v != nil {
			o = outcome{err: panicked(v)}
		}
		t.release()
		s.running.Add(-1)
		s.handlers.Done()
		done <- o
	}()
	t.complete()
	if t.Err != nil {
		s.metrics.failed(kindSpool)
		s.opts.Logger.Error("a message could not be kept while it came in", zap.String("queue_id", t.Envelope.QueueID), zap.Error(t.Err))
	}
	o = outcome{answer: s.opts.Handler.Handle(ctx, &t.Mail)}
}
