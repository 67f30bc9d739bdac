package milter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/message/spool"
	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/milter/miltertest"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

func TestTooManyRecipientsAreRefusedTogether(t *testing.T) {
	s := serve(t, func(o *milter.Options) { o.MaxRecipients = 3 })
	c := connect(t, s, miltertest.Options{})
	m := sample()
	for len(m.To) < 3 {
		m.To = append(m.To, m.To[0])
	}
	if r := send(t, c, m); r.Action != intel.ActionAccept {
		t.Errorf("three: %+v", r)
	}
	m.To = append(m.To, m.To[0])
	if r := send(t, c, m); r.Reply != "452 4.5.3 Too many recipients" {
		t.Errorf("four: %+v", r)
	}
	m.To = m.To[:1]
	if r := send(t, c, m); r.Action != intel.ActionAccept {
		t.Errorf("one again: %+v", r)
	}
	if calls := s.take(); len(calls) != 2 {
		t.Errorf("%+v", calls)
	}
}

func TestRecipientsTogetherAreBoundedInBytes(t *testing.T) {
	s := serve(t, nil)
	c := connect(t, s, miltertest.Options{})
	m := sample()
	for range 1<<20/60_000 + 1 {
		m.To = append(m.To, miltertest.Recipient{Address: "<" + strings.Repeat("a", 60_000) + "@example.org>"})
	}
	if r := send(t, c, m); r.Reply != "452 4.5.3 Too many recipients" {
		t.Errorf("%+v", r)
	}
}

func TestAMessageBeyondTheLimitIsCutAndSaidSo(t *testing.T) {
	raw := sample().Raw
	for _, limit := range []int{1, 7, 8, 30, len(raw) - 1, len(raw), len(raw) + 1} {
		s := serve(t, func(o *milter.Options) { o.MaxMessageBytes = int64(limit) })
		c := connect(t, s, miltertest.Options{})
		for range 2 {
			if r := send(t, c, sample()); r.Action != intel.ActionAccept {
				t.Errorf("limit %d: %+v", limit, r)
			}
			got := s.take()[0]
			if want := raw[:min(limit, len(raw))]; got.raw != string(want) || got.size != int64(len(raw)) || got.tooLarge != (limit < len(raw)) || got.err != nil {
				t.Errorf("limit %d: %+v", limit, got)
			}
		}
	}
}

func TestSessionsBeyondTheLimitAreRefusedAndThoseBeyondTwiceThatAreClosed(t *testing.T) {
	s := serve(t, func(o *milter.Options) { o.MaxSessions = 2 })
	var served, waiting []*miltertest.Session
	for range 2 {
		served = append(served, connect(t, s, miltertest.Options{}))
	}
	for range 2 {
		waiting = append(waiting, connect(t, s, miltertest.Options{}))
	}
	conn := dialRaw(t, s)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the fifth connection is open: %v", err)
	}
	for range 2 {
		for i, c := range append(served, waiting...) {
			r := send(t, c, sample())
			if want := intel.ActionAccept; i < 2 && r.Action != want {
				t.Errorf("session %d: %+v", i, r)
			}
			if want := "451 4.3.2 Too many sessions, try again later"; i >= 2 && r.Reply != want {
				t.Errorf("session %d: %+v", i, r)
			}
		}
	}
	if calls := s.take(); len(calls) != 4 {
		t.Errorf("%d messages were judged, want 4", len(calls))
	}
	// When one of the served ends, one of the others takes its place.
	_ = served[0].Close()
	deadline := time.Now().Add(10 * time.Second)
	for {
		if r := send(t, waiting[1], sample()); r.Action == intel.ActionAccept {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a place that became free was not given away")
		}
		time.Sleep(time.Millisecond)
	}
	for range 3 {
		if r := send(t, waiting[1], sample()); r.Action != intel.ActionAccept {
			t.Errorf("%+v", r)
		}
	}
	if r := send(t, waiting[0], sample()); r.Action != intel.ActionTempfail {
		t.Errorf("%+v", r)
	}
}

func TestALargeMessageGoesThroughTheSpool(t *testing.T) {
	pool, err := spool.New(spool.Options{Dir: t.TempDir(), MemoryPerMessage: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, func(o *milter.Options) { o.Scratch = rooms{pool} })
	c := connect(t, s, miltertest.Options{})
	for _, size := range []int{0, 10 << 10, 100 << 10, 30 << 20} {
		m := sample()
		m.Raw = slices.Concat(m.Raw, bytes.Repeat([]byte("0123456789abcdef"), size/16))
		if r := send(t, c, m); r.Action != intel.ActionAccept {
			t.Errorf("%d bytes: %+v", size, r)
		}
		if got := s.take()[0]; got.raw != string(m.Raw) || got.err != nil {
			t.Errorf("%d bytes: %d came, %v", size, len(got.raw), got.err)
		}
		if pool.HeapBytes() != 0 || pool.Files() != 0 {
			t.Errorf("%d bytes: %d of heap and %d files are kept", size, pool.HeapBytes(), pool.Files())
		}
	}
}

func TestManySessionsAtOnceKeepApart(t *testing.T) {
	s := serve(t, nil)
	s.set(func(_ context.Context, m *milter.Mail) verdict.Answer {
		to := m.Envelope.To[0].Address()
		if !bytes.HasSuffix(m.Raw, []byte(to+"\r\n")) {
			return verdict.Answer{Action: intel.ActionReject}
		}
		return verdict.Answer{Action: intel.ActionAccept, Edits: []verdict.Edit{{Op: verdict.EditInsert, Name: "X-To", Value: to}}}
	})
	done := make(chan error, 8)
	for i := range cap(done) {
		c := connect(t, s, miltertest.Options{WriteBytes: 100 + i*1000})
		go func() {
			for j := range 50 {
				to := fmt.Sprintf("%d.%d@example.org", i, j)
				m := sample()
				m.To = []miltertest.Recipient{{Address: "<" + to + ">"}}
				m.Raw = slices.Concat(m.Raw, bytes.Repeat([]byte("x"), i*j*300), []byte(to+"\r\n"))
				r, err := c.Send(m)
				if err != nil || len(r.Edits) != 1 || r.Edits[0].Value != " "+to {
					done <- fmt.Errorf("%+v, %w", r, err)
					return
				}
			}
			done <- nil
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
