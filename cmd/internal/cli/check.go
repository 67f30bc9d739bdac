package cli

import (
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/problems"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/intel/list"
)

// checked is what config check prints as JSON.
type checked struct {
	OK       bool          `json:"ok"`
	File     string        `json:"file"`
	Problems []api.Problem `json:"problems"` // errors and warnings
}

// configCheck checks a configuration and all that it names.
func (a *app) configCheck(args []string) error {
	if len(args) == 1 {
		if a.configFlag != "" {
			return usagef("the file is named twice: behind check and by --config")
		}
		a.configFlag = args[0]
	}
	path := a.configPath()
	if path == "" {
		_, _, err := a.load()
		return err
	}
	found := checked{File: path, Problems: a.check(path)}
	found.OK = true
	for _, p := range found.Problems {
		found.OK = found.OK && p.Severity != "error"
	}
	switch {
	case a.json:
		if err := a.printJSON(found); err != nil {
			return err
		}
	default:
		a.printProblems(found.Problems)
		if found.OK {
			a.printLine("%s: in order", path)
		}
	}
	if !found.OK {
		return silent{exitFailed}
	}
	return nil
}

// check gives everything that is wrong with a configuration, or what it names.
func (a *app) check(path string) []api.Problem {
	cfg, err := config.Load(path)
	if err != nil {
		return problems.Of(err)
	}
	all := []api.Problem{}
	warnings := cfg.Warnings()
	if a.deps.NamedFiles != nil {
		more, wrong := a.deps.NamedFiles(cfg)
		warnings = append(warnings, more...)
		all = append(all, problems.Of(wrong)...)
	}
	for _, w := range warnings {
		p := problems.FromConfig(w)
		p.Severity = "warning"
		all = append(all, p)
	}
	if a.deps.Rules != nil {
		_, _, err = a.deps.Rules(cfg)
		all = append(all, problems.Of(err)...)
	}
	files, err := list.Files(string(cfg.Lists.Dir))
	if err != nil {
		p := cfg.Problem("lists.dir", err.Error(), "make the folder with block/, allow/ and watch/ in it, or name another")
		return append(all, problems.FromConfig(p))
	}
	for _, p := range list.Lint(files, a.lintOptions(cfg)).Problems {
		all = append(all, problems.FromList(p))
	}
	return all
}

// soon is how long before its end an entry is said to expire.
const soon = 7 * 24 * time.Hour

func (a *app) lintOptions(cfg *config.Config) list.LintOptions {
	o := list.LintOptions{Now: a.now(), Soon: soon}
	for _, d := range cfg.LocalDomains() {
		o.Own = append(o.Own, strings.TrimPrefix(string(d), "."))
	}
	return o
}
