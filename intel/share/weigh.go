package share

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/export"
	"github.com/weirmail/weir/intel/match"
)

// Why something is not published.
const (
	whyOurs     = "ours"            // the guard holds it back
	whyUnsaid   = "not for STIX"    // it has no form there
	whyAllowed  = "allowed"         // a list lets it pass
	whyUnlisted = "not listed"      // it stands in no list of ours any more
	whyPartial  = "in= or dir="     // it is about a part of messages or one direction, which STIX cannot say
	whyMarked   = "TLP"             // its marking is too strict
	whyUnsure   = "not sure enough" // its confidence is too low
	whyTooMany  = "too many"        // MaxPublished
)

// candidate is a pattern that something speaks for.
type candidate struct {
	pattern  intel.Pattern
	grounds  []string
	until    time.Time // zero: for ever
	forever  bool      // a list speaks for it, and not only cases, which end
	byPerson bool
}

// weighing compares what should be published with what is.
type weighing struct {
	wanted   map[string]*publishedData // by name of the pattern
	there    map[string]*object        // what is not revoked
	reasons  map[string]string         // why something is not wanted
	withheld map[string]int            // how many are not, by why
	held     []Withheld                // what of it is remembered
	unread   []string                  // lists that are shared, of which nobody knows what they have
	live     int
	revoked  int
}

// why says why a pattern is not published any more.
func (w *weighing) why(pattern string) string {
	return cmp.Or(w.reasons[pattern], "nothing speaks for it any more")
}

// unknown reports whether a pattern may not be wanted only because a list that spoke
// for it cannot be read.
func (w *weighing) unknown(pattern string) bool {
	if why := w.reasons[pattern]; why != "" && why != whyUnlisted {
		return false
	}
	return slices.ContainsFunc(w.there[pattern].Grounds, func(ground string) bool { return slices.Contains(w.unread, ground) })
}

func (s *Share) weigh(now time.Time) (*weighing, error) {
	w := &weighing{wanted: map[string]*publishedData{}, there: map[string]*object{}, reasons: map[string]string{}, withheld: map[string]int{}}
	settings := s.settings.Load()
	candidates := map[string]*candidate{}
	if err := s.published(w, now); err != nil {
		return nil, err
	}
	if err := s.confirmed(w, candidates, settings, now); err != nil {
		return nil, err
	}
	if err := listed(w, candidates, settings); err != nil {
		return nil, err
	}
	lists := s.o.Lists.Acquire()
	defer lists.Release()
	for _, name := range slices.Sorted(maps.Keys(candidates)) {
		c := candidates[name]
		d, why, err := c.weigh(lists, settings, now)
		if err != nil {
			return nil, err
		}
		if why == "" && len(w.wanted) == MaxPublished {
			why = whyTooMany
		}
		if why != "" {
			w.withheld[why]++
			if len(w.held) < maxWithheld {
				w.held = append(w.held, Withheld{Pattern: c.pattern, Why: why, Grounds: c.grounds})
			}
			w.reasons[name] = why
			continue
		}
		d.Pattern = name
		w.wanted[name] = d
	}
	return w, nil
}

// published reads what is.
func (s *Share) published(w *weighing, now time.Time) error {
	snapshot, err := s.o.View.db.Snapshot()
	if err != nil {
		return err
	}
	defer snapshot.Release()
	for _, o := range entries[object](snapshot, keyObject, &err) {
		switch {
		case o.Revoked:
			w.revoked++
			continue
		case o.live(now):
			w.live++
		}
		w.there[o.Pattern] = o
	}
	return err
}

// confirmed collects what cases speak for.
func (s *Share) confirmed(w *weighing, all map[string]*candidate, settings *Settings, now time.Time) error {
	snapshot, err := s.o.View.db.Snapshot()
	if err != nil {
		return err
	}
	defer snapshot.Release()
	claims := map[string]*claim{}
	for id, c := range entries[claim](snapshot, keyCase, &err) {
		claims[id] = c
	}
	for key, b := range entries[basis](snapshot, keyBasis, &err) {
		id, _, _ := strings.Cut(key, "|")
		c := claims[id]
		if c == nil || c.Says == Nothing {
			continue
		}
		// To the day, so that a case that goes on is no news every time.
		until := c.Time.UTC().Truncate(24 * time.Hour).Add(settings.Expiry)
		switch {
		case c.Says == Doubts:
			w.reasons[b.Pattern] = "incident " + id + " was nothing bad"
		case !now.Before(until):
			w.reasons[b.Pattern] = "incident " + id + " was too long ago"
		default:
			one, err := candidateFor(all, b.Pattern)
			if err != nil {
				continue // an older Weir knew it
			}
			one.grounds = append(one.grounds, "incident "+id)
			one.byPerson = one.byPerson || b.ByPerson
			if until.After(one.until) {
				one.until = until
			}
		}
	}
	return err
}

func candidateFor(all map[string]*candidate, name string) (*candidate, error) {
	if c := all[name]; c != nil {
		return c, nil
	}
	p, err := intel.NamedPattern(name)
	if err != nil {
		return nil, err
	}
	all[name] = &candidate{pattern: p}
	return all[name], nil
}

// listed collects what lists speak for.
func listed(w *weighing, all map[string]*candidate, settings *Settings) error {
	for in, err := range settings.Listed() {
		if unread, ok := errors.AsType[*UnreadError](err); ok {
			w.unread = append(w.unread, unread.Source)
			continue
		}
		if err != nil {
			return fmt.Errorf("the lists that are shared: %w", err)
		}
		name := in.Pattern.Name()
		if in.Disposition != intel.Block || in.TLP == intel.TLPNone || name == "" {
			continue
		}
		c, err := candidateFor(all, name)
		if err != nil {
			return err
		}
		if !slices.Contains(c.grounds, in.Source) {
			c.grounds = append(c.grounds, in.Source)
		}
		c.forever = true
	}
	return nil
}

// weigh gives what is to be published, or why nothing is.
func (c *candidate) weigh(lists *match.Snapshot, settings *Settings, now time.Time) (*publishedData, string, error) {
	if settings.Guard.Ours(c.pattern) != "" {
		return nil, whyOurs, nil
	}
	var unsaid *export.UnsaidError
	if _, err := objectID(c.pattern, 0); errors.As(err, &unsaid) {
		return nil, whyUnsaid, nil
	}
	k, err := knownOf(c.pattern, lists, now)
	if err != nil {
		return nil, "", err
	}
	marking := cmp.Or(k.tlp, settings.Mark)
	switch {
	case k.allowed:
		return nil, whyAllowed, nil
	case k.partial:
		return nil, whyPartial, nil
	case !k.blocked && !c.byPerson:
		return nil, whyUnlisted, nil
	case marking > settings.MaxTLP:
		return nil, whyMarked, nil
	case k.confidence > 0 && k.confidence < settings.MinConfidence:
		return nil, whyUnsure, nil
	}
	d := &publishedData{TLP: marking.String(), Confidence: k.confidence, Grounds: c.grounds, Until: c.until}
	if c.forever {
		d.Until = time.Time{}
	}
	if k.blocked && !k.until.IsZero() && (d.Until.IsZero() || k.until.Before(d.Until)) {
		d.Until = k.until.UTC()
	}
	return d, "", nil
}

// known is what the lists in force say of a pattern.
type known struct {
	blocked    bool // by a list of ours
	allowed    bool
	partial    bool // what blocks it is about a part of messages or one direction
	tlp        intel.TLP
	confidence int
	until      time.Time // when it is no longer blocked; zero: never
}

// feedSource begins the names of sources that are not ours.
const feedSource = "feed:"

func knownOf(p intel.Pattern, lists *match.Snapshot, now time.Time) (known, error) {
	var k known
	v, err := inside(p)
	if err != nil {
		return k, err
	}
	candidates, err := lists.Explain(intel.Observable{Value: v}, intel.DirectionAny, now)
	if err != nil {
		return k, err
	}
	key := p.AppendKey(nil)
	for _, c := range candidates {
		in := c.Indicator
		if in.Disposition == intel.Allow && c.Outcome == match.Decides {
			k.allowed = true
		}
		if !bytes.Equal(in.Pattern.AppendKey(nil), key) || c.Outcome == match.Expired {
			continue
		}
		k.tlp = max(k.tlp, in.TLP) // whoever marked it
		if in.Disposition != intel.Block || strings.HasPrefix(in.Source, feedSource) {
			continue
		}
		if in.Partial() {
			k.partial = true
			continue
		}
		if !k.blocked || in.Until.IsZero() || !k.until.IsZero() && in.Until.After(k.until) {
			k.until = in.Until
		}
		k.blocked = true
		k.confidence = max(k.confidence, in.Confidence)
	}
	k.partial = k.partial && !k.blocked
	return k, nil
}

// inside gives a value that a pattern matches.
func inside(p intel.Pattern) (intel.Value, error) {
	switch p.Form() {
	case intel.FormExact:
		return p.Value(), nil
	case intel.FormBelow:
		return intel.Domain(p.Text())
	case intel.FormPrefix:
		return intel.URL(p.Text())
	}
	block, err := netip.ParsePrefix(p.Text())
	if err != nil {
		return intel.Value{}, err
	}
	return intel.IP(block.Addr())
}
