package pull_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/pull"
	"github.com/weirmail/weir/quarantine/pull/pulltest"
)

// memory is a mail store. Each mailbox holds the letter, and what it was given. It
// says that it holds what hooks let it say.
type memory struct {
	open   func(login string) error
	find   func(login string) error
	fetch  func(login string) error
	remove func(login string) error
	put    func(login string) error
	// copyFetch and copyRemove are asked for each copy, by its ID.
	copyFetch  func(id string) error
	copyRemove func(id string) error
	// looking is called while a search is under way.
	looking func(ctx context.Context)

	reading time.Duration // how long a search by content goes on after a copy

	mu       sync.Mutex
	boxes    map[string][]*mail
	searches int
	removals int // commands
	logins   int
	id       string // of the letter; default 1/1
	inside   int    // mailboxes that are open
}

// mail is a message in a mailbox.
type mail struct {
	folder, id string
	raw        []byte
}

func (m *mail) messageID() string {
	_, id, _ := strings.Cut(string(m.raw[:min(100, len(m.raw))]), "Message-ID: <")
	id, _, _ = strings.Cut(id, ">")
	return id
}

var letter = []byte("Message-ID: <the-target@example.org>\r\nSubject: x\r\n\r\nsome text\r\n")

// numbered makes a letter of its own.
func numbered(n int) []byte {
	return fmt.Appendf(nil, "Message-ID: <target-%d@example.org>\r\nSubject: x\r\n\r\nsome text %d\r\n", n, n)
}

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
	m.box(login)
	return &memoryAccount{m: m, login: login}, nil
}

// box gives a mailbox's mail. It is called with the lock held.
func (m *memory) box(login string) []*mail {
	if m.boxes == nil {
		m.boxes = map[string][]*mail{}
	}
	if m.boxes[login] == nil {
		id := m.id
		if id == "" {
			id = "1/1"
		}
		m.boxes[login] = []*mail{{"INBOX", id, letter}}
	}
	return m.boxes[login]
}

// add puts a message into a mailbox.
func (m *memory) add(login, folder, id string, raw []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boxes[login] = append(m.box(login), &mail{folder, id, raw})
}

// move has a user move a message, which gets another name so.
func (m *memory) move(login, id, folder, to string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.boxes[login] {
		if one.id == id {
			one.folder, one.id = folder, to
		}
	}
}

// rename gives the letters of all mailboxes another name.
func (m *memory) rename(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.id = id
	for _, box := range m.boxes {
		box[0].id = id
	}
}

func (m *memory) tried() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.logins
}

// gone reports whether the letter is not in a mailbox.
func (m *memory) gone(login string) bool {
	return !slices.Contains(m.left(login), "the-target@example.org")
}

// left gives the Message-IDs of a mailbox.
func (m *memory) left(login string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for _, one := range m.box(login) {
		all = append(all, one.messageID())
	}
	return all
}

type memoryAccount struct {
	m     *memory
	login string
	once  sync.Once
}

func (m *mail) copyOf() mailbox.Copy {
	return mailbox.Copy{Folder: m.folder, Role: mailbox.RoleOf(m.folder), ID: m.id, MessageID: m.messageID(), Size: int64(len(m.raw)), Date: at}
}

// find gives what one target finds.
func (a *memoryAccount) find(t *mailbox.Target) (all []mailbox.Copy) {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	for _, one := range a.m.box(a.login) {
		c := one.copyOf()
		by, ok := t.Match(&c)
		if c.By = by; ok {
			all = append(all, c)
		}
	}
	for _, one := range a.m.box(a.login) {
		if len(all) == 0 && t.ByContent() && message.Parse(one.raw, message.Options{}).Body == t.Body {
			c := one.copyOf()
			c.By = mailbox.ByContent
			return []mailbox.Copy{c}
		}
	}
	return all
}

func (a *memoryAccount) Find(ctx context.Context, targets []mailbox.Target) iter.Seq2[mailbox.Found, error] {
	return func(yield func(mailbox.Found, error) bool) {
		a.m.mu.Lock()
		a.m.searches++
		a.m.mu.Unlock()
		if err := hook(a.m.find, a.login); err != nil {
			yield(mailbox.Found{}, err)
			return
		}
		if a.m.looking != nil {
			a.m.looking(ctx)
		}
		if ctx.Err() != nil {
			yield(mailbox.Found{}, ctx.Err())
			return
		}
		var all []mailbox.Found
		for i := range targets {
			for _, c := range a.find(&targets[i]) {
				all = append(all, mailbox.Found{Target: i, Copy: c})
			}
		}
		for _, f := range all {
			if !yield(f, nil) {
				return
			}
			if f.Copy.By == mailbox.ByContent {
				time.Sleep(a.m.reading)
			}
		}
	}
}

// mail gives a copy's message.
func (a *memoryAccount) mail(c *mailbox.Copy) *mail {
	a.m.mu.Lock()
	defer a.m.mu.Unlock()
	for _, one := range a.m.box(a.login) {
		if one.folder == c.Folder && one.id == c.ID {
			return one
		}
	}
	return nil
}

func (a *memoryAccount) Fetch(_ context.Context, c mailbox.Copy, w io.Writer) error {
	if err := hook(a.m.fetch, a.login); err != nil {
		return err
	}
	if err := hook(a.m.copyFetch, c.ID); err != nil {
		return err
	}
	one := a.mail(&c)
	if one == nil {
		return mailbox.ErrGone
	}
	_, err := w.Write(one.raw)
	return err
}

func (a *memoryAccount) Remove(_ context.Context, copies []mailbox.Copy) []mailbox.Removal {
	a.m.mu.Lock()
	a.m.removals++
	a.m.mu.Unlock()
	all := make([]mailbox.Removal, len(copies))
	err := hook(a.m.remove, a.login)
	for i, c := range copies {
		if slices.ContainsFunc(copies[:i], func(o mailbox.Copy) bool { return o.Is(&c) }) {
			panic("a copy is to be removed twice at once")
		}
		if all[i].Err = err; err == nil {
			all[i].Err = hook(a.m.copyRemove, c.ID)
		}
		if one := a.mail(&c); all[i].Err == nil && one != nil {
			all[i].Taken = true
			a.m.mu.Lock()
			a.m.boxes[a.login] = slices.DeleteFunc(a.m.boxes[a.login], func(o *mail) bool { return o == one })
			a.m.mu.Unlock()
		}
	}
	return all
}

func (a *memoryAccount) Gone(_ context.Context, c mailbox.Copy) (bool, error) {
	return a.mail(&c) == nil, nil
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
func pullOf(i int) job.Job { return jobOf(fmt.Sprintf("j%d", i), login(i), letter) }

// jobOf makes the job of pulling a message from a mailbox.
func jobOf(id, login string, raw []byte) job.Job {
	m := message.Parse(raw, message.Options{})
	return job.Job{ID: id, Kind: job.Pull, Mailbox: login, Target: job.Target{
		MessageID: m.MessageID(), Body: m.Body, Size: int64(len(raw)), Around: at}}
}

// sidecar runs one for a test.
type sidecar struct {
	t      testing.TB
	daemon *pulltest.Daemon
	store  *memory
	stop   func()
	done   chan struct{}
}

func run(t testing.TB, d *pulltest.Daemon, m *memory, change func(*pull.Options)) *sidecar {
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

func (l liar) Keep(ctx context.Context, copies []pull.Upload) []pull.Stored {
	all := l.Daemon.Keep(ctx, copies)
	for i := range all {
		l.spoil(&all[i].Kept)
	}
	return all
}
