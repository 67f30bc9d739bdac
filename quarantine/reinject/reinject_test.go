package reinject

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// listener is an SMTP server that does as the test says.
type listener struct {
	mu       sync.Mutex
	from     string
	opts     smtp.MailOptions
	rcpts    []string
	rcptOpts []smtp.RcptOptions
	content  []byte
	user     string
	tls      bool

	refuse func(rcpt string) error
	data   func(c *smtp.Conn) error // after the content was read
	early  func(c *smtp.Conn)       // before it is read
}

func (l *listener) NewSession(c *smtp.Conn) (smtp.Session, error) {
	_, secure := c.TLSConnectionState()
	l.mu.Lock()
	l.tls = secure
	l.mu.Unlock()
	return &session{l, c}, nil
}

type session struct {
	l *listener
	c *smtp.Conn
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "secret" {
			return errors.New("wrong password")
		}
		s.l.user = user
		return nil
	}), nil
}
func (s *session) Reset()        {}
func (s *session) Logout() error { return nil }
func (s *session) Mail(from string, o *smtp.MailOptions) error {
	s.l.from, s.l.opts = from, *o
	return nil
}
func (s *session) Rcpt(to string, o *smtp.RcptOptions) error {
	if s.l.refuse != nil {
		if err := s.l.refuse(to); err != nil {
			return err
		}
	}
	s.l.rcpts, s.l.rcptOpts = append(s.l.rcpts, to), append(s.l.rcptOpts, *o)
	return nil
}
func (s *session) Data(r io.Reader) error {
	if s.l.early != nil {
		s.l.early(s.c)
	}
	var err error
	if s.l.content, err = io.ReadAll(r); err != nil {
		return err
	}
	if s.l.data != nil {
		return s.l.data(s.c)
	}
	return nil
}

func serve(t *testing.T, l *listener, config func(*smtp.Server)) string {
	t.Helper()
	srv := smtp.NewServer(l)
	srv.Domain, srv.AllowInsecureAuth, srv.EnableSMTPUTF8, srv.EnableDSN = "mx.test", true, true, true
	srv.ErrorLog = discard{}
	if config != nil {
		config(srv)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return ln.Addr().String()
}

type discard struct{}

func (discard) Printf(string, ...any) {}
func (discard) Println(...any)        {}

func sender(t *testing.T, o Options) *Sender {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Network == "" {
		o.Network = "tcp"
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func paths(addresses ...string) (p []Path) {
	for _, a := range addresses {
		p = append(p, Path{Address: a})
	}
	return p
}

func nothing() error { return nil }

func statuses(results []Result) (s []Status) {
	for _, r := range results {
		s = append(s, r.Status)
	}
	return s
}

func TestBytesEnvelopeAndArgumentsArriveAsTheyWere(t *testing.T) {
	l := &listener{}
	addr := serve(t, l, nil)
	content := "Subject: x\r\n folded\r\n\r\n.\r\n..dots\r\nRCPT TO:<evil@example>\r\n\x00\xff\r bare\r\nlast\r\n"
	results := sender(t, Options{Address: addr}).Send(t.Context(), Message{
		From:    Path{"", []string{"SIZE=9", "BODY=8BITMIME", "RET=HDRS", "ENVID=a+2Bb"}},
		To:      []Path{{"a@example.org", []string{"NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;old+40example.org"}}, {"b@example.org", nil}},
		Content: [][]byte{[]byte(content[:10]), []byte(content[10:])},
	}, nothing)
	if got := statuses(results); !reflect.DeepEqual(got, []Status{Sent, Sent}) {
		t.Fatalf("%+v", results)
	}
	if l.from != "" || !reflect.DeepEqual(l.rcpts, []string{"a@example.org", "b@example.org"}) {
		t.Errorf("from %q to %v", l.from, l.rcpts)
	}
	if string(l.content) != content {
		t.Errorf("content %q\nwant    %q", l.content, content)
	}
	if l.opts.Return != smtp.DSNReturnHeaders || l.opts.EnvelopeID != "a+b" || l.opts.Size != int64(len(content)) {
		t.Errorf("MAIL options %+v", l.opts)
	}
	if o := l.rcptOpts[0]; !reflect.DeepEqual(o.Notify, []smtp.DSNNotify{smtp.DSNNotifySuccess, smtp.DSNNotifyFailure}) || o.OriginalRecipient != "old@example.org" {
		t.Errorf("RCPT options %+v", o)
	}
}

func TestEachRecipientHasItsOwnResult(t *testing.T) {
	l := &listener{refuse: func(rcpt string) error {
		switch rcpt {
		case "gone@example.org":
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
		case "busy@example.org":
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 2, 1}, Message: "later"}
		}
		return nil
	}}
	addr := serve(t, l, nil)
	results := sender(t, Options{Address: addr}).Send(t.Context(), Message{From: Path{Address: "s@example.com"},
		To: paths("gone@example.org", "ok@example.org", "busy@example.org"), Content: [][]byte{[]byte("\r\nx\r\n")}}, nothing)
	if got := statuses(results); !reflect.DeepEqual(got, []Status{Refused, Sent, Deferred}) {
		t.Fatalf("%+v", results)
	}
	if results[0].Text != "550 5.1.1 no such user" {
		t.Errorf("text %q", results[0].Text)
	}
	l.content = nil
	results = sender(t, Options{Address: addr}).Send(t.Context(), Message{To: paths("gone@example.org"), Content: [][]byte{[]byte("x")}}, nothing)
	if got := statuses(results); !reflect.DeepEqual(got, []Status{Refused}) || l.content != nil {
		t.Errorf("%+v, content %q", results, l.content)
	}
}

func TestTheOutcomeIsUncertainOnlyAfterTheEndWasSent(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef\r\n"), 1<<16)
	cases := []struct {
		name  string
		l     *listener
		point func() error
		want  Status
	}{
		{"answer lost", &listener{data: func(c *smtp.Conn) error { return c.Close() }}, nothing, Uncertain},
		{"connection lost in mid-message", &listener{early: func(c *smtp.Conn) { _ = c.Close() }}, nothing, Deferred},
		{"refused for good", &listener{data: func(*smtp.Conn) error { return &smtp.SMTPError{Code: 554, Message: "no"} }}, nothing, Refused},
		{"refused for now", &listener{data: func(*smtp.Conn) error { return &smtp.SMTPError{Code: 452, Message: "full"} }}, nothing, Deferred},
		{"stopped by the caller", &listener{}, func() error { return errors.New("no record") }, Deferred},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			addr := serve(t, c.l, nil)
			pointed := false
			results := sender(t, Options{Address: addr}).Send(t.Context(), Message{To: paths("a@example.org"), Content: [][]byte{big}},
				func() error { pointed = true; return c.point() })
			if got := statuses(results); !reflect.DeepEqual(got, []Status{c.want}) {
				t.Fatalf("%+v", results)
			}
			if c.want == Uncertain && !pointed {
				t.Error("uncertain, and nobody was told before")
			}
		})
	}
}

func TestNothingIsSentWithoutAListener(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	results := sender(t, Options{Address: addr}).Send(t.Context(), Message{To: paths("a@example.org")}, func() error { t.Error("came to the point"); return nil })
	if got := statuses(results); !reflect.DeepEqual(got, []Status{Deferred}) {
		t.Fatalf("%+v", results)
	}
}

func TestAUnixSocketIsAListenerToo(t *testing.T) {
	l := &listener{}
	srv := smtp.NewServer(l)
	srv.Domain, srv.ErrorLog = "mx.test", discard{}
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	results := sender(t, Options{Network: "unix", Address: path}).Send(t.Context(), Message{To: paths("a@example.org"), Content: [][]byte{[]byte("\r\nx\r\n")}}, nothing)
	if results[0].Status != Sent {
		t.Fatalf("%+v", results)
	}
}

func TestASilentListenerIsGivenUp(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if conn, err := ln.Accept(); err == nil {
			defer func() { _ = conn.Close() }()
			cancel()
			<-t.Context().Done()
		}
	}()
	results := sender(t, Options{Address: ln.Addr().String(), Timeout: time.Hour}).Send(ctx, Message{To: paths("a@example.org")}, nothing)
	if got := statuses(results); !reflect.DeepEqual(got, []Status{Deferred}) {
		t.Fatalf("%+v", results)
	}
}

func TestCredentialsAreAPasswordOrACertificate(t *testing.T) {
	server, clientCert := certificate(t, "127.0.0.1"), certificate(t, "weir")
	pool := x509.NewCertPool()
	pool.AddCert(server.Leaf)
	clients := x509.NewCertPool()
	clients.AddCert(clientCert.Leaf)
	l := &listener{}
	addr := serve(t, l, func(s *smtp.Server) {
		s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
	})
	message := Message{To: paths("a@example.org"), Content: [][]byte{[]byte("\r\nx\r\n")}}
	o := Options{Address: addr, StartTLS: true, TLS: &tls.Config{RootCAs: pool}}
	if results := sender(t, o).Send(t.Context(), message, nothing); results[0].Status != Deferred {
		t.Fatalf("without a certificate: %+v", results)
	}
	o.TLS.Certificates = []tls.Certificate{clientCert}
	o.Username, o.Password = "weir", "secret"
	if results := sender(t, o).Send(t.Context(), message, nothing); results[0].Status != Sent {
		t.Fatalf("%+v", results)
	}
	if !l.tls || l.user != "weir" {
		t.Errorf("tls %v user %q", l.tls, l.user)
	}
	o.Password = "wrong"
	if results := sender(t, o).Send(t.Context(), message, nothing); results[0].Status != Deferred || !strings.Contains(results[0].Text, "AUTH as weir") {
		t.Fatalf("%+v", results)
	}
}

func certificate(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	if ip := net.ParseIP(name); ip != nil {
		template.DNSNames, template.IPAddresses = nil, []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
