package journal

import (
	"cmp"
	"encoding/binary"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/weirmail/weir/intel/journal/postings"
	"github.com/weirmail/weir/intel/wal"
)

// blockBits cuts the log into blocks of four MiB: a thousand entries or two.
// Smaller ones would make more posting lists of a busy second.
const blockBits = 22

// grid cuts the log into blocks of so many bits.
type grid uint8

func (g grid) block(at wal.Position) uint64 { return uint64(at) >> g }

func (g grid) start(at wal.Position) wal.Position { return at >> g << g }

// end is the position behind the block of at.
func (g grid) end(at wal.Position) wal.Position { return g.start(at) + 1<<g }

// zone says when the entries of a block passed, as far as they belong to one
// week of the index. Clocks go back, so that neither zones nor the entries in
// one need to be in the order of their times.
type zone struct {
	first            wal.Position // of the block's entries in this week
	earliest, latest int64        // ns since 1970
}

// overlaps reports whether an entry of the zone can lie in [from, to].
func (z zone) overlaps(from, to int64) bool { return z.latest >= from && z.earliest <= to }

// join gives the zone of both, which are of one block.
func (z zone) join(o zone) zone {
	return zone{min(z.first, o.first), min(z.earliest, o.earliest), max(z.latest, o.latest)}
}

func (z zone) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(z.first))
	dst = binary.BigEndian.AppendUint64(dst, uint64(z.earliest))
	return binary.BigEndian.AppendUint64(dst, uint64(z.latest))
}

const zoneBytes = 24

// readNotes is the inverse of zone.append, for any number of zones.
func readNotes(notes []byte) []zone {
	zones := make([]zone, 0, len(notes)/zoneBytes)
	for ; len(notes) >= zoneBytes; notes = notes[zoneBytes:] {
		zones = append(zones, zone{
			first: wal.Position(binary.BigEndian.Uint64(notes)), earliest: int64(binary.BigEndian.Uint64(notes[8:])), latest: int64(binary.BigEndian.Uint64(notes[16:])),
		})
	}
	return zones
}

// joinNotes joins the zones of two stretches of the log that follow each other:
// the last block of one may be the first of the next.
func (g grid) joinNotes(a, b []byte) []byte {
	if len(a) < zoneBytes || len(b) < zoneBytes {
		return slices.Concat(a, b)
	}
	end := len(a) - zoneBytes
	last, first := readNotes(a[end:])[0], readNotes(b[:zoneBytes])[0]
	if g.block(last.first) != g.block(first.first) {
		return slices.Concat(a, b)
	}
	return slices.Concat(a[:end], last.join(first).append(nil), b[zoneBytes:])
}

// add notes an entry that stands behind all of the zones.
func (g grid) add(zones []zone, z zone) []zone {
	if n := len(zones); n > 0 && g.block(zones[n-1].first) == g.block(z.first) {
		zones[n-1] = zones[n-1].join(z)
		return zones
	}
	return append(zones, z)
}

func (g grid) find(zones []zone, at wal.Position) (int, bool) {
	return slices.BinarySearchFunc(zones, g.block(at), func(z zone, b uint64) int { return cmp.Compare(g.block(z.first), b) })
}

// merge gives the zone together with what is known of its block.
func (g grid) merge(known []zone, z zone) zone {
	if i, ok := g.find(known, z.first); ok {
		return known[i].join(z)
	}
	return z
}

// set puts a zone in the place of the one of its block.
func (g grid) set(zones []zone, z zone) []zone {
	i, ok := g.find(zones, z.first)
	if ok {
		zones[i] = z
		return zones
	}
	return slices.Insert(zones, i, z)
}

// stretch is what a search has to look at in one week: the zones, by block.
type stretch struct {
	set   *postings.Set
	zones []zone
}

// stretches gives the zones that have entries before a position and in a span of
// time, the newest week first. Weeks follow each other in the log.
func (x *index) stretches(before wal.Position, since, until time.Time) []stretch {
	from, to := int64(math.MinInt64), int64(math.MaxInt64)
	if !since.IsZero() {
		from = nanoseconds(since)
	}
	if !until.IsZero() {
		to = nanoseconds(until)
	}
	oldest := wal.Position(0)
	if segments := x.j.log.Segments(); len(segments) > 0 {
		oldest = segments[0].Base
	}
	var all []stretch
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, number := range slices.Backward(slices.Sorted(maps.Keys(x.weeks))) {
		w := x.weeks[number]
		s := stretch{set: w.set}
		for _, z := range w.zones {
			if z.first < before && x.grid.end(z.first) > oldest && z.overlaps(from, to) {
				s.zones = append(s.zones, z)
			}
		}
		if s.zones != nil {
			all = append(all, s)
		}
	}
	return all
}

// nanoseconds is UnixNano for all times that there are: those that it cannot
// tell are as early or as late as can be.
func nanoseconds(t time.Time) int64 {
	switch s := t.Unix(); {
	case s <= math.MinInt64/int64(time.Second):
		return math.MinInt64
	case s >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	return t.UnixNano()
}
