// Package pull runs the sidecar's loop on the real mailboxes of a Dovecot, with
// the configuration that quarantine/pull/README.md gives to an administrator.
package pull

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/mailbox/imap"
	"github.com/weirmail/weir/quarantine/mailbox/mailboxtest"
	"github.com/weirmail/weir/quarantine/pull/pulltest"
)

const (
	probe  = "probe@lab.test"
	master = "weir-pull"
	secret = "a password of the sidecar's"
)

// maxUsers is how many users the suite needs at most.
const maxUsers = 400

// site is a Dovecot with users for every test.
type site struct {
	*lab.Dovecot
	lab  *lab.Lab
	dir  string
	next int
}

func start(t testing.TB) *site {
	t.Helper()
	l := lab.Start(t, lab.NeedDovecot)
	s := &site{lab: l, dir: l.Dir()}
	users := []string{probe}
	for i := range maxUsers {
		users = append(users, user(i))
	}
	config := s.readme(t)
	for name, text := range config {
		if name == "dovecot.conf" {
			continue
		}
		if err := os.WriteFile(s.etc(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := l.Dovecot(lab.DovecotOptions{Users: users, Config: config["dovecot.conf"]})
	if err != nil {
		t.Fatal(err)
	}
	s.Dovecot = d
	return s
}

func (s *site) etc(name string) string { return filepath.Join(s.dir, name) }

var block = regexp.MustCompile("(?s)```\n# /etc/dovecot/([a-z.-]+)\n(.*?)```")

// readme gives the files of Dovecot's configuration that the page for
// administrators shows, with the paths of this site in them.
func (s *site) readme(t testing.TB) map[string]string {
	t.Helper()
	page, err := os.ReadFile("../../../../quarantine/pull/README.md")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, m := range block.FindAllStringSubmatch(string(page), -1) {
		text := strings.ReplaceAll(m[2], "/etc/dovecot/", s.dir+"/")
		text = strings.ReplaceAll(text, "{ARGON2ID}…", "{PLAIN}"+secret)
		files[m[1]] += text
	}
	for _, name := range []string{"dovecot.conf", "master-users", "acls"} {
		if files[name] == "" {
			t.Fatalf("the page shows no %s: %v", name, files)
		}
	}
	return files
}

func user(i int) string { return fmt.Sprintf("user%d@lab.test", i) }

func (s *site) newUser() string {
	s.next++
	return user(s.next - 1)
}

func (s *site) imap(t testing.TB, change func(*imap.Options)) *imap.Backend {
	t.Helper()
	o := imap.Options{
		Address: s.IMAPAddr(), Security: imap.Plaintext, Method: imap.Login, Master: master, Probe: probe, Timeout: 20 * time.Second,
		Secret: func(context.Context, string) (string, error) { return secret, nil },
	}
	if change != nil {
		change(&o)
	}
	b, err := imap.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// store gives the mailboxes to the suite.
func (s *site) store(b mailbox.Backend) pulltest.Store {
	return pulltest.Store{Backend: b, NewUser: func(t *testing.T) (string, pulltest.User) {
		if s.next == maxUsers {
			t.Fatal("there are no more users")
		}
		login := s.newUser()
		return login, &client{t: t, s: s, login: login}
	}}
}

// client is a user's mail client. It connects for each thing that it does.
type client struct {
	t     *testing.T
	s     *site
	login string
}

func (c *client) do(f func(*mailboxtest.User) error) error {
	u, err := mailboxtest.Login(c.s.IMAPAddr(), c.login, lab.Password)
	if err != nil {
		return err
	}
	defer u.Close()
	return f(u)
}

// Put implements pulltest.User.
func (c *client) Put(folder string, raw []byte, date time.Time, marks ...string) error {
	return c.do(func(u *mailboxtest.User) error {
		_, _ = u.Do("CREATE %q", folder)
		return u.Append(folder, raw, date, marks...)
	})
}

// All implements pulltest.User.
func (c *client) All() (all []pulltest.Mail, err error) {
	err = c.do(func(u *mailboxtest.User) error {
		mails, err := u.All()
		for _, m := range mails {
			all = append(all, pulltest.Mail{Folder: m.Folder, Raw: m.Raw, Date: m.Date, Marks: m.Marks})
		}
		return err
	})
	return all, err
}

// Move implements pulltest.User.
func (c *client) Move(text, from, to string) error {
	return c.do(func(u *mailboxtest.User) error {
		if _, err := u.Do("SELECT %q", from); err != nil {
			return err
		}
		found, err := u.Do("UID SEARCH TEXT %q", text)
		if err != nil {
			return err
		}
		for _, r := range found {
			words := r.Words()
			if len(words) < 3 || words[1] != "SEARCH" {
				continue
			}
			uids := strings.Join(words[2:], ",")
			if to != "" {
				_, _ = u.Do("CREATE %q", to)
				_, err = u.Do("UID MOVE %s %q", uids, to)
				return err
			}
			_, err1 := u.Do(`UID STORE %s +FLAGS.SILENT (\Deleted)`, uids)
			_, err2 := u.Do("UID EXPUNGE %s", uids)
			return errors.Join(err1, err2)
		}
		return nil
	})
}

// noComplaints checks that Dovecot found nothing wrong with its mailboxes.
func (s *site) noComplaints(t *testing.T) {
	t.Helper()
	log, err := os.ReadFile(s.LogPath())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "Error:") || strings.Contains(line, "Panic:") {
			t.Errorf("Dovecot: %s", line)
		}
	}
}

func TestPullDoesOnDovecotWhatItPromises(t *testing.T) {
	t.Parallel()
	s := start(t)
	pulltest.Suite(t, s.store(s.imap(t, nil)))
	s.noComplaints(t)
}

// The master user of the page for administrators may do what pulls need, and
// nothing that they don't.
func TestTheMasterUserHasNoMoreRightsThanItNeeds(t *testing.T) {
	t.Parallel()
	s := start(t)
	login := s.newUser()
	owner := &client{t: t, s: s, login: login}
	if err := owner.Put("Work", []byte("Subject: x\r\n\r\nhello\r\n"), time.Now()); err != nil {
		t.Fatal(err)
	}
	u, err := mailboxtest.Login(s.IMAPAddr(), login+"*"+master, secret)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for _, command := range []string{"SELECT Work", "UID FETCH 1 (BODY.PEEK[])"} {
		if _, err := u.Do("%s", command); err != nil {
			t.Errorf("%s: %v", command, err)
		}
	}
	for _, command := range []string{"CREATE Secret", "DELETE Work", "RENAME Work Play", "SETACL Work anyone lr", "GETACL Work"} {
		if _, err := u.Do("%s", command); err == nil {
			t.Errorf("the master user may %s", command)
		}
	}
	if u, err := mailboxtest.Login(s.IMAPAddr(), master, secret); err == nil {
		u.Close()
		t.Error("the master user has a mailbox of its own")
	}
	if err := pop3(s.POP3Addr(), login+"*"+master, secret); err == nil {
		t.Error("the master user gets in by POP3")
	}
	if err := pop3(s.POP3Addr(), login, lab.Password); err != nil {
		t.Errorf("its owner does not: %v", err)
	}
}

// pop3 logs in.
func pop3(addr, login, password string) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	answer := make([]byte, 512)
	for _, say := range []string{"", "USER " + login, "PASS " + password} {
		if say != "" {
			if _, err := fmt.Fprintf(conn, "%s\r\n", say); err != nil {
				return err
			}
		}
		n, err := conn.Read(answer)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(string(answer[:n]), "+OK") {
			return fmt.Errorf("%s: %q", say, answer[:n])
		}
	}
	return nil
}

func withCancel(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(context.WithoutCancel(t.Context()))
}
