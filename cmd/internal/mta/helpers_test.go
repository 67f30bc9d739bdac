package mta

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
	"github.com/weirmail/weir/cmd/internal/mta/postconf"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/message/spool"
	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/quarantine/reinject"
)

// The users of the tests have numbers and no names.
const (
	weirUID  = 23001
	otherUID = 23002
)

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// parse makes a configuration of text.
func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	return must(config.Parse("/etc/weir/weir.toml", []byte(text)))(t)
}

// sink takes what the MTA delivers.
func sink(t *testing.T, o smtptest.SinkOptions) *smtptest.Sink {
	t.Helper()
	s := must(smtptest.NewSink(o))(t)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// filter is a milter that lets all mail pass and marks it, as Weir would.
type filter struct {
	mu   sync.Mutex
	seen []message.Envelope
}

func (f *filter) Handle(_ context.Context, m *milter.Mail) verdict.Answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, *m.Envelope)
	return verdict.Answer{Action: intel.ActionAccept, Edits: []verdict.Edit{{Op: verdict.EditInsert, Name: "X-Weir-ID", Value: "seen"}}}
}

// take gives what was seen since the last call.
func (f *filter) take() []message.Envelope {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := f.seen
	f.seen = nil
	return seen
}

// serve runs a filter on the configured milter socket.
func serve(t *testing.T, ln net.Listener) *filter {
	t.Helper()
	f := &filter{}
	pool := must(spool.New(spool.Options{Dir: t.TempDir()}))(t)
	server := must(milter.New(milter.Options{Handler: f, Scratch: pool.Spool(), Logger: zap.NewNop()}))(t)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
		if err := <-served; !errors.Is(err, milter.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return f
}

// listen opens the milter socket of a configuration.
func listen(t *testing.T, cfg *config.Config) net.Listener {
	t.Helper()
	l := cfg.Milter.Listen[0]
	return must(milter.Listen(milter.Socket{Network: l.Network, Address: l.Address, Group: cfg.Milter.SocketGroup, Mode: os.FileMode(cfg.Milter.SocketMode)}))(t)
}

// release hands a message to a listener as the quarantine does.
func release(t *testing.T, r *config.Route, helo string, m reinject.Message) []reinject.Result {
	t.Helper()
	o := reinject.Options{Network: r.Address.Network, Address: r.Address.Address, Helo: helo, Timeout: 30 * time.Second, StartTLS: r.TLS == config.TLSStartTLS, Username: r.Username}
	if r.PasswordFile != "" {
		password := must(os.ReadFile(string(r.PasswordFile)))(t)
		o.Password = strings.TrimRight(string(password), "\n")
	}
	if o.StartTLS {
		o.TLS = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: r.TLSName}
		o.TLS.RootCAs.AppendCertsFromPEM(must(os.ReadFile(string(r.TLSCAFile)))(t))
		if r.TLSCertFile != "" {
			o.TLS.Certificates = []tls.Certificate{must(tls.LoadX509KeyPair(string(r.TLSCertFile), string(r.TLSKeyFile)))(t)}
		}
	}
	return must(reinject.New(o))(t).Send(soon(t), m, func() error { return nil })
}

// mail is a message from and to some addresses.
func mail(content []byte, from string, to ...string) reinject.Message {
	m := reinject.Message{From: reinject.Path{Address: from}, Content: [][]byte{content}}
	for _, a := range to {
		m.To = append(m.To, reinject.Path{Address: a})
	}
	return m
}

func statuses(results []reinject.Result) []reinject.Status {
	var s []reinject.Status
	for _, r := range results {
		s = append(s, r.Status)
	}
	return s
}

// allSent fails the test when a recipient was not taken.
func allSent(t *testing.T, results []reinject.Result) {
	t.Helper()
	if slices.ContainsFunc(results, func(r reinject.Result) bool { return r.Status != reinject.Sent }) {
		t.Fatalf("not all were taken: %+v", results)
	}
}

// onlyReceivedBefore fails the test when anything but the MTA's own trace stands
// before the message in what is delivered, or the message has changed.
func onlyReceivedBefore(t *testing.T, delivered, message []byte) {
	t.Helper()
	before, ok := bytes.CutSuffix(delivered, message)
	if !ok {
		t.Fatalf("the message has changed:\n%q\nwant\n%q", delivered, message)
	}
	for line := range bytes.Lines(before) {
		if !bytes.HasPrefix(line, []byte("Received:")) && line[0] != '\t' && line[0] != ' ' {
			t.Errorf("something was added: %q", line)
		}
	}
}

// part gives the parts of a snippet that belong to a file.
func part(s *Snippet, file string) string {
	var text strings.Builder
	for _, p := range s.Parts {
		if p.File == file {
			text.WriteString(p.Text)
		}
	}
	return text.String()
}

// commands gives those of a snippet that begin with a program's name.
func commands(s *Snippet, program string) [][]string {
	var found [][]string
	for _, p := range s.Parts {
		for _, c := range p.Commands {
			if c[0] == program {
				found = append(found, c)
			}
		}
	}
	return found
}

// run runs a command of a snippet.
func run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(soon(t), args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
	return string(out)
}

// age makes a configuration look old: Postfix waits before it reads a file that
// has just changed.
func age(t *testing.T, dir string) {
	t.Helper()
	old := time.Now().Add(-time.Minute)
	if err := errors.Join(os.Chtimes(filepath.Join(dir, "main.cf"), old, old), os.Chtimes(filepath.Join(dir, "master.cf"), old, old)); err != nil {
		t.Fatal(err)
	}
}

// read gives the configuration of a Postfix of the lab.
func read(t *testing.T, dir string) *postconf.Config {
	t.Helper()
	return must(postconf.Read(soon(t), postconf.Command{ConfigDir: dir}))(t)
}

// ids gives what a check found with a severity.
func ids(findings []Finding, s Severity) []string {
	var found []string
	for _, f := range findings {
		if f.Severity == s {
			found = append(found, f.ID)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// gidOf gives the number of a group.
func gidOf(t *testing.T, name string) int {
	t.Helper()
	g := must(user.LookupGroup(name))(t)
	return must(strconv.Atoi(g.Gid))(t)
}

// The tests start themselves again as another user, who connects to a socket.
const connectVariable = "WEIR_TEST_CONNECT"

func TestMain(m *testing.M) {
	if path := os.Getenv(connectVariable); path != "" {
		conn, err := net.Dial("unix", path)
		if err != nil {
			fmt.Print(err)
			os.Exit(0)
		}
		banner := make([]byte, 4)
		_, err = io.ReadFull(conn, banner)
		fmt.Print(string(banner), err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// connectAsProcess connects to a socket in a process of another user and gives
// the first bytes of the greeting, or why there was none.
func connectAsProcess(t *testing.T, path string, uid uint32, groups ...uint32) string {
	t.Helper()
	// Others cannot enter the folder in which go test puts its binary.
	binary := filepath.Join(must(os.MkdirTemp("", "weir-mta"))(t), "connect")
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(binary)) })
	run(t, "cp", must(os.Executable())(t), binary)
	if err := errors.Join(os.Chmod(filepath.Dir(binary), 0o755), os.Chmod(binary, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(soon(t), binary)
	cmd.Env = []string{connectVariable + "=" + path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid, Groups: groups}}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// certificate makes a self-signed certificate and writes it as NAME.pem, with
// its key as NAME.key.
func certificate(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der := must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))(t)
	private := must(x509.MarshalPKCS8PrivateKey(key))(t)
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	if err := errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile
}

// freeAddr gives an address of the lab.
func freeAddr(t *testing.T, l *lab.Lab) string {
	t.Helper()
	addr := must(l.FreeAddr())(t)
	netip.MustParseAddrPort(addr)
	return addr
}

// appendTo writes text to the end of a file, which it makes if it is not there.
func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f := must(os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644))(t)
	_, err := f.WriteString(text)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}
