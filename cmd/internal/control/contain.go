package control

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/contain"
)

// Contained keeps containments; *contain.Book does.
type Contained interface {
	Contain(ctx context.Context, r contain.Request) (contain.Entry, error)
	Lift(ctx context.Context, name, actor, reason string) (contain.Entry, error)
	List() []contain.Entry
}

func (s *Server) contain(ctx context.Context, c *call, st *Stores, in *api.Contain) (any, error) {
	action, ok := intel.ParseAction(in.Action)
	if !ok {
		return nil, &api.Error{Code: api.BadRequest, Text: fmt.Sprintf("%.40q is nothing that a containment does", in.Action), Cure: "say hold or reject"}
	}
	e, err := st.Contained.Contain(ctx, contain.Request{
		Kind: contain.Kind(in.Kind), Value: in.Value, Scope: contain.Scope(in.Scope), Action: action, Until: in.Until,
		Actor: c.caller.Actor, Reason: in.Reason, Replace: in.Replace,
	})
	if err != nil {
		return nil, containError(err)
	}
	return api.Contained{Containment: containmentOf(e, names{}), Idle: s.idle(st)}, nil
}

func (s *Server) containments(_ context.Context, _ *call, st *Stores, _ *api.None) (any, error) {
	told, who := api.Containments{Containments: []api.Containment{}}, names{}
	for _, e := range st.Contained.List() {
		told.Containments = append(told.Containments, containmentOf(e, who))
	}
	if len(told.Containments) > 0 {
		told.Idle = s.idle(st)
	}
	return told, nil
}

func (s *Server) liftContainment(ctx context.Context, c *call, st *Stores, in *api.ContainLift) (any, error) {
	e, err := st.Contained.Lift(ctx, in.Name, c.caller.Actor, in.Reason)
	if err != nil {
		return nil, containError(err)
	}
	return containmentOf(e, names{}), nil
}

func (s *Server) exportContained(_ context.Context, c *call, st *Stores, in *api.ContainExport) (any, error) {
	text, err := contain.Export(st.Contained.List(), contain.Kind(in.Kind), contain.Format(in.Format))
	if err != nil {
		return nil, containError(err)
	}
	_, err = io.WriteString(&stream{c: c}, text)
	return nil, err
}

// idle says why nothing comes of containments; empty: the policy sees to them.
func (s *Server) idle(st *Stores) string { return Idle(st.Judge.Policy(), s.o.Status().Mode) }

// Idle says why nothing comes of containments with this policy and in this mode;
// empty: something does.
func Idle(p *policy.Policy, mode string) string {
	switch {
	case !p.SeesContainments():
		return "no rule of " + p.Name() + " speaks of contained; take over those of weir policy default"
	case mode == modeObserve:
		return "policy.mode is observe"
	}
	return ""
}

// modeObserve is the mode in which nothing is done to mail.
const modeObserve = "observe"

func containmentOf(e contain.Entry, who names) api.Containment {
	return api.Containment{
		ID: e.ID, Kind: string(e.Kind), Value: e.Value, Names: all(e.Names), Unknown: e.Unknown, Scope: string(e.Scope), Action: e.Action.String(),
		Since: e.Since, Until: e.Until, Actor: e.Actor, User: who.of(e.Actor), Reason: e.Reason,
	}
}

// ContainedStatus sums up containments, as the socket tells it.
func ContainedStatus(all []contain.Entry) api.ContainedStatus {
	told := api.ContainedStatus{Users: contain.Count(all, contain.User), Clients: contain.Count(all, contain.Client)}
	for _, e := range all {
		if told.Next.IsZero() || e.Until.Before(told.Next) {
			told.Next = e.Until
		}
	}
	return told
}

// containError gives an error of package contain as the caller is told it.
func containError(err error) error {
	told := &api.Error{Text: err.Error()}
	var refused *contain.RefusedError
	switch {
	case errors.As(err, &refused):
		told.Code, told.Text, told.Cure = api.Refused, refused.Text, refused.Cure
		if refused.Malformed {
			told.Code = api.BadRequest
		}
	case errors.Is(err, contain.ErrReason):
		told.Code = api.BadRequest
	case errors.Is(err, contain.ErrNotFound):
		told.Code, told.Cure = api.NotFound, "weir contain list shows what is in force"
	case errors.Is(err, contain.ErrAmbiguous):
		told.Code, told.Cure = api.Ambiguous, "give the whole ID; weir contain list shows it"
	default:
		return err
	}
	return told
}
