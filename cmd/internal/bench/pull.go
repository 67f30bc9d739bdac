package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/quarantine/mailbox/mailboxtest"
)

// pullPlan is how large the part is.
type pullPlan struct {
	mailboxes, others, each int
	rounds                  int
	quiet                   time.Duration // see settle
}

func (b *bench) pullPlan() pullPlan {
	if b.quick {
		return pullPlan{mailboxes: 5, others: 10, each: 2, rounds: 1, quiet: 100 * time.Millisecond}
	}
	return pullPlan{mailboxes: 100, others: 100, each: 10, rounds: rounds, quiet: time.Second}
}

// puller is one way of taking messages out of mailboxes.
type puller struct {
	*contestant
	// take takes out what has a link of this beginning, and gives how long that took,
	// and the CPU time of the programs that it called.
	take func(ctx context.Context, link string, all []delivered) (took, called time.Duration, err error)
	// before and after prepare the mailboxes and tidy up; may be nil.
	before, after func(*mailboxtest.User) error
	pieces        pieces
	bill          bill
}

// pull measures how fast messages come out of mailboxes: by Weir, which copies each
// one durably, compares it and looks again; by a bare IMAP client; and by doveadm.
func (b *bench) pull(ctx context.Context) error {
	plan := b.pullPlan()
	s, err := b.startMailSite(ctx, plan.mailboxes)
	if err != nil {
		return err
	}
	files := filepath.Join(b.lab.Dir(), "others")
	if err := os.Mkdir(files, 0o755); err != nil {
		return err
	}
	if err := s.fill(ctx, files, []string{inbox}, plan.others); err != nil {
		return err
	}
	ours, theirs := s.pieces(), pieces{{"Dovecot", s.store}}
	weir := &puller{contestant: &contestant{name: "weir", what: "daemon and sidecar with their default settings, from a person's approval to the last outcome"}, take: s.byApproval, pieces: ours}
	list := &puller{contestant: &contestant{name: "weir-list", what: "the same, from saving the list file: reading the lists, the hunt and the incident are in it"}, take: s.byList, pieces: ours}
	bare := &puller{contestant: &contestant{name: "bare-imap", what: "a client: a login for each mailbox; for each message search, fetch, store, UID EXPUNGE, search"}, take: s.byClient, pieces: theirs}
	admin := &puller{contestant: &contestant{name: "doveadm", what: "doveadm move, a process for each mailbox"}, take: s.byDoveadm, pieces: theirs,
		before: func(u *mailboxtest.User) error { _, err := u.Do("CREATE Pulled"); return err },
		after:  func(u *mailboxtest.User) error { _, err := u.Do("DELETE Pulled"); return err }}
	all := []*puller{weir, bare, list, admin}
	for _, who := range all {
		for _, p := range who.pieces {
			who.bill.names = append(who.bill.names, p.name)
		}
		who.bill.names = append(who.bill.names, "programs that were called")
	}
	for round := -1; round < plan.rounds; round++ {
		for i := range all {
			who := all[(i+max(round, 0))%len(all)] // nobody is always the first
			if who.err == nil {
				who.err = s.round(ctx, who, plan, round)
			}
		}
	}
	notes := []string{fmt.Sprintf("%d messages of %d in %d mailboxes, %d at once, by a master user; a file system's fsync is in Weir's figures; CPU time and memory without those of the bench",
		plan.mailboxes*plan.each, plan.mailboxes*(plan.each+plan.others), plan.mailboxes, connections)}
	var contestants []*contestant
	for _, who := range all {
		contestants = append(contestants, who.contestant)
		notes = append(notes, fmt.Sprintf("%s: %s", who.name, &who.bill))
	}
	b.print(b.report.add(table{Name: "pull", Title: "Out of the mailboxes of a Dovecot", Notes: notes}, contestants).String())
	b.report.aim(target{Name: "rate of pulled messages, weir over a bare IMAP loop", AtLeast: 0.7}, ratio(weir.contestant, bare.contestant, rate))
	return nil
}

// round delivers messages and has them taken out. The round of number -1 counts for nothing.
func (s *mailSite) round(ctx context.Context, who *puller, plan pullPlan, n int) error {
	link := fmt.Sprintf("https://%s.round%d.test/", who.name, n+1)
	all, err := s.deliver(ctx, link, plan.each)
	if err != nil {
		return err
	}
	if err := s.eachUser(ctx, who.before); err != nil {
		return err
	}
	if err := s.rest(ctx, plan.quiet); err != nil {
		return err
	}
	if err := s.holds(plan.others + plan.each); err != nil {
		return err
	}
	m, err := who.pieces.begin(ctx)
	if err != nil {
		return err
	}
	defer m.stop()
	took, called, err := who.take(ctx, link, all)
	if err != nil {
		return err
	}
	c, err := m.end(ctx, plan.quiet)
	if err != nil {
		return err
	}
	if err := s.holds(plan.others); err != nil {
		return err
	}
	if err := s.eachUser(ctx, who.after); err != nil {
		return err
	}
	if n >= 0 {
		who.rounds = append(who.rounds, round{
			Messages: len(all), Seconds: took.Seconds(), Rate: float64(len(all)) / took.Seconds(), CPUMicros: who.bill.add(len(all), append(c.cpu, called)),
			ResidentBytes: c.memory.Resident, AnonymousBytes: c.memory.Anonymous,
		})
	}
	return nil
}

// eachUser does something as the mail client of every user, if there is anything to do.
func (s *mailSite) eachUser(ctx context.Context, do func(*mailboxtest.User) error) error {
	if do == nil {
		return nil
	}
	return atOnce(ctx, len(s.users), func(i int) error { return s.as(s.users[i], do) })
}

// byApproval opens an incident by hand, and measures from its approval on.
func (s *mailSite) byApproval(ctx context.Context, link string, all []delivered) (took, called time.Duration, err error) {
	opened, err := s.control.OpenIncident(ctx, api.IncidentOpen{Title: link, Reason: "bench", Observables: []string{link + "*"}})
	if err != nil {
		return 0, 0, err
	}
	if opened.Added != len(all) {
		return 0, 0, fmt.Errorf("the incident has %d deliveries, want %d", opened.Added, len(all))
	}
	began := time.Now()
	if _, err := s.control.ApproveIncident(ctx, api.IncidentApprove{ID: opened.Incident.ID, Reason: "bench"}); err != nil {
		return 0, 0, err
	}
	err = s.pulled(ctx, opened.Incident.ID, len(all))
	return time.Since(began), 0, err
}

// byList puts the link on a list.
func (s *mailSite) byList(ctx context.Context, link string, all []delivered) (took, called time.Duration, err error) {
	began := time.Now()
	if err := s.list("pull.txt", link+"*\n"); err != nil {
		return 0, 0, err
	}
	id, err := s.incident(ctx, hostOf(link))
	if err == nil {
		err = s.pulled(ctx, id, len(all))
	}
	return time.Since(began), 0, err
}

// hostOf gives the host of an https URL.
func hostOf(link string) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(link, "https://"), "/")
	return host
}

// longest is how long is waited for an incident, and for its end.
const longest = 2 * time.Minute

// incident waits until the newest one is about a host.
func (s *mailSite) incident(ctx context.Context, host string) (id string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, longest, fmt.Errorf("there is no incident about %s", host))
	defer cancel()
	return id, lab.Poll(ctx, func() (bool, error) {
		page, err := s.control.Incidents(ctx, api.IncidentQuery{Limit: 1})
		if err != nil || len(page.Incidents) == 0 || !strings.Contains(page.Incidents[0].Key, host) {
			return false, err
		}
		id = page.Incidents[0].ID
		return true, nil
	})
}

// pulled waits until an incident has so many deliveries, all of them pulled.
func (s *mailSite) pulled(ctx context.Context, id string, n int) (err error) {
	var i *api.Incident
	ctx, cancel := context.WithTimeoutCause(ctx, longest, errors.New("the incident does not come to an end"))
	defer cancel()
	// Each look makes the daemon bring its listings up to date at once: not so often
	// that this is what is measured.
	for {
		switch i, err = s.control.Incident(ctx, id); {
		case err != nil && i != nil:
			return fmt.Errorf("%w: %v", err, i.Counts)
		case err != nil:
			return err
		case i.Counts["pulled"] == n:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %v", context.Cause(ctx), i.Counts)
		case <-time.After(lookEvery):
		}
	}
}

// lookEvery is how often the bench looks how far an incident is.
const lookEvery = 50 * time.Millisecond

// byClient takes messages out as a mail client does that is in a hurry.
func (s *mailSite) byClient(ctx context.Context, _ string, all []delivered) (took, called time.Duration, err error) {
	of := byUser(all)
	began := time.Now()
	err = atOnce(ctx, len(s.users), func(i int) error {
		u, err := mailboxtest.Login(s.boxes.IMAPAddr(), s.users[i]+"*"+masterUser, masterSecret)
		if err != nil {
			return err
		}
		defer u.Close()
		if _, err := u.Do("SELECT INBOX"); err != nil {
			return err
		}
		for _, id := range of[s.users[i]] {
			if err := takeBare(u, id); err != nil {
				return fmt.Errorf("%s of %s: %w", id, s.users[i], err)
			}
		}
		return nil
	})
	return time.Since(began), 0, err
}

func takeBare(u *mailboxtest.User, id string) error {
	uid, err := searchBare(u, id)
	if err != nil {
		return err
	}
	if uid == "" {
		return errors.New("not found")
	}
	for _, command := range []string{"UID FETCH " + uid + " (BODY.PEEK[])", "UID STORE " + uid + ` +FLAGS.SILENT (\Deleted)`, "UID EXPUNGE " + uid} {
		if _, err := u.Do("%s", command); err != nil {
			return err
		}
	}
	if uid, err = searchBare(u, id); err == nil && uid != "" {
		err = errors.New("still there")
	}
	return err
}

// searchBare gives the UID of the message with a Message-ID; empty: there is none.
func searchBare(u *mailboxtest.User, id string) (uid string, err error) {
	answers, err := u.Do("UID SEARCH HEADER Message-ID %q", id)
	for _, a := range answers {
		if words := a.Words(); len(words) > 2 && words[1] == "SEARCH" {
			uid = words[2]
		}
	}
	return uid, err
}

func byUser(all []delivered) map[string][]string {
	of := map[string][]string{}
	for _, d := range all {
		of[d.user] = append(of[d.user], d.messageID)
	}
	return of
}

// byDoveadm moves messages to another folder of their mailboxes.
func (s *mailSite) byDoveadm(ctx context.Context, _ string, all []delivered) (took, called time.Duration, err error) {
	of := byUser(all)
	var used atomic.Int64
	began := time.Now()
	err = atOnce(ctx, len(s.users), func(i int) error {
		args := []string{"-c", s.boxes.ConfigPath(), "move", "-u", s.users[i], "Pulled", "mailbox", inbox, "("}
		for n, id := range of[s.users[i]] {
			if n > 0 {
				args = append(args, "OR")
			}
			args = append(args, "HEADER", "Message-ID", id)
		}
		cmd := exec.CommandContext(ctx, "doveadm", append(args, ")")...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("doveadm move: %w: %s", err, out)
		}
		used.Add(int64(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()))
		return nil
	})
	return time.Since(began), time.Duration(used.Load()), err
}
