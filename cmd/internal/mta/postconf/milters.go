package postconf

import (
	"fmt"
	"net"
	"strings"
)

// Milter is one entry of smtpd_milters or non_smtpd_milters.
type Milter struct {
	Address string // as written, without braces and settings: "unix:weir/weir.sock"

	Network    string // "unix" or "tcp"
	Path       string // of a unix socket
	Host, Port string // of a TCP socket; the host without brackets

	Settings []Option // of "{ address, name=value … }"
}

// Setting gives one of the entry's own settings.
func (m *Milter) Setting(name string) (string, bool) {
	for i := len(m.Settings) - 1; i >= 0; i-- {
		if m.Settings[i].Name == name {
			return m.Settings[i].Value, true
		}
	}
	return "", false
}

// Milters reads the expanded value of smtpd_milters or non_smtpd_milters. The
// error is of the first entry that Postfix cannot use; all entries are given.
func Milters(value string) ([]Milter, error) {
	var milters []Milter
	var first error
	for _, word := range Words(value) {
		m, err := ParseMilter(word)
		if first == nil {
			first = err
		}
		milters = append(milters, m)
	}
	return milters, first
}

// ParseMilter reads one entry as Postfix does: "unix:path", "inet:host:port",
// "inet:port" for localhost, or one of them in braces with settings behind it
// (Postfix 3.0). An error is what makes Postfix's smtpd answer 451 or end with a
// fatal error; the Milter then has what could be read.
func ParseMilter(word string) (Milter, error) {
	inner := Words(unbrace(word))
	if len(inner) == 0 {
		return Milter{}, fmt.Errorf("%q names no milter", clip(word))
	}
	m := Milter{Address: inner[0]}
	if err := m.locate(); err != nil {
		return m, err
	}
	for _, setting := range inner[1:] {
		name, value, ok := strings.Cut(unbrace(setting), "=")
		if !ok {
			return m, fmt.Errorf("the setting %q of milter %q has no value; write name=value without white space around the \"=\"", clip(setting), clip(m.Address))
		}
		m.Settings = append(m.Settings, Option{strings.TrimSpace(name), strings.TrimSpace(value)})
	}
	return m, nil
}

// locate reads the address.
func (m *Milter) locate() error {
	kind, rest, _ := strings.Cut(m.Address, ":")
	switch strings.ToLower(kind) {
	case "unix", "local":
		if rest == "" {
			return fmt.Errorf("milter %q names no socket", clip(m.Address))
		}
		m.Network, m.Path = "unix", rest
		return nil
	case "inet":
		if port, host, ok := strings.Cut(rest, "@"); ok {
			return fmt.Errorf("milter %q is written as Sendmail does; for Postfix it is inet:%s:%s", clip(m.Address), clip(host), clip(port))
		}
		m.Network, m.Host, m.Port = "tcp", "localhost", rest
		if strings.Contains(rest, ":") {
			var err error
			if m.Host, m.Port, err = net.SplitHostPort(rest); err != nil {
				return fmt.Errorf("milter %q has no host and port; it is written inet:host:port, an IPv6 address in brackets", clip(m.Address))
			}
		}
		if m.Port == "" {
			return fmt.Errorf("milter %q names no port", clip(m.Address))
		}
		return nil
	}
	return fmt.Errorf("milter %q is neither unix:path nor inet:host:port", clip(m.Address))
}
