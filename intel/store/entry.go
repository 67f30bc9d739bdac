package store

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/weirmail/weir/intel"
)

// entry is the value of a pattern: what all sources say about it.
type entry struct {
	longKey []byte // the pattern's key, if it is too long to be one here
	records []record
}

// record is what one line of one source says.
type record struct {
	source     uint32
	first      uint64 // generation in which it counts for the first time
	last       uint64 // in which it counts no longer; 0 while it is listed
	attributes []byte
}

// content tells what a source says about a pattern from anything else that it
// might say.
func (r *record) content() uint64 { return xxhash.Sum64(r.attributes) }

func (e entry) encode() []byte {
	var dst []byte
	dst = appendBytes(dst, e.longKey)
	var room [64]byte
	for _, r := range e.records {
		head := binary.AppendUvarint(room[:0], uint64(r.source))
		head = binary.AppendUvarint(head, r.first)
		head = binary.AppendUvarint(head, r.last)
		dst = binary.AppendUvarint(dst, uint64(len(head)+len(r.attributes)))
		dst = append(append(dst, head...), r.attributes...)
	}
	return dst
}

// decodeEntry reads the value of a pattern; the result points into it, and has
// its records in the room given.
func decodeEntry(value []byte, room []record) (entry, error) {
	d := decoder{rest: value}
	e := entry{longKey: d.bytes(), records: room[:0]}
	for d.more() {
		r := decoder{rest: d.bytes()}
		rec := record{source: uint32(r.uvarint()), first: r.uvarint(), last: r.uvarint()}
		if rec.attributes = r.rest; r.failed {
			return entry{}, errDamaged
		}
		e.records = append(e.records, rec)
	}
	return e, d.end()
}

// Bits of the first byte of attributes: which of them are there.
const (
	hasUntil = 1 << iota
	hasAction
	hasDirection
	hasRoles
	hasID
	hasCampaign
	hasNote
	hasScheme
)

// Bits of the byte of the disposition, which needs two of its own.
const (
	hasConfidence = 1 << (7 - iota)
	hasTLP
)

// appendAttributes appends what ind says besides its pattern, its source and its
// line. Equal attributes give equal bytes.
func appendAttributes(dst []byte, ind *intel.Indicator) []byte {
	start := len(dst)
	dst = append(dst, 0, byte(ind.Disposition))
	flag := func(bit byte, there bool) bool {
		if there {
			dst[start] |= bit
		}
		return there
	}
	if flag(hasUntil, !ind.Until.IsZero()) {
		dst = binary.AppendVarint(dst, ind.Until.Unix())
	}
	if flag(hasAction, ind.Action != intel.ActionNone) {
		dst = append(dst, byte(ind.Action))
	}
	if flag(hasDirection, ind.Direction != intel.DirectionAny) {
		dst = append(dst, byte(ind.Direction))
	}
	if flag(hasRoles, len(ind.Roles) > 0) {
		dst = binary.AppendUvarint(dst, uint64(len(ind.Roles)))
		for _, role := range ind.Roles {
			dst = appendBytes(dst, string(role))
		}
	}
	if ind.Confidence != 0 {
		dst[start+1] |= hasConfidence
		dst = append(dst, byte(ind.Confidence))
	}
	if ind.TLP != intel.TLPNone {
		dst[start+1] |= hasTLP
		dst = append(dst, byte(ind.TLP))
	}
	if flag(hasID, ind.ID != "") {
		dst = appendBytes(dst, ind.ID)
	}
	if flag(hasCampaign, ind.Campaign != "") {
		dst = appendBytes(dst, ind.Campaign)
	}
	if flag(hasNote, ind.Note != "") {
		dst = appendBytes(dst, ind.Note)
	}
	// A URL's key has lost its scheme, and people want to read what they wrote.
	scheme := strings.TrimSuffix(ind.Pattern.Text(), ind.Pattern.MatchText())
	if flag(hasScheme, scheme != "") {
		dst = appendBytes(dst, scheme)
	}
	return dst
}

// indicator makes an indicator, without its source and line, of a pattern's key
// and a record's attributes.
func indicator(patternKey, attributes []byte) (*intel.Indicator, error) {
	d := decoder{rest: attributes}
	flags := d.byte()
	disposition := d.byte()
	ind := &intel.Indicator{Disposition: intel.Disposition(disposition &^ (hasConfidence | hasTLP))}
	if flags&hasUntil != 0 {
		ind.Until = time.Unix(d.varint(), 0).UTC()
	}
	if flags&hasAction != 0 {
		ind.Action = intel.Action(d.byte())
	}
	if flags&hasDirection != 0 {
		ind.Direction = intel.Direction(d.byte())
	}
	if flags&hasRoles != 0 {
		for n := d.uvarint(); n > 0 && !d.failed; n-- {
			ind.Roles = append(ind.Roles, intel.Role(d.string()))
		}
	}
	if disposition&hasConfidence != 0 {
		ind.Confidence = int(d.byte())
	}
	if disposition&hasTLP != 0 {
		ind.TLP = intel.TLP(d.byte())
	}
	if flags&hasID != 0 {
		ind.ID = d.string()
	}
	if flags&hasCampaign != 0 {
		ind.Campaign = d.string()
	}
	if flags&hasNote != 0 {
		ind.Note = d.string()
	}
	scheme := ""
	if flags&hasScheme != 0 {
		scheme = d.string()
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	var err error
	if ind.Pattern, err = intel.PatternFromKey(patternKey, scheme); err != nil {
		return nil, errDamaged
	}
	return ind, nil
}
