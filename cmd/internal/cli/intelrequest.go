package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmail/weir/cmd/internal/cli/term"
	"github.com/weirmail/weir/cmd/internal/control/api"
)

// askUnblock asks for a value to be allowed.
func (a *app) askUnblock(ctx context.Context, u *unblocker) error {
	switch {
	case strings.TrimSpace(u.reason) == "":
		return usagef("a request needs a --reason")
	case u.value == "" && u.reference == "":
		return usagef("a request needs a VALUE, or the --reference of a message")
	case u.yes || u.release || u.restore:
		return usagef("--request only asks: --yes, --release and --restore are for who approves it")
	}
	until, err := a.lasting(u.until)
	if err != nil {
		return err
	}
	cl := a.client()
	defer cl.Close()
	asked, err := cl.AskUnblock(ctx, api.UnblockAsk{Value: u.value, Reference: u.reference, Reason: u.reason, Until: until, Notify: u.notify})
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(asked)
	}
	if err := a.printShown(&asked.Known); err != nil {
		return err
	}
	a.printf("\n")
	r := &asked.Request
	if asked.New {
		a.printLine("request %s: %s, until %s", r.ID, r.Value, exactly(r.Until))
	} else {
		a.printLine("request %s for %s is open since %s already, by %s", r.ID, r.Value, when(r.Asked), actorText(r.By, r.ByName))
	}
	switch {
	case asked.New && r.Notify != "":
		a.note("an operator decides, and %s is written to; weir intel requests tells it too", r.Notify)
	case u.notify != "":
		a.note("an operator decides: weir intel requests tells what became of it; %s is not written to, because the request is the one that was there", u.notify)
	default:
		a.note("an operator decides: weir intel requests tells what became of it")
	}
	return nil
}

// toldText says whether who asked was written to.
func toldText(r *api.UnblockRequest) string {
	n := r.Notice
	switch {
	case r.Notify == "":
		return ""
	case n == nil:
		return r.Notify + " once it is decided"
	case n.State == "sent":
		return r.Notify + " at " + when(n.Time)
	case n.State == "failed":
		return "not " + r.Notify + ", given up at " + when(n.Time) + ": " + n.Text
	case n.Text == "":
		return r.Notify + " in a moment"
	}
	return "not yet " + r.Notify + ": " + n.Text
}

func actorText(actor, name string) string {
	if name != "" {
		return name
	}
	return actor
}

// noteTold says who is written to about a decision.
func (a *app) noteTold(r *api.UnblockRequest) {
	if r.Notify != "" {
		a.note("%s is written to; weir intel requests tells when the MTA has taken it", r.Notify)
	}
}

func (a *app) intelRequests() *cobra.Command {
	var q api.UnblockQuery
	c := &cobra.Command{
		Use:   "requests [ID]",
		Short: "List the requests to unblock and what became of them, or show one with its evidence",
		Long: `List the requests to unblock, the newest first, and what became of each: who asked and why,
who decided, what he said, and whether who asked was written to. With an ID it shows what
depends on the value: who lists it, what of it was let through and is held, which incidents
rest on it, and what speaks against allowing it; that is for operators, and the ledger
records it.`,
		Example: `  weir intel requests --state open
  weir intel requests 01JD5ZK3V7Q2`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cl := a.client()
			defer cl.Close()
			if len(args) > 0 {
				shown, err := cl.UnblockCase(c.Context(), args[0])
				if err != nil {
					return err
				}
				if a.json {
					return a.printJSON(shown)
				}
				return a.printCase(shown)
			}
			page, err := cl.UnblockRequests(c.Context(), q)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(page)
			}
			return a.printRequests(page)
		},
	}
	c.Flags().StringVar(&q.State, "state", "", "only those that are open, approving, approved or refused")
	c.Flags().StringVar(&q.Before, "before", "", "requests older than the one with this `ID`")
	c.Flags().IntVar(&q.Limit, "limit", 100, "how many are shown at most")
	return a.daemonFlags(a.jsonFlag(c))
}

func (a *app) printRequests(page *api.UnblockPage) error {
	if len(page.Requests) == 0 {
		a.printf("no requests\n")
		return nil
	}
	var ids []string
	for i := range page.Requests {
		ids = append(ids, page.Requests[i].ID)
	}
	ids = a.short(ids)
	t := term.NewTable(2, "ID", "STATE", "VALUE", "ASKED", "BY", "REASON", "DECIDED BY", "WHY", "TOLD")
	for i := range page.Requests {
		r := &page.Requests[i]
		t.Row(ids[i], r.State, r.Value, when(r.Asked), actorText(r.By, r.ByName), r.Reason, actorText(r.Decider, r.DeciderName), r.Why, toldText(r))
	}
	if err := a.print(t, func(_, column int, text string) string {
		if column == 1 {
			return a.stateColour(text)
		}
		return text
	}); err != nil {
		return err
	}
	if page.More {
		a.note("there are older ones: --before %s", page.Requests[len(page.Requests)-1].ID)
	}
	return nil
}

func (a *app) printCase(c *api.UnblockCase) error {
	r := &c.Request
	a.facts([2]string{"request", r.ID}, [2]string{"state", r.State}, [2]string{"asked", when(r.Asked)}, [2]string{"by", actorText(r.By, r.ByName)},
		[2]string{"reason", r.Reason}, [2]string{"reference", r.Reference}, [2]string{"until", exactly(r.Until)},
		[2]string{"decided by", actorText(r.Decider, r.DeciderName)}, [2]string{"why", r.Why}, [2]string{"entry", r.Entry}, [2]string{"told", toldText(r)})
	a.printf("\n")
	if err := a.printUnblocking(&c.Evidence); err != nil {
		return err
	}
	a.printf("\n")
	for _, text := range c.Against {
		a.printLine("against it: %s", text)
	}
	if len(c.Against) == 0 {
		a.printf("no feed lists it today, and no incident has come up since it was asked for\n")
	}
	return nil
}

// deciding is what weir intel approve was told.
type deciding struct {
	reason, until    string
	override         bool
	release, restore bool
}

// approvedResult is what weir intel approve prints as JSON.
type approvedResult struct {
	Approved *api.UnblockApproved `json:"approved"`
	Released []answered           `json:"released,omitempty"`
	Restored []restoredAnswer     `json:"restored,omitempty"`
}

func (a *app) intelApprove() *cobra.Command {
	var d deciding
	c := &cobra.Command{
		Use:   "approve ID",
		Short: "Allow what somebody asked for, for a time",
		Long: `Allow what somebody asked for, as weir intel unblock --yes would. It is refused where a feed
lists the value today, or an incident that rests on it has come up since somebody asked,
unless there is --override; and with unblock.second_person in the configuration to who has
asked. weir intel requests ID shows what depends on it.`,
		Example: `  weir intel approve 01JD5ZK3V7Q2 --reason "it is our supplier's" --release --restore`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.approveUnblock(c.Context(), args[0], &d) },
	}
	f := c.Flags()
	f.StringVar(&d.reason, "reason", "", "why, for the ledger, the note of the entry and who asked")
	f.StringVar(&d.until, "until", "", "how `long` the entry holds, rather than as the request says: 30d, or a time such as 2026-12-31")
	f.BoolVar(&d.override, "override", false, "also where something speaks against it")
	f.BoolVar(&d.release, "release", false, "release what is held because of it")
	f.BoolVar(&d.restore, "restore", false, "put back what incidents that rest on it have pulled")
	return a.daemonFlags(a.jsonFlag(c))
}

func (a *app) approveUnblock(ctx context.Context, id string, d *deciding) error {
	if strings.TrimSpace(d.reason) == "" {
		return usagef("approving a request needs a --reason")
	}
	var until time.Time
	if d.until != "" {
		var err error
		if until, err = a.lasting(d.until); err != nil {
			return err
		}
	}
	cl := a.client()
	defer cl.Close()
	shown, err := cl.UnblockCase(ctx, id)
	if err != nil {
		return err
	}
	if !a.json {
		if err := a.printCase(shown); err != nil {
			return err
		}
	}
	result := approvedResult{}
	if result.Approved, err = cl.ApproveUnblock(ctx, api.UnblockApprove{ID: shown.Request.ID, Reason: d.reason, Until: until, Override: d.override}); err != nil {
		return err
	}
	code := exitDone
	if u := &result.Approved.Unblocked; !u.Reloaded.OK || u.Answer == "block" {
		code = exitFailed
	}
	if !a.json {
		a.printUnblocked(&result.Approved.Unblocked)
		a.noteTold(&result.Approved.Request)
	}
	let := unblockResult{Plan: &shown.Evidence}
	left := a.letGo(ctx, cl, &unblocker{reason: d.reason, release: d.release, restore: d.restore}, &let)
	if left != exitDone && !a.json {
		a.note("request %s is approved, and the entry for %s is written; not all that was taken because of it could be let go", shown.Request.ID, shown.Request.Value)
	}
	code = worst([]int{code, left})
	result.Released, result.Restored = let.Released, let.Restored
	if a.json {
		if err := a.printJSON(result); err != nil {
			return err
		}
	} else if held := len(shown.Evidence.Items); held > 0 && !d.release {
		a.note("%s still held because of it: weir quarantine release lets go", count(held, "message is", "messages are"))
	}
	return exitWith(code)
}

func (a *app) intelRefuse() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "refuse ID",
		Short: "Refuse a request to unblock",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return usagef("refusing a request needs a --reason")
			}
			cl := a.client()
			defer cl.Close()
			r, err := cl.RefuseUnblock(c.Context(), api.UnblockRefuse{ID: args[0], Reason: reason})
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(r)
			}
			a.printLine("request %s for %s is refused", r.ID, r.Value)
			a.noteTold(r)
			return nil
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for who asked")
	return a.daemonFlags(a.jsonFlag(c))
}
