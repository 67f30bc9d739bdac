package config

import (
	"encoding"
	"fmt"
	"net/mail"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Validate checks the values of c against their ranges and against each other.
// The error is an Errors with every mistake. Parse and Load have called it already.
func (c *Config) Validate() error { return c.check().orNil() }

func (c *Config) check() Errors {
	var errs Errors
	report := func(key, problem, cure string, args ...any) {
		errs = append(errs, c.Problem(key, problem, fmt.Sprintf(cure, args...)))
	}
	c.document().each(func(name string, f field, v reflect.Value) {
		if problem, cure := checkTags(f, v); problem != "" {
			report(name, problem, "%s", cure)
		}
		if p, ok := v.Interface().(Path); ok && strings.ContainsRune(string(p), 0) {
			report(name, "has a NUL in it", "take it out")
		}
	})
	c.checkSockets(report)
	c.checkControl(report)
	c.checkMail(report)
	c.checkDelivery(report)
	c.checkIncident(report)
	c.checkFeeds(report)
	c.checkShare(report)
	c.checkNotify(report)
	c.checkRoute(report, "reinject.inbound", &c.Reinject.Inbound)
	c.checkRoute(report, "reinject.outbound", &c.Reinject.Outbound)

	for _, dir := range []struct {
		key  string
		path Path
	}{{"state.dir", c.State.Dir}, {"milter.spool_dir", c.Milter.SpoolDir}, {"lists.dir", c.Lists.Dir}} {
		if dir.path == "" {
			report(dir.key, "is empty", "name a folder, or take the key out for the default")
		}
	}
	if c.Milter.MemoryPerMessage > c.Milter.MemoryTotal {
		report("milter.memory_per_message", "is more than milter.memory_total, "+c.Milter.MemoryTotal.String(), "lower it, or raise milter.memory_total")
	}
	if c.Milter.ProgressInterval >= c.Milter.AnswerTimeout {
		report("milter.progress_interval", "is not shorter than milter.answer_timeout, "+c.Milter.AnswerTimeout.String(), "shorten it, or no progress is ever told")
	}
	if c.Journal.Lookback > c.Journal.Retention {
		report("journal.lookback", "is longer than journal.retention, "+c.Journal.Retention.String(), "shorten it, or raise journal.retention")
	}
	return errs
}

type reporter func(key, problem, cure string, args ...any)

// checkTags checks a value against the range or oneof of its field.
func checkTags(f field, v reflect.Value) (problem, cure string) {
	if words, ok := f.tag.Lookup("oneof"); ok {
		all := strings.Fields(words)
		for _, w := range all {
			if v.String() == w {
				return "", ""
			}
		}
		cure = "write one of " + strings.Join(all, ", ")
		if near := nearest(v.String(), all); near != "" {
			cure = fmt.Sprintf("did you mean %q? It is one of %s", near, strings.Join(all, ", "))
		}
		return "is not one of the words that this key takes", cure
	}
	low, high, ok := bounds(f, v.Type())
	if !ok {
		return "", ""
	}
	n := number(v)
	from, to, _ := strings.Cut(f.tag.Get("range"), "..")
	switch {
	case n < low:
		return "is less than " + from, fmt.Sprintf("write a value from %s to %s", from, to)
	case n > high:
		return "is more than " + to, fmt.Sprintf("write a value from %s to %s", from, to)
	}
	return "", ""
}

// bounds reads the range of a field in the text form of its type.
func bounds(f field, t reflect.Type) (low, high int64, ok bool) {
	from, to, ok := strings.Cut(f.tag.Get("range"), "..")
	if !ok {
		return 0, 0, false
	}
	read := func(text string) (int64, error) {
		v := reflect.New(t)
		if u, isText := v.Interface().(encoding.TextUnmarshaler); isText {
			err := u.UnmarshalText([]byte(text))
			return number(v.Elem()), err
		}
		return strconv.ParseInt(text, 10, 64)
	}
	low, errLow := read(from)
	high, errHigh := read(to)
	return low, high, errLow == nil && errHigh == nil
}

func number(v reflect.Value) int64 {
	if v.CanUint() {
		return int64(v.Uint())
	}
	return v.Int()
}

func (c *Config) checkSockets(report reporter) {
	if len(c.Milter.Listen) == 0 {
		report("milter.listen", "is empty", "name at least one socket, or take the key out for the default")
	}
	taken := map[Listen]string{}
	check := func(key string, l Listen) {
		switch {
		case l.Network == "unix" && len(l.Address) > unixPathMax:
			report(key, fmt.Sprintf("is a path of %d bytes, and a unix socket can have %d", len(l.Address), unixPathMax), "use a shorter path")
		case taken[l] != "":
			report(key, "is the socket of "+taken[l]+" too", "give each its own")
		}
		taken[l] = key
	}
	for i, l := range c.Milter.Listen {
		key := fmt.Sprintf("milter.listen[%d]", i)
		if l == (Listen{}) {
			report(key, "is empty", listenCure)
			continue
		}
		check(key, l)
	}
	switch c.Control.Listen.Network {
	case "unix", "systemd":
		check("control.listen", c.Control.Listen)
	default:
		report("control.listen", "is not a unix socket, and roles need the credentials of who connects", `write "unix:/path" or "systemd:NAME"`)
	}
	if c.Control.RemoteListen != (Listen{}) {
		check("control.remote_listen", c.Control.RemoteListen)
	}
	if c.Metrics.Listen != (Listen{}) {
		check("metrics.listen", c.Metrics.Listen)
		if c.Metrics.Listen.remote() && !c.Metrics.AllowRemote {
			report("metrics.listen", "can be reached by other hosts, and metrics have no authentication", "write \"127.0.0.1:PORT\", or set metrics.allow_remote = true when a firewall guards it")
		}
	}
	for _, group := range []struct{ key, name string }{
		{"milter.socket_group", c.Milter.SocketGroup}, {"control.socket_group", c.Control.SocketGroup},
	} {
		if strings.ContainsFunc(group.name, isSpaceOrControl) {
			report(group.key, "is not the name of a group", "write a name without white space")
		}
	}
}

func (c *Config) checkMail(report reporter) {
	for _, r := range c.Mail.RecipientDelimiter {
		if r <= ' ' || r >= 0x7f || r|0x20 >= 'a' && r|0x20 <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune(`@."<>(),;:\[]`, r) {
			report("mail.recipient_delimiter", fmt.Sprintf("has %q in it, which parts no mailbox from its extension", r), `write "+", or what Postfix has as recipient_delimiter`)
		}
	}
	if id := c.Mail.AuthservID; strings.ContainsFunc(id, isSpaceOrControl) || strings.ContainsAny(id, `;"()`) {
		report("mail.authserv_id", "is not an authserv-id", `write the name as it stands first in the field, such as "mx.example.org"`)
	}
	if h := c.Reinject.Helo; h != "" && !isHostName(h) && !isAddressLiteral(h) {
		report("reinject.helo", "is neither a host name nor an address literal", `write "weir.example.org" or "[192.0.2.1]"`)
	}
}

// maxFrom bounds notify.from, in bytes.
const maxFrom = 320

func (c *Config) checkNotify(report reporter) {
	from := c.Notify.From
	if from == "" {
		return
	}
	const cure = `write "weir@example.org" or "Weir <weir@example.org>"`
	a, err := mail.ParseAddress(from)
	switch {
	case err != nil:
		report("notify.from", "is not the address of one mailbox", cure)
	case len(from) > maxFrom:
		report("notify.from", fmt.Sprintf("has %d bytes, of at most %d", len(from), maxFrom), cure)
	// Such mail has to reach also those whose servers know no SMTPUTF8.
	case strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' }):
		report("notify.from", "has characters in its address that not every mail server takes", "write its domain as xn--…, and before the @ letters, digits and dots alone")
	}
}

// isAddressLiteral admits the forms of RFC 5321 section 4.1.3 that name an IP address.
func isAddressLiteral(s string) bool {
	inner, ok := strings.CutPrefix(s, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	v6, isV6 := strings.CutPrefix(inner, "IPv6:")
	a, err := netip.ParseAddr(v6)
	return ok && closed && err == nil && a.Is6() == isV6 && a.Zone() == ""
}

func (c *Config) checkRoute(report reporter, section string, r *Route) {
	key := func(name string) string { return section + "." + name }
	if r.Address.Network == "unix" && len(r.Address.Address) > unixPathMax {
		report(key("address"), fmt.Sprintf("is a path of %d bytes, and a unix socket can have %d", len(r.Address.Address), unixPathMax), "use a shorter path")
	}
	if r.TLS != TLSOff && r.Address.Network == "unix" && r.TLSName == "" {
		report(key("tls"), "needs a name to verify, and a unix socket has none", "set %s, or tls = \"off\"", key("tls_name"))
	}
	if (r.TLSCertFile == "") != (r.TLSKeyFile == "") {
		report(key("tls_cert_file"), "and "+key("tls_key_file")+" belong together", "set both or none")
	}
	if r.TLSCertFile != "" && r.TLS == TLSOff {
		report(key("tls_cert_file"), "is of no use without TLS", "set %s", key("tls"))
	}
	if (r.Username == "") != (r.PasswordFile == "") {
		report(key("username"), "and "+key("password_file")+" belong together", "set both or none")
	}
	if r.Username != "" && r.TLS == TLSOff && r.Address.remote() {
		report(key("username"), "would be sent with its password in the clear to another host", "set %s = \"starttls\"", key("tls"))
	}
}

// Warnings gives what is allowed but rarely meant, for config check and the
// log at start. It does not repeat what Validate refuses.
func (c *Config) Warnings() []*Error {
	var errs Errors
	warn := func(key, problem, cure string) { errs = append(errs, c.Problem(key, problem, cure)) }
	if len(c.Mail.LocalDomains) == 0 && c.Mail.LocalDomainsFile == "" {
		warn("mail.local_domains", "is empty: no mail counts as internal", "name the domains whose mailboxes are here")
	}
	for i, p := range c.Mail.InternalNetworks {
		if p.Bits() == 0 {
			warn(fmt.Sprintf("mail.internal_networks[%d]", i), "makes every client one of ours", "name your own networks only")
		}
	}
	for i, p := range c.Mail.TrustedRelays {
		if p.Bits() == 0 {
			warn(fmt.Sprintf("mail.trusted_relays[%d]", i), "believes every client's Received lines", "name your own relays only")
		}
	}
	for i, l := range c.Milter.Listen {
		if l.remote() {
			warn(fmt.Sprintf("milter.listen[%d]", i), "can be reached by other hosts, and the milter protocol has no authentication", "let a firewall admit the MTA only")
		}
	}
	if c.Milter.SocketMode&0o002 != 0 {
		warn("milter.socket_mode", "lets every local user speak to the milter", `write "0660"`)
	}
	if c.Milter.AnswerTimeout >= Duration(5*time.Minute) {
		warn("milter.answer_timeout", "is no shorter than Postfix waits by default (milter_content_timeout, 300s)", "shorten it, or raise that")
	}
	for _, r := range []struct {
		section string
		route   *Route
		whom    string
	}{{"reinject.inbound", &c.Reinject.Inbound, "in mail.local_domains"}, {"reinject.outbound", &c.Reinject.Outbound, "in other domains"}} {
		if r.route.Address.Network == "tcp" && r.route.Username == "" && r.route.TLSCertFile == "" {
			warn(r.section+".address", "is reached without credentials: the listener cannot tell Weir from others", "set username and password_file, or use a unix socket")
		}
		if c.Notify.From != "" && r.route.Address == (Endpoint{}) {
			warn(r.section+".address", "is empty, and notify.from is set: nobody "+r.whom+" can be written to", "name the listener, or take notify.from out")
		}
	}
	return errs
}
