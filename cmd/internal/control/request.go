package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/feed"
	"github.com/weirmail/weir/intel/list/edit"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/quarantine"
	"github.com/weirmail/weir/quarantine/notify"
	"github.com/weirmail/weir/quarantine/unblock"
)

// Requests keeps requests to unblock; *unblock.Desk is one.
type Requests interface {
	Ask(ctx context.Context, a unblock.Asking) (r unblock.Request, isNew bool, err error)
	Get(prefix string) (unblock.Request, error)
	List(q unblock.Query) (all []unblock.Request, more bool, err error)
	Approve(ctx context.Context, id, actor, reason string, against []string, second bool) (unblock.Request, error)
	Written(ctx context.Context, id, actor, entry, file string, until time.Time) (unblock.Request, error)
	Failed(ctx context.Context, id, actor string) (unblock.Request, error)
	Refuse(ctx context.Context, id, actor, reason string) (unblock.Request, error)
}

// Notices tells people what became of requests; *notify.Outbox does.
type Notices interface {
	Recipient(address string) (string, error)
	Of(entity string) (n notify.Notice, ok bool, err error)
}

// asking makes a handler of what needs requests to be kept.
func asking[I any](s *Server, f func(ctx context.Context, c *call, st *Stores, in *I) (any, error)) handler {
	return keeping(s, "requests to unblock", func(st *Stores) bool { return st.Requests != nil }, f)
}

// errSecondPerson says that nobody allows anything alone here.
func errSecondPerson() error {
	return &api.Error{Code: api.SecondPerson, Text: "unblock.second_person is set: who wants something allowed does not allow it himself", Cure: "ask for it with weir intel unblock VALUE --request, and a colleague approves it"}
}

func (s *Server) askUnblock(ctx context.Context, c *call, st *Stores, in *api.UnblockAsk) (any, error) {
	reference := strings.TrimSpace(in.Reference)
	if strings.TrimSpace(in.Reason) == "" {
		return nil, quarantine.ErrReason
	}
	if len(reference) > 128 || !isText(reference) {
		return nil, api.Errorf(api.BadRequest, "%.40q is no reference of a message", reference)
	}
	if err := mayAllow(in.Until); err != nil {
		return nil, err
	}
	value := in.Value
	if value == "" {
		var err error
		if value, err = blockedAs(ctx, st, reference); err != nil {
			return nil, err
		}
	}
	u, err := unblockableOf(value)
	if err != nil {
		return nil, err
	}
	if err := s.blockedToday(st, u); err != nil {
		return nil, err
	}
	to, err := recipientOf(st, in.Notify)
	if err != nil {
		return nil, err
	}
	r, isNew, err := st.Requests.Ask(ctx, unblock.Asking{Value: u.line, Reference: reference, Notify: to, Until: in.Until.UTC().Truncate(time.Second), Actor: c.caller.Actor, Reason: in.Reason})
	if err != nil {
		return nil, err
	}
	known, err := s.intelShow(ctx, c, st, &api.IntelValue{Value: u.line})
	if err != nil {
		return nil, err
	}
	told, err := requestTold(st, &r, names{})
	return api.UnblockAsked{Request: told, New: isNew, Known: known.(api.IntelShown)}, err
}

// recipientOf gives who is to be told, "" for nobody.
func recipientOf(st *Stores, address string) (string, error) {
	switch {
	case address == "":
		return "", nil
	case st.Notices == nil:
		return "", notify.ErrOff
	}
	return st.Notices.Recipient(address)
}

// blockedToday refuses a value that no entry in force blocks: allowing it would
// change nothing. Whether something else outweighs that entry is for who decides.
func (s *Server) blockedToday(st *Stores, u *unblockable) error {
	_, listed, err := s.listedNow(st, u)
	if err != nil || slices.ContainsFunc(listed, func(c api.Candidate) bool {
		return c.Disposition == intel.Block.String() && c.Outcome != string(match.Expired)
	}) {
		return err
	}
	return &api.Error{
		Code: api.NotFound, Text: "nothing blocks " + u.line + " today: no list and no feed",
		Cure: "with the reference alone the request is for what stopped the message, and one that was held for an entry that is gone is let go by weir quarantine release",
	}
}

func isText(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return printable(r) != r })
}

// blockedAs gives what a message was blocked for that somebody knows by its
// reference. The error is an *api.Error where that is not one thing.
func blockedAs(ctx context.Context, st *Stores, reference string) (string, error) {
	if reference == "" {
		return "", api.Errorf(api.BadRequest, "a request needs a value, or the reference of a message")
	}
	var values []string
	add := func(kind, value string) {
		if text := kind + ":" + value; kind != "" && !slices.Contains(values, text) {
			values = append(values, text)
		}
	}
	id, err := st.Quarantine.Find(strings.ToUpper(reference))
	switch {
	case err == nil:
		if values, err = st.Quarantine.StoppedBy(ctx, id); err != nil {
			return "", err
		}
	case !errors.Is(err, quarantine.ErrNotFound):
		return "", err
	case st.Hits != nil:
		refused, ok := st.Hits.RefusedAs(strings.ToUpper(reference))
		if !ok {
			return "", unknownReference(reference)
		}
		for _, b := range refused.Blocks {
			add(b.Kind, b.Value)
		}
	default:
		return "", unknownReference(reference)
	}
	switch len(values) {
	case 0:
		return "", &api.Error{Code: api.BadRequest, Text: "the message was not stopped for a value that a list or feed has", Cure: "weir quarantine show tells which rule held it"}
	case 1:
		return values[0], nil
	}
	return "", &api.Error{Code: api.BadRequest, Text: "the message was stopped for more than one thing: " + strings.Join(values, ", "), Cure: "say which of them: weir intel unblock VALUE --request --reference " + reference + " --reason TEXT"}
}

func unknownReference(reference string) error {
	return &api.Error{Code: api.NotFound, Text: fmt.Sprintf("no message is known as %.40q", reference), Cure: "of refused messages only the last 20 000 are remembered: ask for the value instead"}
}

func (s *Server) unblockRequests(_ context.Context, _ *call, st *Stores, in *api.UnblockQuery) (any, error) {
	found, more, err := st.Requests.List(unblock.Query{State: unblock.State(in.State), Before: in.Before, Limit: cmp.Or(in.Limit, pageDefault)})
	page, who := api.UnblockPage{Requests: []api.UnblockRequest{}, More: more}, names{}
	if err != nil {
		return nil, err
	}
	for i := range found {
		told, err := requestTold(st, &found[i], who)
		if err != nil {
			return nil, err
		}
		page.Requests = append(page.Requests, told)
	}
	return page, nil
}

func requestTold(st *Stores, r *unblock.Request, who names) (api.UnblockRequest, error) {
	told := api.UnblockRequest{
		ID: r.ID, State: string(r.State), Value: r.Value, Reference: r.Reference, By: r.By, ByName: who.of(r.By), Reason: r.Reason, Asked: r.Asked, Until: r.Until,
		Decider: r.Decider, DeciderName: who.of(r.Decider), Why: r.Why, Decided: r.Decided, Entry: r.Entry, Notify: r.Notify,
	}
	if r.Notify == "" || st.Notices == nil {
		return told, nil
	}
	n, ok, err := st.Notices.Of(r.Entity())
	if ok {
		told.Notice = &api.Notice{State: string(n.State), Time: n.Time, Text: n.Text}
	}
	return told, err
}

func (s *Server) unblockCase(ctx context.Context, c *call, st *Stores, in *api.UnblockID) (any, error) {
	r, err := st.Requests.Get(in.ID)
	if err != nil {
		return nil, err
	}
	evidence, err := s.evidence(ctx, c, st, &api.UnblockPlan{Value: r.Value})
	if err != nil {
		return nil, err
	}
	told, err := requestTold(st, &r, names{})
	return api.UnblockCase{Request: told, Evidence: *evidence, Against: against(&r, evidence.Listed, evidence.Incidents)}, err
}

// against says what speaks against allowing a value now: what feeds say today, and
// what has come up since somebody asked.
func against(r *unblock.Request, listed []api.Candidate, incidents []api.Incident) []string {
	reasons := []string{}
	for i := range listed {
		c := &listed[i]
		inForce := c.Outcome != string(match.Expired) && c.Outcome != string(match.OtherRole) && c.Outcome != string(match.OtherDirection)
		if strings.HasPrefix(c.Source, feed.SourcePrefix) && c.Disposition == intel.Block.String() && inForce {
			reasons = append(reasons, fmt.Sprintf("%s lists %s today", c.Source, c.Entry))
		}
	}
	for i := range incidents {
		if in := &incidents[i]; in.Opened.After(r.Asked) {
			reasons = append(reasons, fmt.Sprintf("incident %s has come up since: %s", in.ID, in.Title))
		}
	}
	return reasons
}

func (s *Server) approveUnblock(ctx context.Context, c *call, st *Stores, in *api.UnblockApprove) (any, error) {
	r, err := st.Requests.Get(in.ID)
	if err != nil {
		return nil, err
	}
	u, err := unblockableOf(r.Value)
	if err != nil {
		return nil, err
	}
	until := in.Until
	if until.IsZero() {
		until = r.Until
	}
	if err := mayAllow(until); err != nil {
		return nil, err
	}
	speaks, err := s.speaksAgainst(ctx, st, &r, u)
	if err != nil {
		return nil, err
	}
	if len(speaks) > 0 && !in.Override {
		return nil, &api.Error{Code: api.Blocked, Text: strings.Join(speaks, "; "), Cure: "weir intel approve " + r.ID + " --override --reason TEXT allows it all the same"}
	}
	ctx = context.WithoutCancel(ctx) // half of it helps nobody
	if r, err = st.Requests.Approve(ctx, r.ID, c.caller.Actor, in.Reason, speaks, s.limits().SecondPerson); err != nil {
		return nil, err
	}
	ind := intel.Indicator{Pattern: u.pattern, Disposition: intel.Allow, Until: until, Note: noteOf("unblocked", c.caller.Actor+" for "+r.By, in.Reason)}
	result, reloaded, err := s.list(ctx, c, st, listing{kind: typeUnblocked, disposition: intel.Allow, reason: in.Reason, change: edit.Change{Put: []intel.Indicator{ind}}})
	if err != nil {
		_, failed := st.Requests.Failed(ctx, r.ID, c.caller.Actor)
		return nil, errors.Join(err, failed)
	}
	e := &result.Entries[0]
	if r, err = st.Requests.Written(ctx, r.ID, c.caller.Actor, e.Text, result.File, until); err != nil {
		return nil, fmt.Errorf("the value is allowed, and that its request is approved could not be recorded: %w", err)
	}
	told, err := requestTold(st, &r, names{})
	if err != nil {
		return nil, err
	}
	answer := api.UnblockApproved{Request: told, Unblocked: api.Unblocked{File: result.File, Line: e.Line, Entry: e.Text, Replaced: e.Outcome != edit.Added, Reloaded: *reloaded}}
	answer.Unblocked.Answer, answer.Unblocked.Listed, err = s.listedNow(st, u)
	return answer, err
}

// speaksAgainst gathers what speaks against a request.
func (s *Server) speaksAgainst(ctx context.Context, st *Stores, r *unblock.Request, u *unblockable) ([]string, error) {
	_, listed, err := s.listedNow(st, u)
	if err != nil {
		return nil, err
	}
	var incidents []api.Incident
	if st.Incidents != nil {
		if incidents, err = restingOn(ctx, st, u, listed); err != nil {
			return nil, err
		}
	}
	return against(r, listed, incidents), nil
}

func (s *Server) refuseUnblock(ctx context.Context, c *call, st *Stores, in *api.UnblockRefuse) (any, error) {
	r, err := st.Requests.Get(in.ID)
	if err != nil {
		return nil, err
	}
	if r, err = st.Requests.Refuse(ctx, r.ID, c.caller.Actor, in.Reason); err != nil {
		return nil, err
	}
	return requestTold(st, &r, names{})
}
