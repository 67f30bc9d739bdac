package milter_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/milter/miltertest"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

func TestABrokenPacketEndsItsSessionAlone(t *testing.T) {
	s := serve(t, nil)
	healthy := connect(t, s, miltertest.Options{})
	for name, bytes := range map[string]string{
		"empty packet":             "\x00\x00\x00\x00A",
		"body of a megabyte and 1": "\x00\x10\x00\x01B",
		"command beyond 64 KiB":    "\x00\x01\x00\x01M",
		"four gigabytes":           "\xff\xff\xff\xffB",
		"unknown code":             "\x00\x00\x00\x01?",
		"another offer":            "\x00\x00\x00\x0dO\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff",
		"connect without family":   "\x00\x00\x00\x03Ch\x00",
		"connect without port":     "\x00\x00\x00\x04Ch\x004",
		"header without value":     "\x00\x00\x00\x02LA",
		"no protocol at all":       "EHLO mail.example\r\n",
	} {
		for _, before := range []string{"nothing", "envelope", "content"} {
			c := connect(t, s, miltertest.Options{})
			var err error
			switch before {
			case "envelope":
				err = c.Envelope(sample())
			case "content":
				err = errors.Join(c.Envelope(sample()), c.Content(sample()))
			}
			if err := errors.Join(err, c.Flush()); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Conn().Write([]byte(bytes)); err != nil {
				t.Fatal(err)
			}
			if code, _, err := c.Read(); err == nil {
				t.Errorf("%s after %s: answer %q", name, before, code)
			}
		}
		if r := send(t, healthy, sample()); r.Action != intel.ActionAccept {
			t.Errorf("after %s another session gets %+v", name, r)
		}
	}
	if calls := s.take(); len(calls) != 10 {
		t.Errorf("%d messages were judged, want the 10 of the other session", len(calls))
	}
}

func TestASessionBeginsWithAnOffer(t *testing.T) {
	s := serve(t, nil)
	for name, bytes := range map[string]string{
		"MAIL":           "\x00\x00\x00\x05M<>\x00\x00",
		"QUIT":           "\x00\x00\x00\x01Q",
		"a short offer":  "\x00\x00\x00\x0cO\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff",
		"version 1":      "\x00\x00\x00\x0dO\x00\x00\x00\x01\x00\x00\x00\x0f\x00\x00\x00\x3f",
		"HTTP":           "GET / HTTP/1.1\r\n\r\n",
		"an empty frame": "\x00\x00\x00\x00",
	} {
		conn := dialRaw(t, s)
		if _, err := conn.Write([]byte(bytes)); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if name == "an empty frame" {
			_, _ = conn.Write([]byte("O"))
		}
		if n, err := conn.Read(make([]byte, 100)); err == nil {
			t.Errorf("%s: an answer of %d bytes", name, n)
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAMessageThatTheMTANeverBeganIsNotAccepted(t *testing.T) {
	s := serve(t, nil)
	c := connect(t, s, miltertest.Options{})
	for range 2 {
		if err := c.Content(sample()); err != nil {
			t.Fatal(err)
		}
		if r, err := c.End(); err != nil || r.Action != intel.ActionTempfail {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if calls := s.take(); len(calls) != 0 {
		t.Errorf("%+v", calls)
	}
	if r := send(t, c, sample()); r.Action != intel.ActionAccept {
		t.Errorf("%+v", r)
	}
}

func TestAPanicCostsItsMessageOnly(t *testing.T) {
	s := serve(t, nil)
	other := connect(t, s, miltertest.Options{})
	c := connect(t, s, miltertest.Options{})
	for name, bad := range map[string]func(context.Context, *milter.Mail) verdict.Answer{
		"panic": func(context.Context, *milter.Mail) verdict.Answer { panic("a bug") },
		"nil pointer": func(_ context.Context, m *milter.Mail) verdict.Answer {
			m.Envelope = nil
			_ = m.Envelope.From
			return verdict.Answer{}
		},
		"end of a routine": func(context.Context, *milter.Mail) verdict.Answer {
			runtime.Goexit()
			return verdict.Answer{}
		},
	} {
		s.set(bad)
		if r := send(t, c, sample()); r.Reply != "451 4.3.0 The message could not be checked, try again later" {
			t.Errorf("%s: %+v", name, r)
		}
		s.set(nil)
		for _, c := range []*miltertest.Session{c, other} {
			if r := send(t, c, sample()); r.Action != intel.ActionAccept {
				t.Errorf("after %s: %+v", name, r)
			}
		}
	}
}

// fragile is a message.Scratch that panics when it is told to.
type fragile struct {
	*heap
	panics func() bool
}

func (f *fragile) Buffer() message.Buffer {
	if f.panics() {
		panic("a bug in the spool")
	}
	return f.heap.Buffer()
}

func TestAPanicWhileAMessageComesInCostsThatMessageOnly(t *testing.T) {
	for _, offer := range []miltertest.Terms{miltertest.Postfix(), miltertest.Version2()} {
		bad := true
		s := serve(t, func(o *milter.Options) {
			o.Scratch = &fragile{o.Scratch.(*heap), func() bool { return bad }}
		})
		c := connect(t, s, miltertest.Options{Offer: offer})
		if r := send(t, c, sample()); r.Action != intel.ActionTempfail {
			t.Errorf("%+v", r)
		}
		bad = false
		if r := send(t, c, sample()); r.Action != intel.ActionAccept {
			t.Errorf("%+v", r)
		}
		if calls := s.take(); len(calls) != 1 {
			t.Errorf("%+v", calls)
		}
	}
}

func TestTheHandlerLearnsThatThereWasNoRoom(t *testing.T) {
	s := serve(t, nil)
	c := connect(t, s, miltertest.Options{})
	for _, at := range []int{0, 10, 60} {
		s.scratch.fail, s.scratch.failAt = errors.New("no space left on device"), at
		send(t, c, sample())
		got := s.take()[0]
		if !errors.Is(got.err, s.scratch.fail) || got.raw != "" || got.size != int64(len(sample().Raw)) {
			t.Errorf("no room after %d bytes: %+v", at, got)
		}
		s.scratch.fail = nil
		send(t, c, sample())
		if got := s.take()[0]; got.err != nil || got.raw != string(sample().Raw) {
			t.Errorf("room again: %+v", got)
		}
	}
}
