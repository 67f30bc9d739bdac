package cli

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
)

func (a *app) feed() *cobra.Command {
	return group("feed", "Look at feeds, refresh them, approve what was held", a.feedList(), a.feedRefresh(), a.feedApprove())
}

func (a *app) feedList() *cobra.Command {
	var examples bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the feeds, and how they are",
		Long: `List the feeds of the configuration: how many entries of each are in force, when its source
last said what it has, and what is wrong. A feed that fails keeps what was fetched before.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			found, err := a.client().Feeds(c.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(found)
			}
			return a.printFeeds(found.Feeds, examples)
		},
	}
	c.Flags().BoolVar(&examples, "unusable", false, "show some of what was passed over in each")
	return a.daemonFlags(a.jsonFlag(c))
}

func (a *app) printFeeds(all []api.Feed, examples bool) error {
	if len(all) == 0 {
		a.note("the configuration has no section [[feed]]")
		return nil
	}
	t := term.NewTable(6, "FEED", "STATE", "ENTRIES", "UNUSABLE", "CHECKED", "NEXT", "WHAT")
	for i := range all {
		f := &all[i]
		t.Row(f.Name, f.State, fmt.Sprint(f.Entries), fmt.Sprint(f.Unusable), when(f.Checked), when(f.Next), cmp.Or(f.Held, f.Error, f.From))
	}
	err := a.print(t, func(_, column int, text string) string {
		switch {
		case column != 1:
			return text
		case text == "current":
			return a.screen.Good(text)
		case text == "waiting" || text == "failing":
			return a.screen.Care(text)
		}
		return a.screen.Bad(text)
	})
	if err != nil || !examples {
		return err
	}
	for i := range all {
		for n, example := range all[i].Examples {
			if n == 0 {
				a.title("Passed over in " + all[i].Name)
			}
			a.printLine("%s", example)
		}
	}
	return nil
}

func (a *app) feedRefresh() *cobra.Command {
	return a.daemonFlags(a.jsonFlag(&cobra.Command{
		Use:   "refresh NAME",
		Short: "Refresh a feed now",
		Long: `Refresh a feed now, rather than when it is due, and say how it is then. What fails leaves what
was fetched before in force, and the exit code is 1.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.client().RefreshFeed(c.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(r)
			} else {
				err = a.printFeeds([]api.Feed{r.Feed}, true)
			}
			if err == nil && r.Error != "" {
				if !a.json {
					a.complainLine("it could not be refreshed: " + r.Error)
				}
				return silent{exitFailed}
			}
			return err
		},
	}))
}

func (a *app) feedApprove() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "approve NAME",
		Short: "Let a feed count that was held because it had changed too much",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if reason == "" {
				return usagef("approving a feed needs a --reason")
			}
			f, err := a.client().ApproveFeed(c.Context(), api.FeedApprove{Name: args[0], Reason: reason})
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(f)
			}
			return a.printFeeds([]api.Feed{*f}, false)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the ledger")
	return a.daemonFlags(a.jsonFlag(c))
}
