package control_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/cmd/internal/control/controltest"
)

func TestWhatIsUnblockedIsShownFirstAndAllowedForATime(t *testing.T) {
	h := controltest.New(t, control.Access{})
	cl := client.New(h.Socket)
	t.Cleanup(cl.Close)
	deliver(t, h, "old@shop.example", "Offers", "https://www.shop.example/a", "news@shop.example", "alice@example.org")
	h.WriteList("block/a.txt", "# first\n.shop.example note=\"seen in case 7\"\nother.example\n")
	if action, _ := h.Receive(letter("new@shop.example", "news@shop.example", "Offers", "https://www.shop.example/b"), "news@shop.example", "bob@example.org"); action != "discard" && action != "hold" {
		t.Fatalf("the new one: %s", action)
	}
	if _, err := cl.OpenIncident(ctx, api.IncidentOpen{Observables: []string{".shop.example"}, Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	plan, err := cl.UnblockPlan(ctx, api.UnblockPlan{Value: ".Shop.example"})
	if err != nil || plan.Value != ".shop.example" || plan.Answer != "block" || len(plan.Listed) != 1 || plan.Listed[0].Source != "list:block/a.txt" || plan.Listed[0].Line != 2 {
		t.Fatalf("%+v %v", plan, err)
	}
	if plan.Passed != 1 || len(plan.Examples) != 1 || len(plan.Items) != 1 || plan.Items[0].MessageID != "new@shop.example" || len(plan.Incidents) != 1 {
		t.Errorf("%+v", plan)
	}
	// A link that a message carried is blocked by the same entry.
	if plan, err := cl.UnblockPlan(ctx, api.UnblockPlan{Value: "https://www.shop.example/a"}); err != nil || plan.Answer != "block" || len(plan.Incidents) != 1 {
		t.Errorf("%+v %v", plan, err)
	}
	h.WriteList("allow/operator.txt", "# ours\npartner.example until=2030-01-01  # keep\n")
	until := time.Now().Add(30 * 24 * time.Hour).Truncate(time.Second)
	got, err := cl.Unblock(ctx, api.Unblock{Value: ".shop.example", Reason: "false \"alarm\"\nof ours", Until: until})
	if err != nil || got.Answer != "allow" || !got.Reloaded.OK || got.Line != 3 || got.Replaced {
		t.Fatalf("%+v %v", got, err)
	}
	want := "# ours\npartner.example until=2030-01-01  # keep\n.shop.example until=" + until.UTC().Format(time.RFC3339) + ` note="unblocked by unix:`
	content := func() string {
		text, err := os.ReadFile(filepath.Join(h.Dir, "lists/allow/operator.txt"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if text := content(); !strings.HasPrefix(text, want) || !strings.HasSuffix(text, `: false \"alarm\" of ours"`+"\n") {
		t.Errorf("%q", text)
	}
	events, err := cl.Events(ctx, api.EventQuery{Type: "unblocked"})
	if err != nil || len(events.Events) != 1 || !strings.Contains(string(events.Events[0].Data), ".shop.example") || events.Events[0].Reason == "" {
		t.Errorf("%+v %v", events, err)
	}
	// Again: the entry is replaced.
	later := until.Add(24 * time.Hour)
	if got, err = cl.Unblock(ctx, api.Unblock{Value: ".shop.example", Reason: "longer", Until: later}); err != nil || !got.Replaced || got.Line != 3 {
		t.Errorf("%+v %v", got, err)
	}
	if text := content(); strings.Count(text, "\n") != 3 || !strings.HasPrefix(text, strings.Replace(want, until.UTC().Format(time.RFC3339), later.UTC().Format(time.RFC3339), 1)) {
		t.Errorf("%q", text)
	}
	if action, _ := h.Receive(letter("next@shop.example", "news@shop.example", "Offers", "https://www.shop.example/c"), "news@shop.example", "bob@example.org"); action != "accept" {
		t.Errorf("the next one: %s", action)
	}
	if released, err := cl.Release(ctx, api.Release{ID: plan.Items[0].ID}); err != nil || released.Item.State != "released" {
		t.Errorf("%+v %v", released, err)
	}
	// What is more specific still decides, and is named.
	h.WriteList("block/b.txt", "www.shop.example\n")
	if got, err = cl.Unblock(ctx, api.Unblock{Value: "shop.example", Reason: "x", Until: later}); err != nil || got.Answer != "allow" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestWhatCannotBeUnblockedLeavesTheListsAlone(t *testing.T) {
	h := controltest.New(t, control.Access{})
	cl := client.New(h.Socket)
	t.Cleanup(cl.Close)
	soon := time.Now().Add(time.Hour)
	for name, tt := range map[string]struct {
		in   api.Unblock
		says string
	}{
		"no reason":          {api.Unblock{Value: "a.example", Reason: " ", Until: soon}, "reason"},
		"in the past":        {api.Unblock{Value: "a.example", Reason: "x", Until: time.Now().Add(-time.Hour)}, "would end"},
		"for ever":           {api.Unblock{Value: "a.example", Reason: "x", Until: time.Now().AddDate(50, 0, 0)}, "would end"},
		"options":            {api.Unblock{Value: "a.example in=helo", Reason: "x", Until: soon}, "more than a value"},
		"two lines":          {api.Unblock{Value: "a.example\nb.example", Reason: "x", Until: soon}, "control character"},
		"a comment":          {api.Unblock{Value: "a.example # b", Reason: "x", Until: soon}, "more than a value"},
		"an expression":      {api.Unblock{Value: "/x/ in=subject", Reason: "x", Until: soon}, ""},
		"nothing that is it": {api.Unblock{Value: "-", Reason: "x", Until: soon}, "-"},
	} {
		if _, err := cl.Unblock(ctx, tt.in); codeOf(err) != api.BadRequest || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	file := filepath.Join(h.Dir, "lists/allow/operator.txt")
	if _, err := os.Stat(file); err == nil {
		t.Error("the list was written")
	}
	// A list that is broken already would not be read.
	h.WriteList("allow/operator.txt", "10.1.2.3/8\n")
	if _, err := cl.Unblock(ctx, api.Unblock{Value: "a.example", Reason: "x", Until: soon}); err == nil || !strings.Contains(err.Error(), "mistake already") {
		t.Errorf("got %v", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "10.1.2.3/8\n" {
		t.Errorf("%q %v", text, err)
	}
	// What cannot be written is recorded as failed, and its cure is the line.
	if err := os.RemoveAll(filepath.Join(h.Dir, "lists/allow")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.Dir, "lists/allow"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.Unblock(ctx, api.Unblock{Value: "localhost", Reason: "x", Until: soon}); err == nil {
		t.Error("a word is a value")
	}
	_, err := cl.Unblock(ctx, api.Unblock{Value: "domain:localhost", Reason: "x", Until: soon})
	if err == nil {
		t.Fatal("it was written")
	}
}
