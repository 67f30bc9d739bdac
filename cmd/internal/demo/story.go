package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/lab"
	"github.com/weirmail/weir/cmd/internal/lab/smtptest"
)

// demonstrate runs a daemon and a sidecar for as long as the story takes.
func demonstrate(ctx context.Context, out io.Writer, envelope letter, weir, samples string) (err error) {
	dir, err := os.MkdirTemp("", "weir-demo")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := prepare(dir, samples); err != nil {
		return err
	}
	s := open(dir, weir)
	returns, err := smtptest.NewSink(smtptest.SinkOptions{Network: "unix", Addr: filepath.Join(dir, "smtp.sock")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, returns.Close()) }()
	for _, start := range []func() (*process, error){func() (*process, error) { return s.serve(ctx) }, s.pull} {
		p, err := start()
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, p.stop()) }()
	}
	t := story{site: s, out: out, samples: samples}
	if err := t.inline(ctx, envelope, returns); err != nil {
		return err
	}
	return t.wayBack(ctx)
}

// story shows what happens, as an operator sees it.
type story struct {
	*site
	out     io.Writer
	samples string
}

func (t *story) say(text string) { _, _ = fmt.Fprintf(t.out, "\n--- %s\n", text) }

func (t *story) line(format string, args ...any) { _, _ = fmt.Fprintf(t.out, format+"\n", args...) }

// run runs one weir command and shows it.
func (t *story) run(ctx context.Context, args ...string) error {
	t.line("$ weir %s", quoted(args))
	printed, err := t.output(ctx, args)
	_, _ = t.out.Write(printed)
	return err
}

// runOn runs a command that prints the same as the one before and then goes on,
// and shows from where it goes on.
func (t *story) runOn(ctx context.Context, from string, args ...string) error {
	t.line("$ weir %s", quoted(args))
	printed, err := t.output(ctx, args)
	if at := bytes.Index(printed, []byte(from)); at >= 0 {
		t.line("[the same as above, and then]")
		printed = printed[at:]
	}
	_, _ = t.out.Write(printed)
	return err
}

// quoted writes arguments as for a shell.
func quoted(args []string) string {
	shown := slices.Clone(args)
	for i, a := range shown {
		if strings.ContainsAny(a, " *") {
			shown[i] = "'" + a + "'"
		}
	}
	return strings.Join(shown, " ")
}

// output runs a weir command and gives all that it prints.
func (t *story) output(ctx context.Context, args []string) ([]byte, error) {
	printed, err := exec.CommandContext(ctx, t.weir, append(args, "--config", t.config())...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("weir %s: %w", quoted(args), err)
	}
	return printed, err
}

// inline: what Weir does while the sender waits.
func (t *story) inline(ctx context.Context, envelope letter, returns *smtptest.Sink) error {
	t.say("Eight messages come in. What the mail server is told of each:")
	messages, err := filepath.Glob(filepath.Join(t.samples, "messages", "*.eml"))
	if err != nil {
		return err
	}
	if len(messages) == 0 {
		return fmt.Errorf("there are no messages in %s", filepath.Join(t.samples, "messages"))
	}
	if err := send(t.out, t.site, envelope, messages); err != nil {
		return err
	}
	t.say("What is held:")
	if err := t.run(ctx, "quarantine", "list"); err != nil {
		return err
	}
	t.say("The phishing message was no such thing, somebody says. It is still listed, so letting it go takes a reason:")
	var page struct{ Items []struct{ ID string } }
	if err := t.ask(ctx, &page, "quarantine", "list", "--subject", "parcel"); err != nil {
		return err
	}
	if len(page.Items) != 1 {
		return fmt.Errorf("%d held messages have \"parcel\" in their subject", len(page.Items))
	}
	id := page.Items[0].ID
	if err := t.run(ctx, "quarantine", "release", id, "--override", "--reason", "asked for by the recipient"); err != nil {
		return err
	}
	arrived, err := returns.Wait(ctx, 1)
	if err != nil {
		return err
	}
	t.say("The mail server got it back:")
	t.line("%d bytes from <%s> for %s", len(arrived[0].Data), arrived[0].From, strings.Join(arrived[0].To, ", "))
	t.say("And all of it is on record:")
	if err := t.run(ctx, "quarantine", "show", id); err != nil {
		return err
	}
	return t.run(ctx, "audit", "verify")
}

// ask runs a weir command and reads its JSON.
func (t *story) ask(ctx context.Context, into any, args ...string) error {
	out, err := t.weirCmd(ctx, append(args, "--json")...)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, into)
}

// What the way back is about.
const (
	laterFile    = "later.eml"
	laterSender  = "billing@nordwind.example"
	laterSubject = "Invoice 4711"
	laterURL     = "https://files.nordwind.example/invoice/4711"
	laterEntry   = `hxxps://files[.]nordwind[.]example/invoice/*    note="steals passwords, case 12"`
)

// wayBack: what Weir does when a message turns out to be bad after its delivery.
func (t *story) wayBack(ctx context.Context) error {
	before, err := t.passes()
	if err != nil {
		return err
	}
	if err := t.turnsOutBad(ctx); err != nil {
		return err
	}
	return t.wasFalseAlarm(ctx, before)
}

// passes delivers a message that nothing is known against, and has its recipients
// live with it.
func (t *story) passes() (before []stored, err error) {
	t.say("An invoice comes for alice and for team, which is bob and carol. Nothing is known against it, so it is delivered:")
	t.boxes.ago = time.Hour
	t.mta.aliases = map[string][]string{"team" + domain: {"bob" + domain, "carol" + domain}}
	raw, err := os.ReadFile(filepath.Join(t.samples, laterFile))
	if err != nil {
		return nil, err
	}
	answers, err := t.mta.receive(letter{laterSender, []string{"alice" + domain, "team" + domain}, raw})
	if err != nil {
		return nil, err
	}
	show(t.out, laterFile, &answers[0])
	t.say("An hour later alice has answered it, and bob has filed it. This is what lies in the mailboxes:")
	if err := t.boxes.mark("alice"+domain, "INBOX", "RS"); err != nil {
		return nil, err
	}
	if err := t.boxes.mark("bob"+domain, "Invoices", "S"); err != nil {
		return nil, err
	}
	return t.showMailboxes()
}

func (t *story) showMailboxes() ([]stored, error) {
	all, err := t.boxes.all()
	for i := range all {
		t.line("%s", &all[i])
	}
	return all, err
}

// pulledWithin is how long the demo waits for mailboxes to be clean.
const pulledWithin = 30 * time.Second

// turnsOutBad lists what is in the message, and sees it go.
func (t *story) turnsOutBad(ctx context.Context) error {
	t.say("Then it is known what lies behind its link. Somebody adds a line to a list, and that is all:")
	list := filepath.Join(t.dir, "lists", "block", "sample.txt")
	text, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	t.line("$ echo '%s' >> lists/block/sample.txt", laterEntry)
	if err := os.WriteFile(list, append(text, laterEntry+"\n"...), 0o644); err != nil {
		return err
	}
	saved := time.Now()
	waiting, cancel := context.WithTimeout(ctx, pulledWithin)
	defer cancel()
	var left []stored
	err = lab.Poll(waiting, func() (done bool, err error) {
		left, err = t.boxes.carrying(laterURL)
		return len(left) == 0, err
	})
	took := time.Since(saved)
	if err != nil {
		return fmt.Errorf("%d copies are in their mailboxes still: %w", len(left), err)
	}
	t.line("%.2f seconds after the list was saved, the last mailbox is clean:", took.Seconds())
	if _, err := t.showMailboxes(); err != nil {
		return err
	}
	t.say("What the operator sees of it:")
	id, err := t.incident(ctx)
	if err != nil {
		return err
	}
	// Each is called pulled once its mailbox was looked at again.
	if _, err := t.weirCmd(ctx, "incident", "show", id, "--wait", "30s"); err != nil {
		return err
	}
	for _, args := range [][]string{{"incident", "list"}, {"incident", "show", id}, {"incident", "deliveries", id}} {
		if err := t.run(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// incident gives the ID of the only one.
func (t *story) incident(ctx context.Context) (string, error) {
	var page struct{ Incidents []struct{ ID string } }
	if err := t.ask(ctx, &page, "incident", "list"); err != nil {
		return "", err
	}
	if len(page.Incidents) != 1 {
		return "", fmt.Errorf("there are %d incidents", len(page.Incidents))
	}
	return page.Incidents[0].ID, nil
}

// wasFalseAlarm takes it all back.
func (t *story) wasFalseAlarm(ctx context.Context, before []stored) error {
	id, err := t.incident(ctx)
	if err != nil {
		return err
	}
	const reason = "false alarm: it is our supplier"
	t.say("It was a false alarm, somebody says. What would it mean to allow this link?")
	if err := t.run(ctx, "intel", "unblock", laterURL, "--reason", reason); err != nil {
		return err
	}
	t.say("It may pass from now on, for 30 days, and what was pulled goes back to where it was:")
	if err := t.runOn(ctx, "added ", "intel", "unblock", laterURL, "--reason", reason, "--yes"); err != nil {
		return err
	}
	if err := t.run(ctx, "incident", "restore", id, "--reason", reason, "--wait", "30s"); err != nil {
		return err
	}
	t.say("The mailboxes:")
	after, err := t.showMailboxes()
	if err != nil {
		return err
	}
	if !slices.EqualFunc(before, after, func(a, b stored) bool { return a.same(&b) }) {
		return fmt.Errorf("the mailboxes are not as they were: %v, and now %v", before, after)
	}
	t.line("as before: the same messages in the same folders, with the same bytes, flags and dates")
	t.say("And this, too, is on record:")
	if err := t.run(ctx, "incident", "timeline", id); err != nil {
		return err
	}
	return t.run(ctx, "audit", "verify")
}
