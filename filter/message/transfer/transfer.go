// Package transfer undoes the content transfer encodings of mail (RFC 2045
// section 6) the way mail clients do, which is not the way the RFC asks for:
// what is broken is read on, and how it was broken is reported.
//
// It knows nothing of messages. A Decoder runs over bytes that are all there
// and gives its output block by block, so that content of any size can be
// digested in a block that stays in the processor's cache.
package transfer

import "strings"

// Encoding is a way in which content was written for its way by mail.
type Encoding uint8

// The encodings. Identity stands for 7bit, 8bit and binary, which change nothing.
const (
	Identity        Encoding = 0
	Base64          Encoding = 1 // RFC 2045 section 6.8
	QuotedPrintable Encoding = 2 // RFC 2045 section 6.7
	UUEncode        Encoding = 3 // POSIX uuencode, known in mail as x-uuencode
)

// Lookup gives the encoding that has this name in a Content-Transfer-Encoding
// field, in any case, and whether the name is one that mail clients know.
func Lookup(name string) (Encoding, bool) {
	switch {
	case strings.EqualFold(name, "7bit"), strings.EqualFold(name, "8bit"), strings.EqualFold(name, "binary"):
		return Identity, true
	case strings.EqualFold(name, "base64"):
		return Base64, true
	case strings.EqualFold(name, "quoted-printable"):
		return QuotedPrintable, true
	case strings.EqualFold(name, "x-uuencode"), strings.EqualFold(name, "uuencode"),
		strings.EqualFold(name, "x-uue"), strings.EqualFold(name, "uue"):
		return UUEncode, true
	}
	return Identity, false
}

// Flaw says how encoded content was broken; a set of bits.
type Flaw uint8

// The flaws.
const (
	// FlawAlphabet: characters that are neither base64 nor white space; they are skipped.
	FlawAlphabet Flaw = 1 << iota
	// FlawConcatenated: base64 goes on after its padding. Some clients stop
	// there, others read on; Decoder reads on unless StopAtPadding is set.
	FlawConcatenated
	// FlawUnpadded: base64 ends without the padding that its length asks for.
	FlawUnpadded
	// FlawTruncated: the content ends inside a unit, whose bits are lost, or
	// uuencoded content has no end line.
	FlawTruncated
	// FlawEscape: an equals sign in quoted-printable that begins no escape; it stands for itself.
	FlawEscape
	// FlawLine: a line that cannot be uuencoded; it is skipped.
	FlawLine
	// FlawNoBegin: uuencoded content without a begin line.
	FlawNoBegin
)

// MinBlock is the smallest buffer that Next can work with, in bytes.
const MinBlock = 64

// Decoder undoes one encoding. The zero Decoder gives nothing; Reset starts it.
type Decoder struct {
	// StopAtPadding ends base64 at its first padding, as some clients do.
	// Reset leaves it alone.
	StopAtPadding bool

	enc   Encoding
	flaws Flaw
	src   []byte
	pos   int

	quantum uint32 // base64: bits collected
	chars   int    // base64: characters collected, 0 to 3
	padded  bool   // base64: padding was seen
	done    bool

	text   int // quoted-printable: end of the line's text, before the white space that ends it
	line   int // quoted-printable: where the next line begins
	inLine bool
}

// Reset starts d on src, which must not change while it is read.
func (d *Decoder) Reset(enc Encoding, src []byte) {
	*d = Decoder{StopAtPadding: d.StopAtPadding, enc: enc, src: src}
	if enc == UUEncode {
		d.pos = d.findBegin()
	}
}

// Next gives the next block of decoded bytes: not empty, at most len(buf)
// long, and written to buf unless the encoding changes nothing, when it is a
// piece of the source. It gives nil at the end. The buffer must have at least
// MinBlock bytes.
func (d *Decoder) Next(buf []byte) []byte {
	var n int
	switch d.enc {
	case Identity:
		n = min(len(buf), len(d.src)-d.pos)
		block := d.src[d.pos : d.pos+n]
		d.pos += n
		if n == 0 {
			return nil
		}
		return block
	case Base64:
		n = d.base64(buf)
	case QuotedPrintable:
		n = d.quotedPrintable(buf)
	case UUEncode:
		n = d.uu(buf)
	}
	if n == 0 {
		return nil
	}
	return buf[:n]
}

// Flaws says how the content read so far was broken.
func (d *Decoder) Flaws() Flaw { return d.flaws }

// Append appends the whole content of src, decoded, to dst.
func Append(dst []byte, enc Encoding, src []byte) ([]byte, Flaw) {
	if enc == Identity {
		return append(dst, src...), 0
	}
	var d Decoder
	d.Reset(enc, src)
	var buf [1024]byte
	for block := d.Next(buf[:]); block != nil; block = d.Next(buf[:]) {
		dst = append(dst, block...)
	}
	return dst, d.flaws
}
