package mta

import (
	"net"
	"strings"

	"github.com/weirmail/weir/cmd/internal/mta/postconf"
)

// isLocal reports whether a service can be reached from this host only.
func isLocal(p *postconf.Config, s *postconf.Service) bool {
	if s.Type == "pass" { // what postscreen hands on comes from outside
		return false
	}
	if s.Type != "inet" {
		return true
	}
	if host, _, err := net.SplitHostPort(s.Name); err == nil && host != "" {
		return isLoopback(host)
	}
	interfaces := postconf.Words(p.In(s, "inet_interfaces"))
	for _, name := range interfaces {
		if !strings.EqualFold(name, "loopback-only") && !isLoopback(name) {
			return false
		}
	}
	return len(interfaces) > 0
}

// port gives the port or its name of a service that is reached by TCP.
func port(s *postconf.Service) string {
	if _, port, err := net.SplitHostPort(s.Name); err == nil {
		return port
	}
	return s.Name
}

// isSMTP reports whether mail from other hosts comes in here.
func isSMTP(s *postconf.Service) bool {
	p := port(s)
	return s.Type == "pass" || s.Type == "inet" && (p == "smtp" || p == "25")
}

// isSubmission reports whether a service takes mail of this site's own users.
func isSubmission(p *postconf.Config, s *postconf.Service) bool {
	switch port(s) {
	case "submission", "587", "submissions", "smtps", "465":
		return true
	}
	return p.In(s, "milter_macro_daemon_name") == "ORIGINATING"
}

// filterByPipe gives the service of a content filter that is a program started
// by pipe(8): such a filter hands mail back by the sendmail command.
func filterByPipe(p *postconf.Config) *postconf.Service {
	for _, s := range append([]*postconf.Service{nil}, p.Services()...) {
		if s != nil && s.Command != "smtpd" && s.Command != "pickup" {
			continue
		}
		transport, _, _ := strings.Cut(p.In(s, "content_filter"), ":")
		if f := p.Service(transport, "unix"); f != nil && f.Command == "pipe" {
			return f
		}
	}
	return nil
}
