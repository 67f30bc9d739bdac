package pulltest

import (
	"bytes"
	"context"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/weirmail/weir/quarantine/mailbox"
)

// Watch is a Backend that holds against another what package pull promises: that
// nothing is removed that the daemon does not hold, and that a mailbox has one
// user at a time.
type Watch struct {
	mailbox.Backend
	Daemons []*Daemon
	// Complain is told of what must not be.
	Complain func(format string, args ...any)
	// Fault is called before and after each operation, if it is set: open, find,
	// fetch, remove, restore. With an error the operation fails, after it was done or
	// without.
	Fault func(operation string, done bool) error

	mu     sync.Mutex
	open   map[string]int
	most   int
	total  int
	opened int
}

func (w *Watch) fault(operation string, done bool) error {
	if w.Fault == nil {
		return nil
	}
	return w.Fault(operation, done)
}

// Most gives how many mailboxes were open at the same time, at most, and how many
// were opened in all.
func (w *Watch) Most() (together, all int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.most, w.opened
}

// Open implements mailbox.Backend.
func (w *Watch) Open(ctx context.Context, user string) (mailbox.Account, error) {
	if err := w.fault("open", false); err != nil {
		return nil, err
	}
	a, err := w.Backend.Open(ctx, user)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		w.open = map[string]int{}
	}
	w.open[strings.ToLower(user)]++
	w.total++
	w.opened++
	w.most = max(w.most, w.total)
	return &watched{Account: a, w: w, user: strings.ToLower(user)}, nil
}

type watched struct {
	mailbox.Account
	w    *Watch
	user string
	once sync.Once
}

// enter notes that an operation begins, and complains of one that is under way
// in the same mailbox.
func (a *watched) enter() func() {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	key := "in " + a.user
	if a.w.open[key]++; a.w.open[key] > 1 {
		a.w.Complain("two jobs work in the mailbox %s", a.user)
	}
	return func() {
		a.w.mu.Lock()
		defer a.w.mu.Unlock()
		a.w.open[key]--
	}
}

func (a *watched) Close() error {
	a.once.Do(func() {
		a.w.mu.Lock()
		defer a.w.mu.Unlock()
		a.w.open[a.user]--
		a.w.total--
	})
	return a.Account.Close()
}

func (a *watched) Find(ctx context.Context, targets []mailbox.Target) iter.Seq2[mailbox.Found, error] {
	return func(yield func(mailbox.Found, error) bool) {
		if err := a.w.fault("find", false); err != nil {
			yield(mailbox.Found{}, err)
			return
		}
		for c, err := range a.Account.Find(ctx, targets) {
			if !yield(c, err) {
				return
			}
		}
		if err := a.w.fault("find", true); err != nil {
			yield(mailbox.Found{}, err)
		}
	}
}

func (a *watched) Fetch(ctx context.Context, c mailbox.Copy, to io.Writer) error {
	defer a.enter()()
	if err := a.w.fault("fetch", false); err != nil {
		return err
	}
	if err := a.Account.Fetch(ctx, c, to); err != nil {
		return err
	}
	return a.w.fault("fetch", true)
}

func (a *watched) Remove(ctx context.Context, copies []mailbox.Copy) []mailbox.Removal {
	defer a.enter()()
	failing := func(err error) []mailbox.Removal {
		return slices.Repeat([]mailbox.Removal{{Err: err}}, len(copies))
	}
	if err := a.w.fault("remove", false); err != nil {
		return failing(err)
	}
	at := map[[2]string]bool{}
	for _, c := range copies {
		if where := [2]string{c.Folder, c.ID}; at[where] {
			a.w.Complain("%s in %s of %s is to be removed twice at once", c.ID, c.Folder, a.user)
		} else {
			at[where] = true
		}
		var raw bytes.Buffer
		if err := a.Account.Fetch(context.WithoutCancel(ctx), c, &raw); err == nil && !a.held(raw.Bytes()) {
			a.w.Complain("%s in %s of %s is removed, and nobody has its %d bytes", c.ID, c.Folder, a.user, raw.Len())
		}
	}
	removals := a.Account.Remove(ctx, copies)
	if err := a.w.fault("remove", true); err != nil {
		return failing(err)
	}
	return removals
}

func (a *watched) held(raw []byte) bool {
	for _, d := range a.w.Daemons {
		if d.Holds(raw) {
			return true
		}
	}
	return false
}

func (a *watched) Restore(ctx context.Context, r mailbox.Return) (mailbox.Restored, error) {
	defer a.enter()()
	if err := a.w.fault("restore", false); err != nil {
		return mailbox.Restored{}, err
	}
	put, err := a.Account.Restore(ctx, r)
	if err == nil {
		err = a.w.fault("restore", true)
	}
	return put, err
}
