package milter_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/milter"
)

// Real MTAs for the tests, as little of them as needed: an SMTP client, an SMTP
// sink behind the MTA, and what Postfix and Sendmail have in common.

// requireE2E skips a test whose MTA cannot be had, or fails it when
// WEIR_REQUIRE_E2E says that it has to run.
func requireE2E(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("WEIR_REQUIRE_E2E") == "1":
		t.Fatalf("WEIR_REQUIRE_E2E=1, and the test cannot run: %v", err)
	default:
		t.Skipf("needs a real MTA: %v", err)
	}
}

// mta is a running mail server whose milter listens on the unix socket sock.
type mta struct {
	name string
	smtp string // address of its SMTP listener
	sock string
	sink *sink
	dir  string
}

// freePort gives an address on loopback that nobody listens on now. Its port is none
// of those that the system gives out by itself: it would do so until it is used.
func freePort(t testing.TB) string {
	t.Helper()
	const first, behind = 10_000, 32_000
	var err error
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(behind-first))
		var ln net.Listener
		if ln, err = net.Listen("tcp", address); err == nil {
			_ = ln.Close()
			return address
		}
	}
	t.Fatal(err)
	return ""
}

// openDir makes a folder that other users can enter.
func openDir(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-"+name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("WEIR_KEEP") != "" {
			t.Logf("kept: %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	return dir
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// daemon runs a server in the foreground until the test ends, also when the test
// is killed; stop is the signal that ends it. The server makes itself the leader of
// its process group, or is made so by cmd.
func daemon(t testing.TB, cmd *exec.Cmd, stop syscall.Signal, address string) {
	t.Helper()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = stop
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, stop)
		select {
		case <-exited:
		case <-time.After(10 * time.Second):
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind
		<-exited
	})
	deadline := time.Now().Add(20 * time.Second)
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-exited:
			t.Fatalf("%s ended: %s", cmd.Path, log.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen on %s: %s", cmd.Path, address, log.String())
		}
	}
}

// delivered is a message that reached the sink.
type delivered struct {
	from string
	to   []string
	raw  string
}

// sink is the SMTP server behind the MTA.
type sink struct {
	address string
	got     chan delivered
}

func startSink(t testing.TB) *sink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{address: ln.Addr().String(), got: make(chan delivered, 100)}
	var conns sync.WaitGroup
	var open sync.Map
	conns.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			open.Store(conn, nil)
			conns.Go(func() {
				s.serve(conn)
				open.Delete(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		open.Range(func(conn, _ any) bool {
			_ = conn.(net.Conn).Close()
			return true
		})
		conns.Wait()
	})
	return s
}

func (s *sink) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	in := bufio.NewReaderSize(conn, 1<<20)
	say := func(line string) { _, _ = io.WriteString(conn, line+"\r\n") }
	say("220 sink ESMTP")
	var d delivered
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		switch verb, arg, _ := strings.Cut(line, ":"); strings.ToUpper(strings.Fields(verb + " x")[0]) {
		case "EHLO", "LHLO":
			say("250-sink\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 PIPELINING")
			continue
		case "MAIL":
			d = delivered{from: path(arg)}
		case "RCPT":
			d.to = append(d.to, path(arg))
		case "DATA":
			say("354 go on")
			raw, err := readDotted(in)
			if err != nil {
				return
			}
			d.raw = raw
			s.got <- d
		case "QUIT":
			say("221 bye")
			return
		}
		say("250 ok")
	}
}

// path cuts the arguments off an address.
func path(arg string) string { return arg[:strings.LastIndexByte(arg, '>')+1] }

func readDotted(in *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == ".\r\n" {
			return b.String(), nil
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
}

// next waits for a delivery.
func (s *sink) next(t testing.TB) delivered {
	t.Helper()
	select {
	case d := <-s.got:
		return d
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was delivered")
	}
	return delivered{}
}

// smtpClient speaks SMTP without any opinion of its own.
type smtpClient struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func dialSMTP(t testing.TB, address string) *smtpClient {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return greetSMTP(t, conn)
}

// greetSMTP begins a session on a connection.
func greetSMTP(t testing.TB, conn net.Conn) *smtpClient {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	c := &smtpClient{t, conn, bufio.NewReader(conn)}
	c.expect("220")
	c.do("250", "EHLO client.example")
	return c
}

// do sends a command and expects a reply that begins so; it gives the reply's
// last line.
func (c *smtpClient) do(want, format string, args ...any) string {
	c.t.Helper()
	c.write(fmt.Sprintf(format, args...) + "\r\n")
	return c.expect(want)
}

func (c *smtpClient) write(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *smtpClient) expect(want string) string {
	c.t.Helper()
	reply, err := c.reply()
	if err != nil {
		c.t.Fatal(err)
	}
	if !strings.HasPrefix(reply, want) {
		c.t.Fatalf("reply %q, want %q", reply, want)
	}
	return reply
}

func (c *smtpClient) reply() (string, error) {
	for {
		line, err := c.in.ReadString('\n')
		if err != nil {
			return "", err
		}
		if len(line) < 4 {
			return "", errors.New("a short reply")
		}
		if line[3] != '-' {
			return strings.TrimSuffix(line, "\r\n"), nil
		}
	}
}

// message sends a whole message and expects a reply to its end.
func (c *smtpClient) message(want, from string, to []string, raw string) string {
	c.t.Helper()
	c.envelope(from, to)
	return c.data(want, raw)
}

func (c *smtpClient) envelope(from string, to []string) {
	c.t.Helper()
	c.do("250", "MAIL FROM:%s", from)
	for _, rcpt := range to {
		c.do("250", "RCPT TO:%s", rcpt)
	}
}

func (c *smtpClient) data(want, raw string) string {
	c.t.Helper()
	c.do("354", "DATA")
	stuffed := strings.ReplaceAll("\n"+raw, "\n.", "\n..")[1:]
	c.write(stuffed + ".\r\n")
	return c.expect(want)
}

// withoutReceived takes the MTA's own Received field out of a message.
func withoutReceived(t *testing.T, raw string) string {
	t.Helper()
	at := 0
	if !strings.HasPrefix(raw, "Received:") {
		if at = strings.Index(raw, "\r\nReceived:") + 2; at < 2 {
			t.Fatalf("no Received field in %.300q", raw)
		}
	}
	end := at
	for {
		end += strings.Index(raw[end:], "\r\n") + 2
		if raw[end] != ' ' && raw[end] != '\t' {
			return raw[:at] + raw[end:]
		}
	}
}

// serveAt runs a Server where the MTA looks for it, until the test ends.
func serveAt(t testing.TB, m *mta, change func(*milter.Options)) *service {
	t.Helper()
	ln, err := milter.Listen(milter.Socket{Network: "unix", Address: m.sock, Mode: 0o666})
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, ln, change)
}
