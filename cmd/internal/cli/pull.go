package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/config"
)

// Where the sidecar's configuration is looked for when none is named.
const (
	defaultPullConfig = "/etc/weir/pull.toml"
	localPullConfig   = "pull.toml"
)

// PullCheckOptions says what is tried.
type PullCheckOptions struct {
	Mailbox string // is looked into instead of each store's probe
	Write   bool   // mail is put in and taken out, too
}

func (a *app) pull() *cobra.Command {
	c := &cobra.Command{
		Use:   "pull",
		Short: "Run the sidecar that does the work in mailboxes",
		Long: `Run the sidecar in the foreground until SIGTERM or SIGINT: it fetches jobs from the
daemons, takes mail out of mailboxes and puts it back, and reports what became of it.
It has a configuration of its own, pull.toml (--config; default: ` + defaultPullConfig + ` if it
is there, else ./` + localPullConfig + `), a user of its own and credentials of its own, and needs no
access to what the daemon keeps. It may be stopped, or killed, at any moment: what it had
begun is done by the next one.`,
		Example: "  weir pull --config /etc/weir/pull.toml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if a.deps.Pull == nil {
				return missing("sidecar")
			}
			cfg, err := a.loadPull()
			if err != nil {
				return err
			}
			for _, w := range cfg.Warnings() {
				a.warn("%s", w.Error())
			}
			ctx, stop := orderly(c.Context())
			defer stop()
			return a.deps.Pull(ctx, cfg)
		},
		SuggestionsMinimumDistance: 2,
	}
	reference := &cobra.Command{
		Use: "reference", Short: "Print the page that describes every key of pull.toml, in Markdown", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { a.printf("%s", config.PullReference()); return nil },
	}
	sample := &cobra.Command{
		Use: "sample", Short: "Print a pull.toml in which every key stands as a comment", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { a.printf("%s", config.PullSample()); return nil },
	}
	c.AddCommand(a.pullCheck(), reference, sample)
	return c
}

// loadPull reads the sidecar's configuration.
func (a *app) loadPull() (*config.Pull, error) {
	path := a.configFlag
	for _, usual := range []string{defaultPullConfig, localPullConfig} {
		if _, err := os.Stat(usual); path == "" && !errors.Is(err, fs.ErrNotExist) {
			path = usual
		}
	}
	if path == "" {
		return nil, fmt.Errorf("there is no configuration: neither %s nor ./%s; name one with --config, or make one of what weir pull sample prints", defaultPullConfig, localPullConfig)
	}
	return config.LoadPull(path)
}

func (a *app) pullCheck() *cobra.Command {
	var o PullCheckOptions
	var verbose bool
	c := a.jsonFlag(&cobra.Command{
		Use:   "check",
		Short: "Try whether the sidecar reaches its daemons and mailboxes",
		Long: `Check pull.toml, and try every daemon and mail store that it names: whether the daemon
gives this user work, and whether the mailbox that is the store's probe can be opened and
searched. Run it as the sidecar's user. With --write a message of its own is put into the
mailbox, found, compared and taken out again; without, nothing is changed. The exit code
is 1 if there are errors.`,
		Example: "  weir pull check --config /etc/weir/pull.toml --write --mailbox weir-probe@example.org",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if a.deps.PullCheck == nil {
				return missing("sidecar")
			}
			cfg, err := a.loadPull()
			if err != nil {
				return err
			}
			for _, w := range cfg.Warnings() {
				a.warn("%s", w.Error())
			}
			findings, err := a.deps.PullCheck(c.Context(), cfg, o)
			if err != nil {
				return err
			}
			return a.printFindings(findings, verbose)
		},
	})
	c.Flags().StringVar(&o.Mailbox, "mailbox", "", "the `login` of a mailbox to try in the place of the probes")
	c.Flags().BoolVar(&o.Write, "write", false, "try to put mail in and to take it out, too")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "show what is right, too")
	return c
}

// findings is what a check prints as JSON.
type findings struct {
	OK       bool      `json:"ok"`
	Findings []Finding `json:"findings"`
}

// printFindings prints what a check has found; its error ends the command with
// its exit code.
func (a *app) printFindings(list []Finding, verbose bool) error {
	result := findings{OK: true, Findings: []Finding{}}
	counts := map[string]int{}
	for _, f := range list {
		counts[f.Severity]++
		result.OK = result.OK && f.Severity != "error"
		result.Findings = append(result.Findings, f)
	}
	if a.json {
		if err := a.printJSON(result); err != nil {
			return err
		}
	} else {
		for _, f := range result.Findings {
			if f.Severity != "ok" || verbose {
				a.printFinding(f)
			}
		}
		a.printf("%s, %s, %d in order\n", count(counts["error"], "error", "errors"), count(counts["warning"], "warning", "warnings"), counts["ok"])
	}
	if !result.OK {
		return silent{exitFailed}
	}
	return nil
}
