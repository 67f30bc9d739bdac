// Package problems gives what is wrong with files that people edit in the one
// form that the control socket and the command line show.
package problems

import (
	"errors"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/intel/directory"
	"github.com/weirmail/weir/intel/list"
)

// Of takes an error apart into the mistakes that it joins: those of
// configurations, policies, directories and lists with their places, any other
// as its text. Nil gives none.
func Of(err error) []api.Problem {
	if err == nil {
		return nil
	}
	// The types first: some of them join others too.
	switch e := err.(type) {
	case *config.Error:
		return []api.Problem{FromConfig(e)}
	case *policy.Error:
		return []api.Problem{{Severity: severityError, File: e.File, Line: e.Line, Column: e.Column, Key: ruleKey(e.Rule), Reason: e.Text}}
	case *list.Problem:
		return []api.Problem{FromList(e)}
	case directory.Problems:
		var all []api.Problem
		for _, p := range e {
			all = append(all, api.Problem{Severity: severityError, File: p.File, Line: p.Line, Column: p.Column, Value: p.Value, Reason: p.Reason, Cure: p.Cure})
		}
		return all
	case interface{ Unwrap() []error }:
		var all []api.Problem
		for _, one := range e.Unwrap() {
			all = append(all, Of(one)...)
		}
		return all
	}
	// What wraps one of them says no more than where it was met.
	if inner := errors.Unwrap(err); inner != nil {
		if all := Of(inner); len(all) > 0 && all[0].File != "" {
			return all
		}
	}
	return []api.Problem{{Severity: severityError, Reason: err.Error()}}
}

const severityError = "error"

func ruleKey(rule string) string {
	if rule == "" {
		return ""
	}
	return "rule " + rule + ":"
}

// FromConfig gives a mistake in a configuration.
func FromConfig(e *config.Error) api.Problem {
	return api.Problem{Severity: severityError, File: e.File, Line: e.Line, Column: e.Column, Key: e.Key, Value: e.Value, Reason: e.Problem, Cure: e.Cure}
}

// FromList gives a mistake in a list, or a warning.
func FromList(p *list.Problem) api.Problem {
	return api.Problem{Severity: p.Severity.String(), File: p.File, Line: p.Line, Column: p.Column, Value: p.Value, Reason: p.Reason, Cure: p.Cure}
}
