package control_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
)

var searched = time.Date(2026, 3, 5, 12, 0, 0, 0, time.UTC)

func pick[T any](rng *rand.Rand, all ...T) T { return all[rng.IntN(len(all))] }

// passedMail is an entry as the filter would make it of a message.
func passedMail(t testing.TB, rng *rand.Rand, id string) *journal.Entry {
	t.Helper()
	e := &journal.Entry{
		ID: id, Time: searched.Add(time.Duration(rng.Int64N(int64(30 * 24 * time.Hour)))),
		QueueID: fmt.Sprintf("4X%05d", rng.IntN(20)), MessageID: fmt.Sprintf("m%d@mail.example", rng.IntN(20)),
		From:     pick(rng, "s@evil.example", "S@Sub.Evil.example", "x@notevil.example", "", "odd", "käthe@münchen.example", strings.Repeat("l", 300)+"@evil.example"),
		Client:   netip.MustParseAddr(pick(rng, "198.51.100.7", "198.51.101.7", "203.0.113.9", "2001:db8:1:2::5", "::ffff:198.51.100.8")),
		AuthUser: pick(rng, "", "", "Alice", "bob@example.org"), Direction: pick(rng, intel.Inbound, intel.Outbound, intel.Internal),
		Subject: pick(rng, "Your Invoice is ready", "invoice: YOUR account", "Rechnung für Straße", "RECHNUNG FU\u0308R STRASSE", "", "𝐈𝐧𝐯𝐨𝐢𝐜𝐞 in\u200bvoice", "caf\xe9"),
		Action:  pick(rng, intel.ActionAccept, intel.ActionTag, intel.ActionNone), Rule: pick(rng, "default", "blocked-url"),
		HeaderFrom: pick(rng, "Your Bank <pay@bank.example>", "s@evil.example", ""),
	}
	add := func(role intel.Role, v intel.Value, err error) {
		if err == nil {
			e.Observables = append(e.Observables, intel.Observable{Value: v, Role: role, Place: "1"})
		}
	}
	for range 1 + rng.IntN(2) {
		e.To = append(e.To, pick(rng, "a@example.org", "A.B@example.org", "c@sub.example.org", "d@other.example", "postmaster"))
	}
	address := func(role intel.Role, text string) {
		v, err := intel.Address(text)
		add(role, v, err)
	}
	v, err := intel.IP(e.Client)
	add(intel.RoleClient, v, err)
	address(intel.RoleEnvelopeFrom, e.From)
	if strings.Contains(e.HeaderFrom, "bank") {
		address(intel.RoleHeaderFrom, "pay@bank.example")
	} else if e.HeaderFrom != "" {
		address(intel.RoleHeaderFrom, e.HeaderFrom)
	}
	for range rng.IntN(3) {
		v, err := intel.URL(pick(rng, "http://evil.example/pay/1", "https://evil.example/pay/2?x=y", "https://www.evil.example/", "https://good.co.uk/pay/", "http://203.0.113.9/x", "https://x.s3.amazonaws.com/"))
		add(intel.RoleURL, v, err)
	}
	for range rng.IntN(2) {
		v, err := intel.Digest(pick(rng, strings.Repeat("ab", 32), strings.Repeat("cd", 20), strings.Repeat("ef", 16)))
		add(intel.RoleAttachment, v, err)
		e.Files = append(e.Files, pick(rng, "Invoice.PDF", "über.exe", "a.zip"))
	}
	if rng.IntN(10) == 0 { // too many recipients to be kept: only the envelope knows them
		e.Overflow = 5000
	} else {
		for _, to := range e.To {
			address(intel.RoleRcpt, to)
		}
	}
	return e
}

// asked is a condition as it is asked for, and what it means, written down plainly.
type asked struct {
	name string
	set  func(q *api.JournalQuery)
	want func(e *journal.Entry) bool
}

func has(e *journal.Entry, ok func(o *intel.Observable) bool) bool {
	for i := range e.Observables {
		if ok(&e.Observables[i]) {
			return true
		}
	}
	return false
}

func hostIn(o *intel.Observable, domain string) bool {
	return o.Value.Host() == domain || strings.HasSuffix(o.Value.Host(), "."+domain)
}

func links(texts ...string) func(*journal.Entry) bool {
	return func(e *journal.Entry) bool {
		return has(e, func(o *intel.Observable) bool {
			return o.Role == intel.RoleURL && slices.Contains(texts, o.Value.String())
		})
	}
}

func allAsked() []asked {
	within := func(host, domain string) bool { return host == domain || strings.HasSuffix(host, "."+domain) }
	hostOf := func(address string) string { return strings.ToLower(address[strings.LastIndexByte(address, '@')+1:]) }
	sends := func(ok func(host string) bool) func(*journal.Entry) bool {
		return func(e *journal.Entry) bool {
			return strings.Contains(e.From, "@") && ok(hostOf(e.From)) || strings.Contains(e.HeaderFrom, "bank") && ok("bank.example") || e.HeaderFrom == "s@evil.example" && ok("evil.example")
		}
	}
	client := func(ok ...string) func(*journal.Entry) bool {
		return func(e *journal.Entry) bool { return slices.Contains(ok, e.Client.String()) }
	}
	subject := func(ok ...string) func(*journal.Entry) bool {
		return func(e *journal.Entry) bool { return slices.Contains(ok, e.Subject) }
	}
	text := func(field, value string, want func(*journal.Entry) bool) asked {
		return asked{field + " " + value, func(q *api.JournalQuery) { reflect.ValueOf(q).Elem().FieldByName(field).SetString(value) }, want}
	}
	return []asked{
		text("Sender", "evil.example", sends(func(h string) bool { return within(h, "evil.example") })),
		text("Sender", ".Evil[.]example", sends(func(h string) bool { return within(h, "evil.example") })),
		text("Sender", "@evil.example", sends(func(h string) bool { return h == "evil.example" })),
		text("Sender", "S@evil.example", func(e *journal.Entry) bool { return e.From == "s@evil.example" || e.HeaderFrom == "s@evil.example" }),
		text("Sender", "pay@bank.example", func(e *journal.Entry) bool { return strings.Contains(e.HeaderFrom, "pay@bank") }),
		text("Sender", "YOUR  bank", func(e *journal.Entry) bool { return strings.Contains(e.HeaderFrom, "Your Bank") }),
		text("Sender", "<>", func(e *journal.Entry) bool { return e.From == "" }),
		text("Sender", "odd", func(e *journal.Entry) bool { return e.From == "odd" }),
		text("Sender", "xn--mnchen-3ya.example", sends(func(h string) bool { return h == "münchen.example" })),
		text("Recipient", "example.org", func(e *journal.Entry) bool {
			return slices.ContainsFunc(e.To, func(to string) bool { return strings.Contains(to, "@") && within(hostOf(to), "example.org") })
		}),
		text("Recipient", "a.b@EXAMPLE.org", func(e *journal.Entry) bool { return slices.Contains(e.To, "A.B@example.org") }),
		text("Recipient", "d@other.example", func(e *journal.Entry) bool { return slices.Contains(e.To, "d@other.example") }),
		text("Recipient", "postmaster", func(e *journal.Entry) bool { return slices.Contains(e.To, "postmaster") }),
		text("Recipient", "b@ex", func(e *journal.Entry) bool { return false }),
		text("Subject", "invoice your", subject("Your Invoice is ready", "invoice: YOUR account")),
		text("Subject", `"your invoice"`, subject("Your Invoice is ready")),
		text("Subject", "invoice", subject("Your Invoice is ready", "invoice: YOUR account", "𝐈𝐧𝐯𝐨𝐢𝐜𝐞 in\u200bvoice")),
		text("Subject", "für strasse", subject("Rechnung für Straße", "RECHNUNG FU\u0308R STRASSE")),
		text("Subject", "caf", subject("caf\xe9")),
		text("URL", "https://evil.example/pay/1", links("http://evil.example/pay/1")),
		text("URL", "hxxp://evil[.]example/pay/*", links("http://evil.example/pay/1", "https://evil.example/pay/2?x=y")),
		text("URL", "http://203.0.113.9/*", links("http://203.0.113.9/x")),
		text("Host", "evil.example", links("http://evil.example/pay/1", "https://evil.example/pay/2?x=y", "https://www.evil.example/")),
		text("Host", "203.0.113.9", links("http://203.0.113.9/x")),
		text("Host", "co.uk", links("https://good.co.uk/pay/")),
		text("Host", "amazonaws.com", links("https://x.s3.amazonaws.com/")),
		text("Domain", "evil.example", func(e *journal.Entry) bool {
			return hostOf(e.From) == "evil.example" || hostOf(e.From) == "sub.evil.example" || has(e, func(o *intel.Observable) bool { return hostIn(o, "evil.example") })
		}),
		text("Domain", "org", func(e *journal.Entry) bool {
			return slices.ContainsFunc(e.To, func(to string) bool { return strings.HasSuffix(to, ".org") })
		}),
		text("Hash", strings.Repeat("AB", 32), func(e *journal.Entry) bool {
			return has(e, func(o *intel.Observable) bool { return o.Value.String() == strings.Repeat("ab", 32) })
		}),
		text("Hash", strings.Repeat("ef", 16), func(e *journal.Entry) bool {
			return has(e, func(o *intel.Observable) bool { return o.Value.String() == strings.Repeat("ef", 16) })
		}),
		text("File", "invoice", func(e *journal.Entry) bool { return slices.Contains(e.Files, "Invoice.PDF") }),
		text("File", "ÜBER", func(e *journal.Entry) bool { return slices.Contains(e.Files, "über.exe") }),
		text("Client", "198.51.100.7", client("198.51.100.7")),
		text("Client", "198.51.100.0/24", client("198.51.100.7", "::ffff:198.51.100.8")),
		text("Client", "198.51.100.0/23", client("198.51.100.7", "198.51.101.7", "::ffff:198.51.100.8")),
		text("Client", "198.0.0.0/8", client("198.51.100.7", "198.51.101.7", "::ffff:198.51.100.8")),
		text("Client", "2001:db8::/32", client("2001:db8:1:2::5")),
		text("Client", "::ffff:198.51.100.0/120", client("198.51.100.7", "::ffff:198.51.100.8")),
		text("MessageID", "<m3@mail.example>", func(e *journal.Entry) bool { return e.MessageID == "m3@mail.example" }),
		text("QueueID", "4X00004", func(e *journal.Entry) bool { return e.QueueID == "4X00004" }),
		text("Direction", "outbound", func(e *journal.Entry) bool { return e.Direction == intel.Outbound }),
		text("Verdict", "tag", func(e *journal.Entry) bool { return e.Action == intel.ActionTag }),
		text("Rule", "blocked-url", func(e *journal.Entry) bool { return e.Rule == "blocked-url" }),
		text("Login", "aLICE", func(e *journal.Entry) bool { return e.AuthUser == "Alice" }),
		text("Login", "bob@example.org", func(e *journal.Entry) bool { return e.AuthUser == "bob@example.org" }),
		text("Value", "m3@mail.example", func(e *journal.Entry) bool { return e.MessageID == "m3@mail.example" }),
		text("Value", "a@example.org", func(e *journal.Entry) bool { return slices.Contains(e.To, "a@example.org") }),
		text("Value", "https://evil.example/pay/*", links("http://evil.example/pay/1", "https://evil.example/pay/2?x=y")),
		text("Value", "203.0.113.0/24", func(e *journal.Entry) bool {
			return e.Client.String() == "203.0.113.9" || links("http://203.0.113.9/x")(e)
		}),
		text("Value", "203.0.0.0/9", func(e *journal.Entry) bool {
			return e.Client.String() == "203.0.113.9" || links("http://203.0.113.9/x")(e)
		}),
	}
}

// ask gives the IDs that all pages of a query have, and how many pages there were.
func ask(t *testing.T, c *client.Client, q api.JournalQuery) (ids []string, pages int) {
	t.Helper()
	for {
		page, err := c.Journal(t.Context(), q)
		if err != nil {
			t.Fatalf("%+v: %v", q, err)
		}
		pages++
		for _, e := range page.Entries {
			ids = append(ids, e.ID)
		}
		if q.Before = page.Next; q.Before == "" {
			return ids, pages
		}
		if page.Reached.IsZero() || page.Lagging {
			t.Fatalf("%+v", page)
		}
	}
}

func TestASearchMeansWhatItsConditionsMean(t *testing.T) {
	h, c := open(t)
	rng := rand.New(rand.NewPCG(7, 7))
	var all []*journal.Entry
	for range 300 {
		e := passedMail(t, rng, h.Identity.NewID())
		if _, err := h.Journal.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	slices.Reverse(all)
	filter := func(q *api.JournalQuery, conditions ...asked) (ids []string) {
		for _, e := range all {
			ok := !e.Time.Before(q.Since) && (q.Until.IsZero() || e.Time.Before(q.Until))
			for _, a := range conditions {
				ok = ok && a.want(e)
			}
			if ok {
				ids = append(ids, e.ID)
			}
		}
		return ids
	}
	conditions := allAsked()
	for _, a := range conditions {
		t.Run(a.name, func(t *testing.T) {
			q := api.JournalQuery{Limit: 1000}
			a.set(&q)
			want := filter(&q, a)
			if got, _ := ask(t, c, q); !slices.Equal(got, want) {
				t.Errorf("got %d, want %d\ngot  %v\nwant %v", len(got), len(want), got, want)
			}
			if (len(want) == 0) != strings.HasSuffix(a.name, "b@ex") || len(want) == len(all) {
				t.Errorf("%d entries have it: the test is void", len(want))
			}
		})
	}
	rounds := 120
	if testing.Short() {
		rounds = 20
	}
	for range rounds {
		q := api.JournalQuery{Limit: pick(rng, 1, 3, 10, 1000)}
		var chosen []asked
		name := ""
		for range rng.IntN(4) {
			a := pick(rng, conditions...)
			field, _, _ := strings.Cut(a.name, " ")
			if strings.Contains(name, field+" ") {
				continue
			}
			a.set(&q)
			chosen = append(chosen, a)
			name += a.name + " and "
		}
		if rng.IntN(2) == 0 {
			q.Since = searched.Add(time.Duration(rng.IntN(30*24)) * time.Hour)
		}
		if rng.IntN(2) == 0 {
			q.Until = searched.Add(time.Duration(rng.IntN(30*24)) * time.Hour)
		}
		if len(chosen) == 0 && q.Limit < 10 {
			continue
		}
		want := filter(&q, chosen...)
		if got, pages := ask(t, c, q); !slices.Equal(got, want) || pages > len(want)/q.Limit+1 {
			t.Errorf("%s since %s until %s, %d pages of %d:\ngot  %v\nwant %v", name, q.Since, q.Until, pages, q.Limit, got, want)
		}
	}
}

func TestASearchIsRecordedOnceForAllItsPages(t *testing.T) {
	h, c := open(t)
	ctx := t.Context()
	for i := range 7 {
		h.Receive(mail(fmt.Sprintf("n%d", i), "x"), "editor@news.example", "reader@example.org")
	}
	records := func() (all []string) {
		page, err := c.Events(ctx, api.EventQuery{Type: "searched", Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			all = append(all, string(e.Data))
		}
		return all
	}
	q := api.JournalQuery{Sender: "news.example", Subject: "n", Limit: 2, Since: time.Now().Add(-time.Hour).Truncate(time.Second)}
	ids, pages := ask(t, c, q)
	want := `{"since":"` + q.Since.UTC().Format(time.RFC3339) + `","sender":"news.example","subject":"n"}`
	if got := records(); len(ids) != 7 || pages != 4 || !slices.Equal(got, []string{want}) {
		t.Errorf("%d found in %d pages: %q", len(ids), pages, got)
	}
	// Whoever goes on with other conditions, or behind what came since, searches anew.
	page, err := c.Journal(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	other := q
	other.Before, other.Subject = page.Next, ""
	if _, err := c.Journal(ctx, other); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(page.Next, "-")
	forged := q
	forged.Before = parts[0] + "-9" + parts[1] + "-" + parts[2]
	if _, err := c.Journal(ctx, forged); err != nil {
		t.Fatal(err)
	}
	q.Before = page.Next
	for range 3 { // the same page again is the same look
		if _, err := c.Journal(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	if got := records(); len(got) != 4 || got[2] == want || got[3] != want {
		t.Errorf("%q", got)
	}
}

func TestWhatPassesWhileSomebodyPagesIsOnNoPage(t *testing.T) {
	h, c := open(t)
	receive := func(i int) string {
		_, id := h.Receive(mail(fmt.Sprintf("n%d", i), "x"), "editor@news.example", "reader@example.org")
		return id
	}
	var ids []string
	for i := range 6 {
		ids = append(ids, receive(i))
	}
	slices.Reverse(ids)
	for _, q := range []api.JournalQuery{{Sender: "news.example", Limit: 1}, {Subject: "n", Limit: 1}} {
		var got []string
		for i := 0; ; i++ {
			page, err := c.Journal(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Entries {
				got = append(got, e.ID)
			}
			if q.Before = page.Next; q.Before == "" {
				break
			}
			receive(100 + i)
		}
		if len(got) < 6 || !slices.Equal(got[len(got)-6:], ids) {
			t.Errorf("%v", got)
		}
		if q.Sender != "" && len(got) != 6 {
			t.Errorf("%d entries", len(got))
		}
	}
}
