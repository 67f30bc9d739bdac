package delivery

import (
	"slices"
	"sync"

	"github.com/weirmail/weir/intel/journal"
	"github.com/weirmail/weir/quarantine/delivery/logline"
)

// Bounds on what news are waited for. Whoever waits for more asks from time to
// time, as he does anyway.
const (
	maxAwaited     = 100_000 // messages
	maxAwaitedIDs  = 64      // further queue IDs that one of them goes under
	maxAwaitedText = 1024    // bytes of a Message-ID
	maxNamesakes   = 64      // messages that go under one queue ID or Message-ID
)

// news tells those who wait for a message's copies that lines of the log speak of
// it. It knows a message by its queue ID and Message-ID, and by the queue IDs that
// it goes on under: their first line has the Message-ID.
type news struct {
	mu       sync.Mutex
	n        int
	queueIDs map[string][]*awaited
	messages map[string][]*awaited // by plain Message-ID
}

// awaited is a message that somebody waits for.
type awaited struct {
	queueIDs  []string
	messageID string
	tell      func()
}

func newNews() *news {
	return &news{queueIDs: map[string][]*awaited{}, messages: map[string][]*awaited{}}
}

// Await has tell called whenever the logs have told something that may be news of
// an entry's copies, after Of knows it, until stop is called. tell must not block,
// nor call stop. News may be missed, when very much is waited for or the daemon was
// just started: whoever waits asks from time to time as well.
func (t *Tracker) Await(e *journal.Entry, tell func()) (stop func()) { return t.news.await(e, tell) }

func (w *news) await(e *journal.Entry, tell func()) (stop func()) {
	a := &awaited{tell: tell}
	if id := plainID(e.MessageID); len(id) <= maxAwaitedText {
		a.messageID = id
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n == maxAwaited {
		return func() {}
	}
	w.n++
	if e.QueueID != "" {
		w.goesUnder(a, e.QueueID)
	}
	if same := w.messages[a.messageID]; a.messageID != "" && len(same) < maxNamesakes {
		w.messages[a.messageID] = append(same, a)
	}
	return sync.OnceFunc(func() { w.forget(a) })
}

func (w *news) goesUnder(a *awaited, queueID string) {
	if same := w.queueIDs[queueID]; len(same) < maxNamesakes {
		a.queueIDs = append(a.queueIDs, queueID)
		w.queueIDs[queueID] = append(same, a)
	}
}

func (w *news) forget(a *awaited) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n--
	for _, id := range a.queueIDs {
		without(w.queueIDs, id, a)
	}
	without(w.messages, a.messageID, a)
}

// without takes one out of those that are known by a name.
func without(by map[string][]*awaited, name string, a *awaited) {
	// Those of no name have none here.
	left := slices.DeleteFunc(by[name], func(other *awaited) bool { return other == a })
	if by[name] = left; len(left) == 0 {
		delete(by, name)
	}
}

// tell tells of events that the index has by now.
func (w *news) tell(events []logline.Event) {
	w.mu.Lock()
	var heard map[*awaited]bool
	hear := func(a *awaited) {
		if heard == nil {
			heard = map[*awaited]bool{}
		}
		heard[a] = true
	}
	for i := range events {
		if w.n == 0 {
			break
		}
		e := &events[i]
		for _, a := range w.queueIDs[e.QueueID] {
			hear(a)
		}
		if e.MessageID == "" {
			continue
		}
		for _, a := range w.messages[plainID(e.MessageID)] {
			if hear(a); e.QueueID != "" && len(a.queueIDs) < maxAwaitedIDs && !slices.Contains(a.queueIDs, e.QueueID) {
				w.goesUnder(a, e.QueueID)
			}
		}
	}
	w.mu.Unlock()
	for a := range heard {
		a.tell()
	}
}
