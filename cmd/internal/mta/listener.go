package mta

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weirmail/weir/cmd/internal/mta/postconf"
	"github.com/weirmail/weir/config"
)

// direction is one of the two ways back.
type direction struct {
	name  string // "inbound" or "outbound"
	key   string // of the configuration: "reinject.inbound"
	route *config.Route
}

// allRoutes gives both ways back, routes those that are configured.
func allRoutes(cfg *config.Config) []direction {
	return []direction{
		{"inbound", "reinject.inbound", &cfg.Reinject.Inbound},
		{"outbound", "reinject.outbound", &cfg.Reinject.Outbound},
	}
}

func routes(cfg *config.Config) []direction {
	return slices.DeleteFunc(allRoutes(cfg), func(d direction) bool { return d.route.Address == (config.Endpoint{}) })
}

// service is a line for master.cf and why it is there.
type service struct {
	why     string
	head    [8]string // the columns
	options []setting
}

// cleanupName is the cleanup of messages that return.
const cleanupName = "weir-cleanup"

// services gives the listeners and their cleanup.
func (w *wiring) services() ([]service, error) {
	var all []service
	for i, d := range routes(w.Config) {
		if i > 0 && d.route.Address == w.Config.Reinject.Inbound.Address {
			return nil, w.Config.Problem(d.key+".address", "is that of reinject.inbound too, and only what goes out is to be signed", "give each its own")
		}
		s, err := w.listener(d)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if len(all) > 0 {
		all = append(all, w.cleanup())
	}
	return all, nil
}

// routeTo gives the way back that a service is the listener of; nil when it is
// none.
func routeTo(cfg *config.Config, queueDir string, s *postconf.Service) *direction {
	for _, d := range routes(cfg) {
		if name, kind, err := serviceOf(d, queueDir, cfg); err == nil && s.Type == kind && (s.Name == name || kind == "inet" && sameListener(s.Name, name)) {
			return &d
		}
	}
	return nil
}

// sameListener reports whether two names of TCP services mean the same socket:
// "10026" and "localhost:10026" are "127.0.0.1:10026" too.
func sameListener(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil {
		hostA, portA = "", a
	}
	if errB != nil {
		hostB, portB = "", b
	}
	return portA == portB && (hostA == "" || hostB == "" || strings.EqualFold(hostA, hostB) || isLoopback(hostA) && isLoopback(hostB))
}

// serviceOf gives name and type of the service that listens where a route
// leads. Postfix makes unix sockets in two folders only, and enters one of them
// itself alone.
func serviceOf(d direction, queueDir string, cfg *config.Config) (name, kind string, err error) {
	address := d.route.Address
	if address.Network == "tcp" {
		return address.Address, "inet", nil
	}
	public := filepath.Join(queueDir, "public")
	if name, ok := below(public, address.Address); ok && !strings.Contains(name, "/") {
		return name, "unix", plain(name)
	}
	return "", "", cfg.Problem(d.key+".address", "is no socket that Postfix can make for Weir; it makes them in "+public,
		fmt.Sprintf("write \"unix:%s\"", filepath.Join(public, "weir-"+d.name)))
}

// listener gives the smtpd of one direction. What it overrides is all that
// main.cf can set and that would judge, refuse, change or misdirect the message.
func (w *wiring) listener(d direction) (service, error) {
	name, kind, err := serviceOf(d, w.queueDir, w.Config)
	if err != nil {
		return service{}, err
	}
	s := service{head: [8]string{name, kind, "n", "-", "n", "-", "-", "smtpd"}}
	s.set("syslog_name", "postfix/weir-"+d.name)
	var skip string
	if d.name == "inbound" {
		skip = w.inbound(&s)
	} else {
		skip = w.outbound(&s)
	}
	for _, empty := range []string{"smtpd_milter_maps", "content_filter", "smtpd_proxy_filter"} {
		s.set(empty, "")
	}
	s.because("Aliases are expanded here (no no_address_mappings), since Weir saw recipients before that; unknown ones are refused here and not bounced.")
	s.set("receive_override_options", skip)
	s.set("smtpd_reject_unlisted_recipient", "yes")

	if err := w.admit(&s, d); err != nil {
		return service{}, err
	}
	s.because("The message goes on as it is, however long.")
	s.set("cleanup_service_name", cleanupName)
	s.set("message_size_limit", "0")
	for _, empty := range []string{"local_header_rewrite_clients", "smtpd_discard_ehlo_keywords", "smtpd_discard_ehlo_keyword_address_maps", "smtpd_command_filter"} {
		s.set(empty, "")
	}
	s.because("One message may have many recipients, and refused ones must not end the session.")
	most := fmt.Sprint(w.Config.Milter.MaxRecipients + 1)
	s.set("smtpd_recipient_limit", most)
	s.set("smtpd_soft_error_limit", most)
	s.set("smtpd_hard_error_limit", most)
	s.set("smtpd_client_event_limit_exceptions", "static:all")
	return s, nil
}

// inbound and outbound set the milters and give the receive_override_options.
func (w *wiring) inbound(s *service) string {
	s.why = "What was held of mail to this site and is released now."
	s.because("No content filter and no milter: the message was judged already, and would be held again.")
	s.set("smtpd_milters", "")
	return "no_milters,no_header_body_checks"
}

func (w *wiring) outbound(s *service) string {
	s.why = "What was held of mail that this site sends and is released now."
	signer := w.signer()
	if signer == "" {
		s.because("No content filter, and no milter but the one that signs (DKIM). None is known; if there is one, name it here.")
	} else {
		s.because("No content filter, and no milter but the one that signs.")
	}
	s.set("smtpd_milters", signer)
	s.set("milter_default_action", "tempfail")
	s.set("milter_macro_daemon_name", "ORIGINATING")
	return "no_header_body_checks"
}

// admit lets Weir in and nobody else.
func (w *wiring) admit(s *service, d direction) error {
	r := d.route
	overUnix := r.Address.Network == "unix"
	withPassword, withCertificate := r.Username != "", r.TLSCertFile != ""
	var client, relay string
	switch {
	case overUnix && r.TLS != config.TLSOff:
		return w.Config.Problem(d.key+".tls", "is of no use on a unix socket", `set it to "off"`)
	case overUnix:
		s.because(fmt.Sprintf("Only root and the group %s can reach the socket, and Postfix takes who does for 127.0.0.1.", w.setgidGroup()))
		s.set("mynetworks", "127.0.0.0/8,[::1]/128")
		relay = "permit_mynetworks,reject"
	case !withPassword && !withCertificate:
		return w.Config.Problem(d.key+".address", "is reached without credentials, so that every program of this host could send mail that nobody judges",
			fmt.Sprintf("use the default, a unix socket, or set %s.username and password_file, or a client certificate", d.key))
	case withPassword:
		if err := plain(r.Username); err != nil {
			return w.Config.Problem(d.key+".username", err.Error(), "use another login")
		}
		s.because("Only Weir's login gets in.")
		relay = fmt.Sprintf("check_sasl_access inline:{ { %s = permit } }, reject", strings.ToLower(r.Username))
		if withCertificate {
			client = "permit_tls_clientcerts,reject"
		}
	default:
		s.because("Only Weir's certificate gets in, recognised by its public key.")
		relay = "permit_tls_clientcerts,reject"
	}
	s.set("smtpd_client_restrictions", client)
	s.set("smtpd_relay_restrictions", relay)
	for _, empty := range []string{"smtpd_helo_restrictions", "smtpd_sender_restrictions", "smtpd_recipient_restrictions", "smtpd_data_restrictions", "smtpd_end_of_data_restrictions"} {
		s.set(empty, "")
	}
	s.set("smtpd_delay_reject", "yes")
	s.set("smtpd_reject_unlisted_sender", "no")
	for _, empty := range []string{"smtpd_authorized_xclient_hosts", "smtpd_authorized_xforward_hosts", "smtpd_upstream_proxy_protocol"} {
		s.set(empty, "")
	}
	s.set("smtpd_tls_wrappermode", "no")
	if r.TLS == config.TLSStartTLS {
		s.set("smtpd_tls_security_level", "encrypt")
	} else {
		s.set("smtpd_tls_security_level", "none")
	}
	if withCertificate {
		fingerprint, err := keyFingerprint(string(r.TLSCertFile))
		if err != nil {
			return w.Config.Problem(d.key+".tls_cert_file", err.Error(), "name a certificate in PEM that can be read")
		}
		s.set("smtpd_tls_ask_ccert", "yes")
		s.set("smtpd_tls_fingerprint_digest", "sha256")
		s.set("relay_clientcerts", "inline:{ { "+fingerprint+" = weir } }")
	}
	if !withPassword {
		s.set("smtpd_sasl_auth_enable", "no")
		return nil
	}
	s.set("smtpd_sasl_auth_enable", "yes")
	s.set("smtpd_sasl_security_options", "noanonymous")
	s.set("smtpd_sasl_exceptions_networks", "")
	s.set("smtpd_sasl_authenticated_header", "no")
	s.set("smtpd_tls_auth_only", "no")
	return nil
}

// signer gives the milter that signs, as smtpd_milters names it; empty when none
// is known. Where several are, that of submission is the right one, and a milter
// that signs and does nothing else is better than rspamd.
func (w *wiring) signer() string {
	if w.Signer != "" || w.Postfix == nil {
		return w.Signer
	}
	type list struct {
		service   *postconf.Service
		parameter string
	}
	lists := []list{{nil, "non_smtpd_milters"}, {nil, "smtpd_milters"}}
	for _, s := range w.Postfix.Services() {
		if s.Command == "smtpd" && isSubmission(w.Postfix, s) {
			lists = append([]list{{s, "smtpd_milters"}}, lists...)
		}
	}
	found := ""
	for _, l := range lists {
		milters, _ := postconf.Milters(w.Postfix.In(l.service, l.parameter))
		for i := range milters {
			kind := kindOf(&milters[i])
			if !kind.signs || found != "" && kind.name == "rspamd" {
				continue
			}
			found = w.signerName(&milters[i])
			if kind.name != "rspamd" {
				return found
			}
		}
	}
	return found
}

// signerName writes a milter so that a service without chroot finds it: for one
// with chroot, an absolute path starts at the queue directory too.
func (w *wiring) signerName(m *postconf.Milter) string {
	if m.Network == "unix" && !w.reachable(socket{"unix", m.Path}) {
		return "unix:" + strings.TrimLeft(m.Path, "/")
	}
	return m.Address
}

// cleanup gives the cleanup of what returns: as the usual one, whose own
// overrides it keeps, but for the size limit and the rewriting of header fields
// of clients that are not local.
func (w *wiring) cleanup() service {
	s := service{
		why:  "The usual cleanup, for what returns: it leaves the header alone and has no size limit, since the message is longer than when it came.",
		head: [8]string{cleanupName, "unix", "n", "-", "n", "-", "0", "cleanup"},
	}
	if w.Postfix != nil {
		if usual := w.Postfix.Service(w.Postfix.Value("cleanup_service_name"), "unix"); usual != nil {
			for _, o := range usual.Options {
				if o.Name != "syslog_name" && o.Name != "message_size_limit" && o.Name != "remote_header_rewrite_domain" {
					s.set(o.Name, o.Value)
				}
			}
		}
	}
	s.set("syslog_name", "postfix/weir")
	s.set("message_size_limit", "0")
	s.set("remote_header_rewrite_domain", "")
	return s
}

// set adds an override; because gives the reason for it and those that follow.
func (s *service) set(name, value string) {
	s.options = append(s.options, setting{name: name, value: value})
}

func (s *service) because(why string) { s.options = append(s.options, setting{why: why}) }

// option writes an override: the long form where there is white space.
func option(o setting) string {
	if strings.ContainsAny(o.value, " \t{") {
		return fmt.Sprintf("-o { %s = %s }", o.name, o.value)
	}
	return "-o " + o.name + "=" + o.value
}

func masterText(services []service) string {
	var b strings.Builder
	for _, s := range services {
		b.WriteString(comment("#", s.why) + strings.Join(s.head[:], " ") + "\n")
		for _, o := range s.options {
			if o.name == "" {
				b.WriteString(comment("  #", o.why))
				continue
			}
			b.WriteString("  " + option(o) + "\n")
		}
	}
	return b.String()
}

func masterCommands(services []service) [][]string {
	var commands [][]string
	for _, s := range services {
		line := strings.Join(s.head[:], " ")
		for _, o := range s.options {
			if o.name != "" {
				line += " " + option(o)
			}
		}
		commands = append(commands, []string{"postconf", "-M", s.head[0] + "/" + s.head[1] + "=" + line})
	}
	return commands
}

// certificateMax bounds a certificate file, in bytes.
const certificateMax = 1 << 20

// readCertificate gives the first certificate of a PEM file.
func readCertificate(path string) (*x509.Certificate, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	rest, err := io.ReadAll(io.LimitReader(f, certificateMax))
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("holds no certificate")
		}
		if block.Type == "CERTIFICATE" {
			return x509.ParseCertificate(block.Bytes)
		}
	}
}

// keyFingerprint gives the fingerprint of a certificate's public key as
// Postfix writes it: a renewed certificate with the same key keeps it.
func keyFingerprint(path string) (string, error) {
	c, err := readCertificate(path)
	if err != nil {
		return "", err
	}
	return colons(sha256.Sum256(c.RawSubjectPublicKeyInfo)), nil
}

// colons writes a digest as "AB:CD:…".
func colons(sum [sha256.Size]byte) string {
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}
