package policy

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/weirmail/weir/filter/auth"
	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/directory"
)

const sampleMessage = "From: Bank <pay@evil.example>\r\nReply-To: x@other.example\r\nSubject: =?utf-8?q?Rechnung_=C3=BC?=\r\nX-Mailer: Evil 1.0\r\n" +
	"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsee http://evil.example/pay\r\n" +
	"--b\r\nContent-Type: application/octet-stream; name=\"invoice.PDF.exe \"\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\nTVqQAAMAAAAEAAAA\r\n--b--\r\n"

func sampleEvidence(t testing.TB, rcpts ...string) *evidence.Evidence {
	t.Helper()
	env := &message.Envelope{From: message.Path{Raw: "<bounce@evil.example>"}, Helo: "mail.evil.example", AuthUser: "alice", TLS: "TLSv1.3"}
	e := &evidence.Evidence{
		Envelope: env, Message: message.Parse([]byte(sampleMessage), message.Options{}), Direction: intel.Inbound,
		Auth: auth.Results{Present: true, DMARC: auth.Result{Value: "fail"}, DKIM: []auth.Result{{Value: "pass", Domain: "evil.example"}}},
	}
	for _, r := range rcpts {
		p := message.Path{Raw: "<" + r + ">"}
		env.To = append(env.To, p)
		v, _ := intel.Address(r)
		rcpt := evidence.Recipient{Path: p, Value: v}
		if strings.HasPrefix(r, "vip") {
			rcpt.Person = &directory.Person{Name: "Vera", Groups: []string{"board", "finance"}, VIP: true}
		}
		e.Recipients = append(e.Recipients, rcpt)
	}
	return e
}

func hit(t testing.TB, value string, role intel.Role, d intel.Disposition, a intel.Action) intel.Hit {
	t.Helper()
	v, err := intel.Domain(value)
	if err != nil {
		t.Fatal(err)
	}
	return intel.Hit{Observable: intel.Observable{Value: v, Role: role, Place: "1/text"},
		Indicator: &intel.Indicator{Pattern: intel.Exact(v), Disposition: d, Source: "list:" + d.String() + "/x.txt", Line: 7, Action: a, Note: "secret"}}
}

func parse(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Parse("policy.toml", []byte(text), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func oneRule(when, action string) string {
	return fmt.Sprintf("[[rule]]\nname = \"it\"\nwhen = '''%s'''\naction = %q\n", when, action)
}

func TestConditionsSeeAllOfTheEvidence(t *testing.T) {
	e := sampleEvidence(t, "a@example.org", "vip@example.org")
	e.Hits = []intel.Hit{hit(t, "evil.example", intel.RoleURL, intel.Block, intel.ActionNone), hit(t, "odd.example", intel.RoleHelo, intel.Watch, intel.ActionNone)}
	e.Sender = &directory.Person{Name: "Sender", Groups: []string{"partners"}}
	for _, when := range []string{
		`direction == "inbound"`, fmt.Sprintf(`size == %d`, len(sampleMessage)),
		`client.helo == "mail.evil.example" && client.user == "alice" && client.authenticated && client.tls == "TLSv1.3" && client.ip == "" && !client.relay && !client.local`,
		`sender.address == "bounce@evil.example" && sender.domain == "evil.example" && "partners" in sender.groups && sender.known`,
		`rcpts.exists(r, r.vip && r.local == "vip") && size(rcpts) == 2`, `subject == "Rechnung ü"`,
		`from.exists(f, f.address == "pay@evil.example" && f.name == "Bank")`, `reply_to[0].domain == "other.example"`,
		`header["x-mailer"][0].startsWith("Evil")`, `!("x-none" in header)`,
		`blocks.exists(b, b.kind == "domain" && b.value == "evil.example" && b.role == "url" && b.place == "1/text" && b.disposition == "block" && b.action == "none" && b.source == "list:block/x.txt" && b.entry == "evil.example")`,
		`size(allows) == 0 && watches[0].role == "helo"`,
		`parts.exists(p, p.extension == "exe" && p.attachment && p.size == 12 && p.sha256 != "" && p.path == "2" && p.depth == 1)`,
		`urls.exists(u, u.url == "http://evil.example/pay" && u.host == "evil.example" && u.domain == "evil.example" && u.place == "1/text")`,
		`auth.present && auth.dmarc == "fail" && auth.spf == "" && auth.dkim.exists(s, s.result == "pass" && s.domain == "evil.example")`,
		`!defects.exists(d, d == "part-limit")`,
	} {
		v := parse(t, oneRule(when, "hold")).Decide(e)
		if v.Action != intel.ActionHold {
			t.Errorf("not true: %s", when)
		}
	}
}

func TestTheFirstTrueRuleDecides(t *testing.T) {
	p := parse(t, oneRule(`size < 0`, "reject")+strings.Replace(oneRule(`true`, "hold"), "it", "second", 1)+strings.Replace(oneRule(`true`, "tempfail"), "it", "third", 1))
	v, steps := p.Trace(sampleEvidence(t, "a@example.org"))
	if v.Action != intel.ActionHold || v.Rule != "second" {
		t.Errorf("%v by %s", v.Action, v.Rule)
	}
	if want := []Step{{Rule: "it"}, {Rule: "second", True: true}}; !reflect.DeepEqual(steps, want) {
		t.Errorf("steps %+v", steps)
	}
	v = parse(t, oneRule("false", "hold")).Decide(sampleEvidence(t, "a@example.org"))
	if v.Action != intel.ActionAccept || v.Rule != DefaultRule || len(v.Recipients) != 1 || v.Recipients[0].Hold {
		t.Errorf("with no rule true: %+v", v)
	}
}

func TestRecipientsDifferOnlyInDeliverOrHold(t *testing.T) {
	rules := func(vip, others string) string {
		s := oneRule(`rcpt.vip`, vip)
		if others != "" {
			s += strings.Replace(oneRule(`true`, others), "it", "others", 1)
		}
		return s
	}
	type rcpt = struct {
		action intel.Action
		hold   bool
	}
	cases := []struct {
		name        string
		policy      string
		local       bool
		action      intel.Action
		vip, others rcpt
	}{
		{"hold for some", rules("hold", ""), false, intel.ActionHold, rcpt{intel.ActionHold, true}, rcpt{intel.ActionAccept, false}},
		{"a tempfail for any is one for all", rules("tempfail", "hold"), false, intel.ActionTempfail, rcpt{intel.ActionTempfail, false}, rcpt{intel.ActionHold, false}},
		{"reject for some is hold", rules("reject", ""), false, intel.ActionHold, rcpt{intel.ActionReject, true}, rcpt{intel.ActionAccept, false}},
		{"reject for all", rules("reject", "reject"), false, intel.ActionReject, rcpt{intel.ActionReject, false}, rcpt{intel.ActionReject, false}},
		{"reject of mail not from SMTP is hold", rules("reject", "reject"), true, intel.ActionHold, rcpt{intel.ActionReject, true}, rcpt{intel.ActionReject, true}},
		{"discard is a hold", rules("discard", "discard"), false, intel.ActionDiscard, rcpt{intel.ActionDiscard, true}, rcpt{intel.ActionDiscard, true}},
		{"discard beside deliver", rules("discard", "accept"), false, intel.ActionDiscard, rcpt{intel.ActionDiscard, true}, rcpt{intel.ActionAccept, false}},
		{"hold and discard", rules("discard", "hold"), false, intel.ActionHold, rcpt{intel.ActionDiscard, true}, rcpt{intel.ActionHold, true}},
		{"tag and hold", rules("tag", "hold"), false, intel.ActionHold, rcpt{intel.ActionTag, false}, rcpt{intel.ActionHold, true}},
		{"tag for some", rules("tag", ""), false, intel.ActionTag, rcpt{intel.ActionTag, false}, rcpt{intel.ActionAccept, false}},
		{"accept before hold", rules("accept", "hold"), false, intel.ActionHold, rcpt{intel.ActionAccept, false}, rcpt{intel.ActionHold, true}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			e := sampleEvidence(t, "vip@example.org", "b@example.org")
			e.Envelope.Local = c.local
			v := parse(t, c.policy).Decide(e)
			got := []rcpt{{v.Recipients[0].Action, v.Recipients[0].Hold}, {v.Recipients[1].Action, v.Recipients[1].Hold}}
			if v.Action != c.action || got[0] != c.vip || got[1] != c.others {
				t.Errorf("%v %+v, want %v %+v %+v", v.Action, got, c.action, c.vip, c.others)
			}
			if reply := v.Reply.Code != 0; reply != (c.action == intel.ActionReject || c.action == intel.ActionTempfail) {
				t.Errorf("reply %+v", v.Reply)
			}
		})
	}
}

func TestATrustedRelayIsNeverToldNo(t *testing.T) {
	e := sampleEvidence(t, "a@example.org")
	e.Relay = true
	if v := parse(t, oneRule("true", "reject")).Decide(e); v.Action != intel.ActionHold || !v.Recipients[0].Hold {
		t.Errorf("%+v", v)
	}
}

func TestTheStrongestTagIsThatOfTheFirstRule(t *testing.T) {
	text := "[[rule]]\nname='a'\nwhen='rcpt.local == \"b\"'\naction='tag'\nsubject_prefix='[A]'\n[[rule]]\nname='b'\nwhen='true'\naction='tag'\nsubject_prefix='[LONGER]'\n"
	for _, rcpts := range [][]string{{"a@x.example", "b@x.example"}, {"b@x.example", "a@x.example"}} {
		if v := parse(t, text).Decide(sampleEvidence(t, rcpts...)); v.Tag.SubjectPrefix != "[A]" {
			t.Errorf("%v: %q", rcpts, v.Tag.SubjectPrefix)
		}
	}
}

func TestAConditionThatCannotBeDecidedCountsAsTrue(t *testing.T) {
	broken := `reply_to[5].domain == "x"`
	for action, want := range map[string]intel.Action{"hold": intel.ActionHold, "reject": intel.ActionHold, "discard": intel.ActionHold,
		"tag": intel.ActionTag, "tempfail": intel.ActionTempfail, "accept": intel.ActionAccept} {
		v := parse(t, oneRule(broken, action)).Decide(sampleEvidence(t, "a@example.org"))
		if v.Action != want {
			t.Errorf("%s: %v", action, v.Action)
		}
		if want != intel.ActionAccept && !strings.Contains(v.Reasons[0].Note, "could not be decided") {
			t.Errorf("%s: reasons %+v", action, v.Reasons)
		}
	}
	// Nobody buys an exemption with a message that makes it fail.
	v := parse(t, oneRule(broken, "accept")+strings.Replace(oneRule("true", "hold"), "it", "second", 1)).Decide(sampleEvidence(t, "a@example.org"))
	if v.Rule != "second" {
		t.Errorf("decided by %s", v.Rule)
	}
}

func TestReasonsNameTheHitsBehindTheRule(t *testing.T) {
	e := sampleEvidence(t, "a@example.org")
	e.Hits = []intel.Hit{
		hit(t, "good.example", intel.RoleURL, intel.Allow, intel.ActionNone), hit(t, "other.example", intel.RoleHelo, intel.Block, intel.ActionNone),
		hit(t, "evil.example", intel.RoleURL, intel.Block, intel.ActionNone),
	}
	v := parse(t, oneRule(`blocks.exists(b, b.role == "url")`, "hold")).Decide(e)
	want := []verdict.Reason{{Rule: "it", Source: "list:block/x.txt", Line: 7, Entry: "evil.example", Kind: "domain", Value: "evil.example", Role: "url", Place: "1/text", Note: "secret"}}
	if !reflect.DeepEqual(v.Reasons, want) {
		t.Errorf("%+v", v.Reasons)
	}
	v = parse(t, oneRule(`size(blocks) > 1`, "hold")).Decide(e)
	if len(v.Reasons) != 2 {
		t.Errorf("where only both together count: %+v", v.Reasons)
	}
	if v := parse(t, oneRule(`size > 1`, "hold")).Decide(e); len(v.Reasons) != 1 || v.Reasons[0] != (verdict.Reason{Rule: "it"}) {
		t.Errorf("where no hit counts: %+v", v.Reasons)
	}
}

func TestARuleSeesHowSureASourceIs(t *testing.T) {
	p := parse(t, oneRule("blocks.exists(b, b.confidence >= 80)", "hold"))
	for confidence, want := range map[int]intel.Action{0: intel.ActionAccept, 79: intel.ActionAccept, 80: intel.ActionHold} {
		e := sampleEvidence(t, "a@example.org")
		h := hit(t, "a.example", intel.RoleURL, intel.Block, intel.ActionNone)
		h.Indicator.Confidence = confidence
		e.Hits = []intel.Hit{h}
		if v := p.Decide(e); v.Action != want {
			t.Errorf("%d: %v, want %v", confidence, v.Action, want)
		}
	}
}

func TestTheShippedPolicyHoldsWhatIsListed(t *testing.T) {
	p, err := Parse(DefaultName, Default(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		hits   []intel.Hit
		action intel.Action
		rule   string
	}{
		{nil, intel.ActionAccept, DefaultRule},
		{[]intel.Hit{hit(t, "a.example", intel.RoleURL, intel.Watch, intel.ActionNone)}, intel.ActionAccept, DefaultRule},
		{[]intel.Hit{hit(t, "a.example", intel.RoleURL, intel.Allow, intel.ActionNone)}, intel.ActionAccept, DefaultRule},
		{[]intel.Hit{hit(t, "a.example", intel.RoleURL, intel.Block, intel.ActionNone)}, intel.ActionHold, "blocked-url"},
		{[]intel.Hit{hit(t, "a.example", intel.RoleHeaderFrom, intel.Block, intel.ActionNone)}, intel.ActionHold, "blocked-sender"},
		{[]intel.Hit{hit(t, "a.example", intel.RoleClient, intel.Block, intel.ActionNone)}, intel.ActionHold, "blocked-client"},
		{[]intel.Hit{hit(t, "a.example", intel.RoleRcpt, intel.Block, intel.ActionNone)}, intel.ActionHold, "blocked"},
		{[]intel.Hit{hit(t, "a.example", "", intel.Block, intel.ActionNone)}, intel.ActionHold, "blocked"},
		{[]intel.Hit{hit(t, "a.example", intel.RoleURL, intel.Block, intel.ActionReject)}, intel.ActionReject, "listed-reject"},
		{[]intel.Hit{hit(t, "a.example", intel.RoleURL, intel.Block, intel.ActionTag)}, intel.ActionTag, "listed-tag"},
		{[]intel.Hit{hit(t, "a.example", intel.RoleURL, intel.Block, intel.ActionHold)}, intel.ActionHold, "listed-hold"},
		{[]intel.Hit{hit(t, "a.example", intel.RoleURL, intel.Block, intel.ActionDiscard)}, intel.ActionDiscard, "listed-discard"},
		{[]intel.Hit{hit(t, "a.example", intel.RoleURL, intel.Block, intel.ActionTempfail)}, intel.ActionTempfail, "listed-tempfail"},
		{[]intel.Hit{hit(t, "a.example", intel.RoleURL, intel.Block, intel.ActionTag), hit(t, "b.example", intel.RoleURL, intel.Block, intel.ActionNone)}, intel.ActionHold, "blocked-url"},
	}
	for _, c := range cases {
		e := sampleEvidence(t, "a@example.org")
		e.Hits = c.hits
		if v := p.Decide(e); v.Action != c.action || v.Rule != c.rule {
			t.Errorf("%+v: %v by %s, want %v by %s", c.hits, v.Action, v.Rule, c.action, c.rule)
		}
	}
}

func TestTheShippedPolicyHoldsWhatWasNotLookedAtToTheEnd(t *testing.T) {
	p, err := Parse(DefaultName, Default(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for defect, want := range map[string]intel.Action{
		message.DefectArchiveBytes: intel.ActionHold, message.DefectArchiveFiles: intel.ActionHold, message.DefectArchiveRatio: intel.ActionHold,
		message.DefectDepthLimit: intel.ActionHold, message.DefectHeaderLimit: intel.ActionHold, message.DefectPartLimit: intel.ActionHold,
		message.DefectReadingLimit: intel.ActionHold, message.DefectTextLimit: intel.ActionHold, message.DefectURLLimit: intel.ActionHold,
		message.DefectURLLength: intel.ActionAccept, message.DefectDefectLimit: intel.ActionAccept, message.DefectArchiveEncrypted: intel.ActionAccept,
	} {
		e := sampleEvidence(t, "a@example.org")
		e.Direction = intel.Inbound
		e.Message.Defects = []message.Defect{{Name: defect}}
		if v := p.Decide(e); v.Action != want {
			t.Errorf("%s: %v by %s", defect, v.Action, v.Rule)
		}
		e.Direction = intel.Outbound
		if v := p.Decide(e); v.Action != intel.ActionAccept {
			t.Errorf("%s in outbound mail: %v by %s", defect, v.Action, v.Rule)
		}
	}
}

func TestFaultsInAFileAreAllNamedWithTheirPlace(t *testing.T) {
	cases := map[string][]string{
		"[[rule]]\nname = 'a'\nwhen = 'blcks.exists(b, b.x)'\naction = 'hold'\n":                                       {`policy.toml:3:9: rule a: nothing is called "blcks" here`},
		"[[rule]]\nname = 'a'\nwhen = '''\ntrue &&\n  size == \"x\"'''\naction = 'hold'\n":                             {`policy.toml:5:8: rule a: `},
		"[[rule]]\nname = \"a\"\nwhen = \"subject == \\\"x\\\" && nope\"\naction = 'hold'\n":                           {`policy.toml:3: rule a: nothing is called "nope"`},
		"[[rule]]\nwhen = 'true'\naction = 'hold'\n":                                                                   {"policy.toml:1:1: has no name"},
		"[[rule]]\nname = 'A b'\nwhen = 'true'\naction = 'hold'\n":                                                     {`policy.toml:2:8: the name "A b" has to be`},
		"[[rule]]\nname = 'default'\nwhen = 'true'\naction = 'hold'\n":                                                 {`policy.toml:2:8: the name "default" is used by Weir`},
		"[[rule]]\nname = 'a'\nwhen = 'true'\naction = 'hold'\n[[rule]]\nname = 'a'\nwhen = 'true'\naction = 'hold'\n": {"policy.toml:6:8: rule a: a rule in line 1 has this name"},
		"[[rule]]\nname = 'a'\nwhen = 'true'\naction = 'quarantine'\n":                                                 {`policy.toml:4:10: rule a: the action "quarantine" is none of`},
		"[[rule]]\nname = 'a'\nwhen = 'true'\naction = 'hold'\ntext = 'x'\n":                                           {"policy.toml:5:8: rule a: code, enhanced and text are the answer"},
		"[[rule]]\nname = 'a'\nwhen = 'true'\naction = 'reject'\ncode = 451\n":                                         {"rule a: the code of a reject has to be 500 to 559, not 451"},
		"[[rule]]\nname = 'a'\nwhen = 'true'\naction = 'tempfail'\nenhanced = '5.7.1'\n":                               {"policy.toml:5:12: rule a: the enhanced status of a tempfail"},
		"[[rule]]\nname = 'a'\nwhen = 'true'\naction = 'reject'\ntext = \"a\\r\\nb\"\n":                                {"policy.toml:5:8: rule a: the text has to be printable"},
		"[[rule]]\nname = 'a'\nwhen = 'true'\naction = 'hold'\nsubject_prefix = 'x'\n":                                 {"policy.toml:5:18: rule a: subject_prefix belongs to the action tag"},
		"[[rule]]\nname = 'a'\nwhen = ' '\naction = 'hold'\n":                                                          {"rule a: has no condition"},
		"[[rule]]\nname = 'a'\nwhen = 'size'\naction = 'hold'\n":                                                       {"policy.toml:3:9: rule a: gives a int"},
		"[[rule]]\nname = 'a'\nwehn = 'true'\naction = 'hold'\nx = 1\n":                                                {`policy.toml:3:1: "rule.wehn" is no key`, `policy.toml:5:1: "rule.x" is no key`},
		"[[rule]]\nname = \n": {"policy.toml:2:"},
		"[[rule]]\nname = 'a'\nwhen = 'x'\naction = 'nope'\n": {`nothing is called "x"`, `the action "nope"`},
		strings.Repeat("#", maxFileBytes+1):                   {"is larger than"},
		strings.Repeat("[[rule]]\n", maxRules+1):              {"has 501 rules"},
	}
	for text, wants := range cases {
		_, err := Parse("policy.toml", []byte(text), Options{})
		if err == nil {
			t.Errorf("%.80q was taken", text)
			continue
		}
		var fault *Error
		if !errors.As(err, &fault) {
			t.Errorf("%.80q: no *Error: %v", text, err)
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%.80q:\n got %v\nwant %s", text, err, want)
			}
		}
	}
}

func TestTheReferenceNamesEveryVariable(t *testing.T) {
	if os.Getenv("WEIR_UPDATE") != "" {
		if err := os.WriteFile("reference.md", []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("reference.md")
	if err != nil {
		t.Fatal(err)
	}
	if Reference() != string(want) {
		t.Error("reference.md is stale: run WEIR_UPDATE=1 go test ./filter/policy")
	}
}

func TestTheRuleOnTheReferencePageIsARule(t *testing.T) {
	_, rest, _ := strings.Cut(Reference(), "```toml\n")
	text, _, found := strings.Cut(rest, "```")
	p, err := Parse("page", []byte(text), Options{})
	if !found || err != nil || len(p.Rules()) != 1 {
		t.Errorf("%q: %v", text, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(Default()))
	f.Add("[[rule]]\nname='a'\nwhen='''\nx'''\naction='hold'\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse("p", []byte(text), Options{})
		if err == nil && len(p.Rules()) > 0 {
			p.Decide(sampleEvidence(t, "a@example.org"))
		}
		var fault *Error
		if err != nil && !errors.As(err, &fault) {
			t.Fatalf("no *Error: %v", err)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	p, err := Parse(DefaultName, Default(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	clean := sampleEvidence(b, "a@example.org")
	listed := sampleEvidence(b, "a@example.org")
	listed.Hits = []intel.Hit{hit(b, "evil.example", intel.RoleURL, intel.Block, intel.ActionNone)}
	for name, e := range map[string]*evidence.Evidence{"clean": clean, "listed": listed} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(e)
			}
		})
	}
}
