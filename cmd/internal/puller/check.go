package puller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/quarantine/mailbox"
)

// Severity says how bad a finding is.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // jobs will fail
	Warning Severity = "warning" // it was not tried
	OK      Severity = "ok"      // tried and found right
)

// Finding is one result of a check.
type Finding struct {
	Severity Severity
	ID       string // a fixed word for what was tried
	What     string // what was found
	Where    string // which daemon or store
	Why      string // why it matters
	Cure     string // what to do
}

// CheckOptions says what Check tries.
type CheckOptions struct {
	// Mailbox is looked into in the place of each store's probe. Empty: the probes.
	Mailbox string
	// Write puts a message into the mailbox, finds it, compares it and takes it out
	// again: whether the rights suffice is not known without.
	Write bool
}

// checkWait bounds the trying of one daemon or store.
const checkWait = 2 * time.Minute

// Check tries every daemon and store of a configuration. The error is of a
// configuration that cannot be used.
func Check(ctx context.Context, cfg *config.Pull, o CheckOptions) ([]Finding, error) {
	var all []Finding
	var problems []error
	for i := range cfg.Daemons {
		d, err := daemon(cfg, i)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		// Who may renew may do all of the work; nothing is leased.
		within, cancel := context.WithTimeout(ctx, checkWait)
		_, err = d.Renew(within, []string{"none"})
		cancel()
		d.Close()
		f := Finding{Severity: OK, ID: "daemon", What: "the daemon gives this sidecar work", Where: cfg.Daemons[i].Name}
		if err != nil {
			f = Finding{Severity: Error, ID: "daemon", What: "the daemon gives this sidecar no work: " + err.Error(), Where: cfg.Daemons[i].Name,
				Why: "nothing that it finds is pulled", Cure: "the daemon has to run, and to name the sidecar's user or certificate in control.pullers"}
		}
		all = append(all, f)
	}
	asked := o.Mailbox == ""
	for i := range cfg.Stores {
		s := &cfg.Stores[i]
		b, err := backend(cfg, i)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		login := s.Probe
		if o.Mailbox != "" {
			if asked || !s.Serves(o.Mailbox) {
				continue
			}
			login, asked = o.Mailbox, true
		}
		t := trial{where: s.Name + ", mailbox " + login, login: login, backend: b, write: o.Write}
		if login == "" {
			t.say(Warning, "store", "the store was not tried: it has no probe", "", "set probe, or name a mailbox with --mailbox")
		} else {
			within, cancel := context.WithTimeout(ctx, checkWait)
			t.run(within)
			cancel()
		}
		all = append(all, t.found...)
	}
	if !asked {
		all = append(all, Finding{Severity: Error, ID: "mailbox", What: fmt.Sprintf("no store serves the mailbox %.80q", o.Mailbox),
			Why: "pulls from it fail", Cure: "let the match of a store fit it"})
	}
	return all, errors.Join(problems...)
}

// trial tries one store.
type trial struct {
	where   string
	login   string
	backend mailbox.Backend
	write   bool
	found   []Finding
}

func (t *trial) say(severity Severity, id, what, why, cure string) {
	t.found = append(t.found, Finding{Severity: severity, ID: id, What: what, Where: t.where, Why: why, Cure: cure})
}

func (t *trial) run(ctx context.Context) {
	a, err := t.backend.Open(ctx, t.login)
	if err != nil {
		t.say(Error, "login", "the mailbox cannot be opened: "+err.Error(), "no mailbox of this store can be worked in", loginCure(err))
		return
	}
	defer func() { _ = a.Close() }()
	t.say(OK, "login", "the mailbox can be opened", "", "")
	if !t.search(ctx, a) {
		return
	}
	if !t.write {
		t.say(Warning, "write", "it was not tried whether mail can be put into the mailbox and taken out", "", "--write tries it with a message of its own")
		return
	}
	t.roundTrip(ctx, a)
}

func loginCure(err error) string {
	switch {
	case errors.Is(err, mailbox.ErrNoMailbox):
		return "name a mailbox that is there"
	case errors.Is(err, mailbox.ErrRefused):
		return "the master user, the secret and the server's auth_master_user_separator have to fit each other; the server's log says more"
	}
	return "the server has to run and to be reached at its address, with the security that it offers"
}

// search looks for a message that is not there, in every folder: by name, and by a
// content so large that none can have it and nothing is read. With doveadm, the
// latter alone goes by IMAP.
func (t *trial) search(ctx context.Context, a mailbox.Account) bool {
	for _, err := range a.Find(ctx, []mailbox.Target{{MessageID: trialID(time.Now()), Body: [32]byte{1}, Size: 1 << 50}}) {
		if err != nil {
			t.say(Error, "search", "not every folder can be searched: "+err.Error(), "a pull from such a mailbox fails",
				"let the master user read all folders (with Dovecot's ACLs: acl_user, or lookup and read for the master user)")
			return false
		}
	}
	t.say(OK, "search", "every folder can be searched", "", "")
	return true
}

func trialID(now time.Time) string {
	return fmt.Sprintf("weir-pull-check-%d@weir.invalid", now.UnixNano())
}

// roundTrip puts a message into the mailbox, compares it, and takes it out again.
func (t *trial) roundTrip(ctx context.Context, a mailbox.Account) {
	const cure = "let the master user insert, mark and expunge mail (with Dovecot's ACLs: the rights i, w, s, t, e)"
	now := time.Now()
	id := trialID(now)
	raw := []byte("From: weir pull check <postmaster@weir.invalid>\r\nMessage-ID: <" + id + ">\r\nSubject: weir pull check\r\nDate: " +
		now.Format(time.RFC1123Z) + "\r\n\r\nThis message tries whether mail can be put back and pulled. It is gone in a moment.\r\n")
	put, err := a.Restore(ctx, mailbox.Return{Raw: raw, Was: mailbox.Copy{Folder: "INBOX", Date: now.Truncate(time.Second), Flags: []mailbox.Flag{mailbox.FlagSeen}}})
	if err != nil {
		t.say(Error, "restore", "no mail can be put into the mailbox: "+err.Error(), "what was pulled cannot go back", cure)
		return
	}
	t.say(OK, "restore", "mail can be put into the mailbox, and stands there as it was", "", "")
	m := message.Parse(raw, message.Options{})
	var shown bytes.Buffer
	for c, err := range a.Find(ctx, []mailbox.Target{{MessageID: id, Body: m.Body}}) {
		if err == nil && c.Copy.Is(&put.Copy) {
			err = a.Fetch(ctx, c.Copy, &shown)
		}
		if err != nil {
			t.say(Error, "find", "mail that is there is not found and read: "+err.Error(), "nothing can be pulled", "")
			break
		}
	}
	if bytes.Equal(shown.Bytes(), raw) {
		t.say(OK, "find", "mail is found and read as it is", "", "")
	} else {
		t.say(Error, "find", fmt.Sprintf("a message of %d bytes is found as one of %d", len(raw), shown.Len()), "nothing can be pulled", "")
	}
	if r := a.Remove(ctx, []mailbox.Copy{put.Copy})[0]; !r.Taken {
		if r.Err == nil {
			r.Err = errors.New("it is not there any more")
		}
		what := fmt.Sprintf("mail cannot be taken out: %v; look for the message %s in INBOX", r.Err, id)
		t.say(Error, "remove", what, "nothing can be pulled", cure)
		return
	}
	t.say(OK, "remove", "mail can be taken out, one message alone", "", "")
}
