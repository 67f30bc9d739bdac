package feed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/intel"
	"github.com/weirmail/weir/intel/store"
)

const (
	// readersVersion changes when readers give something else of the same document.
	readersVersion = "2"
	// few is how many entries a feed may have before and after without a bound on how
	// their number changes.
	few = 1000
	// firstRetry is how long is waited after a refresh that failed; twice as long after
	// each further one, up to Feed.Every.
	firstRetry = time.Minute
	// stateEvery is how often it is written down that a feed has nothing new.
	stateEvery = time.Minute
	// maxError bounds what is kept of an error, in bytes.
	maxError = 1 << 10
)

// turn does what is due of a feed, and gives when the next thing is.
func (k *Keeper) turn(ctx context.Context, one *kept) time.Time {
	one.refreshing.Lock()
	defer one.refreshing.Unlock()
	s := one.settings.Load()
	if err := k.apply(ctx, one, s); err != nil {
		if ctx.Err() == nil {
			k.o.Logger.Error("what was fetched of a feed could not be taken over; it is tried again", zap.String("feed", one.name), zap.Error(err))
		}
		return k.o.Now().Add(firstRetry)
	}
	if now := k.o.Now(); !now.Before(one.next(s, now)) {
		_ = k.refresh(ctx, one, s, false) // it is logged, and in the state
	}
	now := k.o.Now()
	one.publish(s, now)
	return one.next(s, now)
}

// next is when a feed is to be refreshed: at once after a clock that was ahead.
func (one *kept) next(s *settings, now time.Time) time.Time {
	st := one.state
	if st.Tried.After(now) {
		return time.Time{}
	}
	if st.Fails > 0 {
		pause := min(firstRetry, s.Every) << min(st.Fails-1, 20)
		return st.Tried.Add(max(min(pause, max(firstRetry, s.Every)), st.After))
	}
	if st.Checked.IsZero() || st.Good != nil && st.Good.From != s.from() {
		return time.Time{}
	}
	return st.Checked.Add(s.Every)
}

// apply gives the store what is in force: at the start, and when settings have
// changed.
func (k *Keeper) apply(ctx context.Context, one *kept, s *settings) error {
	if one.unlisted.Swap(false) {
		one.applied = ""
	}
	st := one.state
	if st.Good != nil && st.Good.From == s.from() {
		for i := range st.Good.Parts {
			if _, err := one.room.fs.Stat(one.room.path(&st.Good.Parts[i])); err != nil {
				k.o.Logger.Warn("a file of a feed is gone; it is fetched again", zap.String("feed", one.name), zap.Error(err))
				st.Good, st.Checked = nil, time.Time{}
				break
			}
		}
	}
	switch {
	case st.Good == nil || st.Good.From != s.from():
		return nil // what the store has of it holds until it was fetched
	case st.Expired:
		return k.put(ctx, one, s, nil)
	}
	return k.put(ctx, one, s, st.Good)
}

// version tells a content that is read in one way from others.
func version(c *content, s *settings) string {
	sum := sha256.New()
	for _, part := range append([]string{readersVersion, s.Settings, c.Fetched.String()}, c.digests()...) {
		_, _ = fmt.Fprintf(sum, "%d %s\n", len(part), part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// put makes the store list a content; nil: nothing.
func (k *Keeper) put(ctx context.Context, one *kept, s *settings, c *content) error {
	source := store.Source{Name: s.Source(), Thin: true}
	mark := "nothing"
	if c != nil {
		mark = version(c, s)
		source.Version = mark
		var counted Counted
		source.Entries = k.entries(one, s, c, &counted)
	}
	if one.applied == mark {
		return nil
	}
	done, err := k.o.Store.Refresh(ctx, source)
	if err != nil {
		return err
	}
	for _, r := range done {
		if r.Outcome == store.Failed {
			return errors.Join(r.Errors...)
		}
		if r.Outcome != store.Unchanged {
			k.o.Logger.Info("feed", zap.String("feed", one.name), zap.Int("entries", r.Entries), zap.Int("added", r.Added), zap.Int("removed", r.Removed))
		}
	}
	one.applied = mark
	return nil
}

// entries reads a content.
func (k *Keeper) entries(one *kept, s *settings, c *content, counted *Counted) iter.Seq2[intel.Indicator, error] {
	return func(yield func(intel.Indicator, error) bool) {
		*counted = Counted{}
		last, err := newest(one, s, c)
		if err != nil {
			yield(intel.Indicator{}, err)
			return
		}
		for i := range c.Parts {
			p := &c.Parts[i]
			if p.Event == manifestEvent {
				continue
			}
			for in, err := range s.Reader.Read(one.room.opener(p, s.MaxBytes), c.Fetched, counted) {
				if at, ok := last[in.ID]; ok && at > i && err == nil {
					continue // a later part has a newer version
				}
				if err != nil && len(c.Parts) > 1 {
					err = fmt.Errorf("document %d%s: %w", i+1, suffix(p.Event), err)
				}
				if !yield(in, err) || err != nil {
					return
				}
			}
		}
	}
}

func suffix(event string) string {
	if event == "" {
		return ""
	}
	return " (" + event + ")"
}

// refresh fetches a feed, all of it if whole, and takes it over. It keeps what came
// of it.
func (k *Keeper) refresh(ctx context.Context, one *kept, s *settings, whole bool) error {
	began, before := k.o.Now(), *one.state
	err := k.fetch(ctx, one, s, whole)
	if ctx.Err() != nil && err != nil {
		return context.Cause(ctx) // the daemon's end, and no fault of the feed
	}
	st := one.state
	st.Tried = began.UTC()
	if st.Checked.After(st.Tried) {
		st.Checked = st.Tried // the clock was ahead; nobody knows when it was
	}
	outcome := "ok"
	if err == nil {
		if st.Fails > 0 {
			k.o.Logger.Info("the feed is refreshed again", zap.String("feed", one.name))
		}
		st.Checked, st.Error, st.Since, st.Fails, st.After = st.Tried, "", time.Time{}, 0, 0
		if st.Held != nil {
			outcome = "held"
		}
	} else {
		outcome = "failed"
		if st.Fails++; st.Fails == 1 {
			st.Since = st.Tried
		}
		st.Error, st.After = legible(err.Error()), 0
		if h, ok := errors.AsType[*httpError](err); ok {
			st.After = h.after
		}
		k.o.Logger.Warn("a feed could not be refreshed; what was fetched last holds", zap.String("feed", one.name), zap.Int("tries", st.Fails), zap.Error(err))
		if expired := k.expire(ctx, one, s); expired != nil {
			k.o.Logger.Error("a feed that is out of date still counts", zap.String("feed", one.name), zap.Error(expired))
		}
	}
	k.outcome.WithLabelValues(one.name, outcome).Inc()
	if err == nil && before.quiet(st) && began.Before(one.saved.Add(stateEvery)) {
		return nil
	}
	one.saved = began
	if kept := one.keep(); kept != nil {
		k.o.Logger.Error("what is known of a feed could not be written down", zap.String("feed", one.name), zap.Error(kept))
		err = errors.Join(err, kept)
	}
	return err
}

// expire lets a feed count no more that could not be refreshed for too long.
func (k *Keeper) expire(ctx context.Context, one *kept, s *settings) error {
	st := one.state
	if s.Expiry <= 0 || st.Expired || st.Good == nil || k.o.Now().Sub(st.Checked) < s.Expiry {
		return nil
	}
	if err := k.put(ctx, one, s, nil); err != nil {
		return err
	}
	st.Expired = true
	k.o.Logger.Error("a feed counts no more: it could not be refreshed for too long", zap.String("feed", one.name), zap.Duration("expiry", s.Expiry))
	return nil
}

// fetch gets what a feed has now, looks at it, and takes it over or holds it.
func (k *Keeper) fetch(ctx context.Context, one *kept, s *settings, whole bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.Timeout, fmt.Errorf("it took longer than %s", s.Timeout))
	defer cancel()
	x := &fetching{f: &s.Feed, room: one.room, state: one.state, client: s.client, now: k.o.Now().UTC(), whole: whole}
	if s.Secret != nil {
		secret, err := s.Secret()
		if err != nil {
			return fmt.Errorf("its secret: %w", err)
		}
		x.secret = secret
	}
	c, err := x.fetch(ctx)
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return ended(ctx, err)
	}
	st := one.state
	if c == nil || st.Good != nil && sameDigests(c, st.Good) && c.From == st.Good.From {
		st.Held = nil // it is again what it was
		if c != nil {
			st.Good.Parts = c.Parts // with what the server says of them now
		}
		if st.Expired {
			st.Expired = false
			return k.put(ctx, one, s, st.Good)
		}
		return nil
	}
	if err := k.count(ctx, one, s, c); err != nil {
		return ended(ctx, err)
	}
	if why := changed(st.Good, c, s); why != "" {
		if st.Held == nil || !sameDigests(st.Held, c) {
			k.o.Logger.Warn("a feed is held until a person approves it; what was fetched last holds", zap.String("feed", one.name), zap.String("why", why))
			st.Held = c
		}
		return nil
	}
	return ended(ctx, k.take(ctx, one, s, c))
}

// ended gives why a context ended, where that is what an error comes from.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func sameDigests(a, b *content) bool {
	if len(a.Parts) != len(b.Parts) {
		return false
	}
	for i := range a.Parts {
		if a.Parts[i].Digest != b.Parts[i].Digest {
			return false
		}
	}
	return true
}

// take makes a content hold.
func (k *Keeper) take(ctx context.Context, one *kept, s *settings, c *content) error {
	if err := k.put(ctx, one, s, c); err != nil {
		return err
	}
	st := one.state
	st.Good, st.Held, st.Expired = c, nil, false
	return nil
}

// count reads all of a content, and counts its entries.
func (k *Keeper) count(ctx context.Context, one *kept, s *settings, c *content) error {
	n := 0
	for _, err := range k.entries(one, s, c, &c.Counted) {
		if err != nil {
			return err
		}
		if n++; n > s.MaxEntries {
			return fmt.Errorf("it has more than %d entries (max_entries)", s.MaxEntries)
		}
		if n%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	c.Entries, c.Counted.Next = n, ""
	return nil
}

// changed says why a content waits for a person; empty: it does not.
func changed(before, now *content, s *settings) string {
	if before == nil || s.MaxChange < 0 {
		return ""
	}
	was, is := before.Entries, now.Entries
	switch {
	case is == 0 && was > now.Counted.Revoked: // what is revoked one by one is no slip
		return fmt.Sprintf("it had %d entries, and has none", was)
	case was < few && is < few:
		return ""
	}
	by := is - was
	if by < 0 {
		by = -by
	}
	if by*100 <= s.MaxChange*max(was, 1) {
		return ""
	}
	return fmt.Sprintf("it had %d entries, and has %d: more than %d %% of change", was, is, s.MaxChange)
}

// keep writes down what is known of a feed, and removes what no longer is, which may
// be what there is no room for.
func (one *kept) keep() error {
	return errors.Join(one.room.save(one.state), one.room.tidy(one.state))
}
