package mta

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/weirmail/weir/cmd/internal/mta/postconf"
	"github.com/weirmail/weir/config"
)

// fieldMax is what one header field may have for Weir to take it, in bytes: it
// comes in one packet of the milter protocol, of at most 1 MiB, with its name.
const fieldMax = 1<<20 - 1<<10

// checkRecipients looks whether a recipient can be taken out of a message.
func (c *checker) checkRecipients() {
	const id = "original-recipient"
	if cleanup := c.local.service; !c.postfix.Bool(cleanup, "enable_original_recipient") {
		c.add(Error, id, "A held recipient behind an alias gets the message all the same", c.where(cleanup, "enable_original_recipient"),
			"Weir takes recipients out by the address that the client gave, and Postfix has forgotten it once an alias or a canonical map has replaced it",
			c.set(cleanup, "enable_original_recipient", "yes"))
	}
	c.ok(id, "Postfix keeps original recipients, so that a held one behind an alias can be taken out")

	for _, d := range c.doors {
		most, err := strconv.Atoi(c.postfix.In(d.service, "smtpd_recipient_limit"))
		if d.judged() && err == nil && most > c.cfg.Milter.MaxRecipients {
			c.add(Warning, "recipient-limit", fmt.Sprintf("Postfix takes %d recipients for one message, and Weir %d (milter.max_recipients)", most, c.cfg.Milter.MaxRecipients), c.where(d.service, "smtpd_recipient_limit"),
				"a message with more is answered with 452 as a whole", fmt.Sprintf("set milter.max_recipients to %d", most))
		}
	}
}

// checkQueueIDs looks whether queue IDs are unique.
func (c *checker) checkQueueIDs() {
	const id = "queue-ids"
	if !c.postfix.Bool(nil, "enable_long_queue_ids") {
		c.add(Warning, id, "Postfix uses its queue IDs again and again", c.where(nil, "enable_long_queue_ids"),
			"the log then says of one message what became of another, and so does Weir, which joins the two by queue ID", c.set(nil, "enable_long_queue_ids", "yes"))
	}
	c.ok(id, "Queue IDs are not used again")
}

// checkCopies looks for copies that holding a recipient does not hold.
func (c *checker) checkCopies() {
	for _, name := range []string{"always_bcc", "sender_bcc_maps", "recipient_bcc_maps"} {
		if c.postfix.In(c.local.service, name) != "" {
			c.add(Warning, "auto-bcc", "Blind copies that Postfix makes are not held when only some recipients are", c.where(c.local.service, name),
				"a copy goes to an address of its own, which Weir does not see; only when all recipients are held it is not made, and at the release it is", "mind it, or make copies where mail is delivered")
		}
	}
}

// checkSizes compares limits on size.
func (c *checker) checkSizes() {
	const id = "size-limit"
	ours := int64(c.cfg.Milter.MessageSizeLimit)
	for _, d := range c.doors {
		theirs, err := strconv.ParseInt(c.postfix.In(d.service, "message_size_limit"), 10, 64)
		if !d.judged() || err != nil || theirs > 0 && theirs <= ours {
			continue
		}
		size := fmt.Sprintf("up to %d bytes", theirs)
		if theirs == 0 {
			size = "of any size"
		}
		becomes := "refused"
		switch c.cfg.Milter.Oversize {
		case config.OversizeAccept:
			becomes = "let through without a look at it"
		case config.OversizeTempfail:
			becomes = "sent away for now, again and again"
		}
		c.add(Warning, id, fmt.Sprintf("Postfix takes messages %s, and Weir looks at %d (milter.message_size_limit)", size, ours), c.where(d.service, "message_size_limit"),
			"what is larger is "+becomes+" (milter.oversize)", fmt.Sprintf("%s, or raise milter.message_size_limit", c.set(d.service, "message_size_limit", strconv.FormatInt(ours, 10))))
	}
	c.ok(id, "Weir looks at messages of every size that Postfix takes")
	if n, err := strconv.ParseInt(c.postfix.In(c.local.service, "header_size_limit"), 10, 64); err == nil && n > fieldMax {
		c.add(Warning, "header-size", fmt.Sprintf("Postfix lets a header field have %d bytes, and Weir takes %d", n, fieldMax), c.where(c.local.service, "header_size_limit"),
			"a message with a longer field gets Postfix's default action", c.set(c.local.service, "header_size_limit", "102400"))
	}
}

// checkDelimiter compares how addresses are read.
func (c *checker) checkDelimiter() {
	theirs, ours := sorted(c.postfix.Value("recipient_delimiter")), sorted(c.cfg.Mail.RecipientDelimiter)
	if theirs != ours {
		c.add(Warning, "recipient-delimiter", fmt.Sprintf("Postfix parts a mailbox from its extension at %s, and Weir at %s (mail.recipient_delimiter)", quoteEmpty(theirs), quoteEmpty(ours)), c.where(nil, "recipient_delimiter"),
			"the two take the same address for different mailboxes", fmt.Sprintf("set mail.recipient_delimiter = %q", c.postfix.Value("recipient_delimiter")))
	}
}

func sorted(s string) string {
	b := []byte(s)
	slices.Sort(b)
	return string(b)
}

func quoteEmpty(s string) string {
	if s == "" {
		return "nothing"
	}
	return strconv.Quote(s)
}

// checkMacros looks for macro values that Postfix makes up. Which macros are
// sent is not looked at: Weir asks for those that it needs, and what it asks for
// counts more than main.cf.
func (c *checker) checkMacros() {
	for _, d := range append(c.doors[:len(c.doors):len(c.doors)], c.local) {
		if !d.judged() {
			continue
		}
		for _, word := range postconf.Words(c.postfix.In(d.service, "milter_macro_defaults")) {
			name, _, _ := strings.Cut(strings.Trim(word, "{} "), "=")
			switch strings.Trim(strings.TrimSpace(name), "{}") {
			case "i", "auth_authen", "auth_type", "tls_version", "daemon_port":
				c.add(Error, "macro-defaults", "Postfix makes up the macro "+strings.TrimSpace(name)+" where a message has none", c.where(d.service, "milter_macro_defaults"),
					"by these Weir knows who has logged in and what is local mail: strangers' mail would count as ours", "take it out of milter_macro_defaults")
			}
		}
	}
}

// checkEdits looks for what could undo the marks that Weir makes.
func (c *checker) checkEdits() {
	if c.postfix.In(c.local.service, "milter_header_checks") != "" {
		c.add(Warning, "header-edits", "Postfix looks at the header fields that milters add", c.where(c.local.service, "milter_header_checks"),
			"a rule that hits X-Weir-ID, X-Weir-Verdict or a tagged Subject can undo or refuse what Weir did", "see that it leaves them alone")
	}
}
