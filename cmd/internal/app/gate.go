package app

import (
	"context"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/weirmail/weir/filter/milter"
	"github.com/weirmail/weir/filter/verdict"
	"github.com/weirmail/weir/intel"
)

// gate answers the MTA from the first moment on: by itself until the stores are
// open, then through the filter.
type gate struct {
	next    atomic.Pointer[handler]
	onError atomic.Int32 // an intel.Action
	log     *zap.Logger
}

type handler struct{ milter.Handler }

func (g *gate) open(h milter.Handler) { g.next.Store(&handler{h}) }

// Handle implements milter.Handler.
func (g *gate) Handle(ctx context.Context, m *milter.Mail) verdict.Answer {
	if h := g.next.Load(); h != nil {
		return h.Handle(ctx, m)
	}
	fields := []zap.Field{zap.String("queue_id", m.Envelope.QueueID), zap.String("from", m.Envelope.From.Address())}
	if intel.Action(g.onError.Load()) == intel.ActionAccept {
		g.log.Error("message let through unseen: the stores are not open, and policy.on_error is accept", fields...)
		return verdict.Answer{Action: intel.ActionAccept}
	}
	g.log.Warn("message refused for now: the stores are not open", fields...)
	return verdict.Answer{Action: intel.ActionTempfail, Reply: verdict.Reply{Code: 451, Enhanced: "4.3.2", Text: "Mail filter is starting, try again later"}}
}
