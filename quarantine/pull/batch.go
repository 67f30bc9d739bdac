package pull

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
)

const (
	// maxRemove bounds how many copies are removed by one command, and how many
	// wait for it.
	maxRemove = 100
	// maxBreaks is how often the connection may break off over the copies of one job
	// before it goes on with the others alone.
	maxBreaks = 3
)

// batch is the pulls of a visit. They share what a mailbox is asked: each search is
// for all of them, and each removal is of all that is durable by then. What is
// decided about a copy is decided for each by itself.
type batch struct {
	v        *visit
	all      []*taking
	waiting  int  // copies that are to be removed, or will be
	oneByOne bool // a removal of several broke off
	renewed  bool // the connection, because the server refused something

	up uploads
}

// errAnew says that the jobs are to go on with another connection.
var errAnew = errors.New("another connection is needed")

func newBatch(v *visit) *batch {
	b := &batch{v: v, up: newUploads(v)}
	for _, w := range v.works {
		b.all = append(b.all, newTaking(w))
	}
	return b
}

// pull takes every verified copy out of the mailbox.
func (b *batch) pull() {
	defer b.up.wait()
	err := b.v.at(func(a mailbox.Account) error {
		err := b.take(a)
		b.up.settle()
		b.endFailed()
		return err
	})
	for _, t := range b.all {
		if !t.done {
			t.end(err)
		}
	}
}

// take removes what is in quarantine already, and then searches until no job needs
// another search. Errors are those of the connection.
func (b *batch) take(a mailbox.Account) error {
	if err := b.remove(a); err != nil {
		return err
	}
	for {
		b.endFailed()
		b.v.tell()
		some := b.next()
		if len(some) == 0 {
			return nil
		}
		if err := b.search(a, some); err != nil {
			return err
		}
		if err := b.remove(a); err != nil {
			return err
		}
		for _, t := range some {
			if t.err == nil && t.trouble != nil && !b.renewed {
				return b.anew()
			}
		}
		for _, t := range some {
			if t.err == nil {
				t.searched()
			}
		}
	}
}

// anew has the jobs go on with another connection, once, since the server refused
// something that it may grant there: Dovecot does not open a folder in a session that
// knows an index of it which was since replaced.
func (b *batch) anew() error {
	b.renewed = true
	return errAnew
}

// endFailed ends the jobs that have failed by themselves, or lost their lease.
func (b *batch) endFailed() {
	for _, t := range b.all {
		if !t.done && !t.active() {
			t.end(t.err)
		}
	}
}

// next gives the jobs that the next search is for. Whoever has to be searched for
// by his content waits for the others, since that can take long.
func (b *batch) next() []*taking {
	for _, how := range []search{byName, byContent} {
		var some []*taking
		for _, t := range b.all {
			if !t.done && t.next == how {
				some = append(some, t)
			}
		}
		if len(some) > 0 {
			return some
		}
	}
	return nil
}

// search deals with every copy that one search finds.
func (b *batch) search(a mailbox.Account, some []*taking) error {
	targets := make([]mailbox.Target, len(some))
	for i, t := range some {
		targets[i] = t.target()
		t.again, t.waits = false, false
		if t.next == byName {
			t.trouble = nil
		}
	}
	for c, err := range a.Find(b.v.soft, targets) {
		if err == nil {
			if err = b.deal(a, some, some[c.Target], c.Copy); err != nil {
				return err
			}
			// Until a search by content ends, much time can pass.
			if b.waiting >= maxRemove || b.waiting > 0 && some[0].next == byContent {
				if err = b.remove(a); err != nil {
					return err
				}
			}
			continue
		}
		if b.ends(err) {
			return err
		}
		for _, t := range some {
			if moved(err) {
				t.again = true
			} else {
				t.trouble = err
			}
		}
	}
	return nil
}

// ends reports whether an error of the mailbox ends the turn of all jobs.
func (b *batch) ends(err error) bool {
	return b.v.soft.Err() != nil || errors.Is(err, mailbox.ErrUnreachable) || errors.Is(err, mailbox.ErrNoMailbox)
}

// deal looks at a copy that one of the jobs of a search has found, and has it kept
// if it is one that is meant: then it is removed later. A panic fails this job alone.
func (b *batch) deal(a mailbox.Account, some []*taking, t *taking, c mailbox.Copy) (err error) {
	if !t.active() {
		return nil
	}
	if t.others(some, &c) {
		t.waits = true
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			t.err = t.panicked(r)
			err = errAnew // nobody knows what is under way on this one
		}
	}()
	f := t.at[placeOf(&c)]
	switch {
	case f == nil || !f.Copy.Copy.Same(&c): // not seen yet, or another message has got its name
		f = t.add(c)
	case f.done || f.keeping:
		return nil
	default:
		f.Fate, f.strayed, f.unsure = "", false, false
	}
	if f.Item != "" {
		if t.may(f) {
			t.again = true
			b.waiting++
		}
		return nil
	}
	err = b.secure(a, t, f)
	switch {
	case err == nil:
	case b.ends(err):
		b.blame(t, err)
		return err
	case moved(err):
		f.Fate, f.strayed, t.again = job.Gone, true, true
	case errors.Is(err, mailbox.ErrAltered) && f.tries < 2:
		// Servers that find a wrong size in their cache say so, and put it right.
		t.again = true
	default:
		f.leave(err)
	}
	return nil
}

// blame notes that the connection broke off over a job's copies. So that this
// holds up nobody else for ever, it ends the job at last if there are others.
func (b *batch) blame(t *taking, err error) {
	if b.v.soft.Err() != nil || !errors.Is(err, mailbox.ErrUnreachable) {
		return
	}
	if t.breaks++; t.breaks < maxBreaks {
		return
	}
	for _, o := range b.all {
		if o != t && !o.done {
			t.err = err
			return
		}
	}
}

// secure reads a copy, compares it and has its bytes kept, if they are not yet.
func (b *batch) secure(a mailbox.Account, t *taking, f *found) error {
	if target := t.job.Target.Mailbox(false); f.Copy.Copy.By == mailbox.ByMessageID && !target.Plausible(f.Copy.Copy.Size) {
		f.Fate, f.Detail, f.done = job.Differ, "its size alone tells: it was not read", true
		return nil
	}
	p := b.v.p
	leave, ok := p.room.tryEnter(f.Copy.Copy.Size)
	if !ok {
		b.up.send() // what waits to be sent leaves room only then
		var err error
		if leave, err = p.room.enter(b.v.soft, f.Copy.Copy.Size); err != nil {
			return err
		}
	}
	stays := false
	defer func() {
		if !stays {
			leave()
		}
	}()
	var raw bytes.Buffer
	f.tries++
	if err := a.Fetch(b.v.soft, f.Copy.Copy, &raw); err != nil {
		return err
	}
	m := p.parser.Parse(raw.Bytes(), nil)
	f.Body = m.Body
	incomplete := m.Incomplete
	m.Close()
	if incomplete != nil {
		return fmt.Errorf("its content cannot be compared: %w", incomplete)
	}
	if f.verified = t.means(f); !f.verified {
		f.Fate, f.done = job.Differ, true
		return nil
	}
	if !t.may(f) {
		return nil
	}
	f.sum = sha256.Sum256(raw.Bytes())
	b.waiting++
	if t.adopt(f) {
		t.again = true
		return nil
	}
	stays = true
	b.up.add(&upload{t: t, f: f, raw: raw.Bytes(), leave: leave})
	return nil
}

// remove takes out the copies whose bytes are in quarantine.
func (b *batch) remove(a mailbox.Account) error {
	b.up.settle()
	b.waiting = 0
	for {
		some, copies := b.due()
		if len(some) == 0 {
			return nil
		}
		removals := a.Remove(b.v.ctx, copies)
		var broken error
		refused := false
		for i, d := range some {
			switch err := removals[i].Err; {
			case err == nil || moved(err):
				b.v.box.s.breaker.worked()
			case b.ends(err):
				broken = err
				continue
			case !b.renewed:
				refused = true
				continue
			}
			d.t.removed(d.f, removals[i], d.again)
		}
		if broken != nil {
			b.oneByOne = true
			if len(some) == 1 {
				b.blame(some[0].t, broken)
			}
			return broken
		}
		if refused {
			return b.anew()
		}
	}
}

// removal is a copy that is being removed.
type removal struct {
	t     *taking
	f     *found
	again bool // it was tried before
}

// due gives copies that are to be removed, each place once: where two jobs mean
// the same copy, the second finds out what the first has done.
func (b *batch) due() (some []removal, copies []mailbox.Copy) {
	limit := maxRemove
	if b.oneByOne {
		limit = 1
	}
	at := map[place]bool{}
	for _, t := range b.all {
		if t.done || t.step() != nil {
			continue
		}
		for _, f := range t.all {
			if len(some) == limit {
				return some, copies
			}
			where := placeOf(&f.Copy.Copy)
			if !f.due() || !t.may(f) || at[where] {
				continue
			}
			at[where] = true
			some = append(some, removal{t, f, f.tried})
			copies = append(copies, f.Copy.Copy)
			f.tried = true
		}
	}
	return some, copies
}
