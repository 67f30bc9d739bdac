package term

import (
	"bufio"
	"io"
	"strings"
)

// Table is written with its columns under each other. Cells are made safe when
// they are added.
type Table struct {
	head   []string
	rows   [][]string
	shrink int // the column that gives way where the screen is too narrow; -1: none
}

// NewTable makes a table with these headings; the column shrink is cut where
// lines would be longer than the screen is wide (-1: none is).
func NewTable(shrink int, headings ...string) *Table {
	return &Table{head: headings, shrink: shrink}
}

// Row adds a row.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = Line(c)
	}
	t.rows = append(t.rows, row)
}

// gap stands between two columns.
const gap = "  "

// Write writes the table. Colour, if not nil, gives what a cell looks like; it
// must not change the text.
func (t *Table) Write(w io.Writer, s Screen, colour func(row, column int, text string) string) error {
	widths := make([]int, len(t.head))
	for i, h := range t.head {
		widths[i] = Width(h)
	}
	for _, row := range t.rows {
		for i, c := range row {
			widths[i] = max(widths[i], Width(c))
		}
	}
	t.fit(widths, s.Columns)
	b := bufio.NewWriter(w)
	t.line(b, widths, t.head, func(_ int, text string) string { return s.Bold(text) })
	for n, row := range t.rows {
		t.line(b, widths, row, func(i int, text string) string {
			if colour == nil {
				return text
			}
			return colour(n, i, text)
		})
	}
	return b.Flush()
}

// fit makes the one column narrower, but not narrower than is of use. Where that
// is not enough, columns that a stranger's text has made very wide give way too.
func (t *Table) fit(widths []int, columns int) {
	const least, roomy = 12, 40
	if columns <= 0 || t.shrink < 0 {
		return
	}
	total := len(gap) * (len(widths) - 1)
	for _, n := range widths {
		total += n
	}
	over := total - columns
	if over <= 0 {
		return
	}
	left := max(min(least, widths[t.shrink]), widths[t.shrink]-over)
	over -= widths[t.shrink] - left
	widths[t.shrink] = left
	for i := range widths {
		if over > 0 && widths[i] > roomy {
			left := max(roomy, widths[i]-over)
			over -= widths[i] - left
			widths[i] = left
		}
	}
}

func (t *Table) line(b *bufio.Writer, widths []int, cells []string, look func(i int, text string) string) {
	var out strings.Builder
	blank := 0 // cells to skip before the next text, so that no line ends in white space
	for i, c := range cells {
		c = Cut(c, widths[i])
		if c != "" {
			out.WriteString(strings.Repeat(" ", blank))
			out.WriteString(look(i, c))
			blank = 0
		}
		blank += widths[i] - Width(c) + len(gap)
	}
	_, _ = b.WriteString(out.String() + "\n") // Flush tells
}
