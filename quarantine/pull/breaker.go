package pull

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
)

const (
	// firstBreak and longestBreak bound how long a store is left alone that does not
	// let anybody in.
	firstBreak   = 250 * time.Millisecond
	longestBreak = time.Minute
)

// breaker keeps clients from a store that is down.
type breaker struct {
	mu      sync.Mutex
	level   int           // failures without anything that went well
	tripped time.Time     // when it last failed
	until   time.Time     // nobody gets in before; zero: everybody may
	probing bool          // somebody tries
	changed chan struct{} // closed when something of this changes
	cause   error         // of the last failure
}

// errLeftAlone says that a store was not asked, since it did not answer before.
var errLeftAlone = fmt.Errorf("%w, and is left alone for a while", mailbox.ErrUnreachable)

func newBreaker() *breaker { return &breaker{changed: make(chan struct{})} }

// admit waits, at most so long, until somebody may try to get in. Its error
// satisfies mailbox.ErrUnreachable where that would take too long. Who was
// admitted says what came of it.
func (b *breaker) admit(ctx context.Context, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		b.mu.Lock()
		if b.until.IsZero() {
			b.mu.Unlock()
			return nil
		}
		wait := time.Until(b.until)
		if wait <= 0 && !b.probing {
			b.probing = true
			b.mu.Unlock()
			return nil
		}
		if wait <= 0 { // somebody tries: what comes of it is soon known
			wait = time.Until(deadline)
		}
		changed, cause := b.changed, b.cause
		b.mu.Unlock()
		if wait <= 0 || time.Now().Add(wait).After(deadline) {
			return fmt.Errorf("%w: %w", errLeftAlone, cause)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (b *breaker) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	close(b.changed)
	b.changed = make(chan struct{})
}

// failed says that the store let nobody in, or broke off a connection that began
// at a time. Connections that break together count once.
func (b *breaker) failed(began time.Time, cause error) {
	b.change(func() {
		b.probing = false
		if began.Before(b.tripped) {
			return
		}
		pause := min(firstBreak<<min(b.level, 16), longestBreak)
		b.level++
		b.tripped = time.Now()
		b.until = b.tripped.Add(pause)
		b.cause = cause
	})
}

// opened says that the store has let somebody in.
func (b *breaker) opened() {
	b.change(func() { b.probing, b.until = false, time.Time{} })
}

// undecided says that whoever was admitted has not found out.
func (b *breaker) undecided() { b.change(func() { b.probing = false }) }

// worked says that a job went well, or a copy was removed.
func (b *breaker) worked() {
	b.mu.Lock()
	b.level = 0
	b.mu.Unlock()
}

// down reports whether the store is left alone.
func (b *breaker) down() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.until.IsZero()
}
