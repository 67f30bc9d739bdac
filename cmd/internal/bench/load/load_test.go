package load

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fake takes ten milliseconds for a message.
type fake struct {
	sent, closed *atomic.Int64
	fail         uint64 // number of the message that fails
}

func (f fake) Send(n uint64) error {
	time.Sleep(10 * time.Millisecond)
	f.sent.Add(1)
	if n == f.fail {
		return errors.New("no")
	}
	return nil
}

func (f fake) Close() error { f.closed.Add(1); return nil }

func TestALoadIsAsLongAndAsWideAsItWasPlanned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent, closed, opened atomic.Int64
		var next atomic.Uint64
		r, err := Run(Plan{Sessions: 4, PerSession: 10, Duration: time.Second, Next: &next, Open: func(int) (Session, error) {
			opened.Add(1)
			return fake{&sent, &closed, 1 << 60}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if r.Messages != 400 || sent.Load() != 400 || next.Load() != 400 || r.Elapsed != time.Second || r.Rate() != 400 {
			t.Errorf("%d messages (%d sent, %d numbers) in %s", r.Messages, sent.Load(), next.Load(), r.Elapsed)
		}
		if opened.Load() != 40 || closed.Load() != 40 {
			t.Errorf("%d sessions opened, %d closed, want 40", opened.Load(), closed.Load())
		}
		if r.Quantile(0.5) != 10*time.Millisecond || r.Quantile(1) != 10*time.Millisecond {
			t.Error(r.Quantile(0.5), r.Quantile(1))
		}
	})
}

func TestTheFirstErrorEndsALoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent, closed atomic.Int64
		var next atomic.Uint64
		_, err := Run(Plan{Sessions: 4, Duration: time.Hour, Next: &next, Open: func(int) (Session, error) { return fake{&sent, &closed, 17}, nil }})
		if err == nil || !strings.Contains(err.Error(), "no") || sent.Load() > 24 || closed.Load() != 4 {
			t.Errorf("%v after %d messages, %d sessions closed", err, sent.Load(), closed.Load())
		}
	})
}

func TestQuantilesAreOfTheMessages(t *testing.T) {
	var r Result
	for i := range 100 {
		r.Times = append(r.Times, time.Duration(i+1))
	}
	if r.Quantile(0) != 1 || r.Quantile(0.5) != 51 || r.Quantile(0.99) != 100 || new(Result).Quantile(0.5) != 0 {
		t.Error(r.Quantile(0), r.Quantile(0.5), r.Quantile(0.99))
	}
}
