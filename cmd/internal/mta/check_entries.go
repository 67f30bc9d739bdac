package mta

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/mta/postconf"
)

// checkEntries looks at the settings with which Postfix speaks to Weir.
func (c *checker) checkEntries() {
	for _, d := range append(c.doors[:len(c.doors):len(c.doors)], c.local) {
		if !d.judged() {
			continue
		}
		if len(d.weir) > 1 {
			c.add(Warning, "milter-repeated", "Weir stands "+strconv.Itoa(len(d.weir))+" times in one list of milters", c.where(d.service, d.parameter), "each message is judged and journalled as often", "leave one")
		}
		for _, i := range d.weir {
			e := entry{c: c, d: d, milter: &d.milters[i]}
			e.checkProtocol()
			e.checkAction()
			e.checkTime()
		}
		c.checkIdle(d)
	}
	c.ok("milter-protocol", "Postfix speaks version 6 of the milter protocol")
	c.ok("milter-action", "While Weir is down, senders are told to come again")
	c.ok("milter-time", "Postfix waits longer than Weir may take")
}

// entry is Weir in one list.
type entry struct {
	c      *checker
	d      *door
	milter *postconf.Milter
}

// get gives a setting of the entry, or the parameter that stands in for it, and
// says where it is and how it is set to something else.
func (e entry) get(name string) (value, where string, set func(string) string) {
	parameter := "milter_" + name
	if v, ok := e.milter.Setting(name); ok {
		return v, e.c.where(e.d.service, e.d.parameter), func(to string) string { return fmt.Sprintf("write %s=%s in the entry of Weir", name, to) }
	}
	return e.c.postfix.In(e.d.service, parameter), e.c.where(e.d.service, parameter), func(to string) string { return e.c.set(e.d.service, parameter, to) }
}

func (e entry) checkProtocol() {
	const id = "milter-protocol"
	value, where, set := e.get("protocol")
	version := value
	if words := postconf.Words(value); len(words) > 0 {
		version = words[0]
	}
	switch version {
	case "6":
	case "2", "3", "4":
		e.c.add(Warning, id, "Postfix speaks version "+version+" of the milter protocol to Weir", where,
			"header fields lose their leading white space, so that released mail differs from what came, and each field and chunk waits for an answer", set("6"))
	default:
		e.c.add(Error, id, fmt.Sprintf("There is no version %q of the milter protocol", version), where,
			"Postfix does with all mail what its default action says", set("6"))
	}
}

// checkAction looks at what becomes of mail while Weir is down.
func (e entry) checkAction() {
	const id = "milter-action"
	value, where, set := e.get("default_action")
	version := e.c.postfix.Version()
	switch strings.ToLower(value) {
	case "tempfail":
	case "": // postconf -n leaves out the default, which depends on the version: tempfail, or shutdown since 3.11
	case "shutdown": // it ends the session with 421, and the next one finds Weir again
		if version.Before(3, 11) {
			e.c.add(Warning, id, "Postfix "+version.String()+" does not know the default action shutdown", where,
				"it logs a warning and answers 451 all the same", set("tempfail"))
		}
	case "accept":
		e.c.add(Warning, id, "While Weir is down, mail passes that nobody judges", where,
			"it is not journalled, so that it cannot be found again and pulled; with tempfail senders come again and nothing is lost", set("tempfail"))
	case "quarantine":
		e.c.add(Warning, id, "While Weir is down, mail goes to Postfix's own hold queue", where,
			"Weir knows nothing of it: postsuper -H delivers it unjudged, postsuper -r shows it to non_smtpd_milters", set("tempfail"))
	case "reject":
		e.c.add(Error, id, "While Weir is down, mail is refused for good", where,
			"a restart of Weir loses mail: senders are told not to come again", set("tempfail"))
	default:
		e.c.add(Warning, id, fmt.Sprintf("Postfix knows no default action %q", value), where, "it logs a warning and answers 451", set("tempfail"))
	}
}

// checkTime compares what Postfix waits with what Weir may take. Weir tells it
// every progress_interval that work goes on, and each time it waits anew.
func (e entry) checkTime() {
	const id = "milter-time"
	value, where, set := e.get("content_timeout")
	content, ok := parseTime(value)
	progress, answer := time.Duration(e.c.cfg.Milter.ProgressInterval), time.Duration(e.c.cfg.Milter.AnswerTimeout)
	cure := func() string { return set(fmt.Sprintf("%ds", int((answer+time.Minute)/time.Second))) }
	switch {
	case !ok:
		e.c.add(Error, id, fmt.Sprintf("The content timeout %q is no time", value), where, "smtpd ends with a fatal error", cure())
	case content <= progress:
		e.c.add(Error, id, fmt.Sprintf("Postfix waits %s for Weir's answer, and Weir says only every %s that it still works (milter.progress_interval)", content, progress), where,
			"messages that take longer get Postfix's default action", cure())
	case content <= answer:
		e.c.add(Warning, id, fmt.Sprintf("Postfix waits %s for Weir's answer, and Weir may take %s (milter.answer_timeout)", content, answer), where,
			"a message that stalls gets Postfix's default action instead of Weir's answer", cure())
	}
	value, where, set = e.get("command_timeout")
	if command, ok := parseTime(value); !ok || command < time.Second {
		e.c.add(Error, id, fmt.Sprintf("The command timeout %q leaves Weir no time to answer", value), where, "mail gets Postfix's default action", set("30s"))
	}
}

// checkIdle compares how long an SMTP client may be silent with how long Weir
// keeps the session.
func (c *checker) checkIdle(d *door) {
	if d == c.local {
		return
	}
	silent, ok := parseTime(c.postfix.In(d.service, "smtpd_timeout"))
	idle := time.Duration(c.cfg.Milter.IdleTimeout)
	if ok && silent >= idle {
		c.add(Warning, "milter-time", fmt.Sprintf("Postfix lets a client be silent for %s, and Weir ends a session after %s (milter.idle_timeout)", silent, idle), c.where(d.service, "smtpd_timeout"),
			"Postfix finds the session gone, and the client's next message gets its default action", fmt.Sprintf("raise milter.idle_timeout above %s", silent))
	}
}

// parseTime reads a time of main.cf: a number with s, m, h, d or w, or of
// seconds.
func parseTime(s string) (time.Duration, bool) {
	unit := time.Second
	for suffix, size := range map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if number, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = number, size
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 32)
	return time.Duration(n) * unit, err == nil && n > 0
}

// checkOrder looks at the milters around Weir.
func (c *checker) checkOrder() {
	const id = "milter-order"
	for _, d := range c.doors {
		if !d.judged() {
			continue
		}
		weir := d.weir[len(d.weir)-1]
		submission := isSubmission(c.postfix, d.service)
		for i := range d.milters {
			m := &d.milters[i]
			kind := kindOf(m)
			name := kind.name
			if name == "" {
				name = "the milter " + m.Address
			}
			_, own := d.service.Option(d.parameter)
			switch {
			case i < weir && submission && own && kind.signs:
				c.add(Warning, id, fmt.Sprintf("On %s %s signs before Weir", d.key(), name), c.where(d.service, d.parameter),
					"a subject that Weir tags breaks the signature, and what Weir holds is signed already", "name Weir before it")
			case i <= weir, submission && kind.signs:
			case kind.verifies:
				c.add(Warning, id, fmt.Sprintf("On %s %s verifies after Weir", d.key(), name), c.where(d.service, d.parameter),
					"Weir does not see its Authentication-Results, and takes those that a stranger wrote for them", "name Weir after it")
			default:
				c.add(Warning, id, fmt.Sprintf("On %s %s comes after Weir", d.key(), name), c.where(d.service, d.parameter),
					"when it refuses a message, Weir is not told: the journal says delivered, and held copies wait for recipients who never were", "name Weir last")
			}
		}
	}
	c.ok(id, "Weir stands where it should among the milters")
}

// checkResults looks whether the Authentication-Results that Weir believes are
// written, and those of strangers removed, by a milter before it.
func (c *checker) checkResults() {
	const id = "auth-results"
	believed := c.cfg.Mail.AuthservID
	for _, d := range c.doors {
		if !d.judged() || !isSMTP(d.service) {
			continue
		}
		var verifier string
		others := 0
		for i := range d.milters[:d.weir[0]] {
			others++
			if kind := kindOf(&d.milters[i]); kind.verifies {
				verifier = kind.name
			}
		}
		switch {
		case believed == "" && verifier != "":
			c.add(Warning, id, verifier+" verifies before Weir, and Weir ignores its results", "weir.toml: mail.authserv_id is empty",
				"rules that ask for SPF, DKIM or DMARC find nothing", "set mail.authserv_id to the name that stands first in the Authentication-Results fields of delivered mail")
		case believed != "" && others == 0:
			severity := Error
			if c.postfix.In(c.local.service, "header_checks") != "" || len(c.cfg.Mail.TrustedRelays) > 0 {
				severity = Warning // something else may remove them
			}
			c.add(severity, id, "On "+d.key()+" no milter before Weir writes Authentication-Results, and Weir believes those of "+believed, c.where(d.service, d.parameter),
				"every stranger can write such a field, and pass for whom he likes", "put the milter that verifies (OpenDMARC, OpenDKIM) before Weir, or empty mail.authserv_id")
		}
	}
}

// checkSessions compares how many connections Postfix can make with how many
// Weir serves.
func (c *checker) checkSessions() {
	limit, err := strconv.Atoi(c.postfix.Value("default_process_limit"))
	sum := 0
	for _, d := range c.doors {
		switch {
		case !d.judged() || err != nil:
		case d.service.MaxProc > 0:
			sum += d.service.MaxProc
		default:
			sum += limit
		}
	}
	if sum > c.cfg.Milter.MaxSessions {
		c.add(Warning, "milter-sessions", fmt.Sprintf("Postfix can have %d smtpd processes that speak to Weir, and Weir serves %d at once (milter.max_sessions)", sum, c.cfg.Milter.MaxSessions), c.where(nil, "default_process_limit"),
			"under load clients beyond that get 451", fmt.Sprintf("set milter.max_sessions to %d or more", sum))
	}
}
