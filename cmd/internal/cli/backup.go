package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

func (a *app) backup() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "backup",
		Short: "Write everything that the daemon must not lose to a tar archive",
		Long: `Have the daemon write everything that it must not lose to a tar archive: the ledger,
the journal, held messages and its identity. It holds mail and a secret key: keep it
as you keep those. Mail goes on meanwhile. The configuration and the lists are files
of yours and not in it. The ledger records that you took it.

A file (mode 0600) is there under its name only when all of it is.`,
		Example: "  weir backup -o /backup/weir-$(date +%F).tar",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.export(c.Context(), output, func(ctx context.Context, w io.Writer) error { return a.client().Backup(ctx, w) })
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "the `file` to write; - is standard output, a terminal too")
	return a.daemonFlags(c)
}

func (a *app) restore() *cobra.Command {
	var state string
	c := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make a state folder of a backup",
		Long: `Make a state folder of a backup (- is standard input): the one of the configuration,
or the one named by --state. It must not be there yet, or be empty, and the daemon
must not run. The ledger is verified on the way. Give the folder to the user that the
daemon runs as afterwards.`,
		Example: "  weir restore /backup/weir-2026-05-01.tar && chown -R weir: /var/lib/weir",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if a.deps.Restore == nil {
				return missing("restore")
			}
			if state == "" {
				cfg, _, err := a.load()
				if err != nil {
					return err
				}
				state = string(cfg.State.Dir)
			}
			r, err := a.open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = r.Close() }()
			ctx, stop := orderly(c.Context())
			defer stop()
			done, err := a.deps.Restore(ctx, r, state)
			if err != nil {
				return err
			}
			a.printLine("%s: %s, %s, made at %s, ledger head %s", state, count(done.Files, "file", "files"), size(done.Bytes), exactly(done.Made), done.Head)
			return nil
		},
	}
	c.Flags().StringVar(&state, "state", "", "the `folder` to make (default: state.dir of the configuration)")
	return c
}
