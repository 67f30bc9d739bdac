package control

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/weirmail/weir/cmd/internal/control/api"
)

// maxRemote bounds the connections from other hosts, so that nobody who can
// reach the listener takes all of the daemon's files.
const maxRemote = 256

// ServeRemote answers other hosts over TLS until Shutdown, after which it gives
// http.ErrServerClosed. They need a certificate, and are offered the work in
// mailboxes alone. See RemoteTLS.
func (s *Server) ServeRemote(ln net.Listener, t *tls.Config) error {
	return s.http.Serve(tls.NewListener(&bounded{Listener: ln, log: s.log, left: maxRemote}, t))
}

// bounded takes so many connections at once and closes the others.
type bounded struct {
	net.Listener
	log *zap.Logger

	mu   sync.Mutex
	left int
}

// Accept implements net.Listener.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if b.change(-1) {
			return &counted{Conn: c, leave: sync.OnceFunc(func() { b.change(1) })}, nil
		}
		b.log.Warn("a connection from another host was closed: there are too many", zap.Stringer("address", c.RemoteAddr()), zap.Int("most", maxRemote))
		_ = c.Close()
	}
}

func (b *bounded) change(by int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left+by < 0 {
		return false
	}
	b.left += by
	return true
}

type counted struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.leave()
	return c.Conn.Close()
}

// holderOf gives the common name of the certificate that the other side has
// shown, and that an authority of ours has signed.
func holderOf(c *tls.Conn) (string, error) {
	chains := c.ConnectionState().VerifiedChains
	if len(chains) == 0 || len(chains[0]) == 0 {
		return "", api.Errorf(api.Forbidden, "no certificate was shown")
	}
	name := chains[0][0].Subject.CommonName
	if name == "" || len(name) > 200 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", &api.Error{Code: api.Forbidden, Text: fmt.Sprintf("the certificate has the common name %.200q, which names nobody", name), Cure: "give it one of printable ASCII without spaces"}
	}
	return name, nil
}

// RemoteTLS makes the settings of ServeRemote from PEM files: the certificate to
// show and its key, which are read again when they change, and the authorities
// whose certificates count. The error names the file that is of no use.
func RemoteTLS(certFile, keyFile, caFile string) (*tls.Config, error) {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	t, err := ServerTLS(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	t.MinVersion, t.ClientAuth, t.ClientCAs = tls.VersionTLS13, tls.RequireAndVerifyClientCert, authorities
	return t, nil
}

// ServerTLS makes settings of a server from PEM files: the certificate to show and
// its key, which are read again when they change.
func ServerTLS(certFile, keyFile string) (*tls.Config, error) {
	pair := &keyPair{cert: certFile, key: keyFile}
	if _, err := pair.get(nil); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: pair.get}, nil
}

// keyPair is a certificate in files that somebody renews.
type keyPair struct {
	cert, key string

	mu    sync.Mutex
	state string // of the files that were read
	pair  *tls.Certificate
}

// get gives the certificate; one that cannot be read any more is still shown.
func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	state, err := stateOf(k.cert, k.key)
	if err == nil && state == k.state {
		return k.pair, nil
	}
	if err == nil {
		var pair tls.Certificate
		if pair, err = tls.LoadX509KeyPair(k.cert, k.key); err == nil {
			k.pair, k.state = &pair, state
			return k.pair, nil
		}
	}
	if k.pair != nil {
		return k.pair, nil
	}
	return nil, fmt.Errorf("certificate %s and key %s cannot be used: %w", k.cert, k.key, err)
}

func stateOf(files ...string) (string, error) {
	var b strings.Builder
	var errs []error
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(&b, "%d %d ", info.Size(), info.ModTime().UnixNano())
	}
	return b.String(), errors.Join(errs...)
}
