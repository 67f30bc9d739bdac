package pull_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/pull"
	"github.com/weirmail/weir/quarantine/pull/pulltest"
)

// often fails so often.
func often(n int, err error) func(string) error {
	var mu sync.Mutex
	return func(string) error {
		mu.Lock()
		defer mu.Unlock()
		if n--; n >= 0 {
			return err
		}
		return nil
	}
}

const always = 1 << 30

var errOdd = errors.New("something odd")

func TestWhatGoesWrongInAMailboxIsToldAsWhatItIs(t *testing.T) {
	for name, c := range map[string]struct {
		store *memory
		keep  func(string) error
		want  string
	}{
		"no mailbox":                     {&memory{open: often(always, mailbox.ErrNoMailbox)}, nil, "mailbox-missing"},
		"no mailbox, as is found later":  {&memory{find: often(always, mailbox.ErrNoMailbox)}, nil, "mailbox-missing"},
		"nobody is let in":               {&memory{open: often(always, mailbox.ErrRefused)}, nil, "unreachable"},
		"nobody is there":                {&memory{open: often(always, mailbox.ErrUnreachable)}, nil, "unreachable"},
		"nobody is there for a while":    {&memory{open: often(3, mailbox.ErrUnreachable)}, nil, "pulled, 1 removed"},
		"no password":                    {&memory{open: often(always, errOdd)}, nil, "unreachable"},
		"a panic at the login":           {&memory{open: func(string) error { panic("x") }}, nil, "unreachable"},
		"a folder that nobody can read":  {&memory{find: often(always, mailbox.ErrRefused)}, nil, "failed"},
		"a folder that comes and goes":   {&memory{find: often(always, mailbox.ErrFolderGone)}, nil, "failed"},
		"too large":                      {&memory{fetch: often(always, mailbox.ErrTooLarge)}, nil, "failed, 1 left"},
		"altered once":                   {&memory{fetch: often(1, mailbox.ErrAltered)}, nil, "pulled, 1 removed"},
		"altered always":                 {&memory{fetch: often(always, mailbox.ErrAltered)}, nil, "failed, 1 left"},
		"gone for a moment":              {&memory{fetch: often(1, mailbox.ErrGone)}, nil, "pulled, 1 removed"},
		"gone always, and found always":  {&memory{fetch: often(always, mailbox.ErrGone)}, nil, "failed, 1 already-gone"},
		"stale for a moment":             {&memory{remove: often(1, mailbox.ErrStale)}, nil, "pulled, 1 removed"},
		"not to be removed":              {&memory{remove: often(always, mailbox.ErrRefused)}, nil, "failed, 1 left"},
		"broken off in the removal":      {&memory{remove: often(2, mailbox.ErrUnreachable)}, nil, "pulled, 1 removed"},
		"broken off for ever":            {&memory{fetch: often(always, mailbox.ErrUnreachable)}, nil, "unreachable, 1 left"},
		"a panic in the mailbox":         {&memory{fetch: func(string) error { panic("x") }}, nil, "failed, 1 left"},
		"a daemon that hesitates":        {&memory{}, often(2, errOdd), "pulled, 1 removed"},
		"a daemon that takes nothing":    {&memory{}, often(always, errOdd), "unreachable, 1 left"},
		"a daemon that takes less":       {&memory{}, often(always, mailbox.ErrTooLarge), "failed, 1 left"},
		"a daemon that panics, our side": {&memory{}, func(string) error { panic("x") }, "failed, 1 left"},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := pulltest.NewDaemon()
				d.Fault = func(operation string, done bool) error {
					if operation != "keep" || done {
						return nil
					}
					return hook(c.keep, "")
				}
				d.Add(pullOf(0))
				s := run(t, d, c.store, nil)
				r := s.result(0)
				if got := pulltest.Was(r); got != c.want {
					t.Errorf("%s (%s), want %s", got, r.Detail, c.want)
				}
				if r.Outcome != job.Pulled && r.Detail == "" {
					t.Error("it is not said why")
				}
				if c.store.gone(login(0)) != (r.Outcome == job.Pulled) {
					t.Errorf("the message is gone: %v", c.store.gone(login(0)))
				}
				s.end()
			})
		})
	}
}

func TestAPanicFailsNoOtherJob(t *testing.T) {
	d := pulltest.NewDaemon()
	m := &memory{fetch: func(l string) error {
		if l == login(3) {
			panic("x")
		}
		return nil
	}}
	for i := range 10 {
		d.Add(pullOf(i))
	}
	s := run(t, d, m, nil)
	for i := range 10 {
		want := "pulled, 1 removed"
		if i == 3 {
			want = "failed, 1 left"
		}
		if got := pulltest.Was(s.result(i)); got != want {
			t.Errorf("job %d: %s", i, got)
		}
	}
	s.end()
}

// A daemon that keeps something else than it was given is believed nothing.
func TestNothingIsRemovedIfTheDaemonKeepsSomethingElse(t *testing.T) {
	for name, spoil := range map[string]func(*job.Kept){
		"bytes":  func(k *job.Kept) { k.Bytes++ },
		"digest": func(k *job.Kept) { k.SHA256[3]++ },
		"copy":   func(k *job.Kept) { k.Copy.ID = "1/2" },
		"item":   func(k *job.Kept) { k.Item = "" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := pulltest.NewDaemon()
				d.Add(pullOf(0))
				m := &memory{}
				s := run(t, d, m, func(o *pull.Options) { o.Daemons[0].Jobs = liar{d, spoil} })
				if r := s.result(0); r.Outcome != job.Failed || m.gone(login(0)) {
					t.Errorf("%s, gone: %v", pulltest.Was(r), m.gone(login(0)))
				}
				s.end()
			})
		})
	}
}

func TestAReportIsRepeatedUntilItArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pulltest.NewDaemon()
		before, after := often(3, errOdd), often(1, errOdd)
		d.Fault = func(operation string, done bool) error {
			switch {
			case operation != "report":
				return nil
			case done:
				return after("")
			}
			return before("")
		}
		d.Add(pullOf(0))
		s := run(t, d, &memory{}, nil)
		if r := s.result(0); r.Outcome != job.Pulled || d.Leased("j0") != 1 {
			t.Errorf("%s; leased %d times", pulltest.Was(r), d.Leased("j0"))
		}
		s.end()
	})
}

func TestALeaseThatIsNotRenewedInTimeIsWorkedOnNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pulltest.NewDaemon()
		m := &memory{fetch: func(string) error { time.Sleep(time.Minute); return nil }}
		d.Fault = func(operation string, _ bool) error {
			if operation == "renew" {
				return errOdd // the daemon does not answer
			}
			return nil
		}
		d.Add(pullOf(0))
		s := run(t, d, m, nil)
		time.Sleep(30 * time.Second)
		if d.Leased("j0") < 2 {
			t.Errorf("leased %d times", d.Leased("j0"))
		}
		time.Sleep(5 * time.Minute)
		if m.gone(login(0)) || len(d.Items("j0")) > 0 {
			t.Errorf("it was removed: %v, and kept: %v", m.gone(login(0)), d.Items("j0"))
		}
		s.end()
	})
}

// Between the upload and the removal the lease runs out, and the daemon can tell
// nobody.
func TestNothingIsRemovedUnderALeaseThatHasRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pulltest.NewDaemon()
		m := &memory{}
		d.Fault = func(operation string, done bool) error {
			switch {
			case operation == "renew":
				return errOdd
			case operation == "keep" && done:
				d.Withdraw("j0")
				time.Sleep(30 * time.Second)
			}
			return nil
		}
		d.Add(pullOf(0))
		s := run(t, d, m, nil)
		time.Sleep(2 * time.Minute)
		if m.gone(login(0)) || len(d.Items("j0")) != 1 {
			t.Errorf("it was removed: %v, and kept: %v", m.gone(login(0)), d.Items("j0"))
		}
		s.end()
	})
}

func TestWhatIsKeptAlreadyIsNotUploadedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pulltest.NewDaemon()
		uploads := 0
		d.Fault = func(operation string, done bool) error {
			if operation == "keep" && done {
				if uploads++; uploads == 1 {
					d.Restart()
				}
			}
			return nil
		}
		d.Add(pullOf(0))
		fetched := 0
		s := run(t, d, &memory{fetch: func(string) error { fetched++; return nil }}, nil)
		if r := s.result(0); pulltest.Was(r) != "pulled, 1 removed" || uploads != 1 || fetched != 1 || d.Leased("j0") != 2 {
			t.Errorf("%s after %d leases; it was read %d times and uploaded %d times", pulltest.Was(r), d.Leased("j0"), fetched, uploads)
		}
		s.end()
	})
}

// The store breaks off in the removal, and has given all mail new names then.
func TestAMailThatGotANewNameIsKeptOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pulltest.NewDaemon()
		m := &memory{}
		tries := 0
		m.remove = func(string) error {
			switch tries++; tries {
			case 1:
				m.rename("2/1")
				return mailbox.ErrUnreachable
			case 2:
				return mailbox.ErrStale
			}
			return nil
		}
		d.Add(pullOf(0))
		s := run(t, d, m, nil)
		if r := s.result(0); pulltest.Was(r) != "pulled, 1 removed" || len(d.Items("j0")) != 1 {
			t.Errorf("%s; kept %+v", pulltest.Was(r), d.Items("j0"))
		}
		s.end()
	})
}

func TestALongJobKeepsItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pulltest.NewDaemon()
		m := &memory{fetch: func(string) error { time.Sleep(5 * time.Minute); return nil }}
		d.Add(pullOf(0))
		s := run(t, d, m, nil)
		if r := s.result(0); r.Outcome != job.Pulled || d.Leased("j0") != 1 {
			t.Errorf("%s; leased %d times", pulltest.Was(r), d.Leased("j0"))
		}
		s.end()
	})
}

func TestAJobThatTakesTooLongIsTriedAgainLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pulltest.NewDaemon()
		m := &memory{find: func(string) error { time.Sleep(time.Minute); return mailbox.ErrFolderGone }}
		d.Add(pullOf(0))
		s := run(t, d, m, func(o *pull.Options) { o.JobTimeout = 150 * time.Second })
		if r := s.result(0); r.Outcome != job.Unreachable || !strings.Contains(r.Detail, "2m30s") {
			t.Errorf("%s, %s", pulltest.Was(r), r.Detail)
		}
		s.end()
	})
}

// Of a store that is down every job is told, and hardly anybody logs in.
func TestAStoreThatIsDownIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pulltest.NewDaemon()
		up := time.Now().Add(3 * time.Minute)
		m := &memory{open: func(string) error {
			if time.Now().Before(up) {
				return mailbox.ErrUnreachable
			}
			return nil
		}}
		const jobs = 200
		for i := range jobs {
			d.Add(pullOf(i))
		}
		s := run(t, d, m, nil)
		for round := 0; d.Open() > 0 || time.Now().Before(up); round++ {
			for i := range jobs {
				if r := s.result(i); r.Outcome == job.Unreachable {
					d.Again(fmt.Sprintf("j%d", i), nil)
				}
			}
			time.Sleep(time.Second)
		}
		if n := m.tried(); n > jobs+30 {
			t.Errorf("%d logins for %d jobs", n, jobs)
		}
		if late := time.Since(up); late > 70*time.Second {
			t.Errorf("it was noticed after %s that the store is up", late)
		}
		s.end()
	})
}

func TestOneStoreThatIsDownHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pulltest.NewDaemon()
		down := &memory{open: often(always, mailbox.ErrUnreachable)}
		for i := range 50 {
			d.Add(pullOf(i))
		}
		m := &memory{}
		s := run(t, d, m, func(o *pull.Options) {
			o.Stores = append([]pull.Store{{Name: "down", Backend: down, Serves: func(l string) bool { return strings.HasPrefix(l, "user1") }}}, o.Stores...)
		})
		for i := range 50 {
			want := job.Pulled
			if strings.HasPrefix(login(i), "user1") {
				want = job.Unreachable
			}
			if r := s.result(i); r.Outcome != want {
				t.Errorf("job %d: %s", i, pulltest.Was(r))
			}
		}
		s.end()
	})
}

// In some stores logins that differ in their case are two mailboxes.
func TestAConnectionIsUsedForNoOtherMailbox(t *testing.T) {
	d, m := pulltest.NewDaemon(), &memory{}
	for i, login := range []string{"alice@lab.test", "Alice@lab.test", "alice@lab.test"} {
		d.Add(jobOf(fmt.Sprintf("j%d", i), login, letter))
	}
	s := run(t, d, m, nil)
	for i, want := range []string{"pulled, 1 removed", "pulled, 1 removed", "not-found"} {
		if got := pulltest.Was(s.result(i)); got != want {
			t.Errorf("job %d: %s, want %s", i, got, want)
		}
	}
	s.end()
}

func TestAMailboxThatNoStoreServesIsTold(t *testing.T) {
	d := pulltest.NewDaemon()
	d.Add(pullOf(0))
	s := run(t, d, &memory{}, func(o *pull.Options) { o.Stores[0].Serves = func(string) bool { return false } })
	if r := s.result(0); r.Outcome != job.Failed || !strings.Contains(r.Detail, "no store") {
		t.Errorf("%s, %s", pulltest.Was(r), r.Detail)
	}
	s.end()
}

// Who is told to stop ends the step that he is at, begins no other, and does not
// report what is not done.
func TestAtItsEndASidecarFinishesAStepAndNoJob(t *testing.T) {
	for _, slow := range []string{"fetch", "remove"} {
		t.Run(slow, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := pulltest.NewDaemon()
				wait := func(string) error { time.Sleep(10 * time.Second); return nil }
				m := &memory{}
				if slow == "fetch" {
					m.fetch = wait
				} else {
					m.remove = wait
				}
				d.Add(pullOf(0))
				s := run(t, d, m, nil)
				time.Sleep(time.Second)
				began := time.Now()
				s.end()
				if took := time.Since(began); took < 8*time.Second || took > 12*time.Second {
					t.Errorf("it took %s", took)
				}
				if d.Open() != 1 {
					t.Error("the job was reported")
				}
				if m.gone(login(0)) != (slow == "remove") {
					t.Errorf("it is gone: %v", m.gone(login(0)))
				}
				// The next one finds out what was done.
				m.fetch, m.remove = nil, nil
				s = run(t, d, m, nil)
				if r := s.result(0); pulltest.Was(r) != "pulled, 1 removed" {
					t.Errorf("%s, %s", pulltest.Was(r), r.Detail)
				}
				s.end()
			})
		})
	}
}

func TestASidecarThatIsToldToStopEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := pulltest.NewDaemon()
		for i := range 5 {
			d.Add(pullOf(i))
		}
		d.Fault = func(operation string, _ bool) error {
			if operation == "report" {
				return errOdd
			}
			return nil
		}
		s := run(t, d, &memory{}, func(o *pull.Options) { o.Drain = 7 * time.Second })
		time.Sleep(time.Second)
		began := time.Now()
		s.end()
		if took := time.Since(began); took > 8*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestARestoreTellsWhatWentWrong(t *testing.T) {
	for name, c := range map[string]struct {
		store   *memory
		content func(string) error
		spoil   bool
		want    job.Outcome
	}{
		"nothing":           {&memory{}, nil, false, job.Restored},
		"full":              {&memory{put: often(always, mailbox.ErrOverQuota)}, nil, false, job.Failed},
		"broken off":        {&memory{put: often(2, mailbox.ErrUnreachable)}, nil, false, job.Restored},
		"down":              {&memory{put: often(always, mailbox.ErrUnreachable)}, nil, false, job.Unreachable},
		"no mailbox":        {&memory{open: often(always, mailbox.ErrNoMailbox)}, nil, false, job.MailboxMissing},
		"altered":           {&memory{put: often(always, mailbox.ErrAltered)}, nil, false, job.Failed},
		"no content":        {&memory{}, often(always, errOdd), false, job.Unreachable},
		"content hesitates": {&memory{}, often(2, errOdd), false, job.Restored},
		"another content":   {&memory{}, nil, true, job.Failed},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := pulltest.NewDaemon()
				d.Add(pullOf(0))
				first := run(t, d, &memory{}, nil)
				first.result(0)
				first.end()
				d.Fault = func(operation string, done bool) error {
					if operation != "content" || done {
						return nil
					}
					return hook(c.content, "")
				}
				item := d.Items("j0")[0]
				if c.spoil {
					item.SHA256[0]++
				}
				d.Add(job.Job{ID: "j1", Kind: job.Restore, Mailbox: login(0), Item: item})
				s := run(t, d, c.store, nil)
				if r := s.result(1); r.Outcome != c.want || r.Outcome != job.Restored && r.Detail == "" {
					t.Errorf("%s, %s", r.Outcome, r.Detail)
				}
				s.end()
			})
		})
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	d, m := pull.Daemon{Name: "mx1", Jobs: pulltest.NewDaemon()}, pull.Store{Name: "mail", Backend: &memory{}}
	reg := prometheus.NewRegistry()
	good := pull.Options{Daemons: []pull.Daemon{d}, Stores: []pull.Store{m}, Metrics: reg}
	if _, err := pull.New(good); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]pull.Options{
		"no daemon":        {Stores: []pull.Store{m}},
		"no store":         {Daemons: []pull.Daemon{d}},
		"a nameless one":   {Daemons: []pull.Daemon{{Jobs: d.Jobs}}, Stores: []pull.Store{m}},
		"one name twice":   {Daemons: []pull.Daemon{d, d}, Stores: []pull.Store{m}},
		"stores alike":     {Daemons: []pull.Daemon{d}, Stores: []pull.Store{m, m}},
		"negative":         {Daemons: []pull.Daemon{d}, Stores: []pull.Store{m}, Memory: -1},
		"metrics known":    good,
		"no connections":   {Daemons: []pull.Daemon{d}, Stores: []pull.Store{{Name: "x", Backend: m.Backend, Connections: -1}}},
		"nothing to speak": {Daemons: []pull.Daemon{{Name: "x"}}, Stores: []pull.Store{m}},
	} {
		if _, err := pull.New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
