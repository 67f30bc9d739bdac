package incident

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/quarantine/delivery"
)

// Settings is what can change while the Desk works. It is not changed once it was
// given.
type Settings struct {
	// Automatic are patterns of the sources of indicators (the actor of Extend, in
	// an incident that a source opened) whose sure matches are pulled without a
	// person; * stands for any text. Nil: DefaultAutomatic; empty: none.
	Automatic []string
	// MinConfidence, 0 to 100: what an automatic source is less sure of waits for a
	// person, where it says how sure it is.
	MinConfidence int
	// CapIncident is how many deliveries of one incident policy pulls, and how many
	// a person approves who asked for them himself; 0: DefaultCapIncident.
	CapIncident int
	// CapHour is how many deliveries policy pulls in one hour of the clock, over all
	// incidents; 0: DefaultCapHour.
	CapHour int
	// ApprovalFor is how long an approval holds while the pull was not tried;
	// 0: DefaultApprovalFor.
	ApprovalFor time.Duration
	// QueueLifetime is how long the MTA keeps mail that it cannot deliver; 0:
	// DefaultQueueLifetime. A delivery that is in the queue, or of which no log
	// tells, is waited for a day longer.
	QueueLifetime time.Duration

	// Protected are addresses, and @domains, whose mailboxes are never touched;
	// ProtectedGroups are groups of such recipients.
	Protected       []string
	ProtectedGroups []string
	// ApproveGroups are groups of recipients whose mail a person approves.
	ApproveGroups []string
	// Groups gives the groups that an address belongs to, in lower case. Nil: none.
	Groups func(address string) []string
	// Mailbox gives the login of the mailbox that an address belongs to; ok is false
	// where none is known, or it is not clear which. Required.
	Mailbox func(address string) (login string, ok bool)
}

// Defaults of Settings.
const (
	DefaultCapIncident   = 500
	DefaultCapHour       = 2000
	DefaultApprovalFor   = 24 * time.Hour
	DefaultQueueLifetime = 5 * 24 * time.Hour
)

// DefaultAutomatic gives the default of Settings.Automatic: lists and operators,
// and no feed.
func DefaultAutomatic() []string { return []string{"list:*", "operator:*"} }

// SetSettings makes other settings hold from now on. What was decided stays
// decided, but for mailboxes that are protected now: no pull of them is begun.
// Call it when the directory has changed, too.
func (d *Desk) SetSettings(s Settings) error {
	if s.Mailbox == nil {
		return fmt.Errorf("incident: Settings.Mailbox is missing")
	}
	if s.CapIncident < 0 || s.CapHour < 0 || s.ApprovalFor < 0 || s.QueueLifetime < 0 {
		return fmt.Errorf("incident: a cap or time in Settings is negative")
	}
	if s.Automatic == nil {
		s.Automatic = DefaultAutomatic()
	}
	if s.CapIncident == 0 {
		s.CapIncident = DefaultCapIncident
	}
	if s.CapHour == 0 {
		s.CapHour = DefaultCapHour
	}
	if s.ApprovalFor == 0 {
		s.ApprovalFor = DefaultApprovalFor
	}
	if s.QueueLifetime == 0 {
		s.QueueLifetime = DefaultQueueLifetime
	}
	if s.Groups == nil {
		s.Groups = func(string) []string { return nil }
	}
	if s.MinConfidence < 0 || s.MinConfidence > 100 {
		return fmt.Errorf("incident: Settings.MinConfidence is %d; it is 0 to 100", s.MinConfidence)
	}
	g := guardOf(&s)
	d.mu.Lock()
	d.settings, d.guard = s, g
	d.mu.Unlock()
	return nil
}

// waitsFor is how long a delivery is waited for that has not arrived yet.
func (s *Settings) waitsFor() time.Duration { return s.QueueLifetime + 24*time.Hour }

// isAutomatic reports whether policy pulls what somebody finds.
func (s *Settings) isAutomatic(actor string) bool {
	// A source whose name is no scheme:id acts as hunt:name.
	actor = strings.TrimPrefix(actor, "hunt:")
	return slices.ContainsFunc(s.Automatic, func(pattern string) bool { return glob(pattern, actor) })
}

// isConfident reports whether a source is as sure as policy asks; one that does not
// say is judged by its name alone.
func (s *Settings) isConfident(confidence int) bool {
	return confidence == 0 || confidence >= s.MinConfidence
}

// Pulls reports whether policy pulls without a person, within the caps, what an
// indicator of a source surely matches. confidence is how sure the source is of it,
// 1 to 100; 0: it does not say.
func (d *Desk) Pulls(source string, confidence int) bool {
	s := d.current()
	return s.isAutomatic(source) && s.isConfident(confidence)
}

// glob reports whether a text fits a pattern in which * stands for any text. It
// takes linear time for each star.
func glob(pattern, text string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	for _, p := range parts[:len(parts)-1] {
		at := strings.Index(text, p)
		if at < 0 {
			return false
		}
		text = text[at+len(p):]
	}
	return strings.HasSuffix(text, parts[len(parts)-1])
}

// guard knows which mailboxes are never touched. An address is another name of a
// mailbox, so the mailboxes of protected addresses count too.
type guard struct {
	addresses map[string]bool
	logins    map[string]bool
	groups    map[string]bool
}

func guardOf(s *Settings) guard {
	g := guard{addresses: map[string]bool{}, logins: map[string]bool{}, groups: map[string]bool{}}
	for _, a := range s.Protected {
		g.addresses[fold(a)] = true
		if login, ok := s.Mailbox(a); ok {
			g.logins[fold(login)] = true
		}
	}
	for _, group := range s.ProtectedGroups {
		g.groups[fold(group)] = true
	}
	return g
}

// protects says why a mailbox is never touched; empty: it may be.
func (g *guard) protects(s *Settings, login string, addresses ...string) string {
	if login != "" && g.logins[fold(login)] {
		return "the mailbox " + login + " is protected"
	}
	if len(g.addresses) == 0 && len(g.groups) == 0 {
		return ""
	}
	for _, a := range addresses {
		a = fold(a)
		if g.addresses[a] || g.addresses[a[strings.LastIndexByte(a, '@')+1:]] || strings.Contains(a, "@") && g.addresses[a[strings.LastIndexByte(a, '@'):]] {
			return a + " is protected"
		}
		if len(g.groups) == 0 || a == "" {
			continue
		}
		for _, group := range s.Groups(a) {
			if g.groups[fold(group)] {
				return a + " is in the protected group " + group
			}
		}
	}
	return ""
}

// place says where a copy is and what that means. asks says that a pull is wanted.
func (s *Settings) place(g *guard, d *delivery.Delivery) placeData {
	login, mapped := "", false
	if d.Mailbox != "" && d.Known == delivery.BySession {
		login, mapped = d.Mailbox, true // its own word
	} else if login, mapped = s.Mailbox(d.Address); !mapped && d.Mailbox != "" {
		login, mapped = d.Mailbox, true
	}
	p := placeData{
		Address: legible(d.Address, maxText), Through: legible(d.Through, maxText), Known: d.Known, Status: d.Status,
	}
	if mapped && login == legible(login, maxText) {
		p.Mailbox = login
	} else {
		mapped = false
	}
	told := legible(join(string(d.Status), d.DSN, d.Reply), maxWhat)
	switch d.Status {
	case delivery.Bounced, delivery.Expired, delivery.Refused, delivery.Removed, delivery.Discarded:
		p.Outcome, p.Detail, p.Mailbox = NotFound, told, ""
		return p
	case superseded:
		p.Outcome, p.Detail, p.Mailbox = NotFound, "it is an alias: its copies went to "+legible(d.Reply, maxText)+" and perhaps others", ""
		return p
	case delivery.Relayed, delivery.Forwarded:
		if !mapped {
			p.Outcome, p.Detail = OutOfReach, join(string(d.Status)+" to "+p.Address, legible(d.Relay, maxText))
			return p
		}
	}
	if why := g.protects(s, p.Mailbox, d.Address, d.Recipient); why != "" {
		p.Outcome, p.Detail = Protected, why
		return p
	}
	switch {
	case d.Status == delivery.InTransit:
		p.Outcome, p.Detail, p.Open = InTransit, told, true
	case mapped:
		p.Outcome, p.Open = Pending, true
		if d.Status == delivery.Unconfirmed {
			p.Detail = "no log tells where it went: taken for the mailbox of " + p.Address
		}
	case d.Status == delivery.Mailbox:
		p.Outcome, p.Detail = MailboxMissing, "no login is known for the mailbox of "+p.Address
	default:
		p.Outcome, p.Detail = OutOfReach, "no log tells where it went, and no mailbox is known for "+p.Address
	}
	return p
}

// weakGrounds are how the reasons begin that a later match can take away.
var weakGrounds = []string{waitsSource, waitsConfidence, waitsUnsure}

const (
	waitsSource     = "policy does not pull by itself what comes from "
	waitsConfidence = "its source is not sure enough: "
	waitsUnsure     = "not sure: "
)

// gate says why a pull that is wanted waits for a person; empty: policy may start
// it, within the caps.
func (s *Settings) gate(k *docket, actor string, m *Match, addresses ...string) string {
	switch {
	case !k.opened.Automatic:
		return "a person opened the incident"
	case !s.isAutomatic(actor):
		return legible(waitsSource+actor, maxWhat)
	case !s.isConfident(m.confidence()):
		return fmt.Sprintf("%sa confidence of %d, and policy asks for %d", waitsConfidence, m.confidence(), s.MinConfidence)
	case !m.Sure():
		return unsure(m.Chain)
	}
	for _, a := range addresses {
		for _, group := range s.Groups(fold(a)) {
			if slices.ContainsFunc(s.ApproveGroups, func(g string) bool { return strings.EqualFold(g, group) }) {
				return legible(a+" is in the group "+group, maxWhat)
			}
		}
	}
	return ""
}

func unsure(chain []Step) string {
	for _, s := range chain {
		if !s.Sure {
			return legible(waitsUnsure+join(s.How, s.What), maxWhat)
		}
	}
	return waitsUnsure + "nothing says how it belongs here"
}
