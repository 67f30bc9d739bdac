package e2e

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
)

// What comes after the hunt is pulled too: a copy that waited in the queue, as soon
// as the log tells that it was delivered, and a forward that shows nothing of what
// was listed, also after a restart.
func TestWhatArrivesAfterTheHuntIsPulledWithinSeconds(t *testing.T) {
	t.Parallel()
	var doorAddr string
	s := newSite(t, forPulls(options{
		users: []string{"alice@lab.test", "bob@lab.test", late},
		postfix: func(p *lab.PostfixOptions) {
			host, _, _ := net.SplitHostPort(strings.TrimPrefix(p.DeliverTo, "lmtp:inet:"))
			free, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
			if err != nil {
				t.Fatal(err)
			}
			doorAddr = free.Addr().String()
			_ = free.Close()
			p.Transports = map[string]string{late: "lmtp:inet:" + doorAddr}
			p.Main["minimal_backoff_time"], p.Main["queue_run_delay"] = "1s", "1s"
		},
	}))
	door := newDoor(t, doorAddr, s.boxes.LMTPAddr())
	s.startPulls(viaMaildir())
	text := strings.Repeat("Please pay your invoice at once. ", 10)
	s.send(smtptest.Mail{From: "s@sender.test", To: []string{"alice@lab.test", late}, Data: []byte(
		"From: Sender <billing@elsewhere.test>\r\nTo: alice@lab.test\r\nSubject: invoice\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <i1@sender.test>\r\n\r\n" + text + "\r\n")})
	s.eventually("alice has it", func() (bool, error) { return len(s.carrying("alice@lab.test", text)) == 1, nil })
	s.write("lists/block/late.txt", "s@sender.test in=envelope-from\n")
	id := s.onlyIncident().ID
	s.eventually("alice's copy is pulled", func() (bool, error) { return len(s.carrying("alice@lab.test", text)) == 0, nil })

	time.Sleep(10 * time.Second) // its turn comes ever more seldom
	door.open.Store(true)
	_, err := s.postfix.Command(t.Context(), "postqueue", "-f")
	s.must(err)
	began := time.Now()
	i := s.settled(id)
	t.Logf("pulled %s after the queue was let go", time.Since(began).Round(10*time.Millisecond))
	if i.Counts["pulled"] != 2 {
		t.Errorf("the incident: %+v\n%+v", i, s.affected(id))
	}

	forward := func(subject string) {
		s.send(smtptest.Mail{From: "friend@outside.test", To: []string{"bob@lab.test"}, Data: []byte(
			"From: friend@outside.test\r\nTo: bob@lab.test\r\nSubject: " + subject + "\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <" + subject + "@outside.test>\r\n" +
				"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nis this genuine?\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" +
				"From: Sender <billing@elsewhere.test>\r\nSubject: invoice\r\nMessage-ID: <i1@sender.test>\r\n\r\n" + text + "\r\n\r\n--b--\r\n")})
	}
	for n, subject := range []string{"genuine", "once-more"} {
		forward(subject)
		began = time.Now()
		s.eventually("the forward is pulled", func() (bool, error) {
			for _, d := range s.affected(id) {
				if d.Subject == subject && d.Outcome == "pulled" {
					return true, nil
				}
			}
			return false, nil
		})
		t.Logf("pulled %s after it was forwarded", time.Since(began).Round(10*time.Millisecond))
		if left := s.carrying("bob@lab.test", text); len(left) != 0 {
			t.Errorf("bob has %v", left)
		}
		if n == 0 {
			s.must(s.weir.Stop())
			s.start()
		}
	}
}
