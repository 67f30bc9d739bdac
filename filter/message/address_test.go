package message

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// listed writes addresses so that a table can hold them: name|raw|value, the
// group before a colon.
func listed(all []Address) string {
	var out []string
	for _, a := range all {
		s := a.Name + "|" + a.Raw + "|" + a.Value.String()
		if a.Group != "" {
			s = a.Group + ":" + s
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

func TestAddressesAreReadAsMailClientsDo(t *testing.T) {
	tests := []struct {
		name, in, want string
		flaw           addressFlaw
	}{
		{"bare", "bob@example.com", "|bob@example.com|bob@example.com", 0},
		{"in brackets", "<Bob@Example.COM>", "|Bob@Example.COM|bob@example.com", 0},
		{"with a name", "Bob Example <bob@example.com>", "Bob Example|bob@example.com|bob@example.com", 0},
		{"with a quoted name", `"Example, Bob" <bob@example.com>`, "Example, Bob|bob@example.com|bob@example.com", 0},
		{"with escapes in the name", `"Bob \"The\" Example" <bob@example.com>`, `Bob "The" Example|bob@example.com|bob@example.com`, 0},
		{"with a comment for a name", "bob@example.com (Bob Example)", "Bob Example|bob@example.com|bob@example.com", 0},
		{"with nested comments", "bob@example.com (a (b) c)", "a (b) c|bob@example.com|bob@example.com", 0},
		{"with comments everywhere", "(x) Bob (y) <bob(z)@example.com> (w)", "Bob|bob@example.com|bob@example.com", 0},
		{"with dots in the name", "Bob Q. Example <bob@example.com>", "Bob Q. Example|bob@example.com|bob@example.com", 0},
		{"with an encoded name", "=?utf-8?Q?B=C3=B6b?= <bob@example.com>", "Böb|bob@example.com|bob@example.com", 0},
		{"with an encoded name in quotes", `"=?utf-8?Q?B=C3=B6b?=" <bob@example.com>`, "Böb|bob@example.com|bob@example.com", 0},
		{"with an encoded comma in the name", "=?utf-8?Q?a=2C_b=40c?= <bob@example.com>", "a, b@c|bob@example.com|bob@example.com", 0},
		{"with an encoded address for a name", "=?utf-8?Q?=22ceo=40good.example=22_=3Cceo=40good.example=3E?= <x@evil.example>", `"ceo@good.example" <ceo@good.example>|x@evil.example|x@evil.example`, 0},
		{"with an address for a name", `"ceo@good.example" <x@evil.example>`, "ceo@good.example|x@evil.example|x@evil.example", 0},
		{"with raw UTF-8 in the name", "Böb <bob@example.com>", "Böb|bob@example.com|bob@example.com", 0},
		{"with raw Latin 1 in the name", "B\xf6b <bob@example.com>", "Böb|bob@example.com|bob@example.com", 0},
		{"several", "a@x.example, B <b@y.example>,c@z.example", "|a@x.example|a@x.example; B|b@y.example|b@y.example; |c@z.example|c@z.example", 0},
		{"empty ones between", "a@x.example,, ,b@x.example,", "|a@x.example|a@x.example; |b@x.example|b@x.example", 0},
		{"with semicolons, as Outlook has it", "a@x.example; b@y.example", "|a@x.example|a@x.example; |b@y.example|b@y.example", 0},
		{"a group", "Friends: a@x.example, B <b@y.example>; c@z.example", "Friends:|a@x.example|a@x.example; Friends:B|b@y.example|b@y.example; |c@z.example|c@z.example", 0},
		{"an empty group", "undisclosed-recipients:;", "", 0},
		{"an encoded group", "=?utf-8?Q?Fr=C3=A9?= : a@x.example;", "Fré:|a@x.example|a@x.example", 0},
		{"an unfinished group", "Friends: a@x.example", "Friends:|a@x.example|a@x.example", 0},
		{"SMTPUTF8", "Jörg <jörg@münchen.example>", "Jörg|jörg@münchen.example|jörg@xn--mnchen-3ya.example", 0},
		{"a quoted local part", `"john doe"@example.com`, `|"john doe"@example.com|"john doe"@example.com`, 0},
		{"a quoted local part that needs no quotes", `<"bob"@example.com>`, `|"bob"@example.com|bob@example.com`, 0},
		{"a bracket in a quoted local part", `X <"a>b"@example.com>`, `X|"a>b"@example.com|"a>b"@example.com`, 0},
		{"an address literal", "bob@[192.0.2.1]", "|bob@[192.0.2.1]|bob@[192.0.2.1]", 0},
		{"an IPv6 literal", "bob@[IPv6:2001:db8::1]", "|bob@[IPv6:2001:db8::1]|bob@[2001:db8::1]", 0},
		{"a source route", "Bob <@a.example,@b.example:bob@example.com>", "Bob|@a.example,@b.example:bob@example.com|bob@example.com", 0},
		{"spaces around the at sign", "bob @ example.com", "|bob@example.com|bob@example.com", 0},
		{"spaces in brackets", "< bob@example.com >", "|bob@example.com|bob@example.com", 0},
		{"the null sender", "<>", "||<>", 0},
		{"a null sender with a name", "Mail Delivery <>", "Mail Delivery||<>", 0},
		{"nothing", "  ", "", 0},
		{"a name alone", "Bob Example", "Bob Example||", addressJunk},
		{"a word alone", "root", "root||", addressJunk},
		{"no brackets around the address", "Bob Example bob@example.com", "Bob Example|bob@example.com|bob@example.com", addressJunk},
		{"two addresses in one", "<a@good.example> <b@evil.example>", "|a@good.example|a@good.example; |b@evil.example|b@evil.example", addressJunk},
		{"a bracket that is not closed", "Bob <bob@example.com", "Bob|bob@example.com|bob@example.com", addressJunk},
		{"a bracket that is not closed, in a list", "Bob <bob@example.com, a@b.example", "Bob|bob@example.com|bob@example.com; |a@b.example|a@b.example", addressJunk},
		{"a quote that is not closed", `"Bob Example <bob@example.com>`, "Bob Example|bob@example.com|bob@example.com", addressJunk},
		{"a comment that is not closed", "Bob (x <bob@example.com>", "Bob x|bob@example.com|bob@example.com", addressJunk},
		{"two at signs", "a@good.example@evil.example", `|a@good.example@evil.example|"a@good.example"@evil.example`, addressJunk},
		{"an address before a colon", "a@x.example: b@y.example", "|a@x.example|a@x.example; |b@y.example|b@y.example", addressJunk},
		{"mailto", "mailto:bob@example.com", "mailto:|bob@example.com|bob@example.com", 0},
		{"brackets inside brackets", "Bob <<bob@example.com>>", "Bob <|bob@example.com|bob@example.com", addressJunk},
		{"a folded list", "a@x.example,\r\n\tb@y.example", "|a@x.example|a@x.example; |b@y.example|b@y.example", 0},
		{"no domain", "<bob>", "|bob|", addressJunk},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, flaw := appendAddresses(nil, tt.in, 100)
			if listed(got) != tt.want || flaw != tt.flaw {
				t.Errorf("%s, flaws %b\nwant %s, flaws %b", listed(got), flaw, tt.want, tt.flaw)
			}
		})
	}
}

func TestAddressesOfSeveralFieldsAreTakenTogether(t *testing.T) {
	m := Parse([]byte("From: a@good.example\nFrom: b@evil.example\nTo: x@y.example\n\n"), Options{})
	if got := listed(m.From()); got != "|a@good.example|a@good.example; |b@evil.example|b@evil.example" {
		t.Error(got)
	}
	if got := listed(m.To()); got != "|x@y.example|x@y.example" || m.Cc() != nil || m.Sender() != nil || m.ReplyTo() != nil {
		t.Error(got)
	}
}

func TestTheNumberOfAddressesIsBounded(t *testing.T) {
	raw := "From: " + strings.Repeat("a@b.example, ", 100000) + "\n\n"
	m := Parse([]byte(raw), Options{Limits: Limits{HeaderBytes: 4 << 20}})
	if n := len(m.From()); n != DefaultLimits().AddressFields {
		t.Errorf("%d addresses", n)
	}
	if !strings.Contains(defectNames(m), DefectAddressLimit) {
		t.Errorf("defects %q", defectNames(m))
	}
}

func FuzzAddresses(f *testing.F) {
	for _, seed := range []string{
		`"A, B" <a@b.example>, C: d@e.example; (x (y)) f@g.example`, `<@r.example:"q\"u"@[1.2.3.4]>`,
		`"x <a@b>`, "a <b <c> d> e@f", "((((", `""""""`, "<<<>>>", "a:b:c;;",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, flaw := appendAddresses(nil, text, 20)
		if len(all) > 20 {
			t.Fatalf("%d addresses", len(all))
		}
		for _, a := range all {
			if !utf8.ValidString(a.Name) || !utf8.ValidString(a.Group) {
				t.Fatalf("name %q, group %q", a.Name, a.Group)
			}
			if a.Value.IsZero() && flaw&addressJunk == 0 {
				t.Fatalf("%q is no address, and nobody says so", a.Raw)
			}
		}
		// An address that is written plainly among junk is not lost.
		with, _ := appendAddresses(nil, "x@evil.example, "+text, 20)
		if len(with) == 0 || with[0].Value.String() != "x@evil.example" {
			t.Fatalf("lost in %q: %s", text, listed(with))
		}
	})
}

func ExampleHeader_Addresses() {
	m := Parse([]byte("To: \"Example, Bob\" <bob@example.com>, staff: a@example.org;\n\n"), Options{})
	for _, a := range m.Header.Addresses("To", 0) {
		fmt.Printf("%q %s %q\n", a.Name, a.Value, a.Group)
	}
	// Output:
	// "Example, Bob" bob@example.com ""
	// "" a@example.org "staff"
}

func TestOriginatorsOfAllFieldsTogetherKeepToTheLimit(t *testing.T) {
	m := Parse([]byte("From: a@example.org\r\nReply-To: r@example.org, s@example.org, t@example.org\r\nFrom: b@example.org, c@example.org\r\nSender: x@example.org\r\nContent-Type: message/rfc822\r\n\r\nFrom: inner@example.org\r\n\r\n"),
		Options{Limits: Limits{AddressFields: 2}})
	for _, c := range []struct {
		field string
		got   []Address
		want  string
	}{{"From", m.From(), "a@example.org b@example.org"}, {"Reply-To", m.ReplyTo(), "r@example.org s@example.org"}, {"Sender", m.Sender(), "x@example.org"}} {
		var raw []string
		for _, a := range c.got {
			raw = append(raw, a.Raw)
		}
		if got := strings.Join(raw, " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.field, got, c.want)
		}
	}
}
