package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/cmd/internal/lab"
)

// followLogs has the daemon read the logs of the site's servers.
func (s *site) followLogs(more ...string) {
	s.t.Helper()
	logs := append([]string{}, more...)
	for _, path := range s.logPaths() {
		s.must(os.Chmod(path, 0o644)) // the daemon runs as somebody else
		logs = append(logs, fmt.Sprintf("%q", "file:"+path))
	}
	text, err := os.ReadFile(s.config)
	s.must(err)
	s.write("weir.toml", string(text)+"\n[delivery]\nlogs = ["+strings.Join(logs, ", ")+"]\n")
}

func (s *site) logPaths() []string {
	if s.sendm != nil {
		return []string{s.sendm.LogPath(), s.boxes.LogPath()}
	}
	return []string{s.postfix.LogPath(), s.boxes.LogPath()}
}

// sieveSendsTo has Sieve send mail through a listener without milters.
func (s *site) sieveSendsTo(addr string) {
	s.t.Helper()
	text, err := os.ReadFile(s.boxes.ConfigPath())
	s.must(err)
	s.must(os.WriteFile(s.boxes.ConfigPath(), append(text, "\nsubmission_host = "+addr+"\n"...), 0o644))
	s.must(s.boxes.Stop())
	s.must(s.boxes.Start())
}

// delivered is one of the deliveries in `weir journal show --json`.
type delivered struct {
	Recipient, Address, Through, Status, Mailbox, Folder, Relay, Known string
}

func (d *delivered) String() string {
	text := d.Recipient + " > " + d.Address + " " + d.Status
	if d.Through != "" {
		text += " through " + d.Through
	}
	if d.Mailbox != "" {
		text += " in " + d.Mailbox + "/" + d.Folder
	}
	return text + " by " + d.Known
}

// went waits until the deliveries of the message with a subject are these.
func (s *site) went(subject string, want ...string) []delivered {
	s.t.Helper()
	slices.Sort(want)
	var found struct {
		Entries []struct{ ID, Subject string }
	}
	s.eventually("the journal has "+subject, func() (bool, error) {
		return json.Unmarshal(s.weirCmd("journal", "search", "<"+subject+"@sender.test>", "--json"), &found) == nil && len(found.Entries) > 0, nil
	})
	first := found.Entries[len(found.Entries)-1].ID // what it led to comes later
	var entry struct{ Deliveries []delivered }
	var got []string
	ok := func() bool {
		entry.Deliveries, got = nil, nil
		s.must(json.Unmarshal(s.weirCmd("journal", "show", first, "--json"), &entry))
		for i := range entry.Deliveries {
			got = append(got, entry.Deliveries[i].String())
		}
		slices.Sort(got)
		return slices.Equal(got, want)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), wait/3)
	defer cancel()
	if lab.Poll(ctx, func() (bool, error) { return ok(), nil }) == nil {
		return entry.Deliveries
	}
	s.t.Errorf("%s went\n  %s\nwant\n  %s", subject, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	return entry.Deliveries
}

func TestTheJournalTellsWhereEachCopyWent(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{
		noStart: true,
		aliases: map[string]string{"team@lab.test": "alice@lab.test, bob@lab.test", "out@lab.test": "x@outside.test"},
		sieve: map[string]string{
			"alice@lab.test": "require [\"fileinto\", \"mailbox\"];\nif header :contains \"Subject\" \"news\" { fileinto :create \"Lists/News\"; }\n",
			"bob@lab.test":   "require [\"copy\"];\nif header :contains \"Subject\" \"away\" { redirect \"bob@outside.test\"; }\nif header :contains \"Subject\" \"both\" { redirect :copy \"bob@outside.test\"; }\nif header :contains \"Subject\" \"drop\" { discard; }\n",
		},
		postfix: func(p *lab.PostfixOptions) {
			p.Transports = map[string]string{"later@lab.test": "smtp:[127.9.9.9]:1", "thrown@lab.test": "discard:"}
			p.Listeners = append(p.Listeners, lab.PostfixListener{Name: "local", Main: map[string]string{"mynetworks": "127.0.0.0/8"}})
		},
	})
	s.sieveSendsTo(s.postfix.Addr("local"))
	s.followLogs(`"file:/nonexistent/mail.log"`)
	s.start()
	s.eventually("the missing log is a trouble", func() (bool, error) {
		out, err := s.try("status")
		return err == nil && strings.Contains(string(out), "delivery log file:/nonexistent/mail.log"), nil
	})

	s.send(letter("news", "x", "team@lab.test", "carol+ext@lab.test"))
	s.went("news",
		"team@lab.test > alice@lab.test mailbox through team@lab.test in alice@lab.test/Lists/News by session",
		"team@lab.test > bob@lab.test mailbox through team@lab.test in bob@lab.test/INBOX by session",
		"carol+ext@lab.test > carol+ext@lab.test mailbox in carol@lab.test/INBOX by session")
	s.send(letter("away", "x", "bob@lab.test"))
	s.went("away", "bob@lab.test > bob@outside.test forwarded by session", "bob@outside.test > bob@outside.test relayed by redirect")
	s.send(letter("both", "x", "bob@lab.test"))
	s.went("both", "bob@lab.test > bob@outside.test forwarded by session", "bob@lab.test > bob@lab.test mailbox in bob@lab.test/INBOX by session",
		"bob@outside.test > bob@outside.test relayed by redirect")
	s.send(letter("ends", "x", "nobody@lab.test", "later@lab.test", "thrown@lab.test", "out@lab.test", "alice@lab.test", "alice+two@lab.test"))
	ends := s.went("ends", "nobody@lab.test > nobody@lab.test bounced by queue-id", "later@lab.test > later@lab.test in-transit by queue-id",
		"thrown@lab.test > thrown@lab.test discarded by queue-id", "out@lab.test > x@outside.test relayed through out@lab.test by queue-id",
		"alice@lab.test > alice@lab.test mailbox in alice@lab.test/INBOX by session", "alice+two@lab.test > alice+two@lab.test mailbox in alice@lab.test/INBOX by session")
	for _, d := range ends {
		if d.Status == "relayed" && !strings.Contains(d.Relay, "127.") {
			t.Errorf("relayed to %q", d.Relay)
		}
	}
	s.send(letter("drop", "x", "bob@lab.test"))
	s.went("drop", "bob@lab.test > bob@lab.test discarded by session")
	if out := string(s.weirCmd("journal", "show", s.entry("news"))); !strings.Contains(out, "Where it went") || !strings.Contains(out, "alice@lab.test in Lists/News") {
		t.Errorf("journal show says\n%s", out)
	}

	// The daemon is killed and the log rotated while it is away.
	s.must(s.weir.Kill())
	log := s.postfix.LogPath()
	s.must(os.Rename(log, log+".1"))
	_, err := s.postfix.Command(t.Context(), "postfix", "reload")
	s.must(err)
	s.start()
	s.send(letter("after", "x", "carol@lab.test"))
	s.must(os.Chmod(log, 0o644))
	s.went("after", "carol@lab.test > carol@lab.test mailbox in carol@lab.test/INBOX by session")
	s.went("drop", "bob@lab.test > bob@lab.test discarded by session")
	if metrics := s.http("/metrics"); strings.Contains(metrics, "weir_delivery_gaps_total{") {
		t.Error("a gap was counted")
	}
}

// entry gives the ID of the entry of a message with this subject.
func (s *site) entry(subject string) string {
	s.t.Helper()
	var found struct{ Entries []struct{ ID string } }
	s.must(json.Unmarshal(s.weirCmd("journal", "search", "<"+subject+"@sender.test>", "--json"), &found))
	if len(found.Entries) == 0 {
		s.t.Fatalf("the journal has no %s", subject)
	}
	return found.Entries[len(found.Entries)-1].ID
}

func TestSendmailsAndDovecotsLogsAreJoined(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{noStart: true, sendmail: true, aliases: map[string]string{"team@lab.test": "alice@lab.test, bob@lab.test"},
		sieve: map[string]string{"alice@lab.test": "require [\"fileinto\", \"mailbox\"];\nif header :contains \"Subject\" \"news\" { fileinto :create \"News\"; }\n"}})
	s.followLogs()
	s.start()
	s.send(letter("news", "x", "alice@lab.test", "carol@lab.test", "nobody@lab.test", "x@outside.test"))
	s.went("news",
		"alice@lab.test > alice@lab.test mailbox in alice@lab.test/News by message-id",
		"carol@lab.test > carol@lab.test mailbox in carol@lab.test/INBOX by message-id",
		"nobody@lab.test > nobody@lab.test bounced by queue-id",
		"x@outside.test > x@outside.test relayed by queue-id")
}

// The MTA's own blind copy of a message is not for a milter to take out.
func TestACopyThatTheMTAMakesOfAHeldMessageRaisesTheAlarm(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{noStart: true, policy: boardPolicy, people: "address,groups\nteam@lab.test,board\n", aliases: map[string]string{"team@lab.test": "bob@lab.test"},
		postfix: func(p *lab.PostfixOptions) { p.Main["always_bcc"] = "carol@lab.test" }})
	s.followLogs()
	s.start()
	s.send(letter("board", "x", "team@lab.test", "alice@lab.test"))
	s.mailbox("carol@lab.test", 1)
	s.mailbox("bob@lab.test", 0)
	s.went("board", "alice@lab.test > alice@lab.test mailbox in alice@lab.test/INBOX by session", "carol@lab.test > carol@lab.test mailbox in carol@lab.test/INBOX by session")
	s.eventually("the alarm", func() (bool, error) {
		return strings.Contains(s.http("/metrics"), `weir_delivery_held_delivered_total{sure="perhaps"} 1`), nil
	})
	log, err := os.ReadFile(s.weir.OutputPath())
	s.must(err)
	if !strings.Contains(string(log), "perhaps a held recipient was delivered") || !strings.Contains(string(log), `"delivered_to": "carol@lab.test"`) {
		t.Error("the log does not tell of it")
	}
}

// The mailboxes are on another host, whose syslog daemon sends its lines.
func TestLinesOfAnotherHostAreJoinedThroughSyslog(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{noStart: true})
	listen := s.freeAddr()
	s.must(os.Chmod(s.postfix.LogPath(), 0o644))
	text := string(s.read("weir.toml"))
	s.write("weir.toml", text+fmt.Sprintf("\n[delivery]\nlogs = [%q, %q]\nsyslog_from = [\"127.0.0.0/8\"]\n", "file:"+s.postfix.LogPath(), "syslog:tcp:"+listen))
	s.start()
	s.send(letter("remote", "x", "carol+ext@lab.test"))
	s.went("remote", "carol+ext@lab.test > carol+ext@lab.test mailbox by queue-id")
	host, port, err := net.SplitHostPort(listen)
	s.must(err)
	for line := range strings.Lines(string(s.dovecotLog())) {
		// The date and the time are the file's.
		if _, line, ok := strings.Cut(strings.TrimSpace(line), " lmtp("); ok {
			out, err := exec.CommandContext(t.Context(), "logger", "--tcp", "--octet-count", "--rfc5424", "-n", host, "-P", port, "-t", "dovecot", "-p", "mail.info", "--", "lmtp("+line).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
	}
	s.went("remote", "carol+ext@lab.test > carol+ext@lab.test mailbox in carol@lab.test/INBOX by session")
}

func (s *site) dovecotLog() []byte {
	s.t.Helper()
	b, err := os.ReadFile(s.boxes.LogPath())
	s.must(err)
	return b
}
