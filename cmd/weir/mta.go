package main

import (
	"context"
	"fmt"

	"github.com/weirmail/weir/cmd/internal/cli"
	"github.com/weirmail/weir/cmd/internal/mta"
	"github.com/weirmail/weir/cmd/internal/mta/postconf"
	"github.com/weirmail/weir/config"
)

func postfixSnippet(ctx context.Context, cfg *config.Config, o cli.MTAOptions) (string, error) {
	postfix, err := readPostfix(ctx, o)
	if err != nil {
		return "", fmt.Errorf("%w: name its folder with --postfix-config, or do without looking at it with --offline", err)
	}
	s, err := mta.PostfixSnippet(mta.PostfixOptions{Config: cfg, Postfix: postfix, ConfigDir: o.ConfigDir, ConfigFile: o.ConfigFile,
		Milter: o.Socket, User: o.User, Signer: o.Signer})
	if err != nil {
		return "", err
	}
	return s.String(), nil
}

func postfixCheck(ctx context.Context, cfg *config.Config, o cli.MTAOptions) ([]cli.Finding, error) {
	postfix, err := postconf.Read(ctx, postconf.Command{ConfigDir: o.ConfigDir})
	if err != nil {
		return nil, err
	}
	found, err := mta.CheckPostfix(ctx, mta.CheckOptions{Config: cfg, Postfix: postfix, Milter: o.Socket, User: o.User, Live: !o.Offline})
	if err != nil {
		return nil, err
	}
	var list []cli.Finding
	for _, f := range found {
		list = append(list, cli.Finding{Severity: string(f.Severity), ID: f.ID, What: f.What, Where: f.Where, Why: f.Why, Cure: f.Cure})
	}
	return list, nil
}

func sendmailSnippet(_ context.Context, cfg *config.Config, o cli.MTAOptions) (string, error) {
	s, err := mta.SendmailSnippet(mta.SendmailOptions{Config: cfg, Milter: o.Socket, User: o.User, Signer: o.Signer})
	if err != nil {
		return "", err
	}
	return s.String(), nil
}

// readPostfix gives the Postfix that is installed; nil where it is not to be
// looked at.
func readPostfix(ctx context.Context, o cli.MTAOptions) (*postconf.Config, error) {
	if o.Offline && o.ConfigDir == "" {
		return nil, nil
	}
	return postconf.Read(ctx, postconf.Command{ConfigDir: o.ConfigDir})
}
