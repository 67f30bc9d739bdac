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
	"github.com/weirmail/weir/quarantine/mailbox/doveadm"
	"github.com/weirmail/weir/quarantine/mailbox/imap"
	"github.com/weirmail/weir/quarantine/mailbox/mailboxtest"
)

func (s *site) doveadm(t testing.TB, change func(*doveadm.Options)) mailbox.Backend {
	t.Helper()
	o := doveadm.Options{
		Address: s.DoveadmAddr(), Security: imap.Plaintext, IMAP: s.imapOptions(),
		Key: func(context.Context) (string, error) { return lab.DoveadmKey, nil },
	}
	if change != nil {
		change(&o)
	}
	b, err := doveadm.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDoveadmDoesWhatABackendHasTo(t *testing.T) {
	t.Parallel()
	s := start(t)
	mailboxtest.Suite(t, mailboxtest.Store{
		Backend: s.doveadm(t, nil), IMAP: s.IMAPAddr(), LMTP: s.LMTPAddr(), Password: lab.Password,
		NewUser: s.newUser, Stop: s.Stop, Start: s.Start, Quota: s.quota,
	})
	// doveadm is asked for nobody's mailbox, and while the rest of Dovecot ends.
	s.noComplaints(t, "User doesn't exist", "userdb lookup(", "User lookup failed", "Command mailbox status failed")
}

// theTarget is a message that is looked for, and its names.
const (
	theID     = "the-target@example.org"
	theWeirID = "01JNB3V2Q8Z5R4T6Y7W8X9A0BC"
	theTarget = "Message-ID: <" + theID + ">\r\nX-Weir-ID: " + theWeirID + ".N.M\r\n\r\nhello\r\n"
)

// put makes folders of a user and puts the target into each.
func (s *site) put(t testing.TB, user string, folders ...string) *mailboxtest.User {
	t.Helper()
	client, err := mailboxtest.Login(s.IMAPAddr(), user, lab.Password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	for _, f := range folders {
		if f != "INBOX" && f != "Junk" {
			if _, err := client.Do("CREATE %q", f); err != nil {
				t.Fatal(err)
			}
		}
		if err := client.Append(f, []byte(theTarget), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	return client
}

// What Dovecot's log says of a login by IMAP, and of a search by doveadm.
const (
	aLogin  = "Master user logging in"
	aSearch = "Executing command 'search'"
)

// logged counts what Dovecot did, of what its log tells of a user.
func (s *site) logged(t testing.TB, what, user string) (n int) {
	t.Helper()
	log, err := os.ReadFile(s.LogPath())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, what) && strings.Contains(line, user) {
			n++
		}
	}
	return n
}

// A virtual folder shows mail of other folders under numbers of its own, which in
// those folders are of other mail.
const virtualConf = `
mail_plugins = $mail_plugins virtual
namespace mine {
  prefix = Mine/
  separator = /
  location = maildir:%[1]s/mine
}
namespace virtual {
  prefix = Virtual/
  separator = /
  location = virtual:%[1]s/virtual:INDEX=%[1]s/index
}
`

func TestDoveadmTellsVirtualFoldersFromRealOnes(t *testing.T) {
	t.Parallel()
	s := start(t, virtualConf)
	for _, dir := range []string{"mine", "virtual/all", "index"} {
		dir = filepath.Join(s.dir, dir)
		if err := errors.Join(os.MkdirAll(dir, 0o777), os.Chmod(dir, 0o777)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(s.dir, "virtual/all/dovecot-virtual"), "*\n  all\n")
	user := s.newUser(nil)
	client := s.put(t, user, "INBOX", "Junk", "Mine/own", "a/b")
	for i := range 20 {
		if err := client.Append("INBOX", fmt.Appendf(nil, "Message-ID: <other-%d@example.org>\r\n\r\nx\r\n", i), time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"INBOX", "Junk", "Mine/own", "a/b"}
	target := mailbox.Target{MessageID: theID}
	byIMAP, err := find(t, s.imap(t, nil), user, target)
	if found, findErr := find(t, s.doveadm(t, nil), user, target); err != nil || findErr != nil || !slices.Equal(found, byIMAP) || len(found) <= len(want) {
		t.Errorf("with the virtual folder, found in %q, %v; by IMAP in %q, %v", found, findErr, byIMAP, err)
	}
	for _, skip := range []string{"Virtual", "Virtual/all"} {
		b := s.doveadm(t, func(o *doveadm.Options) { o.IMAP.Skip = []string{skip} })
		if found, err := find(t, b, user, target); err != nil || !slices.Equal(found, want) {
			t.Errorf("without %s, found in %q, %v", skip, found, err)
		}
	}
}

func TestDoveadmLogsInToNoMailboxWhereNothingIs(t *testing.T) {
	t.Parallel()
	s := start(t)
	user := s.newUser(nil)
	s.put(t, user, "Junk")
	b := s.doveadm(t, nil)
	for _, id := range []string{
		"nowhere-to-be-found@example.org", `x" ALL OR ALL <a@b>`, "not-mailbox-INBOX", "-h@example.org", "$HOME@example.org", "%u%n%d@example.org",
		"{1000}@example.org", "~/../../etc", "1:*,1:*,1:*", "a=b&user=*", "header-Message-ID",
		strings.Repeat("long", 1000), "日本語日本語日本語", "[[\"search\"", "'; drop table mails; --", "uid/1/2/3", "*******", "\\\\\\\\\\",
	} {
		if found, err := find(t, b, user, mailbox.Target{MessageID: id, WeirID: id}); err != nil || len(found) > 0 {
			t.Errorf("%.40q: found in %q, %v", id, found, err)
		}
	}
	// Another user, since Dovecot's log may be behind with the lines of the first.
	other := s.newUser(nil)
	s.put(t, other, "Junk")
	found, err := find(t, b, other, mailbox.Target{MessageID: theID, WeirID: theWeirID})
	if err != nil || !slices.Equal(found, []string{"Junk"}) {
		t.Errorf("found in %q, %v", found, err)
	}
	for began := time.Now(); s.logged(t, aLogin, other) == 0 || s.logged(t, aSearch, other) == 0; time.Sleep(time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("the log does not tell of the second user")
		}
	}
	if logins, searches := s.logged(t, aLogin, other), s.logged(t, aSearch, other); logins != 1 || searches != 1 {
		t.Errorf("%d logins and %d searches", logins, searches)
	}
	if n := s.logged(t, aLogin, user); n > 0 {
		t.Errorf("%d logins of who has nothing", n)
	}
	s.noComplaints(t)
}

// A copy that both searches hit, each for another reason, is one copy.
func TestDoveadmGivesACopyOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	user := s.newUser(nil)
	client := s.put(t, user)
	forged := strings.Replace(theTarget, theWeirID, "x"+theWeirID, 1)
	if err := client.Append("INBOX", []byte(forged), time.Now()); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]mailbox.Backend{"imap": s.imap(t, nil), "doveadm": s.doveadm(t, nil)} {
		if found, err := find(t, b, user, mailbox.Target{MessageID: theID, WeirID: theWeirID}); err != nil || len(found) != 1 {
			t.Errorf("%s: found in %q, %v", name, found, err)
		}
	}
}

// The API alone opens a mailbox and finds nothing in it. Whoever wants to know
// whether IMAP lets the sidecar in asks for content that nothing can have.
func TestDoveadmTriesIMAPByAskingForContent(t *testing.T) {
	t.Parallel()
	s := start(t)
	user := s.newUser(nil)
	s.put(t, user, "INBOX")
	nothing := mailbox.Target{MessageID: "nowhere-to-be-found@example.org", Body: [32]byte{1}, Size: 1 << 50}
	for secret, want := range map[string]error{"master-password": nil, "wrong": mailbox.ErrRefused} {
		b := s.doveadm(t, func(o *doveadm.Options) {
			o.IMAP.Secret = func(context.Context, string) (string, error) { return secret, nil }
		})
		if found, err := find(t, b, user, nothing); len(found) > 0 || !errors.Is(err, want) {
			t.Errorf("password %s: found in %q, %v", secret, found, err)
		}
	}
}

// One folder that Dovecot cannot read makes the whole of a search fail. The rest is
// found all the same, and the folder is told.
func TestDoveadmFindsWhatIsBesideADamagedFolder(t *testing.T) {
	t.Parallel()
	s := start(t)
	user := s.newUser(nil)
	s.put(t, user, "INBOX", "Damaged", "Work")
	dir := filepath.Join(filepath.Dir(s.ConfigPath()), "mail", user, "Maildir", ".Damaged")
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	found, err := find(t, s.doveadm(t, nil), user, mailbox.Target{MessageID: theID})
	if !slices.Equal(found, []string{"INBOX", "Work"}) || err == nil || !strings.Contains(err.Error(), "Damaged") {
		t.Errorf("found in %q, %v", found, err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if found, err := find(t, s.doveadm(t, nil), user, mailbox.Target{MessageID: theID}); len(found) != 3 || err != nil {
		t.Errorf("repaired, found in %q, %v", found, err)
	}
}

// ACLs don't count for doveadm: it sees mail that IMAP does not show to a master
// user without rights. A search must not pass over that in silence.
func TestDoveadmTellsOfMailThatIMAPDoesNotShow(t *testing.T) {
	t.Parallel()
	s := start(t, "mail_plugins = $mail_plugins acl\nprotocol imap {\n  mail_plugins = $mail_plugins acl\n}\nplugin {\n  acl = vfile\n}\n")
	user := s.newUser(nil)
	s.put(t, user, "INBOX", "Work")
	found, err := find(t, s.doveadm(t, nil), user, mailbox.Target{MessageID: theID})
	if len(found) > 0 || err == nil || !strings.Contains(err.Error(), "INBOX") || !strings.Contains(err.Error(), "Work") {
		t.Errorf("found in %q, %v", found, err)
	}
}

// What the user does between two searches through one account shows.
func TestDoveadmSeesFoldersAsTheyAreNow(t *testing.T) {
	t.Parallel()
	s := start(t)
	user := s.newUser(nil)
	client := s.put(t, user, "Work")
	account, err := s.doveadm(t, nil).Open(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = account.Close() }()
	for _, c := range []struct{ command, folder string }{
		{"NOOP", "Work"}, {"RENAME Work Elsewhere", "Elsewhere"}, {"CREATE Work", "Elsewhere"}, {"RENAME Elsewhere a/b", "a/b"}, {"RENAME a \"&ZeVnLIqe-\"", "日本語/b"},
	} {
		if _, err := client.Do("%s", c.command); err != nil {
			t.Fatal(err)
		}
		var folders []string
		for found, err := range account.Find(t.Context(), []mailbox.Target{{MessageID: theID}}) {
			if err != nil {
				t.Errorf("%s: %v", c.command, err)
			}
			folders = append(folders, found.Copy.Folder)
		}
		if !slices.Equal(folders, []string{c.folder}) {
			t.Errorf("%s: found in %q", c.command, folders)
		}
	}
}

func TestDoveadmTakesItsKeyAndItsCommandsAlone(t *testing.T) {
	// The last setting counts.
	allowed := func(commands string) string { return "doveadm_allowed_commands = " + commands + "\n" }
	for name, c := range map[string]struct {
		conf, key string
		want      error
		cure      string
	}{
		"both commands":        {allowed("mailbox status,search"), lab.DoveadmKey, nil, ""},
		"every command":        {allowed(""), lab.DoveadmKey, nil, ""},
		"a wrong key":          {"", "another-key", mailbox.ErrRefused, "doveadm_api_key"},
		"no key":               {"", "", mailbox.ErrRefused, "doveadm_api_key"},
		"search alone":         {allowed("search"), lab.DoveadmKey, mailbox.ErrRefused, "doveadm_allowed_commands"},
		"mailbox status alone": {allowed("mailbox status"), lab.DoveadmKey, mailbox.ErrRefused, "doveadm_allowed_commands"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, c.conf)
			user := s.newUser(nil)
			s.put(t, user, "INBOX")
			b := s.doveadm(t, func(o *doveadm.Options) {
				o.Key = func(context.Context) (string, error) { return c.key, nil }
				o.Timeout = 20 * time.Second
			})
			found, err := find(t, b, user, mailbox.Target{MessageID: theID})
			if !errors.Is(err, c.want) || (err == nil) != (len(found) == 1) || err != nil && !strings.Contains(err.Error(), c.cure) {
				t.Errorf("found in %q, %v", found, err)
			}
		})
	}
}
