package control

import (
	"context"
	"sync"
)

// gate lets in so many bytes at once, in the order of those who ask. What is
// larger than that comes alone.
type gate struct {
	room int64

	mu    sync.Mutex
	used  int64
	queue []*waiter
}

type waiter struct {
	size int64
	in   chan struct{}
}

func newGate(room int64) *gate { return &gate{room: room} }

// enter waits for room. The error is the context's.
func (g *gate) enter(ctx context.Context, size int64) (leave func(), err error) {
	size = min(size, g.room)
	w := &waiter{size, make(chan struct{})}
	g.mu.Lock()
	g.queue = append(g.queue, w)
	g.admit()
	g.mu.Unlock()
	select {
	case <-w.in:
	case <-ctx.Done():
		if g.giveUp(w) {
			return nil, context.Cause(ctx)
		}
	}
	return func() { g.leave(size) }, nil
}

// admit lets in who comes first, as far as there is room.
func (g *gate) admit() {
	for len(g.queue) > 0 && g.used+g.queue[0].size <= g.room {
		g.used += g.queue[0].size
		close(g.queue[0].in)
		g.queue = g.queue[1:]
	}
}

// giveUp takes somebody out of the queue; false if he was let in meanwhile.
func (g *gate) giveUp(w *waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.queue {
		if g.queue[i] == w {
			g.queue = append(g.queue[:i:i], g.queue[i+1:]...)
			g.admit()
			return true
		}
	}
	return false
}

func (g *gate) leave(size int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used -= size
	g.admit()
}
