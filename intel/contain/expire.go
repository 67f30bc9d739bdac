package contain

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// lookEvery is how often is looked for what has ended by the clock. It counts no
// more from the moment on; this is for the record.
const lookEvery = time.Minute

// expiryActor is who records that time is over.
const expiryActor = "weir:expiry"

// Run records what ends by the clock, until the context ends.
func (b *Book) Run(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		b.expire(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (b *Book) expire(ctx context.Context) {
	b.changing.Lock()
	defer b.changing.Unlock()
	now := b.o.Identity.Now()
	b.mu.Lock()
	var over []*Containment
	for _, c := range b.all {
		if !c.InForce(now) {
			over = append(over, c)
		}
	}
	b.mu.Unlock()
	for _, c := range over {
		if ctx.Err() != nil {
			return
		}
		err := b.commit(ctx, c, expiryActor, "", func(was *Containment) (string, any, error) {
			if was == nil || was.InForce(now) {
				return "", nil, nil
			}
			return typeExpired, endedData{was.ID}, nil
		})
		if err != nil {
			b.o.Logger.Warn("it could not be recorded that a containment has ended; it counts no more, and it is tried again", zap.String("containment", c.ID), zap.Error(err))
			return
		}
		b.o.Logger.Info("a containment has ended", zap.String("containment", c.ID), zap.String("value", c.Value))
	}
}

func (b *Book) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	for _, kind := range []Kind{User, Client} {
		gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_containments", Help: "Containments in force, by kind.",
			ConstLabels: prometheus.Labels{"kind": string(kind)}}, func() float64 { return float64(Count(b.List(), kind)) })
		if err := reg.Register(gauge); err != nil {
			return fmt.Errorf("contain: %w", err)
		}
	}
	return nil
}

// Count gives how many are of a kind.
func Count(all []Entry, kind Kind) int {
	n := 0
	for _, e := range all {
		if e.Kind == kind {
			n++
		}
	}
	return n
}
