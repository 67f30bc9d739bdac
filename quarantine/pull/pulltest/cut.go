package pulltest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/weirmail/weir/quarantine/pull"
)

// knife cuts a sidecar off at a step, in one of several ways.
type knife struct {
	mu    sync.Mutex
	step  int // that is cut; counted down
	after bool
	way   func() error
	what  string // that was cut
}

func (k *knife) fault(operation string, done bool) error {
	if done != k.after || operation == "lease" || operation == "renew" {
		return nil
	}
	k.mu.Lock()
	k.step--
	now := k.step == 0
	if now {
		k.what = operation
	}
	k.mu.Unlock()
	if now {
		return k.way()
	}
	return nil
}

// cut reports whether the step was reached.
func (k *knife) cut() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.what
}

// maxSteps is more than a job has.
const maxSteps = 60

// everyStep does the same job again and again, each time cut off one step later,
// until it was done before the cut. With -short it is three steps later.
func everyStep(s *site, work func(s *site, k *knife, cutBy string)) {
	stride := 1
	if testing.Short() {
		stride = 3
	}
	for _, cutBy := range []string{"kill", "panic", "lease"} {
		for _, after := range []bool{false, true} {
			s.t.Run(fmt.Sprintf("%s after=%v", cutBy, after), func(t *testing.T) {
				for step := 1; ; step += stride {
					if step >= maxSteps {
						t.Fatal("the job does not end")
					}
					one := newSite(t, s.store)
					k := &knife{step: step, after: after}
					work(one, k, cutBy)
					if k.cut() == "" {
						break
					}
					if t.Failed() {
						t.Fatalf("cut at step %d, %s", step, k.cut())
					}
				}
			})
		}
	}
}

// arm has the knife cut the next sidecar that is started.
func (s *site) arm(k *knife, cutBy string) (stop func()) {
	var once sync.Once
	dead := make(chan struct{})
	k.way = func() error {
		switch cutBy {
		case "panic":
			panic("cut off by the test")
		case "lease":
			s.daemon.Restart()
			return nil
		}
		once.Do(func() { close(dead) })
		return ErrCut
	}
	fault := func(operation string, done bool) error {
		select {
		case <-dead:
			return ErrCut // nobody is there any more
		default:
		}
		return k.fault(operation, done)
	}
	s.watch.Fault, s.daemon.Fault = fault, fault
	s.change = func(o *pull.Options) { o.Drain = time.Millisecond; o.Patience = 50 * time.Millisecond }
	s.daemon.Hold = 1100 * time.Millisecond
	end := s.start()
	return func() {
		end()
		s.watch.Fault, s.daemon.Fault, s.change = nil, nil, nil
		s.daemon.Restart()
	}
}

// until waits until the job is done, or the sidecar was cut.
func (s *site) until(id string, k *knife) {
	s.t.Helper()
	for began := time.Now(); time.Since(began) < patience; time.Sleep(2 * time.Millisecond) {
		if s.daemon.done(id) || k.cut() != "" {
			return
		}
	}
	s.t.Fatalf("job %s does not end", id)
}

func (d *Daemon) done(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.jobs[id].result != nil
}

func cutOff(s *site) {
	everyStep(s, func(s *site, k *knife, cutBy string) {
		s.put("INBOX", letter("Message-ID: <salary-2@example.org>\n"+plain8, "another letter\n"), day)
		rest := s.all()
		s.put("INBOX", letter(named+plain8, body), day, `\Seen`)
		s.put("Junk", letter("X-Other: 1\n"+named+plain8, body), day, `\Flagged`)
		before := s.all()
		s.daemon.Add(s.target("j", letter(named+plain8, body)))
		stop := s.arm(k, cutBy)
		s.until("j", k)
		if cutBy != "kill" {
			s.result("j")
		}
		stop()
		// A panic has failed the job: a person has it done again.
		s.daemon.Again("j", nil)
		s.was(s.do("j"), "pulled, 2 removed")
		s.holds(rest, "after the pull")
		ids := s.daemon.RestoreAll("j")
		s.do(ids...)
		for _, id := range ids {
			s.was(s.result(id), "restored")
		}
		s.holds(before, "after the restore")
	})
}

func batchCutOff(s *site) {
	everyStep(s, func(s *site, k *knife, cutBy string) {
		s.others()
		rest := s.all()
		var ids []string
		for n := range 3 {
			_, raw := nth(n)
			s.put([]string{"INBOX", "Junk", "INBOX"}[n], raw, day, `\Seen`)
			ids = append(ids, fmt.Sprintf("j%d", n))
			s.daemon.Add(s.target(ids[n], raw))
		}
		before := s.all()
		s.daemon.Together = true
		stop := s.arm(k, cutBy)
		for _, id := range ids {
			s.until(id, k)
			if cutBy != "kill" {
				s.result(id)
			}
		}
		stop()
		for _, id := range ids {
			s.daemon.Again(id, nil)
		}
		s.do(ids...)
		for _, id := range ids {
			s.was(s.result(id), "pulled, 1 removed")
		}
		s.holds(rest, "after the pulls")
		var back []string
		for _, id := range ids {
			back = append(back, s.daemon.RestoreAll(id)...)
		}
		if len(back) != len(ids) {
			s.t.Errorf("%d items are kept of %d mails", len(back), len(ids))
		}
		s.do(back...)
		s.holds(before, "after the restores")
	})
}

func restoreCutOff(s *site) {
	everyStep(s, func(s *site, k *knife, cutBy string) {
		s.put("INBOX", letter(named+plain8, body), day, `\Seen`, "Important")
		before := s.all()
		s.daemon.Add(s.target("j", letter(named+plain8, body)))
		s.was(s.do("j"), "pulled, 1 removed")
		id := s.daemon.RestoreAll("j")[0]
		stop := s.arm(k, cutBy)
		s.until(id, k)
		if cutBy != "kill" {
			s.result(id)
		}
		stop()
		s.daemon.Again(id, nil)
		s.was(s.do(id), "restored")
		s.holds(before, "after the restore")
	})
}

// leaseLost takes the lease away between the upload and the removal, and gives the
// job to nobody.
func leaseLost(s *site) {
	s.put("INBOX", letter(named+plain8, body), day)
	before := s.all()
	s.daemon.Hold = 1500 * time.Millisecond
	lost := make(chan struct{})
	var once sync.Once
	s.daemon.Fault = func(operation string, done bool) error {
		if operation == "keep" && done {
			once.Do(func() {
				s.daemon.Withdraw("j")
				close(lost)
				// The sidecar learns of it when it next renews.
				time.Sleep(2 * s.daemon.Hold / 3)
			})
		}
		return nil
	}
	s.daemon.Add(s.target("j", letter(named+plain8, body)))
	stop := s.start()
	<-lost
	time.Sleep(s.daemon.Hold)
	stop()
	s.holds(before, "after the lease was lost")
	s.daemon.Fault = nil
	s.daemon.Again("j", nil)
	s.was(s.do("j"), "pulled, 1 removed")
	s.holds(nil, "with a new lease")
	if n := len(s.daemon.Items("j")); n != 1 {
		s.t.Errorf("%d items are kept of one mail", n)
	}
}

func manyAtOnce(s *site) {
	const mailboxes, each = 6, 3
	const connections = 3
	type box struct {
		*site
		rest []string
	}
	var all []box
	for i := range mailboxes {
		one := *s
		one.login, one.user = s.store.NewUser(s.t)
		one.others()
		b := box{&one, one.all()}
		for n := range each {
			id := fmt.Sprintf("Message-ID: <many-%d-%d@example.org>\n", i, n)
			one.put("INBOX", letter(id+plain8, body+id), day)
			s.daemon.Add(one.target(fmt.Sprintf("j-%d-%d", n, i), letter(id+plain8, body+id)))
		}
		all = append(all, b)
	}
	s.daemon.Together = true
	s.change = func(o *pull.Options) { o.Stores[0].Connections = connections }
	stop := s.start()
	defer stop()
	for i, b := range all {
		for n := range each {
			b.was(s.result(fmt.Sprintf("j-%d-%d", n, i)), "pulled, 1 removed")
		}
		b.holds(b.rest, "after the pull")
	}
	together, opened := s.watch.Most()
	if together > connections {
		s.t.Errorf("%d mailboxes were open at once, %d are allowed", together, connections)
	}
	if opened != mailboxes {
		s.t.Errorf("%d mailboxes were opened %d times for %d jobs", mailboxes, opened, mailboxes*each)
	}
}
