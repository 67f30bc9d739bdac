package control

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/control/api"
	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/intel/list/edit"
)

// maxPrefixes bounds the beginnings of a URL whose history is looked up.
const maxPrefixes = 1000

// covering gives a pattern, and those that match whatever it matches: names above
// it, beginnings of a URL and its host, ranges around an address.
func covering(u *unblockable) []intel.Pattern {
	all, seen := []intel.Pattern{u.pattern}, map[string]bool{entityOf(u.pattern): true}
	add := func(p intel.Pattern, err error) {
		if entity := entityOf(p); err == nil && !seen[entity] {
			seen[entity] = true
			all = append(all, p)
		}
	}
	form, host := u.pattern.Form(), u.value.Host()
	switch u.value.Kind() {
	case intel.KindURL:
		text := u.pattern.Text()
		_, rest, _ := strings.Cut(text, "://")
		start := len(text) - len(rest) + max(strings.IndexByte(rest, '/'), 0) + 1
		for end := min(len(text), start+maxPrefixes); end >= start; end-- {
			add(intel.URLPrefix(text[:end] + "*"))
		}
	case intel.KindDomain, intel.KindIP:
		host = u.value.String()
	}
	if addr, ok := intel.HostAddr(host); ok {
		bits := addr.BitLen()
		if form == intel.FormRange {
			if block, err := netip.ParsePrefix(u.pattern.Text()); err == nil {
				bits = block.Bits()
			}
		} else if v, err := intel.IP(addr); err == nil {
			add(intel.Exact(v), nil)
		}
		for ; bits >= 0; bits-- {
			if block, err := addr.Prefix(bits); err == nil {
				add(intel.Range(block))
			}
		}
		return all
	}
	if v, err := intel.Domain(host); err == nil && form != intel.FormBelow {
		add(intel.Exact(v), nil)
	}
	for name := host; name != ""; _, name, _ = strings.Cut(name, ".") {
		add(intel.Below(name))
	}
	return all
}

// historyOf gives what was recorded about a value and the patterns that cover it,
// the newest last, and which entries of the operators' lists somebody took out by
// hand.
func (s *Server) historyOf(st *Stores, u *unblockable) ([]api.Event, []api.TakenOut, error) {
	events, taken, who := []api.Event{}, []api.TakenOut{}, names{}
	for _, p := range covering(u) {
		state, err := st.Ledger.State(entityOf(p))
		if err != nil {
			return nil, nil, err
		}
		for i := range state.Events {
			events = append(events, eventOf(&state.Events[i], who))
		}
		taken = append(taken, s.takenOut(p, state.Events)...)
	}
	slices.SortStableFunc(events, func(a, b api.Event) int { return a.Time.Compare(b.Time) })
	return events, taken, nil
}

// takenOut gives the entries of a pattern that should stand in a list by what is
// recorded, and do not: only an edit by hand leaves no record.
func (s *Server) takenOut(p intel.Pattern, events []ledger.Event) []api.TakenOut {
	stands, before := map[string]listingData{}, map[string]listingData{}
	last := ""
	for i := range events {
		var data listingData
		_ = json.Unmarshal(events[i].Data, &data) // of an event that was wiped, nothing
		switch events[i].Type {
		case typeListed, typeUnblocked:
			last, before[data.Disposition] = data.Disposition, stands[data.Disposition]
			stands[data.Disposition] = data
		case typeUnlisted:
			last, before[data.Disposition] = data.Disposition, stands[data.Disposition]
			delete(stands, data.Disposition)
		case typeNotListed:
			stands[last] = before[last]
		}
	}
	var taken []api.TakenOut
	for _, d := range []intel.Disposition{intel.Block, intel.Allow, intel.Watch} {
		data, ok := stands[d.String()]
		if !ok || data.Entry == "" || !data.Until.IsZero() && !data.Until.After(time.Now()) {
			continue
		}
		dir := filepath.Dir(filepath.Dir(data.File))
		// A list that cannot be read says nothing about its entries.
		if result, err := s.editor.Plan(dir, d, edit.Change{Remove: []intel.Pattern{p}}); err == nil && !result.Changes() {
			taken = append(taken, api.TakenOut{Entry: data.Entry, File: data.File})
		}
	}
	return taken
}
