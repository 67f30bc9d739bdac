package store

import (
	"encoding/binary"
	"slices"
	"time"
)

// state is which generations count.
type state struct {
	active    uint64   // the generation in force
	reserved  uint64   // the highest number that was given out
	aborted   []uint64 // generations that came to nothing and left something behind, sorted
	forgotten uint64   // additions up to this generation are not kept any more
	sources   uint32   // the highest number of a source
	untidy    bool     // values may hold what does not count any more
}

// counts reports whether what begins or ends in this generation has done so.
func (s *state) counts(generation uint64) bool {
	return generation <= s.active && !s.cameToNothing(generation)
}

func (s *state) cameToNothing(generation uint64) bool {
	_, found := slices.BinarySearch(s.aborted, generation)
	return found
}

// listed reports whether a record is in force.
func (s *state) listed(r *record) bool {
	return s.counts(r.first) && (r.last == 0 || !s.counts(r.last))
}

// tidy removes from e the records that are not listed and never will be, and
// what a generation that came to nothing did to others. It may write to e.
func (s *state) tidy(e *entry) (changed bool) {
	kept := e.records[:0]
	for _, r := range e.records {
		if r.last != 0 && s.cameToNothing(r.last) {
			r.last, changed = 0, true
		}
		if s.cameToNothing(r.first) || r.last != 0 && s.counts(r.last) {
			changed = true
			continue
		}
		kept = append(kept, r)
	}
	e.records = kept
	return changed
}

// abort says that a generation which was reserved comes to nothing.
func (s *state) abort(generation uint64) {
	s.aborted = append(slices.Clone(s.aborted), generation) // the highest so far
}

func (s *state) encode() []byte {
	var dst []byte
	dst = binary.AppendUvarint(dst, s.active)
	dst = binary.AppendUvarint(dst, s.reserved)
	dst = binary.AppendUvarint(dst, s.forgotten)
	dst = binary.AppendUvarint(dst, uint64(s.sources))
	untidy := byte(0)
	if s.untidy {
		untidy = 1
	}
	dst = append(dst, untidy)
	for _, generation := range s.aborted {
		dst = binary.AppendUvarint(dst, generation)
	}
	return dst
}

func decodeState(value []byte) (state, error) {
	d := decoder{rest: value}
	s := state{active: d.uvarint(), reserved: d.uvarint(), forgotten: d.uvarint(), sources: uint32(d.uvarint()), untidy: d.byte() != 0}
	for d.more() {
		s.aborted = append(s.aborted, d.uvarint())
	}
	return s, d.end()
}

// source is what is known of a source while it is listed. It is not written to
// once a snapshot has it.
type source struct {
	number     uint32
	name       string
	version    string
	generation uint64 // in which it changed last
	changed    time.Time
	entries    int
	lines      bool   // its entries stand on lines; else nobody asks for them
	sum        uint64 // of its index
	index      *index // not in the database
}

func (s *source) encode() []byte {
	var dst []byte
	dst = appendBytes(dst, s.name)
	dst = appendBytes(dst, s.version)
	dst = binary.AppendUvarint(dst, s.generation)
	dst = binary.AppendVarint(dst, s.changed.Unix())
	dst = binary.AppendUvarint(dst, uint64(s.entries))
	lines := byte(0)
	if s.lines {
		lines = 1
	}
	dst = append(dst, lines)
	dst = binary.BigEndian.AppendUint64(dst, s.sum)
	return dst
}

func decodeSource(number uint32, value []byte) (*source, error) {
	d := decoder{rest: value}
	s := &source{
		number: number, name: d.string(), version: d.string(), generation: d.uvarint(),
		changed: time.Unix(d.varint(), 0).UTC(), entries: int(d.uvarint()), lines: d.byte() != 0, sum: d.uint64(),
	}
	return s, d.end()
}
