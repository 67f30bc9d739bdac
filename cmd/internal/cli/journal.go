package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
)

func (a *app) journal() *cobra.Command {
	return group("journal", "Find messages that were let through", a.journalFind(), a.journalShow())
}

func (a *app) journalFind() *cobra.Command {
	var q api.JournalQuery
	var s span
	c := &cobra.Command{
		Use:   "find VALUE",
		Short: "Find messages that were let through, the newest first",
		Long: `Find messages that were let through, the newest first, by an X-Weir-ID, a queue ID, a
Message-ID, or by whatever they carried: an address, a domain (with all below it), a
URL, a digest, an IP address or a range of them (/16 or narrower; /48 of IPv6).
Defanged forms are read as meant. The ledger records what you searched for.`,
		Example: `  weir journal find evil.example --since 7d
  weir journal find '<20260501.1234@sender.example>'
  weir journal find 198.51.100.0/24 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if q.Since, q.Until, err = s.read(a); err != nil {
				return err
			}
			q.Value = args[0]
			return a.findEntries(c.Context(), q, c.Flags().Changed("limit"))
		},
	}
	f := c.Flags()
	f.StringVar(&q.As, "as", "", "read VALUE as `what`: id, queue-id, message-id, address, domain, url, ip, sha256, sha1 or md5 (default: as all that it can be)")
	f.StringVar(&s.since, "since", "", "let through at this `time` or later")
	f.StringVar(&s.until, "until", "", "let through before this `time`")
	f.IntVar(&q.Limit, "limit", 100, "at most so many; 0 for all there are")
	return a.daemonFlags(a.jsonFlag(c))
}

// findEntries prints entries page by page.
func (a *app) findEntries(ctx context.Context, q api.JournalQuery, limited bool) error {
	if q.Limit < 0 {
		return usagef("--limit %d is less than nothing", q.Limit)
	}
	cl := a.client()
	defer cl.Close()
	want := q.Limit
	out := newJSONList(a, "entries")
	var entries []api.JournalEntry
	more, lagging := false, false
	var readings []api.Reading
	for {
		q.Limit = pageSize
		if want > 0 {
			q.Limit = min(pageSize, want-out.n)
		}
		page, err := cl.Journal(ctx, q)
		if err != nil {
			return err
		}
		readings, lagging = page.Readings, lagging || page.Lagging
		for i := range page.Entries {
			if a.json {
				out.add(page.Entries[i])
			} else {
				entries = append(entries, page.Entries[i])
				out.n++
			}
		}
		q.Before = page.Next
		if more = page.Next != ""; !more || want > 0 && out.n >= want {
			break
		}
	}
	if a.json {
		return out.end(map[string]any{"more": more, "lagging": lagging, "readings": readings})
	}
	t := term.NewTable(6, "ID", "TIME", "VERDICT", "SENDER", "RECIPIENTS", "MATCHED", "SUBJECT")
	for i := range entries {
		e := &entries[i]
		to := strings.Join(e.Recipients[:min(1, len(e.Recipients))], "")
		if len(e.Recipients) > 1 {
			to += " +" + strconv.Itoa(len(e.Recipients)-1)
		}
		t.Row(e.ID, when(e.Time), e.Verdict, e.Sender, to, matched(e), e.Subject)
	}
	if err := a.print(t, nil); err != nil {
		return err
	}
	if lagging {
		a.warn("the newest entries are not indexed yet; try again in a moment")
	}
	if more && !limited {
		a.note("there are older ones: --limit 0 shows all, --since and --until a part")
	}
	return nil
}

// matched says what of an entry answered a search.
func matched(e *api.JournalEntry) string {
	if len(e.Matched) == 0 {
		return ""
	}
	o := e.Matched[0]
	text := fmt.Sprintf("%s at %s", o.Value, o.Place)
	if len(e.Matched) > 1 {
		text += " +" + strconv.Itoa(len(e.Matched)-1)
	}
	return text
}

func (a *app) journalShow() *cobra.Command {
	return a.daemonFlags(a.jsonFlag(&cobra.Command{
		Use:   "show ID",
		Short: "Show all that is remembered of a message that was let through",
		Long: `Show all that is remembered of a message that was let through. ID is the entry's, all of
it, or the X-Weir-ID that begins with it. The ledger records that you looked.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			e, err := a.client().JournalEntry(c.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(e)
			}
			return a.printEntry(e)
		},
	}))
}

func (a *app) printEntry(e *api.JournalEntry) error {
	verdict := e.Verdict + " by rule " + e.Rule
	if e.Unjudged {
		verdict += ", without a look: over the size limit"
	}
	a.facts(
		[2]string{"id", e.ID},
		[2]string{"time", exactly(e.Time)},
		[2]string{"verdict", verdict},
		[2]string{"direction", e.Direction},
		[2]string{"sender", e.Sender},
		[2]string{"recipients", strings.Join(e.Recipients, ", ")},
		[2]string{"from", e.HeaderFrom},
		[2]string{"subject", e.Subject},
		[2]string{"date", e.Date},
		[2]string{"message-id", e.MessageID},
		[2]string{"queue-id", e.QueueID},
		[2]string{"client", e.Client},
		[2]string{"helo", e.Helo},
		[2]string{"login", e.AuthUser},
		[2]string{"size", size(e.Size)},
		[2]string{"files", strings.Join(e.Files, ", ")},
		[2]string{"came from", e.Parent},
		[2]string{"released", e.Item},
	)
	if len(e.Hits) > 0 {
		a.title("What lists knew of it")
		for _, h := range e.Hits {
			a.printLine("  %s at %s, in %s line %d", h.Value, h.Place, h.Source, h.Line)
		}
	}
	a.title("What it showed")
	t := term.NewTable(2, "KIND", "ROLE", "VALUE", "PLACE")
	for _, o := range e.Observables {
		t.Row(o.Kind, o.Role, o.Value, o.Place)
	}
	if err := a.print(t, nil); err != nil {
		return err
	}
	if e.Overflow > 0 {
		a.note("%d more were too many to be remembered", e.Overflow)
	}
	return nil
}
