package contain

import (
	"slices"
	"strings"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/directory"
)

// cover is all that is a user's.
type cover struct {
	logins    []string
	addresses []string // canonical
	// everywhere says that the login is also the local part of an address in every
	// local domain, unless the directory says whose that is: of domains with all
	// below them there is no list.
	everywhere string
}

// logins knows whose mailbox has which login, as the directory says.
type logins map[string][]*directory.Person

func loginsOf(d *directory.Directory) logins {
	known := logins{}
	for p := range d.People() {
		if p.Mailbox != "" && len(p.Addresses) > 0 {
			known[loginOf(p.Mailbox)] = append(known[loginOf(p.Mailbox)], p)
		}
	}
	return known
}

// cover finds what is a user's by a login or an address. Where the directory does
// not know the user, a login without a domain and the addresses in the local
// domains with that local part are one, where there are few domains.
func (s *Site) cover(value string, known logins) *cover {
	c := &cover{}
	if v, err := intel.Address(value); err == nil && strings.Contains(value, "@") {
		c.address(s, v, known)
	} else {
		c.login(s, value, known)
	}
	return c
}

func (c *cover) address(s *Site, v intel.Value, known logins) {
	if people := known[v.String()]; len(people) > 0 { // a login that looks like an address
		c.logins = add(c.logins, v.String())
		c.people(s, people, known)
	}
	if p := s.person(v); p != nil {
		c.people(s, []*directory.Person{p}, known)
		return
	}
	plain := s.base(v.String())
	c.addresses = add(add(c.addresses, v.String()), plain)
	if local := plain[:strings.LastIndexByte(plain, '@')]; known[local] == nil && len(s.LocalDomains) <= maxDomains {
		c.logins = add(c.logins, local)
	}
}

func (c *cover) login(s *Site, login string, known logins) {
	c.logins = add(c.logins, login)
	if people := known[login]; len(people) > 0 {
		c.people(s, people, known)
		return
	}
	if len(s.LocalDomains) > maxDomains {
		return // a provider's: the others of that name are somebody else's users
	}
	for _, domain := range s.LocalDomains {
		v, err := intel.Address(login + "@" + strings.TrimPrefix(domain, "."))
		if err != nil {
			continue
		}
		switch p := s.person(v); {
		case p == nil:
			c.addresses = add(c.addresses, v.String())
		case p.Mailbox == "":
			c.people(s, []*directory.Person{p}, known)
		}
		if strings.HasPrefix(domain, ".") {
			c.everywhere = login
		}
	}
}

// people adds what the directory says of people. Whoever has no mailbox of
// another name logs in as one of their addresses, or as its local part.
func (c *cover) people(s *Site, all []*directory.Person, known logins) {
	for _, p := range all {
		if p.Mailbox != "" {
			c.logins = add(c.logins, loginOf(p.Mailbox))
		}
		for _, address := range p.Addresses {
			c.addresses = add(c.addresses, address)
			v, err := intel.Address(address)
			if err != nil || p.Mailbox != "" || !s.IsLocal(v.Host()) {
				continue
			}
			plain := s.base(address)
			if local := plain[:strings.LastIndexByte(plain, '@')]; known[local] == nil {
				c.logins = add(c.logins, local)
			}
		}
	}
}

func add(all []string, text string) []string {
	if slices.Contains(all, text) {
		return all
	}
	return append(all, text)
}

// names lists all that the user is known by here.
func (c *cover) names() []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(c.logins, c.addresses))))
}
