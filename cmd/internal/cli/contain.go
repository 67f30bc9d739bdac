package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
)

func (a *app) contain() *cobra.Command {
	return group("contain", "Stop what a user or a machine of ours sends, for a time",
		a.containUser(), a.containIP(), a.containList(), a.containLift(), a.containExport())
}

const containHelp = `

--scope says whose copies it is about: those of recipients in other domains than
mail.local_domains (external), in them (internal), or all. --action hold keeps them in
quarantine, where they are released like any other; reject has the client told that they
are refused, where that is for all recipients. It holds for the next message, and for
messages alone: what is in the MTA's queue already goes on. It outlives a restart, and
ends by itself.

Exit code 1 says that it was recorded and nothing comes of it: the policy has no rule
about containments, or only observes.`

func (a *app) containUser() *cobra.Command {
	return a.containCommand("user", &cobra.Command{
		Use:   "user USER",
		Short: "Contain a user, by login or address",
		Long: `Contain a user whose account is in the wrong hands: mail that comes with the user's
login, and mail from inside that has an address of the user's as sender or in its From
field. The directory says what else is the user's: a login, an address and its aliases
are one person. A stranger's forgery from outside is not meant.` + containHelp,
		Example: `  weir contain user alice --scope external --until 2d --reason "sends spam, case 12"
  weir contain user alice@example.org --action reject --reason "case 12" --replace`,
	})
}

func (a *app) containIP() *cobra.Command {
	return a.containCommand("ip", &cobra.Command{
		Use:   "ip ADDRESS",
		Short: "Contain a client in mail.internal_networks, by address or range",
		Long: `Contain a machine that is in the wrong hands: mail that a client with this address, or one
in this range, hands over. Behind a trusted relay the client is the one that the relay names.
Clients from elsewhere are blocked in a list.` + containHelp,
		Example: `  weir contain ip 10.1.2.3 --action reject --reason "infected, case 13"
  weir contain ip 10.1.2.0/28 --scope external --until 2026-12-31 --reason "case 13"`,
	})
}

func (a *app) containCommand(kind string, c *cobra.Command) *cobra.Command {
	in := api.Contain{Kind: kind}
	var until string
	c.Args = cobra.ExactArgs(1)
	c.RunE = func(c *cobra.Command, args []string) error {
		if strings.TrimSpace(in.Reason) == "" {
			return usagef("containing needs a --reason")
		}
		var err error
		if in.Until, err = a.lasting(until); err != nil {
			return err
		}
		in.Value = args[0]
		return a.containOne(c.Context(), in)
	}
	f := c.Flags()
	f.StringVar(&in.Scope, "scope", "all", "`whose` copies: external, internal or all")
	f.StringVar(&in.Action, "action", "hold", "`what` becomes of them: hold or reject")
	f.StringVar(&until, "until", "7d", "how `long` it lasts: 12h, or a time such as 2026-12-31")
	f.StringVar(&in.Reason, "reason", "", "why, for the ledger and for who looks at what was held")
	f.BoolVar(&in.Replace, "replace", false, "change what is in force for the same user or client")
	return a.daemonFlags(a.jsonFlag(c))
}

func (a *app) containOne(ctx context.Context, in api.Contain) error {
	told, err := a.client().Contain(ctx, in)
	if err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(told)
	} else {
		a.printContainment(&told.Containment)
		if told.Containment.Unknown {
			a.warn("the directory knows nobody by %s: only mail under these names is contained", told.Containment.Value)
		}
	}
	if err == nil && told.Idle != "" {
		if !a.json {
			a.complainLine("it is recorded, and nothing comes of it: " + told.Idle)
		}
		return silent{exitFailed}
	}
	return err
}

func (a *app) printContainment(c *api.Containment) {
	names := ""
	if c.Kind == "user" {
		names = strings.Join(c.Names, ", ")
	}
	a.facts(
		[2]string{"id", c.ID},
		[2]string{c.Kind, c.Value},
		[2]string{"names", names},
		[2]string{"scope", c.Scope},
		[2]string{"action", c.Action},
		[2]string{"since", exactly(c.Since)},
		[2]string{"until", exactly(c.Until)},
		[2]string{"by", cmp.Or(c.User, c.Actor)},
		[2]string{"reason", c.Reason},
	)
}

func (a *app) containList() *cobra.Command {
	return a.daemonFlags(a.jsonFlag(&cobra.Command{
		Use:   "list",
		Short: "List who is contained",
		Long: `List the containments in force, the oldest first. What has ended is in the ledger:
weir audit show --entity 'contain/*'.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			found, err := a.client().Containments(c.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(found)
			}
			return a.printContainments(found)
		},
	}))
}

func (a *app) printContainments(found *api.Containments) error {
	if len(found.Containments) == 0 {
		a.note("nobody is contained")
		return nil
	}
	ids := make([]string, len(found.Containments))
	for i := range found.Containments {
		ids[i] = found.Containments[i].ID
	}
	ids = a.short(ids)
	t := term.NewTable(8, "ID", "KIND", "WHO", "SCOPE", "ACTION", "UNTIL", "BY", "REASON")
	for i := range found.Containments {
		c := &found.Containments[i]
		t.Row(ids[i], c.Kind, c.Value, c.Scope, c.Action, when(c.Until), cmp.Or(c.User, c.Actor), c.Reason)
	}
	if err := a.print(t, nil); err != nil {
		return err
	}
	if found.Idle != "" {
		a.warn("nothing comes of it: %s", found.Idle)
	}
	return nil
}

func (a *app) containLift() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "lift ID|USER|ADDRESS",
		Short: "End a containment before its time",
		Long: `End a containment before its time, by its ID, by what was contained, or by another name
of the user. What was held because of it stays in quarantine until it is released.`,
		Example: `  weir contain lift alice --reason "password changed, case 12"
  weir quarantine list --rule contained --sender alice@example.org`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return usagef("lifting needs a --reason")
			}
			lifted, err := a.client().LiftContainment(c.Context(), api.ContainLift{Name: args[0], Reason: reason})
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(lifted)
			}
			a.printLine("%s %s is no longer contained (%s)", lifted.Kind, lifted.Value, lifted.ID)
			a.note("what was held because of it stays there: weir quarantine list --rule contained")
			return nil
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the ledger")
	return a.daemonFlags(a.jsonFlag(c))
}

func (a *app) containExport() *cobra.Command {
	var in api.ContainExport
	c := &cobra.Command{
		Use:   "export",
		Short: "Print who is contained for firewalls, proxies and MTAs",
		Long: `Print who is contained in a form that other programs read, for a timer to fetch.

plain is one login, address or range a line, as proxies take it. postfix-client is a cidr
table for check_client_access, postfix-login an access table for check_sasl_access, and
postfix-sender one for check_sender_access. nft is for nft -f: it replaces what is in the sets
contained4 and contained6 of the table inet weir, for rules of yours to name. json is what
weir contain list --json prints.

Scopes and ends are in the JSON alone: of the other forms each has all that is in force. Where
the daemon does not answer nothing is printed and the exit code is 5: let a file be replaced
only if it is 0.`,
		Example: `  weir contain export --format nft > contained.new && nft -f contained.new
  weir contain export --kind ip > contained.new && mv contained.new /etc/squid/contained
  weir contain export --format postfix-login > contained && postmap contained`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch in.Format {
			case "json":
				return a.exportJSON(c.Context(), in.Kind)
			case "plain", "postfix-client", "postfix-login", "postfix-sender", "nft":
			default:
				return usagef("--format %q is none of plain, postfix-client, postfix-login, postfix-sender, nft and json", in.Format)
			}
			var text strings.Builder // nothing is printed unless all of it came
			if err := a.client().ExportContained(c.Context(), in, &text); err != nil {
				return err
			}
			if a.screen.Terminal {
				a.printf("%s", term.Text(text.String()))
			} else {
				a.printf("%s", text.String())
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&in.Format, "format", "plain", "the `form`: plain, postfix-client, postfix-login, postfix-sender, nft or json")
	f.StringVar(&in.Kind, "kind", "", "of this `kind` alone: user or ip")
	return a.daemonFlags(c)
}

func (a *app) exportJSON(ctx context.Context, kind string) error {
	if kind != "" && kind != "user" && kind != "ip" {
		return usagef("--kind is user or ip, not %s", kind)
	}
	found, err := a.client().Containments(ctx)
	if err != nil {
		return err
	}
	some := []api.Containment{}
	for _, c := range found.Containments {
		if kind == "" || c.Kind == kind {
			some = append(some, c)
		}
	}
	found.Containments = some
	return a.printJSON(found)
}

// contained sums up who is contained.
func contained(s *api.ContainedStatus) string {
	if s.Users+s.Clients == 0 {
		return "nobody"
	}
	return fmt.Sprintf("%s, %s; the next ends %s (weir contain list)", count(s.Users, "user", "users"), count(s.Clients, "client", "clients"), when(s.Next))
}
