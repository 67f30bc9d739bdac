package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
)

// DeliveryLog is a log that tells of deliveries. Its text is "file:PATH",
// "journald:" or "journald:PATH", the paths absolute, or "syslog:NETWORK:ADDRESS:PORT".
type DeliveryLog string

// UnmarshalText reads the text form.
func (l *DeliveryLog) UnmarshalText(text []byte) error {
	const cure = `write "file:/var/log/mail.log", "journald:" or "syslog:tcp:192.0.2.1:6514"`
	kind, path, ok := strings.Cut(string(text), ":")
	if kind == "syslog" {
		return l.syslog(path)
	}
	switch {
	case !ok || kind != "file" && kind != "journald":
		return bad("is neither a file, nor systemd's journal, nor a syslog listener", cure)
	case kind == "file" && path == "":
		return bad("names no file", cure)
	case path != "" && !filepath.IsAbs(path):
		return bad("is not an absolute path", cure)
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' }):
		return bad("has a control character in its path", cure)
	}
	if path != "" {
		path = filepath.Clean(path)
	}
	*l = DeliveryLog(kind + ":" + path)
	return nil
}

func (l *DeliveryLog) syslog(text string) error {
	network, address, _ := strings.Cut(text, ":")
	at, err := netip.ParseAddrPort(address)
	switch {
	case network != "tcp" && network != "tls" && network != "udp":
		return bad("names no way to take syslog", `write "syslog:tcp:192.0.2.1:6514", or tls or udp instead of tcp`)
	case err != nil || at.Port() == 0:
		return bad("has no address and port to listen on", `write "syslog:tcp:192.0.2.1:6514"`)
	}
	*l = DeliveryLog("syslog:" + network + ":" + at.String())
	return nil
}

// Syslog gives network ("tcp", "tls", "udp") and address of a syslog listener; ok
// is false for other logs.
func (l DeliveryLog) Syslog() (network string, address netip.AddrPort, ok bool) {
	text, ok := strings.CutPrefix(string(l), "syslog:")
	network, rest, _ := strings.Cut(text, ":")
	address, err := netip.ParseAddrPort(rest)
	return network, address, ok && err == nil
}

// MarshalText gives the text form.
func (l DeliveryLog) MarshalText() ([]byte, error) { return []byte(l), nil }

// String gives the text form.
func (l DeliveryLog) String() string { return string(l) }

func (c *Config) checkDelivery(report reporter) {
	seen := map[DeliveryLog]bool{}
	for i, l := range c.Delivery.Logs {
		if seen[l] {
			report(fmt.Sprintf("delivery.logs[%d]", i), "is given twice", "take one of the two away")
		}
		seen[l] = true
		network, at, ok := l.Syslog()
		if ok && network == "tls" && c.Delivery.SyslogCertFile == "" {
			report("delivery.syslog_cert_file", "is missing, and delivery.logs takes syslog over TLS", "name a certificate and its key, or take syslog over tcp in a network of its own")
		}
		if ok && !at.Addr().IsLoopback() && len(c.Delivery.SyslogFrom) == 0 {
			report("delivery.syslog_from", fmt.Sprintf("is empty, and %s listens for other hosts: whoever sends there says where mail went", l), "name the hosts that may send")
		}
	}
	if (c.Delivery.SyslogCertFile == "") != (c.Delivery.SyslogKeyFile == "") {
		report("delivery.syslog_key_file", "and delivery.syslog_cert_file belong together", "name both or none")
	}
}
