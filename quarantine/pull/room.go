package pull

import (
	"context"
	"sync"
)

// room is the memory that messages may take. Who is refused waits; first come,
// first served, so that a large message is not kept out by small ones.
type room struct {
	mu      sync.Mutex
	free    int64
	size    int64
	waiting []*guest
}

type guest struct {
	bytes int64
	in    chan struct{} // closed when there is room
}

func newRoom(size int64) *room { return &room{free: size, size: size} }

// enter waits for room, and gives what leaves it again. What is larger than the
// room gets all of it.
func (r *room) enter(ctx context.Context, bytes int64) (leave func(), err error) {
	g := &guest{bytes: max(0, min(bytes, r.size)), in: make(chan struct{})}
	r.mu.Lock()
	r.waiting = append(r.waiting, g)
	r.admit()
	r.mu.Unlock()
	select {
	case <-g.in:
		return func() { r.leave(g) }, nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, w := range r.waiting {
		if w == g {
			r.waiting = append(r.waiting[:i], r.waiting[i+1:]...)
			g.bytes = 0
			break
		}
	}
	r.free += g.bytes // it came in at the last moment
	r.admit()
	return nil, context.Cause(ctx)
}

// tryEnter is enter for who does not wait, and reports whether there was room.
func (r *room) tryEnter(bytes int64) (leave func(), ok bool) {
	g := &guest{bytes: max(0, min(bytes, r.size))}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) > 0 || g.bytes > r.free {
		return nil, false
	}
	r.free -= g.bytes
	return func() { r.leave(g) }, true
}

func (r *room) leave(g *guest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free += g.bytes
	r.admit()
}

// admit lets in whom there is room for. It is called with the lock held.
func (r *room) admit() {
	for len(r.waiting) > 0 && r.waiting[0].bytes <= r.free {
		g := r.waiting[0]
		r.waiting = r.waiting[1:]
		r.free -= g.bytes
		close(g.in)
	}
}
