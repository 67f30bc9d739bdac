package mta

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/weirmail/weir/cmd/internal/mta/postconf"
)

// checkDoors looks whether the mail that comes in by SMTP is shown to Weir.
func (c *checker) checkDoors() {
	const id = "milter-missing"
	var judged []string
	for _, d := range c.doors {
		c.checkSyntax(d)
		switch {
		case len(d.weir) > 0:
			judged = append(judged, d.key())
		case c.checkLookalike(d), isLocal(c.postfix, d.service):
		default:
			severity := Warning
			if isSMTP(d.service) {
				severity = Error
			}
			c.add(severity, id, "Mail that comes in by "+d.key()+" is not shown to Weir", c.where(d.service, d.parameter),
				"it is neither judged nor journalled, and cannot be found again", snippetCure)
		}
	}
	if len(c.doors) == 0 {
		c.add(Error, id, "master.cf has no smtpd service", "master.cf", "no mail comes in by SMTP, so there is nothing to judge", "give this check the output of postconf -M too")
	}
	if len(judged) == 0 && len(c.doors) > 0 {
		c.add(Error, "milter-none", "Postfix shows Weir no mail at all", c.where(nil, "smtpd_milters"), "", "put "+c.name+" into smtpd_milters; "+snippetCure)
	}
	c.ok(id, "Weir is asked about mail that comes in by %s", strings.Join(judged, ", "))
}

// checkSyntax reports an entry that Postfix cannot use.
func (c *checker) checkSyntax(d *door) {
	const why = "smtpd answers every client with 451, or ends at once, until this is put right"
	if d.err != nil {
		c.add(Error, "milter-syntax", "Postfix cannot use this entry: "+d.err.Error(), c.where(d.service, d.parameter), why, "correct the entry")
	}
	for i := range d.milters {
		for _, s := range d.milters[i].Settings {
			switch s.Name {
			case "connect_timeout", "command_timeout", "content_timeout", "protocol", "default_action":
			default:
				c.add(Error, "milter-syntax", fmt.Sprintf("A milter has no setting named %q", s.Name), c.where(d.service, d.parameter), why,
					"take it out; there are connect_timeout, command_timeout, content_timeout, protocol and default_action")
			}
		}
	}
}

// checkLookalike reports an entry that is meant to be Weir but leads elsewhere.
func (c *checker) checkLookalike(d *door) bool {
	for i := range d.milters {
		at := c.at(d, i)
		if !c.looksLikeWeir(at) {
			continue
		}
		what := fmt.Sprintf("%s looks for Weir at %s, and Weir listens on %s", d.key(), at, c.sockets[0])
		why := "Postfix finds nobody there, and does with all mail what milter_default_action says"
		if filepath.IsAbs(d.milters[i].Path) && d.service != nil && c.postfix.Chrooted(d.service) {
			why += "; a service with chroot (the fifth column of master.cf) takes " + c.queueDir + " for /"
		}
		cure := fmt.Sprintf("write %s instead of %s", c.name, d.milters[i].Address)
		if strings.HasPrefix(c.name, "unix:/") && c.postfix.Chrooted(d.service) {
			cure = fmt.Sprintf("set milter.listen = [\"unix:%s\"] in Weir's configuration, and write unix:weir/weir.sock here", filepath.Join(c.queueDir, "weir/weir.sock"))
		}
		c.add(Error, "milter-address", what, c.where(d.service, d.parameter), why, cure)
		return true
	}
	return false
}

// looksLikeWeir reports whether a socket has Weir's name, or the name or port
// of one of its sockets.
func (c *checker) looksLikeWeir(at socket) bool {
	if at.network == "unix" && strings.Contains(strings.ToLower(filepath.Base(at.address)), "weir") {
		return true
	}
	for _, s := range c.sockets {
		if s.network != at.network {
			continue
		}
		if s.network == "unix" && filepath.Base(s.address) == filepath.Base(at.address) ||
			s.network == "tcp" && portOf(s.address) == portOf(at.address) {
			return true
		}
	}
	return false
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// checkBypass looks for mail that passes Weir by although it is in the list.
func (c *checker) checkBypass() {
	const id = "milter-bypass"
	for _, d := range c.doors {
		if len(d.weir) == 0 {
			continue
		}
		if d.bypass && !isLocal(c.postfix, d.service) {
			c.add(Error, id, "Mail that comes in by "+d.key()+" is shown to no milter", c.where(d.service, "receive_override_options"),
				"no_milters turns them off, Weir too", "take no_milters out")
		}
		if maps := c.postfix.In(d.service, "smtpd_milter_maps"); maps != "" {
			c.add(Warning, id, "Clients that smtpd_milter_maps names get other milters than those of smtpd_milters, or none", c.where(d.service, "smtpd_milter_maps"),
				"what they send may pass Weir by", "name Weir in each of the table's results, and see whether DISABLE is meant")
		}
	}
	c.ok(id, "No client and no service is exempt from milters")
}

// checkOverrides looks for milter settings that stand where nobody reads them.
func (c *checker) checkOverrides() {
	for _, s := range c.postfix.Services() {
		if _, ok := s.Option("smtpd_milters"); ok && s.Command != "smtpd" {
			cure := "take it out"
			if s.Command == "postscreen" {
				cure = "put it on the service smtpd/pass, to which postscreen hands its clients"
			}
			c.add(Warning, "milter-unread", s.Key()+" names milters, and "+s.Command+" uses none", c.where(s, "smtpd_milters"), "it has no effect", cure)
		}
		if _, ok := s.Option("non_smtpd_milters"); ok && s.Command != "cleanup" {
			c.add(Warning, "milter-unread", s.Key()+" names non_smtpd_milters, and only cleanup reads them", c.where(s, "non_smtpd_milters"), "it has no effect", "put it into main.cf")
		}
	}
}

// checkFilters looks at content filters, which take mail out of Postfix and
// hand it back.
func (c *checker) checkFilters() {
	filtered := false
	for _, d := range c.doors {
		if len(d.weir) > 0 && c.postfix.In(d.service, "smtpd_proxy_filter") != "" {
			c.add(Error, "proxy-filter", "On "+d.key()+" a proxy filter stands before the queue, and milters get no content there", c.where(d.service, "smtpd_proxy_filter"),
				"Weir sees sender and recipients and judges an empty message; it cannot hold or mark anything",
				"name Weir on the service to which the filter hands mail back, and not on "+d.key())
		}
		filtered = filtered || d.judged() && !isLocal(c.postfix, d.service) && c.postfix.In(d.service, "content_filter") != ""
	}
	for _, d := range c.doors {
		if filtered && d.judged() && isLocal(c.postfix, d.service) && c.postfix.In(d.service, "content_filter") == "" {
			c.add(Warning, "judged-twice", "Mail that the content filter hands back to "+d.key()+" is judged a second time", c.where(d.service, d.parameter),
				"it is held or tagged twice and journalled twice, and the second time the client is the filter", c.override(d.service, "receive_override_options", "no_milters,no_unknown_recipient_checks,no_header_body_checks"))
		}
	}
}

// checkLocalMail looks at mail that comes in without SMTP.
func (c *checker) checkLocalMail() {
	const id = "local-mail"
	d := c.local
	c.checkSyntax(d)
	if !d.judged() {
		if len(d.weir) == 0 && c.checkLookalike(d) {
			return
		}
		if f := filterByPipe(c.postfix); f != nil {
			c.ok(id, "Local mail is not shown to Weir, since the content filter %s hands mail back that way", f.Key())
			return
		}
		where := c.where(d.service, d.parameter)
		if d.bypass {
			where = c.where(c.postfix.Service("pickup", "unix"), "receive_override_options")
		}
		c.add(Warning, id, "Mail of the sendmail command is not shown to Weir", where,
			"what web applications and scripts of this host send is neither judged nor journalled", snippetCure)
		return
	}
	if f := filterByPipe(c.postfix); f != nil {
		c.add(Warning, id, "The content filter "+f.Key()+" hands mail back by the sendmail command, where Weir judges it again", c.where(d.service, d.parameter),
			"mail is held, tagged and journalled twice, and the second time it looks as if it came from this host", "take Weir out of non_smtpd_milters, or let the filter hand mail back by SMTP")
	}
	for _, class := range postconf.Words(c.postfix.Value("internal_mail_filter_classes")) {
		c.add(Warning, id, "Weir also judges what Postfix itself writes ("+class+")", c.where(nil, "internal_mail_filter_classes"),
			"a held or refused bounce leaves its sender without an answer", c.set(nil, "internal_mail_filter_classes", ""))
	}
	c.ok(id, "Local mail is shown to Weir; what postsuper -r queues again is judged again")
}
