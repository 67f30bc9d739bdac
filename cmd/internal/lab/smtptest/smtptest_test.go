package smtptest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func start(t *testing.T, o SinkOptions) *Sink {
	t.Helper()
	s, err := NewSink(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func connect(t *testing.T, s *Sink, o Options) *Client {
	t.Helper()
	o.Network = s.o.Network
	c, err := Dial(t.Context(), s.Addr(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func wait(t *testing.T, s *Sink, n int) []Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := s.Wait(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestContentArrivesAsItWasSent(t *testing.T) {
	s := start(t, SinkOptions{})
	c := connect(t, s, Options{})
	random := make([]byte, 300_000)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	contents := [][]byte{
		[]byte("a\r\n"), []byte(".\r\n"), []byte("..\r\n.\r\n...a\r\n\r\n"), []byte("\r\n"), []byte("a\n.\nb\n..\r\n"),
		[]byte("\x00\x80\xff\r\r\n"), bytes.Repeat([]byte("x"), 200_000), bytes.Repeat([]byte("."), 200_000),
		append(bytes.Repeat([]byte("y"), 64<<10-1), "\r\n.\r\n"...), random,
	}
	for _, content := range contents {
		r, err := c.Send(Mail{From: "a@client.test", To: []string{"b@lab.test"}, Data: content})
		if err != nil || !r.Accepted() {
			t.Fatalf("%.40q: %+v %v", content, r, err)
		}
	}
	for i, m := range wait(t, s, len(contents)) {
		want := contents[i]
		if !bytes.HasSuffix(want, []byte("\r\n")) {
			want = append(want[:len(want):len(want)], "\r\n"...)
		}
		if !bytes.Equal(m.Data, want) {
			t.Errorf("%.40q of %d bytes arrived as %.40q of %d", want, len(want), m.Data, len(m.Data))
		}
	}
}

func TestTheEnvelopeIsRecordedWithItsArguments(t *testing.T) {
	s := start(t, SinkOptions{OnRcpt: refuseNo})
	c := connect(t, s, Options{Helo: "mail.client.test", LocalIP: "127.0.0.77"})
	if args, offered := c.Extension("smtputf8"); !offered || args != "" {
		t.Errorf("SMTPUTF8: %q %v", args, offered)
	}
	r, err := c.Send(Mail{
		From: "", FromArgs: "BODY=8BITMIME SIZE=10",
		To: []string{"a@lab.test", "no@lab.test", "\"x y\"@lab.test"}, ToArgs: []string{"NOTIFY=NEVER"}, Data: []byte("x\r\n"),
	})
	if err != nil || !r.Accepted() || r.Rcpt[1].Code != 550 || r.Code() != 250 {
		t.Fatalf("%+v %v", r, err)
	}
	m := wait(t, s, 1)[0]
	if m.Helo != "mail.client.test" || m.From != "" || m.FromArgs != "BODY=8BITMIME SIZE=10" || m.Session != 1 ||
		strings.Join(m.To, ",") != "a@lab.test,\"x y\"@lab.test" || strings.Join(m.ToArgs, ",") != "NOTIFY=NEVER," {
		t.Errorf("%+v", m)
	}
}

// refuseNo refuses recipients whose name begins with "no".
func refuseNo(to string) Reply {
	if strings.HasPrefix(to, "no") {
		return Reply{550, "5.1.1 unknown"}
	}
	return Reply{}
}

func TestPipelinedCommandsAreAnsweredInTheirOrder(t *testing.T) {
	s := start(t, SinkOptions{OnRcpt: refuseNo})
	c := connect(t, s, Options{})
	for _, tc := range []struct {
		to   []string
		code int
	}{
		{[]string{"a@lab.test", "no@lab.test", "b@lab.test"}, 250},
		{[]string{"no@lab.test"}, 503},
		{[]string{"b@lab.test"}, 250},
	} {
		r, err := c.Send(Mail{From: "a@client.test", To: tc.to, Data: []byte("x\r\n"), Pipeline: true})
		if err != nil || r.Code() != tc.code || len(r.Rcpt) != len(tc.to) {
			t.Errorf("%q: %+v %v", tc.to, r, err)
		}
	}
	if got := wait(t, s, 2); len(got) != 2 || len(got[0].To) != 2 || got[1].To[0] != "b@lab.test" {
		t.Errorf("%+v", got)
	}
}

func TestLMTPAnswersForEachRecipient(t *testing.T) {
	s := start(t, SinkOptions{Network: "unix", Addr: filepath.Join(t.TempDir(), "s"), LMTP: true, OnData: func(_ Message, to string) Reply {
		if to == "full@lab.test" {
			return Reply{452, "4.2.2 full"}
		}
		return Reply{}
	}})
	c := connect(t, s, Options{LMTP: true})
	r, err := c.Send(Mail{From: "a@client.test", To: []string{"a@lab.test", "full@lab.test"}, Data: []byte("x\r\n")})
	if err != nil || len(r.Final) != 2 || r.Final[0].Code != 250 || r.Final[1].Code != 452 || r.Accepted() {
		t.Errorf("%+v %v", r, err)
	}
	if s.Hop() != "lmtp:unix:"+s.Addr() {
		t.Errorf("hop %q", s.Hop())
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
}

func TestTheNextMessageGoesThroughAfterARefusedOne(t *testing.T) {
	first := true
	s := start(t, SinkOptions{OnData: func(Message, string) Reply {
		if first {
			first = false
			return Reply{451, "4.7.1 later\nplease"}
		}
		return Reply{}
	}})
	c := connect(t, s, Options{})
	m := Mail{From: "a@client.test", To: []string{"a@lab.test"}, Data: []byte("x\r\n")}
	if r, err := c.Send(m); err != nil || r.Code() != 451 || r.Final[0].Text != "4.7.1 later\nplease" || r.Final[0].String() != "451 4.7.1 later / please" {
		t.Errorf("%+v %v", r, err)
	}
	if r, err := c.Send(m); err != nil || !r.Accepted() {
		t.Errorf("%+v %v", r, err)
	}
	got := wait(t, s, 2)
	if got[0].Replies[0].Code != 451 || got[1].Replies[0].Code != 250 {
		t.Errorf("%+v", got)
	}
}

func TestADroppedConnectionLosesTheAnswerOrTheMessage(t *testing.T) {
	s := start(t, SinkOptions{})
	m := Mail{From: "a@client.test", To: []string{"a@lab.test"}, Data: []byte("x\r\n")}
	if err := connect(t, s, Options{}).SendAndDrop(m, true); err != nil {
		t.Fatal(err)
	}
	wait(t, s, 1)
	if err := connect(t, s, Options{}).SendAndDrop(m, false); err != nil {
		t.Fatal(err)
	}
	if r, err := connect(t, s, Options{}).Send(m); err != nil || !r.Accepted() {
		t.Fatalf("%+v %v", r, err)
	}
	if n := len(wait(t, s, 2)); n != 2 {
		t.Errorf("%d messages: one without its final dot was taken", n)
	}
}

func TestTheSinkDropsTheConnectionWhereItIsTold(t *testing.T) {
	s := start(t, SinkOptions{
		OnRcpt: func(to string) Reply {
			if to == "drop@lab.test" {
				return Reply{Code: Drop}
			}
			return Reply{}
		},
		OnData: func(m Message, _ string) Reply {
			if m.From == "drop@client.test" {
				return Reply{Code: Drop}
			}
			return Reply{}
		},
	})
	for _, m := range []Mail{
		{From: "a@client.test", To: []string{"drop@lab.test"}, Data: []byte("x\r\n")},
		{From: "drop@client.test", To: []string{"a@lab.test"}, Data: []byte("x\r\n")},
	} {
		if r, err := connect(t, s, Options{}).Send(m); err == nil {
			t.Errorf("%+v", r)
		}
	}
	if n := len(wait(t, s, 1)); n != 1 {
		t.Errorf("%d messages", n)
	}
}

func TestTheSinkAsksForALoginWhenItHasOne(t *testing.T) {
	s := start(t, SinkOptions{User: "weir", Password: "secret"})
	m := Mail{From: "a@client.test", To: []string{"a@lab.test"}, Data: []byte("x\r\n")}
	if r, err := connect(t, s, Options{}).Send(m); err != nil || r.Code() != 530 {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := Dial(t.Context(), s.Addr(), Options{User: "weir", Password: "wrong"}); err == nil || !strings.Contains(err.Error(), "535") {
		t.Errorf("%v", err)
	}
	if r, err := connect(t, s, Options{User: "weir", Password: "secret"}).Send(m); err != nil || !r.Accepted() {
		t.Errorf("%+v %v", r, err)
	}
	if got := wait(t, s, 1); got[0].User != "weir" {
		t.Errorf("%+v", got)
	}
}

func TestManySessionsAtOnceAreAllRecorded(t *testing.T) {
	s := start(t, SinkOptions{})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			c, err := Dial(t.Context(), s.Addr(), Options{})
			if err != nil {
				t.Error(err)
				return
			}
			for j := range 10 {
				if _, err := c.Send(Mail{From: fmt.Sprintf("%d-%d@client.test", i, j), To: []string{"a@lab.test"}, Data: []byte("x\r\n")}); err != nil {
					t.Error(err)
				}
			}
			_ = c.Close()
		})
	}
	all.Wait()
	from := map[string]bool{}
	for _, m := range wait(t, s, 200) {
		from[m.From] = true
	}
	if len(from) != 200 || s.Count() != 200 {
		t.Errorf("%d senders, %d messages", len(from), s.Count())
	}
	s.Reset()
	if s.Count() != 0 || len(s.Messages()) != 0 {
		t.Error("messages after Reset")
	}
}

func TestAForgetfulSinkOnlyCounts(t *testing.T) {
	s := start(t, SinkOptions{Forget: true})
	if _, err := connect(t, s, Options{}).Send(Mail{From: "a@client.test", To: []string{"a@lab.test"}, Data: []byte("x\r\n")}); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, s, 1); len(got) != 0 || s.Count() != 1 {
		t.Errorf("%v %d", got, s.Count())
	}
}

func TestWaitGivesUpWithItsContext(t *testing.T) {
	s := start(t, SinkOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Wait(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestCloseEndsOpenConnections(t *testing.T) {
	s := start(t, SinkOptions{})
	c := connect(t, s, Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Command("NOOP"); err == nil {
		t.Error("the connection is still served")
	}
}

func TestASilentServerDoesNotBlockForEver(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	_, err = Dial(t.Context(), ln.Addr().String(), Options{Timeout: 20 * time.Millisecond})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestQueueIDsAreReadFromBothMTAs(t *testing.T) {
	for text, want := range map[string]string{
		"2.0.0 Ok: queued as 4jX5ms3d2yz1SCtC":                     "4jX5ms3d2yz1SCtC",
		"2.0.0 6ALMArXt000027 Message accepted for delivery":       "6ALMArXt000027",
		"2.0.0 <a@lab.test> taken":                                 "",
		"2.0.0 from MTA([127.0.0.1]:25): 250 Ok: queued as 12345A": "12345A",
	} {
		if got := (Result{Final: []Reply{{250, text}}}).QueueID(); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got := (Result{Final: []Reply{{550, "5.7.1 x Message accepted"}}}).QueueID(); got != "" {
		t.Errorf("a refused message has the ID %q", got)
	}
}
