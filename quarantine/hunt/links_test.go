package hunt

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/intel/journal"
)

// text is long enough to tell messages apart.
func text(word string) string { return strings.Repeat(word+" ", 40) }

const evilKey = "domain|evil.example"

var evil = link("https://evil.example/pay")

// original is a message with something in it that can be recognised.
func original(s *site, change ...func(*journal.Entry)) string {
	return s.mail(append([]func(*journal.Entry){
		evil, link("https://files.example/only-here"), to("alice@here.example"),
		content("text/plain "+text("dear alice"), "application/pdf "+text("offer"), "image/png "+text("logo")),
	}, change...)...)
}

// linkCase is a message that may come from another one.
type linkCase struct {
	name string
	mail []func(*journal.Entry)
	want string // its chain; empty: it is not linked
}

func linkCases() []linkCase {
	file := "application/pdf " + text("offer")
	image := "image/png " + text("logo")
	alice, stranger := from("alice@here.example"), from("carol@here.example")
	fwd := subject("WG: hello")
	return []linkCase{
		{"the whole original attached", []func(*journal.Entry){attached("text/plain look at this", "text/plain "+text("dear alice"), file, image), stranger}, "indicator embedded<01ENTRY0001"},
		{"the original attached without its file", []func(*journal.Entry){attached("text/plain look at this", "text/plain "+text("dear alice")), stranger}, ""},
		{"a forward with its file", []func(*journal.Entry){alice, fwd, content("text/plain look", file)}, "indicator attachment<01ENTRY0001"},
		{"an answer with its file", []func(*journal.Entry){alice, answering("m1@mail.example"), content("text/plain look", file)}, "indicator attachment<01ENTRY0001"},
		{"a forward with its file by somebody who did not get it", []func(*journal.Entry){stranger, fwd, content("text/plain look", file)}, "indicator attachment<01ENTRY0001?"},
		{"its file and nothing else", []func(*journal.Entry){stranger, content("text/plain look", file)}, "indicator attachment<01ENTRY0001?"},
		{"its file and nothing else, from who got it", []func(*journal.Entry){alice, content("text/plain look", file)}, "indicator attachment<01ENTRY0001?"},
		{"a forward with its image", []func(*journal.Entry){alice, fwd, content("text/plain look", image)}, "indicator attachment<01ENTRY0001?"},
		{"a forward with another of its links", []func(*journal.Entry){alice, fwd, link("https://files.example/only-here")}, "indicator url<01ENTRY0001"},
		{"another of its links and nothing else", []func(*journal.Entry){alice, link("https://files.example/only-here")}, ""},
		{"an answer", []func(*journal.Entry){alice, answering("older@x.example", "m1@mail.example")}, "indicator thread<01ENTRY0001?"},
		{"an answer to another message", []func(*journal.Entry){alice, answering("older@x.example")}, ""},
		{"the same again, with its Message-ID", []func(*journal.Entry){content("text/plain "+text("dear alice"), file, image), func(e *journal.Entry) { e.MessageID = "m1@mail.example" }}, "indicator embedded<01ENTRY0001"},
		{"the same content by another name", []func(*journal.Entry){content("text/plain "+text("dear alice"), file, image)}, "indicator embedded<01ENTRY0001?"},
		{"another content with its Message-ID", []func(*journal.Entry){content("text/plain another"), func(e *journal.Entry) { e.MessageID = "m1@mail.example" }}, "indicator thread<01ENTRY0001?"},
		{"its X-Weir-ID alone", []func(*journal.Entry){content("text/plain another"), func(e *journal.Entry) { e.Parent = "01ENTRY0001" }}, "indicator thread<01ENTRY0001?"},
		{"the same again, with its X-Weir-ID", []func(*journal.Entry){content("text/plain "+text("dear alice"), file, image), func(e *journal.Entry) { e.Parent = "01ENTRY0001" }}, "indicator embedded<01ENTRY0001"},
		{"its subject", []func(*journal.Entry){alice, subject("Fwd: hello")}, ""},
	}
}

func TestAnswersAndForwardsAreFollowed(t *testing.T) {
	for _, c := range linkCases() {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			first := original(s)
			id := s.mail(c.mail...)
			s.list("list:block/a", "evil.example")
			s.work()
			if got := s.desk.chain(evilKey, id); got != c.want {
				t.Errorf("chain %q, want %q", got, c.want)
			}
			if s.desk.chain(evilKey, first) != "indicator" {
				t.Error("the original is not in it")
			}
		})
	}
}

func TestWhatWasThereBeforeIsNotLinked(t *testing.T) {
	s := newSite(t)
	before := s.mail(from("alice@here.example"), subject("Fwd: hello"), content("text/plain x", "application/pdf "+text("offer")), answering("m2@mail.example"))
	id := original(s)
	s.list("list:block/a", "evil.example")
	s.work()
	s.want(map[string][]string{evilKey: {id}})
	_ = before
}

func TestWhatWasThereBeforeIsNotLinkedByItsHeadersEither(t *testing.T) {
	s := newSite(t)
	s.mail(from("alice@here.example"), answering("m2@mail.example"))
	id := original(s)
	s.mail()
	s.list("list:block/a", "evil.example")
	s.work()
	s.want(map[string][]string{evilKey: {id}})
}

func TestAttachedContentIsTheOriginals(t *testing.T) {
	long := []string{"text/plain " + text("dear"), "application/pdf " + text("offer")}
	for _, c := range []struct {
		name          string
		e, later      func(*journal.Entry)
		whole, inside bool
	}{
		{"attached", content(long...), attached("text/plain see", long...), false, true},
		{"the same", content(long...), content(long...), true, false},
		{"a part of it", content(long...), attached("text/plain see", long[0]), false, false},
		{"with more", content(long...), attached("text/plain see", append(long, "text/plain footer")...), false, false},
		{"in another order", content(long...), attached("text/plain see", long[1], long[0]), false, false},
		{"beside and not inside", content(long...), content(append([]string{"text/plain see"}, long...)...), false, false},
		{"too little to tell", content("text/plain ok"), attached("text/plain see", "text/plain ok"), false, false},
		{"with another reading of a part", content(long...), func(e *journal.Entry) {
			attached("text/plain see", long...)(e)
			other := e.Parts[1]
			other.Path, other.Fingerprint[0] = other.Path+"~2", other.Fingerprint[0]+1
			e.Parts = slices.Insert(e.Parts, 2, other)
		}, false, true},
		{"in a message that is attached to an attached one", content(long...), func(e *journal.Entry) {
			attached("text/plain see", long...)(e)
			for i := range e.Parts {
				e.Parts[i].Path = "3." + e.Parts[i].Path
			}
		}, false, true},
		{"very deep", content(long...), func(e *journal.Entry) {
			attached("text/plain see", long...)(e)
			for i := range e.Parts {
				e.Parts[i].Path = strings.Repeat("1.", 10_000) + e.Parts[i].Path
			}
		}, false, false},
	} {
		e, later := &journal.Entry{}, &journal.Entry{}
		c.e(e)
		c.later(later)
		if whole, inside := embeds(later, e); whole != c.whole || inside != c.inside {
			t.Errorf("%s: whole %v, inside %v", c.name, whole, inside)
		}
	}
}

func TestSureLinksAreBoundedToo(t *testing.T) {
	s := newSite(t)
	s.options.MaxLinks = 5
	original(s)
	for range 10 {
		s.mail(from("alice@here.example"), subject("Fwd: hello"), content("text/plain look", "application/pdf "+text("offer")))
	}
	s.list("list:block/a", "evil.example")
	s.work()
	if r := s.hunt.Status().Last; r.Cut != 1 || r.Linked != 5 || r.Unsure != 0 {
		t.Errorf("result %+v", r)
	}
}

func TestWhatManyHaveProvesNothing(t *testing.T) {
	for _, c := range []struct {
		others int
		want   string
	}{{20, "indicator attachment<01ENTRY0001"}, {21, "indicator attachment<01ENTRY0001?"}, {201, "indicator thread<01ENTRY0001?"}} {
		t.Run(fmt.Sprint(c.others), func(t *testing.T) {
			s := newSite(t)
			file := "application/pdf " + text("offer")
			original(s)
			for range c.others {
				s.mail(content("text/plain x", file))
			}
			id := s.mail(from("alice@here.example"), answering("m1@mail.example"), content("text/plain look", file))
			s.list("list:block/a", "evil.example")
			s.work()
			if got := s.desk.chain(evilKey, id); got != c.want {
				t.Errorf("chain %q, want %q", got, c.want)
			}
		})
	}
}

func TestForwardsDoNotCountAsUnrelated(t *testing.T) {
	s := newSite(t)
	file := "application/pdf " + text("offer")
	original(s)
	var ids []string
	for range 60 {
		ids = append(ids, s.mail(from("alice@here.example"), subject("Fwd: hello"), content("text/plain look", file)))
	}
	s.list("list:block/a", "evil.example")
	s.work()
	for _, id := range ids {
		if got := s.desk.chain(evilKey, id); got != "indicator attachment<01ENTRY0001" {
			t.Fatalf("%s: chain %q", id, got)
		}
	}
}

func TestChainsAreFollowedFiveLinksDeep(t *testing.T) {
	s := newSite(t)
	file := "application/pdf " + text("offer")
	original(s, to("u0@here.example"))
	var ids []string
	for i := range 7 {
		ids = append(ids, s.mail(from(fmt.Sprintf("u%d@here.example", i)), to(fmt.Sprintf("u%d@here.example", i+1)), subject("Fwd: hello"),
			content("text/plain "+text(fmt.Sprint("note", i)), file)))
	}
	s.list("list:block/a", "evil.example")
	s.work()
	want := "indicator"
	for i, id := range ids {
		got := s.desk.chain(evilKey, id)
		if i >= maxDepth { // whom the fifth was sent to was not looked at
			if !strings.HasSuffix(got, "?") {
				t.Errorf("link %d is sure: %s", i+1, got)
			}
			continue
		}
		if want += fmt.Sprintf(" attachment<01ENTRY%04d", i+1); got != want {
			t.Errorf("chain %q, want %q", got, want)
		}
	}
}

func TestNothingIsFollowedFromAnUnsureMessage(t *testing.T) {
	s := newSite(t)
	original(s)
	answer := s.mail(from("alice@here.example"), to("bob@here.example"), answering("m1@mail.example"), content("text/plain thanks", "application/zip "+text("private")))
	s.mail(from("bob@here.example"), answering("m2@mail.example"), content("text/plain ok", "application/zip "+text("private")))
	s.list("list:block/a", "evil.example")
	s.work()
	s.want(map[string][]string{evilKey: {"01ENTRY0001", answer}})
}

func TestLinksAreBounded(t *testing.T) {
	s := newSite(t)
	s.options.MaxLinks = 5
	original(s)
	for range 30 {
		s.mail(from("alice@here.example"), answering("m1@mail.example"))
	}
	s.list("list:block/a", "evil.example")
	s.work()
	if n := len(s.desk.messages()[evilKey]); n != 6 {
		t.Errorf("%d messages, want 6", n)
	}
	if r := s.hunt.Status().Last; r.Cut != 1 || r.Linked != 5 || r.Unsure != 5 {
		t.Errorf("result %+v", r)
	}
}

func TestTheMessageThatAForwardNamesIsItsOrigin(t *testing.T) {
	s := newSite(t)
	file := "application/pdf " + text("offer")
	var want []string
	for i := range 3 {
		original(s, to(fmt.Sprintf("u%d@here.example", i)), content("text/plain "+text(fmt.Sprint("dear", i)), file))
	}
	for i := range 3 {
		id := s.mail(from(fmt.Sprintf("u%d@here.example", i)), subject("Fwd: hello"), content("text/plain look", file))
		want = append(want, id+fmt.Sprintf(" indicator attachment<01ENTRY%04d", i+1))
	}
	named := s.mail(from("u0@here.example"), answering("m2@mail.example"), content("text/plain look", file))
	want = append(want, named+" indicator attachment<01ENTRY0002")
	s.list("list:block/a", "evil.example")
	s.work()
	for _, w := range want {
		id, chain, _ := strings.Cut(w, " ")
		if got := s.desk.chain(evilKey, id); got != chain {
			t.Errorf("%s: chain %q, want %q", id, got, chain)
		}
	}
}

func TestSubjectsThatForward(t *testing.T) {
	for text, want := range map[string]bool{
		"Fwd: x": true, "FW: x": true, "fw : x": true, "WG: x": true, "TR: x": true, "RV: x": true, "I: x": true, "Re: Fwd: x": true, "AW: WG: x": true,
		"[list] Fwd: x": true, "Re[2]: Fw: x": true, "Fwd(2): x": true, "转发：x": true, "x (fwd)": true, "[Fwd: x]": true, "[fwd] x": true, "Прд: x": true,
		"": false, "x": false, "Re: x": false, "forward: x": false, "Note: Fwd: x": false, ":": false, "[": false, "a Fwd: b": false, "Invoice: I: x": false,
	} {
		if got := isForward(text); got != want {
			t.Errorf("isForward(%q) = %v", text, got)
		}
	}
}

func FuzzIsForward(f *testing.F) {
	f.Add("Re: [x] Fwd: y")
	f.Add(strings.Repeat("Re: ", 100))
	f.Add("转发：[")
	f.Fuzz(func(t *testing.T, text string) {
		if isForward(text) && !isForward("Re: "+text) && strings.Count(text, ":")+strings.Count(text, "[") < maxMarks-1 {
			t.Errorf("%q forwards, and not behind Re:", text)
		}
	})
}
