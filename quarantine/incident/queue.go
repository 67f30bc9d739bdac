package incident

import (
	"container/heap"
	"slices"
	"time"

	"github.com/weirmail/weir/quarantine/job"
)

// defaultLease is how long a lease holds that nobody renews.
const defaultLease = 2 * time.Minute

// task is a job that is wanted. It stands in one place: among the ready ones of
// its mailbox, among those that pause, or with the sidecar that has the lease.
type task struct {
	live  *live
	kind  job.Kind
	item  string // of a restore
	at    time.Time
	box   *box
	due   time.Time
	lease *lease
	index int  // in the pile where it stands; -1: in none
	pause bool // that pile is the queue's
}

// box is the mailbox of some tasks. Those that are leased were given together, to
// one sidecar; there are no others until the last of them has ended.
type box struct {
	login  string
	ready  pile[*task] // the newest message first
	leased int         // tasks that are with the sidecar
	index  int         // among the free ones; -1: it is not
}

// lease is a task that a sidecar has.
type lease struct {
	id    string
	actor string
	task  *task
	until time.Time
	busy  int // calls under way, during which it does not run out
}

// ended is a lease that was reported: a sidecar that did not hear the answer may
// report again.
type ended struct {
	actor string
	until time.Time
}

// queue gives out tasks, newest messages first. Of a mailbox it gives the pulls
// that are ready together, or one restore, and then nothing until all of these
// have ended, however each did. It is in memory alone, and under the Desk's lock.
type queue struct {
	boxes  map[string]*box // by login, in lower case
	free   pile[*box]      // that have ready tasks and no leased ones
	pauses pile[*task]     // by when they are due
	leases map[string]*lease
	ended  map[string]ended
	sweep  time.Time // when the next lease runs out, or earlier
	ready  int
}

func newQueue() queue {
	return queue{
		boxes:  map[string]*box{},
		free:   pile[*box]{less: func(a, b *box) bool { return newer(a.ready.items[0], b.ready.items[0]) }, moved: func(b *box, i int) { b.index = i }},
		pauses: pile[*task]{less: func(a, b *task) bool { return a.due.Before(b.due) }, moved: func(t *task, i int) { t.index = i }},
		leases: map[string]*lease{}, ended: map[string]ended{},
	}
}

func newer(a, b *task) bool {
	if !a.at.Equal(b.at) {
		return a.at.After(b.at)
	}
	return a.live.id > b.live.id
}

// add puts a task into the queue, to be given out at due or later.
func (q *queue) add(t *task, login string, due, now time.Time) {
	key := fold(login)
	b := q.boxes[key]
	if b == nil {
		b = &box{login: key, index: -1, ready: pile[*task]{less: newer, moved: func(t *task, i int) { t.index = i }}}
		q.boxes[key] = b
	}
	t.box, t.due, t.index = b, due, -1
	if due.After(now) {
		t.pause = true
		heap.Push(&q.pauses, t)
		return
	}
	q.makeReady(t)
}

func (q *queue) makeReady(t *task) {
	t.pause = false
	heap.Push(&t.box.ready, t)
	q.ready++
	q.place(t.box)
}

// place puts a box where it belongs now.
func (q *queue) place(b *box) {
	switch free := b.leased == 0 && b.ready.Len() > 0; {
	case free && b.index < 0:
		heap.Push(&q.free, b)
	case free:
		heap.Fix(&q.free, b.index)
	case b.index >= 0:
		heap.Remove(&q.free, b.index)
	}
	if b.leased == 0 && b.ready.Len() == 0 {
		delete(q.boxes, b.login) // a task that pauses brings it back
	}
}

// remove takes a task out that no sidecar has.
func (q *queue) remove(t *task) {
	switch {
	case t.index < 0:
	case t.pause:
		heap.Remove(&q.pauses, t.index)
	default:
		heap.Remove(&t.box.ready, t.index)
		q.ready--
		q.place(t.box)
	}
}

// next takes out what is to be done first: at most so many pulls of one mailbox,
// the newest first, or a restore alone; nothing if there is none. Of pulls that
// seek the same message it takes one: whoever has both could take the same copy
// for either.
func (q *queue) next(most int) []*task {
	if q.free.Len() == 0 {
		return nil
	}
	b := q.free.items[0]
	together := []*task{heap.Pop(&b.ready).(*task)}
	if together[0].kind == job.Pull {
		most = min(most, maxTogether)
		var others []*task
		for b.ready.Len() > 0 && len(together) < most && len(others) < maxOthers {
			if t := heap.Pop(&b.ready).(*task); t.kind == job.Pull && !slices.ContainsFunc(together, t.seeksSame) {
				together = append(together, t)
			} else {
				others = append(others, t)
			}
		}
		for _, t := range others {
			heap.Push(&b.ready, t)
		}
	}
	q.ready -= len(together)
	q.place(b)
	return together
}

// Bounds on what of one mailbox is leased together, and on what is passed over in
// search of it.
const (
	maxTogether = 32
	maxOthers   = 100
)

// seeksSame reports whether two pulls go by a name that both messages have.
func (t *task) seeksSame(other *task) bool {
	a, b := t.live.rec, other.live.rec
	return a.Ref == b.Ref || a.Exact && b.Exact && a.MessageID == b.MessageID
}

// give leases a task that next gave.
func (q *queue) give(t *task, id, actor string, until time.Time) *lease {
	l := &lease{id: id, actor: actor, task: t, until: until}
	t.lease = l
	t.box.leased++
	q.boxes[t.box.login] = t.box
	q.leases[id] = l
	if len(q.leases) == 1 || until.Before(q.sweep) {
		q.sweep = until
	}
	q.place(t.box)
	return l
}

// end takes a lease away. Its task is in no place then.
func (q *queue) end(l *lease) {
	delete(q.leases, l.id)
	l.task.lease = nil
	l.task.box.leased--
	q.place(l.task.box)
}

// catchUp makes ready what has paused enough and ends the leases that have run
// out, which it gives.
func (q *queue) catchUp(now time.Time) (lost []*lease) {
	for q.pauses.Len() > 0 && !q.pauses.items[0].due.After(now) {
		t := q.pauses.items[0]
		heap.Remove(&q.pauses, t.index)
		login := t.box.login
		if b := q.boxes[login]; b != nil {
			t.box = b
		} else {
			q.boxes[login] = t.box
		}
		q.makeReady(t)
	}
	if now.Before(q.sweep) {
		return nil
	}
	q.sweep = now.Add(time.Hour)
	for _, l := range q.leases {
		if l.busy == 0 && !now.Before(l.until) {
			q.end(l)
			lost = append(lost, l)
			continue
		}
		if l.until.Before(q.sweep) {
			q.sweep = l.until
		}
	}
	for id, e := range q.ended {
		if !now.Before(e.until) {
			delete(q.ended, id)
		}
	}
	return lost
}

// changes gives the time at which catchUp has something to do; zero: never.
func (q *queue) changes() time.Time {
	var at time.Time
	if q.pauses.Len() > 0 {
		at = q.pauses.items[0].due
	}
	if len(q.leases) > 0 && (at.IsZero() || q.sweep.Before(at)) {
		at = q.sweep
	}
	return at
}

// pile is a heap whose elements know where they stand.
type pile[T any] struct {
	items []T
	less  func(a, b T) bool
	moved func(T, int)
}

// Len implements heap.Interface.
func (p *pile[T]) Len() int { return len(p.items) }

// Less implements heap.Interface.
func (p *pile[T]) Less(i, j int) bool { return p.less(p.items[i], p.items[j]) }

// Swap implements heap.Interface.
func (p *pile[T]) Swap(i, j int) {
	p.items[i], p.items[j] = p.items[j], p.items[i]
	p.moved(p.items[i], i)
	p.moved(p.items[j], j)
}

// Push implements heap.Interface.
func (p *pile[T]) Push(x any) {
	p.items = append(p.items, x.(T))
	p.moved(p.items[len(p.items)-1], len(p.items)-1)
}

// Pop implements heap.Interface.
func (p *pile[T]) Pop() any {
	last := len(p.items) - 1
	x := p.items[last]
	var none T
	p.items[last] = none
	p.items = p.items[:last]
	p.moved(x, -1)
	return x
}
