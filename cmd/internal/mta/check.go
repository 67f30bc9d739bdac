package mta

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weirmail/weir/cmd/internal/mta/postconf"
	"github.com/weirmail/weir/config"
)

// CheckOptions says what CheckPostfix looks at.
type CheckOptions struct {
	Config  *config.Config   // required
	Postfix *postconf.Config // required

	Milter string // where Postfix reaches a milter socket that systemd hands over: "unix:/path" or "inet:host:port"
	User   string // whom the daemon runs as; default "weir"

	// Live says that this Postfix and Weir run on this host: sockets are tried,
	// as root with the rights of the users that will use them. Nothing is sent
	// but greetings.
	Live bool
}

// CheckPostfix says what of a Postfix is right, risky or wrong for Weir as
// configured: errors first, then warnings, then what was found right. The error
// is about the options.
func CheckPostfix(ctx context.Context, o CheckOptions) ([]Finding, error) {
	c, err := newChecker(o)
	if err != nil {
		return nil, err
	}
	return c.run(ctx, o.Live), nil
}

// run applies all rules.
func (c *checker) run(ctx context.Context, live bool) []Finding {
	for _, rule := range []func(){
		c.checkVersion, c.checkReadTwice,
		c.checkDoors, c.checkBypass, c.checkOverrides, c.checkFilters, c.checkLocalMail, c.checkEntries, c.checkOrder, c.checkResults, c.checkSessions,
		c.checkRecipients, c.checkQueueIDs, c.checkCopies, c.checkSizes, c.checkDelimiter, c.checkMacros, c.checkEdits,
		c.checkReturn,
	} {
		rule()
	}
	if live {
		c.checkLive(ctx)
	}
	slices.SortStableFunc(c.findings, func(a, b Finding) int { return a.Severity.rank() - b.Severity.rank() })
	return c.findings
}

func (s Severity) rank() int { return slices.Index([]Severity{Error, Warning, OK}, s) }

// checker holds what the rules look at.
type checker struct {
	cfg      *config.Config
	postfix  *postconf.Config
	user     string
	queueDir string
	sockets  []socket // on which Weir listens
	name     string   // how Postfix should name the first of them
	doors    []*door  // the smtpd services but for those that take released mail
	local    *door    // mail that comes in without SMTP
	lookup   func(name string) (identity, error)
	findings []Finding
}

// door is a way by which mail comes in.
type door struct {
	service   *postconf.Service // whose parameters count: an smtpd, or the cleanup of local mail
	parameter string            // that lists its milters
	milters   []postconf.Milter
	err       error // an entry that Postfix cannot use
	weir      []int // which of the milters are Weir
	bypass    bool  // no_milters
}

func newChecker(o CheckOptions) (*checker, error) {
	if o.Config == nil || o.Postfix == nil {
		return nil, errors.New("mta: CheckOptions.Config or CheckOptions.Postfix is missing")
	}
	c := &checker{cfg: o.Config, postfix: o.Postfix, user: o.User, lookup: lookupIdentity, queueDir: filepath.Clean(o.Postfix.Value("queue_directory"))}
	if c.user == "" {
		c.user = defaultUser
	}
	var err error
	if c.sockets, err = milterSockets(o.Config, o.Milter); err != nil {
		return nil, err
	}
	c.name = c.sockets[0].postfixName(c.queueDir)
	for _, s := range c.postfix.Services() {
		if s.Command == "smtpd" && routeTo(c.cfg, c.queueDir, s) == nil {
			c.doors = append(c.doors, c.door(s, "smtpd_milters", s))
		}
	}
	c.local = c.door(c.postfix.Service(c.postfix.Value("cleanup_service_name"), "unix"), "non_smtpd_milters", c.postfix.Service("pickup", "unix"))
	return c, nil
}

// door reads the milters of a service; those that hand mail to it may say
// no_milters.
func (c *checker) door(s *postconf.Service, parameter string, from *postconf.Service) *door {
	d := &door{service: s, parameter: parameter}
	d.milters, d.err = postconf.Milters(c.postfix.In(s, parameter))
	for i := range d.milters {
		if c.isWeir(c.at(d, i)) {
			d.weir = append(d.weir, i)
		}
	}
	d.bypass = slices.Contains(postconf.Words(c.postfix.In(from, "receive_override_options")), "no_milters")
	return d
}

// judged reports whether Weir sees the mail that comes in by d.
func (d *door) judged() bool { return len(d.weir) > 0 && !d.bypass }

// key names d for people.
func (d *door) key() string {
	if d.parameter == "non_smtpd_milters" {
		return "local mail"
	}
	return d.service.Key()
}

// at gives the socket that d's i-th milter leads to.
func (c *checker) at(d *door, i int) socket {
	return located(&d.milters[i], c.queueDir, d.service != nil && c.postfix.Chrooted(d.service))
}

func (c *checker) isWeir(at socket) bool {
	return slices.ContainsFunc(c.sockets, func(s socket) bool { return s.same(at) })
}

// add keeps a finding. The same one at another place only adds the place.
func (c *checker) add(severity Severity, id, what, where, why, cure string) {
	for i := range c.findings {
		f := &c.findings[i]
		if f.ID == id && f.What == what && f.Severity == severity && f.Cure == cure {
			if where != "" && !strings.Contains(f.Where, where) {
				f.Where += "; " + where
			}
			return
		}
	}
	c.findings = append(c.findings, Finding{severity, id, what, where, why, cure})
}

// ok says what is right, unless a rule with this ID has found something.
func (c *checker) ok(id, format string, args ...any) {
	if !slices.ContainsFunc(c.findings, func(f Finding) bool { return f.ID == id }) {
		c.add(OK, id, fmt.Sprintf(format, args...), "", "", "")
	}
}

// where says where a parameter of a service is set, and to what.
func (c *checker) where(s *postconf.Service, name string) string {
	if s != nil {
		if v, ok := s.Option(name); ok {
			return fmt.Sprintf("master.cf, %s: -o %s=%s", s.Key(), name, v)
		}
	}
	value := c.postfix.Raw(nil, name)
	if c.postfix.Set(name) {
		return fmt.Sprintf("main.cf: %s = %s", name, value)
	}
	if value == "" {
		value = "empty"
	}
	return fmt.Sprintf("main.cf: %s is not set, and by default %s", name, value)
}

// set gives the command that sets a parameter where it is set now.
func (c *checker) set(s *postconf.Service, name, value string) string {
	if s != nil {
		if _, ok := s.Option(name); ok {
			return c.override(s, name, value)
		}
	}
	return shellLine([]string{"postconf", "-e", name + " = " + value})
}

// override gives the command that sets a parameter for one service.
func (c *checker) override(s *postconf.Service, name, value string) string {
	return shellLine([]string{"postconf", "-P", s.Key() + "/" + name + "=" + value})
}

// snippetCure is where the lines for Postfix come from.
const snippetCure = "take the lines from: weir postfix snippet"

// checkVersion looks at what the snippet needs.
func (c *checker) checkVersion() {
	v := c.postfix.Version()
	if v.Before(3, 0) {
		c.add(Warning, "version", "This is Postfix "+v.String()+", and the lines that weir postfix snippet gives need 3.0", "", "settings in braces are newer", "upgrade Postfix")
	}
}

// checkReadTwice reports parameters that main.cf sets more than once: the last
// one counts, and that is seldom what who added the first one meant.
func (c *checker) checkReadTwice() {
	for _, w := range c.postfix.Warnings() {
		at, setting, ok := strings.Cut(w, ": overriding earlier entry: ")
		name, value, _ := strings.Cut(setting, "=")
		if ok && (strings.Contains(name, "milter") || strings.HasPrefix(name, "enable_") || strings.HasPrefix(name, "smtpd_") || strings.HasSuffix(name, "_limit")) {
			c.add(Warning, "set-twice", "main.cf sets "+name+" twice, and what stands further up does not count: "+strings.TrimSpace(value), at,
				"somebody meant it to count", "make one line of the two")
		}
	}
}
