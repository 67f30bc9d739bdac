package e2e

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
)

// program is the built weir, made once for all tests of the package.
var program string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil { // the daemon runs as somebody else
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	program = filepath.Join(dir, "weir")
	args := []string{"build", "-o", program}
	if raceEnabled {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "../../weir")...).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building weir: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// wait bounds everything that a test waits for.
const wait = 90 * time.Second

// options says what a site is made of; the zero value is right for most tests.
type options struct {
	config    string            // further configuration, in front of the sections' ends
	policy    string            // the policy file; empty: the shipped one
	people    string            // the directory file
	lists     map[string]string // "block/local.txt": content
	mode      string
	onError   string
	stateDir  string // instead of the folder state
	aliases   map[string]string
	postfix   func(*lab.PostfixOptions)
	sieve     map[string]string
	users     []string // who has a mailbox; empty: users()
	dovecot   string   // further dovecot.conf
	sasl      bool     // Postfix takes the logins of the mailboxes
	sendmail  bool
	dkim      string // a domain that outbound releases are signed for
	noStart   bool
	recipient []string // that exist; empty: all of the domain
}

// site is a mail host: an MTA with weir as its milter, and mailboxes.
type site struct {
	t       *testing.T
	lab     *lab.Lab
	dir     string
	config  string
	weir    *lab.Program
	sidecar *lab.Program
	probe   string // a user whose mailbox is there
	boxes   *lab.Dovecot
	postfix *lab.Postfix
	sendm   *lab.Sendmail
	dkim    *lab.OpenDKIM
	outside *smtptest.Sink
}

func (o *options) needs() []lab.Need {
	needs := []lab.Need{lab.NeedPostfix, lab.NeedDovecot}
	if o.sendmail {
		needs = []lab.Need{lab.NeedSendmail, lab.NeedDovecot}
	}
	if o.dkim != "" {
		needs = append(needs, lab.NeedOpenDKIM)
	}
	return needs
}

func users() []string {
	return []string{"alice@lab.test", "bob@lab.test", "carol@lab.test", "jürgen@lab.test"}
}

func newSite(t *testing.T, o options) *site {
	t.Helper()
	s := &site{t: t, lab: lab.Start(t, o.needs()...)}
	s.dir = filepath.Join(s.lab.Dir(), "site")
	s.must(os.Mkdir(s.dir, 0o755))
	s.must(os.Chown(s.dir, nobody, postdrop(t)))
	t.Cleanup(func() {
		if t.Failed() {
			s.showLogs()
		}
	})
	var err error
	if len(o.users) == 0 {
		o.users = users()
	}
	if o.dovecot != "" {
		s.must(os.WriteFile(filepath.Join(s.lab.Dir(), "master-users"), []byte("sidecar:{PLAIN}"+masterSecret+"\n"), 0o644))
		o.dovecot = fmt.Sprintf(o.dovecot, s.lab.Dir())
	}
	s.probe = o.users[0]
	s.boxes, err = s.lab.Dovecot(lab.DovecotOptions{Users: o.users, Sieve: o.sieve, Config: o.dovecot})
	s.must(err)
	s.outside, err = smtptest.NewSink(smtptest.SinkOptions{Addr: s.freeAddr()})
	s.must(err)
	t.Cleanup(func() { _ = s.outside.Close() })
	if o.dkim != "" {
		s.dkim, err = s.lab.OpenDKIM(o.dkim)
		s.must(err)
	}
	if o.sendmail {
		s.startSendmail(&o)
	} else {
		s.startPostfix(&o)
	}
	s.configure(&o)
	if !o.noStart {
		s.start()
	}
	return s
}

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) freeAddr() string {
	s.t.Helper()
	addr, err := s.lab.FreeAddr()
	s.must(err)
	return addr
}

// The daemon runs as nobody, in the group that may use Postfix's re-injection
// sockets.
const nobody = 65534

func postdrop(t testing.TB) int {
	t.Helper()
	g, err := user.LookupGroup("postdrop")
	if err != nil {
		return nobody // without Postfix there is none, and none is needed
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		t.Fatal(err)
	}
	return gid
}

func (s *site) socket() string { return filepath.Join(s.dir, "milter.sock") }

func (s *site) startPostfix(o *options) {
	s.t.Helper()
	p := lab.PostfixOptions{
		Domains: []string{"lab.test"}, DeliverTo: s.boxes.LMTP(), Recipients: o.recipient, RelayTo: s.outside.Hop(), Aliases: o.aliases,
		Milters: []string{"unix:" + s.socket()},
		Listeners: []lab.PostfixListener{
			{Name: "weir-inbound", Unix: true, Main: map[string]string{"receive_override_options": "no_header_body_checks"}},
			{Name: "weir-outbound", Unix: true, Main: map[string]string{"receive_override_options": "no_header_body_checks"}},
		},
		Main: map[string]string{"milter_default_action": "tempfail", "enable_original_recipient": "yes", "enable_long_queue_ids": "yes", "smtputf8_enable": "yes", "message_size_limit": "104857600"},
	}
	if o.sasl {
		p.SASL = s.boxes.Auth()
	}
	if s.dkim != nil {
		p.Listeners[1].Milters = []string{s.dkim.Milter()}
	}
	if o.postfix != nil {
		o.postfix(&p)
	}
	var err error
	s.postfix, err = s.lab.Postfix(p)
	s.must(err)
}

func (s *site) startSendmail(o *options) {
	s.t.Helper()
	var err error
	s.sendm, err = s.lab.Sendmail(lab.SendmailOptions{
		Domains: []string{"lab.test"}, LMTPAddr: s.boxes.LMTPAddr(), SMTPAddr: s.outside.Addr(), Aliases: o.aliases,
		Milters: []string{"S=unix:" + s.socket() + ", F=T, T=C:10s;S:30s;R:30s;E:5m"}, Listeners: []string{"weir-inbound"},
	})
	s.must(err)
}

func (s *site) reinjectAddress(name string) string {
	if s.sendm != nil {
		return s.sendm.Addr("weir-inbound")
	}
	return "unix:" + s.postfix.Addr(name)
}

func (s *site) configure(o *options) {
	s.t.Helper()
	for _, d := range []string{"block", "allow", "watch"} {
		s.must(os.MkdirAll(filepath.Join(s.dir, "lists", d), 0o755))
	}
	for name, content := range o.lists {
		s.write(filepath.Join("lists", name), content)
	}
	policy, directory := "", ""
	if o.policy != "" {
		policy = fmt.Sprintf("file = %q\n", s.write("policy.toml", o.policy))
	}
	if o.people != "" {
		directory = fmt.Sprintf("[directory]\nfile = %q\n", s.write("people.csv", o.people))
	}
	state := cmp.Or(o.stateDir, filepath.Join(s.dir, "state"))
	s.config = s.write("weir.toml", fmt.Sprintf(`
[state]
dir = %q
[milter]
listen = [%q]
socket_group = ""
socket_mode = "0666"
message_size_limit = "40MiB"
[control]
listen = %q
[metrics]
listen = %q
[mail]
local_domains = ["lab.test"]
internal_networks = ["10.0.0.0/8"]
[lists]
dir = "lists"
[policy]
mode = %q
on_error = %q
%s%s[reinject]
timeout = "30s"
[reinject.inbound]
address = %q
[reinject.outbound]
address = %q
%s`, state, "unix:"+s.socket(), "unix:"+filepath.Join(s.dir, "control.sock"), "unix:"+filepath.Join(s.dir, "metrics.sock"),
		cmp.Or(o.mode, "enforce"), cmp.Or(o.onError, "tempfail"), policy, directory, s.reinjectAddress("weir-inbound"), s.reinjectAddress("weir-outbound"), o.config))
}

// write replaces a file of the site as an editor does.
func (s *site) write(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	s.must(os.WriteFile(path+"~", []byte(content), 0o644))
	s.must(os.Rename(path+"~", path))
	return path
}

// start starts the daemon and waits until it judges.
func (s *site) start() {
	s.t.Helper()
	if s.weir == nil {
		var err error
		s.weir, err = s.lab.Program(lab.ProgramOptions{
			Name: "weir", Args: []string{program, "serve", "--config", s.config}, User: nobody, Group: uint32(postdrop(s.t)),
			Ready: "unix:" + s.socket(), Grace: time.Minute,
		})
		s.must(err)
	} else {
		s.must(s.weir.Start())
	}
	s.ready()
}

func (s *site) ready() {
	s.t.Helper()
	s.eventually("the daemon is ready", func() (bool, error) {
		out, err := s.try("status", "--json")
		return err == nil && bytes.Contains(out, []byte(`"state": "ready"`)), nil
	})
}

func (s *site) eventually(what string, f func() (bool, error)) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), wait)
	defer cancel()
	if err := lab.Poll(ctx, f); err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

// exitError is a command that did not end with 0.
type exitError struct {
	code int
	text string
}

func (e *exitError) Error() string { return fmt.Sprintf("exit status %d: %s", e.code, e.text) }

// try runs a weir command and gives its standard output.
func (s *site) try(args ...string) ([]byte, error) { return s.tryWith(s.config, args...) }

func (s *site) tryWith(config string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), wait)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append(args, "--config", config)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return stdout.Bytes(), &exitError{exit.ExitCode(), stdout.String() + stderr.String()}
	}
	return stdout.Bytes(), err
}

// weirCmd runs a weir command that has to succeed.
func (s *site) weirCmd(args ...string) []byte {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("weir %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// item is a quarantine item as `weir quarantine list --json` shows it.
type item struct {
	ID         string `json:"id"`
	State      string `json:"state"`
	Rule       string `json:"rule"`
	Direction  string `json:"direction"`
	Sender     string `json:"sender"`
	Subject    string `json:"subject"`
	Client     string `json:"client"`
	Recipients []struct {
		Address string `json:"address"`
		State   string `json:"state"`
	} `json:"recipients"`
}

func (s *site) items(args ...string) []item {
	s.t.Helper()
	var page struct {
		Items []item `json:"items"`
	}
	out := s.weirCmd(append([]string{"quarantine", "list", "--json", "--all"}, args...)...)
	if err := json.Unmarshal(out, &page); err != nil {
		s.t.Fatalf("%v in %s", err, out)
	}
	return page.Items
}

func (i *item) to() (to []string) {
	for _, r := range i.Recipients {
		to = append(to, r.Address)
	}
	slices.Sort(to)
	return to
}

// stranger is a client from outside.
const stranger = "ADDR=203.0.113.9 NAME=mail.sender.test HELO=mail.sender.test"

func (s *site) client(xclient string) *smtptest.Client {
	s.t.Helper()
	addr := ""
	if s.sendm != nil {
		addr, xclient = s.sendm.Addr(""), ""
	} else {
		addr = s.postfix.Addr("")
	}
	c, err := smtptest.Dial(s.t.Context(), addr, smtptest.Options{XClient: xclient, Helo: "mail.sender.test", Timeout: wait})
	s.must(err)
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// send hands over one message from outside and gives the answers.
func (s *site) send(m smtptest.Mail) smtptest.Result {
	s.t.Helper()
	return s.sendAs(stranger, m)
}

func (s *site) sendAs(xclient string, m smtptest.Mail) smtptest.Result {
	s.t.Helper()
	c := s.client(xclient)
	defer func() { _ = c.Close() }()
	r, err := c.Send(m)
	s.must(err)
	return r
}

// letter is a message with this subject and body, from outside to alice.
func letter(subject, body string, to ...string) smtptest.Mail {
	if len(to) == 0 {
		to = []string{"alice@lab.test"}
	}
	return smtptest.Mail{From: "s@sender.test", To: to, Data: []byte("From: Sender <s@sender.test>\r\nTo: " + strings.Join(to, ", ") + "\r\nSubject: " + subject +
		"\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <" + subject + "@sender.test>\r\n\r\n" + body + "\r\n")}
}

// wentOutside waits until n messages have left for elsewhere.
func (s *site) wentOutside(n int) []smtptest.Message {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), wait)
	defer cancel()
	got, err := s.outside.Wait(ctx, n)
	s.must(err)
	return got
}

// mailbox waits until a user's inbox holds n messages, and nothing is on its
// way that could add to them.
func (s *site) mailbox(user string, n int) []lab.StoredMail {
	s.t.Helper()
	s.idle()
	ctx, cancel := context.WithTimeout(s.t.Context(), wait)
	defer cancel()
	if n == 0 {
		mails, err := s.boxes.Mailbox(user, "INBOX")
		s.must(err)
		if len(mails) != 0 {
			s.t.Fatalf("%s has %d messages", user, len(mails))
		}
		return nil
	}
	mails, err := s.boxes.Wait(ctx, user, "INBOX", n)
	s.must(err)
	if len(mails) != n {
		s.t.Fatalf("%s has %d messages, want %d", user, len(mails), n)
	}
	return mails
}

// idle waits until the MTA's queue is empty.
func (s *site) idle() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), wait)
	defer cancel()
	if s.sendm != nil {
		s.must(s.sendm.WaitIdle(ctx))
		return
	}
	s.must(s.postfix.WaitIdle(ctx))
}

// header gives the value of a field in the message as it lies in the mailbox.
func header(raw []byte, name string) string {
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimRight(value, "\r\n")
		}
		if strings.TrimRight(line, "\r\n") == "" {
			break
		}
	}
	return ""
}

// body gives what follows the header, lines ending in LF.
func body(raw []byte) string {
	_, after, _ := strings.Cut(strings.ReplaceAll(string(raw), "\r\n", "\n"), "\n\n")
	return after
}

func (s *site) showLogs() {
	if s.weir == nil {
		return
	}
	out, err := os.ReadFile(s.weir.OutputPath())
	if err != nil {
		return
	}
	if len(out) > 8000 {
		out = out[len(out)-8000:]
	}
	s.t.Logf("weir's log:\n%s", out)
}

type storedMail = lab.StoredMail

func errorsAs(err error, target any) bool { return errors.As(err, target) }

func (s *site) read(name string) []byte {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	s.must(err)
	return b
}

// clientFrom connects as a client of this address: as Postfix is told, or for
// Sendmail, which takes no telling, from this loopback address.
func (s *site) clientFrom(told, loopback string) *smtptest.Client {
	s.t.Helper()
	if s.sendm == nil {
		return s.client("ADDR=" + told)
	}
	c, err := smtptest.Dial(s.t.Context(), s.sendm.Addr(""), smtptest.Options{LocalIP: loopback, Helo: "mail.sender.test", Timeout: wait})
	s.must(err)
	return c
}

// http asks the metrics listener.
func (s *site) http(path string) string {
	s.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(s.dir, "metrics.sock"))
	}}}
	answer, err := client.Get("http://weir" + path)
	s.must(err)
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(answer.Body)
	s.must(err)
	return string(b)
}
