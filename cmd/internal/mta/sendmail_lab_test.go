package mta

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/quarantine/reinject"
)

// complete has the fields that Sendmail would add.
var complete = []byte("Subject: one\r\n\ttwo\r\nFrom: <alice@lab.test>\r\nTo: team@lab.test\r\nDate: Mon, 6 Jan 2025 10:00:00 +0000\r\n" +
	"Message-ID: <1@client.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
	"Hello.\r\n.\r\n..dots\r\nGr\xc3\xbc\xc3\x9fe\r\n" + strings.Repeat("x", 900) + "\r\n\r\n")

// sendmailSite is a Sendmail with the snippet's lines.
type sendmailSite struct {
	mta   *lab.Sendmail
	local *smtptest.Sink
	out   *smtptest.Sink
	cfg   *config.Config
	front string // the address of port 25
	weir  *filter
	dkim  *lab.OpenDKIM
}

func newSendmailSite(t *testing.T, routes string, certFiles ...string) *sendmailSite {
	t.Helper()
	l := lab.Start(t, lab.NeedSendmail, lab.NeedOpenDKIM)
	s := &sendmailSite{local: sink(t, smtptest.SinkOptions{LMTP: true}), out: sink(t, smtptest.SinkOptions{}), front: freeAddr(t, l)}
	s.dkim = must(l.OpenDKIM("lab.test"))(t)
	caFile, _ := certificate(t, l.Dir(), "ca.weir.test")
	certFile, keyFile := certificate(t, l.Dir(), "mx2.lab.test")
	mux := filepath.Join(l.Dir(), "saslauthd")
	serveLogins(t, mux, "weir", "secret")
	if err := errors.Join(
		os.Mkdir(filepath.Join(l.Dir(), "sasl"), 0o755),
		os.WriteFile(filepath.Join(l.Dir(), "sasl", "Sendmail.conf"), []byte("pwcheck_method: saslauthd\nsaslauthd_path: "+mux+"\nmech_list: PLAIN\n"), 0o644),
		os.WriteFile(filepath.Join(l.Dir(), "password"), []byte("secret\n"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	s.cfg = parse(t, weirTOML(l.Dir(), strings.NewReplacer("@IN@", freeAddr(t, l), "@OUT@", freeAddr(t, l), "@DIR@", l.Dir()).Replace(routes)))
	// A client shows its certificate to a server that names its authority.
	authorities := must(os.OpenFile(caFile, os.O_APPEND|os.O_WRONLY, 0))(t)
	for _, file := range certFiles {
		if _, err := authorities.Write(must(os.ReadFile(file))(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := authorities.Close(); err != nil {
		t.Fatal(err)
	}
	snippet := must(SendmailSnippet(SendmailOptions{Config: s.cfg, User: fmt.Sprint(weirUID), Signer: "opendkim"}))(t)
	for _, c := range commands(snippet, "install") {
		run(t, c...)
	}
	s.weir = serve(t, listen(t, s.cfg))

	host, port, _ := net.SplitHostPort(s.front)
	dkimHost, dkimPort, _ := net.SplitHostPort(strings.TrimPrefix(s.dkim.Milter(), "inet:"))
	mc := fmt.Sprintf("define(`confAUTH_MECHANISMS', `PLAIN')dnl\ndefine(`confAUTH_OPTIONS', `A')dnl\n"+
		"define(`confCACERT', `%s')dnl\ndefine(`confCACERT_PATH', `/etc')dnl\ndefine(`confSERVER_CERT', `%s')dnl\ndefine(`confSERVER_KEY', `%s')dnl\n"+
		"MAIL_FILTER(`opendkim', `S=inet:%s@%s, F=T')dnl\nDAEMON_OPTIONS(`Name=front, Addr=%s, Port=%s')dnl\n"+
		"LOCAL_CONFIG\nESASL_CONF_PATH=%s\n", caFile, certFile, keyFile, dkimPort, dkimHost, host, port, filepath.Join(l.Dir(), "sasl"))
	s.mta = must(l.Sendmail(lab.SendmailOptions{
		Domains: []string{"lab.test"}, LMTPAddr: s.local.Addr(), SMTPAddr: s.out.Addr(),
		Aliases: map[string]string{"team@lab.test": "alice@lab.test, bob@lab.test"},
		// A rule of the admin's own, by which released mail must pass.
		Config: mc + part(snippet, "sendmail.mc") + "SLocal_check_mail\nR<held@client.test>\t\t$# error $@ 5.7.1 $: \"550 by sender\"\n",
	}))(t)
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := os.ReadFile(s.mta.LogPath())
			t.Logf("%s\n%s", snippet, log)
		}
	})
	return s
}

// serveLogins answers as saslauthd(8) does: of four strings with a length before
// each, the first is the login and the second the password.
func serveLogins(t *testing.T, path, login, password string) {
	t.Helper()
	ln := must(net.Listen("unix", path))(t)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			var fields [4]string
			r := bufio.NewReader(conn)
			for i := range fields {
				var n uint16
				if err := binary.Read(r, binary.BigEndian, &n); err != nil {
					break
				}
				b := make([]byte, n)
				if _, err := io.ReadFull(r, b); err != nil {
					break
				}
				fields[i] = string(b)
			}
			answer := "\x00\x02NO"
			if fields[0] == login && fields[1] == password || fields[0] == "other" {
				answer = "\x00\x02OK"
			}
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}()
}

const loginRoutes = `
[reinject.inbound]
address = "@IN@"
username = "weir"
password_file = "@DIR@/password"
[reinject.outbound]
address = "@OUT@"
username = "weir"
password_file = "@DIR@/password"
`

func TestTheSendmailSnippetWorksWithALogin(t *testing.T) {
	s := newSendmailSite(t, loginRoutes)

	t.Run("mail passes Weir", func(t *testing.T) {
		c := must(smtptest.Dial(soon(t), s.front, smtptest.Options{}))(t)
		defer func() { _ = c.Close() }()
		if r := must(c.Send(smtptest.Mail{From: "ann@client.test", To: []string{"team@lab.test"}, Data: complete}))(t); !r.Accepted() {
			t.Fatalf("%+v", r)
		}
		seen := s.weir.take()
		if len(seen) != 1 || len(seen[0].To) != 1 || seen[0].To[0].Address() != "team@lab.test" || !seen[0].Client.Addr.IsLoopback() || seen[0].Local {
			t.Fatalf("Weir saw %+v", seen)
		}
		for _, m := range must(s.local.Wait(soon(t), 1))(t) {
			if !bytes.Contains(m.Data, []byte("X-Weir-ID: seen\r\n")) {
				t.Errorf("not marked: %s", m.Data)
			}
		}
		if err := s.mta.WaitIdle(soon(t)); err != nil {
			t.Error(err)
		}
		s.local.Reset()
	})
	s.returns(t)

	t.Run("nobody else gets in", func(t *testing.T) {
		for _, r := range []*config.Route{&s.cfg.Reinject.Inbound, &s.cfg.Reinject.Outbound} {
			c := must(smtptest.Dial(soon(t), r.Address.Address, smtptest.Options{}))(t)
			refused(t, c)
			c = must(smtptest.Dial(soon(t), r.Address.Address, smtptest.Options{}))(t)
			if reply := must(c.Command("AUTH PLAIN AG90aGVyAHg="))(t); reply.Code != 235 { // other, x
				t.Fatalf("a valid login of somebody else: %s", reply)
			}
			refused(t, c)
		}
	})

	t.Run("while Weir is down mail comes again", func(t *testing.T) {
		if err := os.Remove(s.cfg.Milter.Listen[0].Address); err != nil {
			t.Fatal(err)
		}
		c := must(smtptest.Dial(soon(t), s.front, smtptest.Options{}))(t)
		defer func() { _ = c.Close() }()
		if r := must(c.Send(smtptest.Mail{From: "ann@client.test", To: []string{"team@lab.test"}, Data: complete}))(t); r.Code()/100 != 4 {
			t.Errorf("%+v", r)
		}
	})
}

func refused(t *testing.T, c *smtptest.Client) {
	t.Helper()
	defer func() { _ = c.Close() }()
	for _, from := range []string{"", "alice@lab.test"} {
		r := must(c.Send(smtptest.Mail{From: from, To: []string{"alice@lab.test"}, Data: complete}))(t)
		if r.Code() != 550 {
			t.Errorf("a stranger was told %+v", r)
		}
	}
}

// returns releases a message each way.
func (s *sendmailSite) returns(t *testing.T) {
	t.Helper()
	t.Run("inbound mail returns as it was", func(t *testing.T) {
		allSent(t, release(t, &s.cfg.Reinject.Inbound, "weir.test", mail(complete, "held@client.test", "team@lab.test")))
		m := must(s.local.Wait(soon(t), 1))(t)[0]
		onlyReceivedBefore(t, m.Data, complete)
		to := slices.Sorted(slices.Values(m.To))
		if m.From != "held@client.test" || !slices.Equal(to, []string{"alice@lab.test", "bob@lab.test"}) {
			t.Errorf("from %q to %q", m.From, m.To)
		}
		allSent(t, release(t, &s.cfg.Reinject.Inbound, "weir.test", mail(complete, "", "bob@lab.test")))
		if m := must(s.local.Wait(soon(t), 2))(t)[1]; m.From != "" {
			t.Errorf("from %q", m.From)
		}
		if seen := s.weir.take(); len(seen) != 0 {
			t.Errorf("Weir saw it again: %+v", seen)
		}
	})
	t.Run("outbound mail returns with a signature", func(t *testing.T) {
		allSent(t, release(t, &s.cfg.Reinject.Outbound, "weir.test", mail(complete, "alice@lab.test", "x@else.test", "y@else.test")))
		m := must(s.out.Wait(soon(t), 1))(t)[0]
		if err := s.dkim.Verify(soon(t), m.Data); err != nil {
			t.Errorf("%v\n%s", err, m.Data)
		}
		if !bytes.HasSuffix(m.Data, complete) || len(m.To) != 2 || m.From != "alice@lab.test" {
			t.Errorf("from %q to %q: %s", m.From, m.To, m.Data)
		}
		if seen := s.weir.take(); len(seen) != 0 {
			t.Errorf("Weir saw it again: %+v", seen)
		}
	})
}

func TestTheSendmailSnippetWorksWithACertificate(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := certificate(t, dir, "weir.test")
	otherCert, otherKey := certificate(t, dir, "other.test")
	route := `
address = "@%s@"
tls = "starttls"
tls_name = "mx2.lab.test"
tls_ca_file = "@DIR@/mx2.lab.test.pem"
tls_cert_file = "` + certFile + `"
tls_key_file = "` + keyFile + `"
`
	s := newSendmailSite(t, "[reinject.inbound]"+fmt.Sprintf(route, "IN")+"[reinject.outbound]"+fmt.Sprintf(route, "OUT"), certFile, otherCert)
	s.returns(t)

	t.Run("nobody else gets in", func(t *testing.T) {
		stranger := s.cfg.Reinject.Inbound
		stranger.TLSKeyFile = config.Path(otherKey)
		for _, certFile := range []config.Path{config.Path(otherCert), ""} {
			stranger.TLSCertFile = certFile
			results := release(t, &stranger, "weir.test", mail(complete, "held@client.test", "alice@lab.test"))
			if len(results) != 1 || results[0].Status != reinject.Refused {
				t.Errorf("a stranger was told %+v", results)
			}
		}
		c := must(smtptest.Dial(soon(t), stranger.Address.Address, smtptest.Options{}))(t)
		refused(t, c)
	})
}
