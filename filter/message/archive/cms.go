package archive

import (
	"bytes"
	"io"
)

// A message that is signed with S/MIME can have its content inside of the
// signature (RFC 8551 section 3.5.2), where every mail client looks and shows it:
// SignedData of the Cryptographic Message Syntax (RFC 5652 section 5), in BER.

// oidSignedData is 1.2.840.113549.1.7.2 with its tag and length.
const oidSignedData = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"

// The tags of BER that stand on the way to the content (X.690 section 8.1.2).
const (
	tagOctets      = 0x04
	tagOctetPieces = 0x24 // an octet string in pieces
	tagSequence    = 0x30
	tagExplicit    = 0xA0 // [0]
	tagEnd         = 0x00
)

func isCMS(head []byte) bool {
	return len(head) > 0 && head[0] == tagSequence && bytes.Contains(head[:min(len(head), 20)], []byte(oidSignedData))
}

// walkCMS yields the content of SignedData, if there is one: a detached
// signature has none.
func walkCMS(data []byte, yield func(*File) bool) Flaw {
	b := ber(data)
	ok := b.enter(tagSequence) && b.skip(0) && b.enter(tagExplicit) && b.enter(tagSequence) &&
		b.skip(0) && b.skip(0) && // version, algorithms
		b.enter(tagSequence) && b.skip(0) && b.enter(tagExplicit) && len(b) > 0
	if !ok {
		return 0
	}
	f := File{Index: 1, Packed: int64(len(b))}
	if tag, size, body, ok := b.head(); ok && tag == tagOctets {
		if size < 0 { // a string in one piece has to have a length
			size = len(body)
		}
		f.stored = body[:size:size]
		f.r = bytes.NewReader(f.stored)
	} else {
		f.r = &octetReader{rest: b}
	}
	yield(&f)
	return 0
}

// ber is what is left to read.
type ber []byte

// maxBER bounds the nesting of elements that are skipped.
const maxBER = 32

// head reads the tag and length of the next element, and gives what follows
// them. The size is that of the content, as far as there is one; -1 where the
// element ends with an end mark.
func (b ber) head() (tag byte, size int, body ber, ok bool) {
	if len(b) < 2 {
		return 0, 0, nil, false
	}
	tag, size, body = b[0], int(b[1]), b[2:]
	switch {
	case size == 0x80:
		return tag, -1, body, true
	case size > 0x80:
		n := size - 0x80
		if n > len(body) || n > 8 {
			return 0, 0, nil, false
		}
		size = 0
		for _, c := range body[:n] {
			size = min(size<<8|int(c), len(b))
		}
		body = body[n:]
	}
	return tag, min(size, len(body)), body, true
}

// enter goes into the next element, which has to have this tag.
func (b *ber) enter(want byte) bool {
	tag, size, body, ok := b.head()
	if !ok || tag != want {
		return false
	}
	if *b = body; size >= 0 {
		*b = body[:size]
	}
	return true
}

// skip goes over the next element.
func (b *ber) skip(depth int) bool {
	_, size, body, ok := b.head()
	if !ok || depth > maxBER {
		return false
	}
	if size >= 0 {
		*b = body[size:]
		return true
	}
	for *b = body; len(*b) >= 2; {
		if (*b)[0] == tagEnd && (*b)[1] == 0 {
			*b = (*b)[2:]
			return true
		}
		if !b.skip(depth + 1) {
			return false
		}
	}
	return false
}

// octetReader gives the content of an octet string that is in pieces.
type octetReader struct {
	rest  ber
	piece []byte
	open  int // strings without a length that are not ended yet
}

// Read implements io.Reader.
func (r *octetReader) Read(buf []byte) (int, error) {
	for len(r.piece) == 0 {
		tag, size, body, ok := r.rest.head()
		if !ok {
			return 0, io.EOF
		}
		r.rest = body
		switch {
		case tag == tagOctets && size >= 0:
			r.piece, r.rest = body[:size], body[size:]
		case tag == tagOctetPieces:
			if size < 0 {
				r.open++
			}
		case tag == tagEnd:
			if r.open--; r.open <= 0 {
				return 0, io.EOF
			}
		default:
			return 0, io.EOF
		}
	}
	n := copy(buf, r.piece)
	r.piece = r.piece[n:]
	return n, nil
}
