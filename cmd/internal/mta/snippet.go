package mta

import (
	"fmt"
	"strings"
)

// Snippet is what has to be done to an MTA, for a person to read, paste or run.
type Snippet struct {
	Title string
	Parts []Part
}

// Part is one step: commands to run as root, or text for a file.
type Part struct {
	Title    string
	File     string // where Text belongs: "main.cf", "master.cf", "sendmail.mc"; empty with Commands
	Text     string
	Commands [][]string // program and arguments
}

// String gives the whole snippet. Text is as it goes into the file; commands are
// quoted for a shell.
func (s *Snippet) String() string {
	var b strings.Builder
	b.WriteString("# " + s.Title + "\n")
	for i, p := range s.Parts {
		b.WriteString("\n" + comment("#", fmt.Sprintf("%d. %s", i+1, p.Title)))
		if p.Text != "" {
			b.WriteString("\n" + p.Text)
		}
		for _, c := range p.Commands {
			b.WriteString("\n" + shellLine(c) + "\n")
		}
	}
	return b.String()
}

// comment writes text as comment lines of at most 80 columns, or what a longer
// word needs.
func comment(prefix, text string) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		if column > 0 && column+1+len(word) > 80 {
			b.WriteByte('\n')
			column = 0
		}
		if column == 0 {
			b.WriteString(prefix)
			column = len(prefix)
		}
		b.WriteString(" " + word)
		column += 1 + len(word)
	}
	if column > 0 {
		b.WriteByte('\n')
	}
	return b.String()
}
