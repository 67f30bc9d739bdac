package mta

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/weirmail/weir/config"
)

// SendmailOptions says for what SendmailSnippet makes its lines.
type SendmailOptions struct {
	Config *config.Config // required

	Milter string // where Sendmail reaches a milter socket that systemd hands over: "unix:/path" or "inet:host:port"
	User   string // whom the daemon runs as; default "weir"

	// Signer is the milter that signs outbound mail (DKIM), by its name in
	// sendmail.mc: "opendkim". Empty: none.
	Signer string
}

// SendmailSnippet makes the sendmail.mc lines, and the commands, that let
// Sendmail 8.15 and later use Weir as configured. The error says which key of
// the configuration cannot work with Sendmail, and what would.
func SendmailSnippet(o SendmailOptions) (*Snippet, error) {
	if o.Config == nil {
		return nil, errors.New("mta: SendmailOptions.Config is missing")
	}
	if o.User == "" {
		o.User = defaultUser
	}
	if err := plain(o.User); err != nil {
		return nil, fmt.Errorf("the user %q %w", o.User, err)
	}
	if o.Signer != "" && !isMacroWord(o.Signer) {
		return nil, fmt.Errorf("the milter %q is not the name of one; give the first argument of its INPUT_MAIL_FILTER line", o.Signer)
	}
	sockets, err := milterSockets(o.Config, o.Milter)
	if err != nil {
		return nil, err
	}
	socket := sockets[0]
	if err := plain(socket.address); err != nil {
		return nil, o.Config.Problem("milter.listen", err.Error(), "use another path")
	}
	listeners, err := o.listeners()
	if err != nil {
		return nil, err
	}

	s := &Snippet{Title: "Sendmail with Weir"}
	if socket.network == "unix" {
		title := "Once, as root: the socket's folder. Then start Weir (again)"
		if group := o.Config.Milter.SocketGroup; group != "" {
			title += fmt.Sprintf(". Sendmail connects as root: if there is no group %q here, set milter.socket_group = \"\"", group)
		}
		s.Parts = append(s.Parts, Part{Title: title, Commands: [][]string{{"install", "-d", "-o", o.User, "-m", "0755", filepath.Dir(socket.address)}}})
	}
	s.Parts = append(s.Parts, Part{Title: "sendmail.mc, before the MAILER lines", File: "sendmail.mc", Text: o.filterText(socket) + o.listenerText(listeners)})
	if len(listeners) > 0 {
		s.Parts = append(s.Parts, Part{Title: "sendmail.mc, at its end. What parts the columns are tabs", File: "sendmail.mc", Text: rulesText(listeners)})
	}
	s.Parts = append(s.Parts, Part{Title: "Then", Commands: [][]string{{"make", "-C", "/etc/mail"}, {"systemctl", "restart", "sendmail"}}})
	return s, nil
}

// sendmailListener is a daemon that takes released mail.
type sendmailListener struct {
	name        string // "weir-inbound"
	family      string
	host, port  string
	filters     string // its milters
	login       string // that gets in; empty: none is asked for
	fingerprint string // of the certificate that gets in, in SHA-256
}

func (o *SendmailOptions) listeners() ([]sendmailListener, error) {
	var all []sendmailListener
	for _, d := range routes(o.Config) {
		l, err := o.listener(d)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	if len(all) == 2 && all[0].host == all[1].host && all[0].port == all[1].port {
		return nil, o.Config.Problem("reinject.outbound.address", "is that of reinject.inbound too, and only what goes out is to be signed", "give each its own")
	}
	return all, nil
}

func (o *SendmailOptions) listener(d direction) (sendmailListener, error) {
	r := d.route
	l := sendmailListener{name: "weir-" + d.name, family: "inet", login: r.Username}
	if d.name == "outbound" {
		l.filters = o.Signer
	}
	credentials := fmt.Sprintf("set %s.username and password_file, or tls with a client certificate", d.key)
	if r.Address.Network != "tcp" {
		return l, o.Config.Problem(d.key+".address", "is a unix socket, and Sendmail makes those so that only root can connect",
			fmt.Sprintf("write \"127.0.0.1:%d\", and %s", map[string]int{"inbound": 10026, "outbound": 10027}[d.name], credentials))
	}
	var err error
	if l.host, l.port, err = net.SplitHostPort(r.Address.Address); err == nil {
		err = plain(l.host + l.port)
	}
	if err != nil {
		return l, o.Config.Problem(d.key+".address", err.Error(), "write the address of this host on which Sendmail is to listen")
	}
	if strings.Contains(l.host, ":") {
		l.family = "inet6"
	}
	if r.Username == "" && r.TLSCertFile == "" {
		return l, o.Config.Problem(d.key+".address", "is reached without credentials, so that every program of this host could send mail that nobody judges", credentials)
	}
	if r.Username != "" && !isMacroWord(strings.ReplaceAll(r.Username, "@", "")) {
		return l, o.Config.Problem(d.key+".username", "has a character that means something else in a rule of Sendmail", "use letters, digits and . - _ @")
	}
	if r.TLSCertFile != "" {
		c, err := readCertificate(string(r.TLSCertFile))
		if err != nil {
			return l, o.Config.Problem(d.key+".tls_cert_file", err.Error(), "name a certificate in PEM that can be read")
		}
		l.fingerprint = colons(sha256.Sum256(c.Raw))
	}
	return l, nil
}

// isMacroWord admits what stands for itself in a rule of Sendmail, in a list of
// milters and for m4.
func isMacroWord(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == ""
}

// sendmailName writes a socket as INPUT_MAIL_FILTER does.
func (s socket) sendmailName() string {
	if s.network == "unix" {
		return "unix:" + s.address
	}
	name := strings.TrimPrefix(s.postfixName(""), "inet:") // host and port, no wildcard
	host, port, _ := net.SplitHostPort(name)
	if strings.Contains(host, ":") {
		return "inet6:" + port + "@" + host
	}
	return "inet:" + port + "@" + host
}

// filterText is Weir as a milter. Sendmail waits longer than Weir may take.
func (o *SendmailOptions) filterText(s socket) string {
	m := o.Config.Milter
	whole := max(5*time.Minute, time.Duration(m.AnswerTimeout)+time.Minute)
	reply := max(30*time.Second, 3*time.Duration(m.ProgressInterval))
	limit := int64(m.MessageSizeLimit)
	return comment("dnl", "Weir. This line stands behind those of milters that verify (SPF, DKIM, DMARC) or may refuse, since Weir reads "+
		"their Authentication-Results and is not told when a later milter refuses. "+
		"F=T is what Sendmail does while Weir is down: senders come again, and nothing is lost; without F mail passes that nobody judges and that "+
		"cannot be found again later. T: how long Sendmail waits for the connection, to send, for a sign of life, and for the answer to a message.") +
		fmt.Sprintf("INPUT_MAIL_FILTER(`weir', `S=%s, F=T, T=C:30s;S:30s;R:%ds;E:%ds')dnl\n", s.sendmailName(), int(reply/time.Second), int(whole/time.Second)) +
		comment("dnl", fmt.Sprintf("A DAEMON_OPTIONS line that has an InputMailFilters of its own asks the milters named there and no other: put weir into it. "+
			"confMAX_MESSAGE_SIZE should be at most %d (milter.message_size_limit) and not 0: milter.oversize = %q is what larger mail gets.", limit, m.Oversize))
}

// listenerText is the daemons that take released mail.
func (o *SendmailOptions) listenerText(listeners []sendmailListener) string {
	if len(listeners) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(comment("dnl", "Where released mail comes back: no milter, since it was judged already, and what goes out is signed (DKIM). "+
		"If this file has no DAEMON_OPTIONS line yet, take the dnl off the first of these: with it missing Sendmail would no longer listen on port 25."))
	b.WriteString("dnl DAEMON_OPTIONS(`Name=MTA')dnl\n")
	var login, certificate bool
	for _, l := range listeners {
		fmt.Fprintf(&b, "DAEMON_OPTIONS(`Name=%s, Family=%s, Addr=%s, Port=%s, InputMailFilters=%s, M=E')dnl\n", l.name, l.family, l.host, l.port, l.filters)
		login, certificate = login || l.login != "", certificate || l.fingerprint != ""
		if l.name == "weir-outbound" && l.filters == "" {
			b.WriteString(comment("dnl", "Nothing signs what this one takes. If there is a milter that does, name it: InputMailFilters=opendkim"))
		}
	}
	if login {
		b.WriteString(comment("dnl", "Logins need saslauthd or sasldb, and confAUTH_MECHANISMS with PLAIN in it; confAUTH_OPTIONS must not have p where Weir comes without TLS. "+
			"With confAUTH_REALM the login has the realm behind it: set username to login@realm."))
	}
	if certificate {
		b.WriteString(comment("dnl", "The rules at the end know Weir's certificate by its fingerprint; renewed, it has another. "+
			"Sendmail offers TLS only with all of confSERVER_CERT, confSERVER_KEY, confCACERT and confCACERT_PATH, and Weir shows its certificate only if confCACERT holds the authority that signed it."))
		b.WriteString("define(`confCERT_FINGERPRINT_ALGORITHM', `sha256')dnl\n")
	}
	return b.String()
}

// rulesText lets Weir into its listeners, past all other rules since a person
// has released the message, and nobody else. It is asked for the sender too, so
// that a domain that no longer resolves keeps nothing back.
func rulesText(listeners []sendmailListener) string {
	var b strings.Builder
	b.WriteString(comment("dnl", "Only Weir gets into its listeners: 127.0.0.1 is every program of this host."))
	b.WriteString("LOCAL_RULESETS\nSWeir\nR$*\t\t\t$: $&{daemon_name} $| $&{auth_authen} $| $&{cert_fp}\n")
	for _, l := range listeners {
		login, fingerprint := "$*", "$*"
		if l.login != "" {
			login = "`" + l.login + "'" // quoted for m4
		}
		if l.fingerprint != "" {
			fingerprint = l.fingerprint
		}
		fmt.Fprintf(&b, "R%s $| %s $| %s\t$# OK\n", l.name, login, fingerprint)
		fmt.Fprintf(&b, "R%s $| $*\t$# error $@ 5.7.1 $: \"550 only Weir hands in mail here\"\n", l.name)
	}
	for _, set := range []string{"Local_check_mail", "Local_check_rcpt"} {
		fmt.Fprintf(&b, "S%s\nR$*\t\t\t$: $1 $| $>Weir $1\nR$* $| $#$*\t\t$#$2\nR$* $| $*\t\t$: $1\n", set)
	}
	return b.String()
}
