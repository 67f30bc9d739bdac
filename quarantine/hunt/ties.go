package hunt

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/intel/wal"
)

// Bounds on what later mail is compared with. Beyond them, a message is taken for
// a stranger to the incident, or a sure link for an unsure one.
const (
	maxTies       = 20_000  // messages of all incidents; those of the incident that was quiet longest go
	maxMembers    = 20_000  // messages of one incident that are known to belong to it
	maxMembersAll = 200_000 // and of all
	maxSharers    = 64      // incidents that one thing leads to
	maxNames      = 500_000 // Message-IDs, and addresses that got a message, of all
	maxProbes     = 100     // names among a message's References that are compared, the last ones
)

// ties are the messages of incidents that later mail is compared with, by what of
// them a message has that answers or forwards one. They are in memory alone: the
// desk knows what incidents have matched.
type ties struct {
	incidents map[string]*tied       // by their keys
	by        map[journal.Key][]*tie // at most one of each incident
	n         int                    // ties
	members   int
	names     int // about
}

// tied is one incident. Maps are as links and trail have them.
type tied struct {
	key     string
	ties    []*tie // the oldest first
	members map[wal.Position]bool
	ids     map[string]node
	got     map[intel.Value]node
	linked  int       // messages that answer or forward others
	last    time.Time // when the last one was found
}

// tie is a message of an incident and what it can be recognised by.
type tie struct {
	node
	of   *tied
	keys []journal.Key
}

func newTies() *ties {
	return &ties{incidents: map[string]*tied{}, by: map[journal.Key][]*tie{}}
}

func (x *ties) incident(key string, found time.Time) *tied {
	d := x.incidents[key]
	if d == nil {
		d = &tied{key: key, members: map[wal.Position]bool{}, ids: map[string]node{}, got: map[intel.Value]node{}}
		x.incidents[key] = d
	}
	if d.last.Before(found) {
		d.last = found
	}
	return d
}

// member notes that a message is in an incident, whether surely, and whether for
// answering or forwarding another.
func (x *ties) member(d *tied, at wal.Position, sure, joined bool) {
	before, known := d.members[at]
	if !known {
		if joined {
			d.linked++
		}
		// What joined is bounded by MaxLinks, and has to be known: or it joins again.
		if !joined && (len(d.members) >= maxMembers || x.members >= maxMembersAll) {
			return
		}
		x.members++
	}
	d.members[at] = before || sure
}

// add has later mail compared with a message, unless it is already.
func (x *ties) add(d *tied, n node, keys []journal.Key) {
	if slices.ContainsFunc(d.ties, func(other *tie) bool { return other.at == n.at }) {
		return
	}
	for len(d.ties) >= maxFollowed {
		x.replace(d)
	}
	t := &tie{n, d, keys}
	d.ties = append(d.ties, t)
	x.n++
	for _, key := range keys {
		if own := x.by[key]; len(own) < maxSharers && !slices.ContainsFunc(own, func(other *tie) bool { return other.of == d }) {
			x.by[key] = append(x.by[key], t)
		}
	}
	for x.n > maxTies && len(x.incidents) > 1 {
		x.drop(x.quietest(d))
	}
}

// quietest gives the incident that was extended longest ago, but for one.
func (x *ties) quietest(but *tied) (quiet *tied) {
	for _, d := range x.incidents {
		if d != but && (quiet == nil || d.last.Before(quiet.last)) {
			quiet = d
		}
	}
	return quiet
}

func (x *ties) remove(t *tie) {
	x.n--
	for _, key := range t.keys {
		x.forget(key, t.of)
	}
}

// replace lets an incident's oldest tie go. What others have in common with it
// leads to the next one.
func (x *ties) replace(d *tied) {
	oldest := d.ties[0]
	d.ties = slices.Delete(d.ties, 0, 1)
	x.remove(oldest)
	for _, key := range oldest.keys {
		if i := slices.IndexFunc(d.ties, func(t *tie) bool { return slices.Contains(t.keys, key) }); i >= 0 {
			x.by[key] = append(x.by[key], d.ties[i])
		}
	}
}

// forget ends the comparing of what leads to an incident by a key.
func (x *ties) forget(key journal.Key, d *tied) {
	left := slices.DeleteFunc(x.by[key], func(t *tie) bool { return t.of == d })
	if x.by[key] = left; len(left) == 0 {
		delete(x.by, key)
	}
}

func (x *ties) drop(d *tied) {
	for _, t := range d.ties {
		x.remove(t)
	}
	x.members -= len(d.members)
	delete(x.incidents, d.key)
}

// expire drops the incidents that nothing came into for long.
func (x *ties) expire(since time.Time) {
	x.names = 0
	for _, d := range x.incidents {
		if d.last.Before(since) {
			x.drop(d)
			continue
		}
		x.names += len(d.ids) + len(d.got)
	}
}

// take takes over what a pass has found of an incident.
func (x *ties) take(t *trail, now time.Time) {
	if t.links == nil || t.closed {
		return
	}
	d := x.incident(t.opening.Key, now)
	for at := range t.seen {
		sure, joined := t.joined[at]
		x.member(d, at, sure || !joined, joined)
	}
	for i := range t.met {
		x.add(d, t.met[i].node, t.met[i].keys)
	}
	t.met = nil
	for id, n := range t.links.ids {
		if _, known := d.ids[id]; !known && x.names < maxNames {
			d.ids[id] = n
			x.names++
		}
	}
	for to, n := range t.links.got {
		if _, known := d.got[to]; !known && len(d.got) < maxGot && x.names < maxNames {
			d.got[to] = n
			x.names++
		}
	}
}

// hit is a later message that has something of messages of incidents.
type hit struct {
	journal.Record
	ties map[*tie]bool
	keys []journal.Key // what it has
}

// knows reports whether something leads to a message of an incident.
func (x *ties) knows(key journal.Key) bool { return x.by[key] != nil }

// hits gives what an entry has of messages of incidents; nil if nothing.
func (x *ties) hits(r journal.Record) *hit {
	var h *hit
	probe := func(key journal.Key) {
		for _, t := range x.by[key] {
			if r.Position <= t.at || t.of.members[r.Position] {
				continue
			}
			if h == nil {
				h = &hit{Record: r, ties: map[*tie]bool{}}
			}
			h.ties[t] = true
			h.keys = append(h.keys, key)
		}
	}
	e := r.Entry
	if e.Item != "" { // a person let it go
		return nil
	}
	for _, id := range e.References[max(0, len(e.References)-maxProbes):] {
		probe(journal.KeyOfMessageID(id))
	}
	if e.MessageID != "" {
		probe(journal.KeyOfMessageID(e.MessageID))
	}
	if e.Parent != "" {
		probe(journal.KeyOfID(e.Parent))
	}
	for i := range e.Observables {
		switch o := &e.Observables[i]; o.Role {
		case intel.RoleBody, intel.RoleAttachment, intel.RoleURL:
			probe(journal.KeyOf(o.Value))
		}
	}
	return h
}

// sorted gives the ties of a hit, the oldest message first.
func (h *hit) sorted() []*tie {
	return slices.SortedFunc(maps.Keys(h.ties), func(a, b *tie) int { return cmp.Compare(a.at, b.at) })
}
