package control

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/cmd/internal/control/explain"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/hits"
	"github.com/weirmail/weir/intel/list"
	"github.com/weirmail/weir/intel/store"
)

// shownHistory bounds the events that are shown with a value.
const shownHistory = 20

func (s *Server) intelShow(_ context.Context, _ *call, st *Stores, in *api.IntelValue) (any, error) {
	p, err := patternOf(in.Value)
	if err != nil {
		return nil, err
	}
	u, err := unblockableFor(p)
	if err != nil {
		return nil, err
	}
	shown := api.IntelShown{Value: p.String(), Kind: p.Kind().String()}
	snapshot := st.Matcher.Acquire()
	defer snapshot.Release()
	now := time.Now() // one for both, whose candidates are the same then
	found, err := snapshot.Explain(intel.Observable{Value: u.value}, intel.DirectionAny, now)
	if err != nil {
		return nil, err
	}
	tested, err := explain.Observable(snapshot, intel.Observable{Value: u.value}, intel.DirectionAny, now)
	if err != nil {
		return nil, err
	}
	shown.Answer, shown.Listed = tested.Answer, tested.Candidates
	age, err := newAges(st)
	if err != nil {
		return nil, err
	}
	for i := range shown.Listed {
		ind := found[i].Indicator
		shown.Listed[i].Hits = hitsOf(st, ind)
		if shown.Listed[i].Added, err = age.of(ind); err != nil {
			return nil, err
		}
	}
	if st.Hits != nil {
		shown.Counted = st.Hits.Since()
	}
	if shown.History, shown.TakenOut, err = s.historyOf(st, u); err == nil && len(shown.History) > shownHistory {
		shown.History = shown.History[len(shown.History)-shownHistory:]
	}
	return shown, err
}

func (s *Server) intelHistory(_ context.Context, _ *call, st *Stores, in *api.IntelValue) (any, error) {
	p, err := patternOf(in.Value)
	if err != nil {
		return nil, err
	}
	u, err := unblockableFor(p)
	if err != nil {
		return nil, err
	}
	events, taken, err := s.historyOf(st, u)
	return api.IntelHistory{Value: p.String(), Events: events, TakenOut: taken}, err
}

// ages tells when entries were added.
type ages struct {
	st    *Stores
	added map[uint64]time.Time
}

func newAges(st *Stores) (*ages, error) {
	added, _, err := st.Lists.Times()
	return &ages{st, added}, err
}

// of gives when a source began to say this, zero if that is longer ago than is
// remembered.
func (a *ages) of(ind *intel.Indicator) (time.Time, error) {
	all, err := a.st.Lists.OfPattern(ind.Pattern)
	for _, other := range all {
		if other.Indicator.Source == ind.Source && other.Indicator.Line == ind.Line {
			return a.added[other.Generation], err
		}
	}
	return time.Time{}, err
}

// hitsOf says what an entry did, nil if nothing.
func hitsOf(st *Stores, ind *intel.Indicator) *api.Hits {
	if st.Hits == nil {
		return nil
	}
	t, ok := st.Hits.Of(ind.Source, ind.Pattern)
	if !ok {
		return nil
	}
	return hitsTold(&t)
}

func hitsTold(t *hits.Tally) *api.Hits {
	told := &api.Hits{Count: int(t.Count), First: t.First, Last: t.Last, Recent: []api.HitMessage{}}
	for _, m := range t.Recent {
		told.Recent = append(told.Recent, api.HitMessage{Time: m.Time, ID: m.ID, Verdict: m.Action.String()})
	}
	return told
}

// indicatorTold gives an entry as the socket tells it.
func indicatorTold(st *Stores, a *ages, add *store.Addition) api.Indicator {
	ind := add.Indicator
	told := api.Indicator{
		Entry: ind.Pattern.String(), Kind: kindOf(ind), Disposition: ind.Disposition.String(), Source: ind.Source, Line: ind.Line,
		Added: a.added[add.Generation], Until: ind.Until, Confidence: ind.Confidence, TLP: ind.TLP.String(),
		Note: ind.Note, ID: ind.ID, Campaign: ind.Campaign, Hits: hitsOf(st, ind),
	}
	for _, r := range ind.Roles {
		told.Roles = append(told.Roles, string(r))
	}
	for _, f := range ind.Pattern.Fields() {
		told.Roles = append(told.Roles, string(f))
	}
	if ind.Direction != intel.DirectionAny {
		told.Direction = ind.Direction.String()
	}
	if ind.Action != intel.ActionNone {
		told.Action = ind.Action.String()
	}
	return told
}

func kindOf(ind *intel.Indicator) string {
	if ind.Pattern.Form() == intel.FormRegexp {
		return "regexp"
	}
	return ind.Pattern.Kind().String()
}

// Bounds on one page of what is walked through.
const (
	walkTime  = 2 * time.Second
	walkCheck = 1000 // patterns between looks at the clock
)

// walk goes through what is listed from a cursor on until a page is full, or for so
// long that somebody who waits should hear of it. It gives the cursor of the next
// page, "" at the end.
func walk(ctx context.Context, st *Stores, after string, limit int, add func(all []store.Addition) (found int)) (cursor string, scanned int, err error) {
	place, err := base64.RawURLEncoding.DecodeString(after)
	if err != nil {
		return "", 0, api.Errorf(api.BadRequest, "%.40q is no cursor of a page", after)
	}
	began, found := time.Now(), 0
	err = st.Lists.Walk(ctx, place, func(all []store.Addition, at []byte) bool {
		scanned++
		found += add(all)
		if found >= limit || scanned%walkCheck == 0 && time.Since(began) > walkTime {
			cursor = base64.RawURLEncoding.EncodeToString(at)
			return false
		}
		return true
	})
	return cursor, scanned, err
}

func (s *Server) intelSearch(ctx context.Context, _ *call, st *Stores, in *api.IntelSearch) (any, error) {
	f, err := filterOf(in.Source, in.Kind, in.Disposition, in.Campaign, in.MinConfidence, in.MaxTLP)
	if err != nil {
		return nil, err
	}
	age, err := newAges(st)
	if err != nil {
		return nil, err
	}
	text := strings.ToLower(strings.TrimSpace(intel.Refang(in.Text)))
	page := api.IntelPage{Found: []api.Indicator{}}
	page.Cursor, page.Scanned, err = walk(ctx, st, in.After, cmp.Or(in.Limit, pageDefault), func(all []store.Addition) (found int) {
		for i := range all {
			if ind := all[i].Indicator; f.wants(ind) && holds(ind, text) {
				page.Found = append(page.Found, indicatorTold(st, age, &all[i]))
				found++
			}
		}
		return found
	})
	return page, err
}

// holds reports whether an indicator has a text, which is in lower case, in
// anything that people would look for.
func holds(ind *intel.Indicator, text string) bool {
	return text == "" || strings.Contains(strings.ToLower(ind.Pattern.String()), text) || strings.Contains(strings.ToLower(ind.Note), text) ||
		strings.Contains(strings.ToLower(ind.Campaign), text) || strings.Contains(strings.ToLower(ind.ID), text) || strings.Contains(strings.ToLower(ind.Source), text)
}

// filter says which indicators are wanted.
type filter struct {
	source, kind, disposition, campaign string
	minConfidence                       int
	maxTLP                              intel.TLP
}

func filterOf(source, kind, disposition, campaign string, minConfidence int, maxTLP string) (*filter, error) {
	f := &filter{source, kind, disposition, campaign, minConfidence, intel.TLPNone}
	if maxTLP != "" {
		var ok bool
		if f.maxTLP, ok = intel.ParseTLP(maxTLP); !ok {
			return nil, api.Errorf(api.BadRequest, "max_tlp %.40q is none of clear, green, amber, amber+strict and red", maxTLP)
		}
	}
	return f, nil
}

func (f *filter) wants(ind *intel.Indicator) bool {
	source := ind.Source == f.source
	if prefix, ok := strings.CutSuffix(f.source, "*"); ok {
		source = strings.HasPrefix(ind.Source, prefix)
	}
	return (f.source == "" || source) && (f.kind == "" || kindOf(ind) == f.kind) && (f.disposition == "" || ind.Disposition.String() == f.disposition) &&
		(f.campaign == "" || ind.Campaign == f.campaign) && ind.Confidence >= f.minConfidence && (f.maxTLP == intel.TLPNone || ind.TLP <= f.maxTLP)
}

// sourceKnown refuses a source that is not listed, and names those that are. One with
// a * at its end may be the beginning of none today.
func sourceKnown(st *Stores, source string) error {
	const most = 20 // that are named
	if source == "" || strings.HasSuffix(source, "*") {
		return nil
	}
	var names []string
	for _, l := range st.Lists.Sources() {
		if l.Name == source {
			return nil
		}
		names = append(names, l.Name)
	}
	e := &api.Error{Code: api.NotFound, Text: fmt.Sprintf("there is no source %.100q", source), Cure: "nothing is listed yet"}
	switch {
	case len(names) > most:
		e.Cure = fmt.Sprintf("there are %s and %d more; weir list show and weir feed list name them", strings.Join(names[:most], ", "), len(names)-most)
	case len(names) > 0:
		e.Cure = "there are " + strings.Join(names, ", ")
	}
	return e
}

// unusedDays is for how long an entry has to have done nothing to be called unused.
const unusedDays = 90

func (s *Server) listUnused(ctx context.Context, _ *call, st *Stores, in *api.ListUnused) (any, error) {
	if st.Hits == nil {
		return nil, &api.Error{Code: api.Unavailable, Text: "this daemon does not count hits", Cure: "weir status says why"}
	}
	if err := sourceKnown(st, in.Source); err != nil {
		return nil, err
	}
	f, err := filterOf(cmp.Or(in.Source, list.SourcePrefix+"*"), "", "", "", 0, "")
	if err != nil {
		return nil, err
	}
	age, err := newAges(st)
	if err != nil {
		return nil, err
	}
	since := time.Now().AddDate(0, 0, -cmp.Or(in.Days, unusedDays)).UTC()
	page := api.UnusedPage{Since: since, Counted: st.Hits.Since(), Unused: []api.Indicator{}}
	page.Cursor, _, err = walk(ctx, st, in.After, cmp.Or(in.Limit, pageDefault), func(all []store.Addition) (found int) {
		for i := range all {
			ind := all[i].Indicator
			if !f.wants(ind) || !strings.HasPrefix(ind.Source, list.SourcePrefix) || age.added[all[i].Generation].After(since) {
				continue
			}
			if t, ok := st.Hits.Of(ind.Source, ind.Pattern); ok && t.Last.After(since) {
				continue
			}
			page.Unused = append(page.Unused, indicatorTold(st, age, &all[i]))
			found++
		}
		return found
	})
	return page, err
}
