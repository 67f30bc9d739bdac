package milter_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

// sendmail is a Sendmail of the test's own, from its Debian packages unpacked: it
// cannot be installed beside Postfix. It runs in namespaces of its own, where it
// finds its configuration under /mnt (it distrusts folders in /tmp) and a host
// name with a domain.
type sendmail struct {
	mta
	binary string
}

// unpackedSendmail gives the folder with the unpacked packages: sendmail in
// WEIR_LAB_CACHE, or in weir-lab in the user's cache folder, where other tests
// look for it too. It fetches them the first time.
func unpackedSendmail() (string, error) {
	if os.Getuid() != 0 {
		return "", errors.New("only root can start Sendmail in a namespace of its own")
	}
	for _, tool := range []string{"unshare", "mount", "m4", "apt-get", "dpkg"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("Sendmail cannot be prepared: %w", err)
		}
	}
	cache := os.Getenv("WEIR_LAB_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("Sendmail cannot be kept; set WEIR_LAB_CACHE to a folder: %w", err)
		}
		cache = filepath.Join(user, "weir-lab")
	}
	root := filepath.Join(cache, "sendmail")
	if _, err := os.Stat(root + "/usr/libexec/sendmail/sendmail"); err == nil {
		return root, nil
	}
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		return "", err
	}
	// Unpacked elsewhere and moved, so that it is there whole or not at all.
	tmp, err := os.MkdirTemp(filepath.Dir(root), "sendmail")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	get := exec.Command("apt-get", "download", "sendmail-bin", "sendmail-base", "sendmail-cf")
	get.Dir = tmp
	if out, err := get.CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetching Sendmail's packages: %w: %s", err, out)
	}
	debs, _ := filepath.Glob(tmp + "/*.deb")
	for _, deb := range debs {
		if out, err := exec.Command("dpkg", "-x", deb, tmp+"/root").CombinedOutput(); err != nil {
			return "", fmt.Errorf("unpacking %s: %w: %s", deb, err, out)
		}
	}
	if err := os.Rename(tmp+"/root", root); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return root, nil
}

// inside goes before a command in the namespaces; $0 is the instance's folder. The
// shell stays, because Sendmail would forget that it is to die with unshare when
// it changes its user.
const inside = `
hostname mx.example.org
mount --bind "$0" /mnt
mount --bind /mnt/etc/hosts /etc/hosts
"$@"
exit $?`

func (s *sendmail) command(args ...string) *exec.Cmd {
	return exec.Command("unshare", append([]string{"--mount", "--uts", "--pid", "--fork", "--kill-child", "sh", "-ec", inside, s.dir, s.binary, "-C", "/mnt/etc/sendmail.cf"}, args...)...)
}

func startSendmail(t *testing.T) *sendmail {
	t.Helper()
	root, err := unpackedSendmail()
	requireE2E(t, err)
	s := &sendmail{binary: root + "/usr/libexec/sendmail/sendmail"}
	s.name, s.smtp, s.sink, s.dir = "Sendmail", freePort(t), startSink(t), openDir(t, "sendmail")
	s.sock = s.dir + "/milter.sock"
	_, port, _ := net.SplitHostPort(s.smtp)
	_, sinkPort, _ := net.SplitHostPort(s.sink.address)
	if err := os.Mkdir(s.dir+"/queue", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"hosts":            "127.0.0.1 localhost mx.example.org mx\n",
		"aliases":          "",
		"service.switch":   "hosts files\naliases files\npasswd files\n",
		"local-host-names": "",
		"test.mc": `divert(0)dnl
OSTYPE(` + "`linux'" + `)dnl
define(` + "`confDOMAIN_NAME', `mx.example.org'" + `)dnl
define(` + "`QUEUE_DIR', `/mnt/queue'" + `)dnl
define(` + "`STATUS_FILE', `/mnt/statistics'" + `)dnl
define(` + "`confPID_FILE', `/mnt/sendmail.pid'" + `)dnl
define(` + "`confCW_FILE', `/mnt/etc/local-host-names'" + `)dnl
define(` + "`confCONTROL_SOCKET_NAME', `'" + `)dnl
define(` + "`ALIAS_FILE', `/mnt/etc/aliases'" + `)dnl
define(` + "`confSERVICE_SWITCH_FILE', `/mnt/etc/service.switch'" + `)dnl
define(` + "`confHOSTS_FILE', `/etc/hosts'" + `)dnl
define(` + "`confDONT_PROBE_INTERFACES', `True'" + `)dnl
define(` + "`confTO_IDENT', `0s'" + `)dnl
define(` + "`confREFUSE_LA', `1000'" + `)dnl
define(` + "`confQUEUE_LA', `1000'" + `)dnl
define(` + "`confDEF_USER_ID', `8:8'" + `)dnl
define(` + "`confLOG_LEVEL', `0'" + `)dnl
define(` + "`confMILTER_LOG_LEVEL', `0'" + `)dnl
define(` + "`confAUTH_MECHANISMS', `'" + `)dnl
define(` + "`confMAX_MESSAGE_SIZE', `0'" + `)dnl
define(` + "`confMAX_HEADERS_LENGTH', `1000000'" + `)dnl
FEATURE(` + "`no_default_msa'" + `)dnl
FEATURE(` + "`nocanonify'" + `)dnl
FEATURE(` + "`accept_unresolvable_domains'" + `)dnl
FEATURE(` + "`accept_unqualified_senders'" + `)dnl
FEATURE(` + "`promiscuous_relay'" + `)dnl
DAEMON_OPTIONS(` + "`Family=inet, Name=MTA, Addr=127.0.0.1, Port=" + port + "'" + `)dnl
INPUT_MAIL_FILTER(` + "`weir', `S=unix:/mnt/milter.sock, F=T, T=C:2s;S:2s;R:2s;E:1m'" + `)dnl
MAILER(` + "`local'" + `)dnl
MAILER(` + "`smtp'" + `)dnl
LOCAL_RULE_0
R$* < @ $* > $*	$#sink $@ [127.0.0.1] $: $1 < @ $2 > $3
LOCAL_RULESETS
SLocal_check_rcpt
R$*	$: $>3 $1
Rbad < @ $* > $*	$#error $@ 5.7.1 $: "550 Access denied"
MAILER_DEFINITIONS
Msink, P=[IPC], F=mDFMuXz8, S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP, E=\r\n, L=0,
	T=DNS/RFC822/SMTP, A=TCP $h ` + sinkPort + "\n",
	} {
		writeFile(t, s.dir+"/etc/"+name, content)
	}
	cf := root + "/usr/share/sendmail/cf"
	config, err := exec.Command("m4", "-D_CF_DIR_="+cf+"/", cf+"/m4/cf.m4", s.dir+"/etc/test.mc").Output()
	if err != nil {
		t.Fatalf("m4: %v", err)
	}
	writeFile(t, s.dir+"/etc/sendmail.cf", string(config))
	cmd := s.command("-bD", "-q1s")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	daemon(t, cmd, syscall.SIGKILL, s.smtp) // unshare ignores others, and takes Sendmail along
	return s
}

func TestSendmail(t *testing.T) {
	s := startSendmail(t)
	coreCases(t, &s.mta)

	t.Run("a slow handler makes it wait, since progress is told", func(t *testing.T) {
		slowHandler(t, &s.mta, s.smtp)
	})

	t.Run("a session on standard input is local", func(t *testing.T) {
		service := serveAt(t, &s.mta, nil)
		service.set(func(context.Context, *milter.Mail) verdict.Answer {
			return verdict.Answer{Action: intel.ActionAccept, Remove: []int{1}}
		})
		ours, theirs := net.Pipe()
		cmd := s.command("-bs")
		cmd.Stdin, cmd.Stdout = theirs, theirs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c := greetSMTP(t, ours)
		c.message("250", "<s@sender.example>", []string{"<a@example.org>", "<b@example.org>"}, complete("hello\r\n"))
		c.do("221", "QUIT")
		_ = theirs.Close()
		_ = cmd.Wait()
		got := s.sink.next(t)
		if len(got.to) != 1 || got.to[0] != "<a@example.org>" {
			t.Errorf("delivered to %v", got.to)
		}
		calls := service.take()
		checkCopy(t, calls, got)
		if e := calls[0].envelope; !e.Local || e.Client.Addr.IsValid() {
			t.Errorf("envelope %+v", e)
		}
	})

	t.Run("bare CR and LF never come this far", func(t *testing.T) {
		service := serveAt(t, &s.mta, nil)
		for _, raw := range []string{"a\rb\r\n", "a\nb\r\n"} {
			c := dialSMTP(t, s.smtp)
			c.envelope("<s@sender.example>", []string{"<a@example.org>"})
			c.do("354", "DATA")
			c.write(complete(raw) + ".\r\n")
			if reply, err := c.reply(); err != nil || strings.HasPrefix(reply, "2") {
				t.Errorf("reply %q, %v", reply, err)
			}
		}
		if calls := service.take(); len(calls) != 0 {
			t.Errorf("the handler was called: %+v", calls)
		}
	})
}
