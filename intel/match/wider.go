package match

import (
	"iter"
	"net/netip"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmail/weir/intel"
)

// Wider gives the Hash of every pattern that matches all that p matches: p's
// own first, then from the most specific to the least, in the order in which a
// Snapshot looks at them. It gives only its own for a regular expression. It is
// for checking lists, not mail.
//
// Patterns of which marked does not know a mark, as AppendMarks gives it, may be
// left out: there are many ranges around an address and many beginnings of a URL.
func Wider(p intel.Pattern, marked func(mark uint64) bool) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		w := wider{yield, marked}
		if !yield(Hash(p)) {
			return
		}
		switch p.Kind() {
		case intel.KindURL:
			_ = w.prefixes(p) && w.urlHost(p.Text())
		case intel.KindAddress:
			host := p.Text()[strings.LastIndexByte(p.Text(), '@')+1:]
			_ = w.host(strings.Trim(host, "[]"), intel.FormExact)
		case intel.KindDomain:
			if p.Form() == intel.FormExact {
				_ = w.host(p.Text(), intel.FormBelow)
			} else if _, parent, ok := strings.Cut(p.Text(), "."); ok {
				_ = w.host(parent, intel.FormBelow)
			}
		case intel.KindIP:
			addr, err := netip.ParseAddr(p.Text())
			longest := addr.BitLen()
			if err != nil {
				block, err := netip.ParsePrefix(p.Text())
				if err != nil {
					return // unreachable: no other text is of this kind
				}
				addr, longest = block.Addr(), block.Bits()-1
			}
			_ = w.ranges(addr, longest)
		}
	}
}

// wider gives patterns by their hashes. Its methods report whether more are
// wanted.
type wider struct {
	yield  func(uint64) bool
	marked func(uint64) bool
}

// prefixes gives the URL prefixes that begin the text of p, or are all of it.
func (w wider) prefixes(p intel.Pattern) bool {
	text := p.MatchText()
	if !w.marked(hash(text[:hostEnd(text)], markHost, intel.KindURL)) {
		return true
	}
	longest := len(text)
	if p.Form() == intel.FormPrefix {
		longest--
	}
	for end := longest; end > hostEnd(text); end-- {
		if !w.yield(hash(text[:end], intel.FormPrefix, intel.KindURL)) {
			return false
		}
	}
	return true
}

// urlHost gives what holds for the host of a URL.
func (w wider) urlHost(url string) bool {
	v, err := intel.URL(url)
	return err != nil || w.host(v.Host(), intel.FormExact) // the text is canonical
}

// host gives what holds for a host, beginning with entries of this form.
func (w wider) host(host string, first intel.Form) bool {
	if addr, ok := intel.HostAddr(host); ok {
		return w.yield(hash(addr.String(), intel.FormExact, intel.KindIP)) && w.ranges(addr, addr.BitLen())
	}
	if first == intel.FormExact && !w.yield(hash(host, intel.FormExact, intel.KindDomain)) {
		return false
	}
	for more := host != ""; more; _, host, more = strings.Cut(host, ".") {
		if !w.yield(hash(host, intel.FormBelow, intel.KindDomain)) {
			return false
		}
	}
	return true
}

// ranges gives the ranges around addr of at most so many bits.
func (w wider) ranges(addr netip.Addr, longest int) bool {
	family := "6"
	if addr.Is4() {
		family = "4"
	}
	for n := longest; n >= 0; n-- {
		if !w.marked(lengthMark(family, n)) {
			continue
		}
		block, err := addr.Prefix(n)
		if err != nil {
			return true // unreachable: addr has that many bits and no zone
		}
		if !w.yield(finish(xxhash.Sum64String(block.String()), intel.FormRange, intel.KindIP)) {
			return false
		}
	}
	return true
}
