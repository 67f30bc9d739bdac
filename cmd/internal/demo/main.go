// Command demo shows Weir at work without a mail server: it plays the mail
// server's side of the milter protocol, and delivers into Maildirs.
//
//	go run ./cmd/internal/demo --weir bin/weir
//	go run ./cmd/internal/demo --prepare .run
//	go run ./cmd/internal/demo --site .run testdata/messages/phish.eml
//
// The first form starts a daemon and a sidecar of its own on a copy of
// testdata/site, sends it messages, and shows what an operator then sees and does.
// The second makes such a copy, and the third hands messages to a daemon that runs
// there already.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/weirmail/weir/filter/milter/miltertest"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	weir := flags.String("weir", "bin/weir", "the program `file` of the daemon that is started")
	make := flags.String("prepare", "", "the `folder` to make, and nothing else")
	dir := flags.String("site", "", "the `folder` of a daemon that runs, with its milter.sock: messages go there")
	samples := flags.String("samples", "testdata", "the `folder` with site and messages")
	from := flags.String("from", "sender@elsewhere.example", "the envelope's sender")
	to := flags.String("to", "office@weir.example", "the envelope's recipients, with commas between")
	if err := flags.Parse(args); err != nil {
		return err
	}
	envelope := letter{from: *from, to: strings.Split(*to, ",")}
	switch {
	case *make != "":
		return prepare(*make, *samples)
	case *dir == "":
		return demonstrate(ctx, out, envelope, *weir, *samples)
	case flags.NArg() == 0:
		return errors.New("name the messages to send")
	}
	return send(out, open(*dir, *weir), envelope, flags.Args())
}

// send hands files to a site's mail server and shows what it was told of each.
func send(out io.Writer, s *site, envelope letter, files []string) error {
	var letters []letter
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		letters = append(letters, letter{envelope.from, envelope.to, raw})
	}
	answers, err := s.mta.receive(letters...)
	for i := range answers {
		show(out, files[i], &answers[i])
	}
	return err
}

// show prints what the mail server was told. A held message is one that it was
// told to take and to drop: Weir has it.
func show(out io.Writer, file string, r *miltertest.Result) {
	answer := r.Action.String()
	switch {
	case r.Reply != "":
		answer = r.Reply
	case r.Action == intel.ActionDiscard:
		answer = "taken, and held"
	}
	_, _ = fmt.Fprintf(out, "%-36s %s\n", filepath.Base(file), answer)
	for _, e := range r.Edits {
		sign := "+"
		if e.Op == verdict.EditChange {
			sign = "~"
		}
		_, _ = fmt.Fprintf(out, "%-36s   %s %s: %s\n", "", sign, e.Name, strings.TrimSpace(e.Value))
	}
}
