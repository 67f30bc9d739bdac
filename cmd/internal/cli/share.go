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

func (a *app) share() *cobra.Command {
	return group("share", "See what peers are told", a.shareList())
}

func (a *app) shareList() *cobra.Command {
	q := api.SharedQuery{}
	withheld := false
	c := &cobra.Command{
		Use:   "list",
		Short: "List what is published to peers",
		Long: `List the indicators that are published to peers ([share]), the newest first, with the incidents
and lists that spoke for them, which peers are not told. With --withheld those that are
confirmed, or listed for peers, and held back, with the reason:

  ours             a domain, a network or somebody of ours
  TLP              marked more strictly than share.max_tlp
  allowed          a list lets it pass
  not listed       it stands in no list of ours any more
  not sure enough  its confidence is below share.min_confidence
  in= or dir=      it is about a part of messages or one direction
  not for STIX     peers have no form for it
  too many         more is published already than peers take`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if q.Limit < 1 || q.Limit > 1000 {
				return usagef("--limit %d is not 1 to 1000", q.Limit)
			}
			if withheld {
				if q.All {
					return usagef("--all and --withheld are two lists: give one of them")
				}
				return a.listWithheld(c.Context(), api.WithheldQuery{After: q.Before, Limit: q.Limit})
			}
			page, err := a.client().Shared(c.Context(), q)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(page)
			}
			return a.printShared(page)
		},
	}
	f := c.Flags()
	f.BoolVar(&q.All, "all", false, "what was revoked or has ended, too")
	f.BoolVar(&withheld, "withheld", false, "what is held back, with the reason")
	f.IntVar(&q.Limit, "limit", 100, "at most so many, up to 1000")
	f.StringVar(&q.Before, "before", "", "go on behind a page, with its `next`")
	return a.daemonFlags(a.jsonFlag(c))
}

func (a *app) listWithheld(ctx context.Context, q api.WithheldQuery) error {
	page, err := a.client().Withheld(ctx, q)
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(page)
	}
	if len(page.Indicators) == 0 {
		a.note("nothing is held back")
		return nil
	}
	t := term.NewTable(3, "KIND", "VALUE", "HELD BACK", "BECAUSE OF")
	for _, w := range page.Indicators {
		t.Row(w.Kind, w.Value, w.Why, strings.Join(w.Grounds, ", "))
	}
	if err := a.print(t, func(_, _ int, text string) string { return text }); err != nil {
		return err
	}
	if page.Next != "" {
		a.note("there is more: --before '%s'", page.Next)
	}
	return nil
}

func (a *app) printShared(page *api.SharedPage) error {
	if len(page.Indicators) == 0 {
		a.note("nothing is published")
		return nil
	}
	t := term.NewTable(6, "KIND", "VALUE", "TLP", "SURE", "SINCE", "UNTIL", "BECAUSE OF")
	for i := range page.Indicators {
		p := &page.Indicators[i]
		sure, until := "", "for ever"
		if p.Confidence > 0 {
			sure = fmt.Sprint(p.Confidence)
		}
		if !p.Until.IsZero() {
			until = when(p.Until)
		}
		if p.Revoked {
			until = "revoked"
		}
		t.Row(p.Kind, p.Value, p.TLP, cmp.Or(sure, "-"), when(p.Since), until, strings.Join(p.Grounds, ", "))
	}
	if err := a.print(t, func(_, _ int, text string) string { return text }); err != nil {
		return err
	}
	if page.Next != "" {
		a.note("there is more: --before %s", page.Next)
	}
	return nil
}
