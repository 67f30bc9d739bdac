package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/explain"
	"github.com/weirmail/weir/cmd/internal/control/problems"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/intel/store"
)

func (s *Server) status(_ context.Context, c *call, _ *api.None) (any, error) {
	status := s.o.Status()
	status.Ready = status.State == stateReady
	status.Caller = c.caller
	status.Trouble = all(status.Trouble)
	status.Milter.Listen = all(status.Milter.Listen)
	if st := s.o.Stores(); st != nil {
		status.LedgerHead = st.Ledger.Head().String()
		status.Lists = api.ListsStatus{Generation: st.Lists.Generation()}
		for _, l := range s.listed(st) {
			if l.State != stateRefused {
				status.Lists.Lists++
			}
			if l.State != stateCurrent {
				status.Lists.Refused++
			}
			status.Lists.Entries += l.Entries
		}
	}
	return status, nil
}

func (s *Server) reload(ctx context.Context, c *call, _ *api.None) (any, error) {
	found, err := s.o.Reload(ctx, c.caller.Actor)
	if err != nil {
		return nil, err
	}
	answer := api.Reloaded{Applied: all(found.Applied), Restart: all(found.Restart), Lists: []api.List{}}
	answer.Problems = append(problems.Of(found.Config), problems.Of(found.ListsErr)...)
	answer.Problems = all(append(answer.Problems, problems.Of(found.Lists.Err())...))
	answer.OK = len(answer.Problems) == 0
	if st := s.o.Stores(); st != nil {
		answer.Lists = s.listed(st)
	}
	return answer, nil
}

func (s *Server) config(context.Context, *call, *api.None) (any, error) {
	return api.Config{Text: s.o.Config()}, nil
}

func (s *Server) policy(_ context.Context, _ *call, st *Stores, _ *api.None) (any, error) {
	return Policy(st.Judge.Policy()), nil
}

// Policy gives a policy as the socket tells it.
func Policy(p *policy.Policy) api.Policy {
	answer := api.Policy{Name: p.Name(), Rules: []api.Rule{}}
	for _, r := range p.Rules() {
		rule := api.Rule{Name: r.Name, When: r.When, Action: r.Action.String(), SubjectPrefix: r.Tag.SubjectPrefix, Line: r.Line}
		if r.Reply.Code != 0 {
			rule.Reply = fmt.Sprintf("%d %s %s", r.Reply.Code, r.Reply.Enhanced, r.Reply.Text)
		}
		answer.Rules = append(answer.Rules, rule)
	}
	return answer
}

// stateReady is the daemon's when it judges mail.
const stateReady = "ready"

// The states of a list.
const (
	stateCurrent  = "current"
	stateOutdated = "outdated"
	stateRefused  = "refused"
)

func (s *Server) lists(_ context.Context, _ *call, st *Stores, _ *api.None) (any, error) {
	_, loaded := s.o.Lists()
	return api.Lists{Generation: st.Lists.Generation(), Loaded: loaded, Lists: s.listed(st)}, nil
}

// listed gives what is in force and what the files came to, sorted by name.
func (s *Server) listed(st *Stores) []api.List {
	report, _ := s.o.Lists()
	list := []api.List{}
	for _, l := range st.Lists.Sources() {
		list = append(list, api.List{Name: l.Name, State: stateCurrent, Entries: l.Entries, Changed: l.Changed, Generation: l.Generation})
	}
	for _, f := range report {
		i := slices.IndexFunc(list, func(l api.List) bool { return l.Name == f.Result.Name })
		failed := f.Result.Outcome == store.Failed
		switch {
		case i >= 0:
			list[i].File = f.File
			if failed {
				list[i].State = stateOutdated
			}
		case failed:
			list = append(list, api.List{Name: f.Result.Name, File: f.File, State: stateRefused})
			i = len(list) - 1
		default:
			continue
		}
		for _, p := range f.Problems {
			list[i].Problems = append(list[i].Problems, problems.FromList(p))
		}
	}
	slices.SortFunc(list, func(a, b api.List) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func (s *Server) listTest(_ context.Context, _ *call, st *Stores, in *api.ListTest) (any, error) {
	snapshot := st.Matcher.Acquire()
	defer snapshot.Release()
	return explain.Value(snapshot, *in, time.Now())
}

func (s *Server) backup(ctx context.Context, c *call, st *Stores, _ *api.None) (any, error) {
	if !s.backingUp.TryLock() {
		return nil, api.Errorf(api.Busy, "a backup is being made already")
	}
	defer s.backingUp.Unlock()
	if err := record(ctx, st, c, typeBackedUp, struct{}{}); err != nil {
		return nil, err
	}
	return nil, s.o.Backup(ctx, &stream{c: c})
}
