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
	tagLogin     = 0xf4
)

func tagged[T string | []byte](tag byte, text T) Key {
	var buf [128]byte
	return Key(xxhash.Sum64(append(append(buf[:0], tag), text...)))
}

// KeyOf is the key of every entry that has the value as an observable, as
// envelope sender, as a recipient whose copy went on or as client; for a domain,
// any host at or below it.
func KeyOf(v intel.Value) Key { return Key(v.Hash()) }

// KeyOfMessageID is the key of the entries with this Message-ID, without angle brackets.
func KeyOfMessageID(id string) Key { return tagged(tagMessageID, id) }

// KeyOfID is the key of the entry with this ID, and of those that came in with it.
func KeyOfID(id string) Key { return tagged(tagID, id) }

// KeyOfQueueID is the key of the entries that the MTA had under this queue ID.
// Short queue IDs are used again.
func KeyOfQueueID(id string) Key { return tagged(tagQueueID, id) }

// KeyOfLogin is the key of the entries that came in with this SASL login,
// whatever its case.
func KeyOfLogin(login string) Key { return tagged(tagLogin, strings.ToLower(login)) }

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

// keys appends the keys that an entry is found by, each once.
func keys(dst []Key, e *Entry) []Key {
	if e.MessageID != "" {
		dst = append(dst, KeyOfMessageID(e.MessageID))
	}
	dst = appendKey(dst, KeyOfID(e.ID))
	if e.Parent != "" {
		dst = appendKey(dst, KeyOfID(e.Parent))
	}
	if e.QueueID != "" {
		dst = appendKey(dst, KeyOfQueueID(e.QueueID))
	}
	if e.AuthUser != "" {
		dst = appendKey(dst, KeyOfLogin(e.AuthUser))
	}
	for i := range e.Observables {
		dst = appendValueKeys(dst, e.Observables[i].Value)
	}
	// Nearly always among the observables too, but not where those were too many.
	dst = e.appendAddressKeys(dst, e.From)
	for _, to := range e.To {
		dst = e.appendAddressKeys(dst, to)
	}
	if v, err := intel.IP(e.Client); err == nil {
		dst = appendValueKeys(dst, v)
	}
	if len(dst) > fewKeys {
		slices.Sort(dst)
		dst = slices.Compact(dst)
	}
	return dst
}

// fewKeys is how many keys are told apart by going through them.
const fewKeys = 64

// appendKey appends a key, unless it is there already or there are so many that
// they are sorted in the end.
func appendKey(dst []Key, k Key) []Key {
	if len(dst) <= fewKeys && slices.Contains(dst, k) {
		return dst
	}
	return append(dst, k)
}

// AddressOf gives what an address of the envelope is known by: the address, or
// the domain of one that no list could name; ok is false where it has neither.
func AddressOf(text string) (v intel.Value, ok bool) {
	v, err := intel.Address(text)
	if at := strings.LastIndexByte(text, '@'); err != nil && at >= 0 {
		v, err = intel.Domain(text[at+1:])
	}
	return v, err == nil
}

func (e *Entry) appendAddressKeys(dst []Key, text string) []Key {
	for i := range e.Observables {
		if v := e.Observables[i].Value; v.Kind() == intel.KindAddress && v.String() == text {
			return dst
		}
	}
	if v, ok := AddressOf(text); ok {
		return appendValueKeys(dst, v)
	}
	return dst
}

// appendValueKeys adds the keys of a value: its own, those of its host and of
// all domains above that, those of the ranges around its address. It goes up to
// the top level, public suffixes included: there are few of them, and what lies
// below one can be a registrable domain too (s3.amazonaws.com).
func appendValueKeys(dst []Key, v intel.Value) []Key {
	dst = appendKey(dst, KeyOf(v))
	if a, ok := v.Addr(); ok {
		return appendRangeKeys(dst, a)
	}
	host := v.Host()
	if host == "" {
		return dst
	}
	if a, ok := intel.HostAddr(host); ok {
		if ip, err := intel.IP(a); err == nil {
			dst = appendKey(dst, KeyOf(ip))
		}
		return appendRangeKeys(dst, a)
	}
	for ok := true; ok; _, host, ok = strings.Cut(host, ".") {
		dst = appendKey(dst, domainKey(host))
	}
	return dst
}

func appendRangeKeys(dst []Key, a netip.Addr) []Key {
	for _, bits := range ranges(a) {
		dst = appendKey(dst, rangeKey(a, bits))
	}
	return dst
}

// domainKey is KeyOf the domain without making a Value of a host that is
// canonical already.
func domainKey(host string) Key {
	return tagged(byte(intel.KindDomain), host)
}
