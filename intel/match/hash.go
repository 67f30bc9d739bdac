package match

import (
	"math/bits"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmail/weir/intel"
)

// Forms of marks, beyond those of package intel. They are part of what Hash
// takes in and are written to disk by stores: never change them.
const (
	markHost   intel.Form = 0x41 // some URL prefix has this host
	markBucket intel.Form = 0x42 // some URL prefix ends between here and the next slash
	markLength intel.Form = 0x43 // some range has this length
	markTail   intel.Form = 0x44 // some URL prefix goes on behind its bucket for so many bytes
)

// Hash is what a filter knows a pattern by, and what stores may file it under.
// Different patterns can share a hash. It never changes between versions.
func Hash(p intel.Pattern) uint64 {
	return finish(xxhash.Sum64String(p.MatchText()), p.Form(), p.Kind())
}

// AppendMarks appends the hashes that a filter has to hold besides Hash(p), so
// that a lookup gets as far as p.
func AppendMarks(dst []uint64, p intel.Pattern) []uint64 {
	switch p.Form() {
	case intel.FormPrefix:
		text := p.MatchText()
		bucket := bucketEnd(text)
		return append(dst,
			hash(text[:hostEnd(text)], markHost, intel.KindURL),
			hash(text[:bucket], markBucket, intel.KindURL),
			tailMark(bits.Len(uint(len(text)-bucket))))
	case intel.FormRange:
		family := "6"
		addr, length, _ := strings.Cut(p.Text(), "/")
		if strings.IndexByte(addr, ':') < 0 {
			family = "4"
		}
		n, _ := strconv.Atoi(length)
		return append(dst, lengthMark(family, n))
	}
	return dst
}

// tailMark is the mark of tails whose length has this many binary digits.
func tailMark(digits int) uint64 {
	return hash(strconv.Itoa(digits), markTail, intel.KindURL)
}

func lengthMark(family string, bits int) uint64 {
	return hash(family+"/"+strconv.Itoa(bits), markLength, intel.KindIP)
}

func hash(text string, form intel.Form, kind intel.Kind) uint64 {
	return finish(xxhash.Sum64String(text), form, kind)
}

// finish folds form and kind into the hash of a text. For each of them it is a
// bijection, so it adds no collisions. The text is hashed without them so that
// every beginning of a URL can be hashed in one pass, and every end of a name
// where it stands.
func finish(sum uint64, form intel.Form, kind intel.Kind) uint64 {
	sum ^= (uint64(form)<<8 | uint64(kind)) * 0x9e3779b97f4a7c15
	sum ^= sum >> 32
	sum *= 0xd6e8feb86659fd93
	return sum ^ sum>>32
}

// hostEnd is the length of the scheme, if there is one, host and port of a
// URL's match text.
func hostEnd(text string) int {
	start := 0
	slash := strings.IndexByte(text, '/')
	if slash > 0 && text[slash-1] == ':' && strings.HasPrefix(text[slash:], "//") {
		start = slash + 2
	}
	if end := strings.IndexByte(text[start:], '/'); end >= 0 {
		return start + end
	}
	return len(text)
}

// pathEnd is where the query of a URL's match text begins, or its length.
func pathEnd(text string) int {
	if query := strings.IndexByte(text, '?'); query >= 0 {
		return query
	}
	return len(text)
}

// bucketEnd is the length of a URL prefix up to and with the last slash of its
// path. The slashes that follow a scheme count: their bucket is never asked for,
// and a prefix that reaches into the path has another one.
func bucketEnd(text string) int {
	return strings.LastIndexByte(text[:pathEnd(text)], '/') + 1
}
