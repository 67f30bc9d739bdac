package contain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/intel"
)

func address(t testing.TB, text string) intel.Value {
	t.Helper()
	v, err := intel.Address(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestALoginAnAddressAndItsAliasesAreOnePerson(t *testing.T) {
	for _, c := range []struct {
		name      string
		people    string
		contained string
		logins    []string // under it
		addresses []string
		others    []string // logins and addresses that are not
	}{
		{
			"a login, and nobody is known", "", "alice",
			[]string{"alice", "ALICE", "alice@example.org", "alice@mx.provider.example"},
			[]string{"alice@example.org", "Alice+news@Example.org", "alice@sub.example", "alice@a.b.sub.example"},
			[]string{"alicea", "bob", "alice@elsewhere.example", "bob@example.org", "al+ice@example.org"},
		},
		{
			"an address, and nobody is known", "", "alice+x@example.org",
			[]string{"alice", "alice@example.org", "alice+y@example.org"},
			[]string{"alice@example.org", "alice+x@example.org", "alice+z@example.org"},
			[]string{"bob", "alice@sub.example", "alice@a.sub.example"},
		},
		{
			"a login that the directory knows by its address", people, "alice",
			[]string{"alice", "a.lee", "alice@example.org", "a.lee@example.org"},
			[]string{"alice@example.org", "a.lee@example.org", "alice@partner.example", "a.lee+x@example.org"},
			[]string{"csmith", "carla", "carla@example.org"},
		},
		{
			"an alias that the directory knows", people, "A.Lee@example.org",
			[]string{"alice", "a.lee", "alice@example.org"},
			[]string{"alice@example.org", "alice@partner.example"},
			[]string{"carla@example.org", "lee"},
		},
		{
			"a login that is not the address", people, "csmith",
			[]string{"csmith", "carla@example.org"},
			[]string{"carla@example.org", "c.smith@example.org"},
			[]string{"carla", "c.smith", "alice", "csmith@elsewhere.example"},
		},
		{
			"an address whose login is another", people, "carla@example.org",
			[]string{"csmith", "CSmith"},
			[]string{"c.smith@example.org"},
			[]string{"carla", "alice"},
		},
		{
			"an address like the login of somebody else", "address;mailbox\nx@example.org;carla\n", "carla@example.org",
			[]string{"carla@example.org"},
			[]string{"carla@example.org"},
			[]string{"carla", "x@example.org"},
		},
		{
			"a login like the address of somebody else", "address;mailbox\nbob@example.org;carla\ncarla@example.org;bob\n", "carla",
			[]string{"carla"},
			[]string{"bob@example.org"},
			[]string{"bob", "carla@example.org"},
		},
		{
			"a name that is nobody's login, and begins the address of one who has another", people, "carla",
			[]string{"carla", "csmith", "carla@example.org"},
			[]string{"carla@example.org", "c.smith@example.org"},
			[]string{"alice", "alice@example.org"},
		},
		{
			"a name that begins an alias below a local domain", "address;mailbox\nx@example.org carla+x@a.sub.example;csmith\n", "Carla",
			[]string{"csmith"}, []string{"x@example.org", "carla+x@a.sub.example"}, nil,
		},
		{
			"a domain that the directory has as a whole", people, "eve@sub.example",
			[]string{"eve"}, []string{"eve@sub.example"}, []string{"mallory@sub.example"},
		},
		{
			"a login that looks like an address", "address;mailbox\nalice@example.org;al@sub.example\n", "al@sub.example",
			[]string{"al@sub.example", "AL@sub.example"}, []string{"alice@example.org"}, []string{"bob@sub.example"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t, c.people)
			h.contain(User, c.contained)
			from := func(text string) []Hit {
				return h.Contained().Match("", []intel.Observable{{Value: address(t, text), Role: intel.RoleHeaderFrom}}, true, h.clock())
			}
			for _, login := range c.logins {
				if hits := h.Contained().Match(login, nil, true, h.clock()); len(hits) != 1 || hits[0].Role != intel.RoleAuthUser || hits[0].Value != login {
					t.Errorf("login %s: %+v", login, hits)
				}
			}
			for _, a := range c.addresses {
				if hits := from(a); len(hits) != 1 || hits[0].Role != intel.RoleHeaderFrom {
					t.Errorf("from %s: %+v", a, hits)
				}
			}
			for _, other := range c.others {
				if strings.Contains(other, "@") && len(from(other)) > 0 {
					t.Errorf("from %s, who is somebody else", other)
				}
				if !strings.Contains(other, "@") && len(h.under(other)) > 0 {
					t.Errorf("login %s, who is somebody else", other)
				}
			}
		})
	}
}

func TestAProvidersUsersOfOneNameAreNotOne(t *testing.T) {
	h := newHouse(t, "")
	site := siteWith(t, "")
	for i := range maxDomains {
		site.LocalDomains = append(site.LocalDomains, fmt.Sprintf("customer%d.example", i))
	}
	if err := h.SetSite(site); err != nil {
		t.Fatal(err)
	}
	h.contain(User, "alice")
	h.contain(User, "bob@example.org")
	for text, want := range map[string]int{"alice": 1, "alice@example.org": 0, "bob@example.org": 1, "bob": 0} {
		if got := h.under(text); len(got) != want {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestAStrangersForgeryFromOutsideIsNotTheUsersMail(t *testing.T) {
	h := newHouse(t, "")
	h.contain(User, "alice")
	shown := []intel.Observable{
		{Value: address(t, "alice@example.org"), Role: intel.RoleEnvelopeFrom}, {Value: address(t, "alice@example.org"), Role: intel.RoleHeaderFrom},
	}
	if hits := h.Contained().Match("", shown, false, h.clock()); len(hits) != 0 {
		t.Errorf("%+v", hits)
	}
	if hits := h.Contained().Match("", shown, true, h.clock()); len(hits) != 1 || hits[0].Role != intel.RoleEnvelopeFrom {
		t.Errorf("%+v", hits)
	}
	others := []intel.Observable{
		{Value: address(t, "alice@example.org"), Role: intel.RoleRcpt}, {Value: address(t, "alice@example.org"), Role: intel.RoleReplyTo}, {Value: intel.NullSender(), Role: intel.RoleEnvelopeFrom},
	}
	if hits := h.Contained().Match("", others, true, h.clock()); len(hits) != 0 {
		t.Errorf("%+v", hits)
	}
}

func TestClientsAreContainedByAddressAndRange(t *testing.T) {
	h := newHouse(t, "")
	h.contain(Client, "10.1.2.3")
	h.contain(Client, "10.1.2.0/24")
	h.contain(Client, "fd00:1::/64")
	for client, want := range map[string][]string{
		"10.1.2.3": {"10.1.2.0/24", "10.1.2.3"}, "10.1.2.4": {"10.1.2.0/24"}, "10.1.3.3": nil, "fd00:1::7": {"fd00:1::/64"}, "fd00:2::7": nil,
	} {
		addr, err := parseRange(client)
		if err != nil {
			t.Fatal(err)
		}
		v, err := intel.IP(addr.Addr())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, hit := range h.Contained().Match("", []intel.Observable{{Value: v, Role: intel.RoleClient, Place: "envelope"}}, false, h.clock()) {
			got = append(got, hit.Containment.Value)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", client, got, want)
		}
	}
}

func TestScopesCoverRecipientsHereAndElsewhere(t *testing.T) {
	for scope, want := range map[Scope][2]bool{External: {true, false}, Internal: {false, true}, All: {true, true}} {
		if got := [2]bool{scope.Covers(false), scope.Covers(true)}; got != want {
			t.Errorf("%s: %v", scope, got)
		}
	}
}

func TestNobodyContainedCostsTheMailPathNothing(t *testing.T) {
	h := newHouse(t, people)
	shown := []intel.Observable{{Value: address(t, "alice@example.org"), Role: intel.RoleEnvelopeFrom}}
	now := h.clock()
	if n := testing.AllocsPerRun(100, func() { h.Contained().Match("alice", shown, true, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAllThatAUserIsKnownByIsListed(t *testing.T) {
	h := newHouse(t, people)
	if e := h.contain(User, "csmith"); !slices.Equal(e.Names, []string{"c.smith@example.org", "carla@example.org", "csmith"}) {
		t.Errorf("%q", e.Names)
	}
	if e := h.contain(Client, "10.1.2.0/24"); !slices.Equal(e.Names, []string{"10.1.2.0/24"}) {
		t.Errorf("%q", e.Names)
	}
}

func TestExportsAreWhatTheirProgramsRead(t *testing.T) {
	h := newHouse(t, people)
	h.contain(User, "csmith")
	h.contain(User, "info") // also a top-level domain, as an access table of senders reads it
	h.contain(Client, "10.1.2.0/24")
	h.contain(Client, "10.1.3.4")
	h.contain(Client, "fd00::1")
	const user, host = " REJECT Sending from this account is suspended\n", " REJECT Sending from this host is suspended\n"
	for _, c := range []struct {
		kind   Kind
		format Format
		want   string
	}{
		{"", Plain, "10.1.2.0/24\n10.1.3.4\nfd00::1\nc.smith@example.org\ncarla@example.org\ncsmith\ninfo\ninfo@example.org\ninfo@sub.example\n"},
		{Client, Plain, "10.1.2.0/24\n10.1.3.4\nfd00::1\n"},
		{User, PostfixLogin, "c.smith@example.org" + user + "carla@example.org" + user + "csmith" + user + "info" + user + "info@example.org" + user + "info@sub.example" + user},
		{"", PostfixSender, "c.smith@example.org" + user + "carla@example.org" + user + "info@example.org" + user + "info@sub.example" + user},
		{"", PostfixClient, "10.1.2.0/24" + host + "10.1.3.4" + host + "fd00::1" + host},
		{Client, NFT, "add table inet weir\n" +
			"add set inet weir contained4 { type ipv4_addr; flags interval; auto-merge; }\nflush set inet weir contained4\nadd element inet weir contained4 { 10.1.2.0/24, 10.1.3.4 }\n" +
			"add set inet weir contained6 { type ipv6_addr; flags interval; auto-merge; }\nflush set inet weir contained6\nadd element inet weir contained6 { fd00::1 }\n"},
	} {
		got, err := Export(h.List(), c.kind, c.format)
		if err != nil || got != c.want {
			t.Errorf("%s %s: %v\n%s\nwant\n%s", c.format, c.kind, err, got, c.want)
		}
	}
	for _, c := range []struct {
		kind   Kind
		format Format
	}{{User, NFT}, {Client, PostfixLogin}, {"", "csv"}} {
		if got, err := Export(h.List(), c.kind, c.format); err == nil {
			t.Errorf("%s %s: %q", c.format, c.kind, got)
		}
	}
	if got, err := Export(nil, "", NFT); err != nil || strings.Contains(got, "element") || strings.Count(got, "flush") != 2 {
		t.Errorf("of nobody: %q %v", got, err)
	}
}

func FuzzWhatIsTakenHasOneSpellingAndFitsTheLedger(f *testing.F) {
	for _, text := range []string{"alice", "Alice@Example.org", "\"a b\"@example.org", "10.1.2.3", "10.1.2.0/24", "fd00::1", "ü@sub.example", "#x", "a\\b", "a+b@example.org", "@", "<a@example.org>"} {
		f.Add(text)
	}
	site := siteWith(f, people)
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []Kind{User, Client} {
			value, err := site.value(kind, text)
			if err != nil {
				continue
			}
			if again, err := site.value(kind, value); err != nil || again != value {
				t.Fatalf("%s %q became %q, and that %q, %v", kind, text, value, again, err)
			}
			c := &Containment{ID: "x", Kind: kind, Value: value, Scope: All, Until: time.Unix(1, 0)}
			if len(c.entity()) > 256 || strings.ContainsAny(value, "\r\n") {
				t.Fatalf("%q", c.entity())
			}
			s := newSnapshot([]*Containment{c}, &site)
			if kind == User && len(s.user(value, time.Unix(0, 0))) != 1 {
				t.Fatalf("%q is not under its own containment", value)
			}
			entries := s.List(time.Unix(0, 0))
			for _, format := range []Format{Plain, PostfixClient, PostfixLogin, PostfixSender, NFT} {
				out, err := Export(entries, "", format)
				if err != nil {
					t.Fatal(err)
				}
				if most := len(entries[0].Names); format != NFT && strings.Count(out, "\n") > most {
					t.Fatalf("%s of %d names: %q", format, most, out)
				}
			}
		}
	})
}
