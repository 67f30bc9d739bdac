package main

import (
	"context"
	"io"
	"runtime/debug"

	"github.com/weirmail/weir/cmd/internal/app"
	"github.com/weirmail/weir/cmd/internal/backup"
	"github.com/weirmail/weir/cmd/internal/cli"
	"github.com/weirmail/weir/cmd/internal/puller"
	"github.com/weirmail/weir/cmd/internal/slack"
	"github.com/weirmail/weir/config"
)

// deps says what the commands stand on.
func deps() cli.Deps {
	v := version()
	return cli.Deps{
		Version: v,
		Settle:  slack.Widen,
		Serve: func(ctx context.Context, file string, cfg *config.Config) error {
			return app.Run(ctx, app.Options{ConfigFile: file, Config: cfg, Version: v})
		},
		Rules:        app.Rules,
		NamedFiles:   app.NamedFiles,
		VerifyLedger: app.VerifyLedger,
		Restore:      restore,

		Pull:      puller.Run,
		PullCheck: pullCheck,

		PostfixSnippet:  postfixSnippet,
		PostfixCheck:    postfixCheck,
		SendmailSnippet: sendmailSnippet,
	}
}

func restore(ctx context.Context, r io.Reader, state string) (cli.Restored, error) {
	report, err := backup.Restore(ctx, r, state)
	return cli.Restored{Made: report.Time, Files: report.Files, Bytes: report.Bytes, Head: report.Head}, err
}

func pullCheck(ctx context.Context, cfg *config.Pull, o cli.PullCheckOptions) ([]cli.Finding, error) {
	found, err := puller.Check(ctx, cfg, puller.CheckOptions{Mailbox: o.Mailbox, Write: o.Write})
	var list []cli.Finding
	for _, f := range found {
		list = append(list, cli.Finding{Severity: string(f.Severity), ID: f.ID, What: f.What, Where: f.Where, Why: f.Why, Cure: f.Cure})
	}
	return list, err
}

// version is the module's, with the commit that it was built from where no
// release is known.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	version, commit, dirty := info.Main.Version, "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if version != "" && version != "(devel)" {
		return version
	}
	if commit == "" {
		return "devel"
	}
	return "devel " + commit + dirty
}
