package transfer

import "bytes"

// quotedPrintable fills buf as far as it can and says how many bytes it wrote;
// 0 at the end. White space that ends a line is dropped, since it was added on
// the way (RFC 2045 section 6.7 rule 3), and so is the line end after an equals
// sign, with whatever white space came between.
func (d *Decoder) quotedPrintable(buf []byte) int {
	n := 0
	for n < len(buf) {
		if !d.inLine {
			if d.pos == len(d.src) {
				break
			}
			d.startLine()
		}
		n += d.lineText(buf[n:])
		if d.pos < d.text || len(buf)-n < 2 {
			break // no room for more, or for the line end
		}
		// A soft break was taken with the text, and left pos at the next line.
		if d.pos < d.line {
			n += copy(buf[n:], lineEnd(d.src[:d.line]))
			d.pos = d.line
		}
		d.inLine = false
	}
	return n
}

// startLine finds where the line at pos ends.
func (d *Decoder) startLine() {
	d.inLine = true
	d.line = len(d.src)
	if i := bytes.IndexByte(d.src[d.pos:], '\n'); i >= 0 {
		d.line = d.pos + i + 1
	}
	text := d.src[d.pos : d.line-len(lineEnd(d.src[d.pos:d.line]))]
	// A line end that was doubled on the way (CR CR LF) is still a soft break.
	if soft := bytes.TrimRight(text, " \t\r"); bytes.HasSuffix(soft, []byte("=")) {
		text = soft
	} else {
		text = bytes.TrimRight(text, " \t")
	}
	d.text = d.pos + len(text)
}

// lineText decodes the text of the line from pos on.
func (d *Decoder) lineText(buf []byte) int {
	n := 0
	for d.pos < d.text && n < len(buf) {
		text := d.src[d.pos:d.text]
		if text[0] != '=' {
			if i := bytes.IndexByte(text, '='); i >= 0 {
				text = text[:i]
			}
			m := copy(buf[n:], text)
			n += m
			d.pos += m
			continue
		}
		if len(text) == 1 { // soft line break
			d.pos, d.text = d.line, d.line
			return n
		}
		if text[1] == '\r' { // a soft break whose line ends with CR alone
			d.pos += 2
			continue
		}
		if len(text) >= 3 {
			hi, lo := hexDigit(text[1]), hexDigit(text[2])
			if hi|lo < 16 {
				buf[n] = hi<<4 | lo
				n++
				d.pos += 3
				continue
			}
		}
		d.flaws |= FlawEscape
		buf[n] = '='
		n++
		d.pos++
	}
	return n
}

// lineEnd gives the line end that text ends with, or nothing.
func lineEnd(text []byte) []byte {
	switch n := len(text); {
	case n >= 2 && text[n-1] == '\n' && text[n-2] == '\r':
		return text[n-2:]
	case n >= 1 && text[n-1] == '\n':
		return text[n-1:]
	}
	return nil
}

// hexDigit gives the value of a hexadecimal digit of either case, or 0xFF.
func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 0xFF
}
