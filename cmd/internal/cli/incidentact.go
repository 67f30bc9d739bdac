package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
)

func (a *app) incidentApprove() *cobra.Command {
	var in api.IncidentApprove
	var w wait
	c := &cobra.Command{
		Use:   "approve ID",
		Short: "Have copies pulled that wait for a person",
		Long: `Have copies pulled that wait for a person: all of them, or those named by --delivery. Of
those that are named, what has failed or found no mail before is tried again too.

Whoever opened an incident may approve up to incident.max_deliveries copies of it; more
takes a second person. An approval lapses when the pull could not be tried within
incident.approval_for.` + incidentHelp,
		Example: `  weir incident deliveries 01KAMP3Q5R7S --waiting
  weir incident approve 01KAMP3Q5R7S --reason "looked at, phishing" --wait 60s`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in.ID = args[0]
			return a.changeIncident(c, in.Reason, "an approval", &w, func(ctx context.Context, cl *client.Client) (*api.IncidentChanged, error) {
				return cl.ApproveIncident(ctx, in)
			})
		},
	}
	c.Flags().StringArrayVar(&in.Deliveries, "delivery", nil, "only this copy, by its `ID`; may come several times")
	c.Flags().StringVar(&in.Reason, "reason", "", "why, for the ledger")
	w.flag(c)
	return a.daemonFlags(a.jsonFlag(c))
}

func (a *app) incidentRestore() *cobra.Command {
	var in api.IncidentRestore
	var w wait
	c := &cobra.Command{
		Use:   "restore ID",
		Short: "Put what was pulled back into its mailboxes",
		Long: `Put what was pulled back into the folders that it stood in, byte for byte, with flags,
keywords and date: all of it, or what --delivery and --item name. What is restored is
not pulled again for the same reason.

Each message is judged by today's rules first. One that they would hold is refused
(exit code 4), unless --override says that it may go all the same.` + incidentHelp,
		Example: `  weir incident restore 01KAMP3Q5R7S --reason "false alarm, case 7" --wait 60s
  weir incident restore 01KAMP3Q5R7S --item 01KAMQ... --reason "asked for by its recipient" --override`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in.ID = args[0]
			return a.changeIncident(c, in.Reason, "a restore", &w, func(ctx context.Context, cl *client.Client) (*api.IncidentChanged, error) {
				return cl.RestoreIncident(ctx, in)
			})
		},
	}
	f := c.Flags()
	f.StringArrayVar(&in.Deliveries, "delivery", nil, "only this copy, by its `ID`; may come several times")
	f.StringArrayVar(&in.Items, "item", nil, "only this item of the quarantine, by its `ID`; may come several times")
	f.BoolVar(&in.Override, "override", false, "although today's rules would hold it")
	f.StringVar(&in.Reason, "reason", "", "why, for the ledger")
	w.flag(c)
	return a.daemonFlags(a.jsonFlag(c))
}

func (a *app) incidentClose() *cobra.Command {
	var in api.IncidentClose
	c := &cobra.Command{
		Use:   "close ID",
		Short: "End an incident",
		Long: `End an incident. What was not pulled by then stays where it is, and what an indicator
finds later opens another one. With --false-alarm peers who were told of it are told
that it is nothing bad; the entry that it was opened for still stands and blocks, and how to
take it out is said.` + incidentHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in.ID = args[0]
			var standing []string
			err := a.changeIncident(c, in.Reason, "closing", &wait{}, func(ctx context.Context, cl *client.Client) (*api.IncidentChanged, error) {
				changed, err := cl.CloseIncident(ctx, in)
				if err == nil && in.FalseAlarm && !a.json {
					standing = stillStanding(ctx, cl, &changed.Incident)
				}
				return changed, err
			})
			for _, text := range standing {
				a.note("%s", text)
			}
			return err
		},
	}
	c.Flags().StringVar(&in.Reason, "reason", "", "why, for the ledger")
	c.Flags().BoolVar(&in.FalseAlarm, "false-alarm", false, "what it was about is nothing bad")
	return a.daemonFlags(a.jsonFlag(c))
}

// stillStanding says which entries that an incident was opened for still block, and
// what takes each out: that it was a false alarm changes no list.
func stillStanding(ctx context.Context, cl *client.Client, i *api.Incident) []string {
	kind, value, ok := strings.Cut(i.Key, "|")
	switch {
	case !ok:
		return nil // a person opened it, about mail and not for an entry
	case kind == "campaign":
		return []string{fmt.Sprintf("the entries of the campaign %s still stand: weir intel search --disposition block --campaign %q names them", value, value)}
	case kind == "regexp":
		return []string{"the entry still stands where a list has it: weir list show names the lists"}
	case kind == "url" && !strings.Contains(value, "://"):
		value = "https://" + value // the key is for both schemes
	}
	// typed says of a name of one label that it is one, without which it is no value.
	typed := func(text string) string {
		if kind == "domain" && !strings.Contains(text, ".") {
			return kind + ":" + text
		}
		return text
	}
	shown, err := cl.IntelShow(ctx, api.IntelValue{Value: typed(value)})
	if err != nil {
		return []string{fmt.Sprintf("whether %s is still listed could not be asked: %v", value, err)}
	}
	var all []string
	for n := range shown.Listed {
		c := &shown.Listed[n]
		if c.Disposition != "block" || c.Outcome == "expired" {
			continue
		}
		text := fmt.Sprintf("%s still stands in %s", c.Entry, c.Source)
		unblock := fmt.Sprintf("weir intel unblock %s --reason TEXT --yes allows it for a time", typed(shown.Value))
		file, isList := strings.CutPrefix(c.Source, "list:")
		switch {
		case file == "block/operator.txt" && isList:
			text += fmt.Sprintf(": weir intel remove %s --reason TEXT takes it out", typed(c.Entry))
		case isList:
			text += fmt.Sprintf(": take out line %d of %s, or %s", c.Line, file, unblock)
		default:
			text += ": " + unblock
		}
		all = append(all, text)
	}
	return all
}

func (a *app) incidentNote() *cobra.Command {
	return a.daemonFlags(a.jsonFlag(&cobra.Command{
		Use:     "note ID TEXT",
		Short:   "Add a note to an incident",
		Long:    "Add a note to an incident, for its timeline." + incidentHelp,
		Example: `  weir incident note 01KAMP3Q5R7S "asked the bank, they did not send it"`,
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if strings.TrimSpace(args[1]) == "" {
				return usagef("the note is empty")
			}
			return a.changeIncident(c, "-", "", &wait{}, func(ctx context.Context, cl *client.Client) (*api.IncidentChanged, error) {
				return cl.NoteIncident(ctx, api.IncidentNote{ID: args[0], Text: args[1]})
			})
		},
	}))
}

func (a *app) incidentAssign() *cobra.Command {
	var in api.IncidentAssign
	c := &cobra.Command{
		Use:     "assign ID OWNER",
		Short:   "Give an incident to somebody",
		Long:    "Give an incident to somebody, or with - to nobody." + incidentHelp,
		Example: `  weir incident assign 01KAMP3Q5R7S alice`,
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			in.ID = args[0]
			if in.Owner = args[1]; in.Owner == "-" {
				in.Owner = ""
			}
			return a.changeIncident(c, "-", "", &wait{}, func(ctx context.Context, cl *client.Client) (*api.IncidentChanged, error) {
				return cl.AssignIncident(ctx, in)
			})
		},
	}
	c.Flags().StringVar(&in.Reason, "reason", "", "why, for the ledger")
	return a.daemonFlags(a.jsonFlag(c))
}

// changeIncident has something done to an incident and prints how it is then.
func (a *app) changeIncident(c *cobra.Command, reason, what string, w *wait, do func(ctx context.Context, cl *client.Client) (*api.IncidentChanged, error)) error {
	if strings.TrimSpace(reason) == "" {
		return usagef("%s needs a --reason", what)
	}
	most, err := w.read()
	if err != nil {
		return err
	}
	cl := a.client()
	defer cl.Close()
	changed, err := do(c.Context(), cl)
	if err != nil {
		return err
	}
	return a.printChanged(c.Context(), cl, changed, most)
}

func (a *app) printChanged(ctx context.Context, cl *client.Client, changed *api.IncidentChanged, most time.Duration) error {
	if most > 0 {
		return a.showIncident(ctx, cl, changed.Incident.ID, most)
	}
	if a.json {
		return a.printJSON(changed)
	}
	a.printIncident(&changed.Incident)
	return nil
}
