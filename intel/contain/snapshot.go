package contain

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/intel"
)

// Snapshot is who is contained at one moment. It is immutable and safe for use by
// many goroutines. A nil Snapshot is nobody.
type Snapshot struct {
	site       *Site
	all        []*Containment // sorted by ID
	known      roll
	who        map[*Containment]*cover
	logins     map[string][]*Containment
	addresses  map[string][]*Containment
	everywhere map[string][]*Containment // by local part, in any local domain
	ranges     map[netip.Prefix]*Containment
	bits       []int // lengths of the ranges
}

// Hit is a containment that a message comes under, and what shows it.
type Hit struct {
	Containment *Containment
	Role        intel.Role // auth-user, envelope-from, header-from or client
	Value       string     // what stands there
	Place       string
}

func newSnapshot(all []*Containment, site *Site) *Snapshot {
	if len(all) == 0 {
		return nil
	}
	s := &Snapshot{
		site: site, all: all, known: site.roll(), who: map[*Containment]*cover{}, logins: map[string][]*Containment{}, addresses: map[string][]*Containment{},
		everywhere: map[string][]*Containment{}, ranges: map[netip.Prefix]*Containment{},
	}
	slices.SortFunc(all, func(a, b *Containment) int { return strings.Compare(a.ID, b.ID) })
	for _, c := range all {
		if c.Kind == Client {
			s.addRange(c)
		} else {
			s.addUser(c)
		}
	}
	slices.Sort(s.bits)
	return s
}

func (s *Snapshot) addRange(c *Containment) {
	p, err := parseRange(c.Value)
	if err != nil {
		return // no version of Weir recorded it
	}
	s.ranges[p] = c
	if !slices.Contains(s.bits, p.Bits()) {
		s.bits = append(s.bits, p.Bits())
	}
}

func (s *Snapshot) addUser(c *Containment) {
	who := s.site.cover(c.Value, &s.known)
	s.who[c] = who
	for _, login := range who.logins {
		s.logins[login] = append(s.logins[login], c)
	}
	for _, address := range who.addresses {
		s.addresses[address] = append(s.addresses[address], c)
	}
	if who.everywhere != "" {
		s.everywhere[who.everywhere] = append(s.everywhere[who.everywhere], c)
	}
}

// Match gives the containments in force that a message comes under, each once.
// login is the authenticated one, empty without; shown is what the message shows;
// inside says that it comes from inside, so that its sender's addresses count.
func (s *Snapshot) Match(login string, shown []intel.Observable, inside bool, now time.Time) []Hit {
	if s == nil {
		return nil
	}
	m := matching{now: now}
	if login = strings.TrimSpace(login); login != "" {
		m.under, m.hit = s.byLogin(login), Hit{Role: intel.RoleAuthUser, Value: login, Place: "envelope"}
		m.take()
	}
	for i := range shown {
		o := &shown[i]
		m.under = nil
		switch {
		case o.Role == intel.RoleClient && o.Value.Kind() == intel.KindIP:
			m.under = s.byClient(o.Value)
		case inside && (o.Role == intel.RoleEnvelopeFrom || o.Role == intel.RoleHeaderFrom) && o.Value.Kind() == intel.KindAddress:
			m.under = s.byAddress(o.Value)
		}
		if m.under != nil {
			m.hit = Hit{Role: o.Role, Value: o.Value.String(), Place: o.Place}
			m.take()
		}
	}
	return m.hits
}

// matching collects hits.
type matching struct {
	now   time.Time
	under []*Containment
	hit   Hit // of them, but for its containment
	hits  []Hit
}

func (m *matching) take() {
	for _, c := range m.under {
		if c.InForce(m.now) && !slices.ContainsFunc(m.hits, func(h Hit) bool { return h.Containment == c }) {
			m.hit.Containment = c
			m.hits = append(m.hits, m.hit)
		}
	}
}

// byLogin finds who is contained that logs in so. What stands behind the @ of a
// login need not be a mail domain: Cyrus SASL puts its realm there, which is the
// server's name by default.
func (s *Snapshot) byLogin(text string) []*Containment {
	login := loginOf(text)
	found := slices.Clone(s.logins[login])
	v, err := intel.Address(login)
	if err != nil || v == intel.NullSender() {
		return found
	}
	found = append(found, s.byAddress(v)...)
	if !s.site.IsLocal(v.Host()) {
		found = append(found, s.logins[localOf(v)]...)
	}
	return found
}

func (s *Snapshot) byAddress(v intel.Value) []*Containment {
	p := s.site.person(v)
	if p != nil && p.Mailbox != "" {
		return s.addresses[p.Addresses[0]]
	}
	text := v.String()
	if p != nil {
		text = p.Addresses[0]
	}
	plain := s.site.base(v.String())
	found := s.addresses[text]
	if p == nil && plain != text {
		found = slices.Concat(found, s.addresses[plain])
	}
	if at := strings.LastIndexByte(plain, '@'); at > 0 && len(s.everywhere) > 0 && s.site.IsLocal(v.Host()) {
		found = slices.Concat(found, s.everywhere[plain[:at]])
	}
	return found
}

func (s *Snapshot) byClient(v intel.Value) (found []*Containment) {
	addr, ok := v.Addr()
	if !ok {
		return nil
	}
	for _, bits := range s.bits {
		if p, err := addr.Prefix(bits); err == nil {
			if c := s.ranges[p]; c != nil {
				found = append(found, c)
			}
		}
	}
	return found
}

// Entry is a containment and all that it is about.
type Entry struct {
	*Containment
	Names   []string // logins and addresses of the user, or the range
	Unknown bool     // that there is a directory, and the user is not in it
}

// List gives the containments in force, the oldest first.
func (s *Snapshot) List(now time.Time) []Entry {
	if s == nil {
		return nil
	}
	var all []Entry
	for _, c := range s.all {
		if c.InForce(now) {
			all = append(all, s.entry(c))
		}
	}
	return all
}

func (s *Snapshot) entry(c *Containment) Entry {
	e := Entry{Containment: c, Names: []string{c.Value}}
	if who := s.who[c]; who != nil {
		e.Names, e.Unknown = who.names(), s.site.Directory != nil && !who.known
	}
	return e
}
