package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/config"
)

func (a *app) serve() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon",
		Long: `Run the daemon in the foreground until SIGTERM or SIGINT, which let messages that
are under way be finished first (milter.drain_timeout). SIGHUP, and any edit of
the files, has configuration, policy, directory and lists read again; what is
wrong is refused and logged, and the last good version stays in force.

On Linux it executes itself once more when it begins, as the same process: that is
how its threads come by coarser timers, which spare a busy daemon 8 % of its CPU
time. TimerSlackNSec= in its unit does the same without that.`,
		Example: "  weir serve --config /etc/weir/weir.toml",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if a.deps.Serve == nil {
				return missing("daemon")
			}
			if a.deps.Settle != nil {
				a.deps.Settle()
			}
			cfg, path, err := a.load()
			if err != nil {
				return err
			}
			a.printProblemsOf(cfg)
			ctx, stop := orderly(c.Context())
			defer stop()
			return a.deps.Serve(ctx, path, cfg)
		},
	}
}

// printProblemsOf prints what a configuration has that is rarely meant.
func (a *app) printProblemsOf(cfg *config.Config) {
	for _, w := range cfg.Warnings() {
		a.warn("%s", w.Error())
	}
}

func (a *app) status() *cobra.Command {
	var check bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how the daemon is",
		Long: `Show how the daemon is, what needs a person, and which role you have. With --check,
exit code 1 says that the daemon is not ready or that something needs a person.`,
		Example: "  weir status --check || systemctl status weir",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.client().Status(c.Context())
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(s)
			} else {
				a.printStatus(s)
			}
			if err == nil && check && (!s.Ready || len(s.Trouble) > 0) {
				return silent{exitFailed}
			}
			return err
		},
	}
	c.Flags().BoolVar(&check, "check", false, "tell by the exit code whether all is well")
	return a.daemonFlags(a.jsonFlag(c))
}

func (a *app) printStatus(s *api.Status) {
	of := func(used, most int64) string {
		if most <= 0 {
			return size(used)
		}
		return size(used) + " of " + size(most)
	}
	lists := fmt.Sprintf("%d with %s, generation %d", s.Lists.Lists, count(s.Lists.Entries, "entry", "entries"), s.Lists.Generation)
	if s.Lists.Refused > 0 {
		lists += fmt.Sprintf(", %d refused (weir list show)", s.Lists.Refused)
	}
	journal := of(s.Journal.Bytes, s.Journal.MaxBytes)
	if !s.Journal.Oldest.IsZero() {
		journal += ", since " + when(s.Journal.Oldest)
	}
	if s.Journal.IndexError != "" {
		journal += ", index: " + s.Journal.IndexError
	} else if s.Journal.IndexLag > 1<<20 {
		journal += ", index behind by " + size(s.Journal.IndexLag)
	}
	you := s.Caller.Role.String()
	if s.Caller.Name != "" {
		you += ", as " + s.Caller.Name
	}
	a.facts(
		[2]string{"state", s.State},
		[2]string{"mode", s.Mode},
		[2]string{"version", s.Version},
		[2]string{"since", exactly(s.Started)},
		[2]string{"config", s.ConfigFile},
		[2]string{"policy", s.Policy},
		[2]string{"milter", strings.Join(s.Milter.Listen, ", ") + ", " + count(s.Milter.Sessions, "session", "sessions")},
		[2]string{"lists", lists},
		[2]string{"feeds", feeds(&s.Feeds)},
		[2]string{"contained", contained(&s.Contained)},
		[2]string{"shared", shared(&s.Share)},
		[2]string{"quarantine", of(s.Quarantine.Bytes, s.Quarantine.MaxBytes)},
		[2]string{"journal", journal},
		[2]string{"deliveries", deliveries(&s.Deliveries)},
		[2]string{"incidents", unfinished(&s.Incidents)},
		[2]string{"sidecars", sidecars(&s.Incidents)},
		[2]string{"hunt", hunted(&s.Hunt, s.Lists.Generation)},
		[2]string{"disk", size(s.Disk.FreeBytes) + " free, at least " + size(s.Disk.MinFree)},
		[2]string{"head", s.LedgerHead},
		[2]string{"you", you},
	)
	for _, t := range s.Trouble {
		a.printf("\n%s %s\n", a.screen.Bad(term.Line(t.What)), term.Line(t.Text+" (since "+when(t.Since)+")"))
	}
}

// unfinished sums up what is still to come over all incidents.
func unfinished(s *api.IncidentsStatus) string {
	if s.Unfinished == 0 {
		return "all are finished"
	}
	text := fmt.Sprintf("%s not finished: %s", count(s.Unfinished, "is", "are"), count(s.Ready+s.Pausing+s.Leased, "job", "jobs"))
	if s.Leased > 0 {
		text += fmt.Sprintf(", %d under way", s.Leased)
	}
	if s.Pausing > 0 {
		text += fmt.Sprintf(", %d tried again later", s.Pausing)
	}
	if s.Waiting > 0 {
		text += fmt.Sprintf("; %s for a person (weir incident list)", count(s.Waiting, "copy waits", "copies wait"))
	}
	if s.Following > 0 {
		text += fmt.Sprintf("; %s not there yet, as the log has it", count(s.Following, "copy is", "copies are"))
	}
	return text
}

// sidecars says who works in the mailboxes.
func sidecars(s *api.IncidentsStatus) string {
	if len(s.Sidecars) == 0 {
		return "none has asked for work since the daemon started (weir pull)"
	}
	var all []string
	for _, c := range s.Sidecars {
		all = append(all, fmt.Sprintf("%s, heard of %s, with %s", cmp.Or(c.Name, c.Actor), when(c.Heard), count(c.Leases, "job", "jobs")))
	}
	return strings.Join(all, "; ")
}

// hunted says how far the journal was searched.
func hunted(s *api.HuntStatus, generation uint64) string {
	switch {
	case s.Problem != "":
		return "failed, and is tried again: " + s.Problem
	case s.Generation < generation:
		return fmt.Sprintf("at work on generation %d", generation)
	}
	return fmt.Sprintf("the journal was searched for all of generation %d", s.Generation)
}

// feeds sums up the feeds.
func feeds(s *api.FeedsStatus) string {
	if s.Feeds == 0 {
		return "none"
	}
	text := fmt.Sprintf("%d with %s", s.Feeds, count(s.Entries, "entry", "entries"))
	if s.Failing > 0 {
		text += fmt.Sprintf(", %d with a trouble (weir feed list)", s.Failing)
	}
	return text
}

// shared says what peers read.
func shared(s *api.ShareStatus) string {
	if s.Listen == "" {
		return "nothing"
	}
	text := fmt.Sprintf("%s at %s", count(s.Published, "indicator", "indicators"), s.Listen)
	var held []string
	for _, w := range s.Withheld {
		held = append(held, fmt.Sprintf("%d %s", w.Count, w.Why))
	}
	if len(held) > 0 {
		text += ", held back: " + strings.Join(held, ", ")
	}
	var peers []string
	for _, p := range s.Peers {
		peers = append(peers, p.Name+" "+when(p.Last))
	}
	if len(peers) == 0 {
		return text + "; no peer has asked since the daemon started"
	}
	return text + "; read by " + strings.Join(peers, ", ")
}

func (a *app) reload() *cobra.Command {
	return a.daemonFlags(a.jsonFlag(&cobra.Command{
		Use:   "reload",
		Short: "Have configuration, policy, directory and lists read again",
		Long: `Have the daemon read configuration, policy, directory and lists again, and say
what came of it. What is wrong is refused, its last good version stays in force,
and the exit code is 1.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.client().Reload(c.Context())
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(r)
			} else {
				a.printReloaded(r)
			}
			if err == nil && !r.OK {
				return silent{exitFailed}
			}
			return err
		},
	}))
}

func (a *app) printReloaded(r *api.Reloaded) {
	entries := 0
	for _, l := range r.Lists {
		entries += l.Entries
	}
	a.printf("%s, %s\n", count(len(r.Lists), "list", "lists"), count(entries, "entry", "entries"))
	if len(r.Applied) > 0 {
		a.printLine("in force now: %s", strings.Join(r.Applied, ", "))
	}
	if len(r.Restart) > 0 {
		a.printLine("in force after a restart: %s", strings.Join(r.Restart, ", "))
	}
	a.printProblems(r.Problems)
	if !r.OK {
		a.complainLine("what is wrong was refused, and its last good version stays in force")
	}
}

func (a *app) config() *cobra.Command {
	check := a.jsonFlag(&cobra.Command{
		Use:   "check [FILE]",
		Short: "Check the configuration, and the policy, directory and lists that it names",
		Long: `Check the configuration file, and the policy, directory and lists that it names.
Every mistake is shown with file, line and column, what is wrong and what to do.
Warnings do not change the exit code.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.configCheck(args) },
	})
	var daemon bool
	show := a.daemonFlags(&cobra.Command{
		Use:   "show",
		Short: "Print every key of the configuration with its value, as TOML",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.configShow(c, daemon) },
	})
	show.Flags().BoolVar(&daemon, "daemon", false, "what the daemon has in force rather than what the file says")
	reference := &cobra.Command{
		Use: "reference", Short: "Print the page that describes every key, in Markdown", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { a.printf("%s", config.Reference()); return nil },
	}
	sample := &cobra.Command{
		Use: "sample", Short: "Print a configuration file in which every key stands as a comment", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { a.printf("%s", config.Sample()); return nil },
	}
	return group("config", "Check and show the configuration", check, show, reference, sample)
}

func (a *app) configShow(c *cobra.Command, daemon bool) error {
	if daemon {
		cfg, err := a.client().Config(c.Context())
		if err != nil {
			return err
		}
		a.printf("%s", term.Text(cfg.Text))
		return nil
	}
	cfg, _, err := a.loadOrDefault()
	if err != nil {
		return err
	}
	a.printf("%s", term.Text(cfg.Show()))
	return nil
}
