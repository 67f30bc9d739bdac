package mta

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/mta/postconf"
	"github.com/weirmail/weir/config"
)

// PostfixOptions says for what PostfixSnippet makes its lines.
type PostfixOptions struct {
	Config *config.Config // required

	// Postfix is how it is configured now: its milters are kept and put in order.
	// Nil: unknown, and no other milters.
	Postfix *postconf.Config

	// ConfigDir is where main.cf and master.cf lie, for the commands; empty: where
	// Postfix looks by itself. ConfigFile is Weir's, likewise.
	ConfigDir, ConfigFile string

	Milter string // where Postfix reaches a milter socket that systemd hands over: "unix:/path" or "inet:host:port"
	User   string // whom the daemon runs as; default "weir"

	// Signer is the milter that signs outbound mail (DKIM), as smtpd_milters
	// names it. Empty: one that Postfix's configuration names and that is known.
	Signer string
}

// setting is one parameter and why it is set.
type setting struct{ name, value, why string }

// PostfixSnippet makes the main.cf and master.cf lines, and the commands, that
// let Postfix 3.0 and later use Weir as configured. The error says which key of
// the configuration cannot work with Postfix, and what would.
func PostfixSnippet(o PostfixOptions) (*Snippet, error) {
	w, err := newWiring(o)
	if err != nil {
		return nil, err
	}
	main := w.main()
	services, err := w.services()
	if err != nil {
		return nil, err
	}
	overrides := w.overrides()
	s := &Snippet{Title: "Postfix with Weir", Parts: []Part{
		{Title: "Once, as root: the socket's folder, and Weir's way to the listeners that take released mail. Then start Weir (again)", Commands: w.setup()},
		{Title: "main.cf", File: "main.cf", Text: mainText(main, w.advice())},
		{Title: "master.cf: listeners that take released mail back from Weir and from nobody else", File: "master.cf", Text: masterText(services)},
	}}
	if len(overrides) > 0 {
		s.Parts = append(s.Parts, Part{Title: "Services that name milters of their own: Weir joins them", Commands: overrides})
	}
	s.Parts = append(s.Parts,
		Part{Title: "The same as parts 2 and 3, by commands", Commands: append(mainCommands(main), masterCommands(services)...)},
		Part{Title: "Then", Commands: [][]string{{"postfix", "check"}, {"postfix", "reload"}, o.check()}},
	)
	if o.ConfigDir != "" {
		for _, p := range s.Parts {
			for i, c := range p.Commands {
				if c[0] == "postconf" || c[0] == "postfix" {
					p.Commands[i] = slices.Insert(c, 1, "-c", o.ConfigDir)
				}
			}
		}
	}
	return s, nil
}

// check gives the command that checks what was done.
func (o *PostfixOptions) check() []string {
	command := []string{"weir", "postfix", "check"}
	if o.ConfigFile != "" {
		command = append(command, "--config", o.ConfigFile)
	}
	if o.ConfigDir != "" {
		command = append(command, "--postfix-config", o.ConfigDir)
	}
	return command
}

// wiring is what the lines are made from.
type wiring struct {
	PostfixOptions
	queueDir string
	socket   socket // Weir's, as Postfix will use it
}

func newWiring(o PostfixOptions) (*wiring, error) {
	if o.Config == nil {
		return nil, errors.New("mta: PostfixOptions.Config is missing")
	}
	if o.User == "" {
		o.User = defaultUser
	}
	w := &wiring{PostfixOptions: o, queueDir: "/var/spool/postfix"}
	if o.Postfix != nil {
		w.queueDir = filepath.Clean(o.Postfix.Value("queue_directory"))
	}
	if o.Signer != "" {
		if _, err := postconf.ParseMilter(o.Signer); err != nil {
			return nil, err
		}
	}
	sockets, err := milterSockets(o.Config, o.Milter)
	if err != nil {
		return nil, err
	}
	w.socket = sockets[0]
	for _, s := range sockets[1:] {
		if !w.reachable(w.socket) && w.reachable(s) {
			w.socket = s
		}
	}
	if !w.reachable(w.socket) {
		return nil, o.Config.Problem("milter.listen", "cannot be reached by Postfix's smtpd, which runs in the chroot "+w.queueDir,
			fmt.Sprintf("write \"unix:%s\"", filepath.Join(w.queueDir, "weir/weir.sock")))
	}
	if err := plain(w.socket.address); err != nil {
		return nil, o.Config.Problem("milter.listen", err.Error(), "use another path")
	}
	if err := plain(o.User); err != nil {
		return nil, fmt.Errorf("the user %q %w", o.User, err)
	}
	return w, nil
}

// reachable reports whether every smtpd gets at a socket: one with chroot sees
// the queue directory only.
func (w *wiring) reachable(s socket) bool {
	if _, inside := below(w.queueDir, s.address); inside || s.network != "unix" || w.Postfix == nil {
		return true
	}
	for _, service := range w.Postfix.Services() {
		if service.Command == "smtpd" && w.Postfix.Chrooted(service) {
			return false
		}
	}
	return true
}

// plain refuses what would mean something else in main.cf or master.cf.
func plain(s string) error {
	if i := strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("{},$#=\"'`\\", r) }); i >= 0 {
		return fmt.Errorf("has %q in it, which means something else to an MTA", s[i:i+1])
	}
	return nil
}

// setup makes the socket's folder. A set-group-ID folder gives the socket its
// group, so that Weir need not be a member of it.
func (w *wiring) setup() [][]string {
	var commands [][]string
	if w.socket.network == "unix" {
		group := w.Config.Milter.SocketGroup
		if group == "" {
			group = w.User
			commands = append(commands, []string{"usermod", "-a", "-G", group, w.mailOwner()})
		}
		commands = append(commands, []string{"install", "-d", "-o", w.User, "-g", group, "-m", "2710", filepath.Dir(w.socket.address)})
	}
	for _, r := range routes(w.Config) {
		if r.route.Address.Network == "unix" {
			return append(commands, []string{"usermod", "-a", "-G", w.setgidGroup(), w.User})
		}
	}
	return commands
}

func (w *wiring) mailOwner() string {
	if w.Postfix == nil {
		return "postfix"
	}
	return w.Postfix.Value("mail_owner")
}

func (w *wiring) setgidGroup() string {
	if w.Postfix == nil {
		return "postdrop"
	}
	return w.Postfix.Value("setgid_group")
}

// milterParameter is where Weir's entry stands in main.cf.
const milterParameter = "weir_milter"

// main gives the main.cf settings.
func (w *wiring) main() []setting {
	settings := []setting{
		{milterParameter, w.entry(), "Weir, with settings that concern no other milter. default_action is what Postfix does while Weir is down: " +
			"tempfail lets senders come again, so nothing is lost; accept lets mail pass that nobody judges and that cannot be found again later."},
		{"smtpd_milters", w.chain("smtpd_milters", false), "Order: whatever verifies (SPF, DKIM, DMARC) or may refuse stands before Weir, since Weir reads their " +
			"Authentication-Results and is not told when a later milter refuses. Where a service of master.cf has milters of its own for " +
			"submission, what signs (DKIM) stands after Weir."},
	}
	if w.returnsByPipe() {
		settings = append(settings, setting{"", "", "non_smtpd_milters is left as it is: content_filter hands mail back by the sendmail command, and Weir would judge it twice."})
	} else {
		settings = append(settings, setting{"non_smtpd_milters", w.chain("non_smtpd_milters", true),
			"Mail that does not come by SMTP: the sendmail command, cron, web applications, and what postsuper -r queues again. Weir counts it as from this host."})
	}
	return append(settings,
		setting{"enable_original_recipient", "yes", "A held recipient is taken out by the address that the client gave. Without this one behind an alias gets the mail all the same."},
		setting{"enable_long_queue_ids", "yes", "Short queue IDs are used again, and then the log confuses two messages."},
	)
}

// entry is Weir's in a list of milters. Postfix waits longer than Weir may take.
func (w *wiring) entry() string {
	content := max(300*time.Second, time.Duration(w.Config.Milter.AnswerTimeout)+time.Minute)
	return fmt.Sprintf("{ %s, protocol=6, default_action=tempfail, connect_timeout=30s, command_timeout=30s, content_timeout=%ds }",
		w.socket.postfixName(w.queueDir), int(content/time.Second))
}

// advice is what main.cf should say without it being ours to set.
func (w *wiring) advice() string {
	limit := int64(w.Config.Milter.MessageSizeLimit)
	return fmt.Sprintf("message_size_limit should be at most %d (milter.message_size_limit) and not 0: milter.oversize = %q is what larger mail gets. "+
		"smtpd_timeout should be shorter than %s (milter.idle_timeout).", limit, w.Config.Milter.Oversize, w.Config.Milter.IdleTimeout)
}

// chain puts Weir into a list of milters that may exist already.
func (w *wiring) chain(parameter string, signersLast bool) string {
	if w.Postfix == nil {
		return "$" + milterParameter
	}
	service := w.Postfix.Service(w.Postfix.Value("cleanup_service_name"), "unix")
	if parameter == "smtpd_milters" {
		service = nil
	}
	return w.joined(service, w.Postfix.Raw(service, parameter), signersLast)
}

// joined keeps the other milters in their order and puts Weir last, or before
// the first of the signers that follow each other at the end.
func (w *wiring) joined(service *postconf.Service, raw string, signersLast bool) string {
	var words, before, after []string
	for _, word := range postconf.Words(raw) {
		switch word {
		case "$smtpd_milters", "${smtpd_milters}", "$(smtpd_milters)": // which will have Weir in it
			words = append(words, postconf.Words(w.Postfix.Raw(nil, "smtpd_milters"))...)
		default:
			words = append(words, word)
		}
	}
	for _, word := range words {
		milters, _ := postconf.Milters(w.Postfix.Expand(service, word))
		switch {
		case len(milters) == 0 || w.isWeir(milters):
		case signersLast && kindOf(&milters[0]).signs:
			after = append(after, word)
		default:
			before = append(before, word)
		}
	}
	return strings.Join(append(append(before, "$"+milterParameter), after...), ", ")
}

// isWeir reports whether all entries are Weir's.
func (w *wiring) isWeir(milters []postconf.Milter) bool {
	for i := range milters {
		if !w.socket.same(located(&milters[i], w.queueDir, false)) && !w.socket.same(located(&milters[i], w.queueDir, true)) {
			return false
		}
	}
	return true
}

// overrides lets Weir join the milters of services that do not use main.cf's.
func (w *wiring) overrides() [][]string {
	if w.Postfix == nil {
		return nil
	}
	var commands [][]string
	for _, s := range w.Postfix.Services() {
		raw, ok := s.Option("smtpd_milters")
		if !ok || s.Command != "smtpd" || isLocal(w.Postfix, s) || routeTo(w.Config, w.queueDir, s) != nil {
			continue
		}
		if value := w.joined(s, raw, isSubmission(w.Postfix, s)); value != raw {
			commands = append(commands, []string{"postconf", "-P", s.Key() + "/smtpd_milters=" + value})
		}
	}
	return commands
}

// returnsByPipe reports whether mail of the content filter returns by the
// sendmail command.
func (w *wiring) returnsByPipe() bool {
	return w.Postfix != nil && filterByPipe(w.Postfix) != nil
}

func mainText(settings []setting, advice string) string {
	var b strings.Builder
	for _, s := range settings {
		b.WriteString(comment("#", s.why))
		if s.name != "" {
			b.WriteString(s.name + " = " + s.value + "\n")
		}
	}
	return b.String() + comment("#", advice)
}

func mainCommands(settings []setting) [][]string {
	command := []string{"postconf", "-e"}
	for _, s := range settings {
		if s.name != "" {
			command = append(command, s.name+" = "+s.value)
		}
	}
	return [][]string{command}
}
