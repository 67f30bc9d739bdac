package archive

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Records of a zip file, APPNOTE.TXT section 4.3, and their fixed lengths.
const (
	sigLocal   = "PK\x03\x04"
	sigCentral = "PK\x01\x02"
	sigEnd     = "PK\x05\x06"
	sigEnd64   = "PK\x06\x06"
	sigLoc64   = "PK\x06\x07"
	sigDesc    = "PK\x07\x08"

	localLen   = 30
	centralLen = 46
	endLen     = 22
	end64Len   = 56
	loc64Len   = 20

	maxComment = math.MaxUint16
	maxName    = 4096
)

// The general purpose flags that matter here, APPNOTE.TXT section 4.4.4.
const (
	bitEncrypted  = 1 << 0
	bitDescriptor = 1 << 3
	bitUTF8       = 1 << 11
	bitMasked     = 1 << 13
)

// entry is what a central or a local header says about a file.
type entry struct {
	flags, method uint16
	crc           uint32
	packed, size  uint64
	offset        uint64 // of the local header; central directory only
	name, extra   []byte
}

func (e *entry) encrypted() bool {
	return e.flags&(bitEncrypted|bitMasked) != 0 || e.method == 99
}

// span is where a file lies in the archive, its local header included.
type span struct{ start, end int }

type zipWalk struct {
	data  []byte
	limit int
	yield func(*File) bool

	flaws  Flaw
	base   int    // bytes before the archive that its offsets don't count
	others bool   // the directory is none that most programs go by
	spans  []span // of the listed files
	first  int    // where the first file begins
	n      int
	stop   bool
	unpacker
}

func (z *zipWalk) walk() {
	z.first = len(z.data)
	records := z.endRecords()
	var directories []span
	for i, at := range records {
		start, end, ok := z.directory(at)
		if ok && !slices.Contains(directories, span{start, end}) {
			z.others = i > 0
			z.central(start, end)
			directories = append(directories, span{start, end})
		}
	}
	if len(directories) == 0 {
		z.flaws |= FlawDirectory
	}
	slices.SortFunc(z.spans, func(a, b span) int { return a.start - b.start })
	covered := 0
	for _, s := range z.spans {
		if s.start < covered {
			z.flaws |= FlawOverlap
		}
		covered = max(covered, s.end)
	}
	z.gaps(directories)
	if z.first > 0 && z.n > 0 {
		z.flaws |= FlawPrefix
	}
}

// directory finds the central directory that the record at the offset at ends.
func (z *zipWalk) directory(at int) (start, end int, ok bool) {
	z.base = 0
	rec := z.data[at:]
	size, offset := uint64(le32(rec, 12)), uint64(le32(rec, 16))
	end = at
	if size == math.MaxUint32 || offset == math.MaxUint32 || le16(rec, 10) == math.MaxUint16 {
		if loc := at - loc64Len; loc >= 0 && bytes.HasPrefix(z.data[loc:], []byte(sigLoc64)) {
			at64 := le64(z.data[loc:], 8)
			if at64 > uint64(loc) || !z.isEnd64(int(at64)) {
				at64 = uint64(max(0, loc-end64Len)) // its usual place
			}
			if z.isEnd64(int(at64)) {
				rec64 := z.data[at64:]
				size, offset, end = le64(rec64, 40), le64(rec64, 48), int(at64)
			}
		}
	}
	if size == 0 && le16(rec, 10) == 0 {
		return end, end, true // an archive without files
	}
	if size > uint64(end) {
		return 0, 0, false
	}
	// Something before the archive, such as a program that unpacks it, shifts
	// all its offsets; the directory still ends where its end record begins.
	if start = end - int(size); z.isCentral(start, end) {
		if offset <= uint64(start) {
			z.base = start - int(offset)
		}
		return start, end, true
	}
	if offset <= uint64(end) && z.isCentral(int(offset), end) {
		return int(offset), end, true
	}
	return 0, 0, false
}

// maxEnds bounds the end records that are believed.
const maxEnds = 4

// endRecords finds the end of central directory records that some program goes
// by: the last ones whose comment reaches exactly to the end, and the last one
// of all, whatever its comment. An honest zip has one; what we go by comes first.
func (z *zipWalk) endRecords() []int {
	first := max(0, len(z.data)-endLen-maxComment)
	var exact []int
	last := -1
	for tail := z.data[first:]; len(exact) < maxEnds; {
		i := bytes.LastIndex(tail, []byte(sigEnd))
		if i < 0 {
			break
		}
		at := first + i
		if at+endLen <= len(z.data) {
			if at+endLen+int(le16(z.data[at:], 20)) == len(z.data) {
				exact = append(exact, at)
			}
			if last < 0 {
				last = at
			}
		}
		tail = tail[:i]
	}
	if last >= 0 && !slices.Contains(exact, last) {
		exact = append(exact, last)
	}
	return exact
}

func (z *zipWalk) isEnd64(at int) bool {
	return at+end64Len <= len(z.data) && bytes.HasPrefix(z.data[at:], []byte(sigEnd64))
}

func (z *zipWalk) isCentral(start, end int) bool {
	return bytes.HasPrefix(z.data[start:end], []byte(sigCentral))
}

// central lists the files of the central directory.
func (z *zipWalk) central(pos, end int) {
	for !z.stop && pos+centralLen <= end && bytes.HasPrefix(z.data[pos:end], []byte(sigCentral)) {
		h := z.data[pos:end]
		nameLen, extraLen, commentLen := int(le16(h, 28)), int(le16(h, 30)), int(le16(h, 32))
		if centralLen+nameLen+extraLen > len(h) {
			z.flaws |= FlawDirectory
			return
		}
		e := entry{
			flags: le16(h, 8), method: le16(h, 10), crc: le32(h, 16),
			packed: uint64(le32(h, 20)), size: uint64(le32(h, 24)), offset: uint64(le32(h, 42)),
			name: h[centralLen : centralLen+nameLen], extra: h[centralLen+nameLen : centralLen+nameLen+extraLen],
		}
		e.zip64(true)
		pos = min(pos+centralLen+nameLen+extraLen+commentLen, end)
		z.listed(&e)
	}
}

// listed yields a file of the central directory.
func (z *zipWalk) listed(e *entry) {
	if isFolder(e) {
		if at, l, data, ok := z.localAt(e.offset); ok && isFolder(&l) {
			z.span(at, data)
		}
		return
	}
	if !z.count() {
		return
	}
	f := File{Index: z.n, Encrypted: e.encrypted()}
	f.Name, f.OtherName = e.names()
	if z.others {
		f.Flaws |= FlawHidden
	}
	at, l, start, ok := z.localAt(e.offset)
	if !ok {
		f.Flaws |= FlawDamaged
		z.stop = !z.yield(&f)
		return
	}
	end := z.clamp(start, e.packed)
	f.Packed = int64(end - start)
	z.span(at, end)
	localName, _ := l.names()
	if localName != f.Name {
		f.Flaws |= FlawMismatch
		f.OtherName = localName
	}
	differs := l.differs(e)
	if differs {
		f.Flaws |= FlawMismatch
	}
	z.emit(&f, e.method, z.data[start:end], e.crc)
	if !differs || z.stop {
		return
	}
	end = z.clamp(start, l.packed)
	again := File{Index: f.Index, Name: localName, Local: true, Encrypted: l.encrypted(), Packed: int64(end - start), Flaws: FlawMismatch}
	z.emit(&again, l.method, z.data[start:end], l.crc)
}

func (z *zipWalk) span(start, end int) {
	z.spans = append(z.spans, span{start, end})
	z.first = min(z.first, start)
}

// gaps yields the files whose local headers lie where neither a listed file nor
// the directory does.
func (z *zipWalk) gaps(directories []span) {
	listed := append(z.spans, directories...)
	slices.SortFunc(listed, func(a, b span) int { return a.start - b.start })
	for pos := 0; !z.stop; {
		i := bytes.Index(z.data[pos:], []byte(sigLocal))
		if i < 0 {
			return
		}
		at := pos + i
		for len(listed) > 0 && listed[0].end <= at {
			listed = listed[1:]
		}
		if len(listed) > 0 && listed[0].start <= at {
			pos = listed[0].end
			continue
		}
		e, start, ok := z.local(at)
		if !ok {
			pos = at + len(sigLocal)
			continue
		}
		z.first = min(z.first, at)
		end := z.clamp(start, e.packed)
		if e.flags&bitDescriptor != 0 && e.packed == 0 || e.packed > uint64(len(z.data)-start) {
			end = z.nextRecord(start)
		}
		pos = end
		if !isFolder(&e) {
			z.unlisted(&e, start, end)
		}
	}
}

// unlisted yields a file that only its local header tells of.
func (z *zipWalk) unlisted(e *entry, start, end int) {
	if !z.count() {
		return
	}
	f := File{Index: z.n, Encrypted: e.encrypted(), Packed: int64(end - start)}
	if z.flaws&FlawDirectory == 0 {
		f.Flaws |= FlawHidden
	}
	f.Name, f.OtherName = e.names()
	crc := e.crc
	if crc == 0 && bytes.HasPrefix(z.data[end:], []byte(sigDesc)) && end+8 <= len(z.data) {
		crc = le32(z.data[end:], 4)
	}
	z.emit(&f, e.method, z.data[start:end], crc)
}

// nextRecord finds where the record behind start begins, for a file that says
// its length only in the data descriptor that follows it, or lies about it.
func (z *zipWalk) nextRecord(start int) int {
	for pos := start; ; pos += 2 {
		i := bytes.Index(z.data[pos:], []byte("PK"))
		if i < 0 {
			return len(z.data)
		}
		pos += i
		switch rest := z.data[pos:]; {
		case bytes.HasPrefix(rest, []byte(sigLocal)), bytes.HasPrefix(rest, []byte(sigDesc)), bytes.HasPrefix(rest, []byte(sigCentral)):
			return pos
		}
	}
}

func (z *zipWalk) count() bool {
	if z.n >= z.limit {
		z.flaws |= FlawLimit
		z.stop = true
		return false
	}
	z.n++
	return true
}

func (z *zipWalk) emit(f *File, method uint16, packed []byte, crc uint32) {
	if !f.Encrypted {
		z.open(f, method, packed, crc)
	}
	z.stop = !z.yield(f)
}

// localAt reads the local header at an offset that a directory gives: shifted
// by what stands before the archive, or as it is.
func (z *zipWalk) localAt(offset uint64) (at int, e entry, start int, ok bool) {
	if offset > uint64(len(z.data)) {
		return 0, e, 0, false
	}
	for _, at := range [2]int{int(offset) + z.base, int(offset)} {
		if e, start, ok := z.local(at); ok {
			return at, e, start, true
		}
	}
	return 0, e, 0, false
}

// local reads the local header at offset at; start is where its data begin.
func (z *zipWalk) local(at int) (e entry, start int, ok bool) {
	if at+localLen > len(z.data) || !bytes.HasPrefix(z.data[at:], []byte(sigLocal)) {
		return e, 0, false
	}
	h := z.data[at:]
	nameLen, extraLen := int(le16(h, 26)), int(le16(h, 28))
	if nameLen > maxName || localLen+nameLen+extraLen > len(h) {
		return e, 0, false
	}
	e = entry{
		flags: le16(h, 6), method: le16(h, 8), crc: le32(h, 14), packed: uint64(le32(h, 18)), size: uint64(le32(h, 22)),
		name: h[localLen : localLen+nameLen], extra: h[localLen+nameLen : localLen+nameLen+extraLen],
	}
	e.zip64(false)
	return e, at + localLen + nameLen + extraLen, true
}

func (z *zipWalk) clamp(start int, packed uint64) int {
	if packed > uint64(len(z.data)-start) {
		return len(z.data)
	}
	return start + int(packed)
}

// differs reports whether reading a file by its local header l gives something
// else than reading it by its central one. Sizes that the local header leaves
// to a data descriptor don't.
func (l *entry) differs(central *entry) bool {
	if l.method != central.method || l.encrypted() != central.encrypted() {
		return true
	}
	return l.packed != central.packed && (l.flags&bitDescriptor == 0 || l.packed != 0)
}

// zip64 reads the sizes that did not fit (APPNOTE.TXT section 4.5.3).
func (e *entry) zip64(central bool) {
	field, ok := e.field(0x0001)
	if !ok {
		return
	}
	fields := []*uint64{&e.size, &e.packed, &e.offset}
	if !central {
		fields = fields[:2]
	}
	for _, v := range fields {
		if *v == math.MaxUint32 && len(field) >= 8 {
			*v, field = le64(field, 0), field[8:]
		}
	}
}

// field gives the extra field with this ID.
func (e *entry) field(id uint16) ([]byte, bool) {
	for rest := e.extra; len(rest) >= 4; {
		n := int(le16(rest, 2))
		if n > len(rest)-4 {
			return nil, false
		}
		if le16(rest, 0) == id {
			return rest[4 : 4+n], true
		}
		rest = rest[4+n:]
	}
	return nil, false
}

// names gives the name in the header and the one in Info-ZIP's Unicode path
// field (APPNOTE.TXT section 4.6.9) where that differs.
func (e *entry) names() (plain, other string) {
	plain = name(e.name, e.flags&bitUTF8 != 0)
	field, ok := e.field(0x7075)
	if ok && len(field) > 5 && field[0] == 1 && le32(field, 1) == crc32.ChecksumIEEE(e.name) {
		if other = name(field[5:], true); other == plain {
			other = ""
		}
	}
	return plain, other
}

// name decodes a file name: UTF-8 where it is said or can be, else the code
// page of the PC that zip was made on.
func name(raw []byte, isUTF8 bool) string {
	if len(raw) > maxName {
		raw = raw[:maxName]
	}
	if utf8.Valid(raw) {
		return string(raw)
	}
	if isUTF8 {
		return strings.ToValidUTF8(string(raw), "\uFFFD")
	}
	out, err := charmap.CodePage437.NewDecoder().Bytes(raw)
	if err != nil {
		return strings.ToValidUTF8(string(raw), "\uFFFD")
	}
	return string(out)
}

// isFolder reports whether e is a folder's entry. One that ends like a folder
// and has content is a file to somebody.
func isFolder(e *entry) bool {
	return len(e.name) > 0 && e.name[len(e.name)-1] == '/' && e.packed == 0 && e.size == 0
}

func le16(b []byte, at int) uint16 { return binary.LittleEndian.Uint16(b[at:]) }
func le32(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
func le64(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
