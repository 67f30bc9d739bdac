package mta

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/weirmail/weir/cmd/internal/mta/postconf"
	"github.com/weirmail/weir/config"
)

// checkReturn looks at the listeners that take released mail.
func (c *checker) checkReturn() {
	for _, d := range allRoutes(c.cfg) {
		if d.route.Address == (config.Endpoint{}) {
			c.add(Warning, "return-"+d.name, "Held "+d.name+" mail cannot be released", "weir.toml: "+d.key+".address is empty", "there is no way back for it", "set it, and "+snippetCure)
			continue
		}
		if s := c.listener(d); s != nil {
			r := back{c, d, s, "return-" + d.name}
			r.checkMilters()
			r.checkDetours()
			r.checkMapping()
			r.checkAdmission()
			r.checkSession()
			r.checkContent()
			c.ok(r.id, "Released %s mail returns by %s as it should", d.name, s.Key())
		}
	}
}

// listener finds the service where a route leads.
func (c *checker) listener(d direction) *postconf.Service {
	id := "return-" + d.name
	name, kind, err := serviceOf(d, c.queueDir, c.cfg)
	if err != nil {
		c.add(Error, id, err.Error(), "", "held "+d.name+" mail cannot be released", "")
		return nil
	}
	for _, s := range c.postfix.Services() {
		found := routeTo(c.cfg, c.queueDir, s)
		switch {
		case found == nil || found.name != d.name:
		case s.Command != "smtpd":
			c.add(Error, id, s.Key()+" should take released mail, and it is "+s.Command, "master.cf, "+s.Key(), "only smtpd takes mail by SMTP", snippetCure)
			return nil
		case kind == "unix" && s.Private:
			c.add(Error, id, s.Key()+" is private, so that Weir cannot reach its socket", "master.cf, "+s.Key()+", third column", "the socket lies in a folder that only Postfix can enter", `write "n" there`)
			return nil
		default:
			return s
		}
	}
	if host, _, err := net.SplitHostPort(name); kind == "inet" && err == nil && !isLoopback(host) {
		c.add(Warning, id, "Released "+d.name+" mail goes to "+name+", which is no service of this Postfix", "weir.toml: "+d.key+".address", "what is there was not looked at", "give this check the configuration of that host")
		return nil
	}
	c.add(Error, id, "master.cf has no service "+name+"/"+kind+", to which released "+d.name+" mail goes", "weir.toml: "+d.key+".address", "held "+d.name+" mail cannot be released", snippetCure)
	return nil
}

// back is one listener for released mail.
type back struct {
	c  *checker
	d  direction
	s  *postconf.Service
	id string
}

func (r back) value(name string) string { return r.c.postfix.In(r.s, name) }

// bad adds a finding about a parameter of the listener; it is cured by setting it.
func (r back) bad(severity Severity, parameter, to, what, why string) {
	r.c.add(severity, r.id, what, r.c.where(r.s, parameter), why, r.c.override(r.s, parameter, to))
}

// checkMilters looks for milters on the listener.
func (r back) checkMilters() {
	key := r.s.Key()
	if slices.Contains(postconf.Words(r.value("receive_override_options")), "no_milters") {
		if r.d.name == "outbound" {
			r.bad(Warning, "receive_override_options", "no_header_body_checks", "Released outbound mail is not signed: "+key+" says no_milters", "recipients may refuse mail without a DKIM signature")
		}
		return
	}
	if r.value("smtpd_milter_maps") != "" {
		r.bad(Error, "smtpd_milter_maps", "", key+" uses smtpd_milter_maps, which can bring in other milters than its own", "Weir would hold what it releases")
	}
	d := r.c.door(r.s, "smtpd_milters", r.s)
	signers := 0
	for i := range d.milters {
		kind := kindOf(&d.milters[i])
		switch {
		case slices.Contains(d.weir, i):
			r.bad(Error, "smtpd_milters", "", key+" shows released mail to Weir again", "it is held again, or judged as if this host had sent it")
		case kind.signs && r.d.name == "outbound":
			signers++
		case r.d.name == "outbound":
			r.c.add(Warning, r.id, key+" has the milter "+d.milters[i].Address+", which is not known to sign", r.c.where(r.s, "smtpd_milters"), "a milter that refuses keeps released mail from leaving", "leave only the one that signs")
		default:
			r.bad(Warning, "smtpd_milters", "", key+" has the milter "+d.milters[i].Address, "a milter that refuses keeps released mail from arriving")
		}
	}
	if r.d.name == "outbound" && len(d.milters) == 0 {
		r.c.add(Warning, r.id, "Released outbound mail is not signed: "+key+" has no milter", r.c.where(r.s, "smtpd_milters"), "recipients may refuse mail without a DKIM signature", "name the milter that signs there: weir postfix snippet --signer inet:127.0.0.1:8891")
	}
}

// checkDetours looks for filters that take the message away.
func (r back) checkDetours() {
	for _, name := range []string{"content_filter", "smtpd_proxy_filter"} {
		if r.value(name) != "" {
			r.bad(Error, name, "", r.s.Key()+" sends released mail through a filter ("+name+")", "it comes back by another listener, where Weir holds it again")
		}
	}
}

// checkMapping looks at what receive_override_options turns off.
func (r back) checkMapping() {
	options := postconf.Words(r.value("receive_override_options"))
	without := func(option string) string {
		return strings.Join(slices.DeleteFunc(slices.Clone(options), func(o string) bool { return o == option }), ",")
	}
	if slices.Contains(options, "no_address_mappings") {
		r.bad(Error, "receive_override_options", without("no_address_mappings"), r.s.Key()+" expands no aliases", "Weir held the recipient by the address that the client gave; released mail for an alias bounces")
	}
	if slices.Contains(options, "no_unknown_recipient_checks") {
		r.bad(Warning, "receive_override_options", without("no_unknown_recipient_checks"), r.s.Key()+" takes recipients that do not exist", "mail released to one bounces to a sender who may be forged")
	}
	if slices.Contains(options, "no_header_body_checks") {
		return
	}
	for _, name := range []string{"header_checks", "mime_header_checks", "nested_header_checks", "body_checks"} {
		if r.c.postfix.In(r.cleanup(), name) != "" {
			r.bad(Warning, "receive_override_options", strings.Join(append(options, "no_header_body_checks"), ","), r.s.Key()+" looks at released mail with "+name+" again", "it can be refused, held or sent elsewhere after a person has released it")
			return
		}
	}
}

// cleanup gives the cleanup service behind the listener; nil when it is missing.
func (r back) cleanup() *postconf.Service {
	return r.c.postfix.Service(r.value("cleanup_service_name"), "unix")
}

// checkContent looks for what would change or refuse the message.
func (r back) checkContent() {
	key := r.s.Key()
	if name := r.value("cleanup_service_name"); r.cleanup() == nil {
		r.c.add(Error, r.id, key+" hands mail to "+name+", and master.cf has no such service", r.c.where(r.s, "cleanup_service_name"), "it is answered with 451", snippetCure)
	} else if r.limit(r.cleanup(), "message_size_limit") != 0 {
		r.c.add(Warning, r.id, "The cleanup behind "+key+" limits the size of messages", r.c.where(r.cleanup(), "message_size_limit"), "a message that came in just below the limit is longer when it is released, and refused", snippetCure)
	}
	const changed = "it no longer is what was held, and a DKIM signature breaks"
	if r.value("local_header_rewrite_clients") != "" {
		r.bad(Warning, "local_header_rewrite_clients", "", key+" may change header fields of released mail", changed)
	} else if s := r.cleanup(); s != nil && r.c.postfix.In(s, "remote_header_rewrite_domain") != "" {
		r.c.add(Warning, r.id, "The cleanup behind "+key+" may change header fields of released mail", r.c.where(s, "remote_header_rewrite_domain"), changed, snippetCure)
	}
	if offered := append(postconf.Words(r.value("smtpd_discard_ehlo_keywords")), postconf.Words(r.value("smtpd_discard_ehlo_keyword_address_maps"))...); len(offered) > 0 {
		r.bad(Warning, "smtpd_discard_ehlo_keywords", "", key+" hides SMTP extensions: "+strings.Join(offered, ", "), "released mail that needs one is refused or changed")
	}
	if n := r.limit(r.s, "message_size_limit"); n != 0 && n < r.limit(nil, "message_size_limit") {
		r.bad(Warning, "message_size_limit", "0", key+" takes only messages of up to "+strconv.FormatInt(n, 10)+" bytes", "larger ones were held and cannot be released")
	}
	if r.value("smtpd_authorized_xforward_hosts") != "" {
		r.bad(Warning, "smtpd_authorized_xforward_hosts", "", key+" takes the word of clients for whom they speak (XFORWARD)", "Weir has no use for it, and the log would name a client that was not there")
	}
	if r.value("smtpd_authorized_xclient_hosts") != "" && r.s.Type == "inet" {
		r.bad(Error, "smtpd_authorized_xclient_hosts", "", key+" takes the word of clients for whom they speak (XCLIENT)", "such a client can say that it has logged in as Weir")
	}
}

// limit reads a size of a service or of main.cf; 0 is none.
func (r back) limit(s *postconf.Service, name string) int64 {
	n, _ := strconv.ParseInt(r.c.postfix.In(s, name), 10, 64)
	return n
}

// checkSession compares how Weir speaks with what the listener asks for.
func (r back) checkSession() {
	route, key := r.d.route, r.s.Key()
	level := strings.ToLower(r.value("smtpd_tls_security_level"))
	if level == "" && r.c.postfix.Bool(r.s, "smtpd_use_tls") {
		level = "may"
	}
	if level == "" && r.c.postfix.Bool(r.s, "smtpd_enforce_tls") {
		level = "encrypt"
	}
	switch {
	case r.c.postfix.Bool(r.s, "smtpd_tls_wrappermode"):
		r.bad(Error, "smtpd_tls_wrappermode", "no", key+" speaks TLS from the first byte", "Weir begins in the clear and uses STARTTLS where it is told to")
	case route.TLS == config.TLSStartTLS && (level == "" || level == "none"):
		r.bad(Error, "smtpd_tls_security_level", "encrypt", key+" offers no TLS, and Weir asks for it ("+r.d.key+".tls)", "released mail cannot be handed over")
	case route.TLS == config.TLSStartTLS && !r.hasCertificate():
		r.c.add(Error, r.id, key+" has no TLS certificate", r.c.where(r.s, "smtpd_tls_cert_file"), "it offers no TLS without one, and Weir asks for it ("+r.d.key+".tls)", "set smtpd_tls_cert_file and smtpd_tls_key_file")
	case route.TLS == config.TLSOff && level == "encrypt":
		r.bad(Error, "smtpd_tls_security_level", "none", key+" takes mail only with TLS, and Weir speaks without ("+r.d.key+".tls)", "released mail is refused")
	}
	if route.Username == "" {
		return
	}
	switch {
	case !r.c.postfix.Bool(r.s, "smtpd_sasl_auth_enable"):
		r.bad(Error, "smtpd_sasl_auth_enable", "yes", key+" takes no login, and Weir has one ("+r.d.key+".username)", "Weir hands over nothing without it")
	case r.c.postfix.Bool(r.s, "smtpd_tls_auth_only") && route.TLS == config.TLSOff:
		r.bad(Error, "smtpd_tls_auth_only", "no", key+" takes logins only with TLS, and Weir speaks without ("+r.d.key+".tls)", "Weir hands over nothing without it")
	}
}

func (r back) hasCertificate() bool {
	for _, name := range []string{"smtpd_tls_cert_file", "smtpd_tls_eccert_file", "smtpd_tls_chain_files"} {
		if v := r.value(name); v != "" && v != "none" {
			return true
		}
	}
	return false
}
