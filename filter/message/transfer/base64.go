package transfer

// What a byte is to base64 beyond the 64 digits.
const (
	b64Pad   = 64
	b64Space = 65
	b64Junk  = 66
	b64Bad   = 1 << 24 // in the quad tables: not a digit
)

// base64Tables holds the digit tables: one for single characters and four,
// shifted into place, by which a whole group is one sum. They are never written to.
type base64Tables struct {
	class [256]uint8
	quad  [4][256]uint32
}

var b64 = newBase64Tables()

func newBase64Tables() *base64Tables {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	t := new(base64Tables)
	for c := range 256 {
		t.class[c] = b64Junk
		for i := range t.quad {
			t.quad[i][c] = b64Bad
		}
	}
	for _, c := range []byte(" \t\r\n\v\f") {
		t.class[c] = b64Space
	}
	t.class['='] = b64Pad
	for v, c := range []byte(digits) {
		t.class[c] = uint8(v)
		for i := range t.quad {
			t.quad[i][c] = uint32(v) << (18 - 6*i)
		}
	}
	return t
}

// base64 fills buf as far as it can and says how many bytes it wrote; 0 at the end.
func (d *Decoder) base64(buf []byte) int {
	n := 0
	for !d.done && len(buf)-n >= 3 {
		if d.chars == 0 && !d.padded {
			n += d.base64Groups(buf[n:])
			if len(buf)-n < 3 {
				break
			}
		}
		if d.pos == len(d.src) {
			d.done = true
			n += d.base64End(buf[n:])
			break
		}
		n += d.base64Char(buf[n:], d.src[d.pos])
		d.pos++
	}
	return n
}

// base64Groups decodes groups of four digits that stand side by side, until
// something else comes or buf is full. It is the path nearly all bytes take.
func (d *Decoder) base64Groups(buf []byte) int {
	src, n := d.src[d.pos:], 0
	q0, q1, q2, q3 := &b64.quad[0], &b64.quad[1], &b64.quad[2], &b64.quad[3]
	for len(src) >= 8 && len(buf)-n >= 8 {
		a := q0[src[0]] | q1[src[1]] | q2[src[2]] | q3[src[3]]
		b := q0[src[4]] | q1[src[5]] | q2[src[6]] | q3[src[7]]
		if (a|b)&b64Bad != 0 {
			break
		}
		out := buf[n : n+8 : n+8]
		v := uint64(a)<<24 | uint64(b)
		out[0], out[1], out[2] = byte(v>>40), byte(v>>32), byte(v>>24)
		out[3], out[4], out[5] = byte(v>>16), byte(v>>8), byte(v)
		src, n = src[8:], n+6
	}
	for len(src) >= 4 && len(buf)-n >= 3 {
		a := q0[src[0]] | q1[src[1]] | q2[src[2]] | q3[src[3]]
		if a&b64Bad != 0 {
			break
		}
		buf[n], buf[n+1], buf[n+2] = byte(a>>16), byte(a>>8), byte(a)
		src, n = src[4:], n+3
	}
	d.pos = len(d.src) - len(src)
	return n
}

// base64Char takes one character. It writes at most three bytes.
func (d *Decoder) base64Char(buf []byte, c byte) int {
	switch class := b64.class[c]; class {
	case b64Space:
		return 0
	case b64Junk:
		d.flaws |= FlawAlphabet
		return 0
	case b64Pad:
		if d.chars < 2 { // there is nothing to pad
			if !d.padded {
				d.flaws |= FlawAlphabet
			}
			return 0
		}
		n := d.base64Flush(buf)
		d.padded = true
		d.done = d.StopAtPadding
		return n
	default:
		if d.padded {
			d.padded = false
			d.flaws |= FlawConcatenated
		}
		d.quantum = d.quantum<<6 | uint32(class)
		if d.chars++; d.chars < 4 {
			return 0
		}
		v := d.quantum
		d.chars, d.quantum = 0, 0
		buf[0], buf[1], buf[2] = byte(v>>16), byte(v>>8), byte(v)
		return 3
	}
}

// base64End gives the bytes of a last group that lacks its padding.
func (d *Decoder) base64End(buf []byte) int {
	if d.chars >= 2 {
		d.flaws |= FlawUnpadded
	}
	return d.base64Flush(buf)
}

// base64Flush gives the whole bytes of an unfinished group.
func (d *Decoder) base64Flush(buf []byte) int {
	chars, v := d.chars, d.quantum
	d.chars, d.quantum = 0, 0
	switch chars {
	case 1:
		d.flaws |= FlawTruncated
	case 2:
		buf[0] = byte(v >> 4)
		return 1
	case 3:
		buf[0], buf[1] = byte(v>>10), byte(v>>2)
		return 2
	}
	return 0
}
