package incident

import (
	"context"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel/ledger"
	"github.com/weirmail/weir/quarantine/delivery"
)

// doubted is a delivery that a match brought in on weak grounds, and what a later
// one says of it.
type doubted struct {
	live  *live
	chain []Step
	waits string // what else it waits for
}

// hesitates reports whether a delivery waits for nothing but better grounds: a
// feed, an entry of little confidence or an unsure link found it, and nobody has
// decided about it. One that is
// out of reach so far would wait once it is within.
func (x *extension) hesitates(r *record) bool {
	switch {
	case r.Decided > 0 || r.Outcome == Restoring:
		return false
	case r.Wanted:
		return r.Open && slices.ContainsFunc(weakGrounds, func(begin string) bool { return strings.HasPrefix(r.Waits, begin) })
	}
	return r.followed() && x.settings.gate(x.k, r.By, &Match{Chain: r.Chain}) != ""
}

// confirm notes which deliveries of a match that the incident has already are let
// go by it: it is sure, policy pulls for its source and confidence, and they wait for
// just that. followed are those of its message that have not arrived.
func (x *extension) confirm(ctx context.Context, m *Match, copies []delivery.Delivery, followed []*live) error {
	if x.planned != nil || x.settings.gate(x.k, x.actor, m) != "" {
		return nil
	}
	x.d.mu.Lock()
	idle := len(x.d.lives[x.k.id]) == 0
	x.d.mu.Unlock()
	if idle {
		return nil
	}
	known, seen := followed, make(map[*live]bool, len(followed))
	for _, l := range followed {
		seen[l] = true
	}
	for n := range copies {
		id, err := x.d.o.View.nameOf(x.snapshot, x.k.id, x.idOf(m, copies[n].Recipient, copies[n].Address))
		if err != nil {
			return err
		}
		x.d.mu.Lock()
		l := x.d.lives[x.k.id][id]
		x.d.mu.Unlock()
		if l != nil && !seen[l] {
			seen[l], known = true, append(known, l)
		}
	}
	var chain []Step
	for _, l := range known {
		r := x.d.record(l)
		if !x.hesitates(r) || slices.ContainsFunc(x.doubted, func(d doubted) bool { return d.live == l }) {
			continue
		}
		if chain == nil {
			chain = messageOf(m).Chain
		}
		waits, err := x.grounds(m, r.Ref, r.Mailbox, r.Address, r.Recipient)
		if err != nil {
			return err
		}
		x.doubted = append(x.doubted, doubted{l, chain, waits})
		if len(x.doubted) >= maxBatch {
			if err := x.letGo(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// letGo records what confirm noted, and starts the pulls as far as the caps allow.
func (x *extension) letGo(ctx context.Context) error {
	some := x.doubted
	x.doubted = nil
	var free []int
	names := []string{"confirmed"}
	for n := range some {
		if r := x.d.record(some[n].live); r.Wanted && some[n].waits == "" {
			free = append(free, n)
			names = append(names, r.ID)
		}
	}
	granted, why, err := x.admit(ctx, hexDigest(names...), len(free))
	if err != nil {
		return err
	}
	for _, n := range free[granted:] {
		some[n].waits = why
	}
	for n := range some {
		if err := x.confirmed(ctx, &some[n]); err != nil {
			return err
		}
	}
	if len(some) > 0 {
		x.d.o.Logger.Info("a later match is sure of deliveries that waited", zap.String("incident", x.k.id), zap.String("actor", x.actor),
			zap.Int("deliveries", len(some)), zap.Int("started", granted))
	}
	return nil
}

func (x *extension) confirmed(ctx context.Context, one *doubted) error {
	d, l := x.d, one.live
	l.mu.Lock()
	defer l.mu.Unlock()
	r := d.record(l)
	if !x.hesitates(r) { // a sidecar or the delivery log was faster
		return nil
	}
	data := confirmedData{Chain: one.chain}
	if r.Wanted {
		data.Waits = one.waits
	}
	command := ledger.Command{ID: "confirm/" + l.id + "/" + d.o.Identity.NewID(), Actor: x.actor}
	if err := d.commit(ctx, l, command, typeConfirmed, data); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sync(l, d.now())
	d.rouse()
	return nil
}

const waitsRestored = "the same message was restored to this mailbox"

// grounds says why a copy that a match is about waits for a person; empty: policy
// may have it pulled, within the caps.
func (x *extension) grounds(m *Match, ref, mailbox string, addresses ...string) (string, error) {
	v, key := x.d.o.View, x.k.exemptKey()
	exempt, err := v.exempt(x.snapshot, key, ref, mailbox)
	if err != nil {
		return "", err
	}
	if exempt {
		return waitsRestored, nil
	}
	for _, s := range m.Chain {
		if s.Ref == "" {
			continue
		}
		trusted, err := v.trusted(x.snapshot, key, s.Ref)
		if err != nil {
			return "", err
		}
		if trusted {
			return "it comes from a message that was restored", nil
		}
	}
	return x.settings.gate(x.k, x.actor, m, addresses...), nil
}
