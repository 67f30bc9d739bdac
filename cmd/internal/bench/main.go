// Command bench measures what Weir costs, beside what it is measured against, in
// one run on one machine:
//
//	go run ./cmd/internal/bench [--quick] [--only NAME] [--entries N] [--indicators N] [--json FILE]
//
// Its parts, by the names that --only takes, several with commas between:
//
//   - milter: the daemon, an accept-everything milter and rspamd, each under the
//     same load of 10 KB messages over a unix socket;
//   - postfix: the rate at which a Postfix takes mail without a milter, with the
//     accept-everything milter and with the daemon;
//   - attachment: parsing a 1 MB attachment against digests and base64 alone;
//   - journal: a journal of --entries entries: rate, lag of the index, bytes, lookups;
//   - pull: messages taken out of the mailboxes of a Dovecot: by daemon and sidecar,
//     by a bare IMAP client, by doveadm;
//   - reaction: the time from saving a list file until the last of 100 mailboxes is
//     clean;
//   - scale: --indicators indicators in lists and a feed: loading and refreshing them while
//     mail is judged, memory, lookups, and the same lists in rspamd's maps;
//   - go: the Go benchmarks of the packages that a message passes.
//
// Contestants take turns in several rounds; figures are medians over the rounds,
// ratios are taken round by round. Load before the first round counts for nothing.
// CPU time is that of all processes of a server, counted until it has come to
// rest after the load (package proc says how). Load generator and servers share
// the machine's processors, so that rates depend on both; CPU time per message
// does not count the generator.
//
// The exit status is 1 when anything could not be measured or a target was missed.
// It needs root, Postfix, Dovecot and rspamd (go run ./cmd/internal/lab/install -rspamd).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/weirmail/weir/cmd/internal/bench/proc"
	"github.com/weirmail/weir/cmd/internal/lab"
)

func main() {
	if spec := os.Getenv(acceptEnv); spec != "" {
		fmt.Fprintln(os.Stderr, serveAccept(spec))
		os.Exit(1)
	}
	if spec := os.Getenv(lookupEnv); spec != "" {
		if err := serveLookups(spec, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	case r.failed():
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	quick          bool
	entries        int           // of the journal
	holds          time.Duration // over which they are spread; 0: none
	indicators     int           // of the scale part
	messages, runs int           // of the reaction part
	program        string        // of the daemon
	lab            *lab.Lab      // of the part that is measured
	known          knownBad
	out            io.Writer
	report         *report
}

// parts are what can be measured, in the order in which it is.
func parts() []part {
	return []part{{"milter", (*bench).milter}, {"postfix", (*bench).postfix}, {"attachment", (*bench).attachment}, {"journal", (*bench).journal}, {"pull", (*bench).pull}, {"reaction", (*bench).reaction}, {"scale", (*bench).scale}, {"go", (*bench).goBenchmarks}}
}

type part struct {
	name    string
	measure func(*bench, context.Context) error
}

// run does what the arguments say. The error is one of the run as a whole; what
// failed in a part stands in the report.
func run(ctx context.Context, args []string, out io.Writer) (*report, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "a smoke run of a few seconds: everything runs, no figure means anything, no target is judged")
	only := flags.String("only", "", "the parts to run, with commas between: milter, postfix, attachment, journal, pull, reaction, scale, go")
	entries := flags.Int("entries", 10_000_000, "entries of the journal part: ten million take 25 GB under the folder for temporary files")
	holds := flags.Duration("hold", 10*time.Minute, "the time over which the journal part spreads its entries; 0: as fast as it can")
	indicators := flags.Int("indicators", fullIndicators, "indicators of the scale part: ten million take some ten minutes, 6 GB of memory, most of it rspamd's, and 10 GB under the folder for temporary files")
	messages := flags.Int("messages", fullMessages, "messages in each mailbox of the reaction part: half a million files with 5000")
	runs := flags.Int("runs", fullRuns, "runs of the reaction part")
	file := flags.String("json", "", "the file that the report is written to as JSON")
	program := flags.String("weir", "", "the daemon's program; built from ./cmd/weir if it is not given")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	todo, err := choose(*only)
	if err != nil {
		return nil, err
	}
	if *entries < 1 {
		return nil, errors.New("--entries has to be at least 1")
	}
	if *indicators < 10*beforeEach {
		return nil, fmt.Errorf("--indicators has to be at least %d", 10*beforeEach)
	}
	if *messages < 10 || *runs < 1 {
		return nil, errors.New("--messages has to be at least 10, one for each folder, and --runs at least 1")
	}
	if missing := lab.Missing(lab.NeedPostfix, lab.NeedDovecot, lab.NeedRspamd); len(missing) > 0 {
		return nil, fmt.Errorf("needs %s: run go run ./cmd/internal/lab/install -rspamd", strings.Join(missing, ", "))
	}
	b := &bench{quick: *quick, entries: *entries, holds: *holds, indicators: *indicators, messages: *messages, runs: *runs, known: knownBad{10_000}, out: out, report: &report{Began: time.Now(), Quick: *quick}}
	dir, err := os.MkdirTemp("", "weirbench")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if b.program, err = daemon(ctx, *program, dir); err != nil {
		return nil, err
	}
	err = b.run(ctx, todo)
	if *file != "" {
		err = errors.Join(err, b.report.write(*file))
	}
	return b.report, err
}

func (b *bench) run(ctx context.Context, todo []part) error {
	var err error
	if b.report.Machine, err = describe(os.TempDir()); err != nil {
		return err
	}
	before, err := proc.ReadMachine()
	if err != nil {
		return err
	}
	for _, p := range todo {
		if err := b.measure(ctx, p); err != nil {
			b.report.fail(p.name, err)
		}
	}
	after, err := proc.ReadMachine()
	if err != nil {
		return err
	}
	m := &b.report.Machine
	m.LoadBefore, m.LoadAfter = before.Load, after.Load
	busy, stolen := after.Busy-before.Busy, after.Stolen-before.Stolen
	m.StolenShare = float64(stolen) / float64(max(busy+stolen, 1))
	b.print(b.report.summary())
	return context.Cause(ctx)
}

// measure measures a part in a lab of its own, with which its servers end.
func (b *bench) measure(ctx context.Context, p part) (err error) {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if b.lab, err = lab.New(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.lab.Close()) }()
	return p.measure(b, ctx)
}

func (b *bench) print(text string) { _, _ = io.WriteString(b.out, text) }

func choose(only string) ([]part, error) {
	all := parts()
	if only == "" {
		return all, nil
	}
	var chosen []part
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(p part) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no part called %q", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// daemon puts the daemon's program where the daemon's user can run it.
func daemon(ctx context.Context, program, dir string) (string, error) {
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	to := filepath.Join(dir, "weir")
	if program == "" {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", to, "github.com/weirmail/weir/cmd/weir")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build of the daemon: %w\n%s", err, out)
		}
		return to, nil
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	return to, os.WriteFile(to, data, 0o755)
}

// contest gives how contestants are measured: full or as a smoke test. load is
// what each gets in all rounds together.
func (b *bench) contest(sessions, perSession int, load time.Duration) contest {
	if b.quick {
		return contest{sessions: sessions, perSession: perSession, rounds: 1, load: 200 * time.Millisecond, warm: 50 * time.Millisecond, quiet: 100 * time.Millisecond}
	}
	// The journal writes its index within a second.
	return contest{sessions: sessions, perSession: perSession, rounds: rounds, load: load / rounds, warm: 2 * time.Second, quiet: 2 * time.Second}
}

const rounds = 6
