package export

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/weirmail/weir/intel"
)

// Report says what became of the entries of an export.
type Report struct {
	Written int     // entries of the document
	Left    []Tally // that are not in it
	Lost    []Tally // that are in it, without something that is known of them, or as more than was said
}

// Tally counts entries for one reason.
type Tally struct {
	Why     string // of those left out: "is of kind md5"; of what was lost: "its end"
	Count   int
	Example string // the first of them
}

// String gives the report on one line: "812 entries; left out: 3 is of kind md5
// (first: …); lost: its end 4 (first: …)".
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d entries", r.Written)
	for _, part := range []struct {
		head    string
		tallies []Tally
	}{{"left out", r.Left}, {"lost", r.Lost}} {
		for i, t := range part.tallies {
			if i == 0 {
				b.WriteString("; " + part.head + ": ")
			} else {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s %d (first: %s)", t.Why, t.Count, t.Example)
		}
	}
	return b.String()
}

func (d *document) leave(why string, ind *intel.Indicator) { tally(&d.report.Left, why, ind) }

func (d *document) lose(what string, ind *intel.Indicator) { tally(&d.report.Lost, what, ind) }

// tally counts; there are no more reasons than this package has words.
func tally(tallies *[]Tally, why string, ind *intel.Indicator) {
	for i := range *tallies {
		if (*tallies)[i].Why == why {
			(*tallies)[i].Count++
			return
		}
	}
	*tallies = append(*tallies, Tally{Why: why, Count: 1, Example: onOneLine(ind.Pattern.String())})
}

// onOneLine makes a text safe to stand in a comment or a report.
func onOneLine(text string) string {
	const most = 120
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
