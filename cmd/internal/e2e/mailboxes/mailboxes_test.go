// Package mailboxes runs the conformance suite of mailbox.Backend on the real
// mailboxes of a Dovecot.
package mailboxes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/mailbox/imap"
	"github.com/weirmail/weir/quarantine/mailbox/mailboxtest"
	"github.com/weirmail/weir/quarantine/mailbox/maildir"
)

// probe is a user whose mailbox is there, and who is in no test.
const probe = "probe@lab.test"

// A master user logs in as USER*sidecar; quotas are in a file of their own.
// Failed logins are not made to wait.
const furtherConf = `
auth_master_user_separator = *
auth_failure_delay = 0
passdb {
  driver = passwd-file
  args = %[1]s/master-users
  master = yes
  result_success = continue
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
mail_plugins = $mail_plugins quota
plugin {
  quota = count:User quota
  quota_vsizes = yes
}
namespace public {
  type = public
  separator = /
  prefix = Public/
  location = maildir:%[1]s/public
  subscriptions = no
}
!include_try %[1]s/quota.conf
`

// site is a Dovecot with users for every test.
type site struct {
	*lab.Dovecot
	dir  string
	next int
}

// start starts a site; more is added to its dovecot.conf, %[1]s being its folder.
func start(t testing.TB, more ...string) *site {
	l := lab.Start(t, lab.NeedDovecot)
	users := []string{probe}
	for i := range 60 {
		users = append(users, user(i))
	}
	shared := filepath.Join(l.Dir(), "public")
	if err := errors.Join(os.Mkdir(shared, 0o777), os.Chmod(shared, 0o777)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(l.Dir(), "master-users"), "sidecar:{PLAIN}master-password\n")
	d, err := l.Dovecot(lab.DovecotOptions{Users: users, Config: fmt.Sprintf(furtherConf+strings.Join(more, ""), l.Dir())})
	if err != nil {
		t.Fatal(err)
	}
	return &site{Dovecot: d, dir: l.Dir()}
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func user(i int) string { return fmt.Sprintf("user%d@lab.test", i) }

func (s *site) newUser(*testing.T) string {
	s.next++
	return user(s.next - 1)
}

func (s *site) quota(t *testing.T, kib int) {
	text := ""
	if kib > 0 {
		text = fmt.Sprintf("plugin {\n  quota_rule = *:storage=%dK\n}\n", kib)
	}
	write(t, filepath.Join(s.dir, "quota.conf"), text)
	before := s.reloads(t)
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := lab.Poll(ctx, func() (bool, error) { return s.reloads(t) > before, nil }); err != nil {
		t.Fatal(err)
	}
}

// reloads counts how often Dovecot said that it reads its configuration again.
func (s *site) reloads(t *testing.T) int {
	t.Helper()
	log, err := os.ReadFile(s.LogPath())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), "SIGHUP received")
}

// noComplaints checks that Dovecot found nothing wrong with its mailboxes, besides
// what holds one of some texts.
func (s *site) noComplaints(t *testing.T, besides ...string) {
	t.Helper()
	log, err := os.ReadFile(s.LogPath())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		known := slices.ContainsFunc(besides, func(text string) bool { return strings.Contains(line, text) })
		if strings.Contains(line, "Error:") && !known || strings.Contains(line, "Panic:") {
			t.Errorf("Dovecot: %s", line)
		}
	}
}

func (s *site) imapOptions() imap.Options {
	return imap.Options{
		Address: s.IMAPAddr(), Security: imap.Plaintext, Method: imap.Login, Master: "sidecar", Probe: probe,
		Secret: func(context.Context, string) (string, error) { return "master-password", nil },
	}
}

func (s *site) imap(t testing.TB, change func(*imap.Options)) mailbox.Backend {
	t.Helper()
	o := s.imapOptions()
	if change != nil {
		change(&o)
	}
	b, err := imap.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestIMAPDoesWhatABackendHasTo(t *testing.T) {
	t.Parallel()
	s := start(t)
	mailboxtest.Suite(t, mailboxtest.Store{
		Backend: s.imap(t, nil), IMAP: s.IMAPAddr(), LMTP: s.LMTPAddr(), Password: lab.Password,
		NewUser: s.newUser, Stop: s.Stop, Start: s.Start, Quota: s.quota,
	})
	s.noComplaints(t)
}

func TestMaildirDoesWhatABackendHasTo(t *testing.T) {
	t.Parallel()
	s := start(t)
	b, err := maildir.New(maildir.Options{Root: filepath.Join(filepath.Dir(s.ConfigPath()), "mail"), Layout: "%u/Maildir"})
	if err != nil {
		t.Fatal(err)
	}
	mailboxtest.Suite(t, mailboxtest.Store{
		Backend: b, IMAP: s.IMAPAddr(), LMTP: s.LMTPAddr(), Password: lab.Password, NewUser: s.newUser, Exact: true,
	})
	s.noComplaints(t)
}

func TestMailThatOthersShareIsLeftToItsOwner(t *testing.T) {
	t.Parallel()
	s := start(t)
	user := s.newUser(t)
	client, err := mailboxtest.Login(s.IMAPAddr(), user, lab.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	raw := []byte("Message-ID: <the-target@example.org>\r\n\r\nhello\r\n")
	if _, err := client.Do("CREATE Public/board"); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"Public/board", "INBOX"} {
		if err := client.Append(folder, raw, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range map[string]mailbox.Backend{"imap": s.imap(t, nil), "doveadm": s.doveadm(t, nil)} {
		if found, err := find(t, b, user, mailbox.Target{MessageID: "the-target@example.org"}); err != nil || !slices.Equal(found, []string{"INBOX"}) {
			t.Errorf("%s: found in %q, %v", name, found, err)
		}
	}
}

// find gives the folders of the copies that a backend finds, in order, and the
// errors on the way.
func find(t testing.TB, b mailbox.Backend, user string, target mailbox.Target) (folders []string, errs error) {
	t.Helper()
	account, err := b.Open(t.Context(), user)
	if err != nil {
		return nil, err
	}
	defer func() { _ = account.Close() }()
	for c, err := range account.Find(t.Context(), []mailbox.Target{target}) {
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		folders = append(folders, c.Copy.Folder)
	}
	slices.Sort(folders)
	return folders, errs
}

// A wrong password is not a mailbox that is not there, and a login as oneself by
// AUTHENTICATE PLAIN works like that of a master user.
func TestLoginsAreTakenAndRefusedAsTheyShould(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, c := range map[string]struct {
		change func(*imap.Options)
		want   error
	}{
		"a master user": {func(*imap.Options) {}, nil},
		"PLAIN":         {func(o *imap.Options) { o.Method = imap.Plain }, nil},
		"a wrong password": {func(o *imap.Options) {
			o.Secret = func(context.Context, string) (string, error) { return "wrong", nil }
		}, mailbox.ErrRefused},
		"no master": {func(o *imap.Options) { o.Master = "nobody" }, mailbox.ErrRefused},
		"a user's own password": {func(o *imap.Options) {
			o.Master = ""
			o.Secret = func(context.Context, string) (string, error) { return lab.Password, nil }
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := s.imap(t, c.change).Open(t.Context(), user(1))
			if err == nil {
				_ = a.Close()
			}
			if !errors.Is(err, c.want) || errors.Is(err, mailbox.ErrNoMailbox) {
				t.Errorf("error %v", err)
			}
		})
	}
}
