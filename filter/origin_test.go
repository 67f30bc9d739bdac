package filter

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/intel"
)

func TestTheClientIsReadFromWhatTheRelaySaw(t *testing.T) {
	cases := map[string]struct{ addr, name string }{
		"from mail.evil.example (mail.evil.example [203.0.113.5]) by mx2.example (Postfix) with ESMTP id X": {"203.0.113.5", "mail.evil.example"},
		"from [192.0.2.99] (unknown [203.0.113.5]) by mx2.example":                                          {"203.0.113.5", ""},
		"from evil (evil.example. [IPv6:2001:db8::5]) by mx2.example":                                       {"2001:db8::5", "evil.example."},
		"from evil.example (evil.example [203.0.113.5] (may be forged)) by mx2 (8.17/8.17) with ESMTP":      {"203.0.113.5", "evil.example"},
		"from mail.example ([203.0.113.5] helo=x.example) by mx2.example with esmtp (Exim 4.96)":            {"203.0.113.5", ""},
		"from [203.0.113.5] (helo=x.example) by mx2.example with smtp (Exim 4.96)":                          {"203.0.113.5", ""},
		"from unknown (HELO x.example) (203.0.113.5)\r\n  by mx2.example with SMTP":                         {"203.0.113.5", ""},
		"from a.example (10.0.0.1) by b.example (10.0.0.2) with Microsoft SMTP Server id 15.1":              {"10.0.0.1", ""},
		"from evil (a\\) [192.0.2.1] b [203.0.113.5]) by x":                                                 {"192.0.2.1", ""},
		"from by (x [203.0.113.5]) by y":                                                                    {"203.0.113.5", ""},
		"from x by y (z [203.0.113.5])":                                                                     {"", ""},
		"by mx2.example with LMTP id X":                                                                     {"", ""},
		"from nobody (no address here) by x":                                                                {"", ""},
		"":                                                                                                  {"", ""},
		"from x (y [203.0.113.999]) by z":                                                                   {"", ""},
		"from x (" + strings.Repeat("(", 5000) + "[203.0.113.5]" + strings.Repeat(")", 5000) + ") by z":     {"203.0.113.5", ""},
		"from ::ffff:203.0.113.5 (x [::ffff:203.0.113.5]) by z":                                             {"203.0.113.5", ""},
	}
	for field, want := range cases {
		got := receivedFrom(field)
		if want.addr == "" != !got.Addr.IsValid() || got.Addr.IsValid() && got.Addr != netip.MustParseAddr(want.addr) || got.Name != want.name {
			t.Errorf("%.100q: %v %q, want %q %q", field, got.Addr, got.Name, want.addr, want.name)
		}
	}
}

func FuzzReceivedFrom(f *testing.F) {
	f.Add("from a (b [203.0.113.5]) by c")
	f.Fuzz(func(t *testing.T, field string) {
		if c := receivedFrom(field); c.Addr.IsValid() && c.Addr.Zone() != "" {
			t.Fatal("a zone from elsewhere")
		}
	})
}

func TestDirectionFollowsFromWhoSendsToWhom(t *testing.T) {
	site := Site{LocalDomains: []string{"example.org", ".sub.example"}}
	value := func(s string) intel.Value {
		v, err := intel.Address(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	cases := []struct {
		inside bool
		rcpts  []intel.Value
		want   intel.Direction
	}{
		{false, []intel.Value{value("a@example.org")}, intel.Inbound},
		{false, []intel.Value{value("a@elsewhere.example")}, intel.Inbound},
		{true, []intel.Value{value("a@example.org"), value("b@x.sub.example")}, intel.Internal},
		{true, []intel.Value{value("a@example.org"), value("b@elsewhere.example")}, intel.Outbound},
		{true, []intel.Value{value("b@sub.example")}, intel.Internal},
		{true, []intel.Value{value("b@other-sub.example")}, intel.Outbound},
		{true, []intel.Value{{}}, intel.Outbound},
	}
	for _, c := range cases {
		var rcpts []evidence.Recipient
		for _, v := range c.rcpts {
			rcpts = append(rcpts, evidence.Recipient{Value: v, Local: site.IsLocal(v.Host())})
		}
		if got := direction(c.inside, rcpts); got != c.want {
			t.Errorf("inside %v to %v: %v, want %v", c.inside, c.rcpts, got, c.want)
		}
	}
}
