package pull

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

const (
	// maxSending is how many times at once the daemon is given copies of a mailbox.
	maxSending = 4
	// sendBytes is how many bytes of copies the daemon is given at once; a larger copy
	// goes alone.
	sendBytes = 512 << 10
)

var (
	errKept  = errors.New("what the daemon says it keeps is not what it was given")
	errShort = errors.New("the daemon says of less than it was asked what came of it")
)

// uploads are the copies of a visit that are on their way to the daemon. It is given
// several at once, since a request costs both sides about the same for many as for
// one, and its disk takes several in the time of one; and meanwhile others are read.
type uploads struct {
	v       *visit
	all     []*upload
	next    []*upload // those of all that are to be sent
	bytes   int       // of next
	sending sync.WaitGroup
	slots   chan struct{} // holds a token for each request under way
}

// upload is a copy whose bytes the daemon is being given.
type upload struct {
	t     *taking
	f     *found
	raw   []byte
	leave func() // leaves the room that raw takes
	item  string
	err   error
	done  bool
}

func newUploads(v *visit) uploads { return uploads{v: v, slots: make(chan struct{}, maxSending)} }

// add has a copy sent, soon: with the next ones, or by settle.
func (u *uploads) add(one *upload) {
	one.f.keeping = true
	u.all = append(u.all, one)
	if u.bytes+len(one.raw) > sendBytes {
		u.send()
	}
	u.next = append(u.next, one)
	u.bytes += len(one.raw)
	if len(u.next) == MaxTogether || u.bytes >= sendBytes {
		u.send()
	}
}

// send gives the daemon what waits for it. Who waits for room calls it first: what
// is not sent keeps its own.
func (u *uploads) send() {
	some := u.next
	if len(some) == 0 {
		return
	}
	u.next, u.bytes = nil, 0
	u.slots <- struct{}{}
	u.sending.Go(func() {
		defer func() {
			if r := recover(); r != nil {
				err := some[0].t.panicked(r)
				for _, one := range some {
					one.finish("", err)
				}
			}
			for _, one := range some {
				one.leave()
			}
			<-u.slots
		}()
		u.v.keep(some)
	})
}

// wait waits until nothing is on its way any more. What was not sent is given up.
func (u *uploads) wait() {
	u.sending.Wait()
	for _, one := range u.next {
		one.leave()
	}
	u.next = nil
}

// settle waits until the daemon has what it is being given.
func (u *uploads) settle() {
	u.send()
	u.sending.Wait()
	for _, one := range u.all {
		one.t.kept(one.f, one.item, one.err)
	}
	u.all = u.all[:0]
}

// finish notes what came of an upload, the first time that this is known.
func (u *upload) finish(item string, err error) {
	if !u.done {
		u.item, u.err, u.done = item, err, true
	}
}

// check gives the item that a copy's bytes are, if the daemon keeps just these.
func (u *upload) check(k *job.Kept) (item string, err error) {
	u.t.v.p.metrics.kept(len(u.raw))
	if k.Item == "" || k.SHA256 != u.f.sum || k.Bytes != int64(len(u.raw)) || !k.Copy.Is(&u.f.Copy.Copy) {
		return "", fmt.Errorf("%w: item %.40q, %d bytes, SHA-256 %s", errKept, k.Item, k.Bytes, k.SHA256)
	}
	return k.Item, nil
}

// keep uploads the bytes of copies and sees to it that the daemon keeps just these.
// It asks a few times if need be.
func (v *visit) keep(all []*upload) {
	pause := v.p.firstAsk()
	for n := 1; ; n++ {
		var some []*upload
		for _, u := range all {
			if u.done {
				continue
			}
			if err := u.t.step(); err != nil {
				u.finish("", err)
				continue
			}
			some = append(some, u)
		}
		if len(some) == 0 {
			return
		}
		err := v.tryToKeep(some, n == maxAsks)
		if err == nil {
			return
		}
		some[0].t.log().Warn("the daemon is asked again", zap.Error(err))
		sleep(v.soft, pause)
		pause *= 2
	}
}

// tryToKeep uploads copies once. It gives an error if some of them are worth another
// try, which the last one is not followed by.
func (v *visit) tryToKeep(some []*upload, last bool) (again error) {
	copies := make([]Upload, len(some))
	for i, u := range some {
		copies[i] = Upload{Lease: u.t.l.ID, Copy: u.f.Copy.Copy, Raw: u.raw}
	}
	// v.ctx ends when all leases are lost. Who has lost his alone takes no next step.
	answers := some[0].t.l.d.Jobs.Keep(v.ctx, copies)
	for i, u := range some {
		err := errShort
		if i < len(answers) {
			err = answers[i].Err
		}
		switch {
		case err == nil:
			u.finish(u.check(&answers[i].Kept))
		case errors.Is(err, mailbox.ErrTooLarge):
			u.finish("", err)
		case errors.Is(err, ErrLease):
			u.t.l.end(err)
			u.finish("", err)
		case v.ctx.Err() != nil:
			u.finish("", context.Cause(v.ctx))
		case last:
			u.finish("", fmt.Errorf("%w: %w", errDaemon, err))
		default:
			again = err
		}
	}
	return again
}
