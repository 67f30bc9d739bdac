package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
)

func (a *app) journal() *cobra.Command {
	return group("journal", "Find messages that were let through", a.journalSearch(), a.journalShow())
}

func (a *app) journalSearch() *cobra.Command {
	var q api.JournalQuery
	var s span
	var o searchOutput
	var all bool
	c := &cobra.Command{
		Use:   "search [VALUE]",
		Short: "Find messages that were let through, the newest first",
		Long: `Find messages that were let through, the newest first. All conditions have to be met;
without one, it is all messages. The ledger records what you searched for.

VALUE is an X-Weir-ID, a queue ID, a Message-ID, or whatever a message carried: an
address, a domain (with all below it), a URL (with a * at its end all that begin so), a
digest, an IP address or a range. Defanged forms are read as meant.

Conditions that the index knows answer at once however old the messages are: VALUE,
addresses and domains, links, digests, client, IDs and login. For the others (words of the
subject, file names, parts of addresses, direction, verdict, rule, ranges wider than /16,
of IPv6 /48) all entries of the time are read: give --since, or another condition beside
them. Where that takes long the search says how far it came; --all goes to the end.

Text is compared without regard to case, its spelling in Unicode and invisible
characters. Times are 2026-05-01, "2026-05-01 14:30", 2026-05-01T14:30:00Z, or 90m, 2h or
3d for so long ago; a date as --until means the end of that day.

--csv is RFC 4180 with a line of headings. What a spreadsheet would take for a formula
(= + - @ at the beginning, behind white space too) has an apostrophe before it; control
characters are escaped; lists are parted by "; ".`,
		Example: `  weir journal search evil.example --since 7d
  weir journal search '<20260501.1234@sender.example>'
  weir journal search --sender bank.example --subject '"your account" urgent' --since 2026-05-01
  weir journal search --url 'https://evil.example/pay/*' --direction inbound --all --csv`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if q.Since, q.Until, err = s.read(a); err != nil {
				return err
			}
			if len(args) > 0 {
				if q.Value = args[0]; strings.TrimSpace(q.Value) == "" {
					return usagef("VALUE is empty")
				}
			}
			limited := c.Flags().Changed("limit")
			switch {
			case q.Limit < 0:
				return usagef("--limit %d is less than nothing", q.Limit)
			case all && limited:
				return usagef("--all and --limit contradict each other")
			case a.json && o.csv:
				return usagef("--json and --csv contradict each other")
			case all:
				q.Limit = 0
			}
			return a.searchEntries(c.Context(), q, &o)
		},
	}
	f := c.Flags()
	f.StringVar(&q.As, "as", "", "read VALUE as `what`: id, queue-id, message-id, address, domain, url, ip, sha256, sha1 or md5 (default: as all that it can be)")
	conditionFlags(f, &q, &s)
	f.StringVar(&q.Before, "before", "", "go on where a search with the same conditions ended: the `next` that it gave")
	f.IntVar(&q.Limit, "limit", 100, "at most so many; 0 for all there are")
	f.BoolVar(&all, "all", false, "all there are, however long it takes")
	f.BoolVar(&o.csv, "csv", false, "print CSV")
	return a.daemonFlags(a.jsonFlag(c))
}

// conditionFlags adds what messages may have to have.
func conditionFlags(f *pflag.FlagSet, q *api.JournalQuery, s *span) {
	f.StringVar(&s.since, "since", "", "let through at this `time` or later")
	f.StringVar(&s.until, "until", "", "let through before this `time`")
	f.StringVar(&q.Sender, "sender", "", "of the envelope or in From: an `address`, a domain with all below it, @domain for that one alone, <> for bounces; else a part of either")
	f.StringVar(&q.Recipient, "rcpt", "", "an `address` whose copy went on: likewise")
	f.StringVar(&q.Subject, "subject", "", "`words` that all stand in the subject; \"several words\" in quotes are one")
	f.StringVar(&q.URL, "url", "", "a `link`, or with a * at its end all that begin so; http and https are one")
	f.StringVar(&q.Host, "host", "", "the `host` of a link: an IP address, or a domain with all below it")
	f.StringVar(&q.Domain, "domain", "", "a `domain` with all below it, wherever the message has it: addresses, links, HELO, client")
	f.StringVar(&q.Hash, "hash", "", "SHA-256, SHA-1 or MD5 of a part, all `digits`")
	f.StringVar(&q.File, "file", "", "a part of an attachment's `name`")
	f.StringVar(&q.Client, "client", "", "the SMTP client's IP `address`, or a range")
	f.StringVar(&q.MessageID, "message-id", "", "the message's `ID`, angle brackets optional")
	f.StringVar(&q.QueueID, "queue-id", "", "the MTA's queue `ID`")
	f.StringVar(&q.Direction, "direction", "", "inbound, outbound or internal")
	f.StringVar(&q.Verdict, "verdict", "", "accept, tag, hold, discard, reject, tempfail or none")
	f.StringVar(&q.Rule, "rule", "", "the `rule` behind the verdict")
	f.StringVar(&q.Login, "login", "", "the SASL `login` that it was sent with")
}

// searchEntries asks for page after page until there are enough.
func (a *app) searchEntries(ctx context.Context, q api.JournalQuery, o *searchOutput) error {
	cl := a.client()
	defer cl.Close()
	o.begin(a)
	want := q.Limit
	for pages := 1; ; pages++ {
		q.Limit = pageSize
		if want > 0 {
			q.Limit = min(pageSize, want-o.n)
		}
		page, err := cl.Journal(ctx, q)
		if err != nil {
			return err
		}
		if err := o.add(page); err != nil {
			return err
		}
		if q.Before = page.Next; q.Before == "" || want > 0 && (o.n >= want || pages >= maxPages) {
			break
		}
	}
	return o.end(want)
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
	if err := a.printDeliveries(e.Deliveries); err != nil {
		return err
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
