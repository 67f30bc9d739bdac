package control_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/quarantine/notify"
)

func TestAReferenceTellsWhatAMessageWasStoppedFor(t *testing.T) {
	h, cl := intelHouse(t)
	h.WriteList("block/a.txt", ".shop.example\nhttps://other.example/x action=reject\n.twice.example\n")
	soon := time.Now().Add(24 * time.Hour)
	_, held := h.Receive(letter("1@a.example", "a@a.example", "Offers", "https://www.shop.example/b"), "a@a.example", "bob@example.org")
	action, refused := h.Receive(letter("2@a.example", "a@a.example", "Offers", "https://other.example/x"), "a@a.example", "bob@example.org")
	if action != "reject" {
		t.Fatal(action)
	}
	_, two := h.Receive(letter("3@a.example", "a@a.example", "Offers", "https://a.twice.example/ https://b.twice.example/"), "a@a.example", "bob@example.org")
	for reference, want := range map[string]string{held: "https://www.shop.example/b", strings.ToLower(refused): "https://other.example/x"} {
		asked, err := cl.AskUnblock(ctx, api.UnblockAsk{Reference: reference, Reason: "a partner called", Until: soon})
		if err != nil || asked.Request.Value != want || !asked.New || asked.Request.State != "open" || asked.Known.Answer != "block" || asked.Request.Reference != reference {
			t.Errorf("%s: %+v, %v", reference, asked, err)
		}
	}
	if _, err := cl.AskUnblock(ctx, api.UnblockAsk{Reference: two, Reason: "x", Until: soon}); codeOf(err) != api.BadRequest || !strings.Contains(err.Error(), "url:https://a.twice.example/, url:https://b.twice.example/") {
		t.Error(err)
	}
	h.WriteList("block/b.txt", "bad.example\n.new.example\n")
	_, rules := h.Receive(letter("4@a.example", "a@bad.example", "Offers", "https://www.new.example/"), "a@bad.example", "bob@example.org")
	if _, err := cl.AskUnblock(ctx, api.UnblockAsk{Reference: rules, Reason: "x", Until: soon}); codeOf(err) != api.BadRequest || !strings.Contains(err.Error(), "address:a@bad.example") || !strings.Contains(err.Error(), "url:https://www.new.example/") {
		t.Errorf("of several rules: %v", err)
	}
	for what, in := range map[string]api.UnblockAsk{
		"nobody knows it":  {Reference: "01KB0000000000000000000001", Reason: "x", Until: soon},
		"nothing is named": {Reason: "x", Until: soon},
		"no reason":        {Value: "a.example", Until: soon},
		"for ever":         {Value: "a.example", Reason: "x", Until: soon.AddDate(9, 0, 0)},
		"a line end":       {Value: "a.example", Reason: "x", Reference: "a\nb", Until: soon},
	} {
		if asked, err := cl.AskUnblock(ctx, in); codeOf(err) != api.BadRequest && codeOf(err) != api.NotFound {
			t.Errorf("%s: %+v, %v", what, asked, err)
		}
	}
	again, err := cl.AskUnblock(ctx, api.UnblockAsk{Value: "https://other.example/x", Reason: "me too", Until: soon})
	if err != nil || again.New {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestARequestIsApprovedUnlessSomethingSpeaksAgainstIt(t *testing.T) {
	h, cl := intelHouse(t)
	deliver(t, h, "old@shop.example", "Offers", "https://www.shop.example/a", "news@shop.example", "alice@example.org")
	h.WriteList("block/a.txt", ".shop.example\n")
	_, ref := h.Receive(letter("1@shop.example", "news@shop.example", "Offers", "https://www.shop.example/b"), "news@shop.example", "bob@example.org")
	asked, err := cl.AskUnblock(ctx, api.UnblockAsk{Value: ".shop.example", Reference: ref, Reason: "our supplier", Until: time.Now().Add(24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	id := asked.Request.ID
	// An incident comes up.
	if _, err := cl.OpenIncident(ctx, api.IncidentOpen{Observables: []string{".shop.example"}, Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	shown, err := cl.UnblockCase(ctx, id)
	if err != nil || len(shown.Against) != 1 || !strings.Contains(shown.Against[0], "has come up since") || len(shown.Evidence.Items) != 1 || shown.Evidence.Passed != 1 {
		t.Fatalf("%+v, %v", shown, err)
	}
	if _, err := cl.ApproveUnblock(ctx, api.UnblockApprove{ID: id, Reason: "it is"}); codeOf(err) != api.Blocked || !strings.Contains(err.Error(), "--override") {
		t.Fatal(err)
	}
	// Nobody approves what he asked for, where that is set, and allows nothing alone.
	h.SetLimits(control.Limits{SecondPerson: true})
	later := time.Now().Add(48 * time.Hour)
	for what, err := range map[string]error{
		"approve": third(cl.ApproveUnblock(ctx, api.UnblockApprove{ID: id, Reason: "it is", Override: true})),
		"unblock": third(cl.Unblock(ctx, api.Unblock{Value: "a.example", Reason: "x", Until: later})),
		"add":     third(cl.IntelAdd(ctx, api.IntelAdd{Disposition: "allow", Entries: []api.IntelEntry{{Value: "a.example", Until: later}}, Reason: "x"})),
	} {
		if codeOf(err) != api.SecondPerson {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := os.Stat(filepath.Join(h.Dir, "lists/allow/operator.txt")); err == nil {
		t.Error("something was allowed")
	}
	h.SetLimits(control.Limits{})
	// What cannot be written leaves the request open.
	if err := os.WriteFile(filepath.Join(h.Dir, "lists/allow"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.ApproveUnblock(ctx, api.UnblockApprove{ID: id, Reason: "it is", Override: true}); err == nil {
		t.Error("a list was written that cannot be")
	}
	if page, err := cl.UnblockRequests(ctx, api.UnblockQuery{State: "open"}); err != nil || len(page.Requests) != 1 {
		t.Errorf("%+v, %v", page, err)
	}
	if err := os.Remove(filepath.Join(h.Dir, "lists/allow")); err != nil {
		t.Fatal(err)
	}
	got, err := cl.ApproveUnblock(ctx, api.UnblockApprove{ID: strings.ToLower(id), Reason: "it is", Override: true, Until: later})
	if err != nil || got.Request.State != "approved" || got.Unblocked.Answer != "allow" || !strings.Contains(got.Unblocked.Entry, " for unix:") || got.Request.Why != "it is" {
		t.Fatalf("%+v, %v", got, err)
	}
	if _, err := cl.ApproveUnblock(ctx, api.UnblockApprove{ID: id, Reason: "again", Override: true}); codeOf(err) != api.Closed {
		t.Error(err)
	}
	if _, err := cl.RefuseUnblock(ctx, api.UnblockRefuse{ID: id, Reason: "no"}); codeOf(err) != api.Closed {
		t.Error(err)
	}
	history, err := cl.IntelHistory(ctx, api.IntelValue{Value: ".shop.example"})
	if err != nil || len(history.Events) == 0 || history.Events[len(history.Events)-1].Type != "unblocked" {
		t.Errorf("%+v, %v", history, err)
	}
	if _, err := cl.UnblockCase(ctx, "01KB"); codeOf(err) != api.NotFound {
		t.Error(err)
	}
}

func TestWhoAskedIsWrittenToOnceItIsDecided(t *testing.T) {
	h, cl := intelHouse(t)
	h.WriteList("block/a.txt", "shop.example\nevil.example\n")
	soon := time.Now().Add(24 * time.Hour)
	ask := func(value, to string) (*api.UnblockAsked, error) {
		return cl.AskUnblock(ctx, api.UnblockAsk{Value: value, Reason: "a partner", Until: soon, Notify: to})
	}
	if _, err := ask("shop.example", "alice at home"); codeOf(err) != api.BadRequest || !strings.Contains(err.Error(), "has no @") {
		t.Error(err)
	}
	asked, err := ask("shop.example", "Alice@example.org")
	if err != nil || asked.Request.Notify != "alice@example.org" || asked.Request.Notice != nil {
		t.Fatalf("%+v, %v", asked, err)
	}
	if again, err := ask("shop.example", "bob@example.org"); err != nil || again.New || again.Request.Notify != "alice@example.org" {
		t.Errorf("%+v, %v", again, err)
	}
	got, err := cl.ApproveUnblock(ctx, api.UnblockApprove{ID: asked.Request.ID, Reason: "it is"})
	if err != nil || got.Request.Notice == nil {
		t.Fatalf("%+v, %v", got, err)
	}
	waitCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	mails, err := h.Sink.Wait(waitCtx, 1)
	if err != nil || mails[0].From != "" || strings.Join(mails[0].To, " ") != "alice@example.org" || !strings.Contains(string(mails[0].Data), "Subject: Request approved: shop[.]example\r\n") {
		t.Fatalf("%+v, %v", mails, err)
	}
	for {
		page, err := cl.UnblockRequests(ctx, api.UnblockQuery{})
		if err != nil || len(page.Requests) != 1 || page.Requests[0].Notice == nil {
			t.Fatalf("%+v, %v", page, err)
		}
		if n := page.Requests[0].Notice; n.State == "sent" && !n.Time.IsZero() && n.Text != "" {
			break
		}
		if waitCtx.Err() != nil {
			t.Fatalf("%+v", page.Requests[0].Notice)
		}
		time.Sleep(10 * time.Millisecond)
	}
	// Where nobody is written to, nobody can ask for it.
	settings := notify.Settings{IsLocal: func(string) bool { return true }}
	if err := h.Notices.SetSettings(settings); err != nil {
		t.Fatal(err)
	}
	if _, err := ask("evil.example", "alice@example.org"); codeOf(err) != api.Refused || !strings.Contains(err.Error(), "set notify.from") {
		t.Error(err)
	}
	if page, err := cl.UnblockRequests(ctx, api.UnblockQuery{State: "open"}); err != nil || len(page.Requests) != 0 {
		t.Errorf("%+v, %v", page, err)
	}
}

func third[T any](_ T, err error) error { return err }
