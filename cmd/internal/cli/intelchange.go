package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/export"
	"github.com/weirmail/weir/intel/feed/format"
	"github.com/weirmail/weir/intel/list"
)

// dispositionFlags are --block, --allow and --watch, of which one is given.
type dispositionFlags struct{ block, allow, watch bool }

func (d *dispositionFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&d.block, "block", false, "what it matches is blocked")
	f.BoolVar(&d.allow, "allow", false, "what it matches is allowed, for a time")
	f.BoolVar(&d.watch, "watch", false, "what it matches is only noted")
}

// check refuses more than one of them.
func (d *dispositionFlags) check() error {
	if d.block && (d.allow || d.watch) || d.allow && d.watch {
		return usagef("say one of --block, --allow and --watch, not several")
	}
	return nil
}

// word gives the disposition, "" if none is given.
func (d *dispositionFlags) word() string {
	switch {
	case d.block:
		return intel.Block.String()
	case d.allow:
		return intel.Allow.String()
	case d.watch:
		return intel.Watch.String()
	}
	return ""
}

// allowFor is for how long something is allowed of which nobody says it.
const allowFor = "30d"

// adding is what weir intel add and import were told.
type adding struct {
	dispositionFlags
	entry         api.IntelEntry // of add; of import what holds for each entry that says nothing else
	until, reason string

	wide    bool
	format  string
	columns []string
	yes     bool
}

func (n *adding) add(c *cobra.Command) {
	n.dispositionFlags.add(c)
	f := c.Flags()
	f.StringVar(&n.reason, "reason", "", "why, for the ledger")
	f.StringVar(&n.until, "until", "", "how `long` the entry holds: 30d, or a time such as 2026-12-31; what is allowed holds for "+allowFor+" without it, anything else for good")
	f.IntVar(&n.entry.Confidence, "confidence", 0, "how sure you are, 1 to 100")
	f.BoolVar(&n.wide, "wide", false, "also what is too wide: .com, 0.0.0.0/0, a block of a domain or network of yours")
	f.StringVar(&n.entry.TLP, "tlp", "", "how far it may be passed on: clear, green, amber, amber+strict or red")
	f.StringVar(&n.entry.Note, "note", "", "for people here; without it the note says who and why")
	f.StringVar(&n.entry.Campaign, "campaign", "", "what it belongs to")
	f.StringVar(&n.entry.ID, "id", "", "a case or ticket")
}

// read checks the flags and completes them.
func (n *adding) read(a *app, c *cobra.Command) error {
	if err := n.check(); err != nil {
		return err
	}
	if c.Flags().Changed("confidence") && (n.entry.Confidence < 1 || n.entry.Confidence > 100) {
		return usagef("a confidence of %d: it is 1 to 100, or left out", n.entry.Confidence)
	}
	if n.word() == "" {
		return usagef("say what it does: --block, --allow or --watch")
	}
	if strings.TrimSpace(n.reason) == "" {
		return usagef("a change of what is known needs a --reason")
	}
	if n.until == "" && n.allow {
		n.until = allowFor
	}
	if n.until == "" {
		return nil
	}
	var err error
	n.entry.Until, err = a.lasting(n.until)
	n.entry.Until = n.entry.Until.Truncate(time.Second)
	return err
}

func (a *app) intelAdd() *cobra.Command {
	var n adding
	c := &cobra.Command{
		Use:   "add VALUE",
		Short: "Block, allow or watch a value",
		Long: `Block, allow or watch a value from now on. It is written into the list operator.txt of
that folder (block/operator.txt and so on), which policy authors see and may edit too, and
the lists are read again. An entry for the same value is replaced. Who did it and why is
in the ledger, and weir intel history tells it.

VALUE is written as in a list file, without options: evil.example, .evil.example for all
below it too, a URL, a URL and * for all that begin so, an address, a digest, a range.
Regular expressions belong into a list file. What would stop all mail, such as .com,
0.0.0.0/0 or a block of your own domain, is refused without --wide.`,
		Example: `  weir intel add .evil.example --block --reason "phishing, case 12"
  weir intel add invoice@evil.example --watch --until 14d --reason "seen in a report" --confidence 60 --tlp amber`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := n.read(a, c); err != nil {
				return err
			}
			n.entry.Value = args[0]
			cl := a.client()
			defer cl.Close()
			changed, err := cl.IntelAdd(c.Context(), api.IntelAdd{Disposition: n.word(), Entries: []api.IntelEntry{n.entry}, Reason: n.reason, Wide: n.wide})
			if err != nil {
				return err
			}
			return a.printListing(changed, n.word())
		},
	}
	n.add(c)
	return a.daemonFlags(a.jsonFlag(c))
}

func (a *app) intelRemove() *cobra.Command {
	var d dispositionFlags
	var reason string
	c := &cobra.Command{
		Use:   "remove VALUE",
		Short: "Take a value out of the operators' lists",
		Long: `Take a value out of the operators' lists, whatever they say about it, or out of the one
that --block, --allow or --watch names. What list files of others and feeds say stays:
weir intel unblock allows it all the same.`,
		Example: `  weir intel remove .evil.example --reason "was a false alarm"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := d.check(); err != nil {
				return err
			}
			if strings.TrimSpace(reason) == "" {
				return usagef("a change of what is known needs a --reason")
			}
			cl := a.client()
			defer cl.Close()
			changed, err := cl.IntelRemove(c.Context(), api.IntelRemove{Value: args[0], Disposition: d.word(), Reason: reason})
			if err != nil {
				return err
			}
			return a.printListing(changed, "")
		},
	}
	d.add(c)
	c.Flags().StringVar(&reason, "reason", "", "why, for the ledger")
	return a.daemonFlags(a.jsonFlag(c))
}

// printListing says what became of a change; wanted is what shall decide now. Where
// something else does, or the lists were refused, the exit code says so.
func (a *app) printListing(r *api.IntelChanged, wanted string) error {
	code := exitDone
	if r.Reloaded != nil && !r.Reloaded.OK || wanted != "" && wanted != intel.Watch.String() && r.Answer != "" && r.Answer != wanted {
		code = exitFailed
	}
	if a.json {
		if err := a.printJSON(r); err != nil {
			return err
		}
		return exitWith(code)
	}
	for i := range r.Changes {
		e := &r.Changes[i]
		a.printLine("%s %s:%d: %s", e.Outcome, e.File, e.Line, e.Entry)
		if e.Was != "" {
			a.printLine("  was: %s", e.Was)
		}
	}
	a.printProblems(r.Warnings)
	if r.Reloaded != nil {
		a.printReloaded(r.Reloaded)
	}
	if r.Answer == "" {
		return exitWith(code)
	}
	if wanted == intel.Watch.String() && r.Answer == "none" && code == exitDone {
		a.printf("today: watched\n")
	} else {
		a.printf("today: %s\n", a.disposition(r.Answer))
	}
	for i := range r.Listed {
		if c := &r.Listed[i]; c.Outcome == "decides" && wanted != "" && r.Answer != wanted {
			a.complainLine("what decides is another entry: " + c.Explanation)
		}
	}
	return exitWith(code)
}

// exitWith ends with a code of which all is said.
func exitWith(code int) error {
	if code == exitDone {
		return nil
	}
	return silent{code}
}

// imported is what weir intel import prints as JSON.
type imported struct {
	Read    string            `json:"read"` // what reading the file came to
	Changed *api.IntelChanged `json:"changed"`
}

func (a *app) intelImport() *cobra.Command {
	var n adding
	c := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Block, allow or watch the values of a file",
		Long: `Block, allow or watch the values of a file, as weir intel add does it with each. Without
--yes it only shows what would change.

Formats are those of weir intel export: plain (one value a line), csv, stix (a bundle of
STIX 2.1) and misp (an event). A csv has the columns of weir intel export --format csv,
or those that --column names, by heading or number. What the file says of an entry (its
end, confidence, marking, note, campaign and ID) is taken over; the flags hold for entries
of which it says nothing. What cannot be taken over is counted, and so is what is too wide,
without --wide; a block of your own domain or network refuses the file.

More than 10 000 entries belong into a list file of their own, or into a feed.`,
		Example: `  weir intel import report.json --format stix --block --reason "CERT bulletin 7"
  weir intel import iocs.csv --format csv --column value=1 --column note=3 --watch --reason "case 12" --yes`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := n.read(a, c); err != nil {
				return err
			}
			return a.importFile(c.Context(), args[0], &n)
		},
	}
	n.add(c)
	f := c.Flags()
	f.StringVar(&n.format, "format", "", "of the file: plain, csv, stix or misp")
	f.StringArrayVar(&n.columns, "column", nil, "of csv: which `column` is what, by heading or number: value=ioc, kind, id, note, tags, campaign, confidence, until")
	f.BoolVar(&n.yes, "yes", false, "do it, rather than only show what would change")
	return a.daemonFlags(a.jsonFlag(c))
}

// maxImport bounds a file that is imported, in bytes.
const maxImport = 64 << 20

func (a *app) importFile(ctx context.Context, name string, n *adding) error {
	text, err := a.readAll(name, maxImport+1)
	if err != nil {
		return err
	}
	if len(text) > maxImport {
		return fmt.Errorf("%s has more than %d bytes", name, maxImport)
	}
	in := api.IntelAdd{Disposition: n.word(), Reason: n.reason, Wide: n.wide, DryRun: !n.yes}
	var read format.Report
	if in.Entries, read, err = a.entriesOf(name, text, n); err != nil {
		return err
	}
	if len(in.Entries) == 0 {
		a.note("%s: %s", name, read)
		return fmt.Errorf("%s has no entry that could be taken over", name)
	}
	cl := a.client()
	defer cl.Close()
	result := imported{Read: read.String()}
	if result.Changed, err = cl.IntelAdd(ctx, in); err != nil {
		return err
	}
	if a.json {
		if err := a.printJSON(result); err != nil {
			return err
		}
		return exitWith(importCode(result.Changed))
	}
	return a.printImported(name, &result)
}

func importCode(r *api.IntelChanged) int {
	if r.Reloaded != nil && !r.Reloaded.OK {
		return exitFailed
	}
	return exitDone
}

// entriesOf reads the entries of a file.
func (a *app) entriesOf(name string, text []byte, n *adding) ([]api.IntelEntry, format.Report, error) {
	d, _ := intel.ParseDisposition(n.word())
	o := format.Options{
		Open:   func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil },
		Source: name, Disposition: d, Now: a.now(), Internal: true, Wide: n.wide, MaxEntries: 1_000_000,
	}
	switch n.format {
	case "plain", "stix", "misp":
		o.Format = format.Format(n.format)
	case "csv":
		o.Format, o.CSV = format.CSV, export.CSVColumns()
		if len(n.columns) > 0 {
			var err error
			if o.CSV.Columns, err = columnsOf(n.columns); err != nil {
				return nil, format.Report{}, err
			}
		}
	default:
		return nil, format.Report{}, usagef("--format %q is none of plain, csv, stix and misp", n.format)
	}
	f, err := format.New(o)
	if err != nil {
		return nil, format.Report{}, err
	}
	var entries []api.IntelEntry
	for ind, err := range f.Entries {
		if err != nil {
			return nil, format.Report{}, err
		}
		e, err := n.entryFor(&ind)
		if err != nil {
			return nil, format.Report{}, fmt.Errorf("%s: %w", name, err)
		}
		entries = append(entries, e)
	}
	return entries, f.Report(), nil
}

// entryFor gives an entry of a file, completed by the flags.
func (n *adding) entryFor(ind *intel.Indicator) (api.IntelEntry, error) {
	line, err := list.Line(&intel.Indicator{Pattern: ind.Pattern, Disposition: ind.Disposition})
	if err != nil {
		return api.IntelEntry{}, err
	}
	e := n.entry
	e.Value = line
	if !ind.Until.IsZero() && (e.Until.IsZero() || ind.Until.Before(e.Until)) {
		e.Until = ind.Until
	}
	if ind.Confidence != 0 {
		e.Confidence = ind.Confidence
	}
	if t := ind.TLP; t != intel.TLPNone {
		e.TLP = t.String()
	}
	for _, said := range []struct {
		into *string
		text string
	}{{&e.Note, ind.Note}, {&e.Campaign, ind.Campaign}, {&e.ID, ind.ID}} {
		if said.text != "" {
			*said.into = said.text
		}
	}
	return e, nil
}

// columnsOf reads the columns of a csv.
func columnsOf(pairs []string) (c format.Columns, err error) {
	for _, pair := range pairs {
		name, column, ok := strings.Cut(pair, "=")
		into := map[string]*string{
			"value": &c.Value, "kind": &c.Kind, "id": &c.ID, "tags": &c.Tags, "campaign": &c.Campaign, "confidence": &c.Confidence, "until": &c.Until,
		}[name]
		switch {
		case !ok || column == "":
			return c, usagef("--column %q says nothing: write value=ioc, or value=1", pair)
		case name == "note":
			c.Note = append(c.Note, column)
		case into == nil:
			return c, usagef("--column %q: there is no %s; write value, kind, id, note, tags, campaign, confidence or until", pair, name)
		default:
			*into = column
		}
	}
	if c.Value == "" {
		return c, usagef("--column names everything but the value: add --column value=COLUMN")
	}
	return c, nil
}

// shownChanges is how many changes of a file a person is shown.
const shownChanges = 20

func (a *app) printImported(name string, r *imported) error {
	a.printLine("%s: %s", name, r.Read)
	counts := map[string]int{}
	t := term.NewTable(2, "WHAT", "LINE", "ENTRY")
	shown := 0
	for i := range r.Changed.Changes {
		c := &r.Changed.Changes[i]
		counts[c.Outcome]++
		if c.Outcome != "unchanged" && shown < shownChanges {
			shown++
			t.Row(c.Outcome, fmt.Sprint(c.Line), c.Entry)
		}
	}
	if shown > 0 {
		if err := a.print(t, nil); err != nil {
			return err
		}
	}
	if more := counts["added"] + counts["replaced"] + counts["removed"] - shown; more > 0 {
		a.printf("and %d more\n", more)
	}
	a.printf("%d added, %d replaced, %d unchanged\n", counts["added"], counts["replaced"], counts["unchanged"])
	a.printProblems(r.Changed.Warnings)
	if r.Changed.Reloaded != nil {
		a.printReloaded(r.Changed.Reloaded)
	}
	if r.Changed.DryRun {
		a.note("nothing was changed: --yes does it")
	}
	return exitWith(importCode(r.Changed))
}
