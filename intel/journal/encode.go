package journal

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/weirmail/weir/intel"
)

// encoder writes an entry as a record: CBOR (RFC 8949) as the tags of record's
// fields say. A message waits for this, and it takes a quarter of the time that
// an encoder does which has to find its way by those tags.
type encoder struct {
	b     []byte
	pairs byte // of the map so far
}

// The major types of RFC 8949 section 3.1 that a record has.
const (
	majorUint    = 0 << 5
	majorNegated = 1 << 5
	majorBytes   = 2 << 5
	majorText    = 3 << 5
	majorArray   = 4 << 5
	majorMap     = 5 << 5
	majorSimple  = 7 << 5
	cborTrue     = 0xf5
)

// appendEntry appends a record. The error says that the entry has no room in one.
func appendEntry(dst []byte, e *Entry) ([]byte, error) {
	start := len(dst)
	w := encoder{b: append(dst, majorMap|24, 0)} // and their number in the end
	w.int(0, version)
	w.key(1).text(e.ID)
	w.optional(2, e.Parent)
	w.optional(3, e.Item)
	w.int(4, e.Time.UnixNano())
	w.optional(5, e.QueueID)
	w.foreign(6, e.MessageID)
	w.foreign(7, e.From)
	w.list(8, e.To)
	if e.Client.IsValid() {
		w.key(9).bytes(e.Client.AsSlice())
	}
	w.foreign(10, e.Helo)
	w.foreign(11, e.AuthUser)
	w.int(12, int64(e.Direction))
	w.foreign(13, e.Subject)
	w.foreign(14, e.HeaderFrom)
	w.foreign(15, e.Date)
	w.list(16, e.References)
	w.list(17, e.Files)
	w.int(18, e.Size)
	w.key(19).bytes(e.Body[:])
	w.parts(e.Parts)
	if err := w.observables(e.Observables); err != nil {
		return dst, err
	}
	w.optionalInt(22, int64(e.Overflow))
	w.int(23, int64(e.Action))
	w.optional(24, e.Rule)
	w.hits(e.Hits)
	if e.Generation != 0 {
		w.key(keyGeneration).head(majorUint, e.Generation)
	}
	if e.Unjudged {
		w.key(27).b = append(w.b, cborTrue)
	}
	w.b[start+1] = w.pairs
	if n := len(w.b) - start; n > MaxEntry {
		return dst, fmt.Errorf("journal entry of %d bytes is larger than %d", n, MaxEntry)
	}
	return w.b, nil
}

// head begins an item: its major type and its number, or how long it is.
func (w *encoder) head(major byte, n uint64) {
	switch {
	case n < 24:
		w.b = append(w.b, major|byte(n))
	case n < 1<<8:
		w.b = append(w.b, major|24, byte(n))
	case n < 1<<16:
		w.b = binary.BigEndian.AppendUint16(append(w.b, major|25), uint16(n))
	case n < 1<<32:
		w.b = binary.BigEndian.AppendUint32(append(w.b, major|26), uint32(n))
	default:
		w.b = binary.BigEndian.AppendUint64(append(w.b, major|27), n)
	}
}

// key begins a pair of the map.
func (w *encoder) key(n byte) *encoder {
	w.pairs++
	w.head(majorUint, uint64(n))
	return w
}

func (w *encoder) number(n int64) {
	if n < 0 {
		w.head(majorNegated, uint64(^n))
		return
	}
	w.head(majorUint, uint64(n))
}

func (w *encoder) text(s string) {
	w.head(majorText, uint64(len(s)))
	w.b = append(w.b, s...)
}

// foreignText writes what a stranger chose, which need not be UTF-8.
func (w *encoder) foreignText(s string) {
	w.head(majorBytes, uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *encoder) bytes(b []byte) {
	w.head(majorBytes, uint64(len(b)))
	w.b = append(w.b, b...)
}

func (w *encoder) int(key byte, n int64) { w.key(key).number(n) }

func (w *encoder) optionalInt(key byte, n int64) {
	if n != 0 {
		w.int(key, n)
	}
}

func (w *encoder) optional(key byte, s string) {
	if s != "" {
		w.key(key).text(s)
	}
}

func (w *encoder) foreign(key byte, s string) {
	if s != "" {
		w.key(key).foreignText(s)
	}
}

func (w *encoder) list(key byte, all []string) {
	if len(all) == 0 {
		return
	}
	w.key(key).head(majorArray, uint64(len(all)))
	for _, s := range all {
		w.foreignText(s)
	}
}

func (w *encoder) parts(parts []Part) {
	if len(parts) == 0 {
		return
	}
	w.key(20).head(majorArray, uint64(len(parts)))
	for i := range parts {
		p := &parts[i]
		w.head(majorArray, 5)
		w.text(p.Path)
		w.foreignText(p.Type)
		w.foreignText(p.Name)
		w.number(p.Size)
		w.bytes(p.Fingerprint[:])
	}
}

func (w *encoder) observables(all []intel.Observable) error {
	if len(all) == 0 {
		return nil
	}
	w.key(21).head(majorArray, uint64(len(all)))
	var digest [64]byte // in hex
	for i := range all {
		o := &all[i]
		w.head(majorArray, 4)
		w.number(int64(o.Value.Kind()))
		text := o.Value.String()
		if isDigest(o.Value.Kind()) {
			w.head(majorBytes, uint64(len(text)/2))
			var err error
			if w.b, err = hex.AppendDecode(w.b, digest[:copy(digest[:], text)]); err != nil {
				return err
			}
		} else {
			w.foreignText(text)
		}
		w.text(string(o.Role))
		w.foreignText(o.Place)
	}
	return nil
}

func (w *encoder) hits(hits []Hit) {
	if len(hits) == 0 {
		return
	}
	w.key(25).head(majorArray, uint64(len(hits)))
	for i := range hits {
		h := &hits[i]
		w.head(majorArray, 4)
		w.text(h.Source)
		w.number(int64(h.Line))
		w.foreignText(h.Value)
		w.foreignText(h.Place)
	}
}
