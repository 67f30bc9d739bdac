package milter_test

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/milter/miltertest"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

// These tests run on a fake clock. That a bubble ends says as well that no
// goroutine is left.

func inBubble(t *testing.T, change func(*milter.Options), test func(t *testing.T, s *service, ln *pipes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		s := serveOn(t, ln, change)
		test(t, s, ln)
	})
}

// gone checks that the milter closes a session after a time, and not before.
func gone(t *testing.T, conn net.Conn, after time.Duration) {
	t.Helper()
	start := time.Now()
	_ = conn.SetReadDeadline(start.Add(100 * time.Hour))
	n, err := conn.Read(make([]byte, 1))
	if took := time.Since(start); n != 0 || err != io.EOF || took != after {
		t.Errorf("%d bytes, %v after %v; want EOF after %v", n, err, took, after)
	}
}

func TestASilentMTAIsWaitedForAsLongAsItsStateDeserves(t *testing.T) {
	times := func(o *milter.Options) {
		o.IdleTimeout, o.TransactionTimeout, o.ReadTimeout = 10*time.Minute, 2*time.Hour, 3*time.Minute
	}
	message := sample()
	for _, test := range []struct {
		name  string
		do    func(*miltertest.Session) error
		after time.Duration
	}{
		{"after connecting", func(*miltertest.Session) error { return nil }, 10*time.Minute - 5*time.Minute},
		{"after a message", func(c *miltertest.Session) error { _, err := c.Send(message); return err }, 10 * time.Minute},
		{"after ABORT", func(c *miltertest.Session) error { return errors.Join(c.Envelope(message), c.Abort()) }, 10 * time.Minute},
		{"after MAIL", func(c *miltertest.Session) error { c.Put('M', []byte("<>\x00")); return c.Flush() }, 2 * time.Hour},
		{"after RCPT", func(c *miltertest.Session) error { return errors.Join(c.Envelope(message), c.Flush()) }, 2 * time.Hour},
		{"after a field", func(c *miltertest.Session) error {
			err := c.Envelope(message)
			c.Put('L', []byte("A\x00b\x00"))
			return errors.Join(err, c.Flush())
		}, 3 * time.Minute},
		{"in the body", func(c *miltertest.Session) error {
			return errors.Join(c.Envelope(message), c.Content(message), c.Flush())
		}, 3 * time.Minute},
		{"in a packet", func(c *miltertest.Session) error { _, err := c.Conn().Write([]byte("\x00\x00\x00\x05M<")); return err }, 3 * time.Minute},
		{"in a length", func(c *miltertest.Session) error { _, err := c.Conn().Write([]byte{0}); return err }, 3 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, times, func(t *testing.T, s *service, ln *pipes) {
				c := ln.connect(t, miltertest.Options{})
				time.Sleep(5 * time.Minute) // what is said then begins the wait anew
				if err := test.do(c); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				gone(t, c.Conn(), test.after)
			})
		})
	}
	t.Run("before the offer", func(t *testing.T) {
		inBubble(t, times, func(t *testing.T, s *service, ln *pipes) { gone(t, ln.dial(), 10*time.Minute) })
	})
}

func TestAnMTAThatDoesNotReadIsCut(t *testing.T) {
	inBubble(t, func(o *milter.Options) { o.WriteTimeout = 20 * time.Second }, func(t *testing.T, s *service, ln *pipes) {
		c := ln.connect(t, miltertest.Options{})
		start := time.Now()
		if err := errors.Join(c.Envelope(sample()), c.Content(sample())); err != nil {
			t.Fatal(err)
		}
		c.Put('E', nil)
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20*time.Second - time.Nanosecond)
		synctest.Wait()
		if _, err := c.Conn().Write([]byte("\x00")); err == nil {
			t.Error("the milter reads although its answer was not taken")
		}
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("cut after %v", took)
		}
	})
}

func TestProgressIsToldWhileTheHandlerWorks(t *testing.T) {
	inBubble(t, func(o *milter.Options) { o.ProgressInterval, o.AnswerTimeout = 5*time.Second, time.Minute }, func(t *testing.T, s *service, ln *pipes) {
		c := ln.connect(t, miltertest.Options{})
		for _, test := range []struct {
			takes time.Duration
			want  int
		}{{0, 0}, {4 * time.Second, 0}, {6 * time.Second, 1}, {41 * time.Second, 8}, {0, 0}} {
			s.set(func(context.Context, *milter.Mail) verdict.Answer {
				time.Sleep(test.takes)
				return verdict.Answer{Action: intel.ActionAccept, Edits: []verdict.Edit{{Op: verdict.EditInsert, Name: "A", Value: "b"}}}
			})
			if r := send(t, c, sample()); r.Action != intel.ActionAccept || r.Progress != test.want || len(r.Edits) != 1 {
				t.Errorf("a handler that takes %v: %+v", test.takes, r)
			}
		}
	})
}

func TestAHandlerThatIsLateIsNotWaitedFor(t *testing.T) {
	inBubble(t, func(o *milter.Options) { o.ProgressInterval, o.AnswerTimeout = time.Second, 30*time.Second }, func(t *testing.T, s *service, ln *pipes) {
		c := ln.connect(t, miltertest.Options{})
		var kept atomic.Bool
		s.set(func(ctx context.Context, m *milter.Mail) verdict.Answer {
			raw := string(m.Raw)
			<-ctx.Done()
			time.Sleep(time.Minute) // it is in no hurry
			kept.Store(string(m.Raw) == raw)
			return verdict.Answer{Action: intel.ActionAccept}
		})
		start := time.Now()
		r := send(t, c, sample())
		if took := time.Since(start); r.Reply != "451 4.3.0 The message could not be checked, try again later" || took != 30*time.Second {
			t.Errorf("%+v after %v", r, took)
		}
		s.set(nil)
		if r := send(t, c, sample()); r.Action != intel.ActionAccept {
			t.Errorf("the next message: %+v", r)
		}
		time.Sleep(2 * time.Minute)
		if !kept.Load() {
			t.Error("the late handler lost its message")
		}
	})
}

func TestTheDeadlineOfAnAnswerCutsNoLaterOne(t *testing.T) {
	inBubble(t, func(o *milter.Options) { o.WriteTimeout = 20 * time.Second }, func(t *testing.T, s *service, ln *pipes) {
		c := ln.connect(t, miltertest.Options{})
		for _, pause := range []time.Duration{0, time.Millisecond, 19 * time.Second, 20 * time.Second, time.Minute} {
			time.Sleep(pause)
			if r := send(t, c, sample()); r.Action != intel.ActionAccept {
				t.Errorf("after %v: %+v", pause, r)
			}
		}
	})
}

func TestTheContextOfAMessageEndsWithItsSessionOrWithItsAnswersTime(t *testing.T) {
	inBubble(t, func(o *milter.Options) { o.AnswerTimeout = 30 * time.Second }, func(t *testing.T, s *service, ln *pipes) {
		c := ln.connect(t, miltertest.Options{})
		seen := make(chan context.Context, 1)
		message := func(takes time.Duration) context.Context {
			s.set(func(ctx context.Context, _ *milter.Mail) verdict.Answer {
				if ctx.Err() != nil {
					t.Errorf("it has ended before the message is judged: %v", context.Cause(ctx))
				}
				seen <- ctx
				time.Sleep(takes)
				return verdict.Answer{Action: intel.ActionAccept}
			})
			send(t, c, sample())
			return <-seen
		}
		if ctx := message(0); ctx.Err() != nil {
			t.Error("it ended with an answer")
		}
		if ctx := message(time.Minute); ctx.Err() == nil {
			t.Error("it holds although the answer's time is over")
		}
		last := message(0)
		_ = c.Close()
		synctest.Wait()
		if last.Err() == nil {
			t.Error("it holds although the session is over")
		}
		time.Sleep(time.Minute)
	})
}

func TestHandlersThatNeverEndDoNotPileUp(t *testing.T) {
	change := func(o *milter.Options) { o.MaxSessions, o.AnswerTimeout = 2, time.Second }
	inBubble(t, change, func(t *testing.T, s *service, ln *pipes) {
		c := ln.connect(t, miltertest.Options{})
		end := make(chan struct{})
		s.set(func(context.Context, *milter.Mail) verdict.Answer {
			<-end
			return verdict.Answer{Action: intel.ActionAccept}
		})
		start := time.Now()
		for range 10 {
			if r := send(t, c, sample()); r.Action != intel.ActionTempfail {
				t.Errorf("%+v", r)
			}
		}
		if n := len(s.take()); n != 4 || time.Since(start) != 4*time.Second {
			t.Errorf("%d messages were handed out in %v", n, time.Since(start))
		}
		close(end)
		synctest.Wait()
		if r := send(t, c, sample()); r.Action != intel.ActionAccept {
			t.Errorf("when they have ended: %+v", r)
		}
	})
}

func TestAHandlerIsToldThatTheMTAIsGone(t *testing.T) {
	inBubble(t, func(o *milter.Options) { o.ProgressInterval = time.Second }, func(t *testing.T, s *service, ln *pipes) {
		c := ln.connect(t, miltertest.Options{})
		var told atomic.Int64
		s.set(func(ctx context.Context, m *milter.Mail) verdict.Answer {
			start := time.Now()
			<-ctx.Done()
			told.Store(int64(time.Since(start)))
			return verdict.Answer{Action: intel.ActionAccept}
		})
		if err := errors.Join(c.Envelope(sample()), c.Content(sample())); err != nil {
			t.Fatal(err)
		}
		c.Put('E', nil)
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		_ = c.Conn().Close()
		time.Sleep(time.Minute)
		if after := time.Duration(told.Load()); after != time.Second {
			t.Errorf("told after %v", after)
		}
	})
}

func TestShutdownLetsMessagesEndAndClosesTheRest(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *service, ln *pipes) {
		s.set(func(context.Context, *milter.Mail) verdict.Answer {
			time.Sleep(10 * time.Second)
			return verdict.Answer{Action: intel.ActionAccept}
		})
		idle := ln.connect(t, miltertest.Options{})
		used := ln.connect(t, miltertest.Options{})
		send(t, used, sample())
		unborn := ln.dial()
		half := ln.connect(t, miltertest.Options{})
		if err := errors.Join(half.Envelope(sample()), half.Flush()); err != nil {
			t.Fatal(err)
		}
		judged := ln.connect(t, miltertest.Options{})
		answered := make(chan miltertest.Result)
		go func() {
			r, _ := judged.Send(sample())
			answered <- r
		}()
		synctest.Wait()
		start := time.Now()
		ended := make(chan error)
		go func() { ended <- s.stop(t, time.Minute) }()
		synctest.Wait()
		for _, conn := range []net.Conn{idle.Conn(), used.Conn(), unborn} {
			gone(t, conn, 0)
		}
		if r := <-answered; r.Action != intel.ActionAccept || time.Since(start) != 10*time.Second {
			t.Errorf("the message in hand: %+v after %v", r, time.Since(start))
		}
		gone(t, judged.Conn(), 0)
		time.Sleep(20 * time.Second)
		if err := half.Content(sample()); err != nil {
			t.Fatal(err)
		}
		if r, err := half.End(); err != nil || r.Action != intel.ActionAccept {
			t.Errorf("the message that had begun: %+v, %v", r, err)
		}
		gone(t, half.Conn(), 0)
		if err := <-ended; err != nil || time.Since(start) != 40*time.Second {
			t.Errorf("Shutdown = %v after %v", err, time.Since(start))
		}
	})
}

func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *service, ln *pipes) {
		s.set(func(ctx context.Context, _ *milter.Mail) verdict.Answer {
			<-ctx.Done()
			return verdict.Answer{Action: intel.ActionAccept}
		})
		half := ln.connect(t, miltertest.Options{})
		if err := errors.Join(half.Envelope(sample()), half.Content(sample()), half.Flush()); err != nil {
			t.Fatal(err)
		}
		judged := ln.connect(t, miltertest.Options{})
		failed := make(chan error)
		go func() {
			r, err := judged.Send(sample())
			if r.Action == intel.ActionAccept {
				err = nil
			}
			failed <- err
		}()
		synctest.Wait()
		start := time.Now()
		err := s.stop(t, 15*time.Second)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 15*time.Second {
			t.Errorf("Shutdown = %v after %v", err, time.Since(start))
		}
		if err := <-failed; err == nil {
			t.Error("a message was accepted whose handler had not ended")
		}
	})
}

func TestShutdownDoesNotWaitForAHandlerForEver(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *service, ln *pipes) {
		s.set(func(context.Context, *milter.Mail) verdict.Answer {
			time.Sleep(time.Hour)
			return verdict.Answer{Action: intel.ActionAccept}
		})
		c := ln.connect(t, miltertest.Options{})
		go func() { _, _ = c.Send(sample()) }()
		synctest.Wait()
		start := time.Now()
		s.stopped = true
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := s.server.Shutdown(ctx); err == nil || time.Since(start) > 15*time.Second {
			t.Errorf("Shutdown = %v after %v", err, time.Since(start))
		}
		if err := s.server.Shutdown(ctx); err == nil {
			t.Error("a second Shutdown says that all has ended")
		}
		if err := s.server.Serve(newPipes()); !errors.Is(err, milter.ErrClosed) {
			t.Errorf("Serve after Shutdown = %v", err)
		}
		time.Sleep(2 * time.Hour)
		if err := s.server.Shutdown(t.Context()); err != nil {
			t.Errorf("a third Shutdown: %v", err)
		}
	})
}

func TestASessionOutlivesTheGoroutinesThatServeIt(t *testing.T) {
	inBubble(t, func(o *milter.Options) { o.AnswerTimeout = 10 * time.Second }, func(t *testing.T, s *service, ln *pipes) {
		c := ln.connect(t, miltertest.Options{})
		accept := verdict.Answer{Action: intel.ActionAccept}
		for _, handle := range []func(context.Context, *milter.Mail) verdict.Answer{
			func(context.Context, *milter.Mail) verdict.Answer { time.Sleep(25 * time.Second); return accept },
			func(context.Context, *milter.Mail) verdict.Answer {
				time.Sleep(time.Hour)
				panic("late, and with a bug")
			},
			func(context.Context, *milter.Mail) verdict.Answer { runtime.Goexit(); return accept },
			func(context.Context, *milter.Mail) verdict.Answer {
				time.Sleep(time.Hour)
				runtime.Goexit()
				return accept
			},
			func(ctx context.Context, _ *milter.Mail) verdict.Answer { <-ctx.Done(); return accept },
		} {
			s.set(handle)
			if r := send(t, c, sample()); r.Action != intel.ActionTempfail {
				t.Errorf("%+v", r)
			}
			for range 3 { // the late one may end between them
				s.set(nil)
				if r := send(t, c, sample()); r.Action != intel.ActionAccept {
					t.Errorf("the next message: %+v", r)
				}
				time.Sleep(8 * time.Second)
			}
		}
		if n := s.server.Sessions(); n != 1 {
			t.Errorf("%d sessions", n)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := s.server.Sessions(); n != 0 {
			t.Errorf("%d sessions after its end", n)
		}
		time.Sleep(2 * time.Hour)
	})
}

// touchy is a log that panics at one message.
type touchy struct {
	zapcore.Core
	message string
}

func (c *touchy) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Message == c.message {
		panic("a bug in the log")
	}
	return to
}

func (c *touchy) Enabled(zapcore.Level) bool { return true }

func (c *touchy) With([]zapcore.Field) zapcore.Core { return c }

func TestAPanicInASessionThatWasTakenAwayEndsThatSessionAlone(t *testing.T) {
	change := func(o *milter.Options) {
		o.AnswerTimeout = time.Second
		o.Logger = zap.New(&touchy{zapcore.NewNopCore(), "message not judged"})
	}
	inBubble(t, change, func(t *testing.T, s *service, ln *pipes) {
		other, c := ln.connect(t, miltertest.Options{}), ln.connect(t, miltertest.Options{})
		s.set(func(context.Context, *milter.Mail) verdict.Answer {
			time.Sleep(time.Minute)
			return verdict.Answer{Action: intel.ActionAccept}
		})
		if r, err := c.Send(sample()); err == nil {
			t.Errorf("%+v", r)
		}
		s.set(nil)
		synctest.Wait() // it hangs up before it is counted out
		if r := send(t, other, sample()); r.Action != intel.ActionAccept || s.server.Sessions() != 1 {
			t.Errorf("another session: %+v, of %d", r, s.server.Sessions())
		}
		time.Sleep(time.Minute)
	})
}

func TestAMessageThatEndsAfterTheServerWasToldToStopIsNotHandedOut(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *service, ln *pipes) {
		c := ln.connect(t, miltertest.Options{})
		s.set(func(ctx context.Context, _ *milter.Mail) verdict.Answer {
			time.Sleep(time.Hour)
			return verdict.Answer{Action: intel.ActionAccept}
		})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 3 {
				if _, err := c.Send(sample()); err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		s.stopped = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown = %v", err)
		}
		<-done
		if n := len(s.take()); n != 1 {
			t.Errorf("%d messages were handed out", n)
		}
		time.Sleep(2 * time.Hour)
	})
}

// flaky is a listener whose Accept fails for a while.
type flaky struct {
	*pipes
	failures atomic.Int32
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.pipes.Accept()
}

func TestAListenerThatFailsForAWhileIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &flaky{pipes: newPipes()}
		ln.failures.Store(20)
		start := time.Now()
		s := serveOn(t, ln, nil)
		c := ln.connect(t, miltertest.Options{})
		if r := send(t, c, sample()); r.Action != intel.ActionAccept {
			t.Errorf("%+v", r)
		}
		if took := time.Since(start); took < 5*time.Second || took > 20*time.Second {
			t.Errorf("served after %v", took)
		}
		_ = s
	})
	synctest.Test(t, func(t *testing.T) { // and it does not hold up Shutdown
		ln := &flaky{pipes: newPipes()}
		ln.failures.Store(1 << 30)
		s := serveOn(t, ln, nil)
		time.Sleep(10500 * time.Millisecond)
		start := time.Now()
		if err := s.stop(t, time.Minute); err != nil || time.Since(start) != 0 {
			t.Errorf("Shutdown = %v after %v", err, time.Since(start))
		}
	})
}

func TestAListenerThatIsClosedEndsServe(t *testing.T) {
	ln := newPipes()
	server, err := milter.New(milter.Options{Handler: acceptAll{}, Scratch: &heap{}})
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	if err := server.Serve(ln); !errors.Is(err, net.ErrClosed) || errors.Is(err, milter.ErrClosed) {
		t.Errorf("Serve = %v", err)
	}
}
