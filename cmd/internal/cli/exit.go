package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/cmd/internal/control/problems"
)

// The exit codes. Scripts rely on them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitRefused     = 4
	exitUnreachable = 5
)

// exitMeanings says what each code means, in order.
func exitMeanings() []string {
	return []string{
		exitDone:        "done",
		exitFailed:      "failed, or what was checked is not in order",
		exitUsage:       "the command line is wrong",
		exitNotFound:    "there is no such thing",
		exitRefused:     "refused: the role does not allow it, or today's rules do not",
		exitUnreachable: "the daemon does not answer",
	}
}

// exitHelp is what every command's help ends with.
func exitHelp() string {
	text := "Exit codes:\n"
	for code, meaning := range exitMeanings() {
		text += fmt.Sprintf("  %d  %s\n", code, meaning)
	}
	return text
}

// usageError says that the command line is wrong.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// silent ends a command with a code after it has said all that there is to say.
type silent struct{ code int }

func (e silent) Error() string { return "" }

// exitOf gives the exit code of an error.
func exitOf(err error) int {
	var quiet silent
	var usage usageError
	var told *api.Error
	var away *client.UnreachableError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &quiet):
		return quiet.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &told):
		return told.Code.Info().Exit
	case errors.As(err, &away):
		return exitUnreachable
	}
	return exitFailed
}

// complain prints an error: each mistake that it joins on a line of its own.
func (a *app) complain(err error) {
	var quiet silent
	if errors.As(err, &quiet) {
		return
	}
	var told *api.Error
	if errors.As(err, &told) {
		a.complainTold(told)
		return
	}
	list := problems.Of(err)
	if !slices.ContainsFunc(list, func(p api.Problem) bool { return p.File != "" }) {
		for line := range strings.Lines(err.Error()) {
			a.complainLine(line)
		}
	} else {
		a.printProblems(list)
	}
	var usage usageError
	if errors.As(err, &usage) && !strings.Contains(err.Error(), "--help") {
		a.complainLine("weir --help, or --help behind a command, says what it takes")
	}
}

func (a *app) complainLine(text string) {
	_, _ = fmt.Fprintf(a.io.Err, "%s %s\n", a.errors.Bad("weir:"), term.Line(strings.TrimRight(text, "\n")))
}

// printProblems prints mistakes in files the way that editors can jump to.
func (a *app) printProblems(list []api.Problem) {
	for i := range list {
		_, _ = fmt.Fprintln(a.io.Err, term.Line(list[i].String()))
	}
}

// complainTold prints what the daemon told, and of a release that it refused why
// and by which options it may go all the same.
func (a *app) complainTold(e *api.Error) {
	switch {
	case e.Blocked != nil:
		a.complainHeld(e, "--override --reason TEXT")
	case e.Code == api.Uncertain:
		a.complainLine(e.Text + "; ask the recipients, or search the MTA's log; the options are --again --reason TEXT")
	default:
		a.complainLine(e.Error())
	}
}

// complainHeld prints why today's rules hold a message, and what lets it go.
func (a *app) complainHeld(e *api.Error, cure string) {
	a.complainLine(e.Text)
	for _, r := range e.Blocked.Reasons {
		if text := reasonText(r); text != "" {
			_, _ = fmt.Fprintf(a.io.Err, "  %s\n", term.Line(text))
		}
	}
	a.complainLine("if it may go all the same: " + cure)
}

// worst joins the codes of several tries: the one that all failures share, else
// that something failed.
func worst(codes []int) int {
	code := exitDone
	for _, c := range codes {
		switch {
		case c == exitDone, c == code:
		case code == exitDone:
			code = c
		default:
			code = exitFailed
		}
	}
	return code
}
