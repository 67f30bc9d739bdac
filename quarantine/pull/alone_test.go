package pull_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/pull"
	"github.com/weirmail/weir/quarantine/pull/pulltest"
)

func TestALostLeaseEndsItsJobAlone(t *testing.T) {
	for _, when := range []string{"in its fetch", "in its upload", "in the removal"} {
		inBatch(t, when, 6, func(t *testing.T, b *batch) {
			lose := func() {
				b.Withdraw("j2")
				time.Sleep(8 * time.Second) // it learns of it when it next renews
			}
			switch when {
			case "in its fetch":
				b.copyFetch = func(id string) error {
					if number(id) == 2 {
						lose()
					}
					return nil
				}
			case "in its upload":
				b.Fault = func(operation string, done bool) error {
					if operation == "keep" && done && len(b.Items("j2")) == 1 && b.Daemon.Open() == 6 {
						lose()
					}
					return nil
				}
			case "in the removal":
				b.copyRemove = func(id string) error {
					if number(id) == 1 {
						lose()
						return mailbox.ErrUnreachable
					}
					return nil
				}
				b.remove = func(string) error {
					if b.removals > 1 {
						b.copyRemove = nil
					}
					return nil
				}
			}
			s := run(t, b.Daemon, b.memory, nil)
			for _, i := range []int{0, 1, 3, 4, 5} {
				if got := pulltest.Was(s.result(i)); got != "pulled, 1 removed" {
					t.Errorf("job %d: %s", i, got)
				}
			}
			s.end()
			if when == "in the removal" {
				b.holds(t) // the command was under way
			} else {
				b.holds(t, 2)
			}
			b.copyFetch, b.copyRemove, b.Fault = nil, nil, nil
			b.Again("j2", nil)
			b.does(t, nil, nil)
			b.holds(t)
		})
	}
}

func TestWhenAllLeasesAreLostTheMailboxIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatch(3)
		var waited time.Duration
		b.looking = func(ctx context.Context) {
			for i := range 3 {
				b.Withdraw(fmt.Sprintf("j%d", i))
			}
			began := time.Now()
			select {
			case <-ctx.Done():
			case <-time.After(time.Hour):
			}
			waited = time.Since(began)
		}
		s := run(t, b.Daemon, b.memory, nil)
		time.Sleep(time.Minute)
		b.holds(t, 0, 1, 2)
		if b.searches != 1 || b.removals != 0 || waited > 10*time.Second {
			t.Errorf("%d searches, %d removals, after %s", b.searches, b.removals, waited)
		}
		s.end()
	})
}

func TestABatchOutlivesABrokenConnection(t *testing.T) {
	inBatch(t, "between the removal and the second look", 5, func(t *testing.T, b *batch) {
		b.find = func(string) error {
			if b.searches == 2 {
				return mailbox.ErrUnreachable
			}
			return nil
		}
		b.does(t, nil, nil)
		b.holds(t)
		for i := range b.n {
			if n := len(b.Items(fmt.Sprintf("j%d", i))); n != 1 {
				t.Errorf("of job %d %d items are kept", i, n)
			}
		}
	})
	inBatch(t, "in the removal, of which half is done", 5, func(t *testing.T, b *batch) {
		b.copyRemove = func(id string) error {
			if b.removals == 1 && number(id) > 2 {
				return mailbox.ErrUnreachable
			}
			return nil
		}
		b.does(t, nil, nil)
		b.holds(t)
	})
	inBatch(t, "in the removal, again and again", 5, func(t *testing.T, b *batch) {
		b.remove = often(3, mailbox.ErrUnreachable)
		b.does(t, nil, nil)
		b.holds(t)
	})
	inBatch(t, "for ever", 5, func(t *testing.T, b *batch) {
		b.find = often(always, mailbox.ErrUnreachable)
		want := map[int]string{}
		for i := range b.n {
			want[i] = "unreachable"
		}
		b.does(t, want, nil)
	})
}

// A server may refuse for as long as a session lasts what it grants in the next.
func TestWhatIsRefusedIsTriedOnAnotherConnection(t *testing.T) {
	refuse := func(b *batch) func(string) error {
		return func(id string) error {
			if b.tried() == 1 && (id == login(0) || number(id) == 2) {
				return mailbox.ErrRefused
			}
			return nil
		}
	}
	inBatch(t, "a folder", 4, func(t *testing.T, b *batch) {
		b.find = refuse(b)
		b.does(t, nil, nil)
		b.holds(t)
	})
	inBatch(t, "a removal", 4, func(t *testing.T, b *batch) {
		b.copyRemove = refuse(b)
		b.does(t, nil, nil)
		b.holds(t)
		if b.tried() != 2 {
			t.Errorf("%d logins", b.tried())
		}
	})
}

// A message over which the server breaks off each time holds up no other.
func TestAMessageThatBreaksConnectionsFailsItsJobAlone(t *testing.T) {
	inBatch(t, "read", 6, func(t *testing.T, b *batch) {
		b.copyFetch = func(id string) error {
			if number(id) == 1 || number(id) == 4 {
				return mailbox.ErrUnreachable
			}
			return nil
		}
		b.does(t, map[int]string{1: "unreachable, 1 left", 4: "unreachable, 1 left"}, nil)
		b.holds(t, 1, 4)
	})
	inBatch(t, "removed", 6, func(t *testing.T, b *batch) {
		bad := false
		b.remove = func(string) error { bad = false; return nil }
		b.copyRemove = func(id string) error {
			if bad = bad || number(id) == 2; bad {
				return mailbox.ErrUnreachable // and all that follow it in the command
			}
			return nil
		}
		b.does(t, map[int]string{2: "unreachable, 1 left"}, nil)
		b.holds(t, 2)
	})
	inBatch(t, "a fault in the program", 6, func(t *testing.T, b *batch) {
		b.copyFetch = func(id string) error {
			if number(id) == 3 {
				panic("x")
			}
			return nil
		}
		b.does(t, map[int]string{3: "failed, 1 left"}, nil)
		b.holds(t, 3)
	})
}

func TestACopyThatTheDaemonDoesNotTakeLeavesTheOthersAlone(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"too large":    {mailbox.ErrTooLarge, "failed, 1 left"},
		"no answer":    {errOdd, "unreachable, 1 left"},
		"a lost lease": {pull.ErrLease, ""},
	} {
		inBatch(t, name, 5, func(t *testing.T, b *batch) {
			s := run(t, b.Daemon, b.memory, func(o *pull.Options) { o.Daemons[0].Jobs = &picky{b.Daemon, numbered(3), c.err} })
			for i := range b.n {
				want := "pulled, 1 removed"
				if i == 3 {
					want = c.want
				}
				if want == "" {
					continue // it is leased again and again
				}
				if r := s.result(i); pulltest.Was(r) != want {
					t.Errorf("job %d: %s (%s), want %s", i, pulltest.Was(r), r.Detail, want)
				}
			}
			s.end()
			b.holds(t, 3)
		})
	}
}

// picky is a daemon that does not take one message.
type picky struct {
	*pulltest.Daemon
	not []byte
	err error
}

func (p *picky) Keep(ctx context.Context, copies []pull.Upload) []pull.Stored {
	var all []pull.Stored
	for _, c := range copies {
		if string(c.Raw) == string(p.not) {
			all = append(all, pull.Stored{Err: p.err})
		} else {
			all = append(all, p.Daemon.Keep(ctx, []pull.Upload{c})...)
		}
	}
	return all
}
