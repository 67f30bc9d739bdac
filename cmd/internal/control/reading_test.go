package control

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
)

func TestWhatIsLookedForIsReadInEveryWayThatFits(t *testing.T) {
	for text, want := range map[string][]string{
		"01ARZ3NDEKTSV4RRFFQ69G5FAV":            {"id"},
		"01arz3ndektsv4rrffq69g5fav.abcdef.mac": {"id", "domain"},
		"4XyzAb12345":                           {"queue-id"},
		"3F9A1":                                 {"queue-id"},
		"<x@y.example>":                         {"message-id", "address"},
		"x@y.example":                           {"message-id", "address"},
		"<odd id@>":                             {},
		"a.example":                             {"domain"},
		"domain:localhost":                      {"domain"},
		"http://a.example/x@y":                  {"url"},
		"192.0.2.1":                             {"ip"},
		"::ffff:192.0.2.1":                      {"ip"},
		"192.0.2.0/24":                          {"ip"},
		"2001:db8::/48":                         {"ip"},
		"2001:db8::/32":                         {"ip"},
		"https://a.example/x*":                  {"url"},
		"hxxps://a[.]example/*":                 {"url"},
		"https://a.example*":                    {},
		"192.0.2.1/24":                          {},
		"44d88612fea8a8f36de82e1278abb02f":      {"md5"},
		"":                                      {},
		" ":                                     {},
	} {
		readings, err := readingsOf(text, "")
		var got []string
		for _, r := range readings {
			got = append(got, r.as)
		}
		if !slices.Equal(got, want) && len(got)+len(want) > 0 || (err == nil) != (len(want) > 0) {
			t.Errorf("%q is read as %v, want %v; %v", text, got, want, err)
		}
	}
	for as, text := range map[string]string{"message-id": "no at sign", "queue-id": "A-1", "url": "a.example/x", "domain": "a.example"} {
		if readings, err := readingsOf(text, as); err != nil || len(readings) != 1 || readings[0].as != as {
			t.Errorf("%s %q: %v %v", as, text, readings, err)
		}
	}
}

func TestTheIndexIsOfHelpOnlyWhereItKnowsEveryReading(t *testing.T) {
	indexed := reading{condition: condition{keys: []journal.Key{1}, head: func(*journal.Entry) bool { return false }}}
	other := reading{condition: condition{head: func(e *journal.Entry) bool { return e.Rule == "x" }}}
	if c := anyOf([]reading{indexed, other}); c.keys != nil || !c.met(&journal.Entry{Rule: "x"}) || c.met(&journal.Entry{}) {
		t.Errorf("%v", c.keys)
	}
	if c := anyOf([]reading{indexed, indexed}); len(c.keys) != 2 {
		t.Errorf("%v", c.keys)
	}
}

func FuzzReading(f *testing.F) {
	for _, text := range []string{"x@y.example", "192.0.2.0/24", "https://a.example/?x", "01ARZ3NDEKTSV4RRFFQ69G5FAV", ".a.example", "[::1]", "<>", "/x/"} {
		f.Add(text, "")
		f.Add(text, "domain")
	}
	ip, err := intel.IP(netip.MustParseAddr("192.0.2.1"))
	if err != nil {
		f.Fatal(err)
	}
	entry := &journal.Entry{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Observables: []intel.Observable{{Value: ip}, {Value: intel.NullSender()}, {Value: intel.MD5([16]byte{})}}}
	f.Fuzz(func(t *testing.T, text, as string) {
		readings, err := readingsOf(text, as)
		if err != nil {
			var e *api.Error
			if !errors.As(err, &e) || e.Code != api.BadRequest {
				t.Fatalf("%v", err)
			}
			return
		}
		c := anyOf(readings)
		c.met(entry)
	})
}

func FuzzQuery(f *testing.F) {
	for field, text := range []string{"a \"b c\"", "s@evil.example", "@evil.example", "Bank", "https://evil.example/x*", "evil[.]example", "[::1]", "198.51.100.0/24",
		"44d88612fea8a8f36de82e1278abb02f", "<x@y.example>", "\u202e.exe", "::ffff:198.51.100.0/120"} {
		f.Add(uint8(field), text, "sub.evil.example")
	}
	entry := passed(f)
	f.Fuzz(func(t *testing.T, field uint8, text, other string) {
		q := api.JournalQuery{Domain: other}
		texts := []*string{&q.Subject, &q.Sender, &q.Recipient, &q.URL, &q.Host, &q.Domain, &q.Client, &q.Hash, &q.MessageID, &q.File, &q.Login, &q.Value, &q.QueueID, &q.Before}
		*texts[int(field)%len(texts)] = text
		if _, err := parsePlace(q.Before); err != nil {
			wantRefusal(t, err)
		}
		cs, err := conditionsOf(&q)
		if err != nil {
			wantRefusal(t, err)
			return
		}
		asked := cs.query(journal.Query{})
		glance, match := asked.Glance(entry), asked.Match(entry)
		all := true
		for i := range cs.all {
			all = all && cs.all[i].met(entry)
		}
		if all != (glance && match) {
			t.Errorf("%+v: all conditions are met: %t, the journal is told %t and %t", q, all, glance, match)
		}
		cs.matched(entry)
	})
}

func wantRefusal(t *testing.T, err error) {
	var e *api.Error
	if !errors.As(err, &e) || e.Code != api.BadRequest {
		t.Fatalf("%v", err)
	}
}

func passed(t testing.TB) *journal.Entry {
	url, err := intel.URL("https://sub.evil.example/x")
	if err != nil {
		t.Fatal(err)
	}
	return &journal.Entry{
		ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", From: "s@evil.example", To: []string{"a@example.org", "caf\xe9"}, Client: netip.MustParseAddr("198.51.100.7"),
		Subject: "a b c \xff", HeaderFrom: "Bank <s@evil.example>", Files: []string{"\u202efdp.exe"}, MessageID: "x@y.example",
		Observables: []intel.Observable{{Value: url, Role: intel.RoleURL}, {Value: intel.NullSender(), Role: intel.RoleRcpt}, {Value: intel.MD5([16]byte{}), Role: intel.RoleBody}},
	}
}

func FuzzFold(f *testing.F) {
	for _, text := range []string{"Straße", "FU\u0308R", "𝐈𝐧𝐯", "in\u200bvoice", "\xff\u0345", "ΣΑΣ", "İI"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		folder := newFolder()
		folded := folder.fold(text)
		if again := folder.fold(text); again != folded {
			t.Errorf("%q is %q and then %q", text, folded, again)
		}
		if lower, ascii := look(text); ascii && lower && len(strings.Fields(text)) == 1 && strings.TrimSpace(text) != folded {
			t.Errorf("%q becomes %q", text, folded)
		}
		// Whoever looks for the whole text finds it.
		if folded != "" && !folder.is(who{part: folded}, text) {
			t.Errorf("%q is not found by itself", text)
		}
	})
}
