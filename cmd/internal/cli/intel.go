package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/client"
	"github.com/weirmail/weir/config"
)

func (a *app) intel() *cobra.Command {
	return group("intel", "Show, find, change and export what is known of values", a.intelShow(), a.intelSearch(), a.intelAdd(), a.intelRemove(), a.intelImport(),
		a.intelExport(), a.intelHistory(), a.intelUnblock(), a.intelRequests(), a.intelApprove(), a.intelRefuse())
}

// unblocker is what weir intel unblock was told.
type unblocker struct {
	value, reason, until string
	days                 int
	yes, release         bool
	restore, request     bool
	reference, notify    string
}

func (a *app) intelUnblock() *cobra.Command {
	var u unblocker
	c := &cobra.Command{
		Use:   "unblock [VALUE]",
		Short: "Allow a value that is blocked wrongly, for a time",
		Long: `Allow a value that is blocked wrongly, for a time. It shows first what depends on it: the
entries that list it, messages of the last days that carry it, items that are held
because of it, and incidents that rest on it. With --yes it then writes an entry into the
list allow/operator.txt and has the lists read again. At equal specificity an allow beats
a block, whichever list or feed has it; a block that is more specific still decides, and
is named.

VALUE is written as in a list file, without options: evil.example, .evil.example for all
below it too, a URL, a URL and * for all that begin so, an address, a digest, a range.

--release releases what is held because of it, and --restore puts back what incidents
that rest on it have pulled; both judge each message again.

--request only asks for it, which viewers may do too: an operator approves or refuses it
(weir intel requests). With --reference, the number in a bounce or the ID of a held message,
VALUE may be left out where the message was stopped for one thing alone. --notify names
who gets a mail once it is decided, which takes notify.from in the configuration. With
unblock.second_person there everybody has to ask.`,
		Example: `  weir intel unblock shop.example --reason "false alarm, case 12"
  weir intel unblock shop.example --reason "false alarm, case 12" --until 14d --yes --release --restore
  weir intel unblock --request --reference 01JD5ZK3V7Q2 --reason "a supplier called" --notify alice@example.org`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				u.value = args[0]
			}
			if c.Flags().Changed("notify") && strings.TrimSpace(u.notify) == "" {
				return usagef("--notify is empty: write an address, or leave it out")
			}
			if u.request {
				return a.askUnblock(c.Context(), &u)
			}
			if u.value == "" || u.reference != "" || u.notify != "" {
				return usagef("unblock takes a VALUE; --reference and --notify go with --request")
			}
			return a.unblock(c.Context(), &u)
		},
	}
	f := c.Flags()
	f.StringVar(&u.reason, "reason", "", "why, for the ledger and the note of the entry")
	f.StringVar(&u.until, "until", "30d", "how `long` the entry holds: 30d, or a time such as 2026-12-31")
	f.IntVar(&u.days, "days", 7, "how many days of mail are looked at")
	f.BoolVar(&u.yes, "yes", false, "do it, rather than only show what depends on it")
	f.BoolVar(&u.request, "request", false, "only ask for it: an operator approves or refuses it")
	f.StringVar(&u.reference, "reference", "", "with --request: of the `message` that was stopped, the number in the bounce or its ID in quarantine")
	f.StringVar(&u.notify, "notify", "", "with --request: the `address` that is written to once it is decided")
	f.BoolVar(&u.release, "release", false, "release what is held because of it")
	f.BoolVar(&u.restore, "restore", false, "put back what incidents that rest on it have pulled")
	return a.daemonFlags(a.jsonFlag(c))
}

// unblockResult is what weir intel unblock prints as JSON.
type unblockResult struct {
	Plan     *api.Unblocking  `json:"plan"`
	Unblock  *api.Unblocked   `json:"unblocked,omitempty"`
	Released []answered       `json:"released,omitempty"`
	Restored []restoredAnswer `json:"restored,omitempty"`
}

type restoredAnswer struct {
	ID    string               `json:"id"`
	After *api.IncidentChanged `json:"after,omitempty"`
	Error *api.Error           `json:"error,omitempty"`
}

func (a *app) unblock(ctx context.Context, u *unblocker) error {
	if strings.TrimSpace(u.reason) == "" {
		return usagef("unblocking needs a --reason")
	}
	until, err := a.lasting(u.until)
	if err != nil {
		return err
	}
	cl := a.client()
	defer cl.Close()
	result := unblockResult{}
	if result.Plan, err = cl.UnblockPlan(ctx, api.UnblockPlan{Value: u.value, Days: u.days}); err != nil {
		return mayOnlyAsk(err, u.value)
	}
	if !a.json {
		if err := a.printUnblocking(result.Plan); err != nil {
			return err
		}
	}
	if !u.yes {
		if a.json {
			return a.printJSON(result)
		}
		a.note("nothing was changed: --yes allows %s until %s; --release and --restore let go what it has taken", result.Plan.Value, exactly(until))
		return nil
	}
	if result.Unblock, err = cl.Unblock(ctx, api.Unblock{Value: u.value, Reason: u.reason, Until: until}); err != nil {
		return err
	}
	if !a.json {
		a.printUnblocked(result.Unblock)
	}
	code := exitDone
	if !result.Unblock.Reloaded.OK || result.Unblock.Answer == "block" {
		code = exitFailed
	}
	code = worst([]int{code, a.letGo(ctx, cl, u, &result)})
	if a.json {
		if err := a.printJSON(result); err != nil {
			return err
		}
	}
	if code != exitDone {
		return silent{code}
	}
	return nil
}

// mayOnlyAsk tells somebody who may not allow a value that he may ask for it.
func mayOnlyAsk(err error, value string) error {
	var told *api.Error
	if !errors.As(err, &told) || told.Code != api.Forbidden {
		return err
	}
	return &api.Error{
		Code: told.Code, Text: "you may not allow " + value + ": that takes the role operator",
		Cure: "ask for it, and an operator decides: weir intel unblock " + value + " --request --reason TEXT",
	}
}

// lasting reads how long something holds, or until when.
func (a *app) lasting(text string) (time.Time, error) {
	var d config.Duration
	if err := d.UnmarshalText([]byte(text)); err == nil {
		return a.now().Add(time.Duration(d)), nil
	}
	if t, err := a.parseTime(text, true); err == nil {
		return t, nil
	}
	return time.Time{}, usagef("--until %s is neither a time nor how long: write 30d, or 2026-12-31", text)
}

// letGo releases and restores what a block had taken, and gives the exit code.
func (a *app) letGo(ctx context.Context, cl *client.Client, u *unblocker, result *unblockResult) int {
	var codes []int
	failed := func(what string, err error) *api.Error {
		codes = append(codes, exitOf(err))
		if !a.json && err.Error() != "" {
			_, _ = fmt.Fprintf(a.io.Err, "%s: ", term.Line(what))
			if told := errorOf(err); told.Blocked != nil { // options of another command than this one
				a.complainHeld(told, "weir quarantine release "+what+" --override --reason TEXT")
			} else {
				a.complain(err)
			}
		}
		return errorOf(err)
	}
	if u.release {
		for i := range result.Plan.Items {
			id := result.Plan.Items[i].ID
			one := answered{ID: id}
			if err := a.releaseOne(ctx, cl, api.Release{ID: id, Reason: u.reason}, &one); err != nil {
				one.Error = failed(id, err)
			}
			result.Released = append(result.Released, one)
		}
	}
	if u.restore {
		for i := range result.Plan.Incidents {
			in := &result.Plan.Incidents[i]
			if in.Counts["pulled"] == 0 {
				continue
			}
			one := restoredAnswer{ID: in.ID}
			var err error
			if one.After, err = cl.RestoreIncident(ctx, api.IncidentRestore{ID: in.ID, Reason: u.reason}); err != nil {
				one.Error = failed(in.ID, err)
			} else if !a.json {
				a.printLine("incident %s: %s on the way back, and not there yet: weir incident show %s --wait 60s", in.ID, count(one.After.Changed, "copy", "copies"), in.ID)
			}
			result.Restored = append(result.Restored, one)
		}
	}
	return worst(codes)
}

func (a *app) printUnblocking(p *api.Unblocking) error {
	a.facts([2]string{"value", p.Value}, [2]string{"today", p.Answer})
	if err := a.printCandidates("Listed", p.Listed); err != nil {
		return err
	}
	more := ""
	if p.More {
		more = "more than "
	}
	a.printf("\nlet through with it in the last %d days: %s%s\n", p.Days, more, count(p.Passed, "message", "messages"))
	if len(p.Examples) > 0 {
		t := term.NewTable(4, "ID", "TIME", "SENDER", "RECIPIENTS", "SUBJECT")
		for i := range p.Examples {
			e := &p.Examples[i]
			t.Row(e.ID, when(e.Time), e.Sender, strings.Join(e.Recipients[:min(1, len(e.Recipients))], ""), e.Subject)
		}
		if err := a.print(t, nil); err != nil {
			return err
		}
	}
	a.printf("\n%s because of it\n", count(len(p.Items), "item is held", "items are held"))
	if len(p.Items) > 0 {
		if err := a.printItems(p.Items); err != nil {
			return err
		}
	}
	a.printf("\n%s on it\n", count(len(p.Incidents), "incident rests", "incidents rest"))
	for i := range p.Incidents {
		in := &p.Incidents[i]
		a.printLine("  %s  %s  %d pulled  %s", in.ID, in.State, in.Counts["pulled"], in.Title)
	}
	return nil
}

func (a *app) printCandidates(title string, all []api.Candidate) error {
	a.title(title)
	if len(all) == 0 {
		a.printf("nowhere\n")
		return nil
	}
	t := term.NewTable(3, "LIST", "LINE", "ENTRY", "WHAT IT DOES")
	for i := range all {
		c := &all[i]
		line := ""
		if c.Line > 0 {
			line = fmt.Sprint(c.Line)
		}
		t.Row(c.Source, line, c.Entry, c.Explanation)
	}
	return a.print(t, nil)
}

func (a *app) printUnblocked(u *api.Unblocked) {
	verb := "added"
	if u.Replaced {
		verb = "replaced"
	}
	a.printf("\n")
	a.printLine("%s %s:%d: %s", verb, u.File, u.Line, u.Entry)
	a.printReloaded(&u.Reloaded)
	switch u.Answer {
	case "block":
		for i := range u.Listed {
			if c := &u.Listed[i]; c.Outcome == "decides" {
				a.complainLine("it is still blocked: " + c.Explanation)
			}
		}
	default:
		a.printLine("it is allowed now")
	}
}

// errorOf gives an error as the socket would tell it.
func errorOf(err error) *api.Error {
	var told *api.Error
	if errors.As(err, &told) {
		return told
	}
	return api.Errorf(api.Failed, "%v", err)
}
