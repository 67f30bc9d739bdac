package e2e

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
)

// from is a letter by a sender of ours to somebody here and somebody elsewhere.
func from(subject, sender string) smtptest.Mail {
	m := letter(subject, "please pay", "bob@lab.test", "partner@elsewhere.test")
	m.From = sender
	m.Data = bytes.Replace(m.Data, []byte("From: Sender <s@sender.test>"), []byte("From: Somebody <"+sender+">"), 1)
	return m
}

// loggedIn sends a message over a connection that has logged in.
func (s *site) loggedIn(user string, m smtptest.Mail) smtptest.Result {
	s.t.Helper()
	c, err := smtptest.Dial(s.t.Context(), s.postfix.Addr(""), smtptest.Options{User: user, Password: lab.Password, Timeout: wait})
	s.must(err)
	defer func() { _ = c.Close() }()
	r, err := c.Send(m)
	s.must(err)
	return r
}

// heldBy gives the newest item, which a rule has to have held for one recipient.
func (s *site) heldBy(rule, subject, to string) item {
	s.t.Helper()
	for _, i := range s.items() {
		if i.Subject == subject {
			if i.Rule != rule || !slices.Equal(i.to(), []string{to}) {
				s.t.Errorf("%s: %+v", subject, i)
			}
			return i
		}
	}
	s.t.Fatalf("%s is not held", subject)
	return item{}
}

func TestAContainedUserReachesNobodyElsewhereHoweverTheySend(t *testing.T) {
	s := newSite(t, options{
		sasl: true, people: "address;name\nalice@lab.test a.lee@lab.test;Alice Lee\n",
		postfix: fromInside,
	})
	if r := s.loggedIn("alice@lab.test", from("before", "alice@lab.test")); !r.Accepted() {
		t.Fatalf("%+v", r)
	}
	s.wentOutside(1)
	s.mailbox("bob@lab.test", 1)
	s.weirCmd("contain", "user", "alice", "--scope", "external", "--reason", "case 12")

	// The very next message, and whatever it says who sends it.
	for i, send := range []struct {
		subject string
		do      func(smtptest.Mail) smtptest.Result
		sender  string
	}{
		{"by her login", func(m smtptest.Mail) smtptest.Result { return s.loggedIn("alice@lab.test", m) }, "boss@lab.test"},
		{"by her short login", func(m smtptest.Mail) smtptest.Result {
			return s.sendAs("ADDR=203.0.113.9 NAME=hotel.test LOGIN=alice", m)
		}, "boss@lab.test"},
		{"by her alias", func(m smtptest.Mail) smtptest.Result { return s.sendAs("ADDR=10.7.7.7", m) }, "a.lee+x@lab.test"},
	} {
		if r := send.do(from(send.subject, send.sender)); !r.Accepted() {
			t.Fatalf("%s: %+v", send.subject, r)
		}
		s.heldBy("contained", send.subject, "partner@elsewhere.test")
		s.mailbox("bob@lab.test", 2+i)
	}
	// Others go on: a colleague, and a stranger who forges her address.
	if r := s.loggedIn("carol@lab.test", from("colleague", "carol@lab.test")); !r.Accepted() {
		t.Fatalf("%+v", r)
	}
	s.wentOutside(2)
	forged := from("forged", "alice@lab.test")
	forged.To = []string{"bob@lab.test"}
	if r := s.send(forged); !r.Accepted() {
		t.Fatalf("%+v", r)
	}
	s.mailbox("bob@lab.test", 6)

	// It outlives a crash, and a release is judged by it.
	s.must(s.weir.Kill())
	s.start()
	again := from("after a crash", "boss@lab.test")
	if r := s.loggedIn("alice@lab.test", again); !r.Accepted() {
		t.Fatalf("%+v", r)
	}
	held := s.heldBy("contained", "after a crash", "partner@elsewhere.test")
	var exit *exitError
	if _, err := s.try("quarantine", "release", held.ID); !errorsAs(err, &exit) || exit.code != 4 || !strings.Contains(exit.text, "contained as alice") || !strings.Contains(exit.text, "case 12") {
		t.Errorf("released without a reason: %v", err)
	}
	s.weirCmd("quarantine", "release", held.ID, "--override", "--reason", "she was asked")
	if got := s.wentOutside(3)[2]; !bytes.HasSuffix(lf(got.Data), lf(again.Data)) || !slices.Equal(got.To, []string{"partner@elsewhere.test"}) {
		t.Errorf("%+v", got)
	}

	// A machine, too, and it is told so.
	s.weirCmd("contain", "ip", "10.1.2.3", "--action", "reject", "--reason", "case 13")
	if r := s.sendAs("ADDR=10.1.2.3", from("machine", "scanner@lab.test")); r.Code() != 550 || !strings.Contains(r.Final[0].Text, "suspended") {
		t.Errorf("%+v", r)
	}
	if metrics := s.http("/metrics"); !strings.Contains(metrics, "weir_containments{kind=\"user\"} 1\n") || !strings.Contains(metrics, "weir_contained_messages_total 2\n") {
		t.Error("the metrics do not tell of it")
	}
	var listed struct {
		Containments []struct {
			ID, Value string
		}
	}
	s.must(json.Unmarshal(s.weirCmd("contain", "list", "--json"), &listed))
	if len(listed.Containments) != 2 || listed.Containments[0].Value != "alice" {
		t.Fatalf("%+v", listed)
	}
	// What Postfix reads it finds.
	for _, ask := range []struct{ format, table, key, want string }{
		{"postfix-client", "cidr", "10.1.2.3", "REJECT Sending from this host is suspended\n"},
		{"postfix-login", "texthash", "alice", "REJECT Sending from this account is suspended\n"},
		{"postfix-sender", "texthash", "a.lee@lab.test", "REJECT Sending from this account is suspended\n"},
	} {
		file := s.write(ask.format, string(s.weirCmd("contain", "export", "--format", ask.format)))
		if got, err := s.postfix.Command(t.Context(), "postmap", "-q", ask.key, ask.table+":"+file); err != nil || got != ask.want {
			t.Errorf("%s: %q %v", ask.format, got, err)
		}
	}
	s.weirCmd("contain", "lift", listed.Containments[0].ID, "--reason", "password changed")
	if r := s.loggedIn("alice@lab.test", from("lifted", "alice@lab.test")); !r.Accepted() {
		t.Fatalf("%+v", r)
	}
	s.wentOutside(4)
}
