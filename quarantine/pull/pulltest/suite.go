package pulltest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/weirmail/weir/filter/message"
	"github.com/weirmail/weir/quarantine/job"
	"github.com/weirmail/weir/quarantine/mailbox"
	"github.com/weirmail/weir/quarantine/pull"
)

// Store is where the suite finds mailboxes.
type Store struct {
	Backend mailbox.Backend
	// NewUser gives the login of a user whose mailbox is empty, and that user.
	NewUser func(t *testing.T) (string, User)
}

// patience bounds every wait of the suite.
const patience = time.Minute

// site is one test: a daemon, a sidecar's settings, a user.
type site struct {
	t      *testing.T
	store  Store
	daemon *Daemon
	watch  *Watch
	login  string
	user   User
	change func(*pull.Options)
}

func newSite(t *testing.T, store Store) *site {
	s := &site{t: t, store: store, daemon: NewDaemon()}
	s.watch = &Watch{Backend: store.Backend, Daemons: []*Daemon{s.daemon}, Complain: t.Errorf}
	s.login, s.user = store.NewUser(t)
	return s
}

// options gives settings for a sidecar that has no time to lose.
func (s *site) options() pull.Options {
	o := pull.Options{
		Daemons: []pull.Daemon{{Name: "mx1", Jobs: s.daemon}},
		Stores:  []pull.Store{{Name: "mail", Backend: s.watch}},
		Wait:    time.Second, Patience: 3 * time.Second, Drain: 5 * time.Second, Linger: 200 * time.Millisecond,
		Log: zap.NewNop(),
	}
	if s.change != nil {
		s.change(&o)
	}
	return o
}

// start runs a sidecar until stop is called, or the test ends.
func (s *site) start() (stop func()) {
	s.t.Helper()
	p, err := pull.New(s.options())
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = p.Run(ctx)
	}()
	stop = func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			s.t.Error("the sidecar does not end")
		}
	}
	s.t.Cleanup(stop)
	return stop
}

// do has jobs done by a sidecar, and gives what the last one came to.
func (s *site) do(ids ...string) job.Result {
	s.t.Helper()
	stop := s.start()
	defer stop()
	var last job.Result
	for _, id := range ids {
		last = s.result(id)
	}
	return last
}

func (s *site) result(id string) job.Result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	r, err := s.daemon.Result(ctx, id)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *site) put(folder string, raw []byte, date time.Time, marks ...string) {
	s.t.Helper()
	if err := s.user.Put(folder, raw, date, marks...); err != nil {
		s.t.Fatal(err)
	}
}

// all gives the mailbox as text, in order.
func (s *site) all() []string {
	s.t.Helper()
	mails, err := s.user.All()
	if err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for _, m := range mails {
		all = append(all, m.String())
	}
	slices.Sort(all)
	return all
}

func (s *site) holds(want []string, when string) {
	s.t.Helper()
	if have := s.all(); !slices.Equal(have, want) {
		s.t.Errorf("%s the mailbox holds\n%s\ninstead of\n%s", when, strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

func (s *site) was(r job.Result, want string) {
	s.t.Helper()
	if got := Was(r); got != want {
		s.t.Errorf("%s (%s), want %s; %+v", got, r.Detail, want, r.Copies)
	}
}

// target makes the job of pulling a message, as it was when it passed the filter.
func (s *site) target(id string, raw []byte) job.Job {
	m := message.Parse(raw, message.Options{})
	j := job.Job{ID: id, Kind: job.Pull, Incident: "incident-1", Mailbox: s.login, Recipient: s.login, Target: job.Target{
		MessageID: m.MessageID(), Body: m.Body, Size: int64(len(raw)), Around: day,
	}}
	weir, _, _ := strings.Cut(m.Header.Get(mailbox.WeirIDField), ".")
	j.Target.WeirID = weir
	return j
}

// day is when all mail of the suite came.
var day = time.Date(2026, 5, 4, 8, 30, 15, 0, time.UTC)

// letter makes a message.
func letter(header, body string) []byte {
	return []byte(strings.ReplaceAll("From: Payroll <payroll@example.org>\nTo: alice@lab.test\nSubject: Your salary\n"+
		"Date: Mon, 4 May 2026 10:30:00 +0200\nMIME-Version: 1.0\n"+header+"\n"+body, "\n", "\r\n"))
}

const (
	named    = "Message-ID: <salary-1@example.org>\n"
	weirID   = "X-Weir-ID: 01HZYW.c2lnbmF0dXJl\n"
	plain8   = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n"
	body     = "Dear colleague,\n\nyour sälary is waiting: https://evil.example/pay\n\nThe Payroll\n"
	footer   = "\n-- \nThis mail was scanned.\n"
	received = "Received: from mx by mail.lab.test; Mon, 4 May 2026 10:30:05 +0200\nDelivered-To: %s\n"
)

// others are mails that look alike and have to stay.
func (s *site) others() {
	s.put("INBOX", letter("Message-ID: <salary-2@example.org>\n"+plain8, "Dear colleague,\n\nthis is another letter.\n"), day, `\Seen`)
	s.put("Work/Lists", letter("Message-ID: <salary-10@example.org>\n"+plain8, "Same subject, same sender.\n"), day)
}

// Suite checks that package pull does on a kind of mailboxes what it promises.
func Suite(t *testing.T, store Store) {
	for _, c := range []struct {
		name string
		run  func(*site)
	}{
		{"every copy comes out and goes back as it was", everyCopy},
		{"a footer waits for a person", footers},
		{"another transfer encoding is the same mail", encodings},
		{"mail without a Message-ID is found by its content", nameless},
		{"a forged Message-ID is left alone", forged},
		{"a sent copy waits for a person", sent},
		{"each job of a batch ends by itself", batch},
		{"what its user took away is told", takenAway},
		{"what is not there is told", notThere},
		{"a mail that moves is followed", moving},
		{"a mailbox has one user at a time", oneAtATime},
		{"cut off at any step nothing is lost and nothing comes twice", cutOff},
		{"cut off at any step a batch loses nothing and takes nothing twice", batchCutOff},
		{"cut off at any step a restore puts nothing there twice", restoreCutOff},
		{"who has lost his lease removes nothing", leaseLost},
		{"many mailboxes at once", manyAtOnce},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) { c.run(newSite(t, store)) })
	}
}

func everyCopy(s *site) {
	s.others()
	rest := s.all()
	s.put("INBOX", letter(fmt.Sprintf(received, "alice")+named+plain8, body), day, `\Seen`, `\Answered`, "$Forwarded", "Important")
	s.put("INBOX", letter(fmt.Sprintf(received, "alice+pay")+named+plain8, body), day)
	s.put("Junk", letter(named+weirID+plain8, body), day.Add(time.Hour), `\Flagged`)
	s.put("Work/Old", letter("X-Moved: yes\n"+named+plain8, body), day.Add(2*time.Hour), `\Deleted`)
	before := s.all()
	s.daemon.Add(s.target("j", letter(named+plain8, body)))
	r := s.do("j")
	s.was(r, "pulled, 4 removed")
	s.holds(rest, "after the pull")
	read := 0
	for _, c := range r.Copies {
		if c.Item == "" || c.Body.IsZero() {
			s.t.Errorf("copy %+v has no item or no fingerprint", c)
		}
		if c.Copy.Seen() && c.Copy.Answered() && c.Copy.Forwarded() {
			read++
		}
	}
	if read != 1 {
		s.t.Errorf("%d copies are said to have been read, answered and forwarded: %+v", read, r.Copies)
	}
	ids := s.daemon.RestoreAll("j")
	s.was(s.do(ids...), "restored")
	s.holds(before, "after the restore")
	for _, id := range ids {
		if r := s.result(id); r.Existed || r.Folder == "" || r.Placed.ID == "" {
			s.t.Errorf("restore: %+v", r)
		}
	}
}

func footers(s *site) {
	s.put("INBOX", letter(named+plain8, body+footer), day)
	before := s.all()
	s.daemon.Add(s.target("j", letter(named+plain8, body)))
	r := s.do("j")
	s.was(r, "differs, 1 differs")
	s.holds(before, "while it waits")
	if len(r.Copies) != 1 || r.Copies[0].Body.IsZero() {
		s.t.Fatalf("copies %+v", r.Copies)
	}
	s.daemon.Again("j", func(j *job.Job) { j.Approved = append(j.Approved, r.Copies[0].Body) })
	s.was(s.do("j"), "pulled, 1 removed")
	s.holds(nil, "after a person agreed")
}

func encodings(s *site) {
	const quoted = "Dear colleague,\n\nyour s=C3=A4lary is waiting: https://evil.example/=\npay\n\nThe Payroll\n"
	s.put("INBOX", letter(named+strings.Replace(plain8, "8bit", "quoted-printable", 1), quoted), day)
	s.daemon.Add(s.target("j", letter(named+plain8, body)))
	s.was(s.do("j"), "pulled, 1 removed")
	s.holds(nil, "after the pull")
}

func nameless(s *site) {
	s.others()
	rest := s.all()
	s.put("INBOX", letter(plain8, body), day)
	s.put("Work/Old", letter("Message-ID: <made-by-the-store@lab.test>\n"+plain8, body), day)
	s.daemon.Add(s.target("j", letter(plain8, body)))
	s.was(s.do("j"), "pulled, 2 removed")
	s.holds(rest, "after the pull")
}

func forged(s *site) {
	lookalike := letter(named+plain8, "Dear colleague,\n\nyour lunch is ready.\n")
	huge := letter(named+plain8, strings.Repeat("Dear colleague, how are you, by the way, and so on and so forth?\n", 6000))
	s.put("INBOX", lookalike, day)
	s.put("Junk", huge, day)
	rest := s.all()
	s.daemon.Add(s.target("alone", letter(named+plain8, body)))
	r := s.do("alone")
	s.was(r, "differs, 2 differs")
	if read := slices.IndexFunc(r.Copies, func(c job.Copy) bool { return c.Body.IsZero() && c.Copy.Size == int64(len(huge)) }); read < 0 {
		s.t.Errorf("what cannot be it by its size was read: %+v", r.Copies)
	}
	s.holds(rest, "with forgeries alone")

	s.put("INBOX", letter(named+plain8, body), day)
	s.daemon.Add(s.target("both", letter(named+plain8, body)))
	s.was(s.do("both"), "pulled, 2 differs, 1 removed")
	s.holds(rest, "with forgeries beside it")

	// The mail itself has lost its name.
	s.put("INBOX", letter(plain8, body), day)
	s.daemon.Add(s.target("nameless", letter(named+plain8, body)))
	s.was(s.do("nameless"), "pulled, 2 differs, 1 removed")
	s.holds(rest, "with a copy that has lost its name")

	// What bears an X-Weir-ID was changed on its way, and not made up.
	s.put("INBOX", letter(named+plain8, body), day)
	s.put("Archive", letter(named+weirID+plain8, body+footer), day)
	j := s.target("altered", letter(named+weirID+plain8, body))
	s.daemon.Add(j)
	s.was(s.do("altered"), "differs, 3 differs, 1 removed")
}

func sent(s *site) {
	s.put("Sent", letter(named+plain8, body), day, `\Seen`)
	rest := s.all()
	s.put("INBOX", letter(named+plain8, body), day)
	s.daemon.Add(s.target("j", letter(named+plain8, body)))
	s.was(s.do("j"), "differs, 1 removed, 1 sent")
	s.holds(rest, "while it waits")
	s.daemon.Again("j", func(j *job.Job) { j.Sent = true })
	s.was(s.do("j"), "pulled, 2 removed")
	s.holds(nil, "after a person agreed")
}

func takenAway(s *site) {
	s.put("INBOX", letter(named+plain8, body), day)
	s.watch.Fault = func(operation string, done bool) error {
		if operation == "remove" && !done {
			return s.user.Move("salary-1", "INBOX", "")
		}
		return nil
	}
	s.daemon.Add(s.target("j", letter(named+plain8, body)))
	s.was(s.do("j"), "already-gone, 1 already-gone")
	s.holds(nil, "after all")
}

func notThere(s *site) {
	s.others()
	rest := s.all()
	s.daemon.Add(s.target("j", letter(named+plain8, body)))
	missing := s.target("missing", letter(named+plain8, body))
	missing.Mailbox = "nobody-" + s.login
	s.daemon.Add(missing)
	s.was(s.do("missing", "j"), "not-found")
	s.was(s.result("missing"), "mailbox-missing")
	s.holds(rest, "after all")
}

// moving has the user move the mail before each step that looks at it.
func moving(s *site) {
	for _, step := range []string{"find", "fetch", "remove", "keep"} {
		s.t.Run(step, func(t *testing.T) {
			s := newSite(t, s.store)
			s.others()
			rest := s.all()
			s.put("INBOX", letter(named+plain8, body), day, `\Seen`)
			folders := []string{"INBOX", "Archive", "Junk", "Archive"}
			move := func(operation string, done bool) error {
				if operation != step || done || len(folders) == 1 {
					return nil
				}
				from, to := folders[0], folders[1]
				folders = folders[1:]
				return s.user.Move("salary-1", from, to)
			}
			s.watch.Fault, s.daemon.Fault = move, move
			s.daemon.Add(s.target("j", letter(named+plain8, body)))
			s.was(s.do("j"), "pulled, 1 removed")
			s.holds(rest, "after the pull")
			if items := s.daemon.Items("j"); len(items) != 1 {
				t.Errorf("%d items are kept of one mail: %+v", len(items), items)
			}
		})
	}
}

func oneAtATime(s *site) {
	second := NewDaemon()
	s.watch.Daemons = append(s.watch.Daemons, second)
	const messages = 8
	for i := range messages {
		id := fmt.Sprintf("Message-ID: <round-%d@example.org>\n", i)
		s.put("INBOX", letter(id+plain8, body+id), day)
		j := s.target(fmt.Sprintf("j%d", i), letter(id+plain8, body+id))
		if i%3 == 0 {
			j.Mailbox = strings.ToUpper(j.Mailbox[:1]) + j.Mailbox[1:]
			if _, err := s.store.Backend.Open(s.t.Context(), j.Mailbox); err != nil {
				j.Mailbox = s.login // names differ here by their case
			}
		}
		s.daemon.Add(j)
		second.Add(j)
	}
	s.daemon.Together = true
	s.change = func(o *pull.Options) { o.Daemons = append(o.Daemons, pull.Daemon{Name: "mx2", Jobs: second}) }
	stop := s.start()
	defer stop()
	for i := range messages {
		id := fmt.Sprintf("j%d", i)
		first := s.result(id).Outcome
		other, err := second.Result(s.t.Context(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		if outcomes := []job.Outcome{first, other.Outcome}; !slices.Contains(outcomes, job.Pulled) || !slices.Contains(outcomes, job.NotFound) {
			s.t.Errorf("job %s came to %v", id, outcomes)
		}
	}
	s.holds(nil, "after all")
}
