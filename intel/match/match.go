package match

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weirmail/weir/intel"
)

// maxHitText bounds Hit.Text, in bytes.
const maxHitText = 256

// Match appends the hits of each observable, in a message that travels this
// way at this time, and returns the extended slice: of the deciding level the
// allow entries, else the block entries, and every watch entry. Where nothing is
// known it allocates nothing.
//
// The error is that of reading the Source. Hits that came before it are there,
// but an answer made of them would be a guess.
func (s *Snapshot) Match(dst []intel.Hit, obs []intel.Observable, d intel.Direction, now time.Time) ([]intel.Hit, error) {
	for i := range obs {
		o := &obs[i]
		levels, err := s.known(o.Value)
		if err != nil {
			return dst, fmt.Errorf("looking up %s %q: %w", o.Value.Kind(), o.Value, err)
		}
		decided := false
		for _, level := range levels {
			var winner intel.Disposition
			if !decided {
				winner = strongest(level, o.Role, d, now)
				decided = winner != 0
			}
			for _, ind := range level {
				if (ind.Disposition == intel.Watch || ind.Disposition == winner) && ind.InForce(o.Role, d, now) {
					dst = append(dst, intel.Hit{Observable: *o, Text: shorten(o.Value.String()), Indicator: ind})
				}
			}
		}
	}
	return dst, nil
}

// strongest gives the disposition that decides among entries of one level:
// Allow before Block, and 0 where neither is in force.
func strongest(level []*intel.Indicator, role intel.Role, d intel.Direction, now time.Time) intel.Disposition {
	var winner intel.Disposition
	for _, ind := range level {
		if (ind.Disposition == intel.Allow || ind.Disposition == intel.Block && winner == 0) && ind.InForce(role, d, now) {
			winner = ind.Disposition
		}
	}
	return winner
}

// shorten cuts text to maxHitText bytes, between characters.
func shorten(text string) string {
	const dots = "…"
	if len(text) <= maxHitText {
		return text
	}
	end := maxHitText - len(dots)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.ToValidUTF8(text[:end], "") + dots
}
