package mailbox

import (
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/filter/message"
)

// Targets is what one Find looks for, ready to be compared with many messages. It
// is for Backends.
type Targets struct {
	all         []Target
	byMessageID map[string][]int
	byWeirID    map[string][]int // by the part before the first dot
	found       []bool
	sure        []bool // a copy bore both names
}

// NewTargets gives those of one Find.
func NewTargets(all []Target) *Targets {
	t := &Targets{all: all, byMessageID: map[string][]int{}, byWeirID: map[string][]int{}, found: make([]bool, len(all)), sure: make([]bool, len(all))}
	for i := range all {
		if id := all[i].MessageID; id != "" {
			t.byMessageID[id] = append(t.byMessageID[id], i)
		}
		if id := all[i].WeirID; id != "" {
			t.byWeirID[firstPart(id)] = append(t.byWeirID[firstPart(id)], i)
		}
	}
	return t
}

func firstPart(id string) string {
	first, _, _ := strings.Cut(id, ".")
	return first
}

// Needles gives what can be searched for in a header field, each once and in
// order: of Message-ID, or of WeirIDField. Targets of which a copy was found that
// bore both names are left out.
func (t *Targets) Needles(field string) []string {
	var all []string
	for i := range t.all {
		id := t.all[i].MessageID
		if field == WeirIDField {
			id = t.all[i].WeirID
		}
		if needle, ok := Needle(id); ok && !t.sure[i] {
			all = append(all, needle)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Match gives the targets whose name a copy bears, with the name in its By, and
// counts them as found.
func (t *Targets) Match(c Copy) []Found {
	var all []Found
	try := func(i int) {
		if by, ok := t.all[i].Match(&c); ok {
			t.found[i] = true
			t.sure[i] = t.sure[i] || by == ByWeirID && t.all[i].MessageID == c.MessageID
			one := c
			one.By = by
			all = append(all, Found{i, one})
		}
	}
	ofMessage := t.byMessageID[c.MessageID]
	for _, i := range ofMessage {
		try(i)
	}
	for _, i := range t.byWeirID[firstPart(c.WeirID)] {
		if !slices.Contains(ofMessage, i) {
			try(i)
		}
	}
	return all
}

// Unnamed gives the targets whose content has to be looked for, since no copy was
// found of them yet.
func (t *Targets) Unnamed() *Contents {
	c := &Contents{by: map[[32]byte][]int{}}
	for i := range t.all {
		if target := &t.all[i]; target.ByContent() && !t.found[i] {
			c.all, c.indexes = append(c.all, target), append(c.indexes, i)
			c.by[target.Body] = append(c.by[target.Body], i)
		}
	}
	return c
}

// Contents is what is looked for by content. It is for Backends.
type Contents struct {
	all     []*Target
	indexes []int // of all, among the targets
	by      map[[32]byte][]int
}

// None reports whether nothing is looked for.
func (c *Contents) None() bool { return len(c.all) == 0 }

// Indexes gives which of the targets they are.
func (c *Contents) Indexes() []int { return c.indexes }

// Plausible reports whether a message of so many bytes can be one of them.
func (c *Contents) Plausible(size int64) bool {
	return slices.ContainsFunc(c.all, func(t *Target) bool { return t.Plausible(size) })
}

// Distance gives how far a time is from the nearest one at which one of them was
// delivered.
func (c *Contents) Distance(date time.Time) time.Duration {
	nearest := c.all[0].Distance(date)
	for _, t := range c.all[1:] {
		nearest = min(nearest, t.Distance(date))
	}
	return nearest
}

// Held gives the indexes of the targets whose content a message has.
func (c *Contents) Held(p *message.Parser, raw []byte) []int {
	m := p.Parse(raw, nil)
	defer m.Close()
	if m.Incomplete != nil {
		return nil
	}
	return c.by[m.Body]
}
