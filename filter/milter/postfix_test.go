package milter_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

// postfix is a Postfix of the test's own, with listeners that differ in how they
// talk to the milter.
type postfix struct {
	mta
	tcp     string // SMTP listener whose milter is on TCP
	tcpSock string // where that one is looked for
	old     string // SMTP listener that speaks version 2 of the milter protocol
	noReply string // SMTP listener that does not wait long for the milter
}

func startPostfix(t testing.TB) *postfix {
	t.Helper()
	requireE2E(t, postfixMissing())
	p := &postfix{tcp: freePort(t), tcpSock: freePort(t), old: freePort(t), noReply: freePort(t)}
	p.name, p.smtp, p.sink, p.dir = "Postfix", freePort(t), startSink(t), openDir(t, "postfix")
	p.sock = p.dir + "/milter.sock"
	sinkHost, sinkPort, _ := net.SplitHostPort(p.sink.address)
	writeFile(t, p.dir+"/etc/main.cf", fmt.Sprintf(`
compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/log/mail.log
maillog_file_prefixes = %[1]s/log
inet_interfaces = 127.0.0.1
inet_protocols = all
myhostname = mx.example.org
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access inline:{{bad@example.org=REJECT}}
virtual_alias_maps = inline:{{team@example.org=alice@example.org}}
relay_domains = example.org
transport_maps = inline:{{nowhere.example.org=discard:}}
default_transport = smtp:[%[2]s]:%[3]s
relay_transport = smtp:[%[2]s]:%[3]s
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtp_line_length_limit = 0
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_tls_security_level = may
smtpd_tls_chain_files = %[1]s/etc/key.pem
smtpd_tls_session_cache_database =
in_flow_delay = 0
smtpd_milters = unix:%[4]s
non_smtpd_milters = unix:%[4]s
milter_default_action = tempfail
`, p.dir, sinkHost, sinkPort, p.sock))
	var master strings.Builder
	for _, l := range []string{
		p.smtp + " inet n - n - - smtpd",
		p.tcp + " inet n - n - - smtpd -o smtpd_milters=inet:" + p.tcpSock,
		p.old + " inet n - n - - smtpd -o milter_protocol=2",
		p.noReply + " inet n - n - - smtpd -o milter_content_timeout=2s -o milter_command_timeout=2s",
		"pickup unix n - n 60 1 pickup",
		"cleanup unix n - n - 0 cleanup",
		"qmgr unix n - n 300 1 qmgr",
		"rewrite unix - - n - - trivial-rewrite",
		"bounce unix - - n - 0 bounce",
		"defer unix - - n - 0 bounce",
		"trace unix - - n - 0 bounce",
		"smtp unix - - n - - smtp",
		"discard unix - - n - - discard",
		"error unix - - n - - error",
		"retry unix - - n - - error",
		"anvil unix - - n - 1 anvil",
		"showq unix n - n - - showq",
		"tlsmgr unix - - n 1000? 1 tlsmgr",
		"proxymap unix - - n - - proxymap",
		"postlog unix-dgram n - n - 1 postlogd",
	} {
		master.WriteString(l + "\n")
	}
	writeFile(t, p.dir+"/etc/master.cf", master.String())
	writeFile(t, p.dir+"/etc/key.pem", selfSigned(t, "mx.example.org"))
	for _, dir := range []string{"queue", "data", "log"} {
		if err := os.Mkdir(p.dir+"/"+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(owner.Uid)
	if err := os.Chown(p.dir+"/data", uid, -1); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("postfix", "-c", p.dir+"/etc", "check").CombinedOutput(); err != nil {
		t.Fatalf("postfix check: %v: %s", err, out)
	}
	cmd := exec.Command("/usr/lib/postfix/sbin/master", "-c", p.dir+"/etc", "-s")
	cmd.Env = append(os.Environ(), "MAIL_CONFIG="+p.dir+"/etc")
	daemon(t, cmd, syscall.SIGTERM, p.smtp)
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(p.dir + "/log/mail.log")
			t.Logf("the end of Postfix's log:\n%s", log[max(0, len(log)-4000):])
		}
	})
	return p
}

func postfixMissing() error {
	if os.Getuid() != 0 {
		return errors.New("only root can start Postfix")
	}
	if _, err := os.Stat("/usr/lib/postfix/sbin/master"); err != nil {
		return fmt.Errorf("the Debian package postfix is missing: %w", err)
	}
	return nil
}

func TestPostfix(t *testing.T) {
	p := startPostfix(t)
	coreCases(t, &p.mta)

	t.Run("the bytes are those that are delivered, where Postfix changes them too", func(t *testing.T) {
		s := serveAt(t, &p.mta, nil)
		for _, raw := range []string{
			complete("bare\rCR\r\n\r\r\nbare\nLF\n\n.\n..\r\nx\r\n"),
			"X-Cr: a\rb\r\nX-Fold: a\r\r\n b\r\n" + complete("x\r\n"),
			"X-Lf: a\n b\nX-Next: c\r\n" + complete("x\r\n"),
			"X-Long: " + strings.Repeat("0123456789", 15_000) + "\r\n" + complete("x\r\n"),
			"X-Long:" + strings.Repeat(" 0123456789\r\n", 15_000) + complete("x\r\n"),
			"Bcc: b@example.org\r\nReturn-Path: <r@sender.example>\r\nContent-Length: 7\r\n" + complete("x\r\n"),
			"Received: from a\r\n\tby b; Fri, 20 Nov 2026 10:00:00 +0000\r\n" + complete("x\r\n"),
			strings.Repeat("X-Many: m\r\n", 5000) + complete("x\r\n"),
		} {
			d := sendRaw(t, &p.mta, raw)
			checkCopy(t, s.take(), d)
		}
	})

	t.Run("over TCP", func(t *testing.T) {
		ln, err := milter.Listen(milter.Socket{Network: "tcp", Address: p.tcpSock})
		if err != nil {
			t.Fatal(err)
		}
		s := serveOn(t, ln, nil)
		c := dialSMTP(t, p.tcp)
		for range 5 {
			c.message("250", "<s@sender.example>", []string{"<a@example.org>"}, complete("hello\r\n"))
			checkCopy(t, s.take(), p.sink.next(t))
		}
	})

	t.Run("with version 2 of the protocol", func(t *testing.T) {
		s := serveAt(t, &p.mta, nil)
		s.set(func(context.Context, *milter.Mail) verdict.Answer {
			return verdict.Answer{Action: intel.ActionAccept, Remove: []int{1},
				Edits: []verdict.Edit{{Op: verdict.EditInsert, Name: "X-Weir", Value: "yes"}}}
		})
		c := dialSMTP(t, p.old)
		for range 2 {
			c.message("250", "<s@sender.example>", []string{"<a@example.org>", "<b@example.org>"}, complete("hello\r\n"))
			got := p.sink.next(t)
			if want := "X-Weir: yes\r\nReceived: "; !strings.HasPrefix(got.raw, want) {
				t.Errorf("delivered %.100q, want %q", got.raw, want)
			}
			if want := []string{"<a@example.org>"}; !slices.Equal(got.to, want) {
				t.Errorf("delivered to %v, want %v", got.to, want)
			}
			got.raw = strings.TrimPrefix(got.raw, "X-Weir: yes\r\n")
			checkCopy(t, s.take(), got)
		}
	})

	t.Run("a slow handler makes it wait, since progress is told", func(t *testing.T) {
		slowHandler(t, &p.mta, p.noReply)
	})

	t.Run("a message with SMTPUTF8", func(t *testing.T) {
		s := serveAt(t, &p.mta, nil)
		c := dialSMTP(t, p.smtp)
		c.do("250", "MAIL FROM:<jürgen@sender.example> SMTPUTF8 BODY=8BITMIME")
		c.do("250", "RCPT TO:<дом@example.org>")
		c.data("250", complete("Gr\u00fc\u00dfe\r\n"))
		calls := s.take()
		checkCopy(t, calls, p.sink.next(t))
		e := calls[0].envelope
		if e.From.Raw != "<jürgen@sender.example>" || !slices.Equal(e.From.Args, []string{"SMTPUTF8", "BODY=8BITMIME"}) ||
			len(e.To) != 1 || e.To[0].Raw != "<дом@example.org>" {
			t.Errorf("envelope %+v", e)
		}
	})

	t.Run("local submission is told from SMTP", func(t *testing.T) {
		s := serveAt(t, &p.mta, nil)
		s.set(func(context.Context, *milter.Mail) verdict.Answer {
			return verdict.Answer{Action: intel.ActionAccept, Remove: []int{1}}
		})
		cmd := exec.Command("sendmail", "-C", p.dir+"/etc", "-f", "<>", "a@example.org", "b@example.org", `"c c"@example.org`)
		cmd.Stdin = strings.NewReader("Subject: x\n\nhello\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		got := p.sink.next(t)
		if want := []string{"<a@example.org>", `<"c c"@example.org>`}; !slices.Equal(got.to, want) {
			t.Errorf("delivered to %v, want %v", got.to, want)
		}
		calls := s.take()
		checkCopy(t, calls, got)
		e := calls[0].envelope
		if !e.Local || e.From.Address() != "" || e.To[1].Raw != "b@example.org" || e.QueueID == "" {
			t.Errorf("envelope %+v", e)
		}
	})

	t.Run("login and encryption are seen, in each message of the session", func(t *testing.T) {
		s := serveAt(t, &p.mta, nil)
		c := dialSMTP(t, p.smtp)
		c.message("250", "<s@sender.example>", []string{"<a@example.org>"}, complete("plain\r\n"))
		p.sink.next(t)
		c.do("220", "STARTTLS")
		secure := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true})
		c.conn, c.in = secure, bufio.NewReader(secure)
		c.do("250", "EHLO client.example")
		c.message("250", "<s@sender.example>", []string{"<a@example.org>"}, complete("encrypted\r\n"))
		p.sink.next(t)
		c.do("220", "XCLIENT LOGIN=sam ADDR=192.0.2.9 PORT=99 NAME=client.example")
		c.do("250", "EHLO client.example")
		for range 2 {
			c.message("250", "<s@sender.example>", []string{"<a@example.org>"}, complete("with login\r\n"))
			p.sink.next(t)
		}
		for i, want := range []struct{ tls, user string }{{"", ""}, {"TLSv1.3", ""}, {"TLSv1.3", "sam"}, {"TLSv1.3", "sam"}} {
			if e := s.calls[i].envelope; e.TLS != want.tls || e.AuthUser != want.user || e.Local {
				t.Errorf("message %d: %+v, want %+v", i, e, want)
			}
		}
	})

	t.Run("a client that a proxy does not describe is not local", func(t *testing.T) {
		s := serveAt(t, &p.mta, nil)
		for _, xclient := range []string{"ADDR=127.0.0.1 NAME=localhost PORT=[UNAVAILABLE]", "ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE]", "ADDR=IPV6:2001:db8::7 NAME=six.example PORT=99"} {
			c := dialSMTP(t, p.smtp)
			c.do("220", "XCLIENT %s", xclient)
			c.do("250", "EHLO client.example")
			c.message("250", "<s@sender.example>", []string{"<a@example.org>"}, complete("hello\r\n"))
			calls := s.take()
			checkCopy(t, calls, p.sink.next(t))
			if e := calls[0].envelope; e.Local {
				t.Errorf("%s: envelope %+v", xclient, e)
			} else if want := netip.MustParseAddr("2001:db8::7"); strings.Contains(xclient, "IPV6") && (e.Client.Addr != want || e.Client.Port != 99 || e.Client.Name != "six.example") {
				t.Errorf("%s: client %+v", xclient, e.Client)
			}
		}
	})
}

// selfSigned makes a key and a certificate for it.
func selfSigned(t testing.TB, name string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
}

// BenchmarkPostfix is how long a message of 10 KB takes an SMTP client of Postfix,
// four sessions at once, with ours as its milter and with the library's that
// accepts everything and is not asked for replies.
//
//	go test ./filter/milter -run '^$' -bench Postfix -benchtime 2000x
func BenchmarkPostfix(b *testing.B) {
	p := startPostfix(b)
	raw := string(benchMessage().Raw)
	for _, network := range []string{"unix", "tcp"} {
		for _, mode := range []string{"library-no-replies", "weir"} {
			b.Run(network+"/"+mode, func(b *testing.B) {
				smtp, address := p.smtp, p.sock
				if network == "tcp" {
					smtp, address = p.tcp, p.tcpSock
				}
				m := startBenchMilter(b, mode, network, address)
				clients := make(chan *smtpClient, benchSessions)
				for range cap(clients) {
					clients <- dialSMTP(b, smtp)
				}
				before := m.usage(b)
				b.ResetTimer()
				var wg sync.WaitGroup
				for range b.N {
					c := <-clients
					wg.Go(func() {
						c.message("250", "<s@sender.example>", []string{"<a@nowhere.example.org>"}, raw)
						clients <- c
					})
				}
				wg.Wait()
				b.StopTimer()
				m.report(b, before)
			})
		}
	}
}
