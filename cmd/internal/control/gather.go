package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/match"
	"github.com/weirmail/weir/quarantine/incident"
)

// How the first step of a chain is believed.
const (
	byIndicator = "indicator" // the entry shows what the operator gave, as a list entry would match it
	byHand      = "hand"      // the operator named the message, or searched for it
)

// gatherObservables finds the entries that list entries would match.
func gatherObservables(ctx context.Context, st *Stores, lines []string, since, until time.Time) (*opening, error) {
	o := &opening{planned: plannedData{Observables: lines}}
	memory := match.NewMemory()
	var wanted []condition
	var titles []string
	for n, line := range lines {
		e, err := listEntry(line)
		if err != nil {
			return nil, badLine(n, err)
		}
		c, err := candidates(e.Pattern)
		if err != nil {
			return nil, badLine(n, err)
		}
		memory.Add(&e.Indicator)
		wanted = append(wanted, c)
		titles = append(titles, e.Pattern.String())
	}
	o.title = titled(titles)
	snapshot, err := memory.Snapshot(0)
	if err != nil {
		return nil, err
	}
	defer snapshot.Release()
	found := map[string]bool{}
	for _, c := range wanted {
		query := (&conditions{all: []condition{c}}).query(journal.Query{Since: since, Until: until})
		err := searchAll(ctx, st, query, func(e *journal.Entry) error {
			if found[e.ID] {
				return nil
			}
			hit, err := hitOf(snapshot, e)
			if err != nil || hit == nil {
				return err
			}
			found[e.ID] = true
			step := incident.Step{How: byIndicator, What: hit.Text, Sure: true, Confidence: hit.Indicator.Confidence}
			if !hit.Indicator.Partial() {
				step.Indicator = hit.Indicator.Pattern.Name()
			}
			return o.add(e, step, nil)
		})
		if err != nil {
			return nil, err
		}
	}
	return o, nil
}

// listEntry reads one line as a list file under block has it.
func listEntry(line string) (*list.Entry, error) {
	var found []list.Entry
	for e, err := range list.Read(strings.NewReader(line), list.Options{File: "observable", Disposition: intel.Block, Source: "operator"}) {
		if err != nil {
			return nil, err
		}
		found = append(found, e)
	}
	if len(found) != 1 {
		return nil, api.Errorf(api.BadRequest, "%.200q is not one entry of a list", line)
	}
	return &found[0], nil
}

func badLine(n int, err error) error {
	e := &api.Error{Code: api.BadRequest, Text: fmt.Sprintf("observable %d: %v", n+1, err)}
	var p *list.Problem
	if errors.As(err, &p) {
		e.Text, e.Cure = fmt.Sprintf("observable %d: %q %s", n+1, p.Value, p.Reason), p.Cure
	}
	return e
}

// candidates gives what entries have to meet that a pattern may match; whether it
// does, a snapshot of lists decides.
func candidates(p intel.Pattern) (condition, error) {
	switch p.Form() {
	case intel.FormRegexp:
		for _, f := range p.Fields() {
			if f != intel.FieldSubject && f != intel.FieldFileName {
				return condition{}, api.Errorf(api.BadRequest, "the journal keeps no header fields for %s to look at, only subjects and names of files", p)
			}
		}
		return condition{head: func(*journal.Entry) bool { return true }}, nil
	case intel.FormRange:
		r, ok := readRange(p.Text())
		if !ok {
			return condition{}, api.Errorf(api.BadRequest, "%s is no range", p)
		}
		return r.condition, nil
	case intel.FormPrefix:
		r, ok := readURLPrefix(p.String())
		if !ok {
			return condition{}, api.Errorf(api.BadRequest, "%s is no beginning of a URL", p)
		}
		return r.condition, nil
	case intel.FormBelow:
		v, err := intel.Domain(p.Text())
		return shows(v), err
	}
	return shows(p.Value()), nil
}

// hitIn gives the value of an entry that a list would match, "" where there is
// none.
func hitIn(s *match.Snapshot, e *journal.Entry) (string, error) {
	hit, err := hitOf(s, e)
	if err != nil || hit == nil {
		return "", err
	}
	return hit.Text, nil
}

// hitOf is hitIn, and gives the whole hit; nil where there is none.
func hitOf(s *match.Snapshot, e *journal.Entry) (*intel.Hit, error) {
	now := time.Now()
	hits, err := s.Match(nil, observablesOf(e), e.Direction, now)
	if err != nil {
		return nil, err
	}
	if len(hits) == 0 {
		texts := []match.Text{{Field: intel.FieldSubject, Value: e.Subject, Place: "header/Subject"}}
		for _, name := range e.Files {
			texts = append(texts, match.Text{Field: intel.FieldFileName, Value: name})
		}
		hits, _ = s.MatchTexts(nil, texts, e.Direction, now)
	}
	if len(hits) == 0 {
		return nil, nil
	}
	return &hits[0], nil
}

// observablesOf gives what an entry shows. Of very many observables not all were
// kept; what stands in its envelope was.
func observablesOf(e *journal.Entry) []intel.Observable {
	if e.Overflow == 0 {
		return e.Observables
	}
	shown := slices.Clone(e.Observables)
	add := func(text string, role intel.Role) {
		if v, ok := journal.AddressOf(text); ok {
			shown = append(shown, intel.Observable{Value: v, Role: role, Place: "envelope"})
		}
	}
	add(e.From, intel.RoleEnvelopeFrom)
	for _, to := range e.To {
		add(to, intel.RoleRcpt)
	}
	if v, err := intel.IP(e.Client); err == nil {
		shown = append(shown, intel.Observable{Value: v, Role: intel.RoleClient, Place: "envelope"})
	}
	return shown
}

// searchAll gives all entries that a query finds. It waits for no page.
func searchAll(ctx context.Context, st *Stores, q journal.Query, each func(*journal.Entry) error) error {
	for q.Limit = pageMost; ; {
		page, err := st.Journal.Search(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range page.Records {
			if err := each(r.Entry); err != nil {
				return err
			}
		}
		if page.Next == 0 {
			return nil
		}
		q.Before = page.Next
	}
}

// pageMost is how many entries are read at once.
const pageMost = 1000

// add adds a message, of which the copies for some addresses may be meant alone.
func (o *opening) add(e *journal.Entry, step incident.Step, only []string) error {
	if len(o.matches) == maxFound {
		return tooMany()
	}
	o.matches = append(o.matches, incident.Match{Entry: lean(e), Chain: []incident.Step{step}, Only: only})
	return nil
}

// gatherSearch finds the entries that a search finds. Those that share no more
// than words or people are not sure: whoever approves has looked at them.
func (s *Server) gatherSearch(ctx context.Context, st *Stores, in *api.IncidentSearch) (*opening, error) {
	if *in == (api.IncidentSearch{Since: in.Since, Until: in.Until}) {
		return nil, api.Errorf(api.BadRequest, "a search without a condition would be about all mail")
	}
	query := in.Query()
	conditions, err := conditionsOf(&query)
	if err != nil {
		return nil, err
	}
	data := searchedOf(&query)
	o := &opening{planned: plannedData{Search: &data}}
	var words []string
	for _, text := range []string{in.Value, in.MessageID, in.Hash, in.URL, in.Host, in.Domain, in.QueueID, in.Sender, in.Subject, in.File, in.Client, in.Recipient, in.Login, in.Rule} {
		if text != "" {
			words = append(words, text)
		}
	}
	o.title = "search"
	if len(words) > 0 {
		o.title = titled([]string{"search: " + strings.Join(words, ", ")})
	}
	sure := in.Value != "" || in.MessageID != "" || in.Hash != "" || in.URL != "" || in.Host != "" || in.Domain != "" || in.QueueID != ""
	step := incident.Step{How: byHand, What: o.title, Sure: sure}
	return o, searchAll(ctx, st, conditions.query(journal.Query{Since: s.lookBack(in.Since), Until: in.Until}), func(e *journal.Entry) error {
		return o.add(e, step, nil)
	})
}

// named is a message that was named, and for whom.
type named struct {
	id    string // Message-ID, or ID of an entry
	entry bool   // the latter
	only  []string
	whole bool // also named without a recipient
}

// gatherNamed finds the entries of messages that were named. A Message-ID is the
// sender's to choose: where messages of different content share it, none of them
// is sure.
func gatherNamed(ctx context.Context, st *Stores, messages []api.MessageName, since, until time.Time) (*opening, error) {
	o := &opening{planned: plannedData{Messages: len(messages)}}
	all, err := namesOf(messages)
	if err != nil {
		return nil, err
	}
	var titles []string
	for _, n := range all {
		titles = append(titles, n.id)
		if err := o.addNamed(ctx, st, n, since, until); err != nil {
			return nil, err
		}
	}
	o.title = titled(titles)
	return o, nil
}

// namesOf gives each message once, in the order in which they were named.
func namesOf(messages []api.MessageName) ([]*named, error) {
	var all []*named
	known := map[string]*named{}
	for i, m := range messages {
		id, isEntry := entryID(m.MessageID)
		if !isEntry {
			id = bareMessageID(strings.TrimSpace(m.MessageID))
		}
		if id == "" {
			return nil, api.Errorf(api.BadRequest, "message %d has no Message-ID", i+1)
		}
		n := known[id]
		if n == nil {
			n = &named{id: id, entry: isEntry}
			known[id], all = n, append(all, n)
		}
		to := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(m.Recipient), "<"), ">")
		if to == "" {
			n.whole = true
		} else if !slices.ContainsFunc(n.only, func(o string) bool { return strings.EqualFold(o, to) }) {
			n.only = append(n.only, to)
		}
	}
	return all, nil
}

// maxTwins bounds the entries with one Message-ID that are looked at.
const maxTwins = 1000

func (o *opening) addNamed(ctx context.Context, st *Stores, n *named, since, until time.Time) error {
	key := journal.KeyOfMessageID(n.id)
	if n.entry {
		key = journal.KeyOfID(n.id)
	}
	var found []*journal.Entry
	bodies := map[[32]byte]bool{}
	examined := 0
	for r, err := range entriesOf(st.Journal, key) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		if examined++; examined > maxTwins {
			return &api.Error{Code: api.BadRequest, Text: fmt.Sprintf("more than %d messages have the Message-ID %s", maxTwins, n.id), Cure: "name them by their X-Weir-ID, or by a search"}
		}
		e := r.Entry
		if n.entry && e.ID != n.id || !n.entry && e.MessageID != n.id || e.Time.Before(since) || !until.IsZero() && !e.Time.Before(until) {
			continue
		}
		bodies[e.Body] = true
		found = append(found, e)
	}
	if len(found) == 0 {
		o.missing = append(o.missing, missingOf(n)...)
		return nil
	}
	only := n.only
	if n.whole {
		only = nil
	}
	for _, e := range found {
		if err := o.add(e, incident.Step{How: byHand, What: n.id, Sure: len(bodies) == 1}, only); err != nil {
			return err
		}
	}
	return nil
}

func missingOf(n *named) []api.MissingMessage {
	const why = "the journal has no such message in this time"
	if n.whole || len(n.only) == 0 {
		return []api.MissingMessage{{MessageID: n.id, Why: why}}
	}
	var all []api.MissingMessage
	for _, to := range n.only {
		all = append(all, api.MissingMessage{MessageID: n.id, Recipient: to, Why: why})
	}
	return all
}
