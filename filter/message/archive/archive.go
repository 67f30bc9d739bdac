// Package archive lists the files in an archive that a stranger sent: zip, tar,
// gzip, bzip2, TNEF (winmail.dat) and signed messages of S/MIME. It trusts
// nothing that the archive says of itself: a broken directory is replaced by what
// stands before each file, files that the directory hides are listed too, and
// where two places of the archive disagree about a file, both readings are given.
//
// It bounds the number of files. How much comes out of each is for the caller
// to bound, who takes the content block by block and may stop at any time.
package archive

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"hash"
	"hash/crc32"
	"io"
	"strconv"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Kind is a format of archives.
type Kind uint8

// The kinds. Gzip, bzip2 and CMS hold one file each.
const (
	None  Kind = 0
	Zip   Kind = 1
	Gzip  Kind = 2
	Bzip2 Kind = 3
	Tar   Kind = 4
	TNEF  Kind = 5 // Outlook's winmail.dat
	CMS   Kind = 6 // what is signed with S/MIME, content and all
)

// Flaw says how an archive or a file in it was not as it should be; a set of bits.
type Flaw uint16

// The flaws of an archive.
const (
	// FlawDirectory: a zip has no usable central directory; files were found by their local headers. Or a tar breaks off.
	FlawDirectory Flaw = 1 << iota
	// FlawPrefix: other bytes stand before the first file.
	FlawPrefix
	// FlawOverlap: two files share bytes of the archive.
	FlawOverlap
	// FlawLimit: there are more files than the limit allows; the rest was left out.
	FlawLimit
)

// The flaws of a file.
const (
	// FlawHidden: the central directory does not list the file.
	FlawHidden Flaw = 1 << (iota + 8)
	// FlawMismatch: the central directory and the local header disagree about the file.
	FlawMismatch
	// FlawMethod: the file is packed by a method that is not known here; nothing comes out of it.
	FlawMethod
	// FlawDamaged: unpacking failed, or the outcome is not what the checksum
	// says. Known when all was read.
	FlawDamaged
)

// File is one file in an archive. It is valid until the walk goes on.
type File struct {
	Index     int    // from 1, counting the files that are listed; two readings of one file share it
	Name      string // with its folders, slashes as the archive has them
	OtherName string // another name that the archive gives it; empty where there is none
	Local     bool   // a second reading of the file before, as its local header has it
	Encrypted bool   // its content cannot be read
	Slow      bool   // unpacking takes about ten times the time that deflate takes
	Packed    int64  // bytes that it takes in the archive
	Flaws     Flaw

	stored []byte // content that is not packed, whole
	r      io.Reader
	check  hash.Hash32
	crc    uint32
	ended  bool
}

// Stored gives the whole content when the archive holds it unpacked. Next
// gives the same bytes.
func (f *File) Stored() ([]byte, bool) { return f.stored, f.stored != nil }

// Next gives the next block of content: not empty, at most len(buf) long, and
// in buf unless the file is stored. It gives nil at the end and after damage.
func (f *File) Next(buf []byte) []byte {
	if f.ended || f.r == nil {
		return nil
	}
	n := 0
	for n < len(buf) {
		m, err := f.r.Read(buf[n:])
		n += m
		if err == nil {
			continue
		}
		f.ended = true
		if err != io.EOF {
			f.Flaws |= FlawDamaged
		}
		break
	}
	if f.check != nil {
		f.check.Write(buf[:n])
		if f.ended && f.check.Sum32() != f.crc {
			f.Flaws |= FlawDamaged
		}
	}
	if n == 0 {
		return nil
	}
	return buf[:n]
}

// HeadBytes is how much of a file Sniff wants to see.
const HeadBytes = 512

// Sniff tells by its first bytes what kind of archive a file is. A zip with
// something before it is not seen; Walk reads it all the same.
func Sniff(head []byte) Kind {
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")),
		bytes.HasPrefix(head, []byte("PK\x07\x08")), bytes.HasPrefix(head, []byte("PK00PK\x03\x04")):
		return Zip
	case bytes.HasPrefix(head, []byte("\x1f\x8b\x08")):
		return Gzip
	case len(head) >= 10 && bytes.HasPrefix(head, []byte("BZh")) && string(head[4:10]) == "1AY&SY":
		return Bzip2
	case bytes.HasPrefix(head, []byte(sigTNEF)):
		return TNEF
	case isCMS(head):
		return CMS
	case isTar(head):
		return Tar
	}
	return None
}

// isTar checks the checksum of the first header, which every tar format has.
func isTar(head []byte) bool {
	if len(head) < 512 || head[0] == 0 {
		return false
	}
	for _, c := range head[148:156] {
		if c != 0 && c != ' ' && (c < '0' || c > '7') { // as in nearly all that is none
			return false
		}
	}
	field := bytes.Trim(head[148:156], " \x00")
	want, err := strconv.ParseUint(string(field), 8, 32)
	if err != nil {
		return false
	}
	sum := uint64(8 * ' ')
	for i, c := range head[:512] {
		if i < 148 || i >= 156 {
			sum += uint64(c)
		}
	}
	return sum == want
}

// Walk calls yield for each file in data, at most limit times, until it gives
// false. It gives the flaws of the archive itself.
func Walk(kind Kind, data []byte, limit int, yield func(*File) bool) Flaw {
	switch kind {
	case Zip:
		z := zipWalk{data: data, limit: limit, yield: yield}
		z.walk()
		return z.flaws
	case Gzip:
		f := File{Index: 1, Packed: int64(len(data))}
		if r, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
			f.Name, f.r = name([]byte(r.Name), false), r
		} else {
			f.Flaws = FlawDamaged
		}
		yield(&f)
	case Bzip2:
		yield(&File{Index: 1, Slow: true, Packed: int64(len(data)), r: bzip2.NewReader(bytes.NewReader(data))})
	case Tar:
		return walkTar(data, limit, yield)
	case TNEF:
		w := tnefWalk{limit: limit, yield: yield}
		w.walk(data)
		return w.flaws
	case CMS:
		return walkCMS(data, yield)
	}
	return 0
}

func walkTar(data []byte, limit int, yield func(*File) bool) Flaw {
	r := tar.NewReader(bytes.NewReader(data))
	for n := 1; ; {
		h, err := r.Next()
		if err == io.EOF {
			return 0
		}
		if err != nil {
			return FlawDirectory
		}
		switch h.Typeflag { // all other entries are files to those who don't know their type
		case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo, tar.TypeXGlobalHeader:
			continue
		}
		if n > limit {
			return FlawLimit
		}
		if !yield(&File{Index: n, Name: name([]byte(h.Name), false), Packed: min(h.Size, int64(len(data))), r: r}) {
			return 0
		}
		n++
	}
}

// The methods of zip (APPNOTE.TXT section 4.4.5) that are read here.
const (
	methodStore   = 0
	methodDeflate = 8
	methodBzip2   = 12
	methodZstd    = 93
)

// unpacker keeps what one walk can use again.
type unpacker struct {
	deflate io.ReadCloser
	crc     hash.Hash32
}

// maxZstdWindow bounds the memory of one zstd file, in bytes.
const maxZstdWindow = 8 << 20

// open lets f read packed.
func (u *unpacker) open(f *File, method uint16, packed []byte, crc uint32) {
	src := bytes.NewReader(packed)
	switch method {
	case methodStore:
		f.stored, f.r = packed[:len(packed):len(packed)], src
	case methodDeflate:
		if u.deflate == nil {
			u.deflate = flate.NewReader(src)
		} else if err := u.deflate.(flate.Resetter).Reset(src, nil); err != nil {
			f.Flaws |= FlawDamaged
			return
		}
		f.r = u.deflate
	case methodBzip2:
		f.r, f.Slow = bzip2.NewReader(src), true
	case methodZstd:
		d, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			f.Flaws |= FlawDamaged
			return
		}
		f.r = d
	default:
		f.Flaws |= FlawMethod
		return
	}
	if u.crc == nil {
		u.crc = crc32.NewIEEE()
	}
	u.crc.Reset()
	f.check, f.crc = u.crc, crc
}
