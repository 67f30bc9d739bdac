package mta

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/quarantine/reinject"
)

// sample has what an MTA would change if it looked: folds, odd spacing, a line
// that is too long for some, 8-bit bytes, dots, and no Date or Message-ID.
var sample = []byte("Subject: one\r\n\ttwo  \r\nX-Odd:   spaces \r\nFrom: ann\r\nTo: team, \"B\" <bob@lab.test>\r\n\r\n" +
	"Hello.\r\n.\r\n..dots\r\n\x80\xff\r\n" + strings.Repeat("x", 900) + "\r\n\r\n")

// site is a Postfix with the snippet's lines, as a mail admin would have it.
type site struct {
	t    *testing.T
	lab  *lab.Lab
	mta  *lab.Postfix
	sink *smtptest.Sink
	cfg  *config.Config
	weir *filter
}

// hostile is main.cf that would refuse, change or misdirect what returns if the
// listeners inherited it.
func hostile() map[string]string {
	const bySender = "check_sender_access inline:{ {held@client.test = REJECT} }"
	return map[string]string{
		"smtpd_milter_maps": "inline:{ {127.0.0.1 = unix:/nowhere} }", "content_filter": "smtp:[127.0.0.1]:1", "smtpd_proxy_filter": "127.0.0.1:1",
		"smtpd_command_filter": "static:QUIT", "smtpd_upstream_proxy_protocol": "haproxy",
		"smtpd_tls_security_level": "encrypt", "smtpd_tls_wrappermode": "yes", "mynetworks": "10.0.0.0/8",
		"smtpd_client_restrictions": "reject", "smtpd_helo_restrictions": "reject", "smtpd_relay_restrictions": "reject", "smtpd_sender_restrictions": bySender,
		"smtpd_recipient_restrictions": bySender, "smtpd_data_restrictions": bySender, "smtpd_end_of_data_restrictions": bySender,
		"smtpd_reject_unlisted_sender": "yes", "smtpd_reject_unlisted_recipient": "no", "smtpd_delay_reject": "no",
		"smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": "inet:127.0.0.1:1",
		"header_checks": "static:{REJECT by header}", "local_header_rewrite_clients": "static:all", "remote_header_rewrite_domain": "rewritten.invalid",
		"message_size_limit": "6000", "smtpd_recipient_limit": "2", "smtpd_hard_error_limit": "2", "smtpd_soft_error_limit": "1",
		"smtpd_client_message_rate_limit": "1", "smtpd_client_event_limit_exceptions": "",
		"smtpd_discard_ehlo_keywords": "smtputf8, 8bitmime, dsn", "smtpd_discard_ehlo_keyword_address_maps": "static:dsn", "smtpd_authorized_xforward_hosts": "127.0.0.0/8",
		"enable_original_recipient": "no", "enable_long_queue_ids": "no", "milter_default_action": "accept",
	}
}

// friendly are overrides for the front door, where what is hostile is not part
// of the test.
func friendly(service string) []string {
	var overrides []string
	for name := range hostile() {
		switch name {
		case "smtpd_relay_restrictions", "mynetworks", "smtpd_tls_wrappermode", "smtpd_tls_security_level", "smtpd_reject_unlisted_sender", "smtpd_reject_unlisted_recipient", "smtpd_delay_reject", "smtpd_sasl_auth_enable", "smtpd_sasl_type", "smtpd_sasl_path",
			"enable_original_recipient", "enable_long_queue_ids", "header_checks", "message_size_limit", "milter_default_action":
		case "smtpd_recipient_limit", "smtpd_hard_error_limit", "smtpd_soft_error_limit", "smtpd_client_message_rate_limit":
			overrides = append(overrides, service+"/"+name+"=100")
		default:
			overrides = append(overrides, service+"/"+name+"=")
		}
	}
	return append(overrides, service+"/smtpd_relay_restrictions=permit_mynetworks,reject", service+"/mynetworks=127.0.0.0/8", service+"/smtpd_tls_wrappermode=no",
		service+"/smtpd_tls_security_level=none", service+"/receive_override_options=no_header_body_checks", service+"/smtpd_reject_unlisted_sender=no", service+"/smtpd_sasl_auth_enable=no",
		"pickup/unix/receive_override_options=no_header_body_checks", "pickup/unix/content_filter=")
}

// weirTOML is a configuration with the socket below a queue directory.
func weirTOML(queueDir, extra string) string {
	return fmt.Sprintf(`
[milter]
listen = ["unix:%s/weir/weir.sock"]
[mail]
local_domains = ["lab.test"]
%s`, queueDir, extra)
}

// unixRoutes lets released mail return by Postfix's public folder.
func unixRoutes(queueDir string) string {
	return fmt.Sprintf("[reinject.inbound]\naddress = \"unix:%s/public/weir-inbound\"\n[reinject.outbound]\naddress = \"unix:%s/public/weir-outbound\"\n", queueDir, queueDir)
}

// apply runs the snippet's commands: all but those that change the host's users.
func (s *site) apply(snippet *Snippet) {
	s.t.Helper()
	for _, c := range commands(snippet, "install") {
		run(s.t, c...)
	}
	for _, c := range commands(snippet, "postconf") {
		run(s.t, append([]string{"postconf", "-c", s.mta.ConfigDir()}, c[1:]...)...)
		age(s.t, s.mta.ConfigDir())
	}
	s.restart()
}

// restart makes sure that no process with the old configuration is left.
func (s *site) restart() {
	s.t.Helper()
	age(s.t, s.mta.ConfigDir())
	if err := s.mta.Stop(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.mta.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// check looks at the site as weir postfix check would.
func (s *site) check(live bool) []Finding {
	s.t.Helper()
	c := must(newChecker(CheckOptions{Config: s.cfg, Postfix: read(s.t, s.mta.ConfigDir()), User: "weir"}))(s.t)
	c.lookup = func(name string) (identity, error) {
		if name == "weir" {
			return identity{"weir", weirUID, weirUID, []int{gidOf(s.t, "postdrop")}}, nil
		}
		return lookupIdentity(name)
	}
	return c.run(soon(s.t), live)
}

func (s *site) send(from string, to ...string) smtptest.Result {
	s.t.Helper()
	c := must(smtptest.Dial(soon(s.t), s.mta.Addr(""), smtptest.Options{}))(s.t)
	defer func() { _ = c.Close() }()
	return must(c.Send(smtptest.Mail{From: from, FromArgs: "BODY=8BITMIME", To: to, Data: sample}))(s.t)
}

func newSite(t *testing.T, o lab.PostfixOptions, extra func(s *site) string) *site {
	t.Helper()
	s := &site{t: t, lab: lab.Start(t, lab.NeedPostfix), sink: sink(t, smtptest.SinkOptions{})}
	o.Domains, o.DeliverTo, o.RelayTo = []string{"lab.test"}, s.sink.Hop(), s.sink.Hop()
	o.Recipients = []string{"alice@lab.test", "bob@lab.test", "jürgen@lab.test"}
	o.Aliases = map[string]string{"team@lab.test": "alice@lab.test, bob@lab.test"}
	s.mta = must(s.lab.Postfix(o))(t)
	s.cfg = parse(t, weirTOML(s.mta.QueueDir(), extra(s)))
	return s
}

func TestThePostfixSnippetWorksOnAnUnfriendlyPostfix(t *testing.T) {
	if testing.Short() {
		t.Skip("starts mail servers, and has little that runs at once")
	}
	s := newSite(t, lab.PostfixOptions{}, func(s *site) string { return unixRoutes(s.mta.QueueDir()) })
	lab.Require(t, lab.NeedOpenDKIM)
	dkim := must(s.lab.OpenDKIM("lab.test"))(t)

	front := read(t, s.mta.ConfigDir()).Services()[0].Key()
	settings := []string{"postconf", "-c", s.mta.ConfigDir(), "-e"}
	for name, value := range hostile() {
		settings = append(settings, name+"="+value)
	}
	run(t, settings...)
	run(t, append([]string{"postconf", "-c", s.mta.ConfigDir(), "-P"}, friendly(front)...)...)
	snippet := must(PostfixSnippet(PostfixOptions{Config: s.cfg, Postfix: read(t, s.mta.ConfigDir()), User: fmt.Sprint(weirUID), Signer: dkim.Milter()}))(t)
	s.apply(snippet)
	s.weir = serve(t, listen(t, s.cfg))

	t.Run("mail passes Weir", func(t *testing.T) {
		if r := s.send("ann@client.test", "team@lab.test"); !r.Accepted() {
			t.Fatalf("%+v", r)
		}
		seen := s.weir.take()
		if len(seen) != 1 || len(seen[0].To) != 1 || seen[0].To[0].Address() != "team@lab.test" || len(seen[0].QueueID) < 12 {
			t.Fatalf("Weir saw %+v", seen)
		}
		got := must(s.sink.Wait(soon(t), 1))(t)
		if !bytes.Contains(got[0].Data, []byte("X-Weir-ID: seen\r\n")) {
			t.Errorf("not marked: %s", got[0].Data)
		}
		if err := s.mta.Submit(soon(t), sample, "-f", "ann@client.test", "alice@lab.test"); err != nil {
			t.Fatal(err)
		}
		must(s.sink.Wait(soon(t), 2))(t)
		if seen := s.weir.take(); len(seen) != 1 || !seen[0].Local {
			t.Errorf("of local mail Weir saw %+v", seen)
		}
		s.sink.Reset()
	})

	t.Run("inbound mail returns as it was", func(t *testing.T) {
		for range 3 { // the rate limit would have one
			allSent(t, release(t, &s.cfg.Reinject.Inbound, "weir.test", mail(sample, "held@client.test", "team@lab.test")))
		}
		got := must(s.sink.Wait(soon(t), 3))(t)
		for _, m := range got {
			onlyReceivedBefore(t, m.Data, sample)
			to := slices.Sorted(slices.Values(m.To))
			if m.From != "held@client.test" || !slices.Equal(to, []string{"alice@lab.test", "bob@lab.test"}) {
				t.Errorf("from %q to %q", m.From, m.To)
			}
		}
		if seen := s.weir.take(); len(seen) != 0 {
			t.Errorf("Weir saw it again: %+v", seen)
		}
		if _, err := s.mta.WaitLog(soon(t), regexp.MustCompile(`postfix/weir-inbound/smtpd.*client=`)); err != nil {
			t.Error(err)
		}
		s.sink.Reset()
	})

	t.Run("null sender, international addresses and large messages return", func(t *testing.T) {
		large := append(slices.Clone(sample), bytes.Repeat([]byte("0123456789\r\n"), 1000)...)
		allSent(t, release(t, &s.cfg.Reinject.Inbound, "weir.test", mail(large, "", "jürgen@lab.test")))
		got := must(s.sink.Wait(soon(t), 1))(t)[0]
		if got.From != "" || !slices.Equal(got.To, []string{"jürgen@lab.test"}) {
			t.Errorf("from %q to %q", got.From, got.To)
		}
		onlyReceivedBefore(t, got.Data, large)
		s.sink.Reset()
	})

	t.Run("each recipient has its own answer, however many are refused", func(t *testing.T) {
		to := []string{"alice@lab.test"}
		want := []reinject.Status{reinject.Sent}
		for i := range 30 {
			to, want = append(to, fmt.Sprintf("gone%d@lab.test", i)), append(want, reinject.Refused)
		}
		to, want = append(to, "bob@lab.test", "jürgen@lab.test"), append(want, reinject.Sent, reinject.Sent)
		results := release(t, &s.cfg.Reinject.Inbound, "weir.test", mail(sample, "held@client.test", to...))
		if !slices.Equal(statuses(results), want) {
			t.Errorf("%+v", results)
		}
		must(s.sink.Wait(soon(t), 1))(t)
		allSent(t, release(t, &s.cfg.Reinject.Inbound, "weir.test", mail(sample, "forged@lab.test", "alice@lab.test")))
		must(s.sink.Wait(soon(t), 2))(t)
		s.sink.Reset()
	})

	t.Run("outbound mail returns with a signature and nothing else", func(t *testing.T) {
		own := bytes.Replace(sample, []byte("From: ann\r\n"), []byte("From: <alice@lab.test>\r\nDate: Mon, 6 Jan 2025 10:00:00 +0000\r\n"), 1)
		allSent(t, release(t, &s.cfg.Reinject.Outbound, "weir.test", mail(own, "alice@lab.test", "x@else.test", "y@else.test")))
		got := must(s.sink.Wait(soon(t), 1))(t)[0]
		if err := dkim.Verify(soon(t), got.Data); err != nil {
			t.Error(err)
		}
		if !bytes.HasSuffix(got.Data, own) || bytes.Contains(got.Data, []byte("X-Weir-ID")) {
			t.Errorf("%s", got.Data)
		}
		if seen := s.weir.take(); len(seen) != 0 {
			t.Errorf("Weir saw it again: %+v", seen)
		}
		s.sink.Reset()
	})

	t.Run("only root and the group of Postfix's sockets get in", func(t *testing.T) {
		postdrop := uint32(gidOf(t, "postdrop"))
		for _, r := range []*config.Route{&s.cfg.Reinject.Inbound, &s.cfg.Reinject.Outbound} {
			if got := connectAsProcess(t, r.Address.Address, weirUID, postdrop); !strings.HasPrefix(got, "220 ") {
				t.Errorf("Weir's user was told %q", got)
			}
			if got := connectAsProcess(t, r.Address.Address, otherUID); !strings.Contains(got, "permission denied") {
				t.Errorf("a stranger was told %q", got)
			}
		}
		c := must(smtptest.Dial(soon(t), s.cfg.Reinject.Inbound.Address.Address, smtptest.Options{Network: "unix"}))(t)
		defer func() { _ = c.Close() }()
		for name, want := range map[string]bool{"XFORWARD": false, "XCLIENT": false, "AUTH": false, "STARTTLS": false, "SMTPUTF8": true, "8BITMIME": true, "DSN": true} {
			if _, offered := c.Extension(name); offered != want {
				t.Errorf("%s offered: %v", name, offered)
			}
		}
	})

	t.Run("nothing leaves unsigned", func(t *testing.T) {
		if err := dkim.Kill(); err != nil {
			t.Fatal(err)
		}
		results := release(t, &s.cfg.Reinject.Outbound, "weir.test", mail(sample, "alice@lab.test", "x@else.test"))
		if !slices.Equal(statuses(results), []reinject.Status{reinject.Deferred}) {
			t.Errorf("%+v", results)
		}
	})

	t.Run("the check finds no error", func(t *testing.T) {
		findings := s.check(true)
		if found := ids(findings, Error); len(found) > 0 {
			t.Errorf("%v", findings)
		}
		for _, id := range []string{"milter-missing", "milter-answers", "original-recipient", "return-inbound", "return-inbound-answers", "return-outbound-answers", "local-mail", "queue-ids"} {
			if !slices.Contains(ids(findings, OK), id) {
				t.Errorf("%s was not found right: %v", id, findings)
			}
		}
	})
}

func TestTheListenersTakeReleasedMailByTCPFromWeirAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("starts mail servers, and has little that runs at once")
	}
	dir := t.TempDir()
	certFile, keyFile := certificate(t, dir, "weir.test")
	otherCert, otherKey := certificate(t, dir, "other.test")
	serverCert, serverKey := certificate(t, dir, "mx.lab.test")
	lab.Require(t, lab.NeedPostfix, lab.NeedDovecot)
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(lab.Password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	login := fmt.Sprintf("username = \"weir@lab.test\"\npassword_file = %q\n", password)
	pair := fmt.Sprintf("tls = \"starttls\"\ntls_name = \"mx.lab.test\"\ntls_ca_file = %q\ntls_cert_file = %q\ntls_key_file = %q\n", serverCert, certFile, keyFile)
	for name, credentials := range map[string]string{"login": login, "certificate": pair, "login and certificate": login + pair} {
		t.Run(name, func(t *testing.T) {
			o := lab.PostfixOptions{Main: map[string]string{
				"smtpd_sasl_type": "dovecot", "smtpd_tls_cert_file": serverCert, "smtpd_tls_key_file": serverKey, "smtpd_delay_reject": "no",
				"smtpd_tls_auth_only": "yes", "smtpd_sasl_exceptions_networks": "static:all", "smtpd_client_restrictions": "permit_mynetworks, reject",
				"smtpd_sasl_security_options": "noplaintext", "smtpd_sasl_authenticated_header": "yes", "smtpd_tls_fingerprint_digest": "md5",
			}}
			s := newSite(t, o, func(s *site) string {
				boxes := must(s.lab.Dovecot(lab.DovecotOptions{Users: []string{"weir@lab.test", "other@lab.test"}}))(t)
				run(t, "postconf", "-c", s.mta.ConfigDir(), "-e", "smtpd_sasl_path=inet:"+boxes.Auth())
				return fmt.Sprintf("[reinject.inbound]\naddress = %q\n%s[reinject.outbound]\naddress = %q\n%s", freeAddr(t, s.lab), credentials, freeAddr(t, s.lab), credentials)
			})
			s.apply(must(PostfixSnippet(PostfixOptions{Config: s.cfg, Postfix: read(t, s.mta.ConfigDir()), User: fmt.Sprint(weirUID)}))(t))
			s.weir = serve(t, listen(t, s.cfg))

			allSent(t, release(t, &s.cfg.Reinject.Inbound, "weir.test", mail(sample, "held@client.test", "team@lab.test")))
			allSent(t, release(t, &s.cfg.Reinject.Outbound, "weir.test", mail(sample, "alice@lab.test", "x@else.test")))
			for _, m := range must(s.sink.Wait(soon(t), 2))(t) {
				onlyReceivedBefore(t, m.Data, sample)
				if bytes.Contains(m.Data, []byte("weir@lab.test")) {
					t.Errorf("the login stands in the message: %s", m.Data)
				}
			}
			if findings := s.check(true); len(ids(findings, Error)) > 0 {
				t.Errorf("%v", findings)
			}

			for _, r := range []config.Route{s.cfg.Reinject.Inbound, s.cfg.Reinject.Outbound} {
				var strangers []config.Route
				if r.Username != "" {
					other := r
					other.Username = "other@lab.test"
					strangers = append(strangers, other)
				}
				if r.TLSCertFile != "" {
					other, none := r, r
					other.TLSCertFile, other.TLSKeyFile = config.Path(otherCert), config.Path(otherKey)
					none.TLSCertFile = ""
					strangers = append(strangers, other, none)
				}
				for _, stranger := range strangers {
					for _, result := range release(t, &stranger, "weir.test", mail(sample, "held@client.test", "alice@lab.test")) {
						if result.Status == reinject.Sent {
							t.Errorf("a stranger was told %+v", result)
						}
					}
				}
				c := must(smtptest.Dial(soon(t), r.Address.Address, smtptest.Options{}))(t)
				if sent := must(c.Send(smtptest.Mail{From: "held@client.test", To: []string{"alice@lab.test"}, Data: sample}))(t); sent.Accepted() {
					t.Errorf("a stranger was told %+v", sent)
				}
				_ = c.Close()
			}
		})
	}
}

func TestTheCheckTriesTheSockets(t *testing.T) {
	s := newSite(t, lab.PostfixOptions{}, func(s *site) string { return unixRoutes(s.mta.QueueDir()) })
	s.apply(must(PostfixSnippet(PostfixOptions{Config: s.cfg, Postfix: read(t, s.mta.ConfigDir()), User: fmt.Sprint(weirUID)}))(t))
	folder, public := filepath.Join(s.mta.QueueDir(), "weir"), filepath.Join(s.mta.QueueDir(), "public")
	socket := filepath.Join(folder, "weir.sock")
	chmod := func(path string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(what string, want ...string) {
		t.Helper()
		findings := s.check(true)
		if got := ids(findings, Error); !slices.Equal(got, want) {
			t.Errorf("%s: found %q, want %q: %v", what, got, want, findings)
		}
	}
	expect("no socket", "milter-answers")
	s.weir = serve(t, listen(t, s.cfg))
	expect("all is well")
	chmod(folder, 0o700)
	expect("Postfix cannot enter the folder", "milter-answers")
	chmod(folder, 0o2710|os.ModeSetgid)
	chmod(socket, 0o600)
	expect("Postfix cannot write to the socket", "milter-answers")
	chmod(socket, 0o660)
	chmod(public, 0o755)
	expect("all can enter Postfix's folder", "return-inbound-answers", "return-outbound-answers")
	chmod(public, 0o710)
	for _, group := range []string{"nogroup", "postdrop"} {
		if err := os.Chown(public, -1, gidOf(t, group)); err != nil {
			t.Fatal(err)
		}
		if group == "nogroup" {
			expect("Weir cannot enter Postfix's folder", "return-inbound-answers", "return-outbound-answers")
		}
	}
	expect("all is well again")

	// Something else listens where Weir should, and says too much or nothing.
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	ln := must(net.Listen("unix", socket))(t)
	defer func() { _ = ln.Close() }()
	chmod(socket, 0o666)
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("220 mail ESMTP\r\n"))
			_ = conn.Close()
		}
	}()
	expect("a stranger listens", "milter-answers")
}
