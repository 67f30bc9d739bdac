// Package cli is the command line: what each command is called, what it takes,
// how its result looks and which code it ends with. What the commands do lies
// elsewhere: behind the control socket (package client), or behind the functions
// of Deps, which main fills in.
//
// Whatever a person is shown passes through package term, since most of it comes
// from mail. JSON is the same document that the control socket gives.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/filter"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/intel/ledger"
)

// Deps is what the commands stand on besides the control socket. A function that
// is nil makes its command say that this build does not have it.
type Deps struct {
	// Version is what weir version prints.
	Version string
	// Settle is called before the daemon reads or prints anything: it may execute the
	// program once more.
	Settle func()
	// Serve runs the daemon until the context ends or it cannot go on.
	Serve func(ctx context.Context, configFile string, cfg *config.Config) error
	// Rules reads the policy, the directory and what else judging needs. The error
	// names every mistake.
	Rules func(cfg *config.Config) (filter.Rules, *message.Parser, error)
	// NamedFiles looks at the files with secrets and the feeds that a configuration
	// names. The error names every mistake.
	NamedFiles func(cfg *config.Config) (warnings []*config.Error, err error)
	// VerifyLedger checks the ledger in a state folder of which no daemon is needed.
	VerifyLedger func(ctx context.Context, state string, head *ledger.Head) (ledger.Report, error)
	// Restore makes a state folder of a backup.
	Restore func(ctx context.Context, backup io.Reader, state string) (Restored, error)

	// Pull runs the sidecar until the context ends.
	Pull func(ctx context.Context, cfg *config.Pull) error
	// PullCheck tries what the sidecar's configuration says.
	PullCheck func(ctx context.Context, cfg *config.Pull, o PullCheckOptions) ([]Finding, error)

	PostfixSnippet  func(ctx context.Context, cfg *config.Config, o MTAOptions) (string, error)
	PostfixCheck    func(ctx context.Context, cfg *config.Config, o MTAOptions) ([]Finding, error)
	SendmailSnippet func(ctx context.Context, cfg *config.Config, o MTAOptions) (string, error)
}

// Restored says what a backup held.
type Restored struct {
	Made  time.Time // when the backup was made
	Files int
	Bytes int64
	Head  string // of the ledger
}

// MTAOptions says which MTA is meant and how it reaches Weir.
type MTAOptions struct {
	ConfigFile string // of Weir, where it was named
	ConfigDir  string // of Postfix's main.cf and master.cf; empty: Postfix's own
	Offline    bool   // look at nothing that is installed or runs
	Socket     string // where the MTA reaches a milter socket that systemd hands over
	User       string // whom the daemon runs as
	Signer     string // the milter that signs outbound mail
}

// Finding is one result of looking at an MTA.
type Finding struct {
	Severity string `json:"severity"` // error, warning or ok
	ID       string `json:"id"`       // what was looked at
	What     string `json:"what"`
	Where    string `json:"where,omitempty"`
	Why      string `json:"why,omitempty"`
	Cure     string `json:"cure,omitempty"`
}

// Streams is what a command reads and writes.
type Streams struct {
	In     io.Reader
	Out    io.Writer
	Err    io.Writer
	Getenv func(string) string
}

// app is one run of the command line.
type app struct {
	deps   Deps
	io     Streams
	screen term.Screen // of Out
	errors term.Screen // of Err
	now    func() time.Time

	configFlag string
	socketFlag string
	json       bool
	began      bool // a command was reached: what goes wrong now is not its line's fault
}

// Run does what the arguments say and gives the exit code. Errors are on
// Streams.Err.
func Run(ctx context.Context, args []string, streams Streams, deps Deps) int {
	a := &app{deps: deps, io: streams, now: time.Now,
		screen: term.Look(streams.Out, streams.Getenv), errors: term.Look(streams.Err, streams.Getenv)}
	out := &output{Writer: streams.Out}
	a.io.Out = out
	root := a.root()
	root.SetArgs(slices.Clone(args))
	root.SetIn(streams.In)
	root.SetOut(out)
	root.SetErr(streams.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = out.err
		a.began = true
	}
	if err == nil {
		return exitDone
	}
	if !a.began {
		err = usageError{err}
	}
	a.complain(err)
	return exitOf(err)
}

// root makes the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "A mail filter with a memory",
		Long: `Weir is a milter beside Postfix or Sendmail. It judges every message while the
SMTP client still waits, holds what lists and rules say is bad, and remembers
what it let through.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		// What cobra offers besides, nobody asked for.
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              cobra.ArbitraryArgs,
		Version:           a.deps.Version,

		SuggestionsMinimumDistance: 2,
		PersistentPreRun:           func(*cobra.Command, []string) { a.began = true },
		RunE:                       groupOnly,
	}
	root.PersistentFlags().StringVar(&a.configFlag, "config", "", "the configuration `file` (default: "+defaultConfig+" if it is there, else ./"+localConfig+")")
	root.SetVersionTemplate("weir {{.Version}}\n")
	root.SetHelpTemplate(root.HelpTemplate() + "\n" + exitHelp())
	root.AddCommand(
		a.serve(), a.status(), a.reload(), a.config(), a.scan(), a.list(), a.feed(), a.share(), a.policy(),
		a.quarantine(), a.journal(), a.incident(), a.contain(), a.intel(), a.audit(), a.backup(), a.restore(), a.postfix(), a.sendmail(), a.pull(), a.version(),
	)
	eachCommand(root, sayWhatItTakes)
	return root
}

// sayWhatItTakes has a command answer a wrong number of arguments by their names.
func sayWhatItTakes(c *cobra.Command) {
	check := c.Args
	if check == nil {
		return
	}
	_, takes, _ := strings.Cut(c.Use, " ")
	if takes == "" {
		takes = "no arguments"
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if check(c, args) == nil {
			return nil
		}
		given := "nothing"
		if len(args) > 0 {
			given = strings.Trim(fmt.Sprintf("%q", args), "[]")
		}
		return usagef("%s takes %s, and was given %s", c.CommandPath(), takes, given)
	}
}

// group makes a command that only holds others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: groupOnly, SuggestionsMinimumDistance: 2}
	c.AddCommand(commands...)
	return c
}

// groupOnly asks for the command that is missing, or that is none.
func groupOnly(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		err := fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())
		if likely := c.SuggestionsFor(args[0]); len(likely) > 0 {
			err = fmt.Errorf("%w; did you mean %s?", err, strings.Join(likely, " or "))
		}
		return usageError{err}
	}
	return usageError{fmt.Errorf("%s needs a command behind it; %s --help lists them", c.CommandPath(), c.CommandPath())}
}

// daemonFlags adds what commands that ask the daemon take.
func (a *app) daemonFlags(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&a.socketFlag, "socket", "", "the daemon's control `socket` (default: control.listen of the configuration)")
	return c
}

// jsonFlag adds --json.
func (a *app) jsonFlag(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return c
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a.printf("weir %s\n", a.deps.Version)
			return nil
		},
	}
}

// orderly gives a context that SIGINT and SIGTERM end, for what must not stop
// just anywhere. A second signal ends the process.
func orderly(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// missing says that this build lacks something.
func missing(what string) error {
	return errors.New("this build of weir has no " + what)
}

// System gives the streams of the process.
func System() Streams {
	return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}
}
