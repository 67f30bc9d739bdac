package hunt

import (
	"net/netip"
	"strings"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/journal"
)

// maxWidth is how many bits shorter than the widest ranges that have a key one
// may be, and still be looked up by the keys of all ranges in it: any IPv4 range,
// and an IPv6 /32. Wider ones are looked for in every entry.
const maxWidth = 16

// appendKeys appends the keys under which the journal has every entry that a
// pattern can match; an entry may be there for another reason. ok is false where
// no keys lead there.
func appendKeys(dst []journal.Key, p intel.Pattern) (keys []journal.Key, ok bool) {
	switch p.Form() {
	case intel.FormExact:
		return append(dst, journal.KeyOf(p.Value())), true
	case intel.FormBelow:
		v, err := intel.Domain(p.Text())
		return append(dst, journal.KeyOf(v)), err == nil
	case intel.FormPrefix:
		return appendHostKey(dst, p.Text())
	case intel.FormRange:
		block, err := netip.ParsePrefix(p.Text())
		if err != nil {
			return dst, false // unreachable: no other text is a range's
		}
		return appendRangeKeys(dst, block)
	}
	return dst, false
}

// appendHostKey appends the key of a URL prefix's host, which ends before its
// path.
func appendHostKey(dst []journal.Key, prefix string) ([]journal.Key, bool) {
	scheme, rest, _ := strings.Cut(prefix, "://")
	authority, _, _ := strings.Cut(rest, "/")
	v, err := intel.URL(scheme + "://" + authority + "/")
	if err != nil {
		return dst, false
	}
	host := v.Host()
	if addr, ok := intel.HostAddr(host); ok {
		v, err = intel.IP(addr)
	} else {
		v, err = intel.Domain(host)
	}
	return append(dst, journal.KeyOf(v)), err == nil
}

// appendRangeKeys appends the key of a range, or those of all ranges in it that
// have one.
func appendRangeKeys(dst []journal.Key, block netip.Prefix) ([]journal.Key, bool) {
	if key, ok := journal.KeyOfRange(block); ok {
		return append(dst, key), true
	}
	coarsest := 48
	if block.Addr().Is4() {
		coarsest = 16
	}
	if coarsest-block.Bits() > maxWidth {
		return dst, false
	}
	bytes := block.Addr().AsSlice()
	for range 1 << (coarsest - block.Bits()) {
		addr, _ := netip.AddrFromSlice(bytes)
		if key, ok := journal.KeyOfRange(netip.PrefixFrom(addr, coarsest)); ok {
			dst = append(dst, key)
		}
		for i := coarsest/8 - 1; i >= 0; i-- { // the next range
			if bytes[i]++; bytes[i] != 0 {
				break
			}
		}
	}
	return dst, true
}
