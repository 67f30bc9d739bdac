package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel/ledger"
)

func (a *app) audit() *cobra.Command {
	return group("audit", "Show and verify the ledger of every change", a.auditShow(), a.auditVerify(), a.auditHead())
}

func (a *app) auditShow() *cobra.Command {
	var q api.EventQuery
	var s span
	var item string
	var all bool
	c := &cobra.Command{
		Use:   "show",
		Short: "Show events: who did what, when and why",
		Long: `Show the last events of the ledger, the oldest of them first: who did what, when and
why. With --after, those behind a cursor that an earlier answer gave; with --all,
every one.`,
		Example: `  weir audit show --item 01KAMP3Q5R7S
  weir audit show --actor unix:1000 --since 7d --all --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if q.Since, q.Until, err = s.read(a); err != nil {
				return err
			}
			if item != "" && q.Entity != "" {
				return usagef("--item and --entity name the same thing")
			}
			if q.Actor != "" && !strings.Contains(q.Actor, ":") {
				return usagef("--actor %s says not what it is: write unix:UID (id -u NAME), or rule:NAME", q.Actor)
			}
			cl := a.client()
			defer cl.Close()
			if item != "" {
				found, err := cl.Item(c.Context(), item)
				if err != nil {
					return err
				}
				q.Entity = "item/" + found.ID
			}
			q.Last = q.After == "" && !all
			return a.showEvents(c.Context(), q, all)
		},
	}
	f := c.Flags()
	f.StringVar(&item, "item", "", "of the quarantine item with this `ID`, or a beginning of it that no other has")
	f.StringVar(&q.Entity, "entity", "", "of this `entity`; with a * behind it, of all that begin so")
	f.StringVar(&q.Actor, "actor", "", "by this `actor`: unix:UID (id -u NAME), rule:NAME")
	f.StringVar(&q.Type, "type", "", "of this `type`: held, release, released, deleted, viewed, searched …")
	f.StringVar(&s.since, "since", "", "at this `time` or later")
	f.StringVar(&s.until, "until", "", "before this `time`")
	f.StringVar(&q.After, "after", "", "behind this `cursor`")
	f.IntVar(&q.Limit, "limit", 50, "about so many, 1000 at most")
	f.BoolVar(&all, "all", false, "all there are")
	return a.daemonFlags(a.jsonFlag(c))
}

func (a *app) showEvents(ctx context.Context, q api.EventQuery, all bool) error {
	if q.Limit < 1 || q.Limit > pageSize {
		return usagef("--limit %d is not from 1 to %d", q.Limit, pageSize)
	}
	if all {
		q.Limit = pageSize
	}
	cl := a.client()
	defer cl.Close()
	out := newJSONList(a, "events")
	t := term.NewTable(5, "TIME", "ACTOR", "EVENT", "ENTITY", "REASON", "DATA")
	more := false
	for {
		page, err := cl.Events(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Events {
			if a.json {
				out.add(page.Events[i])
				continue
			}
			e := &page.Events[i]
			t.Row(e.Time.Local().Format("2006-01-02 15:04:05"), actor(e), e.Type, e.Entity, e.Reason, data(e))
		}
		q.After = page.Cursor
		if more = page.More; !more || !all && len(page.Events) > 0 {
			break
		}
	}
	if a.json {
		return out.end(map[string]any{"cursor": q.After, "more": more})
	}
	if err := a.print(t, nil); err != nil {
		return err
	}
	if more {
		a.note("there are more: --after %s", q.After)
	}
	return nil
}

func actor(e *api.Event) string {
	if e.ActorName == "" {
		return e.Actor
	}
	return fmt.Sprintf("%s (%s)", e.ActorName, e.Actor)
}

// angles undoes what JSON escapes for the sake of HTML.
func angles() *strings.Replacer {
	return strings.NewReplacer(`\\`, `\\`, `\u003c`, "<", `\u003e`, ">", `\u0026`, "&")
}

// maxData is how much of an event's data a line shows.
const maxData = 120

func data(e *api.Event) string {
	if e.Erased {
		return "erased"
	}
	text := angles().Replace(strings.ReplaceAll(strings.ReplaceAll(string(e.Data), "\n", ""), "  ", ""))
	if text == "{}" {
		return ""
	}
	if len(text) > maxData {
		text = strings.ToValidUTF8(text[:maxData], "") + "…"
	}
	return text
}

func (a *app) auditVerify() *cobra.Command {
	var head, state string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Check that no event was edited, left out or cut off",
		Long: `Check every link of the ledger's chain: an event that was edited, left out, moved or
made up is found, and the exit code is 1. That the last ones were cut off shows only
against a head that was kept elsewhere; the daemon logs one every hour, and weir
audit head prints it.

The daemon does the check on its own ledger. With --state no daemon is needed: it is
done here, on the state folder of a daemon or on a restored one.`,
		Example: `  weir audit verify --head 4711:9f86d081884c7d659a2feaa0c55ad015
  weir audit verify --state /var/lib/weir`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v, err := a.verify(c.Context(), head, state)
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(v)
			} else {
				a.printVerified(v)
			}
			if err == nil && !v.OK {
				return silent{exitFailed}
			}
			return err
		},
	}
	c.Flags().StringVar(&head, "head", "", "an earlier `head` that has to be there")
	c.Flags().StringVar(&state, "state", "", "check this state `folder`, without the daemon")
	return a.daemonFlags(a.jsonFlag(c))
}

func (a *app) verify(ctx context.Context, head, state string) (*api.Verified, error) {
	if state == "" {
		return a.client().Verify(ctx, api.Verify{Head: head})
	}
	if a.deps.VerifyLedger == nil {
		return nil, missing("ledger to verify")
	}
	var expected *ledger.Head
	if head != "" {
		h, err := ledger.ParseHead(head)
		if err != nil {
			return nil, control.BadHead(head)
		}
		expected = &h
	}
	report, err := a.deps.VerifyLedger(ctx, state, expected)
	return control.Verified(report, head, err)
}

func (a *app) printVerified(v *api.Verified) {
	records := count(int(v.Records), "record", "records") + ", " + count(int(v.Events), "event", "events")
	if v.OK {
		a.printf("%s: %s", a.screen.Good("in order"), records)
	} else {
		a.printf("%s: %s before it are", a.screen.Bad("not in order"), records)
	}
	if v.Wiped > 0 {
		a.printf(", %d wiped", v.Wiped)
	}
	if !v.First.IsZero() {
		a.printf(", %s to %s", when(v.First), when(v.Last))
	}
	a.printf("\n")
	if v.Offence != "" {
		a.printLine("%s", v.Offence)
	}
	a.printLine("head %s", v.Head)
	if v.OK && v.Expected == "" {
		a.note("that the end was cut off shows only with --head, a head that was kept elsewhere")
	}
}

func (a *app) auditHead() *cobra.Command {
	return a.daemonFlags(a.jsonFlag(&cobra.Command{
		Use:   "head",
		Short: "Print the name of the ledger's last record, to be kept elsewhere",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			h, err := a.client().Head(c.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(h)
			}
			a.printLine("%s", h.Head)
			return nil
		},
	}))
}
