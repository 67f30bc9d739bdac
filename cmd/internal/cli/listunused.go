package cli

import (
	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/control/api"
)

func (a *app) listUnused() *cobra.Command {
	var q api.ListUnused
	var limit int
	c := &cobra.Command{
		Use:   "unused",
		Short: "Show entries of list files that have hit nothing for a long time",
		Long: `Show entries of list files that have hit no message for so many days, and so may be dead.
Entries that were added since are not shown, as far as the daemon remembers it (35 days).
Hits are counted from the first start on that counts them: of what was before nobody
knows, and it is said.`,
		Example: `  weir list unused --days 180
  weir list unused --source list:block/local.txt --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if limit < 0 {
				return usagef("--limit %d is none", limit)
			}
			cl := a.client()
			defer cl.Close()
			result := api.UnusedPage{Unused: []api.Indicator{}}
			for {
				q.Limit = searchPage
				if limit > 0 {
					q.Limit = min(searchPage, limit-len(result.Unused))
				}
				page, err := cl.ListUnused(c.Context(), q)
				if err != nil {
					return err
				}
				result.Unused = append(result.Unused, page.Unused...)
				result.Since, result.Counted, result.Cursor, q.After = page.Since, page.Counted, page.Cursor, page.Cursor
				if page.Cursor == "" || limit > 0 && len(result.Unused) >= limit {
					break
				}
			}
			if a.json {
				return a.printJSON(result)
			}
			if err := a.printIndicators(result.Unused); err != nil {
				return err
			}
			if result.Counted.After(result.Since) {
				a.note("hits are counted since %s only: what was hit between %s and then is not known", when(result.Counted), when(result.Since))
			}
			if result.Cursor != "" {
				a.note("there may be more: --limit %d, or 0 for all", 10*limit)
			}
			return nil
		},
	}
	f := c.Flags()
	f.IntVar(&q.Days, "days", 90, "how many `days` without a hit")
	f.StringVar(&q.Source, "source", "", "of one `list`, as list:block/local.txt")
	f.IntVar(&limit, "limit", 100, "how many are shown at most; 0: all")
	return a.daemonFlags(a.jsonFlag(c))
}
