package control_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/cmd/internal/control/controltest"
)

func open(t *testing.T) (*controltest.House, *client.Client) {
	t.Helper()
	h := controltest.New(t, roles())
	c := client.New(h.Socket)
	t.Cleanup(c.Close)
	return h, c
}

func wantCode(t *testing.T, err error, code api.Code) *api.Error {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	return e
}

func mail(subject, body string) string {
	return "From: Bank <pay@sender.example>\nTo: a@example.org\nSubject: " + subject + "\nMessage-ID: <" + strings.ReplaceAll(subject, " ", ".") + "@sender.example>\n\n" + body + "\n"
}

const bad = "please look at https://www.evil.example/pay?x=1 now"

func TestAHeldMessageIsListedShownTakenAndReleased(t *testing.T) {
	h, c := open(t)
	ctx := t.Context()
	h.WriteList("block/local.txt", ".evil.example note=\"case 7\"\n")
	content := mail("Your invoice", bad)
	action, id := h.Receive(content, "pay@sender.example", "a@example.org", "b@example.org")
	if action != "discard" {
		t.Fatalf("the message was answered with %s", action)
	}
	h.Receive(mail("Hello", "no harm"), "x@sender.example", "a@example.org")

	page, err := c.Items(ctx, api.ItemQuery{})
	if err != nil || len(page.Items) != 1 || page.Next != "" {
		t.Fatalf("%+v %v", page, err)
	}
	item := page.Items[0]
	if item.ID != id || item.State != "held" || item.Sender != "pay@sender.example" || item.Subject != "Your invoice" || len(item.Recipients) != 2 ||
		item.Rule != "blocked-url" || len(item.Reasons) != 1 || item.Reasons[0].Note != "case 7" || item.Reasons[0].Source != "list:block/local.txt" || item.Reasons[0].Place != "1/text" {
		t.Errorf("%+v", item)
	}
	// A beginning that no other has is enough, in either case.
	if got, err := c.Item(ctx, strings.ToLower(id[:12])); err != nil || got.ID != id {
		t.Errorf("%+v %v", got, err)
	}
	p, err := c.Preview(ctx, id)
	if err != nil || p.Item.ID != id || len(p.Links) != 1 || p.Links[0].Defanged != "hxxps://www[.]evil[.]example/pay?x=1" || !strings.Contains(p.Text, "please look at hxxps://") {
		t.Errorf("%+v %v", p, err)
	}
	var raw bytes.Buffer
	if err := c.Message(ctx, id, &raw); err != nil || raw.String() != strings.ReplaceAll(content, "\n", "\r\n") {
		t.Errorf("%v %q", err, raw.String())
	}

	e := wantCode(t, second(c.Release(ctx, api.Release{ID: id})), api.Blocked)
	if e.Blocked == nil || e.Blocked.Rule != "blocked-url" || e.Blocked.Reasons[0].Value != "https://www.evil.example/pay?x=1" || !strings.Contains(e.Cure, "override") {
		t.Errorf("%+v", e)
	}
	_ = wantCode(t, second(c.Release(ctx, api.Release{ID: id, Override: true})), api.BadRequest)
	_ = wantCode(t, second(c.Release(ctx, api.Release{ID: id, Recipients: []string{"c@example.org"}})), api.NotFound)
	for range 2 { // asking twice delivers once
		r, err := c.Release(ctx, api.Release{ID: id, Recipients: []string{"A@example.org"}, Override: true, Reason: "a false positive"})
		if err != nil || len(r.Failed) != 0 || r.Item.Recipients[0].State != "released" || r.Item.Recipients[1].State != "held" {
			t.Fatalf("%+v %v", r, err)
		}
	}
	sent := h.Sink.Messages()
	if len(sent) != 1 || !slices.Equal(sent[0].To, []string{"a@example.org"}) || !bytes.HasSuffix(sent[0].Data, raw.Bytes()) {
		t.Errorf("%+v", sent)
	}
	deleted, err := c.Delete(ctx, api.Delete{ID: id, Reason: "done with it"})
	if err != nil || deleted.State != "deleted" || deleted.Recipients[0].State != "released" || deleted.Recipients[1].State != "deleted" {
		t.Errorf("%+v %v", deleted, err)
	}
	_ = wantCode(t, second(c.Preview(ctx, id)), api.Gone)
	_ = wantCode(t, c.Message(ctx, id, &raw), api.Gone)
	_ = wantCode(t, second(c.Release(ctx, api.Release{ID: id})), api.Gone)
	_ = wantCode(t, second(c.Delete(ctx, api.Delete{ID: id, Reason: "again"})), api.Gone)

	events, err := c.Events(ctx, api.EventQuery{Entity: "item/" + id})
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, e := range events.Events {
		types = append(types, e.Type)
		if e.Type != "held" && (e.Actor != fmt.Sprintf("unix:%d", os.Getuid()) || e.ActorName == "") {
			t.Errorf("%s by %q %q", e.Type, e.Actor, e.ActorName)
		}
	}
	if want := []string{"held", "viewed", "viewed", "release", "handover", "released", "deleted"}; !slices.Equal(types, want) {
		t.Errorf("recorded %v", types)
	}
}

func second[T any](_ T, err error) error { return err }

func TestCopiesThatAreNotTakenStayHeldAndAreNamed(t *testing.T) {
	h, c := open(t)
	h.WriteList("block/local.txt", ".evil.example\n")
	_, id := h.Receive(mail("x", bad), "s@sender.example", "a@example.org")
	h.WriteList("block/local.txt", "\n")
	_ = h.Sink.Close() // the MTA is away
	r, err := c.Release(t.Context(), api.Release{ID: id})
	if err != nil || len(r.Failed) != 1 || !strings.Contains(r.Failed[0], "a@example.org") || r.Item.State != "held" {
		t.Fatalf("%+v %v", r, err)
	}
}

func TestItemsAreFoundByEveryFilterAndPageByPage(t *testing.T) {
	h, c := open(t)
	ctx := t.Context()
	h.WriteList("block/local.txt", ".evil.example\n")
	var ids []string
	for i := range 7 {
		_, id := h.Receive(mail(fmt.Sprintf("Invoice %d", i), bad), fmt.Sprintf("s%d@mail.sender.example", i), fmt.Sprintf("r%d@example.org", i))
		ids = append(ids, id)
	}
	if _, err := c.Delete(ctx, api.Delete{ID: ids[6], Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	first, err := c.Item(ctx, ids[2])
	if err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]struct {
		query api.ItemQuery
		want  []string
	}{
		"nothing":           {api.ItemQuery{}, []string{ids[5], ids[4], ids[3], ids[2], ids[1], ids[0]}},
		"all":               {api.ItemQuery{State: "all"}, []string{ids[6], ids[5], ids[4], ids[3], ids[2], ids[1], ids[0]}},
		"state":             {api.ItemQuery{State: "deleted"}, []string{ids[6]}},
		"sender":            {api.ItemQuery{Sender: "S1@mail.sender.example"}, []string{ids[1]}},
		"a sender's domain": {api.ItemQuery{Sender: "sender.example", Limit: 2}, []string{ids[5], ids[4]}},
		"recipient":         {api.ItemQuery{Recipient: "r3@example.org"}, []string{ids[3]}},
		"subject":           {api.ItemQuery{Subject: "4 invoice"}, []string{ids[4]}},
		"rule":              {api.ItemQuery{Rule: "other"}, nil},
		"hash":              {api.ItemQuery{Hash: first.SHA256[:10]}, []string{ids[2]}},
		"the hash of parts": {api.ItemQuery{Hash: strings.ToUpper(first.Hashes[0])}, []string{ids[5], ids[4], ids[3], ids[2], ids[1], ids[0]}},
		"id":                {api.ItemQuery{ID: strings.ToLower(ids[0])}, []string{ids[0]}},
		"since":             {api.ItemQuery{Since: time.Now().Add(time.Hour)}, nil},
		"until":             {api.ItemQuery{Until: time.Now().Add(-time.Hour)}, nil},
		"until then":        {api.ItemQuery{Until: first.Held}, []string{ids[1], ids[0]}},
		"direction":         {api.ItemQuery{Direction: "outbound"}, nil},
	} {
		page, err := c.Items(ctx, q.query)
		if got := idsOf(page); err != nil || !slices.Equal(got, q.want) {
			t.Errorf("by %s: %v, want %v; %v", name, got, q.want, err)
		}
	}
	var got []string
	for q := (api.ItemQuery{Limit: 4, State: "all"}); ; {
		page, err := c.Items(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, idsOf(page)...)
		if q.Before = page.Next; q.Before == "" {
			break
		}
	}
	slices.Reverse(got)
	if !slices.Equal(got, ids) {
		t.Errorf("page by page: %v", got)
	}
	_ = wantCode(t, second(c.Item(ctx, ids[0][:6])), api.Ambiguous)
	_ = wantCode(t, second(c.Delete(ctx, api.Delete{ID: ids[0][:6], Reason: "x"})), api.Ambiguous)
}

func idsOf(page *api.ItemPage) (ids []string) {
	if page == nil {
		return nil
	}
	for _, i := range page.Items {
		ids = append(ids, i.ID)
	}
	return ids
}

func TestTheJournalIsSearchedByWhateverAMessageCarries(t *testing.T) {
	h, c := open(t)
	ctx := t.Context()
	_, other := h.Receive(mail("other", "nothing at http://www.other.example/a"), "o@other.example", "o@example.org")
	body := "see http://sub.news.example/path?q=1 and http://203.0.113.9/x"
	_, id := h.Receive(mail("news", body), "Editor@news.example", "reader@example.org")
	entry, err := c.JournalEntry(ctx, id)
	if err != nil || entry.Subject != "news" || entry.Sender != "Editor@news.example" || len(entry.Observables) < 6 || !slices.Equal(entry.Recipients, []string{"reader@example.org"}) || entry.Verdict != "accept" {
		t.Fatalf("%+v %v", entry, err)
	}
	for value, as := range map[string]string{
		id:                                     "id",
		strings.ToLower(id) + ".n.mac":         "id",
		entry.QueueID:                          "queue-id",
		"<news@sender.example>":                "message-id",
		"news@sender.example":                  "message-id",
		"editor@NEWS.example":                  "address",
		"reader@example.org":                   "address",
		"sub.news.example":                     "domain",
		"news.example":                         "domain",
		".news.example":                        "domain",
		"news[.]example":                       "domain",
		"https://sub.news.example/path?q=1":    "url",
		"hxxp://sub[.]news[.]example/path?q=1": "url",
		"203.0.113.9":                          "ip",
		"203.0.113.0/24":                       "ip",
		"203.0.113.8/30":                       "ip",
		"198.51.100.0/24":                      "ip",
	} {
		page, err := c.Journal(ctx, api.JournalQuery{Value: value})
		if err != nil {
			t.Errorf("%s: %v", value, err)
			continue
		}
		found := slices.ContainsFunc(page.Entries, func(e api.JournalEntry) bool { return e.ID == id })
		strange := slices.ContainsFunc(page.Entries, func(e api.JournalEntry) bool { return e.ID == other })
		read := slices.ContainsFunc(page.Readings, func(r api.Reading) bool { return r.As == as })
		if !found || !read || strange != (value == "198.51.100.0/24") {
			t.Errorf("%s as %s: %+v, found %v, the other one %v", value, as, page.Readings, found, strange)
		}
		if as == "url" || as == "ip" || as == "domain" {
			if len(page.Entries[0].Matched) == 0 {
				t.Errorf("%s: it is not said what matched", value)
			}
		}
	}
	for _, value := range []string{"nothing.example", "203.0.113.128/25", "http://sub.news.example/path?q=2", "ews.example", "4XyzQ99999", strings.Repeat("ab", 32)} {
		if page, err := c.Journal(ctx, api.JournalQuery{Value: value}); err != nil || len(page.Entries) != 0 {
			t.Errorf("%s: %+v %v", value, page, err)
		}
	}
	// One way to read it alone.
	if page, err := c.Journal(ctx, api.JournalQuery{Value: "news@sender.example", As: "address"}); err != nil || len(page.Entries) != 0 || len(page.Readings) != 1 {
		t.Errorf("%+v %v", page, err)
	}
	// Whoever searches is recorded, with what he searched for.
	events, err := c.Events(ctx, api.EventQuery{Type: "searched", Last: true, Limit: 1})
	if err != nil || len(events.Events) != 1 || string(events.Events[0].Data) != `{"value":"news@sender.example","as":"address"}` {
		t.Errorf("%+v %v", events, err)
	}
}

func TestTheJournalGivesTheNewestFirstPageByPage(t *testing.T) {
	h, c := open(t)
	var ids []string
	for i := range 9 {
		_, id := h.Receive(mail(fmt.Sprintf("n%d", i), "x"), "editor@news.example", "reader@example.org")
		ids = append(ids, id)
	}
	var got []string
	pages := 0
	for q := (api.JournalQuery{Value: "news.example", Limit: 4}); ; pages++ {
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
	}
	slices.Reverse(got)
	if !slices.Equal(got, ids) || pages != 2 {
		t.Errorf("%d pages: %v", pages, got)
	}
}

func TestTheLedgerIsReadPageByPageWithoutRepeating(t *testing.T) {
	h, c := open(t)
	ctx := t.Context()
	h.WriteList("block/local.txt", ".evil.example\n")
	for i := range 5 {
		h.Receive(mail(fmt.Sprintf("m%d", i), bad), "s@sender.example", "a@example.org")
	}
	var seen []string
	q := api.EventQuery{Limit: 2, Type: "held"}
	for {
		page, err := c.Events(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			seen = append(seen, e.ID)
		}
		q.After = page.Cursor
		if !page.More {
			break
		}
	}
	if slices.Sort(seen); len(seen) != 5 || len(slices.Compact(seen)) != 5 {
		t.Errorf("%v", seen)
	}
	// What is recorded later comes behind the last cursor.
	if page, err := c.Events(ctx, q); err != nil || len(page.Events) != 0 || page.Cursor != q.After {
		t.Errorf("%+v %v", page, err)
	}
	_, id := h.Receive(mail("later", bad), "s@sender.example", "a@example.org")
	if page, err := c.Events(ctx, q); err != nil || len(page.Events) != 1 || page.Events[0].Entity != "item/"+id || page.More {
		t.Errorf("%+v %v", page, err)
	}
	for name, last := range map[string]api.EventQuery{
		"all":        {Last: true, Limit: 3},
		"by a begin": {Last: true, Limit: 3, Entity: "item/*"},
		"by entity":  {Last: true, Limit: 3, Entity: "item/" + id},
		"by actor":   {Last: true, Limit: 3, Actor: "rule:blocked-url"},
	} {
		page, err := c.Events(ctx, last)
		if err != nil || len(page.Events) == 0 || page.Events[len(page.Events)-1].Entity != "item/"+id || len(page.Events) > 3 {
			t.Errorf("the last %s: %+v %v", name, page, err)
		}
	}
	for _, none := range []api.EventQuery{{Since: time.Now().Add(time.Hour)}, {Until: time.Now().Add(-time.Hour)}, {Actor: "unix:4"}, {Entity: "item/x"}, {Entity: "item/x", Last: true}} {
		if page, err := c.Events(ctx, none); err != nil || len(page.Events) != 0 {
			t.Errorf("%+v: %+v %v", none, page, err)
		}
	}
}

func TestTheLedgerIsVerifiedAndAnEditIsFound(t *testing.T) {
	h, c := open(t)
	ctx := t.Context()
	h.WriteList("block/local.txt", ".evil.example\n")
	h.Receive(mail("m1", bad), "s@sender.example", "a@example.org")
	head, err := c.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	h.Receive(mail("m2", bad), "s@sender.example", "a@example.org")
	v, err := c.Verify(ctx, api.Verify{Head: head.Head})
	if err != nil || !v.OK || v.Records != 2 || v.Expected != head.Head || v.Head == head.Head {
		t.Fatalf("%+v %v", v, err)
	}
	forged := "2" + head.Head[1:]
	if v, err = c.Verify(ctx, api.Verify{Head: forged}); err != nil || v.OK || !strings.Contains(v.Offence, "another record") {
		t.Errorf("a head of another record: %+v %v", v, err)
	}
	forged = "9" + head.Head[1:]
	if v, err = c.Verify(ctx, api.Verify{Head: forged}); err != nil || v.OK || !strings.Contains(v.Offence, "cut off") {
		t.Errorf("a head of a record that is not there: %+v %v", v, err)
	}
	segments, err := filepath.Glob(filepath.Join(h.Dir, "ledger", "*.wal"))
	if err != nil || len(segments) != 1 {
		t.Fatal(segments, err)
	}
	data, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	edited := bytes.Replace(data, []byte("blocked-url"), []byte("blocked-uri"), 1)
	if err := os.WriteFile(segments[0], edited, 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err = c.Verify(ctx, api.Verify{}); err != nil || v.OK || v.Offence == "" {
		t.Errorf("an edited record: %+v %v", v, err)
	}
}

func TestListsAreShownAndTried(t *testing.T) {
	h, c := open(t)
	ctx := t.Context()
	h.WriteList("block/local.txt", ".evil.example id=T-1\nurgent.example in=url\n/invoice/i in=subject\n")
	h.WriteList("allow/local.txt", "www.evil.example\n")
	h.WriteList("block/broken.txt", "not an entry\n")
	h.WriteList("block/local.txt", "still.evil.example until=yesterday\n")

	lists, err := c.Lists(ctx)
	if err != nil || len(lists.Lists) != 3 || lists.Loaded.IsZero() {
		t.Fatalf("%+v %v", lists, err)
	}
	state := map[string]api.List{}
	for _, l := range lists.Lists {
		state[l.Name] = l
	}
	if l := state["list:allow/local.txt"]; l.State != "current" || l.Entries != 1 || l.Problems != nil {
		t.Errorf("%+v", l)
	}
	if l := state["list:block/broken.txt"]; l.State != "refused" || l.Entries != 0 || len(l.Problems) != 1 || l.Problems[0].Line != 1 || l.Problems[0].Cure == "" {
		t.Errorf("%+v", l)
	}
	if l := state["list:block/local.txt"]; l.State != "outdated" || l.Entries != 3 || len(l.Problems) != 1 {
		t.Errorf("%+v", l)
	}
	if s, err := c.Status(ctx); err != nil || s.Lists != (api.ListsStatus{Generation: lists.Generation, Lists: 2, Entries: 4, Refused: 2}) {
		t.Errorf("%+v %v", s, err)
	}
	for _, q := range []struct {
		test    api.ListTest
		answer  string
		matches int
	}{
		{api.ListTest{Value: "http://x.evil.example/"}, "block", 1},
		{api.ListTest{Value: "hxxp://www[.]evil[.]example/"}, "allow", 2},
		{api.ListTest{Value: "urgent.example", In: "url"}, "block", 1},
		{api.ListTest{Value: "urgent.example", In: "helo"}, "none", 1},
		{api.ListTest{Value: "Your INVOICE", In: "subject"}, "block", 1},
		{api.ListTest{Value: "Your INVOICE", In: "file-name"}, "none", 0},
		{api.ListTest{Value: "good.example"}, "none", 0},
	} {
		got, err := c.ListTest(ctx, q.test)
		if err != nil || got.Answer != q.answer || len(got.Candidates) != q.matches {
			t.Errorf("%+v: %+v %v", q.test, got, err)
		}
		for i := range got.Candidates {
			if got.Candidates[i].Explanation == "" || got.Candidates[i].Line == 0 {
				t.Errorf("%+v explains nothing", got.Candidates[i])
			}
		}
	}
	r, err := c.Reload(ctx)
	if err != nil || r.OK || len(r.Problems) != 2 || len(r.Lists) != 3 {
		t.Errorf("%+v %v", r, err)
	}
}

func TestPolicyConfigAndDocumentAreGiven(t *testing.T) {
	h, c := open(t)
	p, err := c.Policy(t.Context())
	if err != nil || p.Name != "default.toml" || len(p.Rules) < 5 || p.Rules[0].Action != "reject" || !strings.HasPrefix(p.Rules[0].Reply, "550 5.7.1 ") || p.Rules[0].Line == 0 {
		t.Errorf("%+v %v", p, err)
	}
	if cfg, err := c.Config(t.Context()); err != nil || !strings.Contains(cfg.Text, "enforce") {
		t.Errorf("%+v %v", cfg, err)
	}
	status, text := request(t, dial(t, h), "GET", "/v1/openapi.json", "", "")
	if want, err := os.ReadFile("openapi.json"); err != nil || status != 200 || strings.TrimSpace(text) == "" || !jsonEqual(text, string(want)) {
		t.Errorf("%d %v", status, err)
	}
}
