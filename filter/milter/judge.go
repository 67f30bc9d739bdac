package milter

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/filter/verdict"
)

var (
	errDeadline = errors.New("the handler did not answer in time")
	errGone     = errors.New("the MTA hung up before it had an answer")
	errStuck    = errors.New("too many messages are with handlers that are late")
	errNoAnswer = errors.New("the handler ended without an answer")
)

// A session's goroutine calls the handler itself: another one for each message
// would cost a fourteenth of the daemon's CPU time behind a Postfix, to wake and be
// woken by. So that
// nobody waits for a handler that is late, the session can be taken away from its
// goroutine (work.take), which finds that out when the handler returns, and ends.

// worker is a goroutine that serves a session, as that goroutine sees it.
type worker struct {
	lost bool // the session: another goroutine serves it by now
}

// work is a message that is with the handler.
type work struct {
	s       *session
	queueID string
	began   time.Time

	mu       sync.Mutex
	finished bool          // the handler has returned in time
	taken    bool          // the session goes on without the handler's answer
	minded   chan struct{} // closed when finished; nil while no other goroutine looks after it
}

// judge gets the handler's answer. It does not return where the session was
// taken away meanwhile: then the goroutine ends. A handler that is late is left
// to itself, with its message, which it may not have let go of. When as many are
// so as there may be sessions, no more messages are handed out.
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
	w := &work{s: s, queueID: t.Envelope.QueueID, began: time.Now()}
	me, ctx := s.worker, s.ctx // whoever finds w may change these
	s.work.Store(w)
	s.server.handlers.Add(1)
	var answer verdict.Answer
	err := context.Cause(ctx)
	if err == nil {
		answer, err = w.handle(ctx, me, t)
	} else { // the server ended, perhaps after it looked for messages to take away
		s.server.done(t)
		err = errDrained
	}
	if !w.finish() {
		me.lost = true
		runtime.Goexit()
	}
	s.work.Store(nil)
	if err != nil {
		s.abandon(err)
	}
	return answer, err
}

// abandon tells a handler that goes on that it need not.
func (s *session) abandon(err error) {
	s.cancel(err)
	s.ctx = nil
}

// handle calls the handler. A panic on the way is an error like any other. Where
// the handler ends the goroutine, the session goes on in another one.
func (w *work) handle(ctx context.Context, me *worker, t *transaction) (answer verdict.Answer, err error) {
	server, returned := w.s.server, false
	defer func() {
		v := recover()
		server.done(t)
		switch {
		case v != nil:
			err = panicked(v)
		case !returned:
			me.lost = true
			if w.finish() {
				go w.s.goOn(w, errNoAnswer)
			}
		}
	}()
	t.complete()
	if t.Err != nil {
		server.metrics.failed(kindSpool)
		server.opts.Logger.Error("a message could not be kept while it came in", zap.String("queue_id", w.queueID), zap.Error(t.Err))
	}
	answer = server.opts.Handler.Handle(ctx, &t.Mail)
	returned = true
	return answer, nil
}

// done is the end of a handler.
func (s *Server) done(t *transaction) {
	t.release()
	s.running.Add(-1)
	s.handlers.Done()
}

// finish says that the handler has returned, and whether the session is still
// its goroutine's.
func (w *work) finish() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.taken {
		return false
	}
	w.finished = true
	if w.minded != nil {
		close(w.minded)
	}
	return true
}

// watch looks for messages that have been with their handlers for a while, and
// has others look after them. It ends when the server has no sessions any more.
func (s *Server) watch() {
	age := min(s.opts.ProgressInterval, s.opts.AnswerTimeout) / 4
	tick := time.NewTicker(age)
	defer tick.Stop()
	killed := s.life.Done()
	for {
		select {
		case <-tick.C:
			s.mindOlder(age)
		case <-killed:
			killed = nil
			s.mindOlder(0)
		case <-s.ended:
			return
		}
	}
}

// mindOlder has somebody look after each message of that age for which nobody
// does yet.
func (s *Server) mindOlder(age time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if w := c.session.work.Load(); w != nil && time.Since(w.began) >= age {
			w.mind()
		}
	}
}

// mind looks after a message until its handler has returned, if nobody does and
// it has not.
func (w *work) mind() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.finished || w.minded != nil {
		return
	}
	w.minded = make(chan struct{})
	go w.wait()
}

// wait tells the MTA that work goes on. It takes the session away from the
// goroutine that calls the handler when the answer's time is over, when the MTA
// is gone, and when the server ends.
func (w *work) wait() {
	opts := &w.s.server.opts
	next, deadline := w.began.Add(opts.ProgressInterval), w.began.Add(opts.AnswerTimeout)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		if !now.Before(deadline) {
			w.take(errDeadline)
			return
		}
		if !now.Before(next) {
			if err := w.progress(); err != nil {
				w.take(errGone)
				return
			}
			next = now.Add(opts.ProgressInterval)
		}
		wake := next
		if deadline.Before(wake) {
			wake = deadline
		}
		timer.Reset(time.Until(wake))
		select {
		case <-w.minded:
			return
		case <-timer.C:
		case <-w.s.server.life.Done():
			w.take(errDrained)
			return
		}
	}
}

// progress tells the MTA that work goes on, unless it is done.
func (w *work) progress() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.finished {
		return nil
	}
	return w.s.conn.progress()
}

// take goes on with the session without the handler's answer, unless that is
// there.
func (w *work) take(why error) {
	w.mu.Lock()
	if w.finished {
		w.mu.Unlock()
		return
	}
	w.taken = true
	w.mu.Unlock()
	w.s.goOn(w, why)
}

// goOn serves a session from where a message has no answer, and why, to its end. The
// goroutine that served it until then touches it no more. A panic ends the session
// alone, as it does in the library's goroutine.
func (s *session) goOn(w *work, why error) {
	me := &worker{}
	s.worker = me
	defer func() {
		if v := recover(); v != nil {
			err := panicked(v)
			s.server.metrics.failed(kindPanic)
			s.log.Error("panic in a milter session", zap.Error(err), stack(err), zap.String("queue_id", w.queueID))
		}
		if !me.lost {
			_ = s.conn.Close()
		}
	}()
	s.work.Store(nil)
	s.abandon(why)
	s.server.metrics.judged(time.Since(w.began))
	s.conn.serve(s.fail(why, w.queueID))
}
