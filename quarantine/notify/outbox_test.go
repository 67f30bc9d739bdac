package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/ledger/viewtest"
	"github.com/weirmail/weir/quarantine/reinject"
)

func TestWhoAskedIsToldOnceItIsDecided(t *testing.T) {
	s := newSite(t)
	open, untold := s.asked("open.example", "alice@local.example"), s.refused("silent.example", "", "no")
	yes := s.approved("https://shop.example/a.php", "alice@local.example", "it is our\nsupplier's")
	no := s.refused(".evil.example", "eve@elsewhere.example", "phishing, see https://evil.example/x")
	s.is(&yes, Waiting, "")
	if wait := s.sends(); wait != longestWait {
		t.Errorf("the next try is in %s", wait)
	}
	s.sends()
	s.is(&yes, Sent, "250 2.0.0 queued")
	s.is(&no, Sent, "250 2.0.0 queued")
	for _, r := range []string{open.Entity(), untold.Entity()} {
		if n, ok, err := s.Of(r); ok || err != nil {
			t.Errorf("%+v %v", n, err)
		}
	}
	if s.inbound.count() != 1 || s.beyond.count() != 1 {
		t.Fatalf("%d and %d messages", s.inbound.count(), s.beyond.count())
	}
	if m := s.inbound.got[0]; m.From.Address != "" || len(m.To) != 1 || m.To[0].Address != "alice@local.example" {
		t.Errorf("%+v", m)
	}
	header, subject, text := read(t, s.inbound.content(t))
	for name, want := range map[string]string{
		"From": `"Weir" <weir@local.example>`, "To": "<alice@local.example>", "Auto-Submitted": "auto-generated", "Date": yes.Decided.Format(time.RFC1123Z),
		"Message-ID": "<unblock." + yes.ID + "@local.example>", "MIME-Version": "1.0", "Content-Type": "text/plain; charset=utf-8",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	if want := "Request approved: https[:]//shop[.]example/a[.]php"; subject != want {
		t.Errorf("%q", subject)
	}
	want := "The request to allow a value that the mail filter blocks was approved.\n\nvalue:         https[:]//shop[.]example/a[.]php\nasked:         2026-05-01 08:01 UTC\n" +
		"approved:      2026-05-01 08:02 UTC\nallowed until: 2026-05-08 08:02 UTC\nreason:        it is our supplier's\nreference:     REF-1\nrequest:       " + yes.ID + "\n\n[.] stands"
	if !strings.HasPrefix(text, want) {
		t.Errorf("%s\nnot\n%s", text, want)
	}
	_, subject, text = read(t, s.beyond.content(t))
	if subject != "Request refused: .evil[.]example" || !strings.Contains(text, "was refused.\n") || !strings.Contains(text, "\nreason:        phishing, see https[:]//evil[.]example/x\n") || strings.Contains(text, "until") {
		t.Errorf("%s\n%s", subject, text)
	}
	for _, hidden := range []string{"unix:", "words of who asks"} {
		if strings.Contains(text, hidden) {
			t.Errorf("it says %q:\n%s", hidden, text)
		}
	}
}

func TestACrashBetweenTheDecisionAndTheMailLosesNothing(t *testing.T) {
	s := newSite(t)
	r := s.approved("shop.example", "alice@local.example", "yes")
	s.crash()
	s.is(&r, Waiting, "")
	s.sends()
	s.is(&r, Sent, "250 2.0.0 queued")
	s.crash()
	s.sends()
	s.is(&r, Sent, "250 2.0.0 queued")
	if n := s.inbound.count(); n != 1 {
		t.Errorf("%d messages", n)
	}
}

func TestACrashBetweenTheMailAndItsEventSendsTheSameMailAgain(t *testing.T) {
	s := newSite(t)
	r := s.refused("shop.example", "alice@local.example", "no")
	s.fault = func(ledger.Command) error { return ledger.ErrClosed }
	s.sends()
	if got := s.events(&r); got != "" {
		t.Fatal(got)
	}
	s.passes(time.Hour)
	s.crash()
	s.sends()
	s.is(&r, Sent, "250 2.0.0 queued")
	if n := s.inbound.count(); n != 2 {
		t.Errorf("%d messages", n)
	}
	s.inbound.content(t) // the same one
	if got := s.events(&r); got != `notice-sent by weir:notify: {"to":"alice@local.example","text":"250 2.0.0 queued"}`+"\n" {
		t.Error(got)
	}
}

func TestADaemonThatStopsGivesNothingUp(t *testing.T) {
	s := newSite(t)
	first, second := s.refused("shop.example", "alice@local.example", "no"), s.refused("other.example", "bob@local.example", "no")
	s.passes(giveUpAfter)
	ctx, cancel := context.WithCancel(t.Context())
	s.inbound.answer = func() reinject.Result {
		cancel()
		return reinject.Result{Status: reinject.Deferred, Text: "the connection broke"}
	}
	s.pass(ctx)
	s.settle()
	if n := s.inbound.count(); n != 1 {
		t.Errorf("%d tries", n)
	}
	s.is(&first, Waiting, "")
	s.is(&second, Waiting, "")
}

func TestWhatTheViewDoesNotKnowYetIsNotSentAgain(t *testing.T) {
	s := newSite(t)
	r := s.refused("shop.example", "alice@local.example", "no")
	for range 5 {
		s.pass(t.Context())
		s.passes(longestWait)
	}
	s.settle()
	s.is(&r, Sent, "250 2.0.0 queued")
	if n := s.inbound.count(); n != 1 {
		t.Errorf("%d messages", n)
	}
}

func TestWhatCannotBeRecordedIsNotSentAgain(t *testing.T) {
	s := newSite(t)
	r := s.refused("shop.example", "alice@local.example", "no")
	s.fault = func(ledger.Command) error { return errors.New("no room") }
	for range 3 {
		s.passes(s.sends())
	}
	s.fault = nil
	s.sends()
	s.is(&r, Sent, "250 2.0.0 queued")
	if n := s.inbound.count(); n != 1 {
		t.Errorf("%d messages", n)
	}
}

func TestWhatTheMTADoesNotTakeForNowIsTriedAgain(t *testing.T) {
	for _, status := range []reinject.Status{reinject.Deferred, reinject.Uncertain} {
		s := newSite(t)
		r := s.refused("shop.example", "alice@local.example", "no")
		s.inbound.says(status, "451 4.3.0 later")
		tries := 0
		for _, minutes := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
			wait := s.sends()
			if tries++; wait != time.Duration(minutes)*time.Minute || s.inbound.count() != tries {
				t.Errorf("after %d tries it waits %s, and %d were made", tries, wait, s.inbound.count())
			}
			s.is(&r, Waiting, "451 4.3.0 later")
			s.passes(wait - time.Second)
			if again := s.sends(); again != time.Second || s.inbound.count() != tries {
				t.Errorf("too early: %s, %d tries", again, s.inbound.count())
			}
			s.passes(time.Second)
		}
		if got, err := s.Status(); err != nil || got != (Status{1, r.Decided, "451 4.3.0 later"}) {
			t.Errorf("%+v %v", got, err)
		}
		// What others wait for is not delayed by it.
		s.sends()
		other := s.refused("other.example", "bob@elsewhere.example", "no")
		s.sends()
		s.is(&other, Sent, "250 2.0.0 queued")
		s.inbound.answer = nil
		s.passes(longestWait)
		s.sends()
		s.is(&r, Sent, "250 2.0.0 queued")
		s.inbound.content(t) // always the same
		if got, err := s.Status(); err != nil || got != (Status{}) {
			t.Errorf("%+v %v", got, err)
		}
	}
}

func TestWhatIsNotTakenForDaysIsGivenUp(t *testing.T) {
	s := newSite(t)
	r := s.refused("shop.example", "alice@local.example", "no")
	s.inbound.says(reinject.Deferred, "no session: connection refused")
	began := s.clock()
	for s.clock().Sub(began) < giveUpAfter {
		s.passes(s.sends())
		s.is(&r, Waiting, "no session: connection refused")
		if s.inbound.count() > 1000 {
			t.Fatal("it is tried without end")
		}
	}
	s.sends()
	s.is(&r, Failed, "no session: connection refused")
	// Also where nobody was there to try.
	other := s.refused("other.example", "alice@local.example", "no")
	s.passes(2 * giveUpAfter)
	s.inbound.answer = nil
	s.crash()
	s.sends()
	s.is(&other, Sent, "250 2.0.0 queued")
}

func TestARefusalForGoodIsRecordedWithItsAnswer(t *testing.T) {
	s := newSite(t)
	s.beyond.says(reinject.Refused, "550 5.1.1 <eve@elsewhere.example> unknown "+strings.Repeat("x", 2*maxAnswer))
	r := s.refused("shop.example", "eve@elsewhere.example", "no")
	for range 3 {
		s.passes(s.sends())
	}
	if n := s.beyond.count(); n != 1 {
		t.Errorf("%d tries", n)
	}
	n, _, err := s.Of(r.Entity())
	if err != nil || n.State != Failed || !strings.HasPrefix(n.Text, "550 5.1.1 <eve@") || len(n.Text) != maxAnswer {
		t.Errorf("%+v %v", n, err)
	}
	if got := s.events(&r); !strings.HasPrefix(got, "notice-failed by weir:notify: ") || strings.Count(got, "\n") != 1 {
		t.Error(got)
	}
}

func TestWithoutAWayItWaitsUntilThereIsOne(t *testing.T) {
	s := newSite(t)
	r := s.refused("shop.example", "eve@elsewhere.example", "no")
	lame := s.plain()
	lame.Outbound = nil
	s.must(s.SetSettings(lame))
	for range 7 {
		s.passes(s.sends())
	}
	s.is(&r, Waiting, "nobody is written to at elsewhere.example: set reinject.outbound.address")
	lame.From = ""
	s.must(s.SetSettings(lame))
	s.sends()
	s.is(&r, Waiting, "nobody is written to: set notify.from")
	s.must(s.SetSettings(s.plain()))
	s.sends() // at once
	s.is(&r, Sent, "250 2.0.0 queued")
}

func TestWhatWasErasedIsToldToNobody(t *testing.T) {
	s := newSite(t)
	r := s.refused("shop.example", "alice@local.example", "no")
	_, err := s.ledger.Erase(t.Context(), ledger.Command{ID: "erase", Entity: r.Entity(), Actor: "unix:0"})
	s.must(err)
	_, err = s.ledger.Scrub(t.Context())
	s.must(err)
	s.sends()
	if s.inbound.count() != 0 {
		t.Errorf("%s", s.inbound.content(t))
	}
	s.is(&r, Failed, "what it is about was erased")
	s.crash() // and nobody knows of it any more
	s.sends()
	if n, ok, err := s.Of(r.Entity()); ok || err != nil {
		t.Errorf("%+v %v", n, err)
	}
}

func TestOnlyAnAddressThatCanBeWrittenToIsTaken(t *testing.T) {
	s := newSite(t)
	for text, want := range map[string]string{
		"Alice@Local.Example": "alice@local.example", " <bob@elsewhere.example> ": "bob@elsewhere.example", "jürgen@bücher.example": "jürgen@xn--bcher-kva.example", "a+b@x.test": "a+b@x.test",
	} {
		if got, err := s.Recipient(text); err != nil || got != want {
			t.Errorf("%s is %q, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "<>", "alice", "@local.example", "alice@", "a@x.test,b@x.test", "a@x.test b@x.test", "Alice <a@x.test>", "a@x.test\r\nBcc: b@x.test", "a\nb@x.test", "\"a b\"@x.test", "a\u202eb@x.test", "a\u00a0b@x.test",
	} {
		if got, err := s.Recipient(text); !errors.Is(err, ErrAddress) {
			t.Errorf("%q is %q, %v", text, got, err)
		}
	}
	for key, change := range map[string]func(*Settings){
		"notify.from":               func(o *Settings) { o.From = "" },
		"reinject.inbound.address":  func(o *Settings) { o.Inbound = nil },
		"reinject.outbound.address": func(o *Settings) { o.Outbound = nil },
	} {
		settings := s.plain()
		change(&settings)
		s.must(s.SetSettings(settings))
		to := map[bool]string{true: "a@local.example", false: "a@elsewhere.example"}[key != "reinject.outbound.address"]
		if _, err := s.Recipient(to); !errors.Is(err, ErrOff) || !strings.Contains(err.Error(), "set "+key) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestOptionsAndSettingsAreChecked(t *testing.T) {
	s := newSite(t)
	for _, o := range []Options{{}, {Ledger: s.ledger, View: &View{}, Now: s.clock}, {Ledger: s.ledger, View: &View{}, Settings: s.plain()}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	bad := s.plain()
	bad.From = "weir"
	if err := s.SetSettings(bad); err == nil {
		t.Error("no address, and it is taken")
	}
}

func TestADecisionIsToldWithoutDelay(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	done, taken := make(chan struct{}), make(chan struct{}, 1)
	s.inbound.answer = func() reinject.Result {
		taken <- struct{}{}
		return reinject.Result{Status: reinject.Sent}
	}
	go func() { defer close(done); s.Run(ctx) }()
	s.approved("shop.example", "alice@local.example", "yes")
	select {
	case <-taken:
	case <-time.After(20 * time.Second):
		t.Error("nothing was sent")
	}
	cancel()
	<-done
}

func TestTheViewKeepsItsContract(t *testing.T) {
	event := func(kind, data string) []ledger.Event {
		return []ledger.Event{{Type: kind, Schema: 1, Data: []byte(data)}}
	}
	var commits []viewtest.Commit
	add := func(entity string, events []ledger.Event) {
		commits = append(commits, viewtest.Commit{Entity: entity, Events: events})
	}
	for i, to := range []string{"a@x.test", "b@x.test", "", "c@x.test"} {
		add(fmt.Sprint("unblock/", i), event("unblock-requested", fmt.Sprintf(`{"value":"v.example","notify":%q}`, to)))
	}
	add("unblock/0", event("unblock-approving", `{}`))
	add("unblock/0", event("unblock-approved", `{"entry":"e","file":"f","until":"2026-12-31T00:00:00Z","notify":"a@x.test"}`))
	add("unblock/1", event("unblock-refused", `{"notify":"b@x.test"}`))
	add("unblock/2", event("unblock-refused", `{}`))
	add("unblock/3", event("unblock-refused", `{"notify":"c@x.test"}`))
	add("notice/unblock/0", event("notice-sent", `{"to":"a@x.test","text":"250 ok"}`))
	add("notice/unblock/3", event("notice-failed", `{"to":"c@x.test","text":"550 no"}`))
	add("notice/unblock/9", event("notice-sent", `{"to":"x@x.test"}`)) // of what nobody knows
	viewtest.Test(t, commits, func(t *testing.T) viewtest.Fixture {
		db, err := kv.Open(kv.Options{Name: "views", InMemory: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return viewtest.Fixture{
			Open: func() (ledger.View, error) { return NewView(db), nil },
			Dump: func(ledger.View) (string, error) {
				s, err := db.Snapshot()
				if err != nil {
					return "", err
				}
				defer s.Release()
				text := ""
				for e, err := range s.Range([]byte("notify/"), nil) {
					if err != nil {
						return "", err
					}
					text += fmt.Sprintf("%s %s\n", e.Key, e.Value)
				}
				return text, nil
			},
		}
	})
}
