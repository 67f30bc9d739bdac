package store

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/match"
)

// The areas of the database, each the first byte of its keys. They and all
// encodings of this package belong to Schema.
const (
	areaState  = 't'
	areaSource = 's'
	areaEntry  = 'i'
	areaRegexp = 'r'
	areaMark   = 'm'
	areaAdded  = 'a'
)

// Schema is the version of the layout, for kv.Options.
const Schema = 2

// hashBytes is the length of the hash in a pattern's key, behind the area.
const hashBytes = 8

const (
	// longKey is the number of bytes above which a pattern's key is not written
	// out: a URL can be longer than a key of the database.
	longKey = 512

	// formDigest stands in place of a pattern's form, which is below 0x40: the SHA-256
	// of a long key follows, the key itself is in the value.
	formDigest = 0x41
)

// hashOf is what a pattern is filed under: for those that a filter knows its
// hash there.
func hashOf(p intel.Pattern) uint64 {
	if p.Form() == intel.FormRegexp {
		return xxhash.Sum64(p.AppendKey(nil))
	}
	return match.Hash(p)
}

// areaOf gives the area in which patterns with this key lie.
func areaOf(patternKey []byte) byte {
	if intel.Form(patternKey[0]) == intel.FormRegexp {
		return areaRegexp
	}
	return areaEntry
}

// appendEntryKey appends the key under which a pattern's value lies.
func appendEntryKey(dst []byte, hash uint64, patternKey []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, areaOf(patternKey)), hash)
	if len(patternKey) <= longKey {
		return append(dst, patternKey...)
	}
	sum := sha256.Sum256(patternKey)
	return append(append(dst, formDigest), sum[:]...)
}

// entryPrefix begins the keys of all patterns in an area that have this hash.
func entryPrefix(dst []byte, area byte, hash uint64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, area), hash)
}

// markKey is the key that makes a filter hold a mark.
func markKey(dst []byte, hash uint64) []byte { return entryPrefix(dst, areaMark, hash) }

// hashIn gives the hash in the key of a pattern or a mark.
func hashIn(entryKey []byte) uint64 { return binary.BigEndian.Uint64(entryKey[1:]) }

// patternKeyIn gives the pattern's key, which a long one has in its value.
func patternKeyIn(entryKey []byte, e entry) []byte {
	if len(e.longKey) > 0 {
		return e.longKey
	}
	return entryKey[1+hashBytes:]
}

func sourceKey(source uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{areaSource}, source)
}

func sourceIn(sourceKey []byte) uint32 { return binary.BigEndian.Uint32(sourceKey[1:]) }

// generationIn gives the generation in a key of what it added.
func generationIn(addedKey []byte) uint64 { return binary.BigEndian.Uint64(addedKey[1:]) }

func addedKey(generation uint64, number uint32) []byte {
	key := binary.BigEndian.AppendUint64([]byte{areaAdded}, generation)
	return binary.BigEndian.AppendUint32(key, number)
}
