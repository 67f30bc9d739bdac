package ledger

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	"go.uber.org/zap"
)

// Bounds on what is appended to the log at once.
const (
	maxGather      = 256
	maxGatherBytes = 4 << 20
)

// request is a command on its way.
type request struct {
	command Command
	decide  func(State) ([]Event, error)
	own     bool // decide may return events of the ledger's own
	done    chan result

	mu   sync.Mutex // held while decide runs
	gone bool       // the caller does not wait any more, and decide must not run
}

type result struct {
	receipt Receipt
	err     error
}

// Commit records what decide makes of the state of the command's entity, and
// returns when it is durable. decide is given the exact state; it must only look
// at it and return events or an error, and may be called again, or not at all
// when the command was committed before. It runs while other commits wait, and
// never after Commit has returned. No events are no change: nothing is recorded,
// not even the command.
//
// Errors are decide's own, or satisfy ErrInvalid, ErrTooLarge, ErrClosed,
// ErrBehind, disk.ErrNoSpace (nothing was recorded), or wal.ErrFailed. When the context
// ends first the error is its cause; the commit may be recorded all the same, and
// so it may after wal.ErrFailed: the same command again tells.
func (l *Ledger) Commit(ctx context.Context, c Command, decide func(State) ([]Event, error)) (Receipt, error) {
	return l.submit(ctx, &request{command: c, decide: decide, done: make(chan result, 1)})
}

func (l *Ledger) submit(ctx context.Context, r *request) (Receipt, error) {
	if err := r.command.validate(); err != nil {
		return Receipt{}, err
	}
	select {
	case l.queue <- r:
	case <-ctx.Done():
		return Receipt{}, context.Cause(ctx)
	case <-l.ctx.Done():
		return Receipt{}, ErrClosed
	}
	select {
	case res := <-r.done:
		return res.receipt, res.err
	case <-ctx.Done():
	case <-l.ctx.Done():
		<-l.decided // the committer still answers what it has taken
		select {
		case res := <-r.done:
			return res.receipt, res.err
		default:
			return Receipt{}, ErrClosed
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
	select {
	case res := <-r.done:
		return res.receipt, res.err
	default:
		return Receipt{}, fmt.Errorf("commit %s: %w", r.command.ID, context.Cause(ctx))
	}
}

// staged is a request whose events go into the next append.
type staged struct {
	request *request
	record  *record
	payload []byte
}

// commitAll is the one goroutine that decides and appends.
func (l *Ledger) commitAll() {
	defer close(l.decided)
	var next *request // taken from the queue, but not for the batch that was gathered
	for {
		if next == nil {
			select {
			case next = <-l.queue:
			case <-l.ctx.Done():
				return
			}
		}
		var batch []staged
		batch, next = l.gather(next)
		if len(batch) > 0 {
			l.append(batch)
		}
	}
}

// gather decides the first request and those that wait behind it. It stops at one
// whose entity or command is in the batch already: that one has to see the outcome.
func (l *Ledger) gather(first *request) (batch []staged, next *request) {
	entities, commands := map[string]bool{}, map[string]bool{}
	head, size := l.head, 0 // only this goroutine changes l.head
	for r := first; ; {
		if entities[r.command.Entity] || commands[r.command.ID] {
			return batch, r
		}
		if s, ok := l.stage(r, head); ok {
			batch = append(batch, s)
			entities[r.command.Entity], commands[r.command.ID] = true, true
			head = link{s.record.Sequence, s.record.chain, s.record.seal}
			size += len(s.payload)
		}
		if len(batch) >= maxGather || size >= maxGatherBytes {
			return batch, nil
		}
		select {
		case r = <-l.queue:
		default:
			return batch, nil
		}
	}
}

// stage decides a request and makes its record. It answers the request itself,
// and gives false, when there is nothing to append.
func (l *Ledger) stage(r *request, head link) (staged, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return staged{}, false
	}
	receipt, rec, err := l.decideOn(r)
	if err != nil || rec == nil {
		l.answer(r, receipt, err)
		return staged{}, false
	}
	rec.Sequence, rec.Previous = head.sequence+1, head.chain
	payload, err := l.codec.encode(rec, l.o.Key)
	if err != nil {
		l.answer(r, Receipt{}, err)
		return staged{}, false
	}
	return staged{r, rec, payload}, true
}

// answer tells the caller the outcome of a request that made no record.
func (l *Ledger) answer(r *request, receipt Receipt, err error) {
	outcome := outcomeNothing
	if err != nil {
		outcome = outcomeFailed
	} else if receipt.Replayed {
		outcome = outcomeReplayed
	}
	l.metrics.commits.WithLabelValues(outcome).Inc()
	r.done <- result{receipt, err}
}

// decideOn gives the record that a request makes, or none and the receipt when it
// makes none.
func (l *Ledger) decideOn(r *request) (Receipt, *record, error) {
	c := &r.command
	if e, ok, err := l.index.command(c.ID); err != nil {
		return Receipt{}, nil, err
	} else if ok {
		return Receipt{e.entity, e.version, e.cursor, true}, nil, nil
	}
	if err := l.index.admit(); err != nil {
		return Receipt{}, nil, err
	}
	last, _, err := l.index.entity(c.Entity)
	if err != nil {
		return Receipt{}, nil, err
	}
	state, err := l.load(c.Entity, last)
	if err != nil {
		return Receipt{}, nil, err
	}
	events, err := l.call(r, state)
	if err != nil || len(events) == 0 {
		return Receipt{Entity: c.Entity, Version: last.version, Cursor: last.cursor}, nil, err
	}
	if err := checkEvents(events, c.Reason, r.own); err != nil {
		return Receipt{}, nil, err
	}
	id, err := parseID(l.o.NewID())
	if err != nil {
		return Receipt{}, nil, err
	}
	rec := &record{header: header{
		ID: id, Node: l.o.Node, Time: l.o.Clock().UnixMicro(), Command: c.ID, Entity: c.Entity,
		First: last.version + 1, Before: last.cursor.at, Actor: c.Actor, Kinds: make([]kind, len(events)),
	}, body: body{Reason: c.Reason, Data: make([][]byte, len(events))}, intact: true}
	for i, e := range events {
		rec.Kinds[i] = kind{Type: e.Type, Schema: e.Schema}
		rec.body.Data[i] = e.Data
	}
	return Receipt{}, rec, nil
}

// call runs decide. A panic in it is that command's error, and nobody else's.
func (l *Ledger) call(r *request, s State) (events []Event, err error) {
	defer func() {
		if p := recover(); p != nil {
			l.o.Logger.Error("a decision panicked", zap.String("command", r.command.ID),
				zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			err = fmt.Errorf("commit %s: the decision panicked: %v", r.command.ID, p)
		}
	}()
	return r.decide(s)
}

// append makes a batch durable and answers its requests.
func (l *Ledger) append(batch []staged) {
	payloads := make([][]byte, len(batch))
	records := make([]*record, len(batch))
	for i, s := range batch {
		payloads[i], records[i] = s.payload, s.record
	}
	// Not the callers' contexts: the outcome has to be known here. The log itself
	// ends the wait when it is closed, and it is closed after this goroutine ends.
	positions, err := l.log.AppendAll(context.Background(), payloads)
	if err != nil {
		for _, s := range batch {
			l.answer(s.request, Receipt{}, err)
		}
		return
	}
	changes := make([]change, len(records))
	for i, r := range records {
		r.at = positions[i]
		changes[i] = changeOf(r)
	}
	l.index.add(changes)
	last := records[len(records)-1]
	l.mu.Lock()
	l.head = link{last.Sequence, last.chain, last.seal}
	l.mu.Unlock()
	for _, s := range batch {
		r := s.record
		l.metrics.commits.WithLabelValues(outcomeCommitted).Inc()
		l.metrics.events.Add(float64(len(r.Kinds)))
		s.request.done <- result{receipt: Receipt{r.Entity, r.last(), r.cursor(), false}}
	}
}
