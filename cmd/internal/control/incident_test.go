package control_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/cmd/internal/control/controltest"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

var ctx = context.Background()

// letter is a message with a Message-ID and a link.
func letter(id, from, subject, link string) string {
	return fmt.Sprintf("From: Somebody <%s>\r\nTo: you\r\nSubject: %s\r\nMessage-ID: <%s>\r\n\r\nlook at %s today, %s\r\n", from, subject, id, link, id)
}

// deliver has messages let through and waits until the journal finds them.
func deliver(t *testing.T, h *controltest.House, id, subject, link, from string, to ...string) string {
	t.Helper()
	action, ref := h.Receive(letter(id, from, subject, link), from, to...)
	if action != "accept" {
		t.Fatalf("%s: %s", id, action)
	}
	if err := h.Journal.Wait(ctx, h.Journal.Last()); err != nil {
		t.Fatal(err)
	}
	return ref
}

func codeOf(err error) api.Code {
	var told *api.Error
	if errors.As(err, &told) {
		return told.Code
	}
	return ""
}

// house has four messages in its journal.
func incidentHouse(t *testing.T) (*controltest.House, *client.Client) {
	t.Helper()
	h := controltest.New(t, control.Access{})
	deliver(t, h, "one@bank.example", "Your invoice", "https://evil.example/pay/1", "pay@bank.example", "alice@example.org", "bob@example.org")
	deliver(t, h, "two@bank.example", "Your invoice", "https://sub.evil.example/x", "pay@bank.example", "carol@example.org", "dave@elsewhere.example")
	deliver(t, h, "three@good.example", "Lunch", "https://good.example/", "anna@good.example", "alice@example.org")
	cl := client.New(h.Socket)
	t.Cleanup(cl.Close)
	return h, cl
}

func addresses(all []api.IncidentDelivery) []string {
	var to []string
	for i := range all {
		to = append(to, all[i].Address)
	}
	slices.Sort(to)
	return to
}

func TestAnIncidentIsAboutWhatAListEntryWouldMatch(t *testing.T) {
	_, cl := incidentHouse(t)
	for value, want := range map[string][]string{
		"evil.example":                          {"alice@example.org", "bob@example.org"},
		".evil.example":                         {"alice@example.org", "bob@example.org", "carol@example.org", "dave@elsewhere.example"},
		"hxxps://evil[.]example/pay/*":          {"alice@example.org", "bob@example.org"},
		"bank.example in=header-from":           {"alice@example.org", "bob@example.org", "carol@example.org", "dave@elsewhere.example"},
		"evil.example in=header-from":           {},
		"evil.example dir=outbound":             {},
		"198.51.100.0/24":                       {"alice@example.org", "alice@example.org", "bob@example.org", "carol@example.org", "dave@elsewhere.example"},
		"/^your inv/i in=subject":               {"alice@example.org", "bob@example.org", "carol@example.org", "dave@elsewhere.example"},
		"pay@bank.example":                      {"alice@example.org", "bob@example.org", "carol@example.org", "dave@elsewhere.example"},
		"https://evil.example/pay":              {},
		"https://evil.example/pay/1 note=\"x\"": {"alice@example.org", "bob@example.org"},
	} {
		got, err := cl.OpenIncident(ctx, api.IncidentOpen{Observables: []string{value}, Reason: "test", DryRun: true})
		if err != nil || !slices.Equal(addresses(got.Deliveries), want) && len(want)+len(got.Deliveries) > 0 {
			t.Errorf("%s: %v %v", value, err, got)
			continue
		}
		for _, d := range got.Deliveries {
			if c := d.Chain[0]; c.How != "indicator" || !c.Sure || c.What == "" {
				t.Errorf("%s: %+v", value, c)
			}
		}
	}
	page, err := cl.Incidents(ctx, api.IncidentQuery{State: "all"})
	if err != nil || len(page.Incidents) != 0 {
		t.Errorf("a dry run opens %d incidents, %v", len(page.Incidents), err)
	}
	events, err := cl.Events(ctx, api.EventQuery{Type: "incident-planned"})
	if err != nil || len(events.Events) != 11 {
		t.Errorf("%d looks were recorded, %v", len(events.Events), err)
	}
}

func TestAnOpeningThatCannotBeMeantOpensNothing(t *testing.T) {
	_, cl := incidentHouse(t)
	for name, tt := range map[string]struct {
		in   api.IncidentOpen
		code api.Code
		says string
	}{
		"no reason":      {api.IncidentOpen{Observables: []string{"evil.example"}}, api.BadRequest, "reason"},
		"nothing":        {api.IncidentOpen{Reason: "x"}, api.BadRequest, "one of them, not 0"},
		"two things":     {api.IncidentOpen{Reason: "x", Observables: []string{"evil.example"}, Search: &api.IncidentSearch{Subject: "x"}}, api.BadRequest, "not 2"},
		"no entry":       {api.IncidentOpen{Reason: "x", Observables: []string{"evil.example", "# only a comment"}}, api.BadRequest, "observable 2"},
		"a bad entry":    {api.IncidentOpen{Reason: "x", Observables: []string{"10.1.2.3/8"}}, api.BadRequest, "host bits"},
		"two lines":      {api.IncidentOpen{Reason: "x", Observables: []string{"a.example\nb.example"}}, api.BadRequest, "not one entry"},
		"all mail":       {api.IncidentOpen{Reason: "x", Search: &api.IncidentSearch{Since: time.Now().Add(-time.Hour)}}, api.BadRequest, "all mail"},
		"a header":       {api.IncidentOpen{Reason: "x", Observables: []string{"/x/ in=header:x-mailer"}}, api.BadRequest, "header"},
		"a severity":     {api.IncidentOpen{Reason: "x", Severity: "urgent", Observables: []string{"evil.example"}}, api.BadRequest, "severity"},
		"not there":      {api.IncidentOpen{Reason: "x", Observables: []string{"unknown.example"}}, api.NotFound, "no incident was opened"},
		"not named":      {api.IncidentOpen{Reason: "x", Messages: []api.MessageName{{MessageID: "no@such.example"}}}, api.NotFound, "no incident was opened"},
		"no Message-ID":  {api.IncidentOpen{Reason: "x", Messages: []api.MessageName{{MessageID: " <> "}}}, api.BadRequest, "message 1"},
		"a later time":   {api.IncidentOpen{Reason: "x", Observables: []string{"evil.example"}, Since: time.Now().Add(time.Hour)}, api.NotFound, "no incident"},
		"an earlier end": {api.IncidentOpen{Reason: "x", Messages: []api.MessageName{{MessageID: "one@bank.example"}}, Until: time.Now().Add(-time.Hour)}, api.NotFound, "none of the messages"},
	} {
		_, err := cl.OpenIncident(ctx, tt.in)
		if codeOf(err) != tt.code || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if page, err := cl.Incidents(ctx, api.IncidentQuery{State: "all"}); err != nil || len(page.Incidents) != 0 {
		t.Errorf("%+v %v", page, err)
	}
}

func TestMessagesAreNamedOneByOne(t *testing.T) {
	h, cl := incidentHouse(t)
	got, err := cl.OpenIncident(ctx, api.IncidentOpen{Reason: "x", DryRun: true, Messages: []api.MessageName{
		{MessageID: "<one@bank.example>", Recipient: "BOB@example.org"}, {MessageID: "one@bank.example", Recipient: "nobody@example.org"},
		{MessageID: "two@bank.example", Recipient: "carol@example.org"}, {MessageID: " two@bank.example "}, {MessageID: "no@such.example"},
	}})
	if err != nil || !slices.Equal(addresses(got.Deliveries), []string{"bob@example.org", "carol@example.org", "dave@elsewhere.example"}) || got.Messages != 2 {
		t.Fatalf("%+v %v", got, err)
	}
	if len(got.Missing) != 2 || got.Missing[0].MessageID != "no@such.example" || got.Missing[1].Recipient != "nobody@example.org" {
		t.Errorf("%+v", got.Missing)
	}
	// A Message-ID is anybody's to write.
	deliver(t, h, "one@bank.example", "A copy of it with something else", "https://other.example/", "forger@other.example", "erin@example.org")
	got, err = cl.OpenIncident(ctx, api.IncidentOpen{Reason: "x", DryRun: true, Messages: []api.MessageName{{MessageID: "one@bank.example"}}})
	if err != nil || got.Messages != 2 {
		t.Fatalf("%+v %v", got, err)
	}
	for _, d := range got.Deliveries {
		if d.Chain[0].Sure || d.Chain[0].How != "hand" || d.Waits == "" {
			t.Errorf("one of two messages with one Message-ID is sure: %+v", d)
		}
	}
	ref := got.Deliveries[0].Ref
	got, err = cl.OpenIncident(ctx, api.IncidentOpen{Reason: "x", DryRun: true, Messages: []api.MessageName{{MessageID: ref + ".abc.def"}}})
	if err != nil || got.Messages != 1 || got.Deliveries[0].Ref != ref || !got.Deliveries[0].Chain[0].Sure {
		t.Errorf("by its X-Weir-ID: %+v %v", got, err)
	}
}

func TestASearchByWordsAloneIsNotSure(t *testing.T) {
	_, cl := incidentHouse(t)
	for name, tt := range map[string]struct {
		search api.IncidentSearch
		sure   bool
	}{
		"words":      {api.IncidentSearch{Subject: "invoice"}, false},
		"people":     {api.IncidentSearch{Sender: "bank.example"}, false},
		"a domain":   {api.IncidentSearch{Domain: "evil.example"}, true},
		"a value":    {api.IncidentSearch{Value: "https://evil.example/pay/1"}, true},
		"Message-ID": {api.IncidentSearch{MessageID: "<one@bank.example>"}, true},
	} {
		got, err := cl.OpenIncident(ctx, api.IncidentOpen{Search: &tt.search, Reason: "x", DryRun: true})
		if err != nil || len(got.Deliveries) < 2 || got.Deliveries[0].Chain[0].Sure != tt.sure {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}

// work does the jobs of a desk as a sidecar that finds every copy does.
func work(t *testing.T, jobs *client.Jobs) (pulled int) {
	t.Helper()
	for {
		leases, err := jobs.Lease(ctx, 10, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(leases) == 0 {
			return pulled
		}
		for _, l := range leases {
			raw := []byte("Subject: x\r\n\r\n" + l.Job.Mailbox + "\x00\xff\r\n")
			c := mailbox.Copy{Folder: "Päckchen", ID: "7/" + l.ID, Size: int64(len(raw)), Date: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC), Flags: []mailbox.Flag{mailbox.FlagSeen}}
			if l.Job.Kind == job.Restore {
				var got strings.Builder
				if err := jobs.Content(ctx, l.ID, &got); err != nil || got.String() != string(raw) {
					t.Fatalf("%q %v", got.String(), err)
				}
				if err := reportOne(jobs, l.ID, job.Result{Outcome: job.Restored, Folder: c.Folder, Placed: c}); err != nil {
					t.Fatal(err)
				}
				continue
			}
			kept, err := keepOne(jobs, l.ID, c, raw)
			if err != nil || kept.Item == "" || kept.Bytes != int64(len(raw)) {
				t.Fatalf("%+v %v", kept, err)
			}
			if err := reportOne(jobs, l.ID, job.Result{Outcome: job.Pulled, Copies: []job.Copy{{Copy: c, Fate: job.Removed, Item: kept.Item}}}); err != nil {
				t.Fatal(err)
			}
			pulled++
		}
	}
}

func TestFromOpeningToRestoreOverTheSocket(t *testing.T) {
	h, cl := incidentHouse(t)
	jobs := client.NewJobs(h.Socket)
	t.Cleanup(jobs.Close)
	opened, err := cl.OpenIncident(ctx, api.IncidentOpen{Observables: []string{".evil.example"}, Reason: "case 7", Severity: "high", Owner: "anna"})
	if err != nil || opened.Added != 4 || opened.Approved != 0 {
		t.Fatalf("%+v %v", opened, err)
	}
	in := opened.Incident
	if in.State != "waiting" || in.Waits != 3 || in.Title != ".evil.example" || in.Counts["out-of-reach"] != 1 || in.Actor != "unix:0" && in.Actor == "" {
		t.Fatalf("%+v", in)
	}
	if n := work(t, jobs); n != 0 {
		t.Fatalf("%d pulled without approval", n)
	}
	id := strings.ToLower(in.ID[:20])
	if _, err := cl.NoteIncident(ctx, api.IncidentNote{ID: id, Text: "asked the bank"}); err != nil {
		t.Error(err)
	}
	if _, err := cl.AssignIncident(ctx, api.IncidentAssign{ID: id, Owner: "bert"}); err != nil {
		t.Error(err)
	}
	approved, err := cl.ApproveIncident(ctx, api.IncidentApprove{ID: id, Reason: "looked at"})
	if err != nil || approved.Changed != 3 || approved.Incident.Owner != "bert" {
		t.Fatalf("%+v %v", approved, err)
	}
	if approved.Incident.Pending != 3 || approved.Incident.Waits != 0 {
		t.Errorf("%+v", approved.Incident)
	}
	if n := work(t, jobs); n != 3 {
		t.Fatalf("%d pulled", n)
	}
	now, err := cl.Incident(ctx, in.ID)
	if err != nil || now.State != "done" || now.Counts["pulled"] != 3 || now.Pending != 0 {
		t.Fatalf("%+v %v", now, err)
	}
	found, err := cl.IncidentDeliveries(ctx, api.IncidentDeliveryQuery{ID: id, Outcome: "pulled"})
	if err != nil || len(found.Deliveries) != 3 || !found.Deliveries[0].Seen || len(found.Deliveries[0].Items) != 1 || found.Deliveries[0].Copies[0].Copy.Folder != "Päckchen" {
		t.Fatalf("%+v %v", found, err)
	}
	line, err := cl.IncidentTimeline(ctx, id)
	var what []string
	for _, a := range line.Actions {
		what = append(what, a.What)
	}
	for _, w := range []string{"opened", "matched", "noted", "assigned", "approved", "kept", "outcome"} {
		if !slices.Contains(what, w) {
			t.Errorf("the timeline has no %s: %v, %v", w, what, err)
		}
	}
	items, err := cl.Items(ctx, api.ItemQuery{Incident: id, Kind: "pulled"})
	if err != nil || len(items.Items) != 3 || items.Items[0].Pulled == nil || items.Items[0].Pulled.Incident != in.ID || items.Items[0].Kind != "pulled" {
		t.Fatalf("%+v %v", items, err)
	}

	// One by a release of its item, the others by the incident.
	item := items.Items[0]
	if _, err := cl.Release(ctx, api.Release{ID: item.ID, Recipients: []string{"nobody@example.org"}, Reason: "x"}); codeOf(err) != api.NotFound {
		t.Errorf("to somebody else: %v", err)
	}
	if _, err := cl.Release(ctx, api.Release{ID: item.ID}); codeOf(err) != api.BadRequest {
		t.Errorf("without a reason: %v", err)
	}
	for range 2 {
		released, err := cl.Release(ctx, api.Release{ID: item.ID, Reason: "asked for"})
		if err != nil || released.Item.State != "releasing" {
			t.Fatalf("%+v %v", released, err)
		}
	}
	if n := work(t, jobs); n != 0 {
		t.Errorf("%d pulled again", n)
	}
	if back, err := cl.Item(ctx, item.ID); err != nil || back.State != "released" {
		t.Errorf("%+v %v", back, err)
	}
	restored, err := cl.RestoreIncident(ctx, api.IncidentRestore{ID: id, Reason: "false alarm"})
	if err != nil || restored.Changed != 2 || restored.Incident.Pending != 2 {
		t.Fatalf("%+v %v", restored, err)
	}
	work(t, jobs)
	if now, err = cl.Incident(ctx, id); err != nil || now.Counts["restored"] != 3 || now.Pending != 0 {
		t.Errorf("%+v %v", now, err)
	}
	if _, err := cl.RestoreIncident(ctx, api.IncidentRestore{ID: id, Reason: "again"}); codeOf(err) != api.Nothing {
		t.Errorf("twice: %v", err)
	}
	if _, err := cl.CloseIncident(ctx, api.IncidentClose{ID: id, Reason: "done"}); err != nil {
		t.Error(err)
	}
	if _, err := cl.ApproveIncident(ctx, api.IncidentApprove{ID: id, Reason: "more"}); err == nil {
		t.Error("a closed incident is approved")
	}
	page, err := cl.Incidents(ctx, api.IncidentQuery{})
	if all, errAll := cl.Incidents(ctx, api.IncidentQuery{State: "all", Text: "evil"}); err != nil || errAll != nil || len(page.Incidents) != 0 || len(all.Incidents) != 1 {
		t.Errorf("%+v %+v %v %v", page, all, err, errAll)
	}
}

func TestTooMuchTakesASecondPerson(t *testing.T) {
	h := controltest.New(t, control.Access{})
	cl := client.New(h.Socket)
	t.Cleanup(cl.Close)
	var to []string
	for i := range controltest.CapIncident + 1 {
		to = append(to, fmt.Sprintf("user%d@example.org", i))
	}
	deliver(t, h, "many@bank.example", "Your invoice", "https://evil.example/", "pay@bank.example", to...)
	got, err := cl.OpenIncident(ctx, api.IncidentOpen{Observables: []string{"evil.example"}, Reason: "x", Pull: true})
	if err != nil || got.Second == "" || got.Approved != 0 || got.Incident.Waits != len(to) {
		t.Fatalf("%+v %v", got, err)
	}
	if _, err := cl.ApproveIncident(ctx, api.IncidentApprove{ID: got.Incident.ID, Reason: "x"}); codeOf(err) != api.SecondPerson {
		t.Errorf("got %v", err)
	}
	got, err = cl.OpenIncident(ctx, api.IncidentOpen{Messages: []api.MessageName{{MessageID: "many@bank.example", Recipient: to[0]}}, Reason: "x", Pull: true})
	if err != nil || got.Approved != 1 || got.Incident.Pending != 1 || got.Second != "" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestIncidentsAreListedInPages(t *testing.T) {
	_, cl := incidentHouse(t)
	var ids []string
	for i := range 5 {
		got, err := cl.OpenIncident(ctx, api.IncidentOpen{Title: fmt.Sprint("number ", i), Observables: []string{"evil.example"}, Reason: "x"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append([]string{got.Incident.ID}, ids...)
	}
	if _, err := cl.CloseIncident(ctx, api.IncidentClose{ID: ids[1], Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	q := api.IncidentQuery{Limit: 2}
	for pages := 0; pages < 10; pages++ {
		page, err := cl.Incidents(ctx, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range page.Incidents {
			got = append(got, i.ID)
		}
		if q.Before = page.Next; q.Before == "" {
			break
		}
	}
	if want := []string{ids[0], ids[2], ids[3], ids[4]}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if _, err := cl.Incident(ctx, ids[0][:5]); codeOf(err) != api.Ambiguous {
		t.Errorf("got %v", err)
	}
	if _, err := cl.Incident(ctx, "zzz"); codeOf(err) != api.NotFound {
		t.Errorf("got %v", err)
	}
	if _, err := cl.Incidents(ctx, api.IncidentQuery{Before: "x"}); codeOf(err) != api.BadRequest {
		t.Errorf("got %v", err)
	}
}
