package e2e

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/milter/miltertest"
)

// What systemd does for a service with Type=notify and a socket unit.
func TestAServiceOfSystemdGetsItsSocketTellsItsReadinessAndReloads(t *testing.T) {
	s := newSite(t, options{noStart: true})
	path := filepath.Join(s.dir, "systemd.sock")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	s.must(err)
	ln.SetUnlinkOnClose(false)
	file, err := ln.File()
	s.must(err)
	s.must(ln.Close())
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(s.dir, "notify.sock")})
	s.must(err)
	defer func() { _ = notify.Close() }()
	told := func(want string) {
		t.Helper()
		s.must(notify.SetReadDeadline(time.Now().Add(wait)))
		b := make([]byte, 1024)
		n, err := notify.Read(b)
		if err != nil || !strings.Contains(string(b[:n]), want) {
			t.Fatalf("systemd was told %q, %v; want %s", b[:n], err, want)
		}
	}
	config := s.write("systemd.toml", strings.Replace(string(s.read("weir.toml")), "unix:"+s.socket(), "systemd:milter", 1))

	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	// The PID has to be the daemon's own: the shell gives it and becomes the daemon.
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, program, "serve", "--config", config)
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=milter", "NOTIFY_SOCKET="+notify.LocalAddr().String())
	cmd.ExtraFiles = []*os.File{file}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	s.must(err)
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	s.must(cmd.Start())
	s.must(file.Close())
	told("READY=1")

	// systemctl reload; nothing was edited, so that nothing else makes it read again.
	s.must(cmd.Process.Signal(syscall.SIGHUP))
	s.eventually("the configuration is read again", func() (bool, error) {
		return strings.Contains(string(s.read("log")), "configuration, policy and directory read"), nil
	})

	session, err := miltertest.Dial("unix", path, miltertest.Options{})
	s.must(err)
	s.must(session.Connect(miltertest.Client{Name: "mail.sender.test", Helo: "mail.sender.test"}))
	m := letter("m", "x")
	r, err := session.Send(&miltertest.Message{QueueID: "4X1", From: "<s@sender.test>", To: []miltertest.Recipient{{Address: "<alice@lab.test>"}}, Raw: m.Data})
	if err != nil || r.Action.String() != "accept" {
		t.Errorf("judged by the socket that was handed over: %+v, %v", r, err)
	}
	s.must(session.Close())
	s.must(cmd.Process.Signal(syscall.SIGTERM))
	told("STOPPING=1")
	s.must(cmd.Wait())
}
