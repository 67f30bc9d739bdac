package puller

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/cmd/internal/secret"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/mailbox/doveadm"
	"github.com/weirmail/weir/quarantine/mailbox/imap"
	"github.com/weirmail/weir/quarantine/mailbox/maildir"
)

// daemon makes the way to a daemon. It connects to nothing. The error is a
// *config.Error.
func daemon(cfg *config.Pull, i int) (*client.Jobs, error) {
	d := &cfg.Daemons[i]
	if d.Address.Network == "unix" {
		return client.NewJobs(d.Address.Address), nil
	}
	problem := func(key string, err error, cure string) error {
		return cfg.Problem(fmt.Sprintf("daemon[%d].%s", i, key), err.Error(), cure)
	}
	roots, err := authorities(string(d.CAFile))
	if err != nil {
		return nil, problem("ca_file", err, "name a file of PEM certificates")
	}
	if err := secret.Private(string(d.KeyFile)); err != nil {
		return nil, problem("key_file", err, secretCure)
	}
	// Read for each connection: certificates are renewed.
	certificate := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(string(d.CertFile), string(d.KeyFile))
		return &pair, err
	}
	if _, err := certificate(nil); err != nil {
		return nil, problem("cert_file", fmt.Errorf("certificate and key cannot be used: %w", err), "name a PEM certificate and its key")
	}
	jobs, err := client.NewRemoteJobs(d.Address.Address, &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: d.TLSName, RootCAs: roots, GetClientCertificate: certificate,
	})
	if err != nil {
		return nil, problem("address", err, "write https://HOST:PORT")
	}
	return jobs, nil
}

// backend makes the way into a mail store. It connects to nothing. The error is a
// *config.Error.
func backend(cfg *config.Pull, i int) (mailbox.Backend, error) {
	s := &cfg.Stores[i]
	problem := func(key string, err error, cure string) error {
		return cfg.Problem(fmt.Sprintf("store[%d].%s", i, key), err.Error(), cure)
	}
	if s.Type == config.StoreMaildir {
		b, err := maildir.New(maildir.Options{Root: string(s.Root), Layout: s.Layout, MaxBytes: int64(s.MaxMessage)})
		if err != nil {
			return nil, problem("root", err, "")
		}
		return b, nil
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.TLSName}
	if s.CAFile != "" {
		var err error
		if settings.RootCAs, err = authorities(string(s.CAFile)); err != nil {
			return nil, problem("ca_file", err, "name a file of PEM certificates")
		}
	}
	for key, file := range map[string]config.Path{"secret_file": s.SecretFile, "doveadm_key_file": s.DoveadmKeyFile} {
		if file == "" {
			continue
		}
		if _, err := secret.Read(string(file)); err != nil {
			return nil, problem(key, err, secretCure)
		}
	}
	o := imap.Options{
		Address: s.Address.Address, Security: security(s.Security), TLS: settings,
		Method: method(s.Auth), Master: s.Master, Separator: s.Separator,
		Secret: func(context.Context, string) (string, error) { return secret.Read(string(s.SecretFile)) },
		Probe:  s.Probe, Skip: s.Skip, MaxBytes: int64(s.MaxMessage), Timeout: time.Duration(s.Timeout),
	}
	if s.DoveadmAddress == (config.Endpoint{}) {
		b, err := imap.New(o)
		if err != nil {
			return nil, problem("address", err, "")
		}
		return b, nil
	}
	b, err := doveadm.New(doveadm.Options{
		Address: s.DoveadmAddress.Address, Security: security(s.DoveadmSecurity), TLS: settings, IMAP: o,
		Key: func(context.Context) (string, error) { return secret.Read(string(s.DoveadmKeyFile)) },
	})
	if err != nil {
		return nil, problem("doveadm_address", err, "")
	}
	return b, nil
}

func security(s config.StoreSecurity) imap.Security {
	switch s {
	case config.SecurityStartTLS:
		return imap.STARTTLS
	case config.SecurityPlaintext:
		return imap.Plaintext
	}
	return imap.TLS
}

func method(a config.StoreAuth) imap.Method {
	switch a {
	case config.AuthPlain:
		return imap.Plain
	case config.AuthXOAuth2:
		return imap.XOAuth2
	}
	return imap.Login
}

func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("holds no certificate in PEM")
	}
	return pool, nil
}

const secretCure = "put it alone into a file that the sidecar's user owns, with mode 0600"
