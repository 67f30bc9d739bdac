package lab

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
)

// childEnv makes this test binary something else: "lab" starts a lab and waits
// to be killed, "server" listens at the address in its first argument.
const childEnv = "WEIR_LAB_TEST_CHILD"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(childEnv) {
	case "lab":
		if err = startEverything(); err == nil {
			select {}
		}
	case "server":
		err = serve(os.Args[1])
	default:
		os.Exit(m.Run())
	}
	fmt.Println("error", err)
	os.Exit(1)
}

// serve takes no notice of its clients; it prints each signal and ends with
// status 3 at SIGTERM.
func serve(addr string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM)
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	fmt.Println("up as", os.Getuid(), "in", dir)
	if _, err := net.Listen("tcp", addr); err != nil {
		return err
	}
	for s := range signals {
		fmt.Println(s)
		if s == syscall.SIGTERM {
			os.Exit(3)
		}
	}
	return nil
}

// childServer gives the arguments that make a copy of this test binary, which
// every user may run, a server.
func childServer(t *testing.T, l *Lab, addr string) []string {
	t.Helper()
	program := ok(os.ReadFile(ok(os.Executable())(t)))(t)
	path := filepath.Join(l.Dir(), "server")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return []string{path, addr}
}

// startEverything starts one server of each kind, leaves each in the middle of
// some work, and prints the lab's folder.
func startEverything() error {
	l, err := New()
	if err != nil {
		return err
	}
	boxes, err := l.Dovecot(DovecotOptions{Users: []string{alice}})
	if err != nil {
		return err
	}
	dkim, err := l.OpenDKIM("client.test")
	if err != nil {
		return err
	}
	if len(Missing(NeedRspamd)) == 0 {
		if _, err := l.Rspamd(RspamdOptions{}); err != nil {
			return err
		}
	}
	slow, err := l.FreeAddr() // nobody answers there
	if err != nil {
		return err
	}
	sendmail, err := l.Sendmail(SendmailOptions{SMTPAddr: slow, LMTPAddr: boxes.LMTPAddr()})
	if err != nil {
		return err
	}
	postfix, err := l.Postfix(PostfixOptions{RelayTo: hop(slow), Milters: []string{dkim.Milter()}})
	if err != nil {
		return err
	}
	for _, addr := range []string{postfix.Addr(""), sendmail.Addr("")} {
		c, err := smtptest.Dial(context.Background(), addr, smtptest.Options{})
		if err != nil {
			return err
		}
		if _, err := c.Send(smtptest.Mail{From: "ann@client.test", To: []string{"x@else.test"}, Data: message}); err != nil {
			return err
		}
		if _, err := c.Begin(smtptest.Mail{From: "ann@client.test", To: []string{"x@else.test"}}); err != nil {
			return err
		}
	}
	fmt.Println("dir", l.Dir())
	return nil
}

func TestNothingIsLeftWhenTheTestsAreKilled(t *testing.T) {
	Require(t, NeedPostfix, NeedDovecot, NeedSendmail, NeedOpenDKIM)
	if err := becomeSubreaper(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // what the killed process left to us
		for pid := 1; pid > 0; {
			pid, _ = syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		}
	})
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := exec.Command(ok(os.Executable())(t))
			cmd.Env = append(os.Environ(), childEnv+"=lab")
			out := ok(cmd.StdoutPipe())(t)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			dir, isDir := strings.CutPrefix(strings.TrimSpace(line), "dir ")
			if err != nil || !isDir {
				t.Fatalf("%q %v", line, err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			if n := len(processesOf(t, dir)); n < 10 {
				t.Errorf("only %d processes are seen", n)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if err := Poll(soon(t), func() (bool, error) { return len(processesOf(t, dir)) == 0, nil }); err != nil {
				t.Errorf("still there: %q", processesOf(t, dir))
			}
			if err := Poll(soon(t), func() (bool, error) { return !exists(dir), nil }); err != nil {
				t.Errorf("%s is still there", dir)
			}
		})
	}
}

func TestNothingIsLeftWhenALabIsClosed(t *testing.T) {
	l := Start(t, NeedPostfix, NeedDovecot, NeedSendmail)
	boxes := ok(l.Dovecot(DovecotOptions{Users: []string{alice}}))(t)
	postfix := ok(l.Postfix(PostfixOptions{}))(t)
	ok(l.Sendmail(SendmailOptions{LMTPAddr: boxes.LMTPAddr()}))(t)
	send(t, dial(t, postfix.Addr(""), smtptest.Options{}), smtptest.Mail{From: "ann@client.test", To: []string{"x@else.test"}, Data: message})
	if n := len(processesOf(t, l.Dir())); n < 8 {
		t.Errorf("only %d processes are seen", n)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if left := processesOf(t, l.Dir()); len(left) > 0 {
		t.Errorf("still there: %q", left)
	}
}

// processesOf gives the command lines of the processes that have dir in their
// command line, environment or working folder. A zombie has none of them.
func processesOf(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	entries := ok(os.ReadDir("/proc"))(t)
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil || e.Name() == strconv.Itoa(os.Getpid()) {
			continue
		}
		proc := filepath.Join("/proc", e.Name())
		args, _ := os.ReadFile(filepath.Join(proc, "cmdline"))
		env, _ := os.ReadFile(filepath.Join(proc, "environ"))
		cwd, _ := os.Readlink(filepath.Join(proc, "cwd"))
		if bytes.Contains(append(append(args, env...), cwd...), []byte(dir)) {
			found = append(found, e.Name()+" "+string(bytes.ReplaceAll(args, []byte{0}, []byte(" "))))
		}
	}
	return found
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
