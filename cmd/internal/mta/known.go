package mta

import (
	"net/netip"
	"strings"

	"github.com/weirmail/weir/cmd/internal/mta/postconf"
)

// kind is what a milter does that matters for its place in the chain.
type kind struct {
	name     string
	verifies bool // writes Authentication-Results that Weir may use
	signs    bool // DKIM
}

// kindOf recognises a milter by the usual names of its socket, or by its usual
// port on this host. The zero kind is one that is not known.
func kindOf(m *postconf.Milter) kind {
	address := strings.ToLower(m.Address)
	for _, known := range [...]struct {
		word, port string
		kind
	}{
		{"opendmarc", "8893", kind{"OpenDMARC", true, false}},
		{"opendkim", "8891", kind{"OpenDKIM", true, true}},
		{"openarc", "", kind{"OpenARC", true, false}},
		{"dkimpy", "8892", kind{"dkimpy-milter", true, true}},
		{"authentication_milter", "", kind{"Authentication Milter", true, false}},
		{"spf", "", kind{"an SPF milter", true, false}},
		{"dmarc", "", kind{"a DMARC milter", true, false}},
		{"dkim", "", kind{"a DKIM milter", true, true}},
		{"rspamd", "11332", kind{"rspamd", true, true}},
		{"spamass", "", kind{"spamass-milter", false, false}},
		{"clamav", "", kind{"clamav-milter", false, false}},
		{"amavis", "", kind{"amavisd-milter", false, false}},
		{"greylist", "", kind{"milter-greylist", false, false}},
	} {
		if strings.Contains(address, known.word) || known.port != "" && m.Port == known.port && isLoopback(m.Host) {
			return known.kind
		}
	}
	return kind{}
}

// isLoopback reports whether a host, by name or address, is this one.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}
