package mta

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/weirmail/weir/cmd/internal/mta/postconf"
	"github.com/weirmail/weir/config"
)

// defaultUser is whom the daemon runs as where nothing else is said.
const defaultUser = "weir"

// socket is one of this host's sockets as the system knows it.
type socket struct {
	network string // "unix" or "tcp"
	address string // absolute path, or host and port
}

func (s socket) String() string {
	if s.network == "unix" {
		return "unix:" + s.address
	}
	return s.address
}

// milterSockets gives the sockets on which the daemon listens. What systemd
// hands over has an address that only the caller can know: given, as Postfix
// would name it, or empty.
func milterSockets(cfg *config.Config, given string) ([]socket, error) {
	var sockets []socket
	for _, l := range cfg.Milter.Listen {
		switch l.Network {
		case "unix":
			sockets = append(sockets, socket{"unix", filepath.Clean(l.Address)})
		case "tcp":
			sockets = append(sockets, socket{"tcp", l.Address})
		}
	}
	if given != "" {
		m, err := postconf.ParseMilter(given)
		if err != nil {
			return nil, err
		}
		s := socket{"unix", m.Path}
		if m.Network == "tcp" {
			s = socket{"tcp", net.JoinHostPort(m.Host, m.Port)}
		} else if !filepath.IsAbs(m.Path) {
			return nil, fmt.Errorf("the milter socket %q is relative; name its absolute path", given)
		}
		sockets = append(sockets, s)
	}
	if len(sockets) == 0 {
		return nil, cfg.Problem("milter.listen", "names only sockets that systemd hands over, and their addresses stand in the socket unit", "say where the socket is, such as unix:/var/spool/postfix/weir/weir.sock")
	}
	return sockets, nil
}

// located is where a milter entry of Postfix leads: a path is relative to the
// queue directory, and so is an absolute one in a chroot.
func located(m *postconf.Milter, queueDir string, chrooted bool) socket {
	if m.Network == "tcp" {
		return socket{"tcp", net.JoinHostPort(m.Host, m.Port)}
	}
	if chrooted || !filepath.IsAbs(m.Path) {
		return socket{"unix", filepath.Join(queueDir, m.Path)}
	}
	return socket{"unix", filepath.Clean(m.Path)}
}

// same reports whether who connects to at reaches the listening socket s. A
// host name other than localhost is taken to be the right host.
func (s socket) same(at socket) bool {
	if s.network != at.network || s.network == "unix" {
		return s == at
	}
	host, port, _ := net.SplitHostPort(s.address)
	atHost, atPort, _ := net.SplitHostPort(at.address)
	if port != atPort {
		return false
	}
	listens, err := netip.ParseAddr(host)
	connects, notAddr := netip.ParseAddr(atHost)
	switch {
	case err != nil:
		return strings.EqualFold(host, atHost)
	case listens.IsUnspecified():
		return true
	case notAddr != nil:
		return isLoopback(atHost) == listens.IsLoopback()
	}
	return listens.Unmap() == connects.Unmap()
}

// below gives path relative to dir, and false where it does not lie in it.
func below(dir, path string) (string, bool) {
	rel, err := filepath.Rel(dir, path)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", false
	}
	return rel, true
}

// postfixName writes a socket as Postfix does, a path relative to the queue
// directory where it can be.
func (s socket) postfixName(queueDir string) string {
	if s.network == "unix" {
		if rel, ok := below(queueDir, s.address); ok {
			return "unix:" + rel
		}
		return "unix:" + s.address
	}
	host, port, _ := net.SplitHostPort(s.address)
	if a, err := netip.ParseAddr(host); err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
		if a.Is6() {
			host = "::1"
		}
	}
	return "inet:" + net.JoinHostPort(host, port)
}
