package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
)

const idHelp = `

An item is named by its ID, or by a beginning of it that no other has.`

func (a *app) quarantine() *cobra.Command {
	return group("quarantine", "Look at held messages, release and delete them",
		a.quarantineList(), a.quarantineShow(), a.quarantinePreview(), a.quarantineRelease(), a.quarantineDelete(), a.quarantineExport())
}

func (a *app) quarantineList() *cobra.Command {
	var q api.ItemQuery
	var s span
	var all bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List held messages, the newest first",
		Long: `List messages in quarantine, the newest first: those that are not released, deleted
or expired, unless --state or --all says otherwise. All conditions have to be met.

Times are 2026-05-01, "2026-05-01 14:30", 2026-05-01T14:30:00Z, or 90m, 2h or 3d
for so long ago; a date as --until means the end of that day.`,
		Example: `  weir quarantine list --since 2h --sender evil.example
  weir quarantine list --rcpt alice@example.org --all --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if q.Since, q.Until, err = s.read(a); err != nil {
				return err
			}
			if all && q.State == "" {
				q.State = "all"
			}
			return a.listItems(c.Context(), q, c.Flags().Changed("limit"))
		},
	}
	f := c.Flags()
	f.StringVar(&s.since, "since", "", "held at this `time` or later")
	f.StringVar(&s.until, "until", "", "held before this `time`")
	f.StringVar(&q.Sender, "sender", "", "an `address`, or a domain with all below it")
	f.StringVar(&q.Recipient, "rcpt", "", "likewise, among those whose copy is held")
	f.StringVar(&q.Rule, "rule", "", "held by this `rule`")
	f.StringVar(&q.Hash, "hash", "", "SHA-256 of a part or of the whole message, or its first eight digits or more")
	f.StringVar(&q.Subject, "subject", "", "`words` that all stand in the subject")
	f.StringVar(&q.ID, "id", "", "the beginning of their IDs")
	f.StringVar(&q.State, "state", "", "held, releasing, uncertain, released, refused, deleted, expired or all")
	f.StringVar(&q.Direction, "direction", "", "inbound, outbound or internal")
	f.StringVar(&q.Kind, "kind", "", "held (diverted on the way) or pulled (taken out of a mailbox)")
	f.StringVar(&q.Incident, "incident", "", "pulled for the incident whose `ID` begins so")
	f.StringVar(&q.Mailbox, "mailbox", "", "pulled out of the mailbox with this `login`")
	f.IntVar(&q.Limit, "limit", 100, "at most so many; 0 for all there are")
	f.BoolVar(&all, "all", false, "in whatever state")
	return a.daemonFlags(a.jsonFlag(c))
}

// pageSize is how many of anything are asked for at once.
const pageSize = 1000

// listItems prints items page by page.
func (a *app) listItems(ctx context.Context, q api.ItemQuery, limited bool) error {
	if q.Limit < 0 {
		return usagef("--limit %d is less than nothing", q.Limit)
	}
	cl := a.client()
	defer cl.Close()
	want := q.Limit
	var items []api.Item
	out := newJSONList(a, "items")
	more, lagging := false, false
	for {
		q.Limit = pageSize
		if want > 0 {
			q.Limit = min(pageSize, want-out.n)
		}
		page, err := cl.Items(ctx, q)
		if err != nil {
			return err
		}
		lagging = lagging || page.Lagging
		for i := range page.Items {
			if a.json {
				out.add(page.Items[i])
			} else {
				items = append(items, page.Items[i])
				out.n++
			}
		}
		q.Before = page.Next
		if more = page.Next != ""; !more || want > 0 && out.n >= want {
			break
		}
	}
	if a.json {
		return out.end(map[string]any{"more": more, "lagging": lagging})
	}
	if err := a.printItems(items); err != nil {
		return err
	}
	if lagging {
		a.warn("the newest changes are not in the listing yet; try again in a moment")
	}
	if more && !limited {
		a.note("there are older ones: --limit 0 shows all, --since and --until a part")
	}
	return nil
}

func (a *app) printItems(items []api.Item) error {
	ids := make([]string, len(items))
	for i := range items {
		ids[i] = items[i].ID
	}
	ids = a.short(ids)
	t := term.NewTable(7, "ID", "HELD", "KIND", "STATE", "CAUSE", "SENDER", "RECIPIENTS", "SUBJECT")
	for i := range items {
		item := &items[i]
		t.Row(ids[i], when(item.Held), item.Kind, item.State, a.causeOf(item), item.Sender, recipients(item), item.Subject)
	}
	return a.print(t, func(_, column int, text string) string {
		if column == 3 {
			return a.stateColour(text)
		}
		return text
	})
}

// causeOf names the rule that held an item, or the incident that it was pulled for.
func (a *app) causeOf(i *api.Item) string {
	if i.Pulled == nil {
		return i.Rule
	}
	return "incident " + a.short([]string{i.Pulled.Incident})[0]
}

// recipients names the first recipient and counts the others.
func recipients(i *api.Item) string {
	switch len(i.Recipients) {
	case 0:
		return ""
	case 1:
		to := i.Recipients[0].Address
		if i.Pulled != nil && !strings.EqualFold(i.Pulled.Mailbox, to) {
			to += " (mailbox " + i.Pulled.Mailbox + ")"
		}
		return to
	}
	return fmt.Sprintf("%s +%d", i.Recipients[0].Address, len(i.Recipients)-1)
}

func (a *app) quarantineShow() *cobra.Command {
	return a.daemonFlags(a.jsonFlag(&cobra.Command{
		Use:   "show ID",
		Short: "Show what is known of a held message, and why it is held",
		Long:  "Show what is known of a held message, why it is held, and what became of each copy." + idHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			item, err := a.client().Item(c.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(item)
			}
			return a.printItem(item)
		},
	}))
}

func (a *app) printItem(i *api.Item) error {
	client := i.Client
	// Of a client without a name the MTA says the address in brackets.
	if i.ClientName != "" && !strings.HasPrefix(i.ClientName, "[") {
		client = strings.TrimSpace(i.ClientName + " [" + i.Client + "]")
	}
	a.facts(
		[2]string{"id", i.ID},
		[2]string{"kind", i.Kind},
		[2]string{"state", i.State},
		[2]string{"held", exactly(i.Held)},
		[2]string{"rule", i.Rule},
		[2]string{"direction", i.Direction},
		[2]string{"sender", i.Sender},
		[2]string{"from", i.HeaderFrom},
		[2]string{"subject", i.Subject},
		[2]string{"message-id", i.MessageID},
		[2]string{"queue-id", i.QueueID},
		[2]string{"client", client},
		[2]string{"helo", i.Helo},
		[2]string{"login", i.AuthUser},
		[2]string{"size", size(i.Size)},
		[2]string{"sha256", i.SHA256},
		[2]string{"files", strings.Join(i.Files, ", ")},
		[2]string{"log ref", i.Ref},
	)
	if p := i.Pulled; p != nil {
		a.title("Pulled")
		a.facts(
			[2]string{"incident", p.Incident},
			[2]string{"delivery", p.Delivery},
			[2]string{"mailbox", p.Mailbox},
			[2]string{"folder", p.Copy.Folder},
			[2]string{"flags", strings.Join(marksOf(p), " ")},
			[2]string{"date", exactly(p.Copy.Date)},
			[2]string{"reason", p.Reason},
		)
	}
	if len(i.Reasons) > 0 {
		a.title("Why")
		for _, r := range i.Reasons {
			text := "rule " + r.Rule
			if more := reasonText(r); more != "" {
				text += ": " + more
			}
			a.printLine("  %s", text)
		}
	}
	a.title("Copies")
	return a.printCopies(i)
}

// marksOf gives the flags and keywords that a copy had in its mailbox.
func marksOf(p *api.ItemOrigin) []string {
	var all []string
	for _, f := range p.Copy.Flags {
		all = append(all, string(f))
	}
	return append(all, p.Copy.Keywords...)
}

func (a *app) printCopies(i *api.Item) error {
	t := term.NewTable(3, "RECIPIENT", "STATE", "SINCE", "DETAIL")
	for _, r := range i.Recipients {
		detail := r.Detail
		if r.Silent {
			detail = strings.TrimSpace("discarded: nobody is told of it. " + detail)
		}
		t.Row(r.Address, r.State, when(r.At), detail)
	}
	return a.print(t, func(_, column int, text string) string {
		if column == 1 {
			return a.stateColour(text)
		}
		return text
	})
}

func (a *app) quarantinePreview() *cobra.Command {
	return a.daemonFlags(a.jsonFlag(&cobra.Command{
		Use:   "preview ID",
		Short: "Show a held message as text, without opening it",
		Long: `Show a held message as text: nothing is fetched, and links are written so that they
are none. The ledger records that you looked.` + idHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.client().Preview(c.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(p)
			}
			return a.printPreview(p)
		},
	}))
}

func (a *app) printPreview(p *api.Preview) error {
	pairs := make([][2]string, len(p.Header))
	for i, f := range p.Header {
		pairs[i] = [2]string{f.Name, f.Value}
	}
	a.facts(pairs...)
	a.printf("\n%s\n", term.Text(p.Text))
	if p.Cut {
		a.printf("%s\n", a.screen.Faint("… there is more text"))
	}
	a.title("Parts")
	parts := term.NewTable(3, "PART", "TYPE", "SIZE", "NAME")
	for _, part := range p.Parts {
		kind := part.Type
		if part.Detected != "" && part.Detected != part.Type {
			kind += " (looks like " + part.Detected + ")"
		}
		parts.Row(part.Path, kind, size(part.Size), part.Name)
	}
	if err := a.print(parts, nil); err != nil {
		return err
	}
	if len(p.Links) > 0 {
		a.title("Links")
		links := term.NewTable(2, "PLACE", "SHOWN AS", "LINK")
		for _, l := range p.Links {
			links.Row(l.Place, l.Text, l.Defanged)
		}
		if err := a.print(links, nil); err != nil {
			return err
		}
	}
	if len(p.Defects) > 0 {
		a.title("Defects")
		for _, d := range p.Defects {
			a.printLine("  %s", d)
		}
	}
	return nil
}

func (a *app) quarantineRelease() *cobra.Command {
	var r api.Release
	c := &cobra.Command{
		Use:   "release ID...",
		Short: "Deliver held copies after all",
		Long: `Deliver the copies of held messages after all: to everybody whose copy is held, or to
the recipients named by --to. Copies that are released already are passed over, so
that asking twice delivers once.

The message is judged by today's rules first. One that they would hold again is
refused (exit code 4), unless --override says that it may go all the same. What was
pulled out of a mailbox goes back there, into its folder; that needs a --reason, and
weir incident show says when it is there. A copy of which nobody knows whether it was delivered is released again only with --again.
Both need a --reason.` + idHelp,
		Example: `  weir quarantine release 01KAMP3Q5R7S
  weir quarantine release 01KAMP3Q5R7S --to alice@example.org --override --reason "newsletter, asked for"`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if (r.Override || r.Again) && strings.TrimSpace(r.Reason) == "" {
				return usagef("--override and --again need a --reason")
			}
			return a.each(args, func(cl *client.Client, id string, into *answered) error {
				r := r
				r.ID = id
				return a.releaseOne(c.Context(), cl, r, into)
			})
		},
	}
	f := c.Flags()
	f.StringArrayVar(&r.Recipients, "to", nil, "only to this recipient, an `address` of the item's; may come several times")
	f.BoolVar(&r.Override, "override", false, "although today's rules would hold it")
	f.BoolVar(&r.Again, "again", false, "also copies that may have been delivered already")
	f.StringVar(&r.Reason, "reason", "", "why, for the ledger")
	return a.daemonFlags(a.jsonFlag(c))
}

// answered is what became of one ID that was named, as JSON.
type answered struct {
	ID     string     `json:"id"`               // as it was named
	Item   *api.Item  `json:"item,omitempty"`   // afterwards
	Failed []string   `json:"failed,omitempty"` // copies that were not taken, and why
	Error  *api.Error `json:"error,omitempty"`  // why nothing was done
}

// each does something for each ID and goes on after failures, but not where
// nobody answers.
func (a *app) each(ids []string, do func(cl *client.Client, id string, into *answered) error) error {
	cl := a.client()
	defer cl.Close()
	var codes []int
	results := []answered{}
	for _, id := range ids {
		result := answered{ID: id}
		err := do(cl, id, &result)
		code := exitOf(err)
		if code == exitUnreachable {
			return err
		}
		codes = append(codes, code)
		if !errors.As(err, &result.Error) && err != nil && err.Error() != "" {
			result.Error = api.Errorf(api.Failed, "%v", err)
		}
		results = append(results, result)
		if a.json {
			continue
		}
		if len(ids) > 1 && result.Error != nil {
			_, _ = fmt.Fprintf(a.io.Err, "%s: ", term.Line(id))
		}
		if err != nil {
			a.complain(err)
		}
	}
	if a.json {
		if err := a.printJSON(map[string]any{"results": results}); err != nil {
			return err
		}
	}
	if code := worst(codes); code != exitDone {
		return silent{code}
	}
	return nil
}

func (a *app) releaseOne(ctx context.Context, cl *client.Client, r api.Release, into *answered) error {
	got, err := cl.Release(ctx, r)
	if err != nil {
		return err
	}
	into.Item, into.Failed = &got.Item, got.Failed
	if !a.json {
		a.printLine("%s %s", got.Item.ID, got.Item.State)
		err = a.printCopies(&got.Item)
	}
	if p := got.Item.Pulled; err == nil && p != nil && got.Item.State != "released" && !a.json {
		a.note("it is on its way into the mailbox %s, and not there yet: weir incident show %s --wait 60s", p.Mailbox, p.Incident)
	}
	if err == nil && len(got.Failed) > 0 {
		return silent{exitFailed}
	}
	return err
}

func (a *app) quarantineDelete() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "delete ID...",
		Short: "Take held messages away for good",
		Long: `Take held messages away for good. Copies that were not released are lost; the record
of what the messages were, who deleted them and why stays. It takes a --reason.` + idHelp,
		Example: `  weir quarantine delete 01KAMP3Q5R7S --reason "phishing, case 7"`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return usagef("a deletion needs a --reason")
			}
			return a.each(args, func(cl *client.Client, id string, into *answered) error {
				item, err := cl.Delete(c.Context(), api.Delete{ID: id, Reason: reason})
				if err != nil {
					return err
				}
				into.Item = item
				if !a.json {
					a.printLine("%s %s: %s", item.ID, item.State, item.Subject)
				}
				return nil
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the ledger")
	return a.daemonFlags(a.jsonFlag(c))
}

func (a *app) quarantineExport() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "export ID",
		Short: "Write a held message's exact bytes to a file",
		Long: `Write a held message's exact bytes to a file (mode 0600), or to standard output if
that is not a terminal. They are compared with the digest that the quarantine has; a
file is there only if they are right. The ledger records that you took them.` + idHelp,
		Example: `  weir quarantine export 01KAMP3Q5R7S -o evidence.eml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.export(c.Context(), output, func(ctx context.Context, w io.Writer) error { return a.client().Message(ctx, args[0], w) })
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "the `file` to write; - is standard output, a terminal too")
	return a.daemonFlags(c)
}
