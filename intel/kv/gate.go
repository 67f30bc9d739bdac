package kv

import (
	"math"
	"sync"
	"sync/atomic"
)

// gate lets users in until it is shut, and tells when all have left. A user
// who is in may enter again: once the gate is being shut that fails instead of
// waiting, which a read lock would do.
type gate struct {
	state   atomic.Int64 // users inside; less shut once it is being shut
	once    sync.Once
	drained chan struct{}
}

const shut = math.MinInt64 / 2

func newGate() *gate { return &gate{drained: make(chan struct{})} }

func (g *gate) enter() bool {
	if g.state.Add(1) > 0 {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() {
	if g.state.Add(-1) == shut {
		g.once.Do(func() { close(g.drained) })
	}
}

// shut keeps everybody out and reports whether this was the call that did it.
// Once those inside have left, drained is closed.
func (g *gate) shut() bool {
	for {
		n := g.state.Load()
		if n < 0 {
			return false
		}
		if g.state.CompareAndSwap(n, n+shut) {
			if n == 0 {
				g.once.Do(func() { close(g.drained) })
			}
			return true
		}
	}
}
