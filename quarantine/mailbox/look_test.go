package mailbox

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirmail/weir/filter/message"
)

func TestANeedleIsPlainAndLongEnough(t *testing.T) {
	for id, want := range map[string]string{
		"abc.def@example.org":           "abc.def@example.org",
		"":                              "",
		"a@b":                           "",
		"short \"quoted-part-is-longer": "quoted-part-is-longer",
		"ünï-cöde@example.org":          "de@example.org",
		"a\r\nb LOGOUT\x00":             "LOGOUT",
		strings.Repeat("x", 300):        strings.Repeat("x", 200),
	} {
		got, ok := Needle(id)
		if !ok {
			got = ""
		}
		if got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}

func TestAMessageIsNamedAsTheJournalNamesIt(t *testing.T) {
	for _, header := range []string{
		"X-Weir-ID: one.n.m\r\nX-Weir-ID: two\r\nMessage-ID: <a@b>\r\nMessage-ID: <c@d>\r\n\r\n",
		"message-id:\r\n <a@b>\r\nx-weir-id:\r\n\tone.n.m\r\n\r\nbody", "Message-ID: a@b (comment)\nX-Weir-ID: one.n.m\n\n",
	} {
		var c Copy
		c.Name(NewParser(), []byte(header))
		m := message.Parse([]byte(header), message.Options{})
		if c.MessageID != m.MessageID() || c.MessageID != "a@b" || c.WeirID != "one.n.m" {
			t.Errorf("%q: %+v", header, c)
		}
	}
}

func TestOnlyAnExactNameMatches(t *testing.T) {
	target := Target{MessageID: "a@b", WeirID: "ID"}
	for _, c := range []struct {
		copy Copy
		by   By
	}{
		{Copy{MessageID: "a@b"}, ByMessageID}, {Copy{MessageID: "a@b", WeirID: "ID.n.m"}, ByWeirID}, {Copy{WeirID: "ID"}, ByWeirID},
		{Copy{MessageID: "A@b"}, ""}, {Copy{MessageID: "xa@b"}, ""}, {Copy{WeirID: "IDx"}, ""}, {Copy{WeirID: "I"}, ""}, {Copy{}, ""},
	} {
		if by, ok := target.Match(&c.copy); by != c.by || ok != (c.by != "") {
			t.Errorf("%+v: %q %v", c.copy, by, ok)
		}
	}
	nothing := Target{}
	if by, ok := nothing.Match(&Copy{}); ok {
		t.Errorf("no name matches no name by %s", by)
	}
	if !NewTargets([]Target{nothing}).Unnamed().None() {
		t.Error("no content is looked for")
	}
}

func TestMarksAreKeptInOrderAndOnce(t *testing.T) {
	var c Copy
	c.Mark([]string{"work", `\SEEN`, `\Recent`, `\Seen`, `\Unheard`, "b c", "$Forwarded", "work", "", "ü", strings.Repeat("x", 201)})
	if got := fmt.Sprint(c.Flags, c.Keywords); got != `[\Seen] [$Forwarded work]` {
		t.Error(got)
	}
	if !c.Seen() || c.Answered() || !c.Forwarded() {
		t.Errorf("%+v", c)
	}
}

func TestASizeIsImplausibleOnlyWhereNoEncodingExplainsIt(t *testing.T) {
	target := Target{Size: 1 << 20}
	for size, want := range map[int64]bool{1 << 20: true, 3 << 20: true, 400 << 10: true, 10 << 20: false, 1000: false} {
		if target.Plausible(size) != want {
			t.Errorf("%d: %v", size, !want)
		}
	}
	if unknown := (Target{}); !unknown.Plausible(1) {
		t.Error("without a size nothing is implausible")
	}
}

func TestARoleIsGuessedByTheLastLevel(t *testing.T) {
	for folder, want := range map[string]Role{
		"INBOX": RoleNone, "Sent": RoleSent, "INBOX.Sent Messages": RoleSent, "a/TRASH": RoleTrash, "Sentimental": RoleNone, "": RoleNone, "Archive/2026": RoleNone,
	} {
		if got := RoleOf(folder); got != want {
			t.Errorf("%s: %q", folder, got)
		}
	}
}
