package config

import (
	"strings"
)

// DaemonAddress is where a sidecar reaches a daemon. Its text is "unix:PATH" or
// "https://HOST:PORT".
type DaemonAddress struct {
	Network string // "unix" or "https"
	Address string // path, or host and port as net.Dial takes them
}

const daemonCure = `write "unix:/run/weir/control.sock" or "https://mx1.example.org:9491"`

// UnmarshalText reads the text form.
func (a *DaemonAddress) UnmarshalText(text []byte) error {
	s := string(text)
	host, isURL := strings.CutPrefix(s, "https://")
	switch {
	case isURL:
		e, err := parseEndpoint(strings.TrimSuffix(host, "/"), daemonCure)
		if err != nil || e.Network != "tcp" {
			return bad("is not https://HOST:PORT", daemonCure)
		}
		*a = DaemonAddress{"https", e.Address}
		return nil
	case strings.HasPrefix(s, "unix:") && len(s) > len("unix:"):
		*a = DaemonAddress{"unix", s[len("unix:"):]}
		return nil
	case strings.HasPrefix(s, "http://"):
		return bad("is not encrypted, and mail would travel over it", daemonCure)
	}
	return bad("is no address of a daemon", daemonCure)
}

// MarshalText gives the text form.
func (a DaemonAddress) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// String gives the text form; that of the zero DaemonAddress is empty.
func (a DaemonAddress) String() string {
	switch a.Network {
	case "https":
		return "https://" + a.Address
	case "unix":
		return "unix:" + a.Address
	}
	return ""
}

// LoginPattern says which logins are meant: "*" in it stands for any text. It is
// kept in lower case.
type LoginPattern string

// UnmarshalText reads the text form.
func (p *LoginPattern) UnmarshalText(text []byte) error {
	const cure = `write "*", "*@example.org" or a login`
	s := string(text)
	switch {
	case s == "":
		return bad("is empty", cure)
	case strings.ContainsFunc(s, isControl):
		return bad("has a control character in it", cure)
	case strings.HasPrefix(s, "@"):
		return bad("fits no login", `write "*%s" for all of a domain`, s)
	}
	*p = LoginPattern(strings.ToLower(s))
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// fits reports whether the pattern fits a login in lower case. The first and last
// pieces are bound to its ends; the others are taken where they come first, which
// leaves most for the rest.
func (p LoginPattern) fits(login string) bool {
	pieces := strings.Split(string(p), "*")
	if len(pieces) == 1 {
		return login == string(p)
	}
	rest, ok := strings.CutPrefix(login, pieces[0])
	if !ok {
		return false
	}
	last := len(pieces) - 1
	for _, piece := range pieces[1:last] {
		i := strings.Index(rest, piece)
		if i < 0 {
			return false
		}
		rest = rest[i+len(piece):]
	}
	return strings.HasSuffix(rest, pieces[last])
}
