package scan

import (
	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/explain"
	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/match"
)

// Known gives what lists know of all that a message shows: each observable and
// text that some entry matches, with every such entry and what became of it.
// The error says that the lists could not be read.
func (s *Scanner) Known(f *File, tx Transaction) ([]api.ListTested, error) {
	known := []api.ListTested{}
	if s.o.Lists == nil {
		return known, nil
	}
	m := s.o.Parser.Parse(f.Raw, nil)
	env, _ := s.envelope(f, tx, m)
	e, err := s.judge.Gather(env, m)
	if err != nil {
		return nil, err
	}
	now := s.o.Clock()
	for _, o := range e.Observables {
		one, err := explain.Observable(s.o.Lists, o, e.Direction, now)
		if err != nil {
			return nil, err
		}
		if len(one.Candidates) > 0 {
			known = append(known, *one)
		}
	}
	for _, t := range texts(m) {
		if one := explain.Text(s.o.Lists, t, e.Direction, now); len(one.Candidates) > 0 {
			known = append(known, *one)
		}
	}
	return known, nil
}

// texts gives what regular expressions look at.
func texts(m *message.Message) []match.Text {
	var all []match.Text
	for f := range m.Header.All("Subject") {
		all = append(all, match.Text{Field: intel.FieldSubject, Value: f.Value(), Place: "header/Subject"})
	}
	for i := range m.Parts {
		p := &m.Parts[i]
		for _, name := range append([]string{p.Name}, p.OtherNames...) {
			if name != "" {
				all = append(all, match.Text{Field: intel.FieldFileName, Value: name, Place: p.Path})
			}
		}
	}
	for f := range m.Header.All("") {
		all = append(all, match.Text{Field: intel.FieldHeader, Name: f.Name, Value: f.Value(), Place: "header/" + f.Name})
	}
	return all
}
