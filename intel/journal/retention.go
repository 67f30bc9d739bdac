package journal

import (
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/wal"
)

// prune drops whole segments: those whose youngest entry is older than MaxAge
// and, above MaxBytes, the oldest ones as far as the look-back allows. Where
// it does not allow enough, the journal is full until it does.
func (j *Journal) prune() error {
	segments := j.log.Segments()
	keep := j.keep.Load()
	n := 0
	if keep.MaxAge > 0 {
		n = j.olderThan(segments, keep.MaxAge)
	}
	full := false
	if excess := j.bytes() - j.o.MaxBytes; j.o.MaxBytes > 0 && excess >= 0 {
		limit := j.olderThan(segments, keep.LookBack)
		freed := int64(0)
		for i := 0; i < limit && freed <= excess; i++ {
			freed += segments[i].Bytes
			n = max(n, i+1)
		}
		full = freed <= excess
	}
	if full != j.full.Swap(full) {
		j.o.Logger.Warn("journal.max_bytes is reached inside the look-back: no entry is taken while that lasts",
			zap.Bool("full", full), zap.Int64("bytes", j.bytes()), zap.Int64("max_bytes", j.o.MaxBytes))
	}
	if n == 0 {
		return nil
	}
	before := segments[n].Base
	if err := j.log.Drop(before); err != nil {
		return err
	}
	j.o.Logger.Info("journal entries dropped for their age or size", zap.Int("segments", n))
	return j.index.dropBefore(before)
}

// olderThan counts the oldest segments of which every entry is older than age:
// the next segment begins with one that is. The newest segment never counts.
func (j *Journal) olderThan(segments []wal.Segment, age time.Duration) int {
	limit := j.o.Clock().Add(-age)
	n := 0
	for n+1 < len(segments) {
		if at, ok := j.began(segments[n+1]); !ok || !at.Before(limit) {
			break
		}
		n++
	}
	return n
}

// began gives the time of a segment's first entry.
func (j *Journal) began(s wal.Segment) (time.Time, bool) {
	r, err := j.Get(s.First())
	if err != nil {
		return time.Time{}, false
	}
	return r.Entry.Time, true
}
