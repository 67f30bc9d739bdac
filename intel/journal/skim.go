package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"

	"github.com/weirmail/weir/intel"
)

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

// Where a record has what ReadSharing looks at.
const (
	keyParent      = 2
	keyMessageID   = 6
	keyReferences  = 16
	keyObservables = 21
)

// shares reports whether a record has something that is known, and decodes nothing
// else. ok is as generationOf has it.
func shares(data []byte, known func(Key) bool) (found, ok bool) {
	r := skimmer{data}
	major, pairs := r.head()
	if major != majorMap {
		return false, false
	}
	for ; pairs > 0; pairs-- {
		major, key := r.head()
		if major != majorUint {
			return false, false
		}
		var ok bool
		var text []byte
		switch key {
		case 0:
			major, v := r.head()
			ok = major == majorUint && v == version
		case keyParent:
			text, ok = r.text()
			found = found || ok && known(tagged(tagID, text))
		case keyMessageID:
			text, ok = r.text()
			found = found || ok && known(tagged(tagMessageID, text))
		case keyReferences:
			major, n := r.head()
			for ok = major == majorArray; ok && n > 0; n-- {
				text, ok = r.text()
				found = found || ok && known(tagged(tagMessageID, text))
			}
		case keyObservables:
			major, n := r.head()
			for ok = major == majorArray; ok && n > 0; n-- {
				var shown bool
				shown, ok = r.observable(known)
				found = found || shown
			}
		default:
			ok = r.skip()
		}
		if !ok {
			return false, false
		}
	}
	return found, len(r.rest) == 0
}

// observable passes over an observable, and reports whether it is a body, an
// attachment or a link that is known.
func (r *skimmer) observable(knows func(Key) bool) (known, ok bool) {
	if major, n := r.head(); major != majorArray || n != 4 {
		return false, false
	}
	major, kind := r.head()
	if major != majorUint || kind > 0xff {
		return false, false
	}
	value, ok := r.text()
	if !ok {
		return false, false
	}
	role, ok := r.text()
	if !ok || !r.skip() { // the place
		return false, false
	}
	switch intel.Role(role) {
	case intel.RoleBody, intel.RoleAttachment, intel.RoleURL:
	default:
		return false, true
	}
	var digest [128]byte // in hex
	if isDigest(intel.Kind(kind)) {
		if len(value) > len(digest)/2 {
			return false, false
		}
		value = digest[:hex.Encode(digest[:], value)]
	}
	if intel.Kind(kind) == intel.KindURL { // as intel.Value.AppendKey has it
		for _, scheme := range []string{"https://", "http://"} {
			if rest, cut := bytes.CutPrefix(value, []byte(scheme)); cut {
				value = rest
				break
			}
		}
	}
	return knows(tagged(byte(kind), value)), true
}

// text takes a string, of bytes or of UTF-8.
func (r *skimmer) text() ([]byte, bool) {
	major, n := r.head()
	if major != majorBytes && major != majorText || n > uint64(len(r.rest)) {
		return nil, false
	}
	text := r.rest[:n]
	r.rest = r.rest[n:]
	return text, true
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
