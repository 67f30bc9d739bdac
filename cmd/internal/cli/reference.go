package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Reference gives the page that describes every command, in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# The weir command

What each command does, takes and ends with; ` + "`weir COMMAND --help`" + ` says the same. Made from the commands by
` + "`go generate ./cmd/weir`" + `; a test keeps it current. What ` + "`weir scan --json`" + ` prints is described in [scan.md](scan.md); the
other listings' JSON is that of the control socket, described by
[openapi.json](../internal/control/openapi.json).

Every command takes ` + "`--config FILE`" + `: the configuration, /etc/weir/weir.toml if it is there and else ./weir.toml.
IDs may be abbreviated as long as one item alone begins so. Colours are for terminals, and not where NO_COLOR is set.
Text from mail is printed with everything escaped that could do something to a terminal.

| exit code | meaning |
| --- | --- |
`)
	for code, meaning := range exitMeanings() {
		fmt.Fprintf(&b, "| %d | %s |\n", code, meaning)
	}
	b.WriteString("\n| command | |\n| --- | --- |\n")
	root := (&app{}).root()
	eachCommand(root, func(c *cobra.Command) {
		fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", c.CommandPath(), strings.ReplaceAll(c.CommandPath(), " ", "-"), c.Short)
	})
	eachCommand(root, func(c *cobra.Command) { describe(&b, c) })
	return b.String()
}

// eachCommand visits the commands that do something.
func eachCommand(c *cobra.Command, visit func(*cobra.Command)) {
	for _, sub := range c.Commands() {
		if sub.Name() == "help" {
			continue
		}
		if len(sub.Commands()) == 0 || sub.Long != "" { // groups alone say no more than their name
			visit(sub)
		}
		eachCommand(sub, visit)
	}
}

func describe(b *strings.Builder, c *cobra.Command) {
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n```\n%s\n", c.CommandPath(), strings.TrimSpace(text), c.UseLine())
	if flags := c.LocalNonPersistentFlags().FlagUsages(); flags != "" {
		b.WriteString("\n" + flags)
	}
	b.WriteString("```\n")
	if c.Example != "" {
		fmt.Fprintf(b, "\nFor example:\n\n```\n%s\n```\n", strings.ReplaceAll("\n"+c.Example, "\n  ", "\n")[1:])
	}
}
