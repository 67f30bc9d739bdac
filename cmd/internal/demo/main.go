// Command demo shows Weir at work without a mail server: it plays the mail
// server's side of the milter protocol.
//
//	go run ./cmd/internal/demo --weir bin/weir
//	go run ./cmd/internal/demo --site .run testdata/messages/phish.eml
//
// The first form starts a daemon of its own on a copy of testdata/site, sends it
// the messages of testdata/messages, and shows what an operator then sees and
// does. The second hands messages to a daemon that runs already.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
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
	site := flags.String("site", "", "the `folder` of a daemon that runs, with its milter.sock: messages go there")
	samples := flags.String("samples", "testdata", "the `folder` with site and messages")
	from := flags.String("from", "sender@elsewhere.example", "the envelope's sender")
	to := flags.String("to", "office@weir.example", "the envelope's recipients, with commas between")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s := sender{out: out, from: *from, to: strings.Split(*to, ",")}
	if *site != "" {
		if flags.NArg() == 0 {
			return errors.New("name the messages to send")
		}
		return s.send(filepath.Join(*site, "milter.sock"), flags.Args())
	}
	return demonstrate(ctx, out, s, *weir, *samples)
}

// sender hands messages to a milter as a mail server does.
type sender struct {
	out  io.Writer
	from string
	to   []string
}

func (s *sender) send(socket string, files []string) error {
	session, err := miltertest.Dial("unix", socket, miltertest.Options{})
	if err != nil {
		return fmt.Errorf("%w (does the daemon run? make run starts one)", err)
	}
	defer func() { _ = session.Close() }()
	client := miltertest.Client{Name: "mail.elsewhere.example", Addr: netip.MustParseAddrPort("192.0.2.10:40000"), Helo: "mail.elsewhere.example"}
	if err := session.Connect(client); err != nil {
		return err
	}
	for i, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		m := miltertest.Message{QueueID: fmt.Sprintf("D%d%03d", time.Now().UnixMilli(), i), From: "<" + s.from + ">", Raw: crlf(raw)}
		for _, to := range s.to {
			m.To = append(m.To, miltertest.Recipient{Address: "<" + to + ">"})
		}
		result, err := session.Send(&m)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		s.show(file, &result)
	}
	return nil
}

func crlf(b []byte) []byte {
	return []byte(strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n", "\r\n"))
}

// show prints what the mail server was told. A held message is one that it was
// told to take and to drop: Weir has it.
func (s *sender) show(file string, r *miltertest.Result) {
	answer := r.Action.String()
	switch {
	case r.Reply != "":
		answer = r.Reply
	case r.Action == intel.ActionDiscard:
		answer = "taken, and held"
	}
	_, _ = fmt.Fprintf(s.out, "%-36s %s\n", filepath.Base(file), answer)
	for _, e := range r.Edits {
		sign := "+"
		if e.Op == verdict.EditChange {
			sign = "~"
		}
		_, _ = fmt.Fprintf(s.out, "%-36s   %s %s: %s\n", "", sign, e.Name, strings.TrimSpace(e.Value))
	}
}

// demonstrate runs a daemon for as long as it takes.
func demonstrate(ctx context.Context, out io.Writer, s sender, weir, samples string) (err error) {
	dir, err := os.MkdirTemp("", "weir-demo")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(samples, "site"))); err != nil {
		return err
	}
	mailboxes, err := smtptest.NewSink(smtptest.SinkOptions{Network: "unix", Addr: filepath.Join(dir, "smtp.sock")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mailboxes.Close()) }()
	c := console{out: out, weir: weir, config: filepath.Join(dir, "weir.toml")}
	stop, err := c.serve(ctx, filepath.Join(dir, "weir.log"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	c.say("Eight messages come in. What the mail server is told of each:")
	messages, err := filepath.Glob(filepath.Join(samples, "messages", "*.eml"))
	if err != nil {
		return err
	}
	if len(messages) == 0 {
		return fmt.Errorf("there are no messages in %s", filepath.Join(samples, "messages"))
	}
	if err := s.send(filepath.Join(dir, "milter.sock"), messages); err != nil {
		return err
	}
	c.say("What is held:")
	if err := c.run(ctx, "quarantine", "list"); err != nil {
		return err
	}
	c.say("The phishing message was no such thing, somebody says. It is still listed, so letting it go takes a reason:")
	id, err := c.find(ctx, "parcel")
	if err != nil {
		return err
	}
	if err := c.run(ctx, "quarantine", "release", id, "--override", "--reason", "asked for by the recipient"); err != nil {
		return err
	}
	arrived, err := mailboxes.Wait(ctx, 1)
	if err != nil {
		return err
	}
	c.say("The mail server got it back:")
	_, _ = fmt.Fprintf(out, "%d bytes from <%s> for %s\n", len(arrived[0].Data), arrived[0].From, strings.Join(arrived[0].To, ", "))
	c.say("And all of it is on record:")
	if err := c.run(ctx, "quarantine", "show", id); err != nil {
		return err
	}
	return c.run(ctx, "audit", "verify")
}

// console runs weir commands as an operator does.
type console struct {
	out    io.Writer
	weir   string
	config string
}

func (c *console) say(text string) { _, _ = fmt.Fprintf(c.out, "\n--- %s\n", text) }

// run runs one command and shows it.
func (c *console) run(ctx context.Context, args ...string) error {
	_, _ = fmt.Fprintf(c.out, "$ weir %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, c.weir, append(args, "--config", c.config)...)
	cmd.Stdout, cmd.Stderr = c.out, c.out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("weir %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// find gives the ID of the item with a word in its subject.
func (c *console) find(ctx context.Context, subject string) (string, error) {
	out, err := exec.CommandContext(ctx, c.weir, "quarantine", "list", "--subject", subject, "--json", "--config", c.config).Output()
	if err != nil {
		return "", fmt.Errorf("weir quarantine list: %w", err)
	}
	var page struct {
		Items []struct {
			ID string `json:"id"`
		} `json:"items"`
	}
	if err := json.Unmarshal(out, &page); err != nil {
		return "", err
	}
	if len(page.Items) != 1 {
		return "", fmt.Errorf("%d held messages have %q in their subject", len(page.Items), subject)
	}
	return page.Items[0].ID, nil
}

// started is how long the daemon may take to be there.
const started = 30 * time.Second

// serve starts the daemon; stop ends it.
func (c *console) serve(ctx context.Context, logFile string) (stop func() error, err error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	daemon := exec.Command(c.weir, "serve", "--config", c.config)
	daemon.Stdout, daemon.Stderr = log, log
	if err := daemon.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- daemon.Wait() }()
	stop = func() error {
		_ = daemon.Process.Signal(syscall.SIGTERM) // it may have ended by itself
		return errors.Join(<-ended, log.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, started)
	defer cancel()
	err = lab.Poll(ctx, func() (bool, error) {
		select {
		case err := <-ended:
			ended <- err
			return false, fmt.Errorf("the daemon ended: %w", err)
		default:
		}
		return exec.CommandContext(ctx, c.weir, "status", "--check", "--config", c.config).Run() == nil, nil
	})
	if err != nil {
		text, _ := os.ReadFile(logFile)
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, text), stop())
	}
	return stop, nil
}
