package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/scan"
	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/config"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/intel/store"
)

// verdictCodes are the exit codes of scan --exit-code; they are none of the
// table's.
func verdictCodes() map[string]int {
	return map[string]int{"accept": exitDone, "tag": 10, "hold": 11, "discard": 12, "reject": 13, "tempfail": 14}
}

// scanFlags is what scan and list test take.
type scanFlags struct {
	lists, policy                string
	from, client, name, helo, by string
	rcpt                         []string
	fromGiven                    bool
}

func (f *scanFlags) add(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.lists, "lists", "", "the `folder` of the lists (default: lists.dir of the configuration)")
	fs.StringVar(&f.from, "envelope-from", "", "the envelope sender, an `address`; <> is the null sender (default: what the file knows of it)")
	fs.StringArrayVar(&f.rcpt, "rcpt", nil, "an envelope recipient, an `address`; may come several times")
	fs.StringVar(&f.client, "client-ip", "", "the IP `address` of the SMTP client")
	fs.StringVar(&f.name, "client-name", "", "the host `name` of the SMTP client")
	fs.StringVar(&f.helo, "helo", "", "what the client called itself")
	fs.StringVar(&f.by, "auth-user", "", "the `login` that the client authenticated with")
}

func (f *scanFlags) transaction() (scan.Transaction, error) {
	tx := scan.Transaction{From: f.from, To: f.rcpt, Name: f.name, Helo: f.helo, AuthUser: f.by}
	if f.fromGiven && strings.Trim(f.from, "<> ") == "" {
		tx.From, tx.Null = "", true
	}
	var err error
	if f.client != "" {
		if tx.Client, err = scan.ParseClient(f.client); err != nil {
			return tx, usagef("--client-ip: %w", err)
		}
	}
	return tx, nil
}

func (a *app) scan() *cobra.Command {
	var f scanFlags
	var trace, exitCode bool
	c := &cobra.Command{
		Use:   "scan FILE|-",
		Short: "Judge a message in a file as the daemon would, without one",
		Long: `Judge a message in a file (- is standard input) as the daemon would, with the lists
and the policy of the configuration, and print what was found and the verdict. No
daemon is needed, and nothing is kept; of feeds and containments (weir contain), which
are the daemon's, it knows nothing. Without any configuration the policy is the
one that Weir comes with, and no lists are known but those of --lists.

A file whose lines end in LF alone, and a mailbox's From line, are read as meant.
Where no envelope sender is given it is taken from the file: its Return-Path, else
the mailbox's From line.

The JSON is a contract; the page cmd/weir/scan.md describes it. The exit code is 0 whatever
the verdict; with --exit-code it is 0 for accept, 10 tag, 11 hold, 12 discard,
13 reject, 14 tempfail.`,
		Example: `  weir scan message.eml
  weir scan --json --envelope-from pay@evil.example --rcpt alice@example.org --client-ip 198.51.100.7 - < message.eml`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f.fromGiven = c.Flags().Changed("envelope-from")
			r, err := a.scanFile(args[0], &f, trace)
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(r)
			} else {
				err = a.printScan(r)
			}
			if code := verdictCodes()[r.Verdict]; err == nil && exitCode && code != exitDone {
				return silent{code}
			}
			return err
		},
	}
	f.add(c)
	fs := c.Flags()
	fs.StringVar(&f.policy, "policy", "", "the policy `file` (default: policy.file of the configuration)")
	fs.BoolVar(&trace, "trace", false, "say how each rule was decided")
	fs.BoolVar(&exitCode, "exit-code", false, "tell the verdict by the exit code")
	return a.jsonFlag(c)
}

// scanFile judges one file.
func (a *app) scanFile(name string, f *scanFlags, trace bool) (*scan.Result, error) {
	tx, err := f.transaction()
	if err != nil {
		return nil, err
	}
	s, about, err := a.scanner(f)
	if err != nil {
		return nil, err
	}
	file, err := a.readMessage(name, about.cfg)
	if err != nil {
		return nil, err
	}
	r, err := s.Scan(file, tx, trace)
	if err != nil {
		return nil, err
	}
	r.Config, r.Lists = about.path, about.lists
	r.Observe = about.cfg.Policy.Mode == config.PolicyObserve
	return r, nil
}

func (a *app) readMessage(name string, cfg *config.Config) (*scan.File, error) {
	r, err := a.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	file, err := scan.Read(name, r, int64(cfg.Milter.MessageSizeLimit))
	if err != nil {
		return nil, err
	}
	if file.More {
		a.warn("%s is a mailbox with several messages: only the first one is looked at", name)
	}
	if file.Cut {
		a.warn("%s is larger than milter.message_size_limit, %s: only its beginning is looked at, and the daemon would answer %s", name, cfg.Milter.MessageSizeLimit, cfg.Milter.Oversize)
	}
	return file, nil
}

// scanBase is what a message is judged by.
type scanBase struct {
	cfg   *config.Config
	path  string // of the configuration; empty: none
	lists []scan.List
}

// scanner reads configuration, policy and lists.
func (a *app) scanner(f *scanFlags) (*scan.Scanner, *scanBase, error) {
	if a.deps.Rules == nil {
		return nil, nil, missing("rules to judge by")
	}
	cfg, path, err := a.loadOrDefault()
	if err != nil {
		return nil, nil, err
	}
	base := &scanBase{cfg: cfg, path: path, lists: []scan.List{}}
	if f.policy != "" {
		cfg.Policy.File = config.Path(f.policy)
	}
	rules, parser, err := a.deps.Rules(cfg)
	if err != nil {
		return nil, nil, err
	}
	if f.lists != "" {
		cfg.Lists.Dir = config.Path(f.lists)
	}
	var snapshot *match.Snapshot
	if f.lists != "" || path != "" {
		var report store.ListReport
		if snapshot, report, err = store.LoadMemory(string(cfg.Lists.Dir), list.Options{}); err != nil {
			return nil, nil, err
		}
		base.lists = a.listsUsed(report)
	}
	oversize, _ := intel.ParseAction(string(cfg.Milter.Oversize))
	s, err := scan.New(scan.Options{Rules: rules, Parser: parser, Lists: snapshot, Oversize: oversize, Clock: a.now})
	return s, base, err
}

// listsUsed tells which lists are known, and warns of those that are not.
func (a *app) listsUsed(report store.ListReport) []scan.List {
	used := []scan.List{}
	for _, l := range report {
		one := scan.List{File: l.File, Entries: l.Result.Entries}
		for _, p := range l.Problems {
			one.Problems = append(one.Problems, p.Error())
			a.warn("%s", p.Error())
		}
		if len(l.Problems) > 0 {
			a.warn("%s is left out: the daemon would go on with its last good version", l.File)
		}
		used = append(used, one)
	}
	return used
}

func (a *app) printScan(r *scan.Result) error {
	a.printf("%s: %s by rule %s\n", term.Line(r.File), a.action(r.Verdict), term.Line(r.Rule))
	for _, reason := range r.Reasons {
		if text := reasonText(api.Reason(reason)); text != "" {
			a.printLine("  %s", text)
		}
	}
	if r.Observe {
		a.note("policy.mode is observe: the daemon would do nothing of this")
	}
	from := make([]string, len(r.From))
	for i, address := range r.From {
		from[i] = strings.TrimSpace(address.Name + " <" + address.Address + ">")
	}
	a.printf("\n")
	a.facts(
		[2]string{"answer", r.Reply},
		[2]string{"subject", r.Subject},
		[2]string{"tagged", r.SubjectPrefix},
		[2]string{"from", strings.Join(from, ", ")},
		[2]string{"message-id", r.MessageID},
		[2]string{"direction", r.Direction},
		[2]string{"sender", senderText(&r.Envelope)},
		[2]string{"client", clientText(&r.Envelope)},
		[2]string{"authentication", authText(&r.Auth)},
		[2]string{"size", size(r.Size)},
		[2]string{"policy", r.Policy},
		[2]string{"lists", listsText(r.Lists)},
		[2]string{"configuration", r.Config},
	)
	return errors.Join(a.printRecipients(r), a.printHits(r), a.printParts(r), a.printURLs(r), a.printDefects(r), a.printTrace(r))
}

func senderText(e *scan.Envelope) string {
	if e.From == "" {
		if e.FromSource == "option" {
			return "<>"
		}
		return "not known (--envelope-from)"
	}
	if e.FromSource == "option" {
		return e.From
	}
	return e.From + " (" + e.FromSource + ")"
}

func clientText(e *scan.Envelope) string {
	text := e.Client
	if e.ClientName != "" {
		text = strings.TrimSpace(e.ClientName + " [" + e.Client + "]")
	}
	if e.Helo != "" {
		text = strings.TrimSpace(text + " helo " + e.Helo)
	}
	if e.Relay {
		text = strings.TrimSpace(text + " behind a trusted relay")
	}
	if text == "" {
		return "not known (--client-ip)"
	}
	return text
}

func authText(x *scan.Auth) string {
	if !x.Present {
		return ""
	}
	var words []string
	for _, m := range [][2]string{{"spf", x.SPF}, {"dmarc", x.DMARC}, {"arc", x.ARC}} {
		if m[1] != "" {
			words = append(words, m[0]+"="+m[1])
		}
	}
	for _, s := range x.DKIM {
		words = append(words, fmt.Sprintf("dkim=%s (%s)", s.Result, s.Domain))
	}
	return strings.Join(words, ", ")
}

func listsText(lists []scan.List) string {
	if len(lists) == 0 {
		return "none (--lists)"
	}
	entries := 0
	for _, l := range lists {
		entries += l.Entries
	}
	return fmt.Sprintf("%d with %s", len(lists), count(entries, "entry", "entries"))
}

func (a *app) printRecipients(r *scan.Result) error {
	if len(r.Recipients) == 0 {
		return nil
	}
	a.title("Recipients")
	t := term.NewTable(0, "RECIPIENT", "COPY", "ASKED FOR", "RULE")
	for _, to := range r.Recipients {
		copied := "goes on"
		switch {
		case to.Held:
			copied = "held"
		case r.Verdict == "reject" || r.Verdict == "tempfail":
			copied = "refused"
		}
		t.Row(to.Address, copied, to.Action, to.Rule)
	}
	return a.print(t, nil)
}

func (a *app) printHits(r *scan.Result) error {
	if len(r.Hits) == 0 {
		return nil
	}
	a.title("What lists know of it")
	t := term.NewTable(1, "LIST", "VALUE", "PLACE", "ENTRY", "SOURCE", "NOTE")
	for _, h := range r.Hits {
		does := h.Disposition
		if h.Action != intel.ActionNone.String() {
			does += " " + h.Action
		}
		t.Row(does, h.Value, h.Place, h.Entry, fmt.Sprintf("%s:%d", h.Source, h.Line), h.Note)
	}
	return a.print(t, func(_, column int, text string) string {
		switch {
		case column > 0:
			return text
		case strings.HasPrefix(text, intel.Block.String()):
			return a.screen.Bad(text)
		case strings.HasPrefix(text, intel.Allow.String()):
			return a.screen.Good(text)
		}
		return text
	})
}

func (a *app) printParts(r *scan.Result) error {
	a.title("Parts")
	t := term.NewTable(3, "PART", "TYPE", "SIZE", "NAME", "SHA-256")
	for _, p := range r.Parts {
		kind := p.Type
		if p.Detected != "" && p.Detected != p.Type {
			kind += " (looks like " + p.Detected + ")"
		}
		if p.Encrypted {
			kind += ", encrypted"
		}
		t.Row(p.Path, kind, size(p.Size), p.Name, p.SHA256)
	}
	return a.print(t, nil)
}

func (a *app) printURLs(r *scan.Result) error {
	if len(r.URLs) == 0 {
		return nil
	}
	a.title("Links")
	t := term.NewTable(2, "PLACE", "SHOWN AS", "LINK")
	for _, u := range r.URLs {
		t.Row(u.Place, u.Text, u.Canonical)
	}
	return a.print(t, nil)
}

func (a *app) printDefects(r *scan.Result) error {
	if len(r.Defects) == 0 {
		return nil
	}
	a.title("Defects")
	t := term.NewTable(2, "DEFECT", "PLACE", "DETAIL")
	for _, d := range r.Defects {
		t.Row(d.Name, d.Place, d.Detail)
	}
	return a.print(t, nil)
}

func (a *app) printTrace(r *scan.Result) error {
	if r.Trace == nil {
		return nil
	}
	a.title("Rules of " + term.Line(r.Policy))
	t := term.NewTable(3, "RULE", "RECIPIENT", "TRUE", "ERROR")
	for _, s := range r.Trace {
		held := "no"
		switch {
		case s.Error != "":
			held = "undecided"
		case s.True:
			held = "yes"
		}
		t.Row(s.Rule, s.Recipient, held, s.Error)
	}
	if r.Rule == policy.DefaultRule {
		t.Row(policy.DefaultRule, "", "yes", "")
	}
	return a.print(t, nil)
}
