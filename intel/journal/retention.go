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
// a segment behind them begins with one that is. One that begins with an entry of a
// clock that was ahead, or with none that can be read, tells nothing. The newest
// segment never counts.
func (j *Journal) olderThan(segments []wal.Segment, age time.Duration) int {
	now := j.o.Clock()
	limit := now.Add(-age)
	n := 0
	for i := 1; i < len(segments); i++ {
		at, ok := j.began(segments[i])
		switch {
		case !ok || at.After(now):
		case at.Before(limit):
			n = i
		default:
			return n
		}
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
