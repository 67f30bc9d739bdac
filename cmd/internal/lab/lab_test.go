package lab

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
)

const (
	alice = "alice@lab.test"
	bob   = "bob@lab.test"
)

// message has what transports like to change: dots, bytes with the high bit, a
// long line, a folded field.
var message = []byte("From: <ann@client.test>\r\nTo: <alice@lab.test>\r\nSubject: one\r\n\ttwo\r\nMessage-ID: <1@client.test>\r\n" +
	"Date: Mon, 6 Jan 2025 10:00:00 +0000\r\n\r\nHello.\r\n.\r\n..dots\r\n\x80\xff\r\n" + strings.Repeat("long ", 150) + "\r\n\r\n")

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// ok fails the test on an error: ok(l.Postfix(…))(t).
func ok[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func dial(t *testing.T, addr string, o smtptest.Options) *smtptest.Client {
	t.Helper()
	c := ok(smtptest.Dial(soon(t), addr, o))(t)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func send(t *testing.T, c *smtptest.Client, m smtptest.Mail) smtptest.Result {
	t.Helper()
	r := ok(c.Send(m))(t)
	if !r.Accepted() {
		t.Fatalf("not accepted: %+v", r)
	}
	return r
}

func sink(t *testing.T, o smtptest.SinkOptions) *smtptest.Sink {
	t.Helper()
	s := ok(smtptest.NewSink(o))(t)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestAMessageGoesThroughPostfixIntoMailboxesByteForByte(t *testing.T) {
	l := Start(t, NeedPostfix, NeedDovecot)
	boxes := ok(l.Dovecot(DovecotOptions{
		Users: []string{alice, bob},
		Sieve: map[string]string{bob: "require \"fileinto\";\nrequire \"mailbox\";\nfileinto :create \"Lists/one\";\n"},
	}))(t)
	mta := ok(l.Postfix(PostfixOptions{
		Domains: []string{"lab.test"}, DeliverTo: boxes.LMTP(), Recipients: []string{alice, bob},
		Aliases: map[string]string{"team@lab.test": alice + ", " + bob},
	}))(t)

	c := dial(t, mta.Addr(""), smtptest.Options{})
	r := send(t, c, smtptest.Mail{From: "ann@client.test", FromArgs: "BODY=8BITMIME", To: []string{"team@lab.test"}, Data: message})
	for user, folder := range map[string]string{alice: "INBOX", bob: "Lists/one"} {
		mails := ok(boxes.Wait(soon(t), user, folder, 1))(t)
		if len(mails) != 1 || !bytes.HasSuffix(mails[0].Raw, message) || mails[0].Flags != "" {
			t.Errorf("%s: %q", user, mails)
		}
	}
	if folders := ok(boxes.Folders(bob))(t); !slices.Contains(folders, "Lists/one") || folders[0] != "INBOX" {
		t.Errorf("bob has %q", folders)
	}

	line := ok(mta.WaitLog(soon(t), regexp.MustCompile(r.QueueID()+`: to=<bob@lab\.test>, orig_to=<(.*?)>.*status=(\w+)`)))(t)
	if line[1] != "team@lab.test" || line[2] != "sent" {
		t.Errorf("the log says %q", line)
	}
	if err := mta.WaitIdle(soon(t)); err != nil {
		t.Error(err)
	}
}

func TestASessionGoesOnAfterARefusedRecipientAndARefusedMessage(t *testing.T) {
	l := Start(t, NeedPostfix)
	to := sink(t, smtptest.SinkOptions{LMTP: true})
	mta := ok(l.Postfix(PostfixOptions{Domains: []string{"lab.test"}, DeliverTo: to.Hop(), Recipients: []string{alice, bob}}))(t)
	c := dial(t, mta.Addr(""), smtptest.Options{XClient: "ADDR=203.0.113.9 NAME=mail.example", Helo: "mail.example"})

	r := send(t, c, smtptest.Mail{From: "ann@client.test", To: []string{alice, "nobody@lab.test", "x@elsewhere.test", bob}, Data: message})
	codes := []int{r.Rcpt[0].Code, r.Rcpt[1].Code, r.Rcpt[2].Code, r.Rcpt[3].Code}
	if !slices.Equal(codes, []int{250, 550, 554, 250}) {
		t.Errorf("recipients were answered %v", codes)
	}
	if r := ok(c.Send(smtptest.Mail{From: "ann@client.test", To: []string{"nobody@lab.test"}, Data: message}))(t); r.Accepted() || r.Code() != 550 {
		t.Errorf("nobody was taken: %+v", r)
	}
	send(t, c, smtptest.Mail{From: "", To: []string{alice}, Data: message})
	send(t, c, smtptest.Mail{From: "jürgen@client.test", FromArgs: "SMTPUTF8", To: []string{bob}, Data: message})

	got := ok(to.Wait(soon(t), 3))(t)
	slices.SortFunc(got, func(a, b smtptest.Message) int { return strings.Compare(a.From, b.From) })
	if got[0].From != "" || got[1].From != "ann@client.test" || got[2].From != "jürgen@client.test" {
		t.Errorf("senders: %q %q %q", got[0].From, got[1].From, got[2].From)
	}
	if !slices.Equal(got[1].To, []string{alice, bob}) || !bytes.HasSuffix(got[1].Data, message) {
		t.Errorf("first message: %+v", got[1])
	}
	if !strings.Contains(got[2].FromArgs, "SMTPUTF8") {
		t.Errorf("arguments: %q", got[2].FromArgs)
	}
	if !bytes.Contains(got[1].Data, []byte("from mail.example (mail.example [203.0.113.9])")) {
		t.Errorf("XCLIENT did not pass: %s", got[1].Data)
	}
}

func TestTwoPostfixPassMailToEachOther(t *testing.T) {
	l := Start(t, NeedPostfix)
	to := sink(t, smtptest.SinkOptions{})
	inner := ok(l.Postfix(PostfixOptions{Hostname: "inner.lab.test", Domains: []string{"lab.test"}, DeliverTo: to.Hop()}))(t)
	outer := ok(l.Postfix(PostfixOptions{
		Hostname:   "outer.lab.test",
		Transports: map[string]string{"lab.test": hop(inner.Addr(""))},
		Canonical:  map[string]string{"old@lab.test": alice},
	}))(t)
	send(t, dial(t, outer.Addr(""), smtptest.Options{LocalIP: "127.9.9.9"}), smtptest.Mail{From: "ann@client.test", To: []string{"old@lab.test"}, Data: message})
	got := ok(to.Wait(soon(t), 1))(t)
	if got[0].To[0] != alice {
		t.Errorf("canonical: got %q", got[0].To)
	}
	for _, want := range []string{"by inner.lab.test", "by outer.lab.test", "[127.9.9.9]"} {
		if !bytes.Contains(got[0].Data, []byte(want)) {
			t.Errorf("no %q in\n%s", want, got[0].Data)
		}
	}
}

func TestPostfixKeepsItsQueueOverARestart(t *testing.T) {
	l := Start(t, NeedPostfix)
	addr := ok(l.FreeAddr())(t)
	mta := ok(l.Postfix(PostfixOptions{RelayTo: hop(addr)}))(t)
	r := send(t, dial(t, mta.Addr(""), smtptest.Options{}), smtptest.Mail{From: "ann@client.test", To: []string{"x@else.test"}, Data: message})
	if _, err := mta.WaitLog(soon(t), regexp.MustCompile(r.QueueID()+`.*status=deferred`)); err != nil {
		t.Fatal(err)
	}
	if queue := ok(mta.Command(soon(t), "postqueue", "-j"))(t); !strings.Contains(queue, r.QueueID()) {
		t.Errorf("queue: %s", queue)
	}
	for name, end := range map[string]func() error{"stopped": mta.Stop, "killed": mta.Kill} {
		if err := end(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := end(); err != nil {
			t.Fatalf("%s twice: %v", name, err)
		}
		if err := mta.Start(); err != nil {
			t.Fatalf("started after being %s: %v", name, err)
		}
	}
	to := sink(t, smtptest.SinkOptions{Addr: addr})
	if got := ok(to.Wait(soon(t), 1))(t); !bytes.HasSuffix(got[0].Data, message) {
		t.Errorf("got %q", got[0].Data)
	}
}

func TestOpenDKIMSignsBehindAListenerAndLocalMail(t *testing.T) {
	l := Start(t, NeedPostfix, NeedOpenDKIM)
	to := sink(t, smtptest.SinkOptions{})
	dkim := ok(l.OpenDKIM("client.test"))(t)
	mta := ok(l.Postfix(PostfixOptions{
		RelayTo:      to.Hop(),
		LocalMilters: []string{dkim.Milter()},
		Listeners: []PostfixListener{
			{Name: "sign", Milters: []string{dkim.Milter()}, Main: map[string]string{"syslog_name": "postfix/sign"}},
			{Name: "plain", Unix: true},
		},
	}))(t)

	mail := smtptest.Mail{From: "ann@client.test", FromArgs: "BODY=8BITMIME", To: []string{"x@else.test"}, Data: message}
	send(t, dial(t, mta.Addr("sign"), smtptest.Options{}), mail)
	signed := ok(to.Wait(soon(t), 1))(t)[0]
	if err := dkim.Verify(soon(t), signed.Data); err != nil {
		t.Error(err)
	}
	changed := bytes.Replace(signed.Data, []byte("Hello."), []byte("Hullo."), 1)
	if err := dkim.Verify(soon(t), changed); err == nil {
		t.Error("a changed message verifies")
	}

	to.Reset()
	send(t, dial(t, mta.Addr("plain"), smtptest.Options{Network: "unix"}), mail)
	plain := ok(to.Wait(soon(t), 1))(t)[0]
	if err := dkim.Verify(soon(t), plain.Data); err == nil || bytes.Contains(plain.Data, []byte("DKIM-Signature")) {
		t.Error("the listener without milters signs")
	}

	to.Reset()
	if err := mta.Submit(soon(t), message, "-f", "ann@client.test", "x@else.test"); err != nil {
		t.Fatal(err)
	}
	local := ok(to.Wait(soon(t), 1))(t)[0]
	if err := dkim.Verify(soon(t), local.Data); err != nil {
		t.Errorf("local mail: %v", err)
	}
	if _, err := mta.WaitLog(soon(t), regexp.MustCompile(`postfix/sign/smtpd.*client=`)); err != nil {
		t.Error(err)
	}
}

func TestPostfixAsksDovecotAboutLogins(t *testing.T) {
	l := Start(t, NeedPostfix, NeedDovecot)
	to := sink(t, smtptest.SinkOptions{})
	boxes := ok(l.Dovecot(DovecotOptions{Users: []string{alice}}))(t)
	mta := ok(l.Postfix(PostfixOptions{SASL: boxes.Auth(), RelayTo: to.Hop(), Main: map[string]string{"mynetworks": "192.0.2.1"}}))(t)
	mail := smtptest.Mail{From: alice, To: []string{"x@else.test"}, Data: message}

	if r := ok(dial(t, mta.Addr(""), smtptest.Options{}).Send(mail))(t); r.Code() != 554 {
		t.Errorf("a stranger may relay: %+v", r)
	}
	send(t, dial(t, mta.Addr(""), smtptest.Options{User: alice, Password: Password}), mail)
	if _, err := mta.WaitLog(soon(t), regexp.MustCompile(`sasl_username=alice@lab\.test`)); err != nil {
		t.Error(err)
	}
	if _, err := smtptest.Dial(soon(t), mta.Addr(""), smtptest.Options{User: alice, Password: "wrong"}); err == nil {
		t.Error("a wrong password is taken")
	}
}

func TestDovecotAnswersIMAPAndPOP3(t *testing.T) {
	l := Start(t, NeedDovecot)
	boxes := ok(l.Dovecot(DovecotOptions{Users: []string{alice}}))(t)
	for addr, talk := range map[string][2]string{
		boxes.IMAPAddr(): {"a LOGIN " + alice + " " + Password + "\r\n", "a OK"},
		boxes.POP3Addr(): {"USER " + alice + "\r\nPASS " + Password + "\r\n", "+OK Logged in"},
	} {
		conn := ok(net.Dial("tcp", addr))(t)
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(talk[0])); err != nil {
			t.Fatal(err)
		}
		var got []byte
		buf := make([]byte, 4096)
		for !bytes.Contains(got, []byte(talk[1])) {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("%q: %v", got, err)
			}
			got = append(got, buf[:n]...)
		}
		_ = conn.Close()
	}
}

func TestSendmailDeliversByLMTPThroughAMilterAndAnAlias(t *testing.T) {
	l := Start(t, NeedSendmail, NeedDovecot, NeedOpenDKIM)
	boxes := ok(l.Dovecot(DovecotOptions{Users: []string{alice, bob}}))(t)
	out := sink(t, smtptest.SinkOptions{})
	dkim := ok(l.OpenDKIM("client.test"))(t)
	host, port, _ := net.SplitHostPort(strings.TrimPrefix(dkim.Milter(), "inet:"))
	mta := ok(l.Sendmail(SendmailOptions{
		Domains: []string{"lab.test"}, LMTPAddr: boxes.LMTPAddr(), SMTPAddr: out.Addr(),
		Aliases:   map[string]string{"team@lab.test": alice + ", " + bob},
		Milters:   []string{"S=inet:" + port + "@" + host + ", F=T, T=C:10s;S:30s;R:30s;E:5m"},
		Listeners: []string{"plain"},
	}))(t)

	mail := smtptest.Mail{From: "ann@client.test", FromArgs: "BODY=8BITMIME", To: []string{"team@lab.test"}, Data: message}
	r := send(t, dial(t, mta.Addr(""), smtptest.Options{}), mail)
	if _, err := mta.WaitLog(soon(t), regexp.MustCompile(r.QueueID()+`: to=.*stat=Sent`)); err != nil {
		t.Error(err)
	}
	for _, user := range []string{alice, bob} {
		mails := ok(boxes.Wait(soon(t), user, "INBOX", 1))(t)
		if !bytes.HasSuffix(mails[0].Raw, message[bytes.Index(message, []byte("\r\n\r\n")):]) {
			t.Errorf("%s: %s", user, mails[0].Raw)
		}
		if err := dkim.Verify(soon(t), mails[0].Raw); err != nil {
			t.Errorf("%s: %v", user, err)
		}
	}

	mail.To = []string{"x@else.test"}
	send(t, dial(t, mta.Addr("plain"), smtptest.Options{}), mail)
	if got := ok(out.Wait(soon(t), 1))(t); bytes.Contains(got[0].Data, []byte("DKIM-Signature")) {
		t.Error("the listener without milters signs")
	}
	if err := mta.WaitIdle(soon(t)); err != nil {
		t.Error(err)
	}
	if err := mta.Stop(); err != nil {
		t.Error(err)
	}
	if err := mta.Start(); err != nil {
		t.Error(err)
	}
}

func TestRspamdRefusesWhatItsListsName(t *testing.T) {
	if missing := Missing(NeedRspamd); len(missing) > 0 {
		t.Skip("rspamd is for the bench only, and not installed")
	}
	malware := []byte("malware")
	for _, rules := range []bool{false, true} {
		t.Run(fmt.Sprintf("rules=%v", rules), func(t *testing.T) {
			l := Start(t, NeedPostfix, NeedRspamd)
			rspamd := ok(l.Rspamd(RspamdOptions{
				Senders: []string{"bad@client.test"}, Domains: []string{"evil.test"}, URLs: []string{"evil.example"},
				SHA256: []string{sha256Hex(malware)},
				Rules:  rules,
			}))(t)
			mta := ok(l.Postfix(PostfixOptions{Milters: []string{rspamd.Milter()}}))(t)
			c := dial(t, mta.Addr(""), smtptest.Options{})
			mail := func(url string, attachment []byte) []byte {
				return []byte("From: <ann@client.test>\r\nTo: <alice@lab.test>\r\nSubject: hello\r\nMessage-ID: <1@client.test>\r\n" +
					"Date: " + time.Now().Format(time.RFC1123Z) + "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
					"--b\r\nContent-Type: text/html\r\n\r\n<p>See <a href=\"" + url + "\">here</a>.</p>\r\n" +
					"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n" +
					"Content-Disposition: attachment; filename=x.bin\r\n\r\n" + base64.StdEncoding.EncodeToString(attachment) + "\r\n--b--\r\n")
			}
			clean := mail("https://fine.example/", []byte("harmless"))
			for name, tc := range map[string]struct {
				from string
				data []byte
				code int
			}{
				"clean":  {"ann@client.test", clean, 250},
				"sender": {"bad@client.test", clean, 554},
				"domain": {"ann@evil.test", clean, 554},
				"url":    {"ann@client.test", mail("https://evil.example/pay", nil), 554},
				"hash":   {"ann@client.test", mail("https://fine.example/", malware), 554},
			} {
				r := ok(c.Send(smtptest.Mail{From: tc.from, To: []string{alice}, Data: tc.data}))(t)
				if r.Code() != tc.code {
					t.Errorf("%s: %+v", name, r)
				}
			}
			if pids := ok(rspamd.PIDs())(t); len(pids) < 2 {
				t.Errorf("processes: %v", pids)
			}
		})
	}
}

func TestALabKeepsItsAddressAndPortsToItself(t *testing.T) {
	a, b := Start(t), Start(t)
	if a.IP() == b.IP() {
		t.Errorf("both have %s", a.IP())
	}
	seen := map[string]bool{}
	for range 200 {
		addr := ok(a.FreeAddr())(t)
		if seen[addr] || !strings.HasPrefix(addr, a.IP()+":") {
			t.Fatalf("%s is given out again", addr)
		}
		seen[addr] = true
	}
}

func TestCloseRemovesTheFolderAndEndsTheLab(t *testing.T) {
	Require(t)
	l := ok(New())(t)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	if exists(l.Dir()) {
		t.Error("the folder is still there")
	}
	if _, err := l.Postfix(PostfixOptions{}); err == nil {
		t.Error("a closed lab starts a server")
	}
}

func TestAServerThatCannotStartIsReportedWithItsLog(t *testing.T) {
	l := Start(t, NeedDovecot, NeedSendmail)
	_, err := l.Dovecot(DovecotOptions{Config: "no_such_setting = 1\n"})
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("dovecot: %v", err)
	}
	_, err = l.Sendmail(SendmailOptions{Config: "LOCAL_CONFIG\nO NoSuchOption=1\n"})
	if err == nil || !strings.Contains(err.Error(), "NoSuchOption") {
		t.Errorf("sendmail: %v", err)
	}
}

func TestRequireSkipsOrFailsAsToldByTheEnvironment(t *testing.T) {
	t.Setenv("WEIR_LAB_CACHE", t.TempDir()) // without Sendmail
	for value, want := range map[string]string{"": "skip", "1": "fatal"} {
		t.Setenv("WEIR_REQUIRE_E2E", value)
		rec := &recorder{TB: t}
		Require(rec, NeedSendmail)
		if rec.did != want || !strings.Contains(rec.why, "cmd/internal/lab/install") {
			t.Errorf("WEIR_REQUIRE_E2E=%q: %s %q", value, rec.did, rec.why)
		}
	}
}

// recorder takes note of a skip or failure instead of doing it.
type recorder struct {
	testing.TB
	did, why string
}

func (r *recorder) Skip(args ...any)  { r.note("skip", args) }
func (r *recorder) Fatal(args ...any) { r.note("fatal", args) }

func (r *recorder) note(did string, args []any) {
	if r.did == "" { // a real one would not have returned
		r.did, r.why = did, fmt.Sprint(args...)
	}
}

func TestAProgramIsStartedAgainSignalledAndKilled(t *testing.T) {
	l := Start(t)
	addr := ok(l.FreeAddr())(t)
	p := ok(l.Program(ProgramOptions{Name: "prog", Args: childServer(t, l, addr), Env: []string{childEnv + "=server"}, User: 65534, Group: 65534, Ready: addr}))(t)
	if err := p.Signal(syscall.SIGHUP); err != nil {
		t.Error(err)
	}
	if _, err := waitLog(soon(t), p.OutputPath(), regexp.MustCompile("^hangup$")); err != nil {
		t.Error(err)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := p.Err(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("ended with %v", err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	<-p.Exited()
	out := ok(os.ReadFile(p.OutputPath()))(t)
	if want := "up as 65534 in " + p.Dir() + "\n"; strings.Count(string(out), want) != 2 {
		t.Errorf("output %q", out)
	}
	if _, err := l.Program(ProgramOptions{Args: []string{"/bin/false"}, Ready: addr}); err == nil || !strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("a program that fails: %v", err)
	}
}

func TestAProgramThatDoesNotEndIsKilledWithItsChildren(t *testing.T) {
	l := Start(t)
	deaf := "trap '' TERM; sleep 1000 & sleep 1000 & echo deaf; while :; do wait; done"
	p := ok(l.Program(ProgramOptions{Name: "deaf", Args: []string{"/bin/sh", "-c", deaf}, Grace: 50 * time.Millisecond}))(t)
	if _, err := waitLog(soon(t), p.OutputPath(), regexp.MustCompile("deaf")); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), "was killed") {
		t.Errorf("%v", err)
	}
	if left := processesOf(t, p.Dir()); len(left) != 0 {
		t.Errorf("still there: %q", left)
	}
}

func TestAProgramThatEndsByItselfLeavesNothing(t *testing.T) {
	l := Start(t)
	p := ok(l.Program(ProgramOptions{Name: "parent", Args: []string{"/bin/sh", "-c", "sleep 1000 & exit 7"}}))(t)
	var exit *exec.ExitError
	if err := p.Err(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("ended with %v", err)
	}
	if left := processesOf(t, p.Dir()); len(left) != 0 {
		t.Errorf("still there: %q", left)
	}
	if err := p.Signal(syscall.SIGHUP); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signal: %v", err)
	}
}

func TestTailGivesTheLastLines(t *testing.T) {
	path := t.TempDir() + "/log"
	for text, want := range map[string]string{"": "", "a": "a", "a\n": "a\n", "a\nb\nc\n": "b\nc\n", "a\nb\nc": "b\nc", "\n\n\n": "\n\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := tail(path, 2); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestWaitLogReadsOnlyWholeLinesAndOnlyOnce(t *testing.T) {
	path := t.TempDir() + "/log"
	if err := os.WriteFile(path, []byte("one\ntwo a"), 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, _ = f.WriteString("b\n")
			_ = f.Close()
		}
	}()
	got := ok(waitLog(soon(t), path, regexp.MustCompile(`^two (\w+)$`)))(t)
	if got[1] != "ab" {
		t.Errorf("got %q", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := waitLog(ctx, path, regexp.MustCompile(`three`)); err == nil {
		t.Error("found what is not there")
	}
}

// hop gives an SMTP server as a Postfix transport and next hop.
func hop(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	return "smtp:[" + host + "]:" + port
}
