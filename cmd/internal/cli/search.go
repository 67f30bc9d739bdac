package cli

import (
	"encoding/csv"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
)

// maxPages is how many pages a search asks for that need not give everything:
// each has cost the daemon up to half a second.
const maxPages = 50

// searchOutput prints what a search found: as JSON and CSV at once, as a table at
// the end, when the widths of its columns are known.
type searchOutput struct {
	csv bool
	n   int // entries

	a       *app
	json    *jsonList
	rows    *csv.Writer
	entries []api.JournalEntry // for the table

	readings []api.Reading
	lagging  bool
	next     string
	reached  time.Time
}

func (o *searchOutput) begin(a *app) {
	o.a = a
	switch {
	case a.json:
		o.json = newJSONList(a, "entries")
	case o.csv:
		o.rows = csv.NewWriter(a.io.Out)
		o.rows.UseCRLF = true
		_ = o.rows.Write(csvHeadings()) // Flush tells
	}
}

// add takes a page.
func (o *searchOutput) add(page *api.JournalPage) error {
	o.n += len(page.Entries)
	o.readings, o.lagging, o.next, o.reached = page.Readings, o.lagging || page.Lagging, page.Next, page.Reached
	switch {
	case o.json != nil:
		for i := range page.Entries {
			o.json.add(page.Entries[i])
		}
		return o.json.err
	case o.rows != nil:
		for i := range page.Entries {
			_ = o.rows.Write(csvRow(&page.Entries[i]))
		}
		o.rows.Flush()
		return o.rows.Error()
	}
	o.entries = append(o.entries, page.Entries...)
	return nil
}

// end prints what is left, and what else there may be: want is how many entries
// were asked for, 0 all.
func (o *searchOutput) end(want int) error {
	if o.json != nil {
		more := map[string]any{"more": o.next != "", "lagging": o.lagging, "readings": o.readings}
		if o.next != "" {
			more["next"], more["reached"] = o.next, o.reached
		}
		return o.json.end(more)
	}
	if o.rows == nil {
		if err := o.table(); err != nil {
			return err
		}
	}
	if o.lagging {
		o.a.warn("the newest entries are not indexed yet; try again in a moment")
	}
	switch {
	case o.next == "":
	case o.n < want:
		o.a.note("this went back to %s; --all goes on to the oldest entry, --before %s from there, --since and --until narrow it", exactly(o.reached), o.next)
	default:
		o.a.note("there may be older ones: --all shows all, --before %s those, --since and --until a part", o.next)
	}
	return nil
}

func (o *searchOutput) table() error {
	t := term.NewTable(6, "ID", "TIME", "VERDICT", "SENDER", "RECIPIENTS", "MATCHED", "SUBJECT")
	for i := range o.entries {
		e := &o.entries[i]
		to := strings.Join(e.Recipients[:min(1, len(e.Recipients))], "")
		if len(e.Recipients) > 1 {
			to += " +" + strconv.Itoa(len(e.Recipients)-1)
		}
		t.Row(e.ID, when(e.Time), e.Verdict, e.Sender, to, matched(e), e.Subject)
	}
	return o.a.print(t, nil)
}

// csvHeadings are those of csvRow. Scripts rely on them: append.
func csvHeadings() []string {
	return []string{
		"id", "time", "direction", "verdict", "rule", "sender", "recipients", "header_from", "subject", "message_id",
		"queue_id", "client", "helo", "auth_user", "size", "files", "matched", "parent", "item",
	}
}

func csvRow(e *api.JournalEntry) []string {
	var observables []string
	for _, o := range e.Matched {
		observables = append(observables, o.Value)
	}
	row := []string{
		e.ID, e.Time.UTC().Format(time.RFC3339Nano), e.Direction, e.Verdict, e.Rule, e.Sender, strings.Join(e.Recipients, "; "), e.HeaderFrom, e.Subject, e.MessageID,
		e.QueueID, e.Client, e.Helo, e.AuthUser, strconv.FormatInt(e.Size, 10), strings.Join(e.Files, "; "), strings.Join(observables, "; "), e.Parent, e.Item,
	}
	for i := range row {
		row[i] = csvCell(row[i])
	}
	return row
}

// formula is what text begins with that spreadsheets compute, its full-width forms
// in some languages.
const formula = "=+-@＝＋－＠"

// csvCell gives text that does nothing, neither in a terminal nor in a spreadsheet.
func csvCell(text string) string {
	begin := strings.TrimLeftFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) })
	first, _ := utf8.DecodeRuneInString(begin)
	if strings.ContainsRune(formula, first) || strings.HasPrefix(text, "\t") || strings.HasPrefix(text, "\r") || strings.HasPrefix(text, "\n") {
		return "'" + term.Line(text)
	}
	return term.Line(text)
}
