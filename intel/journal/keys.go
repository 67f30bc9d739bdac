package journal

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmail/weir/intel"
)

// Key is what the index knows an entry by: the xxhash64 of something that it
// carries. Two things may share a key, so whoever looks one up checks the entry.
type Key uint64

// Tags keep what is no intel.Value apart from those, whose first byte is a Kind.
const (
	tagMessageID = 0xf0
	tagID        = 0xf1
	tagQueueID   = 0xf2
	tagRange     = 0xf3
)

func tagged(tag byte, text string) Key {
	var buf [128]byte
	return Key(xxhash.Sum64(append(append(buf[:0], tag), text...)))
}

// KeyOf is the key of every entry that has the value as an observable, or, for
// a domain, any host at or below it down to its registrable domain.
func KeyOf(v intel.Value) Key { return Key(v.Hash()) }

// KeyOfMessageID is the key of the entries with this Message-ID, without angle brackets.
func KeyOfMessageID(id string) Key { return tagged(tagMessageID, id) }

// KeyOfID is the key of the entry with this ID, and of those that came in with it.
func KeyOfID(id string) Key { return tagged(tagID, id) }

// KeyOfQueueID is the key of the entries that the MTA had under this queue ID.
// Short queue IDs are used again.
func KeyOfQueueID(id string) Key { return tagged(tagQueueID, id) }

// ranges are the address ranges that have keys of their own: an indicator for
// a narrower one looks under the next wider and checks.
func ranges(a netip.Addr) [2]int {
	if a.Is4() {
		return [2]int{24, 16}
	}
	return [2]int{64, 48}
}

// KeyOfRange is the key of the entries with an address in p, or in a range
// around p that has a key; ok is false for a range that is wider than any.
func KeyOfRange(p netip.Prefix) (key Key, ok bool) {
	for _, bits := range ranges(p.Addr()) {
		if p.Bits() >= bits {
			return rangeKey(p.Addr(), bits), true
		}
	}
	return 0, false
}

func rangeKey(a netip.Addr, bits int) Key {
	p, err := a.Prefix(bits)
	if err != nil {
		return 0
	}
	var buf [24]byte
	dst := append(buf[:0], tagRange, byte(bits))
	return Key(xxhash.Sum64(append(dst, p.Addr().AsSlice()...)))
}

// keys gives the keys that an entry is found by, sorted, each once.
func keys(dst []Key, e *Entry) []Key {
	if e.MessageID != "" {
		dst = append(dst, KeyOfMessageID(e.MessageID))
	}
	dst = append(dst, KeyOfID(e.ID))
	if e.Parent != "" {
		dst = append(dst, KeyOfID(e.Parent))
	}
	if e.QueueID != "" {
		dst = append(dst, KeyOfQueueID(e.QueueID))
	}
	for i := range e.Observables {
		dst = appendValueKeys(dst, e.Observables[i].Value)
	}
	slices.Sort(dst)
	return slices.Compact(dst)
}

// appendValueKeys adds the keys of a value: its own, those of its host and of
// the domains above that, those of the ranges around its address.
func appendValueKeys(dst []Key, v intel.Value) []Key {
	dst = append(dst, KeyOf(v))
	if a, ok := v.Addr(); ok {
		return appendRangeKeys(dst, a)
	}
	host := v.Host()
	if host == "" {
		return dst
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if ip, err := intel.IP(a); err == nil {
			dst = append(dst, KeyOf(ip))
		}
		return appendRangeKeys(dst, a)
	}
	top := intel.RegistrableDomain(host)
	for {
		dst = append(dst, domainKey(host))
		if host == top || top == "" {
			return dst
		}
		_, parent, ok := strings.Cut(host, ".")
		if !ok {
			return dst
		}
		host = parent
	}
}

func appendRangeKeys(dst []Key, a netip.Addr) []Key {
	for _, bits := range ranges(a) {
		dst = append(dst, rangeKey(a, bits))
	}
	return dst
}

// domainKey is KeyOf the domain without making a Value of a host that is
// canonical already.
func domainKey(host string) Key {
	return tagged(byte(intel.KindDomain), host)
}
