package delivery

import (
	"slices"
	"strings"
	"time"

	"github.com/weirmail/weir/quarantine/delivery/logline"
)

// life is what one message did under a queue ID. Short queue IDs are used again,
// so one ID may have had several.
type life struct {
	queueID   string
	events    []logline.Event
	from, to  time.Time // zero where the log does not tell
	messageID string
	refused   *logline.Event
	expired   bool
	ended     bool
	deleted   bool // by postsuper
}

// lives parts the events of a queue ID.
func lives(queueID string, events []logline.Event) (all []life) {
	var l *life
	for i := range events {
		e := &events[i]
		if l == nil || l.ended || e.Kind == logline.Started && len(l.events) > 0 {
			next := life{queueID: queueID}
			if e.Kind == logline.Started || e.Kind == logline.Named {
				next.from = e.Time
			} else if l != nil {
				next.from = l.to
			}
			if l != nil && l.to.IsZero() {
				l.to = e.Time
			}
			all = append(all, next)
			l = &all[len(all)-1]
		}
		l.events = append(l.events, *e)
		switch e.Kind {
		case logline.Started, logline.Named:
			if e.MessageID != "" {
				l.messageID = e.MessageID
			}
		case logline.Refused:
			l.refused = e
		case logline.Expired:
			l.expired = true
		case logline.Ended:
			l.ended, l.to = true, e.Time
			l.deleted = e.Agent == "postsuper"
		}
	}
	return all
}

// slack is how far the clocks of log and journal may be apart.
const slack = time.Minute

// holds reports whether a message that was judged at this time may be the one of
// this life.
func (l *life) holds(judged time.Time) bool {
	if !isShort(l.queueID) {
		return true
	}
	return (l.from.IsZero() || !judged.Before(l.from.Add(-slack))) && (l.to.IsZero() || !judged.After(l.to.Add(slack)))
}

// isShort tells Postfix's short queue IDs, hex in upper case, from its long ones
// and Sendmail's, which are used once.
func isShort(queueID string) bool {
	for i := range len(queueID) {
		if c := queueID[i]; (c < '0' || c > '9') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

// began gives the time of the first event.
func (l *life) began() time.Time { return l.events[0].Time }

// copies gives the latest that is told of each recipient's copy. What was
// delivered or refused stays so, whatever is told of it later.
func (l *life) copies() (copies []logline.Event) {
	at := map[copyKey]int{}
	for _, e := range l.events {
		if e.Kind != logline.Copy {
			continue
		}
		k := keyOfCopy(&e)
		i, known := at[k]
		switch {
		case !known:
			at[k] = len(copies)
			copies = append(copies, e)
		case copies[i].Outcome == logline.Deferred:
			copies[i] = e
		}
	}
	return copies
}

// copyKey tells the copies of a life apart.
type copyKey struct{ address, through string }

func keyOfCopy(e *logline.Event) copyKey { return copyKey{fold(e.Address), fold(e.Through)} }

// withoutTries leaves out the deferred copies of which more is told later in the same
// life: there can be very many of them, and how it ended comes last.
func withoutTries(events []logline.Event) (left []logline.Event) {
	later := map[copyKey]bool{}
	for i := range slices.Backward(events) {
		e := &events[i]
		if e.Kind == logline.Ended {
			clear(later)
		}
		first := i == 0 || events[i-1].Kind == logline.Ended // tells when the life began
		if e.Kind == logline.Copy {
			key := keyOfCopy(e)
			if e.Outcome == logline.Deferred && later[key] && !first {
				continue
			}
			later[key] = true
		}
		if e.Kind == logline.Started {
			clear(later)
		}
		left = append(left, *e)
	}
	slices.Reverse(left)
	return left
}

// fold makes addresses comparable as mail servers in fact compare them.
func fold(address string) string { return strings.ToLower(address) }

// forWhom gives the envelope's recipient of a copy, as it was given to the MTA.
func forWhom(e *logline.Event) string {
	if e.Through != "" {
		return e.Through
	}
	return e.Address
}
