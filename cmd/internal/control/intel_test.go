package control_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/cmd/internal/control/controltest"
)

func intelHouse(t *testing.T) (*controltest.House, *client.Client) {
	h := controltest.New(t, control.Access{})
	cl := client.New(h.Socket)
	t.Cleanup(cl.Close)
	return h, cl
}

func add(t *testing.T, cl *client.Client, disposition string, entries ...api.IntelEntry) *api.IntelChanged {
	t.Helper()
	changed, err := cl.IntelAdd(ctx, api.IntelAdd{Disposition: disposition, Entries: entries, Reason: "case 12"})
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func TestWhatAnEntryHitIsShownWithTheMessages(t *testing.T) {
	h, cl := intelHouse(t)
	h.WriteList("block/a.txt", "# first\n.shop.example note=\"seen in case 7\"\n.idle.example\n")
	add(t, cl, "watch", api.IntelEntry{Value: "news@shop.example"})
	action, _ := h.Receive(letter("1@shop.example", "news@shop.example", "Offers", "https://www.shop.example/b"), "news@shop.example", "bob@example.org")
	if action != "discard" {
		t.Fatalf("it was answered %s", action)
	}
	_, ref := h.Receive(letter("2@other.example", "a@other.example", "Offers", "https://www.shop.example/c https://www.shop.example/d"), "a@other.example", "bob@example.org")
	shown, err := cl.IntelShow(ctx, api.IntelValue{Value: "news@shop.example"})
	if err != nil {
		t.Fatal(err)
	}
	if shown.Answer != "block" || len(shown.Listed) != 2 || shown.Counted.IsZero() || len(shown.History) != 1 || shown.History[0].Type != "listed" || shown.History[0].Reason != "case 12" {
		t.Fatalf("%+v", shown)
	}
	watch, block := shown.Listed[0], shown.Listed[1]
	if watch.Disposition != "watch" {
		watch, block = block, watch
	}
	if watch.Hits == nil || watch.Hits.Count != 1 || watch.Source != "list:watch/operator.txt" || watch.Line != 2 || watch.Added.IsZero() {
		t.Errorf("%+v", watch)
	}
	if block.Hits == nil || block.Hits.Count != 2 || block.Line != 2 || len(block.Hits.Recent) != 2 {
		t.Fatalf("%+v", block)
	}
	// The ID leads to the message.
	newest := block.Hits.Recent[0]
	if item, err := cl.Item(ctx, newest.ID); err != nil || item.MessageID != "2@other.example" || newest.ID == "" || ref == "" {
		t.Errorf("%+v leads to %+v, %v", newest, item, err)
	}
	// A message that comes again is not counted before it does.
	h.WriteList("block/b.txt", "later.example action=tempfail\n")
	if action, _ := h.Receive(letter("3@a.example", "a@a.example", "Offers", "https://later.example/"), "a@a.example", "bob@example.org"); action != "tempfail" {
		t.Fatal(action)
	}
	if shown, err := cl.IntelShow(ctx, api.IntelValue{Value: "later.example"}); err != nil || len(shown.Listed) != 1 || shown.Listed[0].Hits != nil {
		t.Errorf("%+v, %v", shown, err)
	}
	h.WriteList("block/b.txt", "")
	// What did nothing is found.
	page, err := cl.ListUnused(ctx, api.ListUnused{Days: 1})
	if err != nil || len(page.Unused) != 0 {
		t.Errorf("new entries are called unused: %+v, %v", page, err)
	}
	found, err := cl.IntelSearch(ctx, api.IntelSearch{Text: "EXAMPLE", Source: "list:block/*"})
	if err != nil || len(found.Found) != 2 || found.Cursor != "" {
		t.Fatalf("%+v, %v", found, err)
	}
	for _, ind := range found.Found {
		if hit := ind.Entry == ".shop.example"; hit != (ind.Hits != nil) {
			t.Errorf("%+v", ind)
		}
	}
}

func TestASearchComesInPages(t *testing.T) {
	h, cl := intelHouse(t)
	var file strings.Builder
	for i := range 250 {
		fmt.Fprintf(&file, "n%d.example campaign=c%d\n", i, i%2)
	}
	h.WriteList("block/a.txt", file.String())
	seen := map[string]bool{}
	q := api.IntelSearch{Campaign: "c1", Limit: 50}
	for pages := 0; ; pages++ {
		page, err := cl.IntelSearch(ctx, q)
		if err != nil || len(page.Found) > 50 || pages > 5 {
			t.Fatal(page, err)
		}
		for _, ind := range page.Found {
			if seen[ind.Entry] || ind.Campaign != "c1" {
				t.Errorf("%+v comes twice, or is none", ind)
			}
			seen[ind.Entry] = true
		}
		if q.After = page.Cursor; q.After == "" {
			break
		}
	}
	if len(seen) != 125 {
		t.Errorf("%d were found", len(seen))
	}
	for _, after := range []string{"?", "eHg"} {
		if _, err := cl.IntelSearch(ctx, api.IntelSearch{After: after}); codeOf(err) != api.BadRequest {
			t.Errorf("%s: %v", after, err)
		}
	}
}

func TestNothingIsLostOfOperatorsWhoAddAtOnceWhileAPersonEdits(t *testing.T) {
	h, cl := intelHouse(t)
	h.WriteList("block/operator.txt", "# by hand\n")
	name := filepath.Join(h.Dir, "lists/block/operator.txt")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for k := range 4 {
				if _, err := cl.IntelAdd(ctx, api.IntelAdd{Disposition: "block", Entries: []api.IntelEntry{{Value: fmt.Sprintf("o%d-%d.example", i, k)}}, Reason: "x"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	// A person saves as editors do: what is there, with a line more, and saves again
	// where somebody was faster.
	for i := range 5 {
		for {
			before, err := os.ReadFile(name)
			if err != nil {
				continue
			}
			next := append(bytes.Clone(before), fmt.Sprintf("p%d.example\n", i)...)
			if os.WriteFile(name+".mine.swp", next, 0o600) != nil || os.Rename(name+".mine.swp", name) != nil {
				t.Error("the person could not save")
			}
			break
		}
	}
	all.Wait()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		if !strings.Contains(string(text), fmt.Sprintf("\np%d.example\n", i)) {
			t.Errorf("the person's line %d is lost", i)
		}
	}
}

func TestManyAreTakenOverAtOnceOrNone(t *testing.T) {
	h, cl := intelHouse(t)
	var entries []api.IntelEntry
	for i := range 1000 {
		entries = append(entries, api.IntelEntry{Value: fmt.Sprintf("n%d.example", i), Confidence: 50, TLP: "green", Until: time.Now().Add(time.Hour)})
	}
	changed := add(t, cl, "block", entries...)
	if len(changed.Changes) != 1000 || changed.Answer != "" || h.Store.Sources()[0].Entries != 1000 {
		t.Errorf("%d changes, %+v", len(changed.Changes), h.Store.Sources())
	}
	history, err := cl.IntelHistory(ctx, api.IntelValue{Value: "n999.example"})
	if err != nil || len(history.Events) != 1 {
		t.Errorf("%+v, %v", history, err)
	}
	wrong := append(entries[:3:3], api.IntelEntry{Value: "-"})
	wrong[0].Value = "other.example"
	if _, err := cl.IntelAdd(ctx, api.IntelAdd{Disposition: "block", Entries: wrong, Reason: "x"}); codeOf(err) != api.BadRequest || !strings.Contains(err.Error(), "entry 4") {
		t.Error(err)
	}
	if shown, err := cl.IntelShow(ctx, api.IntelValue{Value: "other.example"}); err != nil || shown.Answer != "none" || len(shown.History) != 0 {
		t.Errorf("%+v, %v", shown, err)
	}
	if _, err := cl.IntelAdd(ctx, api.IntelAdd{Disposition: "block", Entries: make([]api.IntelEntry, 10_001), Reason: "x"}); codeOf(err) != api.BadRequest || !strings.Contains(err.Error(), "a feed") {
		t.Error(err)
	}
}

func TestAnExportSaysWhatItLeavesOut(t *testing.T) {
	h, cl := intelHouse(t)
	h.WriteList("block/a.txt", "evil.example\n.worse.example tlp=red\nallowed.example\n44d88612fea8a8f36de82e1278abb02f\n")
	h.WriteList("allow/b.txt", "allowed.example\n")
	for format, want := range map[string]string{"domains": "evil.example\n", "stix": `"domain-name:value = 'evil.example'`} {
		var b bytes.Buffer
		report, err := cl.IntelExport(ctx, api.IntelExport{Format: format, MaxTLP: "amber"}, &b)
		if err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if !strings.Contains(text, strings.Trim(want, `"`)) || strings.Contains(text, "worse") || strings.Contains(text, "allowed.example") {
			t.Errorf("%s", text)
		}
		left := map[string]int{}
		for _, l := range report.Left {
			left[l.Why] = l.Count
		}
		if left["is TLP:red"] != 1 || left["is allowed"] != 1 || left["says allow"] != 1 {
			t.Errorf("%s: %+v", format, report)
		}
	}
	if _, err := cl.IntelExport(ctx, api.IntelExport{Format: "xml"}, &bytes.Buffer{}); codeOf(err) != api.BadRequest {
		t.Error(err)
	}
	// A list without anything is whole too.
	var b bytes.Buffer
	if report, err := cl.IntelExport(ctx, api.IntelExport{Format: "csv", Source: "feed:*"}, &b); err != nil || report.Written != 0 || !strings.HasPrefix(b.String(), `"value"`) {
		t.Errorf("%q %+v %v", b.String(), report, err)
	}
}
