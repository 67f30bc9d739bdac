package app

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/directory"
	"github.com/weirmail/weir/quarantine/hunt"
	"github.com/weirmail/weir/quarantine/incident"
)

// openIncidents opens what finds mail that was let through too early, and has it
// pulled. All other stores are open by then.
func (a *App) openIncidents(cfg *config.Config, h *house, r *rules) (err error) {
	h.desk, err = incident.New(incident.Options{
		Ledger: watchedLedger{h.ledger, a}, View: h.incidents, Journal: h.journal, Tracker: h.deliveries, Items: h.quarantine, Identity: h.identity,
		Settings: incidentSettings(cfg, r), Logger: a.log.Logger, Metrics: h.metrics,
	})
	if err != nil {
		return err
	}
	h.hunt, err = hunt.Open(hunt.Options{
		FS: a.o.FS, Dir: filepath.Join(string(cfg.State.Dir), "hunt"), Lists: h.store, Matcher: h.matcher, Journal: h.journal, Desk: h.desk,
		LookBack: time.Duration(cfg.Journal.Lookback), LateWindow: lateWindow(cfg), Logger: a.log.Logger, Metrics: h.metrics,
	})
	return err
}

// lateWindow is how long a message that was judged by the lists of before can
// take until the journal has it: as long as the MTA waits for an answer, and a
// minute for clocks and queues.
func lateWindow(cfg *config.Config) time.Duration {
	return time.Duration(cfg.Milter.AnswerTimeout) + time.Minute
}

func incidentSettings(cfg *config.Config, r *rules) incident.Settings {
	i := &cfg.Incident
	m := mailboxes{site: r, template: i.Mailbox, delimiters: cfg.Mail.RecipientDelimiter}
	s := incident.Settings{
		Automatic:     []string{}, // what is not named is not automatic
		MinConfidence: i.MinConfidence,
		CapIncident:   i.MaxDeliveries, CapHour: i.MaxHourly, ApprovalFor: time.Duration(i.ApprovalFor), QueueLifetime: time.Duration(i.QueueLifetime),
		Protected: i.Protected, ProtectedGroups: i.ProtectedGroups, ApproveGroups: i.ApproveGroups,
		Groups: m.groups, Mailbox: m.login,
	}
	for _, p := range i.Automatic {
		s.Automatic = append(s.Automatic, string(p))
	}
	return s
}

// mailboxes knows whose mailbox an address leads to.
type mailboxes struct {
	site       *rules
	template   config.MailboxTemplate
	delimiters string
}

func (m *mailboxes) person(address string) (intel.Value, *directory.Person) {
	v, err := intel.Address(address)
	if err != nil {
		return intel.Value{}, nil
	}
	return v, m.site.directory.Lookup(v)
}

// groups gives the groups that the directory has an address in, and "vip" for
// those whom it marks so.
func (m *mailboxes) groups(address string) []string {
	_, p := m.person(address)
	if p == nil {
		return nil
	}
	if p.VIP {
		return append([]string{"vip"}, p.Groups...)
	}
	return p.Groups
}

// login gives the mailbox of an address of ours: what the directory says, else
// what the template makes of it.
func (m *mailboxes) login(address string) (string, bool) {
	v, p := m.person(address)
	if v.IsZero() || !m.site.site.IsLocal(v.Host()) {
		return "", false
	}
	if p != nil && p.Mailbox != "" {
		return p.Mailbox, true
	}
	at := strings.LastIndexByte(address, '@')
	local, domain := address[:at], v.Host()
	if cut := strings.IndexAny(local, m.delimiters); cut > 0 {
		local = local[:cut]
	}
	return m.template.Login(local, domain), true
}
