package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
	"github.com/weirmail/weir/quarantine/mailbox/mailboxtest"
)

// door is a listener in front of LMTP that is shut at first.
type door struct {
	addr string
	open atomic.Bool
}

func newDoor(t *testing.T, addr, to string) *door {
	t.Helper()
	d := &door{addr: addr}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			if !d.open.Load() {
				_ = in.Close()
				continue
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		}
	}()
	return d
}

// The users of the campaign: those with a part of their own, and the crowd.
const (
	forwarder = "forwarder@lab.test" // a Sieve script sends copies to friend and outside
	friend    = "friend@lab.test"
	quoted    = "quoted@lab.test" // his mail is turned to quoted-printable on the way
	footed    = "footed@lab.test" // something adds a footer to his mail
	popper    = "popper@lab.test" // takes his mail away by POP3
	deleter   = "deleter@lab.test"
	moved     = "moved@lab.test" // his mailbox was renamed
	late      = "late@lab.test"  // his LMTP server is down
	filer     = "filer@lab.test" // a Sieve script files his mail
)

func readers() (all []string) {
	for i := range 41 {
		all = append(all, fmt.Sprintf("u%d@lab.test", i))
	}
	return all
}

const (
	campaignURL  = "https://login.evil.test/pay"
	forgedText   = "somebody else's text under the same name"
	innocentText = "an invoice like any other"
)

// campaign is one site with 200 bad messages in it, and others.
type campaign struct {
	*site
	late *door
	sent int
}

// bad sends a message with the URL, in 8 bits.
func (c *campaign) bad(subject string, id bool, to ...string) {
	c.t.Helper()
	c.sent++
	name := "Message-ID: <" + subject + "@sender.test>\r\n"
	if !id {
		name = ""
	}
	c.sendRaw(subject, name, "Grüße! Please pay at "+campaignURL+"/"+subject+"\r\nor else.", to...)
}

func (c *campaign) sendRaw(subject, name, text string, to ...string) {
	c.t.Helper()
	r := c.send(smtptest.Mail{From: "s@sender.test", FromArgs: "BODY=8BITMIME", To: to, Data: []byte("From: Sender <s@sender.test>\r\nTo: " + to[0] + "\r\nSubject: " + subject +
		"\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n" + name + "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text + "\r\n")})
	if !r.Accepted() {
		c.t.Fatalf("%s: %+v", subject, r)
	}
}

func newCampaign(t *testing.T) *campaign {
	t.Helper()
	c := &campaign{}
	people := append(readers(), forwarder, friend, quoted, footed, popper, deleter, moved, late, filer)
	var doorAddr string
	c.site = newSite(t, forPulls(options{
		users: people,
		aliases: map[string]string{
			"team@lab.test": strings.Join(readers()[:5], ", "),
			"list@lab.test": strings.Join(readers()[5:15], ", "),
		},
		sieve: map[string]string{
			forwarder: "require [\"copy\"];\nif header :contains \"Subject\" \"forward\" { redirect :copy \"" + friend + "\"; redirect :copy \"them@outside.test\"; }\n",
			filer:     "require [\"fileinto\", \"mailbox\"];\nif header :contains \"Subject\" \"file\" { fileinto :create \"Rechnungen/Märkte\"; }\n",
		},
		postfix: func(p *lab.PostfixOptions) {
			doorAddr = strings.TrimPrefix(p.DeliverTo, "lmtp:inet:")
			host, _, _ := net.SplitHostPort(doorAddr)
			free, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
			if err != nil {
				t.Fatal(err)
			}
			doorAddr = free.Addr().String()
			_ = free.Close()
			p.Transports = map[string]string{late: "lmtp:inet:" + doorAddr, quoted: "sevenbit:inet:" + strings.TrimPrefix(p.DeliverTo, "lmtp:inet:")}
			p.Master = append(p.Master, "sevenbit unix - - n - - lmtp -o lmtp_discard_ehlo_keywords=8bitmime")
			p.Listeners = append(p.Listeners, lab.PostfixListener{Name: "local", Main: map[string]string{"mynetworks": "127.0.0.0/8"}})
			p.Main["minimal_backoff_time"], p.Main["queue_run_delay"] = "1s", "1s"
		},
	}))
	c.late = newDoor(t, doorAddr, c.boxes.LMTPAddr())
	c.sieveSendsTo(c.postfix.Addr("local"))
	return c
}

// deliver sends everything, and has the users do what users do.
func (c *campaign) deliver() {
	c.t.Helper()
	for i := range 100 {
		c.bad(fmt.Sprintf("direct-%d", i), true, readers()[i%len(readers())])
	}
	for i := range 20 {
		c.bad(fmt.Sprintf("team-%d", i), true, "team@lab.test")
	}
	for i := range 10 {
		c.bad(fmt.Sprintf("list-%d", i), true, "list@lab.test")
		c.bad(fmt.Sprintf("noid-%d", i), false, readers()[20+i])
		c.bad(fmt.Sprintf("quoted-%d", i), true, quoted)
	}
	for i := range 5 {
		c.bad(fmt.Sprintf("forward-%d", i), true, forwarder)
		c.bad(fmt.Sprintf("file-%d", i), true, filer)
		c.bad(fmt.Sprintf("footed-%d", i), true, footed)
		c.bad(fmt.Sprintf("twice-%d", i), true, readers()[30], strings.Replace(readers()[30], "@", "+ext@", 1))
		c.bad(fmt.Sprintf("popped-%d", i), true, popper)
		c.bad(fmt.Sprintf("deleted-%d", i), true, deleter)
		c.bad(fmt.Sprintf("moved-%d", i), true, moved)
		c.bad(fmt.Sprintf("late-%d", i), true, late)
	}
	for i := range 10 {
		c.bad(fmt.Sprintf("more-%d", i), true, readers()[31+i])
	}
	for i := range 10 { // the same sender and subjects, and names that were used
		c.sendRaw(fmt.Sprintf("direct-%d", i), fmt.Sprintf("Message-ID: <innocent-%d@sender.test>\r\n", i), innocentText, readers()[i])
		c.sendRaw("forged", fmt.Sprintf("Message-ID: <direct-%d@sender.test>\r\n", i), forgedText, readers()[i])
	}
	if c.sent != 200 {
		c.t.Fatalf("%d messages", c.sent)
	}
	c.eventually("all but the late ones are delivered", func() (bool, error) {
		out, err := c.postfix.Command(c.t.Context(), "postqueue", "-p")
		return strings.Count(out, late) == 5 && strings.Contains(out, "in 5 Requests"), err
	})
}

// live has users read, answer, file, throw away and fetch their mail.
func (c *campaign) live() {
	c.t.Helper()
	do := func(u *mailboxtest.User, commands ...string) {
		for _, cmd := range commands {
			if _, err := u.Do("%s", cmd); err != nil {
				c.t.Fatalf("%s: %v", cmd, err)
			}
		}
	}
	do(c.imap(readers()[0]), "SELECT INBOX", `STORE 1 +FLAGS (\Seen $Forwarded work)`)
	do(c.imap(readers()[1]), "SELECT INBOX", `STORE 1 +FLAGS (\Seen \Answered)`, `STORE 2 +FLAGS (\Flagged)`)
	do(c.imap(readers()[2]), "CREATE Archive", "CREATE Trash", "SELECT INBOX", "UID MOVE 1 Archive", "UID MOVE 2 Trash", "UID MOVE 3 Junk")
	do(c.imap(deleter), "SELECT INBOX", `STORE 1:* +FLAGS (\Deleted)`, "EXPUNGE")
	c.pop(popper)
	u := c.imap(footed)
	all, err := u.All()
	c.must(err)
	for _, m := range all {
		footer := append(bytes.TrimRight(bytes.Clone(m.Raw), "\r\n"), "\r\n-- \r\nThis mail was checked.\r\n"...)
		c.must(u.Append("INBOX", footer, m.Date))
	}
	do(u, "SELECT INBOX", fmt.Sprintf(`STORE 1:%d +FLAGS (\Deleted)`, len(all)), "EXPUNGE")

	usersFile := filepath.Join(filepath.Dir(c.boxes.ConfigPath()), "users")
	text, err := os.ReadFile(usersFile)
	c.must(err)
	c.must(os.WriteFile(usersFile, bytes.Replace(text, []byte("\n"+moved+":"), []byte("\nrenamed@lab.test:"), 1), 0o644))
	// Dovecot looks at that file once a second, and makes a mailbox for whom it knows.
	ctx, cancel := context.WithTimeout(c.t.Context(), wait)
	defer cancel()
	c.must(lab.Poll(ctx, func() (bool, error) {
		u, err := mailboxtest.Login(c.boxes.IMAPAddr(), moved, lab.Password)
		if err == nil {
			u.Close()
		}
		return err != nil, nil
	}))
	home := filepath.Join(filepath.Dir(c.boxes.ConfigPath()), "mail")
	c.must(os.Rename(filepath.Join(home, moved), filepath.Join(home, "renamed@lab.test")))
}

// pop takes all mail of a user away by POP3.
func (c *campaign) pop(user string) {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.boxes.POP3Addr())
	c.must(err)
	defer func() { _ = conn.Close() }()
	c.must(conn.SetDeadline(time.Now().Add(wait)))
	r := bufio.NewReader(conn)
	commands := []string{"", "USER " + user, "PASS " + lab.Password, "DELE 1", "DELE 2", "DELE 3", "DELE 4", "DELE 5", "QUIT"}
	for _, cmd := range commands {
		if cmd != "" {
			_, err := io.WriteString(conn, cmd+"\r\n")
			c.must(err)
		}
		line, err := r.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, "+OK") {
			c.t.Fatalf("POP3 %s: %q, %v", cmd, line, err)
		}
	}
}

func (c *campaign) holders() []string {
	return append(readers(), forwarder, friend, quoted, footed, deleter, filer, popper, late)
}

// mail gives all mail of those who have a mailbox still.
func (c *campaign) mail() map[string][]string {
	c.t.Helper()
	all := map[string][]string{}
	for _, user := range c.holders() {
		all[user] = c.carrying(user, "")
	}
	return all
}

// bad mail that is left, by user.
func (c *campaign) left() map[string]int {
	c.t.Helper()
	left := map[string]int{}
	for _, user := range c.holders() {
		for _, m := range c.everything(user) {
			if bytes.Contains(m.Raw, []byte(campaignURL)) || bytes.Contains(m.Raw, []byte("Please pay at")) {
				left[user]++
			}
		}
	}
	return left
}

// A campaign is pulled out of fifty mailboxes, however it got there and whatever
// became of it, and put back.
func TestACampaignIsPulledFromEveryMailboxAndPutBack(t *testing.T) {
	if testing.Short() {
		t.Skip("some 400 deliveries through Postfix and Dovecot")
	}
	t.Parallel()
	for _, b := range []backend{viaIMAP(), viaDoveadm(), viaMaildir()} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			c := newCampaign(t)
			c.startPulls(b)
			c.deliver()
			c.live()
			before := c.mail()

			c.write("lists/block/late.txt", campaignURL+"/*\n")
			id := c.onlyIncident().ID
			c.late.open.Store(true)
			_, err := c.postfix.Command(t.Context(), "postqueue", "-f")
			c.must(err)
			c.idle()
			i := c.settled(id)
			c.checkOutcomes(i)
			if left := c.left(); len(left) != 1 || left[footed] != 5 {
				t.Errorf("left before the approval: %v", left)
			}
			// A person looks at those with a footer, and approves.
			approve := []string{"incident", "approve", id, "--reason", "only a footer was added"}
			for _, d := range c.affected(id) {
				if d.Outcome == "differs" {
					approve = append(approve, "--delivery", d.ID)
				}
			}
			c.weirCmd(approve...)
			i = c.settled(id)
			if left := c.left(); len(left) != 0 {
				t.Errorf("left after the approval: %v; %+v", left, i)
			}
			for _, user := range readers()[:10] {
				if len(c.carrying(user, forgedText)) != 1 || len(c.carrying(user, innocentText)) != 1 {
					t.Errorf("%s lost what is none of the campaign's", user)
				}
			}

			c.weirCmd("incident", "restore", id, "--reason", "a false alarm", "--override")
			i = c.settled(id)
			if i.Counts["pulled"] != 0 || i.Counts["failed"] != 0 {
				t.Errorf("after the restore: %+v", i)
			}
			after := c.mail()
			for user, want := range before {
				got := after[user]
				if user == late { // delivered in between
					if len(got) != 5 {
						t.Errorf("%s has %d", user, len(got))
					}
					continue
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s had\n  %s\nand has\n  %s", user, strings.Join(want, "\n  "), strings.Join(got, "\n  "))
				}
			}
			c.weirCmd("audit", "verify")
		})
	}
}

// checkOutcomes compares what became of each delivery with what had to.
func (c *campaign) checkOutcomes(i incident) {
	c.t.Helper()
	want := map[string]string{"popped": "out-of-reach", "deleted": "already-gone", "moved": "mailbox-missing", "footed": "differs"}
	counts := map[string]int{}
	for _, d := range c.affected(i.ID) {
		kind, _, _ := strings.Cut(d.Subject, "-")
		expect := want[kind]
		switch {
		case kind == "forged": // under a name that was used: that is no more than a hint
			if d.Outcome != "pending" || d.Waits == "" {
				c.t.Errorf("%s to %s: %+v", d.Subject, d.Address, d)
			}
			continue
		case strings.HasSuffix(d.Address, "@outside.test"):
			expect = "out-of-reach"
		case expect == "":
			expect = "pulled"
		}
		counts[kind]++
		if d.Outcome != expect {
			c.t.Errorf("%s to %s (%s): %s, want %s: %s", d.Subject, d.Address, d.Status, d.Outcome, expect, d.Detail)
		}
	}
	for kind, n := range map[string]int{"direct": 100, "team": 100, "list": 100, "noid": 10, "quoted": 10, "forward": 15, "file": 5, "footed": 5, "twice": 10, "popped": 5, "deleted": 5, "moved": 5, "late": 5, "more": 10} {
		if counts[kind] != n {
			c.t.Errorf("%d deliveries of %s, want %d", counts[kind], kind, n)
		}
	}
}
