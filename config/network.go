package config

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// unixPathMax is the longest path of a unix socket on Linux (unix(7), sun_path
// without its final NUL). Beyond it bind fails with a bare "invalid argument".
const unixPathMax = 107

// Listen is a socket on which the daemon listens. Its text is "unix:PATH",
// "ADDRESS:PORT" or "systemd:NAME"; the zero Listen is none, and its text is empty.
type Listen struct {
	Network string // "unix", "tcp" or "systemd"
	Address string // path, "127.0.0.1:8891", or the name of the inherited socket
}

const listenCure = `write "unix:/path", "127.0.0.1:8891", "[::1]:8891" or "systemd:NAME"`

// UnmarshalText reads the text form. A host name is an error: which of its
// addresses was meant would depend on DNS.
func (l *Listen) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "" {
		*l = Listen{}
		return nil
	}
	if name, ok := strings.CutPrefix(s, "systemd:"); ok {
		if !isWord(name) {
			return bad("names no inherited socket", listenCure)
		}
		*l = Listen{"systemd", name}
		return nil
	}
	e, err := parseEndpoint(s, listenCure)
	if err != nil {
		return err
	}
	if e.Network == "tcp" {
		if _, err := netip.ParseAddrPort(e.Address); err != nil {
			return bad("has a name where an address must stand", listenCure)
		}
	}
	*l = Listen(e)
	return nil
}

// MarshalText gives the text form.
func (l Listen) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// String gives the text form.
func (l Listen) String() string { return socketText(l.Network, l.Address) }

// remote reports whether other hosts can reach l.
func (l Listen) remote() bool {
	a, err := netip.ParseAddrPort(l.Address)
	return l.Network == "tcp" && (err != nil || !a.Addr().Unmap().IsLoopback())
}

// Endpoint is a socket to which Weir connects. Its text is "unix:PATH" or
// "HOST:PORT", where the host is a name or an address; the zero Endpoint is none.
type Endpoint struct {
	Network string // "unix" or "tcp"
	Address string // path, or host and port as net.Dial takes them
}

const endpointCure = `write "unix:/path", "127.0.0.1:10026" or "mx.example.org:10026"`

// UnmarshalText reads the text form.
func (e *Endpoint) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*e = Endpoint{}
		return nil
	}
	parsed, err := parseEndpoint(string(text), endpointCure)
	if err != nil {
		return err
	}
	*e = parsed
	return nil
}

// MarshalText gives the text form.
func (e Endpoint) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// String gives the text form.
func (e Endpoint) String() string { return socketText(e.Network, e.Address) }

// remote reports whether what is sent to e may leave this host.
func (e Endpoint) remote() bool {
	return e.Network == "tcp" && e.host() != "localhost" && Listen(e).remote()
}

func (e Endpoint) host() string {
	host := e.Address[:strings.LastIndexByte(e.Address, ':')]
	return strings.Trim(host, "[]")
}

func socketText(network, address string) string {
	if network == "tcp" || network == "" {
		return address
	}
	return network + ":" + address
}

func parseEndpoint(s, cure string) (Endpoint, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if path == "" {
			return Endpoint{}, bad("names no path", "%s", cure)
		}
		return Endpoint{"unix", path}, nil
	}
	if strings.HasPrefix(s, "/") || strings.HasPrefix(s, "local:") {
		return Endpoint{}, bad("is not a socket address", `write "unix:%s"`, strings.TrimPrefix(s, "local:"))
	}
	if rest, ok := strings.CutPrefix(s, "tcp:"); ok {
		return Endpoint{}, bad("is not a socket address", `write "%s"`, rest)
	}
	if port, ok := strings.CutPrefix(s, "inet:"); ok {
		if at := strings.IndexByte(port, '@'); at >= 0 {
			return Endpoint{}, bad("is the MTA's way to write a socket address", `write "%s:%s"`, port[at+1:], port[:at])
		}
	}
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return Endpoint{}, bad("has no port", "%s", cure)
	}
	host, port := s[:colon], s[colon+1:]
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || port[0] == '0' {
		return Endpoint{}, bad("has no port from 1 to 65535", "%s", cure)
	}
	switch {
	case host == "":
		return Endpoint{}, bad("has no address", `write "127.0.0.1:%s" for this host only, "0.0.0.0:%s" or "[::]:%s" for all`, port, port, port)
	case strings.HasPrefix(host, "["):
		a, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil || !a.Is6() || !strings.HasSuffix(host, "]") {
			return Endpoint{}, bad("is not a socket address", "%s", cure)
		}
		s = "[" + a.String() + "]:" + port
	case strings.ContainsRune(host, ':'):
		return Endpoint{}, bad("is not a socket address", `write IPv6 addresses in brackets: "[::1]:8891"`)
	case !isHostName(host):
		return Endpoint{}, bad("is not a socket address", "%s", cure)
	}
	return Endpoint{"tcp", s}, nil
}

// isHostName admits what DNS and /etc/hosts can hold, and IPv4 addresses.
func isHostName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !isWord(label) || len(label) > 63 {
			return false
		}
	}
	return true
}

// isWord reports whether s is made of ASCII letters, digits, "-" and "_" only,
// and does not begin with "-".
func isWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if (c < '0' || c > '9') && c != '_' && (c != '-' || i == 0) {
				return false
			}
		}
	}
	return s != ""
}

// Prefix is a network, or a single host. Its text is "10.0.0.0/8", "::1".
type Prefix struct{ netip.Prefix }

// UnmarshalText reads the text form. Host bits must be zero: "10.1.2.3/8" is
// more often a slip than a wish.
func (p *Prefix) UnmarshalText(text []byte) error {
	const cure = `write an address or a network, such as "192.0.2.1", "10.0.0.0/8" or "2001:db8::/32"`
	s := string(text)
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		p.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return bad("is not an address or network", cure)
	}
	if prefix.Addr().Is4In6() {
		return bad("is an IPv4 network written as IPv6", cure)
	}
	if prefix != prefix.Masked() {
		return bad("has host bits set", `write "%s" for the network or "%s" for the host`, prefix.Masked(), prefix.Addr())
	}
	p.Prefix = prefix
	return nil
}

// MarshalText gives the text form.
func (p Prefix) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String gives the text form, a single host without its length.
func (p Prefix) String() string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Prefix.String()
}

// Domain is a mail domain in lower case A-labels ("example.org"), or with a dot
// before it the domain and all below (".example.org").
type Domain string

const domainCure = `write a domain such as "example.org", or ".example.org" for it and all below it`

// UnmarshalText reads the text form and makes it canonical.
func (d *Domain) UnmarshalText(text []byte) error {
	name, below := strings.CutPrefix(string(text), ".")
	switch {
	case strings.HasPrefix(name, "*."):
		return bad("is not a domain", `write ".%s" for the domain and all below it`, name[2:])
	case strings.Contains(name, "@"):
		return bad("is an address, not a domain", domainCure)
	}
	ascii := strings.ToLower(strings.TrimSuffix(name, "."))
	if !isHostName(ascii) { // else it has nothing to convert
		var err error
		if ascii, err = idna.Lookup.ToASCII(ascii); err != nil || !utf8.ValidString(name) || !isHostName(ascii) {
			return bad("is not a domain", domainCure)
		}
	}
	if below {
		ascii = "." + ascii
	}
	*d = Domain(ascii)
	return nil
}

// Principal is a local user or group, or in control.pullers the holder of a
// certificate. Its text is "user:NAME", "group:NAME" or "cert:NAME"; a number
// instead of a user's or group's name is a uid or gid.
type Principal struct {
	Group bool
	Cert  bool // Name is the common name of the certificate
	Name  string
}

// UnmarshalText reads the text form.
func (p *Principal) UnmarshalText(text []byte) error {
	kind, name, ok := strings.Cut(string(text), ":")
	switch {
	case !ok:
		return bad("names neither user nor group", `write "user:%s" or "group:%s"`, text, text)
	case kind != "user" && kind != "group" && kind != "cert":
		return bad("names neither user nor group", `write "user:NAME" or "group:NAME"`)
	case name == "" || strings.ContainsFunc(name, isSpaceOrControl):
		return bad("has no proper name", `write "%s:NAME"`, kind)
	}
	*p = Principal{Group: kind == "group", Cert: kind == "cert", Name: name}
	return nil
}

// MarshalText gives the text form.
func (p Principal) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// String gives the text form.
func (p Principal) String() string {
	switch {
	case p.Group:
		return "group:" + p.Name
	case p.Cert:
		return "cert:" + p.Name
	}
	return "user:" + p.Name
}

func isSpaceOrControl(r rune) bool { return r <= ' ' || r >= 0x7f && r <= 0xa0 }
