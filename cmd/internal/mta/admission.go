package mta

import (
	"crypto/sha256"
	"net/netip"
	"strings"

	"github.com/weirmail/weir/cmd/internal/mta/postconf"
	"github.com/weirmail/weir/config"
)

// checkAdmission looks whether the listener lets Weir in, and nobody else. It
// reads the restriction lists as Postfix does for a recipient: a client must
// pass each of them, and within one the first word that decides counts.
func (r back) checkAdmission() {
	const lists = "smtpd_client_restrictions smtpd_helo_restrictions smtpd_sender_restrictions smtpd_relay_restrictions smtpd_recipient_restrictions"
	closed := r.d.route.Address.Network == "unix" // the folder is shut
	own := closed                                 // to all but Weir
	for _, name := range strings.Fields(lists) {
		words := postconf.Words(r.value(name))
		if word := r.refuses(words); word != "" {
			r.c.add(Error, r.id, r.s.Key()+" lets Weir itself not in ("+word+")", r.c.where(r.s, name), "released "+r.d.name+" mail is refused", snippetCure)
		}
		if shuts, anyLogin := shut(words); shuts {
			closed, own = true, own || !anyLogin
		}
	}
	const why = "what comes in there is judged by nobody"
	switch {
	case !closed:
		r.c.add(Error, r.id, r.s.Key()+" lets others in than Weir", r.c.where(r.s, "smtpd_relay_restrictions"), why+", and 127.0.0.1 is every program of this host",
			"use a unix socket, or a login or certificate of Weir's own; "+snippetCure)
	case !own:
		r.c.add(Warning, r.id, r.s.Key()+" lets everybody in who has a login or certificate here", r.c.where(r.s, "smtpd_relay_restrictions"), why,
			"admit Weir's alone (check_sasl_access, permit_tls_clientcerts); "+snippetCure)
	}
	r.checkCertificate()
}

// shut reports whether a list turns away whoever has no credentials, and
// whether any credentials do.
func shut(words []string) (shuts, anyLogin bool) {
	for i := 0; i < len(words); i++ {
		switch word := strings.ToLower(words[i]); {
		case word == "reject", word == "defer":
			return true, anyLogin
		case word == "permit_sasl_authenticated", word == "permit_tls_all_clientcerts":
			anyLogin = true
		case word == "permit_tls_clientcerts":
		case word == "check_sasl_access", word == "check_ccert_access":
			i++ // its table
		case strings.HasPrefix(word, "permit"), strings.HasPrefix(word, "check_"):
			return false, false // somebody may get through here
		}
	}
	return false, false
}

// refuses gives the word of a list that turns Weir away; empty when none does.
// Where only a lookup could tell, Weir is taken to get through.
func (r back) refuses(words []string) string {
	route := r.d.route
	for i := 0; i < len(words); i++ {
		switch word := strings.ToLower(words[i]); word {
		case "permit", "permit_inet_interfaces", "permit_auth_destination":
			return ""
		case "permit_mynetworks":
			if r.inMynetworks() {
				return ""
			}
		case "permit_sasl_authenticated":
			if route.Username != "" {
				return ""
			}
		case "check_sasl_access":
			i++
			if route.Username != "" && (i >= len(words) || mayName(words[i], route.Username)) {
				return ""
			}
		case "permit_tls_clientcerts", "permit_tls_all_clientcerts", "check_ccert_access":
			if word == "check_ccert_access" {
				i++
			}
			if route.TLSCertFile != "" {
				return ""
			}
		case "reject", "defer":
			return word
		case "reject_unauth_destination", "defer_unauth_destination":
			if r.d.name == "outbound" {
				return word
			}
		}
	}
	return ""
}

// mayName reports whether a table can hold a key: of an inline one it can be
// seen.
func mayName(table, key string) bool {
	inline, ok := strings.CutPrefix(table, "inline:")
	return !ok || strings.Contains(strings.ToLower(inline), strings.ToLower(key))
}

// inMynetworks reports whether the listener's mynetworks can hold Weir's
// address: localhost over a unix socket and over loopback, else unknown.
func (r back) inMynetworks() bool {
	address := r.d.route.Address
	if address.Network == "tcp" && !isLoopback(hostOf(address)) {
		return true
	}
	client := netip.MustParseAddr("127.0.0.1")
	if strings.Contains(hostOf(address), ":") {
		client = netip.IPv6Loopback()
	}
	words := postconf.Words(r.value("mynetworks"))
	if len(words) == 0 && !r.c.postfix.Set("mynetworks") {
		return true // Postfix finds this host's networks itself
	}
	for _, word := range words {
		text := strings.NewReplacer("[", "", "]", "").Replace(word)
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, errAddr := netip.ParseAddr(text)
			if errAddr != nil {
				return true // a file or a table
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		if prefix.Contains(client) {
			return true
		}
	}
	return false
}

func hostOf(e config.Endpoint) string {
	if e.Network != "tcp" {
		return ""
	}
	return strings.Trim(e.Address[:strings.LastIndexByte(e.Address, ':')], "[]")
}

// checkCertificate compares Weir's client certificate with those that the
// listener knows.
func (r back) checkCertificate() {
	file := string(r.d.route.TLSCertFile)
	if file == "" {
		return
	}
	if !r.c.postfix.Bool(r.s, "smtpd_tls_ask_ccert") && !r.c.postfix.Bool(r.s, "smtpd_tls_req_ccert") {
		r.bad(Error, "smtpd_tls_ask_ccert", "yes", r.s.Key()+" asks for no client certificate", "it does not recognise Weir")
	}
	known := r.value("relay_clientcerts")
	certificate, err := readCertificate(file)
	if !strings.HasPrefix(known, "inline:") || err != nil {
		return
	}
	for _, fingerprint := range []string{colons(sha256.Sum256(certificate.RawSubjectPublicKeyInfo)), colons(sha256.Sum256(certificate.Raw))} {
		if strings.Contains(strings.ToUpper(known), fingerprint) {
			return
		}
	}
	r.c.add(Error, r.id, r.s.Key()+" does not know Weir's certificate", r.c.where(r.s, "relay_clientcerts"), "the certificate in "+r.d.key+".tls_cert_file has another key", snippetCure)
}
