package follow

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// listening runs a source on a free port and collects what it emits.
type listening struct {
	addr string

	mu      sync.Mutex
	lines   []string
	tooLong int
}

func listen(t *testing.T, o SyslogOptions) *listening {
	t.Helper()
	o.Address = freePort(t, o.Network)
	s, err := NewSyslog(o)
	if err != nil {
		t.Fatal(err)
	}
	l := &listening{addr: o.Address}
	ctx, cancel := context.WithCancel(t.Context())
	done, ready := make(chan error, 1), make(chan struct{}, 1)
	go func() {
		done <- s.Run(ctx, nil, func(b Batch) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, line := range b.Lines {
				l.lines = append(l.lines, string(line.Text))
			}
			l.tooLong += b.TooLong
			select {
			case ready <- struct{}{}:
			default:
			}
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return l
}

func freePort(t *testing.T, network string) string {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return c.LocalAddr().String()
	}
	c, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.Addr().String()
}

// want waits until lines with these ends have come.
func (l *listening) want(t *testing.T, ends ...string) {
	t.Helper()
	var got []string
	for range 1000 {
		l.mu.Lock()
		got = append(got[:0], l.lines...)
		l.mu.Unlock()
		if len(got) >= len(ends) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if len(got) != len(ends) {
		t.Fatalf("%d lines, want %d: %q", len(got), len(ends), got)
	}
	for i := range ends {
		if !strings.HasSuffix(got[i], ends[i]) {
			t.Errorf("line %d is %q, want the end %q", i, got[i], ends[i])
		}
	}
}

func TestLinesOfARealSenderAreTakenInEachFraming(t *testing.T) {
	if _, err := exec.LookPath("logger"); err != nil {
		t.Skip("there is no logger(1)")
	}
	for name, c := range map[string]struct {
		network string
		args    []string
	}{
		"counted":     {"tcp", []string{"--tcp", "--octet-count", "--rfc5424"}},
		"ended":       {"tcp", []string{"--tcp", "--rfc5424"}},
		"traditional": {"tcp", []string{"--tcp", "--rfc3164"}},
		"datagrams":   {"udp", []string{"--udp", "--rfc5424"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := listen(t, SyslogOptions{Network: c.network})
			host, port, _ := net.SplitHostPort(l.addr)
			texts := []string{"lmtp(a@b)<1><s>: msgid=<x@y>: saved mail to INBOX", "another"}
			for i, text := range texts {
				cmd := exec.CommandContext(t.Context(), "logger", append(c.args, "-n", host, "-P", port, "-t", "dovecot", "-p", "mail.info", text)...)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				l.want(t, texts[:i+1]...) // each has a connection of its own, and those have no order
			}
		})
	}
}

func TestOnlyThoseWhoMaySendAreHeard(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		t.Run(network, func(t *testing.T) {
			l := listen(t, SyslogOptions{Network: network, From: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}})
			for _, from := range []string{"127.0.0.3", "127.0.0.2"} {
				d := net.Dialer{LocalAddr: localAddr(network, from)}
				conn, err := d.Dial(network, l.addr)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.WriteString(conn, "<22>1 - from "+from+"\n")
				if network == "tcp" && from == "127.0.0.3" {
					_, _ = io.ReadAll(conn) // it is closed
				}
				_ = conn.Close()
			}
			l.want(t, "from 127.0.0.2")
		})
	}
}

func localAddr(network, ip string) net.Addr {
	if network == "udp" {
		return &net.UDPAddr{IP: net.ParseIP(ip)}
	}
	return &net.TCPAddr{IP: net.ParseIP(ip)}
}

func TestOverTLSACertificateDecides(t *testing.T) {
	pair, pool := certificate(t)
	l := listen(t, SyslogOptions{Network: "tls", TLS: &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}})
	send := func(c *tls.Config, text string) {
		conn, err := tls.Dial("tcp", l.addr, c)
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = fmt.Fprintf(conn, "%d %s", len(text), text)
		_ = conn.CloseWrite()
		_, _ = io.ReadAll(conn)
	}
	send(&tls.Config{RootCAs: pool, ServerName: "weir"}, "<22>1 - nobody")
	send(&tls.Config{RootCAs: pool, ServerName: "weir", Certificates: []tls.Certificate{pair}}, "<22>1 - somebody")
	l.want(t, "somebody")
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"weir"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestWhatIsNoSyslogEndsAConnectionAndNoMore(t *testing.T) {
	long := strings.Repeat("x", MaxLine+1)
	for stream, want := range map[string]struct {
		lines   []string
		tooLong int
		err     error
	}{
		"<22>one\n\r\n<22>two\r\n":        {[]string{"<22>one", "<22>two"}, 0, io.EOF},
		"7 <22>one8 <22>two\n<22>three\n": {[]string{"<22>one", "<22>two", "<22>three"}, 0, io.EOF},
		"<22>one\nGET / HTTP/1.1\n":       {[]string{"<22>one"}, 0, errFrame},
		"999999 <22>":                     {nil, 0, errFrame},
		"9 <22>":                          {nil, 0, io.ErrUnexpectedEOF},
		"<22>no end":                      {nil, 0, io.EOF},
		"<22>" + long + "\n<22>after\n":   {[]string{"<22>after"}, 1, io.EOF},
		fmt.Sprint(len(long)) + " " + long + "7 <22>one": {[]string{"<22>one"}, 1, io.EOF},
		"": {nil, 0, io.EOF},
	} {
		var lines []string
		tooLong := 0
		err := frames(bufio.NewReaderSize(strings.NewReader(stream), 16), func(l []byte) bool { lines = append(lines, string(l)); return true }, func() { tooLong++ })
		if fmt.Sprint(lines) != fmt.Sprint(want.lines) || tooLong != want.tooLong || err != want.err { //nolint:errorlint // frames wraps nothing
			t.Errorf("%.40q: %.80q, %d too long, %v", stream, lines, tooLong, err)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("7 <22>one<22>two\n3 abc"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		n := 0
		_ = frames(bufio.NewReaderSize(bytes.NewReader(stream), 16), func(l []byte) bool {
			if len(l) > MaxLine {
				t.Fatalf("a line of %d bytes", len(l))
			}
			n += len(l)
			return true
		}, func() {})
		if n > len(stream) {
			t.Fatalf("%d bytes out of %d", n, len(stream))
		}
	})
}
