package app

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/weirmail/weir/cmd/internal/secret"
	"github.com/weirmail/weir/config"
)

// credentialsFolder is where systemd puts what it hands over, while a service runs.
const credentialsFolder = "/run/credentials/"

// NamedFiles looks at the files with secrets and certificates and at the feeds that a
// configuration names, for who checks it. The error names every mistake; the daemon starts in spite of what
// is only warned of. What only the daemon's user can see is warned of as unseen.
func NamedFiles(cfg *config.Config) (warnings []*config.Error, err error) {
	var unseen error
	look := func(file string) (string, error) {
		text, err := secret.Inspect(file)
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(file, credentialsFolder) {
			unseen = err
		}
		return text, err
	}
	var all []error
	take := func(key string, err error) {
		switch {
		case err == nil:
		case unseen != nil:
			warnings = append(warnings, cfg.Problem(key, unseen.Error()+", so that it was not checked", "check as root, or as the daemon's user"))
		default:
			all = append(all, err)
		}
		unseen = nil
	}
	_, err = tokensOf(cfg, look)
	take("share.tokens_file", err)
	// What TLS needs is read as the daemon reads it.
	credentials := func(key string, read func() error, files ...config.Path) {
		for _, file := range files {
			if f, err := os.Open(string(file)); err == nil {
				_ = f.Close()
			} else if errors.Is(err, fs.ErrPermission) {
				unseen = err
			}
		}
		take(key, read())
	}
	credentials("share.cert_file", func() error { _, err := shareTLS(cfg); return err }, cfg.Share.CertFile, cfg.Share.KeyFile, cfg.Share.ClientCAFile)
	credentials("control.remote_listen", func() error { _, err := remoteTLS(cfg); return err }, cfg.Control.RemoteCertFile, cfg.Control.RemoteKeyFile, cfg.Control.RemoteCAFile)
	for _, log := range cfg.Delivery.Logs {
		credentials("delivery.syslog_cert_file", func() error { _, err := syslogOptions(cfg, log); return err }, cfg.Delivery.SyslogCertFile, cfg.Delivery.SyslogKeyFile, cfg.Delivery.SyslogCAFile)
	}
	for i := range cfg.Feeds {
		f := &cfg.Feeds[i]
		key := func(name string) string { return fmt.Sprintf("feed[%d].%s", i, name) }
		credentials(key("cert_file"), func() error { return feedTLS(cfg, f, key) }, f.CertFile, f.KeyFile, f.CAFile)
		if file := string(f.SecretFile); file != "" {
			if _, err := look(file); err != nil {
				take(key("secret_file"), cfg.Problem(key("secret_file"), err.Error(), "write the password or the key alone into a file of mode 0600 that is the daemon's user's"))
			}
		}
		if file := string(f.File); file != "" {
			if _, err := os.Stat(file); err != nil {
				warnings = append(warnings, cfg.Problem(key("file"), err.Error(), "make the file; the feed is empty until then, or stays what it was"))
			}
		}
	}
	return warnings, errors.Join(all...)
}

// feedTLS reads what a feed's server is shown, and who may have signed for it.
func feedTLS(cfg *config.Config, f *config.Feed, key func(string) string) error {
	if f.CAFile != "" {
		if _, err := certPool(cfg, key("ca_file"), string(f.CAFile)); err != nil {
			return err
		}
	}
	if f.CertFile == "" {
		return nil
	}
	if _, err := tls.LoadX509KeyPair(string(f.CertFile), string(f.KeyFile)); err != nil {
		return cfg.Problem(key("cert_file"), fmt.Sprintf("certificate and key cannot be used: %v", err), "name a PEM certificate and its key")
	}
	return nil
}
