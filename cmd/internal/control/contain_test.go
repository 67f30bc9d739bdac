package control_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/cmd/internal/control/controltest"
	"github.com/weirmail/weir/filter"
	"github.com/weirmail/weir/filter/policy"
)

func openContained(t *testing.T) (*controltest.House, *client.Client) {
	t.Helper()
	h := controltest.New(t, control.Access{})
	cl := client.New(h.Socket)
	t.Cleanup(cl.Close)
	return h, cl
}

func containment(kind, value string) api.Contain {
	return api.Contain{Kind: kind, Value: value, Scope: "external", Action: "hold", Until: time.Now().Add(time.Hour), Reason: "case 12"}
}

func code(err error) api.Code {
	var told *api.Error
	if errors.As(err, &told) {
		return told.Code
	}
	return ""
}

func TestAContainedUsersMailIsHeldForThoseElsewhereAndReleasedWithAReason(t *testing.T) {
	h, cl := openContained(t)
	made, err := cl.Contain(ctx, containment("user", "Alice"))
	if err != nil || made.Idle != "" || made.Containment.Value != "alice" || !slices.Equal(made.Containment.Names, []string{"alice", "alice@example.org"}) || made.Containment.Reason != "case 12" {
		t.Fatalf("%+v %v", made, err)
	}
	send := func(id, login string) string {
		action, _ := h.ReceiveFrom("203.0.113.9", login, letter(id, "boss@example.org", "Pay", "https://x.example/"), "boss@example.org", "bob@example.org", "eve@elsewhere.example")
		return action
	}
	if action := send("m1@example.org", "alice"); action != "accept" {
		t.Fatalf("of two copies one is to go on: %s", action)
	}
	page, err := cl.Items(ctx, api.ItemQuery{})
	if err != nil || len(page.Items) != 1 {
		t.Fatalf("%+v %v", page, err)
	}
	item := page.Items[0]
	if item.Rule != "contained" || len(item.Recipients) != 1 || item.Recipients[0].Address != "eve@elsewhere.example" ||
		item.Reasons[0].Source != "contain:"+made.Containment.ID || item.Reasons[0].Note != "case 12" || item.Reasons[0].Role != "auth-user" {
		t.Fatalf("%+v", item)
	}
	// A release judges again.
	_, err = cl.Release(ctx, api.Release{ID: item.ID})
	var told *api.Error
	if !errors.As(err, &told) || told.Code != api.Blocked || told.Blocked.Rule != "contained" {
		t.Errorf("%v", err)
	}
	if released, err := cl.Release(ctx, api.Release{ID: item.ID, Override: true, Reason: "known to be hers"}); err != nil || released.Item.State != "released" {
		t.Errorf("%+v %v", released, err)
	}
	// So it does once the containment has gone.
	if action := send("m2@example.org", "alice"); action != "accept" {
		t.Fatal(action)
	}
	if _, err := cl.LiftContainment(ctx, api.ContainLift{Name: "alice@example.org", Reason: "password changed"}); err != nil {
		t.Fatal(err)
	}
	page, err = cl.Items(ctx, api.ItemQuery{State: "held"})
	if err != nil || len(page.Items) != 1 {
		t.Fatalf("%+v %v", page, err)
	}
	if released, err := cl.Release(ctx, api.Release{ID: page.Items[0].ID}); err != nil || released.Item.State != "released" {
		t.Errorf("%+v %v", released, err)
	}
	send("m3@example.org", "alice")
	if page, err = cl.Items(ctx, api.ItemQuery{State: "held"}); err != nil || len(page.Items) != 0 {
		t.Errorf("held after it was lifted: %+v %v", page, err)
	}
	events, err := cl.Events(ctx, api.EventQuery{Entity: "contain/*"})
	if err != nil || len(events.Events) != 2 || events.Events[0].Type != "contained" || events.Events[1].Reason != "password changed" {
		t.Errorf("%+v %v", events, err)
	}
}

func TestARefusedClientIsTold(t *testing.T) {
	h, cl := openContained(t)
	in := containment("ip", "10.1.2.0/24")
	in.Scope, in.Action = "all", "reject"
	if _, err := cl.Contain(ctx, in); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{"10.1.2.3": "reject", "10.1.3.3": "accept"} {
		if action, _ := h.ReceiveFrom(address, "", letter("m@"+address, "bob@example.org", "x", "https://x.example/"), "bob@example.org", "eve@elsewhere.example"); action != want {
			t.Errorf("%s: %s", address, action)
		}
	}
	if lifted, err := cl.LiftContainment(ctx, api.ContainLift{Name: "10.1.2.0/24", Reason: "cleaned"}); err != nil || lifted.Kind != "ip" {
		t.Errorf("%+v %v", lifted, err)
	}
}

func TestContainmentsAreListedAndExported(t *testing.T) {
	_, cl := openContained(t)
	if found, err := cl.Containments(ctx); err != nil || found.Containments == nil || len(found.Containments) != 0 || found.Idle != "" {
		t.Errorf("%+v %v", found, err)
	}
	for _, in := range []api.Contain{containment("user", "alice"), containment("ip", "10.1.2.3")} {
		if _, err := cl.Contain(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	found, err := cl.Containments(ctx)
	if err != nil || len(found.Containments) != 2 || found.Containments[0].Value != "alice" || found.Containments[1].Value != "10.1.2.3" || found.Containments[1].Until.IsZero() {
		t.Errorf("%+v %v", found, err)
	}
	for _, c := range []struct {
		in   api.ContainExport
		want string
		code api.Code
	}{
		{api.ContainExport{Format: "plain"}, "10.1.2.3\nalice\nalice@example.org\n", ""},
		{api.ContainExport{Format: "plain", Kind: "ip"}, "10.1.2.3\n", ""},
		{api.ContainExport{Format: "nft", Kind: "user"}, "", api.Refused},
		{api.ContainExport{Format: "xml"}, "", api.BadRequest},
	} {
		var text strings.Builder
		err := cl.ExportContained(ctx, c.in, &text)
		if text.String() != c.want || code(err) != c.code {
			t.Errorf("%+v: %q %v", c.in, text.String(), err)
		}
	}
}

func TestWhatIsNotContainedIsSaid(t *testing.T) {
	_, cl := openContained(t)
	if _, err := cl.Contain(ctx, containment("user", "alice")); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*api.Contain)
		code   api.Code
	}{
		"contained already": {func(*api.Contain) {}, api.Refused},
		"a stranger":        {func(in *api.Contain) { in.Value = "eve@elsewhere.example" }, api.Refused},
		"no kind":           {func(in *api.Contain) { in.Kind = "host" }, api.BadRequest},
		"no action":         {func(in *api.Contain) { in.Value, in.Action = "bob", "drop" }, api.BadRequest},
		"no scope":          {func(in *api.Contain) { in.Value, in.Scope = "bob", "" }, api.BadRequest},
		"no end":            {func(in *api.Contain) { in.Value, in.Until = "bob", time.Time{} }, api.BadRequest},
		"an empty reason":   {func(in *api.Contain) { in.Value, in.Reason = "bob", " " }, api.BadRequest},
		"a long reason":     {func(in *api.Contain) { in.Value, in.Reason = "bob", strings.Repeat("x", 5<<10) }, api.BadRequest},
	} {
		in := containment("user", "alice")
		c.change(&in)
		if _, err := cl.Contain(ctx, in); code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := cl.LiftContainment(ctx, api.ContainLift{Name: "carol", Reason: "x"}); code(err) != api.NotFound {
		t.Errorf("%v", err)
	}
	if found, err := cl.Containments(ctx); err != nil || len(found.Containments) != 1 {
		t.Errorf("%+v %v", found, err)
	}
}

func TestWhoIsContainedWithoutAnyEffectIsSaid(t *testing.T) {
	h, cl := openContained(t)
	own, err := policy.Parse("own.toml", []byte("[[rule]]\nname = 'it'\nwhen = 'size > 9'\naction = 'accept'\n"), policy.Options{})
	if err == nil {
		err = h.Judge.SetRules(filter.Rules{Policy: own, Contained: h.Contained})
	}
	if err != nil {
		t.Fatal(err)
	}
	made, err := cl.Contain(ctx, containment("user", "alice"))
	if err != nil || !strings.Contains(made.Idle, "no rule of own.toml speaks of contained") {
		t.Errorf("%+v %v", made, err)
	}
	if found, err := cl.Containments(ctx); err != nil || found.Idle == "" {
		t.Errorf("%+v %v", found, err)
	}
	if idle := control.Idle(h.Judge.Policy(), "enforce"); idle == "" {
		t.Error("the policy does something")
	}
	shipped, err := policy.Parse(policy.DefaultName, policy.Default(), policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := control.Idle(shipped, "observe"); !strings.Contains(got, "observe") {
		t.Errorf("%q", got)
	}
}
