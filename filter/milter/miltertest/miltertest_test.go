package miltertest_test

import (
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"reflect"
	"strings"
	"sync"
	"testing"

	gomilter "github.com/emersion/go-milter"

	"github.com/weirmail/weir/filter/milter/miltertest"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

// script is a milter of the library that writes down what it is told, and
// answers as it is told to.
type script struct {
	mu     *sync.Mutex
	log    *[]string
	answer map[string]gomilter.Response
	end    func(*gomilter.Modifier)
}

func (s script) note(stage, format string, args ...any) (gomilter.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*s.log = append(*s.log, stage+" "+fmt.Sprintf(format, args...))
	if r := s.answer[stage]; r != nil {
		return r, nil
	}
	if stage == "end" {
		return gomilter.RespAccept, nil
	}
	return gomilter.RespContinue, nil
}

func (s script) Connect(host, family string, port uint16, addr net.IP, m *gomilter.Modifier) (gomilter.Response, error) {
	return s.note("connect", "%s %s %d %s %s", host, family, port, addr, m.Macros["{daemon_name}"])
}

func (s script) Helo(name string, m *gomilter.Modifier) (gomilter.Response, error) {
	return s.note("helo", "%s %s", name, m.Macros["{tls_version}"])
}

func (s script) MailFrom(from string, m *gomilter.Modifier) (gomilter.Response, error) {
	return s.note("mail", "%s %s %s", from, m.Macros["{auth_authen}"], m.Macros["i"])
}

func (s script) RcptTo(to string, m *gomilter.Modifier) (gomilter.Response, error) {
	return s.note("rcpt", "%s %s", to, m.Macros["i"])
}

func (s script) Header(name, value string, m *gomilter.Modifier) (gomilter.Response, error) {
	return s.note("header", "%s:%q %s", name, value, m.Macros["i"])
}

func (s script) Headers(h textproto.MIMEHeader, _ *gomilter.Modifier) (gomilter.Response, error) {
	return s.note("headers", "%d", len(h))
}

func (s script) BodyChunk(b []byte, _ *gomilter.Modifier) (gomilter.Response, error) {
	return s.note("body", "%d", len(b))
}

func (s script) Body(m *gomilter.Modifier) (gomilter.Response, error) {
	if s.end != nil {
		s.end(m)
	}
	return s.note("end", "%s", m.Macros["i"])
}

func (s script) Abort(*gomilter.Modifier) error { _, err := s.note("abort", ""); return err }

// play sends a message to a milter and gives the answer and what it was told.
func play(t *testing.T, m *miltertest.Message, opts miltertest.Options, server gomilter.Server, s script) (miltertest.Result, []string) {
	t.Helper()
	ln, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	s.mu, s.log = &sync.Mutex{}, new([]string)
	server.NewMilter = func() gomilter.Milter { return s }
	go func() { _ = server.Serve(ln) }()
	defer func() { _ = server.Close() }()
	c, err := miltertest.Dial("unix", ln.Addr().String(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.Connect(miltertest.Client{
		Name: "mail.example", Addr: netip.MustParseAddrPort("192.0.2.7:4711"), Helo: "helo.example",
		Macros: []string{"{daemon_name}", "mx"}, TLS: "TLSv1.3",
	}); err != nil {
		t.Fatal(err)
	}
	r, err := c.Send(m)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return r, *s.log
}

func message() *miltertest.Message {
	return &miltertest.Message{
		QueueID: "ID", From: "<s@sender.example>", AuthUser: "sam",
		To:  []miltertest.Recipient{{Address: "<a@example.org>"}, {Address: "<b@example.org>", Args: []string{"NOTIFY=NEVER"}}},
		Raw: []byte("Subject: one\r\n  two\r\n\tthree\r\nEmpty:\r\n\r\n" + strings.Repeat("x", 70_000)),
	}
}

func TestAMilterIsToldAllOfAMessage(t *testing.T) {
	want := []string{
		"connect mail.example tcp4 4711 192.0.2.7 mx", "helo helo.example TLSv1.3", "mail s@sender.example sam ",
		"rcpt a@example.org ", "rcpt b@example.org ID",
		`header Subject:"one\n  two\n\tthree" ID`, `header Empty:"" ID`, "headers 2", "body 65535", "body 4465", "end ID",
	}
	for _, pieces := range []int{0, 1, 1000} {
		r, log := play(t, message(), miltertest.Options{WriteBytes: pieces}, gomilter.Server{}, script{})
		if r.Action != intel.ActionAccept || !reflect.DeepEqual(log, want) {
			t.Errorf("%+v\n%q, want\n%q", r, log, want)
		}
	}
	want[5] = `header Subject:" one\n  two\n\tthree" ID`
	_, log := play(t, message(), miltertest.Options{}, gomilter.Server{Protocol: gomilter.OptHeaderLeadingSpace}, script{})
	if !reflect.DeepEqual(log, want) {
		t.Errorf("with leading space\n%q, want\n%q", log, want)
	}
}

func TestAMessageMayHaveNoHeaderOrNoBody(t *testing.T) {
	for raw, want := range map[string][]string{
		"":                 {"headers 0"},
		"\r\n":             {"headers 0"},
		"\r\nx":            {"headers 0", "body 1"},
		"A: b":             {`header A:"b" ID`, "headers 1"},
		"A: b\r\n":         {`header A:"b" ID`, "headers 1"},
		"A: b\r\n\r\n":     {`header A:"b" ID`, "headers 1"},
		"A: b\r\n\r\n\r\n": {`header A:"b" ID`, "headers 1", "body 2"},
	} {
		m := message()
		m.Raw = []byte(raw)
		_, log := play(t, m, miltertest.Options{}, gomilter.Server{}, script{})
		if got := log[5 : len(log)-1]; !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

func TestAnAnswerBeforeTheEndEndsTheMessage(t *testing.T) {
	for _, test := range []struct {
		stage  string
		answer gomilter.Response
		want   intel.Action
		reply  string
	}{
		{"mail", gomilter.RespTempFail, intel.ActionTempfail, ""},
		{"rcpt", gomilter.RespReject, intel.ActionReject, ""},
		{"header", gomilter.RespDiscard, intel.ActionDiscard, ""},
		{"headers", gomilter.RespAccept, intel.ActionAccept, ""},
		{"body", gomilter.NewResponseStr('y', "554 5.7.1 100%% no"), intel.ActionReject, "554 5.7.1 100% no"},
		{"end", gomilter.NewResponseStr('y', "451 4.7.1 later"), intel.ActionTempfail, "451 4.7.1 later"},
	} {
		r, log := play(t, message(), miltertest.Options{}, gomilter.Server{}, script{answer: map[string]gomilter.Response{test.stage: test.answer}})
		if r.Action != test.want || r.Reply != test.reply {
			t.Errorf("at %s: %+v", test.stage, r)
		}
		if last := log[len(log)-1]; !strings.HasPrefix(last, test.stage+" ") {
			t.Errorf("at %s: the milter was told %q after that", test.stage, last)
		}
	}
}

func TestChangesAreGivenBack(t *testing.T) {
	r, _ := play(t, message(), miltertest.Options{}, gomilter.Server{Actions: 0x3f}, script{end: func(m *gomilter.Modifier) {
		_ = m.InsertHeader(1, "X-A", "a\r\n b")
		_ = m.ChangeHeader(2, "Subject", "new")
		_ = m.ChangeHeader(3, "Old", "")
		_ = m.DeleteRecipient("b@example.org")
		_ = m.AddHeader("X-B", "b")
		_ = m.AddRecipient("c@example.org")
	}})
	want := miltertest.Result{
		Action: intel.ActionAccept,
		Edits: []verdict.Edit{
			{Op: verdict.EditInsert, Name: "X-A", Value: "a\n b"},
			{Op: verdict.EditChange, Name: "Subject", Value: "new", Index: 2},
			{Op: verdict.EditRemove, Name: "Old", Index: 3},
		},
		Inserted: []int{1}, Removed: []string{"<b@example.org>"}, Others: 2,
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("%+v, want\n%+v", r, want)
	}
}

func TestAMilterThatAsksForMoreThanItWasOfferedIsFoundOut(t *testing.T) {
	ln, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	server := gomilter.Server{NewMilter: func() gomilter.Milter { return gomilter.NoOpMilter{} }, Actions: gomilter.OptChangeBody}
	go func() { _ = server.Serve(ln) }()
	defer func() { _ = server.Close() }()
	if _, err := miltertest.Dial("unix", ln.Addr().String(), miltertest.Options{Offer: miltertest.Terms{Version: 6}}); err == nil {
		t.Error("no error")
	}
}
