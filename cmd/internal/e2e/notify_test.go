package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// request is a request to unblock as `weir intel requests --json` shows it.
type request struct {
	ID, State, Notify string
	Notice            struct{ State, Text string }
}

// requested asks for a value to be unblocked, and gives the request's ID.
func (s *site) requested(value, notify string) string {
	s.t.Helper()
	var asked struct{ Request request }
	out := s.weirCmd("intel", "unblock", value, "--request", "--reason", "our supplier", "--notify", notify, "--json")
	if err := json.Unmarshal(out, &asked); err != nil || asked.Request.ID == "" {
		s.t.Fatalf("%v in %s", err, out)
	}
	return asked.Request.ID
}

// requests gives all requests, by ID.
func (s *site) requests() map[string]request {
	s.t.Helper()
	var page struct{ Requests []request }
	out := s.weirCmd("intel", "requests", "--json")
	if err := json.Unmarshal(out, &page); err != nil {
		s.t.Fatalf("%v in %s", err, out)
	}
	all := map[string]request{}
	for _, r := range page.Requests {
		all[r.ID] = r
	}
	return all
}

func TestWhoAskedIsWrittenToByTheWayOfHisDomain(t *testing.T) {
	s := newSite(t, options{
		dkim: "lab.test", config: "[notify]\nfrom = \"Weir <weir@lab.test>\"\n", lists: map[string]string{"block/local.txt": "shop.test\nevil.test\nlate.test\n"},
	})
	s.must(os.Chown(filepath.Join(s.dir, "lists/allow"), nobody, nobody))

	yes := s.requested("shop.test", "Alice@lab.test")
	s.weirCmd("intel", "approve", yes, "--reason", "it is our supplier's")
	got := s.mailbox("alice@lab.test", 1)[0].Raw
	for name, want := range map[string]string{
		"Return-Path": "<>", "From": `"Weir" <weir@lab.test>`, "To": "<alice@lab.test>", "Subject": "Request approved: shop[.]test", "Auto-Submitted": "auto-generated",
		"Message-ID": "<unblock." + yes + "@lab.test>", "DKIM-Signature": "", "X-Weir-ID": "",
	} {
		if value := header(got, name); value != want {
			t.Errorf("%s is %q, not %q", name, value, want)
		}
	}
	if text := body(got); !strings.Contains(text, "shop[.]test") || !strings.Contains(text, "it is our supplier's") || strings.Contains(text, "shop.test") {
		t.Errorf("%s", text)
	}

	// Elsewhere it goes by the way that signs.
	no := s.requested("evil.test", "partner@elsewhere.test")
	s.weirCmd("intel", "refuse", no, "--reason", "it is phishing")
	left := s.wentOutside(1)[0]
	if left.From != "" || strings.Join(left.To, " ") != "partner@elsewhere.test" || !bytes.Contains(left.Data, []byte("Subject: Request refused: evil[.]test\r\n")) {
		t.Errorf("%+v", left)
	}
	if err := s.dkim.Verify(t.Context(), left.Data); err != nil {
		t.Error(err)
	}
	s.eventually("it is known that both were told", func() (bool, error) {
		all := s.requests()
		return all[yes].Notice.State == "sent" && all[no].Notice.State == "sent", nil
	})
}

func TestARefusedNoticeIsGivenUpAndShown(t *testing.T) {
	s := newSite(t, options{
		config: "[notify]\nfrom = \"weir@lab.test\"\n", lists: map[string]string{"block/local.txt": "shop.test\n"}, recipient: users(),
	})
	id := s.requested("shop.test", "stranger@lab.test")
	s.weirCmd("intel", "refuse", id, "--reason", "it is phishing")
	s.eventually("it is given up", func() (bool, error) { return s.requests()[id].Notice.State == "failed", nil })
	if text := s.requests()[id].Notice.Text; !strings.HasPrefix(text, "550 5.1.1 ") {
		t.Error(text)
	}
	if metrics := s.http("/metrics"); !strings.Contains(metrics, "weir_notices_total{outcome=\"failed\"} 1\n") || !strings.Contains(metrics, "weir_notices_waiting 0\n") {
		t.Error("the metrics do not tell of it")
	}
}

func TestADecisionIsToldAlthoughTheMTAAndTheDaemonWereDown(t *testing.T) {
	s := newSite(t, options{config: "[notify]\nfrom = \"weir@lab.test\"\n", lists: map[string]string{"block/local.txt": "shop.test\n"}})
	id := s.requested("shop.test", "alice@lab.test")
	s.must(s.postfix.Stop())
	s.weirCmd("intel", "refuse", id, "--reason", "it is phishing")
	s.eventually("it was tried", func() (bool, error) {
		n := s.requests()[id].Notice
		return n.State == "waiting" && strings.Contains(n.Text, "no session"), nil
	})
	s.must(s.weir.Kill())
	s.must(s.postfix.Start())
	s.start()
	if got := s.mailbox("alice@lab.test", 1)[0].Raw; header(got, "Message-ID") != "<unblock."+id+"@lab.test>" {
		t.Errorf("%s", got)
	}
	s.eventually("it is known", func() (bool, error) { return s.requests()[id].Notice.State == "sent", nil })
	s.must(s.weir.Kill())
	s.start()
	s.mailbox("alice@lab.test", 1) // and not again
}
