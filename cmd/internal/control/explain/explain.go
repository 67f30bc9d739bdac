// Package explain says what lists know of a value, of a text, or of all that a
// message shows, and why: for the control socket and for the command line.
package explain

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/match"
)

// Value tries one value, or with In naming a field one text. An error that is
// an *api.Error says what is wrong with the question; any other comes from
// reading the lists.
func Value(s *match.Snapshot, q api.ListTest, now time.Time) (*api.ListTested, error) {
	direction, ok := intel.ParseDirection(q.Direction)
	if !ok && q.Direction != "" {
		return nil, api.Errorf(api.BadRequest, "%.40q is none of inbound, outbound and internal", q.Direction)
	}
	if text, ok := fieldText(q.In, q.Value); ok {
		return Text(s, text, direction, now), nil
	}
	role := intel.Role(q.In)
	if q.In != "" && !slices.Contains(intel.Roles(), role) {
		return nil, &api.Error{Code: api.BadRequest, Text: "in=" + q.In + " is neither a role nor a field", Cure: "it is one of " + ins()}
	}
	v, err := list.ParseValue(q.Value)
	if err != nil {
		return nil, badValue(err)
	}
	return Observable(s, intel.Observable{Value: v, Role: role}, direction, now)
}

// Observable tries something that a message shows. The error comes from reading
// the lists.
func Observable(s *match.Snapshot, o intel.Observable, d intel.Direction, now time.Time) (*api.ListTested, error) {
	found, err := s.Explain(o, d, now)
	if err != nil {
		return nil, err
	}
	return answer(s, api.ListTested{Kind: o.Value.Kind().String(), Value: o.Value.String(), Role: string(o.Role), Place: o.Place}, found), nil
}

// Text tries a text of a message.
func Text(s *match.Snapshot, t match.Text, d intel.Direction, now time.Time) *api.ListTested {
	return answer(s, api.ListTested{Kind: "text", Value: t.Value, Place: t.Place}, s.ExplainText(t, d, now))
}

// fieldText makes a text of a value that is to stand in a field of a message.
func fieldText(in, value string) (match.Text, bool) {
	field := intel.Field(strings.ToLower(in))
	switch name, isHeader := strings.CutPrefix(string(field), "header:"); {
	case isHeader && name != "":
		return match.Text{Field: intel.FieldHeader, Name: name, Value: value}, true
	case field == intel.FieldHeader:
		name, text, _ := strings.Cut(value, ":")
		return match.Text{Field: field, Name: strings.TrimSpace(name), Value: strings.TrimSpace(text)}, true
	case field == intel.FieldSubject, field == intel.FieldFileName:
		return match.Text{Field: field, Value: value}, true
	}
	return match.Text{}, false
}

func ins() string {
	var words []string
	for _, r := range intel.Roles() {
		words = append(words, string(r))
	}
	return strings.Join(append(words, string(intel.FieldSubject), string(intel.FieldFileName), string(intel.FieldHeader), "header:NAME"), ", ")
}

func badValue(err error) *api.Error {
	e := &api.Error{Code: api.BadRequest, Text: err.Error()}
	var p *list.Problem
	if errors.As(err, &p) {
		e.Text, e.Cure = strings.TrimSpace(`"`+p.Value+`" `+p.Reason), p.Cure
	}
	return e
}

func answer(s *match.Snapshot, a api.ListTested, found []match.Candidate) *api.ListTested {
	a.Answer, a.Generation, a.Candidates = "none", s.Generation(), []api.Candidate{}
	for _, c := range found {
		if c.Outcome == match.Decides {
			a.Answer = c.Indicator.Disposition.String()
		}
		a.Candidates = append(a.Candidates, candidate(c))
	}
	return &a
}

func candidate(c match.Candidate) api.Candidate {
	ind := c.Indicator
	a := api.Candidate{
		Disposition: ind.Disposition.String(), Entry: ind.Pattern.String(), Source: ind.Source, Line: ind.Line,
		Outcome: string(c.Outcome), Explanation: c.String(), Until: ind.Until, Note: ind.Note, ID: ind.ID, Campaign: ind.Campaign,
		Confidence: ind.Confidence, TLP: ind.TLP.String(),
	}
	if ind.Action != intel.ActionNone {
		a.Action = ind.Action.String()
	}
	for _, r := range ind.Roles {
		a.Roles = append(a.Roles, string(r))
	}
	if ind.Direction != intel.DirectionAny {
		a.Direction = ind.Direction.String()
	}
	return a
}
