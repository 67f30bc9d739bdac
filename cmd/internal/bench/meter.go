package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/weirmail/weir/cmd/internal/bench/proc"
)

// piece are processes that have a part in a piece of work.
type piece struct {
	name  string
	group proc.Group
}

// pieces are all that have a part in it.
type pieces []piece

func (p pieces) group() (all proc.Group) {
	for _, one := range p {
		all = all.With(one.group)
	}
	return all
}

func (p pieces) cpu() ([]time.Duration, error) {
	used := make([]time.Duration, len(p))
	for i, one := range p {
		var err error
		if used[i], err = one.group.CPU(); err != nil {
			return nil, fmt.Errorf("%s: %w", one.name, err)
		}
	}
	return used, nil
}

// meter tells what a piece of work has cost.
type meter struct {
	pieces pieces
	before []time.Duration
	stop   context.CancelFunc
	peak   func() (proc.Memory, error)
}

// spent is what it has cost.
type spent struct {
	cpu    []time.Duration // of each piece
	memory proc.Memory     // the most of all together
}

// begin begins to count. Whoever calls it ends it, or ends the context.
func (p pieces) begin(ctx context.Context) (*meter, error) {
	before, err := p.cpu()
	if err != nil {
		return nil, err
	}
	watch, stop := context.WithCancel(ctx)
	return &meter{pieces: p, before: before, stop: stop, peak: watchMemory(watch, p.group())}, nil
}

// end waits until all have come to rest, and counts up to there.
func (m *meter) end(ctx context.Context, quiet time.Duration) (*spent, error) {
	defer m.stop()
	if _, err := settle(ctx, m.pieces.group(), quiet); err != nil {
		return nil, err
	}
	after, err := m.pieces.cpu()
	if err != nil {
		return nil, err
	}
	m.stop()
	memory, err := m.peak()
	if err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	for i := range after {
		after[i] -= m.before[i]
	}
	return &spent{after, memory}, nil
}

// bill is the CPU time of each piece in several rounds, in µs a message.
type bill struct {
	names []string
	round [][]float64
}

// add takes a round in which there were so many messages. It gives the CPU time a
// message of all together.
func (b *bill) add(messages int, cpu []time.Duration) (sum float64) {
	each := make([]float64, len(cpu))
	for i := range cpu {
		each[i] = micros(cpu[i]) / float64(messages)
		sum += each[i]
	}
	b.round = append(b.round, each)
	return sum
}

// String gives medians over the rounds.
func (b *bill) String() string {
	var texts []string
	for i, name := range b.names {
		if each := over(len(b.round), func(n int) float64 { return b.round[n][i] }); each.Median > 0 {
			texts = append(texts, fmt.Sprintf("%s %.0f", name, each.Median))
		}
	}
	return "CPU µs a message: " + strings.Join(texts, ", ")
}
