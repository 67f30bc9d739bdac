package filter

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/message/spool"
	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/disk"
	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/intel/wal"
)

// desk is a filter whose journal and quarantine do as the test says.
type desk struct {
	*Filter
	t     testing.TB
	steps []string // what was committed, in order
	entry *journal.Entry
	err   map[string]error // of "journal" and "hold"
	log   *observer.ObservedLogs
}

func (d *desk) Append(_ context.Context, e *journal.Entry) (wal.Position, error) {
	d.steps, d.entry = append(d.steps, "journal"), e
	return 1, d.err["journal"]
}

func (d *desk) Hold(context.Context, *evidence.Evidence, *verdict.Verdict, string) (string, error) {
	d.steps = append(d.steps, "hold")
	return "item", d.err["hold"]
}

func newDesk(t testing.TB, rules string, s Settings, site Site) *desk {
	t.Helper()
	d := &desk{t: t, err: map[string]error{}}
	pol, err := policy.Parse("policy.toml", []byte(rules), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Parser, err = message.NewParser(message.Limits{}); err != nil {
		t.Fatal(err)
	}
	if s.OnError == 0 {
		s.OnError = intel.ActionTempfail
	}
	if s.Oversize == 0 {
		s.Oversize = intel.ActionReject
	}
	j, err := NewJudge(match.NewMatcher(), Rules{Policy: pol, Site: site}, nil)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := spool.New(spool.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	id, err := ident.Open(ident.Options{FS: faulty.New("/state", 1), Dir: "/state"})
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	d.log = logs
	d.Filter, err = New(Options{Judge: j, Scratch: pool, Journal: d, Quarantine: d, Identity: id, Settings: s, Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const (
	holdAll   = "[[rule]]\nname='it'\nwhen='true'\naction='hold'\n"
	rejectAll = "[[rule]]\nname='it'\nwhen='true'\naction='reject'\n"
	tempAll   = "[[rule]]\nname='it'\nwhen='true'\naction='tempfail'\n"
	tagAll    = "[[rule]]\nname='it'\nwhen='true'\naction='tag'\nsubject_prefix='[SUSPICIOUS]'\n"
	holdA     = "[[rule]]\nname='it'\nwhen='rcpt.local == \"a\"'\naction='hold'\n"
	none      = ""
)

const plain = "From: s@sender.test\r\nSubject: =?utf-8?q?hell=C3=B6?=\r\nMessage-ID: <m@sender.test>\r\n\r\nhello\r\n"

func (d *desk) handle(content string, change func(*milter.Mail)) verdict.Answer {
	env := &message.Envelope{QueueID: "4Y1", From: message.Path{Raw: "<s@sender.test>"}, To: []message.Path{{Raw: "<a@example.org>"}, {Raw: "<b@example.org>"}}}
	env.Client.Addr = netip.MustParseAddr("203.0.113.9")
	m := &milter.Mail{Envelope: env, Raw: []byte(content), Size: int64(len(content))}
	if change != nil {
		change(m)
	}
	d.steps = nil
	return d.Handle(d.t.Context(), m)
}

func values(a verdict.Answer, name string) (all []string) {
	for _, e := range a.Edits {
		if e.Name == name && e.Op != verdict.EditRemove {
			all = append(all, e.Value)
		}
	}
	return all
}

func TestEachVerdictCommitsWhatItNeedsBeforeItsAnswer(t *testing.T) {
	cases := []struct {
		name   string
		rules  string
		action intel.Action
		steps  []string
		remove []int
	}{
		{"accept", none, intel.ActionAccept, []string{"journal"}, nil},
		{"tag", tagAll, intel.ActionAccept, []string{"journal"}, nil},
		{"hold for all", holdAll, intel.ActionDiscard, []string{"hold"}, nil},
		{"hold for some", holdA, intel.ActionAccept, []string{"journal", "hold"}, []int{0}},
		{"reject", rejectAll, intel.ActionReject, nil, nil},
		{"tempfail", tempAll, intel.ActionTempfail, nil, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, c.rules, Settings{}, Site{})
			a := d.handle(plain, nil)
			if a.Action != c.action || !slices.Equal(d.steps, c.steps) || !slices.Equal(a.Remove, c.remove) {
				t.Errorf("%v after %v, without %v", a.Action, d.steps, a.Remove)
			}
			if (a.Action == intel.ActionReject || a.Action == intel.ActionTempfail) && !strings.HasSuffix(a.Reply.Text, "(ref "+a.ID+")") {
				t.Errorf("reply %+v does not name the reference %s", a.Reply, a.ID)
			}
		})
	}
}

func TestNothingIsLetThroughOrWithheldThatCouldNotBeKept(t *testing.T) {
	full := disk.ErrNoSpace
	cases := []struct {
		name    string
		rules   string
		fails   string
		onError intel.Action
		observe bool
		want    intel.Action
	}{
		{"journal, tempfail", none, "journal", intel.ActionTempfail, false, intel.ActionTempfail},
		{"journal, accept", none, "journal", intel.ActionAccept, false, intel.ActionAccept},
		{"journal of a tagged one, accept", tagAll, "journal", intel.ActionAccept, false, intel.ActionAccept},
		{"hold, tempfail", holdAll, "hold", intel.ActionTempfail, false, intel.ActionTempfail},
		{"hold is never accepted", holdAll, "hold", intel.ActionAccept, false, intel.ActionTempfail},
		{"hold for some is never accepted", holdA, "hold", intel.ActionAccept, false, intel.ActionTempfail},
		{"nor if the journal fails for the others", holdA, "journal", intel.ActionAccept, false, intel.ActionTempfail},
		{"observe stands in nobody's way", holdAll, "journal", intel.ActionTempfail, true, intel.ActionAccept},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, c.rules, Settings{OnError: c.onError, Observe: c.observe}, Site{})
			d.err[c.fails] = full
			a := d.handle(plain, nil)
			if a.Action != c.want || len(a.Remove) != 0 {
				t.Errorf("%v without %v", a.Action, a.Remove)
			}
			if c.want == intel.ActionTempfail && a.Reply.Code != 451 {
				t.Errorf("reply %+v", a.Reply)
			}
			if c.fails == "journal" && slices.Contains(d.steps, "hold") {
				t.Error("something was held although the answer is 451")
			}
			lines := d.log.All()
			if len(lines) != 1 || lines[0].Level != zap.ErrorLevel || lines[0].ContextMap()["queue_id"] != "4Y1" || lines[0].ContextMap()["message_id"] != "m@sender.test" {
				t.Errorf("log %+v", lines)
			}
		})
	}
}

func TestAMessageThatCouldNotBeKeptOrReadGetsTheConfiguredAnswer(t *testing.T) {
	lost := func(m *milter.Mail) { m.Raw, m.Err = nil, errors.New("no room") }
	if a := newDesk(t, none, Settings{}, Site{}).handle("", lost); a.Action != intel.ActionTempfail {
		t.Errorf("%+v", a)
	}
	a := newDesk(t, holdAll, Settings{OnError: intel.ActionAccept}, Site{}).handle("", lost)
	if a.Action != intel.ActionAccept || !slices.Equal(values(a, HeaderVerdict), []string{"accept; rule=unavailable; ref=" + a.ID}) {
		t.Errorf("%+v", a)
	}
}

func TestOversizeMailGetsTheConfiguredAnswerAndSaysSo(t *testing.T) {
	large := func(m *milter.Mail) { m.TooLarge, m.Size = true, 99<<20 }
	relay := Site{TrustedRelays: []netip.Prefix{netip.MustParsePrefix("203.0.113.9/32")}}
	cases := []struct {
		name     string
		rules    string
		oversize intel.Action
		site     Site
		observe  bool
		want     intel.Action
		code     int
	}{
		{"reject", none, intel.ActionReject, Site{}, false, intel.ActionReject, 552},
		{"tempfail", none, intel.ActionTempfail, Site{}, false, intel.ActionTempfail, 452},
		{"accept", none, intel.ActionAccept, Site{}, false, intel.ActionAccept, 0},
		{"never backscatter", none, intel.ActionReject, relay, false, intel.ActionTempfail, 452},
		{"what its beginning shows is not excused", holdAll, intel.ActionAccept, Site{}, false, intel.ActionReject, 552},
		{"nor behind a relay", holdAll, intel.ActionAccept, relay, false, intel.ActionTempfail, 452},
		{"observe", holdAll, intel.ActionReject, Site{}, true, intel.ActionAccept, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, c.rules, Settings{Oversize: c.oversize, Observe: c.observe}, c.site)
			a := d.handle(plain, large)
			if a.Action != c.want || a.Reply.Code != c.code {
				t.Errorf("%+v", a)
			}
			switch a.Action {
			case intel.ActionAccept:
				if !slices.Equal(d.steps, []string{"journal"}) || !d.entry.Unjudged || d.entry.Size != 99<<20 || !strings.Contains(values(a, HeaderVerdict)[0], "rule=oversize") {
					t.Errorf("%v %+v %v", d.steps, d.entry, values(a, HeaderVerdict))
				}
			default:
				if !strings.Contains(a.Reply.Text, "103809024 bytes is larger than the mail filter takes") {
					t.Errorf("reply %q", a.Reply.Text)
				}
			}
		})
	}
}

func TestHeadersSayWhatBecameOfTheCopiesThatGoOn(t *testing.T) {
	inside := Site{InternalNetworks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, LocalDomains: []string{"elsewhere.test"}}
	a := newDesk(t, holdA, Settings{}, Site{}).handle(plain, nil)
	if got := values(a, HeaderVerdict); !slices.Equal(got, []string{"accept; rule=default; ref=" + a.ID}) {
		t.Errorf("of a message held for others: %q", got)
	}
	a = newDesk(t, tagAll, Settings{}, inside).handle(plain, nil)
	if len(values(a, HeaderVerdict)) != 0 || len(values(a, HeaderID)) != 1 {
		t.Errorf("outbound: %+v", a.Edits)
	}
	a = newDesk(t, tagAll, Settings{}, Site{}).handle(plain, nil)
	if got := values(a, "Subject"); !slices.Equal(got, []string{"[SUSPICIOUS] =?utf-8?q?hell=C3=B6?="}) {
		t.Errorf("subject %q", got)
	}
	if got := values(a, HeaderVerdict); !slices.Equal(got, []string{"tag; rule=it; ref=" + a.ID}) {
		t.Errorf("verdict %q", got)
	}
	a = newDesk(t, tagAll, Settings{}, Site{}).handle("Subject: [SUSPICIOUS] again\r\n\r\nx\r\n", nil)
	if got := values(a, "Subject"); len(got) != 0 {
		t.Errorf("tagged twice: %q", got)
	}
	a = newDesk(t, tagAll, Settings{}, Site{}).handle("From: x\r\n\r\nx\r\n", nil)
	if got := values(a, "Subject"); !slices.Equal(got, []string{"[SUSPICIOUS]"}) {
		t.Errorf("without a subject: %q", got)
	}
	a = newDesk(t, strings.Replace(tagAll, "[SUSPICIOUS]", "⚠ Vorsicht", 1), Settings{}, Site{}).handle(plain, nil)
	if got := values(a, "Subject"); !slices.Equal(got, []string{"=?utf-8?q?=E2=9A=A0_Vorsicht?= =?utf-8?q?hell=C3=B6?="}) {
		t.Errorf("subject %q", got)
	}
}

func TestForgedFieldsOfOursAreTakenOutWhereverTheyStand(t *testing.T) {
	for header, want := range map[string]int{
		"X-Weir-Verdict: accept\r\nSubject: x\r\nx-weir-verdict: a\r\n\tb\r\nX-WEIR-VERDICT :c\r\n":                      3,
		strings.Repeat("X: y\r\n", 2500) + "X-Weir-Verdict: accept\r\n":                                                  1,
		strings.Repeat("X: "+strings.Repeat("y", 9000)+"\r\n", 200) + "X-Weir-Verdict: accept\r\n":                       1,
		strings.Repeat("X-Weir-Verdict: accept\r\n", 3000):                                                               maxForged,
		"X: y\r\n X-Weir-Verdict: folded\r\nX-Weir-Verdict-Not: z\r\nX-Weir-Verdictx: z\r\nSubject: X-Weir-Verdict:\r\n": 0,
	} {
		a := newDesk(t, holdA, Settings{}, Site{}).handle(header+"\r\nX-Weir-Verdict: in the body\r\n", nil)
		var removed []int
		for _, e := range a.Edits {
			if e.Op == verdict.EditRemove && e.Name == HeaderVerdict {
				removed = append(removed, e.Index)
			}
		}
		if len(removed) != want || want > 0 && (removed[0] != want || removed[want-1] != 1) {
			t.Errorf("%.60q: removed %d fields, want %d", header, len(removed), want)
		}
	}
}

func TestBehindATrustedRelayTheClientIsTheOneThatItSaw(t *testing.T) {
	site := Site{TrustedRelays: []netip.Prefix{netip.MustParsePrefix("203.0.113.9/32"), netip.MustParsePrefix("192.0.2.1/32")}}
	d := newDesk(t, rejectAll, Settings{}, site)
	received := "Received: from x (mx3 [192.0.2.1]) by mx2\r\nReceived: from evil (evil.test [198.51.100.7]) by mx3\r\nReceived: from y (z [10.0.0.1]) by evil\r\n"
	if a := d.handle(received+plain, nil); a.Action != intel.ActionDiscard {
		t.Errorf("a reject became %v, not a hold", a.Action)
	}
	d = newDesk(t, none, Settings{}, site)
	d.handle(received+plain, nil)
	if d.entry.Client != netip.MustParseAddr("198.51.100.7") {
		t.Errorf("client %v", d.entry.Client)
	}
	d.handle(plain, nil)
	if d.entry.Client.IsValid() {
		t.Errorf("without a Received line the client is %v", d.entry.Client)
	}
}

func TestTheLogLineExplainsTheVerdict(t *testing.T) {
	d := newDesk(t, holdA, Settings{}, Site{})
	d.handle(plain, nil)
	lines := d.log.All()
	if len(lines) != 1 {
		t.Fatalf("%d lines", len(lines))
	}
	m := lines[0].ContextMap()
	for key, want := range map[string]any{"verdict": "hold", "rule": "it", "queue_id": "4Y1", "message_id": "m@sender.test", "direction": "inbound", "item": "item", "held": int64(1), "recipients": int64(2)} {
		if m[key] != want {
			t.Errorf("%s is %v, want %v", key, m[key], want)
		}
	}
}

func BenchmarkHandle(b *testing.B) {
	pol, err := policy.Parse(policy.DefaultName, policy.Default(), policy.Options{})
	if err != nil {
		b.Fatal(err)
	}
	d := newDesk(b, none, Settings{}, Site{})
	if err := d.o.Judge.SetRules(Rules{Policy: pol}); err != nil {
		b.Fatal(err)
	}
	d.o.Logger = zap.NewNop()
	content := "From: Shop <news@shop.test>\r\nTo: a@example.org\r\nSubject: News\r\nMessage-ID: <m@shop.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n" +
		strings.Repeat("Some text of a newsletter that goes on and on.\r\n", 80) + "http://shop.test/a\r\n--b\r\nContent-Type: text/html\r\n\r\n<html><body>" +
		strings.Repeat("<p>Some text of a newsletter that goes on.</p>\r\n", 100) + "<a href=\"http://shop.test/b\">b</a> <a href=\"http://shop.test/c\">c</a></body></html>\r\n--b--\r\n"
	b.ReportAllocs()
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		if a := d.handle(content, nil); a.Action != intel.ActionAccept {
			b.Fatal(a)
		}
	}
}
