package hunt

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/wal"
	"github.com/weirmail/weir/quarantine/incident"
)

// Bounds on what is kept and handed over.
const (
	maxBatch    = 200    // matches that the desk is given at once
	maxFollowed = 1000   // messages of one incident whose answers and forwards are looked for, the newest
	maxNodes    = 20_000 // of all incidents of a pass
	maxText     = 200    // bytes of a value in a title or a reason
	maxKeyText  = 256    // bytes of an incident's key that are written out
)

// found collects what a pass finds, by incident.
type found struct {
	h      *Hunt
	trails map[string]*trail
	order  []*trail
	nodes  int
	result *Result

	late  bool         // it was found behind a swap of the lists
	after wal.Position // and is found again when the journal is read from here on
}

// trail is one incident of a pass.
type trail struct {
	opening incident.Opening
	id      string // empty: not opened yet
	matches []incident.Match
	matched int
	linked  int
	cut     bool // more belongs to it than Options allow
	closed  bool // by a person, while the pass was at work

	seen   map[wal.Position]bool
	joined map[wal.Position]bool // those of them that answer or forward another, and whether surely
	nodes  []node                // sure ones, from which to go on
	links  *links
	met    []tie // those that were gone on from

	// Of an incident that later mail is compared with.
	members map[wal.Position]bool // what it had before, and whether surely
	later   *later
}

// has reports whether a message is in the incident. One that is not surely in it,
// and is looked at again, may become sure.
func (t *trail) has(at wal.Position) bool {
	sure, member := t.members[at]
	return t.seen[at] || member && (sure || !t.later.at[at])
}

// node is a message of an incident, without what the journal keeps of it.
type node struct {
	at    wal.Position
	ref   string // its entry's ID
	chain []incident.Step
}

func newFound(h *Hunt, r *Result) *found {
	return &found{h: h, trails: map[string]*trail{}, result: r}
}

// add takes what an entry was found by. One that several sources list in one
// incident is in it once, for the source that is most likely to let it be pulled.
func (f *found) add(r journal.Record, all []finding) {
	slices.SortStableFunc(all, func(a, b finding) int { return cmp.Compare(f.h.rank(a.ind), f.h.rank(b.ind)) })
	for i := range all {
		key := incidentKey(all[i].ind)
		if slices.ContainsFunc(all[:i], func(earlier finding) bool { return incidentKey(earlier.ind) == key }) {
			continue
		}
		f.match(f.trail(key, all[i].ind), r, &all[i])
	}
}

// rank puts what policy pulls by itself first, then what people keep, then feeds.
func (h *Hunt) rank(ind *intel.Indicator) int {
	switch {
	case h.o.Desk.Pulls(actorOf(ind.Source), ind.Confidence):
		return 0
	case strings.HasPrefix(ind.Source, "feed:"):
		return 2
	}
	return 1
}

func (f *found) trail(key string, ind *intel.Indicator) *trail {
	name := key + "\x00" + ind.Source // each source asks for itself
	t := f.trails[name]
	if t == nil {
		t = &trail{opening: opening(key, ind), seen: map[wal.Position]bool{}, joined: map[wal.Position]bool{}}
		f.trails[name] = t
		f.order = append(f.order, t)
	}
	return t
}

func (f *found) match(t *trail, r journal.Record, by *finding) {
	if t.seen[r.Position] {
		return
	}
	if t.matched >= f.h.o.MaxMatches {
		t.cut = true
		return
	}
	t.seen[r.Position] = true
	t.matched++
	f.result.Matched++
	chain := []incident.Step{{How: "indicator", What: by.what, Sure: true, Indicator: by.ind.Pattern.Name(), Confidence: by.ind.Confidence}}
	t.matches = append(t.matches, incident.Match{Entry: r.Entry, Chain: chain})
	f.node(t, node{r.Position, r.Entry.ID, chain})
}

// node remembers a message to go on from.
func (f *found) node(t *trail, n node) {
	if len(t.nodes) >= maxFollowed || f.nodes >= maxNodes {
		f.result.Unfollowed++
		return
	}
	t.nodes = append(t.nodes, n)
	f.nodes++
}

// handOver gives the desk what was found since the last time.
func (f *found) handOver(ctx context.Context) error {
	for _, t := range f.order {
		for len(t.matches) > 0 {
			n := min(len(t.matches), maxBatch)
			if err := f.extend(ctx, t, t.matches[:n]); err != nil {
				return err
			}
			t.matches = t.matches[n:]
		}
		t.matches = nil
	}
	return nil
}

// extend adds to the incident of a trail. One that a person closed while the pass
// was at work gets nothing more of it: that is what closing means.
func (f *found) extend(ctx context.Context, t *trail, matches []incident.Match) error {
	if t.closed {
		return nil
	}
	opened := t.id != ""
	if !opened {
		i, err := f.h.o.Desk.Open(ctx, t.opening)
		if err != nil {
			return fmt.Errorf("opening an incident for %s: %w", t.opening.Key, err)
		}
		t.id = i.ID
		f.result.Incidents++
	}
	added, err := f.h.o.Desk.Extend(ctx, t.id, t.opening.Actor, matches)
	if opened && errors.Is(err, incident.ErrClosed) {
		f.h.o.Logger.Info("an incident was closed while it was hunted for: what is found from now on is left out", zap.String("incident", t.id), zap.String("key", t.opening.Key))
		t.closed = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("extending incident %s: %w", t.id, err)
	}
	f.result.Added += added
	return nil
}

// incidentKey gives what makes an indicator's incident the same again: its
// campaign, else what it matches, whoever lists it.
func incidentKey(ind *intel.Indicator) string {
	if ind.Campaign != "" {
		return shortKey("campaign|" + ind.Campaign)
	}
	p := ind.Pattern
	if p.Form() == intel.FormRegexp {
		key := "regexp|" + p.String()
		for _, field := range p.Fields() {
			key += "|" + string(field)
		}
		return shortKey(key)
	}
	text := p.MatchText()
	switch p.Form() {
	case intel.FormBelow:
		text = "." + text
	case intel.FormPrefix:
		text += "*"
	}
	return shortKey(p.Kind().String() + "|" + text)
}

// shortKey replaces the end of a long key by a digest of all of it.
func shortKey(key string) string {
	if len(key) <= maxKeyText {
		return key
	}
	sum := sha256.Sum256([]byte(key))
	return shorten(key, maxKeyText-2*len(sum)-1) + "#" + hex.EncodeToString(sum[:])
}

func opening(key string, ind *intel.Indicator) incident.Opening {
	what := ind.Pattern.Kind().String()
	if ind.Pattern.Form() == intel.FormRegexp {
		what = "text"
	}
	title := fmt.Sprintf("Blocked %s %s", what, shorten(ind.Pattern.String(), maxText))
	if ind.Campaign != "" {
		title = "Campaign " + shorten(ind.Campaign, maxText)
	}
	reason := fmt.Sprintf("%s blocks %s", origin(ind), shorten(ind.Pattern.String(), maxText))
	for _, more := range []string{ind.ID, ind.Note} {
		if more != "" {
			reason += "; " + shorten(more, maxText)
		}
	}
	return incident.Opening{
		Key: key, Title: title, Severity: incident.Medium, Actor: actorOf(ind.Source), Source: ind.Source, Reason: reason,
	}
}

// actorOf gives a source as the ledger knows actors, scheme:id. One that has no
// colon, such as "operator", is a scheme.
func actorOf(source string) string {
	scheme, id, _ := strings.Cut(source, ":")
	return cmp.Or(scheme, "list") + ":" + cmp.Or(id, "unnamed")
}

func origin(ind *intel.Indicator) string {
	if ind.Line > 0 {
		return fmt.Sprintf("%s line %d", ind.Source, ind.Line)
	}
	return ind.Source
}

// shorten cuts text to so many bytes, between characters.
func shorten(text string, limit int) string {
	const dots = "…"
	if len(text) <= limit {
		return text
	}
	end := max(0, limit-len(dots))
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + dots
}
