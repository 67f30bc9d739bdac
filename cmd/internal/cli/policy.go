package cli

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/filter/policy"
)

func (a *app) policy() *cobra.Command {
	check := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a policy file",
		Long: `Check a policy file (- is standard input), else the one that the configuration
names. Conditions are compiled and their types checked; every mistake is shown with
line and column.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := a.readPolicy(args)
			if err != nil {
				return err
			}
			a.printLine("%s: %s, in order", p.Name(), count(len(p.Rules()), "rule", "rules"))
			return nil
		},
	}
	var daemon bool
	show := a.daemonFlags(a.jsonFlag(&cobra.Command{
		Use:   "show [FILE]",
		Short: "Show the rules of a policy, in the order in which they are asked",
		Args:  cobra.MaximumNArgs(1),
		RunE:  func(c *cobra.Command, args []string) error { return a.policyShow(c, args, daemon) },
	}))
	show.Flags().BoolVar(&daemon, "daemon", false, "the rules that the daemon has in force")
	text := &cobra.Command{
		Use: "default", Short: "Print the policy that Weir comes with, to start from", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { _, err := a.io.Out.Write(policy.Default()); return err },
	}
	reference := &cobra.Command{
		Use: "reference", Short: "Print the page that says what a rule can speak of, in Markdown", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { a.printf("%s", policy.Reference()); return nil },
	}
	return group("policy", "Check and show the rules", check, show, text, reference)
}

// readPolicy reads the named policy file, else the one of the configuration.
func (a *app) readPolicy(args []string) (*policy.Policy, error) {
	cfg, _, err := a.loadOrDefault()
	if err != nil {
		return nil, err
	}
	o := policy.Options{CostLimit: uint64(cfg.Policy.CostLimit)}
	name := string(cfg.Policy.File)
	if len(args) == 1 {
		name = args[0]
	}
	if name == "" {
		return policy.Parse(policy.DefaultName, policy.Default(), o)
	}
	data, err := a.readAll(name, maxPolicyBytes)
	if err != nil {
		return nil, err
	}
	return policy.Parse(name, data, o)
}

// maxPolicyBytes is one more than package policy takes, so that it says so.
const maxPolicyBytes = 1<<20 + 1

// readAll reads a file, or standard input for -, up to so many bytes.
func (a *app) readAll(name string, most int64) ([]byte, error) {
	r, err := a.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(io.LimitReader(r, most))
}

// open opens a file, or standard input for -.
func (a *app) open(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(a.io.In), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = &os.PathError{Op: "read", Path: name, Err: errors.New("is a folder")}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func (a *app) policyShow(c *cobra.Command, args []string, daemon bool) error {
	var p api.Policy
	switch {
	case daemon && len(args) > 0:
		return usagef("--daemon shows the rules in force, and no file")
	case daemon:
		got, err := a.client().Policy(c.Context())
		if err != nil {
			return err
		}
		p = *got
	default:
		read, err := a.readPolicy(args)
		if err != nil {
			return err
		}
		p = control.Policy(read)
	}
	if a.json {
		return a.printJSON(p)
	}
	a.printLine("%s, the first rule that is true decides:", p.Name)
	for _, r := range p.Rules {
		a.printf("\n%s %s\n", a.screen.Bold(term.Line(r.Name)), a.action(r.Action))
		for line := range strings.Lines(strings.TrimSpace(r.When)) {
			a.printLine("  when %s", strings.TrimSpace(line))
		}
		if r.Reply != "" {
			a.printLine("  says %s", r.Reply)
		}
		if r.SubjectPrefix != "" {
			a.printLine("  puts %s before the subject", r.SubjectPrefix)
		}
	}
	return nil
}

// action shows what becomes of a message.
func (a *app) action(action string) string {
	switch action {
	case "accept":
		return a.screen.Good(action)
	case "tag", "hold", "discard":
		return a.screen.Care(action)
	case "reject", "tempfail":
		return a.screen.Bad(action)
	}
	return term.Line(action)
}
