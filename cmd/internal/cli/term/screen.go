package term

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Screen says what a stream leads to. The zero Screen is a file or a pipe: no
// colours, no width.
type Screen struct {
	Terminal bool
	Columns  int // 0: lines may have any length
	colours  bool
}

// Look finds out what a stream leads to. Colours are for terminals alone, and not
// where NO_COLOR is set (https://no-color.org) or TERM is dumb.
func Look(w io.Writer, getenv func(string) string) Screen {
	f, ok := w.(*os.File)
	if !ok {
		return Screen{}
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return Screen{}
	}
	return Screen{Terminal: true, Columns: int(size.Col), colours: getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"}
}

// Colours of the eight that every terminal has.
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (s Screen) paint(code, text string) string {
	if !s.colours || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Bold is for headings.
func (s Screen) Bold(text string) string { return s.paint(bold, text) }

// Faint is for what matters less.
func (s Screen) Faint(text string) string { return s.paint(faint, text) }

// Bad is for what went wrong or is refused.
func (s Screen) Bad(text string) string { return s.paint(red, text) }

// Good is for what is as it should be.
func (s Screen) Good(text string) string { return s.paint(green, text) }

// Care is for what somebody has to look at.
func (s Screen) Care(text string) string { return s.paint(yellow, text) }
