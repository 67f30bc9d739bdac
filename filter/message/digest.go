package message

import (
	"crypto/md5"  //nolint:gosec // indicators name files by it
	"crypto/sha1" //nolint:gosec // indicators name files by it
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// blockBytes is how much content is decoded and digested at once: it stays in
// the processor's second-level cache while five loops go over it.
const blockBytes = 32 << 10

// digester makes the digests of one part at a time.
type digester struct {
	sha256, sha1, md5 hash.Hash
	print             hash.Hash // SHA-256 of the normal form
	wantPrint         bool
	short             bool // SHA-256 alone
	cr                bool // the last byte was a CR that the normal form still lacks
	normal            [blockBytes + 8]byte
	size              int64
}

func newDigester() *digester {
	return &digester{
		sha256: sha256.New(), sha1: sha1.New(), md5: md5.New(), //nolint:gosec // see above
		print: sha256.New(),
	}
}

func (d *digester) reset(wantPrint, short bool) {
	d.sha256.Reset()
	d.sha1.Reset()
	d.md5.Reset()
	d.print.Reset()
	d.wantPrint, d.short, d.cr, d.size = wantPrint, short, false, 0
}

// write takes at most blockBytes. Hashes never fail.
func (d *digester) write(block []byte) {
	d.size += int64(len(block))
	d.sha256.Write(block)
	if !d.short {
		d.sha1.Write(block)
		d.md5.Write(block)
	}
	if d.wantPrint {
		d.print.Write(d.normalise(block))
	}
}

// sum writes the digests of all that was written into p.
func (d *digester) sum(p *Part) {
	if d.cr {
		d.print.Write([]byte{'\r'})
		d.cr = false
	}
	p.Size = d.size
	d.sha256.Sum(p.SHA256[:0])
	if !d.short {
		d.sha1.Sum(p.SHA1[:0])
		d.md5.Sum(p.MD5[:0])
	}
	if d.wantPrint {
		d.print.Sum(p.Fingerprint[:0])
	}
}

// normalise gives block in the form that mail stores keep: CRLF as LF, NUL as
// 0x80. Eight bytes at a time, since most have neither.
func (d *digester) normalise(block []byte) []byte {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	out, n := &d.normal, 0
	for i := 0; i < len(block); {
		for i+8 <= len(block) && !d.cr {
			w := binary.LittleEndian.Uint64(block[i:])
			cr := w ^ ones*'\r'
			if ((w-ones)&^w|(cr-ones)&^cr)&highs != 0 {
				break
			}
			binary.LittleEndian.PutUint64(out[n:], w)
			i, n = i+8, n+8
		}
		for end := min(i+8, len(block)); i < end; i++ {
			c := block[i]
			if d.cr {
				d.cr = false
				if c != '\n' {
					out[n] = '\r'
					n++
				}
			}
			switch c {
			case '\r':
				d.cr = true
				continue
			case 0:
				c = 0x80
			}
			out[n] = c
			n++
		}
	}
	return out[:n]
}

// digestWhole gives p the digests of content that is all there.
func (d *digester) digestWhole(p *Part, content []byte, wantPrint bool) {
	d.reset(wantPrint, false)
	for len(content) > 0 {
		block := content[:min(len(content), blockBytes)]
		d.write(block)
		content = content[len(block):]
	}
	d.sum(p)
}
