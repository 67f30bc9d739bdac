package store

import (
	"encoding/binary"
	"errors"
)

// errDamaged says that a value is none that this package wrote. Package kv
// checks checksums and versions, so it is a defect of the program.
var errDamaged = errors.New("a value in the database is damaged; remove the intel database, and it will be built again from the lists")

// decoder reads what the append functions wrote. After a failure it gives zeros.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) uint64() uint64 {
	if len(d.rest) < 8 {
		d.fail()
		return 0
	}
	v := binary.BigEndian.Uint64(d.rest)
	d.rest = d.rest[8:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail()
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

// bytes gives a part that appendBytes wrote; it points into what is decoded.
func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.fail()
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) more() bool { return len(d.rest) > 0 }

func (d *decoder) fail() { d.rest, d.failed = nil, true }

// end gives the error of all that was decoded; nothing may be left.
func (d *decoder) end() error {
	if d.failed || d.more() {
		return errDamaged
	}
	return nil
}

func appendBytes[T string | []byte](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}
