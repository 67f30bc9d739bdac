package transfer

import "bytes"

// Block is a uuencoded file that stands in a text.
type Block struct {
	Name  string // as the begin line gives it
	Start int    // offset of the begin line
	End   int    // offset behind the end line, or of the text's end
}

// FindUU gives the first uuencoded file at or behind the offset from in text.
// A begin line counts only with an octal mode, a name and a line of data behind
// it, since prose also has lines that begin so.
func FindUU(text []byte, from int) (Block, bool) {
	for from < len(text) {
		i := bytes.Index(text[from:], []byte("begin "))
		if i < 0 {
			return Block{}, false
		}
		start := from + i
		from = start + len("begin ")
		if start > 0 && text[start-1] != '\n' && text[start-1] != '\r' {
			continue
		}
		line, next := cutLine(text, start)
		name, ok := beginLine(line)
		if !ok {
			continue
		}
		first, _ := cutLine(text, next)
		if _, ok := uuLength(first); !ok {
			continue
		}
		return Block{Name: string(name), Start: start, End: uuEnd(text, next)}, true
	}
	return Block{}, false
}

// beginLine reads "begin MODE NAME" without its line end.
func beginLine(line []byte) (name []byte, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("begin "))
	if !ok || len(line) > 1024 {
		return nil, false
	}
	rest = bytes.TrimLeft(rest, " ")
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '7' {
		digits++
	}
	if digits < 3 || digits > 6 || digits == len(rest) || rest[digits] != ' ' {
		return nil, false
	}
	name = bytes.TrimSpace(rest[digits:])
	return name, len(name) > 0
}

// uuEnd gives the offset behind the last line of the block whose data begin at pos.
func uuEnd(text []byte, pos int) int {
	for pos < len(text) {
		line, next := cutLine(text, pos)
		if isEnd(line) {
			return next
		}
		if _, ok := uuLength(line); !ok && len(bytes.TrimSpace(line)) > 0 {
			return pos // prose again: the end line is missing
		}
		pos = next
	}
	return pos
}

func isEnd(line []byte) bool { return string(bytes.TrimRight(line, " \t")) == "end" }

// cutLine gives the line at pos without its line end, and where the next begins.
func cutLine(text []byte, pos int) (line []byte, next int) {
	next = len(text)
	if i := bytes.IndexByte(text[pos:], '\n'); i >= 0 {
		next = pos + i + 1
	}
	return text[pos : next-len(lineEnd(text[pos:next]))], next
}

// uuLength gives the number of bytes that a data line says it holds, and
// whether the line can be one: its length must fit what it says, give or take
// the white space that mail systems cut off and the checksum that some add.
func uuLength(line []byte) (int, bool) {
	if len(line) == 0 || line[0] < ' ' || line[0] > '`' {
		return 0, false
	}
	n := int(line[0]-' ') & 63
	want := 1 + (n+2)/3*4
	for _, c := range line {
		if c < ' ' || c > '`' {
			return 0, false
		}
		if want--; want == 0 {
			break
		}
	}
	if n == 0 {
		return 0, len(line) <= 2
	}
	if longest := 1 + (n+2)/3*4 + 2; len(line) > longest {
		return 0, false
	}
	return n, len(line) > 1
}

// findBegin gives the offset of the first data line.
func (d *Decoder) findBegin() int {
	for pos := 0; pos < len(d.src); {
		line, next := cutLine(d.src, pos)
		if _, ok := beginLine(bytes.TrimLeft(line, "\r")); ok {
			return next
		}
		pos = next
	}
	d.flaws |= FlawNoBegin
	return 0
}

// uu fills buf as far as it can and says how many bytes it wrote; 0 at the end.
func (d *Decoder) uu(buf []byte) int {
	n := 0
	for !d.done && len(buf)-n >= MinBlock {
		if d.pos == len(d.src) {
			d.done = true
			d.flaws |= FlawTruncated
			break
		}
		line, next := cutLine(d.src, d.pos)
		d.pos = next
		if isEnd(line) {
			d.done = true
			break
		}
		size, ok := uuLength(line)
		if !ok {
			if len(bytes.TrimSpace(line)) > 0 {
				d.flaws |= FlawLine
			}
			continue
		}
		n += uuLine(buf[n:n+size], line[1:])
	}
	return n
}

// uuLine decodes one line; what the line lacks counts as spaces, which stand for zero.
func uuLine(dst, text []byte) int {
	for i := 0; i < len(dst); i += 3 {
		var v uint32
		for range 4 {
			c := byte(' ')
			if len(text) > 0 {
				c, text = text[0], text[1:]
			}
			v = v<<6 | uint32(c-' ')&63
		}
		for k := 0; k < 3 && i+k < len(dst); k++ {
			dst[i+k] = byte(v >> (16 - 8*k))
		}
	}
	return len(dst)
}
