package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/filter/verdict"
)

// output remembers that a stream did not take everything, so that no command
// ends as if it had.
type output struct {
	io.Writer
	err error
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (n int, err error) {
	if o.err == nil {
		n, o.err = o.Writer.Write(p)
	}
	return n, o.err
}

// printf prints text that is safe already; Run tells that it could not be.
func (a *app) printf(format string, args ...any) { _, _ = fmt.Fprintf(a.io.Out, format, args...) }

// printLine prints one line of text that may come from anywhere.
func (a *app) printLine(format string, args ...any) {
	a.printf("%s\n", term.Line(fmt.Sprintf(format, args...)))
}

// printJSON prints a JSON document.
func (a *app) printJSON(v any) error {
	text, err := jsonText(v, "")
	if err != nil {
		return err
	}
	_, err = a.io.Out.Write(text)
	return err
}

// jsonText gives a document in lines, with what could do something to a terminal
// escaped.
func jsonText(v any, prefix string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent(prefix, "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return term.JSON(b.Bytes()), nil
}

// facts prints names and values under each other; empty values are left out. A
// state is coloured.
func (a *app) facts(pairs ...[2]string) {
	width := 0
	for _, p := range pairs {
		if p[1] != "" {
			width = max(width, len(p[0]))
		}
	}
	for _, p := range pairs {
		if p[1] != "" {
			text := term.Line(p[1])
			if p[0] == "state" {
				text = a.stateColour(text)
			}
			a.printf("%s%s  %s\n", a.screen.Bold(term.Line(p[0])), strings.Repeat(" ", max(0, width-len(p[0]))), text)
		}
	}
}

// title begins a part of what is printed.
func (a *app) title(text string) { a.printf("\n%s\n", a.screen.Bold(text)) }

// print writes a table.
func (a *app) print(t *term.Table, colour func(row, column int, text string) string) error {
	return t.Write(a.io.Out, a.screen, colour)
}

// count says how many there are.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

// when shows a time in the zone of who looks.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04")
}

// exactly shows a time to the second.
func exactly(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05 -0700")
}

// size shows a number of bytes with three digits at most.
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, units := float64(n)/1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	for value >= 999.5 && len(units) > 1 {
		value, units = value/1024, units[1:]
	}
	if value < 9.95 {
		return fmt.Sprintf("%.1f %s", value, units[0])
	}
	return fmt.Sprintf("%.0f %s", value, units[0])
}

// shortID is how many characters of an ID a listing shows at least: its time to
// the millisecond and a little of what is random.
const shortID = 12

// short abbreviates IDs as far as they stay different from each other. Whoever
// uses one that fits a further item is told so, and nothing is done.
func (a *app) short(ids []string) []string {
	if !a.screen.Terminal {
		return ids
	}
	n := shortID
	for seen := map[string]bool{}; ; n++ {
		clear(seen)
		whole := true
		for _, id := range ids {
			seen[id[:min(n, len(id))]] = true
			whole = whole && n >= len(id)
		}
		if len(seen) == len(ids) || whole {
			break
		}
	}
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = id[:min(n, len(id))]
	}
	return list
}

// parseTime reads a time as people write it: RFC 3339, a date, a date with a time
// in this zone, or how long ago it was. With end a date means the end of its day.
func (a *app) parseTime(text string, end bool) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if t, err := time.ParseInLocation("2006-01-02", text, time.Local); err == nil {
		if end {
			t = t.AddDate(0, 0, 1)
		}
		return t, nil
	}
	for _, form := range []string{"2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(form, text, time.Local); err == nil {
			return t, nil
		}
	}
	var ago config.Duration
	if err := ago.UnmarshalText([]byte(text)); err == nil {
		return a.now().Add(-time.Duration(ago)), nil
	}
	return time.Time{}, usagef("%q is not a time: write 2026-05-01, \"2026-05-01 14:30\", 2026-05-01T14:30:00Z, or 90m, 2h or 3d for so long ago", text)
}

// span reads --since and --until.
type span struct{ since, until string }

func (s *span) read(a *app) (since, until time.Time, err error) {
	if s.since != "" {
		if since, err = a.parseTime(s.since, false); err != nil {
			return since, until, err
		}
	}
	if s.until != "" {
		if until, err = a.parseTime(s.until, true); err != nil {
			return since, until, err
		}
	}
	if !since.IsZero() && !until.IsZero() && !since.Before(until) {
		return since, until, usagef("--since %s is not before --until %s", s.since, s.until)
	}
	return since, until, nil
}

// reasonText says what was behind a verdict.
func reasonText(r api.Reason) string {
	var b strings.Builder
	if r.Value != "" {
		b.WriteString(r.Value)
		if r.Place != "" {
			b.WriteString(" at " + r.Place)
		}
	}
	switch id, contained := strings.CutPrefix(r.Source, verdict.SourceContain); {
	case contained:
		fmt.Fprintf(&b, ", contained as %s (%s)", r.Entry, id)
	case r.Source != "":
		fmt.Fprintf(&b, ", listed as %s in %s", r.Entry, r.Source)
		if r.Line > 0 {
			fmt.Fprintf(&b, " line %d", r.Line)
		}
	}
	if r.Note != "" {
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(r.Note)
	}
	return strings.TrimPrefix(b.String(), ", ")
}

// stateColour shows what needs a person.
func (a *app) stateColour(state string) string {
	switch state {
	case "held", "releasing", "outdated", "starting", "warning", "open", "waiting":
		return a.screen.Care(state)
	case "uncertain", "refused", "error":
		return a.screen.Bad(state)
	case "released", "ready", "current", "ok", "done":
		return a.screen.Good(state)
	}
	return state
}
