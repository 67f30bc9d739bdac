package feed

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// ErrPrivate says that a server's address is not public.
var ErrPrivate = errors.New("the address is not public")

const (
	dialTimeout    = 15 * time.Second
	answerTimeout  = 60 * time.Second
	maxRedirects   = 5
	maxAnswerBytes = 64 << 10 // of an answer's header
)

// client gives an HTTP client for a feed. The environment (proxies) counts for
// nothing.
func client(f *Feed) (*http.Client, error) {
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.CAFile != "" {
		data, err := os.ReadFile(f.CAFile)
		if err != nil {
			return nil, err
		}
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("there is no certificate in PEM in %s", f.CAFile)
		}
	}
	if f.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(f.CertFile, f.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("its certificate %s: %w", f.CertFile, err)
		}
		tlsConfig.Certificates = []tls.Certificate{pair}
	}
	d := &net.Dialer{Timeout: dialTimeout}
	if !f.AllowPrivate {
		d.Control = publicOnly
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: d.DialContext, TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: dialTimeout, ResponseHeaderTimeout: answerTimeout, MaxResponseHeaderBytes: maxAnswerBytes,
			DisableCompression: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: dialTimeout,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			first := via[0]
			switch {
			case len(via) > maxRedirects:
				return fmt.Errorf("more than %d redirections", maxRedirects)
			case first.URL.Scheme == "https" && r.URL.Scheme != "https":
				return errors.New("a redirection leads from https to http")
			case f.Header != "" && r.URL.Host != first.URL.Host:
				r.Header.Del(f.Header) // the library takes away what it knows to be secret
			}
			return nil
		},
	}, nil
}

// publicOnly refuses to connect to an address that is not public. It is asked
// about the address itself, behind all names and redirections.
func publicOnly(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if !public(at.Addr()) {
		return fmt.Errorf("%w: %s; allow_private lets the feed have it", ErrPrivate, at.Addr())
	}
	return nil
}

// notPublic are ranges that are not for the Internet, besides those that netip
// knows (IANA's registries of special-purpose addresses).
var notPublic = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
