package filter

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/weirmail/weir/filter/auth"
	"github.com/weirmail/weir/filter/evidence"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/filter/policy"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/contain"
	"github.com/weirmail/weir/intel/directory"
	"github.com/weirmail/weir/intel/match"
)

// Containments knows who is contained; *contain.Book does.
type Containments interface {
	// Contained gives who is at this moment, nil for nobody.
	Contained() *contain.Snapshot
}

// Rules is all that can change about judging while it goes on. It is never
// written to once it is in use.
type Rules struct {
	Site      Site
	Policy    *policy.Policy       // required
	Directory *directory.Directory // nil: nobody is known
	Contained Containments         // nil: nobody is contained
}

// Judge turns a message into evidence and a verdict. It keeps no state of the
// messages that it judged and is safe for use by many goroutines.
type Judge struct {
	lists *match.Matcher
	rules atomic.Pointer[Rules]
	clock func() time.Time
}

// NewJudge judges by these lists and rules. The clock is time.Now if nil.
func NewJudge(lists *match.Matcher, rules Rules, clock func() time.Time) (*Judge, error) {
	if lists == nil {
		return nil, errors.New("filter: a judge needs lists")
	}
	if clock == nil {
		clock = time.Now
	}
	j := &Judge{lists: lists, clock: clock}
	return j, j.SetRules(rules)
}

// SetRules makes other rules hold from the next message on.
func (j *Judge) SetRules(r Rules) error {
	if r.Policy == nil {
		return errors.New("filter: rules need a policy")
	}
	j.rules.Store(&r)
	return nil
}

// Policy gives the policy in force.
func (j *Judge) Policy() *policy.Policy { return j.rules.Load().Policy }

// Gather collects all that is known of a message. The error says that the
// lists could not be read; then nothing may be concluded.
func (j *Judge) Gather(env *message.Envelope, m *message.Message) (*evidence.Evidence, error) {
	return j.rules.Load().gather(env, m, j.lists, j.clock())
}

// Judge gives evidence and verdict. Errors are those of Gather.
func (j *Judge) Judge(env *message.Envelope, m *message.Message) (*evidence.Evidence, *verdict.Verdict, error) {
	rules := j.rules.Load()
	e, err := rules.gather(env, m, j.lists, j.clock())
	if err != nil {
		return nil, nil, err
	}
	return e, rules.Policy.Decide(e), nil
}

func (r *Rules) gather(env *message.Envelope, m *message.Message, lists *match.Matcher, now time.Time) (*evidence.Evidence, error) {
	from := r.Site.origin(env, m)
	e := &evidence.Evidence{
		Envelope: env, Message: m, Client: from.client, Relay: from.relay, Groups: r.Site.Groups,
		Recipients: make([]evidence.Recipient, len(env.To)),
		Auth:       auth.FromFields(authResults(m, r.Site.AuthServID), r.Site.AuthServID),
	}
	values := make([]intel.Value, len(env.To))
	for i := range env.To {
		v, _ := intel.Address(env.To[i].Address())
		values[i] = v
		e.Recipients[i] = evidence.Recipient{Path: env.To[i], Value: v, Person: r.lookup(v), Local: r.Site.IsLocal(v.Host())}
	}
	e.Direction = direction(from.inside, e.Recipients)
	if r.Directory != nil {
		v, _ := intel.Address(env.From.Address())
		e.Sender = r.lookup(v)
	}
	e.Observables = observables(env, values, from.client, m)
	if r.Contained != nil {
		e.Contained = r.Contained.Contained().Match(env.AuthUser, e.Observables, from.inside, now)
	}
	snapshot := lists.Acquire()
	defer snapshot.Release()
	e.Generation = snapshot.Generation()
	var err error
	if e.Hits, err = snapshot.Match(nil, e.Observables, e.Direction, now); err != nil {
		return nil, fmt.Errorf("match: %w", err)
	}
	if t := texts(snapshot, m); len(t) > 0 {
		e.Hits, e.Unseen = snapshot.MatchTexts(e.Hits, t, e.Direction, now)
	}
	return e, nil
}

func (r *Rules) lookup(v intel.Value) *directory.Person {
	if r.Directory == nil || v.IsZero() {
		return nil
	}
	return r.Directory.Lookup(v)
}

func authResults(m *message.Message, authServID string) []string {
	if authServID == "" {
		return nil
	}
	var values []string
	for f := range m.Header.All("Authentication-Results") {
		values = append(values, f.Unfolded())
	}
	return values
}

// texts gathers what regular expressions look at, as far as any does.
func texts(s *match.Snapshot, m *message.Message) []match.Text {
	var all []match.Text
	if s.WantsTexts(intel.FieldSubject) {
		for f := range m.Header.All("Subject") {
			all = append(all, match.Text{Field: intel.FieldSubject, Value: f.Value(), Place: "header/Subject"})
		}
	}
	if s.WantsTexts(intel.FieldFileName) {
		for i := range m.Parts {
			p := &m.Parts[i]
			if p.Name == "" {
				continue
			}
			all = append(all, match.Text{Field: intel.FieldFileName, Value: p.Name, Place: p.Path})
			for _, name := range p.OtherNames {
				all = append(all, match.Text{Field: intel.FieldFileName, Value: name, Place: p.Path})
			}
		}
	}
	if s.WantsTexts(intel.FieldHeader) {
		for f := range m.Header.All("") {
			all = append(all, match.Text{Field: intel.FieldHeader, Name: f.Name, Value: f.Value(), Place: "header/" + f.Name})
		}
	}
	return all
}
