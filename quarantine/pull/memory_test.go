package pull_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/pull"
	"github.com/weirmail/weir/quarantine/pull/pulltest"
)

// memory is a mail store with one message in each mailbox. It says that it holds
// what hooks let it say.
type memory struct {
	open   func(login string) error
	find   func(login string) error
	fetch  func(login string) error
	remove func(login string) error
	put    func(login string) error

	mu      sync.Mutex
	removed map[string]bool
	logins  int
	id      string // of the message; default 1/1
	inside  int    // mailboxes that are open
}

var letter = []byte("Message-ID: <the-target@example.org>\r\nSubject: x\r\n\r\nsome text\r\n")

var at = time.Date(2026, 5, 4, 8, 30, 15, 0, time.UTC)

func hook(f func(string) error, login string) error {
	if f == nil {
		return nil
	}
	return f(login)
}

func (m *memory) Open(_ context.Context, login string) (mailbox.Account, error) {
	m.mu.Lock()
	m.logins++
	m.mu.Unlock()
	if err := hook(m.open, login); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inside++
	return &memoryAccount{m: m, login: login}, nil
}

func (m *memory) tried() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.logins
}

func (m *memory) gone(login string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.removed[login]
}

type memoryAccount struct {
	m     *memory
	login string
	once  sync.Once
}

func (a *memoryAccount) copyOf() mailbox.Copy {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	id := a.m.id
	if id == "" {
		id = "1/1"
	}
	return mailbox.Copy{Folder: "INBOX", ID: id, MessageID: "the-target@example.org", Size: int64(len(letter)), Date: at, By: mailbox.ByMessageID}
}

func (a *memoryAccount) Find(_ context.Context, t mailbox.Target) iter.Seq2[mailbox.Copy, error] {
	return func(yield func(mailbox.Copy, error) bool) {
		if err := hook(a.m.find, a.login); err != nil {
			yield(mailbox.Copy{}, err)
			return
		}
		if t.MessageID == "the-target@example.org" && !a.m.gone(a.login) {
			yield(a.copyOf(), nil)
		}
	}
}

func (a *memoryAccount) Fetch(_ context.Context, _ mailbox.Copy, w io.Writer) error {
	if err := hook(a.m.fetch, a.login); err != nil {
		return err
	}
	_, err := w.Write(letter)
	return err
}

func (a *memoryAccount) Remove(context.Context, mailbox.Copy) (mailbox.Removal, error) {
	if err := hook(a.m.remove, a.login); err != nil {
		return mailbox.NotRemoved, err
	}
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	if a.m.removed[a.login] {
		return mailbox.AlreadyGone, nil
	}
	if a.m.removed == nil {
		a.m.removed = map[string]bool{}
	}
	a.m.removed[a.login] = true
	return mailbox.Removed, nil
}

func (a *memoryAccount) Gone(context.Context, mailbox.Copy) (bool, error) {
	return a.m.gone(a.login), nil
}

func (a *memoryAccount) Restore(_ context.Context, r mailbox.Return) (mailbox.Restored, error) {
	if err := hook(a.m.put, a.login); err != nil {
		return mailbox.Restored{}, err
	}
	if !bytes.Equal(r.Raw, letter) {
		return mailbox.Restored{}, mailbox.ErrAltered
	}
	return mailbox.Restored{Copy: r.Was}, nil
}

func (a *memoryAccount) Close() error {
	a.once.Do(func() {
		a.m.mu.Lock()
		defer a.m.mu.Unlock()
		a.m.inside--
	})
	return nil
}

func login(i int) string { return fmt.Sprintf("user%d@lab.test", i) }

// pullOf makes the job of pulling the message from a mailbox.
func pullOf(i int) job.Job {
	m := message.Parse(letter, message.Options{})
	return job.Job{ID: fmt.Sprintf("j%d", i), Kind: job.Pull, Mailbox: login(i), Target: job.Target{
		MessageID: "the-target@example.org", Body: m.Body, Size: int64(len(letter)), Around: at}}
}

// sidecar runs one for a test.
type sidecar struct {
	t      *testing.T
	daemon *pulltest.Daemon
	store  *memory
	stop   func()
	done   chan struct{}
}

func run(t *testing.T, d *pulltest.Daemon, m *memory, change func(*pull.Options)) *sidecar {
	t.Helper()
	o := pull.Options{Daemons: []pull.Daemon{{Name: "mx1", Jobs: d}}, Stores: []pull.Store{{Name: "mail", Backend: m}}, Wait: time.Second}
	if change != nil {
		change(&o)
	}
	p, err := pull.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &sidecar{t: t, daemon: d, store: m, stop: stop, done: make(chan struct{})}
	go func() { defer close(s.done); _ = p.Run(ctx) }()
	return s
}

func (s *sidecar) end() {
	s.t.Helper()
	s.stop()
	<-s.done
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if s.store.inside != 0 {
		s.t.Errorf("%d mailboxes are left open", s.store.inside)
	}
}

func (s *sidecar) result(i int) job.Result {
	s.t.Helper()
	r, err := s.daemon.Result(s.t.Context(), fmt.Sprintf("j%d", i))
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// liar is a daemon that tells something else of what it keeps.
type liar struct {
	*pulltest.Daemon
	spoil func(*job.Kept)
}

func (l liar) Keep(ctx context.Context, lease string, c mailbox.Copy, raw []byte) (job.Kept, error) {
	k, err := l.Daemon.Keep(ctx, lease, c, raw)
	l.spoil(&k)
	return k, err
}
