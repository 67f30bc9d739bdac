package share

import (
	"cmp"
	"slices"
	"time"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/export"
	"github.com/weirmail/weir/intel/kv"
)

// keepEnded is how long peers can read that something was revoked or has ended. Who
// comes later has read all of the collection since.
const keepEnded = 30 * 24 * time.Hour

// clockSkew is how far the clocks of peers may be apart: what is valid from now on is
// so for one whose clock is slow, too.
const clockSkew = 10 * time.Minute

// Object is what peers get of an indicator.
type Object struct {
	export.Object
	Revoked bool `json:"revoked,omitempty"`

	added int64
}

// Added is when this version of the object was added.
func (o *Object) Added() time.Time { return timeOf(o.added) }

// Query says which objects are wanted.
type Query struct {
	After int64    // a stamp: those that were added after it; 0: all
	IDs   []string // only these; empty: all
	Limit int      // at most so many, at least 1
	// Versions, where not empty, are the only ones that are wanted, as Object.Modified
	// has them.
	Versions []string
}

// Page is a part of what is published, in the order in which it was added.
type Page struct {
	Objects []Object
	More    bool // there are others behind it
}

// Page gives what is published, as far as the settings of this moment let it.
func (s *Share) Page(q Query) (Page, error) {
	snapshot, err := s.o.View.db.Snapshot()
	if err != nil {
		return Page{}, err
	}
	defer snapshot.Release()
	var page Page
	r := reading{snapshot, s.settings.Load().Guard, s.o.Identity.Now()}
	take := func(o *Object) (more bool) {
		switch {
		case o == nil || o.added <= q.After || len(q.Versions) > 0 && !slices.Contains(q.Versions, o.Modified):
			return true
		case len(page.Objects) == q.Limit:
			page.More = true
			return false
		}
		page.Objects = append(page.Objects, *o)
		return true
	}
	if len(q.IDs) > 0 {
		some, err := r.named(q.IDs)
		if err != nil {
			return Page{}, err
		}
		for i := range some {
			if !take(&some[i]) {
				break
			}
		}
		return page, nil
	}
	for e, err := range snapshot.Range([]byte(keyStamp), stampKey(q.After+1)) {
		if err != nil {
			return Page{}, err
		}
		o, err := r.object(string(e.Value))
		if err != nil {
			return Page{}, err
		}
		if !take(o) {
			break
		}
	}
	return page, nil
}

// Published is an object as it is known here.
type Published struct {
	Pattern    intel.Pattern
	Object     string // its ID
	TLP        string
	Confidence int
	Since      time.Time // when it was published first
	Changed    time.Time
	Until      time.Time // zero: for ever
	Revoked    bool
	Grounds    []string // incidents and lists that spoke for it when it was published

	added int64
}

// Place is where an object stands in the order of List.
func (p *Published) Place() int64 { return p.added }

// List gives what is published, the newest first: at most so many objects, of those
// that were added before the place, if it is not 0. With all also what is revoked or
// has ended. more says that there are others behind them.
func (s *Share) List(before int64, limit int, all bool) (found []Published, more bool, err error) {
	snapshot, err := s.o.View.db.Snapshot()
	if err != nil {
		return nil, false, err
	}
	defer snapshot.Release()
	now := s.o.Identity.Now()
	for _, o := range entries[object](snapshot, keyObject, &err) {
		p, unknown := intel.NamedPattern(o.Pattern)
		if unknown != nil || before != 0 && o.Added >= before || !all && !o.live(now) {
			continue
		}
		found = append(found, Published{
			Pattern: p, Object: o.ID, TLP: o.TLP, Confidence: o.Confidence, Since: timeOf(o.Created), Changed: timeOf(o.Added),
			Until: o.Until, Revoked: o.Revoked, Grounds: o.Grounds, added: o.Added,
		})
	}
	slices.SortFunc(found, func(a, b Published) int { return cmp.Compare(b.added, a.added) })
	if len(found) > limit {
		found, more = found[:limit], true
	}
	return found, more, err
}

// reading reads objects for peers.
type reading struct {
	s     *kv.Snapshot
	guard *Guard
	now   time.Time
}

// named gives those of the named objects that are there.
func (r *reading) named(ids []string) (all []Object, err error) {
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		o, err := r.object(id)
		if err != nil {
			return nil, err
		}
		if o != nil {
			all = append(all, *o)
		}
	}
	slices.SortFunc(all, func(a, b Object) int { return cmp.Compare(a.added, b.added) })
	return all, nil
}

// object gives an object as peers get it; nil where they get none.
func (r *reading) object(id string) (*Object, error) {
	var o object
	ok, err := get(r.s, keyObject+id, &o)
	if err != nil || !ok {
		return nil, err
	}
	ended := timeOf(o.Added)
	if !o.Revoked {
		ended = o.Until
	}
	if !o.live(r.now) && r.now.Sub(ended) > keepEnded {
		return nil, nil
	}
	p, err := intel.NamedPattern(o.Pattern)
	if err != nil {
		return nil, err
	}
	// Asked at every reading: what was nobody's yesterday may be ours today.
	if r.guard.Ours(p) != "" {
		return nil, nil
	}
	tlp, _ := intel.ParseTLP(o.TLP)
	in := intel.Indicator{Pattern: p, Disposition: intel.Block, Confidence: o.Confidence, TLP: tlp, Until: o.Until}
	from := timeOf(o.Created)
	if !in.Until.IsZero() && !in.Until.After(from) { // it ended as it was published
		return nil, nil
	}
	said, err := export.NewObject(&in, export.ObjectOptions{Created: from, Modified: timeOf(o.Added), Bare: true})
	if err != nil {
		return nil, err
	}
	said.ID, said.ValidFrom = o.ID, from.Add(-clockSkew).UTC().Format(stixTime)
	return &Object{Object: said, Revoked: o.Revoked, added: o.Added}, nil
}

// stixTime is the form of timestamps in STIX, with milliseconds.
const stixTime = "2006-01-02T15:04:05.000Z"
