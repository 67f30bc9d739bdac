package milter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"github.com/weirmail/weir/filter/message"
)

// cutNUL splits b after its first C string. What has no NUL is a string too:
// Sendmail leaves the last one out at times.
func cutNUL(b []byte) (s, rest []byte) {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// parsePath reads the data of SMFIC_MAIL and SMFIC_RCPT: the address as the
// client wrote it, then its ESMTP arguments. The library drops the arguments,
// and of the address all the angle brackets at its ends.
func parsePath(data []byte) message.Path {
	raw, rest := cutNUL(data)
	p := message.Path{Raw: string(raw)}
	for len(rest) > 0 {
		var arg []byte
		if arg, rest = cutNUL(rest); len(arg) > 0 {
			p.Args = append(p.Args, string(arg))
		}
	}
	return p
}

// peer is what SMFIC_CONNECT says of the SMTP client.
type peer struct {
	client message.Client
	inet   bool // it has an IP address and a port, or should have
}

// parseConnect reads the data of SMFIC_CONNECT: name, family, and for the
// families that have them port and address. An address that cannot be read
// ("unknown", from an XCLIENT proxy) makes a client without one.
func parseConnect(data []byte) (peer, error) {
	name, rest := cutNUL(data)
	if len(name) == len(data) || len(rest) == 0 {
		return peer{}, fmt.Errorf("%w: a connection without address family", errProtocol)
	}
	p := peer{client: message.Client{Name: string(name)}}
	switch gomilter.ProtoFamily(rest[0]) {
	case gomilter.FamilyInet, gomilter.FamilyInet6:
	default:
		return p, nil
	}
	if len(rest) < 3 {
		return peer{}, fmt.Errorf("%w: a connection without port", errProtocol)
	}
	p.inet = true
	p.client.Port = binary.BigEndian.Uint16(rest[1:])
	address, _ := cutNUL(rest[3:])
	p.client.Addr = parseAddr(string(address))
	return p, nil
}

// parseAddr reads an address as MTAs write it: Sendmail puts "IPv6:" in front of
// those of IPv6. IPv4 addresses stay IPv4 however they are dressed.
func parseAddr(s string) netip.Addr {
	const tag = "IPv6:"
	if len(s) > len(tag) && strings.EqualFold(s[:len(tag)], tag) {
		s = s[len(tag):]
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// local says whether no SMTP client stands behind the session; see the package
// comment.
func (p peer) local(daemonPort string) bool {
	if daemonPort != "" && daemonPort != "0" {
		return false
	}
	return !p.inet || p.client.Port == 0
}
