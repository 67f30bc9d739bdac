package archive

import (
	"bytes"
	"io"
	"unicode/utf16"
)

// TNEF ([MS-OXTNEF]) is what Outlook sends as winmail.dat, and unpacks without
// a word: a list of attributes, some of which hold properties of MAPI.
const (
	sigTNEF       = "\x78\x9f\x3e\x22"
	tnefHead      = 6 // signature and key
	tnefAttribute = 9 // level, ID and length; a checksum of two bytes follows the data

	tnefBody       = 0x0002800C
	tnefMessage    = 0x00069003 // properties of the message
	tnefRendData   = 0x00069002 // begins an attachment
	tnefTitle      = 0x00018010
	tnefData       = 0x0006800F
	tnefAttachment = 0x00069005 // properties of the attachment
)

// The properties that matter here ([MS-OXPROPS]).
const (
	propHTML       = 0x1013
	propRTF        = 0x1009
	propAttachData = 0x3701
	propFileName   = 0x3704
	propLongName   = 0x3707
)

// tnefWalk collects the attachment that is being read.
type tnefWalk struct {
	limit, n int
	yield    func(*File) bool
	stop     bool
	flaws    Flaw

	open        bool
	title, name string
	data        []byte
}

// walk lists the bodies of the message, as body.html, body.rtf and body.txt, and
// its attachments, in the order in which they stand.
func (w *tnefWalk) walk(data []byte) {
	for rest := data[min(len(data), tnefHead):]; !w.stop && len(rest) > tnefAttribute; {
		id, size := le32(rest, 1), uint64(le32(rest, 5))
		rest = rest[tnefAttribute:]
		value := rest[:min(size, uint64(len(rest)))]
		rest = rest[min(len(value)+2, len(rest)):]
		switch id {
		case tnefBody:
			w.body("body.txt", value)
		case tnefMessage:
			w.properties(value)
		case tnefRendData:
			w.flush()
			w.open = true
		case tnefTitle:
			w.open, w.title = true, cString(value)
		case tnefData:
			w.open, w.data = true, value
		case tnefAttachment:
			w.open = true
			w.properties(value)
		}
	}
	w.flush()
}

// flush yields the attachment that was read.
func (w *tnefWalk) flush() {
	if !w.open {
		return
	}
	f := File{Name: w.name, OtherName: w.title}
	if f.Name == "" || f.Name == f.OtherName {
		f.Name, f.OtherName = w.title, ""
	}
	w.stored(&f, w.data)
	w.open, w.title, w.name, w.data = false, "", "", nil
}

// body yields a body of the message, unless it is empty.
func (w *tnefWalk) body(name string, content []byte) {
	if len(content) > 0 {
		w.stored(&File{Name: name}, content)
	}
}

func (w *tnefWalk) stored(f *File, content []byte) {
	f.Packed, f.stored, f.r = int64(len(content)), content[:len(content):len(content)], bytes.NewReader(content)
	w.emit(f)
}

func (w *tnefWalk) emit(f *File) {
	if w.stop {
		return
	}
	if w.n >= w.limit {
		w.flaws, w.stop = w.flaws|FlawLimit, true
		return
	}
	w.n++
	f.Index = w.n
	w.stop = !w.yield(f)
}

// properties reads a list of properties ([MS-OXTNEF] section 2.1.3.4).
func (w *tnefWalk) properties(list []byte) {
	p := propReader{rest: list}
	for n := p.long(); n > 0 && !p.failed && !w.stop; n-- {
		kind, id := p.long16(), p.long16()
		if id >= 0x8000 { // it has a name
			p.take(16)
			if p.long() == 0 {
				p.take(4)
			} else {
				p.padded()
			}
		}
		values := uint32(1)
		variable := propSize(kind&0xFFF) == 0
		if variable || kind&0x1000 != 0 {
			values = p.long()
		}
		for ; values > 0 && !p.failed; values-- {
			if !variable {
				p.take(propSize(kind & 0xFFF))
				continue
			}
			if value := p.padded(); !p.failed {
				w.property(id, kind&0xFFF, value)
			}
		}
	}
}

// The types of properties whose values have no fixed size ([MS-OXCDATA] section 2.11.1).
const (
	propObject  = 0x000D
	propUnicode = 0x001F
)

// propSize gives the size of a value of a type, as it is padded; 0 if it varies.
func propSize(kind uint16) int {
	switch kind {
	case 0x0002, 0x0003, 0x0004, 0x000A, 0x000B:
		return 4
	case 0x0005, 0x0006, 0x0007, 0x0014, 0x0040:
		return 8
	case 0x0048:
		return 16
	}
	return 0
}

func (w *tnefWalk) property(id, kind uint16, value []byte) {
	switch id {
	case propHTML:
		w.body("body.html", value)
	case propRTF:
		if r := newRTF(value); r != nil {
			w.emit(&File{Name: "body.rtf", Packed: int64(len(value)), r: r})
		}
	case propAttachData:
		if kind == propObject { // behind the name of its interface: another message
			value = value[min(16, len(value)):]
		}
		w.data = value
	case propLongName, propFileName:
		if id == propFileName && w.name != "" {
			return
		}
		if kind == propUnicode {
			value = fromUTF16(value)
		}
		w.name = cString(value)
	}
}

// propReader goes through a list of properties. It gives zeros once something
// is missing.
type propReader struct {
	rest   []byte
	failed bool
}

func (p *propReader) take(n int) []byte {
	if n > len(p.rest) {
		p.rest, p.failed = nil, true
		return make([]byte, min(n, 16))
	}
	taken := p.rest[:n]
	p.rest = p.rest[n:]
	return taken
}

func (p *propReader) long() uint32   { return le32(p.take(4), 0) }
func (p *propReader) long16() uint16 { return le16(p.take(2), 0) }

// padded takes a value that has its length before it, and padding to a multiple
// of four behind it.
func (p *propReader) padded() []byte {
	n := uint64(p.long())
	if n > uint64(len(p.rest)) {
		p.rest, p.failed = nil, true
		return nil
	}
	value := p.take(int(n))
	p.take(min(-int(n)&3, len(p.rest)))
	return value
}

// cString gives a name without the NUL that ends it.
func cString(value []byte) string {
	value, _, _ = bytes.Cut(value, []byte{0})
	return name(value, false)
}

func fromUTF16(value []byte) []byte {
	units := make([]uint16, 0, min(len(value)/2, maxName))
	for i := 0; i+1 < len(value) && len(units) < maxName; i += 2 {
		units = append(units, le16(value, i))
	}
	return []byte(string(utf16.Decode(units)))
}

// rtfDictionary is what the window of compressed RTF holds in the beginning
// ([MS-OXRTFCP] section 2.1.2.1).
const rtfDictionary = `{\rtf1\ansi\mac\deff0\deftab720{\fonttbl;}{\f0\fnil \froman \fswiss \fmodern \fscript \fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\colortbl\red0\green0\blue0` +
	"\r\n" + `\par \pard\plain\f0\fs20\b\i\u\tab\tx`

const (
	rtfHead   = 16
	rtfWindow = 4096
)

// rtfReader unpacks compressed RTF ([MS-OXRTFCP] section 2.2) as far as it goes.
type rtfReader struct {
	rest   []byte
	flags  byte
	tokens int // left of those that flags speak of

	window   [rtfWindow]byte
	at       int
	from, n  int // what is copied from the window
	finished bool
}

// newRTF reads compressed RTF, which may be stored as it is; nil for what is none.
func newRTF(packed []byte) io.Reader {
	if len(packed) < rtfHead {
		return nil
	}
	body := packed[rtfHead:]
	switch string(packed[8:12]) {
	case "MELA":
		return bytes.NewReader(body)
	case "LZFu":
		r := &rtfReader{rest: body}
		r.at = copy(r.window[:], rtfDictionary)
		return r
	}
	return nil
}

// Read implements io.Reader.
func (r *rtfReader) Read(buf []byte) (int, error) {
	for i := range buf {
		c, ok := r.next()
		if !ok {
			return i, io.EOF
		}
		buf[i] = c
		r.window[r.at] = c
		r.at = (r.at + 1) % rtfWindow
	}
	return len(buf), nil
}

// next gives the next byte; false at the end.
func (r *rtfReader) next() (byte, bool) {
	for r.n == 0 {
		if r.finished || len(r.rest) == 0 {
			return 0, false
		}
		c := r.rest[0]
		if r.tokens == 0 {
			r.flags, r.tokens, r.rest = c, 8, r.rest[1:]
			continue
		}
		reference := r.flags&1 != 0
		r.flags, r.tokens = r.flags>>1, r.tokens-1
		if !reference {
			r.rest = r.rest[1:]
			return c, true
		}
		if len(r.rest) < 2 {
			r.rest = nil
			continue
		}
		r.from, r.n = int(c)<<4|int(r.rest[1])>>4, int(r.rest[1]&15)+2
		r.rest = r.rest[2:]
		r.finished = r.finished || r.from == r.at
		if r.finished {
			r.n = 0
		}
	}
	c := r.window[r.from%rtfWindow]
	r.from, r.n = r.from+1, r.n-1
	return c, true
}
