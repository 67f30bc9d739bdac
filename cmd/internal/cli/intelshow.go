package cli

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
)

func (a *app) intelShow() *cobra.Command {
	return a.daemonFlags(a.jsonFlag(&cobra.Command{
		Use:   "show VALUE",
		Short: "Show all that is known of a value: who lists it, what that hit, what operators did",
		Long: `Show all that is known of a value: every list, with its line, and every feed that says
something about it, since when, until when, and what decides; how many messages each entry
hit, and the last of them by their IDs (weir quarantine show and weir journal show tell
more); and what operators did about it, when and why.`,
		Example: `  weir intel show evil.example`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cl := a.client()
			defer cl.Close()
			shown, err := cl.IntelShow(c.Context(), api.IntelValue{Value: args[0]})
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(shown)
			}
			return a.printShown(shown)
		},
	}))
}

func (a *app) printShown(s *api.IntelShown) error {
	a.facts([2]string{"value", s.Value}, [2]string{"kind", s.Kind}, [2]string{"today", s.Answer})
	for i := range s.Listed {
		c := &s.Listed[i]
		place := c.Source
		if c.Line > 0 {
			place += fmt.Sprintf(":%d", c.Line)
		}
		a.title(term.Line(place))
		confidence := ""
		if c.Confidence > 0 {
			confidence = fmt.Sprint(c.Confidence)
		}
		since := when(c.Added)
		if since == "" {
			since = "longer ago than is remembered"
		}
		a.facts([2]string{"entry", c.Entry}, [2]string{"what it does", c.Explanation}, [2]string{"since", since}, [2]string{"until", exactly(c.Until)},
			[2]string{"confidence", confidence}, [2]string{"tlp", c.TLP}, [2]string{"note", c.Note}, [2]string{"id", c.ID}, [2]string{"campaign", c.Campaign},
			[2]string{"hits", hitsText(c.Hits, s.Counted)})
		if c.Hits == nil {
			continue
		}
		for _, m := range c.Hits.Recent {
			a.printLine("  %s  %s  %s", when(m.Time), m.ID, m.Verdict)
		}
	}
	if len(s.History) > 0 {
		a.title("History")
		if err := a.printHistory(s.History); err != nil {
			return err
		}
	}
	a.printTakenOut(s.TakenOut)
	return nil
}

// listName gives an operators' list as people know it, block/operator.txt.
func listName(file string) string {
	return filepath.Join(filepath.Base(filepath.Dir(file)), filepath.Base(file))
}

func (a *app) printTakenOut(all []api.TakenOut) {
	for i := range all {
		a.printLine("no longer in %s, edited by hand: %s", listName(all[i].File), all[i].Entry)
	}
}

// hitsText says what an entry did since hits are counted.
func hitsText(h *api.Hits, counted time.Time) string {
	switch {
	case counted.IsZero():
		return ""
	case h == nil:
		return "none since " + when(counted)
	}
	return fmt.Sprintf("%s since %s, the last %s", count(h.Count, "message", "messages"), when(counted), when(h.Last))
}

func (a *app) intelHistory() *cobra.Command {
	return a.daemonFlags(a.jsonFlag(&cobra.Command{
		Use:   "history VALUE",
		Short: "Show what operators did about a value, when and why",
		Long: `Show what operators did about a value and about the patterns that cover it (.evil.example,
the beginning of a URL, a range), when and why. An entry that they added and somebody took
out of the list by hand is named: nothing else records that.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cl := a.client()
			defer cl.Close()
			history, err := cl.IntelHistory(c.Context(), api.IntelValue{Value: args[0]})
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(history)
			}
			if len(history.Events) == 0 {
				a.printLine("operators did nothing about %s", history.Value)
				return nil
			}
			if err := a.printHistory(history.Events); err != nil {
				return err
			}
			a.printTakenOut(history.TakenOut)
			return nil
		},
	}))
}

func (a *app) printHistory(events []api.Event) error {
	t := term.NewTable(4, "TIME", "WHO", "WHAT", "LIST", "ENTRY", "REASON")
	for i := range events {
		e := &events[i]
		var data struct{ Entry, File string }
		_ = json.Unmarshal(e.Data, &data) // of an event that has none, nothing
		who := e.Actor
		if e.ActorName != "" {
			who = e.ActorName
		}
		place := ""
		if data.File != "" {
			place = listName(data.File)
		}
		t.Row(when(e.Time), who, e.Type, place, data.Entry, e.Reason)
	}
	return a.print(t, nil)
}

// searchPage is how many are asked for at once.
const searchPage = 500

func (a *app) intelSearch() *cobra.Command {
	var q api.IntelSearch
	var limit int
	c := &cobra.Command{
		Use:   "search [TEXT]",
		Short: "Find indicators by a part of their value, note, campaign, ID or source",
		Long: `Find indicators of all lists and feeds by a part of their value, note, campaign, ID or
source, in upper or lower case. All that is listed is looked through: of millions that
takes its time.`,
		Example: `  weir intel search evil
  weir intel search --source 'feed:*' --campaign "late fish" --limit 0 --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				q.Text = args[0]
			}
			if limit < 0 {
				return usagef("--limit %d is none", limit)
			}
			cl := a.client()
			defer cl.Close()
			result := api.IntelPage{Found: []api.Indicator{}}
			for {
				q.Limit = searchPage
				if limit > 0 {
					q.Limit = min(searchPage, limit-len(result.Found))
				}
				page, err := cl.IntelSearch(c.Context(), q)
				if err != nil {
					return err
				}
				result.Found = append(result.Found, page.Found...)
				result.Scanned += page.Scanned
				result.Cursor, q.After = page.Cursor, page.Cursor
				if page.Cursor == "" || limit > 0 && len(result.Found) >= limit {
					break
				}
			}
			if a.json {
				return a.printJSON(result)
			}
			if err := a.printIndicators(result.Found); err != nil {
				return err
			}
			if result.Cursor != "" {
				a.note("there may be more: --limit %d, or 0 for all", 10*limit)
			}
			return nil
		},
	}
	addFilter(c, &q.Source, &q.Kind, &q.Disposition, &q.Campaign, &q.MaxTLP, &q.MinConfidence)
	c.Flags().IntVar(&limit, "limit", 100, "how many are shown at most; 0: all")
	return a.daemonFlags(a.jsonFlag(c))
}

func addFilter(c *cobra.Command, source, kind, disposition, campaign, maxTLP *string, minConfidence *int) {
	f := c.Flags()
	f.StringVar(source, "source", "", "of one `list` or feed, as list:block/local.txt, or of all that begin so: 'feed:*'")
	f.StringVar(kind, "kind", "", "sha256, sha1, md5, address, domain, url, ip or regexp")
	f.StringVar(disposition, "disposition", "", "block, allow or watch")
	f.StringVar(campaign, "campaign", "", "of this one")
	f.IntVar(minConfidence, "min-confidence", 0, "whose source is as sure, 1 to 100")
	f.StringVar(maxTLP, "max-tlp", "", "nothing that is marked more strictly: clear, green, amber, amber+strict or red")
}

func (a *app) printIndicators(all []api.Indicator) error {
	if len(all) == 0 {
		a.printf("nothing\n")
		return nil
	}
	t := term.NewTable(1, "DOES", "ENTRY", "LIST", "SINCE", "UNTIL", "HITS", "LAST HIT", "NOTE")
	for i := range all {
		ind := &all[i]
		place := ind.Source
		if ind.Line > 0 {
			place += fmt.Sprintf(":%d", ind.Line)
		}
		hits, last := "", ""
		if ind.Hits != nil {
			hits, last = fmt.Sprint(ind.Hits.Count), when(ind.Hits.Last)
		}
		t.Row(ind.Disposition, ind.Entry, place, when(ind.Added), when(ind.Until), hits, last, ind.Note)
	}
	return a.print(t, nil)
}
