// Package directory knows the people behind addresses: their names, groups and
// whether they are worth impersonating.
//
// It is read from one CSV file, because that is what administrators can export
// from LDAP and from spreadsheets:
//
//	# comment
//	address;name;groups;vip;mailbox
//	ceo@example.org c.e.o@example.org;Carla Example;board staff;yes;carla
//	@shop.example.org;;shop;;
//
// The first line that is neither empty nor a comment names the columns, in any
// order; only address has to be there. The delimiter is the comma or the
// semicolon, whichever that line uses. Quotes are those of RFC 4180. Several
// addresses, and several groups, stand in one field separated by spaces (in a
// quoted field commas and semicolons do as well). An address that begins with
// @ is a whole domain: what holds for everybody there whom no other line names.
// Empty lines and lines that begin with # are skipped.
//
// A Directory is immutable; the file loads as a whole or not at all. The
// package watches nothing and keeps nothing from earlier files: who holds the
// current Directory swaps it.
package directory

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/weirmail/weir/intel"
)

// Person is one entry of the directory. It is shared and never written to.
type Person struct {
	Name      string
	Addresses []string // canonical; empty for a whole domain
	Groups    []string // sorted, lower case
	VIP       bool
	Mailbox   string // the login of their mailbox where it is not their address; empty otherwise
}

// In reports whether the person belongs to the group, which is written in
// lower case. Nobody is in no group: p may be nil.
func (p *Person) In(group string) bool {
	if p == nil {
		return false
	}
	_, found := slices.BinarySearch(p.Groups, group)
	return found
}

// Directory maps addresses to people. Its zero value and a nil pointer know
// nobody. It is safe for concurrent use.
type Directory struct {
	people     []*Person
	byAddress  map[string]*Person // canonical address
	byDomain   map[string]*Person // canonical domain, for everybody else there
	groups     []string
	delimiters string
}

// Lookup gives the person behind an address, or nil. The address as it stands
// comes first, then the one without its extension (RFC 5233: what follows the
// first delimiter in alice+lists@example.org), then its whole domain. Values
// of another kind, the null sender and the zero Value are nobody's.
func (d *Directory) Lookup(address intel.Value) *Person {
	if d == nil || address.Kind() != intel.KindAddress {
		return nil
	}
	text := address.String()
	if p := d.byAddress[text]; p != nil {
		return p
	}
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return nil
	}
	// Searching from the second byte on keeps a local part that begins with a
	// delimiter whole.
	if i := strings.IndexAny(text[1:at], d.delimiters); i >= 0 {
		var room [128]byte
		base := append(append(room[:0], text[:1+i]...), text[at:]...)
		if p := d.byAddress[string(base)]; p != nil {
			return p
		}
	}
	return d.byDomain[text[at+1:]]
}

// Groups lists the names of all groups, sorted.
func (d *Directory) Groups() []string {
	if d == nil {
		return nil
	}
	return slices.Clone(d.groups)
}

// People gives every entry in the order of the file, whole domains included.
func (d *Directory) People() iter.Seq[*Person] {
	if d == nil {
		return func(func(*Person) bool) {}
	}
	return slices.Values(d.people)
}

// Len is the number of entries.
func (d *Directory) Len() int {
	if d == nil {
		return 0
	}
	return len(d.people)
}

// collectGroups gives the sorted names of all groups of these people.
func collectGroups(people []*Person) []string {
	names := map[string]bool{}
	for _, p := range people {
		for _, g := range p.Groups {
			names[g] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
