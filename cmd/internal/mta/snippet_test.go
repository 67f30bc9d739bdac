package mta

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirmail/weir/cmd/internal/mta/postconf"
)

func TestAConfigurationThatCannotWorkIsRefusedWithItsCure(t *testing.T) {
	debian := must(postconf.Parse("compatibility_level = 3.6\n", "smtp inet n - y - - smtpd\n"))(t)
	certFile, keyFile := certificate(t, t.TempDir(), "weir.test")
	login := "username = \"weir\"\npassword_file = \"p\"\n"
	for name, c := range map[string]struct {
		toml, socket, user, signer string
		postfix, sendmail          string // what the error says; empty: there is none
	}{
		"the defaults": {"", "", "", "", "", "reinject.inbound.address"},
		"a socket outside the chroot": {"[milter]\nlisten = [\"unix:/run/weir.sock\"]\n[reinject.inbound]\naddress = \"\"\n[reinject.outbound]\naddress = \"\"\n", "", "", "",
			"runs in the chroot /var/spool/postfix", ""},
		"TCP without credentials":           {"[reinject.inbound]\naddress = \"127.0.0.1:10026\"\n", "", "", "", "every program of this host", "every program of this host"},
		"a socket that Postfix cannot make": {"[reinject.inbound]\naddress = \"unix:/run/weir-in\"\n", "", "", "", "/var/spool/postfix/public", "unix socket"},
		"both ways to one listener": {"[reinject.inbound]\naddress = \"127.0.0.1:10026\"\n" + login + "[reinject.outbound]\naddress = \"127.0.0.1:10026\"\n" + login, "", "", "",
			"give each its own", "give each its own"},
		"a login that means something else": {"[reinject.inbound]\naddress = \"127.0.0.1:10026\"\nusername = \"a{$x}\"\npassword_file = \"p\"\n", "", "", "", "reinject.inbound.username", "reinject.inbound.username"},
		"a certificate that is none": {"[reinject.inbound]\naddress = \"127.0.0.1:10026\"\ntls = \"starttls\"\ntls_cert_file = \"" + keyFile + "\"\ntls_key_file = \"" + keyFile + "\"\n", "", "", "",
			"holds no certificate", "holds no certificate"},
		"a certificate": {"[reinject.inbound]\naddress = \"127.0.0.1:10026\"\ntls = \"starttls\"\ntls_cert_file = \"" + certFile + "\"\ntls_key_file = \"" + keyFile + "\"\n[reinject.outbound]\naddress = \"\"\n",
			"", "", "", "", ""},
		"systemd's socket, unnamed":  {"[milter]\nlisten = [\"systemd:milter\"]\n", "", "", "", "say where the socket is", "say where the socket is"},
		"systemd's socket, named":    {"[milter]\nlisten = [\"systemd:milter\"]\n[reinject.inbound]\naddress = \"\"\n[reinject.outbound]\naddress = \"\"\n", "inet:127.0.0.1:8890", "", "", "", ""},
		"systemd's socket, misnamed": {"[milter]\nlisten = [\"systemd:milter\"]\n", "unix:weir.sock", "", "", "absolute", "absolute"},
		"a path that ends a line":    {"[milter]\nlisten = [\"unix:/var/spool/postfix/a\\nb\"]\n", "", "", "", "milter.listen", "milter.listen"},
		"a user that is more":        {"", "", "weir; rm", "", "the user", "the user"},
		"a signer that is none":      {"", "", "", "dkim)`", "neither unix:path", "the milter"},
	} {
		cfg := parse(t, "[mail]\nlocal_domains = [\"lab.test\"]\n"+c.toml)
		_, err := PostfixSnippet(PostfixOptions{Config: cfg, Postfix: debian, Milter: c.socket, User: c.user, Signer: c.signer})
		says(t, name+", Postfix", err, c.postfix)
		_, err = SendmailSnippet(SendmailOptions{Config: cfg, Milter: c.socket, User: c.user, Signer: c.signer})
		says(t, name+", Sendmail", err, c.sendmail)
	}
}

func says(t *testing.T, name string, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", name, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s: the error is %v, which should say %q", name, err, want)
	}
}

func TestWeirJoinsTheMiltersThatAreThere(t *testing.T) {
	const master = "cleanup unix n - n - 0 cleanup\npickup unix n - n 60 1 pickup\nsmtp inet n - y - - smtpd\n"
	for name, c := range map[string]struct {
		main, master string
		want         []string // of all commands
	}{
		"none": {"", "", []string{"smtpd_milters = $weir_milter", "non_smtpd_milters = $weir_milter"}},
		"verifiers and filters": {"smtpd_milters = unix:opendkim/s, unix:opendmarc/s inet:[::1]:7357\n", "",
			[]string{"smtpd_milters = unix:opendkim/s, unix:opendmarc/s, inet:[::1]:7357, $weir_milter"}},
		"a signer of local mail": {"smtpd_milters = inet:localhost:8891\nnon_smtpd_milters = $smtpd_milters\n", "", []string{"smtpd_milters = inet:localhost:8891, $weir_milter\n", "non_smtpd_milters = $weir_milter, inet:localhost:8891\n"}},
		"Weir already":           {"weir_milter = unix:weir/weir.sock\nsmtpd_milters = unix:weir/weir.sock, unix:opendmarc/s\n", "", []string{"smtpd_milters = unix:opendmarc/s, $weir_milter"}},
		"submission of its own": {"", "submission inet n - y - - smtpd -o milter_macro_daemon_name=ORIGINATING -o smtpd_milters=inet:localhost:8891\n",
			[]string{"submission/inet/smtpd_milters=$weir_milter, inet:localhost:8891", "smtpd_milters=inet:localhost:8891"}},
		"a filter that returns by the sendmail command": {"", "smtp inet n - y - - smtpd -o content_filter=filter:\nfilter unix - n n - - pipe user=filter argv=/bin/filter\n", []string{"smtpd_milters = $weir_milter"}},
	} {
		p := must(postconf.Parse("compatibility_level = 3.6\n"+c.main, strings.Replace(master, "smtp inet n - y - - smtpd\n", "", strings.Count(c.master, "smtp inet"))+c.master))(t)
		s := must(PostfixSnippet(PostfixOptions{Config: parse(t, "[mail]\nlocal_domains = [\"lab.test\"]\n"), Postfix: p}))(t)
		var all strings.Builder
		for _, command := range commands(s, "postconf") {
			all.WriteString(strings.Join(command, "\n") + "\n")
		}
		for _, want := range c.want {
			if !strings.Contains(all.String(), want) {
				t.Errorf("%s: no %q in\n%s", name, want, all.String())
			}
		}
		if strings.HasPrefix(name, "a filter") && strings.Contains(all.String(), "non_smtpd_milters") {
			t.Errorf("%s: non_smtpd_milters is set", name)
		}
	}
}

func TestASnippetForWhatFollowedOneIsTheSame(t *testing.T) {
	cfg := parse(t, "[mail]\nlocal_domains = [\"lab.test\"]\n")
	before := must(postconf.Parse("compatibility_level = 3.6\nsmtpd_milters = unix:opendmarc/s\nnon_smtpd_milters = $smtpd_milters\n",
		"cleanup unix n - n - 0 cleanup -o syslog_name=x\nsmtp inet n - y - - smtpd\n"))(t)
	first := must(PostfixSnippet(PostfixOptions{Config: cfg, Postfix: before, Signer: "inet:127.0.0.1:8891"}))(t)
	after := must(postconf.Parse("compatibility_level = 3.6\n"+part(first, "main.cf"), "cleanup unix n - n - 0 cleanup -o syslog_name=x\nsmtp inet n - y - - smtpd\n"+part(first, "master.cf")))(t)
	second := must(PostfixSnippet(PostfixOptions{Config: cfg, Postfix: after}))(t) // the signer is found
	if first.String() != second.String() {
		t.Errorf("first\n%s\nthen\n%s", first, second)
	}
}

func TestTheTextOfTheSnippetAndItsCommandsMeanTheSame(t *testing.T) {
	if _, err := exec.LookPath("postconf"); err != nil {
		t.Skip("needs postfix: run go run ./cmd/internal/lab/install")
	}
	cfg := parse(t, "[mail]\nlocal_domains = [\"lab.test\"]\n[reinject.inbound]\naddress = \"127.0.0.1:10026\"\nusername = \"weir\"\npassword_file = \"p\"\n")
	s := must(PostfixSnippet(PostfixOptions{Config: cfg, Signer: "inet:127.0.0.1:8891"}))(t)
	byText, byCommand := t.TempDir(), t.TempDir()
	for _, dir := range []string{byText, byCommand} {
		for _, file := range []string{"main.cf", "master.cf"} {
			appendTo(t, filepath.Join(dir, file), "# made by a test\n")
		}
	}
	appendTo(t, filepath.Join(byText, "main.cf"), part(s, "main.cf"))
	appendTo(t, filepath.Join(byText, "master.cf"), part(s, "master.cf"))
	for _, c := range commands(s, "postconf") {
		// As somebody does who pastes the line into a shell.
		age(t, byCommand)
		run(t, "sh", "-ec", strings.Replace(shellLine(c), "postconf ", "postconf -c "+byCommand+" ", 1))
	}
	for _, flag := range []string{"-n", "-M"} {
		age(t, byText)
		age(t, byCommand)
		text := run(t, "sh", "-c", "postconf -c "+byText+" "+flag+" 2>/dev/null | grep -v _directory")
		command := run(t, "sh", "-c", "postconf -c "+byCommand+" "+flag+" 2>/dev/null | grep -v _directory")
		if text != command || text == "" {
			t.Errorf("postconf %s: by text\n%s\nby commands\n%s", flag, text, command)
		}
	}
	if all := s.String(); !strings.Contains(all, "usermod -a -G postdrop weir") || !strings.Contains(all, "'weir_milter = { unix:weir/weir.sock") {
		t.Errorf("%s", all)
	}
}

func TestAnArgumentSurvivesTheShell(t *testing.T) {
	for _, want := range []string{"", "plain", "two words", "it's", "$HOME `id` \"x\" \\", "a\nb", "-n", "{ a, b }", "~", "é"} {
		if got := run(t, "sh", "-c", shellLine([]string{"printf", "%s", want})); got != want {
			t.Errorf("%q became %q", want, got)
		}
	}
}
