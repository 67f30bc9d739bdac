package pull_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/pull"
	"github.com/weirmail/weir/quarantine/pull/pulltest"
)

// batch is a mailbox with the letters 0 to n-1, whose IDs are "1/0" and so on, and
// with a job for each, which are leased together.
type batch struct {
	*pulltest.Daemon
	*memory
	n int
}

func newBatch(n int) *batch {
	b := &batch{pulltest.NewDaemon(), &memory{boxes: map[string][]*mail{login(0): {}}}, n}
	b.Together = true
	for i := range n {
		b.add(login(0), "INBOX", fmt.Sprintf("1/%d", i), numbered(i))
		b.Add(jobOf(fmt.Sprintf("j%d", i), login(0), numbered(i)))
	}
	return b
}

// number gives the number in "1/n".
func number(id string) (n int) {
	_, _ = fmt.Sscanf(id, "1/%d", &n)
	return n
}

// does runs a sidecar until all jobs are done, and compares what became of them:
// all are "pulled, 1 removed" but for those that are named.
func (b *batch) does(t *testing.T, want map[int]string, change func(*pull.Options)) []job.Result {
	t.Helper()
	s := run(t, b.Daemon, b.memory, change)
	defer s.end()
	var all []job.Result
	for i := range b.n {
		r := s.result(i)
		expected := want[i]
		if expected == "" {
			expected = "pulled, 1 removed"
		}
		if got := pulltest.Was(r); got != expected {
			t.Errorf("job %d: %s (%s), want %s", i, got, r.Detail, expected)
		}
		all = append(all, r)
	}
	return all
}

// holds compares what is left in the mailbox.
func (b *batch) holds(t *testing.T, want ...int) {
	t.Helper()
	var ids []string
	for _, n := range want {
		ids = append(ids, fmt.Sprintf("target-%d@example.org", n))
	}
	if left := b.left(login(0)); !slices.Equal(left, ids) {
		t.Errorf("the mailbox holds %q, want %q", left, ids)
	}
}

// inBatch runs a test in a bubble of its own.
func inBatch(t *testing.T, name string, n int, test func(t *testing.T, b *batch)) {
	t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, newBatch(n)) })
	})
}

func TestJobsOfAMailboxShareSearchesAndRemovals(t *testing.T) {
	b := newBatch(20)
	b.does(t, nil, nil)
	b.holds(t)
	if b.searches != 2 || b.removals != 1 || b.logins != 1 {
		t.Errorf("%d searches, %d removals and %d logins for %d messages", b.searches, b.removals, b.logins, b.n)
	}
}

func TestAHeapOfCopiesIsRemovedInParts(t *testing.T) {
	b := newBatch(2)
	for i := range 250 {
		b.add(login(0), "Archive", fmt.Sprintf("2/%d", i), numbered(1))
	}
	most := 0 // copies that are in quarantine and in the mailbox
	b.copyFetch = func(string) error {
		most = max(most, len(b.Items("j1"))+len(b.left(login(0)))-251)
		return nil
	}
	b.does(t, map[int]string{1: "pulled, 251 removed"}, nil)
	b.holds(t)
	if b.removals != 3 || b.searches != 2 || most > 100 {
		t.Errorf("%d removals, %d searches, at most %d copies waited", b.removals, b.searches, most)
	}
}

// asked is a daemon that counts what it is asked.
type asked struct {
	*pulltest.Daemon
	mu            sync.Mutex
	keeps         []int // how many copies it was given each time
	reports       []int
	copies, under int // on their way at most, and now
	calls, at     int // requests with copies, likewise
}

func (a *asked) Keep(ctx context.Context, copies []pull.Upload) []pull.Stored {
	a.mu.Lock()
	a.keeps = append(a.keeps, len(copies))
	a.under, a.at = a.under+len(copies), a.at+1
	a.copies, a.calls = max(a.copies, a.under), max(a.calls, a.at)
	a.mu.Unlock()
	time.Sleep(time.Second)
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.under, a.at = a.under-len(copies), a.at-1
	}()
	return a.Daemon.Keep(ctx, copies)
}

func (a *asked) Report(ctx context.Context, reports []pull.Report) []error {
	a.mu.Lock()
	a.reports = append(a.reports, len(reports))
	a.mu.Unlock()
	return a.Daemon.Report(ctx, reports)
}

func TestTheDaemonIsGivenAllCopiesAndReportsOfAMailboxAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatch(30)
		a := &asked{Daemon: b.Daemon}
		b.does(t, nil, func(o *pull.Options) { o.Daemons[0].Jobs = a })
		b.holds(t)
		if !slices.Equal(a.keeps, []int{30}) || !slices.Equal(a.reports, []int{30}) {
			t.Errorf("copies %v, reports %v", a.keeps, a.reports)
		}
	})
}

func TestLargeCopiesAreGivenToTheDaemonInPartsWhileOthersAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatch(1)
		large := append([]byte("Message-ID: <target-0@example.org>\r\n\r\n"), bytes.Repeat([]byte("0123456789abcde\n"), 12<<10)...)
		b.boxes[login(0)][0].raw = large
		b.Add(jobOf("j0", login(0), large))
		for i := range 24 {
			b.add(login(0), "Archive", fmt.Sprintf("2/%d", i), large)
		}
		a := &asked{Daemon: b.Daemon}
		began := time.Now()
		b.does(t, map[int]string{0: "pulled, 25 removed"}, func(o *pull.Options) { o.Daemons[0].Jobs = a })
		if took := time.Since(began); slices.Max(a.keeps) != 2 || a.calls != 4 || took > 6*time.Second {
			t.Errorf("copies %v, %d requests at once, in %s", a.keeps, a.calls, took)
		}
	})
}

// What is under way stays within the room, however many messages there are.
func TestCopiesOnTheirWayToTheDaemonStayWithinTheMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatch(12)
		a := &asked{Daemon: b.Daemon}
		b.does(t, nil, func(o *pull.Options) {
			o.Daemons[0].Jobs = a
			o.Memory = int64(3 * len(numbered(11)))
		})
		b.holds(t)
		if a.copies != 3 {
			t.Errorf("%d at once", a.copies)
		}
	})
}

// Everything that can become of a job, in one batch.
func TestEachJobOfABatchEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatch(9)
		box := login(0)
		b.boxes[box] = slices.DeleteFunc(b.boxes[box], func(m *mail) bool { return number(m.id) == 1 }) // 1 is not there
		b.boxes[box][1].raw = append(numbered(2), "a footer\r\n"...)                                    // 2 differs
		b.boxes[box][2].folder = "Sent"                                                                 // 3 was sent
		b.copyFetch = func(id string) error {
			if number(id) == 4 {
				return mailbox.ErrTooLarge
			}
			return nil
		}
		b.copyRemove = func(id string) error {
			if number(id) == 5 {
				return mailbox.ErrRefused
			}
			return nil
		}
		b.add(box, "Junk", "1/60", numbered(6))                                       // 6 has two copies
		b.boxes[box][6].raw = []byte("Subject: x\r\n\r\nsome text 7\r\n")             // 7 has lost its name
		b.add(box, "INBOX", "1/80", append(numbered(8), "but this is forged\r\n"...)) // 8 has a forgery beside it
		b.does(t, map[int]string{
			1: "not-found", 2: "differs, 1 differs", 3: "differs, 1 sent", 4: "failed, 1 left", 5: "failed, 1 left",
			6: "pulled, 2 removed", 8: "pulled, 1 differs, 1 removed",
		}, nil)
		b.holds(t, 2, 3, 4, 5, 8)
	})
}

// Two incidents mean the same mail: it is as if the second came after the first.
func TestOfTwoJobsThatMeanTheSameCopyTheFirstTakesIt(t *testing.T) {
	byContent := func(j *job.Job) { j.Target.MessageID = "" }
	for name, c := range map[string]struct {
		first, second func(*job.Job)
		want          string
	}{
		"by name":    {nil, nil, "not-found"},
		"by content": {byContent, byContent, "not-found"},
		"by both":    {nil, byContent, "not-found"},
	} {
		inBatch(t, name, 3, func(t *testing.T, b *batch) {
			j := jobOf("j3", login(0), numbered(1))
			if c.second != nil {
				c.second(&j)
			}
			b.Add(j)
			b.n++
			if c.first != nil {
				b.Again("j1", c.first)
			}
			b.does(t, map[int]string{3: c.want}, nil)
			b.holds(t)
			if len(b.Items("j1")) != 1 || len(b.Items("j3")) != 0 {
				t.Errorf("kept %+v and %+v", b.Items("j1"), b.Items("j3"))
			}
		})
	}
}

func TestACopyThatOneJobCannotTakeIsTriedByTheOther(t *testing.T) {
	inBatch(t, "refused to the first", 2, func(t *testing.T, b *batch) {
		b.Add(jobOf("j2", login(0), numbered(1)))
		b.n++
		refuse := often(2, mailbox.ErrRefused)
		b.copyRemove = func(id string) error {
			if number(id) == 1 {
				return refuse("")
			}
			return nil
		}
		b.does(t, map[int]string{1: "failed, 1 left"}, nil)
		b.holds(t)
	})
	inBatch(t, "the lease is lost", 2, func(t *testing.T, b *batch) {
		b.Add(jobOf("j2", login(0), numbered(1)))
		b.Fault = func(operation string, done bool) error {
			if operation == "keep" && done && len(b.Items("j1")) == 1 {
				b.Withdraw("j1")
				time.Sleep(8 * time.Second)
			}
			return nil
		}
		s := run(t, b.Daemon, b.memory, nil)
		for _, i := range []int{0, 2} {
			if got := pulltest.Was(s.result(i)); got != "pulled, 1 removed" {
				t.Errorf("job %d: %s", i, got)
			}
		}
		b.holds(t)
		s.end()
	})
	// Both have uploaded it under earlier leases.
	inBatch(t, "kept by both", 2, func(t *testing.T, b *batch) {
		b.Add(jobOf("j2", login(0), numbered(1)))
		b.n++
		for _, id := range []string{"j1", "j2"} {
			leases, err := b.Lease(t.Context(), 9, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range leases {
				if l.Job.ID != id {
					continue
				}
				c := (&mail{"INBOX", "1/1", numbered(1)}).copyOf()
				if s := b.Keep(t.Context(), []pull.Upload{{Lease: l.ID, Copy: c, Raw: numbered(1)}}); s[0].Err != nil {
					t.Fatal(s[0].Err)
				}
			}
			b.Restart()
		}
		b.does(t, nil, nil)
		b.holds(t)
	})
}

// A user moves a mail that was found, before it is read, or before it is removed.
func TestAMailOfABatchThatMovesIsFollowed(t *testing.T) {
	for _, step := range []string{"fetch", "remove"} {
		inBatch(t, step, 5, func(t *testing.T, b *batch) {
			moves := 0
			move := func(string) error {
				if moves++; moves <= 2 {
					b.move(login(0), fmt.Sprintf("1/%d", 2+10*(moves-1)), "Archive", fmt.Sprintf("1/%d", 2+10*moves))
				}
				return nil
			}
			if step == "fetch" {
				b.copyFetch = move
			} else {
				b.remove = move
			}
			b.does(t, nil, nil)
			b.holds(t)
			if n := len(b.Items("j2")); n != 1 {
				t.Errorf("%d items are kept of one mail", n)
			}
		})
	}
}

// Two copies of the same bytes: one that is away for a moment is not taken for the
// other, which would never come back.
func TestACopyThatIsAwayForAMomentIsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatch(1)
		away := often(1, mailbox.ErrStale)
		b.copyRemove = func(id string) error {
			if number(id) != 0 {
				return nil
			}
			b.add(login(0), "Junk", "1/5", numbered(0))
			b.copyRemove = nil
			return away("")
		}
		b.does(t, map[int]string{0: "pulled, 2 removed"}, nil)
		if n := len(b.Items("j0")); n != 2 {
			t.Errorf("%d items are kept of two mails", n)
		}
	})
}

// A job that is done is reported while the others are still searched for.
func TestAJobIsReportedAsSoonAsItIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatch(3)
		b.boxes[login(0)][1].raw = []byte("Subject: x\r\n\r\nsome text 1\r\n")
		b.find = func(string) error {
			if b.searches == 3 { // by content
				time.Sleep(20 * time.Minute)
			}
			return nil
		}
		s := run(t, b.Daemon, b.memory, nil)
		began := time.Now()
		s.result(0)
		s.result(2)
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %s", took)
		}
		if r := s.result(1); pulltest.Was(r) != "pulled, 1 removed" {
			t.Errorf("%s, %s", pulltest.Was(r), r.Detail)
		}
		s.end()
	})
}

// The rest of the mailbox is read for the next copy, which can take long.
func TestWhatWasFoundByItsContentIsRemovedBeforeTheSearchGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatch(1)
		b.boxes[login(0)][0].raw = []byte("Subject: x\r\n\r\nsome text 0\r\n")
		b.reading = 20 * time.Minute
		s := run(t, b.Daemon, b.memory, nil)
		time.Sleep(time.Minute)
		b.holds(t)
		s.result(0)
		s.end()
	})
}

func TestReportsThatDoNotArriveHoldUpNoMailboxForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatch(4)
		late := pulltest.NewDaemon()
		var first sync.Once
		b.Fault = func(operation string, done bool) error {
			if operation == "report" && !done {
				first.Do(func() { time.Sleep(time.Minute) })
			}
			return nil
		}
		s := run(t, b.Daemon, b.memory, func(o *pull.Options) {
			o.Daemons = append(o.Daemons, pull.Daemon{Name: "mx2", Jobs: late})
		})
		time.Sleep(time.Second)
		began := time.Now()
		late.Add(jobOf("other", login(0), numbered(0)))
		if r, err := late.Result(t.Context(), "other"); err != nil || r.Outcome != job.NotFound || time.Since(began) > time.Second {
			t.Errorf("%s after %s, %v", pulltest.Was(r), time.Since(began), err)
		}
		for i := range b.n {
			s.result(i)
		}
		if took := time.Since(began); took > 70*time.Second {
			t.Errorf("the reports took %s", took)
		}
		s.end()
	})
}

func TestABatchThatTakesTooLongIsTriedAgainLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatch(3)
		b.copyFetch = func(id string) error {
			if number(id) == 1 {
				time.Sleep(time.Hour)
			}
			return nil
		}
		want := map[int]string{0: "unreachable, 1 left", 1: "unreachable, 1 left", 2: "unreachable"}
		for i, r := range b.does(t, want, nil) {
			if !strings.Contains(r.Detail, "30m0s") {
				t.Errorf("job %d: %s", i, r.Detail)
			}
		}
		b.copyFetch = nil
		for i := range b.n {
			b.Again(fmt.Sprintf("j%d", i), nil)
		}
		b.does(t, nil, nil)
		b.holds(t)
	})
}
