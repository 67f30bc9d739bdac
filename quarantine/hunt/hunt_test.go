package hunt

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
)

func TestWhatTheListsNewlyKnowIsLookedUp(t *testing.T) {
	sha := strings.Repeat("ab", 32)
	digest := func(e *journal.Entry) {
		observe(e, intel.RoleAttachment, "2", must(intel.Digest(sha)))
	}
	for _, c := range []struct {
		name, line string
		mail       func(*journal.Entry)
		key        string
	}{
		{"a URL", "https://evil.example/pay?x=1", link("https://evil.example/pay?x=1"), "url|evil.example/pay?x=1"},
		{"a URL by the other scheme", "http://evil.example/pay", link("https://evil.example/pay"), "url|evil.example/pay"},
		{"a URL prefix", "https://evil.example/pay/*", link("https://evil.example/pay/now?id=5"), "url|evil.example/pay/*"},
		{"a URL prefix on an address", "http://198.51.100.9:8080/a*", link("http://198.51.100.9:8080/abc"), "url|198.51.100.9:8080/a*"},
		{"a URL prefix on an IPv6 address", "http://[2001:db8::9]/a*", link("http://[2001:db8::9]/abc"), "url|[2001:db8::9]/a*"},
		{"a domain, of a link", "evil.example", link("https://evil.example/"), "domain|evil.example"},
		{"a domain, of a sender", "evil.example", from("bob@evil.example"), "domain|evil.example"},
		{"a domain and all below it", ".evil.example", link("https://a.b.evil.example/"), "domain|.evil.example"},
		{"an address", "bob@evil.example", from("Bob@Evil.example"), "address|bob@evil.example"},
		{"the null sender", "<>", from(""), "address|<>"},
		{"an IP address", "198.51.100.7", client("198.51.100.7"), "ip|198.51.100.7"},
		{"an IP address, of a link", "198.51.100.7", link("http://198.51.100.7/x"), "ip|198.51.100.7"},
		{"a /28", "198.51.100.0/28", client("198.51.100.7"), "ip|198.51.100.0/28"},
		{"a /20", "198.51.96.0/20", client("198.51.100.7"), "ip|198.51.96.0/20"},
		{"a /12", "198.48.0.0/12", client("198.51.100.7"), "ip|198.48.0.0/12"},
		{"a /3", "192.0.0.0/3", client("198.51.100.7"), "ip|192.0.0.0/3"},
		{"an IPv6 /56", "2001:db8:0:ff00::/56", client("2001:db8:0:ff12::1"), "ip|2001:db8:0:ff00::/56"},
		{"an IPv6 /40", "2001:db8::/40", client("2001:db8:ff::1"), "ip|2001:db8::/40"},
		{"an IPv6 /16", "2001::/16", client("2001:db8:ff::1"), "ip|2001::/16"},
		{"a digest", strings.ToUpper(sha), digest, "sha256|" + sha},
		{"an expression on the subject", "/invoice\\s+\\d+/i in=subject", subject("Your INVOICE 15"), "regexp|/invoice\\s+\\d+/i|subject"},
		{"an expression on a file's name", "/\\.exe$/ in=file-name", func(e *journal.Entry) { e.Files = []string{"a.pdf", "b.exe"} }, "regexp|/\\.exe$/|file-name"},
		{"an expression on From", "/CEO/ in=header:from", func(e *journal.Entry) { e.HeaderFrom = `"The CEO" <x@y.example>` }, "regexp|/CEO/|header:from"},
		{"an expression on a whole field", "/^message-id: <bad/i in=header", func(e *journal.Entry) { e.MessageID = "bad1@x.example" }, "regexp|/^message-id: <bad/i|header"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.list("list:block/old.txt", "other.example")
			s.mail(link("https://harmless.example/pay/now"), client("3.0.113.5"))
			id := s.mail(c.mail)
			s.work()
			s.wantNothing()
			s.list("list:block/new.txt", c.line)
			s.mail(c.mail, func(e *journal.Entry) { e.MessageID = "bad2@x.example" }) // judged by the lists that know it: policy let it pass
			s.work()
			s.want(map[string][]string{c.key: {id}})
			o := s.desk.incidents[c.key].opening
			if o.Actor != "list:block/new.txt" || o.Source != o.Actor || o.Title == "" || o.Reason == "" || o.Severity != "medium" || o.Automatic {
				t.Errorf("opened as %+v", o)
			}
			if got := s.desk.chain(c.key, id); got != "indicator" {
				t.Errorf("chain %s", got)
			}
			told := s.desk.told
			s.open()
			s.work()
			if s.desk.told != told {
				t.Error("hunted again without need")
			}
		})
	}
}

func TestWhatTheListsOfTodayLetPassIsNoMatch(t *testing.T) {
	evil := "https://evil.example/pay"
	for _, c := range []struct {
		name  string
		lists map[string]string
		mail  []func(*journal.Entry)
	}{
		{"an allow that is as specific", map[string]string{"list:block/a": evil, "list:allow/a": evil}, nil},
		{"an allow that is more specific", map[string]string{"list:block/a": "evil.example", "list:allow/a": evil}, nil},
		{"another role", map[string]string{"list:block/a": "evil.example in=header-from"}, nil},
		{"another direction", map[string]string{"list:block/a": "evil.example dir=outbound"}, nil},
		{"an expired entry", map[string]string{"list:block/a": "evil.example until=2026-02-28"}, nil},
		{"an entry that only tags", map[string]string{"list:block/a": "evil.example action=tag"}, nil},
		{"a watch entry", map[string]string{"list:watch/a": "evil.example"}, nil},
		{"a more specific block that only tags", map[string]string{"list:block/a": "evil.example", "list:block/b": evil + " action=tag"}, nil},
		{"an expression that an allow beats", map[string]string{"list:block/a": "/hello/ in=subject", "list:allow/a": "/^hello$/ in=subject"}, nil},
		{"another path on the host", map[string]string{"list:block/a": "https://evil.example/other*"}, nil},
		{"the host above", map[string]string{"list:block/a": "domain:example"}, nil},
		{"a name below", map[string]string{"list:block/a": "www.evil.example"}, nil},
		{"another address of the /24", map[string]string{"list:block/a": "192.0.2.128/25"}, nil},
		{"mail from before the look-back", map[string]string{"list:block/a": "evil.example"}, []func(*journal.Entry){at(start.Add(-30*24*time.Hour - time.Second))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.list("list:block/old.txt", "other.example")
			s.mail(append(c.mail, link(evil))...)
			for name, line := range c.lists {
				s.list(name, line)
			}
			s.work()
			s.wantNothing()
		})
	}
}

func TestMailFromTheLastMomentOfTheLookBackIsFound(t *testing.T) {
	s := newSite(t)
	id := s.mail(link("https://evil.example/"), at(start.Add(-30*24*time.Hour)))
	s.list("list:block/a", "evil.example")
	s.work()
	s.want(map[string][]string{"domain|evil.example": {id}})
}

func TestAnAllowOfTheSenderDoesNotExcuseALink(t *testing.T) {
	s := newSite(t)
	id := s.mail(link("https://evil.example/"), from("good@mail.example"))
	s.list("list:allow/a", "good@mail.example")
	s.list("list:block/a", "evil.example")
	s.work()
	s.want(map[string][]string{"domain|evil.example": {id}})
}

func TestOneIndicatorInTwoListsIsOneIncident(t *testing.T) {
	s := newSite(t)
	id := s.mail(link("https://evil.example/a"))
	s.list("feed:one", "http://evil.example/a")
	s.work()
	s.list("list:block/a", "https://evil.example/a")
	s.work()
	s.want(map[string][]string{"url|evil.example/a": {id}})
	if a := s.desk.incidents["url|evil.example/a"].actors; !a["feed:one"] || !a["list:block/a"] {
		t.Errorf("told by %v", a)
	}
}

func TestAListSpeaksBeforeAFeed(t *testing.T) {
	s := newSite(t)
	s.mail(link("https://evil.example/a"))
	s.hunt = nil
	s.list("feed:one", "evil.example")
	s.list("list:block/a", "evil.example")
	s.work()
	if got := s.desk.incidents["domain|evil.example"]; got.opening.Source != "list:block/a" || got.actors["feed:one"] {
		t.Errorf("opened by %s, told by %v", got.opening.Source, got.actors)
	}
}

func TestACampaignIsOneIncident(t *testing.T) {
	s := newSite(t)
	one := s.mail(link("https://one.example/a"))
	two := s.mail(link("https://two.example/b"))
	both := s.mail(link("https://one.example/a"), link("https://two.example/b"))
	s.list("list:block/a", "one.example campaign=wave-7", "two.example campaign=wave-7", "three.example")
	s.work()
	s.want(map[string][]string{"campaign|wave-7": {one, two, both}})
}

func TestAnIndicatorThatAnotherOfItsCampaignOverrulesMatches(t *testing.T) {
	s := newSite(t)
	s.list("list:block/a", "https://one.example/a campaign=wave-7")
	id := s.mail(link("https://one.example/a"), under(1)) // judged before both
	other := s.mail(link("https://one.example/b"), under(1))
	s.open()
	s.hunt.looked, s.hunt.place.Hunted = s.store.Generation(), s.store.Generation()
	s.list("list:block/b", "one.example campaign=wave-7")
	s.work()
	s.want(map[string][]string{"campaign|wave-7": {id, other}})
}

func TestAnIndicatorThatATagOfItsCampaignOverrulesIsNoMatch(t *testing.T) {
	s := newSite(t)
	s.list("list:block/a", "https://one.example/a campaign=wave-7 action=tag")
	s.mail(link("https://one.example/a"))
	s.work()
	s.list("list:block/b", "one.example campaign=wave-7")
	s.work()
	s.wantNothing()
}

func TestAnIndicatorThatAnotherCampaignOverrulesIsNoMatch(t *testing.T) {
	s := newSite(t)
	s.list("list:block/a", "https://one.example/a campaign=wave-6")
	s.mail(link("https://one.example/a"))
	s.work()
	s.list("list:block/b", "one.example campaign=wave-7")
	s.work()
	s.wantNothing()
}

func TestAnEntryThatGetsSharperCountsAsAdded(t *testing.T) {
	s := newSite(t)
	s.list("list:block/a", "evil.example action=tag")
	id := s.mail(link("https://evil.example/"), func(e *journal.Entry) {
		e.Hits = []journal.Hit{{Source: "list:block/a", Value: "https://evil.example/", Place: "1/text"}}
	})
	s.work()
	s.wantNothing()
	s.list("list:block/a", "evil.example action=hold")
	s.work()
	s.want(map[string][]string{"domain|evil.example": {id}})
}

func TestGenerationsThatWereSkippedAreHuntedTogether(t *testing.T) {
	s := newSite(t)
	s.list("list:block/0", "zero.example")
	s.work()
	var want []string
	lines := []string{}
	for i := range 5 {
		want = append(want, s.mail(link(fmt.Sprintf("https://h%d.example/", i))))
		lines = append(lines, fmt.Sprintf("h%d.example campaign=c", i))
		s.list("list:block/1", lines...)
	}
	s.work()
	s.want(map[string][]string{"campaign|c": want})
	if r := s.hunt.Status().Last; r.Indicators != 5 || r.Matched != 5 || r.Incidents != 1 {
		t.Errorf("result %+v", r)
	}
}

func TestExpressionsOnWhatIsNotKeptAreCounted(t *testing.T) {
	s := newSite(t)
	s.mail()
	s.list("list:block/a", "/x/ in=header:x-mailer", "/hello/ in=header:x-mailer,subject")
	s.work()
	if r := s.hunt.Status().Last; r.Unsearchable != 1 || r.Matched != 1 {
		t.Errorf("result %+v", r)
	}
}

func TestAnEntryThatCouldNotKeepAllIsFoundByItsEnvelope(t *testing.T) {
	s := newSite(t)
	var ids []string
	for _, c := range []func(*journal.Entry){from("bob@evil.example"), to("bob@evil.example"), client("198.51.100.7")} {
		ids = append(ids, s.mail(c, func(e *journal.Entry) {
			for i := range journal.MaxObservables {
				observe(e, intel.RoleAttachment, "2", intel.SHA256([32]byte{byte(i), byte(i >> 8), byte(s.count)}))
			}
		}))
	}
	s.list("list:block/a", ".evil.example campaign=c", "198.51.100.7 campaign=c")
	s.work()
	s.want(map[string][]string{"campaign|c": ids})
}

func TestAPassEndsWhereTooMuchMatches(t *testing.T) {
	s := newSite(t)
	s.options.MaxMatches = 3
	var ids []string
	for range 10 {
		ids = append(ids, s.mail(link("https://evil.example/")))
	}
	s.list("list:block/a", "evil.example")
	s.work()
	s.want(map[string][]string{"domain|evil.example": ids[7:]})
	if r := s.hunt.Status().Last; r.Cut != 1 || r.Matched != 3 {
		t.Errorf("result %+v", r)
	}
}

func TestTheNewestMailComesFirst(t *testing.T) {
	s := newSite(t)
	for range 3*pageLimit + 10 {
		s.mail(link("https://evil.example/"))
	}
	last := fmt.Sprintf("01ENTRY%04d", s.count)
	s.work()
	s.list("list:block/a", "evil.example")
	for len(s.desk.messages()) == 0 {
		if _, err := s.hunt.turn(s.ctx); err != nil {
			t.Fatal(err)
		}
	}
	got := s.desk.messages()["domain|evil.example"]
	if len(got) != pageLimit || got[len(got)-1] != last {
		t.Errorf("first %d messages, the last of them %s", len(got), got[len(got)-1])
	}
	s.work()
	if n := len(s.desk.messages()["domain|evil.example"]); n != s.count {
		t.Errorf("%d messages, want %d", n, s.count)
	}
}

func TestWhatCameLastGoesFirst(t *testing.T) {
	s := newSite(t)
	for range 3*pageLimit + 10 {
		s.mail(link("https://popular.example/"))
	}
	id := s.mail(link("https://evil.example/"))
	s.work()
	s.list("list:block/a", "popular.example")
	if _, err := s.hunt.turn(s.ctx); err != nil {
		t.Fatal(err)
	}
	if n := len(s.desk.messages()["domain|popular.example"]); n != pageLimit {
		t.Fatalf("%d messages after the first page", n)
	}
	s.list("list:block/b", "evil.example")
	if _, err := s.hunt.turn(s.ctx); err != nil {
		t.Fatal(err)
	}
	if got := s.desk.messages()["domain|evil.example"]; len(got) != 1 || got[0] != id {
		t.Errorf("found %v while an older pass is at work", got)
	}
	if got := s.hunt.Status().Hunted; got >= s.store.Generation() {
		t.Error("the older pass counts as done")
	}
	s.work()
	if n := len(s.desk.messages()["domain|popular.example"]); n != s.count-1 {
		t.Errorf("%d messages, want %d", n, s.count-1)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	s := newSite(t)
	s.open()
	good := s.hunt.o
	for name, spoil := range map[string]func(*Options){
		"FS": func(o *Options) { o.FS = nil }, "Dir": func(o *Options) { o.Dir = "" }, "Lists": func(o *Options) { o.Lists = nil },
		"Matcher": func(o *Options) { o.Matcher = nil }, "Journal": func(o *Options) { o.Journal = nil }, "Desk": func(o *Options) { o.Desk = nil },
		"LookBack": func(o *Options) { o.LookBack = -1 },
	} {
		o := good
		spoil(&o)
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if err := s.hunt.SetLookBack(0); err == nil {
		t.Error("no look-back at all is taken")
	}
}
