package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/filter"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/contain"
	"github.com/weirmail/weir/intel/directory"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/notify"
	"github.com/weirmail/weir/quarantine/reinject"
)

// rules is what the configuration and the files that it names say about judging.
type rules struct {
	policy    *policy.Policy
	directory *directory.Directory
	site      filter.Site
	parser    *message.Parser
}

// Rules reads the policy, the directory and what else judging needs, for the
// daemon and for tools that judge without one. The error names every mistake.
func Rules(cfg *config.Config) (filter.Rules, *message.Parser, error) {
	r, err := loadRules(cfg)
	if err != nil {
		return filter.Rules{}, nil, err
	}
	return r.forJudge(nil), r.parser, nil
}

func loadRules(cfg *config.Config) (*rules, error) {
	r := &rules{site: siteOf(cfg)}
	var errPolicy, errDirectory, errParser error
	r.policy, errPolicy = loadPolicy(cfg)
	if file := string(cfg.Directory.File); file != "" {
		r.directory, errDirectory = directory.Load(file, directory.Options{File: file, Delimiters: cfg.Mail.RecipientDelimiter})
		if errors.Is(errDirectory, os.ErrNotExist) || errors.Is(errDirectory, os.ErrPermission) {
			errDirectory = cfg.Problem("directory.file", errDirectory.Error(), "make the file readable for the daemon's user, or leave the key out")
		}
	}
	r.parser, errParser = message.NewParser(limitsOf(cfg))
	return r, errors.Join(errPolicy, errDirectory, errParser)
}

// forJudge gives what the judge goes by; of who is contained the daemon alone knows.
func (r *rules) forJudge(contained filter.Containments) filter.Rules {
	return filter.Rules{Site: r.site, Policy: r.policy, Directory: r.directory, Contained: contained}
}

// containSite is what containments have to know of the house.
func containSite(cfg *config.Config, r *rules) contain.Site {
	return contain.Site{
		LocalDomains: r.site.LocalDomains, IsLocal: r.site.IsLocal, Internal: r.site.InternalNetworks, Relays: r.site.TrustedRelays,
		Directory: r.directory, Delimiters: cfg.Mail.RecipientDelimiter,
	}
}

// maxPolicyFile bounds what is read of a policy file; one byte more than
// package policy takes.
const maxPolicyFile = 1<<20 + 1

func loadPolicy(cfg *config.Config) (*policy.Policy, error) {
	o := policy.Options{CostLimit: uint64(cfg.Policy.CostLimit)}
	name := string(cfg.Policy.File)
	if name == "" {
		return policy.Parse(policy.DefaultName, policy.Default(), o)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, cfg.Problem("policy.file", err.Error(), "make the file readable for the daemon's user, or leave the key out for the policy that Weir comes with")
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxPolicyFile))
	if err != nil {
		return nil, cfg.Problem("policy.file", err.Error(), "make the file readable for the daemon's user")
	}
	return policy.Parse(name, text, o)
}

func siteOf(cfg *config.Config) filter.Site {
	s := filter.Site{AuthServID: cfg.Mail.AuthservID, Groups: feedGroups(cfg)}
	for _, d := range cfg.LocalDomains() {
		s.LocalDomains = append(s.LocalDomains, string(d))
	}
	s.InternalNetworks = prefixes(cfg.Mail.InternalNetworks)
	s.TrustedRelays = prefixes(cfg.Mail.TrustedRelays)
	return s
}

func prefixes(all []config.Prefix) []netip.Prefix {
	var list []netip.Prefix
	for _, p := range all {
		list = append(list, p.Prefix)
	}
	return list
}

func limitsOf(cfg *config.Config) message.Limits {
	l := &cfg.Limits
	return message.Limits{
		HeaderBytes: int(l.HeaderBytes), HeaderFields: l.HeaderFields, Depth: l.Depth, Parts: l.Parts,
		URLs: l.URLs, URLBytes: int(l.URLBytes), TextBytes: int64(l.TextBytes),
		ArchiveFiles: l.ArchiveFiles, ArchiveBytes: int64(l.ArchiveBytes), ArchiveRatio: l.ArchiveRatio,
		Defects: l.Defects, AddressFields: l.AddressFields,
	}
}

func filterSettings(cfg *config.Config, r *rules) filter.Settings {
	s := filter.Settings{Parser: r.parser.Lean(), Observe: cfg.Policy.Mode == config.PolicyObserve, OnError: onError(cfg)}
	s.Oversize, _ = intel.ParseAction(string(cfg.Milter.Oversize))
	return s
}

func onError(cfg *config.Config) intel.Action {
	action, _ := intel.ParseAction(string(cfg.Policy.OnError))
	return action
}

func quarantineSettings(cfg *config.Config, r *rules) (quarantine.Settings, error) {
	s := quarantine.Settings{Parser: r.parser, Retention: time.Duration(cfg.Quarantine.Retention), HoldTime: time.Duration(cfg.Milter.AnswerTimeout) + time.Minute}
	inbound, errIn := sender(cfg, "reinject.inbound", &cfg.Reinject.Inbound)
	outbound, errOut := sender(cfg, "reinject.outbound", &cfg.Reinject.Outbound)
	if inbound != nil {
		s.Senders.Inbound = inbound
	}
	if outbound != nil {
		s.Senders.Outbound = outbound
	}
	return s, errors.Join(errIn, errOut)
}

// notifySettings says where notices come from; they go the ways of released mail.
func notifySettings(cfg *config.Config, r *rules, q *quarantine.Settings) notify.Settings {
	return notify.Settings{From: cfg.Notify.From, IsLocal: r.site.IsLocal, Inbound: q.Senders.Inbound, Outbound: q.Senders.Outbound}
}

// maxSecret bounds a password file.
const maxSecret = 4 << 10

// sender makes the way back that a route describes; nil where it has no address.
func sender(cfg *config.Config, section string, r *config.Route) (*reinject.Sender, error) {
	if r.Address.Network == "" {
		return nil, nil
	}
	o := reinject.Options{Network: r.Address.Network, Address: r.Address.Address, Helo: cfg.Reinject.Helo, Timeout: time.Duration(cfg.Reinject.Timeout), Username: r.Username}
	if o.Helo == "" {
		o.Helo, _ = os.Hostname()
	}
	if r.PasswordFile != "" {
		text, err := readSecret(string(r.PasswordFile))
		if err != nil {
			return nil, cfg.Problem(section+".password_file", err.Error(), "put the password alone into a file that only the daemon's user can read")
		}
		o.Password = text
	}
	if r.TLS == config.TLSStartTLS {
		tlsSettings, problem := tlsConfig(cfg, section, r)
		if problem != nil {
			return nil, problem
		}
		o.StartTLS, o.TLS = true, tlsSettings
	}
	return reinject.New(o)
}

func readSecret(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	return strings.TrimRight(string(text), "\r\n"), err
}

func tlsConfig(cfg *config.Config, section string, r *config.Route) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: r.TLSName}
	if r.TLSCAFile != "" {
		var err error
		if c.RootCAs, err = certPool(cfg, section+".tls_ca_file", string(r.TLSCAFile)); err != nil {
			return nil, err
		}
	}
	if r.TLSCertFile != "" {
		pair, err := tls.LoadX509KeyPair(string(r.TLSCertFile), string(r.TLSKeyFile))
		if err != nil {
			return nil, cfg.Problem(section+".tls_cert_file", fmt.Sprintf("certificate and key cannot be used: %v", err), "name a PEM certificate and its key")
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// certPool reads the authorities that a key of the configuration names.
func certPool(cfg *config.Config, key, file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, cfg.Problem(key, err.Error(), "name a readable PEM file")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, cfg.Problem(key, "holds no certificate", "name a PEM file with the certificates to trust")
	}
	return pool, nil
}
