package filter

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/contain"
	"github.com/weirmail/weir/intel/directory"
	"github.com/weirmail/weir/intel/disk/faulty"
	"github.com/weirmail/weir/intel/ident"
	"github.com/weirmail/weir/intel/kv"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/match"
)

// book gives a book of containments over a ledger of its own.
func book(t *testing.T, site *Site, people *directory.Directory) *contain.Book {
	t.Helper()
	db, err := kv.Open(kv.Options{Name: "views", InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	disk := faulty.New("/state", 1)
	id, err := ident.Open(ident.Options{FS: disk, Dir: "/state"})
	if err != nil {
		t.Fatal(err)
	}
	view := contain.NewView(db)
	l, err := ledger.Open(ledger.Options{FS: disk, Dir: "/state/ledger", Index: db, Node: "test", Key: id.Key("ledger"), NewID: id.NewID, Views: []ledger.View{view}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	b, err := contain.Open(contain.Options{Ledger: l, View: view, Identity: id, Site: contain.Site{
		LocalDomains: site.LocalDomains, IsLocal: site.IsLocal, Internal: site.InternalNetworks, Relays: site.TrustedRelays, Directory: people,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhoIsContainedIsKnownByLoginSenderAndClient(t *testing.T) {
	site := Site{
		LocalDomains:     []string{"example.org"},
		InternalNetworks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		TrustedRelays:    []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")},
	}
	people, err := directory.Read(strings.NewReader("address;mailbox\nalice@example.org a.lee@example.org;al\n"), directory.Options{File: "people.csv"})
	if err != nil {
		t.Fatal(err)
	}
	b := book(t, &site, people)
	for kind, value := range map[contain.Kind]string{contain.User: "alice@example.org", contain.Client: "10.1.2.0/24"} {
		_, err := b.Contain(t.Context(), contain.Request{Kind: kind, Value: value, Scope: contain.External, Action: intel.ActionHold,
			Until: time.Now().Add(time.Hour), Actor: "unix:1", Reason: "case 12"})
		if err != nil {
			t.Fatal(err)
		}
	}
	pol, err := policy.Parse(policy.DefaultName, policy.Default(), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	j, err := NewJudge(match.NewMatcher(), Rules{Policy: pol, Site: site, Directory: people, Contained: b}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const inside, outside, relay = "10.7.7.7", "203.0.113.9", "192.0.2.1"
	for _, c := range []struct {
		name               string
		client, login      string
		from, header, more string
		local              bool
		want               []intel.Role
	}{
		{name: "her login, from anywhere, as anybody", client: outside, login: "al", from: "boss@example.org", want: []intel.Role{intel.RoleAuthUser}},
		{name: "her address as login", client: outside, login: "a.lee@example.org", from: "x@elsewhere.example", want: []intel.Role{intel.RoleAuthUser}},
		{name: "another's login", client: outside, login: "bob", from: "bob@example.org"},
		{name: "her address as sender, from inside", client: inside, from: "a.lee@example.org", want: []intel.Role{intel.RoleEnvelopeFrom}},
		{name: "her address in From, from inside", client: inside, from: "scan@example.org", header: "Alice <alice@example.org>", want: []intel.Role{intel.RoleHeaderFrom}},
		{name: "her address in From, with another's login", client: outside, login: "bob", from: "bob@example.org", header: "alice@example.org", want: []intel.Role{intel.RoleHeaderFrom}},
		{name: "her address as sender of local mail", client: "127.0.0.1", local: true, from: "alice@example.org", want: []intel.Role{intel.RoleEnvelopeFrom}},
		{name: "a stranger's forgery", client: outside, from: "alice@example.org", header: "alice@example.org"},
		{name: "a stranger's forgery behind a trusted relay", client: relay, from: "alice@example.org", more: "Received: from x ([203.0.113.9]) by relay\r\n"},
		{name: "a contained client", client: "10.1.2.9", from: "bob@example.org", want: []intel.Role{intel.RoleClient}},
		{name: "a contained client behind a trusted relay", client: relay, from: "bob@example.org", more: "Received: from x ([10.1.2.9]) by relay\r\n", want: []intel.Role{intel.RoleClient}},
		{name: "her, at a contained client", client: "10.1.2.9", login: "al", from: "alice@example.org", want: []intel.Role{intel.RoleAuthUser, intel.RoleClient}},
	} {
		t.Run(c.name, func(t *testing.T) {
			env := &message.Envelope{AuthUser: c.login, Local: c.local, From: message.Path{Raw: "<" + c.from + ">"}, To: []message.Path{{Raw: "<bob@example.org>"}, {Raw: "<eve@elsewhere.example>"}}}
			env.Client.Addr = netip.MustParseAddr(c.client)
			header := c.header
			if header == "" {
				header = "somebody@elsewhere.example"
			}
			e, v, err := j.Judge(env, message.Parse([]byte(c.more+"From: "+header+"\r\nSubject: x\r\n\r\nx\r\n"), message.Options{}))
			if err != nil {
				t.Fatal(err)
			}
			if got := roles(e); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
			if contained := len(c.want) > 0; v.Recipients[1].Hold != contained || v.Recipients[0].Hold {
				t.Errorf("%+v", v.Recipients)
			}
		})
	}
}

func roles(e *evidence.Evidence) (all []intel.Role) {
	for _, h := range e.Contained {
		all = append(all, h.Role)
	}
	return all
}
