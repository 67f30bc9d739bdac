package journal

import "encoding/binary"

// keyGeneration is where a record has its entry's generation.
const keyGeneration = 26

// generationOf finds the generation in a record and decodes nothing else: 0 if it
// has none, false if the record is not of the form that appendEntry writes and has to be
// decoded to know.
func generationOf(data []byte) (generation uint64, ok bool) {
	r := skimmer{data}
	major, pairs := r.head()
	if major != majorMap {
		return 0, false
	}
	found := uint64(0)
	for ; pairs > 0; pairs-- {
		major, key := r.head()
		if major != majorUint {
			return 0, false
		}
		switch key {
		case 0:
			if major, v := r.head(); major != majorUint || v != version {
				return 0, false
			}
		case keyGeneration:
			if major, found = r.head(); major != majorUint {
				return 0, false
			}
		default:
			if !r.skip() {
				return 0, false
			}
		}
	}
	return found, len(r.rest) == 0
}

// skimmer goes over items of CBOR (RFC 8949 section 3).
type skimmer struct{ rest []byte }

const majorNone = 0xff // there is no item, or none of definite length

// head takes the beginning of an item: its major type and its number, or how long
// it is.
func (r *skimmer) head() (major byte, n uint64) {
	if len(r.rest) == 0 {
		return majorNone, 0
	}
	major, n = r.rest[0]&^0x1f, uint64(r.rest[0]&0x1f)
	size := 0
	switch {
	case n < 24:
	case n < 28:
		size = 1 << (n - 24)
	default:
		return majorNone, 0
	}
	if len(r.rest) < 1+size {
		return majorNone, 0
	}
	var number [8]byte
	if size > 0 {
		copy(number[8-size:], r.rest[1:])
		n = binary.BigEndian.Uint64(number[:])
	}
	r.rest = r.rest[1+size:]
	return major, n
}

// skip passes over an item with all that is in it.
func (r *skimmer) skip() bool {
	for items := uint64(1); items > 0; items-- {
		major, n := r.head()
		switch major {
		case majorUint, majorNegated:
		case majorBytes, majorText:
			if n > uint64(len(r.rest)) {
				return false
			}
			r.rest = r.rest[n:]
		case majorArray:
			if n > uint64(len(r.rest)) { // each item takes a byte
				return false
			}
			items += n
		case majorSimple:
		default:
			return false
		}
	}
	return true
}
