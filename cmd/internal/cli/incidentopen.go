package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/rows"
	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
)

// opener is what weir incident open was told.
type opener struct {
	in      api.IncidentOpen
	query   api.JournalQuery
	span    span
	csv     string
	skipBad bool
	wait    wait
}

func (a *app) incidentOpen() *cobra.Command {
	var o opener
	c := &cobra.Command{
		Use:   "open [OBSERVABLE...]",
		Short: "Open an incident about mail that was let through",
		Long: `Open an incident about mail that was let through. It is about messages that carry one
of the OBSERVABLEs, written as in a list file (with options in quotes:
'evil.example in=header-from'); or about what a search finds, with the conditions of
weir journal search; or about messages that --csv names.

--csv reads a file (- is standard input) of a mail server, a spreadsheet or another
tool: the columns Message-ID and Recipient (or To, rcpt and the like) are found by
their headings, others are left alone; without headings a line is <message-id>,recipient
or <message-id> alone, angle brackets optional. Nothing is opened unless every row can be
read, or --skip-bad says so.

--dry-run shows exactly what would be pulled, and opens nothing. Without --pull all of
it waits: weir incident approve. You may approve up to incident.max_deliveries copies of
what you have opened; more takes a second person.

Observables and --csv look as far back as journal.lookback, unless --since says
otherwise. A search by words or people alone is not sure: what it finds is yours to look
at before you approve it.`,
		Example: `  weir incident open 'hxxps://evil[.]example/pay/*' --reason "case 7" --dry-run
  weir incident open --sender bank.example --subject '"your account"' --since 2d --reason "case 8"
  weir incident open --csv messages.csv --reason "case 9" --severity high --pull --wait 60s`,
		RunE: func(c *cobra.Command, args []string) error {
			o.in.Observables = args
			return a.openIncident(c, &o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.in.Title, "title", "", "what it is about (default: what was looked for)")
	f.StringVar(&o.in.Severity, "severity", "medium", "low, medium, high or critical")
	f.StringVar(&o.in.Owner, "owner", "", "`who` works on it")
	f.StringVar(&o.in.Reason, "reason", "", "why, for the ledger")
	f.StringVar(&o.csv, "csv", "", "the messages that this `file` names")
	f.BoolVar(&o.skipBad, "skip-bad", false, "leave out rows of --csv that cannot be read")
	f.BoolVar(&o.in.DryRun, "dry-run", false, "show what would be pulled, and open nothing")
	f.BoolVar(&o.in.Pull, "pull", false, "pull it now, as far as one person may approve that")
	o.wait.flag(c)
	conditionFlags(f, &o.query, &o.span)
	f.StringVar(&o.query.Value, "value", "", "an ID, or whatever a message carried, as in weir journal search `VALUE`")
	return a.daemonFlags(a.jsonFlag(c))
}

func (a *app) openIncident(c *cobra.Command, o *opener) error {
	if strings.TrimSpace(o.in.Reason) == "" {
		return usagef("an incident needs a --reason")
	}
	most, err := o.wait.read()
	if err == nil && most > 0 && !o.in.Pull {
		err = usagef("--wait waits for what --pull starts")
	}
	if err == nil {
		err = a.readOpening(o)
	}
	if err != nil {
		return err
	}
	cl := a.client()
	defer cl.Close()
	got, err := cl.OpenIncident(c.Context(), o.in)
	if err != nil {
		return err
	}
	return a.printOpened(c.Context(), cl, o, got, most)
}

// readOpening reads what an incident is to be about.
func (a *app) readOpening(o *opener) error {
	since, until, err := o.span.read(a)
	if err != nil {
		return err
	}
	conditions := o.query != api.JournalQuery{}
	given := 0
	for _, is := range []bool{len(o.in.Observables) > 0, o.csv != "", conditions} {
		if is {
			given++
		}
	}
	if given != 1 {
		return usagef("an incident is about OBSERVABLEs, or a search, or --csv: one of the three, not %d", given)
	}
	if conditions {
		o.query.Since, o.query.Until = since, until
		o.in.Search = api.SearchOf(&o.query)
		return nil
	}
	o.in.Since, o.in.Until = since, until
	if o.csv == "" {
		return nil
	}
	o.in.Messages, err = a.readMessages(o.csv, o.skipBad)
	return err
}

// readMessages reads the messages that a file names.
func (a *app) readMessages(name string, skipBad bool) ([]api.MessageName, error) {
	in := a.io.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = io.Reader(f)
	}
	found, bad, err := rows.Read(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for i := range bad {
		_, _ = fmt.Fprintln(a.io.Err, term.Line(name+": "+bad[i].Error()))
	}
	switch {
	case len(bad) > 0 && !skipBad:
		return nil, fmt.Errorf("%s of %s cannot be read, and no incident was opened: mend them, or leave them out with --skip-bad", count(len(bad), "row", "rows"), name)
	case len(found) == 0:
		return nil, fmt.Errorf("%s: no row can be read", name)
	}
	messages := make([]api.MessageName, len(found))
	for i, r := range found {
		messages[i] = api.MessageName{MessageID: r.MessageID, Recipient: r.Recipient}
	}
	return messages, nil
}

func (a *app) printOpened(ctx context.Context, cl *client.Client, o *opener, got *api.IncidentOpened, most time.Duration) error {
	if got.Lagging {
		a.warn("the newest messages are not indexed yet and may be missing; try again in a moment")
	}
	for _, m := range got.Missing {
		what := m.MessageID
		if m.Recipient != "" {
			what += " for " + m.Recipient
		}
		a.warn("%s: %s", what, m.Why)
	}
	var err error
	switch {
	case most > 0:
		err = a.showIncident(ctx, cl, got.Incident.ID, most)
	case a.json:
		err = a.printJSON(got)
	case o.in.DryRun:
		err = a.printPlan(got)
	default:
		a.printIncident(got.Incident)
	}
	if err == nil && got.Second != "" {
		a.complainLine(got.Second + ": somebody else who is an operator has to run weir incident approve " + got.Incident.ID)
		err = silent{exitRefused}
	}
	var quiet silent
	if len(got.Missing) > 0 && (err == nil || errors.As(err, &quiet)) {
		a.complainLine("of what was named, " + count(len(got.Missing), "message or copy is", "messages or copies are") + " not there")
		if err == nil {
			err = silent{exitFailed}
		}
	}
	return err
}

// printPlan shows what a dry run found.
func (a *app) printPlan(got *api.IncidentOpened) error {
	a.printf("%s, %s; nothing was opened\n", count(got.Messages, "message", "messages"), count(len(got.Deliveries), "copy", "copies"))
	t := term.NewTable(4, "WOULD BE", "FOR", "MAILBOX", "WHEN", "SUBJECT", "SENDER", "WHY")
	for i := range got.Deliveries {
		d := &got.Deliveries[i]
		to := d.Address
		if d.Recipient != "" && !strings.EqualFold(d.Recipient, d.Address) {
			to += " (" + d.Recipient + ")"
		}
		would := d.Outcome
		if would == "pending" {
			would = "pulled"
		}
		t.Row(would, to, d.Mailbox, when(d.Time), d.Subject, d.Sender, whyOf(d))
	}
	return a.print(t, nil)
}
