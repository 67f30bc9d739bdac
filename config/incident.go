package config

import (
	"fmt"
	"strings"
)

// SourcePattern names sources of indicators: the text of one, in which each "*"
// stands for anything.
type SourcePattern string

// UnmarshalText reads the text form.
func (p *SourcePattern) UnmarshalText(text []byte) error {
	const cure = `write "list:block/*", "feed:NAME" or "operator:*"`
	s := string(text)
	kind, _, _ := strings.Cut(s, ":")
	switch {
	case s == "":
		return bad("names no source", cure)
	case kind != "list" && kind != "feed" && kind != "operator" && kind != "*":
		return bad("names no kind of source", cure)
	case strings.ContainsFunc(s, isSpaceOrControl):
		return bad("has white space or a control character in it", cure)
	}
	*p = SourcePattern(s)
	return nil
}

// MarshalText gives the text form.
func (p SourcePattern) MarshalText() ([]byte, error) { return []byte(p), nil }

// MailboxTemplate makes a login out of an address.
type MailboxTemplate string

// UnmarshalText reads the text form.
func (t *MailboxTemplate) UnmarshalText(text []byte) error {
	const cure = `write "%u" for the whole address, "%n" for its local part, or both parts as in "%d/%n"`
	s := string(text)
	if s == "" || strings.ContainsFunc(s, isSpaceOrControl) {
		return bad("is empty or has white space in it", "%s", cure)
	}
	own := false
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		if i++; i == len(s) || !strings.ContainsRune("und%", rune(s[i])) {
			return bad("has a % that is none of %u, %n, %d and %%", "%s", cure)
		}
		own = own || s[i] == 'u' || s[i] == 'n'
	}
	if !own {
		return bad("gives everybody the same mailbox", "%s", cure)
	}
	*t = MailboxTemplate(s)
	return nil
}

// MarshalText gives the text form.
func (t MailboxTemplate) MarshalText() ([]byte, error) { return []byte(t), nil }

// Login gives the login for a local part without extension, and a domain.
func (t MailboxTemplate) Login(local, domain string) string {
	return strings.NewReplacer("%u", local+"@"+domain, "%n", local, "%d", domain, "%%", "%").Replace(string(t))
}

func (c *Config) checkIncident(report reporter) {
	for i, a := range c.Incident.Protected {
		if at := strings.LastIndexByte(a, '@'); at < 0 || at == len(a)-1 || strings.ContainsFunc(a, isSpaceOrControl) {
			report(fmt.Sprintf("incident.protected[%d]", i), "is no address", `write "abuse@example.org", or "@example.org" for a whole domain`)
		}
	}
	if c.Incident.MaxHourly < c.Incident.MaxDeliveries {
		report("incident.max_hourly", fmt.Sprintf("is less than incident.max_deliveries, %d, which could never be used up", c.Incident.MaxDeliveries), "raise it, or lower incident.max_deliveries")
	}
}
