package message

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // indicators name files by it
	"crypto/sha1" //nolint:gosec // indicators name files by it
	"crypto/sha256"
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
	short             bool                 // SHA-256 alone
	cr                bool                 // the last byte was a CR that the normal form still lacks
	normal            [blockBytes + 1]byte // and the CR before
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
// 0x80. It is valid until the next call.
func (d *digester) normalise(block []byte) []byte {
	out := d.normal[:0]
	if d.cr && len(block) > 0 {
		d.cr = false
		if block[0] != '\n' {
			out = append(out, '\r')
		}
	}
	for {
		i := bytes.IndexByte(block, '\r')
		if i < 0 {
			out = append(out, block...)
			break
		}
		if i+1 == len(block) {
			out = append(out, block[:i]...)
			d.cr = true
			break
		}
		end := i
		if block[i+1] != '\n' {
			end++
		}
		out = append(out, block[:end]...)
		block = block[i+1:]
	}
	if i := bytes.IndexByte(out, 0); i >= 0 {
		for ; i < len(out); i++ {
			if out[i] == 0 {
				out[i] = 0x80
			}
		}
	}
	return out
}

// digestWhole gives p the digests of content that is all there, but for its
// fingerprint.
func (d *digester) digestWhole(p *Part, content []byte, short bool) {
	d.reset(false, short)
	for len(content) > 0 {
		block := content[:min(len(content), blockBytes)]
		d.write(block)
		content = content[len(block):]
	}
	d.sum(p)
}
