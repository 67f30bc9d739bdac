package pull

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// server is a Store in use: who has which mailbox, and the connections.
type server struct {
	Store
	p       *Puller
	log     *zap.Logger
	breaker *breaker
	closing sync.WaitGroup // connections that are being closed

	mu      sync.Mutex
	boxes   map[string]*box // by mailboxKey
	open    int             // connections, and places for one
	idle    []*box          // that have a connection and nobody who uses it, the longest idle first
	waiting []chan struct{} // for a place; closed when given
}

func newServer(p *Puller, s Store) *server {
	return &server{Store: s, p: p, log: p.o.Log.With(zap.String("store", s.Name)), breaker: newBreaker(), boxes: map[string]*box{}}
}

// box is one mailbox, for as long as somebody uses it or waits for it.
type box struct {
	s       *server
	login   string
	turn    chan struct{} // holds a token when nobody has the mailbox
	users   int           // who has it, and who waits for it
	account mailbox.Account
	began   time.Time // when account was opened
	used    bool      // by an earlier job
	jobs    int       // that it was used for
	idle    time.Time // since when nobody uses it
	yields  bool      // it was asked to make room
	expiry  *time.Timer
}

const (
	// grace is how long a connection is kept for the next job in its mailbox although
	// others wait for a place: a daemon gives the next job when the last was reported,
	// and to log in anew costs a server more than the job.
	grace = 25 * time.Millisecond
	// mostJobs bounds how often others are passed over so.
	mostJobs = 50
)

// enter waits for a mailbox. Whoever got it leaves it.
func (s *server) enter(ctx context.Context, login string) (*box, error) {
	key := mailboxKey(login)
	s.mu.Lock()
	b := s.boxes[key]
	if b == nil {
		b = &box{s: s, login: login, turn: make(chan struct{}, 1)}
		b.turn <- struct{}{}
		s.boxes[key] = b
	}
	b.users++
	s.unidle(b)
	s.mu.Unlock()
	select {
	case <-b.turn:
		b.name(login)
		return b, nil
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		b.users--
		s.settle(b)
		return nil, context.Cause(ctx)
	}
}

// name says as whom the mailbox is opened. A connection under a name that differs
// in its case is not used: it may be another mailbox's.
func (b *box) name(login string) {
	if b.login == login {
		return
	}
	b.login = login
	if b.account != nil {
		b.s.mu.Lock()
		defer b.s.mu.Unlock()
		b.s.drop(b)
	}
}

// leave gives the mailbox to the next one. Its connection stays for a while, for
// him or for who comes soon.
func (b *box) leave() {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.users--
	b.used = true
	b.jobs++
	b.s.settle(b)
	b.turn <- struct{}{}
}

// settle decides what becomes of a mailbox that somebody has left. It is called
// with the lock held.
func (s *server) settle(b *box) {
	if b.users > 0 {
		return
	}
	if b.account == nil || s.p.o.Linger < 0 || len(s.waiting) > 0 && b.jobs >= mostJobs {
		s.forget(b)
		return
	}
	s.idle = append(s.idle, b)
	b.idle = time.Now()
	linger := s.p.o.Linger
	if len(s.waiting) > 0 {
		linger = min(grace, linger)
	}
	b.expiry = time.AfterFunc(linger, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.expire(b)
	})
}

// yield has the connection that is idle for the longest make room, once its
// grace is over. It is called with the lock held.
func (s *server) yield() {
	for _, b := range s.idle {
		if !b.yields {
			b.yields = true
			b.expiry.Reset(max(0, grace-time.Since(b.idle)))
			return
		}
	}
}

// unidle takes a mailbox from the idle ones, and reports whether it was one. It is
// called with the lock held.
func (s *server) unidle(b *box) bool {
	i := slices.Index(s.idle, b)
	if i < 0 {
		return false
	}
	s.idle = slices.Delete(s.idle, i, i+1)
	b.expiry.Stop()
	b.yields = false
	return true
}

// expire closes a connection if it is still idle. It is called with the lock held.
func (s *server) expire(b *box) {
	if s.unidle(b) {
		s.forget(b)
	}
}

// forget lets go of a mailbox that nobody uses. It is called with the lock held.
func (s *server) forget(b *box) {
	if b.account != nil {
		s.drop(b)
	}
	delete(s.boxes, mailboxKey(b.login))
}

// drop closes a mailbox's connection, and gives its place to another once it is
// closed. It is called with the lock held.
func (s *server) drop(b *box) {
	account := b.account
	b.account = nil
	s.closing.Go(func() {
		_ = account.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leavePlace()
	})
}

// leavePlace frees a place for a connection. It is called with the lock held.
func (s *server) leavePlace() {
	if len(s.waiting) > 0 {
		next := s.waiting[0]
		s.waiting = s.waiting[1:]
		close(next)
		return
	}
	s.open--
	s.p.metrics.connections(s.Name, s.open)
}

// place waits for a place for a connection.
func (s *server) place(ctx context.Context) error {
	s.mu.Lock()
	if s.open < s.Connections {
		s.open++
		s.p.metrics.connections(s.Name, s.open)
		s.mu.Unlock()
		return nil
	}
	place := make(chan struct{})
	s.waiting = append(s.waiting, place)
	s.yield()
	s.mu.Unlock()
	select {
	case <-place:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, place); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	} else {
		s.leavePlace() // it was given at the last moment
	}
	return context.Cause(ctx)
}

// connect gives the mailbox's connection, a new one if need be. Errors satisfy
// mailbox.ErrNoMailbox or mailbox.ErrUnreachable, or are the context's.
func (b *box) connect(ctx context.Context) (mailbox.Account, error) {
	if b.account != nil {
		return b.account, nil
	}
	s := b.s
	if err := s.place(ctx); err != nil {
		return nil, err
	}
	account, err := s.login(ctx, b.login)
	if err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leavePlace()
		return nil, err
	}
	b.account, b.began, b.used, b.jobs = account, time.Now(), false, 0
	return account, nil
}

// login opens a mailbox, if the store is not to be left alone.
func (s *server) login(ctx context.Context, login string) (mailbox.Account, error) {
	if err := s.breaker.admit(ctx, s.p.o.Patience); err != nil {
		return nil, err
	}
	began := time.Now()
	account, err := s.openAccount(ctx, login)
	switch {
	case err == nil:
		s.breaker.opened()
		s.p.metrics.storeUp(s.Name, true)
		return account, nil
	case ctx.Err() != nil:
		s.breaker.undecided()
		return nil, context.Cause(ctx)
	case errors.Is(err, mailbox.ErrNoMailbox):
		s.breaker.opened()
		return nil, err
	}
	s.failed(began, err)
	if errors.Is(err, mailbox.ErrUnreachable) {
		return nil, err
	}
	// Who is not let in may be next time, when the server is up or the sidecar's
	// password is right: it is worth a try later.
	return nil, fmt.Errorf("%w: %w", mailbox.ErrUnreachable, err)
}

// openAccount opens a mailbox; a Backend's panic is an error of its.
func (s *server) openAccount(ctx context.Context, login string) (account mailbox.Account, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	return s.Backend.Open(ctx, login)
}

// failed notes that the store lets nobody in, or broke off.
func (s *server) failed(began time.Time, err error) {
	if !s.breaker.down() {
		s.log.Warn("the mail store is unreachable", zap.Error(err))
	}
	s.breaker.failed(began, err)
	s.p.metrics.storeUp(s.Name, false)
}

// broken gives up the mailbox's connection, which failed. One that an earlier
// job had left may have grown old: that tells nothing of the store.
func (b *box) broken(err error) {
	if b.account == nil {
		return
	}
	if !b.used && errors.Is(err, mailbox.ErrUnreachable) {
		b.s.failed(b.began, err)
	}
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	b.s.drop(b)
}

// close closes all connections, and waits for it.
func (s *server) close() {
	s.mu.Lock()
	for len(s.idle) > 0 {
		s.expire(s.idle[0])
	}
	s.mu.Unlock()
	s.closing.Wait()
}
