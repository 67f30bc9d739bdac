package cli

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/config"
)

const incidentHelp = `

An incident is named by its ID, or by a beginning of it that no other has.`

func (a *app) incident() *cobra.Command {
	return group("incident", "Take delivered mail back out of mailboxes, see how far that is, and put it back",
		a.incidentOpen(), a.incidentList(), a.incidentShow(), a.incidentDeliveries(), a.incidentTimeline(),
		a.incidentApprove(), a.incidentNote(), a.incidentAssign(), a.incidentRestore(), a.incidentClose())
}

func (a *app) incidentList() *cobra.Command {
	var q api.IncidentQuery
	var s span
	c := &cobra.Command{
		Use:   "list",
		Short: "List incidents, the newest first",
		Long: `List incidents, the newest first: those that are not closed, unless --state says
otherwise. All conditions have to be met.`,
		Example: `  weir incident list --state waiting
  weir incident list --text evil.example --state all --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if q.Since, q.Until, err = s.read(a); err != nil {
				return err
			}
			if q.Limit < 0 {
				return usagef("--limit %d is less than nothing", q.Limit)
			}
			return a.listIncidents(c.Context(), q)
		},
	}
	f := c.Flags()
	f.StringVar(&q.State, "state", "", "open, waiting, done, closed or all")
	f.StringVar(&q.Severity, "severity", "", "low, medium, high or critical")
	f.StringVar(&q.Owner, "owner", "", "`who` works on it")
	f.StringVar(&q.Text, "text", "", "`words` in what it is about")
	f.StringVar(&s.since, "since", "", "opened at this `time` or later")
	f.StringVar(&s.until, "until", "", "opened before this `time`")
	f.IntVar(&q.Limit, "limit", 100, "at most so many; 0 for all there are")
	return a.daemonFlags(a.jsonFlag(c))
}

func (a *app) listIncidents(ctx context.Context, q api.IncidentQuery) error {
	cl := a.client()
	defer cl.Close()
	want, more := q.Limit, false
	var all []api.Incident
	out := newJSONList(a, "incidents")
	for {
		q.Limit = pageSize
		if want > 0 {
			q.Limit = min(pageSize, want-out.n)
		}
		page, err := cl.Incidents(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Incidents {
			if a.json {
				out.add(page.Incidents[i])
				continue
			}
			all = append(all, page.Incidents[i])
			out.n++
		}
		q.Before = page.Next
		if more = page.Next != ""; !more || want > 0 && out.n >= want {
			break
		}
	}
	if a.json {
		return out.end(map[string]any{"more": more})
	}
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].ID
	}
	ids = a.short(ids)
	t := term.NewTable(6, "ID", "OPENED", "STATE", "SEVERITY", "COPIES", "PULLED", "ABOUT", "OWNER")
	for i := range all {
		in := &all[i]
		t.Row(ids[i], when(in.Opened), in.State, in.Severity, fmt.Sprint(copies(in)), fmt.Sprint(in.Counts["pulled"]), in.Title, in.Owner)
	}
	if err := a.print(t, func(_, column int, text string) string {
		if column == 2 {
			return a.stateColour(text)
		}
		return text
	}); err != nil {
		return err
	}
	if more {
		a.note("there are older ones: --limit 0 shows all, --since and --until a part")
	}
	return nil
}

func copies(in *api.Incident) int {
	n := 0
	for _, of := range in.Counts {
		n += of
	}
	return n
}

// wait is how long a command waits for mailboxes to have been looked at.
type wait struct{ text string }

func (w *wait) flag(c *cobra.Command) {
	c.Flags().StringVar(&w.text, "wait", "", "wait at most this `long` (60s) until every mailbox was looked at again; exit code 1 says that one was not, or what did not come out")
}

// read gives the time, 0 without one.
func (w *wait) read() (time.Duration, error) {
	if w.text == "" {
		return 0, nil
	}
	var d config.Duration
	if err := d.UnmarshalText([]byte(w.text)); err != nil || d == 0 {
		return 0, usagef("--wait %s is no time: write 60s or 5m", w.text)
	}
	return time.Duration(d), nil
}

func (a *app) incidentShow() *cobra.Command {
	var w wait
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show how far an incident is",
		Long: `Show what an incident is about and what became of its copies. A copy counts as pulled
only once its mailbox was looked at again and it is gone.

With --wait it waits until nothing more is to come; exit code 1 says that copies are
still not looked at, wait for approval, or did not come out.` + incidentHelp,
		Example: "  weir incident show 01KAMP3Q5R7S --wait 60s",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			most, err := w.read()
			if err != nil {
				return err
			}
			cl := a.client()
			defer cl.Close()
			return a.showIncident(c.Context(), cl, args[0], most)
		},
	}
	w.flag(c)
	return a.daemonFlags(a.jsonFlag(c))
}

// showIncident prints an incident, once nothing more is to come of it or the time
// is over.
func (a *app) showIncident(ctx context.Context, cl *client.Client, id string, most time.Duration) error {
	in, err := a.settled(ctx, cl, id, most)
	if err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(in)
	} else {
		a.printIncident(in)
	}
	if err != nil || most == 0 {
		return err
	}
	return a.verdictOf(in)
}

// settled gives an incident when nothing more is to come of it without a person,
// or the time is over.
func (a *app) settled(ctx context.Context, cl *client.Client, id string, most time.Duration) (*api.Incident, error) {
	const first, last = 100 * time.Millisecond, time.Second
	end := a.now().Add(most)
	for pause := first; ; pause = min(2*pause, last) {
		in, err := cl.Incident(ctx, id)
		if err != nil || most == 0 || in.Pending <= in.Waits || !a.now().Before(end) {
			return in, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(min(pause, time.Until(end))):
		}
	}
}

// verdictOf says what is not in order with an incident that was waited for.
func (a *app) verdictOf(in *api.Incident) error {
	bad := false
	say := func(n int, one, many, cure string) {
		if n > 0 {
			bad = true
			a.complainLine(count(n, "copy "+one, "copies "+many) + ": " + cure)
		}
	}
	say(in.Waits, "waits for approval", "wait for approval", "weir incident approve "+in.ID)
	say(max(0, in.Pending-in.Waits), "not looked at again yet", "not looked at again yet", "weir incident show "+in.ID+" --wait 5m")
	say(in.Counts["failed"]+in.Counts["mailbox-missing"]+in.Counts["differs"], "did not come out", "did not come out", "weir incident deliveries "+in.ID)
	if bad {
		return silent{exitFailed}
	}
	return nil
}

// outcomes lists the outcomes in the order in which they are shown.
func outcomes() []string {
	return []string{"pending", "in-transit", "unreachable", "restoring", "pulled", "already-gone", "not-found", "restored", "protected", "out-of-reach", "differs", "mailbox-missing", "failed", "left"}
}

func (a *app) printIncident(in *api.Incident) {
	by := in.Actor
	if in.ActorName != "" {
		by = in.ActorName + " (" + in.Actor + ")"
	}
	var told []string
	for _, o := range outcomes() {
		if n := in.Counts[o]; n > 0 {
			told = append(told, fmt.Sprintf("%d %s", n, o))
		}
	}
	a.facts(
		[2]string{"id", in.ID},
		[2]string{"state", in.State},
		[2]string{"about", in.Title},
		[2]string{"key", in.Key},
		[2]string{"severity", in.Severity},
		[2]string{"owner", in.Owner},
		[2]string{"opened", exactly(in.Opened) + " by " + by},
		[2]string{"reason", in.Reason},
		[2]string{"changed", exactly(in.Changed)},
		[2]string{"messages", fmt.Sprint(in.Messages)},
		[2]string{"copies", cmp.Or(strings.Join(told, ", "), "none")},
	)
	if in.State == "closed" {
		if n := in.Counts["left"]; n > 0 {
			a.printLine("%s", count(n, "copy stays where it is", "copies stay where they are"))
		}
		return
	}
	if in.Waits > 0 {
		a.printLine("%s for approval: weir incident deliveries %s --waiting says why", count(in.Waits, "copy waits", "copies wait"), in.ID)
	}
	if n := in.Pending - in.Waits; n > 0 {
		a.printLine("%s not looked at again yet, and not done", count(n, "copy is", "copies are"))
	}
	if n := in.Counts["out-of-reach"]; n > 0 {
		a.printLine("%s: weir incident deliveries %s --outcome out-of-reach says whom to tell", count(n, "copy left this house", "copies left this house"), in.ID)
	}
}

func (a *app) incidentDeliveries() *cobra.Command {
	var q api.IncidentDeliveryQuery
	var activity, asCSV bool
	c := &cobra.Command{
		Use:   "deliveries ID",
		Short: "List the copies that an incident is about, and what became of each",
		Long: `List the copies that an incident is about, what became of each and why, and whether its
user had read, answered or forwarded it. --activity shows only those that somebody had
done something with.

--csv is RFC 4180 with a line of headings; what a spreadsheet would take for a formula
has an apostrophe before it.` + incidentHelp,
		Example: `  weir incident deliveries 01KAMP3Q5R7S --waiting
  weir incident deliveries 01KAMP3Q5R7S --activity --csv > who-has-read-it.csv`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if a.json && asCSV {
				return usagef("--json and --csv contradict each other")
			}
			q.ID = args[0]
			return a.listDeliveries(c.Context(), q, activity, asCSV)
		},
	}
	f := c.Flags()
	f.StringVar(&q.Outcome, "outcome", "", "only those with this `outcome`: "+strings.Join(outcomes(), ", "))
	f.StringVar(&q.Address, "rcpt", "", "only those for this `address`, or a part of it")
	f.BoolVar(&q.Waiting, "waiting", false, "only those that wait for approval")
	f.BoolVar(&activity, "activity", false, "only those that were read, answered or forwarded")
	f.BoolVar(&asCSV, "csv", false, "print CSV")
	return a.daemonFlags(a.jsonFlag(c))
}

// listDeliveries prints deliveries page by page, a table at the end.
func (a *app) listDeliveries(ctx context.Context, q api.IncidentDeliveryQuery, activity, asCSV bool) error {
	cl := a.client()
	defer cl.Close()
	var all []api.IncidentDelivery
	list := newJSONList(a, "deliveries")
	var rows *csv.Writer
	if asCSV {
		rows = csv.NewWriter(a.io.Out)
		rows.UseCRLF = true
		_ = rows.Write(deliveryHeadings()) // Flush tells
	}
	var in api.Incident
	for q.Limit = pageSize; ; {
		page, err := cl.IncidentDeliveries(ctx, q)
		if err != nil {
			return err
		}
		in = page.Incident
		for i := range page.Deliveries {
			d := &page.Deliveries[i]
			if activity && !d.Seen && !d.Answered && !d.Forwarded {
				continue
			}
			switch {
			case a.json:
				list.add(d)
			case asCSV:
				_ = rows.Write(deliveryRow(&in, d))
			default:
				all = append(all, *d)
			}
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	switch {
	case a.json:
		return list.end(map[string]any{"incident": in})
	case asCSV:
		rows.Flush()
		return rows.Error()
	}
	return a.printDeliveriesOf(all)
}

func (a *app) printDeliveriesOf(all []api.IncidentDelivery) error {
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].ID
	}
	ids = a.short(ids)
	t := term.NewTable(5, "ID", "OUTCOME", "FOR", "USER", "WHEN", "SUBJECT", "WHY")
	for i := range all {
		d := &all[i]
		to := d.Address
		if d.Recipient != "" && !strings.EqualFold(d.Recipient, d.Address) {
			to += " (" + d.Recipient + ")"
		}
		if d.Mailbox != "" && !strings.EqualFold(d.Mailbox, d.Address) {
			to += ", mailbox " + d.Mailbox
		}
		t.Row(ids[i], d.Outcome, to, acts(d), when(d.Time), d.Subject, whyOf(d))
	}
	return a.print(t, func(_, column int, text string) string {
		if column != 1 {
			return text
		}
		switch text {
		case "pulled", "restored", "already-gone":
			return a.screen.Good(text)
		case "failed", "differs", "mailbox-missing", "out-of-reach":
			return a.screen.Bad(text)
		case "pending", "in-transit", "unreachable", "restoring":
			return a.screen.Care(text)
		}
		return text
	})
}

// acts says what a user had done with a copy.
func acts(d *api.IncidentDelivery) string {
	var all []string
	for _, is := range []struct {
		so   bool
		word string
	}{{d.Seen, "read"}, {d.Answered, "answered"}, {d.Forwarded, "forwarded"}} {
		if is.so {
			all = append(all, is.word)
		}
	}
	return strings.Join(all, ", ")
}

// whyOf says why a copy waits, or is where it is, or belongs to the incident.
func whyOf(d *api.IncidentDelivery) string {
	if d.Waits != "" {
		return "waits: " + d.Waits
	}
	if d.Detail != "" {
		return d.Detail
	}
	return chainOf(d)
}

// chainOf says how a message was found, from its first step on.
func chainOf(d *api.IncidentDelivery) string {
	var steps []string
	for _, s := range d.Chain {
		text := s.How + " " + s.What
		if !s.Sure {
			text += " (not sure)"
		}
		steps = append(steps, text)
	}
	return strings.Join(steps, "; ")
}

// deliveryHeadings are those of deliveryRow. Scripts rely on them: append.
func deliveryHeadings() []string {
	return []string{
		"incident", "id", "ref", "message_id", "time", "sender", "subject", "recipient", "address", "through", "mailbox", "status", "known",
		"outcome", "detail", "waits", "read", "answered", "forwarded", "folders", "items", "why", "found", "changed",
	}
}

func deliveryRow(in *api.Incident, d *api.IncidentDelivery) []string {
	yes := func(b bool) string {
		if b {
			return "yes"
		}
		return "no"
	}
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	var folders []string
	for _, c := range d.Copies {
		if !slices.Contains(folders, c.Copy.Folder) {
			folders = append(folders, c.Copy.Folder)
		}
	}
	row := []string{
		in.ID, d.ID, d.Ref, d.MessageID, at(d.Time), d.Sender, d.Subject, d.Recipient, d.Address, d.Through, d.Mailbox, d.Status, d.Known,
		d.Outcome, d.Detail, d.Waits, yes(d.Seen), yes(d.Answered), yes(d.Forwarded), strings.Join(folders, "; "), strings.Join(d.Items, "; "), chainOf(d), at(d.Found), at(d.Changed),
	}
	for i := range row {
		row[i] = csvCell(row[i])
	}
	return row
}

func (a *app) incidentTimeline() *cobra.Command {
	return a.daemonFlags(a.jsonFlag(&cobra.Command{
		Use:   "timeline ID",
		Short: "Show all that was done in an incident, with its time",
		Long:  "Show all that was done in an incident: when, by whom and why, the oldest first." + incidentHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			found, err := a.client().IncidentTimeline(c.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(found)
			}
			t := term.NewTable(4, "TIME", "WHO", "WHAT", "COPY", "DETAIL", "REASON")
			for i := range found.Actions {
				act := &found.Actions[i]
				t.Row(exactly(act.Time), cmp.Or(act.ActorName, act.Actor), act.What, act.Delivery, act.Detail, act.Reason)
			}
			return a.print(t, nil)
		},
	}))
}
