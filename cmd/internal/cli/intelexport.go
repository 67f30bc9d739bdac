package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/control/api"
)

func (a *app) intelExport() *cobra.Command {
	var q api.IntelExport
	var output string
	c := &cobra.Command{
		Use:   "export --format FORMAT",
		Short: "Write indicators for others: threat platforms, resolvers, mail servers, firewalls",
		Long: `Write the indicators of lists and feeds for others, as a stream:

  stix             a bundle of STIX 2.1
  misp             an event of MISP
  csv              which weir intel import reads back
  plain            one value a line, of all kinds
  domains urls ips one value a line, of that kind, for proxies and firewalls
  rpz              a response policy zone, for resolvers
  postfix-senders  a table for check_sender_access, indexed by postmap or as texthash:
  postfix-clients  a table for check_client_access, as cidr:

It writes what blocks, unless --disposition says otherwise, and leaves out what has
expired and what an allow of the same value excuses. What a format cannot say is counted
and named on standard error.`,
		Example: `  weir intel export --format rpz --min-confidence 75 > rpz.db
  weir intel export --format stix --max-tlp green --bare --output shared.json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if q.Format == "" {
				return usagef("say the --format")
			}
			cl := a.client()
			defer cl.Close()
			return a.export(c.Context(), output, func(ctx context.Context, w io.Writer) error {
				report, err := cl.IntelExport(ctx, q, w)
				if err == nil {
					a.noteExport(report)
				}
				return err
			})
		},
	}
	addFilter(c, &q.Source, &q.Kind, &q.Disposition, &q.Campaign, &q.MaxTLP, &q.MinConfidence)
	f := c.Flags()
	f.StringVar(&q.Format, "format", "", "stix, misp, csv, plain, domains, urls, ips, rpz, postfix-senders or postfix-clients")
	f.StringVar(&q.Title, "title", "", "of the document")
	f.StringVar(&q.Producer, "producer", "", "`who` says so, for stix and misp")
	f.BoolVar(&q.Bare, "bare", false, "without notes, IDs, campaigns and sources, which may name people and cases here")
	f.StringVarP(&output, "output", "o", "", "the `file` that is written, as a whole or not at all; - for standard output")
	return a.daemonFlags(c)
}

// noteExport says what is not in the document.
func (a *app) noteExport(r *api.ExportReport) {
	a.note("%s written", count(r.Written, "entry", "entries"))
	for _, t := range r.Left {
		a.note("left out because it %s: %d, such as %s", t.Why, t.Count, t.Example)
	}
	for _, t := range r.Lost {
		a.note("written without %s: %d, such as %s", t.Why, t.Count, t.Example)
	}
}
