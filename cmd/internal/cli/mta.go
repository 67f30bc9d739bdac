package cli

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/config"
)

func (a *app) postfix() *cobra.Command {
	return group("postfix", "Wire Weir into Postfix", a.postfixSnippet(), a.postfixCheck())
}

func (a *app) sendmail() *cobra.Command {
	return group("sendmail", "Wire Weir into Sendmail", a.sendmailSnippet())
}

// mtaFlags adds what says how an MTA reaches Weir.
func mtaFlags(c *cobra.Command, o *MTAOptions) *cobra.Command {
	c.Flags().StringVar(&o.Socket, "socket", "", "where the MTA reaches a milter socket that systemd hands over: unix:/`path` or inet:host:port")
	c.Flags().StringVar(&o.User, "user", "weir", "the `user` that the daemon runs as")
	return c
}

func (a *app) postfixSnippet() *cobra.Command {
	var o MTAOptions
	c := mtaFlags(&cobra.Command{
		Use:   "snippet",
		Short: "Print the lines and commands that make this configuration work with Postfix",
		Long: `Print what main.cf and master.cf need for this configuration: the milter, and the
listeners that take released mail. The Postfix that is installed is looked at, so
that its other milters stay and stand in the right order; nothing is changed.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.snippet(c.Context(), a.deps.PostfixSnippet, o, "lines for Postfix")
		},
	}, &o)
	c.Flags().StringVar(&o.ConfigDir, "postfix-config", "", "the `folder` of main.cf and master.cf (default: Postfix's own)")
	c.Flags().BoolVar(&o.Offline, "offline", false, "do not look at the Postfix that is installed")
	c.Flags().StringVar(&o.Signer, "signer", "", "the `milter` that signs outbound mail (DKIM), as smtpd_milters names it")
	return c
}

func (a *app) sendmailSnippet() *cobra.Command {
	var o MTAOptions
	c := mtaFlags(&cobra.Command{
		Use:   "snippet",
		Short: "Print the lines and commands that make this configuration work with Sendmail",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.snippet(c.Context(), a.deps.SendmailSnippet, o, "lines for Sendmail")
		},
	}, &o)
	c.Flags().StringVar(&o.Signer, "signer", "", "the `milter` that signs outbound mail (DKIM), as sendmail.mc names it")
	return c
}

func (a *app) snippet(ctx context.Context, make func(context.Context, *config.Config, MTAOptions) (string, error), o MTAOptions, what string) error {
	if make == nil {
		return missing(what)
	}
	cfg, path, err := a.loadOrDefault()
	if err != nil {
		return err
	}
	if path == "" {
		a.note("there is no configuration file: these lines are for the defaults")
	}
	if a.configFlag != "" {
		if o.ConfigFile, err = filepath.Abs(a.configFlag); err != nil {
			return err
		}
	}
	text, err := make(ctx, cfg, o)
	if err != nil {
		return err
	}
	a.printf("%s", term.Text(text))
	return nil
}

func (a *app) postfixCheck() *cobra.Command {
	var o MTAOptions
	var verbose bool
	c := a.jsonFlag(mtaFlags(&cobra.Command{
		Use:   "check",
		Short: "Say what is wrong or risky in a Postfix for this configuration",
		Long: `Read Postfix's configuration (postconf) and say what is wrong or risky for Weir as it is
configured: errors, by which mail passes Weir by, is lost or cannot be released, then
warnings. Nothing is changed. The exit code is 1 if there are errors.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.checkPostfix(c.Context(), o, verbose) },
	}, &o))
	c.Flags().StringVar(&o.ConfigDir, "postfix-config", "", "the `folder` of main.cf and master.cf (default: Postfix's own)")
	c.Flags().BoolVar(&o.Offline, "offline", false, "read the configuration only; do not try sockets")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "show what is right, too")
	return c
}

func (a *app) checkPostfix(ctx context.Context, o MTAOptions, verbose bool) error {
	if a.deps.PostfixCheck == nil {
		return missing("check for Postfix")
	}
	cfg, path, err := a.loadOrDefault()
	if err != nil {
		return err
	}
	if path == "" {
		a.note("there is no configuration file: Postfix is held against the defaults")
	}
	findings, err := a.deps.PostfixCheck(ctx, cfg, o)
	if err != nil {
		return err
	}
	return a.printFindings(findings, verbose)
}

func (a *app) printFinding(f Finding) {
	a.printf("%s: %s\n", a.stateColour(term.Line(f.Severity)), term.Line(f.What))
	for _, more := range [][2]string{{"where", f.Where}, {"why", f.Why}, {"do", f.Cure}} {
		if more[1] != "" {
			a.printf("  %s %s\n", a.screen.Faint(more[0]+":"), term.Line(more[1]))
		}
	}
}
