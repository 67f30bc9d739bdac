package match

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmail/weir/intel"
)

// walker goes through the generalisations of one observable, the most specific
// first, and keeps what is known of each. It allocates nothing while that is
// nothing.
type walker struct {
	s      *Snapshot
	levels [][]*intel.Indicator
	err    error // of the Source; ends the walk
}

// known gives the indicators for v, in force or not, level by level, the most
// specific first. Levels without any are left out. The error is the Source's.
func (s *Snapshot) known(v intel.Value) (levels [][]*intel.Indicator, err error) {
	w := walker{s: s}
	switch v.Kind() {
	case intel.KindURL:
		w.url(intel.Exact(v).MatchText())
		w.host(v.Host())
	case intel.KindAddress:
		w.try(intel.FormExact, intel.KindAddress, v.String())
		if host := v.Host(); host != "" {
			w.host(host)
		} else {
			w.literal(v.String())
		}
	case intel.KindDomain:
		w.host(v.String()) // clients that know no better greet with an address
	case intel.KindIP:
		if addr, ok := v.Addr(); ok {
			w.ip(addr, v.String())
		}
	case intel.KindSHA256, intel.KindSHA1, intel.KindMD5:
		w.try(intel.FormExact, v.Kind(), v.String())
	}
	return w.levels, w.err
}

// try looks at one generalisation.
func (w *walker) try(form intel.Form, kind intel.Kind, text string) {
	if w.s.filter.Contains(hash(text, form, kind)) {
		w.lookup(form, kind, text)
	}
}

// lookup asks the Source for what the filter could not rule out.
func (w *walker) lookup(form intel.Form, kind intel.Kind, text string) {
	if w.err != nil {
		return
	}
	var room [256]byte
	key := intel.AppendPatternKey(room[:0], form, kind, text)
	found, err := w.s.source.Lookup(nil, hash(text, form, kind), key)
	if err != nil {
		w.err = err
		return
	}
	if len(found) > 0 {
		w.levels = append(w.levels, found)
	}
}

// url tries a URL, given by its match text, and the prefixes that it has.
func (w *walker) url(text string) {
	w.try(intel.FormExact, intel.KindURL, text)
	if !w.s.filter.Contains(hash(text[:hostEnd(text)], markHost, intel.KindURL)) {
		return
	}
	var room [32]int
	for _, end := range slices.Backward(w.prefixEnds(room[:0], text)) {
		w.lookup(intel.FormPrefix, intel.KindURL, text[:end])
	}
}

// prefixEnds appends the lengths, ascending, of those beginnings of text that
// may be the text of a URL prefix. It hashes text once, from end to end.
func (w *walker) prefixEnds(dst []int, text string) []int {
	var sum xxhash.Digest
	sum.Reset()
	done, path := 0, pathEnd(text)
	for done < path {
		slash := strings.IndexByte(text[done:path], '/')
		if slash < 0 {
			break
		}
		_, _ = sum.WriteString(text[done : done+slash+1])
		done += slash + 1
		if !w.s.filter.Contains(finish(sum.Sum64(), markBucket, intel.KindURL)) {
			continue
		}
		end := len(text) // of what may end in this bucket: at the next slash of the path
		if next := strings.IndexByte(text[done:path], '/'); next >= 0 {
			end = done + next
		}
		end = min(end, done+w.s.maxTail)
		tail := sum
		for cut := done; ; cut++ {
			if w.s.filter.Contains(finish(tail.Sum64(), intel.FormPrefix, intel.KindURL)) {
				dst = append(dst, cut)
			}
			if cut == end {
				break
			}
			_, _ = tail.WriteString(text[cut : cut+1])
		}
	}
	return dst
}

// host tries what holds for a host, whether it is a name or an IP address.
func (w *walker) host(name string) {
	if addr, ok := intel.HostAddr(name); ok {
		w.ip(addr, name)
		return
	}
	w.domain(name)
}

// literal tries what holds for the IP address in local@[192.0.2.1].
func (w *walker) literal(address string) {
	host := strings.Trim(address[strings.LastIndexByte(address, '@')+1:], "[]")
	if addr, err := netip.ParseAddr(host); err == nil {
		w.ip(addr, host)
	}
}

// domain tries exactly this name, then every entry for a name and all below it.
func (w *walker) domain(name string) {
	if name == "" {
		return
	}
	w.try(intel.FormExact, intel.KindDomain, name)
	for {
		w.try(intel.FormBelow, intel.KindDomain, name)
		dot := strings.IndexByte(name, '.')
		if dot < 0 {
			return
		}
		name = name[dot+1:]
	}
}

// ip tries an address, whose canonical text this is, and the ranges around it.
func (w *walker) ip(addr netip.Addr, text string) {
	w.try(intel.FormExact, intel.KindIP, text)
	lengths := w.s.lengths6[:]
	if addr.Is4() {
		lengths = w.s.lengths4[:]
	}
	for bits, used := range slices.Backward(lengths) {
		if !used {
			continue
		}
		block, err := addr.Prefix(bits)
		if err != nil {
			continue // unreachable: addr has that many bits and no zone
		}
		var room [64]byte
		cidr := block.AppendTo(room[:0])
		if w.s.filter.Contains(finish(xxhash.Sum64(cidr), intel.FormRange, intel.KindIP)) {
			w.lookup(intel.FormRange, intel.KindIP, string(cidr))
		}
	}
}
