package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/problems"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/list"
)

func (a *app) list() *cobra.Command {
	return group("list", "Check, try and format list files", a.listLint(), a.listTest(), a.listFormat(), a.listShow(), a.listUnused())
}

// listFiles gives the list files that arguments name: files, folders of one
// disposition, and lists folders; without any those of the configuration. The
// problems are of what stands in a lists folder and is no list.
func (a *app) listFiles(args []string, as string) (all []list.File, strays []api.Problem, err error) {
	disposition, ok := intel.ParseDisposition(as)
	if as != "" && !ok {
		return nil, nil, usagef("--as %s is none of block, allow and watch", as)
	}
	if len(args) == 0 {
		cfg, _, err := a.load()
		if err != nil {
			return nil, nil, err
		}
		a.note("lists of %s", cfg.Lists.Dir)
		args = []string{string(cfg.Lists.Dir)}
	}
	for _, path := range args {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, nil, err
		case !info.IsDir():
			f, err := list.FileAt(path, disposition)
			if err != nil {
				return nil, nil, fmt.Errorf("%w: say it with --as", err)
			}
			all = append(all, f)
		default:
			files, beside, err := folderFiles(path)
			if err != nil {
				return nil, nil, err
			}
			all, strays = append(all, files...), append(strays, beside...)
		}
	}
	return all, strays, nil
}

// folderFiles gives the lists of a lists folder and what stands beside them, or
// the lists of one of the three folders in it.
func folderFiles(path string) (files []list.File, strays []api.Problem, err error) {
	files, err = list.Files(path)
	if err == nil {
		beside, err := list.Strays(path)
		for _, p := range beside {
			strays = append(strays, problems.FromList(p))
		}
		return files, strays, err
	}
	abs, absErr := filepath.Abs(path)
	disposition, ok := intel.ParseDisposition(filepath.Base(abs))
	if absErr != nil || !ok {
		return nil, nil, err
	}
	if files, err = list.Files(filepath.Dir(abs)); err != nil {
		return nil, nil, err
	}
	var some []list.File
	for _, f := range files {
		if f.Disposition == disposition {
			f.Name = filepath.Join(path, filepath.Base(f.Name))
			some = append(some, f)
		}
	}
	return some, nil, nil
}

// linted is what list lint prints as JSON.
type linted struct {
	OK       bool          `json:"ok"` // no errors
	Files    []lintedFile  `json:"files"`
	Problems []api.Problem `json:"problems"` // errors and warnings
}

type lintedFile struct {
	File     string `json:"file"`
	Entries  int    `json:"entries"`
	Errors   int    `json:"errors"`
	Warnings int    `json:"warnings"`
}

func (a *app) listLint() *cobra.Command {
	var as string
	var strict bool
	c := &cobra.Command{
		Use:   "lint [FILE|FOLDER...]",
		Short: "Say what is wrong with list files",
		Long: `Say what is wrong with list files, each by itself and all together: what keeps a file
from loading, and what loads and is probably not meant: entries that repeat, contradict
or cover others, that have expired or match more than their author is likely to want,
and files that stand where no list is read.

A folder is a lists folder, or one of block, allow and watch in it; without arguments
it is lists.dir of the configuration. The exit code is 1 if there are errors.`,
		Example: `  weir list lint
  weir list lint lists/block/local.txt`,
		RunE: func(_ *cobra.Command, args []string) error {
			files, strays, err := a.listFiles(args, as)
			if err != nil {
				return err
			}
			return a.lint(files, strays, strict)
		},
	}
	c.Flags().StringVar(&as, "as", "", "what the entries of a file do whose folder does not say it: block, allow or watch")
	c.Flags().BoolVar(&strict, "strict", false, "warnings count as errors")
	return a.jsonFlag(c)
}

func (a *app) lint(files []list.File, strays []api.Problem, strict bool) error {
	cfg, _, err := a.loadOrDefault()
	if err != nil { // lists can be checked all the same
		cfg = config.Default()
	}
	report := list.Lint(files, a.lintOptions(cfg))
	warnings := report.Warnings() + len(strays)
	result := linted{OK: report.Errors() == 0 && (!strict || warnings == 0), Files: []lintedFile{}, Problems: []api.Problem{}}
	entries := 0
	for _, f := range report.Files {
		entries += f.Entries
		result.Files = append(result.Files, lintedFile{f.File.Name, f.Entries, f.Errors, f.Warnings})
	}
	for _, p := range report.Problems {
		result.Problems = append(result.Problems, problems.FromList(p))
	}
	result.Problems = append(result.Problems, strays...)
	if a.json {
		if err := a.printJSON(result); err != nil {
			return err
		}
	} else {
		a.printProblems(result.Problems)
		a.printf("%s, %s, %s, %s\n", count(len(files), "file", "files"), count(entries, "entry", "entries"),
			count(report.Errors(), "error", "errors"), count(warnings, "warning", "warnings"))
	}
	if !result.OK {
		return silent{exitFailed}
	}
	return nil
}

func (a *app) listFormat() *cobra.Command {
	var write bool
	c := &cobra.Command{
		Use:   "format [FILE|-...]",
		Short: "Print list files in the one way to write them",
		Long: `Print list files (- is standard input) in the one way to write them: options in one order,
quoted only where they have to be, no more space than it takes. No entry and no
comment changes. A file with errors is not formatted.`,
		Example: "  weir list format -w lists/block/*.txt",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var errs []error
			for _, name := range args {
				errs = append(errs, a.format(name, write))
			}
			return errors.Join(errs...)
		},
	}
	c.Flags().BoolVarP(&write, "write", "w", false, "write files that change, and print their names, instead of the result")
	return c
}

func (a *app) format(name string, write bool) error {
	if name == "-" && write {
		return usagef("standard input cannot be written back: leave out -w or the -")
	}
	source, err := a.readAll(name, list.DefaultMaxBytes+1)
	if err != nil {
		return err
	}
	// What its entries do changes nothing in how they are written.
	formatted, err := list.Format(bytes.NewReader(source), list.Options{File: name, Disposition: intel.Block, Source: name})
	switch {
	case err != nil:
		return err
	case !write:
		_, err := a.io.Out.Write([]byte(term.Text(string(formatted))))
		return err
	case bytes.Equal(source, formatted):
		return nil
	}
	if err := a.replace(name, formatted); err != nil {
		return err
	}
	a.printLine("%s", name)
	return nil
}

// replace gives a file other content all at once, so that a daemon that watches
// it never reads half of it. Mode, owner and links to it stay.
func (a *app) replace(name string, content []byte) error {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	// A name that list.Files passes over.
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), keepOwner(f, info), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

func (a *app) listShow() *cobra.Command {
	return a.daemonFlags(a.jsonFlag(&cobra.Command{
		Use:   "show",
		Short: "Show the lists that the daemon has in force, and what is wrong with their files",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := a.client().Lists(c.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(l)
			}
			t := term.NewTable(-1, "LIST", "STATE", "ENTRIES", "CHANGED")
			var wrong []api.Problem
			for _, one := range l.Lists {
				t.Row(one.Name, one.State, fmt.Sprint(one.Entries), when(one.Changed))
				wrong = append(wrong, one.Problems...)
			}
			err = a.print(t, func(_, column int, text string) string {
				if column == 1 {
					return a.stateColour(text)
				}
				return text
			})
			a.printf("generation %d, read %s\n", l.Generation, when(l.Loaded))
			a.printProblems(wrong)
			return err
		},
	}))
}

func (a *app) listTest() *cobra.Command {
	var f scanFlags
	var t api.ListTest
	var daemon bool
	c := &cobra.Command{
		Use:   "test VALUE|FILE",
		Short: "Say what lists know of a value, or of all that a message shows, and why",
		Long: `Say what lists know of a value, and why: every entry that matches, the most specific
first, and which of them decides. A value is an address, a domain, a URL, an IP address or
a digest; defanged forms are read as meant, and a kind before it forces one
(domain:localhost). With --in subject, file-name or header:NAME it is a text that
regular expressions are tried on.

A FILE (- is standard input) is a message: then all that it shows is tried. No daemon is
needed: the files are read. --daemon asks the daemon about what it has in force.`,
		Example: `  weir list test https://www.evil.example/pay
  weir list test evil.example --in header-from --direction inbound
  weir list test "Your invoice" --in subject
  weir list test message.eml`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			t.Value = args[0]
			f.fromGiven = c.Flags().Changed("envelope-from")
			return a.tryLists(c.Context(), t, &f, daemon)
		},
	}
	f.add(c)
	c.Flags().StringVar(&t.In, "in", "", "the `role` that entries have to speak of, or the field that a text stands in")
	c.Flags().StringVar(&t.Direction, "direction", "", "of the message: inbound, outbound or internal")
	c.Flags().BoolVar(&daemon, "daemon", false, "ask the daemon")
	return a.daemonFlags(a.jsonFlag(c))
}

// tried is what list test prints as JSON.
type tried struct {
	Tested []api.ListTested `json:"tested"` // of a message: what some entry matches
}

func (a *app) tryLists(ctx context.Context, t api.ListTest, f *scanFlags, daemon bool) error {
	isFile, err := isMessageFile(t.Value)
	if err != nil {
		return err
	}
	isFile = isFile && t.In == ""
	if err := notValue(t); err != nil && !isFile {
		return err
	}
	if daemon && (isFile || f.lists != "") {
		return usagef("--daemon is about one value and the lists in force")
	}
	var result tried
	if daemon {
		one, err := a.client().ListTest(ctx, t)
		if err != nil {
			return err
		}
		result.Tested = []api.ListTested{*one}
	} else if result.Tested, err = a.tryHere(t, f, isFile); err != nil {
		return err
	}
	if a.json {
		return a.printJSON(result)
	}
	return a.printTried(&result, isFile)
}

// isMessageFile reports whether an argument names a file.
func isMessageFile(name string) (bool, error) {
	if name == "-" {
		return true, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		if errors.Is(err, fs.ErrPermission) && strings.ContainsRune(name, filepath.Separator) && !strings.Contains(name, "://") {
			return false, err
		}
		return false, nil
	}
	if info.IsDir() {
		return false, usagef("%s is a folder", name)
	}
	return true, nil
}

// notValue tells the name of a file that is not there, and a text, from a value
// that no list knows.
func notValue(t api.ListTest) error {
	name := strings.ToLower(t.Value)
	switch {
	case t.In != "":
		return nil
	case strings.HasPrefix(name, "/"), strings.HasPrefix(name, "./"), strings.HasPrefix(name, "../"),
		slices.Contains([]string{".eml", ".mbox", ".msg"}, filepath.Ext(name)) && !strings.ContainsAny(name, ":@"):
		_, err := os.Stat(t.Value)
		return err
	case len(strings.Fields(name)) > 1:
		return usagef("%q is a text: name the field that it stands in, as --in subject, file-name or header:NAME", t.Value)
	}
	return nil
}

func (a *app) printTried(r *tried, isFile bool) error {
	for i := range r.Tested {
		t := &r.Tested[i]
		place := ""
		if t.Place != "" {
			place = " at " + t.Place
		}
		if t.Role != "" && isFile {
			place = ", " + t.Role + place
		}
		a.printf("%s %s%s: %s\n", a.screen.Faint(term.Line(t.Kind)), term.Line(t.Value), term.Line(place), a.disposition(t.Answer))
		for _, c := range t.Candidates {
			a.printLine("  %s", c.Explanation)
			if c.Note != "" {
				a.printLine("    note: %s", c.Note)
			}
		}
	}
	if len(r.Tested) == 0 {
		a.printf("nothing that it shows is listed\n")
	}
	return nil
}

func (a *app) disposition(answer string) string {
	switch answer {
	case intel.Block.String():
		return a.screen.Bad("block")
	case intel.Allow.String():
		return a.screen.Good("allow")
	}
	return "not listed"
}
