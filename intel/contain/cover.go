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
	known      bool // to the directory
}

// roll knows whom the directory has by a name without a domain.
type roll struct {
	logins map[string][]*directory.Person // by the login of their mailbox
	locals map[string][]*directory.Person // by what stands before the @ of an address in a local domain, without extension
}

func (s *Site) roll() roll {
	known := roll{map[string][]*directory.Person{}, map[string][]*directory.Person{}}
	for p := range s.Directory.People() {
		if p.Mailbox != "" && len(p.Addresses) > 0 {
			known.logins[loginOf(p.Mailbox)] = append(known.logins[loginOf(p.Mailbox)], p)
		}
		for _, address := range p.Addresses {
			at := strings.LastIndexByte(address, '@')
			if at < 1 || !s.IsLocal(address[at+1:]) {
				continue
			}
			plain := s.base(address)
			local := plain[:strings.LastIndexByte(plain, '@')]
			if all := known.locals[local]; len(all) == 0 || all[len(all)-1] != p { // everybody comes once
				known.locals[local] = append(all, p)
			}
		}
	}
	return known
}

// called gives whom a name without a domain means: those who log in so, or else
// those who have an address that begins so.
func (k *roll) called(name string) []*directory.Person {
	if all := k.logins[name]; len(all) > 0 {
		return all
	}
	return k.locals[name]
}

// cover finds what is a user's by a login or an address. Where the directory does
// not know the user, a login without a domain and the addresses in the local
// domains with that local part are one, where there are few domains.
func (s *Site) cover(value string, known *roll) *cover {
	c := &cover{}
	if v, err := intel.Address(value); err == nil && strings.Contains(value, "@") {
		c.address(s, v, known)
	} else {
		c.login(s, value, known)
	}
	return c
}

func (c *cover) address(s *Site, v intel.Value, known *roll) {
	if all := known.logins[v.String()]; len(all) > 0 { // a login that looks like an address
		c.logins = add(c.logins, v.String())
		c.people(s, all, known)
	}
	if p := s.person(v); p != nil {
		c.people(s, []*directory.Person{p}, known)
		return
	}
	plain := s.base(v.String())
	c.addresses = add(add(c.addresses, v.String()), plain)
	if local := plain[:strings.LastIndexByte(plain, '@')]; known.logins[local] == nil && len(s.LocalDomains) <= maxDomains {
		c.logins = add(c.logins, local)
	}
}

func (c *cover) login(s *Site, login string, known *roll) {
	c.logins = add(c.logins, login)
	if all := known.called(login); len(all) > 0 {
		c.people(s, all, known)
		if known.logins[login] != nil {
			return
		}
	}
	if len(s.LocalDomains) > maxDomains {
		return // a provider's: the others of that name are somebody else's users
	}
	for _, domain := range s.LocalDomains {
		v, err := intel.Address(login + "@" + strings.TrimPrefix(domain, "."))
		if err != nil {
			continue
		}
		if s.person(v) == nil {
			c.addresses = add(c.addresses, v.String())
		}
		if strings.HasPrefix(domain, ".") {
			c.everywhere = login
		}
	}
}

// people adds what the directory says of people. Whoever has no mailbox of
// another name logs in as one of their addresses, or as its local part.
func (c *cover) people(s *Site, all []*directory.Person, known *roll) {
	c.known = true
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
			if local := plain[:strings.LastIndexByte(plain, '@')]; known.logins[local] == nil {
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
