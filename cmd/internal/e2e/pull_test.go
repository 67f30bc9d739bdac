package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/quarantine/mailbox/mailboxtest"
)

// A master user logs in as USER*sidecar.
const masterConf = `
auth_master_user_separator = *
auth_failure_delay = 0
passdb {
  driver = passwd-file
  args = %[1]s/master-users
  master = yes
  result_success = continue
}
`

// backend is how a sidecar gets into the mailboxes.
type backend struct {
	name   string
	store  func(s *site) string // the section [[store]]
	asRoot bool                 // it works on the files of many users
}

// viaIMAP and the others are the ways into Dovecot's mailboxes.
func viaIMAP() backend {
	return backend{name: "imap", store: func(s *site) string {
		return fmt.Sprintf("type = \"imap\"\naddress = %q\nsecurity = \"plaintext\"\nauth = \"master\"\nmaster = \"sidecar\"\nsecret_file = %q\nprobe = %q\n",
			s.boxes.IMAPAddr(), filepath.Join(s.dir, "sidecar.secret"), s.probe)
	}}
}

func viaDoveadm() backend {
	return backend{name: "doveadm", store: func(s *site) string {
		key := s.write("doveadm.key", lab.DoveadmKey+"\n")
		s.must(errors.Join(os.Chmod(key, 0o600), os.Chown(key, nobody, nobody)))
		return viaIMAP().store(s) + fmt.Sprintf("doveadm_address = %q\ndoveadm_security = \"plaintext\"\ndoveadm_key_file = %q\n", s.boxes.DoveadmAddr(), key)
	}}
}

func viaMaildir() backend {
	return backend{name: "maildir", asRoot: true, store: func(s *site) string {
		return fmt.Sprintf("type = \"maildir\"\nroot = %q\nlayout = \"%%u/Maildir\"\n", filepath.Join(filepath.Dir(s.boxes.ConfigPath()), "mail"))
	}}
}

// forPulls gives options for a site whose mailboxes a sidecar reaches.
func forPulls(o options) options {
	o.noStart = true
	o.dovecot = masterConf
	return o
}

// startPulls starts the daemon with delivery logs, and a sidecar.
func (s *site) startPulls(b backend) {
	s.t.Helper()
	s.followLogs()
	s.start()
	s.startSidecar(b)
}

func (s *site) startSidecar(b backend) {
	s.t.Helper()
	s.startSidecarOf(fmt.Sprintf("address = %q\n", "unix:"+filepath.Join(s.dir, "control.sock")), b)
}

// startSidecarOf starts a sidecar with this section [[daemon]].
func (s *site) startSidecarOf(daemon string, b backend) {
	s.t.Helper()
	secret := s.write("sidecar.secret", masterSecret+"\n")
	s.must(os.Chmod(secret, 0o600))
	who := uint32(nobody)
	if b.asRoot {
		who = 0
	}
	s.must(os.Chown(secret, int(who), int(who)))
	config := s.write("pull.toml", fmt.Sprintf("[[daemon]]\n%s[[store]]\nmatch = [\"*\"]\n%s[metrics]\nlisten = %q\n",
		daemon, b.store(s), "unix:"+filepath.Join(s.dir, "pull-metrics.sock")))
	if s.sidecar != nil {
		s.must(s.sidecar.Start())
		return
	}
	var err error
	s.sidecar, err = s.lab.Program(lab.ProgramOptions{
		Name: "weir-pull", Args: []string{program, "pull", "--config", config}, User: who, Group: who,
		Ready: "unix:" + filepath.Join(s.dir, "pull-metrics.sock"),
	})
	s.must(err)
}

const masterSecret = "master-password"

// client opens a user's mailbox as a mail client.
func (s *site) imap(user string) *mailboxtest.User {
	s.t.Helper()
	u, err := mailboxtest.Login(s.boxes.IMAPAddr(), user, lab.Password)
	s.must(err)
	s.t.Cleanup(u.Close)
	return u
}

// everything gives all mail of a user, as a mail client shows it.
func (s *site) everything(user string) []mailboxtest.Mail {
	s.t.Helper()
	u, err := mailboxtest.Login(s.boxes.IMAPAddr(), user, lab.Password)
	s.must(err)
	defer u.Close()
	all, err := u.All()
	s.must(err)
	return all
}

// carrying gives those of a user's messages that hold a text, each as one line
// that tells all that a user can see of it.
func (s *site) carrying(user, text string) []string {
	s.t.Helper()
	var lines []string
	for _, m := range s.everything(user) {
		if strings.Contains(string(m.Raw), text) {
			lines = append(lines, m.String())
		}
	}
	slices.Sort(lines)
	return lines
}

// incident is what `weir incident list --json` says of one.
type incident struct {
	ID, Title, Key, State string
	Messages, Waits       int
	Pending               int
	Counts                map[string]int
}

func (s *site) incidents() []incident {
	s.t.Helper()
	var page struct{ Incidents []incident }
	s.must(json.Unmarshal(s.weirCmd("incident", "list", "--json", "--state", "all"), &page))
	return page.Incidents
}

// onlyIncident waits until there is one, and gives it.
func (s *site) onlyIncident() incident {
	s.t.Helper()
	s.eventually("an incident", func() (bool, error) { return len(s.incidents()) > 0, nil })
	all := s.incidents()
	if len(all) != 1 {
		s.t.Fatalf("%d incidents: %+v", len(all), all)
	}
	return all[0]
}

// affected is what `weir incident deliveries --json` says of one copy.
type affected struct {
	ID, Subject, Recipient, Address, Mailbox, Status, Known, Outcome, Detail, Waits string
	Seen, Answered                                                                  bool
	Items                                                                           []string
}

func (s *site) affected(id string) []affected {
	s.t.Helper()
	var page struct{ Deliveries []affected }
	s.must(json.Unmarshal(s.weirCmd("incident", "deliveries", id, "--json"), &page))
	slices.SortFunc(page.Deliveries, func(a, b affected) int {
		return cmp.Or(strings.Compare(a.Subject, b.Subject), strings.Compare(a.Address, b.Address))
	})
	return page.Deliveries
}

// settled waits until nothing of an incident is under way, and gives it: all has
// its outcome, or waits for a person.
func (s *site) settled(id string) incident {
	s.t.Helper()
	var under []affected
	// What a sidecar had that was killed is given again when its leases run out.
	const lease = 2 * time.Minute
	ctx, cancel := context.WithTimeout(s.t.Context(), lease+wait)
	defer cancel()
	err := lab.Poll(ctx, func() (bool, error) {
		all := s.affected(id) // none at first: an incident is opened, and then extended
		found := len(all) > 0
		under = slices.DeleteFunc(all, func(d affected) bool {
			return d.Waits != "" || !slices.Contains([]string{"pending", "in-transit", "unreachable", "restoring"}, d.Outcome)
		})
		return found && len(under) == 0, nil
	})
	if err != nil {
		s.t.Fatalf("the incident does not settle: %+v", under)
	}
	for _, i := range s.incidents() {
		if i.ID == id {
			return i
		}
	}
	s.t.Fatalf("incident %s is gone", id)
	return incident{}
}

// What is listed after it was delivered is out of every mailbox, and comes back
// as it was.
func TestWhatIsListedLaterIsPulledAndCanBePutBack(t *testing.T) {
	t.Parallel()
	for _, b := range []backend{viaIMAP(), viaDoveadm(), viaMaildir()} {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, forPulls(options{aliases: map[string]string{"team@lab.test": "alice@lab.test, bob@lab.test"}}))
			s.startPulls(b)
			s.send(letter("invoice", "pay at https://evil.test/pay", "team@lab.test", "carol@lab.test", "carol+ext@lab.test"))
			s.send(letter("other", "nothing to see", "team@lab.test", "carol@lab.test"))
			before := map[string][]string{}
			for user, n := range map[string]int{"alice@lab.test": 2, "bob@lab.test": 2, "carol@lab.test": 3} {
				s.mailbox(user, n)
				before[user] = s.carrying(user, "")
			}
			s.write("lists/block/late.txt", "https://evil.test/pay\n")
			i := s.settled(s.onlyIncident().ID)
			if i.Counts["pulled"] != 4 || i.State != "done" {
				t.Errorf("the incident: %+v\n%+v", i, s.affected(i.ID))
			}
			for user := range before {
				if left := s.carrying(user, "evil.test"); len(left) != 0 {
					t.Errorf("%s still has %v", user, left)
				}
				if others := s.carrying(user, "nothing to see"); len(others) != 1 {
					t.Errorf("%s has %d of the other message", user, len(others))
				}
			}
			s.weirCmd("incident", "restore", i.ID, "--reason", "it was a false alarm", "--override")
			if i = s.settled(i.ID); i.Counts["restored"] != 4 {
				t.Errorf("after the restore: %+v\n%+v", i, s.affected(i.ID))
			}
			for user, want := range before {
				if got := s.carrying(user, ""); !slices.Equal(got, want) {
					t.Errorf("%s had\n  %s\nand has\n  %s", user, strings.Join(want, "\n  "), strings.Join(got, "\n  "))
				}
			}
			// Nor is it pulled again by the same entry.
			s.write("lists/block/late.txt", "https://evil.test/pay note=\"again\"\n")
			s.weirCmd("reload")
			if i := s.settled(i.ID); i.Counts["restored"] != 4 || len(s.incidents()) != 1 {
				t.Errorf("after another edit: %+v", s.incidents())
			}
		})
	}
}
